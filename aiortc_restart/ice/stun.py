import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aioice
import aioice.ice
import aioice.stun

if TYPE_CHECKING:
    from .path import PathConnection

Address = tuple[str, int]


class StunProtocol(aioice.ice.StunProtocol):
    """
    The base's socket, whose errors the connection is told, and which does not send what
    the connection withholds.
    """

    receiver: "PathConnection"

    describe: Callable[[str, int], aioice.Candidate] | None = None
    "Returns the candidate of an address and a port, if the socket is a host's."

    _asked: dict[asyncio.Future[None], Address] | None = None
    _destination: Address | None = None
    _expected: Address | None = None

    async def ask(
        self, request: aioice.stun.Message, addr: Address
    ) -> aioice.stun.Message:
        """
        Ask a server, and return its response.

        :raises aioice.stun.TransactionError: if it answers with an error, or does not.
        :raises OSError: if the system does not send to it.
        """
        if self._asked is None:
            self._asked = {}
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

    def error_received(self, exc: Exception) -> None:
        super().error_received(exc)
        for refused, addr in (self._asked or {}).items():
            # Others are not known to be of this question.
            if addr == self._destination and not refused.done():
                refused.set_exception(exc)
        self.receiver.send_failed(self, exc)

    def listen(self, addr: Address | None) -> None:
        """
        Tell the connection when the next data comes from an address, or do not.

        Nothing of it costs time while nobody listens.
        """
        self._expected = addr
        # Not an attribute of its own, which others may have put in the method's place.
        self.__class__ = StunProtocol if addr is None else ListeningStunProtocol

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


class ListeningStunProtocol(StunProtocol):
    """
    What a protocol is while somebody listens to it.
    """

    def datagram_received(self, data: bytes | str, addr: tuple[Any, ...]) -> None:
        before = self.receiver.data_count
        super().datagram_received(data, addr)
        # An address of IPv6 has four parts.
        if self.receiver.data_count != before and addr[:2] == self._expected:
            self.listen(None)
            self.receiver.data_heard()


class ConsentRequest(aioice.stun.Transaction):
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
        # Only a response which is authentic and comes from the address that was asked
        # renews consent (RFC 7675 section 5.1, RFC 8445 section 7.2.5.2.1).
        if addr == self.pair.remote_addr and message.check_message_integrity(self._key):
            self._connection.consent_response_received(self, message)
