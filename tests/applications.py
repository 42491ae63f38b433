"""
Applications which negotiate as webrtc-pc prints it, and the signaling between them.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import aiortc
from aiortc import RTCDataChannel, RTCSessionDescription
from aiortc.exceptions import InvalidStateError

from aiortc_restart import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
    RTCRtpTransceiver,
)
from aiortc_restart.negotiation.needed import reverse
from aiortc_restart.negotiation.sections import credentials

from .calls import RETIREMENT, ROLLBACK, ice_transports, parsed, path
from .network import Network
from .utils import LIMIT, candidates, until

Credentials = set[tuple[str | None, str | None]]

# Those which retire, the active one, the current one, a pending one, and one that a
# description which is being applied has put aside.
MAX_GENERATIONS = 6

EXPECTED = (
    "The offer was rolled back while its candidates were gathered",
    "RTCPeerConnection is closed",
    'Cannot create offer in signaling state "have-remote-offer"',
    'Cannot handle offer in signaling state "have-remote-offer"',
)
"What may become of an offer which the application makes."

ANSWERED = 'Cannot handle answer in signaling state "stable"'
"What becomes of an answer if there is another one already."

NOBODYS = "No transceiver for media section"
"How it begins what is said of such an offer."

CONVERGENCE = 300.0
"Seconds which two applications may take, if each gathering takes five of them."

NEWS = 1.0
"Seconds after which an application knows that its offer was lost."

QUIET = 0.5
"Seconds without any news after which nothing is going on."


# Nobody answers there.
SLOW_SERVER = RTCIceServer("stun:10.0.9.1:3478")


@dataclass(eq=False)
class Message:
    """
    What one application tells the other.
    """

    candidate: aiortc.RTCIceCandidate | None = None
    description: RTCSessionDescription | None = None
    refused: str | None = None
    "The origin of an offer which was not accepted."

    withheld: str | None = None
    "The origin of an offer which is not answered for now."

    stop: bool = False
    "Whether the offer which comes in its place is to have less in it."

    origin: str = ""
    "The origin of the description which it belongs to."

    due: float = 0.0


class Line:
    """
    Signaling in one direction: in the order of sending, and as late as it has to be.

    :param receive: Takes the messages at the other end.
    """

    def __init__(self, receive: Callable[[Message], None]) -> None:
        #: How late the next message is.
        self.delay: Callable[[], float] = lambda: 0.0
        self.messages: deque[Message] = deque()
        self._receive = receive
        self._timers: list[asyncio.TimerHandle] = []

    def close(self) -> None:
        self.messages.clear()
        for timer in self._timers:
            timer.cancel()

    def hold(self, seconds: float) -> None:
        """
        Have all that is on its way come later, as the first has to be sent again.
        """
        for message in self.messages:
            message.due += seconds
            self._schedule(message)

    def lose(self) -> RTCSessionDescription | None:
        """
        Lose the first message, and return the offer which it was.

        Whatever else it was is sent again and again until it arrives.
        """
        first = self.messages[0]
        if first.description is None or first.description.type != "offer":
            self.hold(NEWS)
            return None
        rest = [x for x in self.messages if x.origin != first.origin]
        self.messages.clear()
        self.messages.extend(rest)
        return first.description

    def send(self, message: Message) -> None:
        message.due = asyncio.get_running_loop().time() + self.delay()
        if self.messages:
            message.due = max(message.due, self.messages[-1].due)
        self.messages.append(message)
        self._schedule(message)

    def _deliver(self) -> None:
        # The loop's timers may be early, by as much as its clock can tell.
        now = asyncio.get_running_loop().time() + 1e-6
        while self.messages and self.messages[0].due <= now:
            self._receive(self.messages.popleft())

    def _schedule(self, message: Message) -> None:
        loop = asyncio.get_running_loop()
        self._timers = [x for x in self._timers if x.when() >= loop.time()]
        self._timers.append(loop.call_at(message.due, self._deliver))


class Application:
    """
    One end of a call (webrtc-pc #perfect-negotiation-example).

    :param pc: Its connection.
    :param polite: Whether it gives way when offers cross.
    :param send: Sends a message to the other end.
    :param sequential: Whether it handles one message at a time.
    :param again: Whether it sends each candidate of a description by itself, too.
    """

    def __init__(
        self,
        pc: RTCPeerConnection,
        *,
        polite: bool,
        send: Callable[[Message], None],
        sequential: bool = False,
        again: bool = False,
    ) -> None:
        self.errors: list[BaseException] = []
        #: How many offers crossed one of its own and were ignored.
        self.ignored = 0
        #: Which offer it refuses: the next one, or none.
        self.refusing = False
        #: Whether its next answer rejects the data channels.
        self.rejecting_data = False
        #: Whether it withholds the answer to the next offer until another one comes in
        #: its place, and whether that is to have less in it.
        self.withholding: tuple[()] | tuple[bool] = ()
        #: What can be cancelled: a call of its own, or the handling of a message.
        self.cancellable: dict[asyncio.Task[None], bool] = {}
        self.pc = pc
        self.polite = polite
        self.sequential = sequential
        self._handling = 0
        self._ignore_offer = False
        self._inbox: deque[Message] = deque()
        self._making_offer = False
        # Whether the other end waits for an offer, as its own one was ignored.
        self._owes_offer = False
        self._send_message = send
        # The origins of the descriptions which have been sent.
        self._sent: set[str] = set()
        self._setting_answer = False
        self._tasks: set[asyncio.Task[None]] = set()
        # Whether an offer waits for another one in its place.
        self._withheld = False
        self._again = again
        if pc.getConfiguration().iceTrickle:
            pc.on("icecandidate", self._send_candidate)
        pc.on("negotiationneeded", lambda: self.start(self._negotiate_if_needed()))
        pc.on("signalingstatechange", self._check_slots)

    def __repr__(self) -> str:
        return (
            f"<{'polite' if self.polite else 'impolite'} {self.pc.signalingState}, "
            f"busy: {self.busy}, tasks: {self._tasks}, "
            f"needed: {self.pc._session.is_negotiation_needed}>"
        )

    @property
    def busy(self) -> bool:
        """
        Whether something is going on that may change what has been negotiated.
        """
        return bool(self._making_offer or self._handling or self._inbox)

    @property
    def quiet(self) -> bool:
        """
        Whether it has done everything, and nothing needs to be negotiated.
        """
        return (
            not self.busy
            and not self._tasks
            and self.pc.signalingState == "stable"
            and len(self.pc._operations) == 0
            and not self.pc._session.is_negotiation_needed
        )

    async def close(self) -> None:
        await self.pc.close()
        await until(lambda: not self._tasks)

    def deliver(self, message: Message) -> None:
        """
        Take a message which has arrived.
        """
        self._inbox.append(message)
        if not self.sequential:
            self.start(self._handle(self._inbox.popleft()))
        elif not self._handling:
            self._handling = 1
            self.start(self._serve())

    async def lost(self, offer: RTCSessionDescription, cure: str) -> None:
        """
        Hear that an offer has not arrived, and make good for it.

        :param cure: `"again"`, `"new offer"` or `"rollback"`.
        """
        await asyncio.sleep(NEWS)
        await until(lambda: not self.busy, timeout=600)
        if not self._is_pending(origin(offer)):
            return
        if cure == "again":
            self._send(self.pc.pendingLocalDescription, again=True)
        elif cure == "rollback" and not self._owes_offer:
            await self._roll_back()
        else:
            await self.negotiate()

    async def make_offer(self, restart: bool, sent: bool = True) -> None:
        """
        Offer, though nobody asked for it, unless something is going on.

        :param restart: Whether to restart ICE.
        :param sent: Whether the offer is sent, or taken back.
        """
        if self.busy or self.pc.signalingState != "stable":
            return
        is_old = False
        self._making_offer = True
        try:
            offer = await self.pc.createOffer(iceRestart=restart)
            await self.pc.setLocalDescription(offer)
            # While a message is handled it is too late to take it back: that may be the
            # other's offer.
            if sent or self._owes_offer or self._handling or self._inbox:
                self._send(self.pc.localDescription)
                return
        except InvalidStateError as exc:
            self._check_expected(exc)
            return
        except ValueError as exc:
            # What the offer describes has been stopped since it was created.
            if not str(exc).startswith(NOBODYS):
                raise
            is_old = True
        finally:
            self._making_offer = False
        if is_old:
            await self.make_offer(restart, sent)
        else:
            await self._roll_back()

    async def negotiate(self, explicit: bool = False) -> None:
        """
        Offer what is needed.

        :param explicit: Whether to call `createOffer()`, which is never an answer.
        """
        task = asyncio.create_task(self._negotiate(explicit))
        self.cancellable[task] = True
        await asyncio.wait([task])
        if not task.cancelled():
            self._note(task)
        elif not await self._send_answer():
            await self.negotiate(explicit=True)

    def start(self, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """
        Do something beside what is going on.
        """
        task = asyncio.create_task(coro)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(self._note)
        return task

    async def throw_offer_away(self, restart: bool) -> None:
        """
        Create an offer, and do nothing with it.
        """
        try:
            await self.pc.createOffer(iceRestart=restart)
        except InvalidStateError as exc:
            self._check_expected(exc)

    def _check_expected(self, exc: InvalidStateError) -> None:
        if str(exc) not in EXPECTED:
            raise exc

    def _check_slots(self) -> None:
        """
        Check that the descriptions are those of the signaling state, at its event.
        """
        try:
            check_slots(self.pc)
        except AssertionError as exc:
            self.errors.append(exc)

    async def _handle(self, message: Message) -> None:
        self._handling += 1
        try:
            task = asyncio.create_task(self._receive(message))
            # What comes after a message would overtake it.
            self.cancellable[task] = self.sequential
            await asyncio.wait([task])
            if task.cancelled():
                await self._recover(message)
            else:
                self._note(task)
        finally:
            self._handling -= 1

    def _is_pending(self, wanted: str) -> bool:
        return (
            self.pc.signalingState == "have-local-offer"
            and origin(self.pc.pendingLocalDescription) == wanted
        )

    async def _negotiate(self, explicit: bool) -> None:
        if self._withheld:
            return
        is_old = False
        self._making_offer = True
        try:
            if explicit:
                await self.pc.setLocalDescription(await self.pc.createOffer())
            else:
                await self.pc.setLocalDescription()
            self._send(self.pc.localDescription)
        except InvalidStateError as exc:
            self._check_expected(exc)
        except ValueError as exc:
            # What the offer describes has been stopped since it was created.
            if not (explicit and str(exc).startswith(NOBODYS)):
                raise
            is_old = True
        finally:
            self._making_offer = False
        if is_old:
            await self._negotiate(explicit)

    async def _negotiate_if_needed(self) -> None:
        # It may have begun to offer for another reason since the event.
        if not self._making_offer and self.pc.signalingState != "have-local-offer":
            await self.negotiate()

    def _note(self, task: asyncio.Task[None]) -> None:
        self.cancellable.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            if not self.pc._slots.closed:
                self.errors.append(error)

    async def _receive(self, message: Message) -> None:
        if message.candidate is not None:
            # By the time that its turn comes, another offer may have been accepted.
            ignored = self._ignore_offer
            try:
                await self.pc.addIceCandidate(message.candidate)
            except Exception:
                if not ignored:
                    raise
        elif message.refused is not None:
            self._owes_offer = False
            if self._is_pending(message.refused):
                await self._roll_back()
        elif message.withheld is not None:
            await self._replace_offer(message.withheld, message.stop)
        else:
            await self._receive_description(message.description)

    async def _receive_description(
        self, description: RTCSessionDescription | None
    ) -> None:
        assert description is not None
        ready = not self._making_offer and (
            self.pc.signalingState == "stable" or self._setting_answer or self._withheld
        )
        self._ignore_offer = (
            description.type == "offer" and not ready and not self.polite
        )
        if self._ignore_offer:
            self._owes_offer = True
            self.ignored += 1
            return
        self._owes_offer = False
        self._setting_answer = description.type == "answer"
        try:
            await self.pc.setRemoteDescription(description)
            self._withheld = False
        finally:
            self._setting_answer = False
        if description.type == "offer":
            # An offer of its own that waited for its turn has become an answer.
            if self.refusing and not self._making_offer:
                self.refusing = False
                self._ignore_offer = True
                await self.pc.setRemoteDescription(ROLLBACK)
                self._send_message(Message(refused=origin(description)))
                return
            if self.withholding and not self._making_offer:
                (stop,), self.withholding = self.withholding, ()
                self._withheld = True
                self._send_message(Message(withheld=origin(description), stop=stop))
                return
            answer = None
            if self.rejecting_data and not self._making_offer:
                self.rejecting_data = False
                answer = without_data(await self.pc.createAnswer())
            try:
                await self.pc.setLocalDescription(answer)
            except InvalidStateError as exc:
                # It was an offer then, and has met one of the peer's, or another
                # call has answered while this one created its answer.
                if str(exc) not in (EXPECTED[0], ANSWERED):
                    raise
                return
            self._send(self.pc.localDescription)

    async def _recover(self, message: Message) -> None:
        """
        Handle a message whose handler was cancelled at some point.
        """
        pc, description = self.pc, message.description
        current = pc.currentRemoteDescription
        applied = (
            description is not None
            and current is not None
            and origin(current) == origin(description)
        )
        if description is None or description.type != "offer":
            if not applied:
                await self._receive(message)
        elif pc.signalingState == "have-remote-offer" and origin(
            pc.pendingRemoteDescription
        ) == origin(description):
            self._withheld = False
            await pc.setLocalDescription()
            self._send(pc.localDescription)
        elif applied:
            # It is answered. What else there is to send is an offer of its own.
            await self._send_answer()
            pending = pc.pendingLocalDescription
            sent = pending is None or origin(pending) in self._sent
            if not sent and not self._making_offer:
                await self.negotiate(explicit=True)
        elif not self._ignore_offer:
            await self._receive(message)

    async def _replace_offer(self, old: str, stop: bool) -> None:
        """
        Offer something else, of which the other end knows only when it has the offer.
        """
        pc = self.pc
        if self._is_pending(old):
            await pc.setLocalDescription(ROLLBACK)
            for transceiver in [x for x in pc.getTransceivers() if x.mid is None][:1]:
                if stop:
                    await transceiver.stop()
        if pc.signalingState == "stable":
            await self.negotiate()

    async def _roll_back(self) -> None:
        await self.pc.setLocalDescription(ROLLBACK)
        if self._owes_offer:
            await self.negotiate()

    def _send(
        self, description: RTCSessionDescription | None, again: bool = False
    ) -> None:
        # If another call has replaced what this one had made, both send the same.
        if origin(description) in self._sent and not again:
            return
        assert description is not None
        self._sent.add(origin(description))
        self._send_message(Message(description=description, origin=origin(description)))
        if self._again:
            self._send_candidates(description)

    async def _send_answer(self) -> bool:
        """
        Send an answer which is in force, if the call that was to send it has been
        cancelled, and return whether there was one.
        """
        answer = self.pc.currentLocalDescription
        if answer is None or answer.type != "answer" or origin(answer) in self._sent:
            return False
        self._send(answer)
        # It may have not had all its candidates.
        current_local = parsed(self.pc).current_local
        sections = current_local.media if current_local is not None else []
        await until(
            lambda: (
                all(x.ice_candidates_complete for x in sections if x.port)
                or self.pc.signalingState == "closed"
            )
        )
        current = self.pc.currentLocalDescription
        if current is not None and origin(current) == origin(answer):
            self._send_candidates(current)
        return True

    def _send_candidate(self, candidate: RTCIceCandidate | None) -> None:
        for description in (
            self.pc.pendingLocalDescription,
            self.pc.currentLocalDescription,
        ):
            if (
                candidate is not None
                and description is not None
                and f"a=ice-ufrag:{candidate.usernameFragment}\r" in description.sdp
            ):
                self._send_message(Message(candidate, origin=origin(description)))
                break

    def _send_candidates(self, description: RTCSessionDescription) -> None:
        for candidate in candidates(description):
            self._send_message(Message(candidate=candidate, origin=origin(description)))

    async def _serve(self) -> None:
        try:
            while self._inbox:
                await self._handle(self._inbox.popleft())
        finally:
            self._handling = 0


class Call:
    """
    Two applications, at "alice" and "bob", and what they have made.

    :param polite: Which of them gives way.
    :param slow: Which of them have a server that does not answer.
    :param trickle: Which of them do not wait for their candidates.
    :param options: More arguments for each :class:`Application`.
    """

    def __init__(
        self,
        network: Network,
        *,
        polite: int = 0,
        slow: Sequence[int] = (),
        trickle: Sequence[int] = (),
        **options: Any,
    ) -> None:
        self.network = network
        self.lines = [
            Line(lambda message: self.ends[1].deliver(message)),
            Line(lambda message: self.ends[0].deliver(message)),
        ]
        self.ends = [
            Application(
                network.at(name, RTCPeerConnection)(
                    RTCConfiguration(
                        iceServers=[SLOW_SERVER] if i in slow else [],
                        iceTrickle=i in trickle,
                    )
                ),
                polite=i == polite,
                send=self.lines[i].send,
                **options,
            )
            for i, name in enumerate(("alice", "bob"))
        ]
        self.channels: list[dict[str, RTCDataChannel]] = [{}, {}]
        # How many have been created.
        self._channels_created = 0
        for end, channels in zip(self.ends, self.channels, strict=True):
            end.pc.on("datachannel", lambda x, y=channels: keep_while_open(x, y))
        # Whose restartIce() was called, and both sides' credentials by then.
        self._restarts: list[tuple[int, Credentials, Credentials]] = []

    async def check(self) -> None:
        """
        Check that both ends agree, are connected and have kept all promises, and that
        nothing is left of what was.
        """
        one, other = (x.pc for x in self.ends)
        # There is always something to talk over.
        if not self.channels[0]:
            self.create_channel(0)
        await self.come_to_rest()
        await self.exchange()
        # Who trickles may be gathering still.
        await until(
            lambda: all(x.pc.iceConnectionState == "completed" for x in self.ends),
            LIMIT,
            lambda: f"not completed: {[x.pc.iceConnectionState for x in self.ends]}",
        )
        await asyncio.sleep(RETIREMENT)
        self.check_sound()
        check_agreed(one, other)
        check_connected(one, other)
        for end, ours, theirs in self._restarts:
            now = [local_credentials(x.pc) for x in self.ends]
            assert now[end].isdisjoint(ours)
            assert now[1 - end].isdisjoint(theirs)
        for name, pc in (("alice", one), ("bob", other)):
            assert self.network.sockets(name) == len([*pc._transports])

    def check_sound(self) -> None:
        """
        Check what holds at any moment.
        """
        for end in self.ends:
            if end.errors:
                raise end.errors[0]
            check_slots(end.pc)
            transceivers = end.pc.getTransceivers()
            mids = [x.mid for x in transceivers if x.mid]
            assert len(set(mids)) == len(mids)
            assert len(end.pc._transports.made) <= 2 * len(transceivers) + 2
            for transport in end.pc._transports:
                assert len(transport.generations) <= MAX_GENERATIONS

    async def close(self, first: int | None = None) -> None:
        """
        Close both ends, wherever they are.

        :param first: The end whose last words the other one does not hear.
        """
        for line in self.lines:
            line.close()
        if first is not None:
            await self.ends[first].close()
        await asyncio.gather(*(x.close() for x in self.ends))
        for line in self.lines:
            line.close()

    async def come_to_rest(self) -> None:
        """
        Wait until nothing goes on any more.
        """

        def quiet() -> bool:
            return all(x.quiet for x in self.ends) and not any(
                x.messages for x in self.lines
            )

        while True:
            await until(quiet, CONVERGENCE, lambda: f"not at rest: {self.ends}")
            await asyncio.sleep(QUIET)
            if quiet():
                break
        self.check_sound()

    def create_channel(self, end: int) -> None:
        self._channels_created += 1
        channel = self.ends[end].pc.createDataChannel(f"{self._channels_created}")
        keep_while_open(channel, self.channels[end])

    async def exchange(self) -> None:
        """
        Send a message each way over each channel.
        """
        received: list[set[str]] = [set(), set()]

        def known() -> bool:
            return self.channels[0].keys() == self.channels[1].keys()

        def arrived() -> bool:
            return received == [x.keys() for x in self.channels]

        await until(known, LIMIT, lambda: f"missing: {self.channels}")
        for channels, labels in zip(self.channels, received, strict=True):
            for label, channel in channels.items():
                channel.remove_all_listeners("message")
                channel.on("message", lambda _, x=label, y=labels: y.add(x))
        for channel in (x for channels in self.channels for x in channels.values()):
            await until(lambda x=channel: x.readyState == "open")  # type: ignore[misc]
            channel.send("hello")
        await until(arrived, LIMIT, lambda: f"not received: {received}")

    def restart_ice(self, end: int) -> None:
        pc, other = self.ends[end].pc, self.ends[1 - end].pc
        pc.restartIce()
        if pc.localDescription is not None:
            old = set(pc._session.credentials_to_replace), local_credentials(other)
            self._restarts.append((end, *old))


def keep_while_open(
    channel: RTCDataChannel, channels: dict[str, RTCDataChannel]
) -> None:
    """
    Keep a channel with others until it is closed, as it is when its m-section is
    rejected.
    """
    channels[channel.label] = channel
    channel.on("close", lambda: channels.pop(channel.label, None))


def without_data(
    answer: RTCSessionDescription, alone: bool = False
) -> RTCSessionDescription:
    """
    Return a copy of an answer which rejects the data channels, if it has any, unless
    that is the BUNDLE-tag, on which others depend.

    :param alone: Whether to reject them also if there is nothing else.
    """
    head, *media = re.split("^(?=m=)", answer.sdp, flags=re.MULTILINE)
    bundled = re.search("^a=group:BUNDLE(.*?)\r?$", head, re.MULTILINE)
    mids = bundled[1].split() if bundled else []
    for index, section in enumerate(media):
        mid = re.search("^a=mid:(.*?)\r?$", section, re.MULTILINE)
        depended_on = mids[: 0 if alone and len(mids) == 1 else 1]
        if section.startswith("m=application") and mid and mid[1] not in depended_on:
            media[index] = re.sub("^m=application [0-9]+", "m=application 0", section)
            mids = [x for x in mids if x != mid[1]]
    group = " ".join(["a=group:BUNDLE" if mids else "a=group:none", *mids])
    head = re.sub("^a=group:BUNDLE.*?\r?$", group, head, flags=re.MULTILINE)
    return RTCSessionDescription(sdp=head + "".join(media), type=answer.type)


def check_slots(pc: RTCPeerConnection) -> None:
    """
    Check that the descriptions are those which belong to the signaling state.
    """
    # Not as text, which takes its time and is looked at after each step.
    current = (
        parsed(pc).current_local,
        parsed(pc).current_remote,
    )
    types = tuple(x.type if x is not None else None for x in current)
    assert types in [(None, None), ("offer", "answer"), ("answer", "offer")]
    pending = (
        parsed(pc).pending_local,
        parsed(pc).pending_remote,
    )
    assert (
        tuple(x.type if x is not None else None for x in pending)
        == {
            "stable": (None, None),
            "closed": (None, None),
            "have-local-offer": ("offer", None),
            "have-remote-offer": (None, "offer"),
        }[pc.signalingState]
    )


def local_credentials(pc: RTCPeerConnection) -> Credentials:
    """
    Return the ICE credentials in the current local description.
    """
    return credentials([parsed(pc).current_local])


def check_agreed(one: RTCPeerConnection, other: RTCPeerConnection) -> None:
    """
    Check that two peers at rest have agreed on the same things.
    """
    for pc in (one, other):
        assert pc.signalingState == "stable"
        assert not pc._needed._needed
        assert not pc._session.credentials_to_replace
        check_slots(pc)
    local, remote = one.currentLocalDescription, other.currentLocalDescription
    assert local is not None and remote is not None
    assert {local.type, remote.type} == {"offer", "answer"}
    assert origin(local) == origin(other.currentRemoteDescription)
    assert origin(remote) == origin(one.currentRemoteDescription)

    ours, theirs = (
        # Of a section which is rejected nothing is agreed.
        {
            x.mid: x.endpoint
            for x in pc._session.agreement
            if isinstance(x.endpoint, RTCRtpTransceiver) and not x.rejected
        }
        for pc in (one, other)
    )
    for pc, agreed in ((one, ours), (other, theirs)):
        assert not {x for x in pc.getTransceivers() if not x.stopped} - {
            *agreed.values()
        }
        assert all(x.mid == mid for mid, x in agreed.items())
    assert ours.keys() == theirs.keys()
    for mid, transceiver in ours.items():
        assert transceiver.kind == theirs[mid].kind
        direction, seen = transceiver.currentDirection, theirs[mid].currentDirection
        assert direction is not None and seen is not None
        assert direction == reverse(seen)
        for x in (transceiver, theirs[mid]):
            if x.currentDirection in ("recvonly", "sendrecv"):
                assert x.receiver.track is not None
    assert (one.sctp.mid if one.sctp else None) == (
        other.sctp.mid if other.sctp else None
    )


def check_connected(one: RTCPeerConnection, other: RTCPeerConnection) -> None:
    """
    Check that two peers at rest are connected, by the generation negotiated last.
    """
    for pc in (one, other):
        assert pc.connectionState == "connected"
        assert pc.iceConnectionState == "completed"
        assert pc.iceGatheringState == "complete"
        transports = ice_transports(pc)
        assert len(transports) == len([*pc._transports]) == len(pc._transports.made)
        for transport in transports:
            assert [x.local for x in transport.generations] == [
                transport.local_parameters
            ]
    ours, theirs = ({path(x) for x in ice_transports(pc)} for pc in (one, other))
    assert {(b, a) for a, b in ours} == theirs
    for pc, used in ((one, ours), (other, theirs)):
        assert {x for x, _ in used} == {x for x, _ in local_credentials(pc)}


def origin(description: RTCSessionDescription | None) -> str:
    """
    Return the o= line, which no two descriptions of a call share.
    """
    assert description is not None
    match = re.search(r"^o=.*$", description.sdp, re.MULTILINE)
    assert match is not None
    return match.group(0)
