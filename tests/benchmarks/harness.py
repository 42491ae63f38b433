"""
What the benchmarks share: pairs of peers, rounds, and the table at the end.
"""

import asyncio
import gc
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

import aiortc

import aiortc_restart

PATIENCE = 30.0
"Seconds after which something is taken to have failed."

PC = TypeVar("PC", bound=aiortc.RTCPeerConnection)


@dataclass(frozen=True)
class Flavour(Generic[PC]):
    """
    An implementation to measure.
    """

    peer_connection: type[PC]
    configuration: type[aiortc.RTCConfiguration]


STOCK = Flavour(aiortc.RTCPeerConnection, aiortc.RTCConfiguration)
OURS = Flavour(aiortc_restart.RTCPeerConnection, aiortc_restart.RTCConfiguration)


@dataclass(frozen=True)
class Cost:
    """
    What a piece of work took.
    """

    cpu: float
    "Seconds of CPU time."

    wall: float
    "Seconds on the clock."


@dataclass(frozen=True)
class Row:
    """
    A line of the table at the end.
    """

    figure: str
    ours: str
    limit: str
    holds: bool
    stock: str = "-"

    libwebrtc: str = "-"
    "libwebrtc for Node, against itself."


class Pair(Generic[PC]):
    """
    Two peers in this process.

    :param flavour: What they are made of.
    """

    def __init__(self, flavour: Flavour[PC]) -> None:
        self.offerer, self.answerer = self.peers = [
            flavour.peer_connection(flavour.configuration(iceServers=[]))
            for _ in range(2)
        ]
        self._opened: list[asyncio.Event] = []

    async def close(self) -> None:
        """
        Close both peers.
        """
        await asyncio.gather(*(pc.close() for pc in self.peers))

    async def connect(self) -> None:
        """
        Connect the peers, and open their channels.
        """
        connected = asyncio.Event()

        def on_change() -> None:
            if all(pc.connectionState == "connected" for pc in self.peers):
                connected.set()

        for pc in self.peers:
            pc.on("connectionstatechange", on_change)
        await self.negotiate(self.offerer)
        async with asyncio.timeout(PATIENCE):
            await connected.wait()
            for opened in self._opened:
                await opened.wait()
        for pc in self.peers:
            pc.remove_listener("connectionstatechange", on_change)
            pc.on("negotiationneeded", partial(self.negotiate, pc))

    async def negotiate(self, by: PC) -> None:
        """
        Make an offer and have it answered.

        :param by: The peer which makes the offer.
        """
        to = self.answerer if by is self.offerer else self.offerer
        await by.setLocalDescription()
        await to.setRemoteDescription(by.localDescription)
        await to.setLocalDescription()
        await by.setRemoteDescription(to.localDescription)

    def open_channels(
        self, ordered: bool = True, max_retransmits: int | None = None
    ) -> list[aiortc.RTCDataChannel]:
        """
        Make a data channel, one end a peer.

        :param ordered:         Whether messages come in order.
        :param max_retransmits: How often a message is sent again, `None` for ever.
        :rtype: list[aiortc.RTCDataChannel]
        """
        channels = []
        for pc in self.peers:
            channel = pc.createDataChannel(
                "bench",
                id=0,
                maxRetransmits=max_retransmits,
                negotiated=True,
                ordered=ordered,
            )
            opened = asyncio.Event()
            channel.once("open", opened.set)
            channels.append(channel)
            self._opened.append(opened)
        return channels


async def compare(
    stock: Callable[[], Awaitable[Cost]],
    ours: Callable[[], Awaitable[Cost]],
    rounds: int,
) -> list[tuple[Cost, Cost]]:
    """
    Measure two things in turn, in thin slices, so that a change of the machine's
    speed meets both of them.

    :param stock:  The one.
    :param ours:   The other.
    :param rounds: How often.
    :rtype: list[tuple[Cost, Cost]]
    """
    costs = []
    for number in range(rounds):
        async with undisturbed():
            # Each is the first as often as the other.
            if number % 2:
                second, first = await ours(), await stock()
            else:
                first, second = await stock(), await ours()
        costs.append((first, second))
    return costs


def ratio(costs: list[tuple[Cost, Cost]], key: Callable[[Cost], float]) -> float:
    """
    Tell how much more ours costs than stock, as the median of the rounds' ratios.

    :param costs: What :func:`compare` returned.
    :param key:   Which of the costs to take.
    :rtype: float
    """
    return statistics.median(key(ours) / key(stock) for stock, ours in costs)


def percent(value: float) -> str:
    """
    Write a ratio as the difference from one.

    :param value: The ratio.
    :rtype: str
    """
    return f"{(value - 1) * 100:+.1f} %"


@asynccontextmanager
async def undisturbed() -> AsyncIterator[None]:
    """
    Keep the garbage collector out of what is measured.
    """
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Stopwatch:
    """
    Take both the time and the CPU time since it was made.
    """

    def __init__(self) -> None:
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    def stop(self) -> Cost:
        """
        Read the watch.

        :rtype: Cost
        """
        return Cost(
            wall=time.perf_counter() - self._wall, cpu=time.process_time() - self._cpu
        )
