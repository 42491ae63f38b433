import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class Operation:
    """
    A step of the negotiation, which waits for its turn.
    """

    def __init__(self, chain: "OperationsChain") -> None:
        self.owner = asyncio.current_task()
        self.turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._chain = chain

    def end(self) -> None:
        """
        Let the next one have its turn.
        """
        self._chain.remove(self)


class OperationsChain:
    """
    The [[Operations]] slot: one step of the negotiation at a time, in the order of the
    calls (webrtc-pc #dfn-chain).

    :param emptied: Called when the last one has ended.
    """

    def __init__(self, emptied: Callable[[], None]) -> None:
        self._emptied = emptied
        self._operations: deque[Operation] = deque()

    def __len__(self) -> int:
        return len(self._operations)

    def close(self, reason: Exception) -> None:
        """
        End the wait of all that have not had their turn.

        The W3C's promises never settle then, which would hang who awaits them.
        """
        for operation in self._operations:
            if not operation.turn.done():
                operation.turn.set_exception(reason)

    @asynccontextmanager
    async def operation(self) -> AsyncIterator[Operation]:
        """
        Wait for the end of the steps before, and hold back those after.

        A step which is part of another one has its turn at once.
        """
        if self._operations and self._operations[0].owner is asyncio.current_task():
            yield self._operations[0]
            return
        operation = Operation(self)
        self._operations.append(operation)
        try:
            if self._operations[0] is operation:
                operation.turn.set_result(None)
            await operation.turn
            yield operation
        finally:
            operation.end()

    def remove(self, operation: Operation) -> None:
        """
        Take a step out, whether it has had its turn, is having it or was cancelled.
        """
        if operation not in self._operations:
            return
        self._operations.remove(operation)
        operation.turn.cancel()
        if not self._operations:
            self._emptied()
        elif not self._operations[0].turn.done():
            self._operations[0].turn.set_result(None)
