from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import aiortc
from aiortc import RTCRtpTransceiver
from aiortc.sdp import MediaDescription

from .. import _aiortc
from .._aiortc import Endpoint
from .agreement import Agreement, Section
from .sections import is_data

Address = tuple[str, int]

Transport = aiortc.RTCDtlsTransport


@dataclass(frozen=True)
class Present:
    """
    What a description meets, and whose its m-sections may be.
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

    def free_transceiver(
        self, media: MediaDescription, chosen: Collection[Endpoint]
    ) -> aiortc.RTCRtpTransceiver | None:
        """
        Return a transceiver without an m-section for one that the peer has added.

        :param chosen: What other m-sections have.
        """
        agreed = self.stable.by_endpoint
        if not self.associates_all and media.direction not in ("recvonly", "sendrecv"):
            return None
        return next(
            (
                x
                for x in self.transceivers
                if x.kind == media.kind
                and not x.stopped
                and x not in chosen
                and x not in agreed
                and x not in self.kept
                and not self._goes_with_offer(x)
            ),
            None,
        )

    def offered_endpoint(
        self,
        media: MediaDescription,
        known: Section | None,
        chosen: Collection[Endpoint],
    ) -> Endpoint | None:
        """
        Return whose an m-section of our own offer is.

        :param known: What is known of the m-section.
        :param chosen: What other m-sections have.
        """
        mid = media.rtp.muxId
        candidates = [
            known.endpoint if known is not None and known.kind == media.kind else None,
            self.offered.get(mid),
        ]
        agreed = self.stable.by_endpoint
        if is_data(media):
            candidates.append(self.data)
        else:
            # One that was stopped gets a section only if it has been offered before.
            candidates += [
                x for x in self.transceivers if x not in agreed and not x.stopped
            ]
        for endpoint in candidates:
            if isinstance(endpoint, RTCRtpTransceiver) and _aiortc.is_gone(endpoint):
                # Its transport has been stopped as well.
                continue
            if (
                endpoint is not None
                and endpoint not in chosen
                and _aiortc.kind_of(endpoint) == media.kind
                and (endpoint not in agreed or agreed[endpoint].mid == mid)
            ):
                return endpoint
        return None

    def _goes_with_offer(self, endpoint: Endpoint) -> bool:
        """
        Whether only an offer has brought an endpoint in whose place another one comes.
        """
        return endpoint in self.now.made and endpoint not in self.own
