"""
The simulated network itself, with aiortc and aioice as they are.
"""

import asyncio
import errno
import gc
import itertools
import math
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import aioice.ice
import aiortc
import aiortc.clock
import aiortc.rtcsctptransport
import pytest
from aioice import Connection, stun
from OpenSSL import SSL

from . import network as network_module
from . import utils
from .network import Datagram, Network, run
from .utils import (
    candidates,
    connected_pair,
    credentials,
    event,
    run_in_real_time,
    sdp_edit,
    states,
    until,
)

STOCK: dict[str, Any] = {
    "offerer": aiortc.RTCPeerConnection,
    "answerer": aiortc.RTCPeerConnection,
    "configuration": aiortc.RTCConfiguration(iceServers=[]),
}


class Socket(asyncio.DatagramProtocol):
    """
    A socket which keeps what it receives, and when.
    """

    def __init__(self, network: Network) -> None:
        self.arrivals: list[tuple[float, bytes]] = []
        self.arrived = asyncio.Event()
        self.errors: list[int | None] = []
        self.hosts: list[str | None] = []
        self.network = network
        self.transport: asyncio.DatagramTransport

    @property
    def address(self) -> tuple[Any, ...]:
        address: tuple[Any, ...] = self.transport.get_extra_info("sockname")
        return address

    @property
    def received(self) -> list[bytes]:
        return [data for _, data in self.arrivals]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.arrivals.append((self.network.now, data))
        self.arrived.set()
        self.hosts.append(here())

    def error_received(self, exc: Exception) -> None:
        assert isinstance(exc, OSError)
        self.errors.append(exc.errno)

    def send(self, data: bytes, other: "Socket") -> None:
        self.transport.sendto(data, other.address)


class Echo(Socket):
    """
    A socket which sends back what it receives.
    """

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        super().datagram_received(data, addr)
        self.transport.sendto(data, addr)


async def open_socket(
    network: Network,
    host: str,
    address: str | None = None,
    port: int = 0,
    kind: type[Socket] = Socket,
) -> Socket:
    if address is None:
        address = network.addresses(host)[0]
    with network.host(host):
        _, opened = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: kind(network), local_addr=(address, port)
        )
    return opened


async def two_sockets(network: Network) -> tuple[Socket, Socket]:
    return await open_socket(network, "alice"), await open_socket(network, "bob")


async def two_agents(network: Network) -> tuple[Connection, Connection]:
    """
    Return two ICE agents which have gathered and know each other.
    """
    agents = (Connection(ice_controlling=True), Connection(ice_controlling=False))
    for agent, name in zip(agents, ("alice", "bob"), strict=True):
        with network.host(name):
            await agent.gather_candidates()
    for local, remote in (agents, agents[::-1]):
        local.remote_username = remote.local_username
        local.remote_password = remote.local_password
        for candidate in remote.local_candidates:
            await local.add_remote_candidate(candidate)
        await local.add_remote_candidate(None)
    return agents


def close(*sockets: Socket) -> None:
    for each in sockets:
        each.transport.close()


def requests(network: Network) -> list[Datagram]:
    return [
        datagram
        for datagram in network.log
        if (message := datagram.message) is not None
        and message.message_class == stun.Class.REQUEST
    ]


# Two peers.


async def test_peers_connect(network: Network) -> None:
    """
    Two peers connect over the simulated sockets and leave nothing behind.
    """
    async with connected_pair(network, **STOCK) as pair:
        await pair.exchange()
        assert network.sockets("alice") == network.sockets("bob") == 1
        assert network.now < 1
        addresses = {datagram.source[0] for datagram in network.log}
        assert addresses == {"10.0.1.1", "10.0.2.1"}
        assert {datagram.fate for datagram in network.log} <= {"delivered", "in flight"}
        for pc, address in ((pair.offerer, "10.0.1.1"), (pair.answerer, "10.0.2.1")):
            assert [x.ip for x in candidates(pc.localDescription)] == [address]
        await until(lambda: len(requests(network)) >= 4, timeout=10)
    assert network.sockets("alice") == network.sockets("bob") == 0


