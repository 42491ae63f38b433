"""
Floods of datagrams, on the simulated network and on the loopback.
"""

import asyncio
import contextlib
import itertools
import random
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from aiortc import RTCIceParameters

from ..network import Address
from . import junk, wire
from .path import Observer
from .peer import PARAMETERS, check

RATE = 10_000
"Datagrams a second."

SOURCES: list[Address] = [(f"10.6.{i // 250}.{1 + i % 250}", 5000) for i in range(1000)]

TICK = 0.005
"How often some of a flood are sent, in seconds."


def mixture(*parameters: RTCIceParameters, seed: int = 0) -> list[bytes]:
    """
    Return what a flood consists of: a bit of everything.

    :param parameters: Credentials which forged checks are made for.
    """
    chance = random.Random(seed)
    kinds = [
        b"",
        b"\x80" + bytes(160),
        b"\x80\xc8" + bytes(40),
        b"\x80" + bytes(1999),
        junk.ALERTS["handshake_failure"],
        junk.record(junk.APPLICATION_DATA, bytes(100), epoch=1),
        b"\x40\x00\x00\x04" + bytes(4),
        wire.encode(wire.SUCCESS),
        wire.encode(wire.INDICATION),
        wire.header(wire.REQUEST, 65532, bytes(12)),
        *(chance.randbytes(chance.randrange(1, 1200)) for _ in range(10)),
        *(check(x, PARAMETERS, password="guess" * 5) for x in parameters),
        *(check(x, PARAMETERS, omit=[wire.USERNAME]) for x in parameters),
    ]
    chance.shuffle(kinds)
    return kinds


@contextlib.asynccontextmanager
async def flooded(
    observer: Observer,
    ports: Callable[[], Sequence[Address]],
    datagrams: Sequence[bytes],
    rate: int = RATE,
) -> AsyncIterator[list[int]]:
    """
    Send datagrams from a thousand sources to each open port of a simulated network, and
    yield how many that have been.

    :param ports: Returns the ports that are open.
    """
    sent = [0]
    sources = itertools.cycle(SOURCES)
    data = itertools.cycle(datagrams)

    async def send() -> None:
        while True:
            for port in ports():
                for _ in range(round(rate * TICK)):
                    # Each is another object, so that memory shows which are kept.
                    copy = bytes(bytearray(next(data)))
                    observer.inject(copy, next(sources), port)
                    sent[0] += 1
            await asyncio.sleep(TICK)

    sending = asyncio.create_task(send())
    try:
        yield sent
    finally:
        sending.cancel()
        await asyncio.wait([sending])


@contextlib.contextmanager
def flooding(
    ports: Callable[[], Sequence[Address]],
    datagrams: Sequence[bytes],
    rate: int = RATE,
    limit: int = 100_000,
) -> Iterator[list[int]]:
    """
    Send datagrams from a thread to each of some ports of this machine, from a hundred
    addresses of the loopback, and yield how many that have been.

    :param ports: Returns the ports that are open.
    :param limit: How many there are at most.
    """
    sent = [0]
    stopping = threading.Event()

    def send() -> None:
        with contextlib.ExitStack() as stack:
            sockets = []
            for i in range(100):
                opened = stack.enter_context(
                    socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                )
                opened.bind((f"127.6.{i}.1", 0))
                sockets.append(opened)
            sources, data = itertools.cycle(sockets), itertools.cycle(datagrams)
            began = time.monotonic()
            while not stopping.is_set() and sent[0] < limit:
                targets = ports()
                wanted = rate * len(targets) * (time.monotonic() - began)
                while sent[0] < min(wanted, limit):
                    for port in targets:
                        with contextlib.suppress(OSError):
                            next(sources).sendto(next(data), port)
                        sent[0] += 1
                stopping.wait(TICK)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        stopping.set()
        thread.join()
