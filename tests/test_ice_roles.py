"""
Roles: kept at a restart, and repaired where both sides claim the same one.
"""

import asyncio

import pytest

from aiortc_restart import RTCIceTransport

from .agents import (
    accept_restart,
    active,
    answer_restart,
    connected_transports,
    current,
    exchange,
    offer_restart,
    pairs_selected,
    restart,
    set_tie_breaker,
    socket_address,
    states_of,
    switched,
)
from .calls import ROLLBACK, ice_transport, ice_transports, offered, peers
from .calls import restart as restart_call
from .calls import switched as switched_call
from .network import Network
from .probes import error_codes
from .utils import connected_pair, sdp_edit, until


def take_role(transport: RTCIceTransport, controlling: bool) -> None:
    """
    Determine a role anew, as libwebrtc does when it offers a restart.
    """
    for generation in transport.generations:
        generation.connection.ice_controlling = controlling


# RFC 8445 section 6.1.1
@pytest.mark.parametrize("by", ["alice", "bob", "alternating"])
async def test_role_is_kept(network: Network, by: str) -> None:
    """
    A restart keeps the roles, whoever offers it, and so there is no conflict.
    """
    async with connected_pair(network) as pair:
        peers = [pair.offerer, pair.answerer]
        for number in range(4):
            first = {"alice": 0, "bob": 1}.get(by, number % 2)
            await restart_call(peers[first], peers[1 - first])
            roles = [ice_transport(x).role for x in peers]
            assert roles == ["controlling", "controlled"]
            await asyncio.sleep(20)
        roles = [ice_transport(x).role for x in peers]
        assert roles == ["controlling", "controlled"]
        assert error_codes(network) == set()


async def test_tie_breaker_is_kept(network: Network) -> None:
    """
    The tie-breaker is the transport's, the same in all its generations.
    """
    async with connected_transports(network) as (alice, bob):
        before = (
            active(alice).connection.tie_breaker,
            active(bob).connection.tie_breaker,
        )
        assert before[0] != before[1]
        await restart(alice, bob)
        after = active(alice).connection.tie_breaker, active(bob).connection.tie_breaker
        assert after == before


# RFC 8445 sections 7.2.5.1 and 7.3.1.1
@pytest.mark.parametrize("offerer", ["alice", "bob"])
@pytest.mark.parametrize("controlling", [True, False])
@pytest.mark.parametrize("winner", ["alice", "bob"])
@pytest.mark.parametrize("delay", [0, 0.03])
async def test_conflict(
    network: Network, offerer: str, controlling: bool, winner: str, delay: float
) -> None:
    """
    Where both sides claim the same role after a restart, the tie-breaker decides, and
    the restart succeeds with one switch.
    """
    async with connected_transports(network) as (alice, bob):
        set_tie_breaker(alice, 10 if winner == "alice" else 5)
        set_tie_breaker(bob, 10 if winner == "bob" else 5)
        network.delay(delay)
        histories = [states_of(alice), states_of(bob)]
        selected = [pairs_selected(alice), pairs_selected(bob)]
        first, second = (alice, bob) if offerer == "alice" else (bob, alice)
        offer = await offer_restart(first)
        answer = await answer_restart(second, offer)
        await accept_restart(first, answer)
        take_role(alice, controlling)
        take_role(bob, controlling)
        await switched(alice, bob)
        assert (alice.role, bob.role) == (
            ("controlling", "controlled")
            if winner == "alice"
            else ("controlled", "controlling")
        )
        await exchange_all(alice, bob)
        # Consent, and with it what both sides claim, is asked for on both pairs.
        since = network.now + 0.2
        await asyncio.sleep(60)
        assert error_codes(network, since=since) == set()
        assert histories == [["completed", "connected", "completed"]] * 2
        assert [len(x) for x in selected] == [1, 1]
        assert alice._active is current(alice)
        assert bob._active is current(bob)


async def exchange_all(alice: RTCIceTransport, bob: RTCIceTransport) -> None:
    # What is under way arrives first.
    await asyncio.sleep(0.2)
    await exchange(alice, bob)


