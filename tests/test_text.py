"""
Descriptions as text: what is read of them, and what is shown again.
"""

import time
from collections.abc import Callable
from typing import Any

import pytest
from aiortc.codecs import CODECS
from aiortc.rtcpeerconnection import find_common_codecs, wrap_session_description
from aiortc.sdp import MediaDescription, SessionDescription

from aiortc_restart import RTCIceCandidate, RTCSessionDescription
from aiortc_restart.negotiation import check, limits, text
from aiortc_restart.negotiation.sections import is_data, rejected_mids

from .fuzz.sdp import CORPUS

SESSION = """\
v=0
o=- 1 1 IN IP4 0.0.0.0
s=-
t=0 0
a=fingerprint:sha-256 AB:CD
a=ice-ufrag:abcd
a=ice-pwd:abcdabcdabcdabcdabcdab
a=setup:actpass
"""
AUDIO = "m=audio 9 UDP/TLS/RTP/SAVPF 111\na=mid:a\na=rtpmap:111 opus/48000/2\n"
VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96\na=mid:v\na=rtpmap:96 H264/90000\n"
DATA = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\na=mid:d\na=sctp-port:5000\n"
OLD_DATA = "m=application 9 DTLS/SCTP 5000\na=mid:d\n"

CANDIDATE = "1 1 udp 2122260223 10.0.2.7 40007 typ host"
EXTENDED = f"{CANDIDATE} generation 0 ufrag abcd network-cost 999"
URI = "urn:ietf:params:rtp-hdrext:sdes:mid"

PEERS = {
    **CORPUS,
    "pion": """\
v=0
o=- 6214527468427133187 1690000000 IN IP4 0.0.0.0
s=-
t=0 0
a=msid-semantic:WMS*
a=fingerprint:sha-256 AB:CD
a=extmap-allow-mixed
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111 0
c=IN IP4 0.0.0.0
a=setup:actpass
a=mid:0
a=ice-ufrag:XrzIvzEPzWNSlZDL
a=ice-pwd:NhvNOYdSeUNBDvFFpzmDQlwRJnbVbXAo
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10;useinbandfec=1
a=rtcp-fb:111 transport-cc
a=rtpmap:0 PCMU/8000
a=extmap:1/sendonly urn:ietf:params:rtp-hdrext:ssrc-audio-level vad=on
a=ssrc:2596996162 cname:stream
a=ssrc:2596996162 msid:stream audio
a=sendrecv
a=candidate:2795489093 1 udp 2130706431 10.0.2.7 40007 typ host
a=candidate:2795489093 2 udp 2130706431 10.0.2.7 40007 typ host
a=end-of-candidates
m=video 9 UDP/TLS/RTP/SAVPF 96 97 98
c=IN IP4 0.0.0.0
a=setup:actpass
a=mid:1
a=ice-ufrag:XrzIvzEPzWNSlZDL
a=ice-pwd:NhvNOYdSeUNBDvFFpzmDQlwRJnbVbXAo
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 goog-remb
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:98 H264/90000
a=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
a=rid:q send
a=rid:f send
a=simulcast:send q;f
a=sendonly
""",
    "telephony": SESSION
    + "m=audio 30000/2 rtp/savpf 8 0 18 101\nc=IN IP4 10.0.2.4\nb=AS:64\nb=TIAS:64000\n"
    "a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-16\na=ptime:20\na=rtcp-mux\n"
    "m=image 9 udptl t38\na=T38FaxVersion:0\nm=text 0 RTP/AVP 98\n",
    "conference": SESSION
    + "a=group:BUNDLE a d\na=group:LS a v\na=ice-lite\na=end-of-candidates\n"
    + AUDIO
    + VIDEO
    + DATA
    + "m=application 9 TCP/TLS/BFCP *\na=mid:b\na=floorctrl:c-only\na=confid:1\n",
}
"Descriptions in the style of those that peers make."


def offer(sdp: str) -> RTCSessionDescription:
    return RTCSessionDescription(sdp=sdp.replace("\n", "\r\n"), type="offer")


def read(sdp: str, remote: bool = True) -> text.ParsedDescription:
    return text.parse(offer(sdp), remote)


def read_section(lines: str) -> MediaDescription:
    return read(SESSION + lines).media[0]


