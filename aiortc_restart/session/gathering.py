import asyncio
from dataclasses import dataclass

from aiortc.exceptions import InvalidStateError

from .._aiortc import Slots
from .._tasks import Tasks
from ..negotiation.operations import Operation
from .states import States
from .transports import Transports


@dataclass(eq=False)
class Waiting:
    """
    A local offer whose candidates are being gathered.
    """

    rolled_back: bool = False


class Gathering:
    """
    What follows a local description: the transports gather, and the step waits for the
    candidates, unless they are told one by one.
    """

    def __init__(
        self, slots: Slots, states: States, tasks: Tasks, transports: Transports
    ) -> None:
        # The step which waits for the candidates of an answer.
        self._answering: Operation | None = None
        # The local offers of this negotiation which wait for theirs.
        self._offers: list[Waiting] = []
        self._slots = slots
        self._states = states
        self._tasks = tasks
        self._transports = transports

    async def answers_sent(self, operation: Operation) -> None:
        """
        Wait until the caller who waits for an answer's candidates has seen their end:
        it is to find the answer in its slot, and to send it first.

        :raises InvalidStateError: if the connection is closed meanwhile.
        """
        while self._answering is not None:
            await operation.wait_for(self._answering)
            self._slots.assert_open()

    def forget_offers(self, rolled_back: bool = False) -> None:
        """
        Take note that the negotiation of the local offers has come to its end.
        """
        for waiting in self._offers:
            waiting.rolled_back = rolled_back
        self._offers = []

    async def gather(self, type: str, operation: Operation, trickle: bool) -> None:
        """
        Gather the candidates of a local description.

        :param type: That of the description.
        :param operation: The step that sets it.
        :param trickle: Whether they are told one by one.

        :raises InvalidStateError: if the connection is closed, or the offer is rolled
                                   back, meanwhile.
        """
        if trickle:
            for transport in self._transports:
                transport.settle_trickle()
            # Candidates are told of when the caller has seen the end of the step.
            operation.ended.add_done_callback(lambda _: self._begin_trickling())
            return
        waiting = Waiting()
        if type == "offer":
            self._offers.append(waiting)
        if not all(x.gathered for x in self._transports):
            # A server that does not answer is not to hold back the peer's next offer.
            if type != "offer":
                self._answering = operation
            operation.release()
        self._begin()
        gathering = self._tasks.create(self._gather(), "gather")
        # Who waits may be cancelled; the description is in force.
        try:
            await asyncio.wait([gathering])
        finally:
            if waiting in self._offers:
                self._offers.remove(waiting)
            if self._answering is operation:
                self._answering = None
        self._slots.assert_open()
        gathering.result()
        if waiting.rolled_back:
            # Otherwise the caller would send what is in the slot now.
            raise InvalidStateError(
                "The offer was rolled back while its candidates were gathered"
            )

    # Private

    def _begin(self) -> None:
        for transport in self._transports:
            transport.begin_gathering()
        self._states.update_gathering()

    def _begin_trickling(self) -> None:
        if not self._slots.closing:
            self._begin()
            self._transports.start()

    async def _gather(self) -> None:
        await asyncio.gather(*(x.iceGatherer.gather() for x in self._transports))
        self._transports.start()
