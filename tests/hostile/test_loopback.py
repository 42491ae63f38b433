"""
A hostile peer, and strangers, on real sockets over the loopback.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aioice.ice
import pytest
from aiortc import RTCIceParameters

from aiortc_restart import RTCIceGatherer, RTCIceTransport, RTCPeerConnection

from ..agents import add_candidates, answer_restart, described, offer_restart
from ..calls import answered, ice_transports, offered, restart, switched
from ..network import Address
from ..utils import connected_pair, until
from . import wire
from .junk import JUNK
from .malformed import malformed
from .path import busiest
from .peer import (
    PARAMETERS,
    Answer,
    Peer,
    agree,
    agree_from,
    agree_with,
    ignore,
    open_peers,
    refuse,
)
from .phases import generations


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Let candidates be those of the loopback.
    """
    monkeypatch.setattr(
        aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    )


def port_of(transport: RTCIceTransport) -> Address:
    """
    Return the address of a transport's latest socket.
    """
    (candidate,) = transport.generations[-1].connection.local_candidates
    return candidate.host, candidate.port


def ports_of(*pcs: RTCPeerConnection) -> list[Address]:
    """
    Return the addresses of peers' sockets, old ones and new.
    """
    return [
        (x.host, x.port)
        for generation in generations(*pcs)
        if not generation.closed
        for x in generation.connection.local_candidates
    ]


@asynccontextmanager
async def checking(
    answer: Answer, *, controlling: bool = True, count: int = 1
) -> AsyncIterator[tuple[RTCIceTransport, list[Peer]]]:
    """
    Let a transport check a hostile peer.

    :param answer: What the peer answers.
    :param controlling: Whether the transport has that role.
    :param count: How many sockets the peer has.
    """
    transport = RTCIceTransport(RTCIceGatherer([]))
    transport._connection.ice_controlling = controlling
    await transport.iceGatherer.gather()
    try:
        async with open_peers(count, answer=answer) as opened:
            for peer in opened:
                peer.remote = transport.local_parameters
            await transport.addRemoteCandidate(opened[0].candidate)
            starting = asyncio.create_task(transport.start(PARAMETERS))
            yield transport, opened
            await transport.stop()
            await asyncio.gather(starting, return_exceptions=True)
    finally:
        await transport.stop()


@pytest.mark.parametrize("controlling", [True, False])
async def test_peer_which_agrees(controlling: bool) -> None:
    """
    The peer that these tests have connects, as long as it is not hostile.
    """
    async with checking(agree, controlling=controlling) as (transport, (peer,)):
        await until(lambda: peer.requests)
        role = wire.ICE_CONTROLLED if controlling else wire.ICE_CONTROLLING
        peer.check(port_of(transport), role=role, nominates=not controlling)
        await until(lambda: transport.state in ("connected", "completed"))
        await transport._send(b"\x80 hello")
        await until(lambda: peer.data == [b"\x80 hello"])
        peer.send(b"\x80 hello back", port_of(transport))
        assert await transport._recv() == b"\x80 hello back"


@pytest.mark.parametrize("code", [403, 420, 487])
@pytest.mark.parametrize("controlling", [True, False])
async def test_peer_which_refuses(code: int, controlling: bool) -> None:
    """
    A peer that answers each check with an error is asked no more often than checks may
    begin, and of each check a few times.
    """
    async with checking(refuse(code), controlling=controlling) as (transport, (peer,)):
        for _ in range(10):
            await asyncio.sleep(0.1)
            peer.check(port_of(transport), role=None)
        # Those of the transport's own, and the ones that are triggered.
        assert 0 < len(peer.requests) <= 4 * (10 + 6)
        assert busiest((x[0] for x in peer.requests), 1.0) <= 51
        assert transport.getSelectedCandidatePair() is None


@pytest.mark.parametrize("what", ["another port", "another key", "nothing"])
async def test_peer_whose_answer_does_not_count(what: str) -> None:
    """
    An answer from another port, or with another key, connects nothing.
    """
    async with checking(ignore, count=2) as (transport, (peer, other)):
        peer.answer = {
            "another port": agree_from(other),
            "another key": agree_with(b"x" * 24),
            "nothing": ignore,
        }[what]
        await asyncio.sleep(1.2)
        assert len(peer.requests) > 1
        assert transport.getSelectedCandidatePair() is None
        peer.answer = agree
        await until(lambda: transport.state in ("connected", "completed"))


