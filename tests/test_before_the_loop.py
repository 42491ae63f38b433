"""
A connection that is made, and changed, before an event loop runs.
"""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from aiortc_restart import AudioStreamTrack, RTCConfiguration, RTCPeerConnection

from .calls import SETTLING
from .media import add_media, flowing
from .network import Network
from .utils import History, negotiate, states, until

Touch = Callable[[RTCPeerConnection], object]

TOUCHES: list[Touch] = [
    lambda pc: pc.getTransceivers(),
    lambda pc: pc.getSenders(),
    lambda pc: pc.on("connectionstatechange", lambda: None),
    lambda pc: asyncio.ensure_future(pc.createOffer()),
]


@pytest.fixture
def other_loop() -> Iterator[None]:
    """
    Have the thread have an event loop which is never run, as aiortc's senders ask for
    one when they are made.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    # aiortc has begun tasks in it.
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def make() -> tuple[RTCPeerConnection, History]:
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    history = states(pc)
    pc.addTransceiver("audio", direction="recvonly")
    pc.addTrack(AudioStreamTrack())
    return pc, history


@pytest.mark.usefixtures("other_loop")
@pytest.mark.parametrize("touch", TOUCHES, ids=["list", "senders", "handler", "step"])
def test_another_loop_runs(network: Network, touch: Touch) -> None:
    """
    What was changed before is told of once in the loop that runs, as soon as anything
    is asked of the connection there.
    """
    pc, history = make()

    async def main() -> None:
        await asyncio.sleep(SETTLING)
        for _ in range(2):
            touch(pc)
            await asyncio.sleep(SETTLING)
            assert history.negotiationneeded == 1
        await pc.close()

    network.run(main())


@pytest.mark.usefixtures("other_loop")
def test_call(network: Network) -> None:
    """
    A call carries the media and the data that were added before.
    """
    offerer, answerer = (
        network.at(name, RTCPeerConnection)(RTCConfiguration(iceServers=[]))
        for name in ("alice", "bob")
    )
    add_media(offerer, answerer)
    channel = offerer.createDataChannel("test")
    received: list[object] = []

    async def main() -> None:
        answerer.on("datachannel", lambda x: x.on("message", received.append))
        # Of the first packets of the association some are lost.
        lost = iter([True] * 3)
        await negotiate(offerer, answerer)
        await flowing(offerer, answerer)
        await until(lambda: channel.readyState == "open")
        network.filter = lambda datagram: not next(lost, False)
        channel.send("message")
        await until(lambda: received == ["message"])
        await offerer.close()
        await answerer.close()

    network.run(main())


def test_same_loop_runs(network: Network) -> None:
    """
    It is told of by itself in the loop which the thread has had before.
    """
    with network.running() as run:

        async def wait() -> None:
            await asyncio.sleep(SETTLING)
            assert history.negotiationneeded == 1
            await pc.close()

        async def loop() -> asyncio.AbstractEventLoop:
            return asyncio.get_running_loop()

        asyncio.set_event_loop(run(loop()))
        try:
            pc, history = make()
            run(wait())
        finally:
            asyncio.set_event_loop(None)
