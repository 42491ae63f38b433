"""
Floods: a call goes on under ten thousand datagrams a second onto each of its ports, and
neither memory nor the log grows with them.
"""

import asyncio
import gc
import logging
import re
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import aioice.ice
import pytest
from aiortc import RTCDataChannel

from aiortc_restart import RTCConfiguration, RTCPeerConnection

from ..calls import (
    RETIREMENT,
    answered,
    ice_transport,
    ice_transports,
    offered,
    peers,
    restart,
    switched,
)
from ..media import Packets
from ..network import Address, Network
from ..utils import Pair, connected_pair, until
from .flood import RATE, flooded, flooding, mixture
from .path import Observer
from .peer import PARAMETERS, check
from .phases import LATENCY, generations, packets_received, sockets, unmoved

DROPS = "aiortc_restart.ice.drops"

MEMORY = 1_000_000
"How many bytes a flood may leave."


class Channels:
    """
    Channels of each kind between two peers, and what has come through them.
    """

    KINDS = (
        {"ordered": True},
        {"ordered": False},
        {"ordered": False, "maxRetransmits": 0},
        {"ordered": True, "maxPacketLifeTime": 500},
    )

    def __init__(self, *pcs: RTCPeerConnection) -> None:
        self.received: dict[tuple[int, int], list[object]] = {}
        self._ends: list[list[RTCDataChannel]] = []
        for i, kind in enumerate(self.KINDS):
            ends = [
                pc.createDataChannel("flood", negotiated=True, id=10 + 2 * i, **kind)  # type: ignore[arg-type]
                for pc in pcs
            ]
            self._ends.append(ends)
            for j, channel in enumerate(ends):
                self.received[i, j] = []
                channel.on("message", self.received[i, j].append)

    @property
    def opened(self) -> bool:
        return all(x.readyState == "open" for ends in self._ends for x in ends)

    async def exchange(self, *, lossless: bool) -> None:
        """
        Send a few messages each way, and wait for them.

        :param lossless: Whether those which may be lost have to come, too.
        """
        before = {key: len(x) for key, x in self.received.items()}
        for number in range(5):
            for ends in self._ends:
                for channel in ends:
                    channel.send(str(number))
            await asyncio.sleep(0.02)
        await until(
            lambda: all(
                len(x) - before[key] == 5
                for key, x in self.received.items()
                if lossless or key[0] < 2
            ),
            message=lambda: str({k: len(x) for k, x in self.received.items()}),
        )


def add_tracks(*pcs: RTCPeerConnection) -> None:
    for pc in pcs:
        pc.addTrack(Packets())


def stop_tracks(*pcs: RTCPeerConnection) -> None:
    for pc in pcs:
        for sender in pc.getSenders():
            if sender.track is not None:
                sender.track.stop()


@asynccontextmanager
async def going_on(
    channels: Channels, *pcs: RTCPeerConnection, lossless: bool = True
) -> AsyncIterator[None]:
    """
    Assert that messages and sound flow both ways before, during and after.
    """
    before = packets_received(*pcs)
    yield
    await channels.exchange(lossless=lossless)
    await until(
        lambda: all(b > a for a, b in zip(before, packets_received(*pcs), strict=True))
    )


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


