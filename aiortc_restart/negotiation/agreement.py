import copy
from collections.abc import Container, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property

import aiortc
from aiortc import RTCRtpTransceiver
from aiortc.codecs import is_rtx
from aiortc.rtcpeerconnection import is_codec_compatible
from aiortc.rtcrtpparameters import (
    RTCRtpCodecParameters,
    RTCRtpHeaderExtensionParameters,
)
from aiortc.rtp import DYNAMIC_PAYLOAD_TYPES
from aiortc.sdp import SessionDescription

from .._aiortc import Endpoint

# 15 means "stop" in the one-byte format (RFC 8285 section 4.2).
FREE_EXTENSION_IDS = range(1, 15)

# The second range is for when the first is used up (RFC 5761 section 4, RFC 3551
# section 6).
FREE_PAYLOAD_TYPES = (*range(96, 128), *range(35, 64))


@dataclass(frozen=True)
class Data:
    """
    What the peer says of data channels (RFC 8841).
    """

    capabilities: aiortc.RTCSctpCapabilities | None
    port: int
    legacy: bool
    "Whether it says so in the way of older browsers, `DTLS/SCTP`."


@dataclass(frozen=True, repr=False)
class Terms:
    """
    What the descriptions in force say of one pair of ICE and DTLS transports.
    """

    controlling: bool | None = None
    "The ICE role, or `None` before any description (RFC 8445 section 6.1.1)."

    remote_dtls: aiortc.RTCDtlsParameters | None = None
    remote_ice: aiortc.RTCIceParameters | None = None
    role: str = "auto"
    "The DTLS role of this side."


class MediaNumbers:
    """
    The payload types and header-extension ids which a session has given a meaning.

    A meaning never changes while the session lasts (RFC 3264 section 8.3.2, RFC 8285
    section 6), and is the same in all bundled sections (RFC 9143 section 9).
    """

    def __init__(self, known: "MediaNumbers | None" = None) -> None:
        self._codecs: dict[int, RTCRtpCodecParameters] = {}
        self._extensions: dict[int, str] = {}
        if known is not None:
            self._codecs.update(known._codecs)  # noqa: SLF001 - same class
            self._extensions.update(known._extensions)  # noqa: SLF001 - same class

    def learned(
        self, description: SessionDescription, rejected: Container[str] = ()
    ) -> "MediaNumbers":
        """
        Return the numbers after a description, local or remote.

        :param rejected: The mids of m-sections which say nothing.
        """
        other = MediaNumbers(self)
        codecs, extensions = other._codecs, other._extensions
        for media in description.media:
            if media.rtp.muxId in rejected:
                continue
            for codec in media.rtp.codecs:
                number = codec.payloadType
                if number is not None and number in FREE_PAYLOAD_TYPES:
                    codecs[number] = codec
            for extension in media.rtp.headerExtensions:
                # RFC 8285 section 4.3
                if 0 < extension.id < 256:
                    extensions[extension.id] = extension.uri
        return other

    def number_codecs(
        self,
        available: list[RTCRtpCodecParameters],
        negotiated: list[RTCRtpCodecParameters],
        keep_order: bool,
    ) -> list[RTCRtpCodecParameters]:
        """
        Number the codecs of an m-section for an offer.

        :param available: All codecs to offer, under the numbers that they have of old.
        :param negotiated: Those which were negotiated for this section.
        :param keep_order: Whether the negotiated ones come first, in their order (RFC
                           9429 section 5.2.2), or all in the order of preference.
        """
        numbers: dict[int | None, int | None] = {}
        rest, renumbered = [], []
        for codec in available:
            apt = codec.parameters.get("apt") if is_rtx(codec) else None
            base = numbers.get(apt) if isinstance(apt, int) else None
            known = next((x for x in negotiated if _same(x, codec, base)), None)
            if known is None:
                known = copy.deepcopy(codec)
                if base is not None:
                    known.parameters["apt"] = base
                known.payloadType = self._payload_type(known)
                if known.payloadType is None or (is_rtx(codec) and base is None):
                    # The peer has used up all numbers: this one is not offered.
                    continue
                rest.append(known)
            numbers[codec.payloadType] = known.payloadType
            renumbered.append(known)
        if not keep_order:
            return renumbered
        return [x for x in negotiated if x in renumbered] + rest

    def number_extensions(
        self, available: list[RTCRtpHeaderExtensionParameters]
    ) -> list[RTCRtpHeaderExtensionParameters]:
        """
        Number the header extensions of an m-section which is new to the session.
        """
        numbered = [(self._extension_id(x), x.uri) for x in available]
        return [
            RTCRtpHeaderExtensionParameters(id=number, uri=uri)
            for number, uri in numbered
            if number is not None
        ]

    def _extension_id(self, extension: RTCRtpHeaderExtensionParameters) -> int | None:
        for number, uri in self._extensions.items():
            if uri == extension.uri:
                return number
        free = _first_free([extension.id, *FREE_EXTENSION_IDS], self._extensions)
        if free is not None:
            self._extensions[free] = extension.uri
        return free

    def _payload_type(self, codec: RTCRtpCodecParameters) -> int | None:
        wanted = codec.payloadType
        assert wanted is not None
        if wanted not in DYNAMIC_PAYLOAD_TYPES:
            return wanted
        apt = codec.parameters.get("apt")
        for number, known in self._codecs.items():
            if _same(known, codec, apt if isinstance(apt, int) else None):
                return number
        free = _first_free([wanted, *FREE_PAYLOAD_TYPES], self._codecs)
        if free is not None:
            self._codecs[free] = codec
        return free


