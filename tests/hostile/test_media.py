"""
What the peer sends as media costs no more than itself, and what it makes of the clocks
in it stops nothing.
"""

import asyncio
import datetime
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import aiortc
import pytest
from aiortc import clock
from aiortc.rtp import (
    RtcpPacket,
    RtcpRrPacket,
    RtcpSenderInfo,
    RtcpSrPacket,
    RtpPacket,
    is_rtcp,
)

from aiortc_restart import RTCPeerConnection
from aiortc_restart._aiortc.receiver import (
    MAX_FRAMES,
    MAX_ROUTES,
    MAX_SOURCES,
    FrameQueue,
    RtpRouter,
)

from ..media import add_media, flowing
from ..network import Network
from ..utils import Pair, connected_pair, until

DAY = 86400.0


@asynccontextmanager
async def going_on(network: Network) -> AsyncIterator[Pair]:
    """
    Connect a call with sound and pictures, and assert that they go on after what
    happens within, are reported, and that the connection can be closed.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        both = pair.offerer, pair.answerer
        await flowing(*both)
        yield pair
        await asyncio.sleep(1)
        await flowing(*both)
        with mock.patch.object(dtls(pair.answerer), "_send_rtp") as sent:
            # Each receiver has its own reports.
            await until(lambda: len({x.ssrc for x in reports_in(sent)}) == 2)
        async with asyncio.timeout(10):
            await pair.answerer.close()


def dtls(pc: RTCPeerConnection) -> Any:
    assert pc.sctp is not None
    return pc.sctp.transport


def reports_in(sent: mock.Mock) -> list[RtcpRrPacket]:
    """
    Return the reports on what has been received among the packets which were sent.
    """
    data = [call.args[0] for call in sent.call_args_list]
    packets = [y for x in data if is_rtcp(x) for y in RtcpPacket.parse(x)]
    reports = [x for x in packets if isinstance(x, RtcpRrPacket)]
    assert all(0 < len(x.reports) <= MAX_SOURCES for x in reports)
    return reports


def transceiver(pc: RTCPeerConnection, kind: str) -> aiortc.RTCRtpTransceiver:
    return next(x for x in pc.getTransceivers() if x.kind == kind)


def packet_of(pc: RTCPeerConnection, kind: str, **fields: Any) -> RtpPacket:
    """
    Return a packet such as a peer sends.
    """
    codec = transceiver(pc, kind)._codecs[0]
    assert codec.payloadType is not None
    return RtpPacket(payload_type=codec.payloadType, **fields)


async def send(pc: RTCPeerConnection, packet: RtpPacket) -> None:
    await dtls(pc)._send_rtp(packet.serialize())


@contextmanager
def wall_clock() -> Iterator[Callable[[datetime.timedelta], None]]:
    """
    Have the wall clock go with the virtual time, and yield a function which sets it.
    """
    loop = asyncio.get_running_loop()
    time_at_0 = datetime.datetime.now(datetime.UTC)

    def now() -> datetime.datetime:
        return time_at_0 + datetime.timedelta(seconds=loop.time())

    def set_by(difference: datetime.timedelta) -> None:
        nonlocal time_at_0
        time_at_0 += difference

    with (
        mock.patch.object(clock, "current_datetime", now),
        mock.patch("aiortc.rtcrtpreceiver.time.time", lambda: now().timestamp()),
    ):
        yield set_by


def edit_packets(pc: RTCPeerConnection, edit: Callable[[RtpPacket], None]) -> Any:
    """
    Have the packets that a peer sends be other ones.
    """
    send_rtp = dtls(pc)._send_rtp

    async def send_edited(data: bytes) -> None:
        if not is_rtcp(data):
            packet = RtpPacket.parse(data)
            edit(packet)
            data = packet.serialize()
        await send_rtp(data)

    return mock.patch.object(dtls(pc), "_send_rtp", send_edited)


@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_empty_payload(network: Network, kind: str) -> None:
    """
    Packets without a payload do not end the decoder.
    """
    emptied: list[RtpPacket] = []

    def empty(packet: RtpPacket) -> None:
        codecs = transceiver(pair.offerer, kind)._codecs
        if packet.payload_type in [x.payloadType for x in codecs]:
            packet.payload = b""
            packet.padding_size = 0
            emptied.append(packet)

    async with going_on(network) as pair:
        with edit_packets(pair.offerer, empty):
            await until(lambda: len(emptied) > 10)
        # A whole picture after them.
        transceiver(pair.offerer, "video").sender._send_keyframe()


@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_many_sources(network: Network, kind: str) -> None:
    """
    A receiver keeps count of a bounded number of sources, and so does the transport.
    """
    async with going_on(network) as pair:
        for source in range(1000):
            await send(
                pair.offerer, packet_of(pair.offerer, kind, ssrc=source, payload=b"x")
            )
            if source % 20 == 0:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        for source in range(1000):
            info = RtcpSenderInfo(
                ntp_timestamp=0, rtp_timestamp=0, packet_count=0, octet_count=0
            )
            report = RtcpSrPacket(ssrc=source, sender_info=info)
            await dtls(pair.offerer)._send_rtp(bytes(report))
        await asyncio.sleep(0.1)
        receiver: Any = transceiver(pair.answerer, kind).receiver
        assert len(receiver._RTCRtpReceiver__lsr) <= MAX_SOURCES
        assert len(receiver._RTCRtpReceiver__lsr_time) <= MAX_SOURCES
        streams = receiver._RTCRtpReceiver__remote_streams
        assert MAX_SOURCES == len(streams) == len(receiver._RTCRtpReceiver__active_ssrc)
        estimator = receiver._RTCRtpReceiver__remote_bitrate_estimator
        assert estimator is None or len(estimator.ssrcs) <= MAX_SOURCES
        routes = dtls(pair.answerer)._rtp_router.ssrc_table
        # Those which the description names are in it, too.
        assert MAX_ROUTES <= len(routes) <= MAX_ROUTES + 10


async def test_named_source(network: Network) -> None:
    """
    A source that has been learned, and is then named by a description, is not
    forgotten.
    """
    async with going_on(network) as pair:
        router = dtls(pair.answerer)._rtp_router
        receiver = transceiver(pair.answerer, "audio").receiver
        await send(pair.offerer, packet_of(pair.offerer, "audio", ssrc=5000))
        await until(lambda: 5000 in router.ssrc_table)
        router.register_receiver(receiver, [5000], [])
        for source in range(MAX_ROUTES + 1):
            router.route_rtp(packet_of(pair.offerer, "audio", ssrc=source))
        assert 5000 in router.ssrc_table
        assert 0 not in router.ssrc_table


def test_sources_that_would_not_be_found_again() -> None:
    """
    Sources whose packets have had one possible receiver, and have two now, are not
    forgotten.
    """
    router = RtpRouter()
    first, second, third = mock.Mock(), mock.Mock(), mock.Mock()

    def route(source: int, payload_type: int) -> Any:
        return router.route_rtp(RtpPacket(payload_type=payload_type, ssrc=source))

    router.register_receiver(first, [], [96])
    for source in range(MAX_ROUTES):
        assert route(source, 96) is first
    router.register_receiver(second, [], [96])
    router.register_receiver(third, [], [97])
    for source in range(1000, 1000 + MAX_ROUTES):
        assert route(source, 97) is third
    assert all(route(x, 96) is first for x in range(MAX_ROUTES))
    assert len(router.ssrc_table) == MAX_ROUTES
    router.unregister_receiver(first)
    assert not router.ssrc_table
    assert not router._learned


async def test_timestamps(network: Network) -> None:
    """
    A jitter too great for a report does not end the reports.
    """
    with wall_clock():
        async with going_on(network) as pair:
            for number in range(451):
                packet = packet_of(
                    pair.offerer,
                    "audio",
                    sequence_number=number,
                    ssrc=5000,
                    timestamp=number % 2 * 0xFFFFFFFF,
                )
                await send(pair.offerer, packet)
                await asyncio.sleep(0.1)
            stats = await transceiver(pair.answerer, "audio").receiver.getStats()
            assert (
                max(x.jitter for x in stats.values() if x.type == "inbound-rtp") > 2**31
            )


@pytest.mark.parametrize("days", [1, -1, 20000, -20000])
async def test_wall_clock(network: Network, days: int) -> None:
    """
    Media goes on at once when the wall clock is set, by a day or from the day on which
    clocks without a battery begin.
    """
    with wall_clock() as set_by:
        async with going_on(network) as pair:
            # aiortc's tracks are paced by that clock.
            for pc in (pair.offerer, pair.answerer):
                transceiver(pc, "audio").sender.replaceTrack(None)
            set_by(datetime.timedelta(days=days))
            cost = time.thread_time()
            await asyncio.sleep(1)
            assert time.thread_time() - cost < 1
            for pc in (pair.offerer, pair.answerer):
                transceiver(pc, "audio").sender.replaceTrack(aiortc.AudioStreamTrack())


async def test_silence(network: Network) -> None:
    """
    The first packet after a silence of a day holds the event loop no longer than
    others.
    """
    async with going_on(network) as pair:
        receiver: Any = transceiver(pair.answerer, "video").receiver
        packet = packet_of(pair.offerer, "video", ssrc=5000)
        arrival = round(asyncio.get_running_loop().time() + DAY) * 1000
        # One which does not count for the bitrate has come shortly before.
        await receiver._handle_rtp_packet(packet, arrival - 1)
        packet.extensions.abs_send_time = 0
        cost = time.thread_time()
        await receiver._handle_rtp_packet(packet, arrival)
        assert time.thread_time() - cost < 0.1
        # As it would be by now.
        receiver._start_anew(receiver._RTCRtpReceiver__nack_generator)


@pytest.mark.parametrize("role", ["sender", "receiver"])
async def test_reports_fail(network: Network, role: str) -> None:
    """
    Reports that cannot be made do not keep a connection from being closed.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        failed = []
        for x in pair.answerer.getTransceivers():
            patch = mock.patch.object(
                getattr(x, role), "_send_rtcp", side_effect=[struct.error, None]
            )
            failed.append(patch.start())
        # Otherwise the test would be told that they have failed.
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        await until(lambda: all(x.called for x in failed))
        async with asyncio.timeout(10):
            await pair.answerer.close()


