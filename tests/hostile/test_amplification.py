"""
What a peer can make us send to others is bounded (RFC 8445 section 19.5.1).
"""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiortc import RTCIceParameters

from aiortc_restart import RTCIceTransport, RTCPeerConnection

from ..agents import (
    Signal,
    accept_restart,
    active,
    answer_restart,
    connected_transports,
    current,
    exchange,
    make_transport,
    offer_restart,
    restart,
    socket_address,
)
from ..calls import Unbundled, ice_transports
from ..network import Address, Network
from ..utils import connected_pair
from . import wire
from .path import Observer, Requests, busiest
from .peer import PARAMETERS, agree, candidate_at, check, open_peers, refuse

TRANSMISSIONS = 7
"How often a check is sent, at most (RFC 8445 section 14.3)."

PACING = 0.02
"How far apart checks begin, in seconds (RFC 8445 section 14.2)."

PER_SECOND = 51
"How many checks begin within a second, if they are so far apart."

VICTIM = "10.0.7.7"

SOURCES = [(VICTIM, 1024 + i) for i in range(1000)]


def spoof(
    observer: Observer,
    target: Address,
    remote: RTCIceParameters,
    local: RTCIceParameters,
) -> None:
    """
    Send a check in the name of each of the victim's ports, signed by the peer.
    """
    for source in SOURCES:
        observer.inject(check(remote, local, nominates=True), source, target)


def bounded(requests: Requests) -> None:
    """
    Assert that what was sent to the victim stays within the limits.
    """
    assert requests.to(VICTIM)
    assert requests.most_to_a_port(VICTIM, 60) <= TRANSMISSIONS
    assert busiest(requests.begun(VICTIM), 1.0) <= PER_SECOND
    # Of all its ports together no more than of a hundred candidates.
    to_victim = [time for time, x, _ in requests.sent if x[0] == VICTIM]
    assert busiest(to_victim, 60) <= 100 * TRANSMISSIONS
    assert busiest(to_victim, 1.0) <= 200


def candidates_of_victim(count: int = 100) -> Signal:
    """
    Return candidates which are the victim's ports.
    """
    return Signal(
        PARAMETERS,
        [candidate_at(x, priority=2**30 - i) for i, x in enumerate(SOURCES[:count])],
    )


@contextmanager
def counting(network: Network, *hosts: str) -> Iterator[Requests]:
    """
    Count the requests of some hosts, and assert in the end that they are bounded.
    """
    requests = Requests(network, *(network.addresses(x)[0] for x in hosts))
    yield requests
    bounded(requests)


async def test_spoofed_checks_before_the_answer(network: Network) -> None:
    """
    Checks of a thousand sources that come before the peer's description make few
    packets to them.
    """
    alice = make_transport(network, "alice")
    try:
        await alice.iceGatherer.gather()
        with counting(network, "alice"):
            observer = Observer(network)
            target = socket_address(current(alice))
            spoof(observer, target, alice.local_parameters, PARAMETERS)
            await asyncio.sleep(0.1)
            starting = asyncio.create_task(alice.start(PARAMETERS))
            await asyncio.sleep(0.1)
            spoof(observer, target, alice.local_parameters, PARAMETERS)
            await asyncio.sleep(120)
            spoof(observer, target, alice.local_parameters, PARAMETERS)
            await asyncio.sleep(60)
    finally:
        await alice.stop()
    await asyncio.gather(starting, return_exceptions=True)


@pytest.mark.parametrize("victim", ["alice", "bob"])
async def test_spoofed_checks_in_a_call(network: Network, victim: str) -> None:
    """
    Nor do they in a call, whichever role it has that is made to send.
    """
    async with connected_transports(network) as (alice, bob):
        ours, peer = (alice, bob) if victim == "alice" else (bob, alice)
        observer = Observer(network)
        requests = Requests(network, network.addresses(victim)[0])
        for _ in range(5):
            spoof(
                observer,
                socket_address(active(ours)),
                ours.local_parameters,
                peer.local_parameters,
            )
            await asyncio.sleep(10)
        if requests.to(VICTIM):
            bounded(requests)
        await exchange(alice, bob)


