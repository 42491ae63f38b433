import asyncio
import functools
from collections.abc import Callable

from . import _aiortc
from ._tasks import Tasks
from .ice import RTCIceTransport
from .rtcconfiguration import RTCConfiguration
from .states import connection_state, ice_connection_state, ice_gathering_state


class PathKeeper(_aiortc.RTCPeerConnection):
    """
    What :class:`RTCPeerConnection` shows of the paths that its transports have, and
    what it does when one is lost, or works again.
    """

    def __init__(self, configuration: RTCConfiguration) -> None:
        self._settings = configuration
        super().__init__(configuration)
        self._failed_time: float | None = None
        self._failed_timer: asyncio.TimerHandle | None = None
        # Those which a description has led to that is still being applied.
        self._held_states: list[tuple[str, str, str]] = []
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

    def _change_path(self, transport: RTCIceTransport) -> None:
        # Whether the old one works need not be known: a duplicate does no harm.
        self._recover_handshake(transport)
        sctp = self._sctp_on(transport)
        if sctp is not None:
            sctp.expect_overtaking()

    def _derive_states(self) -> Callable[[], None]:
        ice, dtls = self._transport_states()
        states = ice_connection_state(ice), connection_state(ice, dtls)
        if self._is_closed:
            states = "closed", "closed"
        elif self._holding:
            self._held_states.append((*states, self._gathering_state()))
            return lambda: None
        return functools.partial(self._states_changed, self._set_states(*states))

    def _gathering_state(self) -> str:
        return ice_gathering_state({x.iceGatherer.state for x in self._transports})

    def _recover_data(self, transport: RTCIceTransport, certain: bool = True) -> None:
        self._recover_handshake(transport)
        sctp = self._sctp_on(transport)
        if sctp is not None:
            self._tasks.create(sctp.recover(certain), "retransmit")

    def _recover_handshake(self, transport: RTCIceTransport) -> None:
        for dtls in self._dtls_transports:
            if dtls.transport is transport:
                assert isinstance(dtls, _aiortc.RTCDtlsTransport)
                self._tasks.create(dtls.resend_flight(), "resend flight")

    def _recover_media(self, transport: RTCIceTransport) -> None:
        """
        Send at once what the peer is missing since the path was lost.
        """
        for sender in self.getSenders():
            if sender.kind == "video" and sender.transport.transport is transport:
                _aiortc.send_keyframe(sender)
        for receiver in self.getReceivers():
            if (
                isinstance(receiver, _aiortc.RTCRtpReceiver)
                and receiver.transport.transport is transport
            ):
                self._tasks.create(receiver.request_keyframe(), "request keyframe")
        self._recover_data(transport)

    def _sctp_on(self, transport: RTCIceTransport) -> _aiortc.RTCSctpTransport | None:
        sctp = self.sctp
        if sctp is None or sctp.transport.transport is not transport:
            return None
        assert isinstance(sctp, _aiortc.RTCSctpTransport)
        return sctp

    def _set_gathering_state(self, state: str) -> None:
        before = self.iceGatheringState
        super()._set_gathering_state(state)
        if (before, state) == ("gathering", "complete") and not self._is_closed:
            self.emit("icecandidate", None)

    def _set_failed_timer(self) -> None:
        if self._failed_timer is not None:
            self._failed_timer.cancel()
            self._failed_timer = None
        timeout = self._settings.iceFailedTimeout
        if self._failed_time is not None and timeout is not None:
            self._failed_timer = asyncio.get_running_loop().call_at(
                self._failed_time + timeout, self._close_later
            )

    def _states_changed(self, events: list[str]) -> None:
        for event in events:
            self.emit(event)
        self._update_failed_timer()
        # A connection that never came up has its first DTLS handshake after a restart.
        if any(
            dtls.state == "new" and dtls.transport.state in ("connected", "completed")
            for dtls in self._dtls_transports
        ):
            self._start_transports()
        # The peer has closed the connection.
        if self._transport_states()[1] == {"closed"}:
            self._close_later()

    def _transport_states(self) -> tuple[set[str], set[str]]:
        """
        Return the states of the ICE and the DTLS transports.
        """
        transports = self._dtls_transports
        return {x.transport.state for x in transports}, {x.state for x in transports}

    def _tell_held_states(self) -> None:
        """
        Show the states through which a description has led that has been applied: the
        base makes transports for sections that will be bundled, and shows them as new.
        """
        for *states, gathering in self._held_states:
            self._set_gathering_state(gathering)
            for event in self._set_states(*states):
                self.emit(event)
        self._held_states.clear()

    @property
    def _transports(self) -> list[RTCIceTransport]:
        return [x for x in self._ice_transports if isinstance(x, RTCIceTransport)]

    def _update_ice_gathering_state(self) -> None:
        if self._holding:
            self._derive_states()
        else:
            self._set_gathering_state(self._gathering_state())

    def _update_failed_timer(self) -> None:
        """
        Close the connection some time after its path was lost: nothing else does, if
        the peer is gone.
        """
        failed = self.iceConnectionState == "failed" and any(
            x.state == "connected" for x in self._dtls_transports
        )
        if failed == (self._failed_time is not None):
            return
        self._failed_time = asyncio.get_running_loop().time() if failed else None
        self._set_failed_timer()
