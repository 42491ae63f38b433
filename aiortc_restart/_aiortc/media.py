import asyncio
import dataclasses
import functools
import re
from collections.abc import Awaitable, Callable, Coroutine, Generator
from typing import Any, Protocol

import aiortc
import aiortc.rtcrtpparameters
import aiortc.rtcrtpreceiver
import aiortc.rtp
from aiortc.codecs import is_rtx
from aiortc.exceptions import InvalidStateError
from aiortc.rtcrtpparameters import RTCRtpSendParameters
from aiortc.rtcrtpsender import RTCEncodedFrame

from .endpoints import MovingEnd

UNPROVEN = 16384
"""
After how many packets without an answer of the peer a track pauses, or half as many
more, as answers are looked for only when so many have been sent. A receiver that misses
32768 decrypts nothing more (RFC 3711 section 3.3.1); the rest is for those which it had
missed before, and for those of one picture.
"""

NO_STREAM = "-"
"The id in the description of a track that is in no stream (RFC 8830 section 2)."

STREAM_ID = re.compile(r"[!#-'*+\-.0-9A-Z^-~]{1,64}")
"A token (RFC 8866 section 9), of at most 64 characters (RFC 8830 section 2)."

NegotiatedMedia = tuple[
    list[aiortc.RTCRtpCodecParameters], list[aiortc.RTCRtpHeaderExtensionParameters]
]

BaseSender = aiortc.RTCRtpSender
DIRECTION: property = vars(aiortc.RTCRtpTransceiver)["direction"]


class RTCRtpTransceiver(aiortc.RTCRtpTransceiver):
    """
    The RTCRtpTransceiver interface describes a permanent pairing of an
    :class:`RTCRtpSender` and an :class:`RTCRtpReceiver`, along with some
    shared state.

    When its direction changes, or it is stopped, the connection's
    `"negotiationneeded"` event is fired.
    """

    _begun: object = None
    "What has been negotiated of what it sends and receives."

    _changed: Callable[[], None]
    _ended: Callable[[], None]
    _stopping = False

    @property
    def direction(self) -> str:
        """
        The preferred direction of the transceiver, which will be used in
        :meth:`RTCPeerConnection.createOffer` and
        :meth:`RTCPeerConnection.createAnswer`.

        One of `'sendrecv'`, `'sendonly'`, `'recvonly'` or `'inactive'`.

        :raises InvalidStateError: if the transceiver is stopped, when it is set
                                   (webrtc-pc #dom-rtcrtptransceiver-direction).
        """
        return str(DIRECTION.__get__(self))

    @direction.setter
    def direction(self, direction: str) -> None:
        if direction == self.direction:
            return
        if self.stopped:
            raise InvalidStateError("RTCRtpTransceiver is stopped")
        DIRECTION.__set__(self, direction)
        self._changed()

    async def stop(self) -> None:
        """
        Permanently stops the :class:`RTCRtpTransceiver`.

        Its m-section is rejected in the next negotiation (RFC 9429 section 5.2.2).
        """
        # What has not been started yet never will.
        self._stopping = True
        if not self.stopped:
            await super().stop()
            self._ended()

    def stop_unstarted(self) -> None:
        """
        Stop it at once, as nothing of it has been started.
        """
        self._stopping = self.__stopped = True


class Done:
    """
    What may be awaited, and is done.
    """

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


class TrackOwner(Protocol):
    """
    What a sender's tracks belong to: a connection.
    """

    def _assert_open(self) -> None: ...

    def _track_replaced(self, sender: aiortc.RTCRtpSender) -> Awaitable[None]: ...

    def _transceiver_changed(self) -> None: ...


class MediaStream(Protocol):
    """
    What tells which tracks belong together: aiortc has no class for it.
    """

    @property
    def id(self) -> str: ...


