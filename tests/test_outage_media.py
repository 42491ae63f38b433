"""
Sound and pictures after an outage.
"""

import asyncio
import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import aioice.ice
import aiortc
import pytest
from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import RTCP_PSFB_PLI, AnyRtcpPacket, RtcpPsfbPacket, RtpPacket

from aiortc_restart import AudioStreamTrack, RTCConfiguration, RTCPeerConnection
from aiortc_restart._aiortc import RTCRtpReceiver, RTCRtpSender, media
from aiortc_restart._aiortc.media import UNPROVEN

from .agents import active, socket_address
from .calls import ice_transport, restart
from .media import Packets, Pictures, add_media, flowing
from .network import Datagram, Network
from .probes import checks, is_response
from .utils import connected_pair, event, negotiate, until

DELAY = 0.02
"Seconds, one way."

PATIENT = RTCConfiguration(iceServers=[], iceFailedTimeout=None)


@dataclass
class Watch:
    """
    What a receiver of pictures does, each with its time.
    """

    asked: list[float] = field(default_factory=list)
    "When it asked for a keyframe."

    assembled: list[float] = field(default_factory=list)
    "When a picture was complete."

    numbers: list[int] = field(default_factory=list)
    "The sequence numbers which have come."

    received: list[float] = field(default_factory=list)
    "When a packet came."

    timestamps: list[int] = field(default_factory=list)


@contextlib.contextmanager
def watching(network: Network, receiver: aiortc.RTCRtpReceiver) -> Iterator[Watch]:
    """
    Watch what one receiver does.
    """
    watch = Watch()
    handle, ask = receiver._handle_rtp_packet, receiver._send_rtcp_pli
    buffer: JitterBuffer = receiver._RTCRtpReceiver__jitter_buffer  # type: ignore[attr-defined]
    add = buffer.add

    async def handle_rtp_packet(packet: RtpPacket, arrival_time_ms: int) -> None:
        watch.received.append(network.now)
        watch.numbers.append(packet.sequence_number)
        watch.timestamps.append(packet.timestamp)
        await handle(packet, arrival_time_ms)

    async def send_rtcp_pli(media_ssrc: int) -> None:
        watch.asked.append(network.now)
        await ask(media_ssrc)

    def add_packet(packet: RtpPacket) -> Any:
        result = add(packet)
        if result[1] is not None:
            watch.assembled.append(network.now)
        return result

    receiver._handle_rtp_packet = handle_rtp_packet  # type: ignore[method-assign]
    receiver._send_rtcp_pli = send_rtcp_pli  # type: ignore[method-assign]
    # The decoder is a thread, which knows no virtual time: it may still tell of what
    # there was before.
    receiver._RTCRtpReceiver__decoder_error = threading.Event()  # type: ignore[attr-defined]
    buffer.add = add_packet  # type: ignore[method-assign]
    try:
        yield watch
    finally:
        del receiver._handle_rtp_packet, receiver._send_rtcp_pli, buffer.add


def pictures(interval: float) -> Callable[[RTCPeerConnection, RTCPeerConnection], None]:
    def add_pictures(*peers: RTCPeerConnection) -> None:
        for pc in peers:
            pc.addTrack(Pictures(interval))

    return add_pictures


def after(times: list[float], moment: float) -> float:
    """
    Return the first of some times which is later than a moment.
    """
    return min(x for x in times if x > moment)


# The receiver


