"""
What tests share: pairs of peers, negotiations, histories, and what is left behind.

Everything here works in virtual time (see `network.py`) as well as in real time.
"""

import asyncio
import contextlib
import gc
import os
import re
import sys
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import aiortc
from aiortc import RTCDataChannel, RTCIceCandidate, RTCSessionDescription
from aiortc.sdp import candidate_from_sdp
from pyee.asyncio import AsyncIOEventEmitter

import aiortc_restart

from .places import Places

T = TypeVar("T")

DESCRIPTORS = "/proc/self/fd"

LIMIT = 30.0
"Seconds which a condition may take, unless a test says otherwise."

TEST_LIMIT = 120.0
"Real seconds which a test in real time may take."


@dataclass
class Pair:
    """
    Two connected peers and the two ends of a data channel between them.
    """

    offerer: aiortc_restart.RTCPeerConnection
    answerer: aiortc_restart.RTCPeerConnection
    channel: RTCDataChannel
    "The offerer's end."

    remote_channel: RTCDataChannel
    "The answerer's end."

    async def exchange(self) -> None:
        """
        Send a message each way and wait until both have arrived.
        """
        async with asyncio.timeout(LIMIT):
            await asyncio.gather(
                self._pass(self.channel, self.remote_channel),
                self._pass(self.remote_channel, self.channel),
            )

    async def _pass(self, sender: RTCDataChannel, receiver: RTCDataChannel) -> None:
        message = f"exchange {os.urandom(8).hex()}"
        arrived = asyncio.Event()

        def listen(received: object) -> None:
            if received == message:
                arrived.set()

        receiver.on("message", listen)
        try:
            sender.send(message)
            await arrived.wait()
        finally:
            if listen in receiver.listeners("message"):
                receiver.remove_listener("message", listen)


@dataclass
class History:
    """
    The states which a peer connection has had, each list beginning with the first.
    """

    connection: list[str] = field(default_factory=list)
    ice: list[str] = field(default_factory=list)
    gathering: list[str] = field(default_factory=list)
    signaling: list[str] = field(default_factory=list)
    negotiationneeded: int = 0
    "How often the event was fired."


def candidates(description: RTCSessionDescription) -> list[RTCIceCandidate]:
    """
    Return the candidates of a description, with their `sdpMid` and `sdpMLineIndex`.
    """
    found = []
    for index, section in enumerate(_sections(description.sdp)[1:]):
        mid = re.search(r"^a=mid:(\S+)", section, re.MULTILINE)
        for line in re.findall(r"^a=candidate:(.*?)\r?$", section, re.MULTILINE):
            candidate = candidate_from_sdp(line)
            candidate.sdpMid = mid.group(1) if mid else None
            candidate.sdpMLineIndex = index
            found.append(candidate)
    return found


@contextlib.asynccontextmanager
async def connected_pair(
    network: Places | None = None,
    *,
    offerer: type[aiortc.RTCPeerConnection] = aiortc_restart.RTCPeerConnection,
    answerer: type[aiortc.RTCPeerConnection] = aiortc_restart.RTCPeerConnection,
    configuration: aiortc.RTCConfiguration | None = None,
    answerer_configuration: aiortc.RTCConfiguration | None = None,
    prepare: Callable[
        [aiortc_restart.RTCPeerConnection, aiortc_restart.RTCPeerConnection], object
    ]
    | None = None,
    **channel_options: Any,
) -> AsyncIterator[Pair]:
    """
    Connect two peers, open a data channel between them, and close them at the end.

    :param network: The network, on which the offerer is "alice" and the
                    answerer "bob". Without it they are on the real one.
    :param offerer: The offerer's class.
    :param answerer: The answerer's class.
    :param configuration: The configuration, which by default has no servers.
    :param answerer_configuration: The answerer's configuration, if it is another.
    :param prepare: Called with both peers before the negotiation, to add tracks.
    :param channel_options: Arguments for `createDataChannel()`.
    """
    configuration = configuration or aiortc_restart.RTCConfiguration(iceServers=[])
    if network is not None:
        offerer = network.at("alice", offerer)
        answerer = network.at("bob", answerer)
    # Whichever classes they are, tests call what the default has.
    local: aiortc_restart.RTCPeerConnection = cast(Any, offerer)(configuration)
    remote: aiortc_restart.RTCPeerConnection = cast(Any, answerer)(
        answerer_configuration or configuration
    )
    try:
        channel = local.createDataChannel("test", **channel_options)
        remote_channels: list[RTCDataChannel] = []
        remote.on("datachannel", remote_channels.append)
        if prepare is not None:
            prepare(local, remote)
        await negotiate(local, remote)
        await until(
            lambda: (
                channel.readyState == "open"
                and len(remote_channels) == 1
                and local.connectionState == remote.connectionState == "connected"
            ),
            message=lambda: (
                f"not connected: offerer {local.connectionState}, "
                f"answerer {remote.connectionState}, channel {channel.readyState}"
            ),
        )
        remote.remove_listener("datachannel", remote_channels.append)
        yield Pair(local, remote, channel, remote_channels[0])
    finally:
        await asyncio.gather(local.close(), remote.close())


