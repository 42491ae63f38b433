import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import aiortc
from aiortc import InvalidAccessError
from aiortc.rtcicetransport import parse_stun_turn_uri

from .exceptions import InvalidModificationError

# What cannot change, and what it is where a configuration does not say.
FIXED: dict[str, Any] = {
    "alwaysNegotiateDataChannels": False,
    "bundlePolicy": aiortc.RTCBundlePolicy.BALANCED,
    "certificates": None,
    "rtcpMuxPolicy": "require",
}

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
    data nor an answer to a check, the connection is `"disconnected"`. `None` for never,
    unless the network interface is gone. It should be more than two round trips.
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


def copy_configuration(configuration: aiortc.RTCConfiguration) -> RTCConfiguration:
    """
    Return a copy which has nothing in common with the configuration, which may be
    aiortc's own.
    """
    if isinstance(configuration, RTCConfiguration):
        copied = copy.copy(configuration)
    else:
        copied = RTCConfiguration()
        vars(copied).update(vars(configuration))
    if copied.iceServers is not None:
        copied.iceServers = [copy.copy(x) for x in copied.iceServers]
        for server in copied.iceServers:
            if not isinstance(server.urls, str):
                server.urls = list(server.urls)
    return copied


def check_configuration(configuration: aiortc.RTCConfiguration) -> None:
    """
    Check that a configuration can be used.

    :raises ValueError: if an option has no valid value, in particular if a URL is not
                        one of a STUN or TURN server.
    """
    if isinstance(configuration, RTCConfiguration):
        # It may have been changed since it was made.
        configuration.__post_init__()
    policy = configuration.iceTransportPolicy
    if not isinstance(policy, aiortc.RTCIceTransportPolicy):
        raise ValueError(
            f"iceTransportPolicy must be an RTCIceTransportPolicy, not {policy!r}"
        )
    for _, url in _urls(configuration):
        _parse_url(url)


def check_modification(
    current: aiortc.RTCConfiguration, configuration: aiortc.RTCConfiguration
) -> None:
    """
    Check that a connection which has a configuration can be given another one
    (webrtc-pc #set-the-configuration).

    :raises InvalidAccessError: if the credentials of a TURN server are missing.
    :raises InvalidModificationError: if it differs in what cannot change.
    :raises ValueError: if an option has no valid value.
    """
    if not isinstance(configuration, aiortc.RTCConfiguration):
        raise ValueError(
            f"configuration must be an RTCConfiguration, not {configuration!r}"
        )
    for name, default in FIXED.items():
        if hasattr(configuration, name):
            new = getattr(configuration, name) or default
            if new != (getattr(current, name, None) or default):
                raise InvalidModificationError(
                    f"Cannot change {name} of an RTCPeerConnection"
                )
    check_configuration(configuration)
    if any(not x.urls for x in configuration.iceServers or []):
        raise ValueError("An ICE server needs a URL")
    for server, url in _urls(configuration):
        if not url.startswith("turn"):
            continue
        if _parse_url(url)["transport"] not in ("udp", "tcp"):
            raise ValueError(f'The transport in "{url}" must be udp or tcp')
        if server.username is None or server.credential is None:
            raise InvalidAccessError(
                f'TURN server "{url}" needs a username and a credential'
            )


def _parse_url(url: object) -> dict[str, Any]:
    try:
        if not isinstance(url, str):
            raise ValueError("it is no string")
        parsed = parse_stun_turn_uri(url)
        if not 0 < parsed["port"] < 65536:
            raise ValueError("invalid port")
    except ValueError as exc:
        raise ValueError(f'"{url}" is no URL of an ICE server: {exc}') from None
    return parsed


def _urls(
    configuration: aiortc.RTCConfiguration,
) -> Iterator[tuple[aiortc.RTCIceServer, str]]:
    for server in configuration.iceServers or []:
        if not isinstance(server, aiortc.RTCIceServer):
            raise ValueError(f"An ICE server must be an RTCIceServer, not {server!r}")
        urls = [server.urls] if isinstance(server.urls, str) else server.urls
        if not isinstance(urls, list | tuple):
            raise ValueError(f"URLs of an ICE server must be a list, not {urls!r}")
        for url in urls:
            yield server, url
