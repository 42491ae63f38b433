from dataclasses import dataclass, field

import aiortc
import aiortc.sdp

from .media import Endpoint, NegotiatedMedia, set_mline_index


@dataclass
class SavedTransceiver:
    """
    What descriptions change in a transceiver. Its direction and its sender's track are
    the application's.
    """

    bundled: bool
    current_direction: str | None
    enabled: tuple[bool, bool]
    media: NegotiatedMedia
    mid: str | None
    mline_index: int | None
    offer_direction: str | None
    track: aiortc.MediaStreamTrack | None
    transport: aiortc.RTCDtlsTransport


@dataclass
class SavedTransport:
    """
    What descriptions change in a pair of transports.
    """

    dtls_role: str
    ice_controlling: bool
    ice_role_set: bool


@dataclass
class SavedSctp:
    """
    What descriptions change in an SCTP transport.
    """

    bundled: bool
    mid: str | None
    transport: aiortc.RTCDtlsTransport


@dataclass
class SavedConnection:
    """
    What descriptions change in a connection.
    """

    legacy_sctp: bool
    pending_local: aiortc.sdp.SessionDescription | None
    pending_remote: aiortc.sdp.SessionDescription | None
    remote_dtls: dict[Endpoint, aiortc.RTCDtlsParameters]
    remote_ice: dict[Endpoint, aiortc.RTCIceParameters] = field(repr=False)
    sctp: tuple[aiortc.RTCSctpTransport, SavedSctp] | None
    sctp_mline_index: int | None
    sctp_remote: tuple[aiortc.RTCSctpCapabilities | None, int | None]
    seen_mids: set[str]
    transceivers: dict[aiortc.RTCRtpTransceiver, SavedTransceiver]
    transports: dict[aiortc.RTCDtlsTransport, SavedTransport]


@dataclass
class Undone:
    """
    What is left over when a connection has been put back to what it was.
    """

    tracks: list[aiortc.MediaStreamTrack] = field(default_factory=list)
    "Remote tracks which are there no more."

    transceivers: list[aiortc.RTCRtpTransceiver] = field(default_factory=list)
    "Transceivers which only a remote description had made."


def save_transceiver(transceiver: aiortc.RTCRtpTransceiver) -> SavedTransceiver:
    return SavedTransceiver(
        bundled=transceiver._bundled,
        current_direction=transceiver.currentDirection,
        enabled=(transceiver.sender._enabled, transceiver.receiver._enabled),
        media=(transceiver._codecs, transceiver._headerExtensions),
        mid=transceiver.mid,
        mline_index=transceiver._get_mline_index(),
        offer_direction=transceiver._offerDirection,
        track=transceiver.receiver.track,
        transport=transceiver.receiver.transport,
    )


def restore_transceiver(
    transceiver: aiortc.RTCRtpTransceiver, saved: SavedTransceiver
) -> None:
    transceiver._bundled = saved.bundled
    transceiver._setCurrentDirection(saved.current_direction)  # type: ignore[arg-type]
    transceiver.sender._enabled, transceiver.receiver._enabled = saved.enabled
    transceiver._codecs, transceiver._headerExtensions = saved.media
    transceiver._set_mid(saved.mid)  # type: ignore[arg-type]
    set_mline_index(transceiver, saved.mline_index)
    transceiver._offerDirection = saved.offer_direction
    transceiver.receiver._track = saved.track  # type: ignore[assignment]
    transceiver.receiver.setTransport(saved.transport)
    transceiver.sender.setTransport(saved.transport)


def save_sctp(sctp: aiortc.RTCSctpTransport) -> SavedSctp:
    return SavedSctp(bundled=sctp._bundled, mid=sctp.mid, transport=sctp.transport)


def restore_sctp(sctp: aiortc.RTCSctpTransport, saved: SavedSctp) -> None:
    sctp._bundled = saved.bundled
    sctp.mid = saved.mid
    sctp.setTransport(saved.transport)


def save_transport(dtls: aiortc.RTCDtlsTransport) -> SavedTransport:
    return SavedTransport(
        dtls_role=dtls._role,
        ice_controlling=dtls.transport._connection.ice_controlling,
        ice_role_set=dtls.transport._role_set,
    )


def restore_transport(dtls: aiortc.RTCDtlsTransport, saved: SavedTransport) -> None:
    dtls._set_role(saved.dtls_role)
    # A role that is in use may have been changed by repairing a conflict.
    if dtls.transport.state == "new":
        dtls.transport._connection.ice_controlling = saved.ice_controlling
        dtls.transport._role_set = saved.ice_role_set


def give_each_transport_an_owner(endpoints: list[Endpoint]) -> None:
    """
    Have one of those who share a transport be the one that the base takes for its
    owner: the owner may have gone.
    """
    owned = {dtls_of(x) for x in endpoints if not x._bundled}
    for endpoint in endpoints:
        if dtls_of(endpoint) not in owned:
            endpoint._bundled = False
            owned.add(dtls_of(endpoint))


def dtls_of(endpoint: Endpoint) -> aiortc.RTCDtlsTransport:
    """
    Return the transport of an endpoint.
    """
    if isinstance(endpoint, aiortc.RTCRtpTransceiver):
        return endpoint.receiver.transport
    return endpoint.transport
