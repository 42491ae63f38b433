"""
A system which opens no socket, and interfaces which go while candidates are gathered:
what the application sees of it, and that the next attempt works.
"""

import asyncio
import contextlib
import errno
import gc
import os
import resource
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import aioice.ice
import pytest

from aiortc_restart import (
    RTCConfiguration,
    RTCIceTransportPolicy,
    RTCPeerConnection,
)

from .calls import ROLLBACK, offered, paths, peers, restart, ufrag_of
from .found import Found, asking, trickle
from .network import Host, Network, Transport, _current_host
from .probes import stun_server
from .turn import turn_server
from .utils import candidates, connected_pair, negotiate, states, until

CODES = [errno.EMFILE, errno.ENFILE, errno.ENOBUFS]

TURN = "turn:10.0.8.1:3478"

every_code = pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
both_ways = pytest.mark.parametrize("trickles", [False, True])


@contextlib.contextmanager
def exhausted(
    code: int, host: str = "alice", is_free: Callable[[str], bool] = lambda _: False
) -> Iterator[None]:
    """
    Have a host of the network open no socket.

    :param code: What the system says.
    :param is_free: Tells whether one is opened on an address all the same.
    """
    error = OSError(code, os.strerror(code))
    loop = asyncio.get_running_loop()
    create, addresses = loop.create_datagram_endpoint, aioice.ice.get_host_addresses

    def is_exhausted() -> bool:
        current = _current_host.get()
        return isinstance(current, Host) and current.name == host

    async def create_endpoint(factory: Any, local_addr: Any = None, **kw: Any) -> Any:
        if is_exhausted() and not (local_addr and is_free(local_addr[0])):
            raise error
        return await create(factory, local_addr=local_addr, **kw)

    def get_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        # It takes a descriptor, too, but no buffer.
        if is_exhausted() and code != errno.ENOBUFS and not is_free(""):
            raise error
        return addresses(use_ipv4=use_ipv4, use_ipv6=use_ipv6)

    with (
        mock.patch.object(loop, "create_datagram_endpoint", create_endpoint),
        mock.patch.object(aioice.ice, "get_host_addresses", get_addresses),
    ):
        yield


