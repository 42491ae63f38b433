import copy
import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import aiortc
from aiortc import (
    InvalidAccessError,
    RTCIceServer,
    RTCIceTransportPolicy,
)
from aiortc import RTCConfiguration as BaseConfiguration

from ._consent import ConsentTimes
from ._servers import parse_url
from .exceptions import InvalidModificationError

# What cannot change, and what it is where a configuration does not say.
FIXED: dict[str, Any] = {
    "alwaysNegotiateDataChannels": False,
    "bundlePolicy": aiortc.RTCBundlePolicy.BALANCED,
    "certificates": None,
    "rtcpMuxPolicy": "require",
}

TIMES = (
    "iceConsentInterval",
    "iceConsentTimeout",
    "iceDisconnectedTimeout",
    "iceFailedTimeout",
    "iceRestartTimeout",
)

MIN_CONSENT_INTERVAL = 5.0
"""
In seconds: at 0.8 times that, consent requests are the 4 seconds apart which they have
to be (RFC 7675 section 5.1).
"""

MIN_DISCONNECTED_TIMEOUT = 0.5
"""
In seconds: probes are that far apart (RFC 8445 section 14.3), so that with less a call
in which nobody says anything would be disconnected between two of them.
"""


@dataclass
class RTCConfiguration(BaseConfiguration):
    """
    The :class:`RTCConfiguration` dictionary is used to provide configuration
    options for an :class:`RTCPeerConnection`.

    :raises ValueError: if a time is not a positive number of seconds, or a path would
                        be disconnected before it is probed, or consent is asked for
                        too often, or would be lost before it is asked for.
    """

    iceDisconnectedTimeout: float | None = 5.0
    """
    After how many seconds in which nothing has come from the peer, neither media nor
    data nor an answer to a check, the connection is `"disconnected"`. `None` for never,
    unless the network interface is gone. At least 0.5, which is how far apart the
    checks of a silent path are, and it should be more than two round trips.
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
    which it becomes `"failed"`, unless a restart brings it back. `None` for never. One
    which has never been up does not close itself, as in aiortc.
    """

    iceConsentInterval: float | None = None
    """
    How often the peer is asked for its consent to what is sent, in seconds: each time
    after 0.8 to 1.2 times that, at random (RFC 7675 section 5.1). At least 5. `None`
    for `aioice.ice.CONSENT_INTERVAL`, which is 5 unless an application has set it.
    """

    iceConsentTimeout: float | None = None
    """
    When a path is lost on which no request is answered, in seconds from the last
    response. More than 1.2 times the interval, as the next request may come that late;
    RFC 7675 section 5.1 has 30. `None` for the product of `aioice.ice.CONSENT_FAILURES`
    and `aioice.ice.CONSENT_INTERVAL`, which is 30 unless an application has set them,
    or as long as it takes until a request has been sent and may have been answered.
    """

    iceTrickle: bool = False
    """
    Whether `setLocalDescription()` returns before the candidates have been gathered, as
    it does in browsers: each is told by the `"icecandidate"` event, which the
    application sends to the peer (RFC 8838). If `False`, it returns when all have been
    gathered, and the description that is sent has them all, as in aiortc. A peer which
    says in its description that it does not trickle has them all in either case. When
    this is changed in a call, our own descriptions say so from the next restart on.

    An application whose `send()` passes a message to the other side's `receive()`, in
    order, has no more to do than this, beside exchanging descriptions as ever::

        @pc.on("icecandidate")
        def on_candidate(candidate):
            if candidate is not None:
                send(candidate.toJSON())

        async def receive(message):
            await pc.addIceCandidate(RTCIceCandidate.fromJSON(message))
    """

    associateTransceivers: bool | None = None
    """
    Whether an m-section that the peer adds is associated with a transceiver which
    :meth:`~RTCPeerConnection.addTransceiver` has made and no offer of ours has had, as
    in aiortc, whose programs add transceivers before they answer. If `False`, it is
    only associated with one which :meth:`~RTCPeerConnection.addTrack` has made, if the
    peer is to receive, as in browsers (webrtc-pc #set-the-session-description). If
    `None`, it is `False` for an application that listens to `"negotiationneeded"`,
    which aiortc does not have: it offers what it adds.
    """

    iceCandidatePoolSize: int = 0
    """
    How many candidates to gather beforehand, from 0 to 255, as in webrtc-pc
    #dom-rtcconfiguration-icecandidatepoolsize. It has no effect: none are gathered.
    It cannot be changed after the first local description.
    """

    def __post_init__(self) -> None:
        if not isinstance(self.iceTrickle, bool):
            raise ValueError(f"iceTrickle must be a bool, not {self.iceTrickle!r}")
        if not isinstance(self.associateTransceivers, bool | None):
            raise ValueError(
                "associateTransceivers must be a bool or None, not "
                f"{self.associateTransceivers!r}"
            )
        if self.iceCandidatePoolSize not in range(256):
            raise ValueError(
                "iceCandidatePoolSize must be from 0 to 255, not "
                f"{self.iceCandidatePoolSize!r}"
            )
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
        silence = self.iceDisconnectedTimeout
        if silence is not None and silence < MIN_DISCONNECTED_TIMEOUT:
            raise ValueError(
                f"iceDisconnectedTimeout must be at least {MIN_DISCONNECTED_TIMEOUT:g} "
                f"seconds (RFC 8445 section 14.3), not {silence!r}"
            )
        self._check_consent()

    def __repr__(self) -> str:
        # Without the credentials of the servers, as it may be logged.
        values = {x.name: getattr(self, x.name) for x in dataclasses.fields(self)}
        if isinstance(self.iceServers, list | tuple):
            values["iceServers"] = [_without_credential(x) for x in self.iceServers]
        elif self.iceServers is not None:
            # It is refused, and may have a credential in it.
            values["iceServers"] = type(self.iceServers)
        listed = ", ".join(f"{name}={value!r}" for name, value in values.items())
        return f"{type(self).__name__}({listed})"

    def _check_consent(self) -> None:
        interval, timeout = self.iceConsentInterval, self.iceConsentTimeout
        if interval is None and timeout is None:
            # What an application does to aioice is its own business.
            return
        if interval is not None and interval < MIN_CONSENT_INTERVAL:
            raise ValueError(
                f"iceConsentInterval must be at least {MIN_CONSENT_INTERVAL:g} seconds "
                f"(RFC 7675 section 5.1), not {interval!r}"
            )
        times = ConsentTimes(interval, timeout)
        if times.set_lifetime <= times.longest_delay:
            raise ValueError(
                f"iceConsentTimeout must be more than {times.longest_delay:g} seconds, "
                "which may pass until consent is asked for again (1.2 times "
                f"iceConsentInterval), not {times.set_lifetime:g}"
            )


