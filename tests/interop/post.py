"""
Signalling which treats candidates that travel by themselves as badly as it may.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

Candidate = dict[str, Any]
"What `toJSON()` gives. An empty `candidate` ends those of its generation."

Deliver = Callable[[Candidate | None], Awaitable[None]]

DELAY = 0.3
"Seconds within which most messages arrive."

LONGEST_DELAY = 2.0
"Seconds within which the others do."


@dataclass(frozen=True)
class Disorder:
    """
    The :class:`Disorder` is how signalling treats what it carries.
    """

    seed: int
    "Of what happens to each message."

    prompt: bool = False
    "Whether the other end has what it is sent at once, and once."


class Post:
    """
    The :class:`Post` carries descriptions and candidates to one end. Descriptions keep
    their order. Candidates are late, in another order, and some come twice, but an end
    of candidates comes after those which it ends (RFC 8838 section 13), at least once.

    :param deliver: Gives a candidate, or `None` for the end of all, to that end.
    :param seed: Of what happens to each of them.
    :param prompt: Whether everything comes at once, and once.
    """

    def __init__(self, deliver: Deliver, seed: int, prompt: bool = False) -> None:
        self.sent: dict[str, list[Candidate]] = {}
        "The candidates, by the username fragment of their generation."

        self.__choice = random.Random(seed)
        self.__delays = (0.0, 0.0) if prompt else (DELAY, LONGEST_DELAY)
        self.__prompt = prompt
        self.__deliver = deliver
        self.__first: dict[str, set[asyncio.Task[None]]] = {}
        self.__order = asyncio.Lock()
        self.__tasks: set[asyncio.Task[None]] = set()

    async def arrived(self) -> None:
        """
        Wait until nothing is under way.
        """
        while any(not task.done() for task in self.__tasks):
            await asyncio.wait(self.__tasks)
        self.check()

    def check(self) -> None:
        """
        Raise the error with which a message has been met, if there is one.
        """
        for task in self.__tasks:
            if task.done():
                task.result()

    async def close(self) -> None:
        """
        Carry nothing any more.
        """
        for task in self.__tasks:
            task.cancel()
        await asyncio.gather(*self.__tasks, return_exceptions=True)

    def describe(self, deliver: Coroutine[Any, Any, None]) -> None:
        """
        Carry a description.
        """
        self.__create(self.__in_order(deliver))

    def send(self, candidate: Candidate | None) -> None:
        """
        Carry a candidate.
        """
        if candidate is None:
            self.__carry(None, set().union(*self.__first.values()))
            return
        username = candidate["usernameFragment"]
        first = self.__first.setdefault(username, set())
        if not candidate["candidate"]:
            first.add(self.__carry(candidate, set(first)))
            return
        self.sent.setdefault(username, []).append(candidate)
        first.add(self.__carry(candidate))
        if not self.__prompt and self.__choice.random() < 0.3:
            self.__carry(candidate)

    def send_again(self, username: str) -> None:
        """
        Carry the candidates of a generation once more.
        """
        for candidate in self.sent.get(username, []) if not self.__prompt else []:
            self.__carry(candidate)

    def __carry(
        self,
        candidate: Candidate | None,
        after: set[asyncio.Task[None]] | None = None,
    ) -> asyncio.Task[None]:
        return self.__create(self.__arrive(candidate, after, self.__delay()))

    def __create(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine, name="post")
        self.__tasks.add(task)
        return task

    def __delay(self) -> float:
        usual, longest = self.__delays
        late = self.__choice.random() < 0.2
        return self.__choice.uniform(0, longest if late else usual)

    async def __arrive(
        self,
        candidate: Candidate | None,
        after: set[asyncio.Task[None]] | None,
        delay: float,
    ) -> None:
        await asyncio.sleep(delay)
        if after:
            await asyncio.wait(after)
        await self.__deliver(candidate)

    async def __in_order(self, deliver: Coroutine[Any, Any, None]) -> None:
        try:
            async with self.__order:
                await asyncio.sleep(self.__choice.uniform(0, self.__delays[0]))
                await deliver
        finally:
            # It may not have been begun.
            deliver.close()