async def test_peers_lose_their_path(network: Network) -> None:
    """
    An outage ends in the loss of consent, at its time, without waiting for it.
    """
    began = time.monotonic()
    async with connected_pair(network, **STOCK) as pair:
        history = states(pair.offerer)
        network.cut("alice")
        cut_at = network.now
        await until(lambda: pair.offerer.connectionState == "closed", timeout=60)
        # Six requests, each sent 4 to 6 s after the one before, and 0.5 s for each.
        assert 6 * 4.5 <= network.now - cut_at <= 6 * 6.5 + 1
        await asyncio.sleep(60)
        assert history.connection == ["connected", "closed"]
        assert history.ice == ["completed", "closed"]
    assert time.monotonic() - began < 20


async def test_peers_survive_a_short_cut(network: Network) -> None:
    """
    Consent which is renewed in time keeps the connection, and SCTP resends.
    """
    async with connected_pair(network, **STOCK) as pair:
        history = states(pair.offerer)
        received: list[object] = []
        pair.remote_channel.on("message", received.append)
        network.cut("alice", "bob")
        pair.channel.send("late")
        await asyncio.sleep(10)
        assert received == []
        network.heal()
        await until(lambda: received == ["late"])
        await asyncio.sleep(60)
        await pair.exchange()
        assert history.connection == ["connected"]


async def test_peers_with_loss(network: Network) -> None:
    """
    A reliable channel delivers everything in order although a fifth is lost.
    """
    async with connected_pair(network, **STOCK) as pair:
        received: list[object] = []
        pair.remote_channel.on("message", received.append)
        network.loss(0.2, seed=1)
        for number in range(100):
            pair.channel.send(str(number))
        await until(lambda: len(received) == 100, timeout=300)
        network.loss(0)
        assert received == [str(number) for number in range(100)]
        assert any(datagram.fate == "lost" for datagram in network.log)


async def test_peers_with_lifetime_of_messages(network: Network) -> None:
    """
    SCTP measures the lifetime of a message in virtual time.
    """
    async with connected_pair(network, maxPacketLifeTime=1000, **STOCK) as pair:
        received: list[object] = []
        pair.remote_channel.on("message", received.append)
        network.cut("bob")
        pair.channel.send("too late")
        await asyncio.sleep(10)
        network.heal("bob")
        pair.channel.send("in time")
        await until(lambda: received != [])
        await asyncio.sleep(10)
        assert received == ["in time"]


async def test_peers_with_media(network: Network) -> None:
    """
    Tracks are paced by the virtual clock, and their encoders are waited for.
    """

    def add_track(offerer: aiortc.RTCPeerConnection, _: object) -> None:
        offerer.addTrack(aiortc.AudioStreamTrack())

    async with connected_pair(network, prepare=add_track, **STOCK) as pair:
        await asyncio.sleep(10)
        (receiver,) = pair.answerer.getReceivers()
        statistics = [
            report
            for report in (await receiver.getStats()).values()
            if isinstance(report, aiortc.RTCInboundRtpStreamStats)
        ]
    (received,) = statistics
    # A packet each 20 ms, but for the time which the handshake takes.
    assert 490 <= received.packetsReceived <= 501
    assert received.packetsLost == 0


async def test_peers_lose_part_of_the_handshake(network: Network) -> None:
    """
    A DTLS flight which is lost is sent again, at the time at which it is due.
    """
    lost: list[Datagram] = []

    def drop_first_handshake(datagram: Datagram) -> bool:
        if datagram.data[0] != 22 or lost:
            return True
        lost.append(datagram)
        return False

    network.filter = drop_first_handshake
    async with connected_pair(network, **STOCK) as pair:
        await pair.exchange()
        assert [datagram.fate for datagram in lost] == ["filtered"]
        assert 1 <= network.now < 2


# What peers do to the network.


