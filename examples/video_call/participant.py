"""
The server's end of one participant's call.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable

from aiortc.contrib.media import MediaBlackhole, MediaRelay
from aiortc.exceptions import OperationError

from aiortc_restart import (
    InvalidStateError,
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCIceTransport,
    RTCPeerConnection,
    RTCSessionDescription,
)

from .media import FilteredTrack, ReceivedTrack
from .messages import BadMessageError, Candidate, Cut, Filter, Join, Message, Request
from .negotiation import Negotiation, Send
from .outage import Outage
from .seats import Seats
from .status import numbers, watch, watch_path

KINDS = ("audio", "video")
MAX_TEXT = 500
"Characters of a chat message."
STATISTICS_INTERVAL = 0.5
TEXT_INTERVAL = 0.2
"Seconds between two chat messages of a participant's, at least."


class Participant:
    """
    A peer connection to a page, and what is sent to it.

    :param join: Who it is.
    :param configuration: What the connection is made with.
    :param send: Takes messages to the page.
    """

    def __init__(self, join: Join, configuration: RTCConfiguration, send: Send) -> None:
        self.join = join
        self.on_text: Callable[[str], None] = lambda _: None
        "Called with what the page says to the others."
        self.on_ready: Callable[[], None] = lambda: None
        "Called once, when the page's own tracks have been negotiated."
        self.pc = RTCPeerConnection(configuration)
        self.ready = False
        self.send = send
        self.sources: dict[str, MediaStreamTrack] = {}
        "What the page sends, by its kind."
        self._channel: RTCDataChannel | None = None
        self._filtered: FilteredTrack | None = None
        self._negotiation = Negotiation(self.pc, send)
        self._outage = Outage(self.pc, self._tell_outage)
        self._relay = MediaRelay()
        self._said = 0.0
        # Somebody has to read what the page sends, else it piles up.
        self._sink = MediaBlackhole()
        self._statistics: asyncio.Task[None] | None = None
        self._watched: RTCIceTransport | None = None
        self.seats = Seats(self.pc)
        self.pc.on("datachannel", self._on_channel)
        self.pc.on("signalingstatechange", self._on_signaling_state)
        self.pc.on("track", self._on_track)
        watch(self.pc, send)

    async def close(self) -> None:
        """
        End the call, and free all that it has.
        """
        self._outage.close()
        if self._statistics is not None:
            self._statistics.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._statistics
        self.seats.close()
        if self._filtered is not None:
            self._filtered.stop()
        for track in self.sources.values():
            track.stop()
        await self._sink.stop()
        await self.pc.close()

    async def receive(self, request: Request) -> None:
        """
        Do what the page asks for.

        :raises BadMessageError: if it cannot be done.
        """
        try:
            if isinstance(request, RTCSessionDescription):
                await self._negotiation.receive_description(request)
            elif isinstance(request, Candidate):
                await self.pc.addIceCandidate(request.candidate)
            elif isinstance(request, Cut):
                self._outage.cut(request.seconds)
            elif isinstance(request, Filter):
                if self._filtered is not None:
                    self._filtered.filter = request.name
            elif isinstance(request, Join):
                raise BadMessageError("joined", "You are in a room already.")
            else:
                self.pc.restartIce()
        # What aiortc raises for a description or candidate which is not valid.
        except (ValueError, InvalidStateError, OperationError) as exc:
            raise BadMessageError("refused", f"Refused: {exc}") from exc
        await self._sink.start()

    def relay(self, kind: str) -> MediaStreamTrack | None:
        """
        Return what the page sends, for one more to see or hear.
        """
        source = self.sources.get(kind)
        if source is None:
            return None
        # A picture which is late is of no use; sound has to be complete.
        return self._relay.subscribe(source, buffered=kind == "audio")

    def tell(self, message: Message) -> None:
        """
        Send a message on the data channel, unless it is closed or has too much to send.
        """
        channel = self._channel
        if channel is not None and channel.readyState == "open":
            if channel.bufferedAmount < 16 * MAX_TEXT:
                channel.send(json.dumps(message))

    def _on_channel(self, channel: RTCDataChannel) -> None:
        if self._channel is not None or channel.label != "chat":
            channel.close()
            return
        self._channel = channel
        channel.on("message", self._on_message)
        self._statistics = asyncio.create_task(self._report(channel), name="statistics")

    def _on_message(self, text: str | bytes) -> None:
        now = time.monotonic()
        if not isinstance(text, str) or not 0 < len(text) <= MAX_TEXT:
            self._refuse(f"A chat message has 1 to {MAX_TEXT} characters.")
        elif now < self._said + TEXT_INTERVAL:
            self._refuse("Not so fast: that chat message was not sent.")
        else:
            self._said = now
            self.on_text(text)

    def _on_signaling_state(self) -> None:
        if self.pc.signalingState != "stable" or self.pc.remoteDescription is None:
            return
        self.seats.tell(self.send)
        transport = self._transport()
        if transport is not None and transport is not self._watched:
            self._watched = transport
            watch_path(transport, self.send)
        if not self.ready:
            self.ready = True
            self.on_ready()

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind in self.sources:
            self._sink.addTrack(track)
            return
        received = self.sources[track.kind] = ReceivedTrack(track)
        self._sink.addTrack(self._relay.subscribe(received, buffered=False))
        relayed = self.relay(track.kind)
        assert relayed is not None
        if track.kind == "video":
            relayed = self._filtered = FilteredTrack(relayed)
        # It takes the place beside the one in which the page's own track has come.
        self.pc.addTrack(relayed)

    def _refuse(self, message: str) -> None:
        self.send({"error": {"code": "chat", "message": message}})

    async def _report(self, channel: RTCDataChannel) -> None:
        while channel.readyState in ("connecting", "open"):
            if channel.bufferedAmount == 0:
                self.tell({"statistics": await numbers(self.pc)})
            await asyncio.sleep(STATISTICS_INTERVAL)

    def _tell_outage(self) -> None:
        outage = self._outage
        message = {"active": outage.active, "seconds": outage.seconds}
        self.send({"cut": {**message, "dropped": outage.dropped}})

    def _transport(self) -> RTCIceTransport | None:
        for transceiver in self.pc.getTransceivers():
            transport = transceiver.receiver.transport.transport
            assert isinstance(transport, RTCIceTransport)
            return transport
        return None
