"""
The call: two peers, and restarts by each of them in turn.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from .accounts import Timeline, Traffic, settle
from .messages import longest_gap
from .peer import Peer, Route
from .signaling import Signaling

PATIENCE = 10.0
"Seconds after which something is taken to have failed."


@dataclass
class Switch:
    """
    What a restart did to one of the peers.
    """

    peer: str
    before: Route
    after: Route

    longest_gap: float = 0.0
    "The longest time without a message from the restart on, in seconds."


@dataclass
class Restart:
    """
    One restart, as both peers saw it.
    """

    by: str
    "The peer which called restartIce()."

    at: float
    "When it did, in seconds of the event loop's clock."

    switches: list[Switch] = field(default_factory=list)


@dataclass
class Record:
    """
    All that is to be told of a call.
    """

    start: float
    "When sound, picture and messages began to flow, on the event loop's clock."

    restarts: list[Restart] = field(default_factory=list)
    timelines: dict[str, Timeline] = field(default_factory=dict)
    traffic: list[Traffic] = field(default_factory=list)


async def hold_call(video: Path, restarts: int, seconds: float) -> Record:
    """
    Hold a call, and tell what happens as it goes.

    :param video:    The file which both peers send.
    :param restarts: How often to restart ICE.
    :param seconds:  How long to wait before the first restart and after each.
    :rtype: Record
    """
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        alice, bob = (
            Peer(name, video, signaling)
            for name, signaling in zip(("alice", "bob"), Signaling.pair(), strict=True)
        )
        stack.push_async_callback(alice.close)
        stack.push_async_callback(bob.close)

        await alice.negotiate()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(alice.start(), bob.start())
        record = Record(start=loop.time())
        say(record, f"alice and bob are connected: {alice.route().pair}")

        async with recorded(record, alice), recorded(record, bob):
            await asyncio.sleep(seconds)
            for number in range(restarts):
                by, other = (bob, alice) if number % 2 else (alice, bob)
                await restart(record, by, other, seconds)

            say(record, "both stop sending and wait for what is on its way")
            await asyncio.gather(alice.pause(), bob.pause())
            record.traffic += await asyncio.gather(
                settle(alice, bob, record.start), settle(bob, alice, record.start)
            )
    return record


@contextlib.asynccontextmanager
async def recorded(record: Record, peer: Peer) -> AsyncIterator[None]:
    """
    Keep the timeline of a peer.

    :param record: The :class:`Record` to put it into.
    :param peer:   A :class:`Peer`.
    """
    timeline = record.timelines[peer.name] = Timeline()
    task = asyncio.create_task(timeline.follow(peer.pc), name="timeline")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def restart(record: Record, by: Peer, other: Peer, seconds: float) -> None:
    """
    Restart ICE while the call goes on.

    :param record:  The :class:`Record` to add it to.
    :param by:      The :class:`Peer` which asks for it.
    :param other:   The other one, which follows.
    :param seconds: How long to watch the call after it.
    """
    loop = asyncio.get_running_loop()
    before = {peer: peer.route() for peer in (by, other)}
    restart = Restart(by=by.name, at=loop.time())
    record.restarts.append(restart)
    say(record, f"{by.name} calls restartIce()")
    by.pc.restartIce()

    async with asyncio.timeout(PATIENCE):
        for peer, route in before.items():
            after = await peer.switched(route)
            restart.switches.append(Switch(peer.name, before=route, after=after))
            say(
                record,
                f"  {peer.name} switched after {(after.since - restart.at) * 1e3:.1f} "
                f"ms: {route.ufrag} -> {after.ufrag}, {route.pair} -> {after.pair}",
            )

    await asyncio.sleep(seconds)
    for peer, switch in zip(before, restart.switches, strict=True):
        switch.longest_gap = longest_gap(
            peer.messages.arrivals, restart.at, loop.time()
        )


def say(record: Record, message: str) -> None:
    """
    Tell what happens, and when.

    :param record:  The :class:`Record` of the call.
    :param message: What to tell.
    """
    elapsed = asyncio.get_running_loop().time() - record.start
    print(f"{elapsed:6.2f} s  {message}", flush=True)
