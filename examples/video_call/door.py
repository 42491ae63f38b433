"""
Who may come in: connections are bounded in number and, without a call, in time.

aiohttp's `keepalive_timeout` ends only connections which wait for a request. A TLS
handshake, a response that is not read and a WebSocket have no place in it, so the
deadline here is one for all of them, counted from the moment a connection is accepted.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Container

from aiohttp import web

from .visitors import Limits, Visitor, network_of

BACKLOG = 1024
"Connections which the system keeps until they are accepted."

RETRY = 0.1
"Seconds to wait when the system has no descriptor for a connection."

logger = logging.getLogger(__name__)


class Door:
    """
    Accepts a server's connections.

    :param server: Makes the protocol of each connection.
    :param calls: Returns the transports which belong to a call: those may stay.
    :param limits: What connections may take.
    :param tls: The TLS context, or `None`.
    """

    def __init__(
        self,
        server: web.Server,
        calls: Callable[[], Container[asyncio.BaseTransport | None]],
        limits: Limits,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.limits = limits
        self._accepting: list[asyncio.Task[None]] = []
        self._calls = calls
        self._listeners: list[socket.socket] = []
        self._server = server
        self._timers: dict[Visitor, asyncio.TimerHandle] = {}
        "All visitors, the longest there first."

        self._tls = tls

    @property
    def port(self) -> int:
        """
        The port of the first socket.
        """
        return int(self._listeners[0].getsockname()[1])

    @property
    def visitors(self) -> int:
        """
        How many connections there are.
        """
        return sum(not x.gone for x in self._timers)

    async def close(self) -> None:
        """
        Let nobody in any more, and end what has not come in yet.
        """
        arrivals = [x.arrival for x in self._timers if x.arrival is not None]
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        for task in (*self._accepting, *arrivals):
            task.cancel()
        await asyncio.gather(*self._accepting, *arrivals, return_exceptions=True)
        for listener in self._listeners:
            listener.close()

    async def open(self, host: str, port: int) -> None:
        """
        Listen on all addresses of a host.

        :raises OSError: if that cannot be.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        try:
            for family, address in {(x[0], x[4][:2]): None for x in found}:
                listener = socket.create_server(address, family=family, backlog=BACKLOG)
                listener.setblocking(False)
                self._listeners.append(listener)
        except OSError:
            await self.close()
            raise
        self._accepting = [
            asyncio.create_task(self._accept(x), name="door") for x in self._listeners
        ]

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError as exc:
                logger.warning("A connection cannot be accepted: %s", exc)
                await asyncio.sleep(RETRY)
                continue
            self._admit(connection, network_of(address[0]))
            # A connection that waits already is accepted without a turn of the loop.
            await asyncio.sleep(0)

    def _admit(self, connection: socket.socket, network: str) -> None:
        if not self._make_room(network):
            connection.close()
            return
        visitor = Visitor(network)
        self._wait(visitor)
        visitor.arrival = asyncio.create_task(
            self._arrive(visitor, connection), name="arrival"
        )

        def arrived(_: asyncio.Task[None]) -> None:
            visitor.arrival = None
            # A task that is cancelled before its first step has no transport to close.
            if visitor.transport is None:
                connection.close()

        visitor.arrival.add_done_callback(arrived)

    async def _arrive(self, visitor: Visitor, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport, handler = await loop.connect_accepted_socket(
                self._server, connection, ssl=self._tls
            )
        except OSError:
            # The TLS handshake has failed.
            self._forget(visitor)
            return
        assert isinstance(transport, asyncio.Transport)
        visitor.transport, visitor.handler = transport, handler

    def _expire(self, visitor: Visitor) -> None:
        if not visitor.gone and visitor.transport in self._calls():
            self._wait(visitor)
        else:
            self._forget(visitor)
            visitor.leave()

    def _forget(self, visitor: Visitor) -> None:
        with contextlib.suppress(KeyError):
            self._timers.pop(visitor).cancel()

    def _make_room(self, network: str) -> bool:
        """
        Decide whether one more may come in. The connection without a call that is
        there for the longest time has to leave for it, if there are too many.
        """
        for visitor in [x for x in self._timers if x.gone]:
            self._forget(visitor)
        crowd = [x for x in self._timers if x.network == network]
        if len(crowd) < self.limits.connections_per_address:
            crowd = list(self._timers)
            if len(crowd) < self.limits.connections:
                return True
        calls = self._calls()
        for visitor in crowd:
            if visitor.transport is None or visitor.transport not in calls:
                self._forget(visitor)
                visitor.leave()
                return True
        return False

    def _wait(self, visitor: Visitor) -> None:
        loop = asyncio.get_running_loop()
        self._timers[visitor] = loop.call_later(
            self.limits.patience, self._expire, visitor
        )
