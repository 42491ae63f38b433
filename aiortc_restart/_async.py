"""
Tasks and events whose failures and ends are looked after.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from pyee.asyncio import AsyncIOEventEmitter


class Emitter(AsyncIOEventEmitter):
    """
    An emitter whose handlers cannot break what emits.
    """

    def emit(self, event: str, *args: Any, **kwargs: Any) -> bool:
        """
        Call the handlers of an event. What they raise goes to the event loop's
        exception handler, as it must not end the step which emits the event.
        """
        try:
            return super().emit(event, *args, **kwargs)
        except Exception as exc:
            if event == "error":
                # It comes from a handler of another event.
                raise
            asyncio.get_running_loop().call_exception_handler(
                {"message": f'Exception in a handler of "{event}"', "exception": exc}
            )
            return True


class Tasks:
    """
    The tasks of one owner: made here, kept here, and ended with the owner.

    :param owner: The name which the tasks' names begin with.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def create(self, coro: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """
        Run a coroutine, whose exceptions are its own business to handle.
        """
        task = asyncio.create_task(coro, name=f"{self._owner} {name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def cancel(self) -> None:
        """
        Cancel all tasks but the one that calls, and wait for their ends.
        """
        tasks = self.cancel_soon()
        if tasks:
            await asyncio.wait(tasks)

    def cancel_soon(self) -> set[asyncio.Task[Any]]:
        """
        Cancel all tasks but the one that calls, and return them: they have not ended.
        """
        tasks = self._tasks - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        return tasks

    async def join(self) -> None:
        """
        Wait for the end of all tasks but the one that calls.
        """
        while tasks := self._tasks - {asyncio.current_task()}:
            await asyncio.wait(tasks)
