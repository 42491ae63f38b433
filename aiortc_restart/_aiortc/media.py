import functools
from collections.abc import Iterator
from contextlib import contextmanager

import aiortc
import aiortc.rtcrtpparameters
import aiortc.rtp

NegotiatedMedia = tuple[
    list[aiortc.RTCRtpCodecParameters], list[aiortc.RTCRtpHeaderExtensionParameters]
]

Endpoint = aiortc.RTCRtpTransceiver | aiortc.RTCSctpTransport
"What an m-section describes."


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
