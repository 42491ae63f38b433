"""
How packets get across: no SDP and no negotiation (RFC 8445, RFC 8838, RFC 7675).
"""

from .candidate import RTCIceCandidate, RTCIceCandidatePair
from .gatherer import RTCIceGatherer, create_credentials
from .transport import RTCIceTransport

__all__ = [
    "RTCIceCandidate",
    "RTCIceCandidatePair",
    "RTCIceGatherer",
    "RTCIceTransport",
    "create_credentials",
]
