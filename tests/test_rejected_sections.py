"""
M-sections which are rejected, by either side, and used again (RFC 9429 section 5.2.2).
"""

import asyncio
import contextlib
import re
import threading
from collections.abc import AsyncIterator

import pytest
from aiortc import MediaStreamTrack, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, VideoStreamTrack

from aiortc_restart import RTCPeerConnection
from aiortc_restart._aiortc import dtls_of

from .calls import (
    ROLLBACK,
    SETTLING,
    answered,
    edited,
    ice_transport,
    ice_transports,
    offered,
    path,
    peers,
    restart,
    sections,
    switched,
    ufrag_of,
    unbundled,
)
from .media import Silence
from .network import Network
from .utils import Pair, connected_pair, credentials, negotiate, states, until


def add_media(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    offerer.addTrack(AudioStreamTrack())
    offerer.addTrack(VideoStreamTrack())


def ports(description: RTCSessionDescription) -> list[bool]:
    """
    Return which m-sections of a description have a port.
    """
    return [x != "0" for x in re.findall(r"^m=\w+ (\d+)", description.sdp, re.M)]


def bundled(description: RTCSessionDescription) -> str:
    found = re.search(r"^a=group:BUNDLE (.*?)\r?$", description.sdp, re.M)
    assert found is not None
    return found[1]


async def works(pair: Pair) -> None:
    """
    Assert that a call goes on, also through a restart by either side.
    """
    await pair.exchange()
    await restart(pair.offerer, pair.answerer)
    await restart(pair.answerer, pair.offerer)
    await pair.exchange()


@pytest.mark.parametrize("by_answerer", [True, False])
async def test_owner_of_the_transport(network: Network, by_answerer: bool) -> None:
    """
    What shares the transport of a rejected section may be the BUNDLE-tag: all others
    use that transport then, and not one which the peer does not know.
    """
    async with peers(network, RTCPeerConnection, RTCPeerConnection) as (
        offerer,
        answerer,
    ):
        rejected, tag = (offerer.addTransceiver("video") for _ in range(2))
        offerer.createDataChannel("data")
        transport = dtls_of(tag)
        assert transport is dtls_of(rejected)
        offer = await offered(offerer)
        if not by_answerer:
            await rejected.stop()
            offer = await offered(offerer)
        answer = await answered(answerer, offer)
        if by_answerer:
            sdp = re.sub(r"^m=video \d+", "m=video 0", answer.sdp, count=1, flags=re.M)
            sdp = sdp.replace("BUNDLE 0 1 2", "BUNDLE 1 2")
            answer = RTCSessionDescription(sdp=sdp, type="answer")
        assert ports(answer) == [False, True, True]
        assert bundled(answer) == "1 2"
        await offerer.setRemoteDescription(answer)
        assert offerer.sctp is not None
        assert tag.receiver.transport is offerer.sctp.transport is transport
        await until(lambda: offerer.connectionState == "connected")
        await until(lambda: answerer.connectionState == "connected")


async def test_stopped_by_the_offerer(network: Network) -> None:
    """
    A stopped transceiver's m-section is rejected at both ends.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        history = states(pair.offerer)
        stopped = pair.offerer.getTransceivers()[1]
        other = pair.answerer.getTransceivers()[1]
        await stopped.stop()
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1
        offer, answer = await negotiate(pair.offerer, pair.answerer)
        await asyncio.sleep(SETTLING)
        for description in (offer, answer):
            assert ports(description) == [True, False, True]
            assert bundled(description) == "0 2"
        assert stopped.currentDirection == other.currentDirection == "inactive"
        assert other.stopped
        with pytest.raises(MediaStreamError):
            await other.receiver.track.recv()
        assert history.negotiationneeded == 1
        await works(pair)
        # It stays rejected, whoever offers.
        for a, b in ((pair.offerer, pair.answerer), (pair.answerer, pair.offerer)):
            for description in await negotiate(a, b):
                assert ports(description) == [True, False, True]
        assert history.negotiationneeded == 1


async def test_tag_stopped_by_the_offerer(network: Network) -> None:
    """
    The BUNDLE-tag is made inactive instead, as the others could not do without it.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        history = states(pair.offerer)
        await pair.offerer.getTransceivers()[0].stop()
        offer, answer = await negotiate(pair.offerer, pair.answerer)
        assert ports(offer) == ports(answer) == [True, True, True]
        for pc in (pair.offerer, pair.answerer):
            assert pc.getTransceivers()[0].currentDirection == "inactive"
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 0
        await works(pair)


async def test_tag_rejected_by_the_peer(network: Network) -> None:
    """
    A peer may reject its BUNDLE-tag: the others go on over the transport that they had.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        offer = await offered(pair.offerer)
        munged = offer.sdp.replace("BUNDLE 0 1 2", "BUNDLE 1 2")
        munged = re.sub(r"^m=audio \d+", "m=audio 0", munged, flags=re.M)
        await pair.answerer.setRemoteDescription(
            RTCSessionDescription(sdp=munged, type="offer")
        )
        await pair.answerer.setLocalDescription()
        answer = pair.answerer.localDescription
        assert ports(answer) == [False, True, True]
        assert bundled(answer) == "1 2"
        await pair.exchange()
        await asyncio.sleep(SETTLING)
        assert [x.stopped for x in pair.answerer.getTransceivers()] == [True, False]
        assert pair.answerer.connectionState == "connected"


async def test_stopped_before_it_was_offered(network: Network) -> None:
    """
    A transceiver that never had an m-section leaves no trace in the states.
    """
    async with connected_pair(network) as pair:
        history = states(pair.offerer)
        await pair.offerer.addTransceiver("audio").stop()
        offer, _ = await negotiate(pair.offerer, pair.answerer)
        assert ports(offer) == [True]
        assert history.ice == ["completed"]
        assert history.connection == ["connected"]
        await pair.exchange()


async def test_stopped_while_the_peer_offers(network: Network) -> None:
    """
    A transceiver which was stopped before it had an m-section has none while an offer
    of the peer's is applied either, and keeps its place.
    """
    async with connected_pair(network) as pair:
        stopped = [pair.answerer.addTransceiver("audio") for _ in range(2)]
        for transceiver in stopped:
            await transceiver.stop()
        pair.offerer.addTransceiver("audio")
        offer = await offered(pair.offerer)
        applied = asyncio.create_task(pair.answerer.setRemoteDescription(offer))
        turns = 0
        while not applied.done():
            assert [x.mid for x in stopped] == [None, None]
            assert pair.answerer.getTransceivers()[:2] == stopped
            senders = [x.sender for x in stopped]
            assert pair.answerer.getSenders()[:2] == senders
            receivers = [x.receiver for x in stopped]
            assert pair.answerer.getReceivers()[:2] == receivers
            await asyncio.sleep(0)
            turns += 1
        await applied
        assert turns > 0
        mids = [x.mid for x in pair.answerer.getTransceivers()]
        assert mids[:2] == [None, None] and mids[2] is not None


@pytest.mark.parametrize("end", [0, 1], ids=["offerer", "answerer"])
async def test_stopped_lends_no_transport(network: Network, end: int) -> None:
    """
    A transceiver that never had an m-section has no transport for those of its kind.
    """
    async with peers(network) as both:
        await both[end].addTransceiver("audio").stop()
        # Its transport is stopped at the end of a negotiation.
        await negotiate(*both)
        both[0].addTransceiver("audio")
        await negotiate(*both)
        for pc in both:
            await until(lambda x=pc: x.connectionState == "connected")  # type: ignore[misc]


async def test_stopped_lends_no_credentials(network: Network) -> None:
    """
    What is added after a restart has the credentials of the restart, not those of a
    transceiver that never had an m-section.
    """
    async with peers(network) as (offerer, answerer):
        await offerer.addTransceiver("audio").stop()
        offerer.addTransceiver("audio")
        await negotiate(offerer, answerer)
        await switched(offerer, answerer)
        await restart(offerer, answerer)
        current = credentials(offerer.localDescription)
        offerer.createDataChannel("test")
        assert credentials(await offerer.createOffer()) == 2 * current


async def test_stopped_since_it_was_offered(network: Network) -> None:
    """
    A transceiver whose offer is replaced as it was stopped leaves no trace in the
    states, and none of its transport.
    """
    async with connected_pair(network) as pair:
        history = states(pair.offerer)
        stopped = pair.offerer.addTransceiver("audio")
        await offered(pair.offerer)
        await stopped.stop()
        offer, _ = await negotiate(pair.offerer, pair.answerer)
        await asyncio.sleep(SETTLING)
        assert ports(offer) == [True, False]
        assert history.ice == ["completed", "new", "completed"]
        assert history.connection == ["connected", "connecting", "connected"]
        assert network.sockets("alice") == 1
        await works(pair)


@pytest.mark.parametrize("directions", [["sendrecv"], ["sendonly", "sendrecv"]])
async def test_stopped_before_it_starts(
    network: Network, directions: list[str]
) -> None:
    """
    Media which has not started when its transceiver is stopped never does.
    """
    async with connected_pair(network) as pair:
        pair.answerer.addTrack(Silence("video"))
        transceiver = pair.offerer.addTransceiver(Silence("video"))
        for direction in directions:
            await asyncio.sleep(SETTLING)
            transceiver.direction = direction
            await negotiate(pair.offerer, pair.answerer)
        threads = threading.active_count()
        await transceiver.stop()
        await asyncio.sleep(SETTLING)
        started = threading.active_count() > threads
        # Its thread would keep the process alive.
        await transceiver.receiver.stop()
        assert not started


async def test_stopped_by_the_answerer(network: Network) -> None:
    """
    A transceiver which is stopped before it is answered is rejected in the answer.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        histories = [states(pair.offerer), states(pair.answerer)]
        await pair.answerer.setRemoteDescription(await offered(pair.offerer))
        await pair.answerer.getTransceivers()[1].stop()
        await pair.answerer.setLocalDescription()
        answer = pair.answerer.localDescription
        assert ports(answer) == [True, False, True]
        await pair.offerer.setRemoteDescription(answer)
        await asyncio.sleep(SETTLING)
        assert [x.stopped for x in pair.offerer.getTransceivers()] == [False, True]
        assert [x.negotiationneeded for x in histories] == [0, 0]
        await works(pair)


async def test_tag_stopped_by_the_answerer(network: Network) -> None:
    """
    The BUNDLE-tag is made inactive instead, as the others could not do without it.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        await pair.answerer.setRemoteDescription(await offered(pair.offerer))
        await pair.answerer.getTransceivers()[0].stop()
        await pair.answerer.setLocalDescription()
        answer = pair.answerer.localDescription
        assert ports(answer) == [True, True, True]
        await pair.offerer.setRemoteDescription(answer)
        assert pair.offerer.getTransceivers()[0].currentDirection == "inactive"
        await works(pair)


REJECTED = """m=video 0 UDP/TLS/RTP/SAVPF 34\r
c=IN IP4 0.0.0.0\r
a=mid:1\r
a=inactive\r
"""


@pytest.mark.parametrize("mid", ["a=mid:1\r\n", ""], ids=["mid", "no mid"])
async def test_bare_section(network: Network, mid: str) -> None:
    """
    A rejected m-section needs no credentials, no codec and no mid.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        await pair.answerer.setRemoteDescription(await offered(pair.offerer))
        await pair.answerer.setLocalDescription()
        session, audio, _, data = re.split(
            "^(?=m=)", pair.answerer.localDescription.sdp, flags=re.M
        )
        session = session.replace("BUNDLE 0 1 2", "BUNDLE 0 2")
        bare = REJECTED.replace("a=mid:1\r\n", mid)
        answer = RTCSessionDescription(
            sdp="".join((session, audio, bare, data)), type="answer"
        )
        await pair.offerer.setRemoteDescription(answer)
        await asyncio.sleep(SETTLING)
        assert pair.offerer.getTransceivers()[1].stopped
        assert pair.offerer.signalingState == "stable"
        await pair.exchange()


async def test_used_again(network: Network) -> None:
    """
    The peer may use a rejected m-section for another transceiver.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        await pair.offerer.getTransceivers()[1].stop()
        await negotiate(pair.offerer, pair.answerer)
        # As Chromium does: in the same place, with another mid.
        pair.offerer.addTrack(VideoStreamTrack())
        await pair.answerer.setRemoteDescription(await pair.offerer.createOffer())
        await pair.answerer.setLocalDescription()
        answer = pair.answerer.localDescription
        assert re.findall(r"^a=mid:(\d)", answer.sdp, re.M) == ["0", "3", "2"]
        assert ports(answer) == [True, True, True]
        old, new = pair.answerer.getTransceivers()[1:]
        assert (old.mid, old.stopped) == (None, True)
        assert (new.mid, new.stopped, new.currentDirection) == ("3", False, "recvonly")
        # Our own offers know it, too.
        again = await pair.answerer.createOffer()
        assert re.findall(r"^a=mid:(\d)", again.sdp, re.M) == ["0", "3", "2"]


async def test_rolled_back(network: Network) -> None:
    """
    A rejection which is rolled back has stopped nothing.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        await pair.offerer.getTransceivers()[1].stop()
        await pair.answerer.setRemoteDescription(await offered(pair.offerer))
        await pair.answerer.setRemoteDescription(
            RTCSessionDescription(sdp="", type="rollback")
        )
        assert not pair.answerer.getTransceivers()[1].stopped
        await pair.offerer.setLocalDescription(
            RTCSessionDescription(sdp="", type="rollback")
        )
        # The other side's offer is rejected where the transceiver is stopped.
        _, answer = await negotiate(pair.answerer, pair.offerer)
        await asyncio.sleep(SETTLING)
        assert ports(answer) == [True, False, True]
        assert pair.answerer.getTransceivers()[1].stopped
        await works(pair)


async def test_rejected_transport_is_not_started(network: Network) -> None:
    """
    Where nothing is bundled, a rejected m-section's transport is not waited for.
    """

    async with connected_pair(network) as pair:
        pair.offerer.addTrack(VideoStreamTrack())
        await pair.answerer.setRemoteDescription(await offered(pair.offerer))
        await pair.answerer.getTransceivers()[0].stop()
        await pair.answerer.setLocalDescription()
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await asyncio.sleep(60)
        stopped = pair.offerer.getTransceivers()[0]
        assert stopped.stopped
        assert stopped.sender.transport is stopped.receiver.transport
        assert ice_transports(pair.offerer) == [ice_transport(pair.offerer)]
        assert pair.offerer.iceConnectionState == "completed"
        assert pair.offerer.connectionState == "connected"
        assert network.sockets("alice") == 1
        await pair.exchange()


@contextlib.asynccontextmanager
async def half_rejected(
    network: Network,
) -> AsyncIterator[tuple[RTCPeerConnection, RTCPeerConnection]]:
    """
    Connect two peers by an m-section which shares the transport of a rejected one.
    """
    async with peers(network) as (offerer, answerer):
        stopped = offerer.addTransceiver("video")
        await offerer.setLocalDescription()
        await stopped.stop()
        offerer.addTransceiver("video")
        offer, _ = await negotiate(offerer, answerer)
        assert ports(offer) == [False, True]
        await switched(offerer, answerer)
        yield offerer, answerer


async def test_rejected_section_owns_no_transport(network: Network) -> None:
    """
    The transport of a rejected section is that of those which go on with it.
    """
    async with half_rejected(network) as (offerer, answerer):
        before = ice_transports(answerer)
        channel = answerer.createDataChannel("test")
        await negotiate(answerer, offerer)
        await until(lambda: channel.readyState == "open")
        assert ice_transports(answerer) == before


async def test_another_tag_after_a_rejection(network: Network) -> None:
    """
    It still is when the peer names what is new first.
    """
    async with half_rejected(network) as (offerer, answerer):
        before = ice_transports(offerer)
        answerer.createDataChannel("test")
        offer = edited(await offered(answerer), "BUNDLE 1 2", "BUNDLE 2 1")
        await answered(offerer, offer)
        assert ice_transports(offerer) == before


async def reject_all(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    """
    Negotiate no more than an m-section which is rejected.
    """
    stopped = offerer.addTransceiver("video")
    await offerer.setLocalDescription()
    await stopped.stop()
    for description in await negotiate(offerer, answerer):
        assert ports(description) == [False]


async def test_all_rejected(network: Network) -> None:
    """
    A connection whose m-sections are all rejected has no transport, and nothing to
    restart; what is added later works.
    """
    async with peers(network) as (offerer, answerer):
        await reject_all(offerer, answerer)
        history = states(offerer)
        offerer.restartIce()
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 0
        assert ice_transports(offerer) == []
        assert network.sockets("alice") == network.sockets("bob") == 0
        channel = offerer.createDataChannel("test")
        offer, _ = await negotiate(offerer, answerer)
        # Data channels do not get what media has had.
        assert ports(offer) == [False, True]
        await until(lambda: channel.readyState == "open")
        assert f"a=ice-ufrag:{path(ice_transport(offerer))[0]}\r\n" in offer.sdp


async def test_all_rejected_in_a_restart(network: Network) -> None:
    """
    A peer that rejects all m-sections of a restart ends what they described.
    """
    async with connected_pair(network) as pair:
        offer = await offered(pair.offerer, iceRestart=True)
        await pair.answerer.setRemoteDescription(offer)
        answer = unbundled(await pair.answerer.createAnswer())
        await pair.answerer.setRemoteDescription(ROLLBACK)
        await pair.offerer.setRemoteDescription(
            edited(answer, r"^m=application \d+", "m=application 0")
        )
        await asyncio.sleep(SETTLING)
        assert pair.offerer.sctp is None
        assert pair.channel.readyState == "closed"
        assert pair.offerer.connectionState == "new"
        assert network.sockets("alice") == 0


async def test_bundled_after_rejections(network: Network) -> None:
    """
    Sections that come after a negotiation of rejected ones are bundled.
    """
    async with peers(network) as (offerer, answerer):
        await reject_all(offerer, answerer)
        add_media(offerer, answerer)
        for description in await negotiate(offerer, answerer):
            assert bundled(description) == "1 2"
        await switched(offerer, answerer)


@pytest.mark.parametrize("kinds", [["audio"], ["audio", "video"], ["audio", "data"]])
@pytest.mark.parametrize("end", [0, 1], ids=["offerer", "answerer"])
async def test_track_of_a_stopped_transceiver_ends(
    network: Network, kinds: list[str], end: int
) -> None:
    """
    The peer's track ends when a transceiver is stopped, also if its section stays, as
    it is the BUNDLE-tag.
    """
    async with peers(network) as both:
        tracks: list[MediaStreamTrack] = []
        both[1 - end].on("track", tracks.append)
        for kind in kinds:
            if kind == "data":
                both[0].createDataChannel("test")
            else:
                both[0].addTransceiver(kind)
                both[1].addTransceiver(kind)
        await negotiate(*both)
        await switched(*both)
        (ended, *others) = tracks
        await both[end].getTransceivers()[0].stop()
        for description in await negotiate(*both):
            assert ports(description)[1:] == [True] * (len(kinds) - 1)
        assert ended.readyState == "ended"
        assert all(x.readyState == "live" for x in others)


async def test_transport_ends_before_the_answer_arrives(network: Network) -> None:
    """
    A transport that the peer stops, as its answer rejects all sections, is not taken
    for the peer's close() while the answer is on its way.
    """
    async with peers(network) as (offerer, answerer):
        offerer.addTransceiver("audio")
        await negotiate(offerer, answerer)
        await switched(offerer, answerer)
        await answerer.setRemoteDescription(await offered(offerer))
        await answerer.getTransceivers()[0].stop()
        await answerer.setLocalDescription()
        await asyncio.sleep(SETTLING)
        assert offerer.signalingState == "have-local-offer"
        await offerer.setRemoteDescription(answerer.localDescription)
        channel = offerer.createDataChannel("test")
        await negotiate(offerer, answerer)
        await until(lambda: channel.readyState == "open")


async def test_transport_that_has_ended_is_not_lent(network: Network) -> None:
    """
    What is added while an answer is on its way has a transport of its own, if the peer
    has ended the one that there is.
    """
    async with peers(network) as (offerer, answerer):
        offerer.addTransceiver("audio")
        await negotiate(offerer, answerer)
        await switched(offerer, answerer)
        await offered(offerer)
        await answerer.close()
        ended = offerer.getSenders()[0].transport
        await until(lambda: ended.state == "closed")
        added = offerer.addTransceiver("audio")
        assert added.sender.transport is not ended
        assert added.sender.transport.state == "new"


async def test_tag_stopped_between_two_offers(network: Network) -> None:
    """
    The BUNDLE-tag is not rejected by an offer that comes in the place of another, if
    what that has added has its transport.
    """
    async with peers(network) as (offerer, answerer):
        tag = offerer.addTransceiver("video")
        await negotiate(offerer, answerer)
        await switched(offerer, answerer)
        offerer.addTransceiver("video")
        await offered(offerer)
        await tag.stop()
        await negotiate(offerer, answerer)
        assert [x.port == 0 for x in sections(offerer.localDescription)] == [False] * 2
        await asyncio.sleep(20)
        assert offerer.connectionState == answerer.connectionState == "connected"


async def test_transport_of_the_peer_is_not_lent(network: Network) -> None:
    """
    A transceiver without a section gets another transport, if the one which it shares
    has lost all sections: that belonged to what the peer had there.
    """
    async with peers(network) as (offerer, answerer):
        offerer.addTransceiver("audio")
        await negotiate(offerer, answerer)
        await switched(offerer, answerer)
        later = offerer.addTransceiver("audio")
        before = dtls_of(later)
        await offerer.getTransceivers()[0].stop()
        await negotiate(answerer, offerer)
        assert dtls_of(later) is not before
        await negotiate(offerer, answerer)
        await switched(offerer, answerer)
        assert later.currentDirection is not None


@pytest.mark.parametrize("media", [True, False], ids=["media", "alone"])
async def test_channels_of_no_association(network: Network, media: bool) -> None:
    """
    Channels of both ends close whose m-section is rejected before any association is
    up, and the next one asks for negotiation.
    """
    async with peers(network) as (offerer, answerer):
        if media:
            offerer.addTransceiver("audio")
        channels = [x.createDataChannel("early") for x in (offerer, answerer)]
        closed: list[str] = []
        for channel in channels:
            channel.on("close", lambda x=channel: closed.append(x.label))
        history = states(offerer)
        answer = await answered(answerer, await offered(offerer))
        sdp = re.sub("^m=application [0-9]+", "m=application 0", answer.sdp, flags=re.M)
        group = "a=group:BUNDLE 0\r\n"
        sdp = sdp.replace("BUNDLE 0 1", "BUNDLE 0") if media else sdp.replace(group, "")
        rejecting = RTCSessionDescription(sdp=sdp, type="answer")
        await offerer.setRemoteDescription(rejecting)
        await until(lambda: channels[0].readyState == "closed")
        assert closed == ["early"]
        assert offerer.sctp is None
        before = history.negotiationneeded
        later = offerer.createDataChannel("later")
        await until(lambda: history.negotiationneeded == before + 1)
        assert later.readyState == "connecting"
        await answerer.close()
        await until(lambda: channels[1].readyState == "closed")
        assert closed == ["early", "early"]


async def test_nothing_is_kept(network: Network) -> None:
    """
    An offer that rejects all that was agreed, and brings something new, has new
    credentials, and so has the answer: nothing of the old transport is left.
    """
    async with peers(network) as (offerer, answerer):
        old = offerer.addTransceiver("audio")
        await negotiate(offerer, answerer)
        await switched(offerer, answerer)
        before = {ufrag_of(x.localDescription) for x in (offerer, answerer)}
        await old.stop()
        offerer.addTransceiver("video")
        await negotiate(offerer, answerer)
        for pc in (offerer, answerer):
            (live,) = [x for x in sections(pc.localDescription) if x.port]
            assert live.kind == "video"
            assert live.ice is not None
            assert live.ice.usernameFragment not in before
        await switched(offerer, answerer)
        assert network.sockets("alice") == network.sockets("bob") == 1
