"""
How long a restart takes until packets come over the new pair, both ways.
"""

import asyncio
import contextlib
import itertools
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from aiortc.contrib.media import MediaBlackhole, MediaPlayer
from aiortc.rtp import RtpPacket

from aiortc_restart import MediaStreamTrack, RTCPeerConnection
from examples.ice_restart.media import write_video
from examples.ice_restart.messages import MessageFlow

from .harness import OURS, PATIENCE, Pair, Row
from .watch import ArrivalWatch

DATA_LIMIT = 10.0
MEDIA_LIMIT = 15.0
"Milliseconds."

PROBE = 35
"An RTP payload type which nobody negotiates."

PAUSE = 3.3
"Seconds between two restarts: the generation before has retired by then."


async def run(quick: bool) -> list[Row]:
    """
    Measure restarts without media and with it.

    :param quick: Whether fewer rounds shall do.
    :rtype: list[Row]
    """
    rounds = 7 if quick else 15
    data = await measure(Pair(OURS), rounds)
    with tempfile.TemporaryDirectory() as directory:
        video = Path(directory) / "video.webm"
        write_video(video, seconds=rounds * (PAUSE + 0.1) + 10)
        pair = Pair(OURS)
        async with media(pair, video):
            both = await measure(pair, rounds)
    return [
        row("data channel", data, DATA_LIMIT),
        row("data channel, audio and video", both, MEDIA_LIMIT),
    ]


async def probe(pc: RTCPeerConnection) -> None:
    """
    Send an RTP packet every 4 ms, for there to be a first one on a new pair.

    The peer decrypts it, finds no receiver for it, and drops it, so that it costs the
    peers much less than a message would which is acknowledged. One every millisecond
    takes so much of the event loop that the figure becomes that of the probe.

    :param pc: The peer connection which sends.
    """
    assert pc.sctp is not None
    for number in itertools.count():
        packet = RtpPacket(
            payload_type=PROBE, sequence_number=number % 65536, payload=b"probe"
        )
        await pc.sctp.transport._send_rtp(packet.serialize())
        await asyncio.sleep(0.004)


async def measure(pair: Pair[RTCPeerConnection], rounds: int) -> list[float]:
    """
    Restart again and again, by each peer in turn, in a call with 200 messages a
    second each way.

    :param pair:   A :class:`Pair` which is not connected.
    :param rounds: How often.
    :return: The time which each restart took, in milliseconds.
    :rtype: list[float]
    """
    flows = [MessageFlow(x) for x in pair.open_channels(False, max_retransmits=0)]
    watch, times = ArrivalWatch(), []
    with watch.watching():
        await pair.connect()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(probe(pc)) for pc in pair.peers]
            for flow in flows:
                flow.start()
            async with asyncio.timeout(PATIENCE):
                await watch.both()
            for number in range(rounds):
                await asyncio.sleep(PAUSE)
                start = time.perf_counter()
                pair.peers[number % 2].restartIce()
                async with asyncio.timeout(PATIENCE):
                    times.append((await watch.both() - start) * 1000)
            for flow in flows:
                await flow.stop()
            for task in tasks:
                task.cancel()
    await pair.close()
    return times


@contextlib.asynccontextmanager
async def media(pair: Pair[RTCPeerConnection], video: Path) -> AsyncIterator[None]:
    """
    Have both peers send a video with its sound, and receive the other's.

    :param pair:  A :class:`Pair` which is not connected.
    :param video: The file to send.
    """
    sink, tracks = MediaBlackhole(), []
    for pc in pair.peers:
        player = MediaPlayer(video, decode=False)
        for track in (player.audio, player.video):
            if track is not None:
                tracks.append(track)
                pc.addTrack(track)

        @pc.on("track")
        async def on_track(track: MediaStreamTrack) -> None:
            sink.addTrack(track)
            await sink.start()

    yield
    for track in tracks:
        track.stop()
    await sink.stop()


def row(what: str, times: list[float], limit: float) -> Row:
    """
    Sum up restarts.

    :param what:  What the call carried.
    :param times: The time which each took, in milliseconds.
    :param limit: What the median may be, in milliseconds.
    :rtype: Row
    """
    median = statistics.median(times)
    return Row(
        f"restart to first packets on the new pair, ms ({what})",
        ours=f"{median:.1f} (worst {max(times):.1f})",
        limit=f"{limit:.0f}",
        holds=median <= limit,
    )
