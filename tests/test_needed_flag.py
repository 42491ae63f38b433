"""
The flag behind the event: when it is fired, without a connection (webrtc-pc
#dfn-update-the-negotiation-needed-flag).
"""

import asyncio
import threading

import pytest

from aiortc_restart.negotiation.needed import NegotiationNeeded

from .network import Network


class Flag:
    """
    A flag whose surroundings are variables.
    """

    def __init__(self) -> None:
        self.busy = self.needed = False
        self.stable = True
        self.fired = 0
        self.flag = NegotiationNeeded(
            busy=lambda: self.busy,
            check=lambda: self.needed,
            stable=lambda: self.stable,
            fire=self.fire,
        )

    def fire(self) -> None:
        self.fired += 1

    async def settled(self) -> int:
        for _ in range(5):
            await asyncio.sleep(0)
        return self.fired


async def test_coalesced(network: Network) -> None:
    """
    Many changes fire once, later, and again only after a return to stable.
    """
    x = Flag()
    x.needed = True
    for _ in range(3):
        x.flag.update()
        x.flag.update()
    assert x.fired == 0
    assert await x.settled() == 1
    x.flag.update()
    assert await x.settled() == 1
    x.flag.reset()
    assert await x.settled() == 2


async def test_silenced(network: Network) -> None:
    """
    What is satisfied before the event would be fired fires nothing, and what comes up
    later does.
    """
    x = Flag()
    x.needed = True
    x.flag.update()
    x.needed = False
    assert await x.settled() == 0
    x.needed = True
    x.flag.update()
    assert await x.settled() == 1
    # It is cleared when nothing is needed any more.
    x.needed = False
    x.flag.update()
    assert await x.settled() == 1
    x.needed = True
    x.flag.update()
    assert await x.settled() == 2


@pytest.mark.parametrize("begins", ["before", "after"])
async def test_busy(network: Network, begins: str) -> None:
    """
    While steps of a negotiation run it waits for their end.
    """
    x = Flag()
    x.needed = True
    x.busy = begins == "before"
    x.flag.update()
    x.busy = True
    assert await x.settled() == 0
    x.busy = False
    assert await x.settled() == 0
    x.flag.chain_emptied()
    assert x.fired == 0
    assert await x.settled() == 1
    x.flag.chain_emptied()
    assert await x.settled() == 1


async def test_without_a_loop(network: Network) -> None:
    """
    What comes up where no event loop runs is looked at when a step has ended, or
    something else is asked.
    """
    for look in ("chain_emptied", "look_again"):
        x = Flag()
        x.needed = True
        thread = threading.Thread(target=x.flag.update)
        thread.start()
        thread.join()
        assert await x.settled() == 0
        for _ in range(2):
            getattr(x.flag, look)()
            assert await x.settled() == 1


async def test_not_stable(network: Network) -> None:
    """
    Outside of stable it fires nothing, and waits for the return.
    """
    x = Flag()
    x.needed = True
    x.flag.update()
    x.stable = False
    assert await x.settled() == 0
    x.flag.update()
    assert await x.settled() == 0
    x.stable = True
    x.flag.reset()
    assert await x.settled() == 1
