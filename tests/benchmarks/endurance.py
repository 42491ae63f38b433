"""
What a thousand restarts of one connection leave behind.
"""

import asyncio
import ctypes
import gc
import os
import tracemalloc
from dataclasses import dataclass
from pathlib import Path

from aiortc_restart import RTCPeerConnection

from ..utils import until
from .harness import OURS, PATIENCE, Pair, Row
from .watch import switched, transport

LIMIT = 1000.0
"Bytes which a restart may leave behind."


@dataclass(frozen=True)
class Holdings:
    """
    What the process holds.
    """

    descriptors: int
    tasks: int
    generations: int
    resident: int
    "Bytes of memory."

    def __str__(self) -> str:
        return f"{self.descriptors}, {self.tasks}, {self.generations}"


async def run(quick: bool) -> list[Row]:
    """
    Restart again and again, then look at what is left.

    :param quick: Whether fewer restarts shall do.
    :rtype: list[Row]
    """
    few, many = 10, 200 if quick else 1000
    pair = Pair(OURS)
    pair.open_channels()
    await pair.connect()

    await restart(pair, few)
    early = await holdings(pair)
    # The heap first grows to its working size, which is no leak.
    await restart(pair, (many - few) // 2)
    middle = await holdings(pair)
    count = many - few - (many - few) // 2
    await restart(pair, count)
    late = await holdings(pair)
    resident = (late.resident - middle.resident) / count
    traced = await trace(pair, many // 5)
    await pair.close()

    same = str(early) == str(late)
    return [
        Row(
            f"descriptors, tasks, generations after {few} and {many} restarts",
            f"{early} / {late}",
            "the same",
            same,
        ),
        growth("resident memory", resident),
        growth("tracemalloc", traced),
    ]


async def holdings(pair: Pair[RTCPeerConnection]) -> Holdings:
    """
    Wait until what has been retired is gone, and see what is left.

    :param pair: The :class:`Pair` which restarts.
    :rtype: Holdings
    """
    transports = [transport(pc) for pc in pair.peers]
    await until(lambda: all(len(x.generations) == 1 for x in transports))
    # Sockets and tasks end in the loop's next turns.
    for _ in range(10):
        await asyncio.sleep(0)
    return Holdings(
        descriptors=len(os.listdir("/proc/self/fd")),
        tasks=len(asyncio.all_tasks()),
        generations=sum(len(x.generations) for x in transports),
        resident=resident_memory(),
    )


def resident_memory() -> int:
    """
    Give back what is free, and tell what the process occupies.

    :return: Bytes.
    :rtype: int
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def restart(pair: Pair[RTCPeerConnection], count: int) -> None:
    """
    Restart, by each peer in turn.

    :param pair:  A :class:`Pair` which is connected.
    :param count: How often.
    """
    for number in range(count):
        async with asyncio.timeout(PATIENCE):
            await switched(pair, pair.peers[number % 2])


async def trace(pair: Pair[RTCPeerConnection], count: int) -> float:
    """
    Restart under the eyes of tracemalloc.

    :param pair:  A :class:`Pair` which is connected.
    :param count: How often.
    :return: The bytes which each restart left behind.
    :rtype: float
    """
    tracemalloc.start()
    await restart(pair, count)
    await holdings(pair)
    before, _ = tracemalloc.get_traced_memory()
    await restart(pair, count)
    await holdings(pair)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / count


def growth(what: str, value: float) -> Row:
    """
    Sum up how much memory grew.

    :param what:  How it was measured.
    :param value: Bytes a restart.
    :rtype: Row
    """
    return Row(
        f"growth a restart, bytes ({what})", f"{value:.0f}", "1000", value < LIMIT
    )
