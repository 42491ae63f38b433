"""
The port on which names are resolved is known to everybody, and stays open as long as a
call which has resolved one.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest import mock

import aioice.ice
import aioice.mdns
import dns.message
import dns.name
import dns.rdata
import dns.rdatatype
import dns.rrset
import pytest

from aiortc_restart.ice.names import MAX_RATE, NameGuard, resolver

from ..utils import until

NAME = dns.name.from_text("0a1b2c3d-0000-4000-8000-000000000000.local")


def answer(data: bytes, name: dns.name.Name = NAME) -> bytes:
    """
    Return an answer which says that a name has an address of these bytes.
    """
    message = dns.message.QueryMessage(id=0)
    message.flags |= dns.flags.QR | dns.flags.AA
    rdata = dns.rdata.GenericRdata(aioice.mdns.MDNS_RDCLASS, dns.rdatatype.A, data)
    message.answer.append(dns.rrset.from_rdata(name, 120, rdata))
    return message.to_wire()


GOOD = answer(bytes([10, 0, 9, 9]))
MALFORMED = [answer(b"\n\0\t"), answer(b""), GOOD[:-1], GOOD[:11], b"", b"\xff" * 1500]


class Anybody:
    """
    Sends to the port.

    :param port: The port's number.
    """

    def __init__(self, port: int) -> None:
        self._address = ("127.0.0.1", port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def close(self) -> None:
        self._socket.close()

    def send(self, *datagrams: bytes) -> None:
        for data in datagrams:
            self._socket.sendto(data, self._address)


@asynccontextmanager
async def resolving(
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[tuple[aioice.mdns.MDnsProtocol, Anybody]]:
    """
    Have what resolves names, on a port that no other program has, and assert that
    nothing is reported to the event loop.
    """
    monkeypatch.setattr(aioice.mdns, "MDNS_PORT", 0)
    errors: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: errors.append(context))
    subscriber = object()
    names = await resolver(subscriber)
    anybody = Anybody(names.transport.get_extra_info("sockname")[1])
    try:
        assert await resolver(subscriber) is names
        yield names, anybody
    finally:
        anybody.close()
        await aioice.ice.unref_mdns_protocol(subscriber)
    assert errors == []


@contextmanager
def reading() -> Iterator[mock.Mock]:
    """
    Count the datagrams which are read.
    """
    read = dns.message.from_wire
    with mock.patch.object(dns.message, "from_wire", side_effect=read) as mocked:
        yield mocked


def ask(names: aioice.mdns.MDnsProtocol) -> asyncio.Future[str]:
    # As resolve() does, for which this host needs to have multicast.
    future = asyncio.get_running_loop().create_future()
    names.queries[NAME] = {future}
    return future


@contextmanager
def arriving() -> Iterator[list[bytes]]:
    """
    Record the datagrams which come, read or not.
    """
    seen = []
    receive = NameGuard.datagram_received

    def datagram_received(guard: NameGuard, data: bytes, addr: Any) -> None:
        seen.append(data)
        receive(guard, data, addr)

    with mock.patch.object(NameGuard, "datagram_received", datagram_received):
        yield seen


async def test_malformed(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whatever comes, the answer to a question is found.
    """
    async with resolving(monkeypatch) as (names, anybody):
        future = ask(names)
        with reading() as read:
            anybody.send(*MALFORMED, answer(b"\n\0\1\1", dns.name.from_text("b.local")))
            await until(lambda: read.call_count == len(MALFORMED) + 1)
            assert not future.done()
            anybody.send(GOOD)
            assert await future == "10.0.9.9"


async def test_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    What nobody has asked for is not read.
    """
    async with resolving(monkeypatch) as (names, anybody):
        with reading() as read, arriving() as seen:
            sent = [*MALFORMED, GOOD] * 5
            anybody.send(*sent)
            await until(lambda: len(seen) == len(sent))
            assert read.call_count == 0
            future = ask(names)
            anybody.send(GOOD)
            assert await future == "10.0.9.9"


async def test_flood(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    In a second, so much is read and no more, also while a name is looked up.
    """
    async with resolving(monkeypatch) as (names, anybody):
        future = ask(names)
        loop = asyncio.get_running_loop()
        began = loop.time()
        with reading() as read:
            while loop.time() < began + 1.5:
                anybody.send(*[MALFORMED[0]] * 20)
                await asyncio.sleep(0)
            assert MAX_RATE <= read.call_count
            seconds = loop.time() - began
            assert read.call_count <= (seconds + 1) * MAX_RATE
        await asyncio.sleep(1)
        anybody.send(GOOD)
        assert await future == "10.0.9.9"


async def test_published(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A name which an application has published is told to who asks.
    """
    async with resolving(monkeypatch) as (names, anybody):
        data = bytes([10, 0, 9, 9])
        rdata = dns.rdata.GenericRdata(aioice.mdns.MDNS_RDCLASS, dns.rdatatype.A, data)
        names.zone.replace_rdataset(NAME, dns.rdataset.from_rdata(120, rdata))
        with mock.patch.object(names.transport, "sendto") as sent:
            anybody.send(dns.message.make_query(NAME, dns.rdatatype.A).to_wire())
            await until(lambda: sent.call_count == 1)


async def test_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The last who needs it closes the socket.
    """
    async with resolving(monkeypatch) as (names, _):
        transport = names.transport
        assert not transport.is_closing()
    assert transport.is_closing()
