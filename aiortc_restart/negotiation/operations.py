import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

WHOLE: ContextVar["Operation | None"] = ContextVar("WHOLE", default=None)
"The step which has parts, in their context."


class Operation:
    """
    A step of the negotiation, which waits for its turn.
    """

    def __init__(self, chain: "OperationsChain") -> None:
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.owner = asyncio.current_task()
        self.turn: asyncio.Future[None] = loop.create_future()
        self._chain = chain
        self._has_parts = False

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
        Wait for the end of another one that has been released, let those after this one
        have their turn meanwhile, and then wait for another turn.
        """
        self.release()
        await asyncio.wait([other.ended])
        await self._chain.take_another_turn(self)


class OperationsChain:
    """
    The [[Operations]] slot: one step of the negotiation at a time, in the order of the
    calls (webrtc-pc #dfn-chain).

    :param emptied: Called when the last one has ended.
    """

    def __init__(self, emptied: Callable[[], None]) -> None:
        self._emptied = emptied
        self._operations: deque[Operation] = deque()
        self._released: set[Operation] = set()

    def __len__(self) -> int:
        """
        The number of steps that have not ended.
        """
        return len(self._operations) + len(self._released)

    def close(self, reason: Exception) -> None:
        """
        End the wait of all that have not had their turn.

        The W3C's promises never settle then, which would hang who awaits them.
        """
        for operation in self._operations:
            if not operation.turn.done():
                operation.turn.set_exception(reason)

    @asynccontextmanager
    async def operation(self, harmless: bool = False) -> AsyncIterator[Operation]:
        """
        Wait for the end of the steps before, and hold back those after.

        A step which is part of another one has its turn at once.

        :param harmless: Whether it changes nothing, so that it may be a part of another
                         one whose task is another, too.
        """
        running = self._operations[0] if self._operations else None
        if running is not None and (
            running.owner is asyncio.current_task() or (harmless and running.is_whole)
        ):
            yield running
            return
        operation = Operation(self)
        try:
            await self._take_turn(operation)
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
        if self._operations and not self._operations[0].turn.done():
            self._operations[0].turn.set_result(None)

    def _end(self, operation: Operation) -> None:
        # Whether it has had its turn, is having it or was cancelled.
        if operation in self._released:
            self._released.remove(operation)
        else:
            self._operations.remove(operation)
            operation.turn.cancel()
            self._begin_next()
        operation.ended.set_result(None)
        if not len(self):
            self._emptied()

    async def _take_turn(self, operation: Operation) -> None:
        operation.turn = asyncio.get_running_loop().create_future()
        self._operations.append(operation)
        self._begin_next()
        await operation.turn
