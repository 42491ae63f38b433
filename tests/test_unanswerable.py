"""
Offers which aiortc can parse, and could not apply or answer, are refused; what is only
unusual is understood.
"""

import asyncio
import re

import pytest

from aiortc_restart import (
    RTCConfiguration,
    RTCSessionDescription,
)

from .calls import answered, edited, peers, sections
from .fuzz.sdp import COMMON, CORPUS, fresh
from .network import Network
from .snapshots import nothing_changes
from .utils import until

# The simulated network has no multicast, so that no name is resolved.
OFFERS = {
    name: re.sub(r"^a=candidate:.*\.local .*\n", "", text, flags=re.MULTILINE)
    for name, text in CORPUS.items()
}

CHROMIUM = OFFERS["chromium"]


def offer_of(text: str) -> RTCSessionDescription:
    return RTCSessionDescription(sdp=text, type="offer")


def more(media: str, mid: str) -> str:
    """
    Return Chromium's offer with an m-section more.
    """
    return CHROMIUM + media + COMMON.format(mid=mid, ufrag="Oyef", pwd="p" * 24)


BAD: dict[str, tuple[str, str]] = {
    "mid twice": (more("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n", "0"), "have the mid"),
    "mid without value": (CHROMIUM.replace("a=mid:0", "a=mid"), "without a value"),
    "mid too long": (CHROMIUM.replace("a=mid:0", "a=mid:" + "\u00e9" * 128), "bytes"),
    "data without format": (
        more("m=application 9 DTLS/SCTP  \r\n", "d"),
        "no format",
    ),
    "data with a blank format": (
        more("m=application 9 UDP/DTLS/SCTP   \r\n", "d") + "a=sctp-port:5000\r\n",
        "no format",
    ),
    "media without format": (
        more("m=audio 9 UDP/TLS/RTP/SAVPF  \r\n", "a"),
        "no format",
    ),
    "msid": (CHROMIUM.replace("a=msid:", "a=msid:  x\r\na=y:"), "msid"),
}


REJECTED = {
    "text": more("m=text 9 RTP/AVP 98\r\n", "x"),
    "image": more("m=image 9 UDP/TLS/UDPTL 98\r\n", "x"),
    "floor control": more("m=application 9 UDP/BFCP 98\r\n", "x"),
    "data twice": more("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", "x")
    + "a=sctp-port:5000\r\n",
    "unknown codec": more(
        "m=video 9 UDP/TLS/RTP/SAVPF 103\r\na=rtpmap:103 X/90000\r\n", "x"
    ),
    "rejected by the peer": more(
        "m=video 0 UDP/TLS/RTP/SAVPF 103\r\n"
        "a=rtpmap:103 H264/90000\r\n"
        "a=fmtp:103 packetization-mode\r\n",
        "x",
    ),
}


@pytest.mark.parametrize("name", REJECTED)
async def test_rejected(network: Network, name: str) -> None:
    """
    A section which this side cannot have is rejected, and again in its own offers.
    """
    # RFC 9429 sections 5.2.2 and 5.3.1
    async with peers(network) as (_, pc):
        answer = await answered(pc, offer_of(REJECTED[name]))
        assert [x.rtp.muxId for x in sections(answer) if not x.port] == ["x"]
        again = await pc.createOffer()
        assert [x.rtp.muxId for x in sections(again) if not x.port] == ["x"]
        assert [x.kind for x in sections(again)] == [
            x.kind for x in sections(offer_of(REJECTED[name]))
        ]


@pytest.mark.parametrize("name", BAD)
async def test_refused(network: Network, name: str) -> None:
    """
    What cannot be answered is refused, and changes nothing.
    """
    text, message = BAD[name]
    async with peers(network) as (_, pc):
        with nothing_changes(pc), pytest.raises(ValueError, match=message):
            await pc.setRemoteDescription(offer_of(text))
        await answered(pc, offer_of(CHROMIUM))


@pytest.mark.parametrize("name", BAD)
async def test_refused_instead(network: Network, name: str) -> None:
    """
    Nor does what comes in the place of another offer.
    """
    text, message = BAD[name]
    async with peers(network) as (_, pc):
        await pc.setRemoteDescription(offer_of(CHROMIUM))
        with nothing_changes(pc), pytest.raises(ValueError, match=message):
            await pc.setRemoteDescription(offer_of(text))
        await pc.setLocalDescription()


@pytest.mark.parametrize("name", OFFERS)
async def test_corpus(network: Network, name: str) -> None:
    """
    The offers which all others are made of can be answered, and made again.
    """
    async with peers(network) as (_, pc):
        for _ in range(2):
            answer = await answered(pc, offer_of(OFFERS[name]))
            kinds = [x.kind for x in sections(offer_of(OFFERS[name]))]
            assert [x.kind for x in sections(answer)] == kinds


