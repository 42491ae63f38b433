"""
The other ends themselves.
"""

import os
import signal

import pytest

from .remote import NodePeer, RemoteCrashedError, RemoteError, missing, remote_peer


@pytest.mark.interop
@pytest.mark.skipif(missing("wrtc") is not None, reason=str(missing("wrtc")))
async def test_crash() -> None:
    """
    A process which was killed is told apart from an operation which has failed.
    """
    async with remote_peer("wrtc") as remote:
        assert isinstance(remote, NodePeer)
        with pytest.raises(RemoteError) as raised:
            await remote.call("report")
        assert not isinstance(raised.value, RemoteCrashedError)

        os.kill(remote.pid, signal.SIGSEGV)
        with pytest.raises(RemoteCrashedError, match=f"signal {int(signal.SIGSEGV)}"):
            while True:
                await remote.call("close")
