"""
A man on the path: what he sees, and what he sends again.
"""

import struct
from collections import Counter
from collections.abc import Callable, Iterable

from ..network import Address, Datagram, Network
from . import wire


class Observer:
    """
    Records what crosses a simulated network, and sends it again.
    """

    def __init__(self, network: Network) -> None:
        self.seen: list[Datagram] = []
        self._network = network
        self._sending = False
        network.tap(self._see)

    def inject(self, data: bytes, source: Address, destination: Address) -> None:
        """
        Send something in another one's name.
        """
        self._sending = True
        try:
            self._network.send(source, destination, data)
        finally:
            self._sending = False

    def of(self, *kinds: Callable[[bytes], bool]) -> list[Datagram]:
        """
        Return what has been seen of some kinds.
        """
        return [x for x in self.seen if any(kind(x.data) for kind in kinds)]

    def replay(
        self,
        datagrams: Iterable[Datagram],
        source: Address | None = None,
        destination: Address | None = None,
    ) -> int:
        """
        Send something again, as it was, and return how many datagrams that were.

        :param source: Another address to send it from.
        :param destination: Another address to send it to.
        """
        count = 0
        for datagram in list(datagrams):
            self.inject(
                datagram.data,
                source or datagram.source,
                destination or datagram.destination,
            )
            count += 1
        return count

    def _see(self, datagram: Datagram) -> None:
        if not self._sending:
            self.seen.append(datagram)


class Requests:
    """
    Counts the STUN requests that leave a simulated network's hosts, by destination.

    :param sources: The IP addresses from which they count.
    """

    def __init__(self, network: Network, *sources: str) -> None:
        self.sent: list[tuple[float, Address, bytes]] = []
        "The virtual time, the destination and the transaction of each."
        self._sources = sources
        network.tap(self._see)

    def begun(self, host: str) -> list[float]:
        """
        Return when the first request of each transaction was sent to an IP address.
        """
        times: dict[bytes, float] = {}
        for time, destination, transaction in self.sent:
            if destination[0] == host:
                times.setdefault(transaction, time)
        return sorted(times.values())

    def most_to_a_port(self, host: str, window: float) -> int:
        """
        Return how many at most one port of an IP address got within some seconds.
        """
        addresses: dict[Address, list[float]] = {}
        for time, destination, _ in self.sent:
            if destination[0] == host:
                addresses.setdefault(destination, []).append(time)
        return max((busiest(x, window) for x in addresses.values()), default=0)

    def to(self, host: str) -> "Counter[Address]":
        """
        Return how many each port of an IP address got.
        """
        return Counter(x for _, x, _ in self.sent if x[0] == host)

    def _see(self, datagram: Datagram) -> None:
        data = datagram.data
        if datagram.source[0] in self._sources and data[:2] == b"\x00\x01":
            self.sent.append((datagram.time, datagram.destination, data[8:20]))


def busiest(times: Iterable[float], window: float) -> int:
    """
    Return how many times at most lie within some seconds.
    """
    ordered = sorted(times)
    first = most = 0
    for last, time in enumerate(ordered):
        # Sums of floats are off by some of their last bits.
        while ordered[first] <= time - window + 1e-6:
            first += 1
        most = max(most, last - first + 1)
    return most


def is_check(data: bytes) -> bool:
    return data[:2] == struct.pack("!H", wire.REQUEST)


def is_dtls(data: bytes) -> bool:
    return bool(data) and 19 < data[0] < 64


def is_response(data: bytes) -> bool:
    return data[:2] in (b"\x01\x01", b"\x01\x11")


def is_srtp(data: bytes) -> bool:
    return bool(data) and 127 < data[0] < 192
