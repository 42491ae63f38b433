"""
What the calls are made of. A test is skipped where its other end is not installed.
"""

from pathlib import Path

import aiortc
import pytest

from aiortc_restart import RTCPeerConnection

from .media import Clip, make_clip, make_movie
from .remote import missing

MOVIE_SECONDS = 90


@pytest.fixture(scope="session")
def clip() -> Clip:
    """
    Encoded media for a peer which has no encoder.
    """
    return make_clip()


@pytest.fixture
def connection() -> type[aiortc.RTCPeerConnection]:
    """
    The class of our end.
    """
    return RTCPeerConnection


@pytest.fixture(scope="session")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    A file with a picture and a sound, which lasts longer than any of the calls.
    """
    path = tmp_path_factory.mktemp("media") / "movie.mp4"
    make_movie(path, MOVIE_SECONDS)
    return path


@pytest.fixture(params=["chromium", "firefox", "werift", "wrtc"])
def other(request: pytest.FixtureRequest) -> str:
    """
    The name of the implementation at the other end.
    """
    name = str(request.param)
    if reason := missing(name):
        pytest.skip(reason)
    return name
