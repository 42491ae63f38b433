import asyncio
import errno
from typing import Any, Protocol

import aioice
import aioice.ice
import aioice.stun
from aioice.candidate import candidate_priority

from .. import _aiortc
from .._consent import ConsentTimes
from .._servers import IceServer
from .candidate import RTCPeerConnectionIceErrorEvent
from .gathering import MAX_LOCAL_PREFERENCE, Gathering
from .inbox import Inbox, NewerInbox
from .stun import ConsentRequest, StunProtocol

# The limit which RFC 8445 section 19.5.1 gives for checks: the peer chooses how many
# candidates there are.
MAX_REMOTE_CANDIDATES = 100

# How far apart checks begin, in seconds: that of the base (RFC 8445 section 14.2).
PACING = 0.02

# How long a request may wait for its response, in seconds, if the path has not proved
# to be slower.
PATIENCE = 1.0

# What sending reports when the network interface, its address or the route is gone.
# Linux says EINVAL where a socket's address was removed.
PATH_ERRORS = frozenset(
    {
        errno.EADDRNOTAVAIL,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EINVAL,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENODEV,
    }
)


class ConnectionObserver(Protocol):
    """
    Who is told, at once and in the same task, what happens to a :class:`Connection`.
    """

    def candidate_found(self, candidate: aioice.Candidate) -> None:
        """Another local candidate has been gathered."""

    def check_received(self) -> None:
        """An authenticated check of the peer has arrived."""

    def checks_left(self) -> bool:
        """Tell whether it is the peer's turn to check other pairs."""

    def connection_closing(self) -> None:
        """No more data can be sent: consent expired, or the connection is closed."""

    def pair_selected(self) -> None:
        """Data is sent on another pair than before, or its nomination is done."""

    def pair_unselected(self) -> None:
        """The pair that was being nominated could not be."""

    def path_lost(self) -> None:
        """The socket or the TURN allocation of the nominated pair is gone."""

    def role_switched(self, ice_controlling: bool) -> None:
        """A role conflict was repaired by taking the other role."""

    def server_failed(self, event: RTCPeerConnectionIceErrorEvent) -> None:
        """A server has given no candidate."""

    def sockets_opened(self) -> None:
        """The host candidates have been gathered, so that checks may begin."""


class PathListener(Protocol):
    """
    Who is told how the selected pair of a :class:`Connection` is doing.
    """

    def path_answered(self) -> None:
        """A request has been answered: the pair works both ways."""

    def path_heard(self) -> None:
        """What :meth:`Connection.listen` waited for has come."""

    def path_refused(self) -> None:
        """The system does not send on the pair."""


