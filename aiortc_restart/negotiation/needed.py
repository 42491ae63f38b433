import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class NegotiationNeeded:
    """
    The [[NegotiationNeeded]] slot and its event (webrtc-pc
    #dfn-update-the-negotiation-needed-flag).

    :param check: Whether negotiation is needed.
    :param stable: Whether the connection is open and its signaling state is stable.
    :param fire: Fires the event.
    """

    def __init__(
        self,
        check: Callable[[], bool],
        stable: Callable[[], bool],
        fire: Callable[[], None],
    ) -> None:
        self._check = check
        self._fire = fire
        self._needed = False
        self._operations = 0
        self._stable = stable
        self._update_when_empty = False

    @contextmanager
    def operation(self) -> Iterator[None]:
        """
        Hold the event back while a step of the negotiation runs.
        """
        self._operations += 1
        try:
            yield
        finally:
            self._operations -= 1
            if not self._operations and self._update_when_empty:
                self._update_when_empty = False
                self.update()

    def reset(self) -> None:
        """
        Forget that the event was fired: the signaling state has become stable again.
        """
        self._needed = False
        self.update()

    def update(self) -> None:
        """
        Fire the event soon, if negotiation is needed then.
        """
        # Step 1: If the length of connection.[[Operations]] is not 0, then set
        # [[UpdateNegotiationNeededFlagOnEmptyChain]] to true, and abort these steps.
        if self._operations:
            self._update_when_empty = True
            return
        # Step 2: Queue a task. Who awaits the operation that has just ended is to see
        # its end first, also through a task of its own, whose wake-up takes a turn of
        # the loop.
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, loop.call_soon, self._evaluate)

    def _evaluate(self) -> None:
        if self._operations:
            self._update_when_empty = True
            return
        if not self._stable():
            return
        if not self._check():
            self._needed = False
            return
        if self._needed:
            return
        self._needed = True
        self._fire()
