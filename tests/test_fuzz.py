"""
Whatever comes from outside, the call goes on: see `tests/fuzz`.
"""

import pytest

from . import fuzz

COUNT = 20_000
"How many inputs each target gets. `make fuzz` has a million."


@pytest.mark.parametrize("name", ["candidates", "descriptions"])
def test_input(name: str) -> None:
    """
    Each input is applied or refused, and a good negotiation works after it.
    """
    tally = fuzz.target(name)(COUNT, 1)
    applied = sum(count for key, count in tally.items() if key.endswith("applied"))
    refused = sum(count for key, count in tally.items() if ": refused" in key)
    assert applied + refused >= COUNT
    # A generator that makes nothing but rubbish, or nothing bad, tests nothing.
    assert min(applied, refused) > COUNT / 10


def test_messages() -> None:
    """
    Each STUN message is read as it was written, or refused, and a call goes on which
    gets them.
    """
    tally = fuzz.target("stun")(COUNT, 1)
    assert tally["accepted"] + tally["authentic"] + tally["refused"] >= COUNT
    assert min(tally["accepted"], tally["authentic"], tally["refused"]) > COUNT / 20


def test_datagrams() -> None:
    """
    Calls which get each kind of datagram, from strangers, neighbours of the peer and in
    its name, come up, go on and restart.
    """
    tally = fuzz.target("datagrams")(COUNT, 1)
    senders = {"stranger", "neighbour", "peer"}
    by_sender = {
        sender: [count for key, count in tally.items() if key.endswith(f", {sender}")]
        for sender in senders
    }
    assert sum(map(sum, by_sender.values())) >= COUNT
    assert all(min(counts) > COUNT / 200 for counts in by_sender.values())
    assert tally["calls"] > 10