async def connected(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    await until(
        lambda: {x.connectionState for x in (offerer, answerer)} == {"connected"},
        message=lambda: f"{offerer.connectionState} {answerer.connectionState}",
    )


@every_code
@both_ways
async def test_first_gathering(network: Network, code: int, trickles: bool) -> None:
    """
    Without any socket an offer has no candidate and an event says why; the next offer
    has other credentials and candidates, and connects.
    """
    async with peers(network, configuration=asking(iceTrickle=trickles)) as both:
        offerer = both[0]
        if trickles:
            trickle(*both)
        found, history = Found(network, offerer), states(offerer)
        channel = offerer.createDataChannel("test")
        with exhausted(code):
            first = await offered(offerer)
            await until(lambda: offerer.iceGatheringState == "complete")
        assert candidates(first) == []
        assert [what for _, what in found.times] == ["701", "end", "None"]
        assert found.errors[0].url == ""
        assert os.strerror(code) in found.errors[0].errorText
        second, _ = await negotiate(*both)
        assert ufrag_of(second) != ufrag_of(first)
        await until(lambda: channel.readyState == "open")
        assert history.gathering[-1] == "complete"
        assert network.sockets("alice") == 1


@every_code
@both_ways
async def test_first_negotiation(network: Network, code: int, trickles: bool) -> None:
    """
    Where a negotiation is done without any socket of the offerer's, or of the
    answerer's, the next offer of that side restarts ICE of its own accord.
    """
    for host in ("alice", "bob"):
        configuration = asking(iceTrickle=trickles)
        async with peers(network, configuration=configuration) as (offerer, answerer):
            if trickles:
                trickle(offerer, answerer)
            offerer.createDataChannel("test")
            with exhausted(code, host):
                await negotiate(offerer, answerer)
                await asyncio.sleep(1)
            assert offerer.connectionState != "connected"
            both = [offerer, answerer] if host == "alice" else [answerer, offerer]
            await negotiate(*both)
            await connected(*both)
            await asyncio.sleep(15)
            assert (network.sockets("alice"), network.sockets("bob")) == (1, 1)


@every_code
async def test_rollback(network: Network, code: int) -> None:
    """
    An offer without candidates can be rolled back, and the next one has some.
    """
    async with peers(network) as (offerer, answerer):
        channel = offerer.createDataChannel("test")
        with exhausted(code):
            await offered(offerer)
        await offerer.setLocalDescription(ROLLBACK)
        await negotiate(offerer, answerer)
        await until(lambda: channel.readyState == "open")


@every_code
@both_ways
@pytest.mark.parametrize("host", ["alice", "bob"])
async def test_restart(network: Network, code: int, trickles: bool, host: str) -> None:
    """
    A restart for which one side opens no socket ends at its deadline, the call goes on
    over its old path, and the next restart works.
    """
    configuration = asking(iceTrickle=trickles, iceRestartTimeout=5)
    prepare = trickle if trickles else None
    async with connected_pair(
        network, configuration=configuration, prepare=prepare
    ) as pair:
        both = pair.offerer, pair.answerer
        # All of the first negotiation has been found and told.
        await asyncio.sleep(1)
        before = paths(*both)
        with exhausted(code, host):
            await negotiate(*both, iceRestart=True)
            await pair.exchange()
        await asyncio.sleep(6)
        assert paths(*both) == before
        assert [x.connectionState for x in both] == ["connected"] * 2
        await pair.exchange()
        await restart(*both)
        await pair.exchange()
        await asyncio.sleep(15)
        assert (network.sockets("alice"), network.sockets("bob")) == (1, 1)


async def test_restart_while_there_is_no_path(network: Network) -> None:
    """
    Restarts which fail for want of sockets do not end a call that has lost its path:
    the first one that gets them brings it back.
    """
    configuration = RTCConfiguration(
        iceServers=[], iceRestartTimeout=5, iceFailedTimeout=None
    )
    async with connected_pair(network, configuration=configuration) as pair:
        both = pair.offerer, pair.answerer
        network.cut()
        await until(lambda: pair.offerer.iceConnectionState == "failed", timeout=40)
        network.heal()
        with exhausted(errno.EMFILE):
            for _ in range(3):
                await negotiate(*both, iceRestart=True)
                await asyncio.sleep(6)
        await restart(*both)
        await pair.exchange()


@both_ways
async def test_one_address(network: Network, trickles: bool) -> None:
    """
    A socket on one of several addresses is enough: no event, and a path.
    """
    network.readdress("alice", "10.0.1.1", "10.0.1.2", "10.0.1.3")
    async with peers(network, configuration=asking(iceTrickle=trickles)) as both:
        if trickles:
            trickle(*both)
        found = Found(network, both[0])
        both[0].createDataChannel("test")
        with exhausted(errno.ENOBUFS, is_free=lambda x: x in ("", "10.0.1.2")):
            await negotiate(*both)
            await connected(*both)
        assert [x.ip for x in found.candidates] == ["10.0.1.2"]
        assert found.errors == []


async def test_relays(network: Network) -> None:
    """
    A relay for which there is no socket is told of as any server that gives none; if
    there is no other candidate, the next offer restarts ICE.
    """
    server = await turn_server(network, 0.1)
    configuration = asking(TURN, iceTransportPolicy=RTCIceTransportPolicy.RELAY)
    async with peers(network) as (offerer, answerer):
        offerer.setConfiguration(configuration)
        offerer.on("icecandidate", answerer.addIceCandidate)
        found = Found(network, offerer)
        offerer.createDataChannel("test")
        with exhausted(errno.EMFILE):
            await negotiate(offerer, answerer)
            await until(lambda: offerer.iceGatheringState == "complete")
        assert [x.url for x in found.errors] == [TURN]
        await negotiate(offerer, answerer)
        await connected(offerer, answerer)
    server.close()


async def test_name_of_the_peer(network: Network) -> None:
    """
    A candidate of the peer's whose name cannot be looked up for want of a socket is as
    one whose name does not resolve.
    """
    error = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    failing = mock.patch.object(
        aioice.ice, "get_or_create_mdns_protocol", side_effect=error
    )
    async with connected_pair(network) as pair:
        (candidate,) = candidates(pair.offerer.localDescription)
        candidate.ip = "8d8ee8a8-33c4-4b7e-8a0e-8e4d7ea1d7e0.local"
        offer = await offered(pair.offerer, iceRestart=True)
        await pair.answerer.setRemoteDescription(offer)
        with failing as asked:
            await pair.answerer.addIceCandidate(candidate)
        asked.assert_called()
        await pair.answerer.setLocalDescription(await pair.answerer.createAnswer())
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await pair.exchange()


# Interfaces which go


@pytest.mark.parametrize("turn", range(12))
@both_ways
async def test_interface_goes(network: Network, turn: int, trickles: bool) -> None:
    """
    An interface that goes in any turn of gathering costs its own candidates only.
    """
    network.readdress("alice", "10.0.1.1", "10.0.1.2")
    server = await stun_server(network, 0.1, 0.1)
    configuration = asking("stun:10.0.9.1:3478", iceTrickle=trickles)
    async with peers(network, configuration=asking(iceTrickle=trickles)) as both:
        both[0].setConfiguration(configuration)
        if trickles:
            trickle(*both)
        both[0].createDataChannel("test")
        negotiating = asyncio.ensure_future(negotiate(*both))
        for _ in range(turn):
            await asyncio.sleep(0)
        network.readdress("alice", "10.0.1.1")
        began = network.now
        await negotiating
        assert network.now - began < 6
        await connected(*both)
    server.close()


async def test_only_interface_goes(network: Network) -> None:
    """
    If it was the only one, that restart fails at its deadline, and the next one, when
    there is another interface, works.
    """
    configuration = RTCConfiguration(
        iceServers=[], iceRestartTimeout=5, iceFailedTimeout=None
    )
    async with connected_pair(network, configuration=configuration) as pair:
        restarting = asyncio.ensure_future(offered(pair.offerer, iceRestart=True))
        for _ in range(3):
            await asyncio.sleep(0)
        network.readdress("alice")
        await pair.answerer.setRemoteDescription(await restarting)
        await pair.answerer.setLocalDescription()
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await asyncio.sleep(6)
        network.readdress("alice", "10.0.3.1")
        await restart(pair.offerer, pair.answerer)
        await pair.exchange()


# The sockets themselves


async def test_described_before_the_first_datagram(network: Network) -> None:
    """
    A socket has its candidate before the event loop reads from it.
    """
    described: list[int] = []
    loop = asyncio.get_running_loop()
    create = loop.create_datagram_endpoint

    async def create_endpoint(factory: Any, **options: Any) -> Any:
        def create_protocol() -> Any:
            protocol = factory()
            made = protocol.connection_made

            def connection_made(transport: Transport) -> None:
                made(transport)
                # What asyncio does next is to read.
                described.append(protocol.local_candidate.port)

            protocol.connection_made = connection_made
            return protocol

        return await create(create_protocol, **options)

    with mock.patch.object(loop, "create_datagram_endpoint", create_endpoint):
        async with peers(network) as (offerer, _):
            offerer.createDataChannel("test")
            await offerer.setLocalDescription()
            assert described == [x.port for x in candidates(offerer.localDescription)]


async def test_real_descriptors() -> None:
    """
    With no descriptor left in this process an offer has no candidate, nothing is
    raised, and with descriptors the next offer has some.
    """
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    errors: list[Any] = []
    pc.on("icecandidateerror", errors.append)
    pc.createDataChannel("test")
    offer = await pc.createOffer()
    gc.collect()
    with (
        no_descriptors(),
        mock.patch.object(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"]),
    ):
        await pc.setLocalDescription(offer)
    assert candidates(pc.localDescription) == []
    assert [os.strerror(errno.EMFILE) in x.errorText for x in errors] == [True]
    with mock.patch.object(aioice.ice, "get_host_addresses", lambda **_: ["127.0.0.1"]):
        await pc.setLocalDescription()
    assert len(candidates(pc.localDescription)) == 1
    await pc.close()


async def test_real_addresses() -> None:
    """
    The addresses of the host are not known without a descriptor either.
    """
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    errors: list[Any] = []
    pc.on("icecandidateerror", errors.append)
    pc.createDataChannel("test")
    offer = await pc.createOffer()
    with no_descriptors():
        await pc.setLocalDescription(offer)
    assert candidates(pc.localDescription) == []
    assert len(errors) == 1
    await pc.close()


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """
    Have the system give this process no descriptor more.
    """
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
