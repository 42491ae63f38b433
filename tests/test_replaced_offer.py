"""
An offer in the place of another one of the same side's: what only that had is undone
(webrtc-pc #dom-rtcsignalingstate). A peer which offers again has rolled its own back.
"""

import asyncio
from typing import Any

import pytest
from aiortc import MediaStreamTrack, RTCBundlePolicy

from aiortc_restart import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from .calls import (
    RETIREMENT,
    ROLLBACK,
    SETTLING,
    answered,
    edited,
    ice_transport,
    ice_transports,
    offered,
    path,
    paths,
    peers,
    restart,
    sections,
    switched,
    ufrag_of,
)
from .media import Pictures, Silence, flowing
from .network import Network
from .snapshots import events_of, nothing_changes, size, snapshot, watch_slots
from .utils import connected_pair, negotiate, states

POLICIES = list(RTCBundlePolicy)


async def offered_anew(pc: RTCPeerConnection, **options: Any) -> RTCSessionDescription:
    """
    Roll an offer back, and make another one.
    """
    await pc.setLocalDescription(ROLLBACK)
    return await offered(pc, **options)


def tracks_of(pc: RTCPeerConnection) -> list[MediaStreamTrack]:
    """
    Record the tracks of the events which are fired from now on.
    """
    tracks: list[MediaStreamTrack] = []
    pc.on("track", tracks.append)
    return tracks


def mids(pc: RTCPeerConnection) -> list[tuple[str, str | None, int | None]]:
    return [(x.kind, x.mid, x._get_mline_index()) for x in pc.getTransceivers()]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("connected", [False, True], ids=["first", "again"])
async def test_other_sections(
    network: Network, policy: RTCBundlePolicy, connected: bool
) -> None:
    """
    What only the first offer had is gone, and the second is answered and connects.
    """
    configuration = RTCConfiguration(iceServers=[], bundlePolicy=policy)
    async with peers(network, configuration=configuration) as (offerer, answerer):
        watch_slots(answerer)
        if connected:
            offerer.createDataChannel("test")
            await negotiate(offerer, answerer)
            await switched(offerer, answerer)
        stopped = offerer.addTransceiver("video")
        offerer.addTransceiver("audio", "recvonly")
        if not connected:
            offerer.createDataChannel("test")
        await answerer.setRemoteDescription(await offered(offerer))
        gone = answerer.getTransceivers()
        await offerer.setLocalDescription(ROLLBACK)
        await stopped.stop()
        offerer.addTrack(Pictures())
        offer = await offered(offerer)
        await answerer.setRemoteDescription(offer)
        assert all(x.stopped for x in gone)
        assert mids(answerer) == [
            (x.kind, x.rtp.muxId, i)
            for i, x in enumerate(sections(offer))
            if x.kind != "application"
        ]
        await answerer.setLocalDescription()
        await offerer.setRemoteDescription(answerer.localDescription)
        await switched(offerer, answerer)
        await flowing(answerer)
        await asyncio.sleep(RETIREMENT)
        assert network.sockets("bob") == len(ice_transports(answerer)) == 1
        assert len(answerer._transports.made) == 1
        assert not answerer._session.is_negotiation_needed
        await restart(answerer, offerer)
        await negotiate(answerer, offerer)


async def test_shared_transport(network: Network) -> None:
    """
    A transport of the answerer's own that is bundled away, and that others still share,
    is offered as a new one afterwards.
    """
    async with connected_pair(network) as pair:
        pair.answerer.addTransceiver("video")
        pair.answerer.addTransceiver("video")
        pair.offerer.addTrack(Silence("video"))
        first = await offered(pair.offerer, iceRestart=True)
        await pair.answerer.setRemoteDescription(first)
        offer = await offered_anew(pair.offerer, iceRestart=True)
        answer = await answered(pair.answerer, offer)
        await pair.offerer.setRemoteDescription(answer)
        await asyncio.sleep(SETTLING)
        await negotiate(pair.answerer, pair.offerer)
        await asyncio.sleep(SETTLING)
        await pair.exchange()
        assert [x.mid for x in pair.answerer.getTransceivers()] == ["1", "2"]
        assert len(ice_transports(pair.answerer)) == 1