def copy_configuration(configuration: BaseConfiguration) -> RTCConfiguration:
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


def check_configuration(configuration: BaseConfiguration) -> None:
    """
    Check that a configuration can be used.

    :raises ValueError: if an option has no valid value, in particular if a URL is not
                        one of a STUN or TURN server.
    """
    if isinstance(configuration, RTCConfiguration):
        # It may have been changed since it was made.
        configuration.__post_init__()
    policy = configuration.iceTransportPolicy
    if not isinstance(policy, RTCIceTransportPolicy):
        raise ValueError(
            f"iceTransportPolicy must be an RTCIceTransportPolicy, not {policy!r}"
        )
    for _, url in _urls(configuration):
        _parse_url(url)


def check_modification(
    current: BaseConfiguration,
    configuration: BaseConfiguration,
    described: bool,
) -> None:
    """
    Check that a connection which has a configuration can be given another one
    (webrtc-pc #set-the-configuration).

    :param described: Whether a local description has been set.

    :raises InvalidAccessError: if the credentials of a TURN server are missing.
    :raises InvalidModificationError: if it differs in what cannot change.
    :raises ValueError: if an option has no valid value.
    """
    if not isinstance(configuration, BaseConfiguration):
        raise ValueError(
            "configuration must be an RTCConfiguration, not of type "
            f"{type(configuration).__name__}"
        )
    fixed = FIXED | ({"iceCandidatePoolSize": 0} if described else {})
    for name, default in fixed.items():
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


def _without_credential(server: object) -> object:
    """
    Return what is shown of an ICE server, or of what takes the place of one.
    """
    if not isinstance(server, RTCIceServer):
        return type(server)
    return dataclasses.replace(server, credential=server.credential and "***")


def _parse_url(url: object) -> dict[str, Any]:
    try:
        if not isinstance(url, str):
            raise ValueError("it is no string")
        parsed = parse_url(url)
        if not 0 < parsed["port"] < 65536:
            raise ValueError("invalid port")
    except ValueError as exc:
        # Some write a username and a password into it, though no standard has them.
        plain = isinstance(url, str | int | float | None)
        shown = re.sub(":.*@", ":***@", str(url) if plain else type(url).__name__)
        raise ValueError(f'"{shown}" is no URL of an ICE server: {exc}') from None
    return parsed


def _urls(
    configuration: BaseConfiguration,
) -> Iterator[tuple[RTCIceServer, str]]:
    for server in configuration.iceServers or []:
        if not isinstance(server, RTCIceServer):
            # It may have a credential in it, as the dictionary of a browser has.
            raise ValueError(
                "An ICE server must be an RTCIceServer, not of type "
                f"{type(server).__name__}"
            )
        urls = [server.urls] if isinstance(server.urls, str) else server.urls
        if not isinstance(urls, list | tuple):
            raise ValueError(
                "URLs of an ICE server must be a list, not of type "
                f"{type(urls).__name__}"
            )
        for url in urls:
            yield server, url
