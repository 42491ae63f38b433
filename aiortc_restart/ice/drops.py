import asyncio
import logging
from collections import Counter

logger = logging.getLogger(__name__)

# Why a datagram is dropped.
EMPTY = "empty"
LAYER_ABOVE = "layer above"
MALFORMED = "malformed STUN"
NOT_A_PROTOCOL = "not a protocol"
STRANGER = "stranger"
TOO_LONG = "too long"
TOO_MANY = "too many"
UNAUTHENTICATED = "unauthenticated STUN"

FLOOD = 600
"How many datagrams in a report are no accident: a restart drops some late checks."

REPORT_INTERVAL = 60.0
"How often dropped datagrams are logged, in seconds."


class Allowance:
    """
    Limits how often something may be done in a second.

    :param limit: How often.
    """

    def __init__(self, limit: int) -> None:
        self._began = float("-inf")
        self._left = 0
        self._limit = limit

    @property
    def available(self) -> bool:
        """
        Whether it may be done once more.
        """
        now = asyncio.get_running_loop().time()
        return self._left > 0 or now >= self._began + 1.0

    def take(self) -> bool:
        """
        Take note that it is to be done once more, and tell whether it may be.
        """
        if self._left > 0:
            self._left -= 1
            return True
        # A clock that is read only here costs nothing where little is done.
        now = asyncio.get_running_loop().time()
        if now < self._began + 1.0:
            return False
        self._began, self._left = now, self._limit - 1
        return True


class Drops:
    """
    Counts the datagrams that a transport has dropped, and logs them once a minute: a
    flood of datagrams is no flood of log lines.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        "How many datagrams have been dropped, by reason."
        self._closed = False
        self._failures: set[tuple[type, int]] = set()
        self._reported: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """
        Log no more.
        """
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def count(self, reason: str) -> None:
        """
        Take note that a datagram has been dropped.
        """
        self.counts[reason] += 1
        if self._timer is None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(
                REPORT_INTERVAL, self._report
            )

    def fail(self, exc: Exception, quiet: bool = False) -> None:
        """
        Take note that a datagram has been dropped because a layer above raised an
        exception. The same exception of the same line is logged once a minute.

        :param quiet: Whether the exception is usual, and is not logged.
        """
        self.count(LAYER_ABOVE)
        if quiet:
            return
        traceback = exc.__traceback__
        while traceback is not None and traceback.tb_next is not None:
            traceback = traceback.tb_next
        failure = type(exc), traceback.tb_lineno if traceback is not None else 0
        if failure not in self._failures:
            self._failures.add(failure)
            logger.warning("A datagram is dropped: %r", exc, exc_info=exc)

    def _report(self) -> None:
        self._timer = None
        self._failures.clear()
        dropped = self.counts - self._reported
        self._reported = self.counts.copy()
        logger.log(
            logging.WARNING if dropped.total() >= FLOOD else logging.INFO,
            "%d datagrams were dropped within %g seconds: %s",
            dropped.total(),
            REPORT_INTERVAL,
            ", ".join(f"{count} {reason}" for reason, count in dropped.most_common()),
        )
