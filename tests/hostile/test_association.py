"""
An authentic peer that does not keep to SCTP's windows fills no memory, and does not end
its association; nor does one whose INIT is late.
"""

from typing import Any
from unittest import mock

import aiortc
import pytest
from aiortc.rtcsctptransport import (
    SCTP_DATA_FIRST_FRAG,
    SCTP_DATA_LAST_FRAG,
    SCTP_DATA_UNORDERED,
    DataChunk,
    ForwardTsnChunk,
    InitChunk,
    SackChunk,
)

from aiortc_restart import RTCPeerConnection
from aiortc_restart._aiortc.reception import (
    MAX_AHEAD,
    MAX_CHUNKS,
    MAX_DUPLICATES,
    MAX_EXCESS,
    MAX_GAPS,
    MAX_STRAY_STREAMS,
)

from ..calls import restart
from ..network import Network
from ..utils import Pair, connected_pair, until
from . import garbage

STREAM = 7
WHOLE = SCTP_DATA_FIRST_FRAG | SCTP_DATA_LAST_FRAG


def association(pc: RTCPeerConnection) -> Any:
    assert pc.sctp is not None
    return pc.sctp


def data_chunk(
    tsn: int, flags: int, size: int, sequence: int = 0, stream: int = STREAM
) -> bytes:
    chunk = DataChunk(flags=flags)
    chunk.tsn = tsn % 2**32
    chunk.stream_id = stream
    chunk.stream_seq = sequence
    chunk.protocol = garbage.STRING
    chunk.user_data = b"x" * size
    return bytes(chunk)


async def send(pair: Pair, *chunks: bytes) -> None:
    """
    Send a packet from the offerer to the answerer, in the loop's same turn.
    """
    peer = association(pair.offerer)
    await association(pair.answerer)._handle_data(garbage.packet(peer, *chunks))


def kept(pair: Pair) -> tuple[int, int]:
    """
    Return how many chunks the answerer keeps, and how many bytes.
    """
    streams = association(pair.answerer)._inbound_streams.values()
    chunks = [y for x in streams for y in x.reassembly]
    return len(chunks), sum(len(x.user_data) for x in chunks)


@pytest.mark.parametrize("ahead", [MAX_AHEAD + 1, 70000, 2**31 - 1, 2**31, 2**32 - 1])
async def test_far_ahead(network: Network, ahead: int) -> None:
    """
    A chunk whose number is far ahead, or far behind, is one lost chunk.
    """
    async with connected_pair(network) as pair:
        tsn = association(pair.offerer)._local_tsn - 1 + ahead
        await send(pair, data_chunk(tsn, WHOLE, 1))
        await pair.exchange()
        await restart(pair.offerer, pair.answerer)
        await pair.exchange()


@pytest.mark.parametrize("far", [False, True])
@pytest.mark.parametrize("size", [1, 1024])
@pytest.mark.parametrize("flags", [0, SCTP_DATA_UNORDERED])
async def test_endless_message(
    network: Network, size: int, flags: int, far: bool
) -> None:
    """
    A message without an end is kept up to the window, and a bounded part of it more if
    it fills a gap before another message.
    """
    async with connected_pair(network) as pair:
        first = association(pair.offerer)._local_tsn
        if far:
            await send(pair, data_chunk(first + MAX_AHEAD - 1, WHOLE | flags, 1))
        for number in range(MAX_CHUNKS + 500):
            begin = SCTP_DATA_FIRST_FRAG if number == 0 else 0
            await send(pair, data_chunk(first + number, flags | begin, size))
        chunks, length = kept(pair)
        window = 1024 * 1024 + far * MAX_EXCESS
        assert chunks <= MAX_CHUNKS + far * MAX_AHEAD
        assert length <= window + size
        assert chunks >= MAX_CHUNKS - 1 or length >= window
        assert association(pair.answerer)._kept == chunks


async def test_many_streams(network: Network) -> None:
    """
    Messages come in a bounded number of streams which are no data channel's.
    """
    async with connected_pair(network) as pair:
        answerer = association(pair.answerer)
        first = association(pair.offerer)._local_tsn
        for number in range(2 * MAX_STRAY_STREAMS):
            chunk = data_chunk(first + number, WHOLE, 1, stream=number + 100)
            await send(pair, chunk)
        channels = len(answerer._data_channels)
        assert len(answerer._inbound_streams) == MAX_STRAY_STREAMS + channels


