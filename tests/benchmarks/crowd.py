"""
Many connections which restart at the same time.
"""

import asyncio
import statistics

from aiortc_restart import RTCPeerConnection

from .harness import OURS, PATIENCE, Pair, Row, Stopwatch, undisturbed
from .watch import switched

CONNECTIONS = 50


async def run(quick: bool) -> list[Row]:
    """
    Restart all at once and one after another, in turn.

    :param quick: Whether fewer rounds shall do.
    :rtype: list[Row]
    """
    pairs = [Pair(OURS) for _ in range(CONNECTIONS)]
    for pair in pairs:
        pair.open_channels()
        await pair.connect()

    together, apart, done = [], [], []
    for _ in range(2 if quick else 5):
        async with undisturbed():
            watch = Stopwatch()
            done.append(sum(await asyncio.gather(*(restarted(x) for x in pairs))))
            together.append(watch.stop().wall * 1000)
        async with undisturbed():
            watch = Stopwatch()
            done.append(sum([await restarted(x) for x in pairs]))
            apart.append(watch.stop().wall * 1000)
    await asyncio.gather(*(pair.close() for pair in pairs))

    total, sequence = statistics.median(together), statistics.median(apart)
    return [
        Row(
            f"{CONNECTIONS} connections restart at once, ms in all "
            f"(one after another {sequence:.0f})",
            ours=f"{total:.0f} ({min(done)} done)",
            limit=f"{CONNECTIONS} done",
            holds=min(done) == CONNECTIONS,
        )
    ]


async def restarted(pair: Pair[RTCPeerConnection]) -> bool:
    """
    Restart, and tell whether it has succeeded.

    :param pair: A :class:`Pair` which is connected.
    :rtype: bool
    """
    try:
        async with asyncio.timeout(PATIENCE):
            await switched(pair, pair.offerer)
    except TimeoutError:
        return False
    return True
