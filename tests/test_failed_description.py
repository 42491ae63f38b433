"""
A description which fails changes nothing and fires nothing, wherever it fails, and the
next good one works.
"""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiortc.rtcpeerconnection
import pytest

from aiortc_restart import (
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSctpTransport,
)
from aiortc_restart._aiortc import RTCRtpTransceiver

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

BASE = aiortc.rtcpeerconnection

POLICIES = [RTCBundlePolicy.BALANCED, RTCBundlePolicy.MAX_BUNDLE]

# Where a remote description may fail, in the order in which aiortc gets there.
REMOTE = [
    (RTCPeerConnection, "_apply_remote_credentials"),
    (BASE, "find_common_codecs"),
    (BASE, "find_common_header_extensions"),
    (BASE, "RTCRtpTransceiver"),
    (BASE, "RemoteStreamTrack"),
    (BASE, "RTCSctpTransport"),
    (RTCRtpReceiver, "setTransport"),
    (RTCSctpTransport, "setTransport"),
    (BASE, "add_remote_candidates"),
    (RTCPeerConnection, "_join_bundle"),
]

# Where a local one may, before it is in force.
LOCAL = [
    (RTCPeerConnection, "_apply_local_credentials"),
    (RTCRtpTransceiver, "_set_mid"),
    (RTCRtpTransceiver, "_setCurrentDirection"),
]


class Failure(Exception):
    """
    What is injected.
    """


class Unreached(Exception):
    """
    What is injected behind it.
    """


def failing(
    pc: RTCPeerConnection, real: Callable[..., Any], count: int
) -> Callable[..., Any]:
    """
    Return a function which, when it is called for the given time while a description
    is applied, fails after having done its work.
    """
    calls = 0

    def fail(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += pc._step is not None
        result = real(*args, **kwargs)
        if calls == count and pc._step is not None:
            if asyncio.iscoroutine(result):
                return fail_later(result)
            raise Failure
        return result

    async def fail_later(coro: Awaitable[Any]) -> None:
        await coro
        raise Failure

    return fail


async def fail_everywhere(
    pc: RTCPeerConnection,
    steps: list[tuple[Any, str]],
    apply: Callable[[], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> set[str]:
    """
    Have a description fail in each step, as often as it comes there, assert that
    nothing changes, and return the steps to which it comes.
    """

    def fail_last(*args: object) -> None:
        raise Unreached

    came_to = set()
    for target, name in steps:
        for count in range(1, 100):
            with nothing_changes(pc), monkeypatch.context() as patch:
                patch.setattr(target, name, failing(pc, getattr(target, name), count))
                patch.setattr(RTCPeerConnection, "_put_in_force", fail_last)
                with pytest.raises((Failure, Unreached)) as info:
                    await apply()
                await asyncio.sleep(0.1)
            if info.type is Unreached:
                break
            came_to.add(name)
    return came_to


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
    monkeypatch: pytest.MonkeyPatch,
    policy: RTCBundlePolicy,
    connected: bool,
    restarts: bool,
) -> None:
    """
    An offer of the peer's which fails in any step leaves nothing behind.
    """
    async with prepared(network, policy, connected) as (offerer, pc):
        offer = await offered(offerer, iceRestart=restarts)
        came_to = await fail_everywhere(
            pc, REMOTE, lambda: pc.setRemoteDescription(offer), monkeypatch
        )
        assert came_to >= {name for _, name in REMOTE} - {"setTransport"}
        await offerer.setRemoteDescription(await answered(pc, offer))
        await works(offerer, pc)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("connected", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_remote_offer_instead(
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
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
                REMOTE,
                functools.partial(pc.setRemoteDescription, offer),
                monkeypatch,
            )
            assert came_to >= {"find_common_codecs", "add_remote_candidates"}
            await offerer.setLocalDescription(ROLLBACK)
        await pc.setLocalDescription()
        await offerer.setRemoteDescription(pc.localDescription)
        await works(offerer, pc)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("connected", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_remote_answer(
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
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
                pc, REMOTE, functools.partial(pc.setRemoteDescription, bad), monkeypatch
            )
            assert came_to >= {"find_common_codecs", "add_remote_candidates"}
        assert pc.localDescription == offer
        assert network.sockets("alice") == sockets
        await pc.setRemoteDescription(answer)
        await works(pc, answerer)


@pytest.mark.parametrize("connected", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_local_offer(
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
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
            came_to = await fail_everywhere(
                pc, LOCAL, lambda: pc.setLocalDescription(offer), monkeypatch
            )
            assert came_to == {"_apply_local_credentials", "_set_mid"}
            await offered(pc, iceRestart=not restarts)
        await pc.setLocalDescription(offer)
        answer = await answered(answerer, pc.localDescription)
        await pc.setRemoteDescription(answer)
        await works(pc, answerer)


@pytest.mark.parametrize("connected", [False, True], ids=["first", "again"])
@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_local_answer(
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
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
                pc, LOCAL, functools.partial(pc.setLocalDescription, bad), monkeypatch
            )
            assert came_to == {name for _, name in LOCAL}
        await pc.setLocalDescription(answer)
        await offerer.setRemoteDescription(pc.localDescription)
        await works(offerer, pc)
