from collections import deque

import aiortc
import aiortc.rtcsctptransport
import OpenSSL.SSL
from aiortc.rtcsctptransport import (
    SCTP_COMMON_HEADER_LENGTH,
    SCTP_MAX_PACKET_LENGTH,
    USERDATA_MAX_LENGTH,
    Chunk,
    DataChunk,
)

RECOVERY_SSTHRESH = 128 * USERDATA_MAX_LENGTH
"""
Where slow start ends after an outage: RFC 9260 section 7.2.1 leaves it open, and more
packets do not fit into the socket of a peer like this one.
"""

BATCH = 64
"How many messages are queued at a time after an outage."


class Batch(deque[DataChunk]):
    """
    A queue which does not tell that it holds something before it holds enough.
    """

    def __bool__(self) -> bool:
        return len(self) >= BATCH


class Bundle(Chunk):
    """
    Chunks which are sent in one packet (RFC 9260 section 6.10).
    """

    def __init__(self) -> None:
        super().__init__()
        self._data = b""

    def __bytes__(self) -> bytes:
        return self._data

    def add(self, chunk: Chunk) -> bool:
        """
        Add a chunk, and tell whether there was room for it.
        """
        data = bytes(chunk)
        length = SCTP_COMMON_HEADER_LENGTH + len(self._data) + len(data)
        if self._data and length > SCTP_MAX_PACKET_LENGTH:
            return False
        self._data += data
        return True


class RTCSctpTransport(aiortc.RTCSctpTransport):
    """
    The base's transport, which catches up after an outage.

    What has piled up is sent in full packets; the base sends a packet for each message,
    and walks through all that it has sent before each of them. Once the backlog is gone
    it is the base again.
    """

    _bundle: Bundle | None = None
    _catching_up = False
    _filling = False

    def expect_overtaking(self) -> None:
        """
        Do not take what is in flight on the old path for lost because packets on the
        new one overtake it: a message which may not be sent again would be abandoned.
        Real losses are found by the timer.
        """
        for chunk in self._sent_queue:
            chunk._misses = -(10**6)

    async def recover(self, certain: bool = True) -> None:
        """
        Send again what was lost with the path, without waiting for the timer, and
        without taking the outage for congestion.

        :param certain: Whether it was lost. Otherwise what may not be sent again is
                        not given up.
        """
        if not self._sent_queue and not self._data_channel_queue:
            return
        if self.state != "connected":
            # What waits for the association has not been sent.
            return
        for chunk in self._sent_queue:
            limited = chunk._max_retransmits is not None or chunk._expiry is not None
            if limited and not certain:
                continue
            if not self._maybe_abandon(chunk):
                chunk._retransmit = True
            self._flight_size_decrease(chunk)
        self._update_advanced_peer_ack_point()
        self._t3_cancel()
        # A new path begins with slow start, from its initial window (RFC 9260 section
        # 7.2.1), not from the window that the outage has collapsed.
        self._fast_recovery_exit = None
        self._partial_bytes_acked = 0
        self._cwnd = max(self._cwnd, 3 * USERDATA_MAX_LENGTH)
        self._ssthresh = max(self._ssthresh, RECOVERY_SSTHRESH)
        self._catching_up = True
        try:
            await self._transmit()
            if self._sent_queue and self._t3_handle is None:
                self._t3_start()
            await self._data_channel_flush()
        except (ConnectionError, OpenSSL.SSL.Error):
            # DTLS was closed meanwhile, by either side.
            pass

    async def _data_channel_flush(self) -> None:
        while self._catching_up and self._data_channel_queue:
            if self._outbound_queue:
                return
            self._outbound_queue = Batch()
            self._filling = True
            try:
                await super()._data_channel_flush()
            finally:
                self._filling = False
                self._outbound_queue = deque(self._outbound_queue)
            if not self._outbound_queue:
                # It is not established.
                return
            await self._transmit()
        self._catching_up = self._catching_up and bool(self._outbound_queue)
        await super()._data_channel_flush()

    async def _send_chunk(self, chunk: Chunk) -> None:
        if self._bundle is None or not isinstance(chunk, DataChunk):
            await super()._send_chunk(chunk)
        elif not self._bundle.add(chunk):
            full, self._bundle = self._bundle, Bundle()
            self._bundle.add(chunk)
            await super()._send_chunk(full)

    async def _transmit(self) -> None:
        if self._filling:
            return
        if not self._catching_up or self._bundle is not None:
            await super()._transmit()
            return
        self._bundle = Bundle()
        try:
            await super()._transmit()
        finally:
            rest, self._bundle = self._bundle, None
            if bytes(rest):
                await super()._send_chunk(rest)
