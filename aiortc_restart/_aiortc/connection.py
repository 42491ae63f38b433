import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable

import aiortc
import aiortc.rtcpeerconnection
import aiortc.sdp
from aiortc import RTCBundlePolicy
from aiortc.exceptions import InvalidStateError

from .._async import Emitter
from .._secrets import redacted
from .dtls import RTCDtlsTransport
from .endpoints import Endpoint, dtls_of, is_gone, show_transport
from .ice import RTCIceTransport
from .media import RTCCertificate, RTCRtpSender, RTCRtpTransceiver
from .receiver import RTCRtpReceiver
from .sctp import RTCSctpTransport


class RTCPeerConnection(Emitter, aiortc.RTCPeerConnection):
    """
    aiortc's connection with makers of its own. What aiortc calls by its private names
    is handed on to the hooks, and :class:`Slots` has the rest.
    """

    def __init__(self, configuration: aiortc.RTCConfiguration) -> None:
        super().__init__(configuration)
        self.__certificates[:] = [
            RTCCertificate(x._key, x._cert) for x in self.__certificates
        ]
        self._closing: asyncio.Task[None] | None = None

    def _assert_open(self) -> None:
        """
        :raises InvalidStateError: if the connection is closed, or is being closed.
        """
        if self._closing is not None:
            raise InvalidStateError("RTCPeerConnection is closed")

    def _log_description(
        self, method: str, description: aiortc.RTCSessionDescription
    ) -> None:
        if aiortc.rtcpeerconnection.logger.isEnabledFor(logging.DEBUG):
            self.__log_debug("%s(%s)\n%s", method, description.type, description.sdp)

    def _endpoints(self) -> list[Endpoint]:
        """
        Return what may use a transport: a transceiver which was stopped before it had
        an m-section never will.
        """
        transceivers = [x for x in self.__transceivers if not is_gone(x)]
        return [*transceivers, *([self.__sctp] if self.__sctp else [])]

    # Hooks

    def _add_endpoint(self, endpoint: Endpoint) -> None:
        """
        Take note of what the application has made.
        """
        raise NotImplementedError

    def _create_ice_transport(self) -> RTCIceTransport:
        raise NotImplementedError

    def _derive_states(self) -> Callable[[], None]:
        """
        Compute the states, and return what fires their events.
        """
        raise NotImplementedError

    def _transceiver_changed(self) -> None:
        raise NotImplementedError

    def _transceiver_stopped(self, transceiver: aiortc.RTCRtpTransceiver) -> None:
        raise NotImplementedError

    def _take_spare_data(self) -> aiortc.RTCSctpTransport | None:
        """
        Return an SCTP transport which has been made for an offer and is not used yet.
        """
        raise NotImplementedError

    def _use_endpoint(self, endpoint: Endpoint, added: bool = False) -> None:
        """
        Take note of what the application has given a track or a channel.

        :param added: Whether it has added a transceiver.
        """
        raise NotImplementedError

    def _track_replaced(self, sender: aiortc.RTCRtpSender) -> Awaitable[None]:
        raise NotImplementedError

    # Makers: what they make is in use only when it is added

    def _make_data(self, dtls: aiortc.RTCDtlsTransport) -> aiortc.RTCSctpTransport:
        sctp = RTCSctpTransport(dtls)
        sctp._bundled = False
        sctp.mid = None
        sctp.on("datachannel", functools.partial(self.emit, "datachannel"))
        return sctp

    def _make_transceiver(
        self,
        kind: str,
        dtls: aiortc.RTCDtlsTransport,
        direction: str = "recvonly",
        track: aiortc.MediaStreamTrack | None = None,
    ) -> aiortc.RTCRtpTransceiver:
        sender = RTCRtpSender(track or kind, dtls)
        sender._connection = self
        receiver = RTCRtpReceiver(kind, dtls)
        receiver.awaits_answer = self._awaits_answer
        transceiver = RTCRtpTransceiver(
            direction=direction,
            kind=kind,
            sender=sender,
            receiver=receiver,
        )
        transceiver.receiver._set_rtcp_ssrc(transceiver.sender._ssrc)
        transceiver.sender._stream_id = self.__stream_id
        transceiver._changed = self._transceiver_changed
        transceiver._ended = functools.partial(self._transceiver_stopped, transceiver)
        return transceiver

    def _awaits_answer(self) -> bool:
        return self.signalingState in ("have-local-offer", "have-remote-pranswer")

    def _keep_transports(self) -> None:
        """
        Have all transceivers show their transports, of which aiortc ends each.
        """
        for transceiver in self.__transceivers:
            show_transport(transceiver, True)

    def _transport_for(self, kind: str) -> aiortc.RTCDtlsTransport:
        """
        Return the transport which something new has until it is negotiated, as the
        bundle policy says.
        """
        policy = self.__configuration.bundlePolicy
        for endpoint in self._endpoints():
            # That of a stopped transceiver may have been stopped as well, and the peer
            # may have closed one.
            dtls = dtls_of(endpoint)
            if dtls not in self.__dtlsTransports or dtls.state == "closed":
                continue
            if policy == RTCBundlePolicy.MAX_BUNDLE or (
                policy == RTCBundlePolicy.BALANCED
                and isinstance(endpoint, RTCRtpTransceiver)
                and endpoint.kind == kind
            ):
                return dtls
        return self.__createDtlsTransport()

    # aiortc calls these by its own names.

    def __createDtlsTransport(self) -> aiortc.RTCDtlsTransport:
        transport = self._create_ice_transport()
        transport.iceGatherer.on("statechange", self.__updateIceGatheringState)
        dtls = RTCDtlsTransport(transport, self.__certificates)
        transport.state_changed = self._derive_states
        dtls.on("statechange", self.__updateConnectionState)
        return dtls

    def __createSctpTransport(self) -> None:
        sctp = self._take_spare_data()
        if sctp is None:
            sctp = self._make_data(self._transport_for("application"))
        self.__sctp = sctp
        self._add_endpoint(sctp)

    def __createTransceiver(
        self,
        direction: str,
        kind: str,
        sender_track: aiortc.MediaStreamTrack | None = None,
    ) -> aiortc.RTCRtpTransceiver:
        dtls = self._transport_for(kind)
        transceiver = self._make_transceiver(kind, dtls, direction, sender_track)
        self.__transceivers.append(transceiver)
        self._add_endpoint(transceiver)
        return transceiver

    def __log_debug(self, msg: str, *args: object) -> None:
        # aiortc logs whole descriptions.
        shown = (redacted(x) if isinstance(x, str) else x for x in args)
        aiortc.rtcpeerconnection.logger.debug(f"RTCPeerConnection() {msg}", *shown)

    def __updateConnectionState(self) -> None:
        self._derive_states()()

    def __updateIceConnectionState(self) -> None:
        self._derive_states()()

    def __updateIceGatheringState(self) -> None:
        self._derive_states()()
