"""
What the application did since the offer that is rolled back: it is kept.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aiortc_restart import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)

from .calls import ROLLBACK, SETTLING, edited, offered, peers, restart, switched
from .media import Pictures, flowing
from .network import Network
from .snapshots import slots
from .utils import connected_pair, negotiate, states, until

POLICIES = list(RTCBundlePolicy)

Peers = tuple[RTCPeerConnection, RTCPeerConnection]


@asynccontextmanager
async def have_remote_offer(
    network: Network, policy: RTCBundlePolicy, connected: bool
) -> AsyncIterator[Peers]:
    """
    Have a peer, the second, which has been offered a video and knows none by itself.
    """
    configuration = RTCConfiguration(iceServers=[], bundlePolicy=policy)
    async with peers(network, configuration=configuration) as both:
        if connected:
            both[0].createDataChannel("first")
            await negotiate(*both)
            await switched(*both)
        both[0].addTrack(Pictures())
        await both[1].setRemoteDescription(await offered(both[0]))
        yield both


async def negotiated_either_way(
    offerer: RTCPeerConnection, pc: RTCPeerConnection
) -> None:
    """
    Negotiate, beginning with the one which has rolled back.
    """
    await offerer.setLocalDescription(ROLLBACK)
    for both in ((pc, offerer), (offerer, pc)):
        await negotiate(*both)
        await switched(*both)
    await flowing(offerer, pc)
    await restart(pc, offerer)


def channel_lines(offer: RTCSessionDescription) -> list[str]:
    """
    Return the lines by which an offer describes its data channels.
    """
    return re.findall(
        r"^(?:m=application|a=sctp|a=max-message-size).*?$", offer.sdp, re.MULTILINE
    )


@pytest.mark.parametrize("connected", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("policy", POLICIES)
async def test_track(
    network: Network, policy: RTCBundlePolicy, connected: bool
) -> None:
    """
    A transceiver which the offer has made stays if addTrack() has used it since.
    """
    # RFC 9429 section 4.1.10.2
    async with have_remote_offer(network, policy, connected) as (offerer, pc):
        (transceiver,) = pc.getTransceivers()
        track, remote_track = Pictures(), transceiver.receiver.track
        assert pc.addTrack(track) is transceiver.sender
        history = states(pc)
        await pc.setRemoteDescription(ROLLBACK)
        assert pc.getTransceivers() == [transceiver]
        assert transceiver.mid is None
        assert transceiver.currentDirection is None
        assert not transceiver.stopped
        assert transceiver.sender.track is track
        assert transceiver.receiver.track is None
        assert remote_track.readyState == "ended"
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1
        await negotiated_either_way(offerer, pc)
        assert len(pc.getTransceivers()) == 1


@pytest.mark.parametrize("connected", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("offers", ["remote", "local"])
async def test_transceiver(
    network: Network, policy: RTCBundlePolicy, connected: bool, offers: str
) -> None:
    """
    A transceiver which was added since the offer stays, with its track.
    """
    async with have_remote_offer(network, policy, connected) as (offerer, answerer):
        pc, other = answerer, offerer
        if offers == "local":
            pc, other = other, pc
        before = pc.getTransceivers()
        added = pc.addTransceiver(Pictures())
        await pc.setLocalDescription(ROLLBACK)
        assert not added.stopped
        expected = [*before, added] if offers == "local" else [added]
        assert pc.getTransceivers() == expected
        assert [x.mid for x in expected] == [None] * len(expected)
        await other.setLocalDescription(ROLLBACK)
        offerer.addTrack(Pictures())
        await negotiate(pc, other)
        await negotiate(other, pc)
        await switched(pc, other)
        await flowing(answerer)
        await restart(pc, other)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("when", ["created by the offer", "only here"])
async def test_data_channel(
    network: Network, policy: RTCBundlePolicy, when: str
) -> None:
    """
    A data channel which was created since the offer stays, and opens later.
    """
    configuration = RTCConfiguration(iceServers=[], bundlePolicy=policy)
    async with peers(network, configuration=configuration) as (offerer, answerer):
        if when == "created by the offer":
            offerer.createDataChannel("theirs")
        offerer.addTransceiver("audio")
        await answerer.setRemoteDescription(await offered(offerer))
        channel = answerer.createDataChannel("ours")
        sctp = answerer.sctp
        assert sctp is not None
        await answerer.setRemoteDescription(ROLLBACK)
        assert answerer.sctp is sctp
        assert sctp.mid is None
        await offerer.setLocalDescription(ROLLBACK)
        names: list[str] = []
        offerer.on("datachannel", lambda x: names.append(x.label))
        await negotiate(answerer, offerer)
        await until(lambda: channel.readyState == "open" and names == ["ours"])
        assert answerer.sctp is sctp
        # Its own transceiver has not been negotiated yet.
        await negotiate(offerer, answerer)
        await switched(offerer, answerer)
        await restart(offerer, answerer)


@pytest.mark.parametrize("policy", POLICIES)
async def test_no_data_channel(network: Network, policy: RTCBundlePolicy) -> None:
    """
    A transport for data channels which only the offer had made is gone.
    """
    configuration = RTCConfiguration(iceServers=[], bundlePolicy=policy)
    async with peers(network, configuration=configuration) as (offerer, answerer):
        offerer.createDataChannel("theirs")
        offer = await offered(offerer)
        answerer.addTransceiver("audio")
        await answerer.setRemoteDescription(offer)
        assert answerer.sctp is not None
        history = states(answerer)
        await answerer.setLocalDescription(ROLLBACK)
        assert answerer.sctp is None
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1
        await offerer.setLocalDescription(ROLLBACK)
        await negotiate(answerer, offerer)
        assert "m=application" not in answerer.localDescription.sdp
        channel = answerer.createDataChannel("ours")
        await negotiate(answerer, offerer)
        await until(lambda: channel.readyState == "open")


async def test_direction(network: Network) -> None:
    """
    A direction which was set since the offer stays set, and asks for a negotiation.
    """
    async with connected_pair(
        network, prepare=lambda a, b: (a.addTrack(Pictures()), b.addTrack(Pictures()))
    ) as pair:
        pc = pair.answerer
        (transceiver,) = pc.getTransceivers()
        await pc.setRemoteDescription(await offered(pair.offerer))
        history = states(pc)
        transceiver.direction = "recvonly"
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 0
        await pc.setRemoteDescription(ROLLBACK)
        assert transceiver.direction == "recvonly"
        assert transceiver.currentDirection == "sendrecv"
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1


async def test_stopped(network: Network) -> None:
    """
    A transceiver which was stopped since the offer stays stopped.
    """
    async with connected_pair(
        network, prepare=lambda a, b: (a.addTrack(Pictures()), b.addTrack(Pictures()))
    ) as pair:
        pc = pair.answerer
        (transceiver,) = pc.getTransceivers()
        await pc.setRemoteDescription(await offered(pair.offerer))
        await transceiver.stop()
        await pc.setLocalDescription(ROLLBACK)
        assert transceiver.stopped
        await pair.offerer.setLocalDescription(ROLLBACK)
        await negotiate(pc, pair.offerer)
        assert transceiver.currentDirection == "inactive"
        await pair.exchange()


async def test_removed(network: Network) -> None:
    """
    A transceiver which is removed is stopped, which its application may still hold.
    """
    # RFC 9429 section 4.1.10.2
    policy = RTCBundlePolicy.BALANCED
    async with have_remote_offer(network, policy, True) as (_, pc):
        (removed,) = pc.getTransceivers()
        assert not removed.stopped
        stopped: list[bool] = []
        pc.on("signalingstatechange", lambda: stopped.append(removed.stopped))
        await pc.setRemoteDescription(ROLLBACK)
        assert pc.getTransceivers() == []
        assert stopped == [True]


@pytest.mark.parametrize("policy", POLICIES)
async def test_legacy_data_channels(network: Network, policy: RTCBundlePolicy) -> None:
    """
    The way in which an offer had described data channels is forgotten.
    """
    configuration = RTCConfiguration(iceServers=[], bundlePolicy=policy)
    async with peers(network, configuration=configuration) as (offerer, answerer):
        offerer.createDataChannel("theirs")
        answerer.createDataChannel("ours")
        before = channel_lines(await answerer.createOffer())
        offer = await offered(offerer)
        # As it was before RFC 8841.
        legacy = edited(offer, "UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000")
        legacy = edited(
            legacy, "a=sctp-port:5000", "a=sctpmap:5000 webrtc-datachannel 65535"
        )
        await answerer.setRemoteDescription(legacy)
        await answerer.setRemoteDescription(ROLLBACK)
        assert channel_lines(await answerer.createOffer()) == before


async def test_kept_then_answered(network: Network) -> None:
    """
    A transceiver which was kept is used again for the same offer.
    """
    policy = RTCBundlePolicy.BALANCED
    async with have_remote_offer(network, policy, True) as (offerer, pc):
        pc.addTrack(Pictures())
        kept = pc.getTransceivers()
        await pc.setRemoteDescription(ROLLBACK)
        await pc.setRemoteDescription(offerer.localDescription)
        assert pc.getTransceivers() == kept
        await pc.setLocalDescription()
        await offerer.setRemoteDescription(pc.localDescription)
        assert slots(offerer) == ["offer", "answer", None, None]
        await flowing(offerer, pc)
