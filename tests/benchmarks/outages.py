"""
What becomes of calls whose network goes away, on hosts in network namespaces.
"""

import asyncio
import contextlib
import dataclasses
import itertools
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar
from unittest import mock

import aioice.ice
import aiortc

from aiortc_restart import RTCConfiguration, RTCPeerConnection
from aiortc_restart.ice.stun import StunProtocol

from ..media import add_media, flowing
from ..netns.lab import Lab, LabLoop, missing
from ..network import run as run_on_network
from ..network import two_hosts
from ..test_flapping import flap
from ..test_recovery_time import DELAYS, OUTAGES, SLACK, time_to_data
from ..utils import Pair, connected_pair, negotiate, until
from . import libwebrtc
from .harness import Row, Stopwatch
from .libwebrtc import BACKLOG_SECONDS, BLIP_SECONDS, HANDOVERS, RATE, RTP

T = TypeVar("T")

CONNECTIONS = 100
DAY = 86400.0

PATIENT = RTCConfiguration(iceServers=[], iceFailedTimeout=None)
QUICK = RTCConfiguration(
    iceServers=[], iceFailedTimeout=None, iceDisconnectedTimeout=1.0
)


async def run(quick: bool) -> list[Row]:
    """
    Measure outages, each on a network of its own.

    :param quick: Whether the shorter ones shall do.
    :rtype: list[Row]
    """
    logging.getLogger("aiortc_restart").setLevel(logging.ERROR)
    rows = []
    if reason := missing():
        print(f"  {reason}: no outages on a real network")
    else:
        scenes = [handover, backlog, blip, notice, crowd]
        for scene in scenes if quick else [*scenes, long_outage]:
            # A socket belongs to the namespace which its thread is in.
            options = {"rounds": 1} if quick and scene is handover else {}
            found = await asyncio.to_thread(_in_lab, scene, options)
            beside = libwebrtc.SCENES.get(scene.__name__)
            if beside is not None and libwebrtc.MISSING is None:
                figures = await asyncio.to_thread(_in_lab, beside, options)
                found = [
                    dataclasses.replace(row, libwebrtc=figure)
                    for row, figure in zip(found, figures, strict=True)
                ]
            rows += found
    rows += await asyncio.to_thread(_first_data)
    return rows + await asyncio.to_thread(_day, DAY / 24 if quick else DAY)


def _in_lab(scene: Callable[..., Coroutine[Any, Any, T]], options: dict[str, int]) -> T:
    with (
        Lab() as lab,
        mock.patch.object(aioice.ice, "get_host_addresses", lab.host_addresses),
        asyncio.Runner(loop_factory=lambda: LabLoop(lab)) as runner,
    ):
        return runner.run(scene(lab, **options))


def _milliseconds(what: str, times: list[float], limit: float) -> Row:
    worst = max(times) * 1000
    return Row(
        what, ours=f"{worst:.1f}", limit=f"{limit:.0f}", holds=0 <= worst <= limit
    )


@contextlib.asynccontextmanager
async def on_wifi(
    lab: Lab,
    configuration: RTCConfiguration = QUICK,
    prepare: Callable[..., Any] | None = None,
) -> AsyncIterator[Pair]:
    """
    A call in which alice has but one of the paths.

    :param lab:           The hosts.
    :param configuration: The configuration of both peers.
    :param prepare:       Called with both peers before the negotiation.
    """
    lab.link("alice", "lte", up=False)
    async with connected_pair(
        lab, configuration=configuration, prepare=prepare
    ) as pair:
        yield pair


@contextlib.contextmanager
def arrivals() -> Iterator[list[tuple[float, object, int]]]:
    """
    Record each packet as it comes from the socket: when, for which ICE agent, and its
    first byte.
    """
    seen: list[tuple[float, object, int]] = []
    receive = StunProtocol.datagram_received

    def datagram_received(
        protocol: StunProtocol, data: bytes | str, addr: tuple[Any, ...]
    ) -> None:
        seen.append((time.perf_counter(), protocol.receiver, int(data[0])))
        receive(protocol, data, addr)

    with mock.patch.object(StunProtocol, "datagram_received", datagram_received):
        yield seen


def times_of(channel: aiortc.RTCDataChannel) -> list[float]:
    """
    Record when messages come.

    :param channel: The end which receives.
    """
    times: list[float] = []
    channel.on("message", lambda _: times.append(time.perf_counter()))
    return times


