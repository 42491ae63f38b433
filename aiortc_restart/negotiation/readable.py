"""
The lines of a description, sorted by what reads them: aiortc's parser reads those which
it understands, in a syntax that it understands, and the others are read here.
"""

import contextlib
import re
from dataclasses import dataclass, field

import aiortc
from aiortc.codecs import CODECS
from aiortc.rtcpeerconnection import DISCARD_HOST
from aiortc.sdp import (
    SSRC_INFO_ATTRS,
    MediaDescription,
    candidate_from_sdp,
)

from . import formats
from .places import is_address
from .sections import DATA, mark_ended

ADDRESS = re.compile(r"IN IP[46] ([^ ]+)$")
"The end of a c= or an a=rtcp line."

AS_THEY_ARE = frozenset(
    """
    fingerprint ice-options ice-pwd ice-ufrag inactive max-message-size msid recvonly
    rtcp-mux rtpmap sctp-port sendonly sendrecv setup ssrc-group
    """.split()
)
"The attributes of an m-section which aiortc's parser reads as they are."


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
        if self.kind in CODECS:
            media.fmt = formats.payload_types(self.formats, used)
        if self.ended:
            mark_ended(media)
        media.ice_candidates = [x for x, _ in self.candidates]
        media.ice_candidates_complete = self.complete
        # RFC 3264 section 5.1
        if self.kind != DATA and media.direction is None:
            media.direction = "sendrecv"
        media.rtp.codecs = formats.complete(
            self.kind, media.fmt, media.rtp.codecs, self.parameters, self.feedback
        )

    def read(self, line: str) -> None:
        """
        Read a line of an m-section.
        """
        received: str | None = line
        readable = None
        name, _, value = line.removeprefix("a=").partition(":")
        if line.startswith("c="):
            received = readable = _with_address(line)
        elif not line.startswith("a="):
            pass
        elif name in AS_THEY_ARE:
            readable = line
        elif name in ("candidate", "end-of-candidates"):
            received = None
            self._read_candidate(name, value)
        elif name == "x-ended":
            self.ended = True
        elif name == "extmap":
            # The URI may have attributes (RFC 8285 section 8).
            readable = " ".join(line.split()[:2])
        elif name == "fmtp":
            self.parameters.append(value)
        elif name == "mid":
            self.mid = value
            # aiortc's parser takes an empty mid for a missing one.
            readable = line if value else "a=mid"
        elif name == "rtcp":
            received = readable = _with_address(line)
        elif name == "rtcp-fb" and value:
            self.feedback.append(value)
        elif name == "sctpmap":
            number, _, text = value.partition(" ")
            readable = line if number.isdecimal() and text else None
        elif name == "ssrc":
            # An attribute of a source may have no value (RFC 5576 section 4.1).
            attribute, colon, _ = value.partition(" ")[2].partition(":")
            readable = line if colon and attribute in SSRC_INFO_ATTRS else None
        if readable is not None:
            self.readable.append(readable)
        if received is not None:
            self.received.append(received)

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

    def _read_candidate(self, name: str, value: str) -> None:
        """
        Read a candidate, or their end. A candidate without foundation, which browsers
        take, gets one: foundations only say which candidates are alike. One that cannot
        be read is dropped, as the others may do.
        """
        if self.candidates_place is None:
            self.candidates_place = len(self.received)
        if name == "end-of-candidates":
            self.complete = True
            return
        text = f"0{value}" if value.startswith(" ") else value
        with contextlib.suppress(AssertionError, IndexError, ValueError):
            self.candidates.append((candidate_from_sdp(text), value))


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
