"""
What a peer connection tells of its gathering, and peers which trickle.
"""

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from aiortc.exceptions import InvalidStateError

from aiortc_restart import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
    RTCPeerConnectionIceErrorEvent,
)

from .calls import peers
from .network import Network
from .utils import until


class Found:
    """
    Records the events of gathering, with the virtual times at which they come.
    """

    def __init__(self, network: Network, pc: RTCPeerConnection) -> None:
        self.candidates: list[RTCIceCandidate] = []
        self.errors: list[RTCPeerConnectionIceErrorEvent] = []
        self.times: list[tuple[float, str]] = []
        "Each with a candidate's type, an error's code, `end` or `None`."
        self._network = network
        pc.on("icecandidate", self._found)
        pc.on("icecandidateerror", self._failed)

    def of_type(self, kind: str) -> list[RTCIceCandidate]:
        return [x for x in self.candidates if x.type == kind]

    def _failed(self, event: RTCPeerConnectionIceErrorEvent) -> None:
        self.errors.append(event)
        self._note(str(event.errorCode))

    def _found(self, candidate: RTCIceCandidate | None) -> None:
        if candidate is None:
            self._note("None")
        elif not candidate.candidate:
            self._note("end")
        else:
            self.candidates.append(candidate)
            self._note(candidate.type)

    def _note(self, what: str) -> None:
        self.times.append((round(self._network.now, 3), what))


def asking(*urls: str, **options: Any) -> RTCConfiguration:
    """
    Return a configuration which trickles, with servers.

    :param urls: The servers' URLs, for each one an `RTCIceServer`.
    :param options: More arguments for `RTCConfiguration()`.
    """
    servers = [RTCIceServer(x, username="user", credential="secret") for x in urls]
    return RTCConfiguration(**{"iceServers": servers, "iceTrickle": True, **options})


async def gathered(network: Network, *urls: str, **options: Any) -> Found:
    """
    Let a peer on "alice" gather the candidates of a data channel, and return what it
    has told.

    :param urls: The URLs of the servers.
    :param options: More arguments for `RTCConfiguration()`.
    """
    pc = network.at("alice", RTCPeerConnection)(asking(*urls, **options))
    found = Found(network, pc)
    pc.createDataChannel("test")
    await pc.setLocalDescription()
    await until(lambda: pc.iceGatheringState == "complete")
    await pc.close()
    return found


def trickle(first: RTCPeerConnection, second: RTCPeerConnection) -> None:
    """
    Let two peers have each other's candidates as they are found, until they are closed.
    """
    for one, other in ((first, second), (second, first)):
        one.on("icecandidate", partial(_give, other))


async def _give(pc: RTCPeerConnection, candidate: RTCIceCandidate | None) -> None:
    try:
        await pc.addIceCandidate(candidate)
    except InvalidStateError:
        # The end of the other peer's candidates may come when the call has been ended
        # on this side, or is being ended.
        if pc.signalingState != "closed":
            raise


@contextlib.asynccontextmanager
async def asking_peers(
    network: Network, *urls: str
) -> AsyncIterator[tuple[RTCPeerConnection, RTCPeerConnection]]:
    """
    Make two peers which trickle to each other, of which the offerer asks servers.
    """
    async with peers(network, configuration=asking()) as (offerer, answerer):
        offerer.setConfiguration(asking(*urls))
        trickle(offerer, answerer)
        yield offerer, answerer