def credentials(description: RTCSessionDescription) -> list[tuple[str, str]]:
    """
    Return the ICE username fragment and password of each section of a description.
    """
    session, *sections = _sections(description.sdp)
    return [
        (
            _attribute("ice-ufrag", section, session),
            _attribute("ice-pwd", section, session),
        )
        for section in sections
    ]


async def event(emitter: AsyncIOEventEmitter, name: str) -> tuple[Any, ...]:
    """
    Wait for the next event of a name, and return its arguments.
    """
    future: asyncio.Future[tuple[Any, ...]] = asyncio.get_running_loop().create_future()

    def listen(*arguments: Any) -> None:
        if not future.done():
            future.set_result(arguments)

    emitter.on(name, listen)
    try:
        async with asyncio.timeout(LIMIT):
            return await future
    finally:
        if listen in emitter.listeners(name):
            emitter.remove_listener(name, listen)


async def negotiate(
    offerer: aiortc.RTCPeerConnection,
    answerer: aiortc.RTCPeerConnection,
    **offer_options: Any,
) -> tuple[RTCSessionDescription, RTCSessionDescription]:
    """
    Negotiate once and return the offer and the answer, as they were exchanged.

    :param offer_options: Arguments for `createOffer()`.
    """
    await offerer.setLocalDescription(await offerer.createOffer(**offer_options))
    offer = offerer.localDescription
    assert offer is not None
    await answerer.setRemoteDescription(offer)
    await answerer.setLocalDescription(await answerer.createAnswer())
    answer = answerer.localDescription
    assert answer is not None
    await offerer.setRemoteDescription(answer)
    return offer, answer


