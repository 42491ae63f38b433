"""
An authentic peer that does not keep to SCTP's windows fills no memory, holds no loop,
and does not end its association.
"""

import time
from typing import Any
from unittest import mock

import pytest
from aiortc.rtcsctptransport import (
    SCTP_DATA_FIRST_FRAG,
    SCTP_DATA_LAST_FRAG,
    SCTP_DATA_UNORDERED,
    DataChunk,
    SackChunk,
)

from aiortc_restart import RTCPeerConnection
from aiortc_restart._aiortc.sctp import MAX_AHEAD, MAX_CHUNKS, MAX_GAPS

from ..calls import restart
from ..network import Network
from ..utils import Pair, connected_pair, until
from . import garbage

STREAM = 7
WHOLE = SCTP_DATA_FIRST_FRAG | SCTP_DATA_LAST_FRAG


def association(pc: RTCPeerConnection) -> Any:
    assert pc.sctp is not None
    return pc.sctp


def data_chunk(tsn: int, flags: int, size: int, sequence: int = 0) -> bytes:
    chunk = DataChunk(flags=flags)
    chunk.tsn = tsn % 2**32
    chunk.stream_id = STREAM
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


async def test_no_data(network: Network) -> None:
    """
    Nor is a chunk without data taken for one that has come.
    """
    async with connected_pair(network) as pair:
        await send(pair, data_chunk(association(pair.offerer)._local_tsn, WHOLE, 0))
        await pair.exchange()


@pytest.mark.parametrize("size", [1, 1024])
@pytest.mark.parametrize("flags", [0, SCTP_DATA_UNORDERED])
async def test_endless_message(network: Network, size: int, flags: int) -> None:
    """
    A message without an end is kept up to the window.
    """
    async with connected_pair(network) as pair:
        peer = association(pair.offerer)
        first = peer._local_tsn
        cost = time.thread_time()
        count = MAX_CHUNKS + 500 if size == 1 else 3000
        for number in range(count):
            begin = SCTP_DATA_FIRST_FRAG if number == 0 else 0
            await send(pair, data_chunk(first + number, flags | begin, size))
        chunks, length = kept(pair)
        assert chunks <= MAX_CHUNKS
        assert length <= 1024 * 1024 + size
        assert chunks == MAX_CHUNKS or length >= 1024 * 1024
        assert (time.thread_time() - cost) / count < 0.005


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
    Duplicates are told within the length of a packet.
    """
    async with connected_pair(network) as pair:
        answerer = association(pair.answerer)
        await pair.exchange()
        last = answerer._last_received_tsn
        answerer._sack_duplicates.extend([last] * 5000)
        with mock.patch.object(answerer, "_send_chunk") as sent:
            await send(pair, data_chunk(last, WHOLE, 1))
        assert len(bytes(sent.call_args.args[0])) < 1200
        await until(lambda: not answerer._sack_duplicates)
