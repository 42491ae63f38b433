"""
What `make dist` runs where the package has been installed from an archive: a call of
two peers, and a restart. It needs nothing but the package.
"""

import asyncio
import sys
from importlib import metadata, resources
from pathlib import Path

import aiortc_restart
from aiortc_restart import RTCConfiguration, RTCDataChannel, RTCPeerConnection


def check_installation() -> None:
    """
    Check that it is the installed package, and whole.
    """
    assert Path(aiortc_restart.__file__).is_relative_to(sys.prefix)
    assert metadata.version("aiortc-restart") == aiortc_restart.__version__
    assert resources.files(aiortc_restart).joinpath("py.typed").is_file()
    names = [x.name for x in metadata.files("aiortc-restart") or []]
    assert "LICENSE" in names


async def call() -> None:
    """
    Send a message, restart ICE, and send another one over the same channel.
    """
    alice = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    bob = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    received: asyncio.Queue[object] = asyncio.Queue()
    opened, switched = asyncio.Event(), asyncio.Event()

    @alice.on("negotiationneeded")
    async def negotiate() -> None:
        await alice.setLocalDescription()
        await bob.setRemoteDescription(alice.localDescription)
        await bob.setLocalDescription()
        await alice.setRemoteDescription(bob.localDescription)

    @bob.on("datachannel")
    def on_channel(channel: RTCDataChannel) -> None:
        channel.on("message", received.put_nowait)

    channel = alice.createDataChannel("smoke")
    channel.on("open", opened.set)
    await opened.wait()
    channel.send("before")
    assert await received.get() == "before"

    assert alice.sctp is not None
    transport = alice.sctp.transport.transport
    assert isinstance(transport, aiortc_restart.RTCIceTransport)
    before = transport.getSelectedCandidatePair()
    transport.on("selectedcandidatepairchange", switched.set)
    alice.restartIce()
    await switched.wait()
    after = transport.getSelectedCandidatePair()
    assert before is not None and after is not None
    assert before.local.usernameFragment != after.local.usernameFragment
    channel.send("after")
    assert await received.get() == "after"

    await asyncio.gather(alice.close(), bob.close())
    assert alice.connectionState == bob.connectionState == "closed"


if __name__ == "__main__":
    check_installation()
    asyncio.run(asyncio.wait_for(call(), 60))
