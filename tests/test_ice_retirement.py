"""
What becomes of a generation which has been left.
"""

import asyncio

import pytest

from .agents import (
    active,
    connected_transports,
    current,
    fragment,
    restart,
    rtp_like,
    socket_address,
)
from .network import Network
from .probes import checks, open_prober
from .utils import until

INTERVAL = 0.1
"Seconds from one datagram of a peer which stays with its pair to the next."

PAUSE = 1.5
"How long, in seconds, none comes when it has left the pair."

LONGEST = 10.0
"How long, in seconds, it is heard there in any case."


@pytest.mark.parametrize("stays", [1.4, 2.0, 3.0, 5.0, 8.0, 20.0])
async def test_peer_which_stays(network: Network, stays: float) -> None:
    """
    A peer which goes on sending on the old pair, after the three seconds, is heard
    there, until it does not any more, but not for ever.
    """
    async with connected_transports(network) as (alice, bob):
        old, peer = active(alice), socket_address(active(bob))
        address = socket_address(old)
        await restart(alice, bob)
        left_at = network.now
        sent = 0
        while network.now - left_at < stays and network.sockets("alice") == 2:
            network.send(peer, address, str(sent).encode())
            async with asyncio.timeout(INTERVAL / 2):
                assert await alice._recv() == str(sent).encode()
            sent += 1
            await asyncio.sleep(INTERVAL)
        assert sent == pytest.approx(min(stays, LONGEST) / INTERVAL, abs=2)
        await until(lambda: network.sockets("alice") == 1)
        lasted = network.now - left_at
        # It is looked for at intervals.
        shortest, longest = (max(3.0, stays + x * PAUSE) for x in (1, 2))
        assert min(shortest, LONGEST) - INTERVAL < lasted
        assert lasted < min(longest, LONGEST) + INTERVAL
        assert alice.generations == [current(alice)]


async def test_peer_which_stays_is_not_answered(network: Network) -> None:
    """
    After the three seconds its checks have no answer, so that it leaves the pair, and
    the pair is not checked either.
    """
    async with connected_transports(network) as (alice, bob):
        old, peer = active(alice), socket_address(active(bob))
        address = socket_address(old)
        username = f"{fragment(old)}:{fragment(active(bob))}"
        password = str(old.local.password)
        prober = await open_prober(network, "bob")
        await restart(alice, bob)
        left_at = network.now
        answered = []
        while network.now - left_at < 9:
            network.send(peer, address, rtp_like("stays"))
            before = len(prober.responses)
            prober.send_check(address, username, password, **{"ICE-CONTROLLED": 1})
            await asyncio.sleep(INTERVAL)
            answered.append((network.now - left_at, len(prober.responses) > before))
        assert all(x for time, x in answered if time < 3)
        assert not any(x for time, x in answered if time > 3 + INTERVAL)
        assert checks(network, old, since=left_at + 3) == []
        assert network.sockets("alice") == 2
        prober.close()
    assert network.sockets("alice") == 0


async def test_peer_which_stays_while_restarts_go_on(network: Network) -> None:
    """
    However many generations it stays with, few are kept.
    """
    async with connected_transports(network) as (alice, bob):
        old = []
        for _ in range(5):
            old.append((socket_address(active(bob)), socket_address(active(alice))))
            await restart(alice, bob)
            for _ in range(17):
                for source, destination in old:
                    network.send(source, destination, rtp_like("stays"))
                await asyncio.sleep(INTERVAL)
            assert network.sockets("alice") <= 3
