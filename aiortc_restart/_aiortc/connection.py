import asyncio
import functools
import logging
import types
from collections.abc import Callable, Container, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import aiortc
import aiortc.rtcpeerconnection
import aiortc.sdp

from .._secrets import redacted
from .dtls import RTCDtlsTransport
from .emitter import Emitter
from .ice import RTCIceTransport
from .media import (
    Endpoint,
    NegotiatedMedia,
    RTCCertificate,
    RTCRtpSender,
    RTCRtpTransceiver,
    is_gone,
    is_stopping,
    set_mline_index,
)
from .receiver import RTCRtpReceiver
from .saved import (
    SavedConnection,
    SavedSctp,
    SavedTransceiver,
    SavedTransport,
    Undone,
    dtls_of,
    give_each_transport_an_owner,
    restore_sctp,
    restore_transceiver,
    restore_transport,
    save_sctp,
    save_transceiver,
    save_transport,
)
from .sctp import RTCSctpTransport


class RTCPeerConnection(Emitter, aiortc.RTCPeerConnection):
    """
    The base's connection: its slots as properties, its steps as hooks.
    """

    # Whether a description is being applied.
    _holding = False
    # All transceivers, while some of them are hidden from the base.
    _complete: list[aiortc.RTCRtpTransceiver] | None = None
    _unoffered: tuple[aiortc.RTCRtpTransceiver, ...] = ()

    def __init__(self, configuration: aiortc.RTCConfiguration | None) -> None:
        super().__init__(configuration)
        for certificate in self.__certificates:
            certificate.__class__ = RTCCertificate
        # With which transport they were made, and whether it was another one's.
        self._origins: dict[Endpoint, tuple[aiortc.RTCDtlsTransport, bool]] = {}
        # Where transceivers have been found, which may have changed since.
        self._by_index: dict[int | None, aiortc.RTCRtpTransceiver] = {}
        self._by_mid: dict[str | None, aiortc.RTCRtpTransceiver] = {}
        # All that have not been stopped.
        self._made_transports: set[aiortc.RTCDtlsTransport] = set()
        # The one which createOffer() has made and no description has.
        self._spare_sctp: aiortc.RTCSctpTransport | None = None

    # What applications see of those that are hidden from the base for a moment

    def getReceivers(self) -> list[aiortc.RTCRtpReceiver]:
        return [x.receiver for x in self.getTransceivers()]

    def getSenders(self) -> list[aiortc.RTCRtpSender]:
        return [x.sender for x in self.getTransceivers()]

    def getTransceivers(self) -> list[aiortc.RTCRtpTransceiver]:
        if self._complete is None:
            return self.__transceivers[:]
        return _merge(self._complete, self.__transceivers)

    # Slots

    @property
    def _configuration(self) -> aiortc.RTCConfiguration:
        return self.__configuration

    @_configuration.setter
    def _configuration(self, value: aiortc.RTCConfiguration) -> None:
        self.__configuration = value

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

    @property
    def _pending_remote(self) -> aiortc.sdp.SessionDescription | None:
        return self.__pendingRemoteDescription

    def _set_current_descriptions(
        self,
        local: aiortc.sdp.SessionDescription | None,
        remote: aiortc.sdp.SessionDescription | None,
    ) -> None:
        self.__currentLocalDescription = local
        self.__currentRemoteDescription = remote

    def _set_pending_descriptions(
        self,
        local: aiortc.sdp.SessionDescription | None,
        remote: aiortc.sdp.SessionDescription | None,
    ) -> None:
        self.__pendingLocalDescription = local
        self.__pendingRemoteDescription = remote

    @contextmanager
    def _offer_undone(
        self,
    ) -> Iterator["dict[aiortc.RTCRtpTransceiver, NegotiatedMedia]"]:
        """
        Undo what the base's createOffer() does to transceivers, and take the m-line
        indices back: they belong to a description once it is set.

        :return: What had been negotiated for each transceiver before.
        """
        index, sctp = self.__sctp_mline_index, self.__sctp
        before = [
            (x, x._codecs, x._headerExtensions, x._get_mline_index())
            for x in self.__transceivers
        ]
        try:
            yield {x: (codecs, extensions) for x, codecs, extensions, _ in before}
        finally:
            self.__sctp_mline_index = index
            if self.__sctp is not sctp:
                self._spare_sctp, self.__sctp = self.__sctp, None
                self._keep_used_transports()
            for transceiver, codecs, extensions, mline_index in before:
                transceiver._codecs = codecs
                transceiver._headerExtensions = extensions
                set_mline_index(transceiver, mline_index)

    def _hide_owners(self) -> None:
        """
        Keep the base from taking the only transport for one that is bundled away: its
        owner need not be the BUNDLE-tag. :meth:`_show_owners` undoes it.
        """
        if self.__configuration.bundlePolicy == aiortc.RTCBundlePolicy.MAX_BUNDLE:
            for endpoint in self._endpoints():
                endpoint._bundled = True

    def _hide_stopped(self) -> None:
        """
        Keep the base from using a stopped transceiver again for an m-section of the
        peer's. :meth:`_show_hidden` undoes it.
        """
        self._complete = self.__transceivers
        # It takes the first that fits, which one without an m-section always does.
        self.__transceivers = sorted(
            (x for x in self._complete if not is_gone(x)), key=lambda x: x.mid is None
        )

    def _hide_unoffered(self) -> None:
        """
        Let the base answer an offer which does not know all transceivers: it takes each
        of them for offered. :meth:`_show_hidden` undoes it.
        """
        self._unoffered = tuple(
            x for x in self.__transceivers if x._offerDirection is None
        )
        for transceiver in self._unoffered:
            transceiver._offerDirection = "inactive"

    def _silence_stopped(self) -> None:
        """
        Have the stopped transceivers be inactive, whichever direction they had.
        """
        for transceiver in self.__transceivers:
            if transceiver.stopped and transceiver.mid is not None:
                transceiver._setCurrentDirection("inactive")

    def _show_hidden(self) -> None:
        self.__transceivers = self.getTransceivers()
        self._complete = None
        for transceiver in self._unoffered:
            transceiver._offerDirection = None
            if transceiver.mid is None:
                # webrtc-pc #dom-rtcrtptransceiver-currentdirection
                transceiver._setCurrentDirection(None)  # type: ignore[arg-type]
        self._unoffered = ()

    def _show_owners(self) -> None:
        # One whose section has been rejected is no part of the bundle.
        give_each_transport_an_owner(
            sorted(self._endpoints(), key=lambda x: x not in self.__remoteIce)
        )

    @contextmanager
    def _stopped_hidden(self) -> Iterator[None]:
        """
        Keep the base from using a stopped transceiver again for another track.
        """
        with self._hidden([x for x in self.__transceivers if x.stopped]):
            yield

    @contextmanager
    def _hidden(self, transceivers: list[aiortc.RTCRtpTransceiver]) -> Iterator[None]:
        """
        Have the base do something without some of the transceivers.
        """
        shown = self.__transceivers
        self.__transceivers = [x for x in shown if x not in transceivers]
        try:
            yield
        finally:
            self.__transceivers = _merge(shown, self.__transceivers)

    # The last stable state

    def _restore(
        self,
        saved: SavedConnection,
        kept: Container[Endpoint],
        again: "Mapping[Endpoint, aiortc.MediaStreamTrack | None] | None" = None,
    ) -> Undone:
        """
        Put everything that descriptions change back to what it was.

        :param saved: What it was.
        :param kept: What the application has made or taken into use.
        :param again: What keeps the m-section which it has, and with which remote
                      track, as another description is about to describe it.
        """
        again = again or {}
        undone = self._restore_transceivers(saved, kept, again)
        self._restore_sctp(saved, kept, again)
        self._sctpLegacySdp = saved.legacy_sctp
        self.__remoteDtls = saved.remote_dtls.copy()
        self.__remoteIce = saved.remote_ice.copy()
        self.__sctpRemoteCaps, self.__sctpRemotePort = saved.sctp_remote
        self.__seenMids = saved.seen_mids.copy()
        self._set_pending_descriptions(saved.pending_local, saved.pending_remote)

        self._show_owners()
        self._keep_used_transports()
        for dtls in self.__dtlsTransports:
            restore_transport(
                dtls, saved.transports.get(dtls, SavedTransport("auto", False, False))
            )
        return undone

    def _restore_sctp(
        self,
        saved: SavedConnection,
        kept: Container[Endpoint],
        again: Container[Endpoint],
    ) -> None:
        sctp = self.__sctp
        if sctp is None or sctp not in again:
            self.__sctp_mline_index = saved.sctp_mline_index
        if saved.sctp is not None:
            self.__sctp = saved.sctp[0]
            restore_sctp(*saved.sctp)
        elif sctp is not None and (sctp in kept or sctp in again):
            transport, bundled = self._origins[sctp]
            mid = sctp.mid if sctp in again else None
            restore_sctp(sctp, SavedSctp(bundled, mid, transport))
        else:
            self.__sctp = None

    def _restore_transceivers(
        self,
        saved: SavedConnection,
        kept: Container[Endpoint],
        again: "Mapping[Endpoint, aiortc.MediaStreamTrack | None]",
    ) -> Undone:
        undone = Undone()
        for transceiver in list(self.__transceivers):
            track = transceiver.receiver.track
            known = saved.transceivers.get(transceiver)
            state = known or self._as_made(transceiver)
            if transceiver in again:
                state = replace(
                    state,
                    mid=transceiver.mid,
                    mline_index=transceiver._get_mline_index(),
                    track=state.track or again[transceiver],
                )
            elif known is None and not (
                transceiver in kept or transceiver.sender.track
            ):
                self.__transceivers.remove(transceiver)
                undone.transceivers.append(transceiver)
            restore_transceiver(transceiver, state)
            if track is not None and track is not transceiver.receiver.track:
                undone.tracks.append(track)
        # Some may have been taken out for a description which has failed since.
        for transceiver, state in saved.transceivers.items():
            if transceiver not in self.__transceivers:
                restore_transceiver(transceiver, state)
        self.__transceivers = _merge(list(saved.transceivers), self.__transceivers)
        return undone

    def _save(self) -> SavedConnection:
        """
        Take note of everything that descriptions change.
        """
        sctp = self.__sctp
        return SavedConnection(
            legacy_sctp=self._sctpLegacySdp,
            pending_local=self.__pendingLocalDescription,
            pending_remote=self.__pendingRemoteDescription,
            remote_dtls=self.__remoteDtls.copy(),
            remote_ice=self.__remoteIce.copy(),
            sctp=(sctp, save_sctp(sctp)) if sctp is not None else None,
            sctp_mline_index=self.__sctp_mline_index,
            sctp_remote=(self.__sctpRemoteCaps, self.__sctpRemotePort),
            seen_mids=self.__seenMids.copy(),
            transceivers={x: save_transceiver(x) for x in self.__transceivers},
            transports={x: save_transport(x) for x in self.__dtlsTransports},
        )

    def _as_made(self, transceiver: aiortc.RTCRtpTransceiver) -> SavedTransceiver:
        transport, bundled = self._origins[transceiver]
        return SavedTransceiver(
            bundled=bundled,
            current_direction=None,
            enabled=(True, True),
            media=([], []),
            mid=None,
            mline_index=None,
            offer_direction=None,
            track=None,
            transport=transport,
        )

    def _endpoints(self) -> list[Endpoint]:
        """
        Return what may use a transport: a transceiver which was stopped before it had
        an m-section never will.
        """
        transceivers = [x for x in self.__transceivers if not is_gone(x)]
        return [*transceivers, *([self.__sctp] if self.__sctp else [])]

    def _keep_used_transports(self) -> None:
        """
        Take for the connection's transports those which something uses.
        """
        if self.__isClosed:
            return
        used = {dtls_of(x) for x in self._endpoints()}
        self.__dtlsTransports = used
        self.__iceTransports = {x.transport for x in used}
        self._update_states()

    def _let_go_of_sctp(self) -> None:
        """
        Do without the SCTP transport, which no description has.
        """
        if self.__sctp is not None and self.__sctp.mid is None:
            self.__sctp = None
            self._show_owners()
            self._keep_used_transports()

    def _useful_transports(self, negotiating: bool) -> set[aiortc.RTCDtlsTransport]:
        """
        Return the transports which are in use.

        :param negotiating: Whether also those which a rollback would use again.
        """
        endpoints = self._endpoints()
        self._origins = {
            endpoint: origin
            for endpoint, origin in self._origins.items()
            if negotiating and endpoint in endpoints
        }
        useful = {dtls_of(x) for x in endpoints}
        if self._spare_sctp is not None:
            useful.add(self._spare_sctp.transport)
        return useful | {transport for transport, _ in self._origins.values()}

    def _update_states(self) -> None:
        self.__updateIceGatheringState()
        self.__updateConnectionState()

    # Steps

    async def _create_answer_description(self) -> aiortc.sdp.SessionDescription:
        return await _create_answer_description(self)

    async def _create_offer_description(self) -> aiortc.sdp.SessionDescription:
        return await _create_offer_description(self)

    def _assert_not_closed(self) -> None:
        self.__assertNotClosed()

    def _create_sctp_transport(self) -> None:
        self.__createSctpTransport()

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

    def _transceiver_changed(self) -> None:
        raise NotImplementedError

    def _transceiver_stopped(self, transceiver: aiortc.RTCRtpTransceiver) -> None:
        """
        Let go of the transport of a transceiver which has gone, unless another one
        shares it.
        """
        if is_gone(transceiver):
            self._show_owners()
            self._keep_used_transports()
        self._transceiver_changed()

    async def _gather(self) -> None:
        await super().__gather()

    def __log_debug(self, msg: str, *args: object) -> None:
        # aiortc logs whole descriptions.
        if aiortc.rtcpeerconnection.logger.isEnabledFor(logging.DEBUG):
            shown = (redacted(x) if isinstance(x, str) else x for x in args)
            aiortc.rtcpeerconnection.logger.debug(f"RTCPeerConnection() {msg}", *shown)

    def _emit_signaling_state(self) -> None:
        self.emit("signalingstatechange")

    def _set_signaling_state(self, state: str) -> bool:
        """
        Set the state, and return whether it is another one.
        """
        changed = state != self.__signalingState and not self.__isClosed
        if changed:
            self.__signalingState = state
        return changed

    def _derive_states(self) -> Callable[[], None]:
        """
        Compute the states, and return what fires their events.
        """
        raise NotImplementedError

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

    def _set_gathering_state(self, state: str) -> None:
        if state != self.__iceGatheringState:
            self.__iceGatheringState = state
            self.emit("icegatheringstatechange")

    def _update_ice_gathering_state(self) -> None:
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
            if transceiver not in self.__remoteIce or is_stopping(transceiver):
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
        iceTransport.state_changed = self._derive_states

        dtlsTransport = RTCDtlsTransport(iceTransport, self.__certificates)
        dtlsTransport.on("statechange", self.__updateConnectionState)
        self.__dtlsTransports.add(dtlsTransport)
        self._made_transports.add(dtlsTransport)

        self._update_states()
        return dtlsTransport

    def __createSctpTransport(self) -> None:
        if self._spare_sctp is not None:
            self.__sctp, self._spare_sctp = self._spare_sctp, None
            self._keep_used_transports()
        else:
            super().__createSctpTransport()
        assert self.__sctp is not None
        self.__sctp.__class__ = RTCSctpTransport
        self._origins[self.__sctp] = self.__sctp.transport, self.__sctp._bundled

    async def __gather(self) -> None:
        self._show_hidden()
        await self._gather()

    def __createTransceiver(
        self,
        direction: str,
        kind: str,
        sender_track: aiortc.MediaStreamTrack | None = None,
    ) -> aiortc.RTCRtpTransceiver:
        # It is not to share the transport of one that has gone. While a description is
        # applied, those are hidden already.
        gone = []
        if self._complete is None:
            gone = [x for x in self.__transceivers if is_gone(x)]
        if gone:
            with self._hidden(gone):
                transceiver = super().__createTransceiver(direction, kind, sender_track)
        else:
            transceiver = super().__createTransceiver(direction, kind, sender_track)
        # The base names its classes itself; ours differ in some methods and no slot.
        transceiver.receiver.__class__ = RTCRtpReceiver
        transceiver.sender.__class__ = RTCRtpSender
        transceiver.__class__ = RTCRtpTransceiver
        assert isinstance(transceiver, RTCRtpTransceiver)
        transceiver._changed = self._transceiver_changed
        transceiver._ended = functools.partial(self._transceiver_stopped, transceiver)
        self._origins[transceiver] = (
            transceiver.receiver.transport,
            transceiver._bundled,
        )
        return transceiver

    # aiortc looks through all transceivers for each m-section.

    def __getTransceiverByMid(self, mid: str) -> aiortc.RTCRtpTransceiver | None:
        known = self._by_mid.get(mid)
        if known is None or known.mid != mid or known not in self.__transceivers:
            self._by_mid = {x.mid: x for x in reversed(self.__transceivers)}
        return self._by_mid.get(mid)

    def __getTransceiverByMLineIndex(
        self, index: int
    ) -> aiortc.RTCRtpTransceiver | None:
        known = self._by_index.get(index)
        if (
            known is None
            or known._get_mline_index() != index
            or known not in self.__transceivers
        ):
            self._by_index = {
                x._get_mline_index(): x for x in reversed(self.__transceivers)
            }
        return self._by_index.get(index)

    def __setSignalingState(self, state: str) -> None:
        # Its other states are entered when everything else is in place.
        if state == "closed":
            super().__setSignalingState(state)

    def __updateConnectionState(self) -> None:
        self._derive_states()()

    def __updateIceConnectionState(self) -> None:
        self._derive_states()()

    def __updateIceGatheringState(self) -> None:
        self._update_ice_gathering_state()

    def __validate_description(
        self, description: aiortc.sdp.SessionDescription, is_local: bool
    ) -> None:
        self._validate_description(description, is_local)


def _merge(
    complete: list[aiortc.RTCRtpTransceiver], shown: list[aiortc.RTCRtpTransceiver]
) -> list[aiortc.RTCRtpTransceiver]:
    """
    Return the transceivers of a list, some of which were hidden, and those which have
    been added to what was shown.
    """
    known = set(complete)
    return complete + [x for x in shown if x not in known]


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