async def test_other_mid(network: Network) -> None:
    """
    An m-section which has not been rejected keeps its mid.
    """
    # RFC 9429 section 5.2.2
    async with peers(network) as (_, pc):
        await answered(pc, offer_of(CHROMIUM))
        bad = CHROMIUM.replace("a=mid:1", "a=mid:x")
        with nothing_changes(pc), pytest.raises(ValueError, match='has become "x"'):
            await pc.setRemoteDescription(offer_of(bad))


async def test_mid_elsewhere(network: Network) -> None:
    """
    Nor does another m-section get its mid, also if it has been rejected.
    """
    async with peers(network) as (_, pc):
        first, second = (more("m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n", mid) for mid in "ab")
        await answered(pc, offer_of(first))
        bad = second + first.removeprefix(CHROMIUM)
        with nothing_changes(pc), pytest.raises(ValueError, match="another place"):
            await pc.setRemoteDescription(offer_of(bad))
        await answered(pc, offer_of(second))


async def test_other_data(network: Network) -> None:
    """
    Data channels whose m-section was rejected may come back under another mid.
    """
    text = CORPUS["libwebrtc"]
    async with peers(network) as (_, pc):
        rejected = text.replace("m=application 43210", "m=application 0")
        rejected = rejected.replace("a=group:BUNDLE 0\r\n", "")
        await answered(pc, offer_of(rejected))
        other = text.replace("a=mid:0", "a=mid:x").replace("BUNDLE 0", "BUNDLE x")
        answer = await answered(pc, offer_of(other))
        assert [x.rtp.muxId for x in sections(answer)] == ["x"]


async def test_no_direction(network: Network) -> None:
    """
    An m-section without a direction sends and receives.
    """
    # RFC 3264 section 5.1
    async with peers(network) as (_, pc):
        pc.addTransceiver("audio")
        answer = await answered(pc, edited(offer_of(CHROMIUM), "^a=sendrecv\r\n", ""))
        assert [x.direction for x in sections(answer)][:2] == ["sendrecv", "recvonly"]


async def test_bundled_twice(network: Network) -> None:
    """
    A mid which a group has twice is bundled once.
    """
    async with peers(network) as (_, pc):
        twice = CHROMIUM.replace("a=group:BUNDLE 0 1 2", "a=group:BUNDLE 0 1 0 2 2")
        answer = await answered(pc, offer_of(twice))
        assert "a=group:BUNDLE 0 1 2\r\n" in answer.sdp
        assert len(pc._slots.dtls_transports) == 1


async def test_same_payload_type(network: Network) -> None:
    """
    Of codecs with one payload type the first one counts, as do those whose payload type
    a packet can have.
    """
    codecs = "".join(f"a=rtpmap:{x} VP8/90000\r\n" for x in (96, 96, 40, 41, 300))
    async with peers(network) as (_, pc):
        offer = edited(offer_of(CHROMIUM), "^(m=video.*\n)", rf"\1{codecs}")
        answer = await answered(pc, offer)
        types = [x.payloadType for x in sections(answer)[1].rtp.codecs]
        assert len(types) == len({*types})
        assert "300" not in answer.sdp.split("m=video")[1].split("a=ssrc")[0]


async def test_extension_ids(network: Network) -> None:
    """
    Header extensions under ids that no packet has are shown, and not used.
    """
    # RFC 8285 section 7
    async with peers(network) as (_, pc):
        offer = edited(offer_of(CHROMIUM), "^a=extmap:4 ", "a=extmap:4097 ")
        answer = await answered(pc, offer)
        assert "a=extmap:4097 " in pc.remoteDescription.sdp
        ids = {y.id for x in sections(answer) for y in x.rtp.headerExtensions}
        assert ids
        assert max(ids) < 256


async def test_gathered_before_a_restart(network: Network) -> None:
    """
    Gathering is complete, though a restart is offered before it is, and not answered.
    """
    configuration = RTCConfiguration(iceServers=[], iceTrickle=True)
    async with peers(network, configuration=configuration) as (_, pc):
        await pc.setRemoteDescription(offer_of(CORPUS["janus"]))
        await pc.setLocalDescription()
        for _ in range(100):
            if pc.iceGatheringState != "new":
                break
            await asyncio.sleep(0)
        assert pc.iceGatheringState == "gathering"
        await pc.setRemoteDescription(offer_of(fresh(CORPUS["janus"], 1)))
        await until(lambda: pc.iceGatheringState == "complete")
