import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

import aiortc
from aiortc.exceptions import InvalidStateError

from . import _aiortc
from ._aiortc import Endpoint, Slots
from ._async import Tasks
from .ice import RTCIceTransport, is_end_of_candidates
from .negotiation.check import next_state
from .negotiation.created import wants_restart
from .negotiation.needed import NegotiationNeeded
from .negotiation.operations import OperationsChain, PlainOperation
from .negotiation.places import check_named
from .negotiation.sections import can_trickle, credentials
from .negotiation.signaling import ANSWERED
from .negotiation.text import parse
from .rtcconfiguration import (
    RTCConfiguration,
    check_configuration,
    check_modification,
    copy_configuration,
)
from .session import Session


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
        self._needed = NegotiationNeeded(
            # Who waits for an answer's candidates is to send it before another offer.
            busy=lambda: len(self._operations) > 0,
            check=lambda: self._session.is_negotiation_needed,
            stable=lambda: self.signalingState == "stable" and self._closing is None,
            fire=functools.partial(self.emit, "negotiationneeded"),
        )
        self._operations = OperationsChain(
            emptied=self._needed.chain_emptied, assert_open=self._assert_open
        )
        self._session = Session(
            self._slots, settings, self._tasks, stable_again=self._needed.reset
        )
        self._transports = self._session.transports

    @property
    def canTrickleIceCandidates(self) -> bool | None:
        """
        Whether the peer takes candidates one by one: its remote description says
        `a=ice-options:trickle` (RFC 8838 section 3). `None` if there is no remote
        description yet (webrtc-pc #dom-rtcpeerconnection-cantrickleicecandidates).
        """
        descriptions = self._slots.descriptions.remote
        return can_trickle(descriptions[0]) if descriptions else None

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
        check = functools.partial(self._session.candidates.check, candidate)
        try:
            async with self._operations.operation(check=check, steady=True):
                transports = self._session.candidates.record(candidate)
        except InvalidStateError:
            if self._closing is None:
                raise
            # The call has been ended meanwhile, and nobody wants it any more.
            return
        # A name may take long to resolve, and nothing waits for it.
        for transport in transports:
            await transport.addRemoteCandidate(candidate)

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
        self._session.candidates.forget()
        self._keep_transports()
        await super().close()
        self._transports.stop(self._transports.made)
        await self._transports.stopping.join()
        await self._tasks.cancel()

    async def createAnswer(self) -> aiortc.RTCSessionDescription:
        """
        Create an SDP answer to an offer received from a remote peer during
        the offer/answer negotiation of a WebRTC connection.

        If the offer restarts ICE, so does the answer (RFC 9429 section 5.3.1).

        :rtype: :class:`RTCSessionDescription`
        """
        creator = self._session.creator
        check = functools.partial(creator.check, "answer")
        async with self._operations.operation(harmless=True, check=check):
            return creator.answer()

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
        restart, creator = wants_restart(iceRestart), self._session.creator
        check = functools.partial(creator.check, "offer")
        async with self._operations.operation(harmless=True, check=check):
            return creator.offer(restart)

    def getConfiguration(self) -> RTCConfiguration:
        """
        Return a copy of the configuration, which may be changed and handed to
        :meth:`setConfiguration`.

        :rtype: :class:`RTCConfiguration`
        """
        return copy_configuration(self._transports.configuration)

    def getTransceivers(self) -> list[aiortc.RTCRtpTransceiver]:
        """
        Return the list of :class:`RTCRtpTransceiver` objects which belong to the
        connection, in the order in which they were added.

        :rtype: list of :class:`RTCRtpTransceiver`
        """
        self._needed.look_again()
        return super().getTransceivers()

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
        self._session.configure(settings)

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
        session = self._session
        check = functools.partial(self._next_state, "local", sessionDescription)
        async with self._operations.operation(check=check) as operation:
            await session.waiting.for_answers(operation)
            if sessionDescription is None:
                answers = self._slots.signaling_state in ANSWERED
                type = "answer" if answers else "offer"
                create = self.createAnswer if answers else self.createOffer
                with operation.parts():
                    sessionDescription = await session.creator.create(type, create)
            self._log_description("setLocalDescription", sessionDescription)
            state = self._next_state("local", sessionDescription)
            if sessionDescription.type == "rollback":
                session.roll_back(state, operation)
                return
            description = session.creator.parse(sessionDescription)
            agreement = session.plan("local", description)
            session.commit("local", description, agreement, state)
            await session.waiting.for_candidates(sessionDescription.type, operation)

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
        session = self._session
        check = functools.partial(self._next_state, "remote", sessionDescription)
        async with self._operations.operation(check=check) as operation:
            self._log_description("setRemoteDescription", sessionDescription)
            type = sessionDescription.type
            glare = type == "offer" and self._slots.descriptions.pending_local
            state = self._next_state("remote", sessionDescription)
            if type == "rollback":
                session.roll_back(state, operation)
                return
            description = parse(sessionDescription)
            agreement = session.plan("remote", description)
            if glare:
                session.roll_back("stable")
                # Handlers of its event may have changed what there is.
                self._assert_open()
                agreement = session.plan("remote", description)
            session.commit("remote", description, agreement, state)

    # Private

    def _next_state(
        self, side: str, description: aiortc.RTCSessionDescription | None
    ) -> str:
        return next_state(self._slots.signaling_state, side, description)

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
        self._session.states.update_gathering()
        return self._session.states.derive()

    def _use_endpoint(self, endpoint: Endpoint, added: bool = False) -> None:
        self._session.own.add(endpoint)
        if added:
            self._session.added.add(endpoint)
        self._needed.update()

    def _take_spare_data(self) -> aiortc.RTCSctpTransport | None:
        return self._session.creator.take_spare_data()

    def _track_replaced(self, sender: aiortc.RTCRtpSender) -> Awaitable[None]:
        """
        Hold the chain for a track that has been replaced (webrtc-pc
        #dom-rtcrtpsender-replacetrack).
        """
        # Who does not await it need not know: aiortc replaces it all the same.
        if self._closing is not None:
            error = "RTCPeerConnection is closed"
        elif any(x.sender is sender and x.stopped for x in self.getTransceivers()):
            error = "RTCRtpTransceiver is stopped"
        else:
            return self._operations.join()
        return PlainOperation(error=InvalidStateError(error))

    def _transceiver_changed(self) -> None:
        self._needed.update()

    def _transceiver_stopped(self, transceiver: aiortc.RTCRtpTransceiver) -> None:
        self._session.dismiss(transceiver)
        self._needed.update()