async def test_without_data(network: Network) -> None:
    """
    Without the data of the first offer there is no SCTP transport, until somebody makes
    a channel.
    """
    async with peers(network) as (offerer, answerer):
        offerer.addTransceiver("audio")
        without = await offerer.createOffer()
        offerer.createDataChannel("theirs")
        await answerer.setRemoteDescription(await offered(offerer))
        assert answerer.sctp is not None
        await offerer.setLocalDescription(ROLLBACK)
        await offerer.setLocalDescription(without)
        await answerer.setRemoteDescription(offerer.localDescription)
        assert answerer.sctp is None
        await answerer.setLocalDescription()
        await offerer.setRemoteDescription(answerer.localDescription)
        history = states(answerer)
        channel = answerer.createDataChannel("ours")
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1
        await negotiate(answerer, offerer)
        await asyncio.sleep(SETTLING)
        assert channel.readyState == "open"
        assert len(answerer._transports.made) == 1


async def test_same_sections(network: Network) -> None:
    """
    What both offers have stays what it is: one transceiver, one track, one event.
    """
    async with peers(network) as (offerer, answerer):
        tracks = tracks_of(answerer)
        offerer.addTrack(Pictures())
        offerer.createDataChannel("test")
        await answerer.setRemoteDescription(await offered(offerer))
        kept, sctp = answerer.getTransceivers()[0], answerer.sctp
        events = events_of(answerer)
        await answerer.setRemoteDescription(await offered_anew(offerer))
        await asyncio.sleep(SETTLING)
        assert events == []
        for _ in range(3):
            offerer.addTransceiver("audio", "recvonly")
            await answerer.setRemoteDescription(await offered_anew(offerer))
        assert answerer.getTransceivers()[0] is kept
        assert answerer.sctp is sctp
        assert tracks == [kept.receiver.track]
        assert kept.receiver.track.readyState == "live"
        await answerer.setLocalDescription()
        await offerer.setRemoteDescription(answerer.localDescription)
        await switched(offerer, answerer)
        await flowing(answerer)


async def test_other_mid(network: Network) -> None:
    """
    Under another mid it is another transceiver, and the first one's track ends.
    """
    async with peers(network) as (offerer, answerer):
        tracks = tracks_of(answerer)
        offerer.addTrack(Pictures())
        await answerer.setRemoteDescription(await offered(offerer))
        await offerer.setLocalDescription(ROLLBACK)
        offer = await offerer.createOffer()
        offer = edited(offer, "^a=mid:0", "a=mid:77")
        offer = edited(offer, "^a=group:BUNDLE 0", "a=group:BUNDLE 77")
        await offerer.setLocalDescription(offer)
        await offerer.setRemoteDescription(
            await answered(answerer, offerer.localDescription)
        )
        assert mids(answerer) == [("video", "77", 0)]
        assert [x.readyState for x in tracks] == ["ended", "live"]
        await switched(offerer, answerer)
        await flowing(answerer)


async def test_nothing_sent_any_more(network: Network) -> None:
    """
    If the second offer does not send what the first did, its track ends.
    """
    async with connected_pair(network) as pair:
        tracks = tracks_of(pair.answerer)
        transceiver = pair.offerer.addTransceiver(Pictures())
        await pair.answerer.setRemoteDescription(await offered(pair.offerer))
        await pair.offerer.setLocalDescription(ROLLBACK)
        transceiver.direction = "recvonly"
        await pair.answerer.setRemoteDescription(await offered(pair.offerer))
        assert [x.readyState for x in tracks] == ["ended"]
        assert [x.track for x in pair.answerer.getReceivers()] == [None]
        transceiver.direction = "sendrecv"
        await pair.answerer.setRemoteDescription(await offered_anew(pair.offerer))
        assert [x.readyState for x in tracks] == ["ended", "live"]
        await pair.offerer.setLocalDescription(ROLLBACK)
        await pair.answerer.setLocalDescription(ROLLBACK)
        await negotiate(pair.offerer, pair.answerer)
        await flowing(pair.answerer)


