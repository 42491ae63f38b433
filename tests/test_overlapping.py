"""
Steps of a negotiation which overlap, in time or by the connection's end.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from aiortc_restart import (
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)

from .calls import (
    RETIREMENT,
    answered,
    ice_transport,
    offered,
    parsed,
    paths,
    sections,
    switched,
    ufrag_of,
)
from .network import Network
from .utils import (
    candidates,
    connected_pair,
    credentials,
    until,
)


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
        assert len(ice_transport(pair.offerer).generations) == 2
        answer = await answered(pair.answerer, said)
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        assert paths(pair.offerer)[0][0] == ufrag_of(offers[-1])
        await asyncio.sleep(RETIREMENT)
        assert network.sockets("alice") == network.sockets("bob") == 1


async def test_answered_while_gathering(network: Network) -> None:
    """
    An answer may come while candidates are gathered for the offer: the offer has been
    negotiated then, and is not pending again when they are complete.
    """
    # Nobody answers there, which takes the gathering some seconds.
    server = RTCIceServer(urls="stun:10.0.9.9:3478")
    async with connected_pair(
        network,
        configuration=RTCConfiguration(iceServers=[server]),
        answerer_configuration=RTCConfiguration(iceServers=[]),
    ) as pair:
        pc = pair.offerer
        offer = await pc.createOffer(iceRestart=True)
        task = asyncio.create_task(pc.setLocalDescription(offer))
        await until(lambda: pc.signalingState == "have-local-offer")
        await pc.setRemoteDescription(await answered(pair.answerer, offer))
        assert not task.done()
        assert pc.iceGatheringState == "gathering"
        await task
        assert parsed(pc).pending_local is None
        assert ufrag_of(pc.localDescription) == ufrag_of(offer)
        for x in candidates(pc.localDescription):
            await pair.answerer.addIceCandidate(x)
        await switched(pc, pair.answerer)
        assert paths(pc)[0][0] == ufrag_of(offer)
        await pair.exchange()


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
