"""
Input from outside, mutated, in every state: whatever it is, it is applied, or refused
with a documented exception, and the call goes on.

Each target is a module with a function `run(count, seed)`, which gives a connection at
least so many inputs, and returns how many of them were applied, or refused, and why.
Its inputs come in sessions, one connection each. The first session has the given seed,
each other one the next, so that a session is repeated by its seed and a count of one.
A failure is an :class:`AssertionError` which names the seed.
"""

import importlib
from collections import Counter
from collections.abc import Callable

TARGETS = ("candidates", "datagrams", "descriptions", "stun")
"The names of the modules."

SLOWEST = "slowest input (ms)"
"What a tally says of time. All else in it are numbers of inputs."


def target(name: str) -> Callable[[int, int], Counter[str]]:
    """
    Return the function which runs a target.
    """
    run: Callable[[int, int], Counter[str]]
    run = importlib.import_module(f"{__name__}.{name}").run
    return run


def merge(tally: Counter[str], other: Counter[str]) -> None:
    """
    Add a tally to another one.
    """
    slowest = max(tally[SLOWEST], other[SLOWEST])
    tally.update(other)
    tally[SLOWEST] = slowest