@pytest.mark.parametrize("winner", ["alice", "bob"])
async def test_conflict_in_each_restart(network: Network, winner: str) -> None:
    """
    A peer which takes the controlling role in each of its offers is met each time.
    """
    async with connected_transports(network) as (alice, bob):
        set_tie_breaker(alice, 10 if winner == "alice" else 5)
        set_tie_breaker(bob, 10 if winner == "bob" else 5)
        for number in range(6):
            first, second = (alice, bob) if number % 2 else (bob, alice)
            take_role(first, True)
            await restart(first, second)
            await exchange_all(alice, bob)
            assert {alice.role, bob.role} == {"controlling", "controlled"}
            await asyncio.sleep(20)
        await exchange_all(alice, bob)
        assert alice.state == bob.state == "completed"


# RFC 8445 section 6.1.1
async def test_conflict_during_a_restart(network: Network) -> None:
    """
    A conflict which the old pair brings to light while the new one is sought is
    repaired in both generations: an agent has one role.
    """
    async with connected_transports(network) as (alice, bob):
        set_tie_breaker(alice, 5)
        set_tie_breaker(bob, 10)
        known = {socket_address(active(x)) for x in (alice, bob)}
        network.filter = lambda x: x.source in known
        await accept_restart(
            alice, await answer_restart(bob, await offer_restart(alice))
        )
        # The peer takes the other role.
        take_role(bob, True)
        await until(lambda: alice.role == "controlled", timeout=10)
        for transport, controlling in ((alice, False), (bob, True)):
            roles = {x.connection.ice_controlling for x in transport.generations}
            assert len(transport.generations) == 2
            assert roles == {controlling}
        network.filter = None
        await switched(alice, bob)
        await exchange(alice, bob)


async def test_conflict_on_the_old_pair(network: Network) -> None:
    """
    A conflict which the old pair's requests bring to light before the restart is
    answered changes the pending generation, too.
    """
    async with connected_transports(network) as (alice, bob):
        set_tie_breaker(alice, 5)
        set_tie_breaker(bob, 10)
        offer = await offer_restart(alice)
        # The peer takes the other role while it has the offer.
        active(bob).connection.ice_controlling = True
        await until(lambda: alice.role == "controlled", timeout=10)
        answer = await answer_restart(bob, offer)
        assert bob.role == "controlling"
        since = network.now
        await accept_restart(alice, answer)
        await switched(alice, bob)
        assert error_codes(network, since=since) == set()
        assert (alice.role, bob.role) == ("controlled", "controlling")
        await exchange(alice, bob)


async def test_first_offer_with_other_credentials(network: Network) -> None:
    """
    The offerer is controlling, though its first offer has other credentials than those
    it was made with.
    """
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        offer = sdp_edit(await offerer.createOffer(), ufrag="ufrag", pwd=24 * "p")
        await offerer.setLocalDescription(offer)
        await answerer.setRemoteDescription(offerer.localDescription)
        # It would win.
        set_tie_breaker(ice_transport(offerer), 5)
        set_tie_breaker(ice_transport(answerer), 10)
        await answerer.setLocalDescription()
        await offerer.setRemoteDescription(answerer.localDescription)
        await switched_call(offerer, answerer)
        roles = [ice_transport(x).role for x in (offerer, answerer)]
        assert roles == ["controlling", "controlled"]
        assert error_codes(network) == set()


async def test_rollback_of_the_first_offer(network: Network) -> None:
    """
    Who takes its first offer back and answers is controlled, also by what was added to
    it since.
    """
    async with peers(network) as (pc, other):
        pc.createDataChannel("test")
        await offered(pc)
        pc.addTransceiver("audio")
        await offered(pc)
        await pc.setLocalDescription(ROLLBACK)
        other.addTransceiver("audio")
        await pc.setRemoteDescription(await offered(other))
        roles = [ice_transports(x)[0].role for x in (other, pc)]
        assert roles == ["controlling", "controlled"]


async def test_rollback_after_a_conflict(network: Network) -> None:
    """
    A rollback leaves a role which was repaired since the offer as it is.
    """
    async with connected_pair(network) as pair:
        transport = ice_transport(pair.offerer)
        await offered(pair.offerer, iceRestart=True)
        take_role(transport, False)
        await pair.offerer.setLocalDescription(ROLLBACK)
        assert transport.role == "controlled"