def parts(sdp: str) -> list[list[str]]:
    """
    Return the sorted lines of the session part, and of each m-section.
    """
    found: list[list[str]] = [[]]
    for line in sdp.splitlines():
        if line.startswith("m="):
            found.append([])
        found[-1].append(line.rstrip())
    return [sorted(x) for x in found]


def value(description: SessionDescription) -> dict[str, Any]:
    """
    Return all that has been read of a description.
    """
    fields = {k: v for k, v in vars(description).items() if k != "received"}
    return {**fields, "media": [vars(x) for x in description.media]}


def codecs(media: MediaDescription) -> list[tuple[int | None, str]]:
    return [(x.payloadType, f"{x.mimeType}/{x.clockRate}") for x in media.rtp.codecs]


def m_line(media: MediaDescription) -> tuple[str, int, str, list[Any], str]:
    return media.kind, media.port, media.profile, media.fmt, media.rtp.muxId


def parameters(media: MediaDescription) -> dict[str, int | str | None]:
    return media.rtp.codecs[0].parameters


def candidates(media: MediaDescription) -> list[tuple[str, str]]:
    return [(x.foundation, x.ip) for x in media.ice_candidates]


def extensions(media: MediaDescription) -> list[tuple[int, str]]:
    return [(x.id, x.uri) for x in media.rtp.headerExtensions]


def feedback(media: MediaDescription) -> list[tuple[str, str | None]]:
    return [(x.type, x.parameter) for x in media.rtp.codecs[0].rtcpFeedback]


