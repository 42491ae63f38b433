"""
What fires the event that asks for a negotiation, and what has it be silent.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from aiortc import AudioStreamTrack

from aiortc_restart import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from .calls import SETTLING, answered, offered, peers
from .network import Network
from .utils import History, connected_pair, negotiate, states

ROLLBACK = RTCSessionDescription(sdp="", type="rollback")


def add_media(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    """
    Have each side receive sound which the other does not send yet, and the offerer an
    inactive section.
    """
    # The first one is the BUNDLE-tag, which is never rejected.
    offerer.addTransceiver("video", direction="sendonly")
    offerer.addTransceiver("audio", direction="recvonly")
    offerer.addTransceiver("video", direction="inactive")


async def add_track(pc: RTCPeerConnection) -> None:
    pc.addTrack(AudioStreamTrack())


async def add_transceiver(pc: RTCPeerConnection) -> None:
    pc.addTransceiver("video")


async def change_direction(pc: RTCPeerConnection) -> None:
    pc.getTransceivers()[1].direction = "sendonly"


async def restart_ice(pc: RTCPeerConnection) -> None:
    pc.restartIce()


async def stop(pc: RTCPeerConnection) -> None:
    await pc.getTransceivers()[1].stop()


async def stop_inactive(pc: RTCPeerConnection) -> None:
    await pc.getTransceivers()[2].stop()


Trigger = Callable[[RTCPeerConnection], Awaitable[None]]

TRIGGERS: list[Trigger] = [
    add_track,
    add_transceiver,
    change_direction,
    restart_ice,
    stop,
    stop_inactive,
]


async def rests(*histories: History, count: int) -> None:
    """
    Assert that an event has been fired so often, in all, and that it stays at that.
    """
    await asyncio.sleep(SETTLING)
    assert sum(x.negotiationneeded for x in histories) == count


@pytest.mark.parametrize("trigger", TRIGGERS)
async def test_trigger(network: Network, trigger: Trigger) -> None:
    """
    Each fires the event, at once and once, until a negotiation by this side has brought
    it about; then neither side asks for anything more.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        both = [states(pair.offerer), states(pair.answerer)]
        await rests(*both, count=0)
        await trigger(pair.offerer)
        for _ in range(5):
            await asyncio.sleep(0)
        await rests(both[0], count=1)
        await negotiate(pair.offerer, pair.answerer)
        await rests(*both, count=1)
        await negotiate(pair.answerer, pair.offerer)
        await negotiate(pair.offerer, pair.answerer)
        await rests(*both, count=1)


# The peer's offer has no section for a new transceiver.
OFFERER_ONLY = [add_transceiver]


@pytest.mark.parametrize("trigger", [x for x in TRIGGERS if x not in OFFERER_ONLY])
async def test_satisfied_by_the_peer(network: Network, trigger: Trigger) -> None:
    """
    An offer of the peer's which has room for it is as good, when it has been answered.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        both = [states(pair.offerer), states(pair.answerer)]
        await trigger(pair.offerer)
        await rests(*both, count=1)
        # The peer has no reason to send anything, or to restart, but that it is asked.
        for transceiver in pair.answerer.getTransceivers():
            transceiver.direction = "sendrecv"
        await negotiate(pair.answerer, pair.offerer, iceRestart=trigger is restart_ice)
        await rests(both[0], count=1)


@pytest.mark.parametrize("trigger", OFFERER_ONLY)
async def test_not_satisfied_by_the_peer(network: Network, trigger: Trigger) -> None:
    """
    What an offer of the peer's has no room for is asked for again.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        history = states(pair.offerer)
        await trigger(pair.offerer)
        for count in range(1, 4):
            await rests(history, count=count)
            await negotiate(pair.answerer, pair.offerer)
        await rests(history, count=4)
        await negotiate(pair.offerer, pair.answerer)
        await rests(history, count=4)


async def test_coalesced(network: Network) -> None:
    """
    Many changes in one turn of the loop, and more before they are negotiated, are one
    event.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        history = states(pair.offerer)
        pair.offerer.addTrack(AudioStreamTrack())
        pair.offerer.addTransceiver("video").direction = "sendonly"
        pair.offerer.addTransceiver("audio")
        pair.offerer.restartIce()
        await stop_inactive(pair.offerer)
        await rests(history, count=1)
        pair.offerer.addTransceiver("audio")
        pair.offerer.restartIce()
        await rests(history, count=1)
        await negotiate(pair.offerer, pair.answerer)
        await rests(history, count=1)


async def test_taken_back(network: Network) -> None:
    """
    What is taken back before anybody looked was no change; nor is what changes nothing.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        history = states(pair.offerer)
        transceiver = pair.offerer.getTransceivers()[1]
        for direction in ("sendonly", "sendrecv", "recvonly", "recvonly"):
            transceiver.direction = direction
        await rests(history, count=0)
        # Later, it has been fired, and is fired again.
        for count in (1, 2):
            transceiver.direction = "sendonly"
            await rests(history, count=count)
            transceiver.direction = "recvonly"
            await rests(history, count=count)


