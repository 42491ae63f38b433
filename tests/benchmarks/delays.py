"""
Round trips of other implementations with themselves, behind a relay which takes its
time.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from typing import Any, cast

from ..interop.remote import Message, RemotePeer, node_peer
from .libwebrtc import PATIENCE, PROGRAM, hand_over

Address = tuple[str, int]

SUCCESS = bytes([1, 1])
"What an answer to a check begins with (RFC 8489 section 5)."

PROGRAMS = {"werift": ("peer.js", "werift"), "wrtc": (str(PROGRAM),)}
"What runs an end of each implementation."


class Port(asyncio.DatagramProtocol):
    """
    What one end sees of the other's socket.

    :param behind: The socket behind it.
    """

    transport: asyncio.DatagramTransport

    def __init__(self, relay: "Relay", behind: Address) -> None:
        self.behind = behind
        self._relay = relay

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if addr in self._relay.ports:
            asyncio.get_running_loop().call_later(
                self._relay.delay, self._relay.deliver, data, addr, self.behind
            )


class Relay:
    """
    Stands between the two ends, for media and for signaling.

    :param delay: Seconds which everything is on its way.
    """

    offerer: RemotePeer

    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.ports: dict[Address, Port] = {}
        self._old: set[Address] = set()
        self._offerer: set[Address] = set()

    def begin(self) -> None:
        """
        Await, from now on, the first answer to a check between new sockets which comes
        to the side that offers.
        """
        self.answered: asyncio.Future[float] = (
            asyncio.get_running_loop().create_future()
        )
        self._old = set(self.ports)
        self._offerer = set()

    def close(self) -> None:
        for port in self.ports.values():
            port.transport.close()

    def deliver(self, data: bytes, source: Address, target: Address) -> None:
        sender = self.ports[source].transport
        if sender.is_closing():
            return
        sender.sendto(data, target)
        if (
            data.startswith(SUCCESS)
            and target in self._offerer
            and source not in self._old
            and not self.answered.done()
        ):
            self.answered.set_result(time.perf_counter())

    async def carry(self, source: RemotePeer, target: RemotePeer) -> None:
        """
        Take the descriptions and candidates of one end to the other, in their order.
        """
        late: asyncio.Queue[tuple[float, Message]] = asyncio.Queue()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._deliver(late, target), name="deliver")
            while True:
                message = await source.messages.get()
                due = time.perf_counter() + self.delay
                known = set(self.ports)
                for name in ("sdp", "candidate"):
                    if name in message:
                        message[name] = await self._rewritten(message[name])
                if source is self.offerer:
                    self._offerer |= set(self.ports) - known
                late.put_nowait((due, message))

    async def _deliver(
        self, late: asyncio.Queue[tuple[float, Message]], target: RemotePeer
    ) -> None:
        while True:
            due, message = await late.get()
            await asyncio.sleep(due - time.perf_counter())
            await hand_over(message, target)

    async def _open(self, behind: Address) -> Address:
        if behind not in self.ports:
            _, port = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: Port(self, behind), local_addr=(behind[0], 0)
            )
            self.ports[behind] = port
        address: Address = self.ports[behind].transport.get_extra_info("sockname")
        return address

    async def _rewritten(self, said: Any) -> Any:
        """
        Put the relay's ports in place of those of an end.
        """
        if isinstance(said, dict):
            text = await self._rewritten(said["candidate"])
            return {**said, "candidate": text}
        for protocol, host, port in set(
            re.findall(r"candidate:\S+ \d (\w+) \d+ ([\d.]+) (\d+) typ", said)
        ):
            if protocol.lower() == "udp":
                ip, number = await self._open((host, int(port)))
                said = said.replace(f" {host} {port} typ", f" {ip} {number} typ")
        return said


@contextlib.asynccontextmanager
async def relayed(name: str, delay: float) -> AsyncIterator[tuple[Relay, RemotePeer]]:
    """
    Start two ends with a relay between them, and yield that and the one which offers.

    :param name: The implementation.
    """
    relay = Relay(delay)
    async with (
        node_peer(name, (), *PROGRAMS[name]) as one,
        node_peer(name, (), *PROGRAMS[name]) as other,
    ):
        for end in (one, other):
            await end.call("open", channel=end is one, media=False)
        carriers = [
            asyncio.create_task(relay.carry(*x), name="carrier")
            for x in ((one, other), (other, one))
        ]
        try:
            relay.offerer = one
            yield relay, one
        finally:
            for carrier in carriers:
                carrier.cancel()
            await asyncio.wait(carriers)
            for end in (one, other):
                await end.call("close")
            relay.close()


async def round_trips(
    name: str, delay: float, restarts: int
) -> tuple[float, list[float]]:
    """
    Return after how many round trips a check of the offerer's has been answered: at
    first, and in each restart. It has a pair then.

    :param name: The implementation, with itself.
    :param delay: Seconds, one way, of media and of signaling.
    """
    async with relayed(name, delay) as (relay, offerer):
        counts = []
        for number in range(1 + restarts):
            if number:
                await asyncio.sleep(5)
                await offerer.call("restartIce")
            relay.begin()
            began = time.perf_counter()
            await offerer.call("describe")
            async with asyncio.timeout(PATIENCE):
                answered = await relay.answered
            counts.append((answered - began) / (2 * delay))
    return counts[0], counts[1:]
