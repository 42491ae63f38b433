"""
What the server of the video call is made of.
"""

import asyncio

import numpy as np
import pytest
from av.video.frame import VideoFrame

from aiortc_restart import (
    AudioStreamTrack,
    MediaStreamError,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    VideoStreamTrack,
)
from examples.video_call.hosts import Hosts
from examples.video_call.media import FilteredTrack, ReceivedTrack, SeatTrack
from examples.video_call.outage import Outage
from examples.video_call.picture import BLACK, FILTERS, filter_picture

from ..interop.coturn import MISSING, PASSWORD, USER, coturn
from ..utils import connected_pair, negotiate, states, until


def picture() -> VideoFrame:
    """
    Make a picture: the left half is dark, the right half bright.
    """
    planes = np.full((360, 320), 140, np.uint8)
    planes[:240, :160] = 70
    planes[:240, 160:] = 200
    return VideoFrame.from_ndarray(planes, format="yuv420p")


@pytest.mark.parametrize("name", FILTERS)
def test_filter(name: str) -> None:
    """
    A filter draws edges where there are some, and leaves its source alone.
    """
    source = picture()
    filtered = filter_picture(source, name).to_ndarray(format="yuv420p")
    assert np.array_equal(
        source.to_ndarray(format="yuv420p"), picture().to_ndarray(format="yuv420p")
    )
    edge, left, right = filtered[100, 160], filtered[100, 10], filtered[100, 310]
    if name == "cartoon":
        assert edge == BLACK < left < right
    elif name == "edges":
        assert edge > left == right == BLACK
    else:
        assert np.array_equal(filtered, source.to_ndarray(format="yuv420p"))


async def test_outage_and_restart_within() -> None:
    """
    Nothing passes while the network is cut, not on a restart's new sockets either.
    """
    async with connected_pair() as pair:
        changes: list[bool] = []
        outage = Outage(pair.offerer, lambda: changes.append(outage.active))
        history = states(pair.offerer)
        arrived: list[str | bytes] = []
        pair.remote_channel.on("message", arrived.append)

        outage.cut(1.5)
        pair.channel.send("in the dark")
        generations = negotiate(pair.offerer, pair.answerer, iceRestart=True)
        await asyncio.gather(generations, asyncio.sleep(1))
        assert arrived == []
        assert outage.dropped > 0
        assert history.ice == ["completed", "connected"]

        await until(lambda: pair.offerer.iceConnectionState == "completed")
        await until(lambda: arrived == ["in the dark"])
        assert changes == [True, False]
        dropped = outage.dropped
        await pair.exchange()
        assert outage.dropped == dropped


@pytest.mark.interop
@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
async def test_outage_of_relayed_call() -> None:
    """
    Nothing passes over a TURN server, either, and after the outage the call goes on.
    """
    async with coturn() as server:
        for way, url in server.urls.items():
            if way == "tls":
                continue
            ice_server = RTCIceServer(url, username=USER, credential=PASSWORD)
            configuration = RTCConfiguration(
                iceServers=[ice_server], iceTransportPolicy=RTCIceTransportPolicy.RELAY
            )
            async with connected_pair(configuration=configuration) as pair:
                outage = Outage(pair.offerer, lambda: None)
                arrived: list[str | bytes] = []
                pair.channel.on("message", arrived.append)
                pair.remote_channel.on("message", arrived.append)
                outage.cut(1)
                pair.channel.send("from the dark")
                pair.remote_channel.send("into the dark")
                await asyncio.sleep(0.8)
                assert arrived == []
                assert outage.dropped >= 2
                await until(lambda: len(arrived) == 2)  # noqa: B023


async def test_outage_closed() -> None:
    """
    A call may end while its network is cut.
    """
    async with connected_pair() as pair:
        outage = Outage(pair.answerer, lambda: None)
        outage.cut(60)
        outage.cut(50)
        assert outage.active and outage.seconds == 50
        outage.close()
        assert not outage.active


async def test_seat() -> None:
    """
    Who sits in a seat may change, also while their picture is waited for; time goes on.
    """
    for kind, track in (("audio", AudioStreamTrack), ("video", VideoStreamTrack)):
        seat = SeatTrack(kind)
        waiting = asyncio.create_task(seat.recv())
        await asyncio.sleep(0)
        first = track()
        seat.show(first)
        frames = [await waiting, await seat.recv()]
        waiting = asyncio.create_task(seat.recv())
        await asyncio.sleep(0)
        seat.show(None)
        await asyncio.sleep(0.05)
        assert first.readyState == "ended" and not waiting.done()
        seat.show(track())
        frames += [await waiting, await seat.recv()]
        times = [x.pts or 0 for x in frames]
        assert len(times) == 4
        assert times == sorted(set(times))
        waiting = asyncio.create_task(seat.recv())
        await asyncio.sleep(0)
        seat.stop()
        with pytest.raises(MediaStreamError):
            await waiting


async def test_received_track_stopped() -> None:
    """
    Who waits for a track that is stopped does so no longer.
    """

    class Silent(VideoStreamTrack):
        async def recv(self) -> VideoFrame:
            await asyncio.Event().wait()
            raise AssertionError

    track = ReceivedTrack(Silent())
    waiting = asyncio.create_task(FilteredTrack(track).recv())
    await asyncio.sleep(0)
    track.stop()
    with pytest.raises(MediaStreamError):
        await waiting
    with pytest.raises(MediaStreamError):
        await track.recv()


@pytest.mark.parametrize(
    ("bound", "known", "unknown"),
    [
        (
            "127.0.0.1",
            ["127.0.0.1", "127.0.0.1:8080", "LocalHost:1", "[::1]:8080", "call.test"],
            ["192.0.2.1", "[2001:db8::1]", "0.0.0.0", "evil.test", "127.0.0.1.evil"],
        ),
        ("::1", ["[::1]"], ["[::2]", "evil.test"]),
        ("localhost", ["localhost"], ["192.0.2.1", "localhost.evil"]),
        (
            "0.0.0.0",
            ["192.0.2.1:8080", "[2001:db8::1]:8080", "localhost", "call.test:443"],
            ["evil.test", "evil.test:8080", "other.call.test", "1.2.3.4.evil.test"],
        ),
        ("mine.test", ["mine.test:8080", "192.0.2.1"], ["evil.test"]),
        (
            "::",
            ["[::1]", "192.0.2.1"],
            [
                *("", "[", "[]", ":80", "call.test:", "call.test:x", "a b", "::1"),
                *("evil.test@call.test", "call.test/", "call.test#", "call.test\\"),
            ],
        ),
    ],
)
def test_hosts(bound: str, known: list[str], unknown: list[str]) -> None:
    """
    A server is known by its own names and by those which it is given; and by any
    address, if it listens to others than its own machine.
    """
    hosts = Hosts(bound, ["Call.test"])
    assert [x for x in known if not hosts.know(x)] == []
    assert [x for x in unknown if hosts.know(x)] == []
