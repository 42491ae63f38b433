"""
How a benchmark sees that a restart has done its work.
"""

import asyncio
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from aiortc_restart import RTCIceTransport, RTCPeerConnection
from aiortc_restart.ice.stun import StunProtocol

from .harness import Pair

PEERS = 2

STUN = range(4)
"What a STUN message begins with (RFC 7983 section 7)."


class ArrivalWatch:
    """
    Sees each packet as it comes from the socket, and on whose behalf.

    A generation has an ICE agent of its own, so a packet for an agent which has
    had none yet is the first on a new pair.
    """

    def __init__(self) -> None:
        self._agents: weakref.WeakSet[Any] = weakref.WeakSet()
        self._arrivals: asyncio.Queue[float] = asyncio.Queue()

    async def both(self) -> float:
        """
        Wait until each peer has had a packet over a new pair.

        :return: When the later one of the two came.
        :rtype: float
        """
        return max([await self._arrivals.get() for _ in range(PEERS)])

    @contextmanager
    def watching(self) -> Iterator[None]:
        """
        See the packets which come from now on.
        """
        receive = StunProtocol.datagram_received

        def datagram_received(
            protocol: StunProtocol, data: bytes | str, addr: tuple[str, int]
        ) -> None:
            if data[0] not in STUN and protocol.receiver not in self._agents:
                self._agents.add(protocol.receiver)
                self._arrivals.put_nowait(time.perf_counter())
            receive(protocol, data, addr)

        with mock.patch.object(StunProtocol, "datagram_received", datagram_received):
            yield


async def switched(pair: Pair[RTCPeerConnection], by: RTCPeerConnection) -> None:
    """
    Restart once, and wait until both peers have switched.

    :param pair: A :class:`Pair` which is connected.
    :param by:   The peer which restarts.
    """
    events = [new_pair(transport(pc)) for pc in pair.peers]
    by.restartIce()
    for event in events:
        await event.wait()


def new_pair(transport: RTCIceTransport) -> asyncio.Event:
    """
    Make an event which is set when a transport has selected another pair.

    :param transport: The transport.
    :rtype: asyncio.Event
    """
    before, event = transport.getSelectedCandidatePair(), asyncio.Event()

    def on_change() -> None:
        if transport.getSelectedCandidatePair() != before:
            transport.remove_listener("selectedcandidatepairchange", on_change)
            event.set()

    transport.on("selectedcandidatepairchange", on_change)
    return event


def transport(pc: RTCPeerConnection) -> RTCIceTransport:
    """
    Get the ICE transport of a connection's data channel.

    :param pc: A peer connection.
    :rtype: RTCIceTransport
    """
    assert pc.sctp is not None
    transport = pc.sctp.transport.transport
    assert isinstance(transport, RTCIceTransport)
    return transport
