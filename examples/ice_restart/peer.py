"""
One end of the call.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

from aiortc.contrib.media import MediaBlackhole, MediaPlayer

from aiortc_restart import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceTransport,
    RTCPeerConnection,
)

from .messages import MessageFlow
from .signaling import Signaling


@dataclass
class Route:
    """
    The way which a peer's packets take.
    """

    ufrag: str
    "The peer's ICE username fragment."

    pair: str
    "The addresses of the selected candidate pair."

    since: float
    "When it was looked at, in seconds of the event loop's clock."


class Peer:
    """
    A peer connection with a video, its sound and a flow of messages.

    :param name:      What to call it.
    :param video:     The file which it sends.
    :param signaling: Its end of the signalling channel.
    """

    def __init__(self, name: str, video: Path, signaling: Signaling) -> None:
        self.name = name
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._signaling = signaling
        self._sink = MediaBlackhole()
        self._switches: asyncio.Queue[Route] = asyncio.Queue()

        player = MediaPlayer(video, decode=False)
        self._tracks = [x for x in (player.audio, player.video) if x is not None]
        for track in self._tracks:
            self.pc.addTrack(track)
        channel = self.pc.createDataChannel(
            "messages", ordered=False, maxRetransmits=0, negotiated=True, id=0
        )
        self.messages = MessageFlow(channel)

        self.pc.on("track", self._on_track)
        self._task = asyncio.create_task(self._follow_signaling(), name=name)

    @property
    def transport(self) -> RTCIceTransport:
        """
        The ICE transport, which sound, picture and messages share.
        """
        assert self.pc.sctp is not None
        transport = self.pc.sctp.transport.transport
        assert isinstance(transport, RTCIceTransport)
        return transport

    async def close(self) -> None:
        """
        Leave the call.
        """
        await self.messages.stop()
        for track in self._tracks:
            track.stop()
        await self.pc.close()
        await self._sink.stop()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def negotiate(self) -> None:
        """
        Send an offer, whose answer comes through the signalling channel.
        """
        await self.pc.setLocalDescription()
        await self._signaling.send(self.pc.localDescription)

    async def pause(self) -> None:
        """
        Stop sending, but stay in the call.
        """
        await self.messages.stop()
        for sender in self.pc.getSenders():
            sender.replaceTrack(None)

    def route(self) -> Route:
        """
        Look at the way which packets take now.

        :rtype: Route
        """
        pair = self.transport.getSelectedCandidatePair()
        assert pair is not None
        return Route(
            ufrag=str(pair.local.usernameFragment),
            pair=f"{address(pair.local)} > {address(pair.remote)}",
            since=asyncio.get_running_loop().time(),
        )

    async def start(self) -> None:
        """
        Wait until the call is up, then begin to send and receive.
        """
        await self.messages.opened.wait()
        await self._sink.start()
        self.messages.start()
        self.transport.on("selectedcandidatepairchange", self._on_switch)
        # This is all that it takes for restartIce() to do its work.
        self.pc.on("negotiationneeded", self.negotiate)

    async def switched(self, before: Route) -> Route:
        """
        Wait until a restart has led to another way.

        :param before: The :class:`Route` before it.
        :rtype: Route
        """
        while (after := await self._switches.get()).ufrag == before.ufrag:
            pass
        return after

    async def _follow_signaling(self) -> None:
        while True:
            description = await self._signaling.receive()
            await self.pc.setRemoteDescription(description)
            if description.type == "offer":
                await self.pc.setLocalDescription()
                await self._signaling.send(self.pc.localDescription)

    def _on_switch(self) -> None:
        self._switches.put_nowait(self.route())

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._sink.addTrack(track)


def address(candidate: RTCIceCandidate) -> str:
    """
    Write a candidate's address.

    :param candidate: An :class:`RTCIceCandidate`.
    :rtype: str
    """
    host = f"[{candidate.ip}]" if ":" in candidate.ip else candidate.ip
    return f"{host}:{candidate.port}"
