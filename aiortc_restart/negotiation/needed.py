import asyncio
from collections.abc import Callable


class NegotiationNeeded:
    """
    The [[NegotiationNeeded]] slot and its event (webrtc-pc
    #dfn-update-the-negotiation-needed-flag).

    :param busy: Whether a step of the negotiation is running.
    :param check: Whether negotiation is needed.
    :param stable: Whether the connection is open and its signaling state is stable.
    :param fire: Fires the event.
    """

    def __init__(
        self,
        busy: Callable[[], bool],
        check: Callable[[], bool],
        stable: Callable[[], bool],
        fire: Callable[[], None],
    ) -> None:
        self._busy = busy
        self._check = check
        self._fire = fire
        self._needed = False
        self._stable = stable
        self._update_when_empty = False

    def chain_emptied(self) -> None:
        """
        Do what was put off for as long as steps of the negotiation were running.
        """
        if self._update_when_empty:
            self._update_when_empty = False
            # Who awaits the step that has just ended is to see its end first, also
            # through a task of its own, whose wake-up takes a turn of the loop.
            loop = asyncio.get_running_loop()
            loop.call_soon(loop.call_soon, self.update)

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
        if self._busy():
            self._update_when_empty = True
            return
        # Step 2: Queue a task.
        asyncio.get_running_loop().call_soon(self._evaluate)

    def _evaluate(self) -> None:
        if self._busy():
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