async def test_cut_and_heal(network: Network) -> None:
    """
    A cut drops silently, both ways, what its host, its address or its path carries.
    """
    network.add_host("carol", "10.0.3.1")
    network.readdress("alice", "10.0.1.1", "10.0.1.2")
    alice = await open_socket(network, "alice", "10.0.1.1")
    other = await open_socket(network, "alice", "10.0.1.2")
    bob = await open_socket(network, "bob")
    carol = await open_socket(network, "carol")
    sockets = {"alice": alice, "other": other, "bob": bob, "carol": carol}
    names = {each.address: name for name, each in sockets.items()}

    async def reachable() -> set[str]:
        for sender, receiver in itertools.permutations(sockets.values(), 2):
            sender.send(names[sender.address][:1].encode(), receiver)
        await asyncio.sleep(0.1)
        crossed = {
            name[:1] + data.decode()
            for name, each in sockets.items()
            for data in each.received
        }
        for each in sockets.values():
            assert each.errors == []
            each.arrivals.clear()
        assert all("".join(reversed(pair)) in crossed for pair in crossed)
        return {"".join(sorted(pair)) for pair in crossed}

    everything = {"ao", "ab", "ac", "bo", "co", "bc"}
    assert await reachable() == everything
    network.cut("alice")
    assert await reachable() == {"bc"}
    network.cut("bob", "carol")
    assert await reachable() == set()
    network.heal("alice")
    assert await reachable() == everything - {"bc"}
    network.heal("carol", "bob")
    network.cut("10.0.1.2")
    assert await reachable() == {"ab", "ac", "bc"}
    network.cut()
    assert await reachable() == set()
    network.heal()
    assert await reachable() == everything
    close(*sockets.values())


async def test_cut_drops_what_is_in_flight(network: Network) -> None:
    """
    A datagram whose path is cut while it is on its way does not arrive.
    """
    alice, bob = await two_sockets(network)
    network.delay(1)
    alice.send(b"1", bob)
    await asyncio.sleep(0.5)
    network.cut("bob")
    await asyncio.sleep(1)
    network.heal("bob")
    alice.send(b"2", bob)
    await asyncio.sleep(2)
    assert bob.received == [b"2"]
    assert [datagram.fate for datagram in network.log] == ["cut", "delivered"]
    close(alice, bob)


async def test_ends_which_do_not_exist(network: Network) -> None:
    """
    A misspelt end is an error, as is the healing of what was not cut.
    """
    for ends in (["bobby"], ["10.0.9.9"], ["alice", "bob", "10.0.1.1"]):
        with pytest.raises(ValueError):
            network.cut(*ends)
        with pytest.raises(ValueError):
            network.delay(1, *ends)
    with pytest.raises(ValueError):
        network.heal("alice")
    with pytest.raises(ValueError):
        network.add_host("alice", "10.0.9.9")
    with pytest.raises(ValueError):
        network.add_host("carol", "10.0.1.1")
    with pytest.raises(KeyError):
        network.addresses("carol")
    with pytest.raises(KeyError), network.host("bobby"):
        pass


async def test_readdress(network: Network) -> None:
    """
    Sockets on an address which vanished report it, and hear nothing until it is back.
    """
    alice, bob = await two_sockets(network)
    network.readdress("alice", "10.0.7.1")
    alice.send(b"1", bob)
    bob.send(b"2", alice)
    await asyncio.sleep(1)
    assert alice.errors == [errno.ENETUNREACH]
    assert bob.errors == []
    assert alice.received == bob.received == []
    assert [datagram.fate for datagram in network.log] == ["unreachable"]
    assert network.sockets("alice") == 1

    network.add_host("carol", "10.0.1.1")
    bob.send(b"2", alice)
    await asyncio.sleep(1)
    assert alice.received == []
    network.readdress("carol")

    second = await open_socket(network, "alice", "10.0.7.1")
    second.send(b"3", bob)
    network.readdress("alice", "10.0.7.1", "10.0.1.1")
    alice.send(b"4", bob)
    await asyncio.sleep(1)
    assert bob.received == [b"3", b"4"]
    assert network.sockets("alice") == 2
    close(alice, bob, second)


async def test_readdress_is_seen_by_candidates(network: Network) -> None:
    """
    An agent gathers the addresses which its host has at that time, of both families.
    """
    network.readdress("alice", "10.0.7.1", "fd00:0::7")
    assert await gathered(network, "alice") == {"10.0.7.1", "fd00::7"}
    assert await gathered(network, "bob") == {"10.0.2.1"}
    network.readdress("alice")
    assert await gathered(network, "alice") == set()


