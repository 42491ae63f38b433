"""
Checks of one generation at the socket of another: what is answered, what is selected.
"""

import asyncio

import pytest
from aioice import stun
from aiortc import RTCIceParameters

from .agents import (
    Signal,
    accept_restart,
    active,
    add_candidates,
    connected_transports,
    current,
    fragment,
    offer_restart,
    pairs_selected,
    restart,
    socket_address,
    switched,
)
from .calls import ice_transport
from .calls import switched as switched_calls
from .network import Network
from .probes import checks, error_codes, open_prober
from .utils import connected_pair, negotiate, until

# Checks of another generation


async def test_late_checks_of_the_old_generation(network: Network) -> None:
    """
    While an old generation lives its checks are answered, with its own password.
    """
    async with connected_transports(network) as (alice, bob):
        old, peer = active(bob), active(alice)
        address = socket_address(old)
        await restart(alice, bob)
        prober = await open_prober(network, "alice", str(peer.local.password))
        username = f"{fragment(old)}:{fragment(peer)}"
        key = str(old.local.password)
        for _ in range(5):
            await asyncio.sleep(0.5)
            answer = await prober.check(address, username, key, ICE_CONTROLLING=1)
            assert answer.message_class == stun.Class.RESPONSE
            assert answer.check_message_integrity(key.encode())
            assert answer.attributes["XOR-MAPPED-ADDRESS"] == prober.address
        # Then nobody is there any more.
        await asyncio.sleep(1)
        prober.send_check(address, username, key, ICE_CONTROLLING=1)
        await asyncio.sleep(0.1)
        assert network.log[-1].fate == "unreachable"
        assert error_codes(network) == set()
        prober.close()


@pytest.mark.parametrize("moment", ["pending", "committed", "switched"])
async def test_checks_of_mixed_generations(network: Network, moment: str) -> None:
    """
    A check with one generation's credentials at another one's socket gets a 401, never
    a 400, for which libwebrtc drops the pair, and selects nothing.
    """
    # RFC 8489 section 9.1.3
    async with connected_transports(network) as (alice, bob):
        old, peer = active(bob), active(alice)
        offer = await offer_restart(alice)
        bob.propose(RTCIceParameters("bobs", "p" * 24), offer.parameters)
        await bob.iceGatherer.gather()
        new = bob.generations[-1]
        assert fragment(new) == "bobs"
        if moment != "pending":
            await add_candidates(bob, offer)
            bob.agree(answerer=True)
        if moment == "switched":
            answer = Signal(new.local, bob.iceGatherer.getLocalCandidates())
            await accept_restart(alice, answer)
            await switched(alice, bob)
        since = network.now
        selected = pairs_selected(bob)
        usernames = [
            f"{fragment(generation)}:{remote}"
            for generation in (old, new)
            for remote in (fragment(peer), offer.parameters.usernameFragment)
        ]
        keys = [str(x.local.password) for x in (old, new)]
        right = {
            (socket_address(old), usernames[0], keys[0]),
            (socket_address(new), usernames[3], keys[1]),
        }
        if moment == "pending":
            # Until the answer is applied, the peer's fragment is not looked at.
            right.add((socket_address(new), usernames[2], keys[1]))
        for address in (socket_address(old), socket_address(new)):
            for username in usernames:
                for key in keys:
                    if (address, username, key) in right:
                        continue
                    prober = await open_prober(network, "alice")
                    found = await prober.check(
                        *(address, username, key),
                        ICE_CONTROLLING=1,
                        USE_CANDIDATE=None,
                    )
                    assert found.error_code == 401, (address, username, key)
                    prober.close()
        assert error_codes(network, since=since) == {401}
        await asyncio.sleep(1)
        assert selected == []


@pytest.mark.parametrize("delay", [0, 0.05])
async def test_no_errors_in_restarts(network: Network, delay: float) -> None:
    """
    Restarts by either side cause no STUN error at all.
    """
    async with connected_pair(network) as pair:
        network.delay(delay)
        peers = [pair.offerer, pair.answerer]
        for _ in range(6):
            await negotiate(*peers, iceRestart=True)
            await switched_calls(*peers)
            await pair.exchange()
            peers.reverse()
        await asyncio.sleep(10)
        assert error_codes(network) == set()


async def test_priority_without_trickle(network: Network) -> None:
    """
    In restarts, too, checks have the priority of a peer-reflexive candidate where the
    peer has all candidates before.
    """
    # RFC 8445 section 7.1.1
    async with connected_transports(network) as (alice, bob):
        for _ in range(2):
            await restart(alice, bob)
            for transport in (alice, bob):
                sent = checks(network, current(transport))
                messages = [x.message for x in sent if x.message is not None]
                types = {x.attributes["PRIORITY"] >> 24 for x in messages}
                assert types == {110}


# Half a restart: a libwebrtc offerer checks its new socket against our old one


@pytest.mark.parametrize("moment", ["offered", "answered", "switched"])
@pytest.mark.parametrize("peer_is_known", [True, False])
async def test_half_a_restart(
    network: Network, moment: str, peer_is_known: bool
) -> None:
    """
    A check of a new socket which names our old fragment and the peer's new one never
    selects a pair, and both sides end on the new generation.
    """
    async with connected_pair(network) as pair:
        alice, bob = ice_transport(pair.offerer), ice_transport(pair.answerer)
        old = active(bob)
        await pair.offerer.setLocalDescription(
            await pair.offerer.createOffer(iceRestart=True)
        )
        offer = pair.offerer.localDescription
        fresh = alice.iceGatherer.getLocalParameters()
        if peer_is_known:
            await pair.answerer.setRemoteDescription(offer)
        prober = await open_prober(network, "alice", str(fresh.password))
        selected = pairs_selected(bob)

        async def nominate() -> None:
            answer = await prober.check(
                socket_address(old),
                f"{fragment(old)}:{fresh.usernameFragment}",
                str(old.local.password),
                ICE_CONTROLLING=1,
                USE_CANDIDATE=None,
            )
            assert answer.error_code == 401

        if moment == "offered":
            await nominate()
        if not peer_is_known:
            await pair.answerer.setRemoteDescription(offer)
        await pair.answerer.setLocalDescription()
        if moment == "answered":
            await nominate()
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await switched_calls(pair.offerer, pair.answerer)
        if moment == "switched":
            await nominate()
        await asyncio.sleep(5)
        assert len(selected) == 1
        assert (selected[0].remote.ip, selected[0].remote.port) == socket_address(
            current(alice)
        )
        # Nor has it been asked anything in turn.
        assert prober.requests == []
        await pair.exchange()
        prober.close()


async def test_other_ways_than_the_dead_path_come_first(network: Network) -> None:
    """
    After an outage the pairs which lead where the old one did are checked last.
    """
    network.readdress("alice", "10.0.1.1", "10.0.1.2", "10.0.1.3")
    network.readdress("bob", "10.0.2.1", "10.0.2.2", "10.0.2.3")
    async with connected_pair(network) as pair:
        selected = ice_transport(pair.offerer).getSelectedCandidatePair()
        assert selected is not None
        dead = {selected.local.ip, selected.remote.ip}
        for end in dead:
            network.cut(end)
        await until(lambda: pair.offerer.iceConnectionState == "disconnected")
        began = network.now
        await negotiate(pair.offerer, pair.answerer, iceRestart=True)
        await until(lambda: pair.offerer.iceConnectionState == "completed")
        assert network.now - began < 0.02
        chosen = ice_transport(pair.offerer).getSelectedCandidatePair()
        assert chosen is not None
        assert dead.isdisjoint({chosen.local.ip, chosen.remote.ip})
