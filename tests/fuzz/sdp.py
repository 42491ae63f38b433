"""
Descriptions in the style of those which real peers send, and what may be wrong with
them.
"""

import random
import re
from collections.abc import Callable
from pathlib import Path

Lines = list[str]

CORPUS = {
    path.stem: path.read_text().replace("\n", "\r\n")
    for path in sorted((Path(__file__).parent / "corpus").glob("*.sdp"))
}
"Offers, by the peer that sends such ones."

FINGERPRINT = "sha-256 " + ":".join(["AB"] * 32)

CANDIDATE = "candidate:7 1 udp 2122260223 10.0.2.7 40007 typ host"
"Where nobody is."

WORDS = (
    *("", "0", "-1", "-5", "1e5", "255", "256", "65535", "65536", "99999999999"),
    *("9" * 5000, "x", "*", "None", "0x10", "1.5", "a b", "  ", ":", ";", "=", "/"),
    *("\u0663", "\u00e9", "\ud800", "\x00", "\x0b", "\x85", "\u2028", "%s", "{}"),
    *("audio", "video", "application", "text", "AUDIO", "opus/48000/2", "VP8/90000"),
    *("rtx/90000", "H264/90000", "x/1", "sha-256", "active", "passive", "holdconn"),
    *("::1", "0.0.0.0", "host.example", "name.local", "fe80::1%eth0", "224.2.1.1/127"),
)

LINES = (
    *("c=IN IP4 host.example", "c=IN IP6 x", "c=IN", "a=rtcp:9 IN IP4 host.example"),
    *("a=", "a", "=", "m=", "b=AS:x", "b=AS:500", "a=:", "a=candidate:x", "v=1", "v=x"),
    *(
        "a=candidate:1 1 udp 1 x.local 5 typ host",
        "a=candidate:1 2 udp 1 1.1.1.1 5 typ",
    ),
    *("a=candidate:1 1 udp 1 1.1.1.1 70000 typ host", "a=end-of-candidates"),
    *("a=ice-lite", "a=ice-options:trickle", "a=ice-options:", "a=ice-mismatch"),
    *("a=ice-ufrag:", "a=ice-ufrag:abc", "a=ice-ufrag:otherone", "a=ice-pwd:short"),
    *("a=ice-pwd:anotherpasswordof24chars", "a=extmap:0 x", "a=extmap:15 x"),
    *("a=extmap:4096 x", "a=extmap:1/sendonly x", "a=extmap:1/x/y z", "a=extmap:x y"),
    *("a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid", "a=extmap-allow-mixed"),
    *("a=fingerprint:x y", "a=fingerprint:sha-1 AB", "a=fingerprint:", "a=tls-id:x"),
    *("a=setup:active", "a=setup:passive", "a=setup:actpass", "a=setup:holdconn"),
    *(
        "a=mid:0",
        "a=mid:1",
        "a=mid:",
        "a=mid:x y",
        "a=mid:\u00e9",
        "a=mid:" + "m" * 99,
    ),
    *(
        "a=fmtp:96 x",
        "a=fmtp:97 apt=x",
        "a=fmtp:97 apt=97",
        "a=fmtp:97 apt",
        "a=fmtp:x",
    ),
    *("a=fmtp:103 packetization-mode", "a=fmtp:103 packetization-mode=x"),
    *("a=fmtp:103 profile-level-id", "a=fmtp:103 profile-level-id=zz", "a=fmtp:0 ;;=;"),
    *("a=fmtp:103 profile-level-id=42e0ff", "a=fmtp:103 profile-level-id=\u0664\u0662"),
    *("a=fmtp:103 packetization-mode=1;profile-level-id=4200", "a=rtcp-fb:* nack"),
    *("a=rtcp-fb:*", "a=rtcp-fb:96", "a=rtcp-fb:x nack", "a=rtpmap:96 x/1"),
    *("a=rtpmap:97 rtx/90000", "a=rtpmap:300 VP8/90000", "a=rtpmap:-1 VP8/90000"),
    *("a=rtpmap:0 VP8/90000", "a=rtpmap:96 H264/90000", "a=rtpmap:96 opus/48000/0"),
    *("a=rtpmap:1 VP8", "a=rtpmap:96 VP8/x", "a=rtpmap:111 opus/48000/x", "a=rtpmap:"),
    *(
        "a=rtcp:x",
        "a=rtcp:9",
        "a=rtcp:",
        "a=rtcp-mux",
        "a=rtcp-mux-only",
        "a=rtcp-rsize",
    ),
    *("a=inactive", "a=sendonly", "a=recvonly", "a=sendrecv", "a=bundle-only"),
    *("a=group:BUNDLE 7", "a=group:", "a=group:BUNDLE", "a=group:LS 0 1", "a=group"),
    *("a=group:BUNDLE 0 0 1", "a=group:BUNDLE 1 0", "a=group:BUNDLE 2 1 0"),
    *("a=msid-semantic:WMS *", "a=msid-semantic:", "a=msid-semantic", "a=msid:- x"),
    *("a=msid:", "a=msid:  x", "a=msid: ", "a=msid:x", "a=msid:a b c", "a=msid"),
    *("a=ssrc-group:FID", "a=ssrc-group:FID x", "a=ssrc-group:", "a=ssrc-group"),
    *(
        "a=ssrc:1 label:",
        "a=ssrc:x cname:y",
        "a=ssrc:-1 cname:y",
        "a=ssrc:1",
        "a=ssrc:",
    ),
    *("a=ssrc:99999999999 cname:y", "a=max-message-size:x", "a=max-message-size:0"),
    *("a=max-message-size:-1", "a=max-message-size:99999999999999999999"),
    *("a=sctp-port:0", "a=sctp-port:65536", "a=sctp-port:x", "a=sctpmap:x y"),
    *("a=sctpmap:5000", "a=simulcast:send 1;2", "a=rid:1 send", "a=identity:x"),
)

