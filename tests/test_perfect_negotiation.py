"""
Perfect negotiation: the handlers of the example, over messages that take their time.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable

import pytest

from aiortc_restart import RTCPeerConnection, RTCSessionDescription
from examples.perfect_negotiation import Message, PerfectNegotiation

from .calls import ice_transports, peers, switched
from .media import add_media, flowing
from .network import Network
from .utils import History, credentials, states, until


class Side:
    """
    A peer with its handlers, and a queue of what is on its way to it.
    """

    other: "Side"

    def __init__(self, pc: RTCPeerConnection, polite: bool, delays: random.Random):
        self.pc, self.delays = pc, delays
        self.history: History = states(pc)
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.negotiation = PerfectNegotiation(pc, self.send, polite)
        self.offers: list[RTCSessionDescription] = []
        self.busy = False

    async def send(self, message: Message) -> None:
        if isinstance(message, RTCSessionDescription) and message.type == "offer":
            self.offers.append(message)
        self.other.inbox.put_nowait(message)

    async def run(self) -> None:
        # In the order in which they were sent.
        while True:
            message = await self.inbox.get()
            self.busy = True
            await asyncio.sleep(self.delays.uniform(0, 0.2))
            await self.negotiation.receive(message)
            self.busy = False

    @property
    def rests(self) -> bool:
        return (
            self.inbox.empty()
            and not self.busy
            and not self.negotiation.making_offer
            and self.pc.signalingState == "stable"
        )


@contextlib.asynccontextmanager
async def sides(
    network: Network, seed: int = 0, polite_first: bool = True
) -> AsyncIterator[tuple[Side, Side]]:
    """
    Connect two peers, by their handlers, of which the first is polite or not.
    """
    delays = random.Random(seed)
    async with peers(network) as (a, b):
        one, two = Side(a, polite_first, delays), Side(b, not polite_first, delays)
        one.other, two.other = two, one
        tasks = [asyncio.create_task(x.run()) for x in (one, two)]
        a.createDataChannel("test")
        await settled(one, two)
        try:
            yield one, two
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def settled(one: Side, two: Side) -> None:
    """
    Wait until nothing is on its way and everything is connected.
    """

    async def quiet() -> None:
        for _ in range(20):
            await until(lambda: one.rests and two.rests)
            await asyncio.sleep(0.02)

    await quiet()
    await until(lambda: one.pc.connectionState == two.pc.connectionState == "connected")
    await switched(one.pc, two.pc)
    await quiet()
    for side in (one, two):
        assert not side.pc._is_negotiation_needed()
        assert side.pc.pendingLocalDescription is None
        assert side.pc.pendingRemoteDescription is None
    mids = [[x.mid for x in side.pc.getTransceivers()] for side in (one, two)]
    assert None not in mids[0]
    assert sorted(map(str, mids[0])) == sorted(map(str, mids[1]))
    roles = [{x.role for x in ice_transports(side.pc)} for side in (one, two)]
    assert roles in (
        [{"controlling"}, {"controlled"}],
        [{"controlled"}, {"controlling"}],
    )


Change = Callable[[RTCPeerConnection], object]


@pytest.mark.parametrize("polite_first", [True, False], ids=["polite", "impolite"])
async def test_one_asks(network: Network, polite_first: bool) -> None:
    """
    What one side asks for is negotiated once, whichever side is polite.
    """
    async with sides(network, polite_first=polite_first) as (one, two):
        for side in (one, two):
            before = len(one.offers) + len(two.offers)
            said = credentials(side.pc.localDescription)
            side.pc.restartIce()
            await settled(one, two)
            add_media(side.pc)
            await settled(one, two)
            assert len(one.offers) + len(two.offers) == before + 2
            assert set(said).isdisjoint(credentials(side.pc.localDescription))
        await flowing(one.pc, two.pc)
        for side in (one, two):
            assert side.history.connection[-1] == "connected"
            assert side.history.negotiationneeded == len(side.offers)


@pytest.mark.parametrize("polite_first", [True, False], ids=["polite", "impolite"])
async def test_both_restart(network: Network, polite_first: bool) -> None:
    """
    Of two restarts at one moment the impolite side's is done, which is enough for both:
    the polite one's offer is rolled back, and its credentials are never used.
    """
    async with sides(network, polite_first=polite_first) as (one, two):
        polite, impolite = (one, two) if polite_first else (two, one)
        start = len(polite.history.signaling)
        for count in range(1, 4):
            offers = len(polite.offers), len(impolite.offers)
            for side in (one, two):
                side.pc.restartIce()
            await settled(one, two)
            assert len(polite.offers) == offers[0] + 1
            assert len(impolite.offers) == offers[1] + 1
            rolled_back = credentials(polite.offers[-1])
            assert set(credentials(polite.pc.localDescription)).isdisjoint(rolled_back)
            offered = credentials(impolite.offers[-1])
            assert credentials(impolite.pc.localDescription) == offered
            assert polite.history.signaling[start:] == count * [
                *("have-local-offer", "stable", "have-remote-offer", "stable")
            ]
        # The call has gone on all the time.
        for side in (one, two):
            assert side.history.ice.count("disconnected") == 0
            assert side.history.connection[-1] == "connected"


async def test_restart_meets_media(network: Network) -> None:
    """
    A restart whose offer is rolled back for another reason is asked for again, with yet
    other credentials.
    """
    async with sides(network) as (polite, impolite):
        before = credentials(polite.pc.localDescription)
        start = len(polite.offers)
        polite.pc.restartIce()
        add_media(impolite.pc)
        await settled(polite, impolite)
        first, second = polite.offers[start:]
        used = credentials(polite.pc.localDescription)
        assert set(used) == set(credentials(second))
        for old in (before, credentials(first)):
            assert set(old).isdisjoint(used)
        await flowing(polite.pc)


@pytest.mark.parametrize("seed", range(12))
async def test_any_glare(network: Network, seed: int) -> None:
    """
    Whatever both ask for, at about the same time, both have it in the end.
    """
    chance = random.Random(seed)
    changes: list[Change] = [
        lambda pc: pc.restartIce(),
        lambda pc: pc.addTransceiver("audio"),
        lambda pc: pc.addTransceiver("video", direction="recvonly"),
        lambda pc: pc.createDataChannel("another"),
        lambda pc: setattr(
            chance.choice(pc.getTransceivers() or [pc.addTransceiver("audio")]),
            "direction",
            chance.choice(["sendrecv", "recvonly", "inactive"]),
        ),
    ]
    async with sides(network, seed) as (one, two):
        for _ in range(6):
            before = [set(credentials(x.pc.localDescription)) for x in (one, two)]
            asked = False
            for _ in range(3):
                for side in chance.sample((one, two), chance.randint(1, 2)):
                    change = chance.choice(changes)
                    asked |= change is changes[0]
                    change(side.pc)
                await asyncio.sleep(chance.choice([0, 0.01, 0.1]))
            await settled(one, two)
            if asked:
                for side, old in zip((one, two), before, strict=True):
                    assert old.isdisjoint(credentials(side.pc.localDescription))