async def test_malformed_checks() -> None:
    """
    Malformed checks, of the peer and of strangers, hold no connection up.
    """
    async with checking(ignore, count=3) as (transport, opened):
        for data in malformed(transport.local_parameters, PARAMETERS).values():
            for peer in opened:
                peer.send(data, port_of(transport))
        await asyncio.sleep(0.1)
        opened[0].answer = agree
        await until(lambda: transport.state in ("connected", "completed"))
        for data in malformed(transport.local_parameters, PARAMETERS).values():
            for peer in opened:
                peer.send(data, port_of(transport))
        await asyncio.sleep(0.1)
        assert transport.state in ("connected", "completed")


async def test_many_sources() -> None:
    """
    Checks of two hundred sockets, all signed by the peer, begin no more checks than the
    pacing allows, and each that never answers gets as many as one candidate.
    """
    async with checking(ignore, count=200) as (transport, opened):
        for _ in range(3):
            for peer in opened:
                peer.check(port_of(transport))
            await asyncio.sleep(0.7)
        requests = [x for peer in opened for x in peer.requests]
        assert len({x.transaction for _, x, _ in requests}) <= 2.2 / 0.02 + 5
        assert max(len(peer.requests) for peer in opened) <= 7


async def test_copies_from_other_ports() -> None:
    """
    Checks that are sent again from elsewhere, as they were, select no other pair.
    """
    async with checking(agree, controlling=False, count=5) as (transport, opened):
        peer, *others = opened
        role = wire.ICE_CONTROLLING
        data = peer.check(port_of(transport), role=role, nominates=True)
        await until(lambda: transport.state in ("connected", "completed"))
        for other in others:
            other.answer = agree_with(b"x" * 24)
            for _ in range(3):
                other.send(data, port_of(transport))
        await asyncio.sleep(0.7)
        pair = transport.getSelectedCandidatePair()
        assert pair is not None
        assert (pair.remote.ip, pair.remote.port) == peer.address
        await transport._send(b"\x80 hello")
        await until(lambda: peer.data == [b"\x80 hello"])


@pytest.mark.parametrize("offers", ["ours", "the peer's"])
async def test_restart_with_hostile_credentials(offers: str) -> None:
    """
    A restart whose new peer answers no check leaves the old path in use.
    """
    async with checking(agree, count=2) as (transport, (peer, other)):
        await until(lambda: transport.state in ("connected", "completed"))
        before = transport.getSelectedCandidatePair()
        new = RTCIceParameters(usernameFragment="newufrag", password="p" * 24)
        other.answer = refuse(487)
        signal = described(transport)
        signal.parameters, signal.candidates = new, [other.candidate]
        if offers == "ours":
            await offer_restart(transport)
            transport.propose(remote=new)
            await add_candidates(transport, signal)
            transport.agree(answerer=False)
        else:
            await answer_restart(transport, signal)
        await until(lambda: other.requests)
        await asyncio.sleep(0.5)
        assert transport.getSelectedCandidatePair() == before
        await transport._send(b"\x80 hello")
        await until(lambda: peer.data == [b"\x80 hello"])


@pytest.mark.parametrize("by", ["offerer", "answerer"])
async def test_junk_of_strangers(by: str) -> None:
    """
    What strangers send to each port of a call, before, during and after a restart, ends
    nothing.
    """
    async with connected_pair() as pair, open_peers(4) as strangers:
        both = [pair.offerer, pair.answerer]
        if by == "answerer":
            both.reverse()

        async def attack() -> None:
            for target in ports_of(*both):
                for stranger in strangers:
                    for data, _ in JUNK.values():
                        stranger.send(data, target)
            await asyncio.sleep(0.05)
            await pair.exchange()

        await attack()
        offer = await offered(both[0], iceRestart=True)
        await attack()
        answer = await answered(both[1], offer)
        await attack()
        await both[0].setRemoteDescription(answer)
        await attack()
        await switched(*both)
        await attack()
        await restart(*both)
        await pair.exchange()
        for pc in both:
            for transport in ice_transports(pc):
                assert transport.drops.counts["stranger"] > 0
                assert transport.drops.counts["empty"] > 0
