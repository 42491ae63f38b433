"""
Candidates which overtake the description of their generation, or come too late.
"""

import asyncio
import itertools
import logging
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from aioice import stun
from hypothesis import given, settings
from hypothesis import strategies as st

from aiortc_restart import RTCIceCandidate, RTCPeerConnection
from aiortc_restart.ice.connection import MAX_REMOTE_CANDIDATES
from aiortc_restart.negotiation.places import HOLDING_TIME, MAX_HELD

from .calls import ROLLBACK, answered, ice_transport, offered, path, peers, ufrag_of
from .network import Datagram, Network, run
from .test_add_ice_candidate import without_candidates
from .test_held_candidates import candidate
from .trickling import trickling
from .utils import connected_pair, until

DELAYS = st.sampled_from([0.0, 0.1, 0.5, 1.0, 2.0, 4.0])
"How long candidates are on their way, in seconds."

WAYS = st.sampled_from([0.0, 0.01, 0.1, 0.5])
"How long descriptions are."

THOUGHTS = st.sampled_from([0.0, 0.01, 0.5, 2.0])
"How long an offer waits for its answer."

ROUNDS = 3

EARLY = {
    "stable": "before its offer",
    "have-local-offer": "before its answer",
}
"When a candidate overtakes its description, by the signaling state."

LATE = "between a restart's offer and answer, and of the generation before"
"When a candidate which nobody knows yet is not of the latest generation."

WINDOWS = (*EARLY.values(), LATE)

OFTEN = 10
"How many candidates have to arrive in each of the windows."


def ports(pc: RTCPeerConnection) -> list[list[int]]:
    """
    Return the ports of the remote candidates of each generation.
    """
    return [
        [x.port for x in y.connection.remote_candidates]
        for y in ice_transport(pc).generations
    ]


@pytest.mark.parametrize("role", ["offerer", "answerer"])
async def test_overtaken(network: Network, role: str) -> None:
    """
    Candidates, and their end, which come before the description of a restart are taken
    with it.
    """
    async with connected_pair(network) as pair:
        early, late = pair.offerer, pair.answerer
        if role == "answerer":
            early, late = late, early
            offer = await offered(late, iceRestart=True)
            await early.setRemoteDescription(offer)
            await early.setLocalDescription()
        else:
            await early.setLocalDescription(await early.createOffer(iceRestart=True))
        name = ufrag_of(early.localDescription)
        for number in range(3):
            await late.addIceCandidate(candidate(number, name))
        end = RTCIceCandidate.fromJSON(
            {"candidate": "", "sdpMid": "0", "usernameFragment": name}
        )
        await late.addIceCandidate(end)
        assert all(1024 not in x for x in ports(late))
        await late.setRemoteDescription(without_candidates(early.localDescription))
        await asyncio.sleep(0)
        assert ports(late)[-1] == [1024, 1025, 1026]
        assert late.remoteDescription.sdp.count("a=end-of-candidates") == 1
        await late.addIceCandidate(candidate(9, name))
        assert 1033 not in ports(late)[-1]


async def test_before_the_first_offer(network: Network) -> None:
    """
    Candidates which come before the very first description are taken with it, if they
    name their generation.
    """
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        offer = await offered(offerer)
        await answerer.addIceCandidate(candidate(1, ufrag_of(offer)))
        await answerer.setRemoteDescription(without_candidates(offer))
        await asyncio.sleep(0)
        assert ports(answerer) == [[1025]]


async def test_of_a_new_section(network: Network) -> None:
    """
    So are those of an m-section which is new, in a generation which is not.
    """
    async with connected_pair(network) as pair:
        name = ufrag_of(pair.offerer.localDescription)
        await pair.answerer.addIceCandidate(candidate(1, name, mid="1"))
        assert len(pair.answerer._session.candidates._held_candidates) == 1
        pair.offerer.addTransceiver("audio")
        offer = await offered(pair.offerer)
        await pair.answerer.setRemoteDescription(offer)
        assert len(pair.answerer._session.candidates._held_candidates) == 0


async def test_for_some_time(network: Network) -> None:
    """
    A candidate is held for half a minute.
    """
    async with connected_pair(network) as pair:
        offer = await offered(pair.offerer, iceRestart=True)
        name = ufrag_of(offer)
        await pair.answerer.addIceCandidate(candidate(1, name))
        await asyncio.sleep(HOLDING_TIME / 2)
        await pair.answerer.addIceCandidate(candidate(2, name))
        await asyncio.sleep(HOLDING_TIME / 2 + 0.1)
        await pair.answerer.setRemoteDescription(without_candidates(offer))
        await asyncio.sleep(0)
        assert ports(pair.answerer)[-1] == [1026]


