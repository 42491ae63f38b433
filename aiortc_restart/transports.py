import asyncio
import functools
from collections.abc import Callable, Iterator

import aiortc
from aiortc.exceptions import InvalidStateError
from aiortc.sdp import MediaDescription, SessionDescription

from . import _aiortc
from ._tasks import Tasks
from .ice import RTCIceGatherer, RTCIceTransport, create_credentials
from .negotiation import bundle
from .rtcconfiguration import RTCConfiguration
from .states import connection_state, ice_connection_state


class TransportOwner(_aiortc.RTCPeerConnection):
    """
    The half of :class:`RTCPeerConnection` that looks after its transports: how they are
    made and started, and what becomes of the connection when a path is lost.
    """

    def __init__(self, configuration: aiortc.RTCConfiguration | None) -> None:
        super().__init__(configuration)
        self._failed_timer: asyncio.TimerHandle | None = None
        # Whether to look once more when a transport's start has come to its end.
        self._starting: dict[aiortc.RTCDtlsTransport, bool] = {}
        self._tasks = Tasks("RTCPeerConnection")

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
    def iceConnectionState(self) -> str:
        """
        The current ICE connection state.

        Possible values: `"new"`, `"checking"`, `"connected"`, `"completed"`,
        `"disconnected"`, `"failed"`, `"closed"`. It is `"connected"` while a restart
        looks for another path and the old one carries the call.

        When the state changes, the `"iceconnectionstatechange"` event is fired.
        """
        return super().iceConnectionState

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
            disconnectedTimeout=self._setting("iceDisconnectedTimeout"),
            restartTimeout=self._setting("iceRestartTimeout"),
        )
        transport.on("recovered", lambda: self._recover_media(transport))
        transport.on(
            "selectedcandidatepairchange", lambda: self._change_path(transport)
        )
        return transport

    def _change_path(self, transport: RTCIceTransport) -> None:
        if self.sctp is not None and self.sctp.transport.transport is transport:
            self._own_sctp.expect_overtaking()

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
                endpoint.receiver.setTransport(_dtls_of(owner))
                endpoint.sender.setTransport(_dtls_of(owner))

    def _ordered_transports(self) -> Iterator[RTCIceTransport]:
        for transceiver in self.getTransceivers():
            yield _transport_of(transceiver.receiver.transport)
        if self.sctp is not None:
            yield _transport_of(self.sctp.transport)

    @property
    def _own_sctp(self) -> _aiortc.RTCSctpTransport:
        assert isinstance(self.sctp, _aiortc.RTCSctpTransport)
        return self.sctp

    def _recover_media(self, transport: RTCIceTransport) -> None:
        """
        Send at once what the peer is missing since the path was lost.
        """
        for sender in self.getSenders():
            if sender.kind == "video" and sender.transport.transport is transport:
                _aiortc.send_keyframe(sender)
        if self.sctp is not None and self.sctp.transport.transport is transport:
            self._tasks.create(self._own_sctp.recover(), "retransmit")

    def _setting(self, name: str) -> float | None:
        """
        Return a setting which aiortc's own configuration lacks.
        """
        value: float | None = getattr(
            self._configuration, name, getattr(RTCConfiguration, name)
        )
        return value

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

    def _start_transports(self) -> None:
        for dtls in self._dtls_transports:
            running = dtls in self._starting
            self._starting[dtls] = True
            if not running:
                self._tasks.create(self._start_transport(dtls), "start transport")

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
            timeout = self._setting("iceFailedTimeout")
            if timeout is not None:
                self._failed_timer = asyncio.get_running_loop().call_later(
                    timeout, self._close_later
                )
        elif not failed and self._failed_timer is not None:
            self._failed_timer.cancel()
            self._failed_timer = None

    def _update_states(self) -> Callable[[], None]:
        ice, dtls = self._states_in_session()
        closed = self._is_closed
        events = self._set_states(
            "closed" if closed else ice_connection_state(ice),
            "closed" if closed else connection_state(ice, dtls),
        )
        return functools.partial(self._states_changed, events)

    def _states_changed(self, events: list[str]) -> None:
        for event in events:
            self.emit(event)
        self._update_failed_timer()
        # A connection that never came up has its first DTLS handshake after a restart.
        if any(
            dtls.state == "new" and dtls.transport.state == "completed"
            for dtls in self._dtls_transports
        ):
            self._start_transports()
        # The peer has closed the connection.
        if self._states_in_session()[1] == {"closed"}:
            self._close_later()

    def _states_in_session(self) -> tuple[set[str], set[str]]:
        """
        Return the states of the ICE and the DTLS transports.

        One which has been made for a section that is not negotiated yet, and may be
        bundled away, does not take part in a session that is.
        """
        states = [(x.transport.state, x.state) for x in self._dtls_transports]
        states = [
            (ice, dtls)
            for ice, dtls in states
            if dtls != "new" or ice not in ("new", "closed")
        ] or states
        return {ice for ice, _ in states}, {dtls for _, dtls in states}


def _dtls_of(endpoint: _aiortc.Endpoint) -> aiortc.RTCDtlsTransport:
    if isinstance(endpoint, aiortc.RTCRtpTransceiver):
        return endpoint.receiver.transport
    return endpoint.transport


def _transport_of(dtls: aiortc.RTCDtlsTransport) -> RTCIceTransport:
    assert isinstance(dtls.transport, RTCIceTransport)
    return dtls.transport
