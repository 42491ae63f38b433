import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any, cast

import aiortc
from aiortc import RTCSessionDescription
from aiortc.exceptions import InternalError, InvalidAccessError, InvalidStateError
from aiortc.rtcpeerconnection import or_direction
from aiortc.sdp import SessionDescription

from . import _aiortc
from ._aiortc import Endpoint, Slots
from ._tasks import Tasks
from .ice import RTCIceTransport, create_credentials, is_end_of_candidates
from .negotiation.created import Created, wants_restart
from .negotiation.needed import Medium, NegotiationNeeded, is_needed
from .negotiation.operations import Operation, OperationsChain, PlainOperation
from .negotiation.places import check_addressed, check_named
from .negotiation.sections import (
    SessionOrigin,
    can_trickle,
    credentials,
    describe_transport,
    described,
    offer_bundle,
    set_trickle,
)
from .negotiation.signaling import ANSWERED, OFFERING, TRANSITIONS
from .negotiation.text import parse, wrap
from .rtcconfiguration import (
    RTCConfiguration,
    check_configuration,
    check_modification,
    copy_configuration,
)
from .session import Candidates, Session, States, Transports
from .session.session import Waiting

WITHOUT_SENDING = {
    "inactive": "inactive",
    "recvonly": "recvonly",
    "sendonly": "inactive",
    "sendrecv": "recvonly",
}
"What a direction becomes when there is nothing to send any more."


