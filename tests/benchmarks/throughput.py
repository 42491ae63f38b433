"""
How fast a data channel carries messages over loopback.
"""

import asyncio
import statistics

from .harness import (
    OURS,
    PC,
    STOCK,
    Cost,
    Flavour,
    Pair,
    Row,
    Stopwatch,
    compare,
    percent,
    ratio,
)

MESSAGE = bytes(16_000)
SLICE = 1_008_000
"Bytes sent in turn by one and the other."

LIMIT = 0.97


class Lane:
    """
    A data channel which stays open, so that only the transfer is measured.

    :param flavour: What the peers are made of.
    """

    def __init__(self, flavour: Flavour[PC]) -> None:
        self.pair = Pair(flavour)
        self._source, target = self.pair.open_channels()
        self._source.bufferedAmountLowThreshold = 16 * len(MESSAGE)
        self._source.on("bufferedamountlow", self._on_low)
        target.on("message", self._on_message)
        self._arrived = asyncio.Event()
        self._low = asyncio.Event()
        self._missing = 0

    async def transfer(self) -> Cost:
        """
        Send a slice and wait until it has arrived.

        :rtype: Cost
        """
        self._missing = SLICE // len(MESSAGE)
        self._arrived.clear()
        watch = Stopwatch()
        for _ in range(self._missing):
            if self._source.bufferedAmount > 32 * len(MESSAGE):
                self._low.clear()
                await self._low.wait()
            self._source.send(MESSAGE)
        await self._arrived.wait()
        return watch.stop()

    def _on_low(self) -> None:
        self._low.set()

    def _on_message(self, message: bytes) -> None:
        self._missing -= 1
        if not self._missing:
            self._arrived.set()


async def run(quick: bool) -> list[Row]:
    """
    Compare the throughput.

    :param quick: Whether fewer rounds shall do.
    :rtype: list[Row]
    """
    lanes = stock, ours = Lane(STOCK), Lane(OURS)
    for lane in lanes:
        await lane.pair.connect()
        # The congestion window opens.
        for _ in range(3):
            await lane.transfer()
    costs = await compare(stock.transfer, ours.transfer, 20 if quick else 100)
    for lane in lanes:
        await lane.pair.close()

    speeds = [
        statistics.median(SLICE / 1e6 / cost[side].wall for cost in costs)
        for side in range(2)
    ]
    speed = 1 / ratio(costs, lambda cost: cost.wall)
    cpu = ratio(costs, lambda cost: cost.cpu)
    return [
        Row(
            "data channel, MB/s",
            stock=f"{speeds[0]:.2f}",
            ours=f"{speeds[1]:.2f} ({percent(speed)}, CPU {percent(cpu)})",
            limit="-3 %",
            holds=speed >= LIMIT,
        )
    ]
