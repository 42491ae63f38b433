from collections.abc import Callable, Collection
from typing import Any, NoReturn

import aioice
import aioice.candidate
import aioice.ice
import aioice.stun
import aioice.turn
import aioice.utils
import aiortc
import aiortc.rtcicetransport

from .emitter import Emitter

RemoteCandidates = tuple[
    list[aioice.Candidate], bool, set[int], list[aioice.ice.CandidatePair]
]
"The peer's candidates, whether these are all, the components, and the pairs."


class Connection(aioice.Connection):
    """
    The base's connection, with its slots open to subclasses.
    """

    @property
    def _is_closing(self) -> bool:
        return self._closing

    @property
    def _early(self) -> Collection[object]:
        return self._early_checks

    @property
    def _known_remotes(self) -> list[tuple[str, int]]:
        return [(x._network_host, x.port) for x in self._remote_candidates]

    @property
    def _remotes_expected(self) -> int:
        # Those whose names are being resolved count, too.
        return len(self._remote_candidates) + self._remote_candidates_resolving

    @property
    def _nominated_pairs(self) -> dict[int, aioice.ice.CandidatePair]:
        return self._nominated

    @property
    def _nominating_components(self) -> set[int]:
        return self._nominating

    @property
    def _pairs(self) -> list[aioice.ice.CandidatePair]:
        return self._check_list

    @property
    def _sockets(self) -> list[aioice.ice.StunProtocol]:
        return self._protocols

    @property
    def remotes(self) -> RemoteCandidates:
        """
        What is known of the peer's candidates. It may be set before the checks begin.
        """
        return (
            self._remote_candidates[:],
            self._remote_candidates_end,
            self._components.copy(),
            self._check_list[:],
        )

    @remotes.setter
    def remotes(self, value: RemoteCandidates) -> None:
        candidates, end, components, pairs = value
        self._remote_candidates = candidates[:]
        self._remote_candidates_end = end
        self._components = components.copy()
        self._check_list = pairs[:]

    @property
    def tie_breaker(self) -> int:
        """
        The number which decides role conflicts (RFC 8445 section 6.1.1).
        """
        return self._tie_breaker

    @tie_breaker.setter
    def tie_breaker(self, value: int) -> None:
        self._tie_breaker = value

    def use_servers(
        self,
        *,
        transport_policy: aioice.TransportPolicy,
        stun_server: tuple[str, int] | None = None,
        turn_server: tuple[str, int] | None = None,
        turn_username: str | None = None,
        turn_password: str | None = None,
        turn_ssl: bool = False,
        turn_transport: str = "udp",
    ) -> None:
        """
        Gather with other servers than the constructor was told of.
        """
        self.stun_server = stun_server
        self.turn_server = turn_server
        self.turn_username = turn_username
        self.turn_password = turn_password
        self.turn_ssl = turn_ssl
        self.turn_transport = turn_transport
        self._transport_policy = transport_policy

    def _forget_consent_task(self) -> None:
        # Otherwise the base's close() cancels the task which runs it.
        self._query_consent_task = None

    def abort_gathering(self) -> None:
        """
        Ask no server any more, as the sockets are about to close.
        """
        self.stun_server = self.turn_server = None
        for protocol in self._protocols:
            protocol.request = _refuse_request  # type: ignore[method-assign]
            for transaction in list(protocol.transactions.values()):
                future = getattr(transaction, "_Transaction__future")  # noqa: B009
                if not future.done():
                    future.set_exception(aioice.stun.TransactionTimeout())


def forward_relay_errors(protocol: aioice.ice.StunProtocol) -> None:
    """
    Let a socket to a TURN server report its errors to the protocol which uses it, as
    other sockets do.
    """
    if isinstance(protocol.transport, aioice.turn.TurnTransport):
        client = protocol.transport._TurnTransport__inner_protocol  # type: ignore[attr-defined]
        client.error_received = protocol.error_received


async def _refuse_request(*args: object, **kwargs: object) -> NoReturn:
    raise aioice.stun.TransactionTimeout


def random_ice_string(length: int) -> str:
    return aioice.utils.random_string(length)


class RTCIceGatherer(Emitter, aiortc.RTCIceGatherer):
    """
    The base's gatherer, with its connection and state open to subclasses.
    """

    def __init__(
        self,
        iceServers: list[aiortc.RTCIceServer] | None,
        iceTransportPolicy: aiortc.RTCIceTransportPolicy,
    ) -> None:
        super().__init__(iceServers, iceTransportPolicy)
        self._ice_servers = iceServers
        self._ice_transport_policy = iceTransportPolicy

    def _connection_options(self) -> dict[str, Any]:
        """
        Return what the base's constructor makes of its parameters.
        """
        servers = self._ice_servers
        if servers is None:
            servers = self.getDefaultIceServers()
        module = aiortc.rtcicetransport
        policy = module.ICE_TRANSPORT_POLICIES[self._ice_transport_policy]
        return {"transport_policy": policy, **module.connection_kwargs(servers)}

    def _set_state(self, state: str) -> None:
        if state != self.state:
            self.__setState(state)


class RTCIceTransport(Emitter, aiortc.RTCIceTransport):
    """
    The base's transport, with its state open to subclasses.
    """

    def __init__(self, gatherer: aiortc.RTCIceGatherer) -> None:
        super().__init__(gatherer)
        self.state_changed: Callable[[], Callable[[], None]] = lambda: lambda: None
        """
        Called with a new state, before its event; what it returns is called after that
        (webrtc-pc #dom-rtcicetransport-onstatechange).
        """

    def _set_state(self, state: str) -> None:
        if state == self.__state:
            return
        self.__state = state
        fire_events = self.state_changed()
        self.emit("statechange")
        fire_events()
        if state == "closed":
            # As in the base, to facilitate garbage collection.
            self.iceGatherer.remove_all_listeners()
            self.remove_all_listeners()
