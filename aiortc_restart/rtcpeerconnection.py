import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiortc
from aiortc.exceptions import InvalidStateError
from aiortc.sdp import SessionDescription

from . import _aiortc
from .ice import create_credentials, is_end_of_candidates
from .negotiation import bundle, credentials
from .negotiation.candidates import check_named
from .negotiation.descriptions import (
    SessionOrigin,
    check_answer,
    describe_transport,
    media_sections,
    set_bundle,
    set_numbers,
    wrap,
)
from .negotiation.needed import NegotiationNeeded
from .negotiation.numbers import MediaNumbers
from .negotiation.operations import Operation, OperationsChain
from .rtcconfiguration import (
    RTCConfiguration,
    check_modification,
    copy_configuration,
)
from .transports import TransportOwner


class Superseded(Exception):
    """
    Another local description was set while candidates were gathered for this one.
    """


class RTCPeerConnection(TransportOwner):
    """
    The :class:`RTCPeerConnection` interface represents a WebRTC connection
    between the local computer and a remote peer.

    It is aiortc's, with ICE restart: :meth:`restartIce`,
    `createOffer(iceRestart=True)` and the `"negotiationneeded"` event. An ICE restart
    which the peer offers is followed by answering it.

    :param configuration: An optional :class:`RTCConfiguration`. It is copied.

    :raises ValueError: if an option has no valid value, in particular if a URL is not
                        one of a STUN or TURN server.
    """

    def __init__(self, configuration: aiortc.RTCConfiguration | None = None) -> None:
        super().__init__(configuration)
        # [[LocalIceCredentialsToReplace]]
        self._local_credentials_to_replace: set[tuple[str | None, str | None]] = set()
        self._needed = NegotiationNeeded(
            busy=lambda: len(self._operations) > 0,
            check=lambda: bool(self._local_credentials_to_replace),
            stable=lambda: self.signalingState == "stable" and self._closing is None,
            fire=self._fire_negotiation_needed,
        )
        self._gathering_operation: Operation | None = None
        self._numbers = MediaNumbers()
        self._closing: asyncio.Task[None] | None = None
        self._operations = OperationsChain(emptied=self._needed.chain_emptied)
        self._restore_sections: Callable[[], None] = lambda: None
        self._applied_local: SessionDescription | None = None
        self._local_descriptions = 0
        self._origin = SessionOrigin()

    async def addIceCandidate(self, candidate: aiortc.RTCIceCandidate | None) -> None:
        """
        Add a new :class:`RTCIceCandidate` received from the remote peer.

        The specified candidate must have a value for either `sdpMid` or
        `sdpMLineIndex`. If it has a `usernameFragment`, it is added to the ICE
        generation which that names, otherwise to the latest. What comes after the end
        of a generation's candidates is ignored (RFC 8838 section 14).

        :param candidate: The new remote candidate, or `None` to signal
                            end-of-candidates, or one whose `candidate` is empty to
                            signal it for one m-section and generation. `None` names no
                            generation, so it does not end the candidates of a restart.

        :raises InvalidStateError: if the connection is closed.
        :raises OperationError: if the `usernameFragment` is in no remote description
                                which is in force, or the m-section is in none
                                (webrtc-pc #dom-peerconnection-addicecandidate).
        :raises ValueError: if the candidate has neither `sdpMid` nor `sdpMLineIndex`.
        """
        if candidate is not None and not is_end_of_candidates(candidate):
            check_named(candidate)
        async with self._operation():
            transports = self._record_candidate(candidate)
        # A name may take long to resolve, and nothing waits for it.
        for transport in transports:
            await transport.addRemoteCandidate(candidate)

    async def close(self) -> None:
        """
        Terminate the ICE agent, ending ICE processing and streams.
        """
        self._operations.close(InvalidStateError("RTCPeerConnection is closed"))
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="close")
        # Who waits may be cancelled; what was begun is brought to its end.
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        await super().close()
        await self._tasks.cancel()

    async def createAnswer(self) -> aiortc.RTCSessionDescription:
        """
        Create an SDP answer to an offer received from a remote peer during
        the offer/answer negotiation of a WebRTC connection.

        If the offer restarts ICE, so does the answer (RFC 9429 section 5.3.1).

        :rtype: :class:`RTCSessionDescription`
        """
        async with self._operation():
            answer = await self._create_answer_description()
            self._origin.stamp(answer)
            # An answer bundles nothing that the offer did not (RFC 9143 section 7.3).
            bundle.set_bundled_mids(answer, bundle.bundled_mids(self._pending_remote))
            for media in answer.media:
                transport = self._transport_of_mid(media.rtp.muxId)
                if transport is not None and not transport.gathered:
                    media.ice_candidates_complete = False
            return wrap(answer)

    async def createOffer(
        self, iceRestart: bool = False
    ) -> aiortc.RTCSessionDescription:
        """
        Create an SDP offer for the purpose of starting a new WebRTC
        connection to a remote peer, or of changing an existing one.

        Creating an offer changes nothing, in particular not ICE: an offer with new
        credentials restarts it when it is set as local description (RFC 9429
        section 4.1.8).

        :param iceRestart: Whether to restart ICE. It has no effect on an initial offer
                           (RFC 9429 section 5.2.3.1).
        :rtype: :class:`RTCSessionDescription`
        """
        async with self._operation():
            with self._offer_undone() as negotiated:
                offer = await self._create_offer_description()
                self._set_numbers(offer, negotiated)
            return self._complete_offer(offer, iceRestart)

    def getConfiguration(self) -> RTCConfiguration:
        """
        Return a copy of the configuration, which may be changed and handed to
        :meth:`setConfiguration`.

        :rtype: :class:`RTCConfiguration`
        """
        return copy_configuration(self._settings)

    def restartIce(self) -> None:
        """
        Restart ICE, in the next negotiation: fires the `"negotiationneeded"` event, now
        and after each negotiation, until one has restarted ICE.

        The call goes on meanwhile. It has no effect before the first local description
        and when the connection is closed (webrtc-pc #dom-rtcpeerconnection-restartice).
        """
        if self._is_closed:
            return
        self._local_credentials_to_replace = credentials.credentials(
            [self._current_local, self._pending_local, self._applied_local]
        )
        if self._local_credentials_to_replace:
            self._needed.update()

    def setConfiguration(self, configuration: aiortc.RTCConfiguration) -> None:
        """
        Change the configuration (webrtc-pc #set-the-configuration).

        Other `iceServers`, or another `iceTransportPolicy`, are used when candidates
        are gathered for the next time. If they have been gathered, or are being
        gathered, the next offer restarts ICE (RFC 9429 section 4.1.18); to have one
        made, call :meth:`restartIce`. Other times are in force from now on, but a
        restart whose checks have begun keeps its own.

        :param configuration: An :class:`RTCConfiguration`. It is copied, and all its
                              options count, so begin with :meth:`getConfiguration`.

        :raises InvalidAccessError: if the username or the credential of a TURN server
                                    is missing. Whatever is raised, nothing has changed.
        :raises InvalidModificationError: if `bundlePolicy` or
                                          `alwaysNegotiateDataChannels` is another.
        :raises InvalidStateError: if the connection is closed.
        :raises ValueError: if an option has no valid value, in particular if a URL is
                            not one of a STUN or TURN server.
        """
        self._assert_open()
        check_modification(self._settings, configuration)
        self._configure(copy_configuration(configuration))

    async def setLocalDescription(
        self, sessionDescription: aiortc.RTCSessionDescription | None = None
    ) -> None:
        """
        Change the local description associated with the connection.

        An offer with other ICE credentials than the current ones restarts ICE. The new
        candidates have been gathered when this returns.

        :param sessionDescription: An :class:`RTCSessionDescription` generated
                                    by :meth:`createOffer` or :meth:`createAnswer()`
                                    or `None` to implicitly create an offer or create
                                    an answer, as needed.

        :raises InvalidStateError: if the signaling state forbids it.
        :raises ValueError: if the description is not valid. Nothing has changed then.
        """
        async with self._operation() as operation:
            if sessionDescription is None:
                if self.signalingState == "have-remote-offer":
                    sessionDescription = await self.createAnswer()
                else:
                    sessionDescription = await self.createOffer()
            if sessionDescription.type == "offer":
                self._gathering_operation = operation
            try:
                with _aiortc.role_kept(self._dtls_transports):
                    await super().setLocalDescription(sessionDescription)
            except Superseded:
                pass
            finally:
                self._applied_local = None

    async def setRemoteDescription(
        self, sessionDescription: aiortc.RTCSessionDescription
    ) -> None:
        """
        Changes the remote description associated with the connection.

        An offer with other ICE credentials than the current ones begins a restart, for
        each transport by itself, which the answer completes.

        :param sessionDescription: An :class:`RTCSessionDescription` created from
                                    information received over the signaling channel.

        :raises InvalidStateError: if the signaling state forbids it, or the connection
                                   is closed.
        :raises ValueError: if the description is not valid, or is an answer which does
                            not restart ICE as the offer did, or does where the offer
                            did not (RFC 9429 section 5.10). The call goes on as before.
        """
        async with self._operation():
            pending = {x: x.pending_restart for x in self._transports}
            try:
                with _aiortc.role_kept(self._dtls_transports):
                    await super().setRemoteDescription(sessionDescription)
                self._join_bundle(self._pending_remote or self._current_remote)
                self._describe_added_transports()
            except BaseException:
                for transport in self._transports:
                    transport.resume(pending.get(transport))
                raise
            finally:
                self._restore_sections()
                self._restore_sections = lambda: None
            if sessionDescription.type == "answer" and not self._is_closed:
                for transport in self._transports:
                    if transport.restarting:
                        transport.commit()
                # An offer whose candidates are still gathered is not pending any more.
                self._local_descriptions += 1
                self._finish_negotiation()

    # Hooks

    async def _gather(self) -> None:
        self._local_descriptions += 1
        number = self._local_descriptions
        # The base puts the description into its slot only after gathering, which is too
        # late for offers and restarts that are made meanwhile, and does not happen if
        # the caller is cancelled.
        self._pending_local = self._applied_local
        if self.signalingState == "stable":
            for transport in self._transports:
                if transport.restarting:
                    transport.commit(answerer=True)
            self._finish_negotiation()
        # A server that does not answer is not to hold back an offer of the peer's. An
        # answer is not complete without its candidates, and what follows waits for it.
        if self._gathering_operation is not None:
            self._gathering_operation.end()
            self._gathering_operation = None
        await super()._gather()
        if number != self._local_descriptions:
            # The base would put the older description in the place of the newer.
            raise Superseded

    def _validate_description(
        self, description: SessionDescription, is_local: bool
    ) -> None:
        restore = bundle.share_tag_section(description, self._bundle_owners())
        if not is_local:
            self._restore_sections = restore
        super()._validate_description(description, is_local)
        for media in description.media:
            credentials.validate(media)
            if media.dtls is None or not media.dtls.fingerprints:
                raise ValueError(
                    f'Media section "{media.rtp.muxId}" has no DTLS fingerprint'
                )
        if is_local:
            self._apply_local_credentials(description)
            self._applied_local = description
            if description.type != "offer":
                self._hide_unoffered()
        else:
            self._apply_remote_credentials(description)
        self._numbers.learn(description)

    # Steps of a negotiation

    @asynccontextmanager
    async def _operation(self) -> AsyncIterator[Operation]:
        """
        Wait for the steps before.

        :raises InvalidStateError: if the connection is closed, or is closed meanwhile.
        """
        self._assert_open()
        async with self._operations.operation() as operation:
            self._assert_open()
            yield operation

    def _assert_open(self) -> None:
        if self._closing is not None:
            raise InvalidStateError("RTCPeerConnection is closed")

    def _apply_local_credentials(self, description: SessionDescription) -> None:
        """
        Begin or give up ICE restarts, as a local description says.
        """
        if description.type == "offer":
            self._associate(description)
        for i, media in enumerate(description.media):
            transport = self._transport_of_section(i, media)
            assert media.ice is not None
            if transport is None:
                continue
            shown = transport.iceGatherer.getLocalParameters()
            if description.type == "offer" and not credentials.differ(
                media.ice, transport.local_parameters
            ):
                transport.discard()
            elif credentials.differ(media.ice, shown):
                if description.type != "offer" and not transport.restarting:
                    raise ValueError(
                        "Cannot change the ICE credentials of media section "
                        f'"{media.rtp.muxId}" in an answer to an offer which does not '
                        "restart ICE"
                    )
                transport.begin(media.ice, transport.pending_remote_parameters)

    def _apply_remote_credentials(self, description: SessionDescription) -> None:
        """
        Begin or give up ICE restarts, as a remote description says.

        :raises ValueError: if it is an answer which does not match the offer.
        """
        sections = [
            (self._transport_of_mid(media.rtp.muxId), media)
            for media in description.media
        ]
        if description.type != "offer":
            for transport, media in sections:
                if (
                    transport is not None
                    and transport.started
                    and transport.remote_parameters is not None
                ):
                    check_answer(
                        media, transport.remote_parameters, transport.restarting
                    )

        fresh = create_credentials()
        for transport, media in sections:
            if transport is None or media.ice is None:
                continue
            current = transport.remote_parameters
            if description.type != "offer" or current is None:
                transport.describe_remote(media.ice)
            elif not credentials.differ(media.ice, current):
                transport.discard()
            elif credentials.differ(media.ice, transport.pending_remote_parameters):
                transport.begin(fresh, media.ice)

    def _associate(self, offer: SessionDescription) -> None:
        """
        Give the transceivers the m-line indices which they have in an offer.
        """
        unassociated = [
            x for x in self.getTransceivers() if x.mid is None and not x.stopped
        ]
        by_mid = {x.mid: x for x in self.getTransceivers()}
        for i, media in enumerate(offer.media):
            if media.kind == "application":
                self._sctp_mline_index = i
                continue
            transceiver = by_mid.get(media.rtp.muxId) or next(
                (x for x in unassociated if x.kind == media.kind), None
            )
            if transceiver is None:
                raise ValueError(
                    f'No transceiver for media section "{media.rtp.muxId}"'
                )
            if transceiver in unassociated:
                unassociated.remove(transceiver)
            _aiortc.set_mline_index(transceiver, i)

    def _bundle_owners(self) -> list[str]:
        """
        Return the mids whose transport other m-sections share.
        """
        return [
            x.mid
            for x in (*self.getTransceivers(), self.sctp)
            if x is not None and x.mid and not _aiortc.is_bundled(x)
        ]

    def _complete_offer(
        self, offer: SessionDescription, restart: bool
    ) -> aiortc.RTCSessionDescription:
        self._origin.stamp(offer)
        set_bundle(offer, self._current_local, self._current_remote)
        if (
            self._local_credentials_to_replace
            or self._servers_changed()
            or (restart and self._current_local is not None)
        ):
            fresh = create_credentials()
            for media in offer.media:
                describe_transport(media, fresh, [])
        elif any(x.restarting for x in self._transports):
            self._describe_current(offer)
        return wrap(offer)

    def _describe_added_transports(self) -> None:
        """
        Have the transports that a remote description has added know the peer's
        credentials.
        """
        for media in media_sections(self._pending_remote or self._current_remote):
            transport = self._transport_of_mid(media.rtp.muxId)
            if transport is not None and media.ice is not None:
                transport.describe_remote(media.ice)

    def _describe_current(self, offer: SessionDescription) -> None:
        """
        Repeat the current credentials in an offer that replaces one with new ones.
        """
        for i, media in enumerate(offer.media):
            transport = self._transport_of_section(i, media)
            if transport is not None and transport.restarting:
                describe_transport(
                    media, transport.local_parameters, transport.local_candidates
                )

    def _fire_negotiation_needed(self) -> None:
        self.emit("negotiationneeded")

    def _finish_negotiation(self) -> None:
        """
        The signaling state has become stable (webrtc-pc
        #dfn-set-the-session-description).
        """
        self._promote_pending_descriptions()
        if not self._local_credentials_to_replace & credentials.credentials(
            [self._current_local]
        ):
            self._local_credentials_to_replace = set()
        self._needed.reset()

    def _set_numbers(
        self,
        offer: SessionDescription,
        negotiated: dict[aiortc.RTCRtpTransceiver, _aiortc.NegotiatedMedia],
    ) -> None:
        """
        Number codecs and header extensions as they have been negotiated.
        """
        old = {x.rtp.muxId for x in media_sections(self._current_remote)}
        by_index = {_aiortc.mline_index(x): x for x in self.getTransceivers()}
        numbers = self._numbers.copy()
        for i, media in enumerate(offer.media):
            transceiver = by_index.get(i)
            if media.kind != "application" and transceiver is not None:
                set_numbers(
                    media,
                    numbers,
                    negotiated[transceiver] if media.rtp.muxId in old else None,
                    keep_order=not _aiortc.has_preferred_codecs(transceiver),
                )
