"""
A description which fails changes nothing and fires nothing, wherever it fails, and the
next good one works.
"""

import asyncio
import functools
import inspect
import itertools
import sys
import types
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiortc
import pytest

import aiortc_restart
from aiortc_restart import RTCBundlePolicy, RTCConfiguration, RTCPeerConnection
from aiortc_restart.session import Session

from .calls import (
    ROLLBACK,
    SETTLING,
    answered,
    offered,
    peers,
    provisional,
    restart,
    switched,
)
from .media import Pictures, flowing
from .network import Network
from .snapshots import nothing_changes
from .utils import negotiate

Peers = tuple[RTCPeerConnection, RTCPeerConnection]

PACKAGE = str(Path(aiortc_restart.__file__).parent)
BASE = str(Path(aiortc.__file__).parent)

MADE = {
    "find_common_codecs",
    "find_common_header_extensions",
    "_make_transceiver",
    "_make_data",
    "check_transport",
}
"Functions without which no offer of the peer's is planned."

POLICIES = [RTCBundlePolicy.BALANCED, RTCBundlePolicy.MAX_BUNDLE]


class Failure(Exception):
    """
    What is injected.
    """


def is_ours(frame: types.FrameType) -> bool:
    return frame.f_code.co_filename.startswith(PACKAGE)


async def fail_at(
    call: int, pc: RTCPeerConnection, apply: Callable[[], Awaitable[None]]
) -> str | None:
    """
    Have the given call fail of those which planning makes, of functions of ours and of
    aiortc's alike, and return the function which failed, or `None` if there are fewer.
    """
    calls = 0
    failed: str | None = None
    planning = False

    def trace(frame: types.FrameType, event: str, argument: object) -> None:
        nonlocal calls, failed
        caller = frame.f_back
        # What runs meanwhile in other tasks is not planning.
        if caller is None or not planning or not is_ours(caller):
            return
        # What Python's garbage collection calls is not planning either.
        if not frame.f_code.co_filename.startswith((PACKAGE, BASE)):
            return
        # Each step of a generator, and its end, would be a call of its own.
        if frame.f_code.co_flags & inspect.CO_GENERATOR:
            return
        calls += 1
        if calls == call:
            failed = frame.f_code.co_name
            raise Failure

    def plan(self: Session, *args: Any) -> Any:
        nonlocal planning
        planning = True
        previous = sys.gettrace()
        sys.settrace(trace)
        try:
            return real(self, *args)
        finally:
            sys.settrace(previous)
            planning = False

    real = Session.plan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Session, "plan", plan)
        patch.setattr(Session, "commit", unreached)
        with pytest.raises((Failure, Unreached)):
            await apply()
    return failed


def unreached(*args: object) -> None:
    raise Unreached


class Unreached(Exception):
    """
    What is raised in the place of the commit, when planning is over.
    """


async def fail_everywhere(
    pc: RTCPeerConnection, apply: Callable[[], Awaitable[None]]
) -> set[str]:
    """
    Have a description fail at each call that planning makes, assert that nothing
    changes, and return the names of the functions which failed.
    """
    failed: set[str] = set()
    for call in itertools.count(1):
        with nothing_changes(pc):
            name = await fail_at(call, pc, apply)
            if call % 20 == 1:
                await asyncio.sleep(0.1)
        if name is None:
            return failed
        failed.add(name)
    raise AssertionError


@asynccontextmanager
async def prepared(
    network: Network, policy: RTCBundlePolicy, connected: bool
) -> AsyncIterator[Peers]:
    """
    Have two peers, connected or not, of which the first has things to offer.
    """
    configuration = RTCConfiguration(iceServers=[], bundlePolicy=policy)
    async with peers(network, configuration=configuration) as both:
        for pc in both:
            pc.addTrack(Pictures())
        if connected:
            await negotiate(*both)
            await switched(*both)
            await flowing(*both)
        both[0].addTransceiver("audio", "recvonly")
        both[0].addTrack(Pictures())
        both[0].createDataChannel("test")
        # The events of all this are over.
        await asyncio.sleep(SETTLING)
        yield both


