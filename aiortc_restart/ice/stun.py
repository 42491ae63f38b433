import asyncio
import ipaddress
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aioice
import aioice.ice
import aioice.stun

from . import drops
from .messages import parse_message

if TYPE_CHECKING:
    from .path import PathConnection

logger = logging.getLogger(__name__)

Address = tuple[str, int]

# The only one there is, as RTCP has none of its own (RFC 5761).
COMPONENT = 1

LONGEST_DATAGRAM = 1500
"""
The longest datagram, in bytes, that is taken: libsrtp's buffer holds no more, and DTLS
reads no more at once.
"""

MAX_HEARD = 100
"""
From how many addresses data is read: as many as there may be candidates (RFC 8445
section 19.5.1).
"""

MAX_EARLY_DATA = 64
"How many datagrams are kept of addresses from which no check has come yet."

# The two bytes with which these messages begin.
BINDING_REQUEST = b"\x00\x01"
BINDING_INDICATION = b"\x00\x11"
BINDING_RESPONSES = frozenset({b"\x01\x01", b"\x01\x11"})


class StunProtocol(aioice.ice.StunProtocol):
    """
    aioice's socket, which reads only what the peer has sent, tells its errors to the
    connection, and does not send what the connection withholds.

    Whatever else arrives is dropped here, before anything waits for it: it may be
    anybody's.
    """

    receiver: "PathConnection"

    describe: Callable[[str, int], aioice.Candidate] | None = None
    "Returns the candidate of an address and a port, if the socket is a host's."

    def __init__(self, receiver: "PathConnection") -> None:
        super().__init__(receiver)
        self._asked: dict[asyncio.Future[None], Address] = {}
        self._destination: Address | None = None
        self._early: deque[tuple[bytes, Address]] = deque(maxlen=MAX_EARLY_DATA)
        self._expected: Address | None = None
        # Whether an address has answered a check, besides sending one.
        self._heard: dict[Address, bool] = {}

    async def ask(
        self, request: aioice.stun.Message, addr: Address
    ) -> aioice.stun.Message:
        """
        Ask a server, and return its response.

        :raises aioice.stun.TransactionError: if it answers with an error, or does not.
        :raises OSError: if the system does not send to it.
        """
        refused = asyncio.get_running_loop().create_future()
        self._asked[refused] = addr
        question = asyncio.ensure_future(self.request(request, addr))
        try:
            await asyncio.wait({question, refused}, return_when=asyncio.FIRST_COMPLETED)
            if refused.done():
                refused.result()
            return question.result()[0]
        finally:
            del self._asked[refused]
            refused.cancel()
            question.cancel()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.describe is not None:
            # asyncio reads from the socket only after this call, so that no datagram
            # meets a protocol without a candidate.
            host, port = transport.get_extra_info("sockname")[:2]
            self.local_candidate = self.describe(host, port)

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        # An address of IPv6 has four parts.
        source: Address = addr if len(addr) == 2 else addr[:2]
        assert isinstance(data, bytes)
        first = data[0] if data else -1
        # What may follow, and how it begins, is in RFC 7983 section 7.
        if 127 < first < 192 or 19 < first < 64:
            if len(data) > LONGEST_DATAGRAM:
                self.receiver.drops.count(drops.TOO_LONG)
            elif source in self._heard:
                self.receiver.data_received(data, COMPONENT)
                if source == self._expected:
                    self._expected = None
                    self.receiver.data_heard()
            elif self.receiver.expects_early_data:
                if len(self._early) == MAX_EARLY_DATA:
                    self.receiver.drops.count(drops.STRANGER)
                self._early.append((data, source))
            else:
                self.receiver.drops.count(drops.STRANGER)
        elif 0 <= first < 4:
            self._message_received(data, source)
        else:
            self.receiver.drops.count(drops.NOT_A_PROTOCOL if data else drops.EMPTY)

    def error_received(self, exc: Exception) -> None:
        super().error_received(exc)
        for refused, addr in self._asked.items():
            # Others are not known to be of this question.
            if addr == self._destination and not refused.done():
                refused.set_exception(exc)
        self.receiver.send_failed(self, exc)

    def hear(self, addr: Address, answered: bool = False) -> None:
        """
        Take note that an authentic check, or an answer to one, has come from an
        address: what else comes from there is the peer's (RFC 8445 section 12.2).
        """
        if answered or addr not in self._heard:
            self._heard[addr] = answered or self._heard.get(addr, False)
            if len(self._heard) > MAX_HEARD:
                # Checks can be sent again by somebody on the path, answers can not.
                checked = (x for x, proven in self._heard.items() if not proven)
                del self._heard[next(checked, next(iter(self._heard)))]
            if self._early:
                self._release_early(addr)

    def forget_early(self) -> None:
        """
        Drop what has come early: the peer is known.
        """
        for _ in self._early:
            self.receiver.drops.count(drops.STRANGER)
        self._early.clear()

    def listen(self, addr: Address | None) -> None:
        """
        Tell the connection when the next data comes from an address, or do not.
        """
        self._expected = addr

    async def request(
        self,
        request: aioice.stun.Message,
        addr: Address,
        integrity_key: bytes | None = None,
        retransmissions: int | None = None,
    ) -> tuple[aioice.stun.Message, Address]:
        # As aioice's, but for the address from which the answer has to come.
        if integrity_key is not None:
            request.add_message_integrity(integrity_key)
        transaction = Transaction(
            request,
            addr,
            self,
            retransmissions=retransmissions,
            integrity_key=integrity_key,
        )
        self.transactions[request.transaction_id] = transaction
        try:
            return await transaction.run()
        finally:
            del self.transactions[request.transaction_id]

    def send_stun(self, message: aioice.stun.Message, addr: Address) -> None:
        if self.receiver.withholds(self, message, addr):
            return
        self._destination = addr
        try:
            super().send_stun(message, addr)
        except OSError as exc:
            # It would end the transaction, or what answers the peer.
            self.error_received(exc)
        finally:
            self._destination = None

    # Private

    def _message_received(self, data: bytes, addr: Address) -> None:
        receiver = self.receiver
        kind = data[:2]
        if kind == BINDING_REQUEST:
            if not receiver.is_heeded(data):
                receiver.drops.count(drops.UNAUTHENTICATED)
                return
            message = parse_message(data)
            if message is None:
                receiver.drops.count(drops.MALFORMED)
            else:
                receiver.request_received(message, addr, self)
        elif kind in BINDING_RESPONSES:
            transaction = self.transactions.get(data[8:20])
            # An answer without a request is usual from the peer: it answers twice what
            # was sent twice.
            if transaction is None:
                if addr not in self._heard:
                    receiver.drops.count(drops.UNAUTHENTICATED)
                return
            message = parse_message(data)
            if message is None or message.unknown:
                receiver.drops.count(drops.MALFORMED)
            elif isinstance(transaction, Transaction) and not transaction.asks(addr):
                receiver.drops.count(drops.UNAUTHENTICATED)
            else:
                logger.debug("%s %s < %s %s", receiver, self, addr, message)
                transaction.response_received(message, addr)
        elif addr not in self._heard or kind != BINDING_INDICATION:
            # An indication of the peer's keeps a NAT's binding alive, and says nothing.
            receiver.drops.count(drops.MALFORMED)

    def _release_early(self, addr: Address) -> None:
        released = [data for data, source in self._early if source == addr]
        if released:
            rest = [x for x in self._early if x[1] != addr]
            self._early.clear()
            self._early.extend(rest)
            for data in released:
                self.receiver.data_received(data, COMPONENT)


