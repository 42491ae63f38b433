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
    def longest_delay(self) -> float:
        """
        After how many seconds the next request is sent at the latest.
        """
        return self._interval * LATEST

    @property
    def set_lifetime(self) -> float:
        """
        How long consent is to last after a response, in seconds, by the settings.
        """
        if self.timeout is not None:
            return self.timeout
        return aioice.ice.CONSENT_FAILURES * aioice.ice.CONSENT_INTERVAL

    def delay(self) -> float:
        """
        Return after how many seconds the next request is to be sent.
        """
        return self._interval * random.uniform(0.8, LATEST)

    def lifetime(self, patience: float) -> float:
        """
        Return how long consent lasts after a response, in seconds.

        :param patience: How long a request may wait for its response, in seconds.
        """
        if self.timeout is not None:
            return self.timeout
        # In the base consent ends with so many failures, even if that is one: a request
        # has been sent then, and has had the time to be answered.
        return max(self.set_lifetime, self.longest_delay + patience)

    @property
    def _interval(self) -> float:
        if self.interval is not None:
            return self.interval
        return aioice.ice.CONSENT_INTERVAL
