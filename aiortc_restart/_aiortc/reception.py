from collections.abc import Coroutine
from typing import Any

import aiortc
from aiortc.rtcsctptransport import (
    SCTP_TSN_MODULO,
    DataChunk,
    ForwardTsnChunk,
    InboundStream,
    SackChunk,
    tsn_plus_one,
)
from aiortc.utils import uint16_add, uint16_gt, uint32_gt, uint32_gte

from .chunks import check_packet

MAX_AHEAD = 8192
"How many TSNs a chunk may be ahead of those which have come without a gap."

MAX_CHUNKS = 8192
"How many chunks of messages that are not whole may be kept, besides those in gaps."

MAX_DUPLICATES = 32
"How many duplicates an acknowledgement tells."

MAX_EXCESS = 1024 * 1024
"By how many bytes the chunks which fill gaps may exceed the window."

MAX_GAPS = 256
"How many gaps an acknowledgement tells: so many fit into a packet."

MAX_STRAY_STREAMS = 256
"In how many streams without a data channel the peer may send."


class RTCSctpTransport(aiortc.RTCSctpTransport):
    """
    aiortc's transport, which keeps what comes within the window that the peer has been
    told. aiortc keeps it all, in a time that grows with it, and cannot acknowledge a
    chunk that is far ahead, nor anything after that.
    """

    _kept = 0
    "How many chunks of messages that are not whole are kept."

    _streams_counted = 0
    "How many streams there were when those chunks were counted."

    def _handle_data(self, data: bytes) -> Coroutine[Any, Any, None]:
        check_packet(data)
        return super()._handle_data(data)

    async def _receive_data_chunk(self, chunk: DataChunk) -> None:
        # aiortc's method, with a window: to the peer, chunks which exceed it are lost,
        # and are sent again.
        self._sack_needed = self._last_received_tsn is not None
        if not self._has_room(chunk) or self._mark_received(chunk.tsn):
            return
        stream = self._get_inbound_stream(chunk.stream_id)
        before = len(stream.reassembly)
        stream.add_chunk(chunk)
        self._advertised_rwnd -= len(chunk.user_data)
        try:
            # These are the lines of _deliver(): a coroutine more would cost each chunk.
            for message in stream.pop_messages():
                self._advertised_rwnd += len(message[2])
                await self._receive(*message)
        finally:
            self._kept += len(stream.reassembly) - before
        await self._reset_deferred_streams()

    async def _receive_forward_tsn_chunk(self, chunk: ForwardTsnChunk) -> None:
        # aiortc's method looks at each stream that there has ever been, and loses count
        # where the numbers wrap around.
        self._sack_needed = True
        last, new = self._last_received_tsn, chunk.cumulative_tsn
        if last is None or uint32_gte(last, new):
            return
        self._last_received_tsn = new
        self._sack_misordered = {x for x in self._sack_misordered if uint32_gt(x, new)}
        self._close_gap()
        for number, sequence in chunk.streams:
            stream = self._get_inbound_stream(number)
            # A message may be reported again (RFC 3758 section 3.6).
            if uint16_gt(uint16_add(sequence, 1), stream.sequence_number):
                stream.sequence_number = uint16_add(sequence, 1)
            await self._deliver(stream)
        for stream in list(self._inbound_streams.values()):
            if stream.reassembly:
                self._advertised_rwnd += stream.prune_chunks(new)
                # A part of the abandoned message has been in the way of these.
                await self._deliver(stream)
        self._count_kept()
        await self._reset_deferred_streams()

    async def _deliver(self, stream: InboundStream) -> None:
        for message in stream.pop_messages():
            self._advertised_rwnd += len(message[2])
            await self._receive(*message)

    def _has_room(self, chunk: DataChunk) -> bool:
        """
        Whether a chunk is taken: not if the peer exceeds the window, unless the chunk
        fills a gap (RFC 9260 section 6.2).
        """
        if self._last_received_tsn is None:
            # No association has been offered or asked for yet.
            return False
        ahead = (chunk.tsn - self._last_received_tsn) % SCTP_TSN_MODULO
        if not 0 < ahead <= MAX_AHEAD:
            # Duplicates are not kept.
            return bool(ahead == 0 or ahead > SCTP_TSN_MODULO // 2)
        streams = self._inbound_streams
        if (
            chunk.stream_id not in streams
            and len(streams) >= len(self._data_channels) + MAX_STRAY_STREAMS
        ):
            return False
        if self._kept >= MAX_CHUNKS and len(streams) != self._streams_counted:
            # A stream that was reset has taken its chunks with it.
            self._count_kept()
        if self._advertised_rwnd > 0 and self._kept < MAX_CHUNKS:
            return True
        return self._advertised_rwnd > -MAX_EXCESS and any(
            uint32_gt(x, chunk.tsn) for x in self._sack_misordered
        )

    def _count_kept(self) -> None:
        self._streams_counted = len(self._inbound_streams)
        self._kept = sum(len(x.reassembly) for x in self._inbound_streams.values())

    def _mark_received(self, tsn: int) -> bool:
        # aiortc's method sorts, for each chunk, all that has come behind a gap.
        last = self._last_received_tsn
        assert last is not None
        if tsn == tsn_plus_one(last):
            self._last_received_tsn = tsn
            if self._sack_misordered:
                self._close_gap()
            return False
        if uint32_gte(last, tsn) or tsn in self._sack_misordered:
            if len(self._sack_duplicates) < MAX_DUPLICATES:
                self._sack_duplicates.append(tsn)
            return True
        self._sack_misordered.add(tsn)
        return False

    def _close_gap(self) -> None:
        """
        Count what has come behind a gap that is no more.
        """
        assert self._last_received_tsn is not None
        misordered = self._sack_misordered
        while (tsn := tsn_plus_one(self._last_received_tsn)) in misordered:
            misordered.remove(tsn)
            self._last_received_tsn = tsn

    def _gaps(self) -> list[tuple[int, int]]:
        """
        Return the first and the last number of each run of chunks that have come behind
        a gap, from the last number before all gaps.
        """
        last = self._last_received_tsn
        assert last is not None
        gaps: list[tuple[int, int]] = []
        begin = end = 0
        for ahead in sorted(
            (x - last) % SCTP_TSN_MODULO for x in self._sack_misordered
        ):
            if ahead != end + 1:
                if begin:
                    gaps.append((begin, end))
                begin = ahead
            end = ahead
        if begin:
            gaps.append((begin, end))
        return gaps

    async def _send_sack(self) -> None:
        # aiortc's acknowledgement is longer than a packet if there are many gaps.
        assert self._last_received_tsn is not None
        sack = SackChunk()
        sack.cumulative_tsn = self._last_received_tsn
        sack.advertised_rwnd = max(0, self._advertised_rwnd)
        sack.duplicates = self._sack_duplicates[:]
        if self._sack_misordered:
            sack.gaps = self._gaps()[:MAX_GAPS]
        await self._send_chunk(sack)
        self._sack_duplicates.clear()
        self._sack_needed = False
