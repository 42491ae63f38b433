"""
A perfect negotiation between our end and a page, and the server between them.
"""

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Any

from aiortc import RTCDataChannel
from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack

from aiortc_restart import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCPeerConnection,
    RTCSessionDescription,
)
from examples.perfect_negotiation import Message as Signal
from examples.perfect_negotiation import PerfectNegotiation

from ..calls import ice_transport, path, ufrag_of
from .remote import Message, RemotePeer

LIMIT = 60.0
"Seconds which a round may take."

POLL_INTERVAL = 0.02

Messages = list[tuple[str, Message]]
"To whom, and what."


@dataclass(frozen=True)
class Wish:
    """
    A :class:`Wish` is what an end wants, and cannot have without a negotiation.
    """

    channel: bool = False
    "To open a data channel."

    restart: bool = False
    "To restart ICE."

    tracks: tuple[str, ...] = ()
    "To send tracks, of these kinds."


NOTHING = Wish()


class LocalEnd(PerfectNegotiation):
    """
    The :class:`LocalEnd` adds to the example what the page has: tracks and data
    channels.
    """

    def __init__(
        self, send: Callable[[Message], None], polite: bool, pc: RTCPeerConnection
    ) -> None:
        super().__init__(pc, self.__send, polite)
        self.channels: list[RTCDataChannel] = []
        self.collisions = 0
        "How many offers came when this end had one out."

        self.received: list[str] = []
        self.tracks: list[str] = []
        self.__emit = send
        self.__own_tracks: list[MediaStreamTrack] = []
        pc.on("datachannel", self.__use_channel)
        pc.on("track", lambda track: self.tracks.append(track.kind))

    async def close(self) -> None:
        await self.pc.close()
        for track in self.__own_tracks:
            track.stop()

    async def on_message(self, message: Message) -> None:
        """
        Take a message from the page.
        """
        if description := message.get("description"):
            await self.receive(RTCSessionDescription(**description))
        elif candidate := RTCIceCandidate.fromJSON(message.get("candidate")):
            await self.receive(candidate)

    async def receive_description(self, description: RTCSessionDescription) -> None:
        # Nothing comes between this and what the example decides.
        ready = not self.making_offer and (
            self.pc.signalingState == "stable" or self.setting_answer
        )
        self.collisions += description.type == "offer" and not ready
        await super().receive_description(description)

    def say(self, text: str) -> None:
        """
        Send a text on each of the channels.
        """
        for channel in self.channels:
            channel.send(text)

    def want(self, wish: Wish) -> None:
        """
        Do things which need a negotiation, all at once.
        """
        for kind in wish.tracks:
            track = AudioStreamTrack() if kind == "audio" else VideoStreamTrack()
            self.__own_tracks.append(track)
            self.pc.addTrack(track)
        if wish.channel:
            self.__use_channel(self.pc.createDataChannel("chat"))
        if wish.restart:
            self.pc.restartIce()

    async def __send(self, message: Signal) -> None:
        # The configuration does not ask for trickling.
        assert isinstance(message, RTCSessionDescription)
        self.__emit({"description": {"sdp": message.sdp, "type": message.type}})

    def __use_channel(self, channel: RTCDataChannel) -> None:
        self.channels.append(channel)
        channel.on("message", self.received.append)


