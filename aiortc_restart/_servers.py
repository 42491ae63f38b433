import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import aiortc
from aiortc.rtcicetransport import parse_stun_turn_uri

IPV6_LITERAL = re.compile(r"(?<=:)\[([0-9a-fA-F:.]+)\]")
"In a URL (RFC 7064 section 3.1, RFC 7065 section 3.1)."


@dataclass(frozen=True)
class IceServer:
    """
    A server which is asked for a candidate: one URL of an :class:`RTCIceServer`.
    """

    url: str
    scheme: str
    "Possible values: `stun`, `turn`, `turns`."

    host: str
    port: int
    transport: str
    "The protocol between this host and the server, `udp` or `tcp`."

    username: str | None = None
    credential: str | None = None


def parse_url(url: str) -> dict[str, Any]:
    """
    Parse the URL of a STUN or TURN server.

    :raises ValueError: if it is none.
    """
    # The base does not know addresses of IPv6.
    literal = IPV6_LITERAL.search(url)
    parsed = parse_stun_turn_uri(IPV6_LITERAL.sub("ipv6", url))
    if literal is not None:
        parsed["host"] = literal[1]
    return parsed


def usable_servers(servers: Iterable[aiortc.RTCIceServer]) -> tuple[IceServer, ...]:
    """
    Return the servers which can be asked: as in aiortc, others are left out, such as
    those of the scheme `stuns`, and those with another credential than a password.
    """
    return tuple(dict.fromkeys(_usable_servers(servers)))


def _usable_servers(servers: Iterable[aiortc.RTCIceServer]) -> Iterator[IceServer]:
    for server in servers:
        urls = [server.urls] if isinstance(server.urls, str) else server.urls
        for url in urls:
            parsed = parse_url(url)
            way = parsed["scheme"], parsed.get("transport")
            if way == ("stun", None):
                yield IceServer(url, "stun", parsed["host"], parsed["port"], "udp")
            elif (
                way in {("turn", "udp"), ("turn", "tcp"), ("turns", "tcp")}
                and server.credentialType == "password"
            ):
                login = server.username, server.credential
                yield IceServer(
                    url, way[0], parsed["host"], parsed["port"], way[1], *login
                )
