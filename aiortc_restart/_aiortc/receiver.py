import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import aiortc
import aiortc.rtcdtlstransport
import aiortc.rtcrtpreceiver
import aiortc.rtp
from aiortc.codecs import is_rtx
from aiortc.rate import RemoteBitrateEstimator
from aiortc.rtcdtlstransport import RtpReceiver
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters
from aiortc.rtcrtpreceiver import NackGenerator
from aiortc.rtp import RTP_HISTORY_SIZE
from aiortc.utils import uint16_add

from .endpoints import MovingEnd
from .handshake import is_same_peer

MAX_FRAMES = 512
"""
How many frames wait to be decoded, at the most. aiortc has no limit: each frame would
come later than the one before.
"""

MAX_ROUTES = 256
"For how many sources (SSRCs) a transport remembers which receiver they are of."

MAX_SOURCES = 31
"""
Of how many sources (SSRCs) a receiver keeps count: a report has no room for more (RFC
3550 section 6.4.2).
"""

PATIENCE_MS = 1000
"""
How long, in milliseconds, a picture waits for a packet that is missing: a sender that
has it still sends it again within a round trip.
"""

PAUSE_LOSS = 10
"""
With how many packets missing a pause of that length is an outage, and not one of those
of a video which changes rarely.
"""

RATE_WINDOW_MS = 1000
"Of how many milliseconds aiortc's bitrate is the mean."


class FrameQueue(queue.Queue[Any]):
    """
    The frames of a track which wait to be decoded.

    :param overflow: Is set when frames have been lost, so that a whole picture is asked
                     for.
    """

    def __init__(self, overflow: threading.Event) -> None:
        super().__init__()
        self._overflow = overflow

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        if item is None:
            # The end: aiortc's event loop waits until the decoder has come to it.
            self._clear()
        else:
            codec, frame = item
            # A frame without data would end the decoder, as the end of the stream does
            # for FFmpeg, and aiortc has no decoder for retransmissions.
            if not frame.data or is_rtx(codec):
                return
            if self.qsize() >= MAX_FRAMES:
                self._clear()
                self._overflow.set()
        super().put(item, block, timeout)

    def _clear(self) -> None:
        with self.mutex:
            self.queue.clear()


class RtpRouter(aiortc.rtcdtlstransport.RtpRouter):
    """
    aiortc's router, which does not remember each source that has ever sent.
    """

    def __init__(self) -> None:
        super().__init__()
        # The payload type by which each source was found out, the latest last.
        self._learned: dict[int, int] = {}

    def register_receiver(
        self,
        receiver: RtpReceiver,
        ssrcs: list[int],
        payload_types: list[int],
        mid: str | None = None,
    ) -> None:
        for source in ssrcs:
            self._learned.pop(source, None)
        super().register_receiver(receiver, ssrcs, payload_types, mid)

    def route_rtp(self, packet: aiortc.rtp.RtpPacket) -> RtpReceiver | None:
        known = self.ssrc_table.get(packet.ssrc)
        if known is not None and known in self.payload_type_table.get(
            packet.payload_type, ()
        ):
            return known
        receiver = super().route_rtp(packet)
        if receiver is not None:
            self._learned[packet.ssrc] = packet.payload_type
            if len(self._learned) > MAX_ROUTES:
                self._forget_one()
        return receiver

    def unregister_receiver(self, receiver: RtpReceiver) -> None:
        super().unregister_receiver(receiver)
        self._learned = {k: v for k, v in self._learned.items() if k in self.ssrc_table}

    def _forget_one(self) -> None:
        """
        Forget a source which is found out again when it sends again, or the latest.
        """
        receivers = self.payload_type_table
        found_again = (
            source
            for source, payload_type in self._learned.items()
            if len(receivers.get(payload_type, ())) == 1
        )
        source = next(found_again, next(reversed(self._learned)))
        del self._learned[source]
        self.ssrc_table.pop(source, None)


class TimestampMapper(aiortc.rtcrtpreceiver.TimestampMapper):
    """
    The base's mapper, which goes on where another one has been.
    """

    def __init__(self, other: aiortc.rtcrtpreceiver.TimestampMapper) -> None:
        super().__init__()
        self.start = getattr(other, "start", 0)
        if other._last is not None and other._origin is not None:
            self.start += other._last - other._origin + 1

    def map(self, timestamp: int) -> int:
        return self.start + super().map(timestamp)


