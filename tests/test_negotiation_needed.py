"""
The event which asks for a negotiation: restarts, and when it is fired.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from aiortc_restart import RTCPeerConnection

from .calls import (
    SETTLING,
    answered,
    offered,
    paths,
    peers,
    restart,
    switched,
)
from .network import Network
from .utils import (
    connected_pair,
    event,
    negotiate,
    states,
)


async def test_fired_from_the_loop(network: Network) -> None:
    """
    `restartIce()` returns before the event is fired, which happens soon after.
    """
    # webrtc-pc #dfn-update-the-negotiation-needed-flag
    async with connected_pair(network) as pair:
        history = states(pair.offerer)
        result: object = pair.offerer.restartIce()  # type: ignore[func-returns-value]
        assert result is None
        assert history.negotiationneeded == 0
        for _ in range(10):
            await asyncio.sleep(0)
        assert history.negotiationneeded == 1
        assert network.now < SETTLING


async def test_arguments(network: Network) -> None:
    """
    The event has no argument, and its handler may be a coroutine function.
    """
    async with connected_pair(network) as pair:
        called: list[tuple[object, ...]] = []

        async def handle(*arguments: object) -> None:
            await asyncio.sleep(0)
            called.append(arguments)

        pair.offerer.on("negotiationneeded", handle)
        pair.offerer.restartIce()
        assert await event(pair.offerer, "negotiationneeded") == ()
        await asyncio.sleep(SETTLING)
        assert called == [()]


async def test_once(network: Network) -> None:
    """
    Several calls fire the event once, in one turn or one after another.
    """
    async with connected_pair(network) as pair:
        history = states(pair.offerer)
        for _ in range(3):
            pair.offerer.restartIce()
            pair.offerer.restartIce()
            await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1
        # Offers which are not applied are not negotiations.
        await pair.offerer.createOffer()
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1


async def test_handler_negotiates(network: Network) -> None:
    """
    A handler which negotiates whenever it is asked to is all that a restart needs.
    """
    async with connected_pair(network) as pair:
        before = paths(pair.offerer, pair.answerer)
        history = states(pair.offerer)

        async def handle() -> None:
            await pair.offerer.setLocalDescription()
            answer = await answered(pair.answerer, pair.offerer.localDescription)
            await pair.offerer.setRemoteDescription(answer)

        pair.offerer.on("negotiationneeded", handle)
        for count in range(1, 4):
            pair.offerer.restartIce()
            await event(pair.offerer, "negotiationneeded")
            await asyncio.sleep(SETTLING)
            await switched(pair.offerer, pair.answerer)
            assert history.negotiationneeded == count
            after = paths(pair.offerer, pair.answerer)
            assert set(before[0]).isdisjoint(after[0])
            before = after
        assert history.signaling == ["stable", *3 * ["have-local-offer", "stable"]]


async def test_handler_restarts(network: Network) -> None:
    """
    A handler which calls `restartIce()` is not called for ever.
    """
    async with connected_pair(network) as pair:
        history = states(pair.offerer)
        pair.offerer.on("negotiationneeded", pair.offerer.restartIce)
        pair.offerer.restartIce()
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1


async def test_before_the_first_negotiation(network: Network) -> None:
    """
    Before the first negotiation there is nothing to restart, also not afterwards.
    """
    async with peers(network) as (offerer, answerer):
        histories = [states(offerer), states(answerer)]
        offerer.createDataChannel("test")
        offerer.restartIce()
        answerer.restartIce()
        await asyncio.sleep(SETTLING)
        await negotiate(offerer, answerer)
        await asyncio.sleep(SETTLING)
        assert [x.connection[-1] for x in histories] == ["connected"] * 2
        # That was for the data channel.
        assert [x.negotiationneeded for x in histories] == [1, 0]


async def test_during_the_first_negotiation(network: Network) -> None:
    """
    The credentials of the first offer, while it is pending, are ones to replace.
    """
    # webrtc-pc #dom-rtcpeerconnection-restartice
    async with peers(network) as (offerer, answerer):
        history = states(offerer)
        offerer.createDataChannel("test")
        offer = await offered(offerer)
        offerer.restartIce()
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 0
        await offerer.setRemoteDescription(await answered(answerer, offer))
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1
        await switched(offerer, answerer)
        before = paths(offerer)
        await negotiate(offerer, answerer)
        await switched(offerer, answerer)
        assert paths(offerer) != before
        assert history.negotiationneeded == 1


@pytest.mark.parametrize("late", [False, True], ids=["before", "meanwhile"])
async def test_have_local_offer(network: Network, late: bool) -> None:
    """
    The event is not fired outside of `stable`, and then on the return to it.
    """
    async with connected_pair(network) as pair:
        history = states(pair.offerer)
        plain = await pair.offerer.createOffer()
        if not late:
            # The signaling state changes before the event would be fired.
            pair.offerer.restartIce()
            await pair.offerer.setLocalDescription(plain)
        else:
            await pair.offerer.setLocalDescription(plain)
            pair.offerer.restartIce()
        await asyncio.sleep(SETTLING)
        assert history.signaling == ["stable", "have-local-offer"]
        assert history.negotiationneeded == 0
        answer = await answered(pair.answerer, pair.offerer.localDescription)
        await pair.offerer.setRemoteDescription(answer)
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1


async def test_have_remote_offer(network: Network) -> None:
    """
    An answerer is not asked before it has answered.
    """
    async with connected_pair(network) as pair:
        history = states(pair.answerer)
        await pair.answerer.setRemoteDescription(await offered(pair.offerer))
        pair.answerer.restartIce()
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 0
        await pair.answerer.setLocalDescription()
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1


async def directly(coro: Awaitable[None]) -> None:
    await coro


async def in_task(coro: Awaitable[None]) -> None:
    await asyncio.ensure_future(coro)


async def in_gather(coro: Awaitable[None]) -> None:
    await asyncio.gather(coro)


async def in_timeout(coro: Awaitable[None]) -> None:
    await asyncio.wait_for(coro, 10)


@pytest.mark.parametrize("how", [directly, in_task, in_gather, in_timeout])
@pytest.mark.parametrize("role", ["offerer", "answerer"])
async def test_after_the_promise(
    network: Network, how: Callable[[Any], Awaitable[None]], role: str
) -> None:
    """
    Who awaits the step that leads back to `stable` sees its end before the event.
    """
    async with connected_pair(network) as pair:
        pc = getattr(pair, role)
        order: list[str] = []
        pc.on("negotiationneeded", lambda: order.append("event"))
        pc.on("signalingstatechange", lambda: order.append(pc.signalingState))
        offer = await offered(pair.offerer)
        if role == "offerer":
            pc.restartIce()
            step = pc.setRemoteDescription(await answered(pair.answerer, offer))
        else:
            await pair.answerer.setRemoteDescription(offer)
            pc.restartIce()
            step = pc.setLocalDescription()
        await asyncio.sleep(SETTLING)
        await how(step)
        order.append("promise")
        await asyncio.sleep(SETTLING)
        assert order[1:] == ["stable", "promise", "event"]


@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_during_a_step(network: Network, restarts: bool) -> None:
    """
    A call in the midst of a step, in `stable`, is heard when the step has ended.
    """
    # webrtc-pc #dfn-update-the-negotiation-needed-flag
    async with connected_pair(network) as pair:
        pc = pair.answerer
        order: list[str] = []

        def restart_ice() -> None:
            order.append(pc.signalingState)
            pc.restartIce()

        await pc.setRemoteDescription(await offered(pair.offerer, iceRestart=restarts))
        # In any case there is something to gather for.
        pc.addTransceiver("audio")
        pc.on("negotiationneeded", lambda: order.append("event"))
        pc.on("signalingstatechange", restart_ice)
        # It gathers after the signaling state has become stable.
        await pc.setLocalDescription()
        order.append("promise")
        await asyncio.sleep(SETTLING)
        assert order == ["stable", "promise", "event"]


@pytest.mark.parametrize("closed", ["before", "after"])
async def test_closed(network: Network, closed: str) -> None:
    """
    A closed connection fires nothing, also if the call came before its end.
    """
    async with connected_pair(network) as pair:
        fired: list[str] = []
        if closed == "before":
            await pair.offerer.close()
        pair.offerer.on("negotiationneeded", lambda: fired.append("event"))
        pair.offerer.restartIce()
        if closed == "after":
            await pair.offerer.close()
            pair.offerer.on("negotiationneeded", lambda: fired.append("event"))
        await asyncio.sleep(SETTLING)
        assert fired == []


class Coroutine(RTCPeerConnection):
    """
    A peer of an application which had a coroutine of that name before aiortc had one.
    """

    other: RTCPeerConnection

    async def restartIce(self) -> None:  # type: ignore[override]
        offer = await self.createOffer(iceRestart=True)
        await self.setLocalDescription(offer)
        answer = await answered(self.other, self.localDescription)
        await self.setRemoteDescription(answer)


async def test_subclass_with_coroutine(network: Network) -> None:
    """
    A subclass may override `restartIce()` as a coroutine.
    """
    async with connected_pair(network, offerer=Coroutine) as pair:
        history = states(pair.offerer)
        assert isinstance(pair.offerer, Coroutine)
        pair.offerer.other = pair.answerer
        for _ in range(2):
            before = paths(pair.offerer)
            await pair.offerer.restartIce()
            await switched(pair.offerer, pair.answerer)
            assert paths(pair.offerer) != before
        assert history.negotiationneeded == 0
        await restart(pair.answerer, pair.offerer)