async def shown(state: str, *pcs: RTCPeerConnection) -> None:
    """
    Wait until peers show a state of ICE.
    """
    await until(lambda: all(x.iceConnectionState == state for x in pcs), timeout=60)


async def talk(*channels: aiortc.RTCDataChannel) -> None:
    while True:
        for channel in channels:
            channel.send("x" * 100)
        await asyncio.sleep(0.01)


async def handover(lab: Lab, rounds: int = len(HANDOVERS)) -> list[Row]:
    """
    From one path to the other, with sound, pictures and messages both ways.

    :param rounds: How often.
    """
    media, data = [], []
    async with on_wifi(lab, prepare=add_media) as pair:
        peers = [pair.offerer, pair.answerer]
        channels = [times_of(pair.channel), times_of(pair.remote_channel)]
        talking = asyncio.create_task(talk(pair.channel, pair.remote_channel))
        await flowing(*peers)
        for old, new in HANDOVERS[:rounds]:
            lab.link("alice", old, up=False)
            await shown("disconnected", *peers)
            lab.link("alice", new, up=True)
            with arrivals() as seen:
                began = time.perf_counter()
                await negotiate(*peers, iceRestart=True)
                await shown("completed", *peers)
                await asyncio.sleep(0.5)
            # An agent of the new generation is one which had no packet before.
            first = {
                agent: moment
                for moment, agent, byte in reversed(seen)
                if byte in RTP and moment > began
            }
            media.append(max(first.values()) - began if len(first) > 1 else 99.0)
            data.append(max(min(x for x in t if x > began) for t in channels) - began)
        talking.cancel()
    return [
        _milliseconds("handover: restart to first RTP both ways, ms", media, 100),
        _milliseconds("handover: restart to first message both ways, ms", data, 100),
    ]


async def backlog(lab: Lab) -> list[Row]:
    """
    Reliable messages go on being sent while the path is silently gone.
    """
    async with on_wifi(lab, PATIENT) as pair:
        times, sent = times_of(pair.remote_channel), 0
        lab.cut("wifi")
        began = time.perf_counter()
        while time.perf_counter() - began < BACKLOG_SECONDS:
            pair.channel.send("x" * 100)
            sent += 1
            await asyncio.sleep(began + sent / RATE - time.perf_counter())
        lab.link("alice", "lte", up=True)
        # As for libwebrtc, it switches when the new path answers.
        with libwebrtc.arrivals(lab, "lte", libwebrtc.ANSWERS) as seen:
            await negotiate(pair.offerer, pair.answerer, iceRestart=True)
            await until(lambda: len(times) == sent)
        switch = seen[0][0]
    return [
        _milliseconds(
            f"{sent} messages held back: switch to the first, ms",
            [max(times[0] - switch, 0)],
            100,
        ),
        _milliseconds(
            f"{sent} messages held back: switch to the last, ms",
            [times[-1] - switch],
            1000,
        ),
    ]


async def blip(lab: Lab) -> list[Row]:
    """
    The path is gone for five seconds, and comes back.
    """
    async with on_wifi(lab, PATIENT, prepare=add_media) as pair:
        peers = [pair.offerer, pair.answerer]
        await flowing(*peers)
        agents = [x._active.connection for x in _transports(peers)]
        pictures = [watch_pictures(x) for x in peers]
        with arrivals() as seen:
            lab.cut("wifi")
            await asyncio.sleep(BLIP_SECONDS)
            lab.heal("wifi")
            healed = time.perf_counter()
            await asyncio.sleep(3)
        late = []
        for agent, (times, task) in zip(agents, pictures, strict=True):
            task.cancel()
            first = min(
                t for t, x, byte in seen if x is agent and byte in RTP and t > healed
            )
            late.append(min([t for t in times if t > first] or [99.0 + first]) - first)
    return [
        _milliseconds(
            f"blip of {BLIP_SECONDS} s: first packet to a picture, ms", late, 1000
        )
    ]


def watch_pictures(
    pc: RTCPeerConnection,
) -> tuple[list[float], "asyncio.Task[None]"]:
    """
    Record when pictures have been decoded.
    """
    times: list[float] = []
    track = next(x.track for x in pc.getReceivers() if x.track.kind == "video")

    async def read() -> None:
        while True:
            await track.recv()
            times.append(time.perf_counter())

    return times, asyncio.create_task(read())


def _transports(peers: list[RTCPeerConnection]) -> list[Any]:
    return [x.sctp.transport.transport for x in peers if x.sctp is not None]


