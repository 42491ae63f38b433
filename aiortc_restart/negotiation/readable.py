"""
The lines of a description, sorted by what reads them: aiortc's parser reads those which
it understands, in a syntax that it understands, and the others are read here.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import aiortc
from aiortc.rtcpeerconnection import DISCARD_HOST
from aiortc.sdp import (
    SSRC_INFO_ATTRS,
    MediaDescription,
    candidate_from_sdp,
)

from . import check, formats
from .candidates import is_address

ADDRESS = re.compile(r"IN IP[46] ([^ ]+)$")
"The end of a c= or an a=rtcp line."

AS_THEY_ARE = frozenset(
    """
    fingerprint ice-options ice-pwd ice-ufrag inactive max-message-size msid recvonly
    rtcp-mux rtpmap sctp-port sendonly sendrecv setup ssrc-group
    """.split()
)
"The attributes of an m-section which aiortc's parser reads as they are."

RTP_KINDS = ("audio", "video")
"The kinds of m-sections whose formats are payload types."


def is_ended(media: MediaDescription) -> bool:
    """
    Whether nothing will be sent in an m-section any more, though it stays: its
    transceiver has been stopped, and it is the BUNDLE-tag. Our own descriptions say so
    in a line which others ignore.
    """
    return "ended" in vars(media)


def mark_ended(media: MediaDescription) -> None:
    vars(media)["ended"] = True


# The lines have passwords, which nothing is to log.
@dataclass(repr=False)
class Part:
    """
    The session part of a description, or an m-section.
    """

    kind: str = ""
    port: int = 0
    profile: str = ""
    formats: list[str] = field(default_factory=list)

    received: list[str] = field(default_factory=list)
    "The lines that can be shown again: all but candidates and their end."

    readable: list[str] = field(default_factory=list)
    "The lines for aiortc's parser."

    ended: bool = False
    candidates_place: int | None = None
    "Before which of the received lines the candidates came."

    candidates: list[tuple[aiortc.RTCIceCandidate, str]] = field(default_factory=list)
    "The candidates, each with the value of its line."

    complete: bool = False
    "Whether the candidates have ended."

    feedback: list[str] = field(default_factory=list)
    "The values of the a=rtcp-fb lines."

    mid: str | None = None
    "The value of the a=mid line, or `None` if there is no such line."

    parameters: list[str] = field(default_factory=list)
    "The values of the a=fmtp lines."

    @property
    def is_usable(self) -> bool:
        """
        Whether media or data channels can use the m-section, if it is not rejected.
        """
        profile = self.profile.upper()
        if self.kind == check.DATA:
            return profile in check.DATA_PROFILES
        return self.kind in RTP_KINDS and profile.endswith(check.RTP_PROFILES)

    def bare(self) -> list[str]:
        """
        Return no more for aiortc's parser than kind and mid.
        """
        return [x for x in self.readable if x.startswith(("m=", "a=mid"))]

    def complete_section(self, media: MediaDescription, used: bool) -> None:
        """
        Add to an m-section what aiortc's parser has not read.

        :param used: Whether its formats must be valid.
        """
        media.port, media.profile = self.port, self.profile
        media.fmt = [*self.formats]
        if self.kind in RTP_KINDS:
            media.fmt = formats.payload_types(self.formats, used)
        if self.ended:
            mark_ended(media)
        media.ice_candidates = [x for x, _ in self.candidates]
        media.ice_candidates_complete = self.complete
        # RFC 3264 section 5.1
        if self.kind != check.DATA and media.direction is None:
            media.direction = "sendrecv"
        codecs = formats.usable(media.rtp.codecs)
        codecs = formats.with_static(self.kind, media.fmt, codecs)
        formats.complete(codecs, self.parameters, self.feedback)
        media.rtp.codecs = [*codecs.values()]

    def place_candidates(self) -> None:
        """
        Take note where the candidates are, or their end.
        """
        if self.candidates_place is None:
            self.candidates_place = len(self.received)

    def read(self, line: str) -> None:
        """
        Read a line of an m-section.
        """
        if line.startswith("a="):
            name, _, value = line[2:].partition(":")
            if name in AS_THEY_ARE:
                self.readable.append(line)
            elif name in READERS:
                READERS[name](self, line, value)
                return
        elif line.startswith("c="):
            line = _with_address(line)
            self.readable.append(line)
        self.received.append(line)

    def read_session(self, line: str) -> None:
        """
        Read a line of the session part.
        """
        if line.startswith("c="):
            line = _with_address(line)
        elif line.startswith("a=end-of-candidates"):
            # RFC 8840 section 8
            self.complete = True
            return
        self.readable.append(line)
        self.received.append(line)


def split(sdp: str) -> tuple[Part, list[Part]]:
    """
    Split a description into the session part and the m-sections.

    :raises ValueError: if an m= line cannot be read.
    """
    session, sections = Part(), list[Part]()
    read = session.read_session
    # aiortc's parser splits lines in this way, which is not only at line feeds.
    for line in sdp.splitlines():
        line = line.rstrip()
        if line.startswith("m="):
            sections.append(_begin_section(line))
            read = sections[-1].read
        elif line:
            read(line)
    for section in sections:
        section.complete |= session.complete
    return session, sections


def _begin_section(line: str) -> Part:
    """
    Read an m= line. aiortc's parser, to which it is simplified, knows neither a number
    of ports, nor a protocol in other than capital letters, nor that there may be no
    format.
    """
    kind, port, profile, *words = line[2:].split()
    number = port.partition("/")[0]
    if not number.isdecimal():
        raise ValueError(f'"{number[:20]}" is not a port')
    return Part(
        kind=kind,
        port=int(number),
        profile=profile,
        formats=words,
        received=[line],
        readable=[f"m={kind} 0 X 0"],
    )


def _with_address(line: str) -> str:
    """
    Replace what aiortc reads as an address and cannot show again, such as a name. As
    there is ICE, nobody uses it (RFC 9429 sections 5.8.1 and 5.8.2).
    """
    match = ADDRESS.search(line)
    if match is None or is_address(match[1]):
        return line
    return f"{line[: match.start()]}IN IP4 {DISCARD_HOST}"


def _read_address(part: Part, line: str, value: str) -> None:
    line = _with_address(line)
    part.readable.append(line)
    part.received.append(line)


def _read_candidate(part: Part, line: str, value: str) -> None:
    """
    Read a candidate. One without foundation, which browsers take, gets one: foundations
    only say which candidates are alike. A candidate that cannot be read is dropped, as
    the others may do.
    """
    try:
        text = f"0{value}" if value.startswith(" ") else value
        part.candidates.append((candidate_from_sdp(text), value))
        part.place_candidates()
    except (AssertionError, IndexError, ValueError):
        pass


def _read_end_of_candidates(part: Part, line: str, value: str) -> None:
    part.complete = True
    part.place_candidates()


def _read_ended(part: Part, line: str, value: str) -> None:
    part.ended = True
    part.received.append(line)


def _read_extension(part: Part, line: str, value: str) -> None:
    part.received.append(line)
    # The URI may have attributes (RFC 8285 section 8).
    words = value.split()
    if len(words) > 2:
        line = f"a=extmap:{words[0]} {words[1]}"
    part.readable.append(line)


def _read_feedback(part: Part, line: str, value: str) -> None:
    part.received.append(line)
    if value:
        part.feedback.append(value)


def _read_mid(part: Part, line: str, value: str) -> None:
    part.received.append(line)
    part.mid = value
    # aiortc's parser takes an empty mid for a missing one.
    part.readable.append(line if value else "a=mid")


def _read_parameters(part: Part, line: str, value: str) -> None:
    part.received.append(line)
    part.parameters.append(value)


def _read_sctpmap(part: Part, line: str, value: str) -> None:
    part.received.append(line)
    number, _, text = value.partition(" ")
    if number.isdecimal() and text:
        part.readable.append(line)


def _read_source(part: Part, line: str, value: str) -> None:
    part.received.append(line)
    # An attribute of a source may have no value (RFC 5576 section 4.1).
    name, colon, _ = value.partition(" ")[2].partition(":")
    if colon and name in SSRC_INFO_ATTRS:
        part.readable.append(line)


READERS: dict[str, Callable[[Part, str, str], None]] = {
    "candidate": _read_candidate,
    "end-of-candidates": _read_end_of_candidates,
    "x-ended": _read_ended,
    "extmap": _read_extension,
    "fmtp": _read_parameters,
    "mid": _read_mid,
    "rtcp": _read_address,
    "rtcp-fb": _read_feedback,
    "sctpmap": _read_sctpmap,
    "ssrc": _read_source,
}
"What reads the other attributes of an m-section that say something to us."
