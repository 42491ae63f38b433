"""
Calls whose peers send each candidate by itself.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from aiortc_restart import (
    RTCConfiguration,
    RTCDataChannel,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
)

from .network import Network

SILENT = "10.0.9.1"
"Where a STUN server might be; see `probes.stun_server()`."


class Trickling:
    """
    Two peers, at "alice" and "bob", and the signaling between them.

    :param delay: How long a message is on its way, in seconds.
    :param servers: Whether each peer asks the STUN server.
    """

    def __init__(
        self, network: Network, delay: float = 0.0, servers: bool = False
    ) -> None:
        self.delay = delay
        #: What happened, in its order: who, what, and what there was to see.
        self.events: dict[str, list[Any]] = {"alice": [], "bob": []}
        self.errors: list[BaseException] = []
        #: Which of a peer's candidates are sent; see :meth:`RTCIceCandidate.toJSON`.
        self.passes: Callable[[RTCIceCandidate | None], bool] = lambda _: True
        configuration = RTCConfiguration(
            iceServers=[RTCIceServer(f"stun:{SILENT}:3478")] if servers else [],
            iceTrickle=True,
        )
        self.alice, self.bob = (
            network.at(name, RTCPeerConnection)(configuration)
            for name in ("alice", "bob")
        )
        self._sent = 0
        self._tasks: set[asyncio.Task[None]] = set()
        for name, pc in (("alice", self.alice), ("bob", self.bob)):
            self._watch(name, pc)

    async def close(self) -> None:
        await asyncio.gather(self.alice.close(), self.bob.close())
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def negotiate(self, offerer: RTCPeerConnection) -> None:
        """
        Make an offer and have it answered.
        """
        answerer = self.bob if offerer is self.alice else self.alice
        await offerer.setLocalDescription()
        offer = offerer.localDescription
        await asyncio.sleep(self.delay)
        await answerer.setRemoteDescription(offer)
        await answerer.setLocalDescription()
        answer = answerer.localDescription
        await asyncio.sleep(self.delay)
        await offerer.setRemoteDescription(answer)

    def names(self, name: str) -> list[str]:
        """
        Return which events a peer has had, in their order.
        """
        return [x[0] for x in self.events[name]]

    async def _pass(self, pc: RTCPeerConnection, message: Any) -> None:
        # No two are as late, so that they keep their order.
        self._sent += 1
        await asyncio.sleep(self.delay + self._sent * 1e-9)
        try:
            await pc.addIceCandidate(RTCIceCandidate.fromJSON(message))
        except BaseException as exc:
            self.errors.append(exc)
            raise

    def _watch(self, name: str, pc: RTCPeerConnection) -> None:
        events = self.events[name]
        other = "bob" if name == "alice" else "alice"

        def note(what: str) -> None:
            said = pc.localDescription.sdp if pc.localDescription else ""
            now = asyncio.get_running_loop().time()
            events.append((what, said.count("a=candidate"), now))

        @pc.on("icecandidate")
        def on_candidate(candidate: RTCIceCandidate | None) -> None:
            note(candidate.type or "end" if candidate is not None else "null")
            if self.passes(candidate):
                message = candidate.toJSON() if candidate is not None else None
                task = asyncio.create_task(self._pass(getattr(self, other), message))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

        for event, attribute in (
            ("icegatheringstatechange", "iceGatheringState"),
            ("iceconnectionstatechange", "iceConnectionState"),
        ):
            pc.on(
                event,
                lambda x=attribute: note(getattr(pc, x)),
            )


@contextlib.asynccontextmanager
async def trickling(
    network: Network, delay: float = 0.0, servers: bool = False
) -> AsyncIterator[tuple[Trickling, RTCDataChannel]]:
    """
    Yield two peers, and the data channel which alice will have.
    """
    call = Trickling(network, delay, servers)
    try:
        yield call, call.alice.createDataChannel("test")
        assert call.errors == []
    finally:
        await call.close()