async def test_bounded(network: Network) -> None:
    """
    Of the candidates of generations which never come some are held, the latest.
    """
    async with connected_pair(network) as pair:
        for number in range(1000):
            await pair.answerer.addIceCandidate(candidate(number, f"none{number % 7}"))
        assert (
            len(pair.answerer._session.candidates._held_candidates)
            == MAX_HELD
            <= MAX_REMOTE_CANDIDATES
        )
        offer = await offered(pair.offerer, iceRestart=True)
        await pair.answerer.addIceCandidate(candidate(1, ufrag_of(offer)))
        await pair.answerer.setRemoteDescription(without_candidates(offer))
        await asyncio.sleep(0)
        assert ports(pair.answerer)[-1] == [1025]
        await pair.answerer.close()
        assert len(pair.answerer._session.candidates._held_candidates) == 0


async def test_retired(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """
    A candidate of a generation which another has replaced is not held, and the log says
    so.
    """
    caplog.set_level(logging.DEBUG, "aiortc_restart")
    async with trickling(network) as (call, channel):
        await call.negotiate(call.alice)
        await until(lambda: channel.readyState == "open")
        names = [ufrag_of(call.alice.localDescription)]
        for _ in range(2):
            call.alice.restartIce()
            await call.negotiate(call.alice)
            names.append(ufrag_of(call.alice.localDescription))
        for name in names[:-1]:
            await call.bob.addIceCandidate(candidate(1, name))
            assert f"x candidate of the retired generation {name}" in caplog.text
        assert len(call.bob._session.candidates._held_candidates) == 0
        assert all(1025 not in x for x in ports(call.bob))


async def test_rolled_back(network: Network) -> None:
    """
    Candidates of an offer which is rolled back are not those of the generation before,
    and are taken if it is set again.
    """
    async with connected_pair(network) as pair:
        offer = without_candidates(await offered(pair.offerer, iceRestart=True))
        await pair.answerer.setRemoteDescription(offer)
        await pair.answerer.setRemoteDescription(ROLLBACK)
        await pair.answerer.addIceCandidate(candidate(1, ufrag_of(offer)))
        assert all(1025 not in x for x in ports(pair.answerer))
        await pair.answerer.setRemoteDescription(offer)
        await asyncio.sleep(0)
        assert ports(pair.answerer)[-1] == [1025]
        await pair.offerer.setRemoteDescription(await answered(pair.answerer, offer))


# Any order


@dataclass
class Turn:
    """
    A negotiation, and how long its steps take, in seconds.
    """

    offerer: int
    offer: float
    "How long the offer is on its way."

    thought: float
    "How long the peer has the offer before it answers."

    answer: float
    "How long the answer is on its way."

    pause: float | None = 0.0
    """
    How long nothing is negotiated when both peers send on the new path. `None` if that
    is not waited for.
    """


def turns() -> st.SearchStrategy[Turn]:
    pause = st.sampled_from([0.0, 0.2, 1.0, None, None])
    return st.builds(Turn, st.integers(0, 1), WAYS, THOUGHTS, WAYS, pause)


def test_any_order() -> None:
    """
    Whenever descriptions and candidates arrive, and how often, the traffic of two
    generations never mixes: each check goes from a socket of the generation that it
    names to one of the same generation.
    """
    arrivals: Counter[str] = Counter()

    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
    )
    @given(
        delays=st.lists(DELAYS, min_size=5, max_size=40),
        copies=st.lists(st.integers(0, 2), min_size=1, max_size=10),
        connection=st.builds(Turn, st.just(0), WAYS, THOUGHTS, WAYS),
        restarts=st.lists(turns(), min_size=ROUNDS, max_size=ROUNDS),
        end=st.builds(Turn, st.integers(0, 1), WAYS, THOUGHTS, WAYS),
    )
    def in_any_order(
        delays: list[float],
        copies: list[int],
        connection: Turn,
        restarts: list[Turn],
        end: Turn,
    ) -> None:
        arrivals.update(run(negotiated, delays, copies, [connection, *restarts, end]))

    in_any_order()
    # Without them it would prove nothing.
    assert [x for x in WINDOWS if arrivals[x] < OFTEN] == [], arrivals


