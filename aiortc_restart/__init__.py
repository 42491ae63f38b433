"""
aiortc with ICE restart: all names of aiortc, of which some are replaced.
"""

import logging

# The base's names first: those which this package replaces follow.
from aiortc import *  # noqa: F403
from aiortc import __all__ as _aiortc_names

from ._version import __version__
from .ice import (
    RTCIceCandidate,
    RTCIceCandidatePair,
    RTCIceGatherer,
    RTCIceTransport,
)
from .rtcconfiguration import RTCConfiguration
from .rtcpeerconnection import RTCPeerConnection

# Set default logging handler to avoid "No handler found" warnings.
logging.getLogger(__name__).addHandler(logging.NullHandler())

__all__ = [
    *_aiortc_names,
    "RTCConfiguration",
    "RTCIceCandidate",
    "RTCIceCandidatePair",
    "RTCIceGatherer",
    "RTCIceTransport",
    "RTCPeerConnection",
    "__version__",
]
