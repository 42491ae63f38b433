"""
What targets share which give input to a peer connection: the states in which it may be,
and what must hold afterwards.
"""

import asyncio
import contextlib
import itertools
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from unittest import mock

from aiortc.exceptions import InvalidAccessError, OperationError

from aiortc_restart import (
    InvalidStateError,
    RTCBundlePolicy,
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc_restart.negotiation import text

from ..calls import ROLLBACK
from ..network import Network, VirtualLoop, two_hosts
from ..snapshots import check_slots, snapshot
from ..utils import Pair, connected_pair, until
from . import SLOWEST, sdp

DOCUMENTED = (ValueError, InvalidStateError, OperationError, InvalidAccessError)
"What is raised for a bad description, or a bad candidate."

TOGETHER = 25
"How many sessions run on one network: to make one takes longer than a session."

PHASES = (
    "stable",
    "have-local-offer",
    "have-remote-offer",
    "have-local-pranswer",
    "have-remote-pranswer",
)
"The signaling states, of a first negotiation and of another one."

STATES = (
    *(f"new, {x}" for x in PHASES),
    *(f"established, {x}" for x in PHASES),
    "established, restart offered by us",
    "established, restart offered by the peer",
    "established, restarted",
    "connected",
)
"In what state, and phase of a restart, a connection gets its first input."


class Names:
    """
    A resolver of multicast names, which knows some of them.
    """

    async def resolve(self, name: str) -> str | None:
        await asyncio.sleep(0)
        return "10.0.2.9" if len(name) % 2 else None


async def get_names(subscriber: object) -> Names:
    return Names()


class Subject:
    """
    A connection which gets input, in a session that a seed repeats.
    """

    def __init__(self, seed: int, tally: Counter[str]) -> None:
        self.rng = random.Random(seed)
        self.tally = tally
        self.inputs = 0
        self.pair: Pair | None = None
        "Both ends, if it is connected to a peer that is there."

        self.last: object = None
        "Its last input."

        self._numbers = itertools.count(self.rng.randrange(1000))

    @contextlib.asynccontextmanager
    async def opened(self, network: Network, state: str) -> AsyncIterator[None]:
        """
        Have the connection be in a state of :data:`STATES`.
        """
        self.flavor = self.rng.choice(list(sdp.CORPUS.values()))
        configuration = RTCConfiguration(
            iceServers=[],
            bundlePolicy=self.rng.choice([*RTCBundlePolicy]),
            iceTrickle=self.rng.random() < 0.3,
        )
        if state == "connected":
            async with connected_pair(network, prepare=self._add_media) as pair:
                self.pair, self.pc = pair, pair.answerer
                yield
            return
        with network.host("bob"):
            self.pc = RTCPeerConnection(configuration)
            try:
                await self._reach(*state.split(", "))
                yield
            finally:
                await self.pc.close()

    def count(self, outcome: str, began: float) -> None:
        self.inputs += 1
        self.tally[outcome] += 1
        milliseconds = round((time.process_time() - began) * 1000)
        self.tally[SLOWEST] = max(self.tally[SLOWEST], milliseconds)

    def check(self) -> None:
        """
        Check what holds after each change.
        """
        self.check_loop()
        check_slots(self.pc)
        # The other ones have been the latest before.
        for description in (self.pc.localDescription, self.pc.remoteDescription):
            if description is not None:
                text.parse(description)

    def check_loop(self) -> None:
        """
        Check that nothing has been reported, and nothing has ended.
        """
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        assert not loop.errors, loop.errors
        assert self.pc.signalingState != "closed"

    async def give(
        self, take: Callable[..., Coroutine[Any, Any, None]], what: object, name: str
    ) -> bool:
        """
        Give the connection its next input, and return whether it was applied.

        :param take: The method which takes the input.
        :param what: The input.
        :param name: What a tally calls the input.
        """
        pc, self.last = self.pc, what
        # What the input before has begun may change something in the next turns.
        await until(
            lambda: pc.iceGatheringState != "gathering" and not len(pc._operations)
        )
        before = snapshot(pc)
        began = time.process_time()
        try:
            await take(what)
        except DOCUMENTED as exc:
            self.count(f"{name}: refused, {type(exc).__name__}", began)
            after = snapshot(pc)
            for key, value in before.items():
                assert after[key] == value, f"{key} has changed"
            self.check_loop()
            return False
        self.count(f"{name}: applied", began)
        self.check()
        return True

    async def negotiate(self) -> None:
        """
        Check that a good negotiation works, whatever the state is.
        """
        pc = self.pc
        if pc.signalingState == "have-local-offer":
            await pc.setLocalDescription(ROLLBACK)
        elif pc.signalingState == "have-remote-offer":
            await pc.setRemoteDescription(ROLLBACK)
        elif pc.signalingState == "have-local-pranswer":
            await pc.setLocalDescription(await pc.createAnswer())
        elif pc.signalingState == "have-remote-pranswer":
            text = sdp.as_answer(sdp.as_offer(described(pc.remoteDescription)))
            await pc.setRemoteDescription(typed(text, "answer"))
        assert pc.signalingState == "stable"
        offer = await pc.createOffer(iceRestart=True)
        if "m=" not in offer.sdp:
            pc.createDataChannel("more")
            offer = await pc.createOffer(iceRestart=True)
        await pc.setLocalDescription(offer)
        await pc.setRemoteDescription(self.good_answer("answer"))
        self.check()
        assert pc.signalingState == "stable"

    async def go_on(self) -> None:
        """
        Check that the call goes on, if there is one.
        """
        if self.pair is not None:
            await self.pair.exchange()

    def good_answer(self, type: str) -> RTCSessionDescription:
        """
        Return an answer of a peer that does what the connection's offer says.
        """
        pc = self.pc
        offer = described(pc.pendingLocalDescription)
        text = sdp.as_answer(offer)
        restarts = pc.currentLocalDescription is None or not (
            sdp.usernames(offer) & sdp.usernames(pc.currentLocalDescription.sdp)
        )
        if pc.pendingRemoteDescription is not None:
            # A provisional answer has said them already.
            text = sdp.with_credentials_of(text, pc.pendingRemoteDescription.sdp)
        elif restarts or pc.currentRemoteDescription is None:
            text = sdp.fresh(text, next(self._numbers))
        else:
            text = sdp.with_credentials_of(text, pc.currentRemoteDescription.sdp)
        return typed(self._of_the_peer(text), type)

    def good_offer(self, restart: bool) -> RTCSessionDescription:
        """
        Return an offer to go on with what was negotiated, or the first one.
        """
        remote = self.pc.remoteDescription
        text = sdp.as_offer(remote.sdp) if remote is not None else self.flavor
        text = sdp.fresh(text, next(self._numbers)) if restart else text
        return typed(self._of_the_peer(text), "offer")

    def _of_the_peer(self, text: str) -> str:
        """
        Return a description with the fingerprint which the peer has had before.
        """
        known = self.pc.currentRemoteDescription
        line = re.search("^a=fingerprint:.*$", known.sdp, re.M) if known else None
        if line is None:
            return text
        return re.sub("^a=fingerprint:.*$", line.group().rstrip(), text, flags=re.M)

    def _add_media(self, pc: RTCPeerConnection, *_: RTCPeerConnection) -> None:
        for kind in ("audio", "video"):
            if self.rng.random() < 0.6:
                pc.addTransceiver(kind, self.rng.choice(sdp.DIRECTIONS))

    async def _establish(self) -> None:
        if self.rng.random() < 0.5:
            await self.pc.setRemoteDescription(typed(self.flavor, "offer"))
            await self.pc.setLocalDescription()
        else:
            await self.pc.setLocalDescription()
            await self.pc.setRemoteDescription(self.good_answer("answer"))

    async def _reach(self, beginning: str, phase: str) -> None:
        pc = self.pc
        self._add_media(pc)
        if not pc.getTransceivers() or self.rng.random() < 0.3:
            pc.createDataChannel("fuzz")
        if beginning == "established":
            await self._establish()
        if phase == "have-local-offer":
            await pc.setLocalDescription()
        elif phase == "restart offered by us":
            await pc.setLocalDescription(await pc.createOffer(iceRestart=True))
        elif phase == "have-remote-offer":
            await pc.setRemoteDescription(self.good_offer(restart=False))
        elif phase == "restart offered by the peer":
            await pc.setRemoteDescription(self.good_offer(restart=True))
        elif phase == "have-local-pranswer":
            await pc.setRemoteDescription(self.good_offer(restart=True))
            answer = await pc.createAnswer()
            await pc.setLocalDescription(typed(answer.sdp, "pranswer"))
        elif phase == "have-remote-pranswer":
            await pc.setLocalDescription()
            await pc.setRemoteDescription(self.good_answer("pranswer"))
        elif phase == "restarted":
            await self.negotiate()


Session = Callable[[Subject], Coroutine[Any, Any, None]]


def described(description: RTCSessionDescription | None) -> str:
    """
    Return the text of a description which there is.
    """
    assert description is not None
    return description.sdp


def typed(text: str, type: str) -> RTCSessionDescription:
    return RTCSessionDescription(sdp=text, type=type)


def run(session: Session, name: str, count: int, seed: int) -> Counter[str]:
    """
    Run sessions until there have been so many inputs, and return the tally.

    :param name: The name of the target.
    :param seed: The seed of the first session.
    """
    tally: Counter[str] = Counter()
    inputs = 0
    while inputs < count:
        first = seed
        network = two_hosts()
        try:
            with network.running() as run_session:
                while inputs < count and seed < first + TOGETHER:
                    inputs += run_session(_run(session, name, network, seed, tally))
                    seed += 1
        except AssertionError as exc:
            if "seed" in str(exc):
                raise
            # What is left behind shows when all of them have ended.
            raise AssertionError(f"seeds {first} to {seed - 1}: {exc}") from exc
    return tally


async def _run(
    session: Session, name: str, network: Network, seed: int, tally: Counter[str]
) -> int:
    """
    Run one session, and return how many inputs it had.
    """
    subject = Subject(seed, tally)
    state = subject.rng.choice(STATES)
    try:
        with mock.patch("aiortc_restart.ice.connection.resolver", get_names):
            async with subject.opened(network, state):
                await session(subject)
        await asyncio.sleep(1)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"left behind: {left}"
    except (Exception, asyncio.CancelledError) as exc:
        failure = AssertionError(
            f"seed {seed} ({state}), input {subject.inputs}: {exc!r}. Reproduce it "
            f"with: python -m tests.fuzz {name} --seed {seed} --count 1"
        )
        failure.add_note(f"the last input: {subject.last!r}")
        raise failure from exc
    return subject.inputs
