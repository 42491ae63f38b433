"""
How the two peers reach each other before, and beside, the call.
"""

import asyncio
import json

from aiortc_restart import RTCSessionDescription


class Signaling:
    """
    One end of a signalling channel.

    It carries text, as the WebSocket would which an application has in its place.

    :param inbox:  What the other end has sent.
    :param outbox: What the other end shall receive.
    """

    def __init__(self, inbox: asyncio.Queue[str], outbox: asyncio.Queue[str]) -> None:
        self._inbox = inbox
        self._outbox = outbox

    @classmethod
    def pair(cls) -> "tuple[Signaling, Signaling]":
        """
        Make the two ends of a channel.

        :rtype: tuple[Signaling, Signaling]
        """
        one: asyncio.Queue[str] = asyncio.Queue()
        other: asyncio.Queue[str] = asyncio.Queue()
        return cls(one, other), cls(other, one)

    async def receive(self) -> RTCSessionDescription:
        """
        Wait for the next description from the other end.

        :rtype: RTCSessionDescription
        """
        return RTCSessionDescription(**json.loads(await self._inbox.get()))

    async def send(self, description: RTCSessionDescription) -> None:
        """
        Send a description to the other end.

        :param description: An :class:`RTCSessionDescription`.
        """
        message = {"type": description.type, "sdp": description.sdp}
        await self._outbox.put(json.dumps(message))
