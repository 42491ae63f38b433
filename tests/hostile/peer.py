"""
A socket that speaks STUN as it likes, on the simulated network or on the loopback.
"""

import asyncio
import contextlib
import functools
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, cast

from aiortc import RTCIceCandidate, RTCIceParameters

from ..network import Address, Network
from . import wire
from .wire import Attribute, Reading

HIGHEST = 2**31 - 1
"A priority above that of any other candidate."

PARAMETERS = RTCIceParameters(
    usernameFragment="hostile1", password="passwordofthehostilepeer"
)
"The credentials of a hostile peer."

Answer = Callable[["Peer", Reading, Address], bytes | None]
"What a peer answers to a request, and `None` is nothing."


class Peer(asyncio.DatagramProtocol):
    """
    A socket that sends checks, answers those that it gets, and records all of it.

    :param answer: What it answers.
    :param local: Its own credentials.
    """

    def __init__(
        self, answer: Answer | None = None, local: RTCIceParameters = PARAMETERS
    ) -> None:
        self.answer = answer or agree
        self.data: list[bytes] = []
        "What has come that is no STUN message."
        self.local = local
        self.remote: RTCIceParameters | None = None
        "The credentials of the other side, if they are known."
        self.requests: list[tuple[float, Reading, Address]] = []
        "Each with the loop's time."
        self.responses: list[Reading] = []
        self._transport: asyncio.DatagramTransport

    @property
    def address(self) -> Address:
        address: Address = self._transport.get_extra_info("sockname")[:2]
        return address

    @property
    def candidate(self) -> RTCIceCandidate:
        return candidate_at(self.address)

    @property
    def key(self) -> bytes:
        return str(self.local.password).encode()

    def check(
        self,
        destination: Address,
        *,
        role: int | None = wire.ICE_CONTROLLED,
        nominates: bool = False,
        omit: Iterable[int] = (),
        more: Iterable[Attribute | bytes] = (),
        password: str | None = None,
        tie_breaker: int = 0,
        **options: Any,
    ) -> bytes:
        """
        Send a check, and return it.

        :param role: The attribute that claims a role.
        :param nominates: Whether it has USE-CANDIDATE.
        :param omit: Types of attributes that it lacks.
        :param more: More attributes.
        :param password: What it is signed with, if it is not the receiver's password.
        :param options: Of :func:`wire.encode`.
        """
        assert self.remote is not None
        data = check(
            self.remote,
            self.local,
            role=role,
            nominates=nominates,
            omit=omit,
            more=more,
            password=password,
            tie_breaker=tie_breaker,
            **options,
        )
        self.send(data, destination)
        return data

    def close(self) -> None:
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        reading = wire.read(data)
        if reading is None:
            self.data.append(data)
        elif not reading.is_request:
            self.responses.append(reading)
        else:
            now = asyncio.get_running_loop().time()
            self.requests.append((now, reading, addr[:2]))
            response = self.answer(self, reading, addr[:2])
            if response is not None:
                self.send(response, addr[:2])

    def send(self, data: bytes, destination: Address) -> None:
        real = self._transport.get_extra_info("socket")
        if data or real is None:
            self._transport.sendto(data, destination)
            return
        # asyncio sends no empty datagrams.
        with socket.socket(fileno=os.dup(real.fileno())) as copy:
            copy.sendto(data, destination)


def agree(
    peer: Peer, request: Reading, source: Address, *, key: bytes | None = None
) -> bytes:
    """
    Answer that a check has arrived.

    :param key: What the answer is signed with, if it is not the peer's password.
    """
    return wire.encode(
        wire.SUCCESS,
        [(wire.XOR_MAPPED_ADDRESS, wire.xor_address(*source, request.transaction))],
        transaction=request.transaction,
        key=peer.key if key is None else key,
    )


def agree_from(other: Peer) -> Answer:
    """
    Let another socket answer.
    """

    def answer(peer: Peer, request: Reading, source: Address) -> None:
        other.send(agree(peer, request, source), source)

    return answer


def agree_with(key: bytes) -> Answer:
    """
    Sign answers with a key.
    """
    return functools.partial(agree, key=key)


def candidate_at(address: Address, priority: int = HIGHEST) -> RTCIceCandidate:
    """
    Return a host candidate.
    """
    return RTCIceCandidate(
        component=1,
        foundation="hostile",
        ip=address[0],
        port=address[1],
        priority=priority,
        protocol="udp",
        type="host",
    )


def check(
    remote: RTCIceParameters,
    local: RTCIceParameters = PARAMETERS,
    *,
    role: int | None = wire.ICE_CONTROLLED,
    nominates: bool = False,
    omit: Iterable[int] = (),
    more: Iterable[Attribute | bytes] = (),
    password: str | None = None,
    tie_breaker: int = 0,
    **options: Any,
) -> bytes:
    """
    Return a check; see :meth:`Peer.check`.

    :param remote: The credentials of its receiver.
    :param local: The credentials of its sender.
    """
    username = f"{remote.usernameFragment}:{local.usernameFragment}".encode()
    attributes: list[Attribute] = [
        (wire.USERNAME, username),
        (wire.PRIORITY, struct.pack("!I", HIGHEST)),
    ]
    if role is not None:
        attributes.append((role, struct.pack("!Q", tie_breaker)))
    if nominates:
        attributes.append((wire.USE_CANDIDATE, b""))
    omitted = set(omit)
    options.setdefault("key", (password or str(remote.password)).encode())
    return wire.encode(
        wire.REQUEST,
        [*(x for x in attributes if x[0] not in omitted), *more],
        **options,
    )


def ignore(peer: Peer, request: Reading, source: Address) -> None:
    """
    Answer nothing.
    """


@contextlib.asynccontextmanager
async def open_peers(
    count: int,
    network: Network | None = None,
    *addresses: str,
    answer: Answer | None = None,
    local: RTCIceParameters = PARAMETERS,
) -> AsyncIterator[list[Peer]]:
    """
    Open sockets, and close them at the end.

    :param network: The network, by default the loopback.
    :param addresses: Those of the sockets in turn, by default one of a host "mallory",
                      or those of the loopback.
    """
    if network is not None:
        addresses = addresses or ("10.0.6.6",)
        with contextlib.suppress(ValueError):
            network.add_host("mallory", *dict.fromkeys(addresses))
    else:
        addresses = addresses or tuple(f"127.0.{i}.1" for i in range(1, 9))
    loop = asyncio.get_running_loop()
    opened = []
    try:
        for i in range(count):
            _, peer = await loop.create_datagram_endpoint(
                lambda: Peer(answer, local),
                local_addr=(addresses[i % len(addresses)], 0),
            )
            opened.append(peer)
        yield opened
    finally:
        for peer in opened:
            peer.close()
        await asyncio.sleep(0)


def refuse(code: int) -> Answer:
    """
    Answer with an error, always.
    """

    def answer(peer: Peer, request: Reading, source: Address) -> bytes:
        return wire.encode(
            wire.ERROR,
            [wire.error_code(code)],
            transaction=request.transaction,
            key=peer.key,
        )

    return answer
