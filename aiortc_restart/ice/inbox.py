import asyncio
from collections.abc import Callable

from . import drops

INBOX_SIZE = 4096
"""
How many datagrams may wait to be read. The base has no limit, and nothing reads before
the DTLS handshake begins.
"""

MAX_RATE = 50_000
"""
How many datagrams are taken in a second: more than asyncio can read, so that what is
above it was queued while the event loop stood still.
"""


class Inbox:
    """
    What the generations of a transport have received and nobody has read.
    """

    def __init__(self) -> None:
        self.drops = drops.Drops()
        "Counts what is not taken."
        self._allowance = drops.Allowance(MAX_RATE)
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(INBOX_SIZE)

    def __len__(self) -> int:
        return self._queue.qsize()

    def close(self) -> None:
        """
        End the wait of who reads.
        """
        self.drops.close()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def get(self) -> bytes:
        data = await self._queue.get()
        if data is None:
            raise ConnectionError("Connection lost while receiving data")
        return data

    def put(self, data: bytes) -> None:
        if not self._allowance.take():
            self.drops.count(drops.TOO_MANY)
            return
        try:
            self._queue.put_nowait(data)
        except asyncio.QueueFull:
            self.drops.count(drops.TOO_MANY)


class NewerInbox:
    """
    Holds what a generation receives for as long as older ones have something waiting.

    When the event loop lags, datagrams wait in the sockets of both paths, and the loop
    reads one of each in turn. SCTP would take the older ones for lost, and the replay
    windows of DTLS and SRTP would refuse them.

    :param inbox: What is released goes there.
    :param deliveries: Counts what the older generations have delivered.
    """

    def __init__(self, inbox: Inbox, deliveries: Callable[[], int]) -> None:
        self._deliveries = deliveries
        self._held: list[bytes] = []
        self._inbox = inbox
        self._seen: int | None = None

    def put(self, data: bytes) -> None:
        if len(self._held) < INBOX_SIZE:
            self._held.append(data)
        else:
            self._inbox.drops.count(drops.TOO_MANY)
        if self._seen is None:
            self._look_again()

    def release(self) -> None:
        """
        Hand over what is held.
        """
        self._seen = None
        for data in self._held:
            self._inbox.put(data)
        self._held.clear()

    def _look(self) -> None:
        if self._seen == self._deliveries():
            self.release()
        elif self._seen is not None:
            self._look_again()

    def _look_again(self) -> None:
        self._seen = self._deliveries()
        # What runs two turns from now runs after all sockets have been looked at once.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._look)
