"""
The server's end of one participant's call.
"""

from collections.abc import Callable

from aiortc.contrib.media import MediaBlackhole, MediaRelay
from aiortc.exceptions import OperationError

from aiortc_restart import (
    InvalidStateError,
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransport,
    RTCPeerConnection,
    RTCSessionDescription,
)

from .chat import Chat
from .media import FilteredTrack, ReceivedTrack
from .messages import BadMessageError, Candidate, Cut, Filter, Join, Message, Request
from .negotiation import Negotiation, Send
from .outage import Outage
from .seats import Seats
from .status import watch, watch_path

KINDS = ("audio", "video")


class Participant:
    """
    A peer connection to a page, and what is sent to it.

    :param join: Who it is.
    :param configuration: What the connection is made with.
    :param send: Takes messages to the page.
    """

    def __init__(self, join: Join, configuration: RTCConfiguration, send: Send) -> None:
        self.join = join
        self.on_ready: Callable[[], None] = lambda: None
        "Called once, when the page's own tracks have been negotiated."
        self.pc = RTCPeerConnection(configuration)
        self.chat = Chat(self.pc, send)
        self.ready = False
        self.send = send
        self.sources: dict[str, MediaStreamTrack] = {}
        "What the page sends, by its kind."
        self._filtered: FilteredTrack | None = None
        self._negotiation = Negotiation(self.pc, send)
        self._outage = Outage(self.pc, self._tell_outage)
        self._relay = MediaRelay()
        # Somebody has to read what the page sends, else it piles up.
        self._sink = MediaBlackhole()
        self._watched: RTCIceTransport | None = None
        self.seats = Seats(self.pc)
        self.pc.on("signalingstatechange", self._on_signaling_state)
        self.pc.on("track", self._on_track)
        watch(self.pc, send)

    async def close(self) -> None:
        """
        End the call, and free all that it has.
        """
        self._outage.close()
        await self.chat.close()
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

    def _tell_outage(self) -> None:
        outage = self._outage
        message = {"active": outage.active, "seconds": outage.seconds}
        self.send({"cut": {**message, "dropped": outage.dropped}})

    def _transport(self) -> RTCIceTransport | None:
        for transceiver in self.pc.getTransceivers():
            dtls = transceiver.receiver.transport
            if dtls is not None:
                assert isinstance(dtls.transport, RTCIceTransport)
                return dtls.transport
        return None


def shown(server: RTCIceServer) -> Message:
    """
    Return a server as a page needs it. To a browser null is a user, too, of that name.
    """
    return {name: value for name, value in vars(server).items() if value is not None}
