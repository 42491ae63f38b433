"""
What is sent, and where it goes that comes.
"""

from fractions import Fraction
from pathlib import Path

import numpy as np
from aiortc.contrib.media import MediaBlackhole, MediaPlayer, MediaRecorder
from av import VideoFrame

from aiortc_restart import MediaStreamTrack, VideoStreamTrack

RATE = 30
"Pictures in a second of a recording."

WIDTH, HEIGHT = 320, 240

COLOURS = (
    *((255, 255, 255), (255, 255, 0), (0, 255, 255), (0, 255, 0)),
    *((255, 0, 255), (255, 0, 0), (0, 0, 255), (0, 0, 0)),
)


class MovingBars(VideoStreamTrack):
    """
    A test picture: colour bars which walk, so that one sees whether it stands still.
    """

    def __init__(self) -> None:
        super().__init__()
        row = np.repeat(np.array(COLOURS, np.uint8), WIDTH // len(COLOURS), axis=0)
        self._picture = np.tile(row, (HEIGHT, 1, 1))
        self._count = 0

    async def recv(self) -> VideoFrame:
        pts, time_base = await self.next_timestamp()
        picture = np.roll(self._picture, 4 * self._count, axis=1)
        frame = VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = pts, time_base
        self._count += 1
        return frame


def open_source(path: str | None) -> list[MediaStreamTrack]:
    """
    Open what is to be sent.

    :param path: A file, or a camera such as `/dev/video0`, or `None` for a test
                 picture.

    :raises FFmpegError: if it cannot be opened.
    """
    if path is None:
        return [MovingBars()]
    if path.startswith("/dev/video"):
        options = {"video_size": "640x480", "framerate": "30"}
        player = MediaPlayer(path, format="v4l2", options=options)
    else:
        # Its end is the end of the tracks: one with sound cannot be played in a loop
        # (PyAV 18.1).
        player = MediaPlayer(path)
    return [x for x in (player.audio, player.video) if x is not None]


class Pictures(MediaStreamTrack):
    """
    A track without what comes too soon after the picture before: a recorder writes 30
    in a second, and fails at two in one place.
    """

    kind = "video"

    def __init__(self, track: MediaStreamTrack) -> None:
        super().__init__()
        self._place = -1
        self._track = track

    async def recv(self) -> VideoFrame:
        while True:
            frame = await self._track.recv()
            assert isinstance(frame, VideoFrame)
            assert frame.time is not None
            place = round(frame.time * RATE)
            if place > self._place:
                self._place = frame.pts = place
                frame.time_base = Fraction(1, RATE)
                return frame


class Sink:
    """
    What takes the peer's tracks, and writes them to a file if there is one.

    :raises OSError:    if the file cannot be written.
    :raises ValueError: if its name tells no format.
    """

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            # The recorder opens it with the first frame, where nobody sees it fail.
            path.touch()
        self._blackhole = MediaBlackhole()
        self._recorder = MediaRecorder(path) if path is not None else None
        self._started = False

    def add_track(self, track: MediaStreamTrack) -> None:
        # A file has the tracks which it has begun with.
        if self._recorder is None or self._started:
            self._blackhole.addTrack(track)
        else:
            self._recorder.addTrack(Pictures(track) if track.kind == "video" else track)

    async def start(self) -> None:
        """
        Begin to take what comes, also on tracks that have been added since.
        """
        if self._recorder is not None:
            await self._recorder.start()
        self._started = True
        await self._blackhole.start()

    async def stop(self) -> None:
        """
        Finish the file.

        :raises FFmpegError: if it cannot be written.
        """
        await self._blackhole.stop()
        if self._recorder is not None:
            await self._recorder.stop()
