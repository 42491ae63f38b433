"""
A browser stops the transceiver whose m-section is the BUNDLE-tag: it closes the
transport, and begins with another one for the rest of the bundle.
"""

from pathlib import Path

import pytest

from aiortc_restart import RTCPeerConnection

from ..calls import sections
from .call import calling
from .goes_on import goes_on
from .local import LocalPeer
from .media import Clip
from .remote import missing, remote_peer

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("browser", ["chromium", "firefox", "wrtc"])
async def test_stopped_tag(browser: str, movie: Path, clip: Clip) -> None:
    """
    The call and its data channel go on, and can be restarted.
    """
    if reason := missing(browser):
        pytest.skip(reason)
    async with (
        remote_peer(browser) as remote,
        calling(LocalPeer(RTCPeerConnection, movie), remote, "remote", clip) as call,
    ):
        # Firefox which has stopped the tag often sends no pictures any more, neither to
        # another Firefox (46 times of 60, seen with Firefox 153).
        only_to = "remote" if browser == "firefox" else None
        channel, transport = call.local.channel, call.local.transport
        first = sections(call.pc.remoteDescription)[0]
        # Chromium closes a channel on which it cannot send for a moment.
        await remote.call("stopSending")
        await remote.call("stopTransceiver", mid=first.rtp.muxId)
        await call.negotiate("remote")
        assert sections(call.pc.remoteDescription)[0].port == 0
        await call.until(
            lambda now: (
                call.pc.connectionState == now.remote["connectionState"] == "connected"
            )
        )
        await remote.call("startSending")
        await goes_on(call, only_to)
        assert call.local.transport is not transport
        assert transport.state == "closed"
        await remote.call("restartIce")
        await call.negotiate("remote")
        await goes_on(call, only_to)
        assert call.local.channel is channel
        assert channel is not None and channel.readyState == "open"
        assert call.local.ended == ["audio"]
        assert (await call.snapshot()).remote["errors"] == []
