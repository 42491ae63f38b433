"""
A real video with sound, made on the spot.
"""

from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

# Two pictures fill a slot of the timeline, so that it shows what the network does.
SOURCE = (
    "testsrc2=size=320x240:rate=40:duration={seconds}[out0];"
    "sine=frequency=440:sample_rate=48000:duration={seconds}[out1]"
)


def write_video(path: Path, seconds: float) -> None:
    """
    Write a WebM file: a moving test picture (VP8) with a tone (Opus).

    These are codecs which a call can carry as they are, so that the file is
    sent without being decoded and encoded again.

    :param path:    Where to write the file.
    :param seconds: How long it shall last.
    """
    with (
        av.open(SOURCE.format(seconds=seconds), format="lavfi") as source,
        av.open(str(path), "w", format="webm") as target,
    ):
        video = target.add_stream("libvpx", rate=40)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        video.bit_rate = 500_000
        video.options = {"cpu-used": "8", "deadline": "realtime", "g": "40"}
        audio = target.add_stream("libopus", rate=48000)
        audio.layout = "stereo"

        for frame in source.decode():
            if isinstance(frame, VideoFrame):
                target.mux(video.encode(frame.reformat(format="yuv420p")))
            elif isinstance(frame, AudioFrame):
                target.mux(audio.encode(frame))
        target.mux(video.encode(None))
        target.mux(audio.encode(None))
