import asyncio
import dataclasses
import logging
from collections.abc import Iterator

import aiortc
import aiortc.rtcpeerconnection
from aiortc.exceptions import InvalidStateError, OperationError
from aiortc.sdp import MediaDescription, SessionDescription

from . import _aiortc
from ._tasks import Tasks
from .ice import (
    MAX_REMOTE_CANDIDATES,
    RTCIceCandidate,
    RTCIceGatherer,
    RTCIceTransport,
    create_credentials,
    is_end_of_candidates,
)
from .negotiation import bundle, candidates, rejection
from .negotiation.descriptions import (
    can_trickle,
    describe_transport,
    media_sections,
)
from .negotiation.held import HeldCandidates
from .paths import PathKeeper
from .rtcconfiguration import (
    RTCConfiguration,
    check_configuration,
    copy_configuration,
)

logger = logging.getLogger(__name__)


class TransportOwner(PathKeeper):
    """
    The half of :class:`RTCPeerConnection` that looks after its transports: how they are
    made, configured and started, and which candidates they get.
    """

    def __init__(self, configuration: aiortc.RTCConfiguration | None) -> None:
        configuration = configuration or RTCConfiguration()
        check_configuration(configuration)
        super().__init__(copy_configuration(configuration))
        self._held_candidates = HeldCandidates()
        # Whether to look once more when a transport's start has come to its end.
        self._starting: dict[aiortc.RTCDtlsTransport, bool] = {}
        self._start_when_released = False
        # What is brought to its end when the connection is closed, and what is ended.
        self._stopping = Tasks("RTCPeerConnection")

    @property
    def canTrickleIceCandidates(self) -> bool | None:
        """
        Whether the peer takes candidates one by one: its remote description says
        `a=ice-options:trickle` (RFC 8838 section 3). `None` if there is no remote
        description yet (webrtc-pc #dom-rtcpeerconnection-cantrickleicecandidates).
        """
        description = self._pending_remote or self._current_remote
        return can_trickle(description) if description is not None else None

    def _configure(self, configuration: RTCConfiguration) -> None:
        """
        Use another configuration from now on (webrtc-pc #set-the-configuration).
        """
        self._settings = self._configuration = configuration
        # Those, too, which are out of use for now.
        for dtls in self._made_transports:
            transport_of(dtls).configure(
                configuration.iceServers,
                configuration.iceTransportPolicy,
                configuration.iceRestartTimeout,
                configuration.iceDisconnectedTimeout,
                configuration.iceConsentInterval,
                configuration.iceConsentTimeout,
                configuration.iceTrickle,
            )
        self._set_failed_timer()

    async def _add_held_candidate(
        self, transport: RTCIceTransport, candidate: aiortc.RTCIceCandidate
    ) -> None:
        try:
            await transport.addRemoteCandidate(candidate)
        except OperationError as exc:
            # A description has replaced its own.
            logger.debug("RTCPeerConnection() x held candidate: %s", exc)

    def _candidate_found(
        self, transport: RTCIceTransport, candidate: RTCIceCandidate
    ) -> None:
        """
        Show a local candidate, or their end, in the descriptions of its generation, and
        tell of it (webrtc-pc #dfn-surface-the-candidate).
        """
        username = candidate.usernameFragment
        found = transport.gathered_by(username)
        if found is None:
            return
        place: tuple[str, int] | None = None
        for description in (self._pending_local, self._current_local):
            rejected = rejection.rejected_mids(description)
            for i, media in enumerate(media_sections(description)):
                # One that is complete may be that of a transport bundled away since.
                if (
                    media.ice is not None
                    and media.ice.usernameFragment == username
                    and not media.ice_candidates_complete
                    and media.rtp.muxId not in rejected
                    and self._transport_of_section(i, media) is transport
                ):
                    describe_transport(media, media.ice, *found)
                    place = place or (media.rtp.muxId, i)
        if place is not None:
            mid, index = place
            self.emit(
                "icecandidate",
                dataclasses.replace(candidate, sdpMid=mid, sdpMLineIndex=index),
            )

    def _create_ice_transport(self) -> RTCIceTransport:
        # The transports of a connection share their credentials, as in the base.
        shown = next(
            (x.iceGatherer.getLocalParameters() for x in self._ordered_transports()),
            create_credentials(),
        )
        gatherer = RTCIceGatherer(
            iceServers=self._settings.iceServers,
            iceTransportPolicy=self._settings.iceTransportPolicy,
            local_username=shown.usernameFragment,
            local_password=shown.password,
            trickle=self._settings.iceTrickle,
        )
        transport = RTCIceTransport(
            gatherer,
            restartTimeout=self._settings.iceRestartTimeout,
            disconnectedTimeout=self._settings.iceDisconnectedTimeout,
            consentInterval=self._settings.iceConsentInterval,
            consentTimeout=self._settings.iceConsentTimeout,
        )
        transport.held = self._holding
        transport.on("localcandidate", lambda x: self._candidate_found(transport, x))
        transport.on("ready", self._start_transports)
        transport.on("servererror", lambda x: self.emit("icecandidateerror", x))
        transport.on("recovered", lambda: self._recover_media(transport))
        transport.on("suspected", lambda: self._recover_data(transport, certain=False))
        transport.on(
            "selectedcandidatepairchange", lambda: self._change_path(transport)
        )
        return transport

    def _endpoint_of_mid(self, mid: str) -> _aiortc.Endpoint | None:
        for endpoint in (*self.getTransceivers(), self.sctp):
            if endpoint is not None and endpoint.mid == mid:
                return endpoint
        return None

    def _hold_candidate(self, username: str, candidate: aiortc.RTCIceCandidate) -> None:
        """
        Keep a candidate for a description which may come yet.
        """
        if self._held_candidates.is_retired(username):
            logger.debug(
                "RTCPeerConnection() x candidate of the retired generation %s", username
            )
            return
        now = asyncio.get_running_loop().time()
        self._held_candidates.hold(username, candidate, now)

    def _hold_transports(self, holding: bool) -> None:
        """
        Keep the transports from stopping, as those do that the base bundles away, and
        the connection from starting those that it has for the moment, and from telling
        their states: a description may fail, or be rolled back.
        """
        self._holding = holding
        for transport in self._transports:
            transport.held = holding

    def _join_bundle(self, description: SessionDescription | None) -> None:
        """
        Give the bundle's transport to the transceivers which the base has forgotten: it
        takes those that share another one for bundled.
        """
        mids = bundle.bundled_mids(description)
        bundled = [
            x for x in (*self.getTransceivers(), self.sctp) if x and x.mid in mids
        ]
        owner = next((x for x in bundled if not _aiortc.is_bundled(x)), None)
        for endpoint in bundled:
            if owner is not None and isinstance(endpoint, aiortc.RTCRtpTransceiver):
                endpoint.receiver.setTransport(_aiortc.dtls_of(owner))
                endpoint.sender.setTransport(_aiortc.dtls_of(owner))

    def _is_used(self, transport: RTCIceTransport) -> bool:
        """
        Whether a transport carries more than what is stopped.
        """
        return transport in [
            transport_of(_aiortc.dtls_of(x))
            for x in (*self.getTransceivers(), self.sctp)
            if x is not None
            and not (isinstance(x, aiortc.RTCRtpTransceiver) and x.stopped)
        ]

    def _may_start(self, transport: RTCIceTransport) -> bool:
        """
        Whether a transport has what it needs for its checks, or has begun them.
        """
        if transport.started or self._settings.iceTrickle:
            return transport.started or transport.ready
        # As in the base, without any candidate nothing is begun, and nothing fails.
        return transport.ready and bool(transport.iceGatherer.getLocalCandidates())

    def _ordered_transports(self) -> Iterator[RTCIceTransport]:
        for endpoint in self._endpoints():
            yield transport_of(_aiortc.dtls_of(endpoint))

    def _record_candidate(
        self, candidate: aiortc.RTCIceCandidate | None
    ) -> list[RTCIceTransport]:
        """
        Add a candidate, or the end of candidates, to the remote descriptions of its
        generation, and return the transports that are to have it (webrtc-pc
        #dom-peerconnection-addicecandidate).

        :raises OperationError: if the remote description has no such m-section, or
                                another generation in it.
        """
        descriptions = [x for x in (self._pending_remote, self._current_remote) if x]
        username = getattr(candidate, "usernameFragment", None)
        if (
            candidate is not None
            and username is not None
            and not candidates.belongs(candidate, username, descriptions)
        ):
            self._hold_candidate(username, candidate)
            return []
        if not descriptions:
            return self._take_early_candidate(candidate)
        if candidate is None or not candidates.is_named(candidate):
            return self._record_ends(candidates.latest_places(descriptions))

        index = candidates.section_of(candidate, descriptions[0])
        transport = self._transport_of_mid(descriptions[0].media[index].rtp.muxId)
        if transport is None or not self._is_used(transport):
            return []
        place = candidates.place_of(candidate, index, descriptions)
        if is_end_of_candidates(candidate):
            return self._record_ends([place])
        if place.decides and not transport.expects(candidate):
            return [transport]
        recorded = candidates.record(
            place,
            dataclasses.replace(candidate, sdpMid=place.mid, sdpMLineIndex=index),
            MAX_REMOTE_CANDIDATES,
        )
        return [transport] if recorded and place.decides else []

    def _record_ends(self, places: list[candidates.Place]) -> list[RTCIceTransport]:
        """
        Say in the remote descriptions that candidates have ended, and return the
        transports that are to know.
        """
        transports = []
        for place in places:
            # Who names no generation may have meant the one before the restart.
            if place.restarts and not place.named:
                logger.debug("RTCPeerConnection() x end-of-candidates names no restart")
                continue
            candidates.record_end(place)
            if place.decides:
                transports.append(self._transport_of_mid(place.mid))
        return [x for x in dict.fromkeys(transports) if x is not None]

    def _reset_transports(self) -> None:
        """
        Have the transports forget the descriptions which have been rolled back.
        """
        negotiated = {transport_of(_aiortc.dtls_of(x)) for x in self._remote_ice}
        live = next((x for x in self._ordered_transports() if x in negotiated), None)
        shared = live.local_parameters if live is not None else create_credentials()
        for transport in self._transports:
            transport.discard()
            # Candidates of what has been negotiated may be being gathered still.
            if transport not in negotiated:
                transport.reset(shared)

    def _servers_changed(self) -> bool:
        """
        Whether the connection uses candidates of other servers, or another policy, than
        the configuration now has, so that the next offer is to restart ICE (RFC 9429
        section 4.1.18).
        """
        return any(x.outdated and self._is_used(x) for x in self._transports)

    async def _start_transport(self, dtls: aiortc.RTCDtlsTransport) -> None:
        """
        Start ICE, then DTLS, then media and data, each if it is ready to start.
        """
        try:
            while self._starting[dtls]:
                self._starting[dtls] = False
                await self._start_transport_once(dtls)
        except (ConnectionError, InvalidStateError):
            # It was closed meanwhile.
            pass
        finally:
            del self._starting[dtls]

    async def _start_transport_once(self, dtls: aiortc.RTCDtlsTransport) -> None:
        if self._waits_for_release():
            return
        transport = dtls.transport
        endpoint = next(
            (x for x in self._remote_ice if _aiortc.dtls_of(x) is dtls),
            None,
        )
        if endpoint is None or not self._may_start(transport_of(dtls)):
            return
        await transport.start(self._remote_ice[endpoint])
        # Without a path the handshake waits for one: a restart may bring it.
        if transport.state == "failed" or self._waits_for_release():
            return
        if dtls.state == "new":
            await dtls.start(self._remote_dtls[endpoint])
        if dtls.state == "connected" and not self._waits_for_release():
            await self._start_media(dtls)

    def _release_candidates(self, before: SessionDescription | None) -> None:
        """
        Take the candidates which have been held for the remote descriptions that are in
        force now.

        :param before: The current remote description until now.
        """
        descriptions = [x for x in (self._pending_remote, self._current_remote) if x]
        usernames = candidates.usernames(descriptions)
        self._held_candidates.retire(candidates.usernames([before]) - usernames)
        now = asyncio.get_running_loop().time()
        for candidate in self._held_candidates.release(
            lambda x, username: candidates.belongs(x, username, descriptions), now
        ):
            try:
                transports = self._record_candidate(candidate)
            except OperationError as exc:
                logger.debug("RTCPeerConnection() x held candidate: %s", exc)
                continue
            for transport in transports:
                self._tasks.create(
                    self._add_held_candidate(transport, candidate), "add candidate"
                )

    def _release_transports(self) -> None:
        self._held_states.clear()
        self._hold_transports(False)
        self._update_states()
        if self._start_when_released:
            self._start_when_released = False
            self._start_transports()

    def _start_transports(self) -> None:
        if self._waits_for_release():
            return
        for dtls in self._dtls_transports:
            running = dtls in self._starting
            self._starting[dtls] = True
            if not running:
                self._tasks.create(self._start_transport(dtls), "start transport")

    async def _stop_transport(self, dtls: aiortc.RTCDtlsTransport) -> None:
        transport = dtls.transport
        if isinstance(transport, RTCIceTransport):
            transport.held = False
        await dtls.stop()
        await transport.stop()

    def _take_early_candidate(
        self, candidate: aiortc.RTCIceCandidate | None
    ) -> list[RTCIceTransport]:
        """
        Return the transports that are to have what comes before the remote description.

        The W3C forbids it, and the base takes it. An end of candidates would end those
        of the description, too.
        """
        aiortc.rtcpeerconnection.logger.warning(
            "RTCPeerConnection addIceCandidate called without remote description"
        )
        if candidate is None or is_end_of_candidates(candidate):
            return []
        if candidate.sdpMid is not None:
            transport = self._transport_of_mid(candidate.sdpMid)
        else:
            transport = self._transport_of_index(candidate.sdpMLineIndex)
        return [transport] if transport is not None else []

    def _transport_of_index(self, index: int | None) -> RTCIceTransport | None:
        if self.sctp is not None and self._sctp_mline_index == index:
            return transport_of(self.sctp.transport)
        for transceiver in self.getTransceivers():
            if _aiortc.mline_index(transceiver) == index:
                return transport_of(_aiortc.dtls_of(transceiver))
        return None

    def _transport_of_mid(self, mid: str) -> RTCIceTransport | None:
        endpoint = self._endpoint_of_mid(mid)
        if endpoint is None:
            return None
        return transport_of(_aiortc.dtls_of(endpoint))

    def _transport_of_section(
        self, index: int, media: MediaDescription
    ) -> RTCIceTransport | None:
        if media.kind == "application":
            return transport_of(self.sctp.transport) if self.sctp else None
        for transceiver in self.getTransceivers():
            if _aiortc.mline_index(transceiver) == index:
                return transport_of(_aiortc.dtls_of(transceiver))
        return None

    def _waits_for_release(self) -> bool:
        """
        Whether a description is being applied, so that what is known of the peer may be
        half of it.
        """
        self._start_when_released |= self._holding
        return self._holding


def transport_of(dtls: aiortc.RTCDtlsTransport) -> RTCIceTransport:
    assert isinstance(dtls.transport, RTCIceTransport)
    return dtls.transport
