"""
Descriptions which have been created: `setLocalDescription()` without an argument uses
the last one (webrtc-pc #dom-peerconnection-setlocaldescription), and what
`createOffer()` is given.
"""

from typing import Any

import pytest
from aiortc import RTCIceCandidate
from aiortc.sdp import candidate_to_sdp

from aiortc_restart import (
    AudioStreamTrack,
    RTCPeerConnection,
    RTCRtpSender,
    RTCSessionDescription,
)
from aiortc_restart.negotiation import text

from .calls import ROLLBACK, offered, peers, ufrag_of
from .network import Network
from .utils import connected_pair, credentials, negotiate


def version(description: RTCSessionDescription) -> str:
    """
    Return the version of a description, of which each that is created has another.
    """
    (line,) = [x for x in description.sdp.splitlines() if x.startswith("o=")]
    return line.split()[2]


@pytest.mark.parametrize("restart", [False, True], ids=["plain", "restart"])
async def test_last_offer(network: Network, restart: bool) -> None:
    """
    The last offer is used if nothing has changed since, and so is what it was asked
    for.
    """
    async with connected_pair(network) as pair:
        pc = pair.offerer
        await pc.createOffer()
        offer = await pc.createOffer(iceRestart=restart)
        await pc.setLocalDescription()
        assert version(pc.localDescription) == version(offer)
        assert credentials(pc.localDescription) == credentials(offer)


async def test_last_answer(network: Network) -> None:
    """
    The last answer is used if nothing has changed since.
    """
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        await answerer.setRemoteDescription(await offered(offerer))
        answer = await answerer.createAnswer()
        await answerer.setLocalDescription()
        assert version(answerer.localDescription) == version(answer)


def fields(value: Any) -> Any:
    """
    Return what an object of aiortc's, or of which it is made, has in its fields.
    """
    if isinstance(value, list | tuple):
        return [fields(x) for x in value]
    if isinstance(value, dict):
        return {str(x): fields(y) for x, y in value.items()}
    if isinstance(value, RTCIceCandidate):
        # Ours know their generation, which their lines do not say.
        return candidate_to_sdp(value)
    return fields(vars(value)) if hasattr(value, "__dict__") else value


async def check_is_as_parsed(
    pc: RTCPeerConnection, description: RTCSessionDescription
) -> None:
    """
    Check that what is created says what its text does: nobody parses that.
    """
    parsed = text.parse(description, remote=False)
    created = pc._session.creator._last[description.type].description
    assert fields(created) == fields(parsed)
    await pc.setLocalDescription(description)


@pytest.mark.parametrize("legacy", [False, True], ids=["data", "legacy"])
async def test_is_as_parsed(network: Network, legacy: bool) -> None:
    """
    A description is the same as one that is made of its text: at first, when a
    transceiver has been stopped, be it the BUNDLE-tag or not, and when a channel came.
    """
    async with peers(network) as (offerer, answerer):
        answerer._sctpLegacySdp = offerer._sctpLegacySdp = legacy
        offerer.createDataChannel("test")
        offerer.addTransceiver("video")
        tag = offerer.addTransceiver("audio")
        tag.setCodecPreferences(RTCRtpSender.getCapabilities("audio").codecs[:1])
        stopped = offerer.addTransceiver("audio", "recvonly")
        for restart, gone in ((False, None), (True, stopped), (False, tag)):
            if gone is not None:
                await gone.stop()
            offer = await offerer.createOffer(iceRestart=restart)
            await check_is_as_parsed(offerer, offer)
            await answerer.setRemoteDescription(offerer.localDescription)
            await check_is_as_parsed(answerer, await answerer.createAnswer())
            await offerer.setRemoteDescription(answerer.localDescription)


