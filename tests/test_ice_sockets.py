"""
Sockets: old and new ones side by side, addresses which vanish, and nothing that leaks.
"""

import asyncio
import gc
from typing import Any

import pytest

from aiortc_restart import RTCConfiguration, RTCPeerConnection
from aiortc_restart.ice.generation import IceGeneration

from .agents import states_of
from .calls import ice_transport, offered
from .calls import restart as restart_call
from .network import Network, VirtualLoop
from .utils import Pair, connected_pair, negotiate, states, until

PINNED_PORT = 50000


def pin_port(
    monkeypatch: pytest.MonkeyPatch, network: Network, host: str, port: int
) -> None:
    """
    Let each socket of a host have the same port, as applications do behind firewalls.
    """
    loop = asyncio.get_running_loop()
    create = loop.create_datagram_endpoint

    async def pinned(factory: Any, local_addr: Any = None, **options: Any) -> Any:
        if local_addr is not None and local_addr[0] in network.addresses(host):
            local_addr = (local_addr[0], port)
        return await create(factory, local_addr=local_addr, **options)

    monkeypatch.setattr(loop, "create_datagram_endpoint", pinned)


def holdings(network: Network, pair: Pair) -> dict[str, object]:
    """
    Return what two peers hold, of each kind how much.
    """
    gc.collect()
    transports = [ice_transport(x) for x in (pair.offerer, pair.answerer)]
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    generations = [x for x in gc.get_objects() if isinstance(x, IceGeneration)]
    return {
        "sockets": (network.sockets("alice"), network.sockets("bob")),
        "tasks": len(asyncio.all_tasks()),
        "timers of transports": sum(len(x._retired) for x in transports),
        "generations": len(generations),
        "generations in use": [len(x.generations) for x in transports],
        "tasks that close": sum(len(x._closing) for x in transports),
        "listeners": [
            len(x.listeners(name))
            for transport in transports
            for x in (transport, transport.iceGatherer)
            for name in x.event_names()
        ],
    }


async def test_nothing_leaks(network: Network) -> None:
    """
    After a hundred restarts there is as much of everything as after five.
    """
    async with connected_pair(network) as pair:
        peers = [pair.offerer, pair.answerer]
        found = []
        for number in range(1, 101):
            await restart_call(*peers)
            peers.reverse()
            if number in (5, 100):
                # Until the last old generation has gone, and the objects with it.
                await asyncio.sleep(60)
                found.append(holdings(network, pair))
        assert found[0] == found[1]
        assert found[0]["sockets"] == (1, 1)
        assert found[0]["generations"] == 2
        assert found[0]["generations in use"] == [1, 1]
        await pair.exchange()


async def test_nothing_leaks_from_restarts_which_fail(network: Network) -> None:
    """
    Nor do restarts leave anything which are given up or fail.
    """
    configuration = RTCConfiguration(iceServers=[], iceRestartTimeout=2)
    async with connected_pair(network, configuration=configuration) as pair:
        found = []
        for number in range(1, 11):
            network.filter = new_sockets_only(network)
            await negotiate(pair.offerer, pair.answerer, iceRestart=True)
            await asyncio.sleep(3)
            network.filter = None
            await offered(pair.answerer, iceRestart=True)
            # The offer with the old credentials takes the one with new ones back.
            plain = await pair.answerer.createOffer()
            await pair.answerer.setLocalDescription(plain)
            await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
            await pair.offerer.setLocalDescription()
            await pair.answerer.setRemoteDescription(pair.offerer.localDescription)
            if number in (2, 10):
                await asyncio.sleep(60)
                found.append(holdings(network, pair))
        assert found[0] == found[1]
        assert found[0]["sockets"] == (1, 1)
        await pair.exchange()
        await restart_call(pair.offerer, pair.answerer)
        await pair.exchange()


def new_sockets_only(network: Network) -> Any:
    """
    Return a filter which drops what comes from sockets that are opened from now on.
    """
    known = {x.local for name in ("alice", "bob") for x in network._hosts[name].sockets}
    return lambda datagram: datagram.source in known


# Old and new sockets


async def test_sockets_live_side_by_side(network: Network) -> None:
    """
    During a restart both sides have old and new sockets, each with a port of its own.
    """
    async with connected_pair(network) as pair:
        network.delay(0.1)
        before = network.sockets("alice"), network.sockets("bob")
        assert before == (1, 1)
        restarting = asyncio.create_task(restart_call(pair.offerer, pair.answerer))
        await asyncio.sleep(0.1)
        assert (network.sockets("alice"), network.sockets("bob")) == (2, 2)
        await pair.exchange()
        await restarting
        assert (network.sockets("alice"), network.sockets("bob")) == (2, 2)
        await asyncio.sleep(3.5)
        assert (network.sockets("alice"), network.sockets("bob")) == (1, 1)