@pytest.mark.parametrize("offers", ["ours", "the peer's"])
async def test_spoofed_checks_over_restarts(network: Network, offers: str) -> None:
    """
    Ten restarts in a minute do not begin the count anew, whoever offers them.
    """
    async with connected_transports(network) as (alice, bob):
        observer = Observer(network)
        with counting(network, "alice"):
            for _ in range(10):
                if offers == "ours":
                    offer = await offer_restart(alice)
                    answer = await answer_restart(bob, offer)
                else:
                    answer = await offer_restart(bob)
                    offer = await answer_restart(alice, answer)
                peer = answer.parameters
                target = socket_address(alice.generations[-1])
                spoof(observer, target, alice.generations[-1].local, peer)
                answer.candidates += candidates_of_victim(90).candidates
                if offers == "ours":
                    await accept_restart(alice, answer)
                else:
                    await accept_restart(bob, offer)
                    for candidate in answer.candidates:
                        await alice.addRemoteCandidate(candidate)
                spoof(observer, target, alice.generations[-1].local, peer)
                await asyncio.sleep(6)
        await asyncio.sleep(60)
        await restart(alice, bob)
        await exchange(alice, bob)


@pytest.mark.parametrize("trickle", [False, True])
async def test_candidates_of_a_victim(network: Network, trickle: bool) -> None:
    """
    A description that lists a victim's ports makes few packets to them, also if it
    comes again and again.
    """
    async with connected_transports(network) as (alice, _):
        with counting(network, "alice"):
            for _ in range(10):
                signal = candidates_of_victim()
                # Its sockets are there no more, so that nothing else connects.
                await offer_restart(alice)
                if trickle:
                    alice.propose(remote=PARAMETERS)
                    alice.agree(answerer=False)
                    for candidate in signal.candidates:
                        await alice.addRemoteCandidate(candidate)
                else:
                    await accept_restart(alice, signal)
                await asyncio.sleep(6)


async def test_pacing_over_transports(network: Network) -> None:
    """
    Checks begin no faster over all transports of a connection than over one.
    """

    def prepare(*pcs: RTCPeerConnection) -> None:
        for pc in pcs:
            pc.addTransceiver("audio")
            pc.addTransceiver("video")

    async with connected_pair(network, offerer=Unbundled, prepare=prepare) as pair:
        transports = ice_transports(pair.offerer)
        assert len(transports) == 3
        requests = Requests(network, network.addresses("alice")[0])
        observer = Observer(network)
        offer = await pair.offerer.createOffer(iceRestart=True)
        await pair.offerer.setLocalDescription(offer)
        await pair.answerer.setRemoteDescription(pair.offerer.localDescription)
        await pair.answerer.setLocalDescription()
        for transport in transports:
            spoof(
                observer,
                socket_address(transport.generations[-1]),
                transport.generations[-1].local,
                peer_parameters(pair.answerer, transport),
            )
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await asyncio.sleep(60)
        bounded(requests)


def peer_parameters(
    pc: RTCPeerConnection, transport: RTCIceTransport
) -> RTCIceParameters:
    """
    Return what the peer calls itself, by the credentials it knows of a transport.
    """
    ufrag = transport.generations[-1].local.usernameFragment
    return next(
        x.generations[-1].local
        for x in ice_transports(pc)
        if x.generations[-1].remote is not None
        and x.generations[-1].remote.usernameFragment == ufrag
    )


