"""
Perfect negotiation, with candidates: the server is the impolite end.
"""

from collections.abc import Callable

from aiortc_restart import RTCIceCandidate, RTCPeerConnection, RTCSessionDescription

from .. import perfect_negotiation
from .messages import Message

Send = Callable[[Message], None]


class Negotiation(perfect_negotiation.PerfectNegotiation):
    """
    The end of a negotiation that sends its candidates as they are found.

    :param pc: Whose negotiation it is.
    :param send: Takes what is to be sent to the peer, in this order.
    """

    def __init__(self, pc: RTCPeerConnection, send: Send) -> None:
        super().__init__(pc, self._send_message, polite=False)
        self._send = send

    async def _send_message(self, message: perfect_negotiation.Message) -> None:
        if isinstance(message, RTCSessionDescription):
            self._send({"description": {"type": message.type, "sdp": message.sdp}})
        elif isinstance(message, RTCIceCandidate):
            self._send({"candidate": message.toJSON()})
