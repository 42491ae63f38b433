"""
Offers which cross, again and again.
"""

import asyncio
import random

import pytest

from .applications import Call, Message
from .media import Silence
from .network import Network
from .utils import until

CALLS = 50
ROUNDS = 20

MAX_CHANNELS = 2
MAX_TRANSCEIVERS = 4

DIRECTIONS = ["sendrecv", "sendonly", "recvonly", "inactive"]


async def play_round(call: Call, end: int, choice: random.Random) -> None:
    """
    Restart ICE and add something or, when there is enough of it, change something.
    """
    pc = call.ends[end].pc
    call.restart_ice(end)
    what = choice.choice(["track", "transceiver", "channel"])
    kind = choice.choice(["audio", "video"])
    if what == "channel" and len(call.channels[end]) < MAX_CHANNELS:
        call.create_channel(end)
    elif len(pc.getTransceivers()) >= MAX_TRANSCEIVERS:
        choice.choice(pc.getTransceivers()).direction = choice.choice(DIRECTIONS)
    elif what == "track":
        pc.addTrack(Silence(kind))
    else:
        pc.addTransceiver(Silence(kind), choice.choice(DIRECTIONS))


@pytest.mark.parametrize("seed", range(CALLS))
async def test_glare(network: Network, seed: int) -> None:
    """
    Both ends restart ICE and add media at the same moment, and agree each time.
    """
    choice = random.Random(seed)
    network.seed = seed
    network.delay(0.01)
    call = Call(network, polite=seed % 2, sequential=choice.random() < 0.5)
    for line in call.lines:
        line.delay = lambda: choice.choice([0.0, 0.002, 0.02, 0.2, 1.0])
    for _ in range(ROUNDS):
        for end in (0, 1):
            await play_round(call, end, choice)
        await call.come_to_rest()
        await call.check()
    assert sum(x.ignored for x in call.ends) >= ROUNDS / 2
    await call.close()


@pytest.mark.parametrize("turns", range(8))
async def test_cancelled_when_answered(network: Network, turns: int) -> None:
    """
    An offer is answered once, though its handler is cancelled when another call, which
    was to offer, has sent the answer.
    """
    call = Call(network, polite=1, sequential=True, slow=(0, 1))
    end, line = call.ends[1], call.lines[1]
    answers = []

    async def cancel() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in [x for x, y in end.cancellable.items() if y]:
            task.cancel()

    def deliver(message: Message) -> None:
        call.lines[0]._receive = end.deliver
        end.deliver(message)
        end.start(end.negotiate())

    def send(message: Message) -> None:
        line.send(message)
        if message.description is not None and message.description.type == "answer":
            answers.append(message)
            if len(answers) == 1:
                end.start(cancel())

    call.lines[0]._receive = deliver
    end._send_message = send
    call.ends[0].pc.createDataChannel("test")
    await until(lambda: answers)
    await call.come_to_rest()
    assert len(answers) == 1
    await call.close()