MEDIA = (
    "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=rtpmap:0 PCMU/8000\r\n",
    "m=audio 9 UDP/TLS/RTP/SAVPF 99\r\na=rtpmap:99 unknown/8000\r\n",
    "m=audio 0 UDP/TLS/RTP/SAVPF 0\r\n",
    "m=audio 9 UDP/TLS/RTP/SAVPF 72\r\n",
    "m=audio 9 UDP/TLS/RTP/SAVPF\r\n",
    "m=audio 99999999 RTP/AVP 0\r\n",
    "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\n",
    "m=video 0 UDP/TLS/RTP/SAVPF 96\r\n",
    "m=text 9 RTP/AVP 98\r\na=rtpmap:98 t140/1000\r\n",
    "m=text 0 RTP/AVP 98\r\n",
    "m=message 9 TCP/MSRP *\r\n",
    "m=image 0 udptl t38\r\n",
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=sctp-port:5000\r\n",
    "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n",
    "m=application 9 DTLS/SCTP x\r\n",
    "m=application 9 UDP/BFCP *\r\n",
)
"M-sections, which lack what all need."

COMMON = (
    "a=mid:{mid}\r\na=sendrecv\r\na=rtcp-mux\r\na=setup:actpass\r\n"
    "a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=fingerprint:" + FINGERPRINT + "\r\n"
)


def fresh(sdp: str, number: int) -> str:
    """
    Return a description with the ICE credentials which have a number.
    """
    sdp = re.sub("^a=ice-ufrag:.*", f"a=ice-ufrag:u{number:07}\r", sdp, flags=re.M)
    return re.sub("^a=ice-pwd:.*", f"a=ice-pwd:p{number:023}\r", sdp, flags=re.M)


def usernames(sdp: str) -> set[str]:
    return set(re.findall("^a=ice-ufrag:(.*)\r$", sdp, flags=re.M))


def with_credentials_of(sdp: str, other: str) -> str:
    """
    Return a description with the ICE credentials of another one, for its own transport
    those of the first m-section.
    """
    said = [_credentials(x) for x in sections(other)]
    found = [x for x in said if x is not None]
    parts = sections(sdp)
    for i, part in enumerate(parts):
        username, password = (said[i] if i < len(said) else None) or found[0]
        part = re.sub("^a=ice-ufrag:.*", f"a=ice-ufrag:{username}\r", part, flags=re.M)
        parts[i] = re.sub("^a=ice-pwd:.*", f"a=ice-pwd:{password}\r", part, flags=re.M)
    return "".join(parts)


