"""
The class of the example: candidates, goodbyes, and what meets a rollback or a close.
"""

import asyncio
import contextlib
import random
import re
from collections.abc import AsyncIterator, Set
from pathlib import Path

import pytest
from aiortc.contrib.signaling import BYE
from aiortc.exceptions import OperationError

from aiortc_restart import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCPeerConnection,
    RTCSessionDescription,
)
from examples import perfect_negotiation
from examples.perfect_negotiation import Message, PerfectNegotiation

from ..calls import peers, switched
from ..network import Network
from ..utils import credentials, negotiate, until

TRICKLE = RTCConfiguration(iceServers=[], iceTrickle=True)

CANDIDATE = RTCIceCandidate(
    component=1,
    foundation="1",
    ip="10.0.1.9",
    port=9,
    priority=1,
    protocol="udp",
    type="host",
    sdpMid="7",
)
"One for an m-section that there is not."


class Line:
    """
    One end of a signaling channel on which each message takes its time.
    """

    def __init__(self, delays: random.Random) -> None:
        self.delays = delays
        self.inbox: asyncio.Queue[object] = asyncio.Queue()
        self.late = 0.0
        "Seconds after which `send()` returns, though the message is on its way."

        self.other = self
        self.sent: list[Message] = []

    async def receive(self) -> object:
        message = await self.inbox.get()
        await asyncio.sleep(self.delays.uniform(0, 0.1))
        return message

    async def send(self, message: Message) -> None:
        self.sent.append(message)
        self.other.inbox.put_nowait(message)
        await asyncio.sleep(self.late)

    @property
    def descriptions(self) -> list[str]:
        return [x.type for x in self.sent if isinstance(x, RTCSessionDescription)]


class Call:
    def __init__(
        self, polite: RTCPeerConnection, impolite: RTCPeerConnection, seed: int
    ) -> None:
        self.lines = [Line(random.Random(seed)), Line(random.Random(seed + 1000))]
        self.lines[0].other, self.lines[1].other = reversed(self.lines)
        self.pcs = [polite, impolite]
        self.ends = [
            PerfectNegotiation(pc, line.send, polite=pc is polite)
            for pc, line in zip(self.pcs, self.lines, strict=True)
        ]
        self.running = [
            asyncio.create_task(end.run(line.receive))
            for end, line in zip(self.ends, self.lines, strict=True)
        ]

    async def settled(self, before: Set[tuple[str, str]] = frozenset()) -> None:
        """
        Wait until both ends rest, connected, with other credentials than before.
        """
        await until(
            lambda: (
                not any(x.making_offer for x in self.ends)
                and all(x.signalingState == "stable" for x in self.pcs)
                and all(x.iceConnectionState == "completed" for x in self.pcs)
                and before.isdisjoint(self.credentials())
            )
        )
        await switched(*self.pcs)

    def credentials(self) -> set[tuple[str, str]]:
        return {y for x in self.pcs for y in credentials(x.localDescription)}


@contextlib.asynccontextmanager
async def calling(
    network: Network, configuration: RTCConfiguration | None = None, seed: int = 0
) -> AsyncIterator[Call]:
    async with peers(network, configuration=configuration) as (polite, impolite):
        call = Call(polite, impolite, seed)
        yield call
        for line in call.lines:
            line.inbox.put_nowait(None)
        assert await asyncio.gather(*call.running) == [None, None]


@pytest.mark.parametrize("seed", range(6))
async def test_trickle(network: Network, seed: int) -> None:
    """
    Candidates are sent as they are found, and restarts which meet are sorted out.
    """
    async with calling(network, TRICKLE, seed) as call:
        call.pcs[0].createDataChannel("test")
        call.pcs[1].addTransceiver("audio")
        await call.settled()
        for _ in range(3):
            before = call.credentials()
            for pc in call.pcs:
                pc.restartIce()
            await call.settled(before)
        for line, pc in zip(call.lines, call.pcs, strict=True):
            found = [x for x in line.sent if isinstance(x, RTCIceCandidate)]
            # One, and the end of them, for each generation which was ever offered.
            assert len(found) >= 8
            assert {x.usernameFragment for x in found} >= {
                ufrag for ufrag, _ in credentials(pc.localDescription)
            }
            assert pc.connectionState == "connected"


async def test_no_trickle(network: Network) -> None:
    """
    Without trickle no candidate is sent, as the descriptions have them all.
    """
    async with calling(network) as call:
        call.pcs[0].createDataChannel("test")
        await call.settled()
        assert [x.descriptions for x in call.lines] == [["offer"], ["answer"]]
        assert [len(x.sent) for x in call.lines] == [1, 1]


@pytest.mark.parametrize("configuration", [None, TRICKLE], ids=["full", "trickle"])
async def test_close_while_negotiating(
    network: Network, configuration: RTCConfiguration | None
) -> None:
    """
    A connection which is closed at any moment of a negotiation raises nothing.
    """
    for delay in [0, 0.001, 0.01, 0.03, 0.05, 0.1, 0.15, 0.2]:
        async with calling(network, configuration) as call:
            call.pcs[0].createDataChannel("test")
            call.pcs[1].addTransceiver("audio")
            await asyncio.sleep(delay)
            await call.pcs[1].close()
            await asyncio.sleep(1)


async def test_receive_when_closed(network: Network) -> None:
    """
    What comes after the end is ignored.
    """
    async with peers(network) as (polite, impolite):
        other = Line(random.Random(0))
        negotiation = PerfectNegotiation(polite, other.send, polite=True)
        impolite.createDataChannel("test")
        await impolite.setLocalDescription()
        await polite.close()
        await negotiation.receive(impolite.localDescription)
        await negotiation.receive(CANDIDATE)
        assert other.sent == []


