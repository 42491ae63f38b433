"""
Whatever comes from outside, the call goes on: see `tests/fuzz`.
"""

import pytest

from . import fuzz

COUNT = 20_000
"How many inputs each target gets. `make fuzz` has a million."


@pytest.mark.parametrize("name", ["candidates", "datagrams", "descriptions", "stun"])
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