async def notice(lab: Lab) -> list[Row]:
    """
    How soon a connection is disconnected.
    """
    async with on_wifi(lab, PATIENT) as pair:
        talking = asyncio.create_task(talk(pair.channel, pair.remote_channel))
        await asyncio.sleep(1)
        lab.cut("wifi")
        began = time.perf_counter()
        await shown("disconnected", pair.offerer, pair.answerer)
        silent = time.perf_counter() - began
        lab.heal("wifi")
        began = time.perf_counter()
        await shown("completed", pair.offerer, pair.answerer)
        healed = time.perf_counter() - began
        lab.link("alice", "wifi", up=False)
        began = time.perf_counter()
        await shown("disconnected", pair.offerer)
        gone = time.perf_counter() - began
        talking.cancel()
    return [
        _milliseconds("silent cut to disconnected (5 s are set), ms", [silent], 6000),
        _milliseconds("healing to completed, ms", [healed], 1000),
        _milliseconds("interface down to disconnected, ms", [gone], 250),
    ]


async def long_outage(lab: Lab) -> list[Row]:
    """
    After more than thirty seconds: there is no consent any more.
    """
    async with on_wifi(lab, PATIENT) as pair:
        peers = [pair.offerer, pair.answerer]
        lab.link("alice", "wifi", up=False)
        await shown("failed", *peers)
        times = [times_of(pair.channel), times_of(pair.remote_channel)]
        lab.link("alice", "lte", up=True)
        pair.channel.send("alice")
        pair.remote_channel.send("bob")
        began = time.perf_counter()
        await negotiate(*peers, iceRestart=True)
        negotiated = time.perf_counter()
        await until(lambda: all(times))
    first = max(x[0] for x in times)
    return [
        _milliseconds(
            "restart of a failed call to first data, ms", [first - began], 150
        ),
        _milliseconds("... without the negotiation, ms", [first - negotiated], 50),
    ]


async def crowd(lab: Lab) -> list[Row]:
    """
    Many calls lose their path at once, and restart when they are told.
    """
    lab.link("alice", "lte", up=False)
    async with contextlib.AsyncExitStack() as stack:
        pairs = [
            await stack.enter_async_context(connected_pair(lab, configuration=QUICK))
            for _ in range(CONNECTIONS)
        ]
        lab.cut("wifi")
        lab.link("alice", "lte", up=True)
        watch = Stopwatch()

        async def recover(pair: Pair) -> bool:
            await shown("disconnected", pair.offerer)
            await negotiate(pair.offerer, pair.answerer, iceRestart=True)
            await pair.exchange()
            return pair.offerer.connectionState == "connected"

        done = sum(await asyncio.gather(*map(recover, pairs)))
        cost = watch.stop()
    return [
        Row(
            f"{CONNECTIONS} connections lose their path, recovered",
            ours=f"{done} ({cost.wall:.1f} s, {cost.cpu:.1f} s of CPU)",
            limit=f"{CONNECTIONS}",
            holds=done == CONNECTIONS,
        )
    ]


def _first_data() -> list[Row]:
    """
    From `restartIce()` to data over a new path, in virtual time.
    """
    times = [
        run_on_network(time_to_data, signaling, media, outage, "alice")
        - (2 * signaling + 4 * media)
        for signaling, media, outage in itertools.product(DELAYS, DELAYS, OUTAGES)
    ]
    worst = max(times) * 1000
    return [
        Row(
            "simulated restart to first data, less a round trip of signaling and two "
            "of the path, ms",
            ours=f"{worst:.1f}",
            limit=f"{SLACK * 1000:.0f}",
            holds=worst <= SLACK * 1000,
        )
    ]


def _day(seconds: float) -> list[Row]:
    network = two_hosts()
    network.limit = 2 * seconds
    with mock.patch("tests.network.REAL_LIMIT", 3600.0):
        watch = Stopwatch()
        tally = network.run(flap(network, seconds))
        cost = watch.stop()
    growth = tally.objects[1] - tally.objects[0]
    return [
        Row(
            f"{seconds / 3600:.0f} simulated hours, {tally.outages} outages: "
            "messages lost, sockets, tasks, objects more",
            ours=f"{tally.lost}, {tally.sockets[1] - tally.sockets[0]}, "
            f"{tally.tasks[1] - tally.tasks[0]}, {growth} ({cost.cpu:.0f} s of CPU)",
            limit="0, 0, 0, < 500",
            holds=tally.lost == 0
            and tally.sockets[0] == tally.sockets[1]
            and tally.tasks[0] == tally.tasks[1]
            and growth < 500
            and not tally.closed,
        )
    ]
