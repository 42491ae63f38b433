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

CALLS = 200
ROUNDS = 5

MAX_CHANNELS = 2

DIRECTIONS = ["sendrecv", "sendonly", "recvonly", "inactive"]


def add_media(call: Call, end: int, choice: random.Random) -> Silence:
    """
    Restart ICE, add a track and, at times, do something else; return the track.
    """
    pc = call.ends[end].pc
    call.restart_ice(end)
    track = Silence(choice.choice(["audio", "video"]))
    known = pc.getTransceivers()
    if choice.random() < 0.5:
        pc.addTrack(track)
    else:
        pc.addTransceiver(track, choice.choice(DIRECTIONS))
    what = choice.choice(["channel", "direction", "nothing"])
    if what == "channel" and len(call.channels[end]) < MAX_CHANNELS:
        call.create_channel(end)
    elif what == "direction" and known:
        choice.choice(known).direction = choice.choice(DIRECTIONS)
    return track


def negotiated(call: Call, end: int) -> list[object]:
    """
    Return the tracks of an end for which there is an m-section that both agree on.
    """
    return [
        x.sender.track
        for x in call.ends[end].pc.getTransceivers()
        if x.mid is not None and x.currentDirection is not None
    ]


@pytest.mark.parametrize("seed", range(CALLS))
async def test_glare(network: Network, seed: int) -> None:
    """
    Both ends restart ICE and add media at the same moment, a thousand times in all, and
    agree each time.
    """
    choice = random.Random(seed)
    network.seed = seed
    network.delay(0.01)
    call = Call(network, polite=seed % 2, sequential=choice.random() < 0.5)
    for line in call.lines:
        line.delay = lambda: choice.choice([0.0, 0.002, 0.02, 0.2, 1.0])
    crossed = 0
    for _ in range(ROUNDS):
        ignored = sum(x.ignored for x in call.ends)
        tracks = [add_media(call, end, choice) for end in (0, 1)]
        await call.come_to_rest()
        # It checks that the credentials of both are new, too.
        await call.check()
        for end, track in enumerate(tracks):
            assert track in negotiated(call, end)
        crossed += sum(x.ignored for x in call.ends) > ignored
    assert crossed == ROUNDS
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
