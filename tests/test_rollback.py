"""
Rollbacks (RFC 9429 section 5.7): what an offer has done is undone, on both sides, and
the call goes on over what had been negotiated before.
"""

import asyncio
from typing import Any

import pytest
from aiortc import RTCBundlePolicy

from aiortc_restart import (
    MediaStreamError,
    RTCConfiguration,
    RTCPeerConnection,
)

from .calls import (
    RETIREMENT,
    ROLLBACK,
    SETTLING,
    answered,
    ice_transport,
    ice_transports,
    offered,
    path,
    peers,
    restart,
    switched,
)
from .media import Pictures, flowing
from .network import Network
from .snapshots import events_of, size, snapshot, watch_slots
from .utils import connected_pair, credentials, negotiate, states

POLICIES = list(RTCBundlePolicy)

SIDES = ["local", "remote"]


async def roll_back(pc: RTCPeerConnection, side: str = "local") -> None:
    """
    Roll back: it makes no difference on which side.
    """
    if side == "local":
        await pc.setLocalDescription(ROLLBACK)
    else:
        await pc.setRemoteDescription(ROLLBACK)


def but_credentials(state: dict[str, Any]) -> dict[str, Any]:
    """
    Return what a snapshot says, without what a first generation is told apart by.
    """
    told_apart = ("generations", "negotiated", "shown")
    transports = [
        {k: v for k, v in x.items() if "new" not in x["states"] or k not in told_apart}
        for x in state["transports"]
    ]
    return {**state, "transports": transports}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("policy", POLICIES)
async def test_first_local(
    network: Network, policy: RTCBundlePolicy, side: str
) -> None:
    """
    A first offer of ours is as if it had not been made, its sockets are free again, and
    a negotiation by either side makes the call.
    """
    configuration = RTCConfiguration(iceServers=[], bundlePolicy=policy)
    async with peers(network, configuration=configuration) as both:
        for pc in both:
            pc.addTrack(Pictures())
            pc.createDataChannel("test")
            pc.addTransceiver("audio", "recvonly")
        for pc in (*both, *both):
            name = "alice" if pc is both[0] else "bob"
            watch_slots(pc)
            before = but_credentials(snapshot(pc))
            old = await offered(pc)
            assert network.sockets(name) == len(ice_transports(pc))
            await roll_back(pc, side)
            await asyncio.sleep(SETTLING)
            assert but_credentials(snapshot(pc)) == before
            assert network.sockets(name) == 0
            # The sockets of the old credentials are gone (RFC 9429 section 5.7).
            new = credentials(await pc.createOffer())
            assert set(credentials(old)).isdisjoint(new)
            assert len(set(new)) == 1
        await negotiate(*both)
        await switched(*both)
        await flowing(*both)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("prepared", [True, False], ids=["tracks", "nothing"])
async def test_first_remote(
    network: Network, policy: RTCBundlePolicy, side: str, prepared: bool
) -> None:
    """
    A first offer of the peer's is as if it had not come: transceivers and transports
    which it made are gone, those which it had bundled away are back.
    """
    configuration = RTCConfiguration(
        iceServers=[], bundlePolicy=policy, associateTransceivers=True
    )
    async with peers(network, configuration=configuration) as (offerer, answerer):
        offerer.addTrack(Pictures())
        offerer.createDataChannel("test")
        offerer.addTransceiver("audio", "recvonly")
        if prepared:
            answerer.addTrack(Pictures())
            answerer.addTransceiver("audio", "recvonly")
            answerer.createDataChannel("other")
        watch_slots(answerer)
        offer = await offered(offerer)
        for _ in range(2):
            before = but_credentials(snapshot(answerer))
            await answerer.setRemoteDescription(offer)
            assert len(ice_transports(answerer)) == 1
            await roll_back(answerer, side)
            await asyncio.sleep(SETTLING)
            assert but_credentials(snapshot(answerer)) == before
            assert network.sockets("bob") == 0
        await offerer.setRemoteDescription(await answered(answerer, offer))
        await switched(offerer, answerer)
        await flowing(answerer)
        await restart(answerer, offerer)


@pytest.mark.parametrize("policy", POLICIES)
async def test_first_remote_then_own_offer(
    network: Network, policy: RTCBundlePolicy
) -> None:
    """
    After the rollback of a first offer of the peer's, one of ours makes the call.
    """
    configuration = RTCConfiguration(iceServers=[], bundlePolicy=policy)
    async with peers(network, configuration=configuration) as (offerer, answerer):
        for pc in (offerer, answerer):
            pc.addTransceiver("audio", "recvonly")
            pc.addTrack(Pictures())
            pc.createDataChannel("test")
        await answerer.setRemoteDescription(await offered(offerer))
        await roll_back(answerer)
        await roll_back(offerer)
        await negotiate(answerer, offerer)
        # What has been offered before is offered again.
        await negotiate(offerer, answerer)
        await switched(offerer, answerer)
        await flowing(offerer, answerer)
        # Who offers controls, whatever role the undone offer had given.
        transports = ice_transports(answerer) + ice_transports(offerer)
        assert {x.role for x in ice_transports(answerer)} == {"controlling"}
        assert {x.role for x in ice_transports(offerer)} == {"controlled"}
        assert {x.state for x in transports} == {"completed"}


