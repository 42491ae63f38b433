"""
What it costs to drop a datagram.
"""

import asyncio
import contextlib
import logging
import statistics
import struct
import time
from collections.abc import Callable
from typing import Any

import aiortc
from aiortc import RTCIceParameters

from ..hostile import junk, wire
from ..hostile.peer import check
from .harness import OURS, PC, STOCK, Flavour, Pair, Row, undisturbed

BATCH = 50
"Datagrams between two looks at the clock."

LIMIT = 10.0
"Microseconds."

PASSES = 8
"How often all is measured; the pass which others disturb least counts."

STRANGER = ("203.0.113.1", 4711)


class Victim:
    """
    A socket of a connected call.

    :param flavour: What the call is made of.
    """

    def __init__(self, flavour: Flavour[PC]) -> None:
        self.pair = Pair(flavour)
        self.pair.open_channels()

    @property
    def parameters(self) -> tuple[RTCIceParameters, RTCIceParameters]:
        """
        The credentials of the socket's side and of its peer.
        """
        connection = self._connection
        return (
            RTCIceParameters(connection.local_username, connection.local_password),
            RTCIceParameters(connection.remote_username, connection.remote_password),
        )

    @property
    def peer(self) -> tuple[str, int]:
        """
        The address from which the peer sends.
        """
        (pair,) = self._connection._nominated.values()
        address: tuple[str, int] = pair.remote_addr
        return address

    async def start(self) -> None:
        """
        Connect the call.
        """
        await self.pair.connect()

    def microseconds(self, data: bytes, source: tuple[str, int], rounds: int) -> float:
        """
        Tell how much CPU time a datagram takes until the socket is done with it.

        :param data:   The datagram.
        :param source: Where it comes from.
        :param rounds: How many batches are measured.
        :rtype: float
        """
        (pair,) = self._connection._nominated.values()
        receive: Callable[[bytes, tuple[str, int]], None]
        receive = pair.protocol.datagram_received
        times = []
        for _ in range(rounds):
            began = time.thread_time_ns()
            for _ in range(BATCH):
                # Stock aioice raises this one for malformed attributes.
                with contextlib.suppress(struct.error):
                    receive(data, source)
            times.append((time.thread_time_ns() - began) / 1000 / BATCH)
            self._forget()
        return statistics.median(times)

    @property
    def _connection(self) -> Any:
        transport: Any = _ice_transport(self.pair.offerer)
        return transport._connection

    def _forget(self) -> None:
        # Stock aioice queues what it ought to drop, for DTLS, which would end of it.
        queue = self._connection._queue
        while not queue.empty():
            queue.get_nowait()


def datagrams(victim: Victim) -> dict[str, tuple[bytes, tuple[str, int]]]:
    """
    Return what is dropped, by reason, and where it comes from.

    :param victim: To whose credentials it refers.
    """
    local, remote = victim.parameters
    forged = check(local, remote, nominates=True, password="guess" * 5)
    other = RTCIceParameters("somebody", local.password)
    malformed = check(local, remote, more=[(wire.PRIORITY, b"")], password="x" * 24)
    long = b"\x80" + bytes(2000)
    return {
        "an empty one": (b"", STRANGER),
        "one which is too long": (long, STRANGER),
        "no protocol": (b"\xff" * 100, STRANGER),
        "a stranger's SRTP": (b"\x80" + bytes(199), STRANGER),
        "a stranger's alert": (junk.ALERTS["handshake_failure"], STRANGER),
        "a stranger's answer": (wire.encode(wire.SUCCESS, key=b"guess"), STRANGER),
        "a check for others": (check(other, remote), STRANGER),
        "a forged check": (forged, STRANGER),
        "a malformed check": (malformed, STRANGER),
        "a TURN request": (wire.encode(0x0003), STRANGER),
        "more than is read of the peer's": (b"\x80" + bytes(199), victim.peer),
    }


def _ice_transport(pc: aiortc.RTCPeerConnection) -> aiortc.RTCIceTransport:
    assert pc.sctp is not None
    return pc.sctp.transport.transport


async def run(quick: bool) -> list[Row]:
    """
    Measure each kind of datagram.

    :param quick: Whether fewer rounds shall do.
    :rtype: list[Row]
    """
    rounds = 10 if quick else 60
    # What stock aiortc says about what it is given.
    logging.getLogger("aiortc").setLevel(logging.CRITICAL)
    flavours: list[Flavour[Any]] = [STOCK, OURS]
    victims = [Victim(x) for x in flavours]
    costs: list[dict[str, float]] = [{}, {}]
    for victim in victims:
        await victim.start()
    for _ in range(PASSES):
        async with undisturbed():
            for victim, cost in zip(victims, costs, strict=True):
                for name, (data, source) in datagrams(victim).items():
                    found = victim.microseconds(data, source, rounds)
                    cost[name] = min(found, cost.get(name, found))
        await asyncio.sleep(0.2)
    for victim in victims:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(5):
                await victim.pair.close()
    stock, ours = costs
    return [
        Row(
            f"dropping {name}, CPU µs",
            stock=f"{stock[name]:.2f}",
            ours=f"{ours[name]:.2f}",
            limit=f"{LIMIT:.0f}",
            holds=ours[name] <= LIMIT,
        )
        for name in ours
    ]
