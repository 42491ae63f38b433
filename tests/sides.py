"""
Two peers which negotiate by the handlers of the example, over messages that take their
time.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

from aiortc_restart import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from examples.perfect_negotiation import Message, PerfectNegotiation

from .calls import ice_transports, peers, switched
from .network import Network
from .utils import History, states, until


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
    network: Network,
    seed: int = 0,
    polite_first: bool = True,
    configuration: RTCConfiguration | None = None,
) -> AsyncIterator[tuple[Side, Side]]:
    """
    Connect two peers, by their handlers, of which the first is polite or not.
    """
    delays = random.Random(seed)
    async with peers(network, configuration=configuration) as (a, b):
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
        assert not side.pc._session.is_negotiation_needed
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