def _credentials(section: str) -> tuple[str, str] | None:
    username = re.search("^a=ice-ufrag:(.*)\r$", section, flags=re.M)
    password = re.search("^a=ice-pwd:(.*)\r$", section, flags=re.M)
    return (username[1], password[1]) if username and password else None


def as_answer(sdp: str) -> str:
    """
    Return what a peer answers that does what the offer says.
    """
    sdp = re.sub("^a=candidate:.*\r\n", "", sdp, flags=re.M)
    sdp = re.sub("^a=fingerprint:.*\r\n", "", sdp, flags=re.M)
    return re.sub(
        "^a=setup:.*",
        f"a=setup:active\r\na={CANDIDATE}\r\na=fingerprint:{FINGERPRINT}\r",
        sdp,
        flags=re.M,
    )


def as_offer(sdp: str) -> str:
    """
    Return an offer to go on as an offer, or an answer, says.
    """
    # aiortc shows it only if there is an a=rtcp line.
    sdp = re.sub("^a=rtcp-mux\r\n", "", sdp, flags=re.M)
    sdp = re.sub("(^m=(?:audio|video).*\n)", r"\1a=rtcp-mux\r\n", sdp, flags=re.M)
    return re.sub("^a=setup:.*", "a=setup:actpass\r", sdp, flags=re.M)


def sections(sdp: str) -> list[str]:
    """
    Return the session part and the m-sections of a description.
    """
    return re.split("^(?=m=)", sdp, flags=re.M)


