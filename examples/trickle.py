"""
Trickle ICE: descriptions go out at once, and candidates as they are found.

Run it with `python -m examples.trickle`: a channel is opened, and a restart made,
beside a STUN server which does not answer, which costs five seconds otherwise.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from aiortc_restart import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)

Message = dict[str, Any]
Send = Callable[[Message], None]

# Nobody is there (RFC 5737).
SERVER = RTCIceServer("stun:192.0.2.1:3478")


def trickle(pc: RTCPeerConnection, send: Send) -> None:
    """
    Send each candidate to the peer as it is found.
    """

    @pc.on("icecandidate")
    def on_candidate(candidate: RTCIceCandidate | None) -> None:
        if candidate is not None:
            send({"candidate": candidate.toJSON()})


async def receive(pc: RTCPeerConnection, send: Send, message: Message) -> None:
    """
    Take what the peer has sent, which may be a browser.
    """
    if "candidate" in message:
        await pc.addIceCandidate(RTCIceCandidate.fromJSON(message["candidate"]))
    else:
        await pc.setRemoteDescription(RTCSessionDescription(**message["description"]))
        if pc.signalingState == "have-remote-offer":
            await pc.setLocalDescription()
            send({"description": vars(pc.localDescription)})


class Peer:
    """
    One end of a call, and its inbox.
    """

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.pc = RTCPeerConnection(
            RTCConfiguration(iceServers=[SERVER], iceTrickle=True)
        )

    async def run(self, send: Send) -> None:
        """
        Negotiate when it is needed, and take what comes, for ever.
        """

        @self.pc.on("negotiationneeded")
        async def on_negotiation_needed() -> None:
            await self.pc.setLocalDescription()
            send({"description": vars(self.pc.localDescription)})

        trickle(self.pc, send)
        while True:
            await receive(self.pc, send, await self.inbox.get())


async def main() -> None:
    alice, bob = Peer(), Peer()
    running = [
        asyncio.create_task(alice.run(bob.inbox.put_nowait)),
        asyncio.create_task(bob.run(alice.inbox.put_nowait)),
    ]
    began = time.monotonic()
    opened, switched = asyncio.Event(), asyncio.Event()
    alice.pc.createDataChannel("chat").on("open", opened.set)
    await opened.wait()
    print(f"connected after {time.monotonic() - began:.2f} s")

    assert alice.pc.sctp is not None
    alice.pc.sctp.transport.transport.on("selectedcandidatepairchange", switched.set)
    began = time.monotonic()
    alice.pc.restartIce()
    await switched.wait()
    print(f"restarted after {time.monotonic() - began:.2f} s")

    for task in running:
        task.cancel()
    await asyncio.wait(running)
    await asyncio.gather(alice.pc.close(), bob.pc.close())


if __name__ == "__main__":
    asyncio.run(main())
