"""
What is held for a restart which has not been answered.
"""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest

from aiortc_restart import (
    RTCIceCandidate,
    RTCSessionDescription,
)
from aiortc_restart.ice.connection import MAX_REMOTE_CANDIDATES

from .calls import (
    RETIREMENT,
    SETTLING,
    answered,
    ice_transport,
    offered,
    restart,
    switched,
    ufrag_of,
)
from .network import Network
from .utils import (
    Pair,
    candidates,
    connected_pair,
)


def candidate(number: int, username: str | None, mid: str = "0") -> RTCIceCandidate:
    return RTCIceCandidate(
        component=1,
        foundation=str(number),
        ip="10.0.9.9",
        port=1024 + number,
        priority=1,
        protocol="udp",
        type="host",
        sdpMid=mid,
        usernameFragment=username,
    )


async def end_by_answer(pair: Pair, plain: RTCSessionDescription) -> None:
    await pair.answerer.setLocalDescription()
    await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
    await switched(pair.offerer, pair.answerer)
    await restart(pair.offerer, pair.answerer)


async def end_by_plain_offer(pair: Pair, plain: RTCSessionDescription) -> None:
    await pair.offerer.setLocalDescription(plain)
    answer = await answered(pair.answerer, pair.offerer.localDescription)
    await pair.offerer.setRemoteDescription(answer)


async def end_by_other_restart(pair: Pair, plain: RTCSessionDescription) -> None:
    offer = await offered(pair.offerer, iceRestart=True)
    await pair.answerer.setRemoteDescription(offer)


async def hold_candidates(
    pair: Pair, named: bool
) -> list["weakref.ReferenceType[object]"]:
    """
    Offer a restart with many candidates, and return the generation which holds them.
    """
    offer = await offered(pair.offerer, iceRestart=True)
    await pair.answerer.setRemoteDescription(offer)
    username = ufrag_of(offer)
    for number in range(1000):
        await pair.answerer.addIceCandidate(
            candidate(number, username if named else None)
        )
    pending = ice_transport(pair.answerer).generations[-1]
    assert 50 <= len(pending.connection.remote_candidates) <= MAX_REMOTE_CANDIDATES
    return [weakref.ref(pending), weakref.ref(pending.connection)]


@pytest.mark.parametrize(
    "end", [end_by_answer, end_by_plain_offer, end_by_other_restart]
)
@pytest.mark.parametrize("named", [True, False], ids=["named", "unnamed"])
async def test_held_candidates(
    network: Network,
    end: Callable[[Pair, RTCSessionDescription], Awaitable[None]],
    named: bool,
) -> None:
    """
    What is held for an unanswered restart is bounded, and given back however it ends.
    """
    async with connected_pair(network) as pair:
        plain = await pair.offerer.createOffer()
        released = await hold_candidates(pair, named)
        await end(pair, plain)
        await asyncio.sleep(RETIREMENT)
        gc.collect()
        assert [x() for x in released] == [None, None]


async def test_held_candidates_closed(network: Network) -> None:
    """
    What is held for an unanswered restart goes with the connection that is closed.
    """

    async def call() -> list["weakref.ReferenceType[object]"]:
        async with connected_pair(network) as pair:
            released = await hold_candidates(pair, True)
            return [*released, weakref.ref(pair.answerer)]

    released = await call()
    gc.collect()
    assert [x() for x in released] == [None, None, None]


async def test_trickled_candidates_used(network: Network) -> None:
    """
    Candidates which come between the restart's offer and its answer are used.
    """
    async with connected_pair(network) as pair:
        offer = await offered(pair.offerer, iceRestart=True)
        found = candidates(offer)
        empty = "".join(
            x
            for x in offer.sdp.splitlines(keepends=True)
            if not x.startswith(("a=candidate", "a=end-of-candidates"))
        )
        await pair.answerer.setRemoteDescription(
            RTCSessionDescription(sdp=empty, type="offer")
        )
        for x in found:
            await pair.answerer.addIceCandidate(x)
        await pair.answerer.setLocalDescription()
        # The offerer, which has no answer yet, sends no check that would tell it more.
        await asyncio.sleep(2 * SETTLING)
        ports = {x.port for x in found}
        assert any(x.destination[1] in ports for x in network.log)
        await pair.offerer.setRemoteDescription(pair.answerer.localDescription)
        await switched(pair.offerer, pair.answerer)