class Connection(_aiortc.Connection):
    """
    aioice's connection, which tells its observer what happens as it happens.

    :param inbox: For the received datagrams, shared by all connections of a transport.
    :param consent: How often consent is asked for, and how long it lasts.
    """

    def __init__(
        self, inbox: Inbox, consent: ConsentTimes, *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.consent_time: float | None = None
        "The loop's time of the last valid response, in seconds."
        self.dead_path: tuple[str, str] | None = None
        "The addresses, ours and the peer's, of a path which is known to be dead."
        self.listener: PathListener | None = None
        self.observer: ConnectionObserver | None = None
        self.round_trip = 0.0
        "About how long it takes to be answered on the selected pair, in seconds."
        self.signs = 0
        "How many valid checks and responses have come on the selected pair."
        self._consent = consent
        self._consent_changed = asyncio.Event()
        self._consent_requests: list[ConsentRequest] = []
        self._deliveries = 0
        self._first_pair: aioice.ice.CandidatePair | None = None
        self._gathering: Gathering | None = None
        self._inbox: Inbox | NewerInbox = inbox
        self._last_check = float("-inf")
        self._listening = False
        self._messages = 0
        self._nominee: aioice.ice.CandidatePair | None = None
        self._probing = False
        self._refused = False
        self._servers: tuple[IceServer, ...] = ()
        self._shared_inbox = inbox

    @property
    def consent_lifetime(self) -> float:
        """
        How long consent lasts after a response, in seconds.
        """
        return self._consent.lifetime

    @property
    def data_count(self) -> int:
        """
        How many datagrams have come which are not STUN messages.
        """
        return self._deliveries - self._messages

    @property
    def nominated(self) -> bool:
        """
        Whether the nomination is done.
        """
        return bool(self._nominated_pairs)

    @property
    def asking(self) -> bool:
        """
        Whether a request is waiting for its response.
        """
        return bool(self._consent_requests)

    @property
    def overdue(self) -> int:
        """
        How many requests have been waiting for their responses for too long.
        """
        now = asyncio.get_running_loop().time()
        return sum(now - x.sent_time > self.patience for x in self._consent_requests)

    @property
    def patience(self) -> float:
        """
        How long a request may wait for its response, in seconds.
        """
        return max(PATIENCE, 2 * self.round_trip)

    @property
    def selected_pair(self) -> aioice.ice.CandidatePair | None:
        """
        The pair on which data is sent, or `None`.

        It is the one which the peer has nominated, or which is being nominated: it is
        valid then, and no other will be (RFC 8445 section 12.1).
        """
        return self._nominated_pairs.get(1) or self._nominee

    async def add_remote_candidate(
        self, remote_candidate: aioice.Candidate | None
    ) -> None:
        if remote_candidate is None or (
            self._remotes_expected < MAX_REMOTE_CANDIDATES
            # asyncio closes a socket which is asked to send to another port.
            and 0 < remote_candidate.port < 65536
        ):
            await super().add_remote_candidate(remote_candidate)
            self._check_new_pairs()

    def abort_gathering(self) -> None:
        """
        Ask no server any more. What a TURN server gives still is taken, to be freed.
        """
        self._servers = ()
        if self._gathering is not None:
            self._gathering.abort()

    def build_request(
        self, pair: aioice.ice.CandidatePair, nominate: bool
    ) -> aioice.stun.Message:
        if nominate and pair is not self.selected_pair:
            self._forget_first_pair()
            self._nominee = pair
            self._tell_if_selected()
        if self._has_no_choice(pair):
            self._first_pair = pair
        if pair is self._first_pair:
            # To the base, it is nominated when it has succeeded.
            nominate = pair.remote_nominated = True
        request = super().build_request(pair, nominate)
        # The preference is that of the local candidate (RFC 8445 section 7.1.1).
        request.attributes["PRIORITY"] = candidate_priority(
            pair.component, "prflx", pair.local_candidate.priority >> 8 & 0xFFFF
        )
        return request

    def check_complete(self, pair: aioice.ice.CandidatePair) -> None:
        before = self.selected_pair, self.nominated
        if pair is self._nominee and pair.state != pair.State.SUCCEEDED:
            self._nominee = None
            self._nominating_components.discard(pair.component)
        if pair is self._first_pair:
            self._first_pair = None
            if pair.nominated:
                # The base would nominate another one, which has proved valid later.
                self._nominating_components.add(pair.component)
        super().check_complete(pair)
        if before != (self.selected_pair, self.nominated):
            self._tell_if_selected()
            if self.selected_pair is None and self.observer is not None:
                self.observer.pair_unselected()

    def check_incoming(
        self,
        message: aioice.stun.Message,
        addr: tuple[str, int],
        protocol: aioice.ice.StunProtocol,
    ) -> None:
        remotes = self._known_remotes
        if len(remotes) >= MAX_REMOTE_CANDIDATES and addr not in remotes:
            return
        if self.observer is not None:
            self.observer.check_received()
        pair = self.selected_pair
        if pair and pair.protocol is protocol and pair.remote_addr == addr:
            self._hear()
        super().check_incoming(message, addr, protocol)

    async def check_start(self, pair: aioice.ice.CandidatePair) -> None:
        loop = asyncio.get_running_loop()
        began = self._last_check = loop.time()
        await super().check_start(pair)
        if pair is self.selected_pair and not self.round_trip:
            # Two, if it nominates; better too long than too short.
            self.round_trip = loop.time() - began

    async def close(self) -> None:
        if not self._is_closing and self.observer is not None:
            self.observer.connection_closing()
        for request in list(self._consent_requests):
            self._forget_consent_request(request)
        self._nominee = None
        await super().close()

    def consent_response_received(
        self, request: ConsentRequest, message: aioice.stun.Message
    ) -> None:
        """
        Handle an authentic response to a consent request.
        """
        self._deliveries += 1
        self._messages += 1
        if message.message_class == aioice.stun.Class.RESPONSE:
            now = asyncio.get_running_loop().time()
            self.consent_time = now
            # It is believed at once when it has grown, and else by and by.
            latest = now - request.sent_time
            self.round_trip = max(latest, (3 * self.round_trip + latest) / 4)
            # The requests before it were lost or are late; either way they are of no
            # more interest.
            for other in list(self._consent_requests):
                if other.sent_time <= request.sent_time:
                    self._forget_consent_request(other)
            self._hear()
            if self.listener is not None:
                self.listener.path_answered()
        elif message.error_code == 487 and request.repair:
            self._forget_consent_request(request)
            self.switch_role("ICE-CONTROLLED" in request.message.attributes)
            self._request_consent(request.pair, repair=False)

    def consent_times_changed(self, before: float) -> None:
        """
        Take note that consent is asked for more or less often, or lasts another time.

        :param before: How long it has lasted until now, in seconds.
        """
        if self.consent_time is None:
            return
        # A path on which nobody was asked since does not die of the change: it has the
        # new time from now on, unless the old one is over earlier.
        self.consent_time = max(
            self.consent_time,
            min(
                asyncio.get_running_loop().time(),
                self.consent_time + before - self.consent_lifetime,
            ),
        )
        self._consent_changed.set()

    def data_received(self, data: bytes, component: int) -> None:
        self._deliveries += 1
        self._inbox.put(data)

    def follow(self, older: list["Connection"]) -> None:
        """
        Let what the given connections have received be read first, from now on.
        """
        if isinstance(self._inbox, NewerInbox):
            self._inbox.release()
        self._inbox = self._shared_inbox
        if older:
            self._inbox = NewerInbox(
                self._shared_inbox,
                lambda: sum(x._deliveries for x in older),  # noqa: SLF001 - same class
            )

    async def get_component_candidates(
        self,
        component: int,
        addresses: list[str],
        timeout: int = 5,  # noqa: ASYNC109 - the base's
    ) -> list[aioice.Candidate]:
        # The base asks one server of each kind, and keeps all back until the last has
        # answered.
        self.stun_server = self.turn_server = None
        hosts = await super().get_component_candidates(component, addresses, timeout)
        sockets = []
        for i, protocol in enumerate(self._sockets):
            # The base names its class itself; ours has no slot more.
            protocol.__class__ = StunProtocol
            assert isinstance(protocol, StunProtocol)
            sockets.append(protocol)
            # Each candidate of a type has a preference of its own (RFC 8445 section
            # 5.1.2.1).
            protocol.local_candidate.priority = candidate_priority(
                component, "host", max(0, MAX_LOCAL_PREFERENCE - i)
            )
        for candidate in hosts:
            self._found(candidate)
        self._allow_checks()
        if self.observer is not None:
            self.observer.sockets_opened()
        if self._servers and not self._is_closing:
            self._gathering = Gathering(
                self, component, self._servers, self._is_relay_only, timeout
            )
            await self._gathering.run(sockets)
            self._gathering = None
        # All are in their place already.
        return []

    def listen(self, listening: bool) -> None:
        """
        Tell the listener when the next valid datagram has come, or do not any more.

        Nothing of it costs time where nobody listens, as long as data comes in.
        """
        self._listening = listening
        if listening:
            self.data_received = self._hear_data  # type: ignore[method-assign]
        else:
            vars(self).pop("data_received", None)

    def nominate_again(self) -> None:
        """
        Ask once more for the pair that is selected, as long as the peer may not have
        had our credentials when it was asked.
        """
        pair = self.selected_pair
        if self.ice_controlling and pair is not None:
            self._request_consent(pair, nominate=True)

    def probe(self) -> bool:
        """
        Check the selected pair, and tell whether the system sends on it.

        RFC 7675 section 5.1 has 4 seconds or more between the periodic requests. This
        is a connectivity check (RFC 8445 section 7.2) besides them, for which there is
        another limit (sections 14.2 and 14.3). It renews consent, as that lasts from
        the last "valid STUN binding response", whichever request had it.
        """
        pair = self.selected_pair
        self._refused = False
        if pair is not None and self.remote_password is not None:
            self._probing = True
            self._request_consent(pair)
            self._probing = False
        return not self._refused

    def protocol_lost(self, protocol: aioice.ice.StunProtocol) -> None:
        pair = self.selected_pair
        if pair is not None and pair.protocol is protocol and self.observer is not None:
            self.observer.path_lost()

    async def query_consent(self) -> None:
        # Unlike the base's, several requests may be outstanding, and each counts when
        # it is answered (RFC 7675 section 5.1). The settings are read each time, as
        # applications change them.
        loop = asyncio.get_running_loop()
        self.consent_time = asked_time = loop.time()
        next_time = asked_time + self._consent.delay()
        while True:
            lifetime = self.consent_lifetime
            if await self._await_consent_change(
                min(next_time, self.consent_time + lifetime)
            ):
                next_time = asked_time + self._consent.delay()
                continue
            now = loop.time()
            if now >= self.consent_time + lifetime:
                break
            if now >= next_time:
                for request in list(self._consent_requests):
                    if request.sent_time + lifetime < now:
                        self._forget_consent_request(request)
                for pair in self._nominated_pairs.values():
                    self._request_consent(pair)
                asked_time = now
                next_time = asked_time + self._consent.delay()

        self._forget_consent_task()
        await self.close()

    def request_received(
        self,
        message: aioice.stun.Message,
        addr: tuple[str, int],
        protocol: aioice.ice.StunProtocol,
    ) -> None:
        self._deliveries += 1
        self._messages += 1
        early = len(self._early)
        super().request_received(message, addr, protocol)
        if self.observer is not None and len(self._early) != early:
            self.observer.check_received()

    def send_failed(self, protocol: aioice.ice.StunProtocol, exc: Exception) -> None:
        """
        Handle what the system said when it was to send something.
        """
        pair = self.selected_pair
        if (
            self._refused
            or pair is None
            or pair.protocol is not protocol
            or not isinstance(exc, OSError)
            or exc.errno not in PATH_ERRORS
        ):
            return
        # It may have been meant for another address, so ask once more. A relay has one
        # only, and reports later.
        if self._probing or pair.local_candidate.type == "relay":
            self._refused = True
        if not self._probing and (self._refused or not self.probe()):
            if self.listener is not None:
                self.listener.path_refused()

    async def sendto(self, data: bytes, component: int) -> None:
        pair = self._nominated_pairs.get(component) or self._nominee
        if pair is None:
            raise ConnectionError("Cannot send data, not connected")
        try:
            await pair.protocol.send_data(data, pair.remote_addr)
        except OSError as exc:
            pair.protocol.error_received(exc)

    def sort_check_list(self) -> None:
        super().sort_check_list()
        if self.dead_path is not None:
            # One pair is checked at a time, so what leads the same way comes later. The
            # base gives all addresses of a host one priority.
            local, remote = self.dead_path
            self._pairs.sort(
                key=lambda x: (x.local_addr[0] == local) + (x.remote_addr[0] == remote)
            )

    def switch_role(self, ice_controlling: bool) -> None:
        self._forget_first_pair()
        super().switch_role(ice_controlling)
        if self.observer is not None:
            self.observer.role_switched(ice_controlling)

    def use_servers(
        self, policy: aioice.TransportPolicy, servers: tuple[IceServer, ...]
    ) -> None:
        """
        Gather with these servers, and by this policy.
        """
        self._servers = servers
        self._set_policy(policy, next((x for x in servers if x.scheme != "stun"), None))

    # GatheringObserver

    def create_protocol(self) -> StunProtocol:
        return StunProtocol(self)

    def reflexive_found(self, candidate: aioice.Candidate) -> None:
        # A redundant one has the address and the base of another one (RFC 8445 section
        # 5.1.3), which is its own where no NAT is on the way.
        base = candidate.related_address, candidate.related_port
        for other in self.local_candidates:
            if (other.host, other.port) == (candidate.host, candidate.port) and (
                base == (other.host, other.port)
                or base == (other.related_address, other.related_port)
            ):
                return
        self._found(candidate)

    def relay_found(
        self, candidate: aioice.Candidate, protocol: aioice.ice.StunProtocol
    ) -> None:
        _aiortc.forward_relay_errors(protocol)
        self._add_socket(protocol)
        self._check_new_pairs()
        self._found(candidate)

    def server_failed(self, event: RTCPeerConnectionIceErrorEvent) -> None:
        if self.observer is not None:
            self.observer.server_failed(event)

    # Private

    async def _await_consent_change(self, until: float) -> bool:
        """
        Wait until a time, or until :meth:`consent_times_changed`, and tell whether that
        was it.
        """
        try:
            async with asyncio.timeout_at(until):
                await self._consent_changed.wait()
        except TimeoutError:
            return False
        self._consent_changed.clear()
        return True

    def _check_new_pairs(self) -> None:
        # The base looks for them at its pace only.
        if asyncio.get_running_loop().time() >= self._last_check + PACING:
            self._check_next()

    def _forget_first_pair(self) -> None:
        if self._first_pair is not None:
            self._first_pair.remote_nominated = False
            self._first_pair = None

    def _has_no_choice(self, pair: aioice.ice.CandidatePair) -> bool:
        """
        Whether to nominate a pair with its first check, as there is no other: if it
        proves valid it is chosen (RFC 5245 section 8.1.1.2), a round trip earlier than
        it could be else. Where others might be, one is nominated that has proved valid
        (RFC 8445 section 8.1.1).
        """
        return (
            self.ice_controlling
            and self.selected_pair is None
            and self._pairs == [pair]
            and pair.state == pair.State.IN_PROGRESS
        )

    def _hear(self) -> None:
        self.signs += 1
        if self._listening:
            self.listen(False)
            if self.listener is not None:
                self.listener.path_heard()

    def _hear_data(self, data: bytes, component: int) -> None:
        # It stands in for data_received() as long as somebody listens.
        self._hear()
        self.signs -= 1
        self.data_received(data, component)

    def _found(self, candidate: aioice.Candidate) -> None:
        if self._is_closing:
            return
        self._add_local_candidate(candidate)
        if self.observer is not None:
            self.observer.candidate_found(candidate)

    def _forget_consent_request(self, request: ConsentRequest) -> None:
        self._consent_requests.remove(request)
        transactions = request.pair.protocol.transactions
        transactions.pop(request.message.transaction_id, None)

    def _tell_if_selected(self) -> None:
        if self.selected_pair is not None and self.observer is not None:
            self.observer.pair_selected()

    def _leaves_checks(self) -> bool:
        return self.observer is not None and self.observer.checks_left()

    def _request_consent(
        self,
        pair: aioice.ice.CandidatePair,
        repair: bool = True,
        nominate: bool = False,
    ) -> None:
        request = ConsentRequest(self, pair, repair=repair, nominate=nominate)
        pair.protocol.transactions[request.message.transaction_id] = request
        self._consent_requests.append(request)
        pair.protocol.send_stun(request.message, pair.remote_addr)
