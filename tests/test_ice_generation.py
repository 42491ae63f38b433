"""
A generation: its credentials, and the candidates that its peer gives it.
"""

import asyncio
import re

import aiortc
import pytest
from aioice import stun
from aiortc import RTCIceCandidate

from aiortc_restart.ice import create_credentials

from .agents import (
    accept_restart,
    add_candidates,
    answer_restart,
    connected_transports,
    current,
    described,
    fragment,
    make_gatherer,
    make_transport,
    offer_restart,
    socket_address,
    switched,
)
from .network import Network
from .probes import open_prober
from .utils import until


def candidate(port: int, address: str = "10.0.2.1") -> RTCIceCandidate:
    return RTCIceCandidate(
        component=1,
        foundation="1",
        ip=address,
        port=port,
        priority=2130706431,
        protocol="udp",
        type="host",
    )


# RFC 8445 section 5.3


def test_create_credentials() -> None:
    """
    Credentials are fresh, and at least 24 and 128 bits are random.
    """
    made = [create_credentials() for _ in range(100)]
    for parameters in made:
        assert re.fullmatch("[A-Za-z0-9+/]{8}", str(parameters.usernameFragment))
        assert re.fullmatch("[A-Za-z0-9+/]{24}", str(parameters.password))
    assert len({x.usernameFragment for x in made}) == 100
    assert len({x.password for x in made}) == 100


async def test_first_generation_has_new_credentials(network: Network) -> None:
    """
    The first generation's credentials are as long as those of the others.
    """
    parameters = make_gatherer(network, "alice").getLocalParameters()
    assert len(str(parameters.usernameFragment)) == 8
    assert len(str(parameters.password)) == 24


async def test_given_credentials(network: Network) -> None:
    """
    Credentials which are given are used, as the base does.
    """
    given = {"local_username": "abcd", "local_password": "p" * 22}
    parameters = make_gatherer(network, "alice", **given).getLocalParameters()
    assert parameters == aiortc.RTCIceParameters(
        usernameFragment="abcd", password="p" * 22
    )


# RFC 8839 section 5.4
@pytest.mark.parametrize(
    ("username", "password"),
    [("abc", "p" * 22), ("abc:", "p" * 22), ("abcd", "p" * 21), ("abcd", "-" * 22)],
)
async def test_begin_with_bad_credentials(
    network: Network, username: str, password: str
) -> None:
    """
    Credentials which are against the grammar are refused, and nothing has begun.
    """
    async with connected_transports(network) as (alice, _):
        before = current(alice)
        with pytest.raises(ValueError, match="must satisfy"):
            alice.propose(
                aiortc.RTCIceParameters(usernameFragment=username, password=password)
            )
        assert alice.generations == [before]
        assert not alice.restarting
        assert alice.iceGatherer.getLocalParameters() == before.local


# Remote candidates


async def test_remote_candidates_are_bounded(network: Network) -> None:
    """
    The peer cannot make a generation keep more candidates than it would check.
    """
    # RFC 8445 section 19.5.1
    transport = make_transport(network, "alice")
    for port in range(1, 200):
        await transport.addRemoteCandidate(candidate(port))
    remotes = transport.getRemoteCandidates()
    assert [x.port for x in remotes] == list(range(1, 101))
    await transport.stop()


async def test_peer_reflexive_candidates_are_bounded(network: Network) -> None:
    """
    Nor can checks from ever more sockets; they are answered all the same.
    """
    async with connected_transports(network) as (alice, bob):
        offer = await offer_restart(alice)
        offer.candidates += [candidate(port, "10.0.1.9") for port in range(1, 99)]
        await accept_restart(alice, await answer_restart(bob, offer))
        await switched(alice, bob)
        assert len(bob.getRemoteCandidates()) == 99
        generation = current(bob)
        for expected in (100, 100, 100):
            prober = await open_prober(network, "alice")
            answer = await prober.check(
                socket_address(generation),
                f"{fragment(generation)}:{fragment(current(alice))}",
                str(generation.local.password),
                ICE_CONTROLLING=1,
            )
            assert answer.message_class == stun.Class.RESPONSE
            assert len(bob.getRemoteCandidates()) == expected
            prober.close()


async def test_candidate_after_end_of_candidates(network: Network) -> None:
    """
    What comes after end-of-candidates is ignored, and so is a second one.
    """
    # RFC 8838 section 14
    transport = make_transport(network, "alice")
    await transport.addRemoteCandidate(candidate(1))
    await transport.addRemoteCandidate(None)
    await transport.addRemoteCandidate(candidate(2))
    await transport.addRemoteCandidate(None)
    assert [x.port for x in transport.getRemoteCandidates()] == [1]
    await transport.stop()


async def test_end_of_candidates_of_the_first_connection(network: Network) -> None:
    """
    The first connection fails when its candidates have ended and none of them works.
    """
    transport = make_transport(network, "alice")
    await transport.iceGatherer.gather()
    await transport.addRemoteCandidate(candidate(1))
    starting = asyncio.create_task(transport.start(create_credentials()))
    # An unanswered check is given up after 63.5 s, but more candidates may come.
    await asyncio.sleep(100)
    assert transport.state == "checking"
    await transport.addRemoteCandidate(None)
    await starting
    assert transport.state == "failed"
    await transport.stop()


@pytest.mark.parametrize("when", ["before", "during", "after"])
async def test_end_of_candidates_during_a_restart(network: Network, when: str) -> None:
    """
    None, which names no generation, ends the candidates of no restart.
    """
    async with connected_transports(network) as (alice, bob):
        if when == "before":
            await bob.addRemoteCandidate(None)
        alice.propose(create_credentials())
        await alice.iceGatherer.gather()
        offer = described(alice)
        bob.propose(create_credentials(), offer.parameters)
        await bob.iceGatherer.gather()
        if when == "during":
            await bob.addRemoteCandidate(None)
            await alice.addRemoteCandidate(None)
        bob.agree(answerer=True)
        answer = described(bob)
        alice.propose(remote=answer.parameters)
        alice.agree(answerer=False)
        if when == "after":
            await bob.addRemoteCandidate(None)
            await alice.addRemoteCandidate(None)
        # Longer than a check list without pairs would take to fail.
        await asyncio.sleep(2)
        assert bob.state == alice.state == "connected"
        await add_candidates(alice, answer)
        await until(lambda: alice.state == bob.state == "completed")
        assert alice._active is current(alice)
        assert bob._active is current(bob)
