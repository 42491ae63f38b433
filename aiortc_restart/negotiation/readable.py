"""
The lines of a description, sorted by what reads them: aiortc's parser reads those which
it understands, in a syntax that it understands, and the others are read here.
"""

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import aiortc
from aiortc.codecs import CODECS
from aiortc.rtcpeerconnection import DISCARD_HOST
from aiortc.rtcrtpparameters import (
    ParametersDict,
    RTCRtcpFeedback,
    RTCRtpCodecParameters,
)
from aiortc.rtp import FORBIDDEN_PAYLOAD_TYPES
from aiortc.sdp import (
    FMTP_INT_PARAMETERS,
    SSRC_INFO_ATTRS,
    MediaDescription,
    candidate_from_sdp,
)

from .places import is_address
from .sections import DATA, mark_ended

ADDRESS = re.compile(r"IN IP[46] ([^ ]+)$")
"The end of a c= or an a=rtcp line."

STATIC = {
    "audio": """
        0:PCMU/8000 3:GSM/8000 4:G723/8000 5:DVI4/8000 6:DVI4/16000 7:LPC/8000
        8:PCMA/8000 9:G722/8000 10:L16/44100/2 11:L16/44100 12:QCELP/8000 13:CN/8000
        14:MPA/90000 15:G728/8000 16:DVI4/11025 17:DVI4/22050 18:G729/8000
    """,
    "video": """
        25:CelB/90000 26:JPEG/90000 28:nv/90000 31:H261/90000 32:MPV/90000 33:MP2T/90000
        34:H263/90000
    """,
}
"The codecs whose payload types need no a=rtpmap line (RFC 3551 section 6)."


PAYLOAD_TYPES = frozenset(range(128))
"The payload types which packets may have (RFC 3550 section 5.1)."

AS_THEY_ARE = frozenset(
    """
    a=fingerprint a=ice-options a=ice-pwd a=ice-ufrag a=inactive a=max-message-size
    a=msid a=recvonly a=rtcp-mux a=rtpmap a=sctp-port a=sendonly a=sendrecv a=setup
    a=ssrc-group
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
            media.fmt = payload_types(self.formats, used)
        if self.ended:
            mark_ended(media)
        media.ice_candidates = [x for x, _ in self.candidates]
        media.ice_candidates_complete = self.complete
        # RFC 3264 section 5.1
        if self.kind != DATA and media.direction is None:
            media.direction = "sendrecv"
        media.rtp.codecs = complete_codecs(
            self.kind, media.fmt, media.rtp.codecs, self.parameters, self.feedback
        )

    def read(self, line: str) -> None:
        """
        Read a line of an m-section.
        """
        received: str | None = line
        readable = None
        name, _, value = line.partition(":")
        if name in AS_THEY_ARE:
            readable = line
        elif line.startswith("c="):
            received = readable = _with_address(line)
        elif name in ("a=candidate", "a=end-of-candidates"):
            received = None
            self._read_candidate(name, value)
        elif name == "a=x-ended":
            self.ended = True
        elif name == "a=extmap":
            # The URI may have attributes (RFC 8285 section 8).
            readable = " ".join(line.split()[:2])
        elif name == "a=fmtp":
            self.parameters.append(value)
        elif name == "a=mid":
            self.mid = value
            # aiortc's parser takes an empty mid for a missing one.
            readable = line if value else "a=mid"
        elif name == "a=rtcp":
            received = readable = _with_address(line)
        elif name == "a=rtcp-fb" and value:
            self.feedback.append(value)
        elif name == "a=sctpmap":
            number, _, text = value.partition(" ")
            readable = line if number.isdecimal() and text else None
        elif name == "a=ssrc":
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
        if name == "a=end-of-candidates":
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


def complete_codecs(
    kind: str,
    types: list[int] | list[str],
    codecs: Iterable[RTCRtpCodecParameters],
    parameters: list[str],
    feedback: list[str],
) -> list[RTCRtpCodecParameters]:
    """
    Complete the codecs of an m-section: with those that need no a=rtpmap line, with
    parameters, and with feedback. What is for other codecs says nothing.

    :param types: The formats of the m= line, which say which codecs are preferred (RFC
                  3264 section 5.1).
    :param codecs: Those of the a=rtpmap lines. Of those with one payload type the first
                   counts: aiortc would offer the others again, each with the feedback
                   of all.
    :param parameters: The values of the a=fmtp lines.
    :param feedback: The values of the a=rtcp-fb lines.
    """
    found: dict[str, RTCRtpCodecParameters] = {}
    for codec in codecs:
        if codec.payloadType in PAYLOAD_TYPES:
            found.setdefault(str(codec.payloadType), codec)
    found = _with_static(kind, map(str, types), found)
    for value in parameters:
        number, _, text = value.partition(" ")
        number = number.lstrip("0") or "0"
        if number in found:
            found[number].parameters.update(read_parameters(text))
    # A line for all codecs that came twice would be multiplied with them twice.
    for value in dict.fromkeys(feedback):
        number, *words = value.split(None, 2)
        number = number.lstrip("0") or "0"
        if words and (number == "*" or number in found):
            for codec in found.values() if number == "*" else [found[number]]:
                codec.rtcpFeedback.append(RTCRtcpFeedback(*words))
    return [*found.values()]


def payload_types(formats: list[str], used: bool) -> list[int] | list[str]:
    """
    Return the formats of an m-section as numbers.

    :param used: Whether they must be payload types.

    :raises ValueError: if they must, and are not.
    """
    try:
        numbers = [int(x) for x in formats]
    except ValueError:
        if used:
            raise
        return [*formats]
    for number in numbers:
        if used and (not 0 <= number < 256 or number in FORBIDDEN_PAYLOAD_TYPES):
            raise ValueError(f"{number} is not a payload type")
    return numbers


def read_parameters(text: str) -> ParametersDict:
    """
    Read the parameters of a codec. What is a number elsewhere may be a word. A
    packetization mode without value, which aiortc cannot compare, is the default one
    (RFC 6184 section 8.1).
    """
    parameters: ParametersDict = {}
    for item in text.split(";"):
        name, equals, value = item.partition("=")
        name, value = name.strip(), value.strip()
        if name == "packetization-mode" and not value:
            continue
        if equals:
            parameters[name] = value
            with contextlib.suppress(ValueError):
                if name in FMTP_INT_PARAMETERS:
                    parameters[name] = int(value)
        elif name:
            parameters[name] = None
    return parameters


def _with_static(
    kind: str, types: Iterable[str], codecs: dict[str, RTCRtpCodecParameters]
) -> dict[str, RTCRtpCodecParameters]:
    """
    Add the codecs that need no a=rtpmap line, in the order of the m= line.
    """
    static = dict(x.split(":") for x in STATIC.get(kind, "").split())
    ordered = {}
    for number in types:
        if number in codecs:
            ordered[number] = codecs[number]
        elif number in static:
            ordered[number] = _static(kind, number, static[number])
    return ordered | codecs


def _static(kind: str, number: str, codec: str) -> RTCRtpCodecParameters:
    name, rate, *channels = codec.split("/")
    return RTCRtpCodecParameters(
        mimeType=f"{kind}/{name}",
        clockRate=int(rate),
        channels=int("".join(channels) or 1) if kind == "audio" else None,
        payloadType=int(number),
    )
