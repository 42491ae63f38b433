"""
What is done to the picture: cheap enough for one Python process and several calls.
"""

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

Plane = NDArray[np.uint8]

BLACK = 16
"The darkest luma value (ITU-R BT.601)."

EDGE = 24
"By how much two neighbouring pixels differ where something ends."

FILTERS = ("cartoon", "edges", "none")


def even(frame: VideoFrame) -> VideoFrame:
    """
    Return a picture as YUV 4:2:0 with as many pixels, or one fewer, in both directions:
    two share a colour, and PyAV gives no array of an odd number.
    """
    width, height = (max(x & ~1, 2) for x in (frame.width, frame.height))
    return frame.reformat(width=width, height=height, format="yuv420p")


def filter_picture(frame: VideoFrame, name: str) -> VideoFrame:
    """
    Return a new picture, made of another one.

    :param frame: A :class:`VideoFrame`, which is not changed.
    :param name: One of `FILTERS`.
    """
    # The three planes of YUV 4:2:0 one below the other: colours need half the lines.
    planes: Plane = even(frame).to_ndarray().view(np.uint8)
    height = planes.shape[0] * 2 // 3
    luma, chroma = planes[:height], planes[height:]
    if name == "cartoon":
        outlines = find_edges(luma)
        # Six tones and strong colours, within black outlines.
        np.bitwise_or(luma & 0xE0, BLACK, out=luma)
        luma[outlines] = BLACK
        strong = (chroma.astype(np.int16) - 128) * 3 // 2 + 128
        chroma[:] = np.clip(strong, 16, 240)
    elif name == "edges":
        outlines = find_edges(luma)
        luma[:] = BLACK
        luma[outlines] = 235
        chroma[:] = 128
    return VideoFrame.from_ndarray(planes, format="yuv420p")


def find_edges(luma: Plane) -> NDArray[np.bool_]:
    """
    Return where a pixel differs from the one to the left, or above.
    """
    # Every other bit is enough, and leaves room for the sign.
    half = (luma >> 1).view(np.int8)
    edges = np.zeros(luma.shape, np.bool_)
    edges[:, 1:] |= np.abs(half[:, 1:] - half[:, :-1]) > EDGE // 2
    edges[1:] |= np.abs(half[1:] - half[:-1]) > EDGE // 2
    return edges
