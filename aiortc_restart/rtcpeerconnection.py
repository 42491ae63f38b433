import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiortc
from aiortc.exceptions import InvalidStateError
from aiortc.sdp import SessionDescription

from . import _aiortc
from .ice import create_credentials, is_end_of_candidates
from .negotiation import bundle, credentials, rejection
from .negotiation.candidates import check_named
from .negotiation.descriptions import (
    SessionOrigin,
    describe_transport,
    make_readable,
    media_sections,
    parse,
    set_bundle,
    set_numbers,
    set_trickle,
    wrap,
)
from .negotiation.operations import Operation
from .negotiation.signaling import ANSWERED, OFFERING
from .rtcconfiguration import (
    RTCConfiguration,
    check_modification,
    copy_configuration,
)
from .session import Session, Superseded


class RTCPeerConnection(Session):
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
        self._origin = SessionOrigin()

    @property
    def currentLocalDescription(self) -> aiortc.RTCSessionDescription | None:
        """
        The local description that was negotiated last, or `None`.
        """
        return wrap(self._current_local)

    @property
    def currentRemoteDescription(self) -> aiortc.RTCSessionDescription | None:
        """
        The remote description that was negotiated last, or `None`.
        """
        return wrap(self._current_remote)

    @property
    def pendingLocalDescription(self) -> aiortc.RTCSessionDescription | None:
        """
        The local description that is being negotiated, or `None`.
        """
        return wrap(self._pending_local)

    @property
    def pendingRemoteDescription(self) -> aiortc.RTCSessionDescription | None:
        """
        The remote description that is being negotiated, or `None`.
        """
        return wrap(self._pending_remote)

    async def addIceCandidate(self, candidate: aiortc.RTCIceCandidate | None) -> None:
        """
        Add a new :class:`RTCIceCandidate` received from the remote peer.

        The specified candidate must have a value for either `sdpMid` or
        `sdpMLineIndex`. If it has a `usernameFragment`, it is added to the ICE
        generation which that names, otherwise to the latest. What comes after the end
        of a generation's candidates is ignored (RFC 8838 section 14).

        One that names a generation, or with it an m-section, of which no description
        has come yet is held for it, 30 seconds long. One of a generation that has been
        replaced by another is ignored.

        :param candidate: The new remote candidate, or `None` to signal
                            end-of-candidates, or one whose `candidate` is empty to
                            signal it for one m-section and generation. `None` names no
                            generation, so it does not end the candidates of a restart.

        :raises InvalidStateError: if the connection is closed.
        :raises OperationError: if the candidate names no generation and the remote
                                description lacks its m-section (webrtc-pc
                                #dom-peerconnection-addicecandidate), or names one that
                                cannot be (RFC 8839 section 5.4), or is too big to be
                                held.
        :raises ValueError: if the candidate has neither `sdpMid` nor `sdpMLineIndex`.
        """
        if candidate is not None and not is_end_of_candidates(candidate):
            check_named(candidate)
        async with self._operation():
            transports = self._record_candidate(candidate)
        # A name may take long to resolve, and nothing waits for it.
        for transport in transports:
            await transport.addRemoteCandidate(candidate)

    def addTrack(self, track: aiortc.MediaStreamTrack) -> aiortc.RTCRtpSender:
        """
        Add a :class:`MediaStreamTrack` to the set of media tracks which
        will be transmitted to the remote peer.

        Fires the `"negotiationneeded"` event, if the session has to be negotiated for
        it (webrtc-pc #dom-rtcpeerconnection-addtrack).

        :raises InvalidAccessError: if the track has a sender already.
        :raises InvalidStateError: if the connection is closed.
        :rtype: :class:`RTCRtpSender`
        """
        with self._stopped_hidden():
            sender = super().addTrack(track)
        self._own.update(x for x in self.getTransceivers() if x.sender is sender)
        self._needed.update()
        return sender

    def addTransceiver(
        self,
        trackOrKind: str | aiortc.MediaStreamTrack,
        direction: str = "sendrecv",
    ) -> aiortc.RTCRtpTransceiver:
        """
        Add a new :class:`RTCRtpTransceiver`.

        Fires the `"negotiationneeded"` event (webrtc-pc
        #dom-rtcpeerconnection-addtransceiver).

        :raises InvalidAccessError: if the track has a sender already.
        :raises InvalidStateError: if the connection is closed.
        :rtype: :class:`RTCRtpTransceiver`
        """
        transceiver = super().addTransceiver(trackOrKind, direction)
        self._own.add(transceiver)
        self._needed.update()
        return transceiver

    async def close(self) -> None:
        """
        Terminate the ICE agent, ending ICE processing and streams.

        Steps of the negotiation that wait for their turn, or for candidates, end with
        an :class:`InvalidStateError`: to wait for ever, as browsers' promises do, would
        hang who awaits them.
        """
        self._operations.close(InvalidStateError("RTCPeerConnection is closed"))
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(), name="close")
        # Who waits may be cancelled; what was begun is brought to its end.
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._forget_candidates()
        self._hold_transports(False)
        await super().close()
        self._stop_unused_transports(all=True)
        await self._stopping.join()
        await self._tasks.cancel()

    async def createAnswer(self) -> aiortc.RTCSessionDescription:
        """
        Create an SDP answer to an offer received from a remote peer during
        the offer/answer negotiation of a WebRTC connection.

        If the offer restarts ICE, so does the answer (RFC 9429 section 5.3.1).

        :rtype: :class:`RTCSessionDescription`
        """
        async with self._operation(harmless=True):
            answer = await self._create_answer_description()
            self._origin.stamp(answer)
            # An answer bundles nothing that the offer did not (RFC 9143 section 7.3).
            bundle.set_bundled_mids(answer, bundle.bundled_mids(self._pending_remote))
            set_trickle(answer, self._trickling(answer))
            self._reject_stopped(answer)
            by_mid = self._transports_by_mid()
            for media in answer.media:
                transport = by_mid.get(media.rtp.muxId)
                if transport is not None and not transport.gathered:
                    media.ice_candidates_complete = False
            return wrap(answer)

    def createDataChannel(
        self,
        label: str,
        maxPacketLifeTime: int | None = None,
        maxRetransmits: int | None = None,
        ordered: bool = True,
        protocol: str = "",
        negotiated: bool = False,
        id: int | None = None,
    ) -> aiortc.RTCDataChannel:
        """
        Create a data channel with the given label.

        The first one fires the `"negotiationneeded"` event (webrtc-pc
        #dom-peerconnection-createdatachannel).

        :raises InvalidStateError: if the connection is closed.
        :rtype: :class:`RTCDataChannel`
        """
        self._assert_open()
        channel = super().createDataChannel(
            label, maxPacketLifeTime, maxRetransmits, ordered, protocol, negotiated, id
        )
        assert self.sctp is not None
        self._own.add(self.sctp)
        self._needed.update()
        return channel

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
        :raises InvalidStateError: if the connection is closed, or an offer of the
                                   peer's has not been answered.
        :rtype: :class:`RTCSessionDescription`
        """
        async with self._operation(harmless=True):
            if self.signalingState not in OFFERING:
                raise InvalidStateError(
                    f'Cannot create offer in signaling state "{self.signalingState}"'
                )
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
            [self._current_local, self._pending_local]
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

        The old path carries the call on until the restart is done. If the policy is
        `RELAY` by then, nothing is sent on the direct one any more, no answer either.

        :param configuration: An :class:`RTCConfiguration`. It is copied, and all its
                              options count, so begin with :meth:`getConfiguration`.

        :raises InvalidAccessError: if the username or the credential of a TURN server
                                    is missing. Whatever is raised, nothing has changed.
        :raises InvalidModificationError: if `bundlePolicy` or
                                          `alwaysNegotiateDataChannels` is another, or,
                                          after the first local description,
                                          `iceCandidatePoolSize`.
        :raises InvalidStateError: if the connection is closed.
        :raises ValueError: if an option has no valid value, in particular if a URL is
                            not one of a STUN or TURN server.
        """
        self._assert_open()
        check_modification(self._settings, configuration, self._described)
        self._configure(copy_configuration(configuration))

    async def setLocalDescription(
        self, sessionDescription: aiortc.RTCSessionDescription | None = None
    ) -> None:
        """
        Change the local description associated with the connection.

        An offer with other ICE credentials than the current ones restarts ICE. Its
        candidates have been gathered when this returns, unless the configuration has
        `iceTrickle` and the peer is not known not to trickle. Each of them fires the
        `"icecandidate"` event, as does the end of a generation's, an
        :class:`RTCIceCandidate` with an empty `candidate`, and, with `None`, the end of
        all gathering (webrtc-pc #dom-rtcpeerconnection-onicecandidate).

        A rollback takes back an offer, ours or the peer's, which has not been answered
        (RFC 9429 section 5.7). The call goes on as before it, and if negotiation is
        needed for what we had offered, the `"negotiationneeded"` event is fired again.

        :param sessionDescription: An :class:`RTCSessionDescription` generated
                                    by :meth:`createOffer` or :meth:`createAnswer()`
                                    or `None` to implicitly create an offer or create
                                    an answer, as needed. One whose type is `rollback`
                                    needs no SDP.

        :raises InvalidStateError: if the signaling state forbids it, or the connection
                                   is closed, or the offer is rolled back meanwhile.
        :raises ValueError: if the description is not valid. Nothing has changed then.
        """
        async with self._operation() as operation:
            while self._answering is not None:
                # Its caller is to find it in its slot, and to send it first.
                await operation.wait_for(self._answering)
                self._assert_open()
            if sessionDescription is None:
                with operation.parts():
                    sessionDescription = await self._create_description()
            if sessionDescription.type == "rollback":
                await self._roll_back("local")
                return
            with self._applying("local", sessionDescription, operation) as step:
                try:
                    await super().setLocalDescription(sessionDescription)
                    # The base has described transports in all sections.
                    rejection.reject(step.applied, step.rejected)
                except Superseded:
                    pass
                finally:
                    if self._answering is operation:
                        self._answering = None

    async def setRemoteDescription(
        self, sessionDescription: aiortc.RTCSessionDescription
    ) -> None:
        """
        Changes the remote description associated with the connection.

        An offer with other ICE credentials than the current ones begins a restart, for
        each transport by itself, which the answer completes.

        An offer that meets ours rolls ours back first (webrtc-pc
        #dom-peerconnection-setremotedescription). If it cannot be parsed, lacks m-lines
        which have been negotiated, or has no valid ICE credentials or no DTLS
        fingerprint, ours stands. If it fails later, ours has been rolled back all the
        same: the signaling state is `stable`, and the `"negotiationneeded"` event is
        fired again, if negotiation is needed.

        An offer that comes in the place of another of the peer's, which has rolled that
        back, undoes what the other has done, without any event but those of tracks:
        what both describe, in the same m-section, stays.

        :param sessionDescription: An :class:`RTCSessionDescription` created from
                                    information received over the signaling channel. One
                                    whose type is `rollback` takes back an offer, as in
                                    :meth:`setLocalDescription`.

        :raises InvalidStateError: if the signaling state forbids it, or the connection
                                   is closed.
        :raises ValueError: if the description is not valid, or is an answer which does
                            not restart ICE as the offer did, or does where the offer
                            did not (RFC 9429 section 5.10). The call goes on as before.
        """
        async with self._operation() as operation:
            if sessionDescription.type == "rollback":
                await self._roll_back("remote")
                return
            if (
                sessionDescription.type == "offer"
                and self.signalingState == "have-local-offer"
            ):
                self._check_sections(parse(sessionDescription))
                await self._roll_back("local")
            with self._applying("remote", sessionDescription, operation) as step:
                await super().setRemoteDescription(make_readable(sessionDescription))
                self._complete_remote(step)
            if step.replaced is not None:
                await self._stop_undone(step.replaced)

    # Private

    @asynccontextmanager
    async def _operation(self, harmless: bool = False) -> AsyncIterator[Operation]:
        """
        Wait for the steps before.

        :param harmless: Whether it changes nothing.
        :raises InvalidStateError: if the connection is closed, or is closed meanwhile.
        """
        self._assert_open()
        async with self._operations.operation(harmless) as operation:
            self._assert_open()
            yield operation

    def _assert_open(self) -> None:
        if self._closing is not None:
            raise InvalidStateError("RTCPeerConnection is closed")

    async def _create_description(self) -> aiortc.RTCSessionDescription:
        if self.signalingState in ANSWERED:
            return await self.createAnswer()
        return await self.createOffer()

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
                describe_transport(media, fresh, [], complete=False)
        elif any(x.restarting for x in self._transports):
            self._describe_current(offer)
        set_trickle(offer, self._trickling(offer))
        self._reject_stopped(offer)
        return wrap(offer)

    def _describe_current(self, offer: SessionDescription) -> None:
        """
        Repeat the current credentials in an offer that replaces one with new ones.
        """
        transports = self._transports_of_sections(offer)
        for media, transport in zip(offer.media, transports, strict=True):
            if transport is not None and transport.restarting:
                current = transport.local_parameters
                gathered = transport.gathered_by(current.usernameFragment)
                assert gathered is not None
                describe_transport(media, current, *gathered)

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

    def _reject_stopped(self, description: SessionDescription) -> None:
        """
        Reject the m-sections of stopped transceivers (RFC 9429 section 5.2.2).
        """
        mids = {str(x.mid) for x in self.getTransceivers() if x.stopped}
        agreed = self._current_local
        if description.type == "answer":
            mids |= rejection.rejected_mids(self._pending_remote)
            agreed = self._pending_remote
        # The others of a bundle could not do without its tag: browsers would begin
        # another transport for them.
        tag = bundle.bundled_mids(agreed)[:1]
        for media in description.media:
            if media.rtp.muxId in tag and media.rtp.muxId in mids:
                media.direction = "inactive"
        rejection.reject(description, mids.difference(tag))

    def _trickling(self, description: SessionDescription) -> list[bool]:
        """
        Return whether to say of each m-section that candidates are taken one by one.
        What has been said of a generation stays so (RFC 8839 section 4.4.1.2.1).
        """
        trickling = []
        transports = self._transports_of_sections(description)
        for media, transport in zip(description.media, transports, strict=True):
            said = None
            if transport is not None and media.ice is not None:
                said = transport.trickles(media.ice.usernameFragment)
            trickling.append(self._settings.iceTrickle if said is None else said)
        return trickling
