"""
What the calls carry.
"""

import base64
import fractions
from pathlib import Path

import av
import numpy
from aiortc.codecs.opus import OpusEncoder
from aiortc.codecs.vpx import Vp8Encoder

FRAMES_PER_SECOND = 15
HEIGHT = 240
SAMPLES_PER_SECOND = 48000
WIDTH = 320

Clip = dict[str, list[list[str]]]


def picture(index: int) -> av.VideoFrame:
    """
    Return a frame of a moving test picture: coloured bars which run to the left.
    """
    x = (numpy.arange(WIDTH) + 4 * index) % WIDTH
    y = numpy.arange(HEIGHT)[:, numpy.newaxis]
    image = numpy.zeros((HEIGHT, WIDTH, 3), numpy.uint8)
    image[:, :, 0] = (x // 40) * 36
    image[:, :, 1] = (x // 20 % 2) * 160
    image[:, :, 2] = (y + 2 * index) % 256
    frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
    frame.pts = index
    frame.time_base = fractions.Fraction(1, FRAMES_PER_SECOND)
    return frame


def tone(index: int, count: int) -> av.AudioFrame:
    """
    Return the samples from `index` on of a tone of 440 Hz.
    """
    angle = 2 * numpy.pi * 440 * numpy.arange(index, index + count) / SAMPLES_PER_SECOND
    samples = (8000 * numpy.sin(angle)).astype(numpy.int16)
    frame = av.AudioFrame.from_ndarray(
        samples[numpy.newaxis, :], format="s16", layout="mono"
    )
    frame.pts = index
    frame.sample_rate = SAMPLES_PER_SECOND
    frame.time_base = fractions.Fraction(1, SAMPLES_PER_SECOND)
    return frame


def make_clip() -> Clip:
    """
    Make a second of media which is encoded and split into payloads of RTP, for a peer
    which has no encoder: VP8, beginning with a keyframe, and Opus.
    """
    clip: Clip = {"audio": [], "video": []}
    video = Vp8Encoder()
    for index in range(FRAMES_PER_SECOND):
        payloads, _ = video.encode(picture(index), force_keyframe=index == 0)
        clip["video"].append([base64.b64encode(p).decode() for p in payloads])
    audio = OpusEncoder()
    count = SAMPLES_PER_SECOND // 50
    for index in range(0, SAMPLES_PER_SECOND, count):
        payloads, _ = audio.encode(tone(index, count))
        if payloads:
            clip["audio"].append([base64.b64encode(p).decode() for p in payloads])
    return clip


def make_movie(path: Path, seconds: int) -> None:
    """
    Write a file with a moving picture and a tone.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream(
            "libx264", rate=FRAMES_PER_SECOND, options={"preset": "ultrafast"}
        )
        video.width = WIDTH
        video.height = HEIGHT
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=SAMPLES_PER_SECOND, layout="mono")
        for index in range(seconds * FRAMES_PER_SECOND):
            container.mux(video.encode(picture(index)))
        count = 1024
        for index in range(0, seconds * SAMPLES_PER_SECOND, count):
            container.mux(audio.encode(tone(index, count)))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