@dataclass(frozen=True)
class Section:
    """
    What the descriptions in force say of one m-section, and whose it is.
    """

    kind: str
    mid: str
    endpoint: Endpoint | None = None
    "`None` if the section is rejected, and nothing is left of what it described."

    transport: aiortc.RTCDtlsTransport | None = None
    codecs: list[aiortc.RTCRtpCodecParameters] = field(default_factory=list)
    codecs_of: object = None
    "What the codecs follow from: if it is equal, so are they."

    current_direction: str | None = None
    data: Data | None = None
    described: bool = False
    "Whether the peer has described it, and has not rejected it."

    ended: bool = False
    "Whether the peer will send nothing more, though the section stays."

    extensions: list[aiortc.RTCRtpHeaderExtensionParameters] = field(
        default_factory=list
    )
    formats: list[int | str] = field(default_factory=list)
    offered_direction: str | None = None
    "Which direction the peer offers, as this side sees it."

    profile: str = ""
    "The transport protocol, as the m-line has it."

    receiving: bool = False
    "Whether a `track` event has told of what is received ([[FiredDirection]])."

    refused: bool = False
    "Whether the answer to the peer's offer is to reject it."

    rejected: bool = False
    "Whether the last description of it has port 0."

    track: aiortc.MediaStreamTrack | None = None


@dataclass(frozen=True)
class Agreement:
    """
    What the two sides have agreed, or are about to: it is never changed, only replaced.
    """

    sections: tuple[Section, ...] = ()
    made: frozenset[Endpoint] = frozenset()
    "The endpoints which only the descriptions of this negotiation have brought."

    mids: frozenset[str] = frozenset()
    "All mids that have ever been used: none is used again for something else."

    numbers: MediaNumbers = field(default_factory=MediaNumbers)
    replaced: Mapping[aiortc.RTCDtlsTransport, aiortc.RTCDtlsTransport] = field(
        default_factory=dict
    )
    """
    In whose place the transports come with which this negotiation begins DTLS anew.
    """

    terms: Mapping[aiortc.RTCDtlsTransport, Terms] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Section]:
        return iter(self.sections)

    def at(self, index: int) -> Section | None:
        """
        Return the section with an index, if there is one.
        """
        return self.sections[index] if index < len(self.sections) else None

    @cached_property
    def by_endpoint(self) -> Mapping[Endpoint, Section]:
        return {x.endpoint: x for x in self.sections if x.endpoint is not None}

    @cached_property
    def by_mid(self) -> Mapping[str, Section]:
        return {x.mid: x for x in self.sections}

    @cached_property
    def negotiated(self) -> Sequence[aiortc.RTCDtlsTransport]:
        """
        The transports which both sides use, in the order of the sections.
        """
        transports = (x.transport for x in self.sections if x.described)
        return [x for x in dict.fromkeys(transports) if x is not None]

    def needed_tag(self, mids: Sequence[str]) -> str | None:
        """
        Return the BUNDLE-tag, if something else that is bundled depends on it.

        :param mids: What is bundled, the tag first.
        """
        sections = self.by_mid
        others = (sections[x].endpoint for x in mids[1:] if x in sections)
        if any(
            x is not None and not (isinstance(x, RTCRtpTransceiver) and x.stopped)
            for x in others
        ):
            return mids[0]
        return None

    @cached_property
    def transports(self) -> Set[aiortc.RTCDtlsTransport]:
        """
        The transports of all sections that are not rejected, in their order.
        """
        transports = (x.transport for x in self.sections if not x.rejected)
        return {x: None for x in transports if x is not None}.keys()

    def settled(self) -> "Agreement":
        """
        Return the same after an answer: of rejected data channels nothing is left.
        """
        return replace(
            self,
            made=frozenset(),
            replaced={},
            sections=tuple(
                replace(x, endpoint=None, transport=None, data=None)
                if x.rejected and x.kind == "application"
                else x
                for x in self.sections
            ),
        )


def _first_free(wanted: list[int], taken: Container[int]) -> int | None:
    return next((x for x in wanted if x not in taken), None)


def _same(
    known: RTCRtpCodecParameters, codec: RTCRtpCodecParameters, apt: int | None
) -> bool:
    if is_rtx(codec):
        return is_rtx(known) and known.parameters.get("apt") == apt
    return is_codec_compatible(known, codec)
