"""
Restarts which are replaced, given up or never end.
"""

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest

from aiortc_restart import RTCIceCandidate, RTCPeerConnection, RTCSessionDescription
from aiortc_restart.ice.connection import MAX_REMOTE_CANDIDATES

from .calls import (
    RETIREMENT,
    SETTLING,
    answered,
    ice_transport,
    offered,
    paths,
    restart,
    sections,
    switched,
    ufrag_of,
)
from .network import Network
from .utils import Pair, candidates, connected_pair, credentials, negotiate, states

DEADLINE = 40.0
"Seconds after which a restart has been given up."

ROUNDS = 10


def bounded(network: Network, pair: Pair) -> None:
    """
    Assert that there are a current and a pending generation, and no more.
    """
    for pc in (pair.offerer, pair.answerer):
        assert len(ice_transport(pc).generations) <= 2
    assert network.sockets("alice") <= 2
    assert network.sockets("bob") <= 2


async def test_offer_replaced(network: Network) -> None:
    """
    Of several restart offers without answers the last one counts.
    """
    async with connected_pair(network) as pair:
        before = paths(pair.offerer, pair.answerer)
        seen = set()
        for _ in range(ROUNDS):
            offer = await offered(pair.offerer, iceRestart=True)
            await pair.answerer.setRemoteDescription(offer)
            await asyncio.sleep(SETTLING)
            bounded(network, pair)
            assert paths(pair.offerer, pair.answerer) == before
            seen.update(credentials(offer))
        assert len(seen) == ROUNDS
        answer = await answered(pair.answerer, offer)
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        assert paths(pair.offerer)[0][0] == ufrag_of(offer)
        await asyncio.sleep(RETIREMENT)
        assert network.sockets("alice") == network.sockets("bob") == 1
        await pair.exchange()


async def test_answered_but_not_connected(network: Network) -> None:
    """
    A restart whose checks get nowhere is replaced by the next, which succeeds.
    """
    async with connected_pair(network) as pair:
        before = paths(pair.offerer, pair.answerer)
        old = {x[1] for x in network_ports(pair)}
        network.filter = lambda x: x.source[1] in old and x.destination[1] in old
        for _ in range(ROUNDS):
            await negotiate(pair.offerer, pair.answerer, iceRestart=True)
            await asyncio.sleep(SETTLING)
            assert paths(pair.offerer, pair.answerer) == before
            bounded(network, pair)
            await pair.exchange()
        network.filter = None
        await negotiate(pair.answerer, pair.offerer, iceRestart=True)
        await switched(pair.offerer, pair.answerer)
        await asyncio.sleep(RETIREMENT)
        assert network.sockets("alice") == network.sockets("bob") == 1
        await pair.exchange()


async def test_failed(network: Network) -> None:
    """
    After a restart which has failed, plain negotiations and restarts work as before.
    """
    async with connected_pair(network) as pair:
        before = paths(pair.offerer, pair.answerer)
        old = {x[1] for x in network_ports(pair)}
        network.filter = lambda x: x.source[1] in old and x.destination[1] in old
        await negotiate(pair.offerer, pair.answerer, iceRestart=True)
        await asyncio.sleep(DEADLINE)
        assert network.sockets("alice") == network.sockets("bob") == 1
        for both in ((pair.offerer, pair.answerer), (pair.answerer, pair.offerer)):
            await negotiate(*both)
            await asyncio.sleep(SETTLING)
            assert paths(pair.offerer, pair.answerer) == before
            await pair.exchange()
        network.filter = None
        await restart(pair.answerer, pair.offerer)
        await restart(pair.offerer, pair.answerer)
        await pair.exchange()


async def test_back_to_back(network: Network) -> None:
    """
    Restarts may follow each other without a pause, also before the first has switched.
    """
    async with connected_pair(network) as pair:
        both = [pair.offerer, pair.answerer]
        for _ in range(ROUNDS):
            await negotiate(*both, iceRestart=True)
            both.reverse()
        await switched(*both)
        await pair.exchange()
        await asyncio.sleep(RETIREMENT)
        assert network.sockets("alice") == network.sockets("bob") == 1
        assert [len(ice_transport(x).generations) for x in both] == [1, 1]


