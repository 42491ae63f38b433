"""
The least that a restart of ICE takes: one import line, one handler, one call.
"""

import asyncio

from aiortc_restart import RTCConfiguration, RTCPeerConnection


def ufrag(pc: RTCPeerConnection) -> str:
    return pc.localDescription.sdp.split("a=ice-ufrag:")[1].split()[0]


async def main() -> None:
    alice = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    bob = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    completed = asyncio.Event()

    @alice.on("iceconnectionstatechange")
    def on_change() -> None:
        if alice.iceConnectionState == "completed":
            completed.set()

    @alice.on("negotiationneeded")
    async def negotiate() -> None:
        await alice.setLocalDescription()
        await bob.setRemoteDescription(alice.localDescription)
        await bob.setLocalDescription()
        await alice.setRemoteDescription(bob.localDescription)

    alice.createDataChannel("chat")
    await completed.wait()
    print("before:", ufrag(alice))

    completed.clear()
    alice.restartIce()
    await completed.wait()
    print("after: ", ufrag(alice))

    await asyncio.gather(alice.close(), bob.close())


if __name__ == "__main__":
    asyncio.run(main())