def mutated(sdp: str, rng: random.Random) -> str:
    """
    Return a description with some things wrong, or merely unusual.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        if rng.random() < 0.7:
            lines = sdp.split("\r\n")[:-1]
            rng.choice(OF_LINES)(lines, rng)
            sdp = "".join(f"{x}\r\n" for x in lines)
        else:
            parts = sections(sdp)
            rng.choice(OF_SECTIONS)(parts, rng)
            sdp = "".join(parts)
    return sdp


# What may be done to lines


def _index(lines: Lines, rng: random.Random) -> int:
    return rng.randrange(len(lines)) if lines else 0


def _cut(lines: Lines, rng: random.Random) -> None:
    i = _index(lines, rng)
    lines[i : i + 1] = [x[: rng.randrange(len(x) + 1)] for x in lines[i : i + 1]]


def _drop(lines: Lines, rng: random.Random) -> None:
    i = _index(lines, rng)
    del lines[i : i + rng.choice((1, 1, 1, 4))]


def _drop_all(lines: Lines, rng: random.Random) -> None:
    """
    Drop all lines of an attribute.
    """
    if lines:
        name = rng.choice(lines).partition(":")[0]
        lines[:] = [x for x in lines if x.partition(":")[0] != name]


def _insert(lines: Lines, rng: random.Random) -> None:
    lines.insert(rng.randrange(len(lines) + 1), rng.choice(LINES))


def _move(lines: Lines, rng: random.Random) -> None:
    if lines:
        line = lines.pop(_index(lines, rng))
        lines.insert(rng.randrange(len(lines) + 1), line)


def _repeat(lines: Lines, rng: random.Random) -> None:
    i = _index(lines, rng)
    times = rng.choice((1, 1, 1, 1, 1, 1, 30, 600))
    lines[i:i] = lines[i : i + 1] * times


def _replace(lines: Lines, rng: random.Random) -> None:
    """
    Replace a line by another one of its name.
    """
    i = _index(lines, rng)
    name = "".join(lines[i : i + 1]).partition(":")[0]
    others = [x for x in LINES if x.partition(":")[0] == name]
    lines[i : i + 1] = [rng.choice(others or LINES)]


def _replace_everywhere(lines: Lines, rng: random.Random) -> None:
    """
    Replace a value wherever it is.
    """
    if lines:
        old = rng.choice(re.split("[ :/;=]", rng.choice(lines)))
        new = rng.choice(WORDS)
        if old:
            lines[:] = [x.replace(old, new) if len(x) < 9999 else x for x in lines]


def _word(lines: Lines, rng: random.Random) -> None:
    i = _index(lines, rng)
    parts = re.split("([ :/;=]|$)", "".join(lines[i : i + 1]))
    parts[rng.randrange(len(parts)) // 2 * 2] = rng.choice(WORDS)
    lines[i : i + 1] = ["".join(parts)]


OF_LINES: tuple[Callable[[Lines, random.Random], None], ...] = (
    *(_cut, _drop, _drop_all, _insert, _insert, _move, _repeat, _replace, _replace),
    *(_replace_everywhere, _word, _word, _word),
)


# What may be done to sections, of which the first is the session part


def _add_section(parts: list[str], rng: random.Random) -> None:
    section = rng.choice(MEDIA)
    if rng.random() < 0.8:
        mid = rng.choice(("new", "0", "1", "", "9"))
        section += COMMON.format(mid=mid, ufrag="moreofit", pwd="moreofit" * 3)
    parts.insert(rng.randrange(1, len(parts) + 1), section)


def _bundle(parts: list[str], rng: random.Random) -> None:
    """
    Bundle other sections.
    """
    mids = re.findall("^a=mid:(.*)\r$", "".join(parts), flags=re.M)
    rng.shuffle(mids)
    mids = mids[: rng.randrange(len(mids) + 1)] + rng.choice(([], ["nobody"], mids))
    group = f"a=group:BUNDLE {' '.join(mids)}\r\n" if rng.random() < 0.8 else ""
    parts[0] = re.sub("^a=group:BUNDLE.*\r\n", "", parts[0], flags=re.M) + group


def _change(parts: list[str], rng: random.Random) -> None:
    """
    Change what a section is.
    """
    i = rng.randrange(len(parts))
    old, new = rng.choice(
        (
            ("^m=[^ ]*", f"m={rng.choice(('audio', 'video', 'application', 'text'))}"),
            ("^(m=[^ ]*) [0-9]*", r"\1 0"),
            ("^(m=[^ ]*) [0-9]*", r"\1 9"),
            ("^a=mid:.*", f"a=mid:{rng.choice(('0', '1', 'new', ''))}\r"),
            ("^a=mid:.*\n", ""),
            ("^a=(sendrecv|sendonly|recvonly|inactive)", f"a={rng.choice(DIRECTIONS)}"),
            ("^a=(sendrecv|sendonly|recvonly|inactive)\r\n", ""),
            (
                "^a=setup:.*",
                f"a=setup:{rng.choice(('active', 'passive', 'actpass'))}\r",
            ),
            ("^a=setup:.*\n", ""),
            ("^a=rtpmap:.*\n", ""),
            ("^a=(fmtp|rtcp-fb|ssrc|msid|extmap).*\n", ""),
            ("^a=ice-.*\n", ""),
            ("^a=fingerprint:.*\n", ""),
            ("^a=ice-ufrag:.*", "a=ice-ufrag:another1\r"),
            ("^a=rtcp-mux\r\n", ""),
            ("UDP/TLS/RTP/SAVPF", "RTP/AVP"),
            ("UDP/DTLS/SCTP webrtc-datachannel", "DTLS/SCTP 5000"),
        )
    )
    parts[i] = re.sub(old, new, parts[i], flags=re.M)


def _drop_section(parts: list[str], rng: random.Random) -> None:
    del parts[rng.randrange(len(parts))]
    if not parts:
        parts.append("")


def _mix(parts: list[str], rng: random.Random) -> None:
    """
    Take sections of other peers.
    """
    other = sections(rng.choice(list(CORPUS.values())))
    for _ in range(rng.choice((1, 1, 3))):
        parts.insert(rng.randrange(1, len(parts) + 1), rng.choice(other[1:]))


def _multiply(parts: list[str], rng: random.Random) -> None:
    i = rng.randrange(len(parts))
    parts[i:i] = [parts[i]] * rng.choice((1, 1, 1, 1, 1, 1, 12))


def _swap(parts: list[str], rng: random.Random) -> None:
    i, j = rng.randrange(len(parts)), rng.randrange(len(parts))
    parts[i], parts[j] = parts[j], parts[i]


DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")

OF_SECTIONS: tuple[Callable[[list[str], random.Random], None], ...] = (
    *(_add_section, _bundle, _bundle, _change, _change, _change, _change),
    *(_drop_section, _mix, _multiply, _swap),
)
