import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import aiortc
from aiortc import RTCRtpTransceiver
from aiortc.exceptions import InvalidStateError

from .. import _aiortc
from .._aiortc import Endpoint, Slots
from .._async import Tasks
from ..ice import (
    Pacing,
    RTCIceGatherer,
    RTCIceTransport,
    create_credentials,
)
from ..negotiation.agreement import Agreement
from ..negotiation.describe import Describer, Local
from ..rtcconfiguration import RTCConfiguration

if TYPE_CHECKING:
    from .session import Session


class Transports:
    """
    The pairs of ICE and DTLS transports of a connection: how they are made, configured,
    started and stopped, and what follows when a path is lost, or works again.
    """

    def __init__(
        self,
        session: "Session",
        slots: Slots,
        configuration: RTCConfiguration,
        tasks: Tasks,
    ) -> None:
        self.configuration = configuration
        self.made: set[aiortc.RTCDtlsTransport] = set()
        "All that have not been stopped."
        self.origins: dict[Endpoint, aiortc.RTCDtlsTransport] = {}
        "With which transports the endpoints were made, to which a rollback leads back."
        self.stopping = Tasks("RTCPeerConnection")
        "What is brought to its end when the connection is closed."
        self._pacing = Pacing()
        self._session = session
        self._slots = slots
        # Whether to look once more when a transport's start has come to its end.
        self._starting: dict[aiortc.RTCDtlsTransport, bool] = {}
        self._tasks = tasks

    def __iter__(self) -> Iterator[RTCIceTransport]:
        """
        Go through the ICE transports in the order of what uses them.
        """
        used = dict.fromkeys(map(_aiortc.dtls_of, self._slots.endpoints()))
        known = self._slots.dtls_transports
        return iter([ice_of(x) for x in used if x in known])

    def by_mid(self, agreement: Agreement | None = None) -> dict[str, RTCIceTransport]:
        """
        Return all transports of sections at once: an SFU may have some hundred.

        :param agreement: Whose sections, if not those of the descriptions in force.
        """
        return {
            x.mid: ice_of(x.transport)
            for x in (agreement or self._session.agreement)
            if x.transport is not None and not x.rejected
        }

    def configure(self, configuration: RTCConfiguration) -> None:
        """
        Use another configuration from now on.
        """
        self.configuration = configuration
        self._slots.configure(configuration)
        # Those, too, which are out of use for now.
        for dtls in self.made:
            ice_of(dtls).configure(
                configuration.iceServers,
                configuration.iceTransportPolicy,
                configuration.iceRestartTimeout,
                configuration.iceDisconnectedTimeout,
                configuration.iceConsentInterval,
                configuration.iceConsentTimeout,
                configuration.iceTrickle,
            )

    def create(self) -> RTCIceTransport:
        # The transports of a connection share their credentials, as in aiortc.
        shown = next(
            (x.iceGatherer.getLocalParameters() for x in self), create_credentials()
        )
        configuration = self.configuration
        gatherer = RTCIceGatherer(
            iceServers=configuration.iceServers,
            iceTransportPolicy=configuration.iceTransportPolicy,
            local_username=shown.usernameFragment,
            local_password=shown.password,
            trickle=configuration.iceTrickle,
            pacing=self._pacing,
        )
        transport = RTCIceTransport(
            gatherer,
            restartTimeout=configuration.iceRestartTimeout,
            disconnectedTimeout=configuration.iceDisconnectedTimeout,
            consentInterval=configuration.iceConsentInterval,
            consentTimeout=configuration.iceConsentTimeout,
        )
        candidates = self._session.candidates
        transport.on("ready", self.start)
        transport.on("recovered", lambda: self._recover_media(transport))
        transport.on("suspected", lambda: self._recover_data(transport, certain=False))
        transport.on(
            "selectedcandidatepairchange", lambda: self._change_path(transport)
        )
        transport.on("localcandidate", lambda x: candidates.found(transport, x))
        transport.on("servererror", candidates.server_failed)
        return transport

    def describer(self) -> Describer:
        """
        Return what describes the transports as they are now.
        """
        # The transports of a connection share their credentials, as in aiortc.
        shared = next((x for x in self if x.agreed), None)

        @functools.cache
        def describe(dtls: aiortc.RTCDtlsTransport) -> Local:
            transport = ice_of(dtls)
            if not transport.agreed and transport.remote_parameters is None:
                transport = shared or transport
            parameters = transport.iceGatherer.getLocalParameters()
            return self.describe_generation(dtls, parameters)

        return Describer(self._slots.cname, describe, self._slots.legacy_data)

    def describe_generation(
        self, dtls: aiortc.RTCDtlsTransport, parameters: aiortc.RTCIceParameters
    ) -> Local:
        """
        Return what descriptions say of a transport with given local credentials.
        """
        transport = ice_of(dtls)
        username = parameters.usernameFragment
        candidates, complete = transport.gathered_by(username) or ([], False)
        trickles = transport.trickles(username)
        return Local(
            ice=parameters,
            fingerprints=dtls.getLocalParameters().fingerprints,
            candidates=candidates,
            complete=complete,
            # What has been said of a generation stays so (RFC 8839 section
            # 4.4.1.2.1).
            trickles=self.configuration.iceTrickle if trickles is None else trickles,
        )

    def is_used(self, transport: RTCIceTransport) -> bool:
        """
        Whether a transport carries more than what is stopped.
        """
        return any(
            _aiortc.dtls_of(x).transport is transport
            for x in self._slots.endpoints()
            if not (isinstance(x, RTCRtpTransceiver) and x.stopped)
        )

    def forget_origins(self, agreement: Agreement) -> None:
        """
        Forget with which transports the endpoints were made to which no rollback leads.
        """
        for endpoint in self.origins.keys() & agreement.by_endpoint.keys():
            del self.origins[endpoint]

    def remember_origins(self, agreement: Agreement) -> None:
        """
        Take note of the transports with which an agreement's endpoints were made.
        """
        for endpoint, section in agreement.by_endpoint.items():
            if section.transport is not None:
                self.origins.setdefault(endpoint, section.transport)

    def renew_origins(self, agreement: Agreement) -> bool:
        """
        Give what has no section another transport, if its own has lost all sections: it
        belongs to what the peer has had there. Tell whether there is such a thing.
        """
        renewed: dict[aiortc.RTCDtlsTransport, aiortc.RTCDtlsTransport] = {}
        used, described = agreement.transports, agreement.by_endpoint
        for endpoint in self._slots.endpoints():
            dtls = self.origins.get(endpoint, _aiortc.dtls_of(endpoint))
            if endpoint not in described and dtls not in used and ice_of(dtls).agreed:
                if dtls not in renewed:
                    renewed[dtls] = self._slots.create_transport()
                self.origins[endpoint] = renewed[dtls]
        return bool(renewed)

    def servers_changed(self) -> bool:
        """
        Whether the connection uses candidates of other servers, or another policy, than
        the configuration now has, so that the next offer is to restart ICE (RFC 9429
        section 4.1.18).
        """
        return any(x.outdated and self.is_used(x) for x in self)

    def start(self) -> None:
        """
        Have each transport go on as far as it can: ICE, then DTLS, then media and data.
        """
        for dtls in self._slots.dtls_transports:
            running = dtls in self._starting
            self._starting[dtls] = True
            if not running:
                self._tasks.create(self._start(dtls), "start transport")

    def start_connected(self) -> None:
        """
        Begin the handshake of a connection that never came up, after a restart.
        """
        if any(
            dtls.state == "new" and dtls.transport.state in ("connected", "completed")
            for dtls in self._slots.dtls_transports
        ):
            self.start()

    def stop(self, transports: Iterable[aiortc.RTCDtlsTransport]) -> None:
        """
        Stop transports, in tasks which are waited for when the connection is closed.
        """
        for dtls in [*transports]:
            self.made.discard(dtls)
            self.stopping.create(self._stop(dtls), "stop transport")

    def stop_all_but(self, kept: Iterable[aiortc.RTCDtlsTransport]) -> None:
        """
        Stop the transports which nothing uses, nor would after a rollback.

        :param kept: Others which are to stay.
        """
        for gone in self.origins.keys() - {*self._slots.endpoints()}:
            del self.origins[gone]
        kept = {*kept, *self._slots.dtls_transports, *self.origins.values()}
        # What runs stays with its transport until the next one is connected (RFC 8842
        # section 5.5).
        self.stop(self.made - kept - self._slots.carrying())

    def use(self, agreement: Agreement) -> None:
        """
        Take for the connection's transports those of sections which are not rejected,
        and of what has no section yet.
        """
        if self._slots.closed:
            return
        sections = agreement.by_endpoint
        used = dict.fromkeys(agreement.transports)
        for endpoint in self._slots.endpoints():
            if endpoint not in sections:
                used[_aiortc.dtls_of(endpoint)] = None
        self.made.update(used)
        self._slots.use_transports(used)

    # Private

    def _change_path(self, transport: RTCIceTransport) -> None:
        # Whether the old one works need not be known: a duplicate does no harm.
        self._recover_handshake(transport)
        data = self._data_on(transport)
        if data is not None:
            data.expect_overtaking()

    def _data_on(self, transport: RTCIceTransport) -> _aiortc.RTCSctpTransport | None:
        data = self._slots.data
        if data is None or data.transport.transport is not transport:
            return None
        assert isinstance(data, _aiortc.RTCSctpTransport)
        return data

    def _may_start(self, transport: RTCIceTransport) -> bool:
        """
        Whether a transport has what it needs for its checks, or has begun them.
        """
        if transport.started or self.configuration.iceTrickle:
            return transport.started or transport.ready
        # As in aiortc, without any candidate nothing is begun, and nothing fails.
        return transport.ready and bool(transport.local_candidates)

    def _recover_data(self, transport: RTCIceTransport, certain: bool = True) -> None:
        self._recover_handshake(transport)
        data = self._data_on(transport)
        if data is not None:
            self._tasks.create(data.recover(certain), "retransmit")

    def _recover_handshake(self, transport: RTCIceTransport) -> None:
        for dtls in self._slots.dtls_transports:
            if dtls.transport is transport:
                assert isinstance(dtls, _aiortc.RTCDtlsTransport)
                self._tasks.create(dtls.resend_flight(), "resend flight")

    def _recover_media(self, transport: RTCIceTransport) -> None:
        """
        Send at once what the peer is missing since the path was lost.
        """
        for transceiver in self._slots.transceivers:
            sender, receiver = transceiver.sender, transceiver.receiver
            if _aiortc.used_by(sender).transport is not transport:
                continue
            if sender.kind == "video":
                _aiortc.send_keyframe(sender)
            if isinstance(receiver, _aiortc.RTCRtpReceiver):
                self._tasks.create(receiver.request_keyframe(), "request keyframe")
        self._recover_data(transport)

    def _remote_dtls(
        self, dtls: aiortc.RTCDtlsTransport
    ) -> aiortc.RTCDtlsParameters | None:
        terms = self._session.agreement.terms.get(dtls)
        return terms.remote_dtls if terms is not None else None

    async def _start(self, dtls: aiortc.RTCDtlsTransport) -> None:
        try:
            while self._starting[dtls]:
                self._starting[dtls] = False
                await self._start_once(dtls)
        except (ConnectionError, InvalidStateError):
            # It was closed meanwhile.
            pass
        finally:
            del self._starting[dtls]

    async def _start_once(self, dtls: aiortc.RTCDtlsTransport) -> None:
        transport = ice_of(dtls)
        # A restart that is pending has credentials and candidates of its own.
        remote = transport.remote_parameters
        peer = self._remote_dtls(dtls)
        if peer is None or remote is None or not self._may_start(transport):
            return
        await transport.start(remote)
        # Without a path the handshake waits for one: a restart may bring it.
        if transport.state == "failed":
            return
        if dtls.state == "new":
            # An offer which has not been answered may reject the m-section meanwhile.
            await dtls.start(self._remote_dtls(dtls) or peer)
        if dtls.state == "connected":
            if await self._slots.start_media(dtls, self._session.answered):
                self._session.stop_unused()

    async def _stop(self, dtls: aiortc.RTCDtlsTransport) -> None:
        await dtls.stop()
        await dtls.transport.stop()


def ice_of(dtls: aiortc.RTCDtlsTransport) -> RTCIceTransport:
    assert isinstance(dtls.transport, RTCIceTransport)
    return dtls.transport
