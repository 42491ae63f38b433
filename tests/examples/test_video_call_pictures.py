"""
What the video call does with pictures of any size, and with frames it cannot use.
"""

import asyncio
import logging

import pytest
from av.video.frame import VideoFrame

from aiortc_restart import MediaStreamTrack, VideoStreamTrack
from examples.video_call import media
from examples.video_call.media import FilteredTrack, SeatTrack
from examples.video_call.picture import FILTERS, filter_picture

from ..utils import LIMIT, until
from .callers import calling, guest


class Pictures(VideoStreamTrack):
    """
    Pictures of a size.
    """

    def __init__(self, width: int, height: int) -> None:
        super().__init__()
        self._size = width, height

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        frame = VideoFrame(*self._size, "yuv420p")
        for plane in frame.planes:
            plane.update(bytes([pts // 3000 % 200 + 20]) * plane.buffer_size)
        frame.pts, frame.time_base = pts, time_base
        return frame


async def comes(track: MediaStreamTrack, size: tuple[int, ...], name: str) -> None:
    """
    Wait until ten pictures of a size have come.
    """
    count = 0
    try:
        async with asyncio.timeout(LIMIT):
            while count < 10:
                frame = await track.recv()
                assert isinstance(frame, VideoFrame)
                count += (frame.width, frame.height) == size
    except TimeoutError:
        raise TimeoutError(f"{name}: {count} pictures have come") from None


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("size", [(181, 135), (180, 135), (181, 134), (1, 1)])
async def test_odd_size(name: str, size: tuple[int, int]) -> None:
    """
    A picture with an odd number of pixels loses one, in a filter and in a seat.
    """
    even = tuple(max(x & ~1, 2) for x in size)
    frame = await Pictures(*size).recv()
    filtered = filter_picture(frame, name)
    assert (filtered.width, filtered.height) == even
    seat = SeatTrack("video")
    seat.show(Pictures(*size))
    shown = await seat.recv()
    assert isinstance(shown, VideoFrame)
    assert (shown.width, shown.height) == even
    seat.stop()


async def test_call_of_odd_size() -> None:
    """
    Who has a camera of odd dimensions is seen by the others, and by themselves; and the
    next one in that seat, too.
    """
    async with calling() as caller, guest(caller, "Ann", [Pictures(320, 240)]) as ann:
        for name, size in (("Ben", (181, 135)), ("Cleo", (320, 240))):
            async with guest(caller, name, [Pictures(*size)]) as other:
                await until(lambda: len(ann.videos()) == 2)
                await until(other.videos)
                even = tuple(x & ~1 for x in size)
                await asyncio.gather(
                    comes(ann.videos()[1], even, f"{name} at Ann's"),
                    comes(other.videos()[0], even, f"{name}, processed"),
                )


async def test_frame_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """
    A frame which cannot be used is left out, and the track goes on; the log tells once.
    """
    failures = ["first", "second"]

    def fail(frame: VideoFrame, *_: object) -> VideoFrame:
        if failures:
            raise AssertionError(failures.pop())
        return frame

    seat = SeatTrack("video")
    seat.show(Pictures(16, 16))
    for name, track in (
        ("filter_picture", FilteredTrack(Pictures(16, 16))),
        ("even", seat),
    ):
        failures[:] = ["first", "second"]
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
            patch.setattr(media, name, fail)
            assert isinstance(await track.recv(), VideoFrame)
        track.stop()
        assert failures == []
    message = "A frame cannot be used: AssertionError: second"
    assert [x.getMessage() for x in caplog.records] == [message] * 2