@pytest.mark.parametrize("interval", [0.01, 0.05])
@pytest.mark.parametrize("seconds", [2.5, 5.0, 20.0])
async def test_picture_after_loss(
    network: Network, interval: float, seconds: float
) -> None:
    """
    With the first packet after some seconds of loss, at the latest, the receiver asks
    for a keyframe, and the picture moves within a second.
    """
    # RFC 4585 section 6.3.1
    async with connected_pair(network, prepare=pictures(interval)) as pair:
        network.delay(0.01)
        await flowing(pair.answerer)
        (receiver,) = pair.answerer.getReceivers()
        with watching(network, receiver) as watch:
            await asyncio.sleep(1)
            assert watch.asked == []
            # Whatever its sender does about it.
            for sender in pair.offerer.getSenders():
                sender._send_keyframe = lambda: None  # type: ignore[method-assign]
            cut = network.now
            network.cut()
            await asyncio.sleep(seconds)
            network.heal()
            healed = network.now
            await asyncio.sleep(2)
            first = after(watch.received, cut + 0.02)
            # An answer to a probe may be the first to come.
            assert healed < after(watch.asked, cut) <= first
            assert after(watch.assembled, cut + 0.02) - first < 1
            # It goes on to do so.
            late = [x for x in watch.assembled if x > first]
            assert len(late) > 0.9 * 2 / interval - 60
            assert len(watch.asked) <= 3


async def test_gap_beyond_what_can_be_sent_again(network: Network) -> None:
    """
    More packets than the sender keeps are not waited for, however short the outage.
    """
    async with connected_pair(network, prepare=pictures(0.004)) as pair:
        await flowing(pair.answerer)
        (receiver,) = pair.answerer.getReceivers()
        with watching(network, receiver) as watch:
            await asyncio.sleep(0.5)
            cut = network.now
            network.cut()
            await asyncio.sleep(0.8)
            network.heal()
            await asyncio.sleep(0.5)
            first = after(watch.received, cut + 0.01)
            assert after(watch.asked, cut) == first
            assert after(watch.assembled, cut + 0.01) - first < 0.1


async def test_loss_which_is_repaired(network: Network) -> None:
    """
    What a sender sends again is waited for, as before: no keyframe is asked for.
    """
    async with connected_pair(network, prepare=pictures(0.02)) as pair:
        network.delay(0.03)
        await flowing(pair.answerer)
        (receiver,) = pair.answerer.getReceivers()
        (codec, *_) = receiver._RTCRtpReceiver__codecs  # type: ignore[attr-defined]
        packets = itertools.count()

        def arrives(datagram: Datagram) -> bool:
            # By chance, what is sent again might be lost again and again.
            kind, payload_type = datagram.data[0] & 0xC0, datagram.data[1] & 0x7F
            return (kind, payload_type) != (0x80, codec) or next(packets) % 10 != 9

        with watching(network, receiver) as watch:
            await asyncio.sleep(1)
            network.filter = arrives
            await asyncio.sleep(10)
            network.filter = None
            await asyncio.sleep(1)
            assert watch.asked == []
            assert len(watch.assembled) > 500
            assert next(packets) > 500


async def test_packet_which_nobody_sends_again(network: Network) -> None:
    """
    A sender that cannot send a packet again is asked for a keyframe after a second.
    """
    async with connected_pair(network, prepare=pictures(0.02)) as pair:
        await flowing(pair.answerer)
        (sender,) = pair.offerer.getSenders()
        (receiver,) = pair.answerer.getReceivers()

        async def forget(sequence_number: int) -> None:
            pass

        sender._retransmit = forget  # type: ignore[method-assign]
        with watching(network, receiver) as watch:
            await asyncio.sleep(1)
            cut = network.now
            network.cut()
            await asyncio.sleep(0.1)
            network.heal()
            await asyncio.sleep(3)
            first = after(watch.received, cut + 0.01)
            assert 1.0 <= after(watch.asked, cut) - first < 1.1
            assert 1.0 <= after(watch.assembled, first) - first < 1.1
            assert len(watch.asked) == 1


async def test_rare_pictures(network: Network) -> None:
    """
    A video which changes each two seconds is no outage, and a loss in it is repaired.
    """
    async with connected_pair(network, prepare=pictures(2.0)) as pair:
        await flowing(pair.answerer)
        (receiver,) = pair.answerer.getReceivers()
        with watching(network, receiver) as watch:
            await asyncio.sleep(20)
            cut = network.now
            network.cut()
            await asyncio.sleep(2.2)
            network.heal()
            await asyncio.sleep(20)
            assert [x for x in watch.asked if x < cut] == []
            assert len(watch.assembled) >= 17


