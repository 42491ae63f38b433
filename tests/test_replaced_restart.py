"""
Restarts which are replaced, given up or never end.
"""

import asyncio

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
from .utils import (
    Pair,
    candidates,
    connected_pair,
    credentials,
    negotiate,
    states,
)

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


def network_ports(pair: Pair) -> set[tuple[str, int]]:
    """
    Return the addresses of the selected pair, both ends.
    """
    selected = ice_transport(pair.offerer).getSelectedCandidatePair()
    assert selected is not None
    return {(x.ip, x.port) for x in (selected.local, selected.remote)}
