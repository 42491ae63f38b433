import functools
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import aiortc
import aiortc.rtcrtpparameters
import aiortc.rtcrtpreceiver
import aiortc.rtp
from aiortc.exceptions import InvalidStateError
from aiortc.rtcrtpsender import RTCEncodedFrame

UNPROVEN = 16384
"""
After how many packets without an answer of the peer a track pauses, or half as many
more, as answers are looked for only when so many have been sent. A receiver that misses
32768 decrypts nothing more (RFC 3711 section 3.3.1); the rest is for those which it had
missed before, and for those of one picture.
"""

NegotiatedMedia = tuple[
    list[aiortc.RTCRtpCodecParameters], list[aiortc.RTCRtpHeaderExtensionParameters]
]

Endpoint = aiortc.RTCRtpTransceiver | aiortc.RTCSctpTransport
"What an m-section describes."


DIRECTION: property = vars(aiortc.RTCRtpTransceiver)["direction"]


class RTCRtpTransceiver(aiortc.RTCRtpTransceiver):
    """
    The RTCRtpTransceiver interface describes a permanent pairing of an
    :class:`RTCRtpSender` and an :class:`RTCRtpReceiver`, along with some
    shared state.

    When its direction changes, or it is stopped, the connection's
    `"negotiationneeded"` event is fired.
    """

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


class RTCRtpSender(aiortc.RTCRtpSender):
    """
    The base's sender, which pauses while there is no path, or one which probably leads
    nowhere.
    """

    _packets_looked = 0
    "How many packets had been sent when the last proof was looked at."

    _proof: tuple[int, int] | None = None
    "The last proof that what is sent arrives."

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
        if self.track is not None and not self._has_path():
            return self._skip_frame(self.track)
        return super()._next_encoded_frame(codec)

    async def _skip_frame(self, track: aiortc.MediaStreamTrack) -> None:
        await track.recv()

    def _has_path(self) -> bool:
        """
        Whether what is sent arrives, as far as is known.
        """
        transport = self.transport.transport
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


def drop_repeated_codecs(transceiver: aiortc.RTCRtpTransceiver) -> None:
    """
    Keep the first of those negotiated codecs which have one payload type: aiortc gives
    its own number to each that the peer has under a number outside of 96 to 127.
    """
    codecs = {x.payloadType: x for x in reversed(transceiver._codecs)}
    if len(codecs) < len(transceiver._codecs):
        transceiver._codecs = [
            x for x in transceiver._codecs if codecs[x.payloadType] is x
        ]


def has_preferred_codecs(transceiver: aiortc.RTCRtpTransceiver) -> bool:
    return bool(transceiver._preferred_codecs)


def is_bundled(endpoint: "Endpoint") -> bool:
    """
    Whether an endpoint uses the transport of another one.
    """
    return endpoint._bundled


def share_transport(transceiver: aiortc.RTCRtpTransceiver) -> None:
    """
    Have a transceiver not be the owner of the transport that it has.
    """
    transceiver._bundled = True


def is_gone(transceiver: aiortc.RTCRtpTransceiver) -> bool:
    """
    Whether a transceiver was stopped and has no m-section, so that it never will.
    """
    return transceiver.stopped and transceiver.mid is None


def is_stopping(transceiver: aiortc.RTCRtpTransceiver) -> bool:
    """
    Whether a transceiver has been stopped, or is being stopped.
    """
    return isinstance(transceiver, RTCRtpTransceiver) and transceiver._stopping


def kind_of(endpoint: "Endpoint") -> str:
    """
    Return the kind of the m-section that describes an endpoint.
    """
    if isinstance(endpoint, aiortc.RTCRtpTransceiver):
        return endpoint.kind
    return "application"


def mline_index(transceiver: aiortc.RTCRtpTransceiver) -> int | None:
    return transceiver._get_mline_index()


def set_mline_index(transceiver: aiortc.RTCRtpTransceiver, index: int | None) -> None:
    transceiver._set_mline_index(index)  # type: ignore[arg-type]


def dissociate(transceiver: aiortc.RTCRtpTransceiver) -> None:
    """
    Take a transceiver's m-section away from it.
    """
    transceiver._set_mid(None)  # type: ignore[arg-type]
    set_mline_index(transceiver, None)


@contextmanager
def role_kept(transports: set[aiortc.RTCDtlsTransport]) -> Iterator[None]:
    """
    Keep the roles of DTLS associations which exist, whatever is negotiated: only a new
    association has new roles (RFC 8842 section 5.5).
    """
    roles = [(x, x._role) for x in transports if x.state != "new"]
    try:
        yield
    finally:
        for transport, role in roles:
            transport._set_role(role)


def send_keyframe(sender: aiortc.RTCRtpSender) -> None:
    sender._send_keyframe()


def end_track(track: aiortc.MediaStreamTrack) -> None:
    """
    End a remote track, and the wait of who reads it.
    """
    if isinstance(track, aiortc.rtcrtpreceiver.RemoteStreamTrack):
        track._queue.put_nowait(None)
    track.stop()
