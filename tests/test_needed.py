"""
Whether negotiation is needed, decided and told without a connection (webrtc-pc
#dfn-check-if-negotiation-is-needed, #dfn-update-the-negotiation-needed-flag).
"""

import asyncio
import itertools
from dataclasses import replace
from typing import Any

import pytest

from aiortc_restart.negotiation.needed import (
    Described,
    Medium,
    NegotiationNeeded,
    intersect,
    is_needed,
    reverse,
)

from .network import Network

DIRECTIONS = ["inactive", "sendonly", "recvonly", "sendrecv"]


def offer(*directions: str, data: bool = False) -> Described:
    return Described("offer", {str(i): x for i, x in enumerate(directions)}, data)


def answer(*directions: str, data: bool = False) -> Described:
    return Described("answer", {str(i): x for i, x in enumerate(directions)}, data)


def needed(**changes: Any) -> bool:
    return is_needed(
        **{
            "replace_credentials": False,
            "data_channels": False,
            "media": [],
            "local": None,
            "remote": None,
            **changes,
        }
    )


BOTH = Medium("0", "sendrecv")

#: What there is, and whether that needs a negotiation.
TABLE: dict[str, tuple[dict[str, Any], bool]] = {
    "nothing": ({}, False),
    "nothing negotiated": ({"local": offer(), "remote": answer()}, False),
    "credentials": ({"replace_credentials": True}, True),
    "first data channel": ({"data_channels": True}, True),
    "data without a section": (
        {
            "data_channels": True,
            "local": offer("sendrecv"),
            "remote": answer("inactive"),
        },
        True,
    ),
    "data in the local description": (
        {"data_channels": True, "local": offer(data=True), "remote": answer(data=True)},
        False,
    ),
    "data only of the peer": (
        {"local": answer(data=True), "remote": offer(data=True)},
        False,
    ),
    "new": ({"media": [Medium(None, "sendrecv")]}, True),
    "new and inactive": ({"media": [Medium(None, "inactive")]}, True),
    "new and stopped": ({"media": [Medium(None, "sendrecv", stopped=True)]}, False),
    "new after a negotiation": (
        {
            "media": [BOTH, Medium(None, "sendrecv")],
            "local": offer("sendrecv"),
            "remote": answer("sendrecv"),
        },
        True,
    ),
    "in no current description": (
        {
            "media": [Medium("1", "sendrecv")],
            "local": offer("sendrecv"),
            "remote": answer("sendrecv"),
        },
        True,
    ),
    "stopped, described as active": (
        {
            "media": [Medium("0", "sendrecv", stopped=True)],
            "local": offer("sendrecv"),
            "remote": answer("sendrecv"),
        },
        True,
    ),
    "stopped, described as inactive": (
        {
            "media": [Medium("0", "sendrecv", stopped=True)],
            "local": answer("inactive"),
            "remote": offer("sendrecv"),
        },
        True,
    ),
    "stopped, rejected here": (
        {
            "media": [Medium("0", "sendrecv", stopped=True)],
            "local": replace(answer("inactive"), rejected={"0"}),
            "remote": offer("sendrecv"),
        },
        False,
    ),
    "stopped, rejected by the peer": (
        {
            "media": [Medium("0", "sendrecv", stopped=True)],
            "local": offer("sendrecv"),
            "remote": replace(answer("inactive"), rejected={"0"}),
        },
        False,
    ),
    "the second has changed": (
        {
            "media": [BOTH, Medium("1", "sendonly")],
            "local": offer("sendrecv", "sendrecv"),
            "remote": answer("sendrecv", "sendrecv"),
        },
        True,
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_is_needed(name: str) -> None:
    """
    Each step of the check decides as the specification has it.
    """
    changes, expected = TABLE[name]
    assert needed(**changes) == expected


def test_direction_offered() -> None:
    """
    After an offer of ours a direction is new if neither we nor the peer have said it.
    """
    # Step 5.3.2; the peer's view is the reverse of ours.
    for wanted, said, heard in itertools.product(DIRECTIONS, repeat=3):
        peers_view = {"sendonly": "recvonly", "recvonly": "sendonly"}.get(heard, heard)
        assert needed(
            media=[Medium("0", wanted)], local=offer(said), remote=answer(heard)
        ) == (wanted not in (said, peers_view))


def test_direction_answered() -> None:
    """
    After an answer of ours a direction is new if we would answer otherwise now.
    """
    # Step 5.3.3
    answers = {
        (True, True): "sendrecv",
        (True, False): "sendonly",
        (False, True): "recvonly",
        (False, False): "inactive",
    }
    for wanted, said, heard in itertools.product(DIRECTIONS, repeat=3):
        sends = "send" in wanted and "recv" in heard
        receives = "recv" in wanted and "send" in heard
        assert needed(
            media=[Medium("0", wanted)], local=answer(said), remote=offer(heard)
        ) == (said != answers[sends, receives])


def test_directions() -> None:
    """
    Directions are intersected and reversed as the specification has it.
    """
    # RFC 9429 section 5.3.1
    assert [reverse(x) for x in DIRECTIONS] == [
        "inactive",
        "recvonly",
        "sendonly",
        "sendrecv",
    ]
    for a, b in itertools.product(DIRECTIONS, repeat=2):
        both = intersect(a, b)
        assert ("send" in both) == ("send" in a and "send" in b)
        assert ("recv" in both) == ("recv" in a and "recv" in b)


class Flag:
    """
    A flag whose surroundings are variables.
    """

    def __init__(self) -> None:
        self.busy = self.needed = False
        self.stable = True
        self.fired = 0
        self.flag = NegotiationNeeded(
            busy=lambda: self.busy,
            check=lambda: self.needed,
            stable=lambda: self.stable,
            fire=self.fire,
        )

    def fire(self) -> None:
        self.fired += 1

    async def settled(self) -> int:
        for _ in range(5):
            await asyncio.sleep(0)
        return self.fired


async def test_coalesced(network: Network) -> None:
    """
    Many changes fire once, later, and again only after a return to stable.
    """
    x = Flag()
    x.needed = True
    for _ in range(3):
        x.flag.update()
        x.flag.update()
    assert x.fired == 0
    assert await x.settled() == 1
    x.flag.update()
    assert await x.settled() == 1
    x.flag.reset()
    assert await x.settled() == 2


async def test_silenced(network: Network) -> None:
    """
    What is satisfied before the event would be fired fires nothing, and what comes up
    later does.
    """
    x = Flag()
    x.needed = True
    x.flag.update()
    x.needed = False
    assert await x.settled() == 0
    x.needed = True
    x.flag.update()
    assert await x.settled() == 1
    # It is cleared when nothing is needed any more.
    x.needed = False
    x.flag.update()
    assert await x.settled() == 1
    x.needed = True
    x.flag.update()
    assert await x.settled() == 2


@pytest.mark.parametrize("begins", ["before", "after"])
async def test_busy(network: Network, begins: str) -> None:
    """
    While steps of a negotiation run it waits for their end.
    """
    x = Flag()
    x.needed = True
    x.busy = begins == "before"
    x.flag.update()
    x.busy = True
    assert await x.settled() == 0
    x.busy = False
    assert await x.settled() == 0
    x.flag.chain_emptied()
    assert x.fired == 0
    assert await x.settled() == 1
    x.flag.chain_emptied()
    assert await x.settled() == 1


async def test_not_stable(network: Network) -> None:
    """
    Outside of stable it fires nothing, and waits for the return.
    """
    x = Flag()
    x.needed = True
    x.flag.update()
    x.stable = False
    assert await x.settled() == 0
    x.flag.update()
    assert await x.settled() == 0
    x.stable = True
    x.flag.reset()
    assert await x.settled() == 1