class RTCRtpReceiver(MovingEnd, aiortc.RTCRtpReceiver):  # type: ignore[misc]
    """
    The base's receiver, whose track outlives an RTCP BYE, whose picture does not wait
    for what is lost for good, and which the peer can neither fill nor stop with what it
    sends.
    """

    _arrival = 0
    "When the last packet has come that is no retransmission, in milliseconds."

    _blocked: tuple[int | None, int] = None, 0
    "At which packet the picture waits, and since when, in milliseconds."

    awaits_answer: Callable[[], bool] = bool
    """
    Returns whether an answer may be on its way that brings another transport: the peer
    ends the old one of a section that joins a bundle.
    """

    _disconnected = False
    "Whether the peer has ended the transport."

    _parameters: RTCRtpReceiveParameters | None = None

    _latest_source: int | None = None
    "From which source the last packet has come."

    async def _handle_rtcp_packet(self, packet: aiortc.rtp.AnyRtcpPacket) -> None:
        # libwebrtc sends a BYE when it makes a stream anew, for instance in a plain
        # re-offer, and then goes on with the same SSRC. To the W3C a BYE mutes a track
        # (webrtc-pc, #mediastreamtrack-network-use), it does not end it. The end of
        # the DTLS transport does.
        if not isinstance(packet, aiortc.rtp.RtcpByePacket):
            await super()._handle_rtcp_packet(packet)
        if isinstance(packet, aiortc.rtp.RtcpSrPacket):
            # The router knows more sources than a receiver keeps count of.
            if packet.ssrc not in self.__active_ssrc:
                self.__lsr.pop(packet.ssrc, None)
                self.__lsr_time.pop(packet.ssrc, None)

    def _handle_rtp_packet(
        self, packet: aiortc.rtp.RtpPacket, arrival_time_ms: int
    ) -> Coroutine[Any, Any, None]:
        if packet.ssrc != self._latest_source:
            self._make_room(packet.ssrc)
        if self.__nack_generator is None:
            # A coroutine around aiortc's would cost sound a hundredth of its time.
            return super()._handle_rtp_packet(packet, arrival_time_ms)
        return self._handle_picture(packet, arrival_time_ms, self.__nack_generator)

    async def _handle_picture(
        self, packet: aiortc.rtp.RtpPacket, arrival_time_ms: int, nack: NackGenerator
    ) -> None:
        self._skip_silence(arrival_time_ms)
        codec = self.__codecs.get(packet.payload_type)
        if codec is not None and not is_rtx(codec):
            if self._is_stale(nack, packet.sequence_number, arrival_time_ms):
                self._start_anew(nack)
                # The loss of more than a picture (RFC 4585 section 6.3.1).
                await self._send_rtcp_pli(packet.ssrc)
            self._arrival = arrival_time_ms
        await super()._handle_rtp_packet(packet, arrival_time_ms)

    async def receive(self, parameters: RTCRtpReceiveParameters) -> None:
        """
        Begin to receive, or go on with what has been negotiated since, beside what was
        before (RFC 3264 section 8.3.2).
        """
        moved = not self._registered
        if self._parameters is not None and (moved or parameters != self._parameters):
            self._follow(parameters)
            self._registered = True
        self._parameters = parameters
        if self.__decoder_thread is None:
            self._sources: dict[int, None] = {}
            self.__decoder_queue = FrameQueue(self.__decoder_error)
        await super().receive(parameters)
        if moved:
            # Packets on their way to the old transport may be lost.
            await self.request_keyframe()

    async def request_keyframe(self) -> None:
        """
        Ask those whose pictures are received for a whole one.
        """
        if self.__nack_generator is not None:
            for ssrc in list(self.__remote_streams):
                if ssrc not in self.__rtx_ssrc:
                    await self._send_rtcp_pli(ssrc)

    def follow_transport(self) -> None:
        """
        Receive on the transport that has been negotiated: it is connected.
        """
        old = self.used_transport
        if self._move():
            old._unregister_rtp_receiver(self)
            self._disconnected = False
            if not is_same_peer(old, self.used_transport):
                self._forget_peer()

    def end_unless_replaced(self) -> None:
        """
        End with the transport, which the peer has ended, if no other one follows.
        """
        if self.next_transport is None:
            super()._handle_disconnect()

    def _handle_disconnect(self) -> None:
        self._disconnected = True
        if not self.awaits_answer():
            self.end_unless_replaced()

    async def _run_rtcp(self) -> None:
        try:
            await super()._run_rtcp()
        finally:
            # aiortc's stop() would wait for ever for reports which have failed.
            self.__rtcp_exited.set()

    async def _send_rtcp(self, packet: aiortc.rtp.AnyRtcpPacket) -> None:
        if isinstance(packet, aiortc.rtp.RtcpRrPacket):
            for report in packet.reports:
                # aiortc computes the jitter from the wall clock, which may be set, and
                # from what the peer says.
                report.jitter = min(report.jitter, 0xFFFFFFFF)
        await super()._send_rtcp(packet)

    def _is_stale(self, nack: NackGenerator, number: int, arrival: int) -> bool:
        """
        Whether what is missing before a packet will not come any more.
        """
        origin = self.__jitter_buffer._origin
        if nack.max_seq is None or origin is None:
            return False
        lost = uint16_add(number, -nack.max_seq) - 1
        if lost < 0x7FFF:
            silence = arrival - self._arrival
            if lost > RTP_HISTORY_SIZE or (
                lost >= PAUSE_LOSS and silence >= PATIENCE_MS
            ):
                return True
        if not nack.missing or origin != self._blocked[0]:
            self._blocked = origin if nack.missing else None, arrival
        return arrival - self._blocked[1] >= PATIENCE_MS and bool(nack.missing)

    def _follow(self, parameters: RTCRtpReceiveParameters) -> None:
        """
        Receive what has been negotiated, too.
        """
        for codec in parameters.codecs:
            if codec.payloadType is not None:
                self.__codecs[codec.payloadType] = codec
        for encoding in parameters.encodings:
            if encoding.rtx:
                self.__rtx_ssrc[encoding.rtx.ssrc] = encoding.ssrc
        self.used_transport._register_rtp_receiver(self, parameters)

    def _forget_peer(self) -> None:
        """
        Forget what another peer has sent, of which the next one knows nothing.
        """
        if self.__jitter_buffer._origin is not None:
            self._start_anew(self.__nack_generator)
        for table in (
            self._sources,
            self.__active_ssrc,
            self.__codecs,
            self.__lsr,
            self.__lsr_time,
            self.__remote_streams,
            self.__rtx_ssrc,
        ):
            table.clear()
        self._latest_source = None
        self.__timestamp_mapper = TimestampMapper(self.__timestamp_mapper)

    def _make_room(self, source: int) -> None:
        """
        Forget the source that has been silent for longest, if there is no room for
        another one.
        """
        # The latest source is the last one. aiortc's own times are no order: they are
        # those of a clock that may be set.
        self._latest_source = source
        self._sources.pop(source, None)
        self._sources[source] = None
        if len(self._sources) > MAX_SOURCES:
            oldest = next(iter(self._sources))
            for table in (
                self._sources,
                self.__active_ssrc,
                self.__remote_streams,
                self.__lsr,
                self.__lsr_time,
            ):
                table.pop(oldest, None)
            if self.__remote_bitrate_estimator is not None:
                self.__remote_bitrate_estimator.ssrcs.pop(oldest, None)

    def _skip_silence(self, arrival: int) -> None:
        """
        Forget the bitrate of before a silence, which aiortc does millisecond by
        millisecond.
        """
        if self.__remote_bitrate_estimator is not None:
            counter = self.__remote_bitrate_estimator.incoming_bitrate
            began = counter._origin_ms
            if began is not None and arrival - began >= 2 * RATE_WINDOW_MS:
                counter.reset()

    def _start_anew(self, nack: NackGenerator | None) -> None:
        jitter_buffer = self.__jitter_buffer
        jitter_buffer.remove(jitter_buffer.capacity)
        jitter_buffer._origin = None
        if nack is not None:
            nack.max_seq = None
            nack.missing.clear()
            # Its clock wraps once a minute.
            self.__remote_bitrate_estimator = RemoteBitrateEstimator()
