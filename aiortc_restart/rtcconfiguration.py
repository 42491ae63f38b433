from dataclasses import dataclass

import aiortc

TIMES = ("iceDisconnectedTimeout", "iceFailedTimeout", "iceRestartTimeout")


@dataclass
class RTCConfiguration(aiortc.RTCConfiguration):
    """
    The :class:`RTCConfiguration` dictionary is used to provide configuration
    options for an :class:`RTCPeerConnection`.

    :raises ValueError: if a time is not a positive number of seconds.
    """

    iceDisconnectedTimeout: float | None = 5.0
    """
    After how many seconds in which nothing has come from the peer, neither media nor
    data nor an answer to a check, the connection is `"disconnected"`. `None` for never.
    It should be more than two round trips.
    """

    iceRestartTimeout: float | None = 39.5
    """
    When an ICE restart that does not succeed is given up, in seconds from the moment
    at which both descriptions are known (RFC 8863 section 3). `None` for never. aioice
    sends a pair's last check after 31.5 seconds; later only the peer's checks can find
    a path.
    """

    iceFailedTimeout: float | None = 60.0
    """
    When a connection whose path is lost closes itself, in seconds from the moment at
    which it becomes `"failed"`, unless a restart brings it back. `None` for never.
    """

    def __post_init__(self) -> None:
        for name in TIMES:
            value = getattr(self, name)
            if value is not None and not (
                isinstance(value, int | float)
                and not isinstance(value, bool)
                and 0 < value < float("inf")
            ):
                raise ValueError(
                    f"{name} must be a positive number of seconds or None, not "
                    f"{value!r}"
                )
