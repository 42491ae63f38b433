"""
How fast, and how often, a connection checks (RFC 8445 sections 14.2 and 19.5.1).
"""

import asyncio

import pytest

from aiortc_restart.ice.pacing import (
    BUDGET_TIME,
    HOST_TRANSMISSIONS,
    MAX_ADDRESSES,
    PACING,
    TRANSMISSIONS,
    Pacing,
)

from .network import Network

VICTIM = "10.0.9.9", 9


async def turns(pacing: Pacing, count: int) -> list[float]:
    """
    Wait for turns, all at once, and return when they came.
    """
    loop = asyncio.get_running_loop()
    times: list[float] = []

    async def wait() -> None:
        await pacing.turn()
        times.append(loop.time())

    await asyncio.gather(*(wait() for _ in range(count)))
    return times


async def test_turns(network: Network) -> None:
    """
    Checks begin one after the other, and the first at once.
    """
    pacing = Pacing()
    assert pacing.ready
    times = await turns(pacing, 5)
    assert times == pytest.approx([network.now - (4 - i) * PACING for i in range(5)])
    assert not pacing.ready
    await asyncio.sleep(PACING)
    assert pacing.ready


async def test_turn_that_is_not_taken(network: Network) -> None:
    """
    A check that is given up holds nobody back.
    """
    pacing = Pacing()
    waiting = [asyncio.create_task(pacing.turn()) for _ in range(50)]
    await asyncio.sleep(0)
    began = network.now
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    await turns(pacing, 1)
    assert network.now - began <= PACING + 1e-9


async def test_address_that_never_answers(network: Network) -> None:
    """
    It is sent one check's transmissions in a minute, from each of our addresses.
    """
    pacing = Pacing()
    for _ in range(2):
        for base in ("10.0.1.1", "10.0.1.2"):
            sent = [pacing.allows(base, VICTIM) for _ in range(100)]
            assert sent == [True] * TRANSMISSIONS + [False] * (100 - TRANSMISSIONS)
        await asyncio.sleep(BUDGET_TIME)


async def test_address_that_answers(network: Network) -> None:
    """
    It has shown that it wants to be asked, but says nothing of other ports.
    """
    pacing = Pacing()
    pacing.answered(VICTIM)
    assert all(pacing.allows("10.0.1.1", VICTIM) for _ in range(100))
    other = VICTIM[0], VICTIM[1] + 1
    sent = [pacing.allows("10.0.1.1", other) for _ in range(100)]
    assert sum(sent) == TRANSMISSIONS


async def test_ports_of_a_host(network: Network) -> None:
    """
    All ports of a host together have a limit, too.
    """
    pacing = Pacing()
    ports = range(1, 2 * HOST_TRANSMISSIONS)
    assert sum(pacing.allows("10.0.1.1", (VICTIM[0], x)) for x in ports) == (
        HOST_TRANSMISSIONS
    )


async def test_memory(network: Network) -> None:
    """
    However many addresses there are, few are remembered, and only for a minute.
    """
    pacing = Pacing()
    for number in range(3 * MAX_ADDRESSES):
        address = f"10.1.{number // 256}.{number % 256}", 9
        pacing.allows("10.0.1.1", address)
        pacing.answered((address[0], 10))
    assert len(pacing._sent) <= MAX_ADDRESSES + 1
    assert len(pacing._answered) == MAX_ADDRESSES
    assert not pacing.allows("10.0.1.1", VICTIM)
    await asyncio.sleep(BUDGET_TIME)
    assert pacing.allows("10.0.1.1", VICTIM)
