import asyncio
import ipaddress
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import aioice.candidate
import aioice.ice
import aioice.turn

# The related address where it is to be hidden (RFC 8839 section 5.1).
HIDDEN = {4: ("0.0.0.0", 9), 6: ("::", 9)}


class TurnClientTcpProtocol(aioice.turn.TurnClientTcpProtocol):
    """
    aioice's TURN client over TCP or TLS, which discards malformed messages.
    """

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        try:
            super().datagram_received(data, addr)
        except struct.error:
            # aioice expects a ValueError (RFC 8489 section 6.3).
            pass


class TurnClientUdpProtocol(aioice.turn.TurnClientUdpProtocol):
    """
    aioice's TURN client over UDP, which discards malformed messages.
    """

    def datagram_received(self, data: bytes | str, addr: Any) -> None:
        try:
            super().datagram_received(data, addr)
        except struct.error:
            # aioice expects a ValueError (RFC 8489 section 6.3).
            pass

    def error_received(self, exc: Exception) -> None:
        # To the protocol which uses the relay, as other sockets do.
        if self.receiver is not None:
            self.receiver.error_received(exc)


class RefreshTimes(dict[int, float]):
    """
    When TURN channels are to be bound anew, by the event loop's clock.

    aioice asks the wall clock, which may be set: set back, it would let channels expire
    (RFC 8656 section 12). So a time is told as it is by the wall clock of the moment.
    """

    def __init__(self, interval: float) -> None:
        super().__init__()
        self._interval = interval

    def __getitem__(self, channel: int) -> float:
        left = super().__getitem__(channel) - asyncio.get_running_loop().time()
        return time.time() + left

    def __setitem__(self, channel: int, wall_time: float) -> None:
        due = asyncio.get_running_loop().time() + self._interval
        super().__setitem__(channel, due)


async def relayed_candidate(
    *,
    component: int,
    hide_related_address: bool,
    protocol_factory: Callable[[], aioice.ice.StunProtocol],
    turn_server: tuple[str, int],
    turn_username: str | None,
    turn_password: str | None,
    turn_ssl: bool,
    turn_transport: str,
) -> tuple[aioice.Candidate, aioice.ice.StunProtocol]:
    """
    Allocate a relayed address at a TURN server, as aioice does it.

    :raises ConnectionError: if the server's answer lacks something.
    :raises aioice.stun.TransactionError: if it answers with an error, or does not.
    :raises OSError: if it cannot be reached.
    """
    loop = asyncio.get_running_loop()
    options: dict[str, Any] = {
        "username": turn_username,
        "password": turn_password,
        "lifetime": aioice.turn.DEFAULT_ALLOCATION_LIFETIME,
        "channel_refresh_time": aioice.turn.DEFAULT_CHANNEL_REFRESH_TIME,
    }
    socket_transport: asyncio.BaseTransport
    client: TurnClientTcpProtocol | TurnClientUdpProtocol
    if turn_transport == "tcp":
        socket_transport, client = await loop.create_connection(
            lambda: TurnClientTcpProtocol(turn_server, **options),
            *turn_server,
            ssl=turn_ssl,
        )
    else:
        socket_transport, client = await loop.create_datagram_endpoint(
            lambda: TurnClientUdpProtocol(turn_server, **options),
            remote_addr=turn_server,
        )
        sock = socket_transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(
                socket.SOL_SOCKET,
                socket.SO_RCVBUF,
                aioice.turn.UDP_SOCKET_BUFFER_SIZE,
            )
    client.channel_refresh_at = RefreshTimes(client.channel_refresh_time)
    try:
        protocol = protocol_factory()
        await aioice.turn.TurnTransport(client)._connect(protocol)
    except BaseException:
        # Whoever waits may have been cancelled, too.
        socket_transport.close()
        raise
    protocol.local_candidate = _candidate(component, protocol, hide_related_address)
    return protocol.local_candidate, protocol


def _candidate(
    component: int, protocol: aioice.ice.StunProtocol, hide_related_address: bool
) -> aioice.Candidate:
    host, port = protocol.transport.get_extra_info("sockname")
    related = protocol.transport.get_extra_info("related_address")
    if hide_related_address:
        # It is of a kind that is not to be seen (RFC 9429 section 3.5.3).
        related = HIDDEN[ipaddress.ip_address(host).version]
    return aioice.Candidate(
        foundation=aioice.candidate.candidate_foundation("relay", "udp", host),
        component=component,
        transport="udp",
        priority=aioice.candidate.candidate_priority(component, "relay"),
        host=host,
        port=port,
        type="relay",
        related_address=related[0],
        related_port=related[1],
    )
