"""
Calls that are cancelled, at each turn of the event loop: afterwards the connection is
usable or closed, and nothing is left behind.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import pytest

from aiortc_restart import (
    InvalidStateError,
    RTCConfiguration,
    RTCIceCandidate,
    RTCPeerConnection,
    RTCSessionDescription,
)

from .calls import ROLLBACK, peers
from .found import asking
from .network import Network
from .probes import stun_server
from .utils import Pair, candidates, negotiate, until

MOST_TURNS = 1000
"No call takes as many turns of the event loop on a network without delay."


@dataclass
class Negotiation:
    """
    Two peers, and how far they have come.
    """

    offerer: RTCPeerConnection
    answerer: RTCPeerConnection
    restart: bool

    offer: RTCSessionDescription | None = None
    answer: RTCSessionDescription | None = None

    async def create_offer(self) -> None:
        self.offer = await self.offerer.createOffer(iceRestart=self.restart)

    async def set_local_offer(self) -> None:
        await self.offerer.setLocalDescription(self.offer)

    async def set_remote_offer(self) -> None:
        await self.answerer.setRemoteDescription(self.offerer.localDescription)

    async def add_candidate(self) -> None:
        for candidate in candidates(self.offerer.localDescription):
            await self.answerer.addIceCandidate(candidate)

    async def create_answer(self) -> None:
        self.answer = await self.answerer.createAnswer()

    async def set_local_answer(self) -> None:
        await self.answerer.setLocalDescription(self.answer)

    async def set_remote_answer(self) -> None:
        await self.offerer.setRemoteDescription(self.answerer.localDescription)

    async def roll_back(self) -> None:
        """
        Take back what has not been answered, as applications do that start over.
        """
        for pc in (self.offerer, self.answerer):
            if pc.signalingState == "have-local-offer":
                await pc.setLocalDescription(ROLLBACK)
            elif pc.signalingState == "have-remote-offer":
                await pc.setRemoteDescription(ROLLBACK)


STEPS: list[Callable[[Negotiation], Coroutine[Any, Any, None]]] = [
    Negotiation.create_offer,
    Negotiation.set_local_offer,
    Negotiation.set_remote_offer,
    Negotiation.add_candidate,
    Negotiation.create_answer,
    Negotiation.set_local_answer,
    Negotiation.set_remote_answer,
]

IMPLICIT: dict[str, tuple[int, Callable[[Negotiation], Awaitable[None]]]] = {
    "offer": (0, lambda x: x.offerer.setLocalDescription()),
    "answer": (4, lambda x: x.answerer.setLocalDescription()),
}
"After how many steps a description is both created and set."

every_way = [
    pytest.mark.parametrize("trickles", [False, True]),
    pytest.mark.parametrize("restart", [False, True]),
]


def ways(function: Any) -> Any:
    for mark in every_way:
        function = mark(function)
    return function


async def cancelled_at(coroutine: Awaitable[None], turn: int) -> bool:
    """
    Run a call, cancel it in a turn of the event loop, and tell whether it had not ended
    before.
    """
    task = asyncio.ensure_future(coroutine)
    for _ in range(turn):
        await asyncio.sleep(0)
        if task.done():
            await task
            return False
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return True


@contextlib.asynccontextmanager
async def negotiating(
    network: Network, trickles: bool, restart: bool
) -> AsyncIterator[tuple[Negotiation, Pair]]:
    """
    Make two peers that are about to negotiate, for the first time or once more.
    """
    configuration = RTCConfiguration(iceServers=[], iceTrickle=trickles)
    async with peers(network, configuration=configuration) as (offerer, answerer):
        if trickles:
            offerer.on("icecandidate", lambda x: pass_on(x, answerer))
            answerer.on("icecandidate", lambda x: pass_on(x, offerer))
        options: dict[str, Any] = {"negotiated": True, "id": 0}
        pair = Pair(
            offerer,
            answerer,
            offerer.createDataChannel("test", **options),
            answerer.createDataChannel("test", **options),
        )
        if restart:
            await negotiate(offerer, answerer)
            await connected(pair)
        yield Negotiation(offerer, answerer, restart), pair


async def pass_on(candidate: RTCIceCandidate | None, to: RTCPeerConnection) -> None:
    if to.connectionState != "closed":
        with contextlib.suppress(InvalidStateError):
            await to.addIceCandidate(candidate)


async def connected(pair: Pair) -> None:
    channels = pair.channel, pair.remote_channel
    await until(
        lambda: all(x.readyState == "open" for x in channels),
        message=lambda: str(
            [
                (x.signalingState, x.iceConnectionState, x.connectionState)
                for x in (pair.offerer, pair.answerer)
            ]
        ),
    )
    await pair.exchange()


async def assert_usable(negotiation: Negotiation, pair: Pair) -> None:
    """
    Assert that the next negotiation connects the peers, and that data flows.
    """
    if negotiation.restart:
        await pair.exchange()
    await negotiation.roll_back()
    await negotiate(pair.offerer, pair.answerer, iceRestart=negotiation.restart)
    await connected(pair)
    for pc in (pair.offerer, pair.answerer):
        await until(lambda pc=pc: pc.iceConnectionState == "completed")  # type: ignore[misc]


@ways
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("number", range(len(STEPS)), ids=[x.__name__ for x in STEPS])
async def test_step(
    network: Network, number: int, waits: bool, trickles: bool, restart: bool
) -> None:
    """
    A step of a negotiation that is cancelled in any turn, also while it waits for
    another one, leaves a connection that negotiates anew.
    """
    for turn in itertools.count():
        async with negotiating(network, trickles, restart) as (negotiation, pair):
            for step in STEPS[:number]:
                await step(negotiation)
            before = [
                asyncio.ensure_future(x.createOffer())
                for x in (pair.offerer, pair.answerer)
                if waits
            ]
            if waits:
                await asyncio.sleep(0)
            is_cancelled = await cancelled_at(STEPS[number](negotiation), turn)
            await asyncio.gather(*before, return_exceptions=True)
            await assert_usable(negotiation, pair)
        if not is_cancelled:
            break
        assert turn < MOST_TURNS


@ways
@pytest.mark.parametrize("name", IMPLICIT)
async def test_implicit(
    network: Network, name: str, trickles: bool, restart: bool
) -> None:
    """
    So does setLocalDescription() that makes the description itself.
    """
    number, call = IMPLICIT[name]
    for turn in itertools.count():
        async with negotiating(network, trickles, restart) as (negotiation, pair):
            for step in STEPS[:number]:
                await step(negotiation)
            is_cancelled = await cancelled_at(call(negotiation), turn)
            await assert_usable(negotiation, pair)
        if not is_cancelled:
            break
        assert turn < MOST_TURNS


@ways
@pytest.mark.parametrize("number", range(len(STEPS) + 1))
async def test_close(
    network: Network, number: int, trickles: bool, restart: bool
) -> None:
    """
    close() that is cancelled in any turn, after any step of a negotiation, closes the
    connection all the same.
    """
    for turn in itertools.count():
        async with negotiating(network, trickles, restart) as (negotiation, pair):
            for step in STEPS[:number]:
                await step(negotiation)
            is_cancelled = await cancelled_at(pair.offerer.close(), turn)
            if is_cancelled and turn:
                await until(lambda: network.sockets("alice") == 0)
                assert pair.offerer.connectionState == "closed"
                assert pair.channel.readyState == "closed"
        if not is_cancelled:
            break
        assert turn < MOST_TURNS


@ways
async def test_close_while_a_step_runs(
    network: Network, trickles: bool, restart: bool
) -> None:
    """
    close() that is cancelled while setLocalDescription() runs ends that, too.
    """
    for turn in range(10):
        async with negotiating(network, trickles, restart) as (negotiation, pair):
            await negotiation.create_offer()
            setting = asyncio.ensure_future(negotiation.set_local_offer())
            await asyncio.sleep(0)
            await cancelled_at(pair.offerer.close(), turn + 1)
            await asyncio.wait([setting])
            # It may have been done before.
            setting.exception()
            await until(lambda: network.sockets("alice") == 0)
            assert pair.offerer.connectionState == "closed"


@pytest.mark.parametrize("restart", [False, True])
async def test_gathering_goes_on(network: Network, restart: bool) -> None:
    """
    A description that was in force when its call was cancelled gets its candidates.
    """
    server = await stun_server(network, 1.0)
    async with negotiating(network, False, restart) as (negotiation, pair):
        configuration = asking("stun:10.0.9.1:3478", iceTrickle=False)
        pair.offerer.setConfiguration(configuration)
        await negotiation.create_offer()
        setting = asyncio.ensure_future(negotiation.set_local_offer())
        await asyncio.sleep(0.5)
        setting.cancel()
        await asyncio.wait([setting])
        assert setting.cancelled()
        assert pair.offerer.signalingState == "have-local-offer"
        await until(lambda: pair.offerer.iceGatheringState == "complete")
        found = candidates(pair.offerer.localDescription)
        assert {x.type for x in found} == {"host", "srflx"}
        for step in STEPS[2:]:
            await step(negotiation)
        await connected(pair)
    server.close()
