import asyncio
import dataclasses
import secrets
from collections.abc import Iterator

import aiortc
from aiortc.exceptions import InvalidStateError
from aiortc.rtcpeerconnection import DISCARD_HOST, DISCARD_PORT
from aiortc.sdp import MediaDescription, SessionDescription

from . import _aiortc
from ._tasks import Tasks
from .ice import RTCIceGatherer, RTCIceTransport, create_credentials
from .negotiation import bundle, credentials
from .negotiation.needed import NegotiationNeeded
from .negotiation.numbers import MediaNumbers
from .rtcconfiguration import RTCConfiguration


class RTCPeerConnection(_aiortc.RTCPeerConnection):
    """
    The :class:`RTCPeerConnection` interface represents a WebRTC connection
    between the local computer and a remote peer.

    It is aiortc's, with ICE restart: :meth:`restartIce`,
    `createOffer(iceRestart=True)` and the `"negotiationneeded"` event. An ICE restart
    which the peer offers is followed by answering it.

    :param configuration: An optional :class:`RTCConfiguration`.
    """

    def __init__(self, configuration: aiortc.RTCConfiguration | None = None) -> None:
        super().__init__(configuration)
        self._failed_timer: asyncio.TimerHandle | None = None
        # [[LocalIceCredentialsToReplace]]
        self._local_credentials_to_replace: set[tuple[str | None, str | None]] = set()
        self._needed = NegotiationNeeded(
            check=lambda: bool(self._local_credentials_to_replace),
            stable=lambda: self.signalingState == "stable",
            fire=self._fire_negotiation_needed,
        )
        self._numbers = MediaNumbers()
        self._said_by_sections: list[tuple[MediaDescription, dict[str, object]]] = []
        self._session_id = secrets.randbits(62)
        self._session_version = 0
        self._starting: dict[aiortc.RTCDtlsTransport, bool] = {}
        self._tasks = Tasks("RTCPeerConnection")

    async def addIceCandidate(self, candidate: aiortc.RTCIceCandidate | None) -> None:
        """
        Add a new :class:`RTCIceCandidate` received from the remote peer.

        The specified candidate must have a value for either `sdpMid` or
        `sdpMLineIndex`. If it has a `usernameFragment`, it is added to the ICE
        generation which that names, otherwise to the latest.

        :param candidate: The new remote candidate or `None` to signal
                            end-of-candidates.

        :raises OperationError: if the `usernameFragment` is in no remote description
                                which is in force (webrtc-pc
                                #dom-peerconnection-addicecandidate).
        """
        self._assert_not_closed()
        if candidate is not None:
            candidate = self._locate(candidate)
        await super().addIceCandidate(candidate)

    async def close(self) -> None:
        """
        Terminate the ICE agent, ending ICE processing and streams.
        """
        await super().close()
        await self._tasks.cancel()

    async def createAnswer(self) -> aiortc.RTCSessionDescription:
        """
        Create an SDP answer to an offer received from a remote peer during
        the offer/answer negotiation of a WebRTC connection.

        If the offer restarts ICE, so does the answer (RFC 9429 section 5.3.1).

        :rtype: :class:`RTCSessionDescription`
        """
        with self._needed.operation():
            answer = _parse(await super().createAnswer())
        self._set_origin(answer)
        # An answer bundles nothing that the offer did not (RFC 9143 section 7.3).
        bundle.set_bundled_mids(answer, bundle.bundled_mids(self._pending_remote))
        for media in answer.media:
            transport = self._transport_of_mid(media.rtp.muxId)
            if transport is not None and not transport.gathered:
                media.ice_candidates_complete = False
        return _wrap(answer)

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
        with self._needed.operation(), self._offer_undone() as negotiated:
            offer = _parse(await super().createOffer())
            self._set_origin(offer)
            self._set_numbers(offer, negotiated)
        self._set_bundle(offer)
        if self._local_credentials_to_replace or (
            iceRestart and self._current_local is not None
        ):
            fresh = create_credentials()
            for media in offer.media:
                _describe_transport(media, fresh, [])
        elif any(x.restarting for x in self._transports):
            self._describe_current(offer)
        return _wrap(offer)

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
        self._assert_not_closed()
        with self._needed.operation():
            if sessionDescription is None:
                if self.signalingState == "have-remote-offer":
                    sessionDescription = await self.createAnswer()
                else:
                    sessionDescription = await self.createOffer()
            with _aiortc.role_kept(self._dtls_transports):
                await super().setLocalDescription(sessionDescription)
            if sessionDescription.type == "answer" and not self._is_closed:
                for transport in self._transports:
                    if transport.restarting:
                        transport.commit(answerer=True)
                self._finish_negotiation()

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
        self._assert_not_closed()
        pending = {x for x in self._transports if x.restarting}
        with self._needed.operation():
            try:
                with _aiortc.role_kept(self._dtls_transports):
                    await super().setRemoteDescription(sessionDescription)
            except BaseException:
                for transport in set(self._transports) - pending:
                    transport.discard()
                raise
            finally:
                bundle.restore_sections(self._said_by_sections)
                self._said_by_sections = []
            if sessionDescription.type == "answer" and not self._is_closed:
                for transport in self._transports:
                    if transport.restarting:
                        transport.commit()
                self._finish_negotiation()

    # Hooks

    def _create_ice_transport(self) -> RTCIceTransport:
        # The transports of a connection share their credentials, as in the base.
        shown = next(
            (x.iceGatherer.getLocalParameters() for x in self._ordered_transports()),
            create_credentials(),
        )
        configuration = self._configuration
        gatherer = RTCIceGatherer(
            iceServers=configuration.iceServers,
            iceTransportPolicy=configuration.iceTransportPolicy,
            local_username=shown.usernameFragment,
            local_password=shown.password,
        )
        transport = RTCIceTransport(
            gatherer,
            restartTimeout=getattr(
                configuration, "iceRestartTimeout", RTCConfiguration.iceRestartTimeout
            ),
        )
        transport.on("recovered", lambda: self._recover_media(transport))
        return transport

    def _start_transports(self) -> None:
        for dtls in self._dtls_transports:
            if dtls in self._starting:
                self._starting[dtls] = True
            else:
                self._tasks.create(self._start_transport(dtls), "start transport")

    def _update_ice_connection_state(self) -> None:
        states = {x.state for x in self._transports}
        if self._is_closed:
            state = "closed"
        elif "failed" in states:
            state = "failed"
        elif states == {"completed"}:
            state = "completed"
        elif "checking" in states:
            state = "checking"
        elif states and states <= {"connected", "completed"}:
            state = "connected"
        else:
            state = "new"
        self._set_ice_connection_state(state)
        self._update_failed_timer()
        # A connection that never came up has its first DTLS handshake after a restart.
        if any(
            dtls.state == "new" and dtls.transport.state == "completed"
            for dtls in self._dtls_transports
        ):
            self._start_transports()

    def _validate_description(
        self, description: SessionDescription, is_local: bool
    ) -> None:
        if not is_local:
            self._said_by_sections = bundle.share_tag_section(description)
        super()._validate_description(description, is_local)
        for media in description.media:
            credentials.validate(media)
        if is_local:
            self._apply_local_credentials(description)
        else:
            self._apply_remote_credentials(description)
        self._numbers.learn(description)

    # Steps of a negotiation

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
                if transport is not None:
                    _check_answer(transport, media)

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

    def _describe_current(self, offer: SessionDescription) -> None:
        """
        Repeat the current credentials in an offer that replaces one with new ones.
        """
        for i, media in enumerate(offer.media):
            transport = self._transport_of_section(i, media)
            if transport is not None and transport.restarting:
                _describe_transport(
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

    def _locate(self, candidate: aiortc.RTCIceCandidate) -> aiortc.RTCIceCandidate:
        """
        Complete the identification of a candidate's m-section.

        The base would also find a transceiver without an m-section, if one of the two
        is missing.
        """
        for i, media in enumerate(_media(self._pending_remote or self._current_remote)):
            if candidate.sdpMid == media.rtp.muxId or (
                candidate.sdpMid is None and candidate.sdpMLineIndex == i
            ):
                return dataclasses.replace(
                    candidate, sdpMid=media.rtp.muxId, sdpMLineIndex=i
                )
        return candidate

    def _ordered_transports(self) -> Iterator[RTCIceTransport]:
        for transceiver in self.getTransceivers():
            yield _transport_of(transceiver.receiver.transport)
        if self.sctp is not None:
            yield _transport_of(self.sctp.transport)

    def _recover_media(self, transport: RTCIceTransport) -> None:
        """
        Send at once what the peer is missing since the path was lost.
        """
        for sender in self.getSenders():
            if sender.kind == "video" and sender.transport.transport is transport:
                _aiortc.send_keyframe(sender)
        if self.sctp is not None and self.sctp.transport.transport is transport:
            self._tasks.create(_aiortc.retransmit_now(self.sctp), "retransmit")

    def _set_bundle(self, offer: SessionDescription) -> None:
        """
        Offer to bundle what is bundled, and what is new (RFC 9429 section 5.2.2).
        """
        if self._current_remote is None or self._current_local is None:
            return
        old = {x.rtp.muxId for x in self._current_remote.media}
        local = bundle.bundled_mids(self._current_local)
        bundled = [x for x in bundle.bundled_mids(self._current_remote) if x in local]
        new = [x.rtp.muxId for x in offer.media if x.rtp.muxId not in old]
        bundle.set_bundled_mids(offer, bundled + new if bundled else [])

    def _set_numbers(
        self,
        offer: SessionDescription,
        negotiated: dict[aiortc.RTCRtpTransceiver, _aiortc.NegotiatedMedia],
    ) -> None:
        """
        Offer what was negotiated under its numbers, and what is new under unused ones
        (RFC 9429 section 5.2.2).
        """
        numbers = self._numbers.copy()
        old = {x.rtp.muxId for x in _media(self._current_remote)}
        by_index = {_aiortc.mline_index(x): x for x in self.getTransceivers()}
        for i, media in enumerate(offer.media):
            if media.kind == "application":
                continue
            transceiver = by_index[i]
            codecs, extensions = negotiated.get(transceiver, ([], []))
            if media.rtp.muxId not in old:
                codecs, extensions = [], media.rtp.headerExtensions
                extensions = numbers.number_extensions(extensions)
            media.rtp.codecs = numbers.number_codecs(
                media.rtp.codecs,
                codecs,
                keep_order=not _aiortc.has_preferred_codecs(transceiver),
            )
            media.rtp.headerExtensions = extensions
            media.fmt = [x.payloadType for x in media.rtp.codecs]

    def _set_origin(self, description: SessionDescription) -> None:
        # One session, one version more with each description (RFC 9429 section 5.2.2).
        self._session_version += 1
        description.origin = (
            f"- {self._session_id} {self._session_version} IN IP4 0.0.0.0"
        )

    async def _start_transport(self, dtls: aiortc.RTCDtlsTransport) -> None:
        """
        Start ICE, then DTLS, then media and data, each if it is ready to start.
        """
        self._starting[dtls] = True
        try:
            while self._starting[dtls]:
                self._starting[dtls] = False
                await self._start_transport_once(dtls)
        except InvalidStateError:
            # It was closed meanwhile.
            pass
        finally:
            del self._starting[dtls]

    async def _start_transport_once(self, dtls: aiortc.RTCDtlsTransport) -> None:
        transport = dtls.transport
        endpoint = next(
            (x for x in self._remote_ice if _dtls_of(x) is dtls),
            None,
        )
        if endpoint is None or not transport.iceGatherer.getLocalCandidates():
            return
        await transport.start(self._remote_ice[endpoint])
        # Without a path the handshake waits for one: a restart may bring it.
        if transport.state == "failed":
            return
        if dtls.state == "new":
            await dtls.start(self._remote_dtls[endpoint])
        if dtls.state == "connected":
            await self._start_media(dtls)

    @property
    def _transports(self) -> list[RTCIceTransport]:
        return [x for x in self._ice_transports if isinstance(x, RTCIceTransport)]

    def _transport_of_mid(self, mid: str) -> RTCIceTransport | None:
        for endpoint in (*self.getTransceivers(), self.sctp):
            if endpoint is not None and endpoint.mid == mid:
                return _transport_of(_dtls_of(endpoint))
        return None

    def _transport_of_section(
        self, index: int, media: MediaDescription
    ) -> RTCIceTransport | None:
        if media.kind == "application":
            return _transport_of(self.sctp.transport) if self.sctp else None
        for transceiver in self.getTransceivers():
            if _aiortc.mline_index(transceiver) == index:
                return _transport_of(_dtls_of(transceiver))
        return None

    def _update_failed_timer(self) -> None:
        """
        Close the connection some time after its path was lost: nothing else does, if
        the peer is gone.
        """
        failed = self.iceConnectionState == "failed" and any(
            x.state == "connected" for x in self._dtls_transports
        )
        if failed and self._failed_timer is None:
            timeout = getattr(
                self._configuration,
                "iceFailedTimeout",
                RTCConfiguration.iceFailedTimeout,
            )
            if timeout is not None:
                self._failed_timer = asyncio.get_running_loop().call_later(
                    timeout, self._close_later
                )
        elif not failed and self._failed_timer is not None:
            self._failed_timer.cancel()
            self._failed_timer = None


def _check_answer(transport: RTCIceTransport, media: MediaDescription) -> None:
    """
    Check that an answer restarts ICE if, and only if, the offer did (RFC 9429
    section 5.10).
    """
    if transport.remote_parameters is None:
        return
    changed = credentials.differ(media.ice, transport.remote_parameters)
    if transport.restarting and not changed:
        raise ValueError(
            "The answer does not restart ICE: its ICE username fragment and password "
            f'for media section "{media.rtp.muxId}" are the old ones. The call goes on '
            "without a restart; a new offer may be made."
        )
    if changed and not transport.restarting:
        raise ValueError(
            "The answer restarts ICE, though the offer did not: its ICE username "
            f'fragment or password for media section "{media.rtp.muxId}" is another '
            "than before. The call goes on without a restart."
        )


def _describe_transport(
    media: MediaDescription,
    parameters: aiortc.RTCIceParameters,
    candidates: list[aiortc.RTCIceCandidate],
) -> None:
    """
    Describe a transport as a generation has it, which has gathered all or nothing.
    """
    media.ice = parameters
    media.ice_candidates = candidates
    media.ice_candidates_complete = bool(candidates)
    media.host = candidates[0].ip if candidates else DISCARD_HOST
    media.port = candidates[0].port if candidates else DISCARD_PORT


def _dtls_of(endpoint: _aiortc.Endpoint) -> aiortc.RTCDtlsTransport:
    if isinstance(endpoint, aiortc.RTCRtpTransceiver):
        return endpoint.receiver.transport
    return endpoint.transport


def _media(description: SessionDescription | None) -> list[MediaDescription]:
    return description.media if description is not None else []


def _parse(description: aiortc.RTCSessionDescription) -> SessionDescription:
    parsed = SessionDescription.parse(description.sdp)
    parsed.type = description.type
    return parsed


def _transport_of(dtls: aiortc.RTCDtlsTransport) -> RTCIceTransport:
    assert isinstance(dtls.transport, RTCIceTransport)
    return dtls.transport


def _wrap(description: SessionDescription) -> aiortc.RTCSessionDescription:
    assert description.type is not None
    return aiortc.RTCSessionDescription(sdp=str(description), type=description.type)
