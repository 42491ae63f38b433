"""
The door to aiortc's and aioice's private names: no other room knows them.

The classes in it carry the names of the base's, so that the base's name mangling
applies to them too: properties re-publish its slots and hooks its steps, under names
with a single underscore.
"""

from .requirements import PRIVATE_NAMES, check_requirements, missing_names

check_requirements()

from .dtls import RTCDtlsTransport, RTCTransportStats  # noqa: E402 - only where aiortc fits
from .endpoints import (  # noqa: E402
    Endpoint,
    dtls_of,
    end_track,
    is_gone,
    kind_of,
    preferred_codecs,
    used_by,
)
from .ice import (  # noqa: E402
    Connection,
    GatheringOptions,
    RemoteCandidates,
    RTCIceGatherer,
    RTCIceTransport,
)
from .interface import RTCPeerConnection  # noqa: E402
from .media import (  # noqa: E402
    NegotiatedMedia,
    RTCCertificate,
    RTCRtpSender,
    RTCRtpTransceiver,
    is_sender_of,
    send_keyframe,
    sender_ids,
    set_track,
    stream_set_for,
    streams_count,
)
from .receiver import RTCRtpReceiver  # noqa: E402
from .sctp import RTCSctpTransport  # noqa: E402
from .slots import Descriptions, Slots  # noqa: E402
from .stun import StunMessage  # noqa: E402
from .turn import relayed_candidate  # noqa: E402

__all__ = [
    "PRIVATE_NAMES",
    "Connection",
    "Descriptions",
    "Endpoint",
    "GatheringOptions",
    "NegotiatedMedia",
    "RTCCertificate",
    "RTCDtlsTransport",
    "RTCIceGatherer",
    "RTCIceTransport",
    "RTCPeerConnection",
    "RTCRtpReceiver",
    "RTCRtpSender",
    "RTCRtpTransceiver",
    "RTCSctpTransport",
    "RTCTransportStats",
    "RemoteCandidates",
    "Slots",
    "StunMessage",
    "check_requirements",
    "dtls_of",
    "end_track",
    "is_gone",
    "is_sender_of",
    "kind_of",
    "missing_names",
    "preferred_codecs",
    "relayed_candidate",
    "send_keyframe",
    "sender_ids",
    "set_track",
    "stream_set_for",
    "streams_count",
    "used_by",
]
