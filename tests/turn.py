"""
A TURN server on the simulated network.
"""

import asyncio
import struct
from typing import Any

from aioice import stun

from .network import Address, Network
from .probes import response

LIFETIME = 600

MAPPED = "203.0.113.7"
"The address at which the server sees all its clients."


class Relay(asyncio.DatagramProtocol):
    """
    A relayed address: it passes on what comes from peers with a channel.
    """

    def __init__(self, server: "TurnServer") -> None:
        self.channels: dict[int, Address] = {}
        self.client: Address | None = None
        self.transport: asyncio.DatagramTransport
        self._server = server

    @property
    def address(self) -> Address:
        address: Address = self.transport.get_extra_info("sockname")
        return address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        for number, peer in self.channels.items():
            if peer == addr and self.client is not None:
                header = struct.pack("!HH", number, len(data))
                self._server.send(header + data, self.client)


class TurnServer(asyncio.DatagramProtocol):
    """
    A TURN server for everybody, which takes its time to allocate.
    """

    def __init__(self, *delays: float) -> None:
        self.relays = [Relay(self) for _ in delays]
        self._allocations: dict[Address, Relay] = {}
        self._delays = list(delays)
        self._timers: dict[bytes, asyncio.TimerHandle] = {}
        self._transport: asyncio.DatagramTransport

    @property
    def live(self) -> int:
        """
        The number of allocations which it holds.
        """
        return len(self._allocations)

    def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        for relay in self.relays:
            relay.transport.close()
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        relay = self._allocations.get(addr)
        if data[0] & 0xC0 == 0x40:
            number, length = struct.unpack("!HH", data[:4])
            if relay is not None:
                relay.transport.sendto(data[4 : 4 + length], relay.channels[number])
            return
        request = stun.parse_message(data)
        answer = response(request, (MAPPED, addr[1]), None)
        answer.message_method = request.message_method
        if request.message_method == stun.Method.ALLOCATE:
            # What is asked again is the same question.
            if request.transaction_id not in self._timers:
                self._timers[request.transaction_id] = (
                    asyncio.get_running_loop().call_later(
                        self._delays.pop(0), self._allocate, answer, addr
                    )
                )
            return
        if request.message_method == stun.Method.CHANNEL_BIND and relay is None:
            answer = response(request, (MAPPED, addr[1]), None, 437)
            answer.message_method = request.message_method
        elif request.message_method == stun.Method.CHANNEL_BIND:
            assert relay is not None
            number = request.attributes["CHANNEL-NUMBER"]
            relay.channels[number] = request.attributes["XOR-PEER-ADDRESS"]
        else:
            answer.attributes["LIFETIME"] = request.attributes["LIFETIME"]
            if not request.attributes["LIFETIME"]:
                self._allocations.pop(addr, None)
        self.send(bytes(answer), addr)

    def send(self, data: bytes, addr: Address) -> None:
        self._transport.sendto(data, addr)

    def _allocate(self, answer: stun.Message, addr: Address) -> None:
        relay = next(x for x in self.relays if x.client is None)
        relay.client = addr
        self._allocations[addr] = relay
        answer.attributes["XOR-RELAYED-ADDRESS"] = relay.address
        answer.attributes["LIFETIME"] = LIFETIME
        self.send(bytes(answer), addr)


async def turn_server(
    network: Network, *delays: float, address: str = "10.0.8.1"
) -> TurnServer:
    """
    Open a TURN server at `turn:10.0.8.1:3478`, or at another address.

    :param delays: For each allocation in turn the seconds until it is there.
    """
    name = f"server {address}"
    network.add_host(name, address)
    server = TurnServer(*delays)
    loop = asyncio.get_running_loop()
    with network.host(name):
        await loop.create_datagram_endpoint(lambda: server, local_addr=(address, 3478))
        relays = iter(server.relays)
        for _ in server.relays:
            await loop.create_datagram_endpoint(
                lambda: next(relays), local_addr=(address, 0)
            )
    return server
