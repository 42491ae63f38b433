from collections.abc import Iterator

import aiortc
from aiortc.exceptions import InvalidStateError
from aiortc.sdp import SessionDescription

from . import _aiortc
from ._tasks import Tasks
from .ice import (
    Pacing,
    RTCIceGatherer,
    RTCIceTransport,
    create_credentials,
)
from .negotiation import bundle
from .negotiation.descriptions import media_sections
from .paths import PathKeeper
from .rtcconfiguration import (
    RTCConfiguration,
    check_configuration,
    copy_configuration,
)


class TransportOwner(PathKeeper):
    """
    The half of :class:`RTCPeerConnection` that looks after its transports: how they are
    made, configured and started, and which candidates they get.
    """

    def __init__(self, configuration: aiortc.RTCConfiguration | None) -> None:
        configuration = configuration or RTCConfiguration()
        check_configuration(configuration)
        # Before the transports, which aiortc's constructor does not make yet.
        self._pacing = Pacing()
        super().__init__(copy_configuration(configuration))
        # Whether to look once more when a transport's start has come to its end.
        self._starting: dict[aiortc.RTCDtlsTransport, bool] = {}
        self._start_when_released = False
        # What is brought to its end when the connection is closed, and what is ended.
        self._stopping = Tasks("RTCPeerConnection")

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
            pacing=self._pacing,
        )
        transport = RTCIceTransport(
            gatherer,
            restartTimeout=self._settings.iceRestartTimeout,
            disconnectedTimeout=self._settings.iceDisconnectedTimeout,
            consentInterval=self._settings.iceConsentInterval,
            consentTimeout=self._settings.iceConsentTimeout,
        )
        transport.held = self._holding
        transport.on("ready", self._start_transports)
        transport.on("recovered", lambda: self._recover_media(transport))
        transport.on("suspected", lambda: self._recover_data(transport, certain=False))
        transport.on(
            "selectedcandidatepairchange", lambda: self._change_path(transport)
        )
        return transport

    def _endpoints_by_mid(self) -> dict[str | None, _aiortc.Endpoint]:
        endpoints = (x for x in (*self.getTransceivers(), self.sctp) if x is not None)
        # The first one with a mid counts.
        return {x.mid: x for x in reversed([*endpoints])}

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
        return transport.ready and bool(transport.local_candidates)

    def _ordered_transports(self) -> Iterator[RTCIceTransport]:
        for endpoint in self._endpoints():
            yield transport_of(_aiortc.dtls_of(endpoint))

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
        transport = transport_of(dtls)
        endpoint = next(
            (x for x in self._remote_ice if _aiortc.dtls_of(x) is dtls),
            None,
        )
        # A restart that is pending has credentials and candidates of its own.
        remote = transport.remote_parameters
        if endpoint is None or remote is None or not self._may_start(transport):
            return
        parameters = self._remote_dtls[endpoint]
        await transport.start(remote)
        # Without a path the handshake waits for one: a restart may bring it.
        if transport.state == "failed" or self._waits_for_release():
            return
        if dtls.state == "new":
            # An offer which has not been answered may reject the m-section meanwhile.
            await dtls.start(self._remote_dtls.get(endpoint, parameters))
        if dtls.state == "connected" and not self._waits_for_release():
            await self._start_media(dtls)

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

    def _transport_of_mid(self, mid: str) -> RTCIceTransport | None:
        return self._transports_by_mid().get(mid)

    def _transports_by_mid(self) -> dict[str | None, RTCIceTransport]:
        """
        Return all transports at once: an SFU may have some hundred m-sections.
        """
        return {
            mid: transport_of(_aiortc.dtls_of(endpoint))
            for mid, endpoint in self._endpoints_by_mid().items()
        }

    def _transports_of_sections(
        self, description: SessionDescription | None
    ) -> list[RTCIceTransport | None]:
        """
        Return the transport of each m-section of a description.
        """
        by_index = {
            _aiortc.mline_index(x): transport_of(_aiortc.dtls_of(x))
            # The first one with an index counts.
            for x in reversed(self.getTransceivers())
        }
        data = transport_of(self.sctp.transport) if self.sctp else None
        return [
            data if media.kind == "application" else by_index.get(index)
            for index, media in enumerate(media_sections(description))
        ]

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
