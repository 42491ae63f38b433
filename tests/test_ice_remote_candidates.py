"""
Candidates, credentials and gathering: in any order, and each to its generation.
"""

import asyncio
import itertools
import re

import pytest
from aiortc import RTCIceCandidate
from aiortc.exceptions import OperationError

import aiortc_restart
from aiortc_restart import RTCIceTransport
from aiortc_restart.ice import create_credentials

from .agents import (
    Signal,
    accept_restart,
    add_candidates,
    answer_restart,
    connected_transports,
    current,
    described,
    exchange,
    fragment,
    offer_restart,
    restart,
    socket_address,
    switched,
)
from .network import Network


def candidate(username: str | None, port: int = 9) -> aiortc_restart.RTCIceCandidate:
    return aiortc_restart.RTCIceCandidate(
        component=1,
        foundation="1",
        ip="10.0.9.9",
        port=port,
        priority=1,
        protocol="udp",
        type="host",
        usernameFragment=username,
    )


def ports(transport: RTCIceTransport) -> set[int]:
    return {x.port for x in transport.getRemoteCandidates()}


# Remote candidates, credentials and gathering, in any order


def orders() -> list[tuple[str, ...]]:
    return [
        order
        for order in itertools.permutations(("gather", "describe", "add", "commit"))
        # A description brings credentials before its candidates.
        if order.index("describe") < min(order.index("add"), order.index("commit"))
    ]


@pytest.mark.parametrize("order", orders(), ids="-".join)
async def test_orders_of_the_offerer(network: Network, order: tuple[str, ...]) -> None:
    """
    A restart works in any order of its end of gathering, the peer's credentials, its
    candidates, and the answer.
    """
    async with connected_transports(network) as (alice, bob):
        alice.propose(create_credentials())
        # Gathering begins at once and ends in its turn.
        gathering = asyncio.Event()
        gather = current_gathering(alice, gathering)
        remote = Signal(alice.iceGatherer.getLocalParameters(), [])
        answer = await answer_restart(bob, remote)
        for step in order:
            if step == "gather":
                gathering.set()
                await gather
            elif step == "describe":
                alice.propose(remote=answer.parameters)
            elif step == "add":
                await add_candidates(alice, answer)
            else:
                alice.agree(answerer=False)
            await asyncio.sleep(0.5)
        await switched(alice, bob)
        assert ports(alice) == {answer.candidates[0].port}
        await exchange(alice, bob)


@pytest.mark.parametrize(
    "order",
    list(itertools.permutations(("gather", "add", "commit"))),
    ids="-".join,
)
async def test_orders_of_the_answerer(network: Network, order: tuple[str, ...]) -> None:
    """
    So it does for the answerer, whose peer's credentials come with the offer.
    """
    async with connected_transports(network) as (alice, bob):
        offer = await offer_restart(alice)
        bob.propose(create_credentials(), offer.parameters)
        gathering = asyncio.Event()
        gather = current_gathering(bob, gathering)
        for step in order:
            if step == "gather":
                gathering.set()
                await gather
            elif step == "add":
                await add_candidates(bob, offer)
            else:
                bob.agree(answerer=True)
                # The answer without candidates, which the peer learns from checks.
                await accept_restart(alice, Signal(described(bob).parameters, []))
            await asyncio.sleep(0.5)
        await switched(alice, bob)
        await exchange(alice, bob)


async def test_answer_before_gathering(network: Network) -> None:
    """
    Checks begin by gathering, if nobody has asked for it before.
    """
    async with connected_transports(network) as (alice, bob):
        alice.propose(create_credentials())
        offer = Signal(alice.iceGatherer.getLocalParameters(), [])
        await accept_restart(alice, await answer_restart(bob, offer))
        await switched(alice, bob)
        await exchange(alice, bob)