VP8, RTX = (
    aiortc.RTCRtpCodecParameters(mimeType=f"video/{x}", clockRate=90000)
    for x in ("VP8", "rtx")
)


def frames_of(*items: Any) -> tuple[FrameQueue, threading.Event]:
    overflow = threading.Event()
    frames = FrameQueue(overflow)
    for item in items:
        frames.put(item)
    return frames, overflow


def test_frames_are_bounded() -> None:
    """
    Frames which are not decoded as fast as they come do not pile up, and a whole
    picture is asked for in their place.
    """
    items = [(VP8, SimpleNamespace(data=b"x", number=n)) for n in range(MAX_FRAMES + 1)]
    frames, overflow = frames_of(*items[:MAX_FRAMES])
    assert frames.qsize() == MAX_FRAMES
    assert not overflow.is_set()
    frames.put(items[MAX_FRAMES])
    assert overflow.is_set()
    assert frames.get() is items[MAX_FRAMES]
    assert frames.empty()


def test_end_of_frames() -> None:
    """
    The end of a track does not wait for its frames.
    """
    frames, _ = frames_of(*[(VP8, SimpleNamespace(data=b"x"))] * 9, None)
    assert frames.get() is None
    assert frames.empty()


def test_frames_that_nothing_decodes() -> None:
    """
    A frame of nothing, or of a retransmission in none, does not come to the decoder.
    """
    frames, _ = frames_of(
        (VP8, SimpleNamespace(data=b"")), (RTX, SimpleNamespace(data=b"x"))
    )
    assert frames.empty()