async def test_data_channels(network: Network) -> None:
    """
    Only the first data channel needs to be negotiated, on either side.
    """
    async with peers(network) as (offerer, answerer):
        both = [states(offerer), states(answerer)]
        for _ in range(2):
            offerer.createDataChannel("test")
            await rests(*both, count=1)
        await negotiate(offerer, answerer)
        for pc in (offerer, answerer):
            pc.createDataChannel("test")
        await rests(*both, count=1)


async def test_reused_transceiver(network: Network) -> None:
    """
    A track which a transceiver is waiting for needs a negotiation only if it changes
    the direction.
    """
    async with connected_pair(
        network, prepare=lambda offerer, _: offerer.addTransceiver("audio")
    ) as pair:
        both = [states(pair.offerer), states(pair.answerer)]
        pair.offerer.addTrack(AudioStreamTrack())
        await rests(*both, count=0)
        pair.answerer.addTrack(AudioStreamTrack())
        assert pair.answerer.getTransceivers()[0].direction == "sendrecv"
        await rests(*both, count=1)
        await negotiate(pair.answerer, pair.offerer)
        assert len(pair.offerer.getTransceivers()) == 1
        assert pair.offerer.getTransceivers()[0].currentDirection == "sendrecv"
        await rests(*both, count=1)


@pytest.mark.parametrize("trigger", [x for x in TRIGGERS if x is not restart_ice])
@pytest.mark.parametrize("state", ["have-local-offer", "have-remote-offer"])
@pytest.mark.parametrize("end", ["answer", "rollback"])
async def test_outside_of_stable(
    network: Network, trigger: Trigger, state: str, end: str
) -> None:
    """
    A change is heard on the return to stable, by an answer and by a rollback, and not
    before.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        pc, peer = pair.offerer, pair.answerer
        history = states(pc)
        if state == "have-local-offer":
            await offered(pc)
        else:
            await pc.setRemoteDescription(await offered(peer))
        await trigger(pc)
        await rests(history, count=0)
        assert history.signaling == ["stable", state]
        # Tracks and directions are in the answer, as far as the offer lets them.
        satisfied = False
        if end == "rollback":
            await pc.setLocalDescription(ROLLBACK)
        elif state == "have-local-offer":
            await pc.setRemoteDescription(await answered(peer, pc.localDescription))
        else:
            satisfied = trigger not in OFFERER_ONLY
            await pc.setLocalDescription()
        await rests(history, count=0 if satisfied else 1)


async def test_fired_again_after_a_rollback(network: Network) -> None:
    """
    What an offer would have brought about is asked for again when it is rolled back.
    """
    async with connected_pair(network) as pair:
        history = states(pair.offerer)
        pair.offerer.addTransceiver("audio")
        for count in range(1, 4):
            await rests(history, count=count)
            await offered(pair.offerer)
            await pair.offerer.setRemoteDescription(ROLLBACK)
        await rests(history, count=4)
        await negotiate(pair.offerer, pair.answerer)
        await rests(history, count=4)


async def test_silenced_while_it_was_on_its_way(network: Network) -> None:
    """
    The event is not fired for what an offer already says when it would be.
    """
    async with peers(network) as (offerer, answerer):
        history = states(offerer)
        offerer.addTransceiver("audio")
        offerer.createDataChannel("test")
        await negotiate(offerer, answerer)
        await rests(history, count=0)


def test_without_a_loop() -> None:
    """
    Where aiortc needs no event loop nothing is raised either: the next step that ends
    looks at what was changed meanwhile.
    """
    loop = asyncio.new_event_loop()

    async def make() -> list[RTCPeerConnection]:
        both = [RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2)]
        both[0].addTransceiver("audio", direction="recvonly")
        await negotiate(*both)
        # The end of the last step has been seen.
        await asyncio.sleep(0.1)
        return both

    async def look(history: History) -> None:
        assert history.negotiationneeded == 0
        await pcs[0].createOffer()
        await asyncio.sleep(0.1)
        assert history.negotiationneeded == 1
        await asyncio.gather(*(x.close() for x in pcs))

    pcs = loop.run_until_complete(make())
    history = states(pcs[0])
    errors: list[BaseException] = []

    def change() -> None:
        try:
            pcs[0].addTrack(AudioStreamTrack())
            pcs[0].getTransceivers()[0].direction = "inactive"
            pcs[0].restartIce()
        except BaseException as exc:
            errors.append(exc)

    thread = threading.Thread(target=change)
    thread.start()
    thread.join()
    assert errors == []
    loop.run_until_complete(look(history))
    loop.close()
