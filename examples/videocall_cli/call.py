"""
The call: what the peer sends, what the user presses, and what happens by itself.
"""

import argparse
import asyncio
import contextlib

from av import FFmpegError

from aiortc_restart import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
)

from ..perfect_negotiation import PerfectNegotiation
from .media import Sink, open_source
from .recovery import Recovery
from .signaling import BadMessage, open_line
from .status import Status
from .terminal import Terminal

INTERVAL = 0.5
"Seconds between two status lines."


class Call:
    """
    One end of a call.

    :param args:     The command line.
    :param terminal: Where the user is.

    :raises FFmpegError: if what is to be played cannot be opened.
    :raises OSError:     if the recording cannot be written.
    :raises ValueError:  if a file or a URL is of no known kind.
    """

    def __init__(self, args: argparse.Namespace, terminal: Terminal) -> None:
        self._offers = args.role == "offer"
        self._say = terminal.say
        self._terminal = terminal
        self._tracks = open_source(args.play_from)
        self._sink = Sink(args.record_to)
        self._line = open_line(args, terminal)
        servers = [RTCIceServer(x) for x in args.ice_server]
        self._pc = RTCPeerConnection(RTCConfiguration(iceServers=servers))
        self._status = Status(self._pc)
        self._ufrags: str | None = None
        # Either end may restart ICE, also both at once.
        self._negotiation = PerfectNegotiation(
            self._pc, self._line.send, polite=not self._offers
        )
        self._recovery = Recovery(self._pc, self._say)
        self._pc.on("connectionstatechange", self._on_connection_state)
        self._pc.on("iceconnectionstatechange", self._on_ice_state)
        self._pc.on("track", self._on_track)

    async def close(self) -> None:
        """
        Hang up, and finish the file.
        """
        with contextlib.suppress(OSError):
            await self._line.close()
        await self._pc.close()
        try:
            await self._sink.stop()
        except FFmpegError as exc:
            self._say(f"The recording is not complete: {exc}")
        for track in self._tracks:
            track.stop()

    async def hold(self) -> None:
        """
        Hold the call until either end hangs up.
        """
        steps = [self._follow_line(), self._follow_keys(), self._show_status()]
        tasks = [asyncio.create_task(x) for x in steps]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._terminal.show("")
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _add_tracks(self) -> None:
        for track in self._tracks:
            self._pc.addTrack(track)
        if self._offers:
            # What we do not send the other end may have, and it goes into one offer.
            for kind in {"audio", "video"} - {x.kind for x in self._tracks}:
                self._pc.addTransceiver(kind, direction="recvonly")

    async def _follow_keys(self) -> None:
        while (key := await self._terminal.keys.get()) != "q":
            if key == "r":
                self._restart()
            elif key == "s":
                for line in await self._status.table():
                    self._say(f"  {line}")
            else:
                self._say("Keys: r restart, s stats, q quit")

    async def _follow_line(self) -> None:
        """
        Take what the peer sends until it hangs up.
        """
        if self._offers:
            self._add_tracks()
        while True:
            try:
                message = await self._line.receive()
                if message is None:
                    break
                if not self._pc.getTransceivers():
                    # So that they answer the peer's, and need no offer of their own.
                    self._add_tracks()
                await self._negotiation.receive(message)
            except (BadMessage, ValueError) as exc:
                self._say(f"A message cannot be used: {exc}")
        self._say("The other end has hung up.")

    async def _show_status(self) -> None:
        while self._pc.connectionState != "closed":
            self._terminal.show(await self._status.line())
            await asyncio.sleep(INTERVAL)

    def _restart(self) -> None:
        if self._pc.currentRemoteDescription is None:
            self._say("There is no call yet.")
        else:
            self._say("Restarting ICE.")
            self._pc.restartIce()

    async def _on_connection_state(self) -> None:
        transport = self._status.transport
        if self._pc.connectionState == "connected" and transport is not None:
            if self._ufrags is None:
                transport.on("selectedcandidatepairchange", self._on_pair)
                self._on_pair()
            await self._sink.start()

    def _on_ice_state(self) -> None:
        self._say(f"ICE is {self._pc.iceConnectionState}.")

    def _on_pair(self) -> None:
        before, self._ufrags = self._ufrags, self._status.ufrags
        if before is not None and before != self._ufrags:
            self._status.restarts += 1
        self._say(f"The path is {self._status.path}, ufrags {self._ufrags}.")

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._say(f"The other end sends {track.kind}.")
        self._sink.add_track(track)
