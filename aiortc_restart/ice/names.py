import asyncio
import contextlib
from typing import Any

import aioice.ice
import aioice.mdns

from .drops import Allowance

MAX_RATE = 500
"How many datagrams are read in a second while a name is looked up."


class NameGuard(asyncio.DatagramProtocol):
    """
    Stands between the network and aioice's protocol for multicast DNS, of which there
    is one for all connections: its port is known to everybody.

    Reading a datagram takes a hundred times as long as dropping it. So datagrams which
    nobody has asked for are dropped, and malformed ones raise nothing.

    :param names: aioice's protocol.
    """

    def __init__(self, names: aioice.mdns.MDnsProtocol) -> None:
        self._allowance = Allowance(MAX_RATE)
        self._names = names

    def connection_lost(self, exc: Exception | None) -> None:
        self._names.connection_lost(exc)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        # Names are published by applications only.
        asked = self._names.queries or self._names.zone.nodes
        if asked and self._allowance.take():
            # Malformed messages raise several of dnspython's exceptions, or others.
            with contextlib.suppress(Exception):
                self._names.datagram_received(data, addr)


async def resolver(subscriber: object) -> aioice.mdns.MDnsProtocol:
    """
    Return what resolves names over multicast DNS, until it is unsubscribed from.

    :param subscriber: The object which needs a resolver.

    :raises OSError: if no socket can be opened.
    """
    names = await aioice.ice.get_or_create_mdns_protocol(subscriber)
    transport = names.transport
    if not isinstance(transport.get_protocol(), NameGuard):
        transport.set_protocol(NameGuard(names))
    return names
