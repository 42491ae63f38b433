"""
By which names the server may be called.

A page from elsewhere may let its own name point to this machine (DNS rebinding). To the
browser they are then one site, so that `Origin` says nothing; but the name does.
"""

import ipaddress
import re
from collections.abc import Iterable

HERE = ("127.0.0.1", "::1", "localhost")

HOST = re.compile(
    r"(?:\[([0-9a-f:.]+)\]|([^][:/?#@\\\s]+))(?::\d{1,5})?", re.IGNORECASE
)
"The header: an address or a name, and a port."

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Hosts:
    """
    The names of a server.

    :param bound: Where it listens. Unless that is this machine only, any address may be
                  its own: to reach it by that, no name has been asked for.
    :param names: What else it is called.
    """

    def __init__(self, bound: str = HERE[0], names: Iterable[str] = ()) -> None:
        address = _address(bound)
        local = bound == "localhost" or (address is not None and address.is_loopback)
        self._any_address = not local
        self._names = {x.lower() for x in (*HERE, bound, *names)}

    def know(self, host: str) -> bool:
        """
        Decide whether a request is for this server.

        :param host: Its header `Host`.
        """
        match = HOST.fullmatch(host)
        if match is None:
            return False
        name = (match[1] or match[2]).lower()
        return name in self._names or (self._any_address and _address(name) is not None)


def _address(name: str) -> Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