async def test_plain_offer_instead(network: Network) -> None:
    """
    A plain offer in place of an unanswered restart offer gives the restart up.
    """
    async with connected_pair(network) as pair:
        history = states(pair.offerer)
        before = paths(pair.offerer, pair.answerer)
        first = pair.offerer.localDescription
        await offered(pair.offerer, iceRestart=True)
        assert network.sockets("alice") == 2

        # The wish of an option ends with its offer.
        offer = await pair.offerer.createOffer()
        assert credentials(offer) == credentials(first)
        assert candidates(offer) == candidates(first)
        assert [x.ice_candidates_complete for x in sections(offer)] == [True]
        await pair.offerer.setLocalDescription(offer)
        assert candidates(pair.offerer.localDescription) == candidates(first)
        assert not ice_transport(pair.offerer).restarting
        answer = await answered(pair.answerer, pair.offerer.localDescription)
        await pair.offerer.setRemoteDescription(answer)
        await asyncio.sleep(SETTLING)
        assert paths(pair.offerer, pair.answerer) == before
        assert network.sockets("alice") == network.sockets("bob") == 1
        assert history.ice == ["completed"]
        assert history.negotiationneeded == 0
        await pair.exchange()
        await restart(pair.answerer, pair.offerer)


async def test_restart_offer_instead(network: Network) -> None:
    """
    After `restartIce()` an offer in place of an unanswered one restarts ICE, too.
    """
    # webrtc-pc #dom-rtcpeerconnection-restartice
    async with connected_pair(network) as pair:
        pair.offerer.restartIce()
        first = await offered(pair.offerer)
        second = await offered(pair.offerer)
        assert set(credentials(first)).isdisjoint(credentials(second))
        answer = await answered(pair.answerer, second)
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)


async def test_overlapping(network: Network) -> None:
    """
    Of two local offers which are applied at a time the later stands, with its
    candidates.
    """
    async with connected_pair(network) as pair:
        offers = [await pair.offerer.createOffer(iceRestart=True) for _ in range(3)]
        await asyncio.gather(*(pair.offerer.setLocalDescription(x) for x in offers))
        said = pair.offerer.localDescription
        assert credentials(said) == credentials(offers[-1])
        assert len(candidates(said)) == 1
        assert [x.ice_candidates_complete for x in sections(said)] == [True]
        bounded(network, pair)
        answer = await answered(pair.answerer, said)
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        assert paths(pair.offerer)[0][0] == ufrag_of(offers[-1])
        await asyncio.sleep(RETIREMENT)
        assert network.sockets("alice") == network.sockets("bob") == 1


@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_offer_while_answering(network: Network, restarts: bool) -> None:
    """
    An offer which is made as soon as the signaling state is `stable` does not overtake
    the answer that is still being given.
    """
    async with connected_pair(network) as pair:
        pc = pair.answerer
        offers: list[asyncio.Task[RTCSessionDescription]] = []

        def offer_when_stable() -> None:
            if pc.signalingState == "stable" and not offers:
                coro = offered(pc, iceRestart=restarts)
                offers.append(asyncio.create_task(coro))

        await pc.setRemoteDescription(await offered(pair.offerer, iceRestart=True))
        pc.on("signalingstatechange", offer_when_stable)
        answer = await pc.createAnswer()
        await pc.setLocalDescription(answer)
        said = pc.localDescription
        assert said.type == "answer"
        assert credentials(said) == credentials(answer)
        await pair.offerer.setRemoteDescription(said)

        (task,) = offers
        answer = await answered(pair.offerer, await task)
        await pc.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        assert (paths(pc)[0][0] == ufrag_of(said)) != restarts
        await pair.exchange()


def network_ports(pair: Pair) -> set[tuple[str, int]]:
    """
    Return the addresses of the selected pair, both ends.
    """
    selected = ice_transport(pair.offerer).getSelectedCandidatePair()
    assert selected is not None
    return {(x.ip, x.port) for x in (selected.local, selected.remote)}


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


async def test_closed_while_restarting(network: Network) -> None:
    """
    A peer which closes in any state of a restart leaves nothing behind.
    """
    steps: list[Callable[[RTCPeerConnection, RTCPeerConnection], Awaitable[object]]] = [
        lambda a, b: a.createOffer(iceRestart=True),
        lambda a, b: offered(a, iceRestart=True),
        lambda a, b: b.setRemoteDescription(a.localDescription),
        lambda a, b: b.setLocalDescription(),
        lambda a, b: a.setRemoteDescription(b.localDescription),
    ]
    for count in range(1, len(steps) + 1):
        async with connected_pair(network) as pair:
            for step in steps[:count]:
                await step(pair.offerer, pair.answerer)
            await pair.offerer.close()
            await pair.answerer.close()
        await asyncio.sleep(0)
        assert network.sockets("alice") == network.sockets("bob") == 0