@pytest.mark.parametrize("restarts", [False, True])
async def test_keyframe_of_a_silent_sender(network: Network, restarts: bool) -> None:
    """
    A sender which says nothing until it is asked, as one whose picture stands still
    does, is asked for a keyframe as soon as the path is back.
    """

    def reaches(datagram: Datagram) -> bool:
        # RFC 5761 section 4: the packets which are no RTCP.
        first, second, *_ = datagram.data
        from_bob = datagram.source[0] in network.addresses("bob")
        return not from_bob or first & 0xC0 != 0x80 or 192 <= second <= 223

    async with connected_pair(network, prepare=pictures(0.05)) as pair:
        network.delay(DELAY)
        await flowing(pair.offerer)
        (receiver,), (sender,) = pair.offerer.getReceivers(), pair.answerer.getSenders()
        await asyncio.sleep(1)
        handle = sender._handle_rtcp_packet
        asked: list[float] = []

        async def handle_rtcp_packet(packet: AnyRtcpPacket) -> None:
            if isinstance(packet, RtcpPsfbPacket) and packet.fmt == RTCP_PSFB_PLI:
                asked.append(network.now)
            await handle(packet)

        sender._handle_rtcp_packet = handle_rtcp_packet  # type: ignore[method-assign]
        with watching(network, receiver) as watch:
            cut = network.now
            network.cut()
            network.filter = reaches
            await until(lambda: pair.offerer.iceConnectionState == "disconnected")
            network.heal()
            if restarts:
                await negotiate(pair.offerer, pair.answerer, iceRestart=True)
            while pair.offerer.iceConnectionState != "completed":
                await event(pair.offerer, "iceconnectionstatechange")
            back = network.now
            await asyncio.sleep(1)
            assert [x for x in watch.received if x > cut] == []
            # What has come proves one way only; the answer to a probe proves both.
            assert len(asked) == 1
            assert 0 < asked[0] - back < 3 * DELAY + 0.001


# Both sides


