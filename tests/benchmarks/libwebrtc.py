"""
What becomes of calls of libwebrtc for Node with itself, in the same networks.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..interop.remote import Message, RemotePeer, missing, node_peer
from ..netns.lab import Lab

PROGRAM = Path(__file__).with_suffix(".js")

MISSING = missing("wrtc")

BACKLOG_SECONDS, RATE = 8.0, 400
"For how long the path is gone, and how many messages a second are sent meanwhile."

BLIP_SECONDS = 5

HANDOVERS = (("wifi", "lte"), ("lte", "wifi"), ("wifi", "lte"))

PATIENCE = 30.0
"Seconds which anything may take."

POLL_INTERVAL = 0.1
"Seconds. What is measured does not depend on it."

ANSWERS = range(1, 2)
"What the answers to checks begin with (RFC 8489 section 5)."

RTP = range(128, 192)
"What RTP and RTCP packets begin with (RFC 7983 section 7)."

ETH_P_IP = 0x0800

Noted = list[dict[str, Any]]
"What both ends have noted, see `libwebrtc.js`."


@dataclass
class Call:
    """
    A call between alice and bob.
    """

    ends: list[RemotePeer]

    async def each(self, method: str, **args: Any) -> Noted:
        """
        Run a method at both ends.
        """
        return [await end.call(method, **args) for end in self.ends]

    async def restart(self) -> None:
        """
        Have alice restart ICE.
        """
        await self.ends[0].call("restartIce")
        await self.ends[0].call("describe")

    async def shown(self, *states: str) -> None:
        """
        Wait until both ends show one of some states of ICE.
        """
        await self.until(
            lambda now: all(x["iceConnectionState"] in states for x in now)
        )

    async def until(self, condition: Callable[[Noted], bool]) -> Noted:
        """
        Wait until a condition holds, and return what both ends have noted by then.
        """
        async with asyncio.timeout(PATIENCE):
            while True:
                now = await self.each("noted")
                if condition(now):
                    return now
                await asyncio.sleep(POLL_INTERVAL)


@contextlib.asynccontextmanager
async def on_wifi(lab: Lab, media: bool) -> AsyncIterator[Call]:
    """
    A call in which alice has but one of the paths.

    :param lab: The hosts.
    :param media: Whether there are sound and pictures, besides messages.
    """
    lab.link("alice", "lte", up=False)
    async with contextlib.AsyncExitStack() as stack:
        ends = [
            await stack.enter_async_context(
                node_peer("wrtc", lab.command(name), str(PROGRAM))
            )
            for name in ("alice", "bob")
        ]
        call = Call(ends)
        for end in ends:
            await end.call("open", channel=end is ends[0], media=media)
        carriers = [
            asyncio.create_task(carry(*x), name="carrier") for x in (ends, ends[::-1])
        ]
        try:
            await ends[0].call("describe")
            await call.until(
                lambda now: (
                    all(x["channelState"] == "open" for x in now)
                    and (not media or all(x["frames"] for x in now))
                )
            )
            yield call
            assert [x["errors"] for x in await call.each("noted")] == [[], []]
        finally:
            for carrier in carriers:
                carrier.cancel()
            await asyncio.wait(carriers)
            await call.each("close")


async def carry(source: RemotePeer, target: RemotePeer) -> None:
    """
    Take the descriptions and candidates of one end to the other.
    """
    while True:
        await hand_over(await source.messages.get(), target)


async def hand_over(message: Message, target: RemotePeer) -> None:
    """
    Have an end take a description or a candidate.
    """
    if message["event"] == "candidate":
        await target.call("addCandidate", candidate=message["candidate"])
    else:
        await target.call("accept", type=message["type"], sdp=message["sdp"])
        if message["type"] == "offer":
            await target.call("describe")


@contextlib.contextmanager
def arrivals(lab: Lab, path: str, kind: range) -> Iterator[list[list[float]]]:
    """
    Record when packets come to alice's interface and to bob's.

    :param kind: What the packets begin with.
    """
    loop = asyncio.get_running_loop()
    seen: list[list[float]] = [[], []]
    with contextlib.ExitStack() as stack:
        for name, times in zip(("alice", "bob"), seen, strict=True):
            with lab.inside(name):
                sock = socket.socket(
                    socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP)
                )
            stack.enter_context(sock)
            sock.setblocking(False)
            sock.bind((path, ETH_P_IP))
            loop.add_reader(sock, note_packet, sock, kind, times)
            stack.callback(loop.remove_reader, sock)
        yield seen


def note_packet(sock: socket.socket, kind: range, times: list[float]) -> None:
    try:
        data, (_, _, direction, *_) = sock.recvfrom(2048)
    except OSError:
        # The interface has gone down.
        return
    begin = (data[0] & 15) * 4 + 8
    is_udp = data[9] == socket.IPPROTO_UDP and len(data) > begin
    if direction == socket.PACKET_HOST and is_udp and data[begin] in kind:
        times.append(time.perf_counter())


def first(times: list[float], since: float) -> float | None:
    """
    Return how long after a moment something happened first, in seconds.
    """
    return next((x - since for x in times if x > since), None)


def milliseconds(times: list[float]) -> str:
    return f"{max(times) * 1000:.0f}"


async def handover(lab: Lab, rounds: int = len(HANDOVERS)) -> list[str]:
    """
    From one path to the other, with sound, pictures and messages both ways.

    :param rounds: How often.
    """
    media: list[float] = []
    data: list[float] = []
    async with on_wifi(lab, media=True) as call:
        await call.each("talk", rate=100)
        for old, new in HANDOVERS[:rounds]:
            lab.link("alice", old, up=False)
            await call.shown("disconnected", "failed")
            lab.link("alice", new, up=True)
            packets, messages = await move(lab, call, new)
            media.append(packets)
            data.append(messages)
            await call.shown("connected", "completed")
    return [milliseconds(media), milliseconds(data)]


async def move(lab: Lab, call: Call, path: str) -> tuple[float, float]:
    """
    Restart a call, and return how long it takes until RTP, and messages, come both ways
    over a path, in seconds.
    """
    with arrivals(lab, path, RTP) as seen:
        began = time.perf_counter()
        await call.restart()
        now = await call.until(
            lambda now: all(
                first(times, began) is not None
                for times in (*seen, *(x["messages"] for x in now))
            )
        )
    return (
        max(first(x, began) or 0 for x in seen),
        max(first(x["messages"], began) or 0 for x in now),
    )


async def backlog(lab: Lab) -> list[str]:
    """
    Reliable messages go on being sent while the path is silently gone.
    """
    async with on_wifi(lab, media=False) as call:
        alice = call.ends[0]
        lab.cut("wifi")
        await alice.call("talk", rate=RATE)
        await asyncio.sleep(BACKLOG_SECONDS)
        await alice.call("stopSending")
        lab.link("alice", "lte", up=True)
        # It tells its states too late. It switches when the new path answers.
        with arrivals(lab, "lte", ANSWERS) as seen:
            await call.restart()
            now = await call.until(
                lambda now: len(now[1]["messages"]) == now[0]["sent"]
            )
        switch, times = seen[0][0], now[1]["messages"]
    return [
        milliseconds([max(times[0] - switch, 0)]),
        milliseconds([times[-1] - switch]),
    ]


async def blip(lab: Lab) -> list[str]:
    """
    The path is gone for five seconds, and comes back.
    """
    async with on_wifi(lab, media=True) as call:
        with arrivals(lab, "wifi", RTP) as seen:
            lab.cut("wifi")
            await asyncio.sleep(BLIP_SECONDS)
            lab.heal("wifi")
            healed = time.perf_counter()
            now = await call.until(
                lambda now: all(
                    (packet := first(x, healed)) is not None
                    and first(end["frames"], healed + packet) is not None
                    for x, end in zip(seen, now, strict=True)
                )
            )
        late = []
        for packets, end in zip(seen, now, strict=True):
            packet = healed + (first(packets, healed) or 0)
            late.append(first(end["frames"], packet) or 0)
    return [milliseconds(late)]


SCENES: dict[str, Callable[..., Coroutine[Any, Any, list[str]]]] = {
    x.__name__: x for x in (handover, backlog, blip)
}
