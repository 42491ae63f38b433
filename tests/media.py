"""
Tracks which cost little, and whether their frames arrive.
"""

import asyncio
import fractions
from typing import Any

import aiortc
from aiortc import AudioStreamTrack, MediaStreamTrack, RTCRtpReceiver
from aiortc.mediastreams import MediaStreamError
from av import Packet, VideoFrame

from .utils import LIMIT


class Silence(MediaStreamTrack):
    """
    A track which has no frames, so that it costs nothing.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    async def recv(self) -> VideoFrame:
        await asyncio.get_running_loop().create_future()
        raise MediaStreamError


class Pictures(MediaStreamTrack):
    """
    Small pictures, 20 a second.

    :param interval: Another time between two of them, in seconds.
    """

    kind = "video"

    def __init__(self, interval: float = 0.05) -> None:
        super().__init__()
        self._interval = interval
        self._time = 0

    async def recv(self) -> VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(self._interval)
        frame = VideoFrame(width=32, height=32)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        self._time += round(self._interval * 90000)
        frame.pts = self._time
        frame.time_base = fractions.Fraction(1, 90000)
        return frame


class Packets(MediaStreamTrack):
    """
    Sound which is encoded already, so that it costs little.

    :param interval: The time between two packets, in seconds.
    """

    kind = "audio"

    def __init__(self, interval: float = 0.02) -> None:
        super().__init__()
        self._interval = interval
        self._time = 0

    async def recv(self) -> "Packet[Any]":
        if self.readyState != "live":
            raise MediaStreamError
        await asyncio.sleep(self._interval)
        # Silence, in Opus.
        packet: Packet[Any] = Packet(b"\xf8\xff\xfe")
        self._time += round(self._interval * 48000)
        packet.pts = self._time
        packet.time_base = fractions.Fraction(1, 48000)
        return packet


def add_media(*pcs: aiortc.RTCPeerConnection) -> None:
    """
    Let each peer send sound and pictures.
    """
    for pc in pcs:
        pc.addTrack(AudioStreamTrack())
        pc.addTrack(Pictures())


async def flowing(*pcs: aiortc.RTCPeerConnection) -> None:
    """
    Wait until each peer has received some frames of all tracks.
    """
    async with asyncio.timeout(LIMIT):
        for pc in pcs:
            for receiver in pc.getReceivers():
                if receiver.track is None:
                    continue
                # What was received before is not what is waited for.
                queued = receiver.track._queue.qsize()  # type: ignore[attr-defined]
                for _ in range(queued + 5):
                    await receiver.track.recv()


async def packets_lost(receiver: RTCRtpReceiver) -> int:
    """
    Return how many RTP packets a receiver misses.
    """
    report = await receiver.getStats()
    return sum(x.packetsLost for x in report.values() if x.type == "inbound-rtp")
