"""
What is dropped is counted, and logged once a minute.
"""

import asyncio
import logging

import pytest

from aiortc_restart.ice.drops import REPORT_INTERVAL, Allowance, Drops

from .network import Network


async def test_report(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """
    There is one line a minute while something is dropped, and none otherwise.
    """
    caplog.set_level(logging.INFO, logger="aiortc_restart")
    drops = Drops()
    for _ in range(10_000):
        drops.count("stranger")
    drops.count("empty")
    await asyncio.sleep(REPORT_INTERVAL + 1)
    drops.count("empty")
    await asyncio.sleep(10 * REPORT_INTERVAL)
    assert [x.message for x in caplog.records] == [
        "10001 datagrams were dropped within 60 seconds: 10000 stranger, 1 empty",
        "1 datagrams were dropped within 60 seconds: 1 empty",
    ]
    # In a call without a flood nobody is alarmed.
    assert [x.levelname for x in caplog.records] == ["WARNING", "INFO"]
    assert drops.counts == {"stranger": 10_000, "empty": 2}


async def test_close(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """
    When it has been closed nothing is logged, nor waits to be.
    """
    drops = Drops()
    drops.count("empty")
    drops.close()
    drops.count("empty")
    await asyncio.sleep(2 * REPORT_INTERVAL)
    assert caplog.records == []
    assert drops.counts.total() == 2


async def test_failures(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """
    What a layer above raises is logged with its traceback, once a minute for each line
    of code; what is usual is only counted.
    """
    caplog.set_level(logging.INFO, logger="aiortc_restart")
    drops = Drops()

    def fail(number: int, quiet: bool = False) -> None:
        try:
            if number:
                raise IndexError(number)
            raise ValueError(number)
        except Exception as exc:
            drops.fail(exc, quiet=quiet)

    for _ in range(100):
        fail(0)
        fail(1)
    fail(1, quiet=True)
    assert [x.message for x in caplog.records] == [
        "A datagram is dropped: ValueError(0)",
        "A datagram is dropped: IndexError(1)",
    ]
    assert all(x.exc_info for x in caplog.records)
    assert drops.counts == {"layer above": 201}
    await asyncio.sleep(REPORT_INTERVAL)
    fail(0)
    assert len(caplog.records) == 4
    drops.close()


async def test_allowance(network: Network) -> None:
    """
    So much may be done in a second, and as much in the next.
    """
    allowance = Allowance(3)
    for _ in range(2):
        assert allowance.available
        assert [allowance.take() for _ in range(5)] == [True] * 3 + [False] * 2
        assert not allowance.available
        await asyncio.sleep(1)
