"""
Nomination: with the first check where there is no choice, else after one (RFC 8445
section 8.1.1).
"""

import asyncio

import pytest

from aiortc_restart import RTCIceTransport

from .agents import (
    accept_restart,
    active,
    add_candidates,
    answer_restart,
    connected_transports,
    current,
    described,
    exchange,
    make_transport,
    offer_restart,
    pairs_selected,
    set_tie_breaker,
    switched,
    unreachable,
)
from .network import Datagram, Network
from .probes import checks
from .utils import event

DELAY = 0.05
"Seconds which each datagram is on its way."


def nominates(datagram: Datagram) -> bool:
    message = datagram.message
    return message is not None and "USE-CANDIDATE" in message.attributes


async def start(alice: RTCIceTransport, bob: RTCIceTransport) -> list[float]:
    """
    Connect two transports which know each other's candidates, and return when each has
    a pair.
    """
    loop = asyncio.get_running_loop()

    async def connect(local: RTCIceTransport, remote: RTCIceTransport) -> float:
        await local.start(remote.local_parameters)
        return loop.time() - began

    began = loop.time()
    return list(await asyncio.gather(connect(alice, bob), connect(bob, alice)))


async def gathered(
    network: Network, choice: bool
) -> tuple[RTCIceTransport, RTCIceTransport]:
    """
    Return two transports which know each other's candidates.

    :param choice: Whether alice knows another candidate, too.
    """
    alice, bob = make_transport(network, "alice"), make_transport(network, "bob")
    for transport in (alice, bob):
        await transport.iceGatherer.gather()
    for local, remote in ((alice, bob), (bob, alice)):
        await add_candidates(local, described(remote))
    if choice:
        await add_candidates(alice, unreachable())
    network.delay(DELAY)
    return alice, bob


async def test_only_pair(network: Network) -> None:
    """
    The only pair is nominated by its first check, so that both sides have it after one
    round trip, and by no other request.
    """
    alice, bob = await gathered(network, choice=False)
    assert await start(alice, bob) == pytest.approx([2 * DELAY] * 2, abs=0.001)
    await asyncio.sleep(60)
    sent = checks(network, current(alice))
    assert [nominates(x) for x in sent] == [True] + [False] * (len(sent) - 1)
    assert len(sent) > 10
    await exchange_later(alice, bob)
    await asyncio.gather(alice.stop(), bob.stop())


async def test_choice(network: Network) -> None:
    """
    Of several pairs one is nominated which has proved valid, and the first that has.
    """
    alice, bob = await gathered(network, choice=True)
    times = await start(alice, bob)
    # Who is in control sends on the pair at once (RFC 8445 section 12.1).
    assert times == pytest.approx([2 * DELAY, 3 * DELAY], abs=0.001)
    await asyncio.sleep(1)
    nominations = [x for x in checks(network, current(alice)) if nominates(x)]
    assert [x.time for x in nominations] == pytest.approx([2 * DELAY], abs=0.001)
    await asyncio.gather(alice.stop(), bob.stop())


async def test_choice_comes_later(network: Network) -> None:
    """
    If the first pair stays unanswered, another one is nominated when it proves valid,
    and the first is not any more.
    """
    alice, bob = make_transport(network, "alice"), make_transport(network, "bob")
    for transport in (alice, bob):
        await transport.iceGatherer.gather()
    await add_candidates(alice, unreachable())
    await add_candidates(bob, described(alice))
    # The peer's check does not give it the pair.
    selected = pairs_selected(alice)
    starting = asyncio.create_task(alice.start(bob.local_parameters))
    await asyncio.sleep(0.2)
    assert [nominates(x) for x in checks(network, current(alice))] == [True]
    await add_candidates(alice, described(bob))
    await bob.start(alice.local_parameters)
    await starting
    await asyncio.sleep(60)
    assert [x.remote.ip for x in selected] == ["10.0.2.1"]
    await exchange(alice, bob)
    await asyncio.gather(alice.stop(), bob.stop())


@pytest.mark.parametrize("by", ["alice", "bob"])
async def test_restart_on_a_living_path(network: Network, by: str) -> None:
    """
    A restart whose only pair works is done one round trip after the answer, whoever is
    in control.
    """
    async with connected_transports(network) as transports:
        network.delay(DELAY)
        offerer, answerer = transports if by == "alice" else transports[::-1]
        answer = await answer_restart(answerer, await offer_restart(offerer))
        await asyncio.sleep(DELAY)
        began = network.now
        switching = asyncio.create_task(event(offerer, "selectedcandidatepairchange"))
        await accept_restart(offerer, answer)
        await switching
        assert active(offerer) is current(offerer)
        assert network.now - began == pytest.approx(2 * DELAY, abs=0.002)
        await switched(offerer, answerer)
        await exchange_later(offerer, answerer)


async def test_role_conflict(network: Network) -> None:
    """
    Who learns from the answer to its first check that the peer is in control nominates
    nothing any more.
    """
    alice, bob = await gathered(network, choice=False)
    bob._connection.ice_controlling = True
    set_tie_breaker(bob, 2**64 - 1)
    set_tie_breaker(alice, 0)
    await start(alice, bob)
    await asyncio.sleep(30)
    assert (alice.role, bob.role) == ("controlled", "controlling")
    late = [x for x in checks(network, current(alice), since=0.2) if nominates(x)]
    assert late == []
    await exchange_later(alice, bob)
    await asyncio.gather(alice.stop(), bob.stop())


async def exchange_later(first: RTCIceTransport, second: RTCIceTransport) -> None:
    """
    Send a datagram each way, on a network which takes its time.
    """
    await asyncio.sleep(1)
    await exchange(first, second)
