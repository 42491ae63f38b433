from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property

import aiortc
from aiortc import RTCRtpTransceiver

from .._aiortc import Endpoint
from .numbers import MediaNumbers


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
