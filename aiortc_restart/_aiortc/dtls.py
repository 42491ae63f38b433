import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiortc
import OpenSSL.SSL
import pylibsrtp
from aiortc.rtcdtlstransport import State
from aiortc.rtp import is_rtcp

from . import handshake
from .receiver import RtpRouter

logger = logging.getLogger(__name__)


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
    """
    The same by reason: `"empty"`, `"too long"`, `"not a protocol"` (RFC 7983),
    `"stranger"` (from an address that has sent no authentic check), `"malformed STUN"`,
    `"unauthenticated STUN"`, `"too many"` in a second, `"layer above"` (what DTLS, SRTP
    or SCTP could not take).
    """


class RTCDtlsTransport(handshake.RTCDtlsTransport):
    """
    aiortc's transport, which no datagram ends that is not authentic, and which counts
    what has been dropped.
    """

    def __init__(
        self,
        transport: aiortc.RTCIceTransport,
        certificates: list[aiortc.RTCCertificate],
    ) -> None:
        super().__init__(transport, certificates)
        self._rtp_router = RtpRouter()

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

    def _decrypt(self, data: bytes) -> bytes:
        """
        Return what a datagram of DTLS says, which is nothing if it is not authentic.

        :raises AssociationEnded: if the peer ends the association.
        """
        assert self._ssl is not None
        self._ssl.bio_write(data)
        try:
            return self._ssl.recv(handshake.LONGEST_RECORD)
        except OpenSSL.SSL.Error:
            if self._was_alerted():
                self._log("- DTLS shutdown by remote party")
                raise AssociationEnded from None
            return b""

    def _send_rtp(self, data: bytes) -> Coroutine[Any, Any, None]:
        # aiortc's track would end. When all transports have, the connection is closed,
        # and otherwise another one comes in the place of this one.
        if self._state != State.CONNECTED:
            return nothing()
        return super()._send_rtp(data)

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
                if not self.encrypted:
                    await self._handle_handshake(data)
                elif not (data := self._decrypt(data)):
                    # It may have been a retransmission, which OpenSSL has answered.
                    await self._write_ssl()
                elif self._data_receiver:
                    await self._data_receiver._handle_data(data)
            elif 127 < first_byte < 192 and self._rx_srtp:
                if is_rtcp(data):
                    await self._handle_rtcp_data(self._rx_srtp.unprotect_rtcp(data))
                else:
                    data = self._rx_srtp.unprotect(data)
                    # aiortc's clock may be set, and the bitrate is counted for each
                    # millisecond of that clock.
                    arrival = round(asyncio.get_running_loop().time() * 1000)
                    await self._handle_rtp_data(data, arrival)
        except AssociationEnded:
            raise
        except Exception as exc:
            self._drop(exc)


async def nothing() -> None:
    """
    Be what is awaited where nothing is to be done.
    """