async def gathered(network: Network, name: str) -> set[str]:
    agent = Connection(ice_controlling=True)
    with network.host(name):
        await agent.gather_candidates()
    hosts = {candidate.host for candidate in agent.local_candidates}
    await agent.close()
    return hosts


async def test_delay_of_round_trips(network: Network) -> None:
    """
    The virtual time of an exchange is that of its round trips.
    """
    alice = await open_socket(network, "alice")
    bob = await open_socket(network, "bob", kind=Echo)
    network.delay(0.3)
    network.delay(0.7, "bob", "alice")
    network.add_host("carol", "10.0.3.1")
    network.delay(5, "carol")
    for number in range(5):
        alice.send(b"%d" % number, bob)
        await asyncio.wait_for(alice.arrived.wait(), 2)
        alice.arrived.clear()
        assert math.isclose(network.now, (number + 1) * 1.4)
    network.delay(0)
    began = network.now
    alice.send(b"now", bob)
    await alice.arrived.wait()
    assert network.now == began
    close(alice, bob)


async def test_delay_of_checks(network: Network) -> None:
    """
    ICE takes one round trip, since aioice's first check nominates.
    """
    alice, bob = await two_agents(network)
    network.delay(0.2)
    began = network.now
    await asyncio.gather(alice.connect(), bob.connect())
    # The pacing of the checks is in steps of 20 ms.
    assert 0.4 <= network.now - began <= 0.421
    await asyncio.gather(alice.close(), bob.close())


@pytest.mark.parametrize("round_trip, alive", [(0.4, True), (0.6, False)])
async def test_delay_of_consent(
    network: Network, round_trip: float, alive: bool
) -> None:
    """
    aioice waits half a second for the answer to a consent request.
    """
    alice, bob = await two_agents(network)
    await asyncio.gather(alice.connect(), bob.connect())
    network.delay(round_trip / 2)
    await asyncio.sleep(60)
    assert bool(alice._nominated) == alive
    await asyncio.gather(alice.close(), bob.close())


async def test_loss(network: Network) -> None:
    """
    Loss takes the part which it was told to, and the same with the same seed.
    """
    alice, bob = await two_sockets(network)

    async def survivors(probability: float, seed: int) -> list[bytes]:
        network.loss(probability, seed)
        bob.arrivals.clear()
        for number in range(1000):
            alice.send(b"%d" % number, bob)
        await asyncio.sleep(0.1)
        return bob.received

    first = await survivors(0.3, 1)
    assert 650 < len(first) < 750
    assert await survivors(0.3, 1) == first
    assert await survivors(0.3, 2) != first
    assert await survivors(1, 1) == []
    assert len(await survivors(0, 1)) == 1000
    close(alice, bob)


@pytest.mark.parametrize("delay", [0, 0.25])
async def test_order(network: Network, delay: float) -> None:
    """
    What is sent on one path arrives in the order in which it was sent.
    """
    alice, bob = await two_sockets(network)
    network.delay(delay)
    sent = [b"%d" % number for number in range(200)]
    for number, data in enumerate(sent):
        alice.send(data, bob)
        if number % 10 == 9:
            await asyncio.sleep(0.05)
    await asyncio.sleep(1)
    assert bob.received == sent
    close(alice, bob)


async def test_order_when_the_path_gets_shorter(network: Network) -> None:
    """
    A datagram on a faster path overtakes one which is on its way.
    """
    alice, bob = await two_sockets(network)
    network.delay(1, "alice")
    alice.send(b"slow", bob)
    network.delay(0.5, "alice")
    alice.send(b"fast", bob)
    network.delay(0, "alice")
    alice.send(b"at once", bob)
    await asyncio.sleep(2)
    assert bob.arrivals == [(0, b"at once"), (0.5, b"fast"), (1, b"slow")]
    close(alice, bob)


