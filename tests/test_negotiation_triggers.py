"""
What fires `"negotiationneeded"`, and what silences it (webrtc-pc
#dfn-update-the-negotiation-needed-flag).
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aiortc_restart import (
    AudioStreamTrack,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)

from .calls import (
    ROLLBACK,
    SETTLING,
    answered,
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


async def change_direction(pc: RTCPeerConnection) -> None:
    pc.getTransceivers()[1].direction = "inactive"


async def stop(pc: RTCPeerConnection) -> None:
    await pc.getTransceivers()[1].stop()


async def restart_ice(pc: RTCPeerConnection) -> None:
    pc.restartIce()


CHANGES = [
    add_track,
    add_track_again,
    add_transceiver,
    change_direction,
    stop,
    restart_ice,
]

Change = Callable[[RTCPeerConnection], Awaitable[None]]


@pytest.mark.parametrize("change", CHANGES)
async def test_change(network: Network, change: Change) -> None:
    """
    Each change fires the event, once, and the negotiation of it silences it.
    """
    async with connected_pair(network, prepare=prepare) as pair:
        histories = [states(pair.offerer), states(pair.answerer)]
        await change(pair.offerer)
        assert histories[0].negotiationneeded == 0
        await asyncio.sleep(SETTLING)
        assert [x.negotiationneeded for x in histories] == [1, 0]
        for both in (
            (pair.offerer, pair.answerer),
            (pair.answerer, pair.offerer),
            (pair.offerer, pair.answerer),
        ):
            await negotiate(*both)
            await asyncio.sleep(SETTLING)
            assert [x.negotiationneeded for x in histories] == [1, 0]
        await pair.exchange()


async def test_data_channels(network: Network) -> None:
    """
    The first data channel fires the event, as long as there is no section for it.
    """
    async with peers(network) as (offerer, answerer):
        offerer.addTransceiver("audio")
        await negotiate(offerer, answerer)
        histories = [states(offerer), states(answerer)]
        for _ in range(2):
            offerer.createDataChannel("test")
            await asyncio.sleep(SETTLING)
            assert histories[0].negotiationneeded == 1
        await negotiate(offerer, answerer)
        for pc in (offerer, answerer):
            pc.createDataChannel("test")
        await asyncio.sleep(SETTLING)
        assert [x.negotiationneeded for x in histories] == [1, 0]


async def test_together(network: Network) -> None:
    """
    All changes of one turn, and those before the negotiation, fire the event once.
    """
    async with connected_pair(network, prepare=prepare) as pair:
        history = states(pair.offerer)
        for change in CHANGES:
            await change(pair.offerer)
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1
        pair.offerer.addTransceiver("audio")
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("state", ["have-local-offer", "have-remote-offer"])
@pytest.mark.parametrize("way", ["answer", "rollback"])
async def test_not_stable(
    network: Network, change: Change, state: str, way: str
) -> None:
    """
    Outside of stable nothing is fired; on the return to it, by an answer or a rollback,
    what that has not satisfied is.
    """
    async with connected_pair(network, prepare=prepare) as pair:
        pc, other = pair.offerer, pair.answerer
        if state == "have-local-offer":
            await offered(pc)
        else:
            await pc.setRemoteDescription(await offered(other))
        history = states(pc)
        await change(pc)
        await asyncio.sleep(SETTLING)
        assert pc.signalingState == state
        assert history.negotiationneeded == 0
        if way == "rollback":
            await pc.setLocalDescription(ROLLBACK)
        elif state == "have-local-offer":
            await pc.setRemoteDescription(await answered(other, pc.localDescription))
        else:
            await pc.setLocalDescription()
        assert history.negotiationneeded == 0
        await asyncio.sleep(SETTLING)
        # An answer says at once that a section is inactive, or less than before.
        satisfied = (
            way == "answer"
            and state == "have-remote-offer"
            and change in (change_direction, stop, add_track_again)
        )
        assert history.negotiationneeded == (0 if satisfied else 1)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("side", ["local", "remote"])
async def test_rolled_back(network: Network, change: Change, side: str) -> None:
    """
    A change whose offer is rolled back fires the event again.
    """
    async with connected_pair(network, prepare=prepare) as pair:
        history = states(pair.offerer)
        await change(pair.offerer)
        for count in range(1, 4):
            await asyncio.sleep(SETTLING)
            assert history.negotiationneeded == count
            await offered(pair.offerer)
            if side == "local":
                await pair.offerer.setLocalDescription(ROLLBACK)
            else:
                await pair.offerer.setRemoteDescription(ROLLBACK)
        assert history.signaling == ["stable", *3 * ["have-local-offer", "stable"]]


@pytest.mark.parametrize("change", CHANGES)
async def test_silenced_by_offer(network: Network, change: Change) -> None:
    """
    What our own negotiation has satisfied by the time fires nothing.
    """
    async with connected_pair(network, prepare=prepare) as pair:
        history = states(pair.offerer)
        await change(pair.offerer)
        await negotiate(pair.offerer, pair.answerer)
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 0


@pytest.mark.parametrize(
    "change", [add_track, add_transceiver, change_direction, stop, restart_ice]
)
async def test_silenced_by_answer(network: Network, change: Change) -> None:
    """
    What an answer to the peer's offer has satisfied by the time fires nothing.
    """
    async with connected_pair(network, prepare=prepare) as pair:
        pair.answerer.addTransceiver("video")
        offer = await offered(pair.answerer, iceRestart=True)
        history = states(pair.offerer)
        await change(pair.offerer)
        await pair.answerer.setRemoteDescription(await answered(pair.offerer, offer))
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 0


async def test_taken_back(network: Network) -> None:
    """
    What has been taken back by the time fires nothing.
    """
    async with connected_pair(network, prepare=prepare) as pair:
        history = states(pair.offerer)
        for direction in ("inactive", "sendonly", "sendrecv"):
            pair.offerer.getTransceivers()[1].direction = direction
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 0


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
        # What is inactive already need not be negotiated when it is stopped.
        changes = [x for x in CHANGES if x is not change_direction]
        for count, change in enumerate(changes, 1):
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


def test_without_a_loop() -> None:
    """
    Changes where no event loop is set are no errors, and are told of later.
    """
    loop = asyncio.new_event_loop()

    async def make() -> tuple[RTCPeerConnection, list[str]]:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        pc.addTransceiver("audio", "recvonly")
        await asyncio.sleep(0)
        fired: list[str] = []
        pc.on("negotiationneeded", lambda: fired.append("event"))
        return pc, fired

    async def use() -> None:
        await pc.createOffer()
        await asyncio.sleep(0.01)
        await pc.close()

    pc, fired = loop.run_until_complete(make())
    asyncio.set_event_loop(None)
    pc.getTransceivers()[0].direction = "sendonly"
    pc.addTrack(AudioStreamTrack())
    pc.restartIce()
    loop.run_until_complete(use())
    loop.close()
    assert fired == []
    assert pc.getTransceivers()[0].direction == "sendonly"


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