class RTCRtpSender(MovingEnd, aiortc.RTCRtpSender):  # type: ignore[misc]
    """
    The base's sender, which pauses while there is no path, or one which probably leads
    nowhere.
    """

    _connection: TrackOwner | None = None
    "`None` while it is being made."

    _changed = False
    "Whether what has been negotiated last is not what is sent yet."

    _codec: aiortc.RTCRtpCodecParameters | None = None
    _packets_looked = 0
    "How many packets had been sent when the last proof was looked at."

    stream: str | None = None
    "The id of the stream which :meth:`setStreams` has set, if it has."

    _parameters: RTCRtpSendParameters | None = None
    _proof: tuple[int, int] | None = None
    "The last proof that what is sent arrives."

    async def send(self, parameters: RTCRtpSendParameters) -> None:
        """
        Begin to send, or go on with what has been negotiated since: the next picture or
        sound is sent with its codec, payload type and header extensions (RFC 3264
        section 8.3.2).
        """
        if self._parameters is not None:
            if not self._registered:
                self.used_transport._register_rtp_sender(self, parameters)
                self._registered = True
            if parameters != self._parameters:
                self._parameters, self._changed = parameters, True
            return
        # aiortc has asked for a loop when the sender was made, maybe before any ran.
        self.__loop = asyncio.get_running_loop()
        self._parameters = parameters
        # aiortc reads from this object what it sends.
        self._codec = dataclasses.replace(parameters.codecs[0])
        codecs = [self._codec, *parameters.codecs[1:]]
        await super().send(dataclasses.replace(parameters, codecs=codecs))

    def follow_transport(self) -> None:
        """
        Send on the transport that has been negotiated: it is connected.
        """
        old = self.used_transport
        if self._move():
            old._unregister_rtp_sender(self)
            self._proof, self._packets_looked = None, self.__packet_count
            # The peer may be another one, or miss what was on its way.
            self._send_keyframe()

    def _follow(self, parameters: RTCRtpSendParameters) -> None:
        """
        Send from now on what has been negotiated.
        """
        before, codec = self._codec, parameters.codecs[0]
        assert before is not None
        self._changed = False
        if (codec.mimeType, codec.parameters) != (before.mimeType, before.parameters):
            self.__encoder = None
        vars(before).update(vars(codec))
        self.__rtp_header_extensions_map = aiortc.rtp.HeaderExtensionsMap()
        self.__rtp_header_extensions_map.configure(parameters)
        self.__rtx_payload_type = next(
            (
                x.payloadType
                for x in parameters.codecs
                if is_rtx(x) and x.parameters.get("apt") == codec.payloadType
            ),
            None,
        )

    # It need not be awaited.
    def replaceTrack(  # type: ignore[override]
        self, track: aiortc.MediaStreamTrack | None
    ) -> Awaitable[None]:
        """
        Send another track, or none, without a negotiation.

        It is in place when this returns, as in aiortc. Who awaits what this returns
        waits for the steps of the negotiation before it, too; in any case
        `"negotiationneeded"` waits for both (webrtc-pc #dom-rtcrtpsender-replacetrack).

        :param track: A :class:`MediaStreamTrack`, or `None`.

        :raises InvalidStateError: if the connection is closed, or the transceiver is
                                   stopped, when it is awaited.
        """
        super().replaceTrack(track)
        if self._connection is None:
            return Done()
        return self._connection._track_replaced(self)

    def setStreams(self, *streams: MediaStream | str) -> None:
        """
        Say to which stream the track belongs, so that the peer learns which tracks go
        together. Fires the `"negotiationneeded"` event, if the session has to be
        negotiated for it (webrtc-pc #dom-rtcrtpsender-setstreams).

        :param streams: What has the stream's id as `id`, or the id itself, or nothing
                        if the track belongs to none.

        :raises InvalidStateError: if the connection is closed.
        :raises ValueError: if there is more than one, which aiortc cannot describe, or
                            the id is none (RFC 8830 section 2).
        """
        ids = [x if isinstance(x, str) else x.id for x in streams]
        if len({*ids}) > 1:
            raise ValueError("A track of this connection can be in one stream only")
        if not all(map(STREAM_ID.fullmatch, ids)):
            raise ValueError(f"{ids[0]!r} is no id of a stream")
        if self._connection is not None:
            self._connection._assert_open()
        self.stream = self._stream_id = ids[0] if ids else NO_STREAM
        if self._connection is not None:
            self._connection._transceiver_changed()

    async def _run_rtcp(self) -> None:
        try:
            await super()._run_rtcp()
        finally:
            # aiortc's stop() would wait for ever for reports which have failed.
            self.__rtcp_exited.set()

    def _next_encoded_frame(
        self, codec: aiortc.RTCRtpCodecParameters
    ) -> Coroutine[Any, Any, RTCEncodedFrame | None]:
        # What cannot be sent is not encoded, and uses no sequence numbers: a receiver
        # that misses 32768 of them decrypts nothing more (RFC 3711 section 3.3.1).
        if self._changed and self._parameters is not None:
            self._follow(self._parameters)
        if self.track is not None and not self._has_path():
            return self._skip_frame(self.track)
        return super()._next_encoded_frame(codec)

    async def _skip_frame(self, track: aiortc.MediaStreamTrack) -> None:
        await track.recv()

    def _has_path(self) -> bool:
        """
        Whether what is sent arrives, as far as is known.
        """
        dtls = self.used_transport
        if dtls.state != "connected":
            # The transport has ended, and another one is to come in its place.
            return False
        transport = dtls.transport
        unproven = self.__packet_count - self._packets_looked
        if unproven >= UNPROVEN // 2:
            proof = getattr(transport, "proof", None)
            if proof is None or proof != self._proof:
                self._proof, self._packets_looked = proof, self.__packet_count
                unproven = 0
            else:
                # In a call which lives there is an answer before the rest is sent.
                transport.ask()  # type: ignore[attr-defined]
        return unproven < UNPROVEN and getattr(transport, "has_path", True)


class RTCCertificate(aiortc.RTCCertificate):
    """
    The base's certificate, which computes its fingerprints once: each description asks
    for them several times.
    """

    @functools.cached_property
    def _fingerprints(self) -> list[aiortc.RTCDtlsFingerprint]:
        return super().getFingerprints()

    def getFingerprints(self) -> list[aiortc.RTCDtlsFingerprint]:
        return list(self._fingerprints)


def sender_ids(sender: aiortc.RTCRtpSender) -> tuple[str, str, int, int]:
    """
    Return the ids of a sender's stream and track, and its SSRCs, that of the
    retransmissions last.
    """
    return sender._stream_id, sender._track_id, sender._ssrc, sender._rtx_ssrc


def stream_set_for(sender: aiortc.RTCRtpSender) -> str | None:
    """
    Return the id of the stream which the application has set for a sender, if it has.
    """
    return sender.stream if isinstance(sender, RTCRtpSender) else None


def streams_count(data: aiortc.RTCSctpTransport) -> int:
    return data._outbound_streams_count


def is_sender_of(connection: TrackOwner, sender: aiortc.RTCRtpSender) -> bool:
    """
    Whether a connection has made a sender, also if it was rolled back since.
    """
    return isinstance(sender, RTCRtpSender) and sender._connection is connection


def set_track(
    sender: aiortc.RTCRtpSender, track: aiortc.MediaStreamTrack | None
) -> None:
    """
    Have a sender send another track, or none, which is no step of the negotiation.
    """
    BaseSender.replaceTrack(sender, track)


def send_keyframe(sender: aiortc.RTCRtpSender) -> None:
    sender._send_keyframe()
