"""
A steady flow of data-channel messages, each of which is accounted for.
"""

import asyncio
import contextlib
from itertools import pairwise

from aiortc_restart import RTCDataChannel

MESSAGES_PER_SECOND = 200


class MessageFlow:
    """
    Numbered messages sent and received over one end of a data channel.

    :param channel: An :class:`RTCDataChannel`.
    """

    def __init__(self, channel: RTCDataChannel) -> None:
        self.arrivals: list[float] = []
        "When each message came, in seconds of the event loop's clock."

        self.opened = asyncio.Event()
        "Set once the channel is open."

        self.received: set[str] = set()
        "The numbers of the messages which came."

        self.sent = 0
        "How many messages were sent."

        self._channel = channel
        self._task: asyncio.Task[None] | None = None
        channel.on("open", self.opened.set)
        channel.on("message", self._on_message)

    def start(self) -> None:
        """
        Begin to send messages at a steady rate.
        """
        self._task = asyncio.create_task(self._run(), name="messages")

    async def stop(self) -> None:
        """
        Send no more messages.
        """
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def _on_message(self, message: str) -> None:
        self.arrivals.append(asyncio.get_running_loop().time())
        self.received.add(message)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            self._channel.send(str(self.sent))
            self.sent += 1
            # Counting from the last due time keeps the rate when a sleep is late.
            due += 1 / MESSAGES_PER_SECOND
            await asyncio.sleep(due - loop.time())


def longest_gap(arrivals: list[float], start: float, end: float) -> float:
    """
    Find the longest time without an arrival.

    :param arrivals: Times, in order.
    :param start:    When to begin, on the same clock.
    :param end:      When to end, on the same clock.
    :rtype: float
    """
    times = [start, *(t for t in arrivals if start < t < end), end]
    return max(after - before for before, after in pairwise(times))
