import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import aiortc
from aiortc.rtcicetransport import parse_stun_turn_uri

IPV6_LITERAL = re.compile(r"(?<=:)\[([0-9a-fA-F:.]+)\]")
"In a URL (RFC 7064 section 3.1, RFC 7065 section 3.1)."

WAYS = {("stun", None), ("turn", "udp"), ("turn", "tcp"), ("turns", "tcp")}
"The schemes and transports of servers which aioice can ask."


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
    "The protocol between this host and the server, such as `udp` or `tcp`."

    username: str | None = None
    credential: str | None = field(default=None, repr=False)
    obstacle: str | None = None
    "Why it cannot be asked, if it cannot."


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


def all_servers(servers: Iterable[aiortc.RTCIceServer]) -> tuple[IceServer, ...]:
    """
    Return a server for each URL, once each. As in aiortc, there may be some which
    cannot be asked.
    """
    return tuple(dict.fromkeys(_all_servers(servers)))


def _all_servers(servers: Iterable[aiortc.RTCIceServer]) -> Iterator[IceServer]:
    for server in servers:
        urls = [server.urls] if isinstance(server.urls, str) else server.urls
        for url in urls:
            parsed = parse_url(url)
            scheme, transport = parsed["scheme"], parsed.get("transport")
            obstacle = _obstacle(scheme, transport, server.credentialType)
            login: tuple[str | None, str | None] = None, None
            if scheme != "stun" and obstacle is None:
                login = server.username, server.credential
            way = parsed["host"], parsed["port"], transport or "udp"
            yield IceServer(url, scheme, *way, *login, obstacle)


def _obstacle(scheme: str, transport: str | None, credential_type: str) -> str | None:
    if (scheme, transport) not in WAYS:
        over = f" over {transport}" if transport is not None else ""
        return f"Servers of the scheme {scheme}{over} are not supported"
    if scheme != "stun" and credential_type != "password":
        return f'Credentials of the type "{credential_type}" are not supported'
    return None
