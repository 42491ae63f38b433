"""
Perfect negotiation: either side may ask for anything at any moment, also both at once
(webrtc-pc #perfect-negotiation-example).
"""

import asyncio
from collections.abc import Awaitable, Callable

from aiortc_restart import (
    InvalidStateError,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)

Send = Callable[[RTCSessionDescription], Awaitable[None]]


class PerfectNegotiation:
    def __init__(self, pc: RTCPeerConnection, send: Send, polite: bool) -> None:
        self.pc, self.send, self.polite = pc, send, polite
        self.making_offer = self.setting_answer = False
        pc.on("negotiationneeded", self.offer)

    async def offer(self) -> None:
        self.making_offer = True
        try:
            await self.pc.setLocalDescription()
            await self.send(self.pc.localDescription)
        except InvalidStateError:
            pass  # The peer's offer came first, or the connection was closed.
        finally:
            self.making_offer = False

    async def receive(self, description: RTCSessionDescription) -> None:
        ready = not self.making_offer and (
            self.pc.signalingState == "stable" or self.setting_answer
        )
        if description.type == "offer" and not ready and not self.polite:
            return  # The polite side takes back its own offer and answers ours.
        self.setting_answer = description.type == "answer"
        try:
            await self.pc.setRemoteDescription(description)
        finally:
            self.setting_answer = False
        if description.type == "offer":
            await self.pc.setLocalDescription()
            await self.send(self.pc.localDescription)


def ufrag(pc: RTCPeerConnection) -> str:
    return pc.localDescription.sdp.split("a=ice-ufrag:")[1].split()[0]


class Call:
    """
    Two peers, and what carries their descriptions.
    """

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.alice, self.bob = self.peer(), self.peer()
        polite = PerfectNegotiation(self.alice, self.to_bob, polite=True)
        impolite = PerfectNegotiation(self.bob, self.to_alice, polite=False)
        self.receive = {self.alice: polite.receive, self.bob: impolite.receive}

    def peer(self) -> RTCPeerConnection:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        pc.on("signalingstatechange", self.changed.set)
        pc.on("iceconnectionstatechange", self.changed.set)
        return pc

    async def to_alice(self, description: RTCSessionDescription) -> None:
        self.deliver(self.alice, description)

    async def to_bob(self, description: RTCSessionDescription) -> None:
        self.deliver(self.bob, description)

    def deliver(self, to: RTCPeerConnection, message: RTCSessionDescription) -> None:
        task = asyncio.create_task(self.receive[to](message))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def negotiated(self, before: set[str]) -> set[str]:
        """
        Wait until both ends are at rest and their username fragments are others.
        """
        while True:
            await self.changed.wait()
            self.changed.clear()
            states = {
                state
                for pc in (self.alice, self.bob)
                for state in (pc.signalingState, pc.iceConnectionState)
            }
            if states == {"stable", "completed"}:
                now = {ufrag(self.alice), ufrag(self.bob)}
                if before.isdisjoint(now):
                    return now


async def main() -> None:
    call = Call()
    # Both have something to offer, at the same moment; and then both ask for a restart.
    call.alice.addTransceiver("audio")
    call.bob.createDataChannel("chat")
    before = await call.negotiated(set())
    print("before:", *before)

    call.alice.restartIce()
    call.bob.restartIce()
    print("after: ", *await call.negotiated(before))

    await asyncio.gather(call.alice.close(), call.bob.close(), *call.tasks)


if __name__ == "__main__":
    asyncio.run(main())