READ: dict[str, tuple[str, Callable[[MediaDescription], object], object]] = {
    # What aiortc's parser refuses, or reads as something else.
    "direction of an extension": (
        AUDIO + f"a=extmap:3/sendonly {URI}\n",
        extensions,
        [(3, URI)],
    ),
    "attributes of an extension": (
        AUDIO + f"a=extmap:3/recvonly {URI} vad=on x\na=extmap:4 urn:x y\n",
        extensions,
        [(3, URI), (4, "urn:x")],
    ),
    "static codecs": (
        "m=audio 9 RTP/SAVPF 0 8 9\n",
        codecs,
        [(0, "audio/PCMU/8000"), (8, "audio/PCMA/8000"), (9, "audio/G722/8000")],
    ),
    "static codecs which we do not have": (
        "m=audio 9 RTP/SAVPF 18 3 13 77 0\n",
        codecs,
        [
            (18, "audio/G729/8000"),
            (3, "audio/GSM/8000"),
            (13, "audio/CN/8000"),
            (0, "audio/PCMU/8000"),
        ],
    ),
    "static codecs among others": (
        "m=audio 9 RTP/SAVPF 8 111 0\na=rtpmap:0 PCMU/8000\n"
        "a=rtpmap:111 opus/48000/2\n",
        codecs,
        [(8, "audio/PCMA/8000"), (111, "audio/opus/48000"), (0, "audio/PCMU/8000")],
    ),
    "codecs in the order of the m= line": (
        "m=audio 9 RTP/SAVPF 101 0 111\na=rtpmap:111 opus/48000/2\n"
        "a=rtpmap:0 PCMU/8000\na=rtpmap:101 PCMA/8000\n",
        codecs,
        [(101, "audio/PCMA/8000"), (0, "audio/PCMU/8000"), (111, "audio/opus/48000")],
    ),
    "static numbers of other codecs": (
        "m=audio 9 RTP/SAVPF 0\na=rtpmap:0 opus/48000/2\n",
        codecs,
        [(0, "audio/opus/48000")],
    ),
    "static codecs of the other kind": ("m=video 9 RTP/SAVPF 0 8\n", codecs, []),
    "static codecs of video": (
        "m=video 9 RTP/SAVPF 31 26\n",
        codecs,
        [(31, "video/H261/90000"), (26, "video/JPEG/90000")],
    ),
    "payload type that comes twice": (
        VIDEO + "a=rtpmap:96 VP8/90000\na=rtpmap:200 VP8/90000\na=fmtp:96 x=1\n",
        codecs,
        [(96, "video/H264/90000")],
    ),
    "parameters of what has no codec": (
        AUDIO + "a=fmtp:77 x=1\na=fmtp:x y\na=fmtp:111 x=1\na=rtcp-fb:77 nack\n",
        parameters,
        {"x": "1"},
    ),
    "numbers": (
        AUDIO + "a=fmtp:111 minptime=10;useinbandfec=1;x=2\n",
        parameters,
        {"minptime": 10, "useinbandfec": 1, "x": "2"},
    ),
    "words in the place of numbers": (
        AUDIO + "a=fmtp:111 stereo=true;minptime=;apt=96/97\n",
        parameters,
        {"stereo": "true", "minptime": "", "apt": "96/97"},
    ),
    "parameters with blanks": (
        AUDIO + "a=fmtp:111  minptime=10 ; stereo = 1;; usedtx ;x= a b \n",
        parameters,
        {"minptime": 10, "stereo": 1, "usedtx": None, "x": "a b"},
    ),
    "parameters in two lines": (
        AUDIO + "a=fmtp:111 stereo=1\na=fmtp:111 minptime=10\n",
        parameters,
        {"stereo": 1, "minptime": 10},
    ),
    "packetization mode without value": (
        VIDEO + "a=fmtp:96 packetization-mode;profile-level-id=42e01f\n",
        parameters,
        {"profile-level-id": "42e01f"},
    ),
    "packetization mode with an empty value": (
        VIDEO + "a=fmtp:96 packetization-mode=;profile-level-id=42e01f\n",
        parameters,
        {"profile-level-id": "42e01f"},
    ),
    "feedback": (
        VIDEO + "a=rtcp-fb:96 nack pli\na=rtcp-fb:* nack\na=rtcp-fb:97 x\n",
        feedback,
        [("nack", "pli"), ("nack", None)],
    ),
    "feedback without type": (VIDEO + "a=rtcp-fb:96\na=rtcp-fb\n", feedback, []),
    "feedback which comes twice": (
        VIDEO + "a=rtcp-fb:* nack\na=rtcp-fb:* nack\n",
        feedback,
        [("nack", None)],
    ),
    "source attribute without value": (
        AUDIO + "a=ssrc:1 recvonly\na=ssrc:1\na=ssrc:2 cname:x\n",
        lambda x: [(y.ssrc, y.cname) for y in x.ssrc],
        [(2, "x")],
    ),
    "candidate": (AUDIO + f"a=candidate:{EXTENDED}\n", candidates, [("1", "10.0.2.7")]),
    "candidate without foundation": (
        AUDIO + f"a=candidate:{EXTENDED.removeprefix('1')}\n",
        candidates,
        [("0", "10.0.2.7")],
    ),
    "candidates that cannot be read": (
        AUDIO
        + f"a=candidate:x\na=candidate\na=candidate:{CANDIDATE} rport x\n"
        + f"a=candidate:{CANDIDATE.replace('40007', '')}\na=candidate:{CANDIDATE}\n",
        candidates,
        [("1", "10.0.2.7")],
    ),
    "end of candidates": (
        AUDIO + "a=end-of-candidates\n",
        lambda x: x.ice_candidates_complete,
        True,
    ),
    "no direction": (AUDIO, lambda x: x.direction, "sendrecv"),
    "direction": (AUDIO + "a=recvonly\n", lambda x: x.direction, "recvonly"),
    "direction of data": (DATA, lambda x: x.direction, None),
    "name in the place of an address": (
        AUDIO + "c=IN IP4 host.example\na=rtcp:9 IN IP6 x\n",
        lambda x: (x.host, x.rtcp_host),
        ("0.0.0.0", "0.0.0.0"),
    ),
    "data": (DATA, check.data_port, 5000),
    "data in lower case": (
        "m=application 9 dtls/sctp 5001\n",
        lambda x: (is_data(x), check.data_port(x)),
        (True, 5001),
    ),
    "data as of old": (
        "m=application 9 DTLS/SCTP 5001\na=sctpmap:5001 webrtc-datachannel 1024\n",
        lambda x: (check.data_port(x), x.sctpmap),
        (5001, {5001: "webrtc-datachannel 1024"}),
    ),
    "data with a port attribute": (
        "m=application 9 DTLS/SCTP webrtc-datachannel\na=sctp-port:5002\n",
        check.data_port,
        5002,
    ),
    "data without port": (
        "m=application 9 DTLS/SCTP webrtc-datachannel\n",
        check.data_port,
        5000,
    ),
    "map of no port": (
        OLD_DATA + "a=sctpmap:x y\na=sctpmap:5000\n",
        lambda x: x.sctpmap,
        {},
    ),
    "two ports": (
        "m=audio 9/2 RTP/SAVPF 0\na=mid:a\n",
        m_line,
        ("audio", 9, "RTP/SAVPF", [0], "a"),
    ),
    "lower case": (
        "m=audio 9 udp/tls/rtp/savpf 0\na=mid:a\n",
        m_line,
        ("audio", 9, "udp/tls/rtp/savpf", [0], "a"),
    ),
    "rejected, with nothing": (
        "m=audio 0 UDP/TLS/RTP/SAVPF\na=mid:a\n",
        m_line,
        ("audio", 0, "UDP/TLS/RTP/SAVPF", [], "a"),
    ),
    "rejected, with words": (
        "m=audio 0 RTP/SAVPF x 73 300\na=mid:a\n",
        m_line,
        ("audio", 0, "RTP/SAVPF", ["x", "73", "300"], "a"),
    ),
    "rejected, with numbers": (
        "m=audio 0 RTP/SAVPF 73 300\na=mid:a\n",
        m_line,
        ("audio", 0, "RTP/SAVPF", [73, 300], "a"),
    ),
}
"Of an m-section, what is read, and how it is."

