"""
Who sends the first check of a restart, and whose check lets the answerer switch.
"""

import asyncio
import dataclasses
import itertools

import pytest
from aioice import stun

from aiortc_restart import RTCIceTransport
from aiortc_restart.ice.pacing import PACING

from .agents import (
    accept_restart,
    active,
    answer_restart,
    connected_transports,
    current,
    exchange,
    fragment,
    offer_restart,
    pairs_selected,
    socket_address,
    states_of,
    switched,
)
from .calls import answered, ice_transport, offered
from .calls import switched as switched_calls
from .network import Network
from .probes import checks, is_request, open_prober
from .utils import connected_pair, states, until

WAIT = 1.5
"How long, in seconds, an answerer leaves the first check to the offerer."


def first_check(network: Network, transport: RTCIceTransport) -> float | None:
    """
    Return when the current generation sent its first check, or `None`.
    """
    sent = checks(network, current(transport))
    return sent[0].time if sent else None


def answer_at_once(transport: RTCIceTransport) -> None:
    """
    Let it answer checks which come before the answer to its restart, as others do.
    """
    assert transport._pending is not None
    transport._pending.nomination_is_early = lambda: False  # type: ignore[method-assign]


# The first check belongs to the offerer


@pytest.mark.parametrize("latency", [0.0, 0.7, 1.4])
@pytest.mark.parametrize("offerer", ["alice", "bob"])
async def test_first_check_is_the_offerers(
    network: Network, latency: float, offerer: str
) -> None:
    """
    The answerer sends no check of the new generation before the offerer's arrives.
    """
    async with connected_transports(network) as (alice, bob):
        network.delay(0.02)
        first, second = (alice, bob) if offerer == "alice" else (bob, alice)
        await asyncio.sleep(PACING)
        answer = await answer_restart(second, await offer_restart(first))
        await asyncio.sleep(latency)
        assert first_check(network, second) is None
        accepted = network.now
        await accept_restart(first, answer)
        await switched(first, second)
        assert network.now - accepted < 0.2
        ours, theirs = first_check(network, first), first_check(network, second)
        assert ours == pytest.approx(accepted, abs=0.001)
        assert theirs is not None
        assert theirs >= accepted + 0.02


async def test_first_check_is_waited_for_so_long(network: Network) -> None:
    """
    It waits for one and a half seconds at most.
    """
    async with connected_transports(network) as (alice, bob):
        offer = await offer_restart(alice)
        await answer_restart(bob, offer)
        answered_at = network.now
        await until(lambda: first_check(network, bob) is not None)
        waited = (first_check(network, bob) or 0) - answered_at
        assert waited == pytest.approx(WAIT, abs=0.01)


async def test_first_connection_waits_for_no_check(network: Network) -> None:
    """
    Where there is no path yet, both sides check at once.
    """
    async with connected_pair(network) as pair:
        transports = [ice_transport(x) for x in (pair.offerer, pair.answerer)]
        for transport in transports:
            sent = first_check(network, transport)
            assert sent is not None
            assert sent < 0.1


@pytest.mark.parametrize("outage", [8.0, 60.0])
async def test_no_wait_without_a_path(network: Network, outage: float) -> None:
    """
    When the old path is lost, or does not answer, an answerer checks at once.
    """
    async with connected_transports(network) as (alice, bob):
        address = socket_address(active(bob))
        network.filter = lambda x: address not in (x.source, x.destination)
        await asyncio.sleep(outage)
        assert (bob.state == "failed") == (outage > 30)
        await answer_restart(bob, await offer_restart(alice))
        began = network.now
        await asyncio.sleep(0.1)
        assert first_check(network, bob) == pytest.approx(began, abs=0.01)


async def test_no_wait_for_a_lite_peer(network: Network) -> None:
    """
    A peer which sends no checks is not waited for.
    """
    # RFC 8445 section 2.5
    async with connected_transports(network) as (alice, bob):
        offer = await offer_restart(alice)
        offer.parameters.iceLite = True
        await asyncio.sleep(PACING)
        await answer_restart(bob, offer)
        began = network.now
        await asyncio.sleep(0.1)
        assert first_check(network, bob) == pytest.approx(began, abs=0.01)


