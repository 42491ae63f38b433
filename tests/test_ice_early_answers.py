"""
What a peer in control is told whose nominations come before its answer to a restart.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from aiortc_restart import RTCIceTransport
from aiortc_restart.ice.generation import IceGeneration

from .agents import (
    Signal,
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
from .network import Datagram, Network
from .probes import Prober, checks, error_codes, is_response, open_prober
from .utils import until

LONGEST = 3.0
"How long, in seconds, a nomination waits for its answer at most."


class Early:
    """
    A restart which bob has offered, and a socket of alice's, who is in control, which
    nominates before her answer comes.
    """

    def __init__(
        self, alice: RTCIceTransport, bob: RTCIceTransport, prober: Prober
    ) -> None:
        assert bob._pending is not None
        self.alice = alice
        self.bob = bob
        self.prober = prober
        self.offered: IceGeneration = bob._pending

    @property
    def answers(self) -> int:
        return len(self.prober.responses)

    def check(
        self, password: str | None = None, nominates: bool = True, username: str = "any"
    ) -> None:
        self.prober.send_check(
            socket_address(self.offered),
            f"{fragment(self.offered)}:{username}",
            password or str(self.offered.local.password),
            ICE_CONTROLLING=1,
            **({"USE_CANDIDATE": None} if nominates else {}),
        )


@asynccontextmanager
async def offering(
    network: Network, **options: float
) -> AsyncIterator[tuple[Early, Signal]]:
    """
    Yield the restart, and what alice answers.

    :param options: Of :func:`connected_transports`.
    """
    async with connected_transports(network, **options) as (alice, bob):
        prober = await open_prober(network, "alice")
        try:
            offer = await offer_restart(bob)
            answer = await answer_restart(alice, offer)
            yield Early(alice, bob, prober), answer
        finally:
            prober.close()


async def test_answered_when_we_can_follow(network: Network) -> None:
    """
    As long as there is a path, they are answered as soon as our own check has succeeded
    and we have switched, so that nothing is sent to a socket which the peer has closed.
    """
    network.delay(0.05)
    async with offering(network) as (early, answer):
        early.check()
        await asyncio.sleep(0.2)
        early.check()
        await asyncio.sleep(0.2)
        assert early.answers == 0
        await exchange(early.alice, early.bob)
        switches: list[float] = []
        early.bob.on(
            "selectedcandidatepairchange", lambda: switches.append(network.now)
        )
        await accept_restart(early.bob, answer)
        # One more, which comes when our check does not have its answer.
        username = str(answer.parameters.usernameFragment)
        early.check(username=username)
        sent: list[Datagram] = []
        network.tap(
            lambda x: (
                sent.append(x)
                if is_response(x) and x.destination == early.prober.address
                else None
            )
        )
        await until(lambda: early.answers == 3)
        assert [x.time for x in sent] == switches * 3
        # From then on each has its answer at once.
        early.check(username=username)
        await asyncio.sleep(0.11)
        assert early.answers == 4
        assert {x.error_code for x in early.prober.responses} == {None}
        await switched(early.alice, early.bob)
        await exchange(early.alice, early.bob)


async def test_others_are_answered_at_once(network: Network) -> None:
    """
    A check which does not nominate has its answer at once (RFC 8445 section 7.3), and
    what is not authentic is refused.
    """
    async with offering(network) as (early, _):
        early.check(nominates=False)
        await asyncio.sleep(0.01)
        assert early.answers == 1
        assert error_codes(network) == set()
        early.check("wrong")
        await asyncio.sleep(0.01)
        assert error_codes(network) == {401}


async def test_answered_in_the_end(network: Network) -> None:
    """
    One waits for three seconds at most, and the next ones do not.
    """
    async with offering(network) as (early, answer):
        early.check()
        await asyncio.sleep(LONGEST - 0.01)
        assert early.answers == 0
        await asyncio.sleep(0.02)
        assert early.answers == 1
        early.check()
        await asyncio.sleep(0.01)
        assert early.answers == 2
        await accept_restart(early.bob, answer)
        await switched(early.alice, early.bob)


async def test_answered_once_for_each_question(network: Network) -> None:
    """
    One which is sent again is the same question.
    """
    async with offering(network) as (early, _):
        early.check()
        question = network.log[-1]
        for _ in range(3):
            await asyncio.sleep(0.1)
            network.send(question.source, question.destination, question.data)
        await asyncio.sleep(LONGEST)
        assert early.answers == 1


@pytest.mark.parametrize("state", ["lost", "silent", "in doubt", "new"])
@pytest.mark.parametrize("before", [True, False])
async def test_answered_without_a_path(
    network: Network, state: str, before: bool
) -> None:
    """
    Where there is no path that works, they are answered at once, as soon as that is
    known: the peer may have nominated its pair when its answer is here (RFC 8445
    section 7.3). They are from then on, even if the path comes back.
    """
    async with offering(network, disconnectedTimeout=1.0) as (early, _):
        old = active(early.bob)
        began = network.now
        if before:
            early.check()
            await asyncio.sleep(0.01)
            assert early.answers == 0
        if state == "lost":
            await old.connection.close()
        elif state == "silent":
            network.filter = lambda x: x.destination != socket_address(old)
            await until(lambda: early.bob.state == "disconnected")
            network.filter = None
        elif state == "in doubt":
            network.filter = lambda x: x.destination != socket_address(old)
            old.connection.probe()
            await asyncio.sleep(1.1)
            assert old.connection.overdue
        else:
            early.bob._active = None
        if not before or state in ("in doubt", "new"):
            # Of these it is not told.
            early.check()
        await asyncio.sleep(0.01)
        assert network.now < began + LONGEST
        count = early.answers
        assert count == 1 + (before and state in ("in doubt", "new"))
        network.filter = None
        early.bob._active = old
        early.check()
        await asyncio.sleep(0.01)
        assert early.answers == count + 1


async def test_bounded(network: Network) -> None:
    """
    However many come, the latest hundred are answered.
    """
    async with offering(network) as (early, _):
        for _ in range(250):
            early.check()
        last = network.log[-1].message
        assert last is not None
        await asyncio.sleep(LONGEST + 0.1)
        # One is of alice's own socket, which has checked, too.
        assert early.answers == 100 - 1
        ids = [x.transaction_id for x in early.prober.responses]
        assert ids[-1] == last.transaction_id


async def test_rolled_back(network: Network) -> None:
    """
    When the restart is rolled back, nobody is answered, not even by the next one.
    """
    async with offering(network) as (early, _):
        early.check()
        await asyncio.sleep(0.01)
        early.bob.withdraw()
        answer = await answer_restart(early.alice, await offer_restart(early.bob))
        await accept_restart(early.bob, answer)
        await switched(early.alice, early.bob)
        await asyncio.sleep(LONGEST + 0.1)
        assert early.answers == 0
        await exchange(early.alice, early.bob)


@pytest.mark.parametrize("late", [1.0, 2.0, 10.0])
async def test_late_answer_of_a_peer_in_control(network: Network, late: float) -> None:
    """
    Between two of our kind: whoever is in control answers, the answer is late, and both
    have switched a moment after it.
    """
    async with connected_transports(network) as (alice, bob):
        network.delay(0.05)
        answer = await answer_restart(alice, await offer_restart(bob))
        await asyncio.sleep(late)
        await exchange(alice, bob)
        accepted = network.now
        await accept_restart(bob, answer)
        await switched(alice, bob)
        assert network.now - accepted < 0.25
        await exchange(alice, bob)
        for transport in (alice, bob):
            assert checks(network, active(transport)) != []