UNKNOWN = [
    *("m=text {} UDP/TLS/RTP/SAVPF 98", "m=image {} udptl t38", "m=message {} X/y z"),
    *("m=application {} UDP/BFCP *", "m=application {} TCP/TLS/BFCP *"),
    *("m=message {} TCP/TLS/MSRP *", "m=audio {} RTP-over-QUIC x", "m=x+y {} a-b"),
    *("m=text {} RTP/AVP 98 x", "m=application {} RTP/AVP 100"),
]
"The m= lines of kinds and protocols that nobody here knows."

UNREADABLE = {
    "payload type": AUDIO.replace(" 111", " x"),
    "big payload type": AUDIO.replace(" 111", " 256"),
    "payload type of RTCP": AUDIO.replace(" 111", " 73"),
    "codec": AUDIO + "a=rtpmap:96 x\n",
    "extension": AUDIO + "a=extmap:x y\n",
    "extension without URI": AUDIO + "a=extmap:3\n",
    "fingerprint": AUDIO + "a=fingerprint:x\n",
    "data in lower case": DATA.replace("UDP/DTLS", "udp/dtls") + "a=setup:x\n",
    "role": AUDIO + "a=setup:x\n",
    "size": DATA + "a=max-message-size:x\n",
    "port of data": DATA + "a=sctp-port:x\n",
    "address": AUDIO + "c=IN\n",
    "sources": AUDIO + "a=ssrc-group:FID x\n",
}
"What makes an m-section unreadable."

SHOWN = {
    "RTCP mux without a=rtcp": AUDIO + "a=rtcp-mux\n",
    "reduced-size RTCP": AUDIO + "a=rtcp-mux\na=rtcp-rsize\n",
    "bandwidth": AUDIO.replace("\n", "\nb=AS:500\nb=TIAS:500000\n", 1),
    "direction of an extension": AUDIO + f"a=extmap:3/sendonly {URI} vad=on\n",
    "simulcast": VIDEO + "a=rid:q send\na=simulcast:send q\n",
    "unknown attributes": VIDEO + "a=x-google-flag:conference\na=framerate:30\n",
    "codecs that we do not read": "m=audio 9 RTP/SAVPF 0 200\na=rtpmap:200 x/1\n",
    "multichannel codec": AUDIO + "a=rtpmap:96 multiopus/48000/6\n",
    "source attributes": AUDIO + "a=ssrc:1 cname:x\na=ssrc:1 foo:y\na=ssrc:2 bar\n",
    "candidate with extensions": AUDIO + f"a=candidate:{EXTENDED}\n",
    "candidate without foundation": AUDIO + f"a=candidate: {CANDIDATE[2:]}\n",
    "end of candidates": AUDIO + "a=end-of-candidates\n",
    "map of streams": OLD_DATA + "a=sctpmap:5000 webrtc-datachannel 1024\n",
    "size of messages": DATA + "a=max-message-size:1073741823\n",
    "ports": AUDIO.replace(" 9 ", " 9/2 "),
    "no direction": VIDEO,
    "no mid": "m=audio 9 RTP/SAVPF 0\nm=audio 9 RTP/SAVPF 0\n",
    "rejected": "m=audio 0 RTP/SAVPF x\nc=IN IP4 10.0.0.1\na=fingerprint:x\n",
    **{x: x.format(9) + "\na=mid:x\na=foo:bar\n" for x in UNKNOWN},
}
"What is shown as it was received."


