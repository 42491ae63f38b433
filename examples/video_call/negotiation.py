"""
Perfect negotiation, with candidates: the server is the impolite end.
"""

from collections.abc import Callable

from aiortc_restart import RTCIceCandidate, RTCPeerConnection, RTCSessionDescription

from ..perfect_negotiation import PerfectNegotiation
from .messages import Message

Send = Callable[[Message], None]


class Negotiation(PerfectNegotiation):
    """
    The end of a negotiation that sends its candidates as they are found.

    :param pc: Whose negotiation it is.
    :param send: Takes what is to be sent to the peer, in this order.
    """

    def __init__(self, pc: RTCPeerConnection, send: Send) -> None:
        super().__init__(pc, self._send_description, polite=False)
        self._send = send
        pc.on("icecandidate", self._on_candidate)

    async def _send_description(self, description: RTCSessionDescription) -> None:
        message = {"type": description.type, "sdp": description.sdp}
        self._send({"description": message})

    def _on_candidate(self, candidate: RTCIceCandidate | None) -> None:
        self._send({"candidate": candidate and candidate.toJSON()})
