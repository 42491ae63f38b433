"""
Clocks which jump, and an event loop which is held up: what ends a call, and what does
not.
"""

import asyncio
import itertools
import time
import types
from unittest import mock

import aiortc.rtcsctptransport
import pytest
from aioice import stun

from aiortc_restart import RTCConfiguration, RTCIceTransportPolicy

from .agents import (
    active,
    chatter,
    connected_transports,
    exchange,
    restart,
    states_of,
)
from .calls import restart as restart_call
from .consents import LIFETIME
from .found import asking
from .network import Datagram, Network, VirtualLoop
from .probes import is_request
from .turn import turn_server
from .utils import connected_pair, states, until

DAY = 86400.0

ASLEEP = 600.0
"Seconds which a computer sleeps."

CHANNEL_REFRESH = 500.0
"After how many seconds aioice binds a TURN channel anew, when it sends."

TURN = "turn:10.0.8.1:3478"


def hold_up(seconds: float) -> None:
    """
    Let time go by in which the event loop runs nothing, and datagrams wait.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.advance(seconds)


# The event loop is held up, by the program or by the computer's sleep


@pytest.mark.parametrize("seconds", [5, 25, 35, ASLEEP])
@pytest.mark.parametrize("busy", [True, False])
@pytest.mark.parametrize("round_trip", [0, 0.2, 1.6])
async def test_held_up(
    network: Network, seconds: float, busy: bool, round_trip: float
) -> None:
    """
    However long the loop was held up, a path whose peer answers stays as it is, with no
    change of state, and carries data again after a round trip.
    """
    network.delay(round_trip / 2)
    async with connected_transports(network) as (alice, bob):
        await asyncio.sleep(20.3)
        histories = [states_of(alice), states_of(bob)]
        async with chatter(network, alice, bob if busy else alice):
            for _ in range(3):
                hold_up(seconds)
                await asyncio.sleep(7)
        assert histories == [["completed"]] * 2


@pytest.mark.parametrize("seconds", [25, 35, ASLEEP])
async def test_held_up_and_cut(network: Network, seconds: float) -> None:
    """
    If the path has gone meanwhile, it is lost when one more request has not been
    answered, or when its consent has expired, whichever is later.
    """
    async with connected_transports(network) as (alice, bob):
        await asyncio.sleep(20.3)
        renewed = active(alice).connection.consent_time
        assert renewed is not None
        network.cut()
        hold_up(seconds)
        woken = network.now
        await until(lambda: alice.state == bob.state == "failed", timeout=40)
        lost = network.now
        assert lost >= renewed + LIFETIME
        assert lost < max(renewed + LIFETIME, woken) + 7


async def test_held_up_again_and_again(network: Network) -> None:
    """
    A loop which is held up again and again does not keep a dead path.
    """
    async with connected_transports(network) as (alice, _):
        await asyncio.sleep(20.3)
        network.cut()
        for _ in range(25):
            hold_up(3)
            await asyncio.sleep(0.5)
        assert alice.state == "failed"


@pytest.mark.parametrize("under_way", [True, False])
async def test_no_data_without_consent(network: Network, under_way: bool) -> None:
    """
    Until the peer has answered, nothing but checks is sent on a path whose consent has
    expired by the clock. An answer that was on its way may be as old as its question.
    """
    # RFC 7675 section 5.1
    network.delay(0.2)
    async with connected_transports(network) as (alice, bob):
        await asyncio.sleep(20.3)
        connection = active(alice).connection
        await until(lambda: not connection.asking)
        if under_way:
            await until(lambda: connection.asking)
            # The answer has left, and has not come.
            await asyncio.sleep(0.3)
            assert connection.asking
        hold_up(ASLEEP)
        await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        sent = len(network.log)
        await alice._send(b"early")
        assert len(network.log) == sent
        await asyncio.sleep(1)
        await exchange(alice, bob)
        assert connection.round_trip < 1


async def test_call_held_up(network: Network) -> None:
    """
    A call that slept goes on, and so does a restart that comes after it.
    """
    async with connected_pair(network) as pair:
        await asyncio.sleep(10)
        histories = [states(x) for x in (pair.offerer, pair.answerer)]
        for seconds in (5, 25, 35, ASLEEP):
            pair.channel.send("before")
            hold_up(seconds)
            await pair.exchange()
        assert [x.connection for x in histories] == [["connected"]] * 2
        await restart_call(pair.offerer, pair.answerer)
        await pair.exchange()


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (5, {"completed", "disconnected"}),
        (25, {"disconnected", "failed"}),
        (35, {"failed"}),
    ],
)
async def test_peer_of_one_that_is_held_up(
    network: Network, seconds: float, expected: set[str]
) -> None:
    """
    A peer whose own loop runs hears nothing meanwhile: it is disconnected, which heals,
    or has failed, after 24 to 30 seconds, which a restart heals.
    """
    async with connected_pair(network) as pair:
        await asyncio.sleep(10)
        # Nothing comes from alice, nor does she hear.
        network.cut("alice")
        await asyncio.sleep(seconds)
        network.heal("alice")
        both = pair.offerer, pair.answerer
        assert pair.answerer.iceConnectionState in expected
        # A request may be on its way when one side gives up.
        await asyncio.sleep(2)
        if "failed" in {x.iceConnectionState for x in both}:
            await restart_call(*both)
        await pair.exchange()
        assert {x.iceConnectionState for x in both} == {"completed"}


async def test_relay_that_has_expired(network: Network) -> None:
    """
    A relay that is gone after a sleep is found out at once, and a restart gets another.
    """
    server = await turn_server(network, 0, 0)
    configuration = asking(
        TURN, iceTrickle=False, iceTransportPolicy=RTCIceTransportPolicy.RELAY
    )
    async with connected_pair(
        network,
        configuration=configuration,
        answerer_configuration=RTCConfiguration(iceServers=[]),
    ) as pair:
        await asyncio.sleep(10)
        network.cut("alice", "10.0.8.1")
        hold_up(ASLEEP)
        woken = network.now
        await until(lambda: pair.offerer.iceConnectionState == "failed")
        assert network.now - woken < 7
        network.heal()
        await restart_call(pair.offerer, pair.answerer)
        await pair.exchange()
    server.close()


async def test_restart_held_up(network: Network) -> None:
    """
    A restart which sleeps past its deadline fails, its call goes on over the old path,
    and the next one works.
    """
    async with connected_transports(network, restartTimeout=39.5) as (alice, bob):
        await asyncio.sleep(5)
        network.delay(0.5)
        before = alice.getSelectedCandidatePair()
        restarting = asyncio.ensure_future(restart(alice, bob))
        await asyncio.sleep(0.2)
        hold_up(ASLEEP)
        await asyncio.sleep(5)
        restarting.cancel()
        await asyncio.wait([restarting])
        assert alice.state == bob.state == "completed"
        assert alice.getSelectedCandidatePair() == before
        await restart(alice, bob)
        assert alice.getSelectedCandidatePair() != before


# The wall clock is set


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_relay(network: Network, jump: float) -> None:
    """
    A relay's channels are bound anew in time, and no more often, wherever the wall
    clock is set, and the call goes on.
    """
    server = await turn_server(network, 0)
    offset = 0.0
    loop = asyncio.get_running_loop()
    began = time.time()
    bound: list[int] = []

    def note(datagram: Datagram) -> None:
        if is_request(datagram, lambda x: x.message_method == stun.Method.CHANNEL_BIND):
            bound.append(round(network.now))

    network.tap(note)
    relaying = asking(
        TURN, iceTrickle=False, iceTransportPolicy=RTCIceTransportPolicy.RELAY
    )
    with mock.patch("time.time", lambda: began + loop.time() + offset):
        async with connected_pair(
            network,
            configuration=relaying,
            answerer_configuration=RTCConfiguration(iceServers=[]),
        ) as pair:
            histories = [states(x) for x in (pair.offerer, pair.answerer)]
            assert len(bound) == 1
            await asyncio.sleep(100)
            offset = jump
            for _ in range(150):
                await asyncio.sleep(10)
                await pair.exchange()
            # What is sent at the same time may ask at the same time.
            gaps = [y - x for x, y in itertools.pairwise(dict.fromkeys(bound))]
            assert len(gaps) == 3
            assert all(CHANNEL_REFRESH <= x < CHANNEL_REFRESH + 15 for x in gaps)
            assert [x.connection for x in histories] == [["connected"]] * 2
    server.close()


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_messages(network: Network, jump: float) -> None:
    """
    What is lost after the wall clock was set while messages were in flight is sent
    again as soon as ever.
    """
    loop = asyncio.get_running_loop()
    offset = 0.0
    clock = types.SimpleNamespace(time=lambda: 1e9 + loop.time() + offset)
    network.delay(0.05)
    with mock.patch.object(aiortc.rtcsctptransport, "time", clock):
        async with connected_pair(network) as pair:
            await pair.exchange()
            received: list[object] = []
            pair.remote_channel.on("message", received.append)
            pair.channel.send("in flight")
            offset = jump
            await asyncio.sleep(0.5)
            network.cut()
            pair.channel.send("lost")
            await asyncio.sleep(0.3)
            network.heal()
            began = network.now
            await until(lambda: received == ["in flight", "lost"])
            assert network.now - began < 5


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_messages_with_a_lifetime(network: Network, jump: float) -> None:
    """
    A message with a lifetime may be given up by the wall clock, but those after it
    arrive.
    """
    loop = asyncio.get_running_loop()
    offset = 0.0
    clock = types.SimpleNamespace(time=lambda: 1e9 + loop.time() + offset)
    with mock.patch.object(aiortc.rtcsctptransport, "time", clock):
        async with connected_pair(network, maxPacketLifeTime=10_000) as pair:
            received: list[object] = []
            pair.remote_channel.on("message", received.append)
            network.cut()
            pair.channel.send("lost")
            await asyncio.sleep(0.5)
            offset = jump
            await asyncio.sleep(0.5)
            network.heal()
            await asyncio.sleep(5)
            assert received == (["lost"] if jump < 0 else [])
            await pair.exchange()


@pytest.mark.parametrize("jump", [DAY, -DAY])
async def test_wall_clock(network: Network, jump: float) -> None:
    """
    A direct call, its consent and its restarts do not look at the wall clock.
    """
    loop = asyncio.get_running_loop()
    offset = 0.0
    began = time.time()
    with mock.patch("time.time", lambda: began + loop.time() + offset):
        async with connected_pair(network) as pair:
            histories = [states(x) for x in (pair.offerer, pair.answerer)]
            offset = jump
            await asyncio.sleep(60)
            await pair.exchange()
            assert [x.ice for x in histories] == [["completed"]] * 2
            await restart_call(pair.offerer, pair.answerer)
            await pair.exchange()
