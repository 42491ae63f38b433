"""
A call through restarts: nothing is lost, neither in real time nor on a slow network.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aiortc_restart import RTCDataChannel, RTCPeerConnection

from .calls import ice_transport, restart
from .media import Pictures, add_media, flowing, packets_lost
from .network import Network
from .utils import Pair, connected_pair, until

INTERVAL = 0.005
"Seconds between two messages."

UNRELIABLE: dict[str, Any] = {"ordered": False, "maxRetransmits": 0}


class Messages:
    """
    Numbered messages, 200 a second from one end of a channel to the other.
    """

    def __init__(self, sender: RTCDataChannel, receiver: RTCDataChannel) -> None:
        self.received: list[int] = []
        self.sent = 0
        self._sender = sender
        receiver.on("message", lambda x: self.received.append(int(x)))

    @property
    def lost(self) -> set[int]:
        return {*range(self.sent)} - {*self.received}

    async def send(self) -> None:
        """
        Send until it is cancelled.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        while True:
            self._sender.send(str(self.sent))
            self.sent += 1
            await asyncio.sleep(began + self.sent * INTERVAL - loop.time())


@contextlib.asynccontextmanager
async def messages(pair: Pair) -> AsyncIterator[list[Messages]]:
    """
    Send messages both ways, and assert that all of them arrive, once.
    """
    both = [
        Messages(pair.channel, pair.remote_channel),
        Messages(pair.remote_channel, pair.channel),
    ]
    tasks = [asyncio.ensure_future(x.send()) for x in both]
    try:
        yield both
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    # Nobody sends a lost message again: those which are on the way arrive, or none.
    with contextlib.suppress(TimeoutError):
        await until(lambda: not any(x.lost for x in both), timeout=5.0)
    for x in both:
        assert x.lost == set()
        assert len(x.received) == x.sent


def inside(pc: RTCPeerConnection) -> list[object]:
    """
    Return all objects of a call which an application may hold on to.
    """
    assert pc.sctp is not None
    transport = ice_transport(pc)
    found: list[object] = [pc.sctp, pc.sctp.transport, pc.sctp.transport._ssl]
    found += [transport, transport.iceGatherer]
    for x in pc.getTransceivers():
        found += [x, x.sender, x.sender.track, x.sender._ssrc, x.receiver]
        found += [x.receiver.track, x.sender.transport, x.receiver.transport]
    return found


async def test_call() -> None:
    """
    Audio, video and 200 messages a second outlast three restarts, in alternating roles.
    """
    # RFC 8445 section 12.1, webrtc-pc #dom-rtcicetransport
    async with connected_pair(prepare=add_media, **UNRELIABLE) as pair:
        both = [pair.offerer, pair.answerer]
        await flowing(*both)
        before = [inside(x) for x in both]
        associations = [x._slots.dtls_transports.copy() for x in both]
        async with messages(pair) as streams:
            await asyncio.sleep(0.2)
            for _ in range(3):
                await restart(*both)
                await asyncio.sleep(0.2)
                both.reverse()
            await flowing(*both)
        assert all(x.sent > 100 for x in streams)
        both = [pair.offerer, pair.answerer]
        assert [inside(x) for x in both] == before
        assert [x._slots.dtls_transports for x in both] == associations
        for pc in both:
            assert [await packets_lost(x) for x in pc.getReceivers()] == [0, 0]
            assert {x.track.readyState for x in pc.getReceivers()} == {"live"}
            assert pc.connectionState == "connected"


@pytest.mark.parametrize("delay", [0.0, 0.03, 0.2])
async def test_messages(network: Network, delay: float) -> None:
    """
    On no round trip does a restart lose a message, nor does it hold one back.
    """
    async with connected_pair(network, **UNRELIABLE) as pair:
        network.delay(delay)
        both = [pair.offerer, pair.answerer]
        arrivals: list[float] = []
        pair.remote_channel.on("message", lambda _: arrivals.append(network.now))
        async with messages(pair):
            for _ in range(4):
                await restart(*both)
                both.reverse()
            # The old generation ends, whose packets have all been read.
            await asyncio.sleep(5)
        gaps = [b - a for a, b in itertools.pairwise(arrivals)]
        assert max(gaps) < 0.03


async def test_media(network: Network) -> None:
    """
    On a slow path no RTP packet is lost either.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        network.delay(0.05)
        both = [pair.offerer, pair.answerer]
        for _ in range(2):
            await restart(*both)
            await flowing(*both)
            both.reverse()
        await asyncio.sleep(4)
        for pc in both:
            assert [await packets_lost(x) for x in pc.getReceivers()] == [0, 0]


def add_slow_media(*pcs: RTCPeerConnection) -> None:
    for pc in pcs:
        pc.addTrack(Pictures(interval=0.5))


@pytest.mark.parametrize("seconds", [2, 45], ids=["disconnected", "failed"])
async def test_restart_of_a_dead_path(network: Network, seconds: int) -> None:
    """
    After a change of address a restart brings back the same call, with all messages.
    """
    async with connected_pair(network, prepare=add_slow_media) as pair:
        both = [pair.offerer, pair.answerer]
        received: list[str] = []
        pair.remote_channel.on("message", received.append)
        before = [inside(x) for x in both]
        network.readdress("alice", "10.0.3.1")
        for number in range(20):
            pair.channel.send(str(number))
            await asyncio.sleep(seconds / 20)
        assert received == []
        assert pair.offerer.iceConnectionState == (
            "disconnected" if seconds == 2 else "failed"
        )
        await restart(*both)
        await until(lambda: len(received) == 20)
        assert received == [str(x) for x in range(20)]
        await flowing(*both)
        assert [inside(x) for x in both] == before
        await pair.exchange()
