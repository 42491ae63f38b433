"""
What happens to the call, and what is seen of it.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

from ..ice_restart.accounts import Timeline
from ..ice_restart.timeline import Mark
from .ends import End, running
from .network import DESK, HOSTS, LTE, PHONE, WIFI, Network, prefix

LIMIT = 15.0
"Seconds after which something is taken to have failed."


class Failed(Exception):
    """
    The call has not done what it should.
    """


@dataclass
class Record:
    """
    All that is to be told of a call.
    """

    start: float = 0.0
    "When the call was up, in seconds of the event loop's clock."

    marks: list[Mark] = field(default_factory=list)
    "What happened to the networks."

    arrivals: dict[str, list[float]] = field(default_factory=dict)
    "When messages came, for each end."

    timelines: dict[str, Timeline] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)


class Story:
    """
    A call between the phone and the desk.

    :param seconds: How long to wait before each step.
    """

    def __init__(self, network: Network, seconds: float) -> None:
        self.record = Record()
        self._changed = asyncio.Event()
        self._ends: dict[str, End] = {}
        self._network = network
        self._seconds = seconds

    async def tell(self) -> None:
        """
        Hold the call, and tell what happens.

        :raises Failed: if it does not do what it should.
        """
        async with contextlib.AsyncExitStack() as stack:
            for name in HOSTS:
                self._ends[name] = await stack.enter_async_context(
                    running(self._network, name)
                )
            steps = [*(self._follow(x) for x in self._ends.values()), self._act()]
            tasks = [asyncio.create_task(x) for x in steps]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)

    async def _act(self) -> None:
        """
        Let the phone go from Wi-Fi to LTE and back.
        """
        await self._until(lambda: self._all_on(WIFI), "no call over Wi-Fi")
        self.record.start = asyncio.get_running_loop().time()
        self._say("the call is up")
        await self._step("Wi-Fi is lost", self._network.leave, WIFI)
        await self._step("LTE is there", self._network.join, LTE)
        await self._until(lambda: self._all_on(LTE), "no call over LTE")
        await self._step("Wi-Fi is back", self._network.join, WIFI)
        await self._until(lambda: self._all_on(WIFI), "no call over Wi-Fi again")
        await self._step("LTE is lost", self._network.leave, LTE)
        await asyncio.sleep(self._seconds)
        await self._end()

    def _all_on(self, network: str) -> bool:
        """
        Return whether both ends send over a network.
        """
        return all(x.path.startswith(prefix(network)) for x in self._ends.values())

    async def _end(self) -> None:
        """
        Let both stop sending, and collect what they have received.
        """
        for end in self._ends.values():
            end.tell(pause=True)
        phone, desk = self._ends[PHONE], self._ends[DESK]
        await self._until(
            lambda: "sent" in phone.told and "sent" in desk.told, "no number sent"
        )
        phone.tell(expect=desk.told["sent"])
        desk.tell(expect=phone.told["sent"])
        await self._until(
            lambda: "counts" in phone.told and "counts" in desk.told, "no record"
        )
        for name, end in self._ends.items():
            told = end.told
            self.record.arrivals[name] = told["arrivals"]
            self.record.timelines[name] = Timeline(told["times"], told["counts"])
            self.record.sent[name] = told["sent"]
            self.record.received[name] = told["received"]

    async def _follow(self, end: End) -> None:
        """
        Take what an end tells: what it says to the other one is handed on.

        In a real call a server does that, which both reach from any network.
        """
        while message := await end.listen():
            if message.keys() & {"description", "candidate"}:
                other = self._ends[DESK if end.name == PHONE else PHONE]
                other.tell(**message)
            elif "event" in message:
                self._say(f"{end.name}: {message['event']}")
            elif "path" in message:
                end.path = message["path"]
                self._say(f"{end.name}: the path is {end.path}")
            else:
                end.told |= message
            self._changed.set()
        if "counts" not in end.told:
            raise Failed(f"{end.name} has ended")

    def _say(self, text: str) -> None:
        start = self.record.start
        seconds = asyncio.get_running_loop().time() - start if start else 0.0
        print(f"{seconds:6.2f} s  {text}", flush=True)

    async def _step(
        self, text: str, action: Callable[[str], None], network: str
    ) -> None:
        """
        Let something happen to a network.
        """
        await asyncio.sleep(self._seconds)
        self.record.marks.append(Mark(asyncio.get_running_loop().time(), text))
        self._say(f"-- {text} --")
        await asyncio.to_thread(action, network)

    async def _until(self, predicate: Callable[[], bool], complaint: str) -> None:
        try:
            async with asyncio.timeout(LIMIT):
                while not predicate():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise Failed(f"After {LIMIT:.0f} s: {complaint}.") from None
