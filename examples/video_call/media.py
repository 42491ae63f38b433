"""
The tracks which Python sends.
"""

import asyncio
import logging
from fractions import Fraction
from typing import Any

from av.audio.frame import AudioFrame
from av.frame import Frame
from av.video.frame import VideoFrame

from aiortc_restart import MediaStreamError, MediaStreamTrack

from .picture import even, filter_picture

VIDEO_CLOCK = 90000

logger = logging.getLogger(__name__)


class ReceivedTrack(MediaStreamTrack):
    """
    What a page sends, until it is stopped: who waits then for a track of aiortc's of
    which nothing has come yet would wait for ever, such as a :class:`MediaRelay`.

    :param source: The track.
    """

    def __init__(self, source: MediaStreamTrack) -> None:
        super().__init__()
        self.kind = source.kind
        self._receiving: asyncio.Task[Any] | None = None
        self._source = source

    async def recv(self) -> Frame:
        if self.readyState != "live":
            raise MediaStreamError
        self._receiving = asyncio.create_task(self._source.recv(), name="received")
        try:
            frame: Frame = await self._receiving
            return frame
        except asyncio.CancelledError:
            if self.readyState == "live":
                raise
            raise MediaStreamError from None

    def stop(self) -> None:
        super().stop()
        self._source.stop()
        if self._receiving is not None:
            self._receiving.cancel()


class SentTrack(MediaStreamTrack):
    """
    A track that outlives a frame which cannot be used: aiortc ends the sender of one
    that raises, for good and without a word.
    """

    def __init__(self) -> None:
        super().__init__()
        self._failed = False

    def leave_out(self, exc: Exception) -> None:
        """
        Take note of a frame that cannot be used. The others may be like it.
        """
        if not self._failed:
            self._failed = True
            logger.warning("A frame cannot be used: %s: %s", type(exc).__name__, exc)


class FilteredTrack(SentTrack):
    """
    The picture of another track, processed.

    :param source: Where the pictures come from. It is stopped with this track.
    """

    kind = "video"

    def __init__(self, source: MediaStreamTrack) -> None:
        super().__init__()
        self.filter = "cartoon"
        self._source = source

    async def recv(self) -> VideoFrame:
        while True:
            frame = await self._source.recv()
            assert isinstance(frame, VideoFrame)
            try:
                filtered = filter_picture(frame, self.filter)
            except Exception as exc:
                self.leave_out(exc)
                continue
            filtered.pts, filtered.time_base = frame.pts, frame.time_base
            return filtered

    def stop(self) -> None:
        super().stop()
        self._source.stop()


class SeatTrack(SentTrack):
    """
    What one participant gets of another, whoever that is at the moment: people come
    and go, and nothing has to be negotiated for it.

    :param kind: `"audio"` or `"video"`.
    """

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self._changed = asyncio.Event()
        self._next_pts = 0
        self._receiving: asyncio.Task[Any] | None = None
        self._source: MediaStreamTrack | None = None
        self._start: float | None = None

    def show(self, source: MediaStreamTrack | None) -> None:
        """
        Play another track, or none.
        """
        if self._source is not None:
            self._source.stop()
        self._source = source
        if self._receiving is not None:
            self._receiving.cancel()
        self._changed.set()

    async def recv(self) -> AudioFrame | VideoFrame:
        while self.readyState == "live":
            source = self._source
            if source is None:
                self._changed.clear()
                await self._changed.wait()
                continue
            frame = await self._receive(source)
            try:
                if isinstance(frame, VideoFrame):
                    return self._video(frame)
                if isinstance(frame, AudioFrame):
                    return self._audio(frame)
            except Exception as exc:
                self.leave_out(exc)
        raise MediaStreamError

    def stop(self) -> None:
        super().stop()
        self.show(None)

    def _audio(self, frame: AudioFrame) -> AudioFrame:
        # The frame belongs to all who hear it, and its time to who has sent it.
        copy = AudioFrame.from_ndarray(
            frame.to_ndarray(), format=frame.format.name, layout=frame.layout.name
        )
        copy.sample_rate = frame.sample_rate
        copy.time_base = Fraction(1, frame.sample_rate)
        copy.pts = self._next_pts
        self._next_pts += frame.samples
        return copy

    async def _receive(self, source: MediaStreamTrack) -> Frame | None:
        """
        Return the next frame, or `None` if there is another source, or none, by then.
        """
        self._receiving = asyncio.create_task(source.recv(), name="seat")
        try:
            frame: Frame = await self._receiving
            return frame
        except MediaStreamError:
            if self._source is source:
                self._source = None
        except asyncio.CancelledError:
            # Either the wait for this source has been given up, or the sender has.
            if self._source is source:
                raise
        finally:
            self._receiving = None
        return None

    def _video(self, frame: VideoFrame) -> VideoFrame:
        now = asyncio.get_running_loop().time()
        self._start = now if self._start is None else self._start
        copy = VideoFrame.from_ndarray(even(frame).to_ndarray(), format="yuv420p")
        copy.time_base = Fraction(1, VIDEO_CLOCK)
        # Two that come at once are two pictures all the same.
        copy.pts = max(self._next_pts, int((now - self._start) * VIDEO_CLOCK))
        self._next_pts = copy.pts + 1
        return copy
