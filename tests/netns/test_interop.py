"""
Calls with other implementations whose networks change under them.
"""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import aiortc
import pytest

from aiortc_restart import RTCPeerConnection

from ..interop.call import Call, calling
from ..interop.local import LocalPeer
from ..interop.media import Clip, make_clip, make_movie
from ..interop.remote import missing, remote_peer
from ..interop.restarts import restart
from ..network import Address
from ..utils import candidates, until
from .lab import Lab
from .test_stories import Nat, closing, open_port

pytestmark = pytest.mark.interop

MOVIE_SECONDS = 120


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


async def assert_complete(call: Call) -> None:
    """
    Assert that the call is what it was, and that no message was lost.
    """
    local, now = call.local, await call.drain()
    assert now.remote["errors"] == []
    assert (local.ended, now.remote["ended"]) == ([], [])
    assert now.local_received == now.remote["sent"]
    assert now.remote["received"] == now.local_sent
    assert (local.duplicates, now.remote["duplicates"]) == (0, 0)
    assert local.dtls_history == []
    assert "closed" not in local.history


@pytest.mark.parametrize("restarter", ["local", "remote"])
@pytest.mark.parametrize("variant", ["link down", "address removed", "dropped"])
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
        elif variant == "address removed":
            lab.remove_address("alice", "wifi")
        else:
            lab.cut("wifi")
        await until(lambda: local.pc.iceConnectionState == "disconnected")
        lab.link("alice", "lte", up=True)
        await restart(call, restarter)
        await assert_complete(call)


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
        await assert_complete(call)
        assert local.history[-2:] == ["disconnected", "completed"]


async def test_long_outage(lab: Lab, movie: Path, clip: Clip) -> None:
    """
    Calls outlive their consent, and a restart by either end brings back sound, pictures
    and all messages.
    """
    others = {"chromium": "remote", "wrtc": "local"}
    for reason in filter(None, map(missing, others)):
        pytest.skip(reason)
    lab.link("alice", "lte", up=False)
    # Both at once, as the time is the same.
    async with contextlib.AsyncExitStack() as stack:
        calls = {}
        for other, restarter in others.items():
            local = LocalPeer(lab.at("alice", RTCPeerConnection), movie, reliable=True)
            remote = await stack.enter_async_context(
                remote_peer(other, wrapper=lab.command("bob"))
            )
            call = await stack.enter_async_context(
                calling(local, remote, "local", clip)
            )
            await call.negotiate_when_needed()
            calls[call] = restarter
        lab.cut("wifi")
        await until(
            lambda: all(x.pc.iceConnectionState == "failed" for x in calls), timeout=45
        )
        await asyncio.sleep(5)
        lab.heal("wifi")
        for call, restarter in calls.items():
            await restart(call, restarter)
        for call in calls:
            await assert_complete(call)


async def test_nat_rebinds(
    lab: Lab, other: str, movie: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    When a NAT gives our end another port, a restart brings back sound, pictures and all
    messages, whether or not the peer has followed by itself.
    """
    nat: dict[Address, Nat] = {}

    class BehindNat(RTCPeerConnection):
        async def addIceCandidate(
            self, candidate: aiortc.RTCIceCandidate | None
        ) -> None:
            if candidate is not None:
                behind = candidate.ip, candidate.port
                candidate.ip, candidate.port = await open_port(lab, nat, behind)
            await super().addIceCandidate(candidate)

    for name in ("alice", "bob"):
        lab.link(name, "lte", up=False)
    local = LocalPeer(lab.at("alice", BehindNat), movie, reliable=True)
    async with closing(nat), remote_peer(other, wrapper=lab.command("bob")) as remote:
        call_remote = remote.call

        async def call_with_ports(method: str, **args: Any) -> Any:
            if method == "accept":
                description = aiortc.RTCSessionDescription(**args)
                for address in {(x.ip, x.port) for x in candidates(description)}:
                    host, port = await open_port(lab, nat, address)
                    args["sdp"] = args["sdp"].replace(
                        f"{address[0]} {address[1]} typ", f"{host} {port} typ"
                    )
            return await call_remote(method, **args)

        monkeypatch.setattr(remote, "call", call_with_ports)
        async with calling(local, remote, "local", clip) as call:
            await call.negotiate_when_needed()
            address = lab.address("alice", "wifi")
            for behind in [x for x in nat if x[0] == address]:
                await open_port(lab, nat, behind)
            count = len(call.descriptions)
            local.pc.restartIce()  # type: ignore[attr-defined]
            await call.negotiated(count + 2)
            await call.flowing()
            await assert_complete(call)
