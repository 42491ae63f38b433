"""
A call between our end and another one.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiortc

from aiortc_restart import RTCIceCandidate
from aiortc_restart.ice.drops import LAYER_ABOVE, UNAUTHENTICATED

from ..calls import ice_transports
from .descriptions import Description
from .local import LocalPeer
from .media import Clip
from .post import Candidate, Disorder, Post
from .remote import RemoteCrashedError, RemoteError, RemotePeer

LIMIT = 60.0
"Seconds which a step of a call may take."

POLL_INTERVAL = 0.05

BROKEN = {"closed", "disconnected", "failed"}


@dataclass(frozen=True)
class Snapshot:
    """
    A :class:`Snapshot` is what both ends have counted up to a moment.
    """

    remote: dict[str, Any]
    "The other end's report, see `remote.js`."

    local_frames: dict[str, int]
    local_lost: int
    local_received: int
    local_sent: int

    def flows_since(self, before: "Snapshot") -> bool:
        """
        Whether media and data have arrived at both ends since another one.
        """
        return (
            self.local_frames["audio"] >= before.local_frames["audio"] + 5
            and self.local_frames["video"] >= before.local_frames["video"] + 3
            and self.local_received >= before.local_received + 10
            # Some peers count anew when they receive through new objects.
            and (
                self.remote["audioPackets"] >= before.remote["audioPackets"] + 5
                or 5 <= self.remote["audioPackets"] < before.remote["audioPackets"]
            )
            and self.remote["framesDecoded"] >= before.remote["framesDecoded"] + 3
            and self.remote["received"] >= before.remote["received"] + 10
        )


class Call:
    """
    The :class:`Call` connects both ends: it carries their descriptions and candidates,
    one at a time and in their order, as a server for signalling would.

    :param disorder: If not `None`, our end's candidates travel by themselves, too, and
                     all of them as badly as this says.
    """

    def __init__(
        self,
        local: LocalPeer,
        remote: RemotePeer,
        disorder: Disorder | None = None,
    ) -> None:
        self.descriptions: list[Description] = []
        self.local = local
        self.overtaking = 0
        "How many of the other end's candidates have come before their description."
        self.posts: dict[str, Post] = {}
        "What carries candidates to either end, if it is not the rest's carrier."
        self.remote = remote
        self.refused = 0
        "How many candidates of former generations the other end has refused."

        self.__accepted: dict[str, asyncio.Event] = {}
        self.__carrier: asyncio.Task[None] | None = None
        self.__trickled: dict[str, set[int]] = {}
        if disorder is not None:
            seed, prompt = disorder.seed, disorder.prompt
            self.posts = {
                "local": Post(self.__add_local, seed),
                "remote": Post(self.__add_remote, seed + 1, prompt),
            }
            self.pc.on("icecandidate", self.__on_ice_candidate)

    @property
    def pc(self) -> aiortc.RTCPeerConnection:
        return self.local.pc

    def assert_intact(self, now: Snapshot, misses: int = 0) -> None:
        """
        Assert that nothing was lost and nothing broke at either end.

        :param now: What was counted after :meth:`drain`.
        :param misses: How many messages, and packets of each kind of media, either end
                       may have missed.
        """
        local, remote = self.local, now.remote
        assert remote["errors"] == []
        assert (local.ended, remote["ended"]) == ([], [])
        assert remote["sent"] - misses <= now.local_received <= remote["sent"]
        assert now.local_sent - misses <= remote["received"] <= now.local_sent
        assert (local.duplicates, remote["duplicates"]) == (0, 0)
        lost = now.local_lost, remote["audioLost"], remote["videoLost"]
        assert max(lost) <= misses
        # The states of the one and only DTLS association.
        assert local.dtls_history == []
        assert local.transport.state == remote["dtlsState"] == "connected"
        assert BROKEN.isdisjoint(local.history)
        assert BROKEN.isdisjoint(remote["history"])

    async def arrived(self) -> None:
        """
        Wait until no candidate is under way.
        """
        async with asyncio.timeout(LIMIT):
            for post in self.posts.values():
                await post.arrived()

    def assert_nothing_dropped(self) -> None:
        """
        Assert that what a real peer sends is read, but for checks of a generation which
        has ended or is not known yet, and what SRTP has had already.
        """
        for transport in ice_transports(self.pc):
            usual = {UNAUTHENTICATED, LAYER_ABOVE}
            assert transport.drops.counts.keys() <= usual, transport.drops.counts

    async def connect(self, first: str, clip: Clip, media: bool = True) -> None:
        """
        Connect both ends, and wait until their data channel is open.

        :param first: Which end offers, either `"local"` or `"remote"`.
        :param clip: What a peer sends which cannot encode.
        :param media: Whether they send any.
        """
        channel, ends = first == "remote", bool(self.posts)
        await self.remote.call(
            "open", channel=channel, clip=clip, ends=ends, media=media
        )
        self.local.open(channel=first == "local", media=media)
        self.__carrier = asyncio.create_task(self.__carry(), name="carrier")
        await self.negotiate(first)
        await self.until(
            lambda now: (
                self.local.channel is not None
                and self.local.channel.readyState == "open"
                and now.remote["channelState"] == "open"
            )
        )

    def described(self, sender: str) -> list[Description]:
        """
        Return what one end has said.

        :param sender: Either `"local"` or `"remote"`.
        """
        return [d for d in self.descriptions if d.sender == sender]

    async def drain(self) -> Snapshot:
        """
        Stop sending messages, and wait until none is under way.

        What is lost never arrives, so this does not wait for it for long.
        """
        await self.local.stop_sending()
        await self.remote.call("stopSending")
        with contextlib.suppress(TimeoutError):
            await self.until(
                lambda now: (
                    now.local_received == now.remote["sent"]
                    and now.remote["received"] == now.local_sent
                ),
                limit=5,
            )
        return await self.snapshot()

    async def flowing(self) -> None:
        """
        Wait until media and data which come from now on have arrived at both ends.
        """
        before = await self.snapshot()
        await self.until(lambda now: now.flows_since(before))

    async def negotiate(self, offerer: str) -> None:
        """
        Negotiate once, and wait until that is done at both ends.

        :param offerer: Either `"local"` or `"remote"`.
        """
        count = len(self.descriptions)
        if offerer == "local":
            await self.pc.setLocalDescription(await self.pc.createOffer())
            await self.__send_description()
        else:
            await self.remote.call("describe")
        await self.negotiated(count + 2)

    async def negotiated(self, count: int) -> None:
        """
        Wait until so many descriptions have been exchanged and applied.
        """
        await self.until(
            lambda now: (
                len(self.descriptions) >= count
                and self.pc.signalingState == "stable"
                and now.remote["signalingState"] == "stable"
            )
        )

    async def negotiate_when_needed(self) -> None:
        """
        From now on, either end negotiates when it finds that this is needed.
        """
        await self.remote.call("negotiateWhenNeeded")

        @self.pc.on("negotiationneeded")
        async def on_negotiation_needed() -> None:
            await self.pc.setLocalDescription()
            await self.__send_description()

    def ports(self, sender: str) -> set[int]:
        """
        Return the ports of the candidates of one end's latest generation.

        :param sender: Either `"local"` or `"remote"`.
        """
        description = self.described(sender)[-1]
        return description.ports | self.__trickled.get(description.ufrag, set())

    def send_again(self, usernames: set[str]) -> None:
        """
        Let the candidates of some generations come once more, if they came alone.
        """
        for post in self.posts.values():
            for username in sorted(usernames):
                post.send_again(username)

    async def snapshot(self) -> Snapshot:
        return Snapshot(
            remote=await self.remote.call("report"),
            local_frames=dict(self.local.frames),
            local_lost=self.local.packets_lost,
            local_received=len(self.local.received),
            local_sent=self.local.sent,
        )

    async def start(self, first: str, clip: Clip) -> None:
        """
        Connect both ends, and wait until media and data flow.

        :param first: Which end offers, either `"local"` or `"remote"`.
        :param clip: What a peer sends which cannot encode.
        """
        await self.connect(first, clip)
        self.local.watch()
        self.local.start_sending()
        await self.remote.call("startSending")
        await self.flowing()

    async def stop(self) -> None:
        """
        Hang up at both ends.
        """
        if self.__carrier is not None:
            self.__carrier.cancel()
            await asyncio.wait([self.__carrier])
        for post in self.posts.values():
            await post.close()
        try:
            await self.remote.call("close")
        finally:
            await self.local.close()

    async def until(
        self, condition: Callable[[Snapshot], bool], limit: float = LIMIT
    ) -> Snapshot:
        """
        Wait until a condition holds, and return what both ends have counted by then.

        :param condition: Called with a new :class:`Snapshot` from time to time.
        :param limit: How long to wait, in seconds.

        :raises TimeoutError: if it never does.
        """
        deadline = time.monotonic() + limit
        while True:
            if self.__carrier is not None and self.__carrier.done():
                # Nobody carries messages any more: let it say why.
                self.__carrier.result()
            for post in self.posts.values():
                post.check()
            now = await self.snapshot()
            if condition(now):
                return now
            if time.monotonic() >= deadline:
                raise TimeoutError(f"still {now}")
            await asyncio.sleep(POLL_INTERVAL)

    async def __add_local(self, candidate: Candidate | None) -> None:
        if candidate is not None:
            usernames = {x.ufrag for x in self.described("remote")}
            self.overtaking += candidate["usernameFragment"] not in usernames
        await self.local.add_candidate(candidate)

    async def __add_remote(self, candidate: Candidate | None) -> None:
        latest = self.described("local")[-1].ufrag
        username = candidate["usernameFragment"] if candidate is not None else latest
        # Other implementations take none before its description, and few of its
        # successors' (webrtc-pc #dom-peerconnection-addicecandidate).
        await self.__acceptance(username).wait()
        try:
            await self.remote.call("addCandidate", candidate=candidate)
        except RemoteError as exc:
            former = username != self.described("local")[-1].ufrag
            if not former or isinstance(exc, RemoteCrashedError):
                raise
            self.refused += 1

    def __acceptance(self, username: str) -> asyncio.Event:
        return self.__accepted.setdefault(username, asyncio.Event())

    async def __carry(self) -> None:
        while True:
            message = await self.remote.messages.get()
            match message["event"]:
                case "candidate":
                    candidate = message["candidate"]
                    self.__note_port(candidate)
                    if self.posts:
                        self.posts["local"].send(candidate)
                    else:
                        await self.local.add_candidate(candidate)
                case "description":
                    receiving = self.__receive(message["type"], message["sdp"])
                    if self.posts:
                        self.posts["local"].describe(receiving)
                    else:
                        await receiving

    def __note_port(self, candidate: Candidate | None) -> None:
        if candidate is not None and candidate["candidate"]:
            ports = self.__trickled.setdefault(candidate["usernameFragment"], set())
            ports.add(int(candidate["candidate"].split()[5]))

    def __on_ice_candidate(self, candidate: RTCIceCandidate | None) -> None:
        message = candidate.toJSON() if candidate is not None else None
        self.__note_port(message)
        self.posts["remote"].send(message)

    async def __accept(self, description: Description) -> None:
        type, sdp = description.type, description.sdp
        await self.remote.call("accept", type=type, sdp=sdp)
        self.__acceptance(description.ufrag).set()
        if type == "offer":
            await self.remote.call("describe")

    async def __receive(self, type: str, sdp: str) -> None:
        self.descriptions.append(Description("remote", type, sdp))
        await self.pc.setRemoteDescription(
            aiortc.RTCSessionDescription(sdp=sdp, type=type)
        )
        if type == "offer":
            await self.pc.setLocalDescription(await self.pc.createAnswer())
            await self.__send_description()

    async def __send_description(self) -> None:
        description = self.pc.localDescription
        sent = Description("local", description.type, description.sdp)
        self.descriptions.append(sent)
        if self.posts:
            self.posts["remote"].describe(self.__accept(sent))
        else:
            await self.__accept(sent)


@contextlib.asynccontextmanager
async def calling(
    local: LocalPeer,
    remote: RemotePeer,
    first: str,
    clip: Clip,
    disorder: Disorder | None = None,
) -> AsyncIterator[Call]:
    """
    Connect both ends for as long as this lasts.

    :param first: Which end offers, either `"local"` or `"remote"`.
    :param disorder: In which candidates travel, if our end trickles.
    """
    call = Call(local, remote, disorder)
    try:
        await call.start(first, clip)
        yield call
        call.assert_nothing_dropped()
    finally:
        await call.stop()