@pytest.mark.parametrize("name", READ)
def test_read(name: str) -> None:
    """
    What browsers accept is read.
    """
    lines, what, expected = READ[name]
    assert what(read_section(lines)) == expected


@pytest.mark.parametrize("line", UNKNOWN)
@pytest.mark.parametrize("port", [0, 9])
def test_unknown(line: str, port: int) -> None:
    """
    An m-section of any kind and protocol is read, whatever else it says.
    """
    line = line.format(port)
    kind, _, profile, *formats = line[2:].split()
    for more in ("", "a=setup:holdconn\na=fingerprint:x\na=path:msrp://x\nc=IN\n"):
        parsed = read(f"{SESSION}{line}\na=mid:x\n{more}{AUDIO}")
        assert m_line(parsed.media[0]) == (kind, port, profile, formats, "x")
        assert codecs(parsed.media[1]) == [(111, "audio/opus/48000")]


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable(name: str) -> None:
    """
    What cannot be read is an error, except where an m-section is rejected.
    """
    lines = UNREADABLE[name]
    with pytest.raises(ValueError, match=r"^Cannot parse the offer: ."):
        read_section(lines)
    kind, rest = lines.split(" 9 ", 1)
    rejected = f"{kind} 0 {rest}"
    media = read(f"{SESSION}a=group:LS a v\n{rejected}").media[0]
    assert rejected_mids(read(SESSION + rejected)) == {media.rtp.muxId}
    # An m-section without a port of its own is not rejected if it is bundled.
    bundled = f"{SESSION}a=group:BUNDLE {media.rtp.muxId}\n"
    with pytest.raises(ValueError, match=r"^Cannot parse"):
        read(bundled + rejected)


@pytest.mark.parametrize(
    "line", ["m=", "m=audio 9", "m=audio x RTP/SAVPF 0", "m=audio -9 RTP/AVP 0", "v=x"]
)
def test_unreadable_line(line: str) -> None:
    """
    A malformed m= line is an error, and so is another version.
    """
    with pytest.raises(ValueError, match=r"^Cannot parse the offer: "):
        read(f"{SESSION}{line}\n")


def test_common_codecs() -> None:
    """
    Static payload types stand for codecs which we have.
    """
    media = read_section("m=audio 9 RTP/SAVPF 18 9 8 0\n")
    common = find_common_codecs(CODECS["audio"], media.rtp.codecs)
    assert [x.name for x in common] == ["G722", "PCMA", "PCMU"]
    # aiortc has no H.264 of the default mode, and cannot compare a mode without value.
    media = read_section(VIDEO + "a=fmtp:96 packetization-mode\n")
    assert find_common_codecs(CODECS["video"], media.rtp.codecs) == []


@pytest.mark.parametrize("name", SHOWN)
def test_shown(name: str) -> None:
    """
    A remote description is shown as it was received.
    """
    sdp = SESSION + SHOWN[name]
    shown = text.show(read(sdp))
    assert parts(shown) == parts(sdp)
    assert value(read(shown.replace("\r\n", "\n"))) == value(read(sdp))


@pytest.mark.parametrize("name", PEERS)
def test_peers(name: str) -> None:
    """
    What is shown of any peer's description is what was received, and means the same.
    """
    sdp = PEERS[name].replace("\r\n", "\n")
    shown = text.show(read(sdp)).replace("\r\n", "\n")
    if name != "conference":
        assert parts(shown) == parts(sdp)
    assert value(read(shown)) == value(read(sdp))
    assert text.show(read(shown)) == text.show(read(sdp))


def test_session_part() -> None:
    """
    The session part is shown as it was received, except for the end of candidates,
    which is that of each m-section.
    """
    sdp = PEERS["conference"]
    parsed = read(sdp)
    assert all(x.ice_candidates_complete for x in parsed.media)
    assert all(x.ice is not None and x.ice.iceLite for x in parsed.media)
    shown, expected = parts(text.show(parsed)), parts(sdp)
    expected[0].remove("a=end-of-candidates")
    for section in expected[1:]:
        section.append("a=end-of-candidates")
        section.sort()
    assert shown == expected
    assert text.show(parsed).index("BUNDLE a d") < text.show(parsed).index("LS a v")


