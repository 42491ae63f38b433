"""
After an outage: what was lost with the path is sent at once (DESIGN.md, D15).
"""

import asyncio
from typing import Any

import aiortc
import pytest

from aiortc_restart import RTCConfiguration, RTCPeerConnection

from .calls import ice_transport
from .calls import restart as restart_call
from .network import Network
from .utils import Pair, connected_pair, until

PATIENT = RTCConfiguration(iceServers=[], iceFailedTimeout=None)


def slow_timer(pair: Pair) -> None:
    """
    Let SCTP's timer be as slow as one which has been backed off.
    """
    for pc in (pair.offerer, pair.answerer):
        assert pc.sctp is not None
        pc.sctp._rto = 20.0


def arrivals(network: Network, channel: aiortc.RTCDataChannel) -> list[float]:
    times: list[float] = []
    channel.on("message", lambda _: times.append(network.now))
    return times


# Before 24 s consent does not expire, after 36 s it has.
@pytest.mark.parametrize("outage", [15.3, 60.3])
@pytest.mark.parametrize("by_offerer", [True, False])
async def test_data_comes_at_once(
    network: Network, outage: float, by_offerer: bool
) -> None:
    """
    Reliable data of before a restart does not wait for SCTP's timer.
    """
    async with connected_pair(network, configuration=PATIENT) as pair:
        network.delay(0.01)
        received = [
            arrivals(network, pair.channel),
            arrivals(network, pair.remote_channel),
        ]
        network.cut()
        slow_timer(pair)
        for channel in (pair.channel, pair.remote_channel):
            for number in range(3):
                channel.send(str(number))
        await asyncio.sleep(outage)
        network.heal()
        peers = [pair.offerer, pair.answerer]
        await restart_call(*(peers if by_offerer else peers[::-1]))
        await asyncio.sleep(0.2)
        assert [len(x) for x in received] == [3, 3]


async def test_backlog_is_drained(network: Network) -> None:
    """
    An outage is not taken for congestion: what has piled up is not sent packet by
    packet.
    """
    # RFC 9260 section 7.2.1
    async with connected_pair(network, configuration=PATIENT) as pair:
        network.delay(0.1)
        received = arrivals(network, pair.remote_channel)
        network.cut()
        for _ in range(300):
            pair.channel.send(b"x" * 1000)
        await asyncio.sleep(60.3)
        network.heal()
        await restart_call(pair.offerer, pair.answerer)
        began = network.now
        await until(lambda: len(received) == 300)
        # A window which grows by a packet a round trip would take 5 s.
        assert network.now - began < 3


async def test_nothing_is_sent_twice_without_an_outage(network: Network) -> None:
    """
    A restart of a healthy path resends nothing.
    """
    async with connected_pair(network) as pair:
        received: list[object] = []
        pair.remote_channel.on("message", received.append)
        for number in range(10):
            pair.channel.send(f"before {number}")
            await restart_call(pair.offerer, pair.answerer)
        await pair.exchange()
        datagrams = [x.data for x in network.log if x.message is None]
        assert len(datagrams) == len(set(datagrams))
        assert received[:10] == [f"before {number}" for number in range(10)]


@pytest.mark.parametrize("outage", [0, 15.3, 60.3])
async def test_keyframe(
    network: Network, monkeypatch: pytest.MonkeyPatch, outage: float
) -> None:
    """
    Video senders start with a keyframe after an outage, and only then.
    """
    asked: list[aiortc.RTCRtpSender] = []
    monkeypatch.setattr(
        aiortc.RTCRtpSender, "_send_keyframe", lambda self: asked.append(self)
    )

    def add_media(offerer: RTCPeerConnection, _: Any) -> None:
        offerer.addTransceiver("audio", direction="sendonly")
        offerer.addTransceiver("video", direction="sendonly")

    async with connected_pair(
        network, configuration=PATIENT, prepare=add_media
    ) as pair:
        if outage:
            network.cut()
            await asyncio.sleep(outage)
            network.heal()
        await restart_call(pair.offerer, pair.answerer)
        await asyncio.sleep(1)
        senders = [
            x
            for pc in (pair.offerer, pair.answerer)
            for x in pc.getSenders()
            if x.kind == "video"
        ]
        assert len(senders) == 2
        assert sorted(map(id, asked)) == (sorted(map(id, senders)) if outage else [])


async def test_same_association_after_an_outage(network: Network) -> None:
    """
    An outage and a restart leave DTLS, SCTP and the data channels as they were.
    """
    async with connected_pair(network, configuration=PATIENT) as pair:
        before = [
            (pc.sctp, pc.sctp.transport, ice_transport(pc), pc.sctp.state)
            for pc in (pair.offerer, pair.answerer)
            if pc.sctp is not None
        ]
        handshakes = sum(x.data[:1] == b"\x16" for x in network.log)
        network.cut()
        await asyncio.sleep(120)
        network.heal()
        await restart_call(pair.answerer, pair.offerer)
        await pair.exchange()
        after = [
            (pc.sctp, pc.sctp.transport, ice_transport(pc), pc.sctp.state)
            for pc in (pair.offerer, pair.answerer)
            if pc.sctp is not None
        ]
        assert after == before
        assert handshakes > 0
        assert sum(x.data[:1] == b"\x16" for x in network.log) == handshakes