async def test_application(network: Network) -> None:
    """
    What the application has added meanwhile, also to what the first offer made, stays,
    and is offered later.
    """
    async with connected_pair(network) as pair:
        pc, other = pair.answerer, pair.offerer
        history = states(pc)
        stopped = other.addTransceiver("video", "recvonly")
        await pc.setRemoteDescription(await offered(other))
        taken = pc.getTransceivers()[0]
        assert pc.addTrack(Pictures()) is taken.sender
        added = pc.addTransceiver("audio", "recvonly")
        pc.createDataChannel("ours")
        await other.setLocalDescription(ROLLBACK)
        await stopped.stop()
        await pc.setRemoteDescription(await offered(other))
        assert mids(pc) == [("video", None, None), ("audio", None, None)]
        assert pc.getTransceivers() == [taken, added] and not taken.stopped
        await pc.setLocalDescription()
        await other.setRemoteDescription(pc.localDescription)
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1
        await negotiate(pc, other)
        await flowing(other)
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1


async def test_fails(network: Network) -> None:
    """
    If the second offer fails, the first one is still there to be answered.
    """
    async with connected_pair(network) as pair:
        pc, other = pair.answerer, pair.offerer
        other.addTrack(Pictures())
        first = await offered(other, iceRestart=True)
        await pc.setRemoteDescription(first)
        bad = edited(first, "^a=rtcp-mux\r\n", "")
        bad = edited(bad, "^a=mid:1", "a=mid:77")
        bad = edited(bad, "^a=group:BUNDLE 0 1", "a=group:BUNDLE 0 77")
        for description, error in (
            (bad, Exception),
            (edited(first, "^a=ice-ufrag:.*", "a=ice-ufrag:x"), ValueError),
            (edited(first, "^m=video .*", "m=video"), ValueError),
        ):
            with nothing_changes(pc), pytest.raises(error):
                await pc.setRemoteDescription(description)
        await pc.setLocalDescription()
        await other.setRemoteDescription(pc.localDescription)
        await switched(pc, other)
        await flowing(pc)


@pytest.mark.parametrize("second", ["same", "other", "none"])
async def test_restart(network: Network, second: str) -> None:
    """
    The restart of the second offer counts, and is the first one's if it says the same.
    """
    async with connected_pair(network) as pair:
        pc, other = pair.answerer, pair.offerer
        before = paths(other, pc)
        first = await offered(other, iceRestart=True)
        await pc.setRemoteDescription(first)
        pending = ice_transport(pc).generations[-1]
        if second == "same":
            offer = first
        else:
            offer = await offered_anew(other, iceRestart=second == "other")
        await pc.setRemoteDescription(offer)
        generations = ice_transport(pc).generations
        assert len(generations) == (1 if second == "none" else 2)
        assert (pending in generations) == (second == "same")
        await pc.setLocalDescription()
        await other.setRemoteDescription(pc.localDescription)
        await switched(other, pc)
        assert (paths(other, pc) == before) == (second == "none")
        assert path(ice_transport(pc))[1] == ufrag_of(offer)
        await asyncio.sleep(RETIREMENT)
        assert network.sockets("alice") == network.sockets("bob") == 1
        await pair.exchange()


async def test_first_candidates(network: Network) -> None:
    """
    A first connection checks the candidates of the second offer, and no others.
    """
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        first = await offered(offerer)
        await answerer.setRemoteDescription(first)
        offer = await offered_anew(offerer)
        assert ufrag_of(offer) != ufrag_of(first)
        await answerer.setRemoteDescription(offer)
        (generation,) = ice_transport(answerer).generations
        assert len(generation.connection.remote_candidates) == 1
        # The same again adds nothing.
        await answerer.setRemoteDescription(offer)
        assert ice_transport(answerer).generations == [generation]
        assert len(generation.connection.remote_candidates) == 1
        await answerer.setLocalDescription()
        await offerer.setRemoteDescription(answerer.localDescription)
        await switched(offerer, answerer)
        assert path(ice_transport(answerer))[1] == ufrag_of(offer)


