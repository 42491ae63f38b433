import asyncio
import errno
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

import aioice
import aioice.ice
import aioice.stun

from .. import _aiortc
from .._consent import ConsentTimes
from .drops import Allowance
from .inbox import Inbox, NewerInbox
from .messages import is_signed
from .pacing import Pacing
from .stun import COMPONENT, Address, ConsentRequest, StunProtocol

# How long a request may wait for its response, in seconds, if the path has not proved
# to be slower.
PATIENCE = 1.0

MAX_CHECKS = 1000
"""
How many authentic checks are taken in a second: ten times as many as there may be
pairs. Somebody on the path may send them again and again.
"""

MAX_REFUSALS = 10
"How many checks that are not authentic are answered with an error in a second."

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


# How late a timer is, in seconds, if the event loop was held up or the clock jumped.
HELD_UP = 1.0


class PathListener(Protocol):
    """
    Who is told how the selected pair of a :class:`Connection` is doing.
    """

    def path_answered(self) -> None:
        """A request has been answered: the pair works both ways."""

    def path_heard(self) -> None:
        """Something of the peer has come on the pair, which was waited for."""

    def path_refused(self) -> None:
        """The system does not send on the pair."""


class PathConnection(_aiortc.Connection):
    """
    The part of :class:`Connection` that looks after the selected pair: what is sent and
    received on it, whether the peer consents to it, and how it is doing.

    :param inbox: For the received datagrams, shared by all connections of a transport.
    :param consent: How often consent is asked for, and how long it lasts.
    :param pacing: Bounds the checks, together with those of other connections.
    """

    def __init__(
        self,
        inbox: Inbox,
        consent: ConsentTimes,
        pacing: Pacing,
        *,
        ice_controlling: bool,
        local_username: str,
        local_password: str,
    ) -> None:
        super().__init__(
            ice_controlling=ice_controlling,
            local_username=local_username,
            local_password=local_password,
        )
        # Again, as an application may have put a subclass of its own in the place of
        # aioice's class, with the same credentials for all.
        self._set_local_credentials(local_username, local_password)
        self.answers = 0
        "How many requests have been answered."
        self.consent_time: float | None = None
        "The loop's time of the last valid response, in seconds."
        self.data_count = 0
        "How many datagrams of the peer have come which are not STUN messages."
        self.data_signs = 0
        "How often data has come on the selected pair which was listened for."
        self.drops = inbox.drops
        "Counts the datagrams which are not the peer's."
        self.listener: PathListener | None = None
        self.round_trip = 0.0
        "About how long it takes to be answered on the selected pair, in seconds."
        self.signs = 0
        "How many valid checks and responses have come on the selected pair."
        self.telling = False
        "Whether the listener is told when the next sign of life has come."
        self._checks = Allowance(MAX_CHECKS)
        self._consent = consent
        self._consent_changed = asyncio.Event()
        self._consent_requests: list[ConsentRequest] = []
        self._deliveries = 0
        # When the next request is due, by the loop's time.
        self._due = float("inf")
        self._ear: StunProtocol | None = None
        self._inbox: Inbox | NewerInbox = inbox
        self._is_mute = False
        self._key = self.local_password.encode()
        self._mark = f"{self.local_username}:".encode()
        self._nominee: aioice.ice.CandidatePair | None = None
        self._pacing = pacing
        self._probing = False
        self._refusals = Allowance(MAX_REFUSALS)
        self._lacks_consent = False
        self._refused = False
        self._reprieve_end: float | None = None
        self._shared_inbox = inbox
        # The dictionary is kept here because a property would cost each packet time.
        self._chosen = self._nominated_pairs

    @property
    def consent_lifetime(self) -> float:
        """
        How long consent lasts after a response, in seconds.
        """
        return self._consent.lifetime(self.patience)

    @property
    def expects_early_data(self) -> bool:
        """
        Whether the peer may have chosen a pair before this is known here.
        """
        return self.selected_pair is None and not self._is_closing

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

    def answered(self, pair: aioice.ice.CandidatePair) -> None:
        """
        Take note of an authentic answer: what comes from there is the peer's.
        """
        assert isinstance(pair.protocol, StunProtocol)
        pair.protocol.hear(pair.remote_addr, answered=True)
        self._pacing.answered(pair.remote_addr)

    async def close(self) -> None:
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
        self.answered(request.pair)
        if message.message_class == aioice.stun.Class.RESPONSE:
            self.answers += 1
            self._renew_consent(request.sent_time)
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
        elif message.error_code == 403:
            # The peer revokes its consent (RFC 7675 section 5.2). To the observer it is
            # as if the pair had no socket any more.
            self._forget_consent_request(request)
            if request.pair is self.selected_pair:
                self.protocol_lost(request.pair.protocol)

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

    def data_heard(self) -> None:
        """
        Handle that data has come which was listened for.
        """
        self.data_signs += 1
        self._tell()

    def data_received(self, data: bytes, component: int) -> None:
        self._deliveries += 1
        self.data_count += 1
        self._inbox.put(data)

    def follow(self, older: Sequence["PathConnection"]) -> None:
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

    def belong_to(self, inbox: Inbox, consent: ConsentTimes) -> None:
        """
        Be another transport's from now on.

        :param inbox: For the received datagrams.
        :param consent: How often consent is asked for, and how long it lasts.
        """
        self._shared_inbox = inbox
        self._consent = consent
        self.follow(())

    def is_heeded(self, data: bytes) -> bool:
        """
        Tell whether a check is to be parsed: it is the peer's, or it may be answered
        with an error, as a few are in a second. Any other check costs next to nothing.
        """
        # The username is looked for first, because strangers do not know it.
        if self._mark in data and is_signed(data, self._key):
            return True
        return self._refusals.available

    def listen(self, listening: bool) -> None:
        """
        Count the next data which comes on the selected pair, or do not any more.

        It is for one datagram only, so that what comes after it costs no time. What
        comes from elsewhere, and may be anybody's, does not count.
        """
        if self._ear is not None:
            self._ear.listen(None)
            self._ear = None
        pair = self.selected_pair
        if listening and pair is not None:
            assert isinstance(pair.protocol, StunProtocol)
            self._ear = pair.protocol
            self._ear.listen(pair.remote_addr)

    def mute(self) -> None:
        """
        Neither check nor answer checks any more. Data still comes in.
        """
        self._is_mute = True
        self._end_consent()

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

    async def query_consent(self) -> None:
        # Unlike the base's, several requests may be outstanding, and each counts when
        # it is answered (RFC 7675 section 5.1). The settings are read each time, as
        # applications change them.
        loop = asyncio.get_running_loop()
        self.consent_time = asked_time = loop.time()
        next_time = asked_time + self._consent.delay()
        while True:
            lifetime = self.consent_lifetime
            due = self._due = min(next_time, self._consent_end(lifetime))
            if await self._await_consent_change(due):
                next_time = asked_time + self._consent.delay()
                continue
            now = loop.time()
            if now - due > HELD_UP and self._reprieve(now, lifetime):
                next_time = now
            if now >= self._consent_end(lifetime):
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

    def send(self, data: bytes) -> Coroutine[Any, Any, None]:
        return self.sendto(data, COMPONENT)

    async def sendto(self, data: bytes, component: int) -> None:
        pair = self._chosen.get(component) or self._nominee
        if pair is None:
            raise ConnectionError("Cannot send data, not connected")
        if self._lacks_consent:
            # Data is dropped until the peer consents again, as UDP drops what it cannot
            # deliver: an exception would end DTLS (RFC 7675 section 5.1).
            return
        try:
            await pair.protocol.send_data(data, pair.remote_addr)
        except OSError as exc:
            pair.protocol.error_received(exc)

    def withholds(
        self,
        protocol: aioice.ice.StunProtocol,
        message: aioice.stun.Message,
        addr: Address,
    ) -> bool:
        """
        Tell whether something is not to be sent, or not yet.
        """
        return self._is_mute or (
            "USERNAME" in message.attributes
            and not self._pacing.allows(protocol.local_candidate.host, addr)
        )

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

    def _consent_end(self, lifetime: float) -> float:
        """
        Return the loop's time at which consent has expired, unless it is renewed.
        """
        assert self.consent_time is not None
        end = self.consent_time + lifetime
        return end if self._reprieve_end is None else max(end, self._reprieve_end)

    def _renew_consent(self, sent_time: float) -> None:
        """
        Take note of a valid response.

        :param sent_time: The loop's time at which its request was sent, in seconds.
        """
        now = asyncio.get_running_loop().time()
        if self.consent_time is not None and now - self._due > HELD_UP:
            # The response has come at any time while the event loop was held up, or the
            # computer asleep: it is as old as it may be, and says nothing of the path.
            came = min(now, sent_time + self.round_trip)
            self.consent_time = max(self.consent_time, came)
            return
        self.consent_time = now
        self._reprieve_end = None
        self._lacks_consent = False
        # It is believed at once when it has grown, and else by and by.
        latest = now - sent_time
        self.round_trip = max(latest, (3 * self.round_trip + latest) / 4)

    def _reprieve(self, now: float, lifetime: float) -> bool:
        """
        Give the peer the time for one more answer, as the event loop was held up, or
        the computer asleep, and tell whether that makes a difference.

        The peer was neither asked nor heard meanwhile. There is one reprieve for each
        answer, so that a loop which is held up again and again does not keep a dead
        path. If consent has expired by the clock, data is dropped until the answer has
        come (RFC 7675 section 5.1).
        """
        assert self.consent_time is not None
        end = now + self.patience
        if self._reprieve_end is not None or end <= self.consent_time + lifetime:
            return False
        self._reprieve_end = end
        self._lacks_consent = now >= self.consent_time + lifetime
        return True

    def _forget_consent_request(self, request: ConsentRequest) -> None:
        self._consent_requests.remove(request)
        transactions = request.pair.protocol.transactions
        transactions.pop(request.message.transaction_id, None)

    def _hear(self) -> None:
        self.signs += 1
        self._tell()

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

    def _tell(self) -> None:
        if self.telling:
            self.telling = False
            if self.listener is not None:
                self.listener.path_heard()