async def works(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    """
    Wait until a call flows, and restart it both ways.
    """
    await switched(offerer, answerer)
    await flowing(answerer)
    await restart(answerer, offerer)
    await restart(offerer, answerer)
    await flowing(answerer)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("connected", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_remote_offer(
    network: Network,
    policy: RTCBundlePolicy,
    connected: bool,
    restarts: bool,
) -> None:
    """
    An offer of the peer's which fails in any step leaves nothing behind.
    """
    async with prepared(network, policy, connected) as (offerer, pc):
        offer = await offered(offerer, iceRestart=restarts)
        came_to = await fail_everywhere(pc, lambda: pc.setRemoteDescription(offer))
        assert came_to >= MADE
        await offerer.setRemoteDescription(await answered(pc, offer))
        await works(offerer, pc)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("connected", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_remote_offer_instead(
    network: Network,
    policy: RTCBundlePolicy,
    connected: bool,
    restarts: bool,
) -> None:
    """
    So does one in the place of another of the peer's, which is still there then.
    """
    async with prepared(network, policy, connected) as (offerer, pc):
        stopped = offerer.addTransceiver("video")
        offerer.addTransceiver("audio", "inactive")
        for last in (False, True):
            await offered(offerer, iceRestart=not restarts)
            await pc.setRemoteDescription(offerer.localDescription)
            if last:
                break
            await offerer.setLocalDescription(ROLLBACK)
            await stopped.stop()
            offer = await offered(offerer, iceRestart=restarts)
            came_to = await fail_everywhere(
                pc,
                functools.partial(pc.setRemoteDescription, offer),
            )
            assert came_to >= {"find_common_codecs", "check_credentials"}
            await offerer.setLocalDescription(ROLLBACK)
        await pc.setLocalDescription()
        await offerer.setRemoteDescription(pc.localDescription)
        await works(offerer, pc)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("connected", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_remote_answer(
    network: Network,
    policy: RTCBundlePolicy,
    connected: bool,
    restarts: bool,
) -> None:
    """
    After an answer which fails in any step our offer stands, with its sockets, and the
    good answer is taken.
    """
    async with prepared(network, policy, connected) as (pc, answerer):
        offer = await offered(pc, iceRestart=restarts)
        sockets = network.sockets("alice")
        answer = await answered(answerer, offer)
        for bad in (answer, provisional(answer)):
            came_to = await fail_everywhere(
                pc, functools.partial(pc.setRemoteDescription, bad)
            )
            assert came_to >= {"find_common_codecs", "check_credentials"}
        assert pc.localDescription == offer
        assert network.sockets("alice") == sockets
        await pc.setRemoteDescription(answer)
        await works(pc, answerer)


@pytest.mark.parametrize("connected", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_local_offer(
    network: Network,
    connected: bool,
    restarts: bool,
) -> None:
    """
    An offer of ours which fails in any step leaves nothing behind, also in the place of
    one which is pending.
    """
    async with prepared(network, RTCBundlePolicy.BALANCED, connected) as both:
        pc, answerer = both
        offer = await pc.createOffer(iceRestart=restarts)
        for _ in range(2):
            came_to = await fail_everywhere(pc, lambda: pc.setLocalDescription(offer))
            assert came_to >= {"local_offer", "check_transport"}
            await offered(pc, iceRestart=not restarts)
        await pc.setLocalDescription(offer)
        answer = await answered(answerer, pc.localDescription)
        await pc.setRemoteDescription(answer)
        await works(pc, answerer)


@pytest.mark.parametrize("connected", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_local_answer(
    network: Network,
    connected: bool,
    restarts: bool,
) -> None:
    """
    After an answer of ours which fails in any step the good one works.
    """
    async with prepared(network, RTCBundlePolicy.BALANCED, connected) as both:
        offerer, pc = both
        offer = await offered(offerer, iceRestart=restarts)
        await pc.setRemoteDescription(offer)
        answer = await pc.createAnswer()
        for bad in (answer, provisional(answer)):
            came_to = await fail_everywhere(
                pc, functools.partial(pc.setLocalDescription, bad)
            )
            assert came_to >= {"local_answer", "check_restart"}
        await pc.setLocalDescription(answer)
        await offerer.setRemoteDescription(pc.localDescription)
        await works(offerer, pc)