async def test_filter_and_tap(network: Network) -> None:
    """
    A filter drops what it is told to; taps and the log see that, too.
    """
    alice, bob = await two_agents(network)
    tapped: list[Datagram] = []
    network.tap(tapped.append)
    network.filter = lambda datagram: datagram.source[0] != "10.0.2.1"
    connecting = asyncio.gather(alice.connect(), bob.connect(), return_exceptions=True)
    await asyncio.sleep(1)
    assert not connecting.done()
    fates = {(datagram.source[0], datagram.fate) for datagram in network.log}
    assert fates == {("10.0.1.1", "delivered"), ("10.0.2.1", "filtered")}
    network.filter = None
    assert list(await connecting) == [None, None]
    assert tapped == list(network.log)
    for request in requests(network):
        message = request.message
        assert message is not None and message.attributes["USERNAME"] in (
            f"{bob.local_username}:{alice.local_username}",
            f"{alice.local_username}:{bob.local_username}",
        )
    await asyncio.gather(alice.close(), bob.close())


async def test_ipv6(network: Network) -> None:
    """
    Two agents connect over IPv6, whose socket addresses have four parts.
    """
    network.readdress("alice", "fd00::1")
    network.readdress("bob", "fd00::2")
    alice, bob = await two_agents(network)
    await asyncio.gather(alice.connect(), bob.connect())
    await alice.send(b"hello")
    assert await bob.recv() == b"hello"
    assert network.log[-1].source[0] == "fd00::1"
    await asyncio.gather(alice.close(), bob.close())

    opened = await open_socket(network, "alice")
    assert opened.address == ("fd00::1", opened.address[1], 0, 0)
    opened.transport.sendto(b"1", ("10.0.2.1", 1))
    assert opened.errors == [errno.EAFNOSUPPORT]
    opened.transport.sendto(b"2", ("fd00:0:0::1", opened.address[1]))
    await asyncio.sleep(0.1)
    assert opened.received == [b"2"]
    close(opened)


# Sockets.


async def test_bind(network: Network) -> None:
    """
    A socket has a free port of an address of its own host.
    """
    first = await open_socket(network, "alice")
    second = await open_socket(network, "alice")
    pinned = await open_socket(network, "alice", port=5000)
    elsewhere = await open_socket(network, "bob", port=5000)
    assert first.address[1] != second.address[1]
    assert pinned.address == ("10.0.1.1", 5000)
    for address, port, expected in (
        ("10.0.1.1", 5000, errno.EADDRINUSE),
        ("10.0.2.1", 0, errno.EADDRNOTAVAIL),
        ("10.0.9.9", 0, errno.EADDRNOTAVAIL),
    ):
        with pytest.raises(OSError) as caught:
            await open_socket(network, "alice", address, port)
        assert caught.value.errno == expected
    assert network.sockets("alice") == 3
    close(pinned)
    await asyncio.sleep(0)
    assert network.sockets("alice") == 2
    again = await open_socket(network, "alice", port=5000)
    close(first, second, elsewhere, again)


async def test_connected_socket(network: Network) -> None:
    """
    A socket with a remote address is bound by its host and hears nobody else.
    """
    bob = await open_socket(network, "bob", kind=Echo)
    stranger = await open_socket(network, "bob")
    with network.host("alice"):
        _, alice = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: Socket(network), remote_addr=bob.address
        )
    assert alice.address[0] == "10.0.1.1"
    assert alice.transport.get_extra_info("peername") == bob.address
    alice.transport.sendto(b"echo")
    stranger.send(b"spam", alice)
    await asyncio.sleep(0.1)
    assert alice.received == [b"echo"]
    with pytest.raises(ValueError):
        alice.send(b"1", stranger)
    close(alice, bob, stranger)


async def test_sockets_run_on_their_host(network: Network) -> None:
    """
    A datagram is handled on the host of the receiver, not on that of the sender.
    """
    alice, bob = await two_sockets(network)
    with network.host("alice"):
        alice.send(b"1", bob)
        await asyncio.sleep(0.1)
        bob.send(b"2", alice)
        await asyncio.sleep(0.1)
    assert (alice.hosts, bob.hosts) == (["alice"], ["bob"])
    close(alice, bob)


