import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

WHOLE: ContextVar["Operation | None"] = ContextVar("WHOLE", default=None)
"The step which has parts, in their context."

TURNS = 4
"""
How many turns of the event loop the chain is held after the end of a step in a task
that somebody waits for, so that who does sees the state that the step led to, and not
the next one's.

A task takes a turn to tell of its end; `asyncio.gather()`, `shield()`, `wait()`,
`wait_for()` and task groups take one more to wake their caller. Of these there may be
two, one in the other: an application's around a library's. Where nobody waits for the
task, its own code has resumed at once, and one turn is enough for what it does then.
"""


class Operation:
    """
    A step of the negotiation, which waits for its turn.
    """

    def __init__(self, chain: "OperationsChain", steady: bool = False) -> None:
        self.loop = asyncio.get_running_loop()
        self.begun = False
        "Whether it has had its turn."
        self.ended: asyncio.Future[None] = self.loop.create_future()
        "Done when its caller has seen its end."
        self.owner = asyncio.current_task()
        self.steady = steady
        "Whether it has nothing to do with what the steps after it are checked for."
        self.turn: asyncio.Future[None] = self.loop.create_future()
        self._chain = chain
        self._has_parts = False

    @property
    def turns(self) -> int:
        """
        How many turns of the event loop it takes at most until its caller has seen its
        end.
        """
        if self.owner is None or not hasattr(self.owner, "_callbacks"):
            return TURNS
        # asyncio keeps to itself who waits. A set that keeps a task from being garbage
        # does not wait for it.
        callbacks = [x for x, _ in self.owner._callbacks or ()]  # noqa: SLF001
        owners = (getattr(x, "__self__", None) for x in callbacks)
        return TURNS if any(not isinstance(x, set) for x in owners) else 1

    @property
    def is_whole(self) -> bool:
        """
        Whether what is running may be a part of it. A task which was begun by a part
        and outlives that is none.
        """
        return self._has_parts and WHOLE.get() is self

    @contextmanager
    def parts(self) -> Iterator[None]:
        """
        Have steps which are called within be parts of this one, also from a task which
        is waited for, such as that of :func:`asyncio.wait_for`.
        """
        token = WHOLE.set(self)
        self._has_parts = True
        try:
            yield
        finally:
            self._has_parts = False
            WHOLE.reset(token)

    def release(self) -> None:
        """
        Let the next one have its turn, though this one has not ended: it only waits.
        """
        self._chain.release(self)

    async def wait_for(self, other: "Operation") -> None:
        """
        Wait until the caller of another one that has been released has seen its end,
        let those after this one have their turn meanwhile, and then wait for another
        turn.
        """
        self.release()
        await asyncio.wait([other.ended])
        await self._chain.take_another_turn(self)


class PlainOperation:
    """
    What a plain method returns that is a step: it may be awaited, and need not be.

    :param turn: Done when the step has had its turn, or `None` if it has had it.
    :param error: What is raised when it is awaited.
    """

    def __init__(
        self,
        turn: asyncio.Future[None] | None = None,
        error: Exception | None = None,
    ) -> None:
        self._error = error
        self._turn = turn

    def __await__(self) -> Generator[None, None, None]:
        if self._error is not None:
            raise self._error
        if self._turn is not None:
            # Who waits may be cancelled; the step is not.
            yield from asyncio.shield(self._turn).__await__()


