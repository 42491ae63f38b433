"""
The command line.
"""

import argparse
import math
import ssl
from collections.abc import Callable, Sequence

from aiortc_restart import (
    InvalidAccessError,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
)

from .visitors import Limits


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """
    Read the command line, and end the program if it is wrong.

    :return: Has `host`, `port`, `allow_host`, `certificate`, which is a TLS context or
             `None`, `limits` of the connections, and `configuration`, that of the peer
             connections.
    """
    parser = argparse.ArgumentParser("examples.video_call", description=__doc__)
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="where to listen")
    add("--port", type=_port, default=8080)
    add(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="a name by which others reach the server, besides its addresses",
    )
    add(
        "--certificate",
        metavar="FILE",
        type=_certificate,
        help="PEM file with key and certificate: browsers give a camera to other "
        "machines' pages over HTTPS only",
    )
    add(
        "--ice-server",
        metavar="URL",
        action="append",
        default=[],
        help="such as stun:host:3478 or turn:host:3478",
    )
    add("--ice-username", metavar="NAME", help="of the TURN servers")
    add("--ice-credential", metavar="PASSWORD", help="of the TURN servers")
    add(
        "--patience",
        metavar="SECONDS",
        type=_positive(float),
        default=Limits.patience,
        help="how long a connection may last without a call (%(default)s)",
    )
    add(
        "--max-connections",
        metavar="N",
        type=_positive(int),
        default=Limits.connections,
        help="how many there may be at once (%(default)s)",
    )
    add(
        "--max-per-address",
        metavar="N",
        type=_positive(int),
        default=Limits.connections_per_address,
        help="how many of one address; behind a proxy all have one (%(default)s)",
    )
    options = parser.parse_args(arguments)
    options.limits = Limits(
        options.patience, options.max_connections, options.max_per_address
    )
    try:
        options.configuration = _configuration(options)
    except (InvalidAccessError, ValueError) as exc:
        parser.error(f"argument --ice-server: {exc}")
    return options


def _certificate(path: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # There is nobody whom it could ask for a password.
        context.load_cert_chain(path, password="")
    except OSError as exc:
        raise argparse.ArgumentTypeError(
            f"{path} has no key and certificate: {exc}"
        ) from None
    return context


def _configuration(options: argparse.Namespace) -> RTCConfiguration:
    configuration = RTCConfiguration(
        iceServers=[
            RTCIceServer(
                url, username=options.ice_username, credential=options.ice_credential
            )
            if url.startswith("turn")
            else RTCIceServer(url)
            for url in options.ice_server
        ],
        iceDisconnectedTimeout=2.0,
        iceTrickle=True,
    )
    # Here it is found out whether they can be used, and not when the first page comes.
    RTCPeerConnection().setConfiguration(configuration)
    return configuration


def _positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            number = kind(text)
        except ValueError:
            number = 0
        if not 0 < number < math.inf:
            raise argparse.ArgumentTypeError(f"{text} is no number above 0")
        return number

    return read


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text} is no number from 0 to 65535")
    return int(text)
