"""
A call that comes back when its network was gone: one handler, beside the one which
negotiates.
"""

from collections.abc import Awaitable, Callable

from aiortc_restart import RTCIceServer, RTCPeerConnection, RTCSessionDescription

Signal = Callable[[RTCSessionDescription], Awaitable[RTCSessionDescription]]
"Sends an offer to the peer and returns its answer."


def keep_up(
    pc: RTCPeerConnection, signal: Signal, servers: list[RTCIceServer] | None = None
) -> None:
    """
    Have a connection negotiate when it needs to, and restart ICE when its path is lost.

    :param servers: The servers to ask from then on, if others than so far.
    """

    @pc.on("iceconnectionstatechange")
    def on_ice_connection_state_change() -> None:
        if pc.iceConnectionState == "failed":
            if servers is not None:
                configuration = pc.getConfiguration()
                configuration.iceServers = servers
                pc.setConfiguration(configuration)
            pc.restartIce()

    @pc.on("negotiationneeded")
    async def on_negotiation_needed() -> None:
        await pc.setLocalDescription()
        await pc.setRemoteDescription(await signal(pc.localDescription))
