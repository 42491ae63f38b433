from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import aiortc

from .._aiortc import Endpoint
from .agreement import Agreement

Address = tuple[str, int]

Transport = aiortc.RTCDtlsTransport


@dataclass(frozen=True)
class Present:
    """
    What a description meets.
    """

    now: Agreement
    "What the descriptions in force say."

    stable: Agreement
    "What has been answered."

    provisional: Agreement | None
    "What a provisional answer has led to, if there has been one."

    transceivers: Sequence[aiortc.RTCRtpTransceiver]
    "All of them which have a section, or may get one."

    data: aiortc.RTCSctpTransport | None
    own: Collection[Endpoint]
    "What the application has made, or has given a track or a channel."

    kept: Collection[Endpoint]
    "The transceivers which no m-section is given to that the peer adds."

    associates_all: bool
    "Whether such an m-section may have a transceiver if the peer is not to receive."

    associated: Collection[Transport]
    "The transports whose DTLS association has been begun, with its roles."

    offered: dict[str, Endpoint]
    "By mid, whose sections are in the offer that was created last."

    shares_by_kind: bool
    "Whether the bundle policy has media of one kind share a transport."

    make_data: Callable[[Transport], aiortc.RTCSctpTransport]
    make_transceiver: Callable[[str, Transport], aiortc.RTCRtpTransceiver]
    make_transport: Callable[[], Transport]
    transport_for: Callable[[str], Transport]
    "Returns the transport of something new, as the bundle policy says."

    transport_of: Callable[[Endpoint], Transport]
    "Returns the transport of what has no section."

    tag: str | None = None
    "The BUNDLE-tag which has been negotiated."

    tag_addresses: Collection[Address] = ()
    "Where the peer's candidates are by which that has been described."