async def negotiated(
    network: Network, delays: list[float], copies: list[int], turns: list[Turn]
) -> Counter[str]:
    """
    Connect, restart some times, and return how often a candidate has arrived in each of
    the windows.
    """
    network.delay(0.01)
    network.readdress("alice", "10.0.1.1", "10.0.1.2")
    network.readdress("bob", "10.0.2.1", "10.0.2.2")
    arrivals: Counter[str] = Counter()
    owners: dict[Any, str] = {}
    tasks: set[asyncio.Task[None]] = set()
    late, more = itertools.cycle(delays), itertools.cycle(copies)
    async with trickling(network) as (call, channel):
        pcs = call.alice, call.bob

        async def carry(pc: RTCPeerConnection, candidate: RTCIceCandidate) -> None:
            for _ in range(1 + next(more)):
                await asyncio.sleep(next(late))
                if when := arrival(pc, candidate):
                    arrivals[when] += 1
                message = candidate.toJSON()
                await pc.addIceCandidate(RTCIceCandidate.fromJSON(message))

        def note(other: RTCPeerConnection, x: RTCIceCandidate | None) -> None:
            # An end which overtakes would make the others of no use (RFC 8838 section
            # 14).
            if x is not None and x.candidate:
                owners[x.ip, x.port] = str(x.usernameFragment)
                tasks.add(asyncio.create_task(carry(other, x)))

        call.passes = lambda _: False
        for pc, other in zip(pcs, pcs[::-1], strict=True):
            pc.on("icecandidate", lambda x, y=other: note(y, x))
        for turn in turns:
            offerer, answerer = pcs[turn.offerer], pcs[1 - turn.offerer]
            offerer.restartIce()
            await take(turn, offerer, answerer)
            if turn.pause is not None:
                await until(lambda: all(is_on_latest(x) for x in pcs))
                await until(lambda: channel.readyState == "open")
                await asyncio.sleep(turn.pause)
        await asyncio.wait(tasks)
        for task in tasks:
            task.result()
        await asyncio.sleep(5)
        for pc in pcs:
            (generation,) = ice_transport(pc).generations
            remote = str(generation.remote.usernameFragment)  # type: ignore[union-attr]
            for x in generation.connection.remote_candidates:
                assert owners[x.host, x.port] == remote
    found = [x for x in network.log if is_check(x)]
    assert len(found) > 2 * len(turns)
    for datagram in found:
        assert datagram.message is not None
        remote, _, local = datagram.message.attributes["USERNAME"].partition(":")
        assert owners[datagram.source] == local
        assert owners[datagram.destination] == remote
    return arrivals


async def take(
    turn: Turn, offerer: RTCPeerConnection, answerer: RTCPeerConnection
) -> None:
    await offerer.setLocalDescription()
    offer = offerer.localDescription
    await asyncio.sleep(turn.offer)
    await answerer.setRemoteDescription(offer)
    await asyncio.sleep(turn.thought)
    await answerer.setLocalDescription()
    answer = answerer.localDescription
    await asyncio.sleep(turn.answer)
    await offerer.setRemoteDescription(answer)


def is_on_latest(pc: RTCPeerConnection) -> bool:
    """
    Whether a peer sends on a pair of the generation which was negotiated last.
    """
    transport = ice_transport(pc)
    return transport.getSelectedCandidatePair() is not None and path(transport) == (
        ufrag_of(pc.localDescription),
        ufrag_of(pc.remoteDescription),
    )


def arrival(pc: RTCPeerConnection, candidate: RTCIceCandidate) -> str | None:
    """
    Return which of the windows a candidate arrives in, or `None`.
    """
    name = str(candidate.usernameFragment)
    current, pending = pc.currentRemoteDescription, pc.pendingRemoteDescription
    described = [ufrag_of(x) for x in (current, pending) if x is not None]
    if name not in described:
        retired = pc._session.candidates._held_candidates.is_retired(name, None)
        return None if retired else EARLY[pc.signalingState]
    is_new = (
        f" {candidate.ip} {candidate.port} " not in current.sdp if current else False
    )
    is_old = pending is not None and name == described[0] != described[-1]
    return LATE if is_old and is_new else None


def is_check(datagram: Datagram) -> bool:
    message = datagram.message
    return (
        message is not None
        and message.message_class == stun.Class.REQUEST
        and "USERNAME" in message.attributes
    )
