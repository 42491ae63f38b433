"""
Perfect negotiation: either side may ask for anything at any moment, also both at once
(webrtc-pc #perfect-negotiation-example).

Run it with `python -m examples.perfect_negotiation`: two peers make offers which meet,
and then restarts which meet.
"""

import asyncio
from collections.abc import Awaitable, Callable

from aiortc import rtcicetransport
from aiortc.exceptions import OperationError

from aiortc_restart import (
    InvalidStateError,
    RTCConfiguration,
    RTCIceCandidate,
    RTCPeerConnection,
    RTCSessionDescription,
)

Message = RTCSessionDescription | rtcicetransport.RTCIceCandidate
Send = Callable[[Message], Awaitable[None]]
"Sends to the peer. It is called for one message after the other."


class PerfectNegotiation:
    """
    Lets a connection negotiate whenever either side needs it to.
    """

    def __init__(self, pc: RTCPeerConnection, send: Send, polite: bool) -> None:
        self.pc, self.send, self.polite = pc, send, polite
        self.making_offer = self.setting_answer = self.ignoring = False
        self.turn = asyncio.Lock()
        pc.on("negotiationneeded", self.offer)
        if pc.getConfiguration().iceTrickle:
            pc.on("icecandidate", self.trickle)

    async def offer(self) -> None:
        self.making_offer = True
        try:
            await self.pc.setLocalDescription()
        except InvalidStateError:
            return  # The peer's offer came first, or the connection was closed.
        finally:
            self.making_offer = False  # Before it is sent: that may return late.
        await self.post(self.pc.localDescription)

    async def receive_description(self, description: RTCSessionDescription) -> None:
        ready = not self.making_offer and (
            self.pc.signalingState == "stable" or self.setting_answer
        )
        self.ignoring = description.type == "offer" and not ready and not self.polite
        if self.ignoring:
            return  # The polite side takes back its own offer and answers ours.
        self.setting_answer = description.type == "answer"
        try:
            await self.pc.setRemoteDescription(description)
        finally:
            self.setting_answer = False
        if description.type == "offer":
            await self.pc.setLocalDescription()
            await self.post(self.pc.localDescription)

    async def receive(self, message: Message) -> None:
        """
        Take a description or a candidate which the peer has sent.
        """
        ignored = self.ignoring  # Until the next description, which may come meanwhile.
        try:
            if isinstance(message, RTCSessionDescription):
                await self.receive_description(message)
            else:
                await self.pc.addIceCandidate(message)
        except InvalidStateError:
            # It answers an offer taken back, or the connection was closed.
            if message.type != "answer" and self.pc.signalingState != "closed":
                raise
        except OperationError:
            if not ignored:  # Else it belongs to the offer that was ignored.
                raise

    async def run(self, receive: Callable[[], Awaitable[object]]) -> object:
        """
        Take what the peer sends, until something else comes, which is returned: `None`,
        or a goodbye.
        """
        while isinstance(message := await receive(), Message):
            await self.receive(message)
        return message

    async def trickle(self, candidate: RTCIceCandidate | None) -> None:
        if candidate is not None:
            await self.post(candidate)

    async def post(self, message: Message) -> None:
        """
        Send a message when those before have been sent, as the order counts.
        """
        async with self.turn:
            await self.send(message)


def ufrag(pc: RTCPeerConnection) -> str:
    return pc.localDescription.sdp.split("a=ice-ufrag:")[1].split()[0]


class Signaling:
    """
    One end of what carries the messages: here a queue for each way.
    """

    def __init__(self, inbox: asyncio.Queue[object], outbox: asyncio.Queue[object]):
        self.receive, self.send = inbox.get, outbox.put


class Call:
    """
    Two peers, which negotiate.
    """

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.inboxes: list[asyncio.Queue[object]] = [asyncio.Queue(), asyncio.Queue()]
        one, other = self.inboxes
        self.alice, self.bob = self.peer(), self.peer()
        self.tasks = [
            self.negotiate(self.alice, Signaling(one, other), polite=True),
            self.negotiate(self.bob, Signaling(other, one), polite=False),
        ]

    def peer(self) -> RTCPeerConnection:
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[], iceTrickle=True))
        pc.on("signalingstatechange", self.changed.set)
        pc.on("iceconnectionstatechange", self.changed.set)
        return pc

    def negotiate(
        self, pc: RTCPeerConnection, signaling: Signaling, polite: bool
    ) -> asyncio.Task[object]:
        negotiation = PerfectNegotiation(pc, signaling.send, polite)
        return asyncio.create_task(negotiation.run(signaling.receive))

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

    async def close(self) -> None:
        await asyncio.gather(self.alice.close(), self.bob.close())
        for inbox in self.inboxes:
            inbox.put_nowait(None)
        await asyncio.gather(*self.tasks)


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

    await call.close()


if __name__ == "__main__":
    asyncio.run(main())