@pytest.mark.parametrize("seconds", [3.0, 5.0, 8.0, 20.0])
async def test_blip(network: Network, seconds: float) -> None:
    """
    After a blip which heals by itself both pictures move within a second.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        both = [pair.offerer, pair.answerer]
        network.delay(0.02)
        await flowing(*both)
        receivers = [
            next(x for x in pc.getReceivers() if x.track.kind == "video") for pc in both
        ]
        with (
            watching(network, receivers[0]) as first,
            watching(network, receivers[1]) as second,
        ):
            await asyncio.sleep(1)
            cut = network.now
            network.cut()
            await asyncio.sleep(seconds)
            network.heal()
            await asyncio.sleep(2)
            for watch in (first, second):
                heard = after(watch.received, cut + 0.05)
                assert after(watch.assembled, cut + 0.05) - heard < 1
                assert after(watch.asked, cut) == heard
        await flowing(*both)
        for pc in both:
            assert {x.track.readyState for x in pc.getReceivers()} == {"live"}
            assert {x.track.readyState for x in pc.getSenders() if x.track} == {"live"}


@pytest.mark.parametrize("seconds", [8.0, 45.0, 120.0])
async def test_restart_after_an_outage(network: Network, seconds: float) -> None:
    """
    After an outage and a restart both pictures move within a second.
    """
    async with connected_pair(
        network, configuration=PATIENT, prepare=add_media
    ) as pair:
        both = [pair.offerer, pair.answerer]
        await flowing(*both)
        receivers = [
            next(x for x in pc.getReceivers() if x.track.kind == "video") for pc in both
        ]
        with (
            watching(network, receivers[0]) as first,
            watching(network, receivers[1]) as second,
        ):
            await asyncio.sleep(1)
            network.cut()
            await asyncio.sleep(seconds)
            network.heal()
            moment = network.now
            await restart(*both)
            await asyncio.sleep(1.5)
            for watch in (first, second):
                heard = after(watch.received, moment)
                assert heard - moment < 0.2
                assert after(watch.assembled, moment) - heard < 1
        await flowing(*both)


async def test_rtcp_goes_on(network: Network) -> None:
    """
    After an outage reports come again.
    """
    async with connected_pair(
        network, configuration=PATIENT, prepare=add_media
    ) as pair:
        both = [pair.offerer, pair.answerer]
        await flowing(*both)
        network.cut()
        await asyncio.sleep(60)
        network.heal()
        await restart(*both)
        report = await pair.offerer.getStats()
        began = next(x.timestamp for x in report.values() if x.type == "transport")
        await asyncio.sleep(4)
        for pc in both:
            for kind in ("remote-inbound-rtp", "remote-outbound-rtp"):
                reports = [x for x in (await pc.getStats()).values() if x.type == kind]
                assert len(reports) == 2
                for x in reports:
                    assert (x.timestamp - began).total_seconds() > 1


# Numbers


async def test_numbers_after_an_outage(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    While there is no path no sequence number is used, so that SRTP's rollover counter
    is still right; timestamps go on with the time.
    """
    # RFC 3711 section 3.3.1: up to 32768 packets may be missing.
    monkeypatch.setattr(aioice.ice, "CONSENT_FAILURES", 1)
    async with connected_pair(
        network, configuration=PATIENT, prepare=pictures(0.002)
    ) as pair:
        await flowing(pair.answerer)
        (receiver,) = pair.answerer.getReceivers()
        network.delay(0.01)
        with watching(network, receiver) as watch:
            await asyncio.sleep(0.5)
            network.cut()
            await asyncio.sleep(100)
            network.heal()
            await restart(pair.offerer, pair.answerer)
            await asyncio.sleep(1)
            index = next(
                i
                for i, (a, b) in enumerate(
                    zip(watch.received[:-1], watch.received[1:], strict=True)
                )
                if b - a > 50
            )
            jump = (watch.numbers[index + 1] - watch.numbers[index]) % 65536
            # Those which were sent while the path was still believed in.
            assert 100 < jump < 7 / 0.002
            passed = (watch.timestamps[index + 1] - watch.timestamps[index]) % 2**32
            assert passed / 90000 == pytest.approx(100, abs=1)
            assert len(watch.received) - index > 100
        await flowing(pair.answerer)


# At 50 packets a second, and at more than 300.
@pytest.mark.parametrize(
    ("interval", "seconds", "lost"),
    [(0.02, 1100, "both ways"), (0.003, 200, "both ways"), (0.003, 200, "there")],
)
async def test_numbers_after_a_long_silence(
    network: Network, interval: float, seconds: float, lost: str
) -> None:
    """
    However long consent lasts, no more packets are sent without an answer than the
    receiver may miss, so that it still decrypts those after the outage, at once.
    """

    # RFC 3711 section 3.3.1: up to 32768 packets may be missing.
    def add_track(offerer: RTCPeerConnection, _: Any) -> None:
        offerer.addTrack(Packets(interval))

    configuration = RTCConfiguration(iceServers=[], iceConsentTimeout=3600)
    async with connected_pair(
        network, configuration=configuration, prepare=add_track
    ) as pair:
        await flowing(pair.answerer)
        (receiver,) = pair.answerer.getReceivers()
        network.delay(0.01)
        with watching(network, receiver) as watch:
            await asyncio.sleep(7)
            theirs = active(ice_transport(pair.answerer)).connection.selected_pair
            assert theirs is not None
            cut = network.now
            if lost == "there":
                network.filter = lambda x: x.destination != theirs.local_addr
            else:
                network.cut()
            await asyncio.sleep(seconds)
            # The peer's reports still come.
            state = ice_transport(pair.offerer).state
            assert state == ("completed" if lost == "there" else "disconnected")
            network.heal()
            network.filter = None
            healed = network.now
            await asyncio.sleep(3)
            first = after(watch.received, cut + 0.1)
            # After a probe, of which there is one each half second, and a packet.
            assert healed < first < healed + 0.6
            index = watch.received.index(first)
            jump = (watch.numbers[index] - watch.numbers[index - 1]) % 65536
            assert UNPROVEN - 7 / interval < jump < 1.5 * UNPROVEN + 10
            passed = (watch.timestamps[index] - watch.timestamps[index - 1]) % 2**32
            assert passed / 48000 == pytest.approx(seconds, rel=0.01)
            assert len(watch.received) - index > 2 / interval
        await flowing(pair.answerer)