async def test_late_answer(network: Network) -> None:
    """
    An answer to which there is no offer any more changes nothing.
    """
    async with calling(network) as call:
        polite, impolite = call.pcs
        polite.createDataChannel("test")
        await call.settled()
        before = credentials(polite.localDescription)

        polite.restartIce()
        await until(lambda: "have-local-offer" in polite.signalingState)
        await until(lambda: call.lines[1].descriptions == ["answer"] * 2)
        late = call.lines[1].sent[-1]
        await until(lambda: polite.signalingState == "stable")
        assert isinstance(late, RTCSessionDescription)
        await call.ends[0].receive(late)
        await call.settled(set(before))
        assert impolite.signalingState == "stable"


async def test_candidate_of_ignored_offer(network: Network) -> None:
    """
    A candidate which fits nowhere is an error, unless its offer was ignored.
    """
    async with peers(network) as (polite, impolite):
        line = Line(random.Random(0))
        negotiation = PerfectNegotiation(impolite, line.send, polite=False)
        polite.createDataChannel("test")
        await negotiate(polite, impolite)
        with pytest.raises(OperationError):
            await negotiation.receive(CANDIDATE)

        impolite.restartIce()
        await until(lambda: impolite.signalingState == "have-local-offer")
        polite.addTransceiver("audio")
        await polite.setLocalDescription()
        await negotiation.receive(polite.localDescription)
        assert impolite.signalingState == "have-local-offer"
        await negotiation.receive(CANDIDATE)


@pytest.mark.parametrize("turns", range(4))
async def test_offer_comes_as_the_event_is_fired(network: Network, turns: int) -> None:
    """
    An offer which comes at the very moment at which one is to be made is answered.
    """
    async with calling(network) as call:
        polite, impolite = call.pcs
        polite.createDataChannel("test")
        await call.settled()
        impolite.addTransceiver("audio")
        # It is made, and kept.
        call.lines[1].other = Line(random.Random(0))
        await until(lambda: impolite.signalingState == "have-local-offer")
        call.lines[1].other = call.lines[0]
        receiving: list[asyncio.Task[None]] = []

        async def receive() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await call.ends[0].receive(impolite.localDescription)

        @polite.on("negotiationneeded")
        def on_negotiation_needed() -> None:
            if not receiving:
                receiving.append(asyncio.create_task(receive()))

        before = call.credentials()
        polite.restartIce()
        await until(lambda: receiving and receiving[0].done())
        receiving[0].result()
        await call.settled(before)
        assert [len(x.getTransceivers()) for x in call.pcs] == [1, 1]
        assert call.lines[0].descriptions.count("answer") == 1


@pytest.mark.parametrize("first", [0, 1], ids=["polite", "impolite"])
async def test_send_returns_late(network: Network, first: int) -> None:
    """
    An offer is answered though the `send()` of the one before has not returned yet.
    """
    async with calling(network) as call:
        call.lines[first].late = 5.0
        call.pcs[first].createDataChannel("test")
        await until(lambda: call.pcs[1 - first].iceConnectionState == "completed")
        call.pcs[1 - first].addTransceiver("audio")
        await until(lambda: call.pcs[1 - first].getTransceivers()[0].mid is not None)
        await call.settled()
        assert [len(x.getTransceivers()) for x in call.pcs] == [1, 1]
        assert not any(x.ignoring for x in call.ends)


async def test_sent_one_by_one(network: Network) -> None:
    """
    A message is sent when those before have been, however long that takes.
    """
    async with peers(network, configuration=TRICKLE) as (pc, other):
        sent: list[str] = []

        async def send(message: Message) -> None:
            await asyncio.sleep(0.0 if sent else 0.5)
            sent.append(message.type)

        negotiation = PerfectNegotiation(pc, send, polite=True)
        pc.createDataChannel("test")
        await until(lambda: pc.iceGatheringState == "complete")
        # It takes back its own offer, which is still on its way, and answers.
        other.createDataChannel("test")
        await other.setLocalDescription()
        await negotiation.receive(other.localDescription)
        await until(lambda: "answer" in sent)
        assert sent[:2] == ["offer", "host"]


async def test_run_returns_goodbye(network: Network) -> None:
    """
    What is no description and no candidate ends it, and is handed back.
    """
    async with peers(network) as (polite, _):
        line = Line(random.Random(0))
        negotiation = PerfectNegotiation(polite, line.send, polite=True)
        line.inbox.put_nowait(BYE)
        assert await negotiation.run(line.receive) is BYE


async def test_program(capsys: pytest.CaptureFixture[str]) -> None:
    """
    The program itself shows two sets of credentials.
    """
    await asyncio.wait_for(perfect_negotiation.main(), 60)
    lines = capsys.readouterr().out.splitlines()
    assert [x.split(":")[0] for x in lines] == ["before", "after"]
    assert set(lines[0].split()[1:]).isdisjoint(lines[1].split()[1:])


def test_size() -> None:
    """
    The class stays under 80 lines, and what the README shows of it under 40.
    """
    file = Path(perfect_negotiation.__file__)
    found = re.search(
        r"^class PerfectNegotiation:.*?\n(?=\S)", file.read_text(), re.M | re.S
    )
    assert found
    assert len(found.group().rstrip().splitlines()) < 80
    readme = (file.parent.parent / "README.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(class PerfectNegotiation.*?)```", readme, re.S)
    assert block
    assert len(block.group(1).splitlines()) < 40