class RTCPeerConnection(_aiortc.RTCPeerConnection):
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
        configuration = configuration or RTCConfiguration()
        check_configuration(configuration)
        settings = copy_configuration(configuration)
        super().__init__(settings)
        self._slots = Slots(self)
        self._tasks = Tasks("RTCPeerConnection")
        self._candidates = Candidates(
            self._slots,
            self._tasks,
            agreement=lambda: self._session.agreement,
            agreed=lambda: self._session.agreed,
        )
        self._transports = Transports(
            self._slots,
            settings,
            self._tasks,
            agreement=lambda: self._session.agreement,
            answered=lambda: self._session.answered,
            found=self._candidates.found,
            server_failed=self._candidates.server_failed,
        )
        self._states = States(self._slots, settled=self._transports.start_connected)
        self._states.configure(settings.iceFailedTimeout)
        self._closing: asyncio.Task[None] | None = None
        self._needed = NegotiationNeeded(
            # Who waits for an answer's candidates is to send it before another offer.
            busy=lambda: len(self._operations) > 0,
            check=self._is_negotiation_needed,
            stable=lambda: self.signalingState == "stable" and self._closing is None,
            fire=self._fire_negotiation_needed,
        )
        self._operations = OperationsChain(
            emptied=self._needed.chain_emptied, assert_open=self._assert_open
        )
        # The step which is waiting for the candidates of an answer.
        self._answering: Operation | None = None
        self._origin = SessionOrigin()
        self._session = Session(
            self._slots,
            self._states,
            self._tasks,
            self._transports,
            self._candidates,
            stable_again=self._needed.reset,
        )
        self._candidates.transports = self._transports
        self._transports.released = self._session.stop_unused
        # The offer and the answer which have been created last, by type, until the next
        # description is set or rolled back.
        self._created: dict[str, Created] = {}
        # Whether what createOffer() is to compare with has been asked to restart ICE.
        self._repeats_restart = False

    @property
    def canTrickleIceCandidates(self) -> bool | None:
        """
        Whether the peer takes candidates one by one: its remote description says
        `a=ice-options:trickle` (RFC 8838 section 3). `None` if there is no remote
        description yet (webrtc-pc #dom-rtcpeerconnection-cantrickleicecandidates).
        """
        descriptions = self._slots.descriptions.remote
        return can_trickle(descriptions[0]) if descriptions else None

    @property
    def connectionState(self) -> str:
        """
        The current connection state.

        Possible values: `"new"`, `"connecting"`, `"connected"`, `"disconnected"`,
        `"failed"`, `"closed"`. A connection which is disconnected may come back by
        itself; one which is failed comes back by an ICE restart.

        When the state changes, the `"connectionstatechange"` event is fired.
        """
        return super().connectionState

    @property
    def currentLocalDescription(self) -> aiortc.RTCSessionDescription | None:
        """
        The local description that was negotiated last, or `None`.
        """
        return wrap(self._slots.descriptions.current_local)

    @property
    def currentRemoteDescription(self) -> aiortc.RTCSessionDescription | None:
        """
        The remote description that was negotiated last, or `None`.
        """
        return wrap(self._slots.descriptions.current_remote)

    @property
    def iceConnectionState(self) -> str:
        """
        The current ICE connection state.

        Possible values: `"new"`, `"checking"`, `"connected"`, `"completed"`,
        `"disconnected"`, `"failed"`, `"closed"`. It is `"connected"` while a restart
        looks for another path and the old one carries the call.

        When the state changes, the `"iceconnectionstatechange"` event is fired.
        """
        return super().iceConnectionState

    @property
    def pendingLocalDescription(self) -> aiortc.RTCSessionDescription | None:
        """
        The local description that is being negotiated, or `None`.
        """
        return wrap(self._slots.descriptions.pending_local)

    @property
    def pendingRemoteDescription(self) -> aiortc.RTCSessionDescription | None:
        """
        The remote description that is being negotiated, or `None`.
        """
        return wrap(self._slots.descriptions.pending_remote)

    @property
    def signalingState(self) -> str:
        """
        The current signaling state.

        Possible values: `"stable"`, `"have-local-offer"`, `"have-remote-offer"`,
        `"have-local-pranswer"`, `"have-remote-pranswer"`, `"closed"`.

        When the state changes, the `"signalingstatechange"` event is fired.
        """
        return super().signalingState

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

        :raises InvalidStateError: if the connection is closed. A call that waits when
                                   it is being closed returns.
        :raises OperationError: if the candidate names no generation and the remote
                                description lacks its m-section (webrtc-pc
                                #dom-peerconnection-addicecandidate), or names one that
                                cannot be (RFC 8839 section 5.4), or is too big to be
                                held.
        :raises ValueError: if the candidate has neither `sdpMid` nor `sdpMLineIndex`.
        """
        if candidate is not None and not is_end_of_candidates(candidate):
            check_named(candidate)
        self._assert_open()
        check = functools.partial(self._assert_addressed, candidate)
        try:
            async with self._operations.operation(check=check, steady=True):
                transports = self._candidates.record(candidate)
        except InvalidStateError:
            if self._closing is None:
                raise
            # The call has been ended meanwhile, and nobody wants it any more.
            return
        # A name may take long to resolve, and nothing waits for it.
        for transport in transports:
            await transport.addRemoteCandidate(candidate)

    def addTrack(self, track: aiortc.MediaStreamTrack) -> _aiortc.RTCRtpSender:
        """
        Add a :class:`MediaStreamTrack` to the set of media tracks which
        will be transmitted to the remote peer.

        Fires the `"negotiationneeded"` event, if the session has to be negotiated for
        it (webrtc-pc #dom-rtcpeerconnection-addtrack).

        :raises InvalidAccessError: if the track has a sender already.
        :raises InvalidStateError: if the connection is closed.
        :rtype: :class:`RTCRtpSender`
        """
        self._assert_open()
        if track.kind not in ("audio", "video"):
            raise InternalError(f'Invalid track kind "{track.kind}"')
        if track in [x.track for x in self.getSenders()]:
            raise InvalidAccessError("Track already has a sender")
        transceiver = self._use_for(track)
        self._session.own.add(transceiver)
        self._needed.update()
        return cast(_aiortc.RTCRtpSender, transceiver.sender)

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
        self._session.own.add(transceiver)
        self._session.added.add(transceiver)
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
        self._candidates.forget()
        self._keep_transports()
        await super().close()
        self._transports.stop_unused(())
        await self._transports.stopping.join()
        await self._tasks.cancel()

    async def createAnswer(self) -> aiortc.RTCSessionDescription:
        """
        Create an SDP answer to an offer received from a remote peer during
        the offer/answer negotiation of a WebRTC connection.

        If the offer restarts ICE, so does the answer (RFC 9429 section 5.3.1).

        :rtype: :class:`RTCSessionDescription`
        """
        async with self._operations.operation(
            harmless=True, check=self._assert_answering
        ):
            answer = self._session.answer()
            self._origin.stamp(answer)
            set_trickle(answer, self._trickling(answer))
            created = wrap(answer)
            self._created["answer"] = Created(created.sdp, created.type, answer)
            return created

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
        self._session.own.add(self.sctp)
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
                           (RFC 9429 section 5.2.3.1). JavaScript's
                           `{"iceRestart": True}` is understood, too.

        :raises InvalidStateError: if the connection is closed, or an offer of the
                                   peer's has not been answered.
        :raises TypeError: if the argument is anything else.
        :rtype: :class:`RTCSessionDescription`
        """
        restart = wants_restart(iceRestart) or self._repeats_restart
        async with self._operations.operation(
            harmless=True, check=self._assert_offering
        ):
            data_first = self._transports.configuration.alwaysNegotiateDataChannels
            offer = self._session.offer(data_first)
            self._complete_offer(offer, restart)
            created = wrap(offer)
            self._created["offer"] = Created(created.sdp, "offer", offer, restart)
            return created

    def getConfiguration(self) -> RTCConfiguration:
        """
        Return a copy of the configuration, which may be changed and handed to
        :meth:`setConfiguration`.

        :rtype: :class:`RTCConfiguration`
        """
        return copy_configuration(self._transports.configuration)

    def getReceivers(self) -> list[aiortc.RTCRtpReceiver]:
        """
        Return the list of :class:`RTCRtpReceiver` objects of the transceivers.

        :rtype: list of :class:`RTCRtpReceiver`
        """
        return [x.receiver for x in self.getTransceivers()]

    def getSenders(self) -> list[aiortc.RTCRtpSender]:
        """
        Return the list of :class:`RTCRtpSender` objects of the transceivers.

        :rtype: list of :class:`RTCRtpSender`
        """
        return [x.sender for x in self.getTransceivers()]

    def getTransceivers(self) -> list[aiortc.RTCRtpTransceiver]:
        """
        Return the list of :class:`RTCRtpTransceiver` objects which belong to the
        connection, in the order in which they were added.

        :rtype: list of :class:`RTCRtpTransceiver`
        """
        self._needed.look_again()
        return super().getTransceivers()

    def removeTrack(self, sender: aiortc.RTCRtpSender) -> None:
        """
        Stop sending the track of a :class:`RTCRtpSender`, which stays for another one.

        Fires the `"negotiationneeded"` event, as the transceiver's direction becomes
        `recvonly` or `inactive`. Without a track, and if the transceiver is stopped,
        there is nothing to do (webrtc-pc #dom-rtcpeerconnection-removetrack).

        :param sender: One that :meth:`addTrack` has returned, or a transceiver's.

        :raises InvalidAccessError: if the sender is not this connection's.
        :raises InvalidStateError: if the connection is closed.
        """
        self._assert_open()
        if not _aiortc.is_sender_of(self, sender):
            raise InvalidAccessError("The sender is not this connection's")
        for transceiver in self.getTransceivers():
            if transceiver.sender is not sender or transceiver.stopped:
                continue
            if sender.track is not None:
                _aiortc.set_track(sender, None)
                transceiver.direction = WITHOUT_SENDING[transceiver.direction]
                self._needed.update()

    def restartIce(self) -> None:
        """
        Restart ICE, in the next negotiation: fires the `"negotiationneeded"` event, now
        and after each negotiation, until one has restarted ICE.

        The call goes on meanwhile. It has no effect before the first local description
        and when the connection is closed (webrtc-pc #dom-rtcpeerconnection-restartice).
        """
        if self._slots.closed:
            return
        fresh = credentials(self._slots.descriptions.local)
        self._session.credentials_to_replace = fresh
        if fresh:
            self._needed.update()

    def setConfiguration(self, configuration: aiortc.RTCConfiguration) -> None:
        """
        Change the configuration (webrtc-pc #set-the-configuration).

        Other `iceServers`, or another `iceTransportPolicy`, are used when candidates
        are gathered for the next time. If they have been gathered, or are being
        gathered, the next offer restarts ICE (RFC 9429 section 4.1.18); to have one
        made, call :meth:`restartIce`. Until that restart has switched to a new path,
        and if it fails, the call goes on over the old one, which shows this host's
        addresses if it is direct; from the switch to the policy "relay" on nothing is
        sent there any more. Other times are in force from now on, but a
        restart whose checks have begun keeps its own.

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
        check_modification(
            self._transports.configuration, configuration, self._session.described
        )
        settings = copy_configuration(configuration)
        self._transports.configure(settings)
        self._states.configure(settings.iceFailedTimeout)

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
        check = functools.partial(self._next_state, "local", sessionDescription)
        async with self._operations.operation(check=check) as operation:
            while self._answering is not None:
                # Its caller is to find it in its slot, and to send it first.
                await operation.wait_for(self._answering)
                self._assert_open()
            if sessionDescription is None:
                with operation.parts():
                    sessionDescription = await self._create_description()
            self._log_description("setLocalDescription", sessionDescription)
            state = self._next_state("local", sessionDescription)
            if sessionDescription.type == "rollback":
                self._created.clear()
                self._session.roll_back(state)
                self._tell_gathering_after(operation)
                return
            created = self._created.get(sessionDescription.type)
            if created is not None and created.sdp == sessionDescription.sdp:
                description = created.description
            else:
                description = parse(sessionDescription, remote=False)
            agreement = self._session.plan("local", description)
            self._created.clear()
            self._session.commit("local", description, agreement, state)
            await self._gather(sessionDescription.type, operation)

    async def setRemoteDescription(
        self, sessionDescription: aiortc.RTCSessionDescription
    ) -> None:
        """
        Changes the remote description associated with the connection.

        An offer with other ICE credentials than the current ones begins a restart, for
        each transport by itself, which the answer completes.

        An offer that meets ours rolls ours back first (webrtc-pc
        #dom-peerconnection-setremotedescription). One that fails leaves ours as it was.

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
        check = functools.partial(self._next_state, "remote", sessionDescription)
        async with self._operations.operation(check=check) as operation:
            self._log_description("setRemoteDescription", sessionDescription)
            type = sessionDescription.type
            glare = type == "offer" and self.signalingState == "have-local-offer"
            state = self._next_state("remote", sessionDescription)
            if type == "rollback":
                self._created.clear()
                self._session.roll_back(state)
                self._tell_gathering_after(operation)
                return
            description = parse(sessionDescription)
            agreement = self._session.plan("remote", description)
            if glare:
                self._session.roll_back("stable", tells_gathering=True)
                # Handlers of its event may have changed what there is.
                self._assert_open()
                agreement = self._session.plan("remote", description)
            self._created.clear()
            self._session.commit("remote", description, agreement, state)

    # Private

    def _assert_addressed(self, candidate: aiortc.RTCIceCandidate | None) -> None:
        check_addressed(candidate, self._slots.descriptions.remote)

    def _assert_answering(self) -> None:
        if self.signalingState not in ANSWERED:
            raise InvalidStateError(
                f'Cannot create answer in signaling state "{self.signalingState}"'
            )

    def _assert_offering(self) -> None:
        if self.signalingState not in OFFERING:
            raise InvalidStateError(
                f'Cannot create offer in signaling state "{self.signalingState}"'
            )

    def _assert_open(self) -> None:
        if self._closing is not None:
            raise InvalidStateError("RTCPeerConnection is closed")

    async def _create_description(self) -> aiortc.RTCSessionDescription:
        """
        Create an offer or an answer, as needed, or return the last one if nothing has
        changed since (webrtc-pc #dom-peerconnection-setlocaldescription).
        """
        answers = self.signalingState in ANSWERED
        last = self._created.get("answer" if answers else "offer")
        # Subclasses may create them in their own way, and not know about restarts.
        create = self.createAnswer if answers else self.createOffer
        self._repeats_restart = last is not None and last.restart
        try:
            new = await create()
        finally:
            self._repeats_restart = False
        if last is None:
            return new
        local = credentials(self._slots.descriptions.local)
        if last.still_says(new, {x for pair in local for x in pair if x is not None}):
            return RTCSessionDescription(sdp=last.sdp, type=last.type)
        # What the last one was asked for has not become the next one's.
        return await create() if last.restart else new

    def _complete_offer(self, offer: SessionDescription, restart: bool) -> None:
        self._origin.stamp(offer)
        descriptions = self._slots.descriptions
        offer_bundle(offer, descriptions.current_local, descriptions.current_remote)
        if (
            self._session.credentials_to_replace
            or self._transports.servers_changed()
            or (restart and descriptions.current_local is not None)
            or self._session.keeps_nothing(offer)
        ):
            fresh = create_credentials()
            for media in offer.media:
                describe_transport(media, fresh, [], complete=False)
        elif any(x.restarting for x in self._transports):
            self._describe_current(offer)
        set_trickle(offer, self._trickling(offer))

    def _describe_current(self, offer: SessionDescription) -> None:
        """
        Repeat the current credentials in an offer that replaces one with new ones.
        """
        by_mid = self._transports.by_mid()
        for media in offer.media:
            transport = by_mid.get(media.rtp.muxId)
            if transport is not None and transport.restarting:
                current = transport.local_parameters
                gathered = transport.gathered_by(current.usernameFragment)
                assert gathered is not None
                describe_transport(media, current, *gathered)

    def _fire_negotiation_needed(self) -> None:
        self.emit("negotiationneeded")

    async def _gather(self, type: str, operation: Operation) -> None:
        """
        Gather the candidates of a local description, and wait for them, unless they are
        told one by one.
        """
        trickle = self._transports.configuration.iceTrickle
        if trickle and self.canTrickleIceCandidates is not False:
            for transport in self._transports:
                transport.settle_trickle()
            # Candidates are told of when the caller has seen the end of the step.
            operation.ended.add_done_callback(lambda _: self._begin_gathering())
            return
        waiting = Waiting()
        if type == "offer":
            self._session.offers.append(waiting)
        if not all(x.gathered for x in self._transports):
            # A server that does not answer is not to hold back the peer's next offer.
            if type != "offer":
                self._answering = operation
            operation.release()
        for transport in self._transports:
            transport.begin_gathering()
        self._states.update_gathering()
        gathering = self._tasks.create(self._gather_candidates(), "gather")
        # Who waits may be cancelled; the description is in force.
        try:
            await asyncio.wait([gathering])
        finally:
            if waiting in self._session.offers:
                self._session.offers.remove(waiting)
            if self._answering is operation:
                self._answering = None
        self._assert_open()
        gathering.result()
        if waiting.rolled_back:
            # Otherwise the caller would send what is in the slot now.
            raise InvalidStateError(
                "The offer was rolled back while its candidates were gathered"
            )

    def _begin_gathering(self) -> None:
        """
        Gather candidates which are told one by one.
        """
        if self._closing is None:
            for transport in self._transports:
                transport.begin_gathering()
            self._states.update_gathering()
            self._transports.start()

    def _tell_gathering_after(self, operation: Operation) -> None:
        """
        Tell of the gathering state when a step's caller has seen its end.
        """
        operation.ended.add_done_callback(lambda _: self._states.update_gathering())

    async def _gather_candidates(self) -> None:
        await asyncio.gather(*(x.iceGatherer.gather() for x in self._transports))
        self._transports.start()

    def _is_negotiation_needed(self) -> bool:
        descriptions = self._slots.descriptions
        local, remote = descriptions.current_local, descriptions.current_remote
        # A stopped transceiver whose section is the BUNDLE-tag stays inactive.
        tag = self._session.tag
        return is_needed(
            replace_credentials=bool(self._session.credentials_to_replace),
            data_channels=self.sctp in self._session.own,
            media=[
                Medium(x.mid, "inactive")
                if x.stopped and tag is not None and x.mid == tag
                else Medium(
                    x.mid, x.direction, x.stopped, _aiortc.stream_set_for(x.sender)
                )
                for x in self.getTransceivers()
            ],
            local=described(local),
            remote=described(remote),
        )

    def _next_state(
        self, side: str, description: aiortc.RTCSessionDescription | None
    ) -> str:
        """
        Return the signaling state that a description leads to.

        :param description: `None` for the one that the present state asks for.

        :raises InvalidStateError: if the present one forbids it.
        """
        before = self.signalingState
        if description is None:
            return before
        type = description.type
        if (side, type, before) == ("remote", "offer", "have-local-offer"):
            # It rolls ours back first.
            before = "stable"
        state = TRANSITIONS.get((before, side, type))
        if state is None:
            raise InvalidStateError(
                f'Cannot handle {type} in signaling state "{before}"'
            )
        return state

    def _trickling(self, description: SessionDescription) -> list[bool]:
        """
        Return whether to say of each m-section that candidates are taken one by one.
        What has been said of a generation stays so (RFC 8839 section 4.4.1.2.1).
        """
        trickle = self._transports.configuration.iceTrickle
        trickling = []
        by_username = {
            x.iceGatherer.getLocalParameters().usernameFragment: x
            for x in self._transports
        }
        by_mid = self._transports.by_mid()
        for media in description.media:
            said = None
            username = media.ice.usernameFragment if media.ice is not None else None
            transport = by_mid.get(media.rtp.muxId) or by_username.get(username)
            if transport is not None:
                said = transport.trickles(username)
            trickling.append(trickle if said is None else said)
        return trickling

    def _use_for(self, track: aiortc.MediaStreamTrack) -> aiortc.RTCRtpTransceiver:
        """
        Return a transceiver which sends a track from now on.
        """
        for transceiver in self.getTransceivers():
            if (
                transceiver.kind == track.kind
                and transceiver.sender.track is None
                and not transceiver.stopped
            ):
                _aiortc.set_track(transceiver.sender, track)
                transceiver.direction = or_direction(transceiver.direction, "sendonly")
                return transceiver
        return super().addTransceiver(track)

    # What aiortc and its emitter ask for

    def _add_event_handler(
        self, event: str, k: Callable[..., Any], v: Callable[..., Any]
    ) -> None:
        self._session.negotiates_itself |= event == "negotiationneeded"
        self._needed.look_again()
        super()._add_event_handler(event, k, v)

    def _add_endpoint(self, endpoint: Endpoint) -> None:
        self._session.adopt(endpoint)

    def _create_ice_transport(self) -> RTCIceTransport:
        return self._transports.create()

    def _derive_states(self) -> Callable[[], None]:
        self._states.update_gathering()
        return self._states.derive()

    def _take_spare_data(self) -> aiortc.RTCSctpTransport | None:
        return self._session.take_spare_data()

    def _track_replaced(self, sender: aiortc.RTCRtpSender) -> Awaitable[None]:
        """
        Hold the chain for a track that has been replaced (webrtc-pc
        #dom-rtcrtpsender-replacetrack).
        """
        # Who does not await it need not know: aiortc replaces it all the same.
        if self._closing is not None:
            error = InvalidStateError("RTCPeerConnection is closed")
            return PlainOperation(error=error)
        if any(x.sender is sender and x.stopped for x in self.getTransceivers()):
            error = InvalidStateError("RTCRtpTransceiver is stopped")
            return PlainOperation(error=error)
        return self._operations.join()

    def _transceiver_changed(self) -> None:
        self._needed.update()

    def _transceiver_stopped(self, transceiver: aiortc.RTCRtpTransceiver) -> None:
        self._session.dismiss(transceiver)
        self._needed.update()