async def test_holes(network: Network) -> None:
    """
    Every second chunk of many is kept up to a bound, and acknowledged in packets that
    arrive.
    """
    async with connected_pair(network) as pair:
        peer, answerer = association(pair.offerer), association(pair.answerer)
        first = peer._local_tsn
        sent: list[SackChunk] = []
        send_chunk = answerer._send_chunk

        async def send_watched(chunk: Any) -> None:
            if isinstance(chunk, SackChunk):
                sent.append(chunk)
            await send_chunk(chunk)

        with mock.patch.object(answerer, "_send_chunk", send_watched):
            for number in range(1, 2 * MAX_AHEAD, 2):
                chunk = data_chunk(first + number, WHOLE | SCTP_DATA_UNORDERED, 1)
                await send(pair, chunk)
        assert len(answerer._sack_misordered) == MAX_AHEAD // 2
        assert len(sent[-1].gaps) == MAX_GAPS
        assert sent[-1].gaps[:2] == [(2, 2), (4, 4)]
        assert max(len(bytes(x)) for x in sent) < 1200
        # What fills the gaps is taken, and all of it is acknowledged.
        for number in range(0, MAX_AHEAD, 2):
            await send(pair, data_chunk(first + number, WHOLE | SCTP_DATA_UNORDERED, 1))
        assert not answerer._sack_misordered
        assert kept(pair) == (0, 0)
        assert answerer._last_received_tsn == (first + MAX_AHEAD - 1) % 2**32


async def test_gap_in_a_full_window(network: Network) -> None:
    """
    What is missing is taken though the window is full, and opens it.
    """
    async with connected_pair(network) as pair:
        first = association(pair.offerer)._local_tsn
        count = 1024
        for number in [*range(1, count), count, count + 1]:
            await send(pair, data_chunk(first + number, WHOLE, 1100, sequence=number))
        answerer = association(pair.answerer)
        assert answerer._advertised_rwnd <= 0
        before = kept(pair)[0]
        assert before < count
        await send(pair, data_chunk(first, WHOLE, 1100, sequence=0))
        assert kept(pair) == (0, 0)
        assert answerer._advertised_rwnd == 1024 * 1024
        assert answerer._last_received_tsn == (first + before) % 2**32


async def test_duplicates(network: Network) -> None:
    """
    Duplicates are told within the length of a packet, and not kept without limit while
    no acknowledgement can be sent.
    """
    async with connected_pair(network) as pair:
        answerer = association(pair.answerer)
        await pair.exchange()
        duplicate = data_chunk(answerer._last_received_tsn, WHOLE, 1)
        with mock.patch.object(answerer, "_send_sack", mock.AsyncMock()):
            for _ in range(10):
                await send(pair, *[duplicate] * 50)
        assert len(answerer._sack_duplicates) == MAX_DUPLICATES
        with mock.patch.object(answerer, "_send_chunk", mock.AsyncMock()) as sent:
            await send(pair, duplicate)
        assert len(bytes(sent.call_args.args[0])) < 1200
        assert not answerer._sack_duplicates


# FORWARD TSN


def forward(tsn: int, *streams: tuple[int, int]) -> bytes:
    chunk = ForwardTsnChunk()
    chunk.cumulative_tsn = tsn % 2**32
    chunk.streams = list(streams)
    return bytes(chunk)


@pytest.mark.parametrize("first", [2**32 - 3, 1000])
async def test_forward(network: Network, first: int) -> None:
    """
    What has come behind an abandoned message counts, also where numbers wrap around,
    and what is left of that message is dropped.
    """
    # RFC 3758 section 3.6
    async with connected_pair(network) as pair:
        answerer = association(pair.answerer)
        answerer._last_received_tsn = first - 1
        await send(pair, data_chunk(first, SCTP_DATA_FIRST_FRAG, 10))
        for number in (2, 3, 4, 6):
            await send(pair, data_chunk(first + number, WHOLE, 10, sequence=number))
        assert kept(pair) == (5, 50)
        await send(pair, forward(first + 1, (STREAM, 1)))
        assert answerer._last_received_tsn == (first + 4) % 2**32
        assert answerer._sack_misordered == {(first + 6) % 2**32}
        assert kept(pair) == (1, 10)
        assert answerer._kept == 1
        assert answerer._advertised_rwnd == 1024 * 1024 - 10
        # One that has come before says nothing new.
        await send(pair, forward(first, (STREAM, 0)))
        assert answerer._last_received_tsn == (first + 4) % 2**32
        await send(pair, data_chunk(first + 5, WHOLE, 10, sequence=5))
        assert kept(pair) == (0, 0)


async def test_many_forwards(network: Network) -> None:
    """
    More than one in a packet is more than a peer has to say.
    """
    async with connected_pair(network) as pair:
        first = association(pair.offerer)._local_tsn
        with pytest.raises(ValueError, match="more than one FORWARD TSN"):
            await send(pair, forward(first), forward(first + 1))
        await pair.exchange()


# A late INIT


async def test_late_init(network: Network) -> None:
    """
    The INIT of an association that has been set up since changes nothing.
    """
    # RFC 9260 section 5.2.2
    network.delay(0.01)
    inits: list[tuple[Any, bytes]] = []
    handle = aiortc.RTCSctpTransport._handle_data

    async def note(self: Any, data: bytes) -> None:
        if data[12] == InitChunk.type:
            inits.append((self, data))
        await handle(self, data)

    with mock.patch.object(aiortc.RTCSctpTransport, "_handle_data", note):
        async with connected_pair(network) as pair:
            for _ in range(20):
                await pair.exchange()
            late = list(inits)
            assert late
            for receiver, data in late:
                await receiver._handle_data(data)
            await pair.exchange()
            both = association(pair.offerer), association(pair.answerer)
            await until(lambda: not any(x._sent_queue for x in both))
