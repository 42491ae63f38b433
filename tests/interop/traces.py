"""
Two peers follow a script, and what can be seen of them is told after each step.

A step is `<peer> <verb> <argument>...`, where the peers are "alice" and "bob", and the
verbs are the methods of :class:`ScriptedPeer` and of `Peer` in `trace.js`. The calls of
a step which are joined by " & " are made at once, in their order.

A description has all its candidates when it is passed on, so that none travels alone.
Where the script trickles it has none, and the verb `addIceCandidates` passes them on.
"""

import asyncio
import contextlib
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from aiortc.mediastreams import AudioStreamTrack, MediaStreamTrack, VideoStreamTrack

from aiortc_restart import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCPeerConnection,
    RTCSessionDescription,
)

from ..network import Network
from ..utils import until

FIELDS = ["signaling", "slots", "needed", "gathering", "ice", "transceivers"]
"""
What is told of a peer. The slots are those of the current and the pending local, the
current and the pending remote description; `needed` is the number of events in this
step; a transceiver is its kind, its mid, its direction and its current direction.
"""

EVENTS = "events"
"""
What is told beyond that where the peers trickle: in their order, the events of the
step, each of which has a `+` if the local description has candidates then, and a `-` if
it has none. An event is `set`, the end of setLocalDescription(), a state of gathering
or ICE, or one of `candidate`, `end` and `none` for a candidate, an empty one, and none.
What is the same as the one before is left out.
"""

LIMIT = 10.0
"Seconds after which a step is taken to have no further effects, in virtual time."

MID = re.compile(r"\b\d+\b")

PEERS = ["alice", "bob"]

SETTLING = 1.0
"Seconds after which a step has had all its effects, in virtual time."

UNDER_WAY = {"new", "checking"}


@dataclass(frozen=True)
class Row:
    """
    A :class:`Row` is what a step of a script led to.
    """

    step: str
    outcome: str
    "Possible values: `done`, or the name of an error; joined as in the step."

    alice: dict[str, str]
    bob: dict[str, str]

    def get(self, peer: str, field: str) -> str:
        """
        Return what is told of a peer, or the outcome.
        """
        if field == "outcome":
            return self.outcome
        return (self.alice if peer == "alice" else self.bob)[field]

    def ranked(self, peer: str, field: str) -> str:
        """
        Return what :meth:`get` does, but with the rank of a mid in its place: which
        names are chosen is left open, and so is whether one is used again after a
        rollback, but not which transceivers of the two peers have the same.
        """
        if field != "transceivers":
            return self.get(peer, field)
        every = f"{self.alice[field]}, {self.bob[field]}"
        ranks = {x: str(i) for i, x in enumerate(sorted(set(MID.findall(every))))}
        return MID.sub(lambda match: ranks[match[0]], self.get(peer, field))


@dataclass(frozen=True)
class Difference:
    """
    A :class:`Difference` is one between two traces of a script.
    """

    number: int
    "The number of the step, from 1 on."

    peer: str
    "Possible values: `alice`, `bob`, or the empty string for the outcome."

    field: str
    page: str
    ours: str

    def __str__(self) -> str:
        where = f"{self.peer} {self.field}".strip()
        return f"step {self.number}, {where}: {self.page!r} there, {self.ours!r} here"


@dataclass(frozen=True)
class Known:
    """
    A :class:`Known` is a difference which is meant to be.
    """

    reason: str
    field: str
    page: str | tuple[str, ...] | None
    "What is told there: this, or one of these, or, if `None`, whatever there is."

    ours: str
    "What is told here."

    peer: str | None = None
    "Whom it is about, if it is not about both."

    steps: tuple[int, ...] | None = None
    "The numbers of the steps, if it is not seen wherever the values are these."

    def covers(self, difference: Difference) -> bool:
        """
        Whether this explains a difference.
        """
        return (
            self.field == difference.field
            and (
                self.page is None
                or difference.page == self.page
                or (isinstance(self.page, tuple) and difference.page in self.page)
            )
            and self.ours == difference.ours
            and self.peer in (None, difference.peer)
            and (self.steps is None or difference.number in self.steps)
        )


