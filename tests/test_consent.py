"""
Consent to send (RFC 7675): how it is asked for, and what keeps it.
"""

import asyncio
import itertools

import pytest
from aioice import stun

from .agents import (
    accept_restart,
    active,
    answer_restart,
    connected_transports,
    current,
    exchange,
    offer_restart,
    restart,
    set_tie_breaker,
    socket_address,
    states_of,
    switched,
)
from .consents import LIFETIME, forge_responses, time_of_loss, to
from .network import Datagram, Network
from .probes import checks, error_codes, is_request, is_response, response
from .utils import connected_pair, states, until

# Requests


async def test_requests(network: Network) -> None:
    """
    Consent is asked for each 4 to 6 seconds, once each time, and never nominates.
    """
    # RFC 7675 section 5.1
    async with connected_transports(network, disconnectedTimeout=None) as (alice, bob):
        for transport in (alice, bob):
            network.log.clear()
            began = network.now
            await asyncio.sleep(300)
            sent = checks(network, active(transport))
            times = [began, *(x.time for x in sent)]
            gaps = [b - a for a, b in itertools.pairwise(times[1:])]
            assert 4.0 <= min(gaps) < 4.5
            assert 5.5 < max(gaps) <= 6.1
            messages = [x.message for x in sent]
            identifiers = {x.transaction_id for x in messages if x is not None}
            assert len(identifiers) == len(sent) >= 49
            assert not any("USE-CANDIDATE" in x.attributes for x in messages if x)
            assert transport.state == "completed"


async def test_each_generation_asks_for_itself(network: Network) -> None:
    """
    During a restart consent is asked for on the old pair with the old credentials, and
    after it on the new pair with the new ones.
    """
    async with connected_transports(network) as (alice, bob):
        old = active(alice)
        offer = await offer_restart(alice)
        answer = await answer_restart(bob, offer)
        began = network.now
        await asyncio.sleep(30)
        assert len(checks(network, old, since=began)) >= 5
        await accept_restart(alice, answer)
        await switched(alice, bob)
        await asyncio.sleep(3.5)
        began = network.now
        await asyncio.sleep(60)
        assert checks(network, old, since=began) == []
        assert len(checks(network, current(alice), since=began)) >= 10


# What keeps it


@pytest.mark.parametrize("round_trip", [0.6, 2.0, 14.0])
async def test_slow_round_trips(network: Network, round_trip: float) -> None:
    """
    A response counts however late it is, also when more requests are outstanding.
    """
    async with connected_transports(network, disconnectedTimeout=None) as (alice, bob):
        histories = [states_of(alice), states_of(bob)]
        network.delay(round_trip / 2)
        await asyncio.sleep(600)
        assert histories == [["completed"]] * 2
        network.delay(0)
        await asyncio.sleep(round_trip)
        await exchange(alice, bob)


async def test_call_with_slow_round_trips(network: Network) -> None:
    """
    A call on a path with a round trip of 0.6 s lives for minutes.
    """
    async with connected_pair(network) as pair:
        histories = [states(pair.offerer), states(pair.answerer)]
        network.delay(0.3)
        for _ in range(10):
            await asyncio.sleep(60)
            await pair.exchange()
        assert [x.ice for x in histories] == [["completed"]] * 2
        assert [x.connection for x in histories] == [["connected"]] * 2


async def test_restart_with_slow_round_trips(network: Network) -> None:
    """
    A restart on such a path succeeds, and the new pair lives, too.
    """
    async with connected_transports(network) as (alice, bob):
        network.delay(0.3)
        await restart(alice, bob)
        await asyncio.sleep(300)
        assert alice.state == bob.state == "completed"


async def test_rare_responses(network: Network) -> None:
    """
    One response in four is enough.
    """
    async with connected_transports(network, disconnectedTimeout=None) as (alice, bob):
        histories = [states_of(alice), states_of(bob)]
        seen = 0

        def pass_one_in_four(datagram: Datagram) -> bool:
            nonlocal seen
            if is_response(datagram):
                seen += to(datagram, ours)
                return not to(datagram, ours) or seen % 4 == 0
            return True

        ours = socket_address(active(alice))
        network.filter = pass_one_in_four
        await asyncio.sleep(600)
        assert seen > 90
        assert histories == [["completed"]] * 2


async def test_response_to_an_outstanding_request(network: Network) -> None:
    """
    A response which comes after those to later requests were lost counts from then on.
    """
    async with connected_transports(network) as (alice, bob):
        ours, theirs = socket_address(active(alice)), socket_address(active(bob))
        key = str(active(bob).local.password).encode()
        asked: list[stun.Message] = []
        forge_responses(network, alice, lambda x: asked.append(x))
        await until(lambda: len(asked) == 4)
        network.filter = None
        network.send(theirs, ours, bytes(response(asked[0], ours, key)))
        network.filter = lambda x: not is_response(x)
        answered = network.now
        assert await time_of_loss(alice) == pytest.approx(LIFETIME, abs=0.1)
        assert network.now - answered == pytest.approx(LIFETIME, abs=0.1)


@pytest.mark.parametrize("controlling", [True, False])
@pytest.mark.parametrize("wins", [True, False])
async def test_role_conflict(network: Network, controlling: bool, wins: bool) -> None:
    """
    A 487 to a consent request is repaired, and is no loss of consent.
    """
    # RFC 8445 section 7.2.5.1
    async with connected_transports(network) as (alice, bob):
        set_tie_breaker(alice, 2 if wins else 1)
        set_tie_breaker(bob, 1 if wins else 2)
        histories = [states_of(alice), states_of(bob)]
        for transport in (alice, bob):
            active(transport).connection.ice_controlling = controlling
        # Alice asks first.
        theirs = socket_address(active(bob))
        network.filter = lambda x: x.source != theirs or not is_request(x)
        await until(lambda: alice.role != bob.role, timeout=10)
        network.filter = None
        assert error_codes(network) == ({487} if controlling != wins else set())
        # The greater number is in control.
        assert (alice.role == "controlling") == wins
        since = network.now + 0.1
        await asyncio.sleep(300)
        assert error_codes(network, since=since) == set()
        assert histories == [["completed"]] * 2
        await exchange(alice, bob)
