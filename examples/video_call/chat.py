"""
A participant's data channel: what people say, and what the server has counted.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable

from aiortc_restart import RTCDataChannel, RTCPeerConnection

from .bucket import Bucket
from .messages import Message
from .negotiation import Send
from .status import numbers

MAX_TEXT = 500
"Characters of a chat message."

MAX_UNREAD = 256 * 1024
"Bytes which may wait for a page, such as for the end of its outage."

RATE, BURST = 5.0, 100.0
"""
Chat messages of a page's: a second in the long run, and at once. What was written
during an outage comes at once.
"""

STATISTICS_INTERVAL = 0.5


class Chat:
    """
    The server's end of the data channel which a page opens.

    :param pc: Whose channel it is.
    :param send: Takes messages to the page on the other way, which has no outage.
    """

    def __init__(self, pc: RTCPeerConnection, send: Send) -> None:
        self.on_text: Callable[[str], None] = lambda _: None
        "Called with what the page says to the others."

        self._allowed = Bucket(RATE, BURST)
        self._channel: RTCDataChannel | None = None
        self._pc = pc
        self._send = send
        self._statistics: asyncio.Task[None] | None = None
        pc.on("datachannel", self._on_channel)

    async def close(self) -> None:
        if self._statistics is not None:
            self._statistics.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._statistics

    def refuse(self, reason: str) -> None:
        """
        Tell the page why somebody, or nobody, gets what it has said.
        """
        self._send({"error": {"code": "chat", "message": reason}})

    def tell(self, message: Message) -> bool:
        """
        Send a message to the page.

        :return: Whether there was room for it, or no channel yet.
        """
        channel = self._channel
        if channel is None or channel.readyState != "open":
            return True
        data = json.dumps(message)
        if channel.bufferedAmount + len(data) > MAX_UNREAD:
            return False
        channel.send(data)
        return True

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if self._channel is not None or channel.label != "chat":
            channel.close()
            return
        self._channel = channel
        channel.on("message", self._on_message)
        self._statistics = asyncio.create_task(self._report(channel), name="statistics")

    def _on_message(self, text: str | bytes) -> None:
        if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT:
            self.refuse(f"A chat message has 1 to {MAX_TEXT} characters.")
        elif not self._allowed.take():
            self.refuse("Not so fast: that chat message was not sent.")
        else:
            self.on_text(text)

    async def _report(self, channel: RTCDataChannel) -> None:
        while channel.readyState in ("connecting", "open"):
            if channel.bufferedAmount == 0:
                self.tell({"statistics": await numbers(self._pc)})
            await asyncio.sleep(STATISTICS_INTERVAL)