def current_gathering(
    transport: RTCIceTransport, until_set: asyncio.Event
) -> asyncio.Task[None]:
    """
    Let a transport gather, but not end before an event is set.
    """
    connection = transport.iceGatherer._connection
    gather_candidates = connection.gather_candidates

    async def gather_later() -> None:
        await until_set.wait()
        await gather_candidates()

    connection.gather_candidates = gather_later  # type: ignore[method-assign]
    return asyncio.create_task(transport.iceGatherer.gather())


# Candidates of other generations (webrtc-pc #dom-peerconnection-addicecandidate)


async def test_add_remote_candidate_of_a_generation(network: Network) -> None:
    """
    While a restart is pending, a candidate goes to the generation which it names.
    """
    async with connected_transports(network) as (alice, bob):
        old = bob.remote_parameters
        assert old is not None
        # A restart of one's own has no remote credentials before the answer.
        offer = await offer_restart(alice)
        bob.propose(create_credentials(), offer.parameters)
        before = ports(bob)
        await bob.addRemoteCandidate(candidate(offer.parameters.usernameFragment, 1))
        await bob.addRemoteCandidate(candidate(old.usernameFragment, 2))
        await bob.addRemoteCandidate(candidate(None, 3))
        pending = bob.iceGatherer.generation  # type: ignore[attr-defined]
        found = {x.port for x in pending.connection.remote_candidates}
        assert found == {1, 3}
        # The old one's candidates had ended.
        assert ports(bob) == before


async def test_add_remote_candidate_during_ones_own_restart(network: Network) -> None:
    """
    Before the answer all candidates are of the old generation.
    """
    async with connected_transports(network) as (alice, bob):
        await restart(alice, bob)
        old = current(bob).local
        await offer_restart(alice)
        await alice.addRemoteCandidate(candidate(old.usernameFragment, 1))
        await alice.addRemoteCandidate(candidate(None, 2))
        pending = alice.iceGatherer.generation  # type: ignore[attr-defined]
        assert pending.connection.remote_candidates == []
        assert {1, 2} < ports(alice)


@pytest.mark.parametrize("moment", ["pending", "committed", "switched", "retired"])
async def test_add_remote_candidate_of_no_generation(
    network: Network, moment: str
) -> None:
    """
    Candidates of retired and of unknown generations are refused, and poison nothing.
    """
    async with connected_transports(network) as (alice, bob):
        strange = ["unknown"]
        old = fragment(current(alice))
        offer = await offer_restart(alice)
        bob.propose(create_credentials(), offer.parameters)
        await bob.iceGatherer.gather()
        await add_candidates(bob, offer)
        if moment != "pending":
            bob.agree(answerer=True)
            strange.append(old)
        if moment in ("switched", "retired"):
            await accept_restart(alice, described(bob))
            await switched(alice, bob)
        if moment == "retired":
            await asyncio.sleep(5)
        before = ports(bob)
        for username in strange:
            with pytest.raises(OperationError, match=re.escape(f'"{username}"')):
                await bob.addRemoteCandidate(candidate(username))
        assert ports(bob) == before
        if moment == "pending":
            bob.agree(answerer=True)
        if moment in ("pending", "committed"):
            await accept_restart(alice, described(bob))
        await switched(alice, bob)
        (remote,) = bob.getRemoteCandidates()
        assert (remote.ip, remote.port) == socket_address(current(alice))


async def test_add_remote_candidate_of_the_base(network: Network) -> None:
    """
    aiortc's own candidates, which name no generation, go to the latest one.
    """
    async with connected_transports(network) as (alice, bob):
        offer = await offer_restart(alice)
        answer = await answer_restart(bob, Signal(offer.parameters, []))
        (found,) = offer.candidates
        fields = {k: v for k, v in vars(found).items() if k != "usernameFragment"}
        await bob.addRemoteCandidate(RTCIceCandidate(**fields))
        await accept_restart(alice, answer)
        await switched(alice, bob)
        assert ports(bob) == {found.port}