class Transaction(aioice.stun.Transaction):
    """
    aioice's transaction, which knows from where its answer has to come.
    """

    def __init__(
        self,
        request: aioice.stun.Message,
        addr: Address,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(request, addr, *args, **kwargs)
        self._addr = addr

    def asks(self, addr: Address) -> bool:
        """
        Whether an address is that to which the request is sent (RFC 8489 section
        6.3.3).
        """
        return addr == self._addr or addr == canonical(self._addr)


def canonical(addr: Address) -> Address:
    """
    Return an address in the form in which the system reports it.
    """
    try:
        return str(ipaddress.ip_address(addr[0])), addr[1]
    except ValueError:
        return addr


class ConsentRequest(Transaction):
    """
    A consent request, which is sent once and whose response counts however late.

    So is a probe: it asks the same.
    """

    def __init__(
        self,
        connection: "PathConnection",
        pair: aioice.ice.CandidatePair,
        repair: bool = True,
        nominate: bool = False,
    ) -> None:
        assert connection.remote_password is not None
        self.message = connection.build_request(pair, nominate=nominate)
        self.pair = pair
        self.repair = repair
        "Whether a role conflict is answered with another request."
        self.sent_time = asyncio.get_running_loop().time()
        "The loop's time in seconds."
        self._connection = connection
        self._key = connection.remote_password.encode("utf8")
        self.message.add_message_integrity(self._key)
        super().__init__(
            self.message, pair.remote_addr, pair.protocol, integrity_key=self._key
        )

    def response_received(
        self, message: aioice.stun.Message, addr: tuple[str, int]
    ) -> None:
        # Only an authentic response renews consent (RFC 7675 section 5.1).
        if message.check_message_integrity(self._key):
            self._connection.consent_response_received(self, message)