class ScriptedPeer:
    """
    The :class:`ScriptedPeer` is one of the two peers. Its public coroutines and methods
    with camelCase names are the verbs of the scripts.
    """

    def __init__(self, connection: type[RTCPeerConnection], trickles: bool) -> None:
        self.pc = connection(RTCConfiguration(iceServers=[], iceTrickle=trickles))
        self.__candidates: list[RTCIceCandidate] = []
        self.__created: dict[str, RTCSessionDescription] = {}
        self.__described: dict[str, RTCSessionDescription] = {}
        self.__events: list[str] = []
        self.__needed = 0
        self.__other = self
        self.__tracks: list[MediaStreamTrack] = []
        self.__trickles = trickles
        pc = self.pc
        pc.on("icecandidate", self.__on_candidate)
        pc.on("icegatheringstatechange", lambda: self.__note(pc.iceGatheringState))
        pc.on("iceconnectionstatechange", lambda: self.__note(pc.iceConnectionState))
        pc.on("negotiationneeded", self.__count)

    async def hang_up(self) -> None:
        """
        End what the script has begun.
        """
        await self.pc.close()
        for track in self.__tracks:
            track.stop()

    def meet(self, other: "ScriptedPeer") -> None:
        """
        Tell who is at the other end.
        """
        self.__other = other

    def tell(self) -> dict[str, str]:
        """
        Return what can be seen, see :data:`FIELDS`, and count events anew.
        """
        pc, needed = self.pc, self.__needed
        self.__needed = 0
        slots = [
            pc.currentLocalDescription,
            pc.pendingLocalDescription,
            pc.currentRemoteDescription,
            pc.pendingRemoteDescription,
        ]
        transceivers = [
            words([x.kind, x.mid, x.direction, x.currentDirection])
            for x in pc.getTransceivers()
        ]
        values = [
            pc.signalingState,
            words(slot and slot.type for slot in slots),
            str(needed),
            pc.iceGatheringState,
            pc.iceConnectionState,
            ", ".join(transceivers),
        ]
        told = dict(zip(FIELDS, values, strict=True))
        if self.__trickles:
            told[EVENTS] = " ".join(self.__events)
        self.__events = []
        return told

    async def addIceCandidates(self) -> None:
        candidates = self.__other.__candidates
        while candidates:
            await self.pc.addIceCandidate(candidates.pop(0))

    async def addTrack(self, kind: str) -> None:
        track = AudioStreamTrack() if kind == "audio" else VideoStreamTrack()
        self.__tracks.append(track)
        self.pc.addTrack(track)

    async def addTransceiver(self, kind: str, direction: str = "sendrecv") -> None:
        self.pc.addTransceiver(kind, direction=direction)

    async def close(self) -> None:
        await self.pc.close()

    async def createAnswer(self) -> None:
        self.__created["answer"] = await self.pc.createAnswer()

    async def createDataChannel(self) -> None:
        self.pc.createDataChannel("script")

    async def createOffer(self, restart: str = "") -> None:
        self.__created["offer"] = await self.pc.createOffer(
            iceRestart=restart == "restart"
        )

    async def restartIce(self) -> None:
        self.pc.restartIce()

    async def setDirection(self, index: str, direction: str) -> None:
        self.pc.getTransceivers()[int(index)].direction = direction

    async def setLocalDescription(self, type: str = "") -> None:
        if not type:
            await self.pc.setLocalDescription()
        elif type == "rollback":
            await self.pc.setLocalDescription(RTCSessionDescription("", type))
        else:
            created = self.__created["offer" if type == "offer" else "answer"]
            await self.pc.setLocalDescription(RTCSessionDescription(created.sdp, type))
        self.__note("set")
        description = self.pc.localDescription
        if description and type != "rollback":
            self.__described[description.type] = description

    async def setRemoteDescription(self, type: str) -> None:
        described = self.__other.__described
        if type == "rollback":
            sdp = ""
        else:
            sdp = (described.get(type) or described["answer"]).sdp
        await self.pc.setRemoteDescription(RTCSessionDescription(sdp, type))

    async def stop(self, index: str) -> None:
        await self.pc.getTransceivers()[int(index)].stop()

    async def take(self, verb: str, *arguments: str) -> str:
        """
        Make a call, and return `done` or the name of the error.
        """
        try:
            await getattr(self, verb)(*arguments)
        except Exception as exc:
            return type(exc).__name__
        return "done"

    def __count(self) -> None:
        self.__needed += 1

    def __note(self, event: str) -> None:
        description = self.pc.localDescription
        has_candidates = description and "a=candidate:" in description.sdp
        word = f"{event}{'+' if has_candidates else '-'}"
        if self.__events[-1:] != [word]:
            self.__events.append(word)

    def __on_candidate(self, candidate: RTCIceCandidate | None) -> None:
        if candidate is None:
            self.__note("none")
            return
        self.__candidates.append(candidate)
        self.__note("candidate" if candidate.candidate else "end")


