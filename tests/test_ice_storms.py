"""
Restarts, outages and moves in any order: what follows them is a call that works.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from aiortc_restart import RTCConfiguration, RTCPeerConnection

from .agents import set_tie_breaker
from .calls import answered, ice_transport, offered, switched
from .network import Network
from .utils import Pair, connected_pair, negotiate


class Storm:
    """
    What may happen to two peers, in a random order which a seed decides.
    """

    def __init__(self, network: Network, pair: Pair, chance: random.Random) -> None:
        self._chance = chance
        self._network = network
        self._peers = [pair.offerer, pair.answerer]
        self._transports = [ice_transport(x) for x in self._peers]
        for transport in self._transports:
            set_tie_breaker(transport, chance.randrange(2**64))

    async def blow(self) -> None:
        """
        Let something happen.
        """
        events: list[Callable[[], Awaitable[None]]] = [
            *([self._restart] * 4),
            *(self._change, self._claim_role, self._move, self._pause, self._pause),
        ]
        await self._chance.choice(events)()
        for name in ("alice", "bob"):
            # Up to three addresses, of up to four generations and one about to end.
            assert self._network.sockets(name) <= 3 * 5

    async def _change(self) -> None:
        """
        Change what the network is like.
        """
        network = self._network
        change = self._chance.randrange(4)
        if change == 0:
            network.cut("alice")
        elif change == 1:
            network.heal()
        elif change == 2:
            network.delay(self._chance.choice([0, 0.01, 0.1, 0.4]))
        else:
            network.loss(self._chance.choice([0, 0.1, 0.3]))

    async def _claim_role(self) -> None:
        """
        Let a peer determine its role anew.
        """
        controlling = self._chance.random() < 0.5
        for generation in self._chance.choice(self._transports).generations:
            generation.connection.ice_controlling = controlling

    async def _move(self) -> None:
        """
        Give a host other addresses.
        """
        name = self._chance.choice(["alice", "bob"])
        prefix = f"10.{1 if name == 'alice' else 2}.{self._chance.randrange(100)}"
        count = self._chance.randrange(1, 4)
        self._network.readdress(name, *(f"{prefix}.{x + 1}" for x in range(count)))

    async def _pause(self) -> None:
        await asyncio.sleep(self._chance.choice([0.01, 0.1, 1, 5, 20, 60]))

    async def _restart(self) -> None:
        """
        Restart, with an answer that may be late, after an offer that may be replaced.
        """
        offerer, answerer = self._chance.sample(self._peers, 2)
        offer = await offered(offerer, iceRestart=True)
        if self._chance.random() < 0.3:
            await answerer.setRemoteDescription(offer)
            offer = await offered(offerer, iceRestart=True)
        late = self._chance.random() < 0.5
        answer = await answered(answerer, offer)
        await asyncio.sleep(self._chance.choice([0.5, 4, 60]) if late else 0)
        await offerer.setRemoteDescription(answer)


@pytest.mark.parametrize("seed", range(30))
async def test_storm(network: Network, seed: int) -> None:
    """
    After a storm a restart by each side works, and nothing else is left of it.
    """
    chance = random.Random(seed)
    configuration = RTCConfiguration(
        iceServers=[],
        iceFailedTimeout=None,
        iceRestartTimeout=chance.choice([39.5, 5, None]),
    )
    async with connected_pair(network, configuration=configuration) as pair:
        storm = Storm(network, pair, chance)
        for _ in range(chance.randrange(3, 14)):
            await storm.blow()
        network.heal()
        network.loss(0)
        network.delay(0.01)
        await asyncio.sleep(chance.choice([0.1, 3, 50]))
        peers: list[RTCPeerConnection] = [pair.offerer, pair.answerer]
        chance.shuffle(peers)
        for _ in range(2):
            await negotiate(*peers, iceRestart=True)
            await switched(*peers)
            await pair.exchange()
            peers.reverse()
        await asyncio.sleep(70)
        transports = [ice_transport(x) for x in peers]
        assert [x.state for x in transports] == ["completed"] * 2
        assert {x.role for x in transports} == {"controlling", "controlled"}
        assert [len(x.generations) for x in transports] == [1, 1]
        await pair.exchange()