class Conversation:
    """
    The :class:`Conversation` carries messages both ways, in their order, and can hold
    them for a while, so that offers meet.
    """

    def __init__(self, remote: RemotePeer, polite: bool) -> None:
        self.__held: Messages | None = None
        self.__remote = remote
        self.__tasks: set[asyncio.Task[Any]] = set()
        self.__texts = itertools.count()
        self.__wanted: Counter[str] = Counter()
        pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.local = LocalEnd(self.__to_remote, polite, pc)

    async def carry(self) -> None:
        """
        Carry what the page says, until cancelled.
        """
        while True:
            message = await self.__remote.messages.get()
            self.__post("local", message)

    async def meet(self, ours: Wish, theirs: Wish) -> None:
        """
        Let both ends want something at the same moment, so that their offers meet.
        """
        held: Messages = []
        self.__held = held
        collisions = self.local.collisions
        await self.want(ours, theirs)
        await self.__until(lambda _: offers(held) == ["local", "remote"])
        self.__held = None
        for to, message in held:
            self.__deliver(to, message)
        await self.__until(lambda _: self.local.collisions == collisions + 1)

    async def settled(self, before: Message | None = None) -> Message:
        """
        Wait until both ends are at rest and agree, and data flows both ways.

        :param before: What this returned before a restart, if there was one.
        :return: The page's report.
        """
        report = await self.__until(lambda report: self.__agree(report, before))
        await self.__exchange()
        return report

    async def want(self, ours: Wish = NOTHING, theirs: Wish = NOTHING) -> None:
        """
        Let one or both of the ends do things which need a negotiation.
        """
        for end, wish in (("local", ours), ("remote", theirs)):
            self.__wanted.update([f"{end} {x}" for x in wish.tracks])
            self.__wanted["channel"] += wish.channel
        self.local.want(ours)
        await self.__remote.call("want", **asdict(theirs))

    def __agree(self, report: Message, before: Message | None) -> bool:
        pc = self.local.pc
        if (
            self.__tasks
            or self.local.making_offer
            or not report["signalingState"] == pc.signalingState == "stable"
            or not self.local.channels
            or ice_transport(pc).getSelectedCandidatePair() is None
        ):
            return False
        ours, theirs = report["remoteUfrag"], report["localUfrag"]
        mids = {transceiver.mid for transceiver in pc.getTransceivers()}
        channels = [channel.readyState for channel in self.local.channels]
        heard = Counter(
            [f"remote {kind}" for kind in self.local.tracks]
            + [f"local {kind}" for kind in report["tracks"]]
        )
        return (
            (ufrag_of(pc.localDescription), ufrag_of(pc.remoteDescription))
            == path(ice_transport(pc))
            == (ours, theirs)
            and (before is None or before["remoteUfrag"] != ours)
            and (before is None or before["localUfrag"] != theirs)
            and set(report["mids"]) == mids
            and channels == report["channels"] == self.__wanted["channel"] * ["open"]
            and heard | Counter(channel=len(channels)) == self.__wanted
        )

    def __deliver(self, to: str, message: Message) -> None:
        if to == "local":
            coroutine: Coroutine[Any, Any, Any] = self.local.on_message(message)
        else:
            coroutine = self.__remote.call("receive", **message)
        # As in a page, one message does not wait for what the last one led to.
        self.__tasks.add(asyncio.create_task(coroutine, name=f"message to {to}"))

    async def __exchange(self) -> None:
        text = f"text {next(self.__texts)}"
        self.local.say(text)
        await self.__remote.call("say", text=text)
        await self.__until(
            lambda report: (
                report["received"].count(text)
                == self.local.received.count(text)
                == len(self.local.channels)
            )
        )

    def __post(self, to: str, message: Message) -> None:
        if self.__held is None:
            self.__deliver(to, message)
        else:
            self.__held.append((to, message))

    def __to_remote(self, message: Message) -> None:
        self.__post("remote", message)

    async def __until(self, condition: Callable[[Message], bool]) -> Message:
        """
        Wait until a condition holds, and return the page's last report.
        """
        report: Message = {}
        try:
            async with asyncio.timeout(LIMIT):
                while True:
                    for task in [x for x in self.__tasks if x.done()]:
                        self.__tasks.discard(task)
                        task.result()
                    report = await self.__remote.call("report")
                    assert report["errors"] == []
                    if condition(report):
                        return report
                    await asyncio.sleep(POLL_INTERVAL)
        except TimeoutError as exc:
            exc.add_note(f"page: {report}")
            exc.add_note(f"here: {self.local.pc.signalingState}, {vars(self.local)}")
            raise


@contextlib.asynccontextmanager
async def conversing(remote: RemotePeer, polite: bool) -> AsyncIterator[Conversation]:
    """
    Let both ends negotiate for as long as this lasts.

    :param polite: Whether ours is the polite end, which gives way.
    """
    await remote.call("open", polite=not polite)
    conversation = Conversation(remote, polite)
    carrier = asyncio.create_task(conversation.carry(), name="carrier")
    try:
        yield conversation
    finally:
        carrier.cancel()
        await asyncio.wait([carrier])
        await remote.call("close")
        await conversation.local.close()


def offers(messages: Messages) -> list[str]:
    """
    Return to whom there are offers among messages.
    """
    return sorted(
        to
        for to, message in messages
        if (message.get("description") or {}).get("type") == "offer"
    )
