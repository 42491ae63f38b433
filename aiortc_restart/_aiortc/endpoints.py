"""
What m-sections describe, transceivers and the SCTP transport: which transport each of
them has, and how it shows what has been agreed.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import aiortc
import aiortc.rtcrtpreceiver
from aiortc import RTCSctpTransport

if TYPE_CHECKING:
    from ..negotiation.agreement import Section

    class _End:
        """
        What is below in a class that is made with :class:`MovingEnd`.
        """

        def __init__(self, media: Any, transport: aiortc.RTCDtlsTransport) -> None: ...

        async def getStats(self) -> aiortc.RTCStatsReport: ...

        def setTransport(self, transport: aiortc.RTCDtlsTransport) -> None: ...

else:
    _End = object

Endpoint = aiortc.RTCRtpTransceiver | aiortc.RTCSctpTransport
"What an m-section describes."

BaseTransceiver = aiortc.RTCRtpTransceiver


class MovingEnd(_End):
    """
    The part of a sender or receiver which, once it runs, stays with its transport until
    the next one is connected.
    """

    described = True
    "Whether no rollback has taken away the description that had it."

    next_transport: aiortc.RTCDtlsTransport | None = None
    "What has been negotiated, while it is not connected, and another one is used."

    _parameters: Any = None
    "What it runs with, if it does."

    _registered = True
    "Whether its transport hands it what the peer sends, if it runs."

    transport: aiortc.RTCDtlsTransport | None = None
    """
    The :class:`RTCDtlsTransport` over which media is sent or received, or `None` after
    a rollback of the description that had it (webrtc-pc #dom-rtcrtpsender-transport,
    #dom-rtcrtpreceiver-transport). aiortc asks for it with each packet.
    """

    used_transport: aiortc.RTCDtlsTransport
    "The same, also after a rollback."

    def __init__(self, media: Any, transport: aiortc.RTCDtlsTransport) -> None:
        super().__init__(media, transport)
        self.transport = self.used_transport = transport

    async def getStats(self) -> aiortc.RTCStatsReport:
        """
        Return statistics: nothing if there is no transport.

        :rtype: :class:`RTCStatsReport`
        """
        if self.transport is None:
            return aiortc.RTCStatsReport()
        return await super().getStats()

    def setTransport(self, transport: aiortc.RTCDtlsTransport) -> None:
        """
        Use another transport, as soon as it is connected.
        """
        self.next_transport = None
        if self._parameters is None:
            self._use(transport)
        elif transport is not self.used_transport:
            self.next_transport = transport

    def show_transport(self, described: bool) -> None:
        """
        Show the transport, or none.

        :param described: Whether a description has it.
        """
        self.described = described
        # aiortc's tasks ask for it for as long as they run.
        shown = described or self._parameters is not None
        self.transport = self.used_transport if shown else None

    def follow_transport(self) -> None:
        """
        Use the transport that has been negotiated: it is connected.
        """
        raise NotImplementedError

    def _move(self) -> bool:
        """
        Use the transport that has been negotiated, and tell whether there is one.
        """
        new, self.next_transport = self.next_transport, None
        if new is None or self._parameters is None:
            return False
        self._use(new)
        self._registered = False
        return True

    def _use(self, transport: aiortc.RTCDtlsTransport) -> None:
        super().setTransport(transport)
        self.used_transport = transport
        self.show_transport(self.described)


def dtls_of(endpoint: Endpoint) -> aiortc.RTCDtlsTransport:
    """
    Return the transport of an endpoint: the one that has been negotiated for it.
    """
    end = endpoint.receiver if isinstance(endpoint, BaseTransceiver) else endpoint
    next_transport: aiortc.RTCDtlsTransport | None
    next_transport = getattr(end, "next_transport", None)
    return next_transport or used_by(end)


def end_track(track: aiortc.MediaStreamTrack) -> None:
    """
    End a remote track, and the wait of who reads it.
    """
    if track.readyState == "ended":
        return
    if isinstance(track, aiortc.rtcrtpreceiver.RemoteStreamTrack):
        track._queue.put_nowait(None)
    track.stop()


def follow_transport(transceiver: aiortc.RTCRtpTransceiver) -> bool:
    """
    Have a transceiver use the transport which has been negotiated: it is connected.
    Tell whether it was another one.
    """
    if not left_by(transceiver):
        return False
    for end in (transceiver.sender, transceiver.receiver):
        if isinstance(end, MovingEnd):
            end.follow_transport()
    return True


def is_gone(transceiver: aiortc.RTCRtpTransceiver) -> bool:
    """
    Whether a transceiver was stopped and has no m-section, so that it never will.
    """
    return transceiver.stopped and transceiver.mid is None


def is_stopping(transceiver: aiortc.RTCRtpTransceiver) -> bool:
    """
    Whether a transceiver has been stopped, or is being stopped.
    """
    return getattr(transceiver, "_stopping", False)


def kind_of(endpoint: Endpoint) -> str:
    """
    Return the kind of the m-section that describes an endpoint.
    """
    if isinstance(endpoint, BaseTransceiver):
        return endpoint.kind
    return "application"


def left_by(endpoint: Endpoint) -> set[aiortc.RTCDtlsTransport]:
    """
    Return the transports on which an endpoint runs that is to have another one.
    """
    ends: Sequence[aiortc.RTCRtpSender | aiortc.RTCRtpReceiver | RTCSctpTransport]
    if not isinstance(endpoint, BaseTransceiver):
        ends = [endpoint] if endpoint.state != "closed" else []
    else:
        ends = [] if is_stopping(endpoint) else [endpoint.sender, endpoint.receiver]
    return {used_by(x) for x in ends if getattr(x, "next_transport", None)}


def preferred_codecs(
    transceiver: aiortc.RTCRtpTransceiver,
) -> list[aiortc.RTCRtpCodecCapability]:
    return transceiver._preferred_codecs


def show_transceiver(
    transceiver: aiortc.RTCRtpTransceiver, index: int | None, section: "Section | None"
) -> None:
    """
    Have a transceiver say what has been agreed of its m-section, or that it has none.
    """
    if section is not None or transceiver.mid is not None:
        show_transport(transceiver, section is not None)
    transceiver._set_mid(section.mid if section else None)  # type: ignore[arg-type]
    transceiver._set_mline_index(index)  # type: ignore[arg-type]
    transceiver._codecs = section.codecs if section else []
    transceiver._headerExtensions = section.extensions if section else []
    transceiver._offerDirection = section.offered_direction if section else None
    current = section.current_direction if section else None
    if current != transceiver.currentDirection:
        # webrtc-pc #dom-rtcrtptransceiver-currentdirection
        transceiver._setCurrentDirection(current)  # type: ignore[arg-type]
        if current is None:
            transceiver.sender._enabled = transceiver.receiver._enabled = True
    track = section.track if section else None
    transceiver.receiver._track = track  # type: ignore[assignment]
    if section is not None and section.transport is not None:
        use_transport(transceiver, section.transport)


def show_transport(transceiver: aiortc.RTCRtpTransceiver, described: bool) -> None:
    """
    Have a transceiver show its transport, or none.

    :param described: Whether a description has it.
    """
    for end in (transceiver.sender, transceiver.receiver):
        if isinstance(end, MovingEnd):
            end.show_transport(described)


def use_transport(endpoint: Endpoint, dtls: aiortc.RTCDtlsTransport) -> None:
    """
    Have an endpoint use a transport, as soon as it is connected.
    """
    if dtls_of(endpoint) is dtls:
        return
    if isinstance(endpoint, BaseTransceiver):
        endpoint.receiver.setTransport(dtls)
        endpoint.sender.setTransport(dtls)
    else:
        endpoint.setTransport(dtls)


def used_by(
    end: aiortc.RTCRtpReceiver | aiortc.RTCRtpSender | aiortc.RTCSctpTransport,
) -> aiortc.RTCDtlsTransport:
    """
    Return the transport which what sends or receives has, also after a rollback.
    """
    return end.used_transport if isinstance(end, MovingEnd) else end.transport