async def test_rolled_back(network: Network) -> None:
    """
    A rollback leads to where it led before, past both offers, and fires what it fired.
    """
    async with connected_pair(network) as pair:
        pc, other = pair.answerer, pair.offerer
        before, history, tracks = snapshot(pc), states(pc), tracks_of(pc)
        other.addTransceiver("audio")
        await pc.setRemoteDescription(await offered(other, iceRestart=True))
        other.addTrack(Silence("video"))
        await pc.setRemoteDescription(await offered_anew(other))
        assert history.signaling == ["stable", "have-remote-offer"]
        assert [x.readyState for x in tracks] == ["live", "live"]
        events = events_of(pc)
        await pc.setLocalDescription(ROLLBACK)
        await asyncio.sleep(SETTLING)
        assert events == ["signalingstatechange"]
        assert [x.readyState for x in tracks] == ["ended", "ended"]
        for key, value in snapshot(pc).items():
            assert value == before[key], key
        await pair.exchange()


async def test_many(network: Network) -> None:
    """
    Fifty offers leave as much as one.
    """
    configuration = RTCConfiguration(
        iceServers=[], bundlePolicy=RTCBundlePolicy.MAX_COMPAT
    )
    async with connected_pair(network, configuration=configuration) as pair:
        pair.offerer.addTransceiver("video")
        sizes = []
        for number in range(50):
            offer = await offered(pair.offerer, iceRestart=True)
            offer = edited(offer, "^a=mid:1", f"a=mid:{number + 7}")
            offer = edited(offer, "BUNDLE 0 1", f"BUNDLE 0 {number + 7}")
            await pair.answerer.setRemoteDescription(offer)
            await pair.offerer.setLocalDescription(ROLLBACK)
            await asyncio.sleep(SETTLING)
            sizes.append(size(pair.answerer))
        assert sizes == [sizes[0]] * 50
        await pair.answerer.setLocalDescription(ROLLBACK)
        await negotiate(pair.offerer, pair.answerer)
        await pair.exchange()


@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_own_without_track(network: Network, restarts: bool) -> None:
    """
    A track which only the first of our two offers has is offered again later.
    """
    async with connected_pair(network) as pair:
        pc, other = pair.offerer, pair.answerer
        history = states(pc)
        stale = await pc.createOffer(iceRestart=restarts)
        pc.addTrack(Pictures())
        await offered(pc)
        await pc.setLocalDescription(stale)
        assert mids(pc) == [("video", None, None)]
        await pc.setRemoteDescription(await answered(other, pc.localDescription))
        await switched(pc, other)
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1
        await negotiate(pc, other)
        await flowing(other)
        await asyncio.sleep(RETIREMENT)
        assert history.negotiationneeded == 1
        assert network.sockets("alice") == 1
        await restart(other, pc)


async def test_own_without_channel(network: Network) -> None:
    """
    A channel which only the first of our two offers has is offered again later.
    """
    async with peers(network) as (pc, other):
        pc.addTransceiver("audio")
        history = states(pc)
        stale = await pc.createOffer()
        channel = pc.createDataChannel("test")
        await offered(pc)
        await pc.setLocalDescription(stale)
        await pc.setRemoteDescription(await answered(other, pc.localDescription))
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1
        await negotiate(pc, other)
        await asyncio.sleep(SETTLING)
        assert channel.readyState == "open"
        assert history.negotiationneeded == 1


async def test_own_with_stopped(network: Network) -> None:
    """
    One which has been stopped since has gone, as if it had never been offered.
    """
    async with connected_pair(network) as pair:
        pc, other = pair.offerer, pair.answerer
        stale = await pc.createOffer()
        transceiver = pc.addTransceiver("video")
        await offered(pc)
        await transceiver.stop()
        await pc.setLocalDescription(stale)
        assert transceiver.mid is None
        await pc.setRemoteDescription(await answered(other, pc.localDescription))
        await asyncio.sleep(SETTLING)
        assert not pc._session.is_negotiation_needed
        assert len(pc._transports.made) == network.sockets("alice") == 1
        await pair.exchange()


async def test_own_fails(network: Network) -> None:
    """
    If our second offer fails, the first one is still there to be answered.
    """
    async with connected_pair(network) as pair:
        pc, other = pair.offerer, pair.answerer
        stale = await pc.createOffer()
        pc.addTrack(Pictures())
        first = await offered(pc)
        with nothing_changes(pc), pytest.raises(ValueError):
            await pc.setLocalDescription(edited(stale, "^m=app.*", "m=audio 9 X 0"))
        await pc.setRemoteDescription(await answered(other, first))
        await flowing(other)
