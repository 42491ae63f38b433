import asyncio
import types
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import aiortc
import aiortc.sdp

from .emitter import Emitter
from .ice import RTCIceTransport
from .media import (
    Endpoint,
    NegotiatedMedia,
    RTCCertificate,
    RTCRtpReceiver,
    set_mline_index,
)
from .sctp import RTCSctpTransport


class RTCPeerConnection(Emitter, aiortc.RTCPeerConnection):
    """
    The base's connection: its slots as properties, its steps as hooks.
    """

    _unoffered: tuple[aiortc.RTCRtpTransceiver, ...] = ()

    def __init__(self, configuration: aiortc.RTCConfiguration | None) -> None:
        super().__init__(configuration)
        for certificate in self.__certificates:
            certificate.__class__ = RTCCertificate

    # Slots

    @property
    def _configuration(self) -> aiortc.RTCConfiguration:
        return self.__configuration

    @property
    def _dtls_transports(self) -> set[aiortc.RTCDtlsTransport]:
        return self.__dtlsTransports

    @property
    def _ice_transports(self) -> set[aiortc.RTCIceTransport]:
        return self.__iceTransports

    @property
    def _is_closed(self) -> bool:
        return self.__isClosed is not None

    @property
    def _remote_dtls(
        self,
    ) -> dict[Endpoint, aiortc.RTCDtlsParameters]:
        return self.__remoteDtls

    @property
    def _remote_ice(
        self,
    ) -> dict[Endpoint, aiortc.RTCIceParameters]:
        return self.__remoteIce

    @property
    def _sctp_mline_index(self) -> int | None:
        return self.__sctp_mline_index

    @_sctp_mline_index.setter
    def _sctp_mline_index(self, value: int | None) -> None:
        self.__sctp_mline_index = value

    # The four slots of webrtc-pc, parsed

    @property
    def _current_local(self) -> aiortc.sdp.SessionDescription | None:
        return self.__currentLocalDescription

    @property
    def _current_remote(self) -> aiortc.sdp.SessionDescription | None:
        return self.__currentRemoteDescription

    @property
    def _pending_local(self) -> aiortc.sdp.SessionDescription | None:
        return self.__pendingLocalDescription

    @_pending_local.setter
    def _pending_local(self, value: aiortc.sdp.SessionDescription | None) -> None:
        self.__pendingLocalDescription = value

    @property
    def _pending_remote(self) -> aiortc.sdp.SessionDescription | None:
        return self.__pendingRemoteDescription

    def _promote_pending_descriptions(self) -> None:
        # The base leaves the offer pending when the answer has been applied.
        if self.__pendingLocalDescription is not None:
            self.__currentLocalDescription = self.__pendingLocalDescription
            self.__pendingLocalDescription = None
        if self.__pendingRemoteDescription is not None:
            self.__currentRemoteDescription = self.__pendingRemoteDescription
            self.__pendingRemoteDescription = None

    @contextmanager
    def _offer_undone(
        self,
    ) -> Iterator["dict[aiortc.RTCRtpTransceiver, NegotiatedMedia]"]:
        """
        Undo what the base's createOffer() does to transceivers, and take the m-line
        indices back: they belong to a description once it is set.

        :return: What had been negotiated for each transceiver before.
        """
        index = self.__sctp_mline_index
        before = [
            (x, x._codecs, x._headerExtensions, x._get_mline_index())
            for x in self.__transceivers
        ]
        try:
            yield {x: (codecs, extensions) for x, codecs, extensions, _ in before}
        finally:
            self.__sctp_mline_index = index
            for transceiver, codecs, extensions, mline_index in before:
                transceiver._codecs = codecs
                transceiver._headerExtensions = extensions
                set_mline_index(transceiver, mline_index)

    def _hide_unoffered(self) -> None:
        """
        Let the base answer an offer which does not know all transceivers: it takes each
        of them for offered. :meth:`_show_unoffered` undoes it.
        """
        self._unoffered = tuple(
            x for x in self.__transceivers if x._offerDirection is None
        )
        for transceiver in self._unoffered:
            transceiver._offerDirection = "inactive"

    def _show_unoffered(self) -> None:
        for transceiver in self._unoffered:
            transceiver._offerDirection = None
            if transceiver.mid is None:
                # webrtc-pc #dom-rtcrtptransceiver-currentdirection
                transceiver._setCurrentDirection(None)  # type: ignore[arg-type]
        self._unoffered = ()

    # Steps

    async def _create_answer_description(self) -> aiortc.sdp.SessionDescription:
        return await _create_answer_description(self)

    async def _create_offer_description(self) -> aiortc.sdp.SessionDescription:
        return await _create_offer_description(self)

    def _assert_not_closed(self) -> None:
        self.__assertNotClosed()

    def _close_later(self) -> None:
        """
        Close the connection, unless this is being done.
        """
        if not self.__isClosed and self.__closeTask is None:
            self.__closeTask = asyncio.ensure_future(self.close())

    def _create_ice_transport(self) -> RTCIceTransport:
        raise NotImplementedError

    def _start_transports(self) -> None:
        raise NotImplementedError

    async def _gather(self) -> None:
        await super().__gather()

    def _set_states(self, ice: str, connection: str) -> list[str]:
        """
        Change the connection's states, and return the events to be fired.
        """
        events = []
        if ice != self.__iceConnectionState:
            self.__iceConnectionState = ice
            events.append("iceconnectionstatechange")
        if connection != self.__connectionState:
            self.__connectionState = connection
            events.append("connectionstatechange")
        return events

    def _update_states(self) -> Callable[[], None]:
        """
        Compute the states, and return what fires the events.
        """
        raise NotImplementedError

    def _validate_description(
        self, description: aiortc.sdp.SessionDescription, is_local: bool
    ) -> None:
        super().__validate_description(description, is_local)

    async def _start_media(self, dtls: aiortc.RTCDtlsTransport) -> None:
        """
        Start what a connected DTLS transport carries and has not been started yet.
        """
        for transceiver in list(self.__transceivers):
            if transceiver.receiver.transport is not dtls or self.__isClosed:
                continue
            if transceiver not in self.__remoteIce:
                continue
            if transceiver.currentDirection in ["sendonly", "sendrecv"]:
                await transceiver.sender.send(self.__localRtp(transceiver))
            if transceiver.currentDirection in ["recvonly", "sendrecv"]:
                await transceiver.receiver.receive(self.__remoteRtp(transceiver))
        sctp = self.__sctp
        if self.__isClosed or sctp is None or sctp.transport is not dtls:
            return
        if sctp in self.__remoteIce:
            assert self.__sctpRemotePort is not None
            await sctp.start(self.__sctpRemoteCaps, self.__sctpRemotePort)

    # The base calls these by its own names.

    async def __connect(self) -> None:
        if not self.__isClosed:
            self._start_transports()

    def __createDtlsTransport(self) -> aiortc.RTCDtlsTransport:
        iceTransport = self._create_ice_transport()
        self.__iceTransports.add(iceTransport)
        iceTransport.iceGatherer.on("statechange", self.__updateIceGatheringState)
        iceTransport.state_changed = self._update_states

        dtlsTransport = aiortc.RTCDtlsTransport(iceTransport, self.__certificates)
        dtlsTransport.on("statechange", self.__updateConnectionState)
        self.__dtlsTransports.add(dtlsTransport)

        self.__updateIceGatheringState()
        self.__updateConnectionState()
        return dtlsTransport

    async def __gather(self) -> None:
        self._show_unoffered()
        await self._gather()

    def __createSctpTransport(self) -> None:
        super().__createSctpTransport()
        assert self.__sctp is not None
        self.__sctp.__class__ = RTCSctpTransport

    def __createTransceiver(
        self,
        direction: str,
        kind: str,
        sender_track: aiortc.MediaStreamTrack | None = None,
    ) -> aiortc.RTCRtpTransceiver:
        transceiver = super().__createTransceiver(direction, kind, sender_track)
        # The base names its class itself; ours differs in one method and no slot.
        transceiver.receiver.__class__ = RTCRtpReceiver
        return transceiver

    def __setSignalingState(self, state: str) -> None:
        # A step which was under way when the connection was closed.
        if state == "closed" or not self.__isClosed:
            super().__setSignalingState(state)

    def __updateConnectionState(self) -> None:
        self._update_states()()

    def __updateIceConnectionState(self) -> None:
        self._update_states()()

    def __validate_description(
        self, description: aiortc.sdp.SessionDescription, is_local: bool
    ) -> None:
        self._validate_description(description, is_local)


def _without_text(
    method: Callable[..., Coroutine[Any, Any, aiortc.RTCSessionDescription]],
) -> Callable[..., Coroutine[Any, Any, aiortc.sdp.SessionDescription]]:
    """
    Return one of the base's methods, but for its last step, which turns a description
    into text: parsing that again would be a fifth of the work of a restart.
    """
    assert isinstance(method, types.FunctionType)
    names = {**method.__globals__, "wrap_session_description": lambda x: x}
    return types.FunctionType(method.__code__, names, method.__name__)


_create_answer_description = _without_text(aiortc.RTCPeerConnection.createAnswer)
_create_offer_description = _without_text(aiortc.RTCPeerConnection.createOffer)
