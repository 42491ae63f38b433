"""
Descriptions of the peer's: mutated ones of browsers and SFUs.
"""

import re
from collections import Counter

from aiortc_restart import RTCSessionDescription

from ..calls import ROLLBACK
from . import sdp, sessions
from .sessions import Subject, described, typed

INPUTS = 24
"How many descriptions a session gives to a connection, if it does not become too big."

MAX_SECTIONS = 40
"With how many m-sections a connection is too big: others are worth more."


def run(count: int, seed: int) -> Counter[str]:
    """
    Give descriptions to connections, and return how many were applied or refused.

    :raises AssertionError: which names the seed, if one has done harm.
    """
    return sessions.run(session, "descriptions", count, seed)


async def session(subject: Subject) -> None:
    pc = subject.pc
    for _ in range(INPUTS):
        if pc.signalingState == "have-local-pranswer" and subject.rng.random() < 0.3:
            await pc.setLocalDescription(await pc.createAnswer())
        state = pc.signalingState
        description = choose(subject)
        applied = await subject.give(
            pc.setRemoteDescription, description, f"{description.type} in {state}"
        )
        if applied and description.type == "offer":
            await answer(subject)
        await subject.go_on()
        if len(pc.getTransceivers()) > MAX_SECTIONS:
            break
    subject.last = "a good negotiation"
    await subject.negotiate()


def choose(subject: Subject) -> RTCSessionDescription:
    """
    Return the next description, mutated, of a type which is usually possible.
    """
    pc, rng = subject.pc, subject.rng
    offers = {"stable": 1.0, "have-remote-offer": 1.0, "have-local-offer": 0.25}
    if rng.random() < offers.get(pc.signalingState, 0):
        type = "offer"
        chance = rng.random()
        if chance < 0.6:
            text = subject.good_offer(restart=rng.random() < 0.5).sdp
        elif chance < 0.7 and pc.localDescription is not None:
            text = sdp.as_offer(pc.localDescription.sdp)
        else:
            text = rng.choice(list(sdp.CORPUS.values()))
    elif pc.pendingLocalDescription is not None and rng.random() < 0.95:
        type = rng.choice(("answer", "answer", "pranswer"))
        text = subject.good_answer(type).sdp
    else:
        type = rng.choice(("answer", "pranswer", "offer"))
        text = sdp.as_answer(rng.choice(list(sdp.CORPUS.values())))
    return typed(sdp.mutated(text, rng), type)


async def answer(subject: Subject) -> None:
    """
    Check that an offer which was applied can be answered, and do so, or roll it back.
    """
    pc, rng = subject.pc, subject.rng
    description = await pc.createAnswer()
    assert kinds(description.sdp) == kinds(described(pc.pendingRemoteDescription))
    chance = rng.random()
    if subject.pair is not None or chance < 0.15:
        await pc.setRemoteDescription(ROLLBACK)
    elif chance < 0.3:
        # The next offer comes in its place.
        return
    else:
        if chance < 0.4:
            await pc.setLocalDescription(typed(description.sdp, "pranswer"))
            description = await pc.createAnswer()
        await pc.setLocalDescription(description)
        assert pc.signalingState == "stable"
    subject.check()


def kinds(text: str) -> list[str]:
    return re.findall("^m=([^ ]*)", text, flags=re.M)
