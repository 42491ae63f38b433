"""
A description is measured before it is parsed: what is over a limit is refused at once,
and what is within costs little.
"""

import time

import pytest

from aiortc_restart import RTCIceCandidate, RTCSessionDescription
from aiortc_restart.negotiation import limits, places

from .calls import offered, peers
from .fuzz.sdp import CORPUS
from .network import Network
from .snapshots import nothing_changes

SESSION = (
    "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-ufrag:abcdefgh\r\n"
    "a=ice-pwd:abcdefghabcdefghabcdefgh\r\na=fingerprint:sha-256 00\r\n"
    "a=setup:actpass\r\n"
)
AUDIO = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:a\r\na=sendrecv\r\na=rtcp-mux\r\n"
    "a=rtpmap:0 PCMU/8000\r\n"
)

MOMENT = 0.5
"Seconds of CPU within which to refuse: it takes milliseconds, but where is the clock?"


def numbered(count: int, line: str) -> str:
    return "".join(f"{line.format(i)}\r\n" for i in range(count))


# Each with what the message names.
TOO_BIG: dict[str, tuple[str, str]] = {
    "bytes": (SESSION + AUDIO + "\n" * limits.MAX_BYTES, "bytes"),
    "characters": (SESSION + AUDIO + "a=\u0663" * (limits.MAX_BYTES // 4), "bytes"),
    "sections": (
        SESSION + numbered(limits.MAX_SECTIONS + 1, "m=audio 0 RTP/AVP 0\r\na=mid:{}"),
        "m-sections",
    ),
    "lines": (SESSION + AUDIO + numbered(limits.MAX_LINES, "a=x:{}"), "lines"),
    "lines of the session": (SESSION + numbered(limits.MAX_LINES, "a=x:{}"), "lines"),
    "other line breaks": (SESSION + AUDIO + "a=x\x0b" * limits.MAX_LINES, "lines"),
    "lines together": (
        SESSION + numbered(limits.MAX_LINES_TOGETHER // 50, "m=x" + "\r\na=x" * 50),
        "lines",
    ),
    "line": (SESSION + AUDIO + "a=" + "x" * limits.MAX_LINE_LENGTH, "characters"),
    "candidates": (
        SESSION + AUDIO + numbered(501, "a=candidate:{} 1 udp 1 10.0.0.1 9 typ host"),
        "candidates",
    ),
    "fingerprints": (
        SESSION + AUDIO + numbered(33, "a=fingerprint:sha-256 {}"),
        "fingerprints",
    ),
    "short candidates": (SESSION + AUDIO + "a=candidate:\r\n" * 501, "candidates"),
    "feedback for all": (
        SESSION
        + AUDIO
        + numbered(1000, "a=rtpmap:{} x/1")
        + numbered(1000, "a=rtcp-fb:* {}"),
        "feedback messages",
    ),
    "feedback for one number": (
        SESSION + AUDIO + "a=rtpmap:96 x/1\r\n" * 1000 + "a=rtcp-fb:096 x\r\n" * 1000,
        "feedback messages",
    ),
    "formats": (
        SESSION
        + AUDIO
        + numbered(2000, "a=rtpmap:{} x/1")
        + numbered(2000, "a=fmtp:{} x"),
        "comparisons",
    ),
    "sources": (SESSION + AUDIO + numbered(2000, "a=ssrc:{} cname:x"), "comparisons"),
    "repeated in each section": (
        SESSION
        + numbered(30, "a=fingerprint:{} " + "x" * 1000)
        + numbered(1000, "m=audio 0 RTP/AVP 0\r\na=mid:{}"),
        "repeated",
    ),
    "surrogate": (SESSION + AUDIO + "a=x:\ud800", "surrogate"),
}


@pytest.mark.parametrize("name", TOO_BIG)
async def test_too_big(network: Network, name: str) -> None:
    """
    What is too big is refused at once, with the name of the limit, and changes nothing.
    """
    sdp, limit = TOO_BIG[name]
    async with peers(network) as (_, pc):
        began = time.process_time()
        with nothing_changes(pc), pytest.raises(ValueError, match=limit):
            await pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        assert time.process_time() - began < MOMENT


async def test_too_big_meets_ours(network: Network) -> None:
    """
    Nor does an offer which meets ours, or comes in the place of another.
    """
    sdp, limit = TOO_BIG["feedback for all"]
    bad = RTCSessionDescription(sdp=sdp, type="offer")
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        await answerer.setRemoteDescription(await offered(offerer))
        for pc in (offerer, answerer):
            with nothing_changes(pc), pytest.raises(ValueError, match=limit):
                await pc.setRemoteDescription(bad)


def test_not_text() -> None:
    """
    What is no text is no description.
    """
    with pytest.raises(ValueError, match="must be text"):
        limits.check_description(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CORPUS)
def test_real(name: str) -> None:
    """
    Two hundred times the m-sections of what browsers and SFUs send are within.
    """
    session, *sections = CORPUS[name].split("m=")
    limits.check_description(session + "m=" + "m=".join(sections * 200))


@pytest.mark.parametrize("shape", ["rejected", "bundled", "unbundled"])
async def test_linear(network: Network, shape: str) -> None:
    """
    Four times the m-sections cost about four times the time.
    """
    # A cost that is quadratic would be sixteen times as high.
    short, long = [await cost(network, shape, count) for count in (150, 600)]
    assert long < 11 * max(short, 0.05), (short, long)


async def cost(network: Network, shape: str, count: int) -> float:
    """
    Return the seconds of CPU which an offer of so many m-sections costs.
    """
    port = 0 if shape == "rejected" else 9
    section = AUDIO.replace(" 9 ", f" {port} ").replace("a=mid:a", "a=mid:{}").rstrip()
    sdp = SESSION
    if shape == "bundled":
        sdp += f"a=group:BUNDLE {' '.join(map(str, range(count)))}\r\n"
    sdp += AUDIO + numbered(count, section)
    async with peers(network) as (_, pc):
        began = time.process_time()
        await pc.setRemoteDescription(RTCSessionDescription(sdp=sdp, type="offer"))
        await pc.createAnswer()
        return time.process_time() - began


def test_candidate() -> None:
    """
    A candidate attribute has a limit, too.
    """
    attribute = "candidate:1 1 udp 1 10.0.0.1 9 typ host " + "x " * 1000
    with pytest.raises(ValueError, match="characters in a candidate"):
        RTCIceCandidate.fromJSON({"candidate": attribute, "sdpMid": "0"})


async def test_candidate_object(network: Network) -> None:
    """
    And so has a candidate that was not made of JSON.
    """
    async with peers(network) as (offerer, pc):
        offerer.createDataChannel("test")
        await pc.setRemoteDescription(await offered(offerer))
        candidate = RTCIceCandidate(
            component=1,
            foundation="1" * 2000,
            ip="10.0.0.1",
            port=9,
            priority=1,
            protocol="udp",
            type="host",
            sdpMid="0",
        )
        with nothing_changes(pc), pytest.raises(ValueError, match="in a candidate"):
            await pc.addIceCandidate(candidate)


def test_candidate_surrogate() -> None:
    """
    A candidate that could not be sent as text is refused.
    """
    candidate = RTCIceCandidate.fromJSON(
        {"candidate": "candidate:1 1 udp 1 10.0.0.1 9 typ \ud800", "sdpMid": "0"}
    )
    assert candidate is not None
    with pytest.raises(ValueError, match="surrogate"):
        places.check_size(candidate)
