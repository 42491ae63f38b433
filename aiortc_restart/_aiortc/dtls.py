import asyncio
import logging
from collections import deque
from dataclasses import dataclass, field

import aiortc
import OpenSSL.SSL
import pylibsrtp
from aiortc import clock
from aiortc.rtcdtlstransport import State
from aiortc.rtp import is_rtcp

from .records import acceptable

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


class AssociationEnded(ConnectionError):
    """
    The peer has ended the DTLS association.
    """


@dataclass
class RTCTransportStats(aiortc.RTCTransportStats):
    """
    aiortc's statistics of a transport, and what the transport has dropped.
    """

    datagramsDropped: int = 0
    "How many datagrams were dropped because they were not the peer's, or were bad."

    dropReasons: dict[str, int] = field(default_factory=dict)
    "The same by reason."


class RTCDtlsTransport(aiortc.RTCDtlsTransport):
    """
    aiortc's transport, which may be kept from stopping for a while, which no datagram
    ends that is not authentic, and whose handshake does not wait for OpenSSL's timer
    after an outage.

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

    async def stop(self) -> None:
        if not getattr(self.transport, "held", False):
            await super().stop()

    async def _begin_again(self, exc: Exception) -> None:
        """
        Begin the handshake again: OpenSSL does not go on after an error.
        """
        self._attempts += 1
        self._take_note_of_trouble()
        self._log("x DTLS handshake begins again, after %r", exc)
        # What anybody sends must not keep the processor busy.
        await asyncio.sleep(RETRY_DELAY * (self._attempts - 1))
        self._ssl = OpenSSL.SSL.Connection(
            self.__local_certificate._create_ssl_context(
                srtp_profiles=self._srtp_profiles
            )
        )
        if self._role == "server":
            self._ssl.set_accept_state()
        else:
            self._ssl.set_connect_state()
        self._fed = False
        self._flight = None

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
        except ConnectionError:
            self._log("x DTLS handshake failed: the transport is closed")
            self._set_state(State.FAILED)

    def _drop(self, exc: Exception) -> None:
        """
        Take note that what a datagram led to has failed.
        """
        drops = getattr(self.transport, "drops", None)
        if isinstance(exc, ConnectionError):
            # There was something to be sent, and no way to send it.
            self._log("x %s", exc)
        elif isinstance(exc, pylibsrtp.Error) and drops is not None:
            # It was late, or somebody else's.
            self._log("x SRTP unprotect failed: %s", exc)
            drops.fail(exc, quiet=True)
        elif drops is not None:
            drops.fail(exc)
        else:
            logger.warning("A datagram is dropped: %r", exc)

    def _get_stats(self) -> aiortc.RTCStatsReport:
        report = super()._get_stats()
        drops = getattr(self.transport, "drops", None)
        if drops is not None:
            stats = report[self._stats_id]
            report[self._stats_id] = RTCTransportStats(
                **vars(stats),
                datagramsDropped=drops.counts.total(),
                dropReasons=dict(drops.counts),
            )
        return report

    async def _handle_dtls(self, data: bytes) -> None:
        """
        Handle a datagram of DTLS.

        :raises AssociationEnded: if the peer ends the association.
        """
        assert self._ssl is not None
        if not self.encrypted:
            data, alerted = acceptable(data, self._role == "server")
            if alerted:
                self._take_note_of_trouble()
            if not data:
                return
        self._fed = True
        self._ssl.bio_write(data)
        try:
            data = self._ssl.recv(LONGEST_RECORD)
        except OpenSSL.SSL.WantReadError:
            # It may have been a retransmission, which OpenSSL has answered.
            await self._write_ssl()
        except OpenSSL.SSL.Error:
            if self.encrypted and self._was_alerted():
                self._log("- DTLS shutdown by remote party")
                raise AssociationEnded from None
            # In a handshake OpenSSL has an alert to send, at which the peer might end.
            if self.encrypted:
                await self._write_ssl()
        else:
            if not self.encrypted:
                # The handshake's last flight has to leave first.
                await self._write_ssl()
            if self._data_receiver:
                await self._data_receiver._handle_data(data)

    async def _handle_srtp(self, data: bytes) -> None:
        """
        Handle a datagram of SRTP or SRTCP.
        """
        arrival_time_ms = clock.current_ms()
        if is_rtcp(data):
            data = self._rx_srtp.unprotect_rtcp(data)
            await self._handle_rtcp_data(data)
        else:
            data = self._rx_srtp.unprotect(data)
            await self._handle_rtp_data(data, arrival_time_ms=arrival_time_ms)

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

    async def _recv_next(self) -> None:
        # As aiortc's, but that what a layer above makes of one datagram ends nothing.
        if self.__handshake_done:
            data = await self.transport._recv()
        else:
            data = await self._next_datagram()
        if not data:
            return
        self.__rx_bytes += len(data)
        self.__rx_packets += 1
        first_byte = data[0]
        try:
            if 19 < first_byte < 64:
                await self._handle_dtls(data)
            elif 127 < first_byte < 192 and self._rx_srtp:
                await self._handle_srtp(data)
        except AssociationEnded:
            raise
        except Exception as exc:
            self._drop(exc)

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