def memory(network: Network) -> int:
    """
    Return how many bytes are in use, but for the network's own records.
    """
    network.log.clear()
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize("by", ["alice", "bob"])
async def test_flood(network: Network, by: str, traced: None) -> None:
    """
    Under a flood from a thousand sources onto every open port a call comes up, goes on
    and restarts, whoever offers the restart; then memory is what it was.
    """
    network.delay(LATENCY)
    observer = Observer(network)
    observer.seen = _Nothing()

    def ports() -> list[Address]:
        return [x for name in ("alice", "bob") for x in sockets(network, name)]

    async with peers(network) as (alice, bob):
        both = alice, bob
        channels = Channels(*both)
        add_tracks(*both)
        offer = await offered(alice)
        known = [x.local for x in generations(*both)]
        async with flooded(observer, ports, mixture(*known)) as sent:
            await asyncio.sleep(0.5)
            answer = await answered(bob, offer)
            await alice.setRemoteDescription(answer)
            await until(lambda: channels.opened)
            # What comes of early data is in the layers above by now.
            await channels.exchange(lossless=True)
        before = memory(network)
        known = [x.local for x in generations(*both)]
        async with going_on(channels, *both), unmoved(*both):
            async with flooded(observer, ports, mixture(*known)) as sent:
                await asyncio.sleep(1)
                await channels.exchange(lossless=True)
            assert sent[0] >= 2 * RATE
        assert memory(network) - before < MEMORY
        await restart_under_flood(
            observer, channels, *(both if by == "alice" else both[::-1])
        )
        await asyncio.sleep(RETIREMENT)
        assert memory(network) - before < MEMORY
        for pc in both:
            for transport in ice_transports(pc):
                assert len(transport._gatherer.inbox) == 0
        stop_tracks(*both)


class _Nothing(list):  # type: ignore[type-arg]
    """
    A list that keeps nothing.
    """

    def append(self, item: object) -> None:
        pass


async def restart_under_flood(
    observer: Observer,
    channels: Channels,
    offerer: RTCPeerConnection,
    answerer: RTCPeerConnection,
) -> None:
    """
    Restart while all ports, the old ones and the new, are flooded.
    """
    network = observer._network

    def ports() -> list[Address]:
        return [x for name in ("alice", "bob") for x in sockets(network, name)]

    known = [x.local for x in generations(offerer, answerer)]
    async with (
        going_on(channels, offerer, answerer),
        flooded(observer, ports, mixture(*known)),
    ):
        offer = await offered(offerer, iceRestart=True)
        await asyncio.sleep(0.2)
        answer = await answered(answerer, offer)
        await asyncio.sleep(0.2)
        await offerer.setRemoteDescription(answer)
        await switched(offerer, answerer)
        await asyncio.sleep(0.2)


async def test_flood_is_counted(network: Network) -> None:
    """
    The statistics of the flooded transport count what has been dropped, all of it.
    """
    async with connected_pair(network, prepare=add_tracks) as pair:
        observer = Observer(network)
        transport = ice_transport(pair.offerer)
        (target,) = sockets(network, "alice")
        before = transport.drops.counts.total()
        known = transport.local_parameters
        async with flooded(observer, lambda: [target], mixture(known)) as sent:
            await asyncio.sleep(1)
        await asyncio.sleep(0.1)
        assert transport.drops.counts.total() - before == sent[0]
        report = await pair.offerer.getStats()
        (stats,) = (x for x in report.values() if x.type == "transport")
        assert stats.datagramsDropped == before + sent[0]
        assert stats.dropReasons == dict(transport.drops.counts)
        assert len(stats.dropReasons) > 4
        stop_tracks(pair.offerer, pair.answerer)


