import asyncio
from typing import Protocol

from .path import PathConnection

SAMPLE_INTERVAL = 0.5
"""
How often, in seconds, to look whether something has come, and to probe while in doubt:
not more often than a check is repeated (RFC 8445 section 14.3).
"""

LULL = 1.0
"How long, in seconds, data may pause before the pair is probed."

MANY = 3
"""
How many requests are not answered by an accident. One or two may be on a path which
loses packets.
"""


class LivenessObserver(Protocol):
    """
    Who is told how the pair in use is doing.
    """

    def path_recovered(self) -> None:
        """It works again, both ways, after it did not."""

    def silence_changed(self) -> None:
        """It has fallen silent, or is silent no more."""


class Liveness:
    """
    Watches whether the selected pair of a connection is alive.

    Nothing is done but look now and then whether something comes. When nothing does, or
    a request is not answered, the pair is in doubt and is probed until it answers, so
    that a pair on which the peer has nothing to say is not taken for a dead one.

    :param connection: The connection, which has a selected pair.
    :param observer: Who is told.
    :param timeout: After how many seconds without a sign of life the pair is called
                    silent. `None` for never.
    """

    def __init__(
        self,
        connection: PathConnection,
        observer: LivenessObserver,
        timeout: float | None,
    ) -> None:
        self.outage = False
        "Whether the pair has not worked since some time."
        self.silent = False
        "Whether nothing has come for longer than the timeout, or nothing can be sent."
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._observer = observer
        self._refused = False
        self.set_timeout(timeout)
        # Data is the last thing that has come: more of it is expected soon.
        self._busy = False
        self._data = connection.data_signs
        self._due = self._probe_due = self._quiet_since = self._loop.time()
        self._signs = connection.signs
        self._timer: asyncio.TimerHandle | None = None
        connection.listener = self
        connection.listen(True)
        self._schedule()

    def set_timeout(self, timeout: float | None) -> None:
        """
        Change the timeout. A pair which is silent already stays so.
        """
        self._interval = min(SAMPLE_INTERVAL, (timeout or SAMPLE_INTERVAL) / 4)
        self._timeout = timeout

    def stop(self) -> None:
        """
        Watch no more.
        """
        self._connection.listener = None
        self._connection.telling = False
        self._connection.listen(False)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # PathListener

    def path_answered(self) -> None:
        if self.outage and not self._refused:
            self.outage = False
            self._observer.path_recovered()

    def path_heard(self) -> None:
        now = self._loop.time()
        quiet, self._quiet_since = now - self._quiet_since, now
        self._set_silent(False)
        if self.outage and quiet >= LULL:
            # What has come proves one way only.
            self._probe()

    def path_refused(self) -> None:
        # What still comes in does not change that nothing goes out.
        self._refused = self.outage = True
        self._connection.telling = False
        self._set_silent(True)

    # Private

    def _look(self) -> None:
        """
        See what has come since the last time.
        """
        data, signs = self._connection.data_signs, self._connection.signs
        if (data, signs) != (self._data, self._signs):
            self._busy = data != self._data
            self._data, self._signs = data, signs
            self._quiet_since = self._loop.time()
        self._connection.listen(True)

    def _judge(self, now: float) -> None:
        quiet = now - self._quiet_since
        overdue = self._connection.overdue
        if overdue >= MANY or (overdue and quiet >= 2 * LULL):
            self.outage = True
        if self._timeout is not None and quiet >= self._timeout:
            self._set_silent(True)
        if not (self.silent or overdue or quiet >= self._patience):
            self._connection.telling = False
        elif now >= self._probe_due:
            self._probe()
            self._connection.telling = not self._refused

    @property
    def _patience(self) -> float:
        """
        How long nothing need come, in seconds, before the pair is probed.
        """
        if self._busy:
            return LULL
        if self._timeout is None:
            return float("inf")
        # Time enough for two probes, and for their answers.
        return max(self._timeout - self._connection.patience, self._timeout / 2)

    def _probe(self) -> None:
        # At the first sample which is not earlier, whatever the rounding.
        self._probe_due = self._loop.time() + SAMPLE_INTERVAL - self._interval / 2
        self._refused = False
        if not self._connection.probe():
            self.path_refused()

    def _sample(self) -> None:
        now = self._loop.time()
        late = now - self._due
        self._look()
        if late > self._interval:
            # Nobody has listened meanwhile. What waits to be read is read first.
            self._quiet_since += late
        else:
            self._judge(now)
        if self._timer is not None:
            self._schedule()

    def _schedule(self) -> None:
        now = self._loop.time()
        self._due = now + self._interval
        if self._timeout is not None and not self.silent:
            end = self._quiet_since + self._timeout
            if now < end:
                self._due = min(self._due, end)
        self._timer = self._loop.call_at(self._due, self._sample)

    def _set_silent(self, silent: bool) -> bool:
        """
        Take note, and tell whether it is news.
        """
        if silent == self.silent:
            return False
        self.silent = silent
        self._observer.silence_changed()
        return True
