"""
Tracks which are taken away or replaced, and their streams (webrtc-pc
#dom-rtcpeerconnection-removetrack, #dom-rtcrtpsender-replacetrack).
"""

import asyncio

import aiortc
import pytest

from aiortc_restart import (
    AudioStreamTrack,
    InvalidAccessError,
    InvalidStateError,
    MediaStreamTrack,
    RTCPeerConnection,
    RTCSessionDescription,
)

from .calls import ROLLBACK, SETTLING, offered, peers, sections
from .media import add_media, flowing
from .network import Network
from .utils import negotiate, states


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("sendrecv", "recvonly"),
        ("sendonly", "inactive"),
        ("recvonly", "recvonly"),
        ("inactive", "inactive"),
    ],
)
async def test_remove_track(network: Network, before: str, after: str) -> None:
    """
    The track of a sender is taken away, and negotiation is asked for once if that
    changes the direction; there is nothing to do then, until it has another one.
    """
    async with peers(network) as (pc, peer):
        transceiver = pc.addTransceiver(AudioStreamTrack(), direction=before)
        await negotiate(pc, peer)
        history = states(pc)
        for _ in range(2):
            pc.removeTrack(transceiver.sender)
            assert transceiver.sender.track is None
            assert transceiver.direction == after
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == (before != after)
        await negotiate(pc, peer)
        track = AudioStreamTrack()
        assert pc.addTrack(track) is transceiver.sender
        assert transceiver.sender.track is track
        assert "send" in transceiver.direction


async def test_remove_track_in_a_call(network: Network) -> None:
    """
    The peer's media go on, and a track which is added later is sent again.
    """
    async with peers(network) as (offerer, answerer):
        add_media(offerer, answerer)
        await negotiate(offerer, answerer)
        await flowing(offerer, answerer)
        for sender in offerer.getSenders():
            offerer.removeTrack(sender)
        await negotiate(offerer, answerer)
        directions = [x.currentDirection for x in answerer.getTransceivers()]
        assert set(directions) == {"sendonly"}
        await flowing(offerer)
        add_media(offerer)
        await negotiate(offerer, answerer)
        await flowing(offerer, answerer)


async def test_remove_track_errors(network: Network) -> None:
    """
    A sender of another connection's is refused, and a closed connection removes none.
    """
    async with peers(network) as (pc, other):
        sender = pc.addTrack(AudioStreamTrack())
        await pc.setLocalDescription()
        assert sender.transport is not None
        stock = aiortc.RTCRtpSender("audio", sender.transport)
        for wrong in (other.addTrack(AudioStreamTrack()), stock):
            with pytest.raises(InvalidAccessError, match="not this connection's"):
                pc.removeTrack(wrong)
        await pc.close()
        with pytest.raises(InvalidStateError, match="closed"):
            pc.removeTrack(sender)
        assert sender.track is not None


async def test_remove_track_of_a_stopped_transceiver(network: Network) -> None:
    """
    Nothing happens if the transceiver is stopped, or has been rolled back.
    """
    async with peers(network) as (pc, peer):
        transceiver = pc.addTransceiver(AudioStreamTrack())
        await transceiver.stop()
        direction = transceiver.direction
        pc.removeTrack(transceiver.sender)
        assert transceiver.direction == direction
        peer.addTransceiver("video")
        await pc.setRemoteDescription(await offered(peer))
        rolled_back = pc.getTransceivers()[-1]
        await pc.setRemoteDescription(ROLLBACK)
        assert rolled_back not in pc.getTransceivers()
        pc.removeTrack(rolled_back.sender)


async def test_replace_track_holds_the_chain(network: Network) -> None:
    """
    A track is replaced at once, and who awaits that waits for the steps before it;
    those after it, and the event, wait for it.
    """
    async with peers(network) as (pc, _):
        sender = pc.addTrack(AudioStreamTrack())
        order: list[str] = []
        pc.on("negotiationneeded", lambda: order.append("event"))

        async def step(name: str) -> None:
            await pc.createOffer()
            order.append(name)

        async def replace() -> None:
            await sender.replaceTrack(track)
            order.append("replaced")

        await asyncio.sleep(SETTLING)
        order.clear()
        # What has been asked for once is not asked for again before it is negotiated.
        await offered(pc)
        await pc.setLocalDescription(ROLLBACK)
        track = AudioStreamTrack()
        tasks = [asyncio.create_task(x) for x in (step("a"), replace(), step("b"))]
        await asyncio.sleep(0)
        assert sender.track is track
        await asyncio.gather(*tasks)
        await asyncio.sleep(SETTLING)
        assert order == ["a", "replaced", "b", "event"]
        # As in aiortc, nobody has to await it.
        sender.replaceTrack(None)
        assert len(pc._operations) == 1
        assert sender.track is None


