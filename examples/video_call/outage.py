"""
An outage on request: what the call sends and receives is dropped at its sockets, and at
the addresses which a TURN server lends it.

It needs no rights on the machine, and the call cannot tell it from a network which is
gone, except that a TURN server would still lend it another address. Nothing else in
this example looks into aiortc or aioice.
"""

import asyncio
import functools
from collections.abc import Callable, Iterator
from typing import Any

from aioice.ice import StunProtocol

from aiortc_restart import RTCIceTransport, RTCPeerConnection


class Outage:
    """
    The network of one call, which can be cut.

    :param pc: Whose datagrams are dropped.
    :param changed: Called when the network is cut, and when it is back.
    """

    def __init__(self, pc: RTCPeerConnection, changed: Callable[[], None]) -> None:
        self.dropped = 0
        "How many datagrams have been dropped, in either direction."

        self.seconds = 0.0
        "How long the last outage lasts, or has lasted."

        self._changed = changed
        self._pc = pc
        self._timer: asyncio.TimerHandle | None = None
        # A restart makes sockets meanwhile. Before their candidates are known here,
        # nothing is sent to them, nor from them.
        pc.on("icecandidate", lambda _: self._guard() if self.active else None)

    @property
    def active(self) -> bool:
        """
        Whether the network is gone.
        """
        return self._timer is not None

    def close(self) -> None:
        """
        Forget about the end of the outage.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def cut(self, seconds: float) -> None:
        """
        Cut the network for some time, counted from now.
        """
        self.close()
        self.seconds = seconds
        self._timer = asyncio.get_running_loop().call_later(seconds, self._heal)
        self._guard()
        self._changed()

    def drops(self) -> bool:
        """
        Decide about one datagram.
        """
        self.dropped += self.active
        return self.active

    def _guard(self) -> None:
        """
        Stand between the sockets and who uses them.
        """
        for socket in _sockets(self._pc):
            if not isinstance(socket.transport, _Transport):
                socket.transport = _Transport(socket.transport, self)
                # The same way for the relayed address of a TURN server, which passes
                # on what comes, and has no protocol that could be changed.
                receive = functools.partial(self._receive, socket)
                socket.datagram_received = receive  # type: ignore[method-assign]

    def _heal(self) -> None:
        self._timer = None
        self._changed()

    def _receive(
        self, socket: StunProtocol, data: bytes, addr: tuple[str, int]
    ) -> None:
        if not self.drops():
            type(socket).datagram_received(socket, data, addr)


class _Transport(asyncio.DatagramTransport):
    """
    Passes on what is sent, unless the network is gone.
    """

    def __init__(self, inner: asyncio.DatagramTransport, outage: Outage) -> None:
        super().__init__()
        self._inner, self._outage = inner, outage

    def abort(self) -> None:
        self._inner.abort()

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._inner.get_extra_info(name, default)

    def is_closing(self) -> bool:
        return self._inner.is_closing()

    def sendto(self, data: Any, addr: Any = None) -> None:
        if not self._outage.drops():
            self._inner.sendto(data, addr)


def _sockets(pc: RTCPeerConnection) -> Iterator[StunProtocol]:
    """
    Find the sockets of a connection: those of all its ICE generations.
    """
    transports = {x.receiver.transport for x in pc.getTransceivers()}
    if pc.sctp is not None:
        transports.add(pc.sctp.transport)
    # What no description has yet has none.
    for transport in transports - {None}:
        ice = transport.transport
        assert isinstance(ice, RTCIceTransport)
        for generation in ice.generations:
            # aioice keeps them to itself: this is the one private name needed.
            yield from generation.connection._protocols  # noqa: SLF001
