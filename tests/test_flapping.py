"""
A path which comes and goes, and an application which restarts whenever it is told that
the path is gone.
"""

import asyncio
import gc
import random
from dataclasses import dataclass

from aiortc_restart import RTCConfiguration, RTCPeerConnection

from .network import Network
from .utils import Pair, connected_pair, negotiate, until

UP = 60.0
LONGEST = 90.0
"Seconds for which the path works, and at most does not."

SETTLED = 45.0
"Seconds after which a restart has ended, and what is retired is gone."


@dataclass
class Tally:
    """
    What has become of a call on a flapping path.
    """

    sent: int = 0
    lost: int = 0
    disordered: int = 0
    outages: int = 0
    restarts: int = 0
    closed: int = 0
    sockets: tuple[int, int] = (0, 0)
    tasks: tuple[int, int] = (0, 0)
    objects: tuple[int, int] = (0, 0)
    "After some outages, and at the end."


async def flap(network: Network, seconds: float, seed: int = 0) -> Tally:
    """
    Keep a call going over a path which works for a minute, and then does not for up to
    one and a half.

    :param seconds: For how long, in virtual seconds.
    :param seed: Other seeds have other outages.
    """
    chance, tally = random.Random(seed), Tally()
    configuration = RTCConfiguration(iceServers=[], iceFailedTimeout=None)
    async with connected_pair(network, configuration=configuration) as pair:
        network.delay(0.02)
        received: list[list[str]] = [[], []]
        pair.remote_channel.on("message", received[0].append)
        pair.channel.on("message", received[1].append)
        restart_when_told(pair, tally)
        talking = asyncio.create_task(talk(pair, tally))
        end = network.now + seconds
        while network.now < end:
            await asyncio.sleep(UP)
            network.cut()
            await asyncio.sleep(chance.uniform(0, LONGEST))
            network.heal()
            tally.outages += 1
            if tally.outages == 5:
                before = await holdings(network)
        after = await holdings(network)
        tally.sockets, tally.tasks, tally.objects = zip(before, after, strict=True)
        talking.cancel()
        await until(lambda: all(len(x) == tally.sent for x in received))
        for messages in received:
            tally.lost += tally.sent - len(set(messages))
            tally.disordered += messages != sorted(messages)
        for pc in (pair.offerer, pair.answerer):
            tally.closed += pc.connectionState != "connected"
    return tally


async def holdings(network: Network) -> tuple[int, int, int]:
    """
    Wait until all is quiet, and count sockets, tasks and objects.
    """
    await asyncio.sleep(SETTLED)
    network.log.clear()
    gc.collect()
    sockets = network.sockets("alice") + network.sockets("bob")
    return sockets, len(asyncio.all_tasks()), len(gc.get_objects())


def restart_when_told(pair: Pair, tally: Tally) -> None:
    """
    Restart as soon as the path is lost, and again when that has failed.
    """
    pc: RTCPeerConnection = pair.offerer

    @pc.on("iceconnectionstatechange")
    def on_change() -> None:
        if pc.iceConnectionState in ("disconnected", "failed"):
            tally.restarts += 1
            pc.restartIce()

    @pc.on("negotiationneeded")
    async def on_needed() -> None:
        await negotiate(pair.offerer, pair.answerer)


async def talk(pair: Pair, tally: Tally) -> None:
    while True:
        for channel in (pair.channel, pair.remote_channel):
            # In an order which is also that of strings.
            channel.send(f"{tally.sent:09}")
        tally.sent += 1
        await asyncio.sleep(0.5)


async def test_hour(network: Network) -> None:
    """
    In an hour nothing reliable is lost, and nothing is left behind.
    """
    network.limit = 2 * 3600
    tally = await flap(network, 3000)
    assert tally.outages > 20
    assert tally.restarts > 20
    assert (tally.lost, tally.disordered, tally.closed) == (0, 0, 0)
    assert tally.sockets == (2, 2)
    assert tally.tasks[0] == tally.tasks[1]