async def test_log(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    """
    While something is dropped, one line a minute says how many that were, and why.
    """
    caplog.set_level(logging.INFO, logger="aiortc_restart")
    async with connected_pair(network) as pair:
        observer = Observer(network)
        (target,) = sockets(network, "alice")
        known = ice_transport(pair.offerer).local_parameters
        async with flooded(
            observer, lambda: [target], mixture(known), rate=200
        ) as sent:
            await asyncio.sleep(300)
        await asyncio.sleep(70)
        lines = [x for x in caplog.records if x.name == DROPS]
        assert 5 <= len(lines) <= 6
        numbers = [int(re.findall(r"\d+", x.getMessage())[0]) for x in lines]
        assert sum(numbers) == sent[0]
        for reason in ("empty", "stranger", "malformed STUN", "not a protocol"):
            assert reason in lines[0].getMessage()
        await asyncio.sleep(300)
        assert len([x for x in caplog.records if x.name == DROPS]) == len(lines)
        # Nothing else has been said about it.
        assert {x.name for x in caplog.records} <= {DROPS, "aiortc_restart.ice.keeper"}
        await pair.exchange()


async def test_refusals(network: Network) -> None:
    """
    Of a flood of forged checks a few a second are answered, so that it is not passed on
    to whomever the sources belong to.
    """
    async with connected_pair(network) as pair:
        observer = Observer(network)
        (target,) = sockets(network, "alice")
        known = ice_transport(pair.offerer).local_parameters
        forged = [
            check(known, PARAMETERS, password="guess" * 5),
            check(known, PARAMETERS, omit=[9, 6]),
        ]
        async with flooded(observer, lambda: [target], forged):
            await asyncio.sleep(3)
        answers = [
            x for x in observer.seen if x.source == target and x.data[:2] == b"\x01\x11"
        ]
        assert 0 < len(answers) <= 40
        await pair.exchange()


async def test_flood_in_the_name_of_the_peer(network: Network) -> None:
    """
    What comes in the peer's name is taken up to a rate far above that of any call, and
    what is over is counted.
    """
    async with connected_pair(network, prepare=add_tracks) as pair:
        observer = Observer(network)
        transport = ice_transport(pair.offerer)
        (target,), (source,) = sockets(network, "alice"), sockets(network, "bob")
        for _ in range(200_000):
            observer.inject(b"\x80" + bytes(40), source, target)
        await asyncio.sleep(0.5)
        assert transport.drops.counts["too many"] > 0
        await pair.exchange()
        stop_tracks(pair.offerer, pair.answerer)


# On real sockets


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    )


def real_ports(*pcs: RTCPeerConnection) -> list[Address]:
    """
    Return the addresses of peers' open sockets.
    """
    return [
        (candidate.host, candidate.port)
        for generation in generations(*pcs)
        if not generation.closed
        for candidate in generation.connection.local_candidates
    ]


async def test_flood_on_loopback(loopback: None) -> None:
    """
    On real sockets a call comes up, goes on and restarts under a flood from a hundred
    addresses.
    """
    configuration = RTCConfiguration(iceServers=[])
    alice, bob = both = [RTCPeerConnection(configuration) for _ in range(2)]
    channels = Channels(*both)
    add_tracks(*both)
    try:
        await alice.setLocalDescription()
        flood = mixture(*(x.local for x in generations(*both)))
        with flooding(lambda: real_ports(*both), flood, RATE // 2, 60_000) as sent:
            await asyncio.sleep(0.5)
            await bob.setRemoteDescription(alice.localDescription)
            await bob.setLocalDescription()
            await alice.setRemoteDescription(bob.localDescription)
            await until(lambda: channels.opened)
            async with going_on(channels, *both, lossless=False):
                await asyncio.sleep(0.5)
            async with going_on(channels, *both, lossless=False):
                await alice.setLocalDescription(
                    await alice.createOffer(iceRestart=True)
                )
                await bob.setRemoteDescription(alice.localDescription)
                await bob.setLocalDescription()
                await alice.setRemoteDescription(bob.localDescription)
                await switched(*both)
        assert sent[0] > 1000
        await channels.exchange(lossless=False)
        dropped = sum(x.drops.counts.total() for pc in both for x in ice_transports(pc))
        assert dropped > sent[0] / 4
        await restart(bob, alice)
        stop_tracks(*both)
    finally:
        await asyncio.gather(*(pc.close() for pc in both))


async def test_single_datagrams_on_loopback(loopback: None) -> None:
    """
    Nor does any single datagram of the mixture, sent by itself at each stage.
    """
    async with connected_pair() as pair:
        both = pair.offerer, pair.answerer
        for data in mixture(*(x.local for x in generations(*both))):
            with flooding(lambda: real_ports(*both), [data], rate=2000, limit=20):
                await asyncio.sleep(0.01)
        assert isinstance(pair, Pair)
        await pair.exchange()
        await restart(*both)
        await pair.exchange()
