"""
What it costs to send and to receive RTP packets.
"""

import asyncio
import fractions
import statistics
from typing import Any
from unittest import mock

import av
from aiortc import MediaStreamTrack, RTCRtpSender
from aiortc.rtp import RtpPacket

from .harness import (
    OURS,
    PC,
    STOCK,
    Cost,
    Flavour,
    Pair,
    Row,
    Stopwatch,
    compare,
    percent,
    ratio,
)

BURST = 32
"How many packets may be on their way, so that no socket buffer overflows."

SAMPLES = 160
"Samples in a packet of G.711, which is 20 ms of sound and as many bytes."

SLICE = 1024
"Packets sent in turn by one and the other."

LIMIT = 1.03


class EncodedTrack(MediaStreamTrack):
    """
    A track of encoded sound which comes as fast as the peers can take it.
    """

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._demand: asyncio.Queue[None] = asyncio.Queue()
        self._sent = 0

    def ask(self, count: int) -> None:
        """
        Ask for packets.

        :param count: How many.
        """
        for _ in range(count):
            self._demand.put_nowait(None)

    async def recv(self) -> "av.Packet[Any]":
        """
        Wait until a packet is asked for.

        :rtype: av.Packet
        """
        await self._demand.get()
        packet = av.Packet(bytes(SAMPLES))
        packet.pts = self._sent * SAMPLES
        packet.time_base = fractions.Fraction(1, 8000)
        self._sent += 1
        return packet


class Lane:
    """
    A sender and a receiver of sound, without the decoder.

    :param flavour: What the peers are made of.
    """

    def __init__(self, flavour: Flavour[PC]) -> None:
        self._arrived = asyncio.Event()
        self._missing = 0
        self.pair = Pair(flavour)
        self.track = EncodedTrack()
        transceiver = self.pair.offerer.addTransceiver(self.track, "sendonly")
        codecs = RTCRtpSender.getCapabilities("audio").codecs
        transceiver.setCodecPreferences(
            [codec for codec in codecs if codec.mimeType == "audio/PCMU"]
        )

    async def start(self) -> None:
        """
        Connect the peers.
        """
        await self.pair.connect()
        (receiver,) = self.pair.answerer.getReceivers()
        # Decoding is the same for both, and its thread makes more noise than the
        # difference which is looked for.
        receiver._handle_disconnect()
        handle = receiver._handle_rtp_packet

        async def count(packet: RtpPacket, arrival_time_ms: int) -> None:
            await handle(packet, arrival_time_ms=arrival_time_ms)
            self._missing -= 1
            if not self._missing:
                self._arrived.set()

        mock.patch.object(receiver, "_handle_rtp_packet", count).start()

    async def transfer(self) -> Cost:
        """
        Send a slice and wait until it has arrived.

        :rtype: Cost
        """
        watch = Stopwatch()
        for _ in range(SLICE // BURST):
            self._arrived.clear()
            self._missing = BURST
            self.track.ask(BURST)
            await self._arrived.wait()
        return watch.stop()


async def run(quick: bool) -> list[Row]:
    """
    Compare the CPU time.

    :param quick: Whether fewer rounds shall do.
    :rtype: list[Row]
    """
    lanes = stock, ours = Lane(STOCK), Lane(OURS)
    for lane in lanes:
        await lane.start()
        await lane.transfer()
    costs = await compare(stock.transfer, ours.transfer, 40 if quick else 200)
    for lane in lanes:
        lane.track.stop()
        await lane.pair.close()

    seconds = [
        statistics.median(cost[side].cpu for cost in costs) * 10_000 / SLICE
        for side in range(2)
    ]
    more = ratio(costs, lambda cost: cost.cpu)
    return [
        Row(
            "10,000 RTP packets, CPU s",
            stock=f"{seconds[0]:.3f}",
            ours=f"{seconds[1]:.3f} ({percent(more)})",
            limit="+3 %",
            holds=more <= LIMIT,
        )
    ]
