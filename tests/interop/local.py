"""
Our end of the calls: a program as people write them on the base.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiortc
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from aiortc.sdp import candidate_from_sdp

MESSAGES_PER_SECOND = 200

CandidateParser = Callable[[dict[str, Any]], aiortc.RTCIceCandidate | None]


class LocalPeer:
    """
    The :class:`LocalPeer` plays a file to the other end, counts the frames it gets from
    there, and exchanges numbered messages on a data channel.

    :param connection: The class of the peer connection, ours or the base's.
    :param movie: A file with a picture and a sound.
    :param parse: Makes a candidate of what a page sends.
    :param reliable: Whether the channel which it opens keeps all messages, in order.
    :param configuration: What it configures.
    """

    def __init__(
        self,
        connection: type[aiortc.RTCPeerConnection],
        movie: Path,
        parse: CandidateParser | None = None,
        reliable: bool = False,
        configuration: aiortc.RTCConfiguration | None = None,
    ) -> None:
        self.channel: aiortc.RTCDataChannel | None = None
        self.dtls_history: list[str] = []
        self.duplicates = 0
        self.ended: list[str] = []
        self.frames = {"audio": 0, "video": 0}
        self.history: list[str] = []
        self.pc = connection(configuration or aiortc.RTCConfiguration(iceServers=[]))
        self.received: set[int] = set()
        self.sent = 0
        self.__consumers: list[asyncio.Task[None]] = []
        self.__channel_options: dict[str, Any] = (
            {} if reliable else {"ordered": False, "maxRetransmits": 0}
        )
        self.__parse = parse or parse_candidate
        player = MediaPlayer(str(movie))
        assert player.audio is not None and player.video is not None
        self.__tracks = [player.audio, player.video]
        self.__sender: asyncio.Task[None] | None = None

        self.pc.on("datachannel", self.use_channel)
        self.pc.on("iceconnectionstatechange", self.__on_ice_connection_state)
        self.pc.on("track", self.__on_track)

    @property
    def packets_lost(self) -> int:
        """
        How many packets of the other end's media did not arrive.
        """
        return sum(
            stream.packets_lost
            for receiver in self.pc.getReceivers()
            for stream in receiver._RTCRtpReceiver__remote_streams.values()  # type: ignore[attr-defined]
        )

    @property
    def transport(self) -> aiortc.RTCDtlsTransport:
        """
        The transport of the bundle.
        """
        assert self.pc.sctp is not None
        return self.pc.sctp.transport

    async def add_candidate(self, message: dict[str, Any] | None) -> None:
        """
        Add a candidate as the other end sent it.
        """
        candidate = self.__parse(message) if message is not None else None
        await self.pc.addIceCandidate(candidate)

    async def close(self) -> None:
        """
        End the call.
        """
        await self.stop_sending()
        await self.pc.close()
        await asyncio.gather(*self.__consumers)
        for track in self.__tracks:
            track.stop()

    def open(self, channel: bool, media: bool = True) -> None:
        """
        Add what the call is made of.

        :param channel: Whether this end opens the data channel.
        :param media: Whether it sends any.
        """
        if media:
            for track in self.__tracks:
                self.pc.addTrack(track)
        if channel:
            self.use_channel(
                self.pc.createDataChannel("numbers", **self.__channel_options)
            )

    def start_sending(self) -> None:
        self.__sender = asyncio.create_task(self.__send(), name="numbers")

    async def stop_sending(self) -> None:
        if self.__sender is not None:
            self.__sender.cancel()
            await asyncio.wait([self.__sender])
            self.__sender = None

    def watch(self) -> None:
        """
        From now on, record the states of the transport of the bundle.
        """
        transport = self.transport
        transport.on("statechange", lambda: self.dtls_history.append(transport.state))

    async def __consume(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                await track.recv()
            except MediaStreamError:
                self.ended.append(track.kind)
                return
            self.frames[track.kind] += 1

    def __on_ice_connection_state(self) -> None:
        self.history.append(self.pc.iceConnectionState)

    def __on_track(self, track: MediaStreamTrack) -> None:
        self.__consumers.append(
            asyncio.create_task(self.__consume(track), name=f"{track.kind}-consumer")
        )

    async def __send(self) -> None:
        assert self.channel is not None
        loop = asyncio.get_running_loop()
        start = loop.time()
        first = self.sent
        while True:
            due = (loop.time() - start) * MESSAGES_PER_SECOND
            while self.sent - first < due:
                self.channel.send(str(self.sent))
                self.sent += 1
            await asyncio.sleep(1 / MESSAGES_PER_SECOND)

    def use_channel(self, channel: aiortc.RTCDataChannel) -> None:
        """
        Exchange the numbers on a channel from now on.
        """
        self.channel = channel

        @channel.on("message")
        def on_message(message: str) -> None:
            number = int(message)
            self.duplicates += number in self.received
            self.received.add(number)


def parse_candidate(message: dict[str, Any]) -> aiortc.RTCIceCandidate:
    """
    Make a candidate as programs on the base do, which do not know generations.
    """
    candidate = candidate_from_sdp(message["candidate"].removeprefix("candidate:"))
    candidate.sdpMid = message["sdpMid"]
    candidate.sdpMLineIndex = message["sdpMLineIndex"]
    return candidate
