"""
That `"negotiationneeded"` is fired no more often than there is something to negotiate.
"""

import asyncio

import pytest

from aiortc_restart import (
    AudioStreamTrack,
    RTCPeerConnection,
    RTCSessionDescription,
)

from .calls import (
    SETTLING,
    offered,
    peers,
)
from .media import Pictures
from .network import Network
from .utils import connected_pair, event, negotiate, states


def prepare(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    """
    Have a transceiver which sends nothing yet, and one which sends both ways.
    """
    for pc in (offerer, answerer):
        pc.addTransceiver("audio", "recvonly" if pc is offerer else "sendrecv")
        pc.addTrack(Pictures())


async def add_track(pc: RTCPeerConnection) -> None:
    pc.addTrack(Pictures())


async def add_track_again(pc: RTCPeerConnection) -> None:
    count = len(pc.getTransceivers())
    pc.addTrack(AudioStreamTrack())
    assert len(pc.getTransceivers()) == count


async def add_transceiver(pc: RTCPeerConnection) -> None:
    pc.addTransceiver("video", "recvonly")


async def stop(pc: RTCPeerConnection) -> None:
    await pc.getTransceivers()[1].stop()


async def restart_ice(pc: RTCPeerConnection) -> None:
    pc.restartIce()


CHANGES = [
    add_track,
    add_track_again,
    add_transceiver,
    stop,
    restart_ice,
]


@pytest.mark.parametrize("ours", ["sendrecv", "sendonly", "recvonly", "inactive"])
@pytest.mark.parametrize("theirs", ["sendrecv", "sendonly", "recvonly", "inactive"])
async def test_disagreement(network: Network, ours: str, theirs: str) -> None:
    """
    Directions which do not match are negotiated, by either side, and not for ever.
    """
    async with peers(network) as both:
        for pc, direction in zip(both, (ours, theirs), strict=True):
            pc.addTransceiver("audio", direction)
            pc.createDataChannel("test")
        await negotiate(*both)
        histories = [states(x) for x in both]
        for _ in range(2):
            await asyncio.sleep(SETTLING)
            assert [x.negotiationneeded for x in histories] == [0, 0]
            await negotiate(*reversed(both))


async def test_handler(network: Network) -> None:
    """
    A handler which negotiates, whatever is asked for, is called once for each change.
    """
    async with connected_pair(network, prepare=prepare) as pair:
        histories = [states(pair.offerer), states(pair.answerer)]

        async def handle() -> None:
            await negotiate(pair.offerer, pair.answerer)

        pair.offerer.on("negotiationneeded", handle)
        for count, change in enumerate(CHANGES, 1):
            await change(pair.offerer)
            await event(pair.offerer, "negotiationneeded")
            await asyncio.sleep(SETTLING)
            assert [x.negotiationneeded for x in histories] == [count, 0]
            assert pair.offerer.signalingState == "stable"
        await pair.exchange()


async def test_failed_description(network: Network) -> None:
    """
    A description which fails changes nothing in what is needed.
    """
    async with connected_pair(network, prepare=prepare) as pair:
        history = states(pair.offerer)
        bad = RTCSessionDescription(sdp="v=0\r\nm=audio", type="offer")
        for _ in range(3):
            pair.offerer.addTransceiver("video")
            with pytest.raises(ValueError, match="Cannot parse"):
                await pair.offerer.setRemoteDescription(bad)
            await asyncio.sleep(SETTLING)
            assert history.negotiationneeded == 1


async def test_before_the_loop_runs(network: Network) -> None:
    """
    What is made before it can be heard is told of in the next turn.
    """
    async with peers(network) as (pc, _):
        pc.createDataChannel("test")
        pc.addTransceiver("audio")
        history = states(pc)
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1


@pytest.mark.parametrize("way", ["directly", "in tasks"])
async def test_implicit_rollback(network: Network, way: str) -> None:
    """
    An offer of the peer's that rolls ours back fires it once, when the signaling state
    has come to rest in stable: not in the stable state in between.
    """
    async with connected_pair(network) as pair:
        pc, peer = pair.offerer, pair.answerer
        pc.addTransceiver("video")
        offer = await offered(peer, iceRestart=True)
        await offered(pc)
        order: list[str] = []
        pc.on("negotiationneeded", lambda: order.append("event"))
        pc.on("signalingstatechange", lambda: order.append(pc.signalingState))
        steps = pc.setRemoteDescription(offer), pc.setLocalDescription()
        if way == "directly":
            for step in steps:
                await step
        else:
            await asyncio.gather(*map(asyncio.create_task, steps))
        order.append("promise")
        await asyncio.sleep(SETTLING)
        assert order == ["stable", "have-remote-offer", "stable", "promise", "event"]