async def test_no_wait_for_a_peer_which_keeps_its_sockets(network: Network) -> None:
    """
    A peer which offers a restart on the sockets it has may send no check of its own, so
    that it is not waited for.
    """
    async with connected_transports(network) as (alice, bob):
        offer = await offer_restart(alice)
        address = socket_address(active(alice))
        (kept,) = offer.candidates
        kept.ip, kept.port = address
        await asyncio.sleep(PACING)
        await answer_restart(bob, offer)
        began = network.now
        await asyncio.sleep(0.1)
        assert first_check(network, bob) == pytest.approx(began, abs=0.01)


async def test_calls_where_the_answer_is_late(network: Network) -> None:
    """
    Between two peers: whoever offers sends the first check, and what flows meanwhile
    uses the old pair.
    """
    async with connected_pair(network) as pair:
        peers = [pair.offerer, pair.answerer]
        for _ in range(2):
            histories = [states(x) for x in peers]
            offerer, answerer = peers
            answer = await answered(answerer, await offered(offerer, iceRestart=True))
            await asyncio.sleep(1)
            assert first_check(network, ice_transport(answerer)) is None
            await pair.exchange()
            await offerer.setRemoteDescription(answer)
            await switched_calls(*peers)
            await pair.exchange()
            expected = ["completed", "connected", "completed"]
            assert [x.ice for x in histories] == [expected] * 2
            await asyncio.sleep(5)
            peers.reverse()


# The switch of an answerer follows its peer


async def test_answerer_in_control_waits_for_its_peer(network: Network) -> None:
    """
    An answerer in control, whose own checks succeed after its wait, does not switch
    before the peer, which may not have the answer, has sent a check.
    """
    async with connected_transports(network) as (alice, bob):
        selected = pairs_selected(alice)
        answer = await answer_restart(alice, await offer_restart(bob))
        answer_at_once(bob)
        assert alice.role == "controlling"
        await asyncio.sleep(10)
        # Its check has been answered, since the peer's socket is there.
        assert first_check(network, alice) is not None
        assert current(alice).connected
        assert selected == []
        assert alice.state == "connected"
        await exchange(alice, bob)
        accepted = network.now
        await accept_restart(bob, answer)
        await switched(alice, bob)
        arrived = first_check(network, bob)
        assert arrived == pytest.approx(accepted, abs=0.1)
        assert len(selected) == 1
        await exchange(alice, bob)


async def test_answerer_in_control_nominates_again(network: Network) -> None:
    """
    As long as the peer may not have had the answer when a pair was nominated, the pair
    is nominated again.
    """
    async with connected_transports(network) as (alice, bob):
        answer = await answer_restart(alice, await offer_restart(bob))
        answer_at_once(bob)
        await asyncio.sleep(10)

        def nominations() -> list[float]:
            return [
                x.time
                for x in checks(network, current(alice))
                if x.message is not None and "USE-CANDIDATE" in x.message.attributes
            ]

        found = nominations()
        assert max(b - a for a, b in itertools.pairwise(found)) < 1.1
        assert network.now - found[-1] < 1.1
        await accept_restart(bob, answer)
        await switched(alice, bob)
        # The peer's check ends it.
        count = len(nominations())
        await asyncio.sleep(10)
        assert len(nominations()) <= count + 1


async def test_answerer_in_control_whose_path_is_lost(network: Network) -> None:
    """
    It does not wait when its old path is lost meanwhile.
    """
    async with connected_transports(network) as (alice, bob):
        old = socket_address(active(alice))
        answer = await answer_restart(alice, await offer_restart(bob))
        await asyncio.sleep(5)
        assert alice._active is not current(alice)
        network.filter = lambda x: old not in (x.source, x.destination)
        lost = network.now
        await until(lambda: alice._active is current(alice), timeout=40)
        assert network.now - lost <= 31
        await accept_restart(bob, answer)
        await switched(alice, bob)
        await exchange(alice, bob)


