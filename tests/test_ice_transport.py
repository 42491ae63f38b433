"""
The transport: several generations behind one object which stays the same.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiortc.exceptions import InvalidStateError

from aiortc_restart.ice import create_credentials
from aiortc_restart.ice.inbox import INBOX_SIZE

from .agents import (
    accept_restart,
    active,
    answer_restart,
    connected_transports,
    current,
    described,
    exchange,
    make_transport,
    offer_restart,
    pairs_selected,
    restart,
    rtp_like,
    socket_address,
    switched,
)
from .network import Network
from .utils import until

# Sending and receiving


async def test_exchange(network: Network) -> None:
    """
    Datagrams pass before and after a restart, on other sockets.
    """
    async with connected_transports(network) as (alice, bob):
        await exchange(alice, bob)
        before = socket_address(active(alice)), socket_address(active(bob))
        await restart(alice, bob)
        await exchange(alice, bob)
        after = socket_address(active(alice)), socket_address(active(bob))
        assert not set(before) & set(after)
        assert (network.log[-1].source, network.log[-1].destination) == after[::-1]


async def test_same_objects_after_a_restart(network: Network) -> None:
    """
    `_connection` and the selected pair are those of the generation which sends.
    """
    async with connected_transports(network) as (alice, bob):
        gatherer = alice.iceGatherer
        offer = await offer_restart(alice)
        answer = await answer_restart(bob, offer)
        old = alice._connection
        assert old is active(alice).connection
        await accept_restart(alice, answer)
        assert alice._connection is old
        await switched(alice, bob)
        assert alice.iceGatherer is gatherer
        assert alice._connection is current(alice).connection is not old
        assert alice.iceGatherer._connection is alice._connection
        pair = alice.getSelectedCandidatePair()
        assert pair is not None
        assert pair.local.usernameFragment == offer.parameters.usernameFragment
        assert pair.remote.usernameFragment == answer.parameters.usernameFragment
        assert (pair.local.ip, pair.local.port) == socket_address(current(alice))
        assert (pair.remote.ip, pair.remote.port) == socket_address(current(bob))


async def test_old_path_during_a_restart(network: Network) -> None:
    """
    The old pair carries the call until the new one is selected.
    """
    # RFC 8445 section 12.1
    async with connected_transports(network) as (alice, bob):
        before = alice.getSelectedCandidatePair()
        offer = await offer_restart(alice)
        await exchange(alice, bob)
        answer = await answer_restart(bob, offer)
        await exchange(alice, bob)
        assert alice.getSelectedCandidatePair() == before
        await accept_restart(alice, answer)
        await exchange(alice, bob)
        await switched(alice, bob)
        await exchange(alice, bob)


async def test_receive_from_all_generations(network: Network) -> None:
    """
    For three seconds after the switch the old socket still receives; then it closes.
    """
    # RFC 8445 section 8.3.1
    async with connected_transports(network) as (alice, bob):
        old, peer = active(alice), socket_address(active(bob))
        address = socket_address(old)
        await restart(alice, bob)
        switched_at = network.now
        await asyncio.sleep(1.4)
        network.send(peer, address, rtp_like("late"))
        async with asyncio.timeout(0.05):
            assert await alice._recv() == rtp_like("late")
        await asyncio.sleep(1.5)
        assert network.sockets("alice") == 2
        await until(lambda: network.sockets("alice") == 1)
        assert network.now - switched_at == pytest.approx(3.0, abs=0.1)
        assert alice.generations == [current(alice)]
        network.send(peer, address, b"too late")
        datagram = network.log[-1]
        await asyncio.sleep(0.1)
        assert datagram.fate == "unreachable"


async def test_fast_restarts_keep_few_generations(network: Network) -> None:
    """
    Restarts which follow each other in less than three seconds do not pile up.
    """
    async with connected_transports(network) as (alice, bob):
        for _ in range(10):
            await restart(alice, bob)
            await exchange(alice, bob)
            assert len(alice.generations) <= 3
        assert network.now < 3
        await until(lambda: network.sockets("alice") == 1, timeout=3.1)
        await exchange(alice, bob)


async def test_recv_while_the_path_is_lost(network: Network) -> None:
    """
    Who waits for a datagram goes on waiting when the path is lost, until it is back.
    """
    async with connected_transports(network) as (alice, bob):
        receiving = asyncio.create_task(alice._recv())
        network.cut()
        await until(lambda: alice.state == bob.state == "failed", timeout=40)
        await asyncio.sleep(100)
        assert not receiving.done()
        network.heal()
        await restart(alice, bob)
        await bob._send(rtp_like("back"))
        async with asyncio.timeout(1):
            assert await receiving == rtp_like("back")


async def test_send_while_the_path_is_lost(network: Network) -> None:
    """
    A datagram without a path is dropped and counted, as UDP would, without an error.
    """
    async with connected_transports(network) as (alice, bob):
        network.cut()
        await alice._send(rtp_like("on the way"))
        assert alice._dropped == 0
        await until(lambda: alice.state == "failed", timeout=40)
        sent = len(network.log)
        for _ in range(3):
            await alice._send(rtp_like("lost"))
        assert alice._dropped == 3
        assert len(network.log) == sent
        network.heal()
        await restart(alice, bob)
        await exchange(alice, bob)
        assert alice._dropped == 3


async def test_send_before_a_path(network: Network) -> None:
    """
    Before there is a path datagrams are dropped, too.
    """
    transport = make_transport(network, "alice")
    await transport._send(rtp_like("early"))
    assert transport._dropped == 1
    await transport.stop()


async def test_recv_and_send_after_stop(network: Network) -> None:
    """
    After stop(), and only then, sending and receiving raise.
    """
    async with connected_transports(network) as (alice, bob):
        receiving = asyncio.create_task(alice._recv())
        await bob._send(rtp_like("unread"))
        await asyncio.sleep(0.01)
        assert await receiving == rtp_like("unread")
        receiving = asyncio.create_task(alice._recv())
        await asyncio.sleep(0)
        await alice.stop()
        with pytest.raises(ConnectionError):
            await receiving
        with pytest.raises(ConnectionError):
            await alice._recv()
        with pytest.raises(ConnectionError):
            await alice._send(rtp_like("no more"))


async def test_inbox_is_bounded(network: Network) -> None:
    """
    What nobody reads is kept up to a limit, and the rest is dropped.
    """
    async with connected_transports(network) as (alice, bob):
        for number in range(INBOX_SIZE + 100):
            await bob._send(rtp_like(number))
        await asyncio.sleep(0.1)
        received = [await alice._recv() for _ in range(INBOX_SIZE)]
        assert received == [rtp_like(number) for number in range(INBOX_SIZE)]
        assert len(alice._gatherer.inbox) == 0
        await exchange(alice, bob)


async def test_stop_with_a_full_inbox(network: Network) -> None:
    """
    A transport can be stopped whatever it has received.
    """
    async with connected_transports(network) as (alice, bob):
        for _ in range(INBOX_SIZE + 1):
            await bob._send(rtp_like("unread"))
        await asyncio.sleep(0.1)
        await alice.stop()
        assert alice.state == "closed"
        with pytest.raises(ConnectionError):
            await alice._recv()


@pytest.mark.parametrize("steps", range(6))
async def test_stop_during_a_restart(network: Network, steps: int) -> None:
    """
    A transport may be stopped at each step of a restart, and leaves nothing behind.
    """
    async with connected_transports(network) as (alice, bob):
        actions: list[Callable[[], Awaitable[None] | None]] = [
            lambda: alice.propose(create_credentials()),
            alice.iceGatherer.gather,
            lambda: bob.propose(create_credentials(), described(alice).parameters),
            bob.iceGatherer.gather,
            lambda: bob.agree(answerer=True),
            lambda: alice.propose(remote=described(bob).parameters),
            lambda: alice.agree(answerer=False),
        ]
        for action in actions[: steps + 1]:
            result = action()
            if result is not None:
                await result
        await alice.stop()
        await bob.stop()
        assert network.sockets("alice") == network.sockets("bob") == 0
        assert alice.generations == bob.generations == []


async def test_stop_twice(network: Network) -> None:
    """
    A second stop() does nothing, and what comes later is refused or ignored.
    """
    async with connected_transports(network) as (alice, _):
        await alice.stop()
        await alice.stop()
        await alice.addRemoteCandidate(None)
        with pytest.raises(InvalidStateError):
            await alice.start(create_credentials())
        assert alice.state == "closed"


# The selected pair


async def test_selected_pair(network: Network) -> None:
    """
    There is no selected pair before the first connection, and a loss does not unset it.
    """
    alice = make_transport(network, "alice")
    assert alice.getSelectedCandidatePair() is None
    await alice.stop()
    async with connected_transports(network) as (alice, bob):
        selected = pairs_selected(alice)
        pair = alice.getSelectedCandidatePair()
        assert pair is not None
        assert (pair.remote.ip, pair.remote.port) == socket_address(active(bob))
        network.cut()
        await until(lambda: alice.state == "failed", timeout=40)
        assert alice.getSelectedCandidatePair() == pair
        assert selected == []
