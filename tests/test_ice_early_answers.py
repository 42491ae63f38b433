"""
What a peer is told whose checks come before its answer to a restart.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aiortc_restart import RTCIceTransport
from aiortc_restart.ice.generation import IceGeneration

from .agents import (
    accept_restart,
    active,
    answer_restart,
    connected_transports,
    exchange,
    fragment,
    offer_restart,
    socket_address,
    switched,
)
from .network import Network
from .probes import Prober, error_codes, open_prober
from .utils import until


class Early:
    """
    A restart which alice has offered, and a socket of bob's which checks hers.
    """

    def __init__(
        self, alice: RTCIceTransport, bob: RTCIceTransport, prober: Prober
    ) -> None:
        assert alice._pending is not None
        self.alice = alice
        self.bob = bob
        self.prober = prober
        self.pending: IceGeneration = alice._pending

    def check(self, password: str | None = None) -> None:
        self.prober.send_check(
            socket_address(self.pending),
            f"{fragment(self.pending)}:bob",
            password or str(self.pending.local.password),
            **{"ICE-CONTROLLED": 1},
        )


@asynccontextmanager
async def offering(network: Network) -> AsyncIterator[Early]:
    async with connected_transports(network) as (alice, bob):
        prober = await open_prober(network, "bob")
        await offer_restart(alice)
        yield Early(alice, bob, prober)
        prober.close()


async def test_answered_with_the_answer(network: Network) -> None:
    """
    As long as there is a path, they are answered as soon as the answer is here.
    """
    async with connected_transports(network) as (alice, bob):
        prober = await open_prober(network, "bob")
        answer = await answer_restart(bob, await offer_restart(alice))
        early = Early(alice, bob, prober)
        early.check()
        early.check()
        await asyncio.sleep(1)
        assert prober.responses == []
        await exchange(alice, bob)
        accepted = network.now
        await accept_restart(alice, answer)
        await until(lambda: len(prober.responses) == 2)
        assert network.now == pytest.approx(accepted, abs=0.01)
        assert {x.error_code for x in prober.responses} == {None}
        # From then on each has its answer at once.
        early.check()
        await asyncio.sleep(0.01)
        assert len(prober.responses) == 3
        await switched(alice, bob)
        await exchange(alice, bob)
        prober.close()


async def test_answered_once_for_each_question(network: Network) -> None:
    """
    One which is sent again is the same question.
    """
    async with offering(network) as early:
        early.check()
        question = network.log[-1]
        for _ in range(3):
            await asyncio.sleep(0.1)
            network.send(question.source, question.destination, question.data)
        await asyncio.sleep(0.1)
        early.pending.connection.answer_checks()
        await asyncio.sleep(1)
        assert len(early.prober.responses) == 1


@pytest.mark.parametrize("state", ["lost", "silent", "new"])
async def test_answered_without_a_path(network: Network, state: str) -> None:
    """
    Where there is no path that works, they are answered at once: the peer may have
    nominated its pair when its answer is here (RFC 8445 section 7.3).
    """
    async with offering(network) as early:
        if state == "lost":
            await active(early.alice).connection.close()
        elif state == "silent":
            network.cut(socket_address(active(early.bob))[0])
            await until(lambda: early.alice.state == "disconnected")
            network.heal()
        else:
            early.alice._active = None
        early.check()
        await asyncio.sleep(0.01)
        assert len(early.prober.responses) == 1


async def test_refused_at_once(network: Network) -> None:
    """
    What is not authentic is refused, and does not wait.
    """
    async with offering(network) as early:
        early.check("wrong")
        await asyncio.sleep(0.01)
        assert error_codes(network) == {401}


async def test_bounded(network: Network) -> None:
    """
    However many come, the latest hundred are answered.
    """
    async with offering(network) as early:
        for _ in range(250):
            early.check()
        last = network.log[-1].message
        assert last is not None
        await asyncio.sleep(0.1)
        early.pending.connection.answer_checks()
        await asyncio.sleep(0.1)
        assert len(early.prober.responses) == 100
        ids = [x.transaction_id for x in early.prober.responses]
        assert ids[-1] == last.transaction_id


async def test_rolled_back(network: Network) -> None:
    """
    When the restart is rolled back, nobody is answered.
    """
    async with offering(network) as early:
        early.check()
        await asyncio.sleep(0.01)
        early.alice.discard()
        await asyncio.sleep(5)
        assert early.prober.responses == []
        assert network.sockets("alice") == 1
        await exchange(early.alice, early.bob)
