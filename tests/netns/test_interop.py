"""
Calls with other implementations whose networks change under them.
"""

from pathlib import Path

import pytest

from aiortc_restart import RTCPeerConnection

from ..interop.call import calling
from ..interop.local import LocalPeer
from ..interop.media import Clip, make_clip, make_movie
from ..interop.remote import missing, remote_peer
from ..interop.test_restart import restart
from ..utils import until
from .lab import Lab

pytestmark = pytest.mark.interop

MOVIE_SECONDS = 60


@pytest.fixture(scope="module")
def clip() -> Clip:
    return make_clip()


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("media") / "movie.mp4"
    make_movie(path, MOVIE_SECONDS)
    return path


@pytest.fixture(params=["chromium", "wrtc"])
def other(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if reason := missing(name):
        pytest.skip(reason)
    return name


@pytest.mark.parametrize("restarter", ["local", "remote"])
@pytest.mark.parametrize("variant", ["link down", "dropped"])
async def test_handover(
    lab: Lab, other: str, restarter: str, variant: str, movie: Path, clip: Clip
) -> None:
    """
    Our end moves to another path, and a restart by either end brings back sound,
    pictures and all messages.
    """
    lab.link("alice", "lte", up=False)
    local = LocalPeer(lab.at("alice", RTCPeerConnection), movie, reliable=True)
    async with (
        remote_peer(other, wrapper=lab.command("bob")) as remote,
        calling(local, remote, "local", clip) as call,
    ):
        await call.negotiate_when_needed()
        if variant == "link down":
            lab.link("alice", "wifi", up=False)
        else:
            lab.cut("wifi")
        await until(lambda: local.pc.iceConnectionState == "disconnected")
        lab.link("alice", "lte", up=True)
        await restart(call, restarter)
        now = await call.drain()
        assert now.remote["errors"] == []
        assert (local.ended, now.remote["ended"]) == ([], [])
        assert now.local_received == now.remote["sent"]
        assert now.remote["received"] == now.local_sent
        assert (local.duplicates, now.remote["duplicates"]) == (0, 0)
        assert local.dtls_history == []
        assert "closed" not in local.history


async def test_blip(lab: Lab, other: str, movie: Path, clip: Clip) -> None:
    """
    After a path has healed by itself sound and pictures go on, and no message is lost.
    """
    lab.link("alice", "lte", up=False)
    local = LocalPeer(lab.at("alice", RTCPeerConnection), movie, reliable=True)
    async with (
        remote_peer(other, wrapper=lab.command("bob")) as remote,
        calling(local, remote, "local", clip) as call,
    ):
        lab.cut("wifi")
        await until(lambda: local.pc.iceConnectionState == "disconnected")
        lab.heal("wifi")
        await until(lambda: local.pc.iceConnectionState == "completed")
        await call.flowing()
        now = await call.drain()
        assert now.remote["errors"] == []
        assert now.local_received == now.remote["sent"]
        assert now.remote["received"] == now.local_sent
        assert local.history[-2:] == ["disconnected", "completed"]