@pytest.mark.parametrize("pinned", ["alice", "bob"])
async def test_pinned_port(
    network: Network, monkeypatch: pytest.MonkeyPatch, pinned: str
) -> None:
    """
    Where a second socket cannot be bound, the restart fails at its deadline and the
    call goes on.
    """
    pin_port(monkeypatch, network, pinned, PINNED_PORT)
    async with connected_pair(network) as pair:
        peers = (pair.offerer, pair.answerer)
        transports = [ice_transport(x) for x in peers]
        histories = [states_of(x) for x in transports]
        before = [x.getSelectedCandidatePair() for x in transports]
        began = network.now
        await negotiate(*peers, iceRestart=True)
        await pair.exchange()
        await until(lambda: all(x.state == "completed" for x in transports), 45)
        assert network.now - began == pytest.approx(39.5, abs=0.2)
        assert histories == [["completed", "connected", "completed"]] * 2
        assert [x.getSelectedCandidatePair() for x in transports] == before
        await asyncio.sleep(60)
        assert network.sockets("alice") == network.sockets("bob") == 1
        await pair.exchange()

        # Once the port is free for the next socket, a restart works.
        monkeypatch.undo()
        await restart_call(*peers)
        await pair.exchange()


# An address vanishes


async def test_address_vanishes(network: Network) -> None:
    """
    Errors of sendto() are the loss of a path, seen at once, and nothing is closed.
    """
    async with connected_pair(network) as pair:
        histories = [states(pair.offerer), states(pair.answerer)]
        network.readdress("alice", "10.0.3.1")
        sent = len(network.log)
        received: list[object] = []
        pair.remote_channel.on("message", received.append)
        for number in range(10):
            pair.channel.send(str(number))
            await asyncio.sleep(1)
        # Nothing has left the host: each attempt was an error.
        addresses = {x.source[0] for x in list(network.log)[sent:]}
        assert addresses <= {"10.0.2.1"}
        assert [x.connection for x in histories] == [["connected", "disconnected"]] * 2

        await until(lambda: pair.offerer.iceConnectionState == "failed", timeout=40)
        await until(lambda: pair.answerer.iceConnectionState == "failed", timeout=40)
        assert [x.connection for x in histories] == [
            ["connected", "disconnected", "failed"]
        ] * 2
        assert pair.channel.readyState == pair.remote_channel.readyState == "open"
        assert received == []

        await restart_call(pair.offerer, pair.answerer)
        await pair.exchange()
        assert received[:10] == [str(number) for number in range(10)]
        expected = ["completed", "disconnected", "failed", "checking", "completed"]
        assert [x.ice for x in histories] == [expected] * 2
        assert [x.connection[-1] for x in histories] == ["connected"] * 2


@pytest.mark.parametrize("offerer_is_moved", [True, False])
async def test_restart_at_once_when_an_address_vanishes(
    network: Network, offerer_is_moved: bool
) -> None:
    """
    A restart does not wait for the loss of the old path, whoever has moved.
    """
    async with connected_pair(network) as pair:
        peers = (pair.offerer, pair.answerer)
        histories = [states(x) for x in peers]
        network.readdress("alice", "10.0.3.1")
        began = network.now
        await restart_call(*(peers if offerer_is_moved else peers[::-1]))
        assert network.now - began < 0.1
        await pair.exchange()
        pair_of_bob = ice_transport(pair.answerer).getSelectedCandidatePair()
        assert pair_of_bob is not None
        assert pair_of_bob.remote.ip == "10.0.3.1"
        await asyncio.sleep(60)
        expected = ["completed", "connected", "completed"]
        assert [x.ice for x in histories] == [expected] * 2
        assert [x.connection for x in histories] == [["connected"]] * 2


async def test_no_address_at_all(network: Network) -> None:
    """
    A host without any address offers a restart without candidates, which fails; when it
    has an address again, the next one works.
    """
    configuration = RTCConfiguration(
        iceServers=[], iceRestartTimeout=5, iceFailedTimeout=None
    )
    async with connected_pair(network, configuration=configuration) as pair:
        history = states(pair.offerer)
        network.readdress("alice")
        await until(lambda: pair.offerer.connectionState == "failed", timeout=40)
        await negotiate(pair.offerer, pair.answerer, iceRestart=True)
        await until(lambda: pair.offerer.iceConnectionState == "failed", timeout=10)
        network.readdress("alice", "10.0.3.1")
        await restart_call(pair.offerer, pair.answerer)
        await pair.exchange()
        assert history.ice == [
            *("completed", "disconnected", "failed"),
            *("checking", "failed", "checking", "completed"),
        ]


async def test_close_during_each_turn_of_a_restart(network: Network) -> None:
    """
    A connection may be closed in any turn of the event loop of a restart.
    """
    for turns in range(12):
        async with connected_pair(network) as pair:
            offering = asyncio.create_task(quietly(pair.offerer))
            for _ in range(turns):
                await asyncio.sleep(0)
            await pair.offerer.close()
            await offering
        await until(lambda: network.sockets("alice") == 0, timeout=1)


async def quietly(pc: RTCPeerConnection) -> None:
    try:
        await offered(pc, iceRestart=True)
    except Exception as exc:
        # A connection which is being closed may say so.
        assert "closed" in str(exc), repr(exc)
