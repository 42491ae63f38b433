"""
The door to aiortc's and aioice's private names: no other room knows them.

The classes in it carry the names of the base's, so that the base's name mangling
applies to them too: properties re-publish its slots and hooks its steps, under names
with a single underscore.
"""

from .requirements import PRIVATE_NAMES, check_requirements, missing_names

check_requirements()

from .connection import RTCPeerConnection  # noqa: E402 - only where the base fits
from .dtls import RTCDtlsTransport, RTCTransportStats  # noqa: E402
from .emitter import Emitter  # noqa: E402
from .ice import (  # noqa: E402
    Connection,
    GatheringOptions,
    RemoteCandidates,
    RTCIceGatherer,
    RTCIceTransport,
    random_ice_string,
)
from .media import (  # noqa: E402
    Endpoint,
    NegotiatedMedia,
    RTCCertificate,
    RTCRtpSender,
    RTCRtpTransceiver,
    dissociate,
    drop_repeated_codecs,
    end_track,
    has_preferred_codecs,
    is_bundled,
    kind_of,
    mline_index,
    role_kept,
    send_keyframe,
    set_mline_index,
    share_transport,
)
from .receiver import RTCRtpReceiver  # noqa: E402
from .saved import SavedConnection, Undone, dtls_of  # noqa: E402
from .sctp import RTCSctpTransport  # noqa: E402
from .stun import StunMessage  # noqa: E402
from .turn import relayed_candidate  # noqa: E402

__all__ = [
    "PRIVATE_NAMES",
    "Connection",
    "Emitter",
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
    "SavedConnection",
    "StunMessage",
    "Undone",
    "check_requirements",
    "dissociate",
    "drop_repeated_codecs",
    "dtls_of",
    "end_track",
    "has_preferred_codecs",
    "is_bundled",
    "kind_of",
    "missing_names",
    "mline_index",
    "random_ice_string",
    "relayed_candidate",
    "role_kept",
    "send_keyframe",
    "set_mline_index",
    "share_transport",
]
