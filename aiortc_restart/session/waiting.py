import asyncio
from typing import TYPE_CHECKING

from aiortc.exceptions import InvalidStateError

from .._aiortc import Slots
from .._async import Tasks
from ..negotiation.operations import Operation
from ..negotiation.sections import can_trickle

if TYPE_CHECKING:
    from .session import Session


class Waiting:
    """
    The wait for the candidates of a local description, unless they are told one by one.
    """

    def __init__(self, session: "Session", slots: Slots, tasks: Tasks) -> None:
        # The step which waits for the candidates of an answer.
        self._answering: Operation | None = None
        self._session = session
        self._slots = slots
        self._tasks = tasks
        self._transports = session.transports

    async def for_answers(self, operation: Operation) -> None:
        """
        Wait until the caller who waits for an answer's candidates has seen their end:
        it is to find the answer in its slot, and to send it first.

        :raises InvalidStateError: if the connection is closed meanwhile.
        """
        while self._answering is not None:
            await operation.wait_for(self._answering)
            self._slots.assert_open()

    async def for_candidates(self, type: str, operation: Operation) -> None:
        """
        Gather the candidates of a local description, and wait for them, unless they are
        told one by one.

        :param type: That of the description.
        :param operation: The step that sets it.

        :raises InvalidStateError: if the connection is closed, or the offer is rolled
                                   back, meanwhile.
        """
        remote = self._slots.descriptions.remote[:1]
        if self._transports.configuration.iceTrickle and all(map(can_trickle, remote)):
            for transport in self._transports:
                transport.settle_trickle()
            # Candidates are told of when the caller has seen the end of the step.
            operation.ended.add_done_callback(lambda _: self._begin_trickling())
            return
        negotiation = self._session.stable if type == "offer" else None
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
            if self._answering is operation:
                self._answering = None
        self._slots.assert_open()
        gathering.result()
        if negotiation is not None and negotiation.rolled_back:
            # Otherwise the caller would send what is in the slot now.
            raise InvalidStateError(
                "The offer was rolled back while its candidates were gathered"
            )

    # Private

    def _begin(self) -> None:
        for transport in self._transports:
            transport.begin_gathering()
        self._session.states.update_gathering()

    def _begin_trickling(self) -> None:
        if not self._slots.closing:
            self._begin()
            self._transports.start()

    async def _gather(self) -> None:
        await asyncio.gather(*(x.iceGatherer.gather() for x in self._transports))
        self._transports.start()