async def test_replace_track_in_vain(network: Network) -> None:
    """
    Who awaits it is told if there is nothing to send any more, and others are not.
    """
    async with peers(network) as (pc, _):
        transceivers = [pc.addTransceiver("audio") for _ in range(2)]
        await transceivers[0].stop()
        await check(transceivers[0].sender, "stopped")
        await pc.close()
        await check(transceivers[1].sender, "closed")


async def check(sender: aiortc.RTCRtpSender, message: str) -> None:
    sender.replaceTrack(None)
    with pytest.raises(InvalidStateError, match=message):
        await sender.replaceTrack(None)  # type: ignore[func-returns-value, misc]


async def test_add_track_is_no_step(network: Network) -> None:
    """
    A track which is added where one is missing does not hold the chain.
    """
    async with peers(network) as (pc, _):
        pc.addTransceiver("audio")
        pc.addTrack(AudioStreamTrack())
        assert len(pc._operations) == 0


class Replacing(RTCPeerConnection):
    """
    A connection which replaces a track within a step.
    """

    async def createOffer(self, iceRestart: bool = False) -> RTCSessionDescription:
        for sender in self.getSenders():
            await sender.replaceTrack(None)  # type: ignore[func-returns-value, misc]
        return await super().createOffer(iceRestart)


async def test_replace_track_within_a_step(network: Network) -> None:
    """
    A step which replaces a track, and awaits that, does not wait for itself.
    """
    async with peers(network, Replacing) as (pc, _):
        pc.addTrack(AudioStreamTrack())
        await pc.setLocalDescription()
        assert pc.signalingState == "have-local-offer"


async def test_track_comes_back(network: Network) -> None:
    """
    The peer's track is told of each time that the peer begins to send it.
    """
    # webrtc-pc #process-remote-track-addition
    async with peers(network) as (offerer, answerer):
        tracks: list[MediaStreamTrack] = []
        answerer.on("track", tracks.append)
        transceiver = offerer.addTransceiver("audio")
        for direction in ("sendonly", "inactive", "sendonly", "sendrecv"):
            transceiver.direction = direction
            await negotiate(offerer, answerer)
        assert len(tracks) == 2 and tracks[0] is tracks[1]


class Stream:
    """
    What an application has for a MediaStream.
    """

    def __init__(self, id: str) -> None:
        self.id = id


async def test_streams(network: Network) -> None:
    """
    What setStreams() says is described, and asks for negotiation if it is something
    else than before.
    """
    # webrtc-pc #dom-rtcrtpsender-setstreams, RFC 8830
    async with peers(network) as (pc, other):
        sender = pc.addTrack(AudioStreamTrack())
        await negotiate(pc, other)
        history = states(pc)
        first = Stream("first")
        for streams, said in (
            ((first,), "first"),
            ((first, first), "first"),
            (("second",), "second"),
            ((), "-"),
        ):
            before = history.negotiationneeded
            described = sections(pc.localDescription)[0].msid
            assert described is not None
            changes = described.split()[0] != said
            sender.setStreams(*streams)
            await asyncio.sleep(1)
            assert history.negotiationneeded == before + changes
            offer, _ = await negotiate(pc, other)
            msid = sections(offer)[0].msid
            assert msid is not None
            assert msid.split()[0] == said
            await asyncio.sleep(1)
            assert history.negotiationneeded == before + changes
        for bad in (("a", "b"), ("",), ("a b",), ("a\r\nb",), ("x" * 65,)):
            with pytest.raises(ValueError, match="stream"):
                sender.setStreams(*bad)
        # It does not matter to who sends nothing.
        pc.getTransceivers()[0].direction = "recvonly"
        await negotiate(pc, other)
        before = history.negotiationneeded
        sender.setStreams("third")
        await asyncio.sleep(1)
        assert history.negotiationneeded == before
        await pc.close()
        with pytest.raises(InvalidStateError, match="closed"):
            sender.setStreams("fourth")