def test_late_candidates() -> None:
    """
    Candidates which came later are shown, and their end.
    """
    parsed = read(SESSION + AUDIO + f"a=candidate:{EXTENDED}\n" + DATA)
    late = RTCIceCandidate.fromJSON(
        {"candidate": f"candidate:{CANDIDATE.replace('40007', '40008')} ufrag abcd"}
    )
    assert late is not None
    for media in parsed.media:
        media.ice_candidates.append(late)
    parsed.media[1].ice_candidates_complete = True
    _, audio, data = parts(text.show(parsed))
    lines = [f"a=candidate:{EXTENDED}", f"a={late.candidate}", "a=end-of-candidates"]
    assert [x for x in audio if "candidate" in x] == lines[:2]
    assert [x for x in data if "candidate" in x] == lines[1:]
    assert late.candidate.endswith(" ufrag abcd")


def test_local() -> None:
    """
    A local description is shown as its fields are.
    """
    parsed = read(PEERS["chromium"].replace("\r\n", "\n"), remote=False)
    audio, video, data = parsed.media
    audio.ice_candidates = audio.ice_candidates[:1]
    audio.port, audio.host = 1234, "10.0.0.1"
    video.port, video.direction = 0, "inactive"
    assert data.ice is not None
    data.ice.usernameFragment = "other"
    shown = parts(text.show(parsed))
    assert len([x for x in shown[1] if x.startswith("a=candidate")]) == 1
    assert "c=IN IP4 10.0.0.1" in shown[1]
    assert [x[:8] for x in shown[2] if x[:2] == "m="] == ["m=video "]
    assert "a=inactive" in shown[2]
    assert "a=ice-ufrag:other" in shown[3]
    assert value(text.parse(offer(text.show(parsed)), remote=False)) == value(parsed)


@pytest.mark.parametrize(
    ("lines", "shown"),
    [
        (AUDIO + "a=rtcp-mux\n", "a=rtcp-mux"),
        (AUDIO + "a=rtcp:9\na=rtcp-mux\n", "a=rtcp-mux"),
        ("m=audio 0 RTP/AVP\n", "m=audio 0 RTP/AVP 0"),
        ("a=ice-lite\n" + AUDIO, "a=ice-lite"),
        ("c=IN IP4 host.example\n" + AUDIO, "c=IN IP4 0.0.0.0"),
        ("m=audio 9 RTP/SAVPF 0\n", "a=rtpmap:0 PCMU/8000"),
    ],
)
def test_local_lines(lines: str, shown: str) -> None:
    """
    Nothing that a local description needs is missing from what is shown of it.
    """
    lines_shown = text.show(read(SESSION + lines, remote=False)).split("\r\n")
    assert lines_shown.count(shown) == 1


def test_no_origin() -> None:
    """
    A description without o= line can be shown.
    """
    for remote in (False, True):
        assert "o=None" not in text.show(read(AUDIO, remote))


def test_wrap() -> None:
    """
    Applications get type and text: aiortc makes its text of a description.
    """
    wrapped = wrap_session_description(read(SESSION + AUDIO))
    assert wrapped is not None
    assert parts(wrapped.sdp) == parts(SESSION + AUDIO)
    assert wrapped.sdp == str(read(SESSION + AUDIO))
    assert wrapped.type == "offer"


@pytest.mark.parametrize(
    ("sections", "group", "mids"),
    [
        (["", ""], "", ["0", "1"]),
        (["", "0", ""], "", ["1", "0", "2"]),
        (["1", "", "0", ""], "", ["1", "2", "0", "3"]),
        # Who names a section that is not there does not mean one which has no name.
        (["", "x"], "0 x", ["1", "x"]),
    ],
)
def test_no_mid(sections: list[str], group: str, mids: list[str]) -> None:
    """
    An m-section without mid gets a mid which no other one has, and it is known that the
    peer did not write it.
    """
    sdp = SESSION + (f"a=group:BUNDLE {group}\n" if group else "")
    for mid in sections:
        sdp += "m=audio 9 RTP/SAVPF 0\n" + (f"a=mid:{mid}\n" if mid else "")
    parsed = read(sdp)
    assert [x.rtp.muxId for x in parsed.media] == mids
    assert parsed.unnamed == {i for i, x in enumerate(sections) if not x}
    check.check_description(parsed)
    assert text.show(parsed).count("a=mid") == sum(map(bool, sections))


