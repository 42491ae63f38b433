import asyncio
import ipaddress
import logging
from typing import Any, Protocol

import aioice
import aioice.ice
import aioice.mdns
import aioice.stun
from aioice.candidate import candidate_priority

from .._aiortc import StunMessage
from .._consent import ConsentTimes
from .._servers import IceServer
from .candidate import RTCPeerConnectionIceErrorEvent
from .drops import MALFORMED, TOO_MANY, UNAUTHENTICATED
from .gathering import UNREACHABLE, Gathering
from .inbox import Inbox
from .messages import UnknownAttributes
from .names import resolver
from .pacing import Pacing
from .path import PathConnection
from .sockets import host_addresses, open_socket
from .stun import COMPONENT, Address, StunProtocol

logger = logging.getLogger(__name__)

# The limit which RFC 8445 section 19.5.1 gives for checks: the peer chooses how many
# candidates there are.
MAX_REMOTE_CANDIDATES = 100

# How many pairs of candidates are checked at most (RFC 8445 section 6.1.2.5): the peer
# chooses whom the checks are sent to.
MAX_PAIRS = 100

# How many nominations may wait for their answers: as many as may wait for ours in the
# base.
MAX_LATE_ANSWERS = aioice.ice.MAX_EARLY_CHECKS

# How long they do at most, in seconds. The peer gives a check up after some more.
LATE_ANSWER_TIME = 3.0

# How many checks are remembered, to tell those that are sent again.
MAX_CHECKS_SEEN = 1000

LateAnswer = tuple[aioice.ice.StunProtocol, aioice.stun.Message, Address]
"To whom it goes, and by which socket."

# How many role conflicts of a check are repaired. Two agents with the same role have
# one (RFC 8445 section 7.2.5.1); a peer that claims a conflict again and again would be
# checked for ever.
MAX_ROLE_REPAIRS = 3


class ConnectionObserver(Protocol):
    """
    Who is told, at once and in the same task, what happens to a :class:`Connection`.
    """

    def candidate_found(self, candidate: aioice.Candidate) -> None:
        """Another local candidate has been gathered."""

    def check_received(self) -> None:
        """An authenticated check of the peer has arrived."""

    def connection_closing(self) -> None:
        """No more data can be sent: consent expired, or the connection is closed."""

    def nomination_is_early(self) -> bool:
        """Tell whether the peer is to wait for its answer until we can follow."""

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


