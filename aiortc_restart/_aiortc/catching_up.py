import asyncio
from collections import deque
from collections.abc import Coroutine
from typing import Any

import aiortc.rtcsctptransport
import OpenSSL.SSL
from aiortc.rtcsctptransport import (
    COOKIE_LIFETIME,
    SCTP_CAUSE_STALE_COOKIE,
    SCTP_COMMON_HEADER_LENGTH,
    SCTP_MAX_PACKET_LENGTH,
    USERDATA_MAX_LENGTH,
    AbortChunk,
    Chunk,
    CookieAckChunk,
    CookieEchoChunk,
    DataChunk,
    ErrorChunk,
    InitChunk,
    serialize_packet,
)

from . import reception
from .dtls import nothing

RECOVERY_SSTHRESH = 128 * USERDATA_MAX_LENGTH
"""
Where slow start ends after an outage: RFC 9260 section 7.2.1 leaves it open, and more
packets do not fit into the socket of a peer like this one.
"""

BATCH = 64
"How many chunks are queued at a time after an outage."


class Batch(deque[DataChunk]):
    """
    A queue which counts as empty until it holds a batch, so that aiortc fills it.
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


class RTCSctpTransport(reception.RTCSctpTransport):
    """
    aiortc's transport, whose association outlives an outage and catches up after it.

    A request which cannot arrive is not counted against the peer: an association that
    has been given up is lost for ever, and the path may come back. T3 has no limit in
    aiortc, and T2 runs when the association is being closed.

    What has piled up is sent in full packets; aiortc sends a packet for each message,
    and walks through all that it has sent before each of them. Once the backlog is gone
    the transport sends as aiortc does.
    """

    _bundle: Bundle | None = None
    "The packet which is being filled."

    _catching_up = False
    "Whether a backlog is being sent."

    _filling = False
    "Whether messages are being queued, none of which is sent yet."

    _t1_time = 0.0
    "When the INIT or COOKIE ECHO that is not answered yet was sent first."

    @property
    def _path_in_doubt(self) -> bool:
        # aiortc's own ICE transport cannot tell, and ends with its path.
        in_doubt = getattr(self.transport.transport, "path_in_doubt", bool)
        return self._waits or bool(in_doubt())

    @property
    def _waits(self) -> bool:
        """
        Whether nothing is sent, because the association or its transport has ended and
        another one comes in its place.
        """
        return False

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
        if self._waits:
            return
        try:
            await self._recover_setup()
            # What waits for the association has not been sent.
            if self.state == "connected":
                if self._sent_queue or self._data_channel_queue:
                    await self._recover_data(certain)
                # A stream is reset when all of its data is there.
                await self._recover_reconfig()
        except (ConnectionError, OpenSSL.SSL.Error):
            # DTLS was closed meanwhile, by either side.
            pass

    async def _bundle_chunk(self, chunk: DataChunk) -> None:
        if self._bundle is not None and not self._bundle.add(chunk):
            full, self._bundle = self._bundle, Bundle()
            self._bundle.add(chunk)
            await super()._send_chunk(full)

    async def _data_channel_flush(self) -> None:
        if self._waits:
            return
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
                # The association is not established.
                return
            await self._transmit()
        self._catching_up = self._catching_up and bool(self._outbound_queue)
        await super()._data_channel_flush()

    def _receive_chunk(self, chunk: Chunk) -> Coroutine[Any, Any, None]:
        # The chunks that begin or end an association are few, unlike all others.
        if isinstance(chunk, AbortChunk | InitChunk | CookieEchoChunk | ErrorChunk):
            return self._receive_setup(chunk)
        return super()._receive_chunk(chunk)

    async def _receive_setup(self, chunk: Chunk) -> None:
        state = self._association_state
        if isinstance(chunk, CookieEchoChunk) and state == self.State.ESTABLISHED:
            # Our acknowledgement was lost, and the cookie may be old by now: that of
            # this association is not stale (RFC 9260 section 5.2.4). DTLS and the tag
            # vouch for the peer.
            await self._send_chunk(CookieAckChunk())
        elif isinstance(chunk, ErrorChunk) and SCTP_CAUSE_STALE_COOKIE in [
            cause for cause, _ in chunk.params
        ]:
            # The outage was longer than the cookie's life, so ask for another one (RFC
            # 9260 section 5.2.6). If ours is new, the error was meant for the cookie
            # before; if not, T1 ends the set-up.
            age = asyncio.get_running_loop().time() - self._t1_time
            if state == self.State.COOKIE_ECHOED and age > COOKIE_LIFETIME / 2:
                self._t1_cancel()
                await self._init()
        else:
            await super()._receive_chunk(chunk)

    def _reconfig_timer_expired(self) -> None:
        # aiortc does not count an expiry after "In progress" either.
        if self._path_in_doubt and not self._reconfig_in_progress:
            self._reconfig_failures -= 1
        super()._reconfig_timer_expired()

    async def _recover_data(self, certain: bool) -> None:
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
        await self._transmit()
        if self._sent_queue and self._t3_handle is None:
            self._t3_start()
        await self._data_channel_flush()

    async def _recover_reconfig(self) -> None:
        """
        Send again the request to reset streams that is not answered yet.
        """
        request = self._reconfig_request
        if request is not None:
            self._reconfig_timer_cancel()
            self._reconfig_timer_start()
            await self._send_reconfig_param(request)

    async def _recover_setup(self) -> None:
        """
        Send again the INIT or COOKIE ECHO that is not answered yet.
        """
        chunk = self._t1_chunk
        if chunk is not None and self._t1_handle is not None:
            self._t1_cancel()
            # The cookie is as old as it was, so _t1_time stays.
            super()._t1_start(chunk)
            await self._send_chunk(chunk)

    def _send_chunk(self, chunk: Chunk) -> Coroutine[Any, Any, None]:
        if self._waits:
            # What is sent meanwhile is lost, as on a path that does not work.
            return nothing()
        if isinstance(chunk, InitChunk):
            return self._send_init(chunk)
        if self._bundle is None or not isinstance(chunk, DataChunk):
            return super()._send_chunk(chunk)
        return self._bundle_chunk(chunk)

    async def _send_init(self, chunk: InitChunk) -> None:
        assert self._remote_port is not None
        # aiortc would send the tag of an INIT that has come meanwhile, which no peer
        # takes (RFC 9260 section 8.5.1).
        await self.transport._send_data(
            serialize_packet(self._local_port, self._remote_port, 0, chunk)
        )

    def _t1_expired(self) -> None:
        if self._path_in_doubt:
            self._t1_failures -= 1
        super()._t1_expired()

    def _t1_start(self, chunk: Chunk) -> None:
        self._t1_time = asyncio.get_running_loop().time()
        super()._t1_start(chunk)

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

    def _update_rto(self, R: float) -> None:
        # aiortc asks the wall clock, which may have been set since the message was
        # sent. No answer takes as long as the longest time-out, after which the message
        # is sent again and its answer is no measure (RFC 9260 section 6.3.1).
        if 0 <= R <= aiortc.rtcsctptransport.SCTP_RTO_MAX:
            super()._update_rto(R)
