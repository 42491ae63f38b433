"""
Calls with other implementations whose networks change under them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiortc
import pytest

from aiortc_restart import RTCConfiguration, RTCPeerConnection

from ..calls import ice_transport
from ..interop.call import Call, calling
from ..interop.coturn import MISSING, coturn
from ..interop.local import LocalPeer
from ..interop.media import Clip, make_clip, make_movie
from ..interop.remote import missing, remote_peer
from ..interop.restarts import restart
from ..network import Address
from ..utils import candidates, until
from .lab import Lab
from .test_stories import QUICK, Nat, closing, open_port, relayed

pytestmark = pytest.mark.interop

MOVIE_SECONDS = 240

PATIENT = RTCConfiguration(iceServers=[], iceFailedTimeout=None)


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


@contextlib.asynccontextmanager
async def calls_with_all(
    lab: Lab, movie: Path, clip: Clip
) -> AsyncIterator[dict[str, Call]]:
    """
    Have a call with each other implementation, all at once, as what takes time takes
    them the same.
    """
    others = ("chromium", "wrtc")
    for reason in filter(None, map(missing, others)):
        pytest.skip(reason)
    lab.link("alice", "lte", up=False)
    calls = {}
    async with contextlib.AsyncExitStack() as stack:
        for other in others:
            local = LocalPeer(lab.at("alice", RTCPeerConnection), movie, reliable=True)
            remote = await stack.enter_async_context(
                remote_peer(other, wrapper=lab.command("bob"))
            )
            calls[other] = await stack.enter_async_context(
                calling(local, remote, "local", clip)
            )
            await calls[other].negotiate_when_needed()
        yield calls


async def test_blips(lab: Lab, movie: Path, clip: Clip) -> None:
    """
    After a path has healed by itself sound and pictures go on, and no message is lost.
    """
    async with calls_with_all(lab, movie, clip) as calls:
        for seconds in (3, 8, 20):
            lab.cut("wifi")
            await asyncio.sleep(seconds)
            lab.heal("wifi")
            for call in calls.values():
                await until(
                    lambda x=call: x.pc.iceConnectionState == "completed"  # type: ignore[misc]
                )
                await call.flowing()
        for call in calls.values():
            await assert_complete(call)
            assert call.local.history[-4:] == 2 * ["disconnected", "completed"]
            assert len(call.descriptions) == 2


@pytest.mark.parametrize("seconds", [45, 120])
async def test_long_outage(lab: Lab, movie: Path, clip: Clip, seconds: float) -> None:
    """
    Calls outlive their consent, and a restart by either end brings back sound, pictures
    and all messages.
    """
    async with calls_with_all(lab, movie, clip) as calls:
        for call in calls.values():
            assert isinstance(call.pc, RTCPeerConnection)
            call.pc.setConfiguration(PATIENT)
        lab.cut("wifi")
        await asyncio.sleep(seconds)
        assert {x.pc.iceConnectionState for x in calls.values()} == {"failed"}
        lab.heal("wifi")
        restarters = {"chromium": "remote", "wrtc": "local"}
        if seconds > 60:
            restarters = {"chromium": "local", "wrtc": "remote"}
        for other, call in calls.items():
            await restart(call, restarters[other])
        for call in calls.values():
            await assert_complete(call)


async def test_ip_versions(lab: Lab, movie: Path, clip: Clip) -> None:
    """
    Calls move from IPv4 to IPv6, and back.
    """
    async with calls_with_all(lab, movie, clip) as calls:
        for old, new in ((4, 6), (6, 4)):
            for name in ("alice", "bob"):
                lab.remove_address(name, "wifi", old)
            for call in calls.values():
                await until(
                    lambda x=call: x.pc.iceConnectionState == "disconnected"  # type: ignore[misc]
                )
            for name in ("alice", "bob"):
                lab.add_address(name, "wifi", new)
            for call in calls.values():
                await restart(call, "local")
                pair = ice_transport(call.pc).getSelectedCandidatePair()
                assert pair is not None
                assert pair.local.ip == lab.address("alice", "wifi", new)
        for call in calls.values():
            await assert_complete(call)


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
async def test_relay_and_back(lab: Lab, movie: Path, clip: Clip) -> None:
    """
    Calls go over a relay of ours when they are told to, and over their direct path
    again.
    """
    async with (
        coturn(lab.address("server", "wifi"), lab.command("server")) as server,
        calls_with_all(lab, movie, clip) as calls,
    ):
        for configuration, type in ((relayed(server), "relay"), (QUICK, "host")):
            for call in calls.values():
                assert isinstance(call.pc, RTCPeerConnection)
                call.pc.setConfiguration(configuration)
                await restart(call, "local")
                pair = ice_transport(call.pc).getSelectedCandidatePair()
                assert pair is not None and pair.local.type == type
        for call in calls.values():
            await assert_complete(call)
        await until(lambda: server.live == 0)


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
