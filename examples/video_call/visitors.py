"""
Those who come in, and what they may take.
"""

import asyncio
import ipaddress
from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True)
class Limits:
    """
    What all connections may take.
    """

    patience: float = 10.0
    "Seconds which a connection may last without a call."

    connections: int = 512
    "How many there are at once. 64 callers' browsers open some 450."

    connections_per_address: int = 64
    "How many of them come from one IPv4 address, or one /64 of IPv6."


@dataclass(eq=False)
class Visitor:
    """
    A connection, from the moment it is accepted.
    """

    network: str
    arrival: asyncio.Task[None] | None = None
    handler: web.RequestHandler | None = None
    transport: asyncio.Transport | None = None

    @property
    def gone(self) -> bool:
        return self.handler is not None and self.handler.transport is None

    def leave(self) -> None:
        # close() would wait until all has been read, which may be never.
        if self.transport is not None:
            self.transport.abort()
        elif self.arrival is not None:
            self.arrival.cancel()


def network_of(address: str) -> str:
    """
    Return whose an address is: itself, or the /64 of an IPv6 address.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if ip.version == 4:
        return str(ip)
    return str(ipaddress.ip_network((int(ip), 64), strict=False))
