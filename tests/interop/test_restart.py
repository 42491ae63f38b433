from pathlib import Path

import aiortc
import pytest

from .media import Clip
from .restarts import MISSES, ROUNDS, assert_restarts

pytestmark = pytest.mark.interop


@pytest.mark.parametrize("other", ["chromium", "werift", "wrtc"], indirect=True)
@pytest.mark.parametrize("first", ["local", "remote"], ids="{}-first".format)
@pytest.mark.parametrize(
    "restarters",
    [["local"], ["remote"], ["local", "remote"]],
    ids=["local-restarts", "remote-restarts", "both-restart"],
)
async def test_restart(
    connection: type[aiortc.RTCPeerConnection],
    other: str,
    first: str,
    restarters: list[str],
    movie: Path,
    clip: Clip,
) -> None:
    """
    Either end may restart ICE, whoever offered first, and nothing is lost.
    """
    await assert_restarts(connection, other, first, restarters, movie, clip)


@pytest.mark.parametrize("other", ["firefox"], indirect=True)
@pytest.mark.parametrize("first", ["local", "remote"], ids="{}-first".format)
async def test_restart_closed_sockets(
    connection: type[aiortc.RTCPeerConnection],
    other: str,
    first: str,
    movie: Path,
    clip: Clip,
) -> None:
    """
    Firefox closes its old sockets when its new pair is connected, and no more is lost
    than what is under way around then.
    """
    both = ["local", "remote"]
    misses = MISSES * ROUNDS
    await assert_restarts(connection, other, first, both, movie, clip, misses)