@pytest.mark.parametrize("role", [wire.ICE_CONTROLLING, wire.ICE_CONTROLLED, None])
@pytest.mark.parametrize("controlling", [True, False])
async def test_role_conflict_for_ever(
    network: Network, role: int | None, controlling: bool
) -> None:
    """
    A peer that answers each check with 487 is asked a bounded number of times, also if
    it keeps checking.
    """
    alice = make_transport(network, "alice")
    alice._connection.ice_controlling = controlling
    try:
        await alice.iceGatherer.gather()
        async with open_peers(1, network, answer=refuse(487)) as (peer,):
            peer.remote = alice.local_parameters
            await alice.addRemoteCandidate(peer.candidate)
            starting = asyncio.create_task(alice.start(PARAMETERS))
            began = network.now
            for _ in range(60):
                await asyncio.sleep(0.5)
                if role is not None:
                    peer.check(socket_address(current(alice)), role=role)
                assert depth() < 10
            count = len(peer.requests)
            # No faster than a pair is checked while there is no path, each time with
            # as many repairs as there may be.
            assert 0 < count <= 16 * (network.now - began) + 4
            times = [x[0] for x in peer.requests]
            assert busiest(times, 1.0) <= 24
        await alice.stop()
        await asyncio.gather(starting, return_exceptions=True)
    finally:
        await alice.stop()


async def test_role_conflict_in_a_call(network: Network) -> None:
    """
    Nor is it asked more often if it says so only once there is a path.
    """
    alice = make_transport(network, "alice")
    try:
        await alice.iceGatherer.gather()
        async with open_peers(1, network, answer=agree) as (peer,):
            peer.remote = alice.local_parameters
            await alice.addRemoteCandidate(peer.candidate)
            await alice.addRemoteCandidate(None)
            await alice.start(PARAMETERS)
            count = len(peer.requests)
            peer.answer = refuse(487)
            await asyncio.sleep(20)
            assert 0 < len(peer.requests) - count <= 200
            assert busiest((x[0] for x in peer.requests[count:]), 1.0) <= 24
    finally:
        await alice.stop()


def depth() -> int:
    """
    Return how many coroutines deep the deepest task is.
    """
    deepest = 0
    for task in asyncio.all_tasks():
        coroutine: object = task.get_coro()
        found = 0
        while coroutine is not None:
            coroutine = getattr(coroutine, "cr_await", None)
            found += 1
        deepest = max(deepest, found)
    return deepest


@pytest.mark.parametrize("code", [400, 401, 403, 420, 500])
async def test_errors_for_ever(network: Network, code: int) -> None:
    """
    A peer that answers each check with another error is asked no more often.
    """
    alice = make_transport(network, "alice")
    try:
        await alice.iceGatherer.gather()
        async with open_peers(1, network, answer=refuse(code)) as (peer,):
            peer.remote = alice.local_parameters
            await alice.addRemoteCandidate(peer.candidate)
            starting = asyncio.create_task(alice.start(PARAMETERS))
            for _ in range(30):
                await asyncio.sleep(1)
                peer.check(socket_address(current(alice)))
            times = [x[0] for x in peer.requests]
            assert times
            assert busiest(times, 1.0) <= 24
            await alice.stop()
            await asyncio.gather(starting, return_exceptions=True)
    finally:
        await alice.stop()


async def test_checks_are_paced(network: Network) -> None:
    """
    Two checks begin at least 20 ms apart, whatever triggers them.
    """
    # RFC 8445 section 14.2
    alice = make_transport(network, "alice")
    try:
        await alice.iceGatherer.gather()
        requests = Requests(network, network.addresses("alice")[0])
        observer = Observer(network)
        target = socket_address(current(alice))
        for candidate in candidates_of_victim(20).candidates:
            await alice.addRemoteCandidate(candidate)
        starting = asyncio.create_task(alice.start(PARAMETERS))
        for i in range(100):
            source = VICTIM, 5000 + i
            observer.inject(check(alice.local_parameters), source, target)
            await asyncio.sleep(0.003)
        await asyncio.sleep(5)
        begun = requests.begun(VICTIM)
        assert len(begun) > 20
        gaps = [b - a for a, b in itertools.pairwise(begun)]
        assert min(gaps) >= PACING - 1e-6
        await alice.stop()
        await asyncio.gather(starting, return_exceptions=True)
    finally:
        await alice.stop()
