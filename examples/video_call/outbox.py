"""
What waits for a page, which may not read it.
"""

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from .messages import Message

MAX_WAITING = 256
"How many messages may wait for a page which does not read."

WRITE_TIMEOUT = 9.0
"Seconds in which the page has to read enough for the next message."

Farewell = tuple[int, str]
"The code and the reason with which the socket is closed."


class Outbox:
    """
    Sends messages to a page, one after the other.

    :param socket: The page's WebSocket.
    :param hang_up: Ends the connection of a page that does not read.
    :param leave: Ends the session, with a code and a reason.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        hang_up: Callable[[], None],
        leave: Callable[[int, str], Awaitable[None]],
    ) -> None:
        self._hang_up = hang_up
        self._leave = leave
        self._socket = socket
        self._waiting: asyncio.Queue[Message | Farewell | bytes] = asyncio.Queue(
            MAX_WAITING
        )

    def end(self, code: int, reason: str) -> None:
        """
        End the session, soon. What still waits for the page is of no use to it.
        """
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._waiting.put_nowait((code, reason))

    def put(self, message: Message | bytes) -> None:
        """
        Send a message, or the answer to a ping, after those before.
        """
        try:
            self._waiting.put_nowait(message)
        except asyncio.QueueFull:
            self._hang_up()

    async def write(self) -> None:
        """
        Send what comes, until the session is to end.
        """
        try:
            while not isinstance(message := await self._waiting.get(), tuple):
                async with asyncio.timeout(WRITE_TIMEOUT):
                    if isinstance(message, bytes):
                        await self._socket.pong(message)
                    else:
                        await self._socket.send_json(message)
            async with asyncio.timeout(WRITE_TIMEOUT):
                await self._leave(*message)
        except TimeoutError:
            self._hang_up()
        except ConnectionError:
            pass
