"""
With which transceiver an m-section is associated that the peer adds (webrtc-pc
#set-the-session-description), and glare where both ends add transceivers.
"""

import asyncio

import pytest

from aiortc_restart import RTCConfiguration, RTCPeerConnection

from .calls import ROLLBACK, answered, offered, peers, sections
from .media import Silence
from .network import Network
from .sides import settled, sides
from .utils import negotiate, states, until


def configured(associates: bool | None) -> RTCConfiguration:
    return RTCConfiguration(iceServers=[], associateTransceivers=associates)


@pytest.mark.parametrize("associates", [None, True, False])
@pytest.mark.parametrize("listens", [False, True], ids=["silent", "listens"])
async def test_added(network: Network, associates: bool | None, listens: bool) -> None:
    """
    What addTransceiver() has made before an answer is used in it, as in aiortc; where
    the application listens to negotiationneeded it is not, as in browsers, and is
    offered next.
    """
    expected = associates if associates is not None else not listens
    async with peers(network, configuration=configured(associates)) as (pc, answerer):
        added = answerer.addTransceiver("audio")
        history = states(answerer) if listens else None
        await asyncio.sleep(1)
        pc.addTransceiver("audio")
        await negotiate(pc, answerer)
        assert (added.mid is not None) == expected
        assert len(answerer.getTransceivers()) == (1 if expected else 2)
        await asyncio.sleep(1)
        if history is not None:
            # Before the offer, and after it if it is still to be negotiated.
            assert history.negotiationneeded == (1 if expected else 2)
        await negotiate(answerer, pc)
        assert added.mid is not None
        assert len(pc.getTransceivers()) == (1 if expected else 2)


@pytest.mark.parametrize("direction", ["sendrecv", "recvonly", "sendonly", "inactive"])
@pytest.mark.parametrize("associates", [True, False])
async def test_track(network: Network, direction: str, associates: bool) -> None:
    """
    A transceiver that addTrack() has made is used in an answer; as in browsers only if
    the peer is to receive.
    """
    async with peers(network, configuration=configured(associates)) as (pc, answerer):
        sender = answerer.addTrack(Silence("audio"))
        pc.addTransceiver("audio", direction=direction)
        await answerer.setRemoteDescription(await offered(pc))
        (transceiver,) = [x for x in answerer.getTransceivers() if x.sender is sender]
        expected = associates or direction in ("sendrecv", "recvonly")
        assert (transceiver.mid is not None) == expected


@pytest.mark.parametrize("associates", [None, True, False])
async def test_offered_before(network: Network, associates: bool | None) -> None:
    """
    What has been in an offer of ours that was rolled back is offered again, and is not
    given to the peer's m-section: two transceivers do not get the same mid.
    """
    async with peers(network, configuration=configured(associates)) as (pc, other):
        ours = pc.addTransceiver("video")
        other.addTransceiver("video")
        mid = sections(await offered(pc))[0].rtp.muxId
        offer = await offered(other)
        assert sections(offer)[0].rtp.muxId == mid
        await other.setRemoteDescription(await answered(pc, offer))
        assert ours.mid is None
        assert [x.mid for x in pc.getTransceivers()] == [None, mid]
        await negotiate(pc, other)
        mids = [x.mid for x in pc.getTransceivers()]
        assert len({*mids}) == 2
        assert None not in mids


@pytest.mark.parametrize("associates", [None, True, False])
@pytest.mark.parametrize("polite_first", [True, False], ids=["polite", "impolite"])
async def test_glare(
    network: Network, associates: bool | None, polite_first: bool
) -> None:
    """
    Where both ends add transceivers at once, each of them is negotiated, with a section
    of its own if it had been offered or is not to be associated.
    """
    async with sides(
        network, 1, polite_first, configuration=configured(associates)
    ) as both:
        for number in (1, 2, 3):
            for side in both:
                side.pc.addTransceiver("audio", direction="sendonly")
            await settled(*both)
            directions = [
                [x.currentDirection for x in side.pc.getTransceivers()] for side in both
            ]
            if associates is not True:
                for found in directions:
                    assert found.count("sendonly") == number
                    assert found.count("recvonly") == number
            assert len(directions[0]) == len(directions[1])


@pytest.mark.parametrize("touch", ["direction", "replaceTrack", "addTrack"])
async def test_touched(network: Network, touch: str) -> None:
    """
    A rollback removes a transceiver that only the offer had made, whatever was done
    with it, unless addTrack() has used it.
    """
    async with peers(network) as (pc, other):
        other.addTransceiver("audio")
        await pc.setRemoteDescription(await offered(other))
        (transceiver,) = pc.getTransceivers()
        track = transceiver.receiver.track
        if touch == "direction":
            transceiver.direction = "sendrecv"
        elif touch == "replaceTrack":
            transceiver.sender.replaceTrack(Silence("audio"))
        else:
            pc.addTrack(Silence("audio"))
        await pc.setRemoteDescription(ROLLBACK)
        kept = [transceiver] if touch == "addTrack" else []
        assert pc.getTransceivers() == kept
        assert transceiver.stopped == (not kept)
        assert track.readyState == "ended"


async def test_transports(network: Network) -> None:
    """
    A sender and a receiver have no transport after a rollback of the description that
    had them, unless they run.
    """
    # webrtc-pc #dom-rtcrtpsender-transport
    async with peers(network) as (pc, other):
        transceiver = pc.addTransceiver("audio")

        def transports() -> list[bool]:
            ends = (transceiver.sender, transceiver.receiver)
            return [x.transport is not None for x in ends]

        # As in aiortc.
        assert transports() == [True, True]
        await pc.setLocalDescription()
        assert transports() == [True, True]
        await pc.setLocalDescription(ROLLBACK)
        assert transports() == [False, False]
        # There is nothing to tell.
        assert len(await pc.getStats()) == 0
        await negotiate(pc, other)
        await until(lambda: pc.connectionState == "connected")
        await offered(pc)
        await pc.setLocalDescription(ROLLBACK)
        assert transports() == [True, True]
        assert len(await pc.getStats()) > 0
    assert transports() == [True, True]


def test_not_a_bool() -> None:
    """
    Whether transceivers are associated is yes, no or as the application is.
    """
    with pytest.raises(ValueError, match="associateTransceivers must be a bool"):
        RTCConfiguration(associateTransceivers="yes")  # type: ignore[arg-type]


async def test_listened_once(network: Network) -> None:
    """
    An application that has listened once has said how it negotiates.
    """
    async with peers(network) as (pc, answerer):
        answerer.once("negotiationneeded", lambda: None)
        for number in (1, 2):
            added = answerer.addTransceiver("audio")
            await asyncio.sleep(1)
            pc.addTransceiver("audio")
            await negotiate(pc, answerer)
            assert added.mid is None
            assert len(answerer.getTransceivers()) == 2 * number


async def test_changed_in_a_call(network: Network) -> None:
    """
    It may be changed at any time.
    """
    async with peers(network, configuration=configured(True)) as (pc, answerer):
        for associates in (True, False):
            answerer.setConfiguration(configured(associates))
            added = answerer.addTransceiver("audio")
            pc.addTransceiver("audio")
            await negotiate(pc, answerer)
            assert (added.mid is not None) == associates
    assert isinstance(pc, RTCPeerConnection)
