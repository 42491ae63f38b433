from collections import deque
from collections.abc import Callable

import aiortc

MAX_HELD = 100
"How many candidates may wait for their description. The oldest makes room for another."

MAX_RETIRED = 64
"How many generations of the peer's are remembered after their end."

HOLDING_TIME = 30.0
"""
How long, in seconds, a candidate waits for its description. What comes later than that
is of no use to a restart, which has a deadline.
"""


class HeldCandidates:
    """
    The peer's candidates which name an ICE generation, and whose description has not
    come yet, as signaling may reorder them.
    """

    def __init__(self) -> None:
        self._held: deque[tuple[float, str, aiortc.RTCIceCandidate]] = deque()
        self._retired: deque[tuple[str, str]] = deque(maxlen=MAX_RETIRED)

    def __len__(self) -> int:
        return len(self._held)

    def clear(self) -> None:
        self._held.clear()

    def hold(
        self, username: str, candidate: aiortc.RTCIceCandidate, now: float
    ) -> None:
        """
        Hold a candidate.

        :param username: The username fragment which it names.
        :param now: The time in seconds.
        """
        self.expire(now)
        if len(self._held) == MAX_HELD:
            self._held.popleft()
        self._held.append((now, username, candidate))

    def expire(self, now: float) -> None:
        """
        Drop what has been held for too long.
        """
        while self._held and self._held[0][0] + HOLDING_TIME <= now:
            self._held.popleft()

    def is_retired(self, username: str, mid: str | None) -> bool:
        """
        Whether a generation has been negotiated, and is not in force any more.

        :param mid: The m-section, or `None` for any.
        """
        return any(x == username and mid in (y, None) for x, y in self._retired)

    def release(
        self, wanted: Callable[[aiortc.RTCIceCandidate, str], bool], now: float
    ) -> list[aiortc.RTCIceCandidate]:
        """
        Return what is not to be held any longer, in the order in which it came.

        :param wanted: Whether there is a description of a candidate, which is given
                       with the username fragment that it names.
        """
        self.expire(now)
        released = [x for x in self._held if wanted(x[2], x[1])]
        self._held = deque(x for x in self._held if x not in released)
        # An end may have overtaken what it is the end of.
        return sorted((x for _, _, x in released), key=lambda x: not x.ip)

    def retire(self, generations: set[tuple[str, str]]) -> None:
        """
        Take note that generations have been replaced by others.

        :param generations: Their username fragments, each with the mid of an m-section.
        """
        self._retired.extend(sorted(generations - set(self._retired)))