class Connection(PathConnection):
    """
    aioice's connection, which tells its observer what happens as it happens.

    :param inbox: For the received datagrams, shared by all connections of a transport.
    :param consent: How often consent is asked for, and how long it lasts.
    :param pacing: Bounds the checks, together with those of other connections.
    """

    def __init__(
        self,
        inbox: Inbox,
        consent: ConsentTimes,
        pacing: Pacing,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(inbox, consent, pacing, *args, **kwargs)
        self.dead_path: tuple[str, str] | None = None
        "The addresses, ours and the peer's, of a path which is known to be dead."
        self.observer: ConnectionObserver | None = None
        self.overtakes = False
        "Whether checks may overtake candidates while the peer has another path."
        self._checks_seen: dict[bytes, None] = {}
        "The transactions of the peer's checks, the oldest first."
        self._first_pair: aioice.ice.CandidatePair | None = None
        self._gathering: Gathering | None = None
        self._has_gathered = False
        self._is_early = False
        self._left_pair: aioice.ice.CandidatePair | None = None
        self._late_answers: dict[tuple[bytes, Address], LateAnswer] | None = {}
        "`None` when no answer is late any more."
        self._late_answer_timer: asyncio.TimerHandle | None = None
        self._resolving: set[tuple[str, int, str]] = set()
        "The peer's candidates whose names are being resolved."
        self._servers: tuple[IceServer, ...] = ()
        self._triggering: tuple[aioice.ice.StunProtocol, Address] | None = None
        "By which socket the check has come which is being handled, and from where."
        self._triggered: set[aioice.ice.CandidatePair] = set()
        "The pairs that are checked because the peer has checked them."

    @property
    def hides_addresses(self) -> bool:
        """
        Whether nothing but relayed addresses may be seen.
        """
        return self._is_relay_only

    async def add_remote_candidate(
        self, remote_candidate: aioice.Candidate | None
    ) -> None:
        if remote_candidate is not None and aioice.mdns.is_mdns_hostname(
            remote_candidate.host
        ):
            if self._takes(remote_candidate):
                await self._add_named_candidate(remote_candidate)
                self._check_new_pairs()
        else:
            self.take_remote_candidate(remote_candidate)

    def take_remote_candidate(self, remote_candidate: aioice.Candidate | None) -> None:
        """
        Add a remote candidate which has an address, or the end of candidates.
        """
        if remote_candidate is None:
            self._take_remote_end()
        elif self._takes(remote_candidate):
            self._take_remote(remote_candidate)
        self._check_new_pairs()

    def abort_gathering(self) -> None:
        """
        Ask no server any more. What a TURN server gives still is taken, to be freed.
        """
        self._servers = ()
        if self._gathering is not None:
            self._gathering.abort()

    def answer_nominations(self) -> None:
        """
        Answer the nominations which were early. From now on each is answered at once.
        """
        answers, self._late_answers = self._late_answers, None
        if self._late_answer_timer is not None:
            self._late_answer_timer.cancel()
        if answers and not self._is_closing:
            for protocol, message, addr in answers.values():
                protocol.send_stun(message, addr)

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
        request.attributes["PRIORITY"] = self._priority_of(pair)
        return request

    def check_complete(self, pair: aioice.ice.CandidatePair) -> None:
        before = self.selected_pair, self.nominated
        self._triggered.discard(pair)
        if pair is self._nominee and pair.state != pair.State.SUCCEEDED:
            self._nominee = None
            self._nominating_components.discard(pair.component)
        if pair is self._first_pair:
            self._first_pair = None
            # Should it be checked again, the peer is not told that it is nominated.
            pair.remote_nominated = pair.nominated
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
        self._triggering = protocol, addr
        try:
            super().check_incoming(message, addr, protocol)
        finally:
            self._triggering = None
        left = self._left_pair
        if (
            left is not None
            and left.protocol is protocol
            and left.remote_addr == addr
            and not self.asking
        ):
            # The peer may have taken it for nominated.
            self.nominate_again()

    async def check_start(self, pair: aioice.ice.CandidatePair) -> None:
        # As aioice's, but that a check waits for its turn, and that there is an end to
        # role conflicts.
        loop = asyncio.get_running_loop()
        began = loop.time()
        self.check_state(pair, pair.State.IN_PROGRESS)
        try:
            began = await self._check(pair)
        except asyncio.CancelledError:
            self._check_cancelled(pair)
            raise
        except aioice.stun.TransactionError as exc:
            logger.debug("%r x check %r: %s", self, pair, exc)
            self.check_state(pair, pair.State.FAILED)
        else:
            self.check_state(pair, pair.State.SUCCEEDED)
        self.check_complete(pair)
        if pair is self.selected_pair and not self.round_trip:
            # Two, if it nominates; better too long than too short.
            self.round_trip = loop.time() - began

    def check_start_task(self, pair: aioice.ice.CandidatePair) -> None:
        if self._triggering is not None:
            self._triggered.add(pair)
        super().check_start_task(pair)

    async def close(self) -> None:
        if not self._is_closing and self.observer is not None:
            self.observer.connection_closing()
        if self._late_answer_timer is not None:
            self._late_answer_timer.cancel()
        await super().close()

    async def gather_candidates(self) -> None:
        if self._has_gathered:
            return
        self._has_gathered = True
        addresses: list[str] = []
        if not self._is_relay_only:
            try:
                addresses = host_addresses()
            except OSError as exc:
                self._tell_no_socket("Cannot list the addresses of this host", exc)
        # As in aioice, sockets are opened in another turn of the loop: who has set the
        # description resumes first, and all transports of a connection gather together.
        await asyncio.gather(self.get_component_candidates(COMPONENT, addresses))

    async def get_component_candidates(
        self,
        component: int,
        addresses: list[str],
        timeout: int = 5,  # noqa: ASYNC109 - the base's
    ) -> list[aioice.Candidate]:
        sockets = await self._open_sockets(component, addresses)
        for protocol in sockets:
            self._found(protocol.local_candidate)
        self._allow_checks()
        if self.observer is not None:
            self.observer.sockets_opened()
        if self._servers and not self._is_closing:
            self._gathering = Gathering(
                self,
                component,
                self._servers,
                self._is_relay_only,
                _ip_versions(addresses),
                timeout,
            )
            await self._gathering.run(sockets)
            self._gathering = None
        # All are in their place already.
        return []

    def protocol_lost(self, protocol: aioice.ice.StunProtocol) -> None:
        pair = self.selected_pair
        if pair is not None and pair.protocol is protocol and self.observer is not None:
            self.observer.path_lost()

    def request_received(
        self,
        message: aioice.stun.Message,
        addr: tuple[str, int],
        protocol: aioice.ice.StunProtocol,
    ) -> None:
        if self._is_closing:
            return
        if not self._is_authentic(message):
            self.drops.count(UNAUTHENTICATED)
            # What has to be understood, and is not, is no reason to answer a stranger.
            if not getattr(message, "unknown", ()) and self._refusals.take():
                self._refuse(message, addr, protocol)
            return
        if not self._checks.take():
            self.drops.count(TOO_MANY)
            return
        logger.debug("%r %r < %s %s", self, protocol, addr, message)
        self._deliveries += 1
        assert isinstance(message, StunMessage)
        assert isinstance(protocol, StunProtocol)
        protocol.hear(addr)
        if message.unknown:
            response = UnknownAttributes(message, message.unknown)
            response.add_message_integrity(self._key)
            protocol.send_stun(response, addr)
        elif "PRIORITY" not in message.attributes:
            # A check without it is none (RFC 8445 section 7.1.1).
            self.drops.count(MALFORMED)
        elif not self._repair_role(message):
            self.respond_error(message, addr, protocol, (487, "Role Conflict"))
        else:
            self._answer(message, addr, protocol)
            self._take_check(message, addr, protocol)

    def sort_check_list(self) -> None:
        super().sort_check_list()
        self._drop_excess_pairs()
        if self.dead_path is not None:
            # One pair is checked at a time, so what leads the same way comes later,
            # whatever its priority.
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
        self._set_policy(policy)

    def withholds(
        self,
        protocol: aioice.ice.StunProtocol,
        message: aioice.stun.Message,
        addr: Address,
    ) -> bool:
        answers = self._late_answers
        if (
            self._is_early
            and answers is not None
            and message.message_class == aioice.stun.Class.RESPONSE
        ):
            answers[message.transaction_id, addr] = protocol, message, addr
            if len(answers) > MAX_LATE_ANSWERS:
                del answers[next(iter(answers))]
            if self._late_answer_timer is None:
                self._late_answer_timer = asyncio.get_running_loop().call_later(
                    LATE_ANSWER_TIME, self.answer_nominations
                )
            return True
        return super().withholds(protocol, message, addr)

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
        self._add_socket(protocol)
        self._found(candidate)

    def server_failed(self, event: RTCPeerConnectionIceErrorEvent) -> None:
        if self.observer is not None:
            self.observer.server_failed(event)

    # Private

    async def _add_named_candidate(self, candidate: aioice.Candidate) -> None:
        """
        Add a candidate whose name has to be resolved, unless that is being done or has
        been: to the base, it is another one as long as it has no address.
        """
        socket = _socket(candidate)
        if socket in self._resolving or socket in map(_socket, self.remote_candidates):
            return
        self._resolving.add(socket)
        try:
            await self._add_remote_name(candidate, resolver)
        except OSError as exc:
            # Without a socket for mDNS it is a name that does not resolve.
            logger.info("Connection(%s) x %s: %s", self.local_username, socket[0], exc)
        finally:
            self._resolving.remove(socket)

    async def _ask(
        self, pair: aioice.ice.CandidatePair, request: aioice.stun.Message
    ) -> None:
        """
        Send a check and wait for its answer.

        :raises aioice.stun.TransactionError: if there is none, or it is an error.
        """
        assert self.remote_password is not None
        key = self.remote_password.encode("utf8")
        try:
            await pair.protocol.request(request, pair.remote_addr, integrity_key=key)
        except aioice.stun.TransactionFailed:
            self.answered(pair)
            raise
        self.answered(pair)

    async def _check(self, pair: aioice.ice.CandidatePair) -> float:
        """
        Check a pair, nominate it if it is to be nominated, and return the loop's time
        at which this began.

        :raises aioice.stun.TransactionError: if the pair does not work.
        """
        repairs = 0
        while True:
            await self._pacing.turn()
            began = asyncio.get_running_loop().time()
            nominate = self.ice_controlling and not self.remote_is_lite
            request = self.build_request(pair, nominate=nominate)
            try:
                await self._ask(pair, request)
                break
            except aioice.stun.TransactionFailed as exc:
                if exc.response.error_code != 487 or repairs == MAX_ROLE_REPAIRS:
                    raise
                repairs += 1
                self.switch_role("ICE-CONTROLLED" in request.attributes)

        if nominate or pair.remote_nominated:
            # With its check (RFC 5245 section 8.1.1.2), or by the peer.
            pair.nominated = True
        elif self.ice_controlling and pair.component not in self._nominating_components:
            # Regular nomination (RFC 8445 section 8.1.1).
            self._nominating_components.add(pair.component)
            await self._ask(pair, self.build_request(pair, nominate=True))
            pair.nominated = True
        return began

    def _check_cancelled(self, pair: aioice.ice.CandidatePair) -> None:
        # A triggered check is begun again, because the peer waits for it: aioice
        # cancels all checks when a pair has been nominated, for good.
        pair.task = None
        self.check_state(pair, pair.State.FROZEN)
        if pair in self._triggered and pair in self._pairs and not self._is_closing:
            self.check_start_task(pair)

    def _takes(self, candidate: aioice.Candidate) -> bool:
        if candidate.component != COMPONENT:
            # To the base, a check from there would be a programming error.
            logger.debug(
                "Connection(%s) x remote candidate of component %d",
                self.local_username,
                candidate.component,
            )
            return False
        # asyncio closes a socket which is asked to send to another port.
        return (
            self._remotes_expected < MAX_REMOTE_CANDIDATES
            and 0 < candidate.port < 65536
        )

    def _check_new_pairs(self) -> None:
        # aioice looks for them at its pace only.
        if self._pacing.ready:
            self._check_next()

    def _drop_excess_pairs(self) -> None:
        """
        Drop the pairs of the lowest priority of which there are too many. Those which
        have been checked count, and stay, as does the one that a check of the peer's
        has brought (RFC 8445 section 7.3.1.4).
        """
        excess = len(self._pairs) - MAX_PAIRS
        if excess > 0:
            droppable = [
                x
                for x in self._pairs
                if x.state in (x.State.FROZEN, x.State.WAITING)
                and x.task is None
                and (x.protocol, x.remote_addr) != self._triggering
            ]
            for pair in droppable[-excess:]:
                self._pairs.remove(pair)

    def _forget_first_pair(self) -> None:
        if self._first_pair is not None:
            self._first_pair.remote_nominated = False
            self._left_pair, self._first_pair = self._first_pair, None

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

    def _answer(
        self, message: aioice.stun.Message, addr: Address, protocol: StunProtocol
    ) -> None:
        """
        Answer a check, or have that wait if the check nominates too early.
        """
        if "USE-CANDIDATE" in message.attributes and self._late_answers is not None:
            self._is_early = (
                self.observer is not None and self.observer.nomination_is_early()
            )
            if not self._is_early:
                self.answer_nominations()
        response = aioice.stun.Message(
            message_method=aioice.stun.Method.BINDING,
            message_class=aioice.stun.Class.RESPONSE,
            transaction_id=message.transaction_id,
        )
        response.attributes["XOR-MAPPED-ADDRESS"] = addr
        response.add_message_integrity(self._key)
        try:
            protocol.send_stun(response, addr)
        finally:
            self._is_early = False

    def _found(self, candidate: aioice.Candidate) -> None:
        if self._is_closing:
            return
        self._add_local_candidate(candidate)
        if self.observer is not None:
            self.observer.candidate_found(candidate)

    def _is_authentic(self, message: aioice.stun.Message) -> bool:
        """
        Tell whether a check is signed by the peer (RFC 8489 section 9.1.3).
        """
        return self._valid_username(
            message.attributes.get("USERNAME", "")
        ) and message.check_message_integrity(self._key)

    def _refuse(
        self,
        message: aioice.stun.Message,
        addr: Address,
        protocol: aioice.ice.StunProtocol,
    ) -> None:
        """
        Answer a check that is not authentic.
        """
        if {"MESSAGE-INTEGRITY", "USERNAME"} <= message.attributes.keys():
            error = 401, "Unauthenticated"
        else:
            error = 400, "Bad Request"
        self.respond_error(message, addr, protocol, error)

    def _repair_role(self, message: aioice.stun.Message) -> bool:
        """
        Repair a role conflict by taking the other role, or tell that the peer is to do
        that (RFC 8445 section 7.3.1.1).
        """
        claimed = "ICE-CONTROLLING" if self.ice_controlling else "ICE-CONTROLLED"
        theirs = message.attributes.get(claimed)
        # A check that is sent again says nothing new: somebody on the path may do it
        # after the roles have been exchanged.
        again = message.transaction_id in self._checks_seen
        self._checks_seen[message.transaction_id] = None
        if len(self._checks_seen) > MAX_CHECKS_SEEN:
            del self._checks_seen[next(iter(self._checks_seen))]
        if theirs is None or again:
            return True
        if (self.tie_breaker >= theirs) == self.ice_controlling:
            return False
        self.switch_role(not self.ice_controlling)
        return True

    def _take_check(
        self, message: aioice.stun.Message, addr: Address, protocol: StunProtocol
    ) -> None:
        """
        Learn what a check says, at once or when the checks begin.
        """
        if self._checks_have_begun:
            self.check_incoming(message, addr, protocol)
            return
        # The peer's credentials may not be known yet (RFC 8445 section 7.3).
        self._early.append((message, addr, protocol))
        if self.observer is not None:
            self.observer.check_received()

    async def _open_sockets(
        self, component: int, addresses: list[str]
    ) -> list[StunProtocol]:
        """
        Open a socket on each address on which the system opens one. That there is none
        at all is told.
        """
        sockets: list[StunProtocol] = []
        failure: tuple[str, OSError] | None = None
        for address in addresses:
            if self._is_closing:
                break
            try:
                protocol = await open_socket(self, component, address, len(sockets))
            except OSError as exc:
                failure = f"Cannot open a socket on {address}", exc
                logger.info("Connection(%s) %s: %s", self.local_username, *failure)
                continue
            sockets.append(protocol)
            # Whatever happens to the next one, close() finds this one.
            self._add_socket(protocol)
        if failure is not None and not sockets:
            self._tell_no_socket(*failure)
        return sockets

    def _priority_of(self, pair: aioice.ice.CandidatePair) -> int:
        """
        Return the priority by which the peer is to rank what it learns from a check.
        """
        local = pair.local_candidate
        # The preference is that of the local candidate.
        reflexive = candidate_priority(
            pair.component, "prflx", local.priority >> 8 & 0xFFFF
        )
        if self.overtakes:
            # RFC 8445 section 7.1.1 has that of a peer-reflexive candidate. For good,
            # libwebrtc does not check what ranks lower than its old pair, though it is
            # told later what the candidate is.
            return max(local.priority, reflexive)
        return reflexive

    def _tell_no_socket(self, what: str, exc: OSError) -> None:
        text = f"{what}: {exc}"
        logger.warning("Connection(%s) %s", self.local_username, text)
        self.server_failed(
            RTCPeerConnectionIceErrorEvent(None, None, "", UNREACHABLE, text)
        )

    def _tell_if_selected(self) -> None:
        if self.selected_pair is None:
            return
        for protocol in self._sockets:
            assert isinstance(protocol, StunProtocol)
            protocol.forget_early()
        if self.observer is not None:
            self.observer.pair_selected()


def _ip_versions(addresses: list[str]) -> set[int]:
    """
    Return the IP versions of this host, whose addresses are known if host candidates
    are gathered.
    """
    try:
        return {ipaddress.ip_address(x).version for x in addresses or host_addresses()}
    except OSError:
        return set()


def _socket(candidate: aioice.Candidate) -> tuple[str, int, str]:
    return candidate.host, candidate.port, candidate.transport