class Program:
    """
    Something which runs on a host.
    """

    def __init__(self) -> None:
        self.hosts = [here()]

    def delegate(self) -> Coroutine[Any, Any, None]:
        return self._wait()

    async def wait(self) -> None:
        await asyncio.create_task(self._wait())

    def look(self) -> None:
        self.hosts.append(here())

    async def _wait(self) -> None:
        await asyncio.sleep(1)
        self.hosts.append(here())


def here() -> str | None:
    host = network_module._current_host.get()
    return host.name if host else None


async def test_hosts_are_inherited(network: Network) -> None:
    """
    What code on a host starts runs there.
    """
    program = Program()
    with network.host("alice"):
        program.look()
        waiting = asyncio.create_task(program.wait())
        asyncio.get_running_loop().call_later(2, program.look)
        with network.host("bob"):
            program.look()
    await waiting
    await asyncio.sleep(2)
    program.look()
    assert program.hosts == [None, "alice", "bob", "alice", "alice", None]


async def test_at(network: Network) -> None:
    """
    The methods of a class which is bound to a host run there, whoever calls them.
    """
    program = network.at("bob", Program)()
    with network.host("alice"):
        program.look()
        await asyncio.gather(program.wait(), program.delegate())
        assert here() == "alice"
    assert here() is None
    assert program.hosts == ["bob"] * 4
    assert isinstance(program, Program)


async def test_candidates_need_a_host(network: Network) -> None:
    """
    Candidates which are gathered outside of any host are a mistake of the test.
    """
    agent = Connection(ice_controlling=True)
    with pytest.raises(RuntimeError, match="outside of any host"):
        await agent.gather_candidates()


# The clock.


async def test_clock_stands_still_for_an_executor(network: Network) -> None:
    """
    Timers do not fire while an executor works, however long it takes.
    """
    fired: list[float] = []
    loop = asyncio.get_running_loop()
    loop.call_later(0.001, lambda: fired.append(loop.time()))
    await asyncio.to_thread(time.sleep, 0.05)
    assert network.now == 0
    assert fired == []
    began = aiortc.clock.current_datetime()
    await asyncio.sleep(3599)
    assert network.now == 3599
    assert aiortc.clock.current_datetime() - began == timedelta(seconds=3599)
    assert fired == [0.001]


def test_clock_has_a_limit() -> None:
    """
    A test which would wait for ever ends, and the error shows for what it waited.
    """

    async def wait_for_ever(network: Network) -> None:
        network.limit = 100
        await until(lambda: False, timeout=1000)

    with pytest.raises(TimeoutError, match="not done after 100 virtual") as caught:
        run(wait_for_ever)
    cause = caught.value.__cause__
    assert cause is not None
    assert "wait_for_ever" in {
        frame.f_code.co_name for frame, _ in traceback.walk_tb(cause.__traceback__)
    }


