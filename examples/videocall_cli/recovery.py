"""
When a call restarts by itself.
"""

import asyncio
from collections.abc import Callable

from aiortc_restart import RTCPeerConnection

PATIENCE = 3.0
"Seconds for which a path that is `disconnected` may heal by itself."


class Recovery:
    """
    Restarts ICE when the path is lost. Both ends may do so, at the same time.

    :param say: Tells the user something.
    """

    def __init__(self, pc: RTCPeerConnection, say: Callable[[str], None]) -> None:
        self._pc = pc
        self._say = say
        self._timer: asyncio.TimerHandle | None = None
        pc.on("iceconnectionstatechange", self._on_change)

    def _on_change(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        state = self._pc.iceConnectionState
        if state == "failed":
            self._restart(state)
        elif state == "disconnected":
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(PATIENCE, self._restart, state)

    def _restart(self, state: str) -> None:
        self._timer = None
        self._say(f"Restarting ICE, as it is {state}.")
        self._pc.restartIce()
