"""
How far a step of a restart travels: how many files and functions of the package it
enters. Who wants to understand the step has to read them.
"""

import asyncio
import sys
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeVar

import aiortc_restart

from .calls import SETTLING, peers, switched
from .media import Silence
from .network import Network
from .utils import negotiate

T = TypeVar("T")

PACKAGE = str(Path(aiortc_restart.__file__).parent)

BUDGET = {
    "createOffer": (18, 72),
    "setLocalDescription(offer)": (32, 153),
    "setRemoteDescription(offer)": (32, 183),
    "createAnswer": (15, 57),
    "setLocalDescription(answer)": (30, 163),
    "setRemoteDescription(answer)": (31, 197),
}
"""
How many files and functions each step may enter. It is what they enter now: a change
that makes it less lowers it here, and one that makes it more has to say why.
"""


class Travel:
    """
    What a step has entered.
    """

    def __init__(self) -> None:
        self.codes: set[CodeType] = set()

    @property
    def length(self) -> tuple[int, int]:
        """
        How many files, and functions that have a name.
        """
        named = [x for x in self.codes if not x.co_name.startswith("<")]
        return len({x.co_filename for x in self.codes}), len(named)

    @contextmanager
    def traced(self) -> Iterator[None]:
        task = asyncio.current_task()

        def enter(frame: FrameType, event: str, arg: Any) -> None:
            code = frame.f_code
            if event == "call" and code.co_filename.startswith(PACKAGE):
                # Others do what they do beside it.
                if asyncio.current_task() is task:
                    self.codes.add(code)

        before = sys.getprofile()
        sys.setprofile(enter)
        try:
            yield
        finally:
            sys.setprofile(before)


async def test_restart(network: Network) -> None:
    """
    The steps of a restart with sound, pictures and data stay within their budget.
    """
    travelled: dict[str, tuple[int, int]] = {}

    async def step(name: str, step: Awaitable[T]) -> T:
        travel = Travel()
        with travel.traced():
            result = await step
        travelled[name] = travel.length
        return result

    async with peers(network) as (offerer, answerer):
        for pc in (offerer, answerer):
            pc.addTrack(Silence("audio"))
            pc.addTrack(Silence("video"))
        offerer.createDataChannel("test")
        await negotiate(offerer, answerer)
        await switched(offerer, answerer)
        await asyncio.sleep(SETTLING)
        offer = await step("createOffer", offerer.createOffer(iceRestart=True))
        await step("setLocalDescription(offer)", offerer.setLocalDescription(offer))
        offer = offerer.localDescription
        await step("setRemoteDescription(offer)", answerer.setRemoteDescription(offer))
        answer = await step("createAnswer", answerer.createAnswer())
        await step("setLocalDescription(answer)", answerer.setLocalDescription(answer))
        answer = answerer.localDescription
        await step("setRemoteDescription(answer)", offerer.setRemoteDescription(answer))
        await switched(offerer, answerer)
    for name, (files, functions) in travelled.items():
        assert files <= BUDGET[name][0], name
        assert functions <= BUDGET[name][1], name
    assert travelled.keys() == BUDGET.keys()
