"""
How packets get across: no SDP and no negotiation (RFC 8445, RFC 8838, RFC 7675).
"""

from .candidate import (
    RTCIceCandidate,
    RTCIceCandidatePair,
    RTCPeerConnectionIceErrorEvent,
    end_of_candidates,
    is_end_of_candidates,
)
from .connection import MAX_REMOTE_CANDIDATES
from .gatherer import RTCIceGatherer, create_credentials
from .pacing import Pacing
from .stun import COMPONENT
from .transport import RTCIceTransport

__all__ = [
    "COMPONENT",
    "MAX_REMOTE_CANDIDATES",
    "Pacing",
    "RTCIceCandidate",
    "RTCIceCandidatePair",
    "RTCIceGatherer",
    "RTCIceTransport",
    "RTCPeerConnectionIceErrorEvent",
    "create_credentials",
    "end_of_candidates",
    "is_end_of_candidates",
]
