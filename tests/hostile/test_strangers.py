"""
Only the peer is heard: what anybody else sends ends nothing and reaches nobody.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiortc import RTCIceParameters

from aiortc_restart import RTCIceTransport, RTCPeerConnection

from ..agents import (
    accept_restart,
    active,
    answer_restart,
    connected_transports,
    current,
    make_transport,
    offer_restart,
    socket_address,
    switched,
)
from ..calls import ice_transport
from ..network import Address, Network
from ..utils import connected_pair
from . import wire
from .junk import JUNK, NOT_A_PROTOCOL, STRANGER, noise
from .path import Observer
from .peer import PARAMETERS, Peer, agree, open_peers
from .phases import LATENCY, Call, walk

STRANGERS_ADDRESS = ("10.0.6.6", 6666)

DATA = b"\x80 what the peer has to say"


def dropped(transport: RTCIceTransport, before: Counter[str]) -> dict[str, int]:
    """
    Return what a transport has dropped since, by reason.
    """
    return dict(transport.drops.counts - before)


async def transport_stats(pc: RTCPeerConnection) -> Any:
    """
    Return the statistics of a peer's only transport.
    """
    report = await pc.getStats()
    (stats,) = (x for x in report.values() if x.type == "transport")
    return stats


@asynccontextmanager
async def lite_peer(network: Network) -> AsyncIterator[tuple[RTCIceTransport, Peer]]:
    """
    Make a transport of alice's which is about to check a peer that sends no checks.
    """
    alice = make_transport(network, "alice")
    try:
        await alice.iceGatherer.gather()
        async with open_peers(1, network) as (peer,):
            peer.remote = alice.local_parameters
            await alice.addRemoteCandidate(peer.candidate)
            await alice.addRemoteCandidate(None)
            yield alice, peer
    finally:
        await alice.stop()


def lite(parameters: RTCIceParameters = PARAMETERS) -> RTCIceParameters:
    return RTCIceParameters(
        usernameFragment=parameters.usernameFragment,
        password=parameters.password,
        iceLite=True,
    )


@pytest.mark.parametrize("trickle", [False, True])
@pytest.mark.parametrize("by", ["alice", "bob"])
@pytest.mark.parametrize("source", ["stranger", "neighbour", "peer"])
async def test_junk_in_each_phase(
    network: Network, by: str, source: str, trickle: bool
) -> None:
    """
    Whatever is sent to the open ports, in whichever phase of a call, the call comes up
    and goes on: by a stranger, from another port of the peer's address, and in the
    peer's own name.
    """
    observer = Observer(network)
    phases = []

    async def attack(call: Call) -> None:
        phases.append(call.phase)
        for target, peer in call.targets:
            sources: dict[str, Address] = {
                "stranger": STRANGERS_ADDRESS,
                "neighbour": (peer[0], 7777),
                "peer": peer,
            }
            for data in [*(x for x, _ in JUNK.values()), *noise(20)]:
                observer.inject(data, sources[source], target)

    await walk(network, attack, by=by, trickle=trickle, media=by == "bob")
    assert len(phases) == 8


@pytest.mark.parametrize("name", JUNK)
async def test_junk_is_counted(network: Network, name: str) -> None:
    """
    What a stranger sends is dropped, and counted by the reason.
    """
    data, reason = JUNK[name]
    async with connected_pair(network) as pair:
        transport = ice_transport(pair.offerer)
        before = transport.drops.counts.copy()
        observer = Observer(network)
        for _ in range(3):
            observer.inject(data, STRANGERS_ADDRESS, socket_address(active(transport)))
        await asyncio.sleep(0.1)
        # An error answers a few messages which may be checks, and that is counted, too.
        assert sum(dropped(transport, before).values()) == 3
        if reason in (NOT_A_PROTOCOL, STRANGER):
            assert dropped(transport, before) == {reason: 3}
        await pair.exchange()


async def test_stats(network: Network) -> None:
    """
    The statistics of a transport tell how many datagrams were dropped, and why.
    """

    def prepare(*pcs: RTCPeerConnection) -> None:
        for pc in pcs:
            pc.addTransceiver("audio")

    async with connected_pair(network, prepare=prepare) as pair:
        before = await transport_stats(pair.offerer)
        assert before.datagramsDropped == 0
        assert before.dropReasons == {}
        observer = Observer(network)
        target = socket_address(active(ice_transport(pair.offerer)))
        for data in (b"", DATA, DATA):
            observer.inject(data, STRANGERS_ADDRESS, target)
        await asyncio.sleep(0.1)
        after = await transport_stats(pair.offerer)
        assert after.datagramsDropped == 3
        assert after.dropReasons == {"empty": 1, STRANGER: 2}
        assert (await transport_stats(pair.answerer)).datagramsDropped == 0


# Data


async def test_data_of_strangers(network: Network) -> None:
    """
    What strangers send before, while and after a transport connects is not read.
    """
    observer = Observer(network)
    alice, bob = (make_transport(network, x) for x in ("alice", "bob"))
    try:
        for transport in (alice, bob):
            await transport.iceGatherer.gather()
        targets = [socket_address(current(x)) for x in (alice, bob)]

        def shout() -> None:
            for target in targets:
                for port in (1, 2, 3):
                    observer.inject(b"\x80 stranger", ("10.0.6.6", port), target)

        shout()
        for local, remote in ((alice, bob), (bob, alice)):
            for candidate in remote.iceGatherer.getLocalCandidates():
                await local.addRemoteCandidate(candidate)
            await local.addRemoteCandidate(None)
        network.delay(LATENCY)
        starting = [
            asyncio.create_task(alice.start(bob.local_parameters)),
            asyncio.create_task(bob.start(alice.local_parameters)),
        ]
        for _ in range(10):
            shout()
            await asyncio.sleep(LATENCY / 2)
        await asyncio.gather(*starting)
        shout()
        await asyncio.sleep(2 * LATENCY)
        await alice._send(DATA)
        async with asyncio.timeout(1):
            assert await bob._recv() == DATA
        assert len(alice._gatherer.inbox) == 0
    finally:
        await asyncio.gather(alice.stop(), bob.stop())


async def test_data_on_another_socket(network: Network) -> None:
    """
    An address which has proved to be the peer's on one socket has not proved it on the
    socket of another generation.
    """
    async with connected_transports(network) as (alice, bob):
        observer = Observer(network)
        old = [socket_address(active(x)) for x in (alice, bob)]
        answer = await answer_restart(bob, await offer_restart(alice))
        await accept_restart(alice, answer)
        await switched(alice, bob)
        new = [socket_address(active(x)) for x in (alice, bob)]
        assert set(old).isdisjoint(new)
        observer.inject(b"\x80 mixed up", old[1], new[0])
        observer.inject(b"\x80 mixed up", new[1], old[0])
        # What is late on the old path is the peer's.
        observer.inject(DATA, old[1], old[0])
        observer.inject(DATA, new[1], new[0])
        async with asyncio.timeout(1):
            assert [await alice._recv() for _ in range(2)] == [DATA, DATA]
        await asyncio.sleep(0.1)
        assert len(alice._gatherer.inbox) == 0


async def test_data_after_a_forged_check(network: Network) -> None:
    """
    A check which is not authentic, and a response, prove nothing about an address.
    """
    async with connected_transports(network) as (alice, _):
        target = socket_address(active(alice))
        async with open_peers(1, network, answer=agree) as (stranger,):
            stranger.remote = alice.local_parameters
            stranger.check(target, password="x" * 24, nominates=True)
            stranger.send(wire.encode(wire.SUCCESS, key=b"x"), target)
            await asyncio.sleep(0.1)
            stranger.send(DATA, target)
            await asyncio.sleep(0.1)
            assert len(alice._gatherer.inbox) == 0


# Early data


async def test_early_data(network: Network) -> None:
    """
    What the peer sends before its answer to the check has come is kept until then, in
    its order, and strangers' is not.
    """
    async with lite_peer(network) as (alice, peer):
        observer = Observer(network)
        flight = [DATA + bytes([i]) for i in range(5)]
        target = socket_address(current(alice))

        def answer(peer: Peer, request: wire.Reading, source: Address) -> None:
            for data in flight:
                peer.send(data, source)
                observer.inject(b"\x80 stranger", STRANGERS_ADDRESS, source)
            response = agree(peer, request, source)
            asyncio.get_running_loop().call_later(0.1, peer.send, response, source)

        peer.answer = answer
        await alice.start(lite())
        assert alice.state == "completed"
        async with asyncio.timeout(1):
            received = [await alice._recv() for _ in flight]
        # The answers to the check and to the nomination are late, so it comes twice.
        assert received == flight
        peer.answer = agree
        await asyncio.sleep(1)
        rest = [await alice._recv() for _ in range(len(alice._gatherer.inbox))]
        assert set(rest) <= set(flight)
        peer.send(DATA, target)
        async with asyncio.timeout(1):
            assert await alice._recv() == DATA


async def test_early_data_is_bounded(network: Network) -> None:
    """
    However much comes before any address has proved itself, little of it is kept.
    """
    async with lite_peer(network) as (alice, peer):
        observer = Observer(network)
        target = socket_address(current(alice))
        for i in range(20_000):
            observer.inject(DATA, ("10.0.6.7", 1 + i % 60_000), target)
        for _ in range(5000):
            peer.send(DATA, target)
        await asyncio.sleep(0.1)
        await alice.start(lite())
        await asyncio.sleep(0.1)
        assert 0 < len(alice._gatherer.inbox) <= 1000
