"""
Owned tasks: each has a name and an end.
"""

import asyncio

from aiortc_restart._async import Tasks

from .network import Network


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


async def test_create(network: Network) -> None:
    """
    A task bears its owner's name and is kept until it has ended.
    """
    tasks = Tasks("owner")
    done = asyncio.Event()

    async def work() -> None:
        await done.wait()

    task = tasks.create(work(), "work")
    assert task.get_name() == "owner work"
    assert len(tasks) == 1
    done.set()
    await task
    await asyncio.sleep(0)
    assert len(tasks) == 0


async def test_cancel(network: Network) -> None:
    """
    All tasks have ended when cancel() returns, also those which take their time.
    """
    tasks = Tasks("owner")
    ended = []

    async def slow_to_end() -> None:
        try:
            await wait_for_ever()
        finally:
            await asyncio.sleep(1)
            ended.append("slow")

    tasks.create(wait_for_ever(), "one")
    tasks.create(slow_to_end(), "two")
    await asyncio.sleep(0)
    await tasks.cancel()
    assert ended == ["slow"]
    assert len(tasks) == 0


async def test_cancel_from_a_task_of_its_own(network: Network) -> None:
    """
    A task may cancel the others of its owner, and goes on itself.
    """
    tasks = Tasks("owner")
    other = tasks.create(wait_for_ever(), "other")
    survived = []

    async def end_the_others() -> None:
        await tasks.cancel()
        await asyncio.sleep(0)
        survived.append(True)

    await tasks.create(end_the_others(), "self")
    assert other.cancelled()
    assert survived == [True]


async def test_cancel_without_tasks(network: Network) -> None:
    """
    Nothing is to be done where there are no tasks.
    """
    tasks = Tasks("owner")
    await tasks.cancel()
    await tasks.join()
    assert len(tasks) == 0


async def test_join(network: Network) -> None:
    """
    join() waits for all tasks, also for those which are made meanwhile.
    """
    tasks = Tasks("owner")
    ended = []

    async def second() -> None:
        await asyncio.sleep(1)
        ended.append("second")

    async def first() -> None:
        await asyncio.sleep(1)
        ended.append("first")
        tasks.create(second(), "second")

    tasks.create(first(), "first")
    await tasks.join()
    assert ended == ["first", "second"]
    assert network.now == 2


async def test_join_from_a_task_of_its_own(network: Network) -> None:
    """
    A task which waits for its owner's tasks does not wait for itself.
    """
    tasks = Tasks("owner")

    async def work() -> None:
        await asyncio.sleep(1)

    tasks.create(work(), "work")
    await tasks.create(tasks.join(), "join")
    assert network.now == 1
