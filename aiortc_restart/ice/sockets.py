import asyncio
import contextlib
import socket

import aioice
import aioice.ice
import aioice.turn
from aioice.candidate import candidate_foundation, candidate_priority

from .gathering import MAX_LOCAL_PREFERENCE
from .path import PathConnection
from .stun import StunProtocol


def host_addresses() -> list[str]:
    """
    Return the addresses of this host.

    :raises OSError: if the system does not tell: it needs a descriptor to do so.
    """
    # Through the module, as applications put a function of their own there.
    return aioice.ice.get_host_addresses(use_ipv4=True, use_ipv6=True)


async def open_socket(
    receiver: PathConnection, component: int, address: str, number: int
) -> StunProtocol:
    """
    Open a socket for a host candidate.

    :param receiver: Is told what the socket receives.
    :param component: The component of the candidate.
    :param address: The local address.
    :param number: How many of the connection's sockets are open already.

    :raises OSError: if the system opens none on this address.
    """

    def describe(address: str, port: int) -> aioice.Candidate:
        return aioice.Candidate(
            foundation=candidate_foundation("host", "udp", address),
            component=component,
            transport="udp",
            # Each candidate of a type has a preference of its own (RFC 8445 section
            # 5.1.2.1).
            priority=candidate_priority(
                component, "host", max(0, MAX_LOCAL_PREFERENCE - number)
            ),
            host=address,
            port=port,
            type="host",
        )

    def create_protocol() -> StunProtocol:
        protocol = StunProtocol(receiver)
        protocol.describe = describe
        return protocol

    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        create_protocol, local_addr=(address, 0)
    )
    sock = transport.get_extra_info("socket")
    if sock is not None:
        # A socket with the system's buffer is better than none.
        with contextlib.suppress(OSError):
            sock.setsockopt(
                socket.SOL_SOCKET,
                socket.SO_RCVBUF,
                aioice.turn.UDP_SOCKET_BUFFER_SIZE,
            )
    return protocol
