import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import aiortc
import aiortc.rtcrtpparameters
import aiortc.rtcrtpreceiver
import aiortc.rtp
from aiortc.exceptions import InvalidStateError

NegotiatedMedia = tuple[
    list[aiortc.RTCRtpCodecParameters], list[aiortc.RTCRtpHeaderExtensionParameters]
]

Endpoint = aiortc.RTCRtpTransceiver | aiortc.RTCSctpTransport
"What an m-section describes."


DIRECTION: property = vars(aiortc.RTCRtpTransceiver)["direction"]


class RTCDtlsTransport(aiortc.RTCDtlsTransport):
    """
    The base's transport, which may be kept from stopping for a while.
    """

    async def stop(self) -> None:
        if not getattr(self.transport, "held", False):
            await super().stop()


class RTCRtpTransceiver(aiortc.RTCRtpTransceiver):
    """
    The RTCRtpTransceiver interface describes a permanent pairing of an
    :class:`RTCRtpSender` and an :class:`RTCRtpReceiver`, along with some
    shared state.

    When its direction changes, or it is stopped, the connection's
    `"negotiationneeded"` event is fired.
    """

    _changed: Callable[[], None]

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

        Its m-section becomes inactive with the next negotiation.
        """
        if not self.stopped:
            await super().stop()
            self._changed()


class RTCRtpReceiver(aiortc.RTCRtpReceiver):
    """
    The base's receiver, whose track outlives an RTCP BYE.
    """

    async def _handle_rtcp_packet(self, packet: aiortc.rtp.AnyRtcpPacket) -> None:
        # libwebrtc sends a BYE when it makes a stream anew, for instance in a plain
        # re-offer, and then goes on with the same SSRC. To the W3C a BYE mutes a track
        # (webrtc-pc, #mediastreamtrack-network-use), it does not end it. The end of
        # the DTLS transport does.
        if not isinstance(packet, aiortc.rtp.RtcpByePacket):
            await super()._handle_rtcp_packet(packet)


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


def has_preferred_codecs(transceiver: aiortc.RTCRtpTransceiver) -> bool:
    return bool(transceiver._preferred_codecs)


def is_bundled(endpoint: "Endpoint") -> bool:
    """
    Whether an endpoint uses the transport of another one.
    """
    return endpoint._bundled


def mline_index(transceiver: aiortc.RTCRtpTransceiver) -> int | None:
    return transceiver._get_mline_index()


def set_mline_index(transceiver: aiortc.RTCRtpTransceiver, index: int | None) -> None:
    transceiver._set_mline_index(index)  # type: ignore[arg-type]


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