CHANGES: dict[str, Any] = {
    "channel": lambda pc: pc.createDataChannel("test"),
    "direction": lambda pc: setattr(pc.getTransceivers()[0], "direction", "inactive"),
    "restart": lambda pc: pc.restartIce(),
    "track": lambda pc: pc.addTrack(AudioStreamTrack()),
    "transceiver": lambda pc: pc.addTransceiver("video"),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("restart", [False, True], ids=["plain", "restart"])
async def test_changed_since(network: Network, change: str, restart: bool) -> None:
    """
    An offer is not used if it lacks what has changed since, nor is what it was asked
    for, but for `restartIce()`.
    """
    async with peers(network) as (offerer, answerer):
        offerer.addTransceiver("audio")
        await negotiate(offerer, answerer)
        offer = await offerer.createOffer(iceRestart=restart)
        CHANGES[change](offerer)
        before = ufrag_of(offerer.localDescription)
        await offerer.setLocalDescription()
        used = version(offerer.localDescription) == version(offer)
        # An offer that restarts ICE has all that restartIce() asks for.
        assert used == (restart and change == "restart")
        restarted = ufrag_of(offerer.localDescription) != before
        assert restarted == (change == "restart")


@pytest.mark.parametrize("end", ["answer", "rollback", "own rollback"])
async def test_not_after_another_description(network: Network, end: str) -> None:
    """
    An offer from before another negotiation is forgotten, also if it was rolled back.
    """
    async with connected_pair(network) as pair:
        pc = pair.offerer
        if end == "own rollback":
            await offered(pc)
        offer = await pc.createOffer(iceRestart=True)
        if end == "answer":
            await negotiate(pair.answerer, pc)
        elif end == "own rollback":
            await pc.setLocalDescription(ROLLBACK)
        else:
            await pc.setRemoteDescription(await offered(pair.answerer))
            await pc.setRemoteDescription(ROLLBACK)
        before = ufrag_of(pc.localDescription)
        await pc.setLocalDescription()
        assert version(pc.localDescription) != version(offer)
        assert ufrag_of(pc.localDescription) == before


class Munging(RTCPeerConnection):
    """
    A connection of an application which changes its offers, and knows no restarts.
    """

    async def createOffer(self) -> RTCSessionDescription:  # type: ignore[override]
        offer = await super().createOffer(iceRestart=True)
        sdp = offer.sdp.replace("s=-", "s=munged")
        return RTCSessionDescription(sdp=sdp, type=offer.type)


async def test_munged(network: Network) -> None:
    """
    What a subclass makes of an offer is used, and not what it was before.
    """
    async with peers(network, Munging) as (pc, _):
        pc.createDataChannel("test")
        await pc.createOffer()
        await pc.setLocalDescription()
        assert "s=munged" in pc.localDescription.sdp


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("how", ["keyword", "positional", "JavaScript"])
async def test_offer_options(network: Network, wanted: bool, how: str) -> None:
    """
    An offer restarts ICE if it is asked to, also as in JavaScript.
    """
    async with connected_pair(network) as pair:
        pc = pair.offerer
        before = ufrag_of(pc.localDescription)
        options: Any = {"iceRestart": wanted}
        if how == "keyword":
            offer = await pc.createOffer(**options)
        else:
            offer = await pc.createOffer(options if how == "JavaScript" else wanted)
        assert (ufrag_of(offer) != before) == wanted
        assert ufrag_of(await pc.createOffer({})) == before  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"offerToReceiveAudio": True}, r"addTransceiver\(\) to receive media"),
        ({"iceRestart": 1}, r"write createOffer\(iceRestart=True\)"),
        ({"iceRestart": None}, r"write createOffer\(iceRestart=True\)"),
        ("true", r"write createOffer\(iceRestart=True\)"),
        (None, r"write createOffer\(iceRestart=True\)"),
        (1, r"write createOffer\(iceRestart=True\)"),
    ],
)
async def test_other_options(network: Network, options: Any, message: str) -> None:
    """
    Anything else is refused, with what to write.
    """
    async with peers(network) as (pc, _):
        with pytest.raises(TypeError, match=message):
            await pc.createOffer(options)