async def test_many_packets_between_answers(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Who asks for consent rarely asks when many packets have been sent, and sends on.
    """
    monkeypatch.setattr(media, "UNPROVEN", 1000)

    def add_track(offerer: RTCPeerConnection, _: Any) -> None:
        offerer.addTrack(Packets(0.005))

    configuration = RTCConfiguration(
        iceServers=[],
        iceConsentInterval=600,
        iceConsentTimeout=3600,
        iceDisconnectedTimeout=None,
    )
    async with connected_pair(
        network, configuration=configuration, prepare=add_track
    ) as pair:
        await flowing(pair.answerer)
        (receiver,) = pair.answerer.getReceivers()
        network.delay(0.3)
        ours = socket_address(active(ice_transport(pair.offerer)))
        # Reports of the receiver might be late, and be asked for.
        network.filter = lambda x: x.destination != ours or is_response(x)
        await asyncio.sleep(3)
        with watching(network, receiver) as watch:
            await asyncio.sleep(20)
            gaps = [b - a for a, b in itertools.pairwise(watch.received[1:])]
            assert len(gaps) > 3500
            assert max(gaps) < 0.02
        requests = checks(network, active(ice_transport(pair.offerer)))
        assert len(requests) < 15


@pytest.mark.parametrize("kind", ["audio", "video"])
async def test_nothing_is_encoded_without_a_path(network: Network, kind: str) -> None:
    """
    While a connection is failed its tracks are read, and not encoded.
    """
    track = AudioStreamTrack() if kind == "audio" else Pictures()
    encoded: list[float] = []

    def add_track(offerer: RTCPeerConnection, _: Any) -> None:
        offerer.addTrack(track)

    async with connected_pair(
        network, configuration=PATIENT, prepare=add_track
    ) as pair:
        await flowing(pair.answerer)
        (sender,) = pair.offerer.getSenders()
        assert isinstance(sender, RTCRtpSender)
        encoder = sender._RTCRtpSender__encoder  # type: ignore[attr-defined]
        encode, recv = encoder.encode, track.recv
        read: list[float] = []

        def count(*args: Any) -> Any:
            encoded.append(network.now)
            return encode(*args)

        async def read_frame() -> Any:
            read.append(network.now)
            return await recv()

        encoder.encode, track.recv = count, read_frame  # type: ignore[method-assign]
        network.cut()
        await until(lambda: ice_transport(pair.offerer).state == "failed", timeout=40)
        await asyncio.sleep(1)
        encoded.clear()
        read.clear()
        await asyncio.sleep(10)
        assert encoded == []
        assert len(read) > 100
        network.heal()
        await restart(pair.offerer, pair.answerer)
        await flowing(pair.answerer)
        assert encoded
        assert track.readyState == "live"


def test_receivers_are_ours() -> None:
    """
    The classes which the package puts in place of the base's have no slot more.
    """
    for ours in (RTCRtpReceiver, RTCRtpSender):
        assert "__init__" not in vars(ours)