async def trace(
    network: Network,
    steps: Sequence[str],
    trickles: bool = False,
    connection: type[RTCPeerConnection] = RTCPeerConnection,
) -> list[Row]:
    """
    Follow a script, and return what each step led to.

    :param trickles: Whether the peers trickle.
    """
    peers = {
        name: ScriptedPeer(network.at(name, connection), trickles) for name in PEERS
    }
    for one, other in itertools.permutations(peers.values()):
        one.meet(other)
    pcs = [x.pc for x in peers.values()]
    rows = []
    try:
        for step in steps:
            calls = []
            for call in step.split(" & "):
                name, *words_ = call.split()
                calls.append(asyncio.create_task(peers[name].take(*words_)))
            outcomes = await asyncio.gather(*calls)
            # What never ends is seen in the states.
            with contextlib.suppress(TimeoutError):
                await until(lambda: not is_under_way(pcs, trickles), LIMIT)
            await asyncio.sleep(SETTLING)
            states = [peers[name].tell() for name in PEERS]
            rows.append(Row(step, " & ".join(outcomes), *states))
    finally:
        await asyncio.gather(*(x.hang_up() for x in peers.values()))
    return rows


def is_under_way(pcs: Sequence[RTCPeerConnection], trickles: bool) -> bool:
    """
    Whether peers gather, or both know of each other and are not connected yet, though
    they need not wait for a step which passes candidates on.
    """
    return any(x.iceGatheringState == "gathering" for x in pcs) or (
        not trickles
        and all(x.signalingState == "stable" and x.currentLocalDescription for x in pcs)
        and any(x.iceConnectionState in UNDER_WAY for x in pcs)
    )


def differences(page: Sequence[Row], ours: Sequence[Row]) -> list[Difference]:
    """
    Return how two traces of one script differ.
    """
    found = []
    for number, (there, here) in enumerate(zip(page, ours, strict=True), start=1):
        fields = [("", "outcome"), *itertools.product(PEERS, here.alice)]
        for peer, field in fields:
            one, other = there.get(peer, field), here.get(peer, field)
            if one != other and there.ranked(peer, field) != here.ranked(peer, field):
                found.append(Difference(number, peer, field, one, other))
    return found


def table(page: Sequence[Row], ours: Sequence[Row]) -> str:
    """
    Return two traces of a script beside each other: a line says how it is at both, or,
    with a mark in front of it, how it is in the page and how it is here.
    """
    lines = []
    for number, (there, here) in enumerate(zip(page, ours, strict=True), start=1):
        lines.append(f"{number:2} {there.step}: {beside(there.outcome, here.outcome)}")
        for peer in PEERS:
            values = [
                beside(there.get(peer, field), here.get(peer, field))
                for field in here.alice
            ]
            lines.append(f"   {peer:5} " + " | ".join(values))
    return "\n".join(lines)


def beside(there: str, here: str) -> str:
    return there if there == here else f"[{there} <> {here}]"


def words(values: Iterable[Any]) -> str:
    return " ".join("-" if value is None else str(value) for value in values)