def test_clock_without_timers(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A test which waits for what nobody will do ends.
    """
    monkeypatch.setattr(network_module, "STALL_LIMIT", 0.05)

    async def wait_for_nothing(network: Network) -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(TimeoutError, match="everything waits"):
        run(wait_for_nothing)


async def test_clock_and_threads(network: Network) -> None:
    """
    A thread may wake the event loop when nothing else does.
    """
    loop = asyncio.get_running_loop()
    woken = asyncio.Event()
    timer = threading.Timer(0.05, loop.call_soon_threadsafe, [woken.set])
    timer.start()
    await woken.wait()
    timer.join()
    assert network.now == 0


# What is left behind.


async def leave_task(network: Network) -> object:
    return asyncio.create_task(asyncio.sleep(1), name="forgotten")


async def leave_socket(network: Network) -> object:
    return await open_socket(network, "alice")


async def leave_timer(network: Network) -> object:
    return asyncio.get_running_loop().call_later(1, print)


async def leave_exception(network: Network) -> object:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(ValueError("unretrieved"))
    return None


async def leave_exception_in_cycle(network: Network) -> object:
    future = asyncio.get_running_loop().create_future()
    future.set_exception(ValueError("unretrieved"))
    cycle: list[object] = [future]
    cycle.append(cycle)
    return None


async def leave_failed_task(network: Network) -> object:
    async def fail() -> None:
        raise ValueError("unretrieved")

    task = asyncio.create_task(fail())
    await asyncio.wait([task])
    return None


async def leave_failed_callback(network: Network) -> object:
    def fail() -> None:
        raise ValueError("unretrieved")

    asyncio.get_running_loop().call_soon(fail)
    return None


async def leave_destroyed_task(network: Network) -> object:
    async def wait() -> None:
        await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    del task
    gc.collect()
    return None


async def leave_coroutine(network: Network) -> object:
    asyncio.sleep(1)  # type: ignore[unused-coroutine]
    return None


async def leave_file(network: Network) -> object:
    open(__file__)  # noqa: ASYNC230
    return None


async def leave_thread(network: Network) -> object:
    released = threading.Event()
    thread = threading.Thread(target=released.wait, args=[10], daemon=True)
    thread.start()
    return released


async def leave_descriptor(network: Network) -> object:
    return socket.socket()


async def leave_datagram_on_closed_socket(network: Network) -> object:
    alice, bob = await two_sockets(network)
    close(alice, bob)
    await asyncio.sleep(0)
    alice.send(b"late", bob)
    return None


Leave = Callable[[Network], Coroutine[Any, Any, object]]

LEFT_BEHIND: list[tuple[Leave, str]] = [
    (leave_task, "forgotten"),
    (leave_exception, "never retrieved: ValueError"),
    (leave_exception_in_cycle, "never retrieved: ValueError"),
    (leave_failed_task, "never retrieved: ValueError"),
    (leave_failed_callback, "Exception in callback"),
    (leave_destroyed_task, "destroyed but it is pending"),
    (leave_coroutine, "never awaited"),
    (leave_file, "ResourceWarning"),
    (leave_thread, "Thread-"),
]

LEFT_BEHIND_IN_VIRTUAL_TIME: list[tuple[Leave, str]] = [
    *LEFT_BEHIND,
    (leave_socket, r"socket \('10.0.1.1'"),
    (leave_timer, "TimerHandle"),
    (leave_datagram_on_closed_socket, "closed socket"),
]

LEFT_BEHIND_IN_REAL_TIME: list[tuple[Leave, str]] = [
    *LEFT_BEHIND,
    (leave_descriptor, "socket:"),
]


async def keep(leave: Leave, network: Network, kept: list[object]) -> None:
    kept.append(await leave(network))


def release(kept: list[object]) -> None:
    for thing in kept:
        if isinstance(thing, threading.Event):
            thing.set()
        elif isinstance(thing, socket.socket):
            thing.close()


@pytest.mark.parametrize("leave, named", LEFT_BEHIND_IN_VIRTUAL_TIME)
def test_left_behind(leave: Leave, named: str) -> None:
    """
    A test which leaves something behind fails, and the error names it.
    """
    kept: list[object] = []

    async def test(network: Network) -> None:
        await keep(leave, network, kept)

    try:
        with pytest.raises(AssertionError, match=f"left behind: .*{named}"):
            run(test)
    finally:
        release(kept)


def test_left_behind_but_ending() -> None:
    """
    What ends by itself in a moment is not left behind.
    """

    async def leave_a_little(network: Network) -> None:
        asyncio.create_task(asyncio.sleep(0.05))  # noqa: RUF006
        alice, bob = await two_sockets(network)
        network.delay(10)
        alice.send(b"on its way", bob)
        close(alice, bob)

    run(leave_a_little)


def test_failure_of_a_test() -> None:
    """
    The error of a test is its own, with what the event loop was told meanwhile.
    """

    async def fail(network: Network) -> None:
        await leave_socket(network)
        await leave_failed_callback(network)
        await asyncio.sleep(0)
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own") as caught:
        run(fail)
    assert "ValueError('unretrieved')" in caught.value.__notes__[0]


def test_surroundings_are_restored() -> None:
    """
    After a run, aioice and aiortc are as they were.
    """

    def surroundings() -> list[object]:
        return [
            aioice.ice.get_host_addresses,
            aiortc.clock.current_datetime,
            vars(aiortc.rtcsctptransport)["time"],
            SSL.Connection.DTLSv1_handle_timeout,
            sys.unraisablehook,
        ]

    async def look(network: Network) -> list[object]:
        return surroundings()

    before = surroundings()
    within = run(look)
    assert not any(x is y for x, y in zip(before, within, strict=True))
    assert surroundings() == before


# In real time.


async def leave_nothing() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(time.sleep, 0)
    closing = socket.socket(type=socket.SOCK_DGRAM)
    loop.call_later(0.05, closing.close)
    asyncio.create_task(asyncio.sleep(0.05))  # noqa: RUF006


async def test_pair_in_real_time() -> None:
    """
    Without a simulated network, two peers connect over the real one.
    """
    began = asyncio.get_running_loop().time()
    assert abs(began - time.monotonic()) < 10
    async with connected_pair(**STOCK) as pair:
        await pair.exchange()


def test_left_behind_in_real_time_but_ending() -> None:
    """
    What ends by itself is not left behind.
    """
    run_in_real_time(leave_nothing())


@pytest.mark.parametrize("leave, named", LEFT_BEHIND_IN_REAL_TIME)
def test_left_behind_in_real_time(
    leave: Leave, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A test in real time which leaves something behind fails, and the error names it.
    """
    monkeypatch.setattr(utils, "LIMIT", 0.2)
    kept: list[object] = []
    try:
        with pytest.raises((AssertionError, TimeoutError), match=named):
            run_in_real_time(keep(leave, Network(), kept))
    finally:
        release(kept)


# Helpers.


async def test_until(network: Network) -> None:
    """
    The value of the condition is returned, or the error says what was not true.
    """
    loop = asyncio.get_running_loop()
    assert await until(lambda: loop.time() > 1 and "value") == "value"
    assert 1 < network.now < 1.1
    with pytest.raises(TimeoutError, match="no luck"):
        await until(lambda: False, timeout=2, message="no luck")
    with pytest.raises(TimeoutError, match=r"at [34]\."):
        await until(lambda: 0, timeout=1, message=lambda: f"at {network.now}")


async def test_descriptions(network: Network) -> None:
    """
    Credentials and candidates are found in each section, and can be replaced.
    """
    with network.host("alice"):
        pc = aiortc.RTCPeerConnection(STOCK["configuration"])
        pc.addTransceiver("audio")
        pc.createDataChannel("test")
        gathered = asyncio.create_task(event(pc, "icegatheringstatechange"))
        await pc.setLocalDescription(await pc.createOffer())
        assert await gathered == ()
        offer = pc.localDescription
        await pc.close()
    (ufrag, pwd), second = credentials(offer)
    assert (len(ufrag), len(pwd)) == (4, 22)
    found = candidates(offer)
    assert [(x.ip, x.sdpMid, x.sdpMLineIndex) for x in found] == [
        ("10.0.1.1", "0", 0),
        ("10.0.1.1", "1", 1),
    ]
    assert credentials(sdp_edit(offer, ufrag="abcd", mids=["0"])) == [
        ("abcd", pwd),
        second,
    ]
    edited = sdp_edit(offer, ufrag="abcd", pwd=r"\1")
    assert credentials(edited) == [("abcd", r"\1")] * 2
    assert edited.type == "offer"
    back = sdp_edit(sdp_edit(edited, ufrag=ufrag, pwd=pwd, mids=["0"]), mids=["1"])
    back = sdp_edit(back, ufrag=second[0], pwd=second[1], mids=["1"])
    assert back == offer


def test_descriptions_with_credentials_of_the_session() -> None:
    """
    Credentials of the session count for each section which has none of its own.
    """
    lines = ["v=0", "a=ice-ufrag:s", "a=ice-pwd:p", "m=audio", "m=video", "a=ice-pwd:q"]
    description = aiortc.RTCSessionDescription(
        sdp="".join(f"{line}\r\n" for line in lines), type="offer"
    )
    assert credentials(description) == [("s", "p"), ("s", "q")]
    assert credentials(sdp_edit(description, pwd="x")) == [("s", "x")] * 2