@pytest.mark.parametrize("outage", [8.0, 60.0])
async def test_answerer_in_control_without_a_path(
    network: Network, outage: float
) -> None:
    """
    Nor does it when there was no path to begin with; then the pair is in use before the
    peer has the answer, and nothing is nominated again in a hurry.
    """
    async with connected_transports(network) as (alice, bob):
        old = socket_address(active(alice))
        network.filter = lambda x: old not in (x.source, x.destination)
        await asyncio.sleep(outage)
        answer = await answer_restart(alice, await offer_restart(bob))
        generation = current(alice)
        nominate_again = generation.connection.nominate_again
        calls = 0

        def nominate_some_times() -> None:
            nonlocal calls
            calls += 1
            # A loop which does not yield would stop the test.
            assert calls < 100
            nominate_again()

        generation.connection.nominate_again = nominate_some_times  # type: ignore[method-assign]
        await until(lambda: alice._active is generation, timeout=1)
        await asyncio.sleep(5)
        await accept_restart(bob, answer)
        await switched(alice, bob)
        await exchange(alice, bob)
        assert calls < 15


async def test_answer_which_never_arrives(network: Network) -> None:
    """
    If the peer never sends a check, the restart of an answerer in control ends at its
    deadline as any other, and the call goes on.
    """
    async with connected_transports(network, restartTimeout=10) as (alice, bob):
        history = states_of(alice)
        await answer_restart(alice, await offer_restart(bob))
        await asyncio.sleep(20)
        assert history == ["completed", "connected", "completed"]
        await asyncio.sleep(5)
        assert network.sockets("alice") == 1
        await exchange(alice, bob)


async def test_controlled_side_follows_the_nomination(network: Network) -> None:
    """
    A controlled side does not switch because its own check succeeds, but when its peer
    nominates.
    """
    # RFC 8445 section 8.1.1
    async with connected_transports(network) as (alice, bob):
        await answer_restart(bob, await offer_restart(alice))
        generation = current(bob)

        def is_nomination(request: stun.Message) -> bool:
            return "USE-CANDIDATE" in request.attributes

        # A peer which nominates later, as a lite peer's would.
        selected = pairs_selected(bob)
        username = f"{fragment(generation)}:{fragment_of(alice)}"
        network.filter = lambda x: not is_request(x, is_nomination)
        prober = await open_prober(network, "alice", str(password_of(alice)))
        key = str(generation.local.password)
        address = socket_address(generation)
        await prober.check(address, username, key, ICE_CONTROLLING=1)
        await until(lambda: len(prober.requests) == 1)
        await asyncio.sleep(5)
        assert selected == []
        network.filter = None
        await prober.check(
            address, username, key, ICE_CONTROLLING=1, USE_CANDIDATE=None
        )
        await until(lambda: len(selected) == 1, timeout=0.1)
        assert (selected[0].remote.ip, selected[0].remote.port) == prober.address
        prober.close()


async def test_wait_despite_tcp_candidates(network: Network) -> None:
    """
    The port of TCP candidates is always the same, and tells nothing about sockets.
    """
    # RFC 6544 section 4.5
    async with connected_transports(network) as (alice, bob):
        for _ in range(2):
            offer = await offer_restart(alice)
            (candidate,) = offer.candidates
            offer.candidates.append(
                dataclasses.replace(candidate, port=9, protocol="tcp", tcpType="active")
            )
            answer = await answer_restart(bob, offer)
            await asyncio.sleep(WAIT - 0.1)
            assert first_check(network, bob) is None
            await accept_restart(alice, answer)
            await switched(alice, bob)


def fragment_of(transport: RTCIceTransport) -> str:
    return str(transport.iceGatherer.getLocalParameters().usernameFragment)


def password_of(transport: RTCIceTransport) -> str:
    return str(transport.iceGatherer.getLocalParameters().password)
