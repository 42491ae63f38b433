"""
How much is allowed at once, and in the long run.
"""

import time


class Bucket:
    """
    A token bucket.

    :param rate: How many are allowed in a second, in the long run.
    :param burst: How many are allowed at once, after nothing for a while.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._burst, self._rate = burst, rate
        self._left, self._time = burst, time.monotonic()

    def take(self, weight: float = 1.0) -> bool:
        """
        Decide whether one more is allowed now.

        :param weight: For how many it counts.
        """
        now = time.monotonic()
        left = min(self._burst, self._left + (now - self._time) * self._rate)
        allowed = left >= weight
        self._left, self._time = left - weight * allowed, now
        return allowed