@contextlib.asynccontextmanager
async def nothing_left_behind() -> AsyncIterator[None]:
    """
    Assert that what runs within leaves no task, file descriptor, thread or error.
    """
    loop = asyncio.get_running_loop()
    errors: list[str] = []
    before = _holdings()
    handler = loop.get_exception_handler()
    hook = sys.unraisablehook
    loop.set_exception_handler(lambda _, context: errors.append(_describe(context)))
    sys.unraisablehook = lambda args: errors.append(
        f"{args.exc_value!r}: {args.object}"
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            warnings.filterwarnings("error", "coroutine .* was never awaited")
            yield
            await until(
                lambda: _holdings() <= before,
                timeout=LIMIT,
                message=lambda: f"left behind: {_holdings() - before}",
            )
            # The last callbacks have their turn, and what is unreachable now reports
            # what nobody retrieved or awaited.
            await asyncio.sleep(0)
            gc.collect()
    except BaseException as exc:
        for error in errors:
            exc.add_note(f"reported to the event loop: {error}")
        raise
    finally:
        loop.set_exception_handler(handler)
        sys.unraisablehook = hook
    if errors:
        raise AssertionError("left behind: " + "\n".join(errors))


def run_in_real_time(
    main: Coroutine[Any, Any, T],
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
    limit: float = TEST_LIMIT,
) -> T:
    """
    Run a test on a real event loop, and assert that it leaves nothing behind.

    :param limit: How long it may take, in seconds.
    """

    async def guarded() -> T:
        async with asyncio.timeout(limit), nothing_left_behind():
            return await main

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(guarded())


def sdp_edit(
    description: RTCSessionDescription,
    *,
    ufrag: str | None = None,
    pwd: str | None = None,
    mids: Iterable[str] | None = None,
) -> RTCSessionDescription:
    """
    Return a copy of a description with another ICE username fragment or password.

    :param ufrag: The new username fragment, or `None` to keep what is there.
    :param pwd: The new password, or `None` to keep what is there.
    :param mids: The sections to edit, by default all.
    """
    edited = []
    wanted = None if mids is None else set(mids)
    for section in _sections(description.sdp):
        mid = re.search(r"^a=mid:(\S+)", section, re.MULTILINE)
        if wanted is None or (mid and mid.group(1) in wanted):
            for name, value in (("ice-ufrag", ufrag), ("ice-pwd", pwd)):
                if value is not None:
                    section = _with_attribute(section, name, value)
        edited.append(section)
    return RTCSessionDescription(sdp="".join(edited), type=description.type)


def states(pc: aiortc.RTCPeerConnection) -> History:
    """
    Record the states of a peer connection from now on.
    """
    history = History(
        connection=[pc.connectionState],
        ice=[pc.iceConnectionState],
        gathering=[pc.iceGatheringState],
        signaling=[pc.signalingState],
    )

    def count() -> None:
        history.negotiationneeded += 1

    pc.on(
        "connectionstatechange", lambda: history.connection.append(pc.connectionState)
    )
    pc.on("iceconnectionstatechange", lambda: history.ice.append(pc.iceConnectionState))
    pc.on(
        "icegatheringstatechange",
        lambda: history.gathering.append(pc.iceGatheringState),
    )
    pc.on("signalingstatechange", lambda: history.signaling.append(pc.signalingState))
    pc.on("negotiationneeded", count)
    return history


async def until(
    predicate: Callable[[], T],
    # A caller's `asyncio.timeout()` could not say what was not true.
    timeout: float = LIMIT,  # noqa: ASYNC109
    message: str | Callable[[], str] = "the condition did not come true",
) -> T:
    """
    Wait until a condition is true, and return its value.

    :param predicate: The condition.
    :param timeout: How long to wait for it, in seconds.
    :param message: What the :class:`TimeoutError` says, or a function which tells.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    interval = 0.001
    while not (value := predicate()):
        if loop.time() >= deadline:
            raise TimeoutError(message if isinstance(message, str) else message())
        await asyncio.sleep(interval)
        interval = min(1.5 * interval, 0.05)
    return value


def _attribute(name: str, *sections: str) -> str:
    for section in sections:
        if match := re.search(rf"^a={name}:(.*?)\r?$", section, re.MULTILINE):
            return match.group(1)
    raise ValueError(f"there is no {name}")


def _describe(context: dict[str, Any]) -> str:
    return f"{context['message']}: {context.get('exception')!r}"


def _holdings() -> set[object]:
    """
    Return what this process and its event loop hold: tasks, descriptors, threads.
    """
    held: set[object] = set(asyncio.all_tasks())
    # The threads of an executor stay until the event loop is closed.
    executor = getattr(asyncio.get_running_loop(), "_default_executor", None)
    held.update(set(threading.enumerate()) - getattr(executor, "_threads", set()))
    for descriptor in os.listdir(DESCRIPTORS):
        # One of them was that of the directory itself.
        with contextlib.suppress(FileNotFoundError):
            held.add((descriptor, os.readlink(f"{DESCRIPTORS}/{descriptor}")))
    return held


def _sections(sdp: str) -> list[str]:
    """
    Split a description into the session section and the media sections.
    """
    return re.split(r"^(?=m=)", sdp, flags=re.MULTILINE)


def _with_attribute(section: str, name: str, value: str) -> str:
    return re.sub(
        rf"^a={name}:[^\r\n]*",
        lambda _: f"a={name}:{value}",
        section,
        flags=re.MULTILINE,
    )
