from dataclasses import dataclass

from aiortc.sdp import SessionDescription

from .._aiortc import SavedConnection
from .numbers import MediaNumbers


@dataclass(frozen=True)
class AgreedState:
    """
    What descriptions change, taken before one is applied.

    That from before the first of a negotiation is the last stable state, to which a
    rollback leads (RFC 9429 section 4.1.10.2, webrtc-pc #dfn-last-stable-state).
    """

    connection: SavedConnection
    current: tuple[SessionDescription | None, SessionDescription | None]
    "The current local and the current remote description."

    numbers: MediaNumbers