@pytest.mark.parametrize(
    ("sections", "known", "mids"),
    [
        (["", ""], ["a", "v"], ["a", "v"]),
        (["", "", ""], ["1"], ["1", "0", "2"]),
        (["", "a"], ["a", "v"], ["0", "a"]),
        (["x", "y"], ["a", "v"], ["x", "y"]),
        (["", ""], ["", "v"], ["0", "v"]),
    ],
)
def test_mids_of_offer(sections: list[str], known: list[str], mids: list[str]) -> None:
    """
    An m-section without mid gets the mid of its place in the offer which it answers.
    """
    parsed = read(
        SESSION
        + "".join(
            "m=audio 9 RTP/SAVPF 0\n" + (f"a=mid:{x}\n" if x else "") for x in sections
        )
    )
    text.name_sections(parsed, known)
    assert [x.rtp.muxId for x in parsed.media] == mids


@pytest.mark.parametrize("line", ["a=mid", "a=mid:", "a=mid: "])
def test_empty_mid(line: str) -> None:
    """
    A mid attribute without a value is an error.
    """
    parsed = read(SESSION + f"m=audio 9 RTP/SAVPF 0\n{line}\n")
    with pytest.raises(ValueError, match="mid attribute without a value"):
        check.check_description(parsed)


@pytest.mark.parametrize("end", ["\n", "\r\n", " \r\n", "\t \n", "\n\n", "\r\n\r\n"])
def test_line_ends(end: str) -> None:
    """
    Lines may end with LF or with CR LF, have blanks at the end, or be empty.
    """
    sdp = PEERS["pion"]
    spaced = RTCSessionDescription(sdp=sdp.replace("\n", end), type="offer")
    assert value(text.parse(spaced)) == value(read(sdp))
    assert text.show(text.parse(spaced)) == text.show(read(sdp))


@pytest.mark.parametrize("extra", [*"+/=-_#"])
def test_credentials(extra: str) -> None:
    """
    Credentials may have the characters that browsers take.
    """
    sdp = f"{SESSION}{AUDIO}a=ice-ufrag:abc{extra}\na=ice-pwd:{'x' * 21}{extra}\n"
    check.check_credentials(read(sdp).media[0])


@pytest.mark.parametrize("username", ["abc", "abc!", "abc:", "abc\u00e9", "x" * 257])
@pytest.mark.parametrize("password", ["x" * 21, "x" * 21 + "!", "x" * 257])
def test_bad_credentials(username: str, password: str) -> None:
    """
    Credentials which no browser takes are refused.
    """
    media = read(f"{SESSION}{AUDIO}a=ice-ufrag:{username}\n").media[0]
    with pytest.raises(ValueError, match="username fragment of media section"):
        check.check_credentials(media)
    media = read(f"{SESSION}{AUDIO}a=ice-pwd:{password}\n").media[0]
    with pytest.raises(ValueError, match="password of media section"):
        check.check_credentials(media)


ONE_SECTION = CORPUS["chromium"].replace("\r\n", "\n").split("m=video")[1]

BIG = {
    "sections": f"{AUDIO}a=x:{'y' * 500}\n",
    "codecs": f"m=video{ONE_SECTION}",
    "extensions": AUDIO + "a=extmap:1/sendonly x y\n" * 900,
    "feedback": VIDEO + "a=rtcp-fb:96 nack pli\n" * 900,
    "candidates": AUDIO + f"a=candidate:{EXTENDED}\n" * 400,
    "parameters": f"{AUDIO}a=fmtp:111 {'x=y;' * 10000}\n",
    "rejected": UNREADABLE["fingerprint"].replace(" 9 ", " 0 ") + "a=x:y\n" * 100,
}
"M-sections, by what there is much of."


@pytest.mark.parametrize("name", BIG)
def test_megabyte(name: str) -> None:
    """
    A megabyte is read and shown within a second.
    """
    sdp = SESSION + BIG[name] * (1024 * 1024 // len(BIG[name]))
    began = time.process_time()
    text.show(read(sdp))
    assert time.process_time() - began < 1


def test_limits_first() -> None:
    """
    A description is measured before anything else.
    """
    sdp = SESSION + "m=\n" * (limits.MAX_SECTIONS + 1)
    with pytest.raises(ValueError, match="m-sections in a description"):
        read(sdp)