def add_video(pc: RTCPeerConnection) -> None:
    pc.addTrack(Pictures())


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_again(
    network: Network, policy: RTCBundlePolicy, side: str, restarts: bool
) -> None:
    """
    In a call an offer is undone on both sides without a trace, and then both may offer.
    """
    configuration = RTCConfiguration(iceServers=[], bundlePolicy=policy)
    async with connected_pair(
        network, configuration=configuration, prepare=lambda a, b: add_video(a)
    ) as pair:
        both = [pair.offerer, pair.answerer]
        watch_slots(*both)
        for _ in range(2):
            both.reverse()
            both[0].addTransceiver("audio", "recvonly")
            both[0].addTransceiver("video", "recvonly")
            before = [but_credentials(snapshot(x)) for x in both]
            offer = await offered(both[0], iceRestart=restarts)
            await both[1].setRemoteDescription(offer)
            await both[1].createAnswer()
            await roll_back(both[0], side)
            await roll_back(both[1], side)
            await asyncio.sleep(SETTLING)
            for pc, expected in zip(both, before, strict=True):
                for key, value in but_credentials(snapshot(pc)).items():
                    assert value == expected[key], key
            await pair.exchange()
        for _ in range(2):
            both.reverse()
            await negotiate(*both)
            await switched(*both)
            await pair.exchange()
        await flowing(pair.answerer)
        await restart(*both)
        await asyncio.sleep(RETIREMENT)
        assert network.sockets("alice") == len(ice_transports(pair.offerer)) == 1
        assert network.sockets("bob") == len(ice_transports(pair.answerer)) == 1


async def test_events(network: Network) -> None:
    """
    A rollback fires the events of what it changes, and none besides.
    """
    async with connected_pair(network) as pair:
        offerer, answerer = events_of(pair.offerer), events_of(pair.answerer)
        offer = await offered(pair.offerer, iceRestart=True)
        await pair.answerer.setRemoteDescription(offer)
        gathering = [
            "signalingstatechange",
            "icegatheringstatechange",
            "icegatheringstatechange",
        ]
        assert offerer == gathering
        assert answerer == gathering[:1]
        del offerer[:], answerer[:]
        await roll_back(pair.offerer)
        await roll_back(pair.answerer)
        await asyncio.sleep(SETTLING)
        # The old generation had been gathered, too. `iceRestart=True` is forgotten.
        assert offerer == answerer == gathering[:1]


async def test_remote_tracks_end(network: Network) -> None:
    """
    Who waits for the frames of a track which the offer had brought is told of its end.
    """
    async with connected_pair(network, prepare=lambda a, b: add_video(a)) as pair:
        (old,) = (x.track for x in pair.answerer.getReceivers())
        add_video(pair.offerer)
        order: list[str] = []
        await pair.answerer.setRemoteDescription(await offered(pair.offerer))
        _, new = (x.track for x in pair.answerer.getReceivers())
        new.on("ended", lambda: order.append("ended"))
        pair.answerer.on("signalingstatechange", lambda: order.append("state"))
        waiting = asyncio.create_task(new.recv())
        await asyncio.sleep(SETTLING)
        await roll_back(pair.answerer)
        with pytest.raises(MediaStreamError):
            await waiting
        assert new.readyState == "ended"
        assert order == ["state", "ended"]
        assert [x.track for x in pair.answerer.getReceivers()] == [old]
        assert old.readyState == "live"
        await flowing(pair.answerer)


async def test_many(network: Network) -> None:
    """
    Fifty offers which are rolled back leave as much as one.
    """
    configuration = RTCConfiguration(
        iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_COMPAT
    )
    async with connected_pair(network, configuration=configuration) as pair:
        before = [path(ice_transport(x)) for x in (pair.offerer, pair.answerer)]
        histories = [states(pair.offerer), states(pair.answerer)]
        pair.offerer.addTransceiver("video")
        sizes = []
        for number in range(50):
            offer = await offered(pair.offerer, iceRestart=number % 2 > 0)
            await pair.answerer.setRemoteDescription(offer)
            await roll_back(pair.offerer)
            await roll_back(pair.answerer)
            await asyncio.sleep(SETTLING)
            sizes.append([size(pair.offerer), size(pair.answerer)])
        assert sizes == [sizes[0]] * 50
        assert network.sockets("alice") == network.sockets("bob") == 1
        assert before == [path(ice_transport(x)) for x in (pair.offerer, pair.answerer)]
        # The wish for a transceiver stands, and asks again each time.
        assert [x.negotiationneeded for x in histories] == [50, 0]
        await pair.exchange()
        await negotiate(pair.offerer, pair.answerer)
        await switched(pair.offerer, pair.answerer)
        assert len(ice_transports(pair.offerer)) == 1
