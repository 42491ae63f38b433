from collections import deque

import aiortc
import OpenSSL.SSL
from aiortc.rtcdtlstransport import State

LONGEST_FLIGHT = 4
"How many datagrams of a handshake are kept: a flight is one or two."


class RTCDtlsTransport(aiortc.RTCDtlsTransport):
    """
    The base's transport, which may be kept from stopping for a while, and whose
    handshake does not wait for OpenSSL's timer after an outage.

    That timer has doubled meanwhile, and OpenSSL has nothing sent before it expires. So
    the same datagrams are sent once more: to the peer, they are late or, if they had
    arrived, duplicates, which it discards (RFC 6347 section 4.1.2.6).
    """

    _flight: deque[bytes] | None = None
    _heard = 0

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

    async def _send_flight(self, data: bytes) -> None:
        await self.transport._send(data)
        self.__tx_bytes += len(data)
        self.__tx_packets += 1

    async def _write_ssl(self) -> None:
        if self._state != State.CONNECTING or self._ssl is None:
            await super()._write_ssl()
            return
        try:
            data = self._ssl.bio_read(1500)
        except OpenSSL.SSL.Error:
            return
        if self._flight is None:
            self._flight = deque(maxlen=LONGEST_FLIGHT)
        self._flight.append(data)
        self._heard = self.__rx_packets
        await self._send_flight(data)
