import asyncio
import logging
from collections import deque

import aiortc
import OpenSSL.SSL
from aiortc.rtcdtlstransport import State

from .records import acceptable, client_random, renumbered

logger = logging.getLogger(__name__)

LONGEST_FLIGHT = 4
"How many datagrams of a handshake are kept: a flight is one or two."

LONGEST_RECORD = 1500
"How much OpenSSL gives, and is asked for, at once, in bytes."

HANDSHAKE_PATIENCE = 30.0
"""
How long, in seconds, a handshake goes on in which something has gone wrong. Nobody
knows whether the peer has sent what went wrong.
"""

RETRY_DELAY = 0.25
"By how many seconds each attempt to begin the handshake again is later than before."

HELLO_INTERVAL = 0.2
"""
How far apart, in seconds, other ClientHellos are answered: each costs a signature.
"""

MAX_RIVALS = 4
"How many other ClientHellos are remembered."

QUIET = 0.05
"""
For how long, in seconds, nothing comes before a client begins the handshake again.
"""

PATIENT_TIMEOUTS = 2
"How often OpenSSL's timer expires before a handshake in trouble is begun again."


class RTCDtlsTransport(aiortc.RTCDtlsTransport):
    """
    aiortc's transport, whose handshake is not ended by a datagram that anybody could
    have sent, and does not wait for OpenSSL's timer after an outage.

    That timer has doubled meanwhile, and OpenSSL has nothing sent before it expires. So
    the same datagrams are sent once more: to the peer, they are late or, if they had
    arrived, duplicates, which it discards (RFC 6347 section 4.1.2.6).
    """

    _attempts = 0
    "How often the handshake has been begun again."

    _fed = False
    "Whether OpenSSL has been given anything of this handshake."

    _flight: deque[bytes] | None = None
    _heard = 0

    _hello: bytes | None = None
    "The random bytes of the ClientHello that is being answered."

    _rivals: dict[bytes, OpenSSL.SSL.Connection] | None = None
    """
    The handshakes with other ClientHellos, which may have been the client's: the one
    that it finishes is taken.
    """

    _hello_time = float("-inf")
    "The loop's time at which the last of them has come, in seconds."

    _records = 0
    "How many records without a signature OpenSSL has been given."

    _timeouts = 0
    "How often OpenSSL's timer has expired since the handshake has begun."

    _trouble_time: float | None = None
    "The loop's time at which something has gone wrong in the handshake, in seconds."

    async def resend_flight(self) -> None:
        """
        Send again what the peer may not have received of the handshake.
        """
        # Whatever has come since was sent by a peer that had it.
        if self._flight is None or self._heard != self.__rx_packets:
            return
        try:
            for data in list(self._flight):
                if self._state in (State.CONNECTING, State.CONNECTED):
                    await self._send_flight(data)
        except ConnectionError:
            # It was closed meanwhile.
            pass

    async def _begin_again(self, exc: Exception) -> None:
        """
        Begin the handshake again: OpenSSL does not go on after an error.
        """
        self._attempts += 1
        self._take_note_of_trouble()
        self._log("x DTLS handshake begins again, after %r", exc)
        if self._rivals:
            self._hello, self._ssl = self._rivals.popitem()
            return
        if self._role == "server" and self._flight is not None:
            # The client does not begin again unless it learns of it. An alert tells.
            await self._write_ssl()
        # What anybody sends must not keep the processor busy.
        await asyncio.sleep(RETRY_DELAY * (self._attempts - 1))
        if self._role == "client":
            await self._discard_datagrams()
        self._ssl = self._create_ssl()
        self._fed = False
        self._flight = self._hello = None
        self._timeouts = 0

    def _choose_attempt(self, hello: bytes) -> bool:
        """
        Answer the given ClientHello from now on, and tell whether it is answered.

        Nobody knows which one is the client's, if there are several, before the client
        goes on. A client which has begun again has another one (RFC 6347 section
        4.2.8).
        """
        if self._hello not in (None, hello):
            assert self._hello is not None
            if self._rivals is None:
                self._rivals = {}
            now = asyncio.get_running_loop().time()
            ssl = self._rivals.pop(hello, None)
            if ssl is None:
                if now < self._hello_time + HELLO_INTERVAL:
                    return False
                self._hello_time = now
                ssl = self._create_ssl()
            assert self._ssl is not None
            self._rivals[self._hello] = self._ssl
            if len(self._rivals) > MAX_RIVALS:
                del self._rivals[next(iter(self._rivals))]
            self._ssl = ssl
        self._hello = hello
        return True

    def _create_ssl(self) -> OpenSSL.SSL.Connection:
        ssl = OpenSSL.SSL.Connection(
            self.__local_certificate._create_ssl_context(
                srtp_profiles=self._srtp_profiles
            )
        )
        if self._role == "server":
            ssl.set_accept_state()
        else:
            ssl.set_connect_state()
        return ssl

    async def _discard_datagrams(self) -> None:
        """
        Discard what was an answer to the handshake before.
        """
        try:
            while True:
                async with asyncio.timeout(QUIET):
                    await self.transport._recv()
        except TimeoutError:
            pass

    async def _do_handshake(self) -> None:
        # As aiortc's, but that what fails because of a datagram, which may be
        # anybody's, is begun again (RFC 6347 section 4.1.2.7).
        assert self._ssl is not None
        try:
            while not self.encrypted:
                if self._remaining_patience() == 0:
                    self._log("x DTLS handshake failed")
                    self._set_state(State.FAILED)
                    return
                try:
                    self._ssl.do_handshake()
                except OpenSSL.SSL.WantReadError:
                    await self._write_ssl()
                    await self._recv_next()
                except OpenSSL.SSL.Error as exc:
                    if not self._fed or self._was_alerted():
                        self._log("x DTLS handshake failed: %r", exc)
                        self._set_state(State.FAILED)
                        return
                    await self._begin_again(exc)
                else:
                    self.encrypted = True
                    self._rivals = None
        except ConnectionError:
            self._log("x DTLS handshake failed: the transport is closed")
            self._set_state(State.FAILED)

    def _finish_rival(
        self, hello: bytes, ssl: OpenSSL.SSL.Connection, data: bytes
    ) -> bool:
        """
        Give a datagram to another handshake, and tell whether it has ended that: it was
        the client's.
        """
        assert self._rivals is not None
        ssl.bio_write(data)
        try:
            ssl.do_handshake()
        except OpenSSL.SSL.WantReadError:
            return False
        except OpenSSL.SSL.Error:
            del self._rivals[hello]
            return False
        self._hello, self._ssl = hello, ssl
        return True

    async def _handle_handshake(self, data: bytes) -> None:
        """
        Handle a datagram of DTLS in the handshake.
        """
        is_server = self._role == "server"
        data, alerted = acceptable(data, is_server)
        if alerted:
            self._take_note_of_trouble()
        hello = client_random(data) if is_server else None
        if not data or (hello is not None and not self._choose_attempt(hello)):
            return
        data, self._records = renumbered(data, self._records)
        rivals = list((self._rivals or {}).items()) if hello is None else []
        for rival in rivals:
            if self._finish_rival(*rival, data):
                await self._write_ssl()
                return
        assert self._ssl is not None
        self._fed = True
        self._ssl.bio_write(data)
        try:
            data = self._ssl.recv(LONGEST_RECORD)
        except OpenSSL.SSL.WantReadError:
            data = b""
        except OpenSSL.SSL.Error:
            # OpenSSL has an alert to send, at which the peer might end.
            return
        await self._write_ssl()
        if data and self._data_receiver:
            await self._data_receiver._handle_data(data)

    def _log(self, message: str, *args: object) -> None:
        logger.debug(f"RTCDtlsTransport(%s) {message}", self._role, *args)

    async def _next_datagram(self) -> bytes:
        """
        Wait for a datagram of the handshake, or return an empty one when it is time to
        look at OpenSSL's timer.
        """
        assert self._ssl is not None
        timeout = self._ssl.DTLSv1_get_timeout()
        if timeout is None and self.encrypted:
            self.__handshake_done = True
        patience = None if self.encrypted else self._remaining_patience()
        waits = [x for x in (timeout, patience) if x is not None]
        try:
            async with asyncio.timeout(min(waits, default=None)):
                return await self.transport._recv()
        except TimeoutError:
            pass
        if timeout is not None and timeout == min(waits):
            self._log("x DTLS handling timeout")
            self._timeouts += 1
            if (
                self._role == "client"
                and self._trouble_time is not None
                and self._timeouts >= PATIENT_TIMEOUTS
            ):
                await self._begin_again(TimeoutError("DTLS handshake"))
                return b""
            try:
                self._ssl.DTLSv1_handle_timeout()
            except OpenSSL.SSL.Error as exc:
                # OpenSSL has tried a dozen times; there may have been no path.
                if not self.encrypted:
                    await self._begin_again(exc)
                    self._trouble_time = None
            else:
                await self._write_ssl()
        return b""

    def _remaining_patience(self) -> float | None:
        """
        For how many seconds the handshake may go on, or `None` if all is well.
        """
        if self._trouble_time is None:
            return None
        now = asyncio.get_running_loop().time()
        return max(0.0, self._trouble_time + HANDSHAKE_PATIENCE - now)

    async def _send_flight(self, data: bytes) -> None:
        await self.transport._send(data)
        self.__tx_bytes += len(data)
        self.__tx_packets += 1

    def _take_note_of_trouble(self) -> None:
        if self._trouble_time is None:
            self._trouble_time = asyncio.get_running_loop().time()

    def _was_alerted(self) -> bool:
        """
        Whether an authentic alert has ended the association.
        """
        assert self._ssl is not None
        return bool(self._ssl.get_shutdown() & OpenSSL.SSL.RECEIVED_SHUTDOWN)

    async def _write_ssl(self) -> None:
        assert self._ssl is not None
        try:
            data = self._ssl.bio_read(LONGEST_RECORD)
        except OpenSSL.SSL.Error:
            return
        if self._state == State.CONNECTING:
            if self._flight is None:
                self._flight = deque(maxlen=LONGEST_FLIGHT)
            self._flight.append(data)
            self._heard = self.__rx_packets
        await self.transport._send(data)
        self.__tx_bytes += len(data)
        self.__tx_packets += 1


def is_same_peer(one: aiortc.RTCDtlsTransport, other: aiortc.RTCDtlsTransport) -> bool:
    """
    Whether two transports have been connected to the same peer, by its certificates.
    """
    certificates = [
        x._ssl.get_peer_certificate(as_cryptography=True) if x._ssl else None
        for x in (one, other)
    ]
    return certificates[0] is not None and certificates[0] == certificates[1]