class OperationsChain:
    """
    The [[Operations]] slot: one step of the negotiation at a time, in the order of the
    calls (webrtc-pc #dfn-chain).

    The end of a step is a matter of its own, as it is in browsers, where it waits for
    the reactions to a promise: the next step begins when the caller has seen it.

    :param emptied: Called when the caller of the last one has seen its end.
    :param assert_open: Raises an exception if the connection is closed.
    """

    def __init__(
        self,
        emptied: Callable[[], None],
        assert_open: Callable[[], None] = lambda: None,
    ) -> None:
        self._assert_open = assert_open
        self._emptied = emptied
        # Those which have ended, and whose callers may not have resumed.
        self._ending: set[Operation] = set()
        self._operations: deque[Operation] = deque()
        self._released: set[Operation] = set()

    def __len__(self) -> int:
        """
        The number of steps whose end has not been seen.
        """
        return len(self._operations) + len(self._released) + len(self._ending)

    def close(self, reason: Exception) -> None:
        """
        End the wait of all that have not had their turn.

        The W3C's promises never settle then, which would hang who awaits them.
        """
        for operation in self._operations:
            if not operation.turn.done():
                operation.turn.set_exception(reason)

    def join(self) -> PlainOperation:
        """
        Hold the chain for a plain method, which has done what it does: as a step that
        waits for its turn, has nothing left to do in it, and ends.

        There is no chain where no event loop runs, nor has a step to wait for its part.
        """
        try:
            operation = Operation(self)
        except RuntimeError:
            return PlainOperation()
        if self._is_part(harmless=True):
            return PlainOperation()
        # What its caller does next is no part of it.
        operation.owner = None
        operation.turn.add_done_callback(lambda _: self._end_plain(operation))
        self._operations.append(operation)
        self._begin_next()
        return PlainOperation(operation.turn)

    @asynccontextmanager
    async def operation(
        self,
        harmless: bool = False,
        check: Callable[[], object] | None = None,
        steady: bool = False,
    ) -> AsyncIterator[Operation]:
        """
        Wait for the end of the steps before, and hold back those after.

        A step which is part of another one has its turn at once.

        :param harmless: Whether it changes nothing, so that it may be a part of another
                         one whose task is another, too.
        :param check: Raises what the state has against the step. It is called at its
                      turn, and before, without any wait, if no other step is to change
                      the state until then.
        :param steady: Whether the step lets another such one be checked before its
                       turn. Candidates are: they change no signaling state, come in
                       crowds, and those of an offer that is ignored are known by their
                       error, until the next description comes.
        """
        # Also where other steps are before it: nothing opens a connection again.
        self._assert_open()
        if self._is_part(harmless):
            if check is not None:
                check()
            yield self._operations[0]
            return
        if self._ending:
            self._settle_seen()
        if check is not None and all(x.steady and steady for x in self._operations):
            check()
        operation = Operation(self, steady)
        try:
            await self._take_turn(operation)
            self._assert_open()
            if check is not None:
                check()
            yield operation
        finally:
            self._end(operation)

    def release(self, operation: Operation) -> None:
        """
        Let the step after a given one have its turn.
        """
        if self._operations and self._operations[0] is operation:
            self._operations.popleft()
            self._released.add(operation)
            self._begin_next()

    async def take_another_turn(self, operation: Operation) -> None:
        """
        Have a step which has been released wait for the end of those before it.
        """
        self._released.remove(operation)
        await self._take_turn(operation)

    def _begin_next(self) -> None:
        if (
            self._operations
            and not self._ending
            and not self._operations[0].turn.done()
        ):
            self._operations[0].turn.set_result(None)

    def _end(self, operation: Operation) -> None:
        # Whether it has had its turn, is having it or was cancelled.
        if operation in self._released:
            self._released.remove(operation)
        else:
            self._operations.remove(operation)
            operation.turn.cancel()
        if operation.begun and not operation.loop.is_closed():
            self._ending.add(operation)
            operation.loop.call_soon(self._pass_turn, operation, operation.turns - 1)
        else:
            self._settle(operation)

    def _end_plain(self, operation: Operation) -> None:
        if not operation.turn.cancelled():
            # It need not be awaited, nor retrieved.
            operation.begun = operation.turn.exception() is None
        self._end(operation)

    def _is_part(self, harmless: bool) -> bool:
        """
        Whether what is running is, or may be if it is harmless, a part of a step.
        """
        if not self._operations:
            return False
        running, task = self._operations[0], asyncio.current_task()
        if running.owner is not None and running.owner is task:
            return True
        return harmless and running.is_whole

    def _pass_turn(self, operation: Operation, turns: int) -> None:
        """
        Let turns of the event loop pass after the end of a step.
        """
        if operation not in self._ending:
            return
        if turns:
            operation.loop.call_soon(self._pass_turn, operation, turns - 1)
        else:
            self._settle(operation)

    def _settle(self, operation: Operation) -> None:
        """
        Take note that the caller of a step has seen its end.
        """
        self._ending.discard(operation)
        operation.ended.set_result(None)
        self._begin_next()
        if not len(self):
            self._emptied()

    def _settle_seen(self) -> None:
        """
        Wait no longer for the caller who is here with the next step.
        """
        task = asyncio.current_task()
        for operation in [x for x in self._ending if x.owner is task is not None]:
            self._settle(operation)

    async def _take_turn(self, operation: Operation) -> None:
        operation.turn = operation.loop.create_future()
        self._operations.append(operation)
        self._begin_next()
        if operation.turn.done():
            # No step is done within its call: browsers do each in parallel, too.
            await asyncio.sleep(0)
        else:
            await operation.turn
        while self._ending:
            # One that had been released has ended since.
            await asyncio.wait([x.ended for x in self._ending])
        operation.begun = True
