"""
Perfect negotiation: the handlers of the example, over messages that take their time.
"""

import asyncio
import random
from collections.abc import Callable

import pytest

from aiortc_restart import RTCPeerConnection

from .media import add_media, flowing
from .network import Network
from .sides import settled, sides
from .utils import credentials

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
