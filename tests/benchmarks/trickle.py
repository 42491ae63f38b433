"""
What trickling saves: a restart beside a server which does not answer, and round trips.
"""

import asyncio
import contextlib
import socket
import statistics
import time
from collections.abc import AsyncIterator, Iterator

from aiortc_restart import RTCConfiguration, RTCIceServer, RTCPeerConnection

from ..calls import ice_transport
from ..interop.remote import missing
from ..network import Network, two_hosts
from ..trickling import Trickling
from ..utils import event, until
from . import delays
from .harness import PATIENCE, Row

DELAY = 0.05
"Seconds, one way, of media and of signaling."

MINIMUM = 2
"One round trip of signaling, and one of a check."

ROUND_TRIPS = 1.05
"By how much more it may be."

FIRST, RESTART = "first connection", "restart by who is in control"

SLOWER = 1.2
"How much longer a restart may take beside a server which does not answer."


async def run(quick: bool) -> list[Row]:
    """
    Measure restarts and first connections.

    :param quick: Whether fewer rounds shall do.
    :rtype: list[Row]
    """
    rows = await beside_a_server(5 if quick else 15)
    beside: dict[str, str] = {}
    if missing("wrtc") is None:
        first, restarts = await delays.round_trips("wrtc", DELAY, 1 if quick else 9)
        beside = {
            FIRST: f"{first:.2f}",
            RESTART: f"{statistics.median(restarts):.2f}",
        }
        if missing("werift") is None:
            # With itself it does not come back from a restart.
            first, _ = await delays.round_trips("werift", DELAY, 0)
            beside[FIRST] += f" (werift {first:.2f})"
    return rows + await asyncio.to_thread(round_trips, beside)


async def beside_a_server(rounds: int) -> list[Row]:
    """
    Measure restarts beside a STUN server which never answers, and without any.

    :param rounds: How often.
    """
    with silent_server() as server:
        without, beside = [], []
        async with (
            connected(RTCConfiguration(iceServers=[], iceTrickle=True)) as plain,
            connected(RTCConfiguration(iceServers=[server], iceTrickle=True)) as slow,
        ):
            # In turns, so that a change of the machine's speed meets both.
            for _ in range(rounds):
                without.append(await plain.restart())
                beside.append(await slow.restart())
        async with connected(RTCConfiguration(iceServers=[server])) as waiting:
            waited = await waiting.restart()
    most = SLOWER * statistics.median(without)
    median = statistics.median(beside)
    return [
        Row(
            "restart beside a silent STUN server, trickling, ms",
            ours=f"{median * 1000:.1f} (no server {without_text(without)})",
            limit=f"{most * 1000:.1f}",
            holds=median <= most,
        ),
        Row(
            "restart beside a silent STUN server, not trickling, ms",
            ours=f"{waited * 1000:.0f}",
            limit="-",
            holds=True,
        ),
    ]


def without_text(times: list[float]) -> str:
    return f"{statistics.median(times) * 1000:.1f}"


class Call:
    """
    Two peers in this process, which send their candidates by themselves.
    """

    def __init__(self, configuration: RTCConfiguration) -> None:
        self.peers = [RTCPeerConnection(configuration) for _ in range(2)]
        self._tasks: set[asyncio.Task[None]] = set()
        for pc, other in zip(self.peers, self.peers[::-1], strict=True):
            pc.on("icecandidate", other.addIceCandidate)

    async def negotiate(self) -> None:
        offerer, answerer = self.peers
        await offerer.setLocalDescription()
        await answerer.setRemoteDescription(offerer.localDescription)
        await answerer.setLocalDescription()
        await offerer.setRemoteDescription(answerer.localDescription)

    async def restart(self) -> float:
        """
        Restart, and return after how many seconds both peers have switched.
        """
        switches = [
            asyncio.create_task(event(ice_transport(x), "selectedcandidatepairchange"))
            for x in self.peers
        ]
        await asyncio.sleep(0)
        began = time.perf_counter()
        self.peers[0].restartIce()
        await self.negotiate()
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*switches)
        return time.perf_counter() - began


@contextlib.asynccontextmanager
async def connected(configuration: RTCConfiguration) -> AsyncIterator[Call]:
    call = Call(configuration)
    channel = call.peers[0].createDataChannel("bench")
    await call.negotiate()
    await until(lambda: channel.readyState == "open", PATIENCE)
    yield call
    await asyncio.gather(*(x.close() for x in call.peers))


@contextlib.contextmanager
def silent_server() -> Iterator[RTCIceServer]:
    """
    Open a socket which takes questions and answers none.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        yield RTCIceServer(f"stun:127.0.0.1:{silent.getsockname()[1]}")


def round_trips(beside: dict[str, str]) -> list[Row]:
    """
    Count the round trips until there is a pair, on the simulated network.

    :param beside: Those of others with themselves, behind a relay.
    """
    network = two_hosts()
    network.delay(DELAY)
    counts: dict[str, float] = network.run(count_round_trips(network))
    limit = MINIMUM * ROUND_TRIPS
    return [
        Row(
            f"round trips until the offerer has the pair ({what})",
            ours=f"{count:.2f}",
            limit=f"{limit:.2f}",
            holds=count <= limit,
            libwebrtc=beside.get(what, "-"),
        )
        for what, count in counts.items()
    ]


async def count_round_trips(network: Network) -> dict[str, float]:
    call = Trickling(network, DELAY)
    channel = call.alice.createDataChannel("bench")
    counts = {FIRST: await count(call, call.alice)}
    await until(lambda: channel.readyState == "open")
    await asyncio.sleep(1)
    for what, offerer, cut in (
        (RESTART, call.alice, False),
        ("restart by the other side", call.bob, False),
        ("restart when the path is lost", call.alice, True),
        ("restart by the other side when it is lost", call.bob, True),
    ):
        if cut:
            network.cut("alice")
            await asyncio.sleep(60)
            network.heal()
        offerer.restartIce()
        counts[what] = await count(call, offerer)
        await asyncio.sleep(10)
    await call.close()
    return counts


async def count(call: Trickling, offerer: RTCPeerConnection) -> float:
    """
    Negotiate, and return after how many round trips the offerer has a pair.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    selecting = asyncio.create_task(selected(offerer))
    await call.negotiate(offerer)
    await selecting
    return (loop.time() - began) / (2 * DELAY)


async def selected(pc: RTCPeerConnection) -> None:
    await event(ice_transport(pc), "selectedcandidatepairchange")
