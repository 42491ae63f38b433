import random

import aioice.ice

LATEST = 1.2
"When the next consent request is sent at the latest, in intervals."


class ConsentTimes:
    """
    How often consent is asked for, and how long it lasts (RFC 7675 section 5.1).

    All connections of a transport share one. What is `None` is as aioice's settings
    say, which applications change and which are therefore read each time.

    :param interval: Seconds between two requests, before they are randomised.
    :param timeout: Seconds from the last response to the loss.
    """

    def __init__(
        self, interval: float | None = None, timeout: float | None = None
    ) -> None:
        self.interval = interval
        self.timeout = timeout

    @property
    def lifetime(self) -> float:
        """
        How long consent lasts after a response, in seconds.
        """
        if self.timeout is not None:
            return self.timeout
        return aioice.ice.CONSENT_FAILURES * aioice.ice.CONSENT_INTERVAL

    @property
    def longest_delay(self) -> float:
        """
        After how many seconds the next request is sent at the latest.
        """
        return self._interval * LATEST

    def delay(self) -> float:
        """
        Return after how many seconds the next request is to be sent.
        """
        return self._interval * random.uniform(0.8, LATEST)

    @property
    def _interval(self) -> float:
        if self.interval is not None:
            return self.interval
        return aioice.ice.CONSENT_INTERVAL
