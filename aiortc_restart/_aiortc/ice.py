import copy
from collections import deque
from collections.abc import Awaitable, Callable

import aioice
import aioice.candidate
import aioice.ice
import aioice.mdns
import aioice.stun
import aioice.utils
import aiortc
import aiortc.rtcicetransport

from .._async import Emitter
from .._servers import IceServer, all_servers

GatheringOptions = tuple[aioice.TransportPolicy, tuple[IceServer, ...]]
"By which policy candidates are gathered, and with which servers."

RemoteCandidates = tuple[
    list[aioice.Candidate], bool, set[int], list[aioice.ice.CandidatePair]
]
"The peer's candidates, whether these are all, the components, and the pairs."


Resolver = Callable[[object], Awaitable[aioice.mdns.MDnsProtocol]]
"Returns what resolves names for a connection."


class Connection(aioice.Connection):
    """
    The base's connection, with its slots open to subclasses.
    """

    @property
    def _is_closing(self) -> bool:
        return self._closing

    @property
    def _checks_have_begun(self) -> bool:
        return self._early_checks_done

    @property
    def _early(
        self,
    ) -> deque[tuple[aioice.stun.Message, tuple[str, int], aioice.ice.StunProtocol]]:
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

    def _add_local_candidate(self, candidate: aioice.Candidate) -> None:
        self._local_candidates.append(candidate)

    async def _add_remote_name(
        self, candidate: aioice.Candidate, resolver: Resolver
    ) -> None:
        """
        Add a remote candidate whose name has to be resolved.

        :param resolver: Returns what resolves it.

        :raises OSError: if it cannot.
        :raises ValueError: if the candidates have ended.
        """
        if self._remote_candidates_end:
            raise ValueError("Cannot add remote candidate after end-of-candidates.")
        if self._closing or self._is_relay_only:
            return
        candidate = copy.copy(candidate)
        # An end of the candidates which comes meanwhile waits for this one.
        self._remote_candidates_resolving += 1
        try:
            address = await (await resolver(self)).resolve(candidate.host)
            if address is not None and not self._closing:
                self._add_remote_candidate(candidate, address)
        finally:
            self._remote_candidates_resolving -= 1
            if (
                self._remote_candidates_end
                and not self._remote_candidates_resolving
                and not self._closing
            ):
                self._end_remote_candidates()

    def _take_remote(self, candidate: aioice.Candidate) -> None:
        """
        Add a remote candidate which has an address.
        """
        if not (self._remote_candidates_end or self._closing):
            self._add_remote_candidate(copy.copy(candidate), candidate.host)

    def _take_remote_end(self) -> None:
        if not (self._remote_candidates_end or self._closing):
            self._remote_candidates_end = True
            if not self._remote_candidates_resolving:
                self._end_remote_candidates()

    def _add_socket(self, protocol: aioice.ice.StunProtocol) -> None:
        """
        Take another socket into use, also if the checks have begun (RFC 8838 section
        12).
        """
        self._protocols.append(protocol)
        if self._closing:
            return
        for candidate in self._remote_candidates:
            self._pair_remote_candidate(candidate)
        self.sort_check_list()

    def _allow_checks(self) -> None:
        """
        Let the checks begin, though more local candidates may be found.
        """
        self._local_candidates_end = True

    def _check_next(self) -> None:
        """
        Begin the next check, if the checks have begun.
        """
        if self._early_checks_done:
            self._check_periodic()

    def _prune_components(self) -> None:
        # Of the only component, the peer's candidate may yet be learned from a check.
        pass

    @property
    def _is_relay_only(self) -> bool:
        return self._transport_policy == aioice.TransportPolicy.RELAY

    def _set_local_credentials(self, username: str, password: str) -> None:
        self._local_username = username
        self._local_password = password

    def _set_policy(self, policy: aioice.TransportPolicy) -> None:
        self._transport_policy = policy

    def _end_consent(self) -> None:
        if self._query_consent_task is not None:
            self._query_consent_task.cancel()

    def _forget_consent_task(self) -> None:
        # Otherwise the base's close() cancels the task which runs it.
        self._query_consent_task = None


class RTCIceGatherer(Emitter, aiortc.RTCIceGatherer):
    """
    The base's gatherer, with its connection and state open to subclasses.
    """

    def __init__(
        self,
        iceServers: list[aiortc.RTCIceServer] | None,
        iceTransportPolicy: aiortc.RTCIceTransportPolicy,
    ) -> None:
        # The base's connection is not used, and does not know all servers.
        super().__init__([], iceTransportPolicy)
        self._set_options(iceServers, iceTransportPolicy)

    def _set_options(
        self,
        servers: list[aiortc.RTCIceServer] | None,
        policy: aiortc.RTCIceTransportPolicy,
    ) -> None:
        """
        Set with which servers, and by which policy, candidates are to be gathered.

        :param servers: `None` for aiortc's.
        """
        if servers is None:
            servers = self.getDefaultIceServers()
        policies = aiortc.rtcicetransport.ICE_TRANSPORT_POLICIES
        self._options: GatheringOptions = policies[policy], all_servers(servers)

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

    def _set_state(self, state: str, pair_changed: bool = False) -> None:
        """
        Set the state, and tell of what has changed when all has.

        :param pair_changed: Whether the selected pair is another one, too.
        """
        changed = state != self.__state
        self.__state = state
        fire_events = self.state_changed() if changed else None
        if pair_changed:
            self.emit("selectedcandidatepairchange")
        if fire_events is None:
            return
        self.emit("statechange")
        fire_events()
        if state == "closed":
            # As in the base, to facilitate garbage collection.
            self.iceGatherer.remove_all_listeners()
            self.remove_all_listeners()
