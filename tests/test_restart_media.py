"""
Media before, during and after a restart.
"""

import asyncio

import pytest

from aiortc_restart import (
    AudioStreamTrack,
    RTCPeerConnection,
)

from .calls import (
    RETIREMENT,
    answered,
    ice_transports,
    offered,
    paths,
    peers,
    restart,
    sections,
    switched,
)
from .media import add_media, flowing, packets_lost
from .network import Network
from .utils import Pair, connected_pair, event, negotiate


@pytest.mark.parametrize("first", [True, False], ids=["offerer", "answerer"])
async def test_media(network: Network, first: bool) -> None:
    """
    Media flows both ways after a restart, whichever side offered it.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        both = [pair.offerer, pair.answerer]
        if not first:
            both.reverse()
        await flowing(*both)
        for _ in range(2):
            await restart(*both)
            await asyncio.sleep(RETIREMENT)
            # The old sockets are gone: this is the new path.
            assert network.sockets("alice") == network.sockets("bob") == 1
            await flowing(*both)
        for pc in both:
            assert [await packets_lost(x) for x in pc.getReceivers()] == [0, 0]
            assert {x.track.readyState for x in pc.getSenders() if x.track} == {"live"}


def add_track(pair: Pair, pc: RTCPeerConnection) -> "asyncio.Task[object]":
    """
    Add a track to a peer, and wait for the other to be told of it.
    """
    (other,) = {pair.offerer, pair.answerer} - {pc}
    pc.addTrack(AudioStreamTrack())
    return asyncio.ensure_future(event(other, "track"))


async def test_track_added_by_offerer(network: Network) -> None:
    """
    A track which the offerer adds is in the same negotiation as the restart.
    """
    async with connected_pair(network) as pair:
        pair.offerer.restartIce()
        track = add_track(pair, pair.offerer)
        offer = await offered(pair.offerer)
        assert [x.kind for x in sections(offer)] == ["application", "audio"]
        answer = await answered(pair.answerer, offer)
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        await track
        await flowing(pair.answerer)
        await pair.exchange()
        # The new section shares the transport that was there.
        assert len(ice_transports(pair.offerer)) == 1
        await asyncio.sleep(RETIREMENT)
        assert network.sockets("alice") == network.sockets("bob") == 1


async def test_track_replaced_offer(network: Network) -> None:
    """
    A track which comes too late for a restart offer gets into the next one.
    """
    async with connected_pair(network) as pair:
        await pair.answerer.setRemoteDescription(
            await offered(pair.offerer, iceRestart=True)
        )
        track = add_track(pair, pair.offerer)
        answer = await answered(
            pair.answerer, await offered(pair.offerer, iceRestart=True)
        )
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        await track
        await flowing(pair.answerer)


async def test_track_added_to_offered_section(network: Network) -> None:
    """
    A track which the answerer adds to an offered section is in the restart's answer.
    """

    def prepare(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
        offerer.addTrack(AudioStreamTrack())

    async with connected_pair(network, prepare=prepare) as pair:
        offer = await offered(pair.offerer, iceRestart=True)
        await pair.answerer.setRemoteDescription(offer)
        track = add_track(pair, pair.answerer)
        answer = await answered(pair.answerer, offer)
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        await track
        await flowing(pair.offerer, pair.answerer)


@pytest.mark.parametrize("early", [True, False], ids=["before", "after"])
async def test_track_added_by_answerer(network: Network, early: bool) -> None:
    """
    A track which the offer does not know disturbs neither the restart nor its answer.
    """
    async with connected_pair(network) as pair:
        offer = await offered(pair.offerer, iceRestart=True)
        if early:
            track = add_track(pair, pair.answerer)
        await pair.answerer.setRemoteDescription(offer)
        if not early:
            track = add_track(pair, pair.answerer)
        await pair.answerer.setLocalDescription(await pair.answerer.createAnswer())
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await switched(pair.offerer)
        await pair.exchange()
        # webrtc-pc #dom-rtcrtptransceiver-currentdirection
        (transceiver,) = pair.answerer.getTransceivers()
        assert transceiver.mid is None
        assert transceiver.currentDirection is None

        await negotiate(pair.answerer, pair.offerer)
        await track
        await flowing(pair.offerer)
        await restart(pair.answerer, pair.offerer)
        await flowing(pair.offerer)


async def test_first_channel_during_restart(network: Network) -> None:
    """
    A first data channel gets its section in the same negotiation as the restart.
    """
    # RFC 9429 section 5.2.2
    async with peers(network) as (offerer, answerer):
        add_media(offerer, answerer)
        await negotiate(offerer, answerer)
        await flowing(offerer, answerer)
        before = paths(offerer, answerer)
        waiting = asyncio.ensure_future(event(answerer, "datachannel"))
        channel = offerer.createDataChannel("first")
        await negotiate(offerer, answerer, iceRestart=True)
        await event(channel, "open")
        (remote,) = await waiting
        assert remote.label == "first"
        await switched(offerer, answerer)
        assert set(before).isdisjoint(paths(offerer, answerer))
        await flowing(offerer, answerer)
