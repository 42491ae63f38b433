"""
Whatever two applications do, in whatever order, what they negotiate converges.

`NEGOTIATIONS` in the environment is how many runs to make. They are other ones each
time then, and by default always the same.
"""

import asyncio
import contextlib
import gc
import os
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from .applications import Call
from .media import Silence
from .network import two_hosts

NEGOTIATIONS = int(os.environ.get("NEGOTIATIONS", "0"))

MAX_CHANNELS = 3
MAX_TRANSCEIVERS = 4

DIRECTIONS = st.sampled_from(["sendrecv", "sendonly", "recvonly", "inactive"])
ENDS = st.integers(0, 1)
INDICES = st.integers(0, MAX_TRANSCEIVERS - 1)
KINDS = st.sampled_from(["audio", "video"])


@pytest.fixture(autouse=True, scope="module")
def unfrozen() -> Iterator[None]:
    """
    Forget at the end what Hypothesis knew of the runs.
    """
    yield
    gc.unfreeze()
    gc.collect()
    gc.freeze()


class AnyNegotiation(RuleBasedStateMachine):
    """
    Two applications, what they do, and what happens to their signaling meanwhile.
    """

    @initialize(
        delay=st.sampled_from([0.0, 0.01, 0.2]),
        lag=st.sampled_from([0.02, 0.3, 0.0]),
        ending=st.sampled_from(["rest"] * 5 + ["close 0", "close 1", "close both"]),
        polite=ENDS,
        seed=st.integers(0, 2**16),
        sequential=st.booleans(),
        slow=st.sampled_from([(), (0,), (1,), (0, 1)]),
        again=st.booleans(),
        trickle=st.sampled_from([(), (0,), (1,), (0, 1)]),
    )
    def begin(
        self, delay: float, ending: str, lag: float, seed: int, **options: Any
    ) -> None:
        network = two_hosts()
        network.seed = seed
        network.delay(delay)
        self.ending = ending
        self.error: BaseException | None = None
        self.stack = contextlib.ExitStack()
        self.in_loop = self.stack.enter_context(network.running())
        self.call: Call = self.run(lambda: Call(network, **options))
        for end in (0, 1):
            self.slow_down(end, lag)

    def run(self, step: Callable[[], Any]) -> Any:
        """
        Take a step within the event loop, and wait for its end.
        """

        async def main() -> Any:
            result = step()
            return await result if isinstance(result, Coroutine) else result

        try:
            return self.in_loop(main())
        except BaseException as exc:
            self.error = exc
            raise

    def slow_down(self, end: int, seconds: float) -> None:
        self.call.lines[end].delay = lambda: seconds

    # What applications do

    @rule(kinds=st.tuples(KINDS, KINDS), restarts=st.tuples(ENDS, ENDS))
    def cross(self, kinds: tuple[str, str], restarts: tuple[int, int]) -> None:
        async def change() -> None:
            for end, kind, restart in zip(self.call.ends, kinds, restarts, strict=True):
                if restart:
                    self.call.restart_ice(self.call.ends.index(end))
                elif len(end.pc.getTransceivers()) < MAX_TRANSCEIVERS:
                    end.pc.addTrack(Silence(kind))

        self.run(change)

    @rule(end=ENDS, kind=KINDS)
    def add_track(self, end: int, kind: str) -> None:
        pc = self.call.ends[end].pc
        if len(pc.getTransceivers()) < MAX_TRANSCEIVERS:
            self.run(lambda: pc.addTrack(Silence(kind)))

    @rule(end=ENDS, kind=KINDS, direction=DIRECTIONS, track=st.booleans())
    def add_transceiver(self, end: int, kind: str, direction: str, track: bool) -> None:
        pc = self.call.ends[end].pc
        if len(pc.getTransceivers()) < MAX_TRANSCEIVERS:
            self.run(
                lambda: pc.addTransceiver(Silence(kind) if track else kind, direction)
            )

    @rule(end=ENDS)
    def create_channel(self, end: int) -> None:
        if len(self.call.channels[end]) < MAX_CHANNELS:
            self.run(lambda: self.call.create_channel(end))

    @rule(end=ENDS, index=INDICES, direction=DIRECTIONS)
    def change_direction(self, end: int, index: int, direction: str) -> None:
        async def change() -> None:
            for transceiver in self.call.ends[end].pc.getTransceivers()[index:][:1]:
                if not transceiver.stopped:
                    transceiver.direction = direction

        self.run(change)

    @rule(end=ENDS, index=INDICES)
    def stop_transceiver(self, end: int, index: int) -> None:
        for transceiver in self.call.ends[end].pc.getTransceivers()[index:][:1]:
            self.run(transceiver.stop)

    @rule(end=ENDS)
    def restart_ice(self, end: int) -> None:
        self.run(lambda: self.call.restart_ice(end))

    @rule(end=ENDS, restart=st.booleans())
    def throw_offer_away(self, end: int, restart: bool) -> None:
        application = self.call.ends[end]
        self.run(lambda: application.start(application.throw_offer_away(restart)))

    @rule(end=ENDS, restart=st.booleans(), sent=st.booleans())
    def make_offer(self, end: int, restart: bool, sent: bool) -> None:
        application = self.call.ends[end]
        self.run(lambda: application.start(application.make_offer(restart, sent)))

    @precondition(lambda self: self.call.ends[0].sequential)
    @rule(end=ENDS)
    def refuse_offer(self, end: int) -> None:
        self.call.ends[end].refusing = True

    @rule(end=ENDS)
    def reject_data(self, end: int) -> None:
        self.call.ends[end].rejecting_data = True

    @precondition(lambda self: self.call.ends[0].sequential)
    @rule(end=ENDS, stop=st.booleans())
    def withhold_answer(self, end: int, stop: bool) -> None:
        self.call.ends[end].withholding = (stop,)

    @rule(end=ENDS, index=st.integers(0, 3))
    def cancel(self, end: int, index: int) -> None:
        tasks = [x for x, y in self.call.ends[end].cancellable.items() if y]
        for task in tasks[index:][:1]:
            self.run(task.cancel)

    # What happens meanwhile

    @rule(turns=st.integers(0, 12))
    def take_turns(self, turns: int) -> None:
        for _ in range(turns):
            self.run(lambda: asyncio.sleep(0))

    @rule(seconds=st.sampled_from([0.01, 0.1, 0.5, 2.0, 6.0]))
    def pass_time(self, seconds: float) -> None:
        self.run(lambda: asyncio.sleep(seconds))

    @rule(end=ENDS, seconds=st.sampled_from([0.0, 0.05, 0.3, 1.5]))
    def have_lag(self, end: int, seconds: float) -> None:
        self.slow_down(end, seconds)

    @rule(end=ENDS, cure=st.sampled_from(["again", "new offer", "rollback"]))
    def lose_message(self, end: int, cure: str) -> None:
        application, line = self.call.ends[end], self.call.lines[end]
        if line.messages:
            offer = self.run(line.lose)
            if offer is not None:
                self.run(lambda: application.start(application.lost(offer, cure)))

    # What holds, meanwhile and at the end

    @invariant()
    def is_sound(self) -> None:
        # The loop stands still meanwhile.
        try:
            self.call.check_sound()
        except BaseException as exc:
            self.error = exc
            raise

    def teardown(self) -> None:
        if not hasattr(self, "call"):
            return
        if self.error is None:
            with contextlib.suppress(BaseException):
                self.run(self.end)
        if self.error is None:
            # It is garbage now, which the collection at the end is to find.
            del self.call
        with self.stack:
            if self.error is not None:
                raise self.error
        # What is left is Hypothesis's, and no later collection need look at it.
        gc.freeze()

    async def end(self) -> None:
        first = None
        try:
            if self.ending == "rest":
                await self.call.come_to_rest()
                await self.call.check()
        finally:
            if self.ending in ("close 0", "close 1"):
                first = int(self.ending[-1])
            await self.call.close(first)


TestAnyNegotiation = AnyNegotiation.TestCase
TestAnyNegotiation.settings = settings(
    max_examples=NEGOTIATIONS or 2000,
    database=None,
    deadline=None,
    derandomize=not NEGOTIATIONS,
    print_blob=True,
    stateful_step_count=30,
    suppress_health_check=list(HealthCheck),
)
