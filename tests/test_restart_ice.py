"""
What satisfies `restartIce()`, and what does not: until something does, the event asks
for it again (webrtc-pc #dom-rtcpeerconnection-restartice).
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiortc import RTCSessionDescription

from .calls import (
    SETTLING,
    answered,
    offered,
    paths,
    restart,
    switched,
)
from .network import Network
from .utils import (
    Pair,
    connected_pair,
    credentials,
    negotiate,
    states,
)


async def test_between_offer_and_application(network: Network) -> None:
    """
    An offer made before `restartIce()` does not satisfy it: the event is fired again.
    """
    async with connected_pair(network) as pair:
        history = states(pair.offerer)
        before = paths(pair.offerer)
        offer = await pair.offerer.createOffer()
        pair.offerer.restartIce()
        await pair.offerer.setLocalDescription(offer)
        answer = await answered(pair.answerer, pair.offerer.localDescription)
        await pair.offerer.setRemoteDescription(answer)
        await asyncio.sleep(SETTLING)
        assert paths(pair.offerer) == before
        assert history.negotiationneeded == 1
        await negotiate(pair.offerer, pair.answerer)
        await switched(pair.offerer, pair.answerer)
        assert paths(pair.offerer) != before
        assert history.negotiationneeded == 1


async def test_pending_restart_is_not_enough(network: Network) -> None:
    """
    A call while a restart offer is pending asks for yet another restart.
    """
    # The pending credentials are among those to replace.
    async with connected_pair(network) as pair:
        history = states(pair.offerer)
        offer = await offered(pair.offerer, iceRestart=True)
        pair.offerer.restartIce()
        answer = await answered(pair.answerer, offer)
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        assert history.negotiationneeded == 1
        assert credentials(await pair.offerer.createOffer()) != credentials(offer)


async def plain_by_us(pair: Pair, plain: RTCSessionDescription) -> None:
    await pair.offerer.setLocalDescription(plain)
    answer = await answered(pair.answerer, pair.offerer.localDescription)
    await pair.offerer.setRemoteDescription(answer)


async def plain_by_peer(pair: Pair, plain: RTCSessionDescription) -> None:
    await negotiate(pair.answerer, pair.offerer)


@pytest.mark.parametrize("negotiation", [plain_by_us, plain_by_peer])
async def test_again(
    network: Network,
    negotiation: Callable[[Pair, RTCSessionDescription], Awaitable[None]],
) -> None:
    """
    The event is fired again after each negotiation that did not restart, until one has.
    """
    async with connected_pair(network) as pair:
        history = states(pair.offerer)
        before = paths(pair.offerer)
        plain = await pair.offerer.createOffer()
        pair.offerer.restartIce()
        await asyncio.sleep(SETTLING)
        for count in range(1, 4):
            assert history.negotiationneeded == count
            await negotiation(pair, plain)
            await asyncio.sleep(SETTLING)
            assert paths(pair.offerer) == before
        await restart_without_option(pair)
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 4
        # It is satisfied, and stays so.
        await negotiate(pair.offerer, pair.answerer)
        await negotiate(pair.answerer, pair.offerer)
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 4


async def restart_without_option(pair: Pair) -> None:
    before = paths(pair.offerer)
    await negotiate(pair.offerer, pair.answerer)
    await switched(pair.offerer, pair.answerer)
    assert paths(pair.offerer) != before


@pytest.mark.parametrize("when", ["stable", "have-remote-offer"])
async def test_satisfied_by_the_peer(network: Network, when: str) -> None:
    """
    A restart which the peer offers and we answer is the one that was asked for.
    """
    async with connected_pair(network) as pair:
        history = states(pair.answerer)
        if when == "stable":
            pair.answerer.restartIce()
        await asyncio.sleep(SETTLING)
        offer = await offered(pair.offerer, iceRestart=True)
        await pair.answerer.setRemoteDescription(offer)
        if when != "stable":
            pair.answerer.restartIce()
        await pair.answerer.setLocalDescription()
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await switched(pair.offerer, pair.answerer)
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == (1 if when == "stable" else 0)
        said = credentials(pair.answerer.localDescription)
        assert credentials(await pair.answerer.createOffer()) == said


async def test_option_false(network: Network) -> None:
    """
    `restartIce()` wins over `iceRestart=False`.
    """
    async with connected_pair(network) as pair:
        pair.offerer.restartIce()
        before = paths(pair.offerer)
        await negotiate(pair.offerer, pair.answerer, iceRestart=False)
        await switched(pair.offerer, pair.answerer)
        assert set(before[0]).isdisjoint(paths(pair.offerer)[0])


async def test_option_is_no_request(network: Network) -> None:
    """
    A restart by `iceRestart=True` fires nothing, neither here nor there.
    """
    async with connected_pair(network) as pair:
        histories = [states(pair.offerer), states(pair.answerer)]
        await restart(pair.offerer, pair.answerer)
        await asyncio.sleep(SETTLING)
        assert [x.negotiationneeded for x in histories] == [0, 0]


async def test_option_satisfies(network: Network) -> None:
    """
    A restart by `iceRestart=True` is the one that was asked for.
    """
    async with connected_pair(network) as pair:
        history = states(pair.offerer)
        pair.offerer.restartIce()
        await asyncio.sleep(SETTLING)
        await restart(pair.offerer, pair.answerer)
        await asyncio.sleep(SETTLING)
        assert history.negotiationneeded == 1
        said = credentials(pair.offerer.localDescription)
        assert credentials(await pair.offerer.createOffer()) == said
