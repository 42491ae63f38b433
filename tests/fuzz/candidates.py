"""
Candidates of the peer's, in every form that JSON can have.
"""

import random
from collections import Counter
from typing import Any

from aiortc_restart import RTCIceCandidate

from . import sdp, sessions
from .sessions import Subject

INPUTS = 40
"How many candidates a session gives to a connection."

GOOD = (
    "candidate:1467250027 1 udp 2122260223 10.0.2.9 46243 typ host generation 0 ufrag "
    "{ufrag} network-id 1",
    "candidate:1853887674 1 udp 1518280447 3fe1dc5f-1c06-4c4a-a9b8-f0f4d9c8b2a1.local "
    "36768 typ host generation 0 ufrag {ufrag} network-cost 50",
    "candidate:1853887675 1 UDP 2122187007 7f2b3a0e-8f61-4a27-9a54-3f8d6ad4c3d0a.local "
    "50020 typ host",
    "candidate:435653019 1 tcp 1518280447 10.0.2.9 9 typ host tcptype active",
    "candidate:2999745853 1 tcp 1518280447 10.0.2.7 44000 typ host tcptype passive",
    "candidate:3 1 UDP 1686052863 203.0.113.7 6100 typ srflx raddr 10.0.2.8 rport 5000",
    "candidate:4 1 udp 41885439 198.51.100.1 3478 typ relay raddr 0.0.0.0 rport 0",
    "candidate:5 1 udp 2122262783 fd00::7 43211 typ host generation 0 network-id 2",
    "candidate:6 2 udp 2122260222 10.0.2.9 46244 typ host",
    "candidate:7 1 udp 1862270975 10.0.2.9 5000 typ prflx raddr 10.0.2.9 rport 5001",
    "",
)
"The attributes that browsers and SFUs send."

VALUES: tuple[Any, ...] = (
    *(None, "", "0", "1", "nobody", "\ud800", "x" * 5000, 0, 1, 2, -1, 65535, 65536),
    *(1 << 70, 1.5, float("nan"), True, False, [], {}, ["a"], {"a": 1}, b"0"),
)
"What members of JSON may be which ought to be text, or a number."

MESSAGES: tuple[Any, ...] = (
    *(
        None,
        {},
        [],
        "",
        0,
        1.5,
        True,
        "candidate:1",
        ["candidate"],
        {"candidate": None},
    ),
    *({"candidate": ""}, {"sdpMid": "0"}, {"x": 1}, {1: 2}, {"candidate": "x"}),
)
"What JSON may be that ought to be a candidate."

ADDITIONS = (
    *("ufrag", "ufrag {ufrag}", "ufrag a", "raddr", "raddr x rport", "rport x"),
    *("rport -1", "rport 70000", "tcptype so", "tcptype x", "generation x", "x y z"),
    *("a b " * 300, "ufrag " + "u" * 300, "\u0663 \x00", "raddr 1.1.1.1 rport \u0663"),
)


def run(count: int, seed: int) -> Counter[str]:
    """
    Give candidates to connections, and return how many were taken or refused.

    :raises AssertionError: which names the seed, if one has done harm.
    """
    return sessions.run(session, "candidates", count, seed)


async def session(subject: Subject) -> None:
    pc, rng = subject.pc, subject.rng

    async def take(message: Any) -> None:
        await pc.addIceCandidate(RTCIceCandidate.fromJSON(message))

    for number in range(INPUTS):
        name = f"candidate in {pc.signalingState}"
        await subject.give(take, message_for(subject), name)
        if number % 10 == 0:
            await subject.go_on()
        if rng.random() < 0.02:
            subject.last = "a good negotiation"
            await subject.negotiate()
    subject.last = "a good negotiation"
    await subject.negotiate()


def message_for(subject: Subject) -> Any:
    """
    Return the next candidate, as JSON.
    """
    rng = subject.rng
    if rng.random() < 0.05:
        return rng.choice(MESSAGES)
    names = [
        name
        for description in (
            subject.pc.currentRemoteDescription,
            subject.pc.pendingRemoteDescription,
        )
        if description is not None
        for name in sorted(sdp.usernames(description.sdp))
    ]
    username = rng.choice([*names, "unknown1"])
    message: dict[str, Any] = {
        "candidate": attribute(username, rng),
        "sdpMid": rng.choice(("0", "0", "0", "1", "video0", "a", "sip", None)),
        "sdpMLineIndex": rng.choice((0, 0, 1, 2, None)),
        "usernameFragment": rng.choice((None, None, username)),
    }
    while rng.random() < 0.15:
        message[rng.choice(list(message))] = rng.choice(VALUES)
    if rng.random() < 0.05:
        del message[rng.choice(list(message))]
    return message


def attribute(username: str, rng: random.Random) -> str:
    """
    Return a candidate attribute, of which most have something wrong.
    """
    parts = rng.choice(GOOD).format(ufrag=username).split(" ")
    while rng.random() < 0.5:
        i = rng.randrange(len(parts)) if parts else 0
        match rng.randrange(6):
            case 0:
                del parts[i : i + 1]
            case 1:
                parts[i:i] = parts[i : i + 1]
            case 2:
                parts.append(rng.choice(ADDITIONS).format(ufrag=username))
            case 3 if parts:
                j = rng.randrange(len(parts))
                parts[i], parts[j] = parts[j], parts[i]
            case _:
                parts[i : i + 1] = [rng.choice(sdp.WORDS)]
    text = " ".join(parts)
    return text.replace("candidate:", "") if rng.random() < 0.05 else text
