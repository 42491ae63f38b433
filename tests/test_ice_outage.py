"""
After an outage: what was lost with the path is sent at once (DESIGN.md, D15).
"""

import asyncio
import functools
import itertools
from typing import Any

import aiortc
import pytest

from aiortc_restart import RTCConfiguration, RTCPeerConnection
from aiortc_restart._aiortc import RTCSctpTransport

from .calls import answered, ice_transport, offered, peers, switched
from .calls import restart as restart_call
from .network import Network
from .utils import Pair, connected_pair, negotiate, until

PATIENT = RTCConfiguration(iceServers=[], iceFailedTimeout=None)


def slow_timer(pair: Pair) -> None:
    """
    Let SCTP's timer be as slow as one which has been backed off.
    """
    for pc in (pair.offerer, pair.answerer):
        assert pc.sctp is not None
        pc.sctp._rto = 20.0


def arrivals(network: Network, channel: aiortc.RTCDataChannel) -> list[float]:
    times: list[float] = []
    channel.on("message", lambda _: times.append(network.now))
    return times


# Before 24 s consent does not expire, after 36 s it has.
@pytest.mark.parametrize("outage", [15.3, 60.3])
@pytest.mark.parametrize("by_offerer", [True, False])
async def test_data_comes_at_once(
    network: Network, outage: float, by_offerer: bool
) -> None:
    """
    Reliable data of before a restart does not wait for SCTP's timer.
    """
    async with connected_pair(network, configuration=PATIENT) as pair:
        network.delay(0.01)
        received = [
            arrivals(network, pair.channel),
            arrivals(network, pair.remote_channel),
        ]
        network.cut()
        slow_timer(pair)
        for channel in (pair.channel, pair.remote_channel):
            for number in range(3):
                channel.send(str(number))
        await asyncio.sleep(outage)
        network.heal()
        peers = [pair.offerer, pair.answerer]
        await restart_call(*(peers if by_offerer else peers[::-1]))
        await asyncio.sleep(0.2)
        assert [len(x) for x in received] == [3, 3]


async def test_backlog_is_drained(network: Network) -> None:
    """
    An outage is not taken for congestion: what has piled up is not sent packet by
    packet.
    """
    # RFC 9260 section 7.2.1
    async with connected_pair(network, configuration=PATIENT) as pair:
        network.delay(0.1)
        received = arrivals(network, pair.remote_channel)
        network.cut()
        for _ in range(300):
            pair.channel.send(b"x" * 1000)
        await asyncio.sleep(60.3)
        network.heal()
        await restart_call(pair.offerer, pair.answerer)
        began = network.now
        await until(lambda: len(received) == 300)
        # A window which grows by a packet a round trip would take 5 s.
        assert network.now - began < 3


@pytest.mark.parametrize("seconds", [3.0, 8.0, 20.0])
@pytest.mark.parametrize("busy", [True, False])
async def test_blip(network: Network, seconds: float, busy: bool) -> None:
    """
    A path which heals by itself carries what has waited within a second, whatever
    SCTP's timer says, and nothing is lost.
    """
    async with connected_pair(network) as pair:
        network.delay(0.02)
        await asyncio.sleep(11)
        received = [
            arrivals(network, pair.channel),
            arrivals(network, pair.remote_channel),
        ]
        sent = 0

        async def send(count: int) -> None:
            nonlocal sent
            for _ in range(count):
                for channel in (pair.channel, pair.remote_channel):
                    channel.send(str(sent))
                sent += 1
                await asyncio.sleep(0.01)

        if busy:
            await send(100)
        network.cut()
        if busy or seconds > 6:
            # A short one is not noticed where nobody expects anything.
            slow_timer(pair)
        await send(10)
        await asyncio.sleep(seconds - 0.1)
        network.heal()
        healed = network.now
        await until(lambda: all(len(x) == sent for x in received))
        assert network.now - healed < 1
        await pair.exchange()


BACKLOG = 3200
"How many messages pile up in 8 s with 400 a second."


@pytest.mark.parametrize("size", [20, 100, 1000])
@pytest.mark.parametrize("restarted", [True, False])
async def test_backlog_of_small_messages(
    network: Network, size: int, restarted: bool
) -> None:
    """
    What eight seconds have held back is there within one, in full packets, while more
    is being sent.
    """
    # RFC 9260 section 6.10
    async with connected_pair(network) as pair:
        network.delay(0.005)
        await asyncio.sleep(11)
        received: list[object] = []
        pair.remote_channel.on("message", received.append)
        times = arrivals(network, pair.remote_channel)
        sent = 0

        async def send(seconds: float) -> None:
            nonlocal sent
            for _ in range(round(seconds * 400)):
                pair.channel.send(sent.to_bytes(size))
                sent += 1
                await asyncio.sleep(1 / 400)

        await send(2)
        network.cut()
        await send(8)
        arrived = len(received)
        assert sent - arrived >= BACKLOG
        network.heal()
        backlog = sent
        sending = asyncio.create_task(send(2))
        if restarted:
            await restart_call(pair.offerer, pair.answerer)
        began = network.now
        packets = len(network.log)
        await until(lambda: len(received) >= backlog, timeout=3)
        if restarted:
            assert times[arrived] - began < 0.1
        assert network.now - began < (1 if restarted else 1.5)
        packets = len(network.log) - packets
        # Each is acknowledged.
        assert packets < 2.2 * (BACKLOG * (size + 16) / 1100 + 2 * 400)
        await sending
        await until(lambda: len(received) == sent)
        assert received == [x.to_bytes(size) for x in range(sent)]


async def test_backlog_is_taken_in_parts(network: Network) -> None:
    """
    An application which waits for its buffer to empty is not told so too early.
    """
    async with connected_pair(network, configuration=PATIENT) as pair:
        network.delay(0.05)
        network.cut()
        for _ in range(3000):
            pair.channel.send(b"x" * 100)
        await asyncio.sleep(45)
        amounts: list[int] = []
        network.heal()
        await restart_call(pair.offerer, pair.answerer)
        while pair.channel.bufferedAmount:
            amounts.append(pair.channel.bufferedAmount)
            await asyncio.sleep(0.01)
        assert len(amounts) > 10
        drops = [a - b for a, b in itertools.pairwise(amounts)]
        assert max(drops) < 150_000


@pytest.mark.parametrize("loss", [0.0, 0.05])
async def test_live_path_is_the_base_s(network: Network, loss: float) -> None:
    """
    Without an outage, SCTP is what the base's is, message by message.
    """
    async with connected_pair(network) as pair:
        network.delay(0.02)
        network.loss(loss)
        recovered: list[float] = []
        for pc in (pair.offerer, pair.answerer):
            ice_transport(pc).on("recovered", lambda: recovered.append(network.now))
        received: list[object] = []
        pair.remote_channel.on("message", received.append)
        for number in range(2000):
            pair.channel.send(str(number))
            await asyncio.sleep(0.005)
        await until(lambda: len(received) == 2000, timeout=120)
        assert recovered == []
        for pc in (pair.offerer, pair.answerer):
            assert isinstance(pc.sctp, RTCSctpTransport)
            assert not pc.sctp._catching_up


async def test_unreliable_messages(network: Network) -> None:
    """
    What may not be sent again is given up, and what comes later arrives.
    """
    async with connected_pair(
        network, configuration=PATIENT, ordered=False, maxRetransmits=0
    ) as pair:
        received: list[object] = []
        pair.remote_channel.on("message", received.append)
        network.cut()
        for number in range(500):
            pair.channel.send(f"lost {number}")
            await asyncio.sleep(0.02)
        await asyncio.sleep(35)
        network.heal()
        await restart_call(pair.offerer, pair.answerer)
        for number in range(100):
            pair.channel.send(str(number))
            await asyncio.sleep(0.01)
        await asyncio.sleep(1)
        assert [x for x in received if "lost" not in str(x)] == [
            str(x) for x in range(100)
        ]
        assert pair.channel.bufferedAmount == 0


# SCTP's own timers would need up to 18 s after the first, and after the second they
# have given the association up.
@pytest.mark.parametrize("outage", [45, 400])
async def test_channel_opened_and_closed_meanwhile(
    network: Network, outage: float
) -> None:
    """
    Channels which are opened and closed in an outage are so at once after it.
    """
    async with connected_pair(network, configuration=PATIENT) as pair:
        second = pair.offerer.createDataChannel("second")
        await until(lambda: second.readyState == "open")
        opened: list[aiortc.RTCDataChannel] = []
        pair.answerer.on("datachannel", opened.append)
        network.delay(0.01)
        network.cut()
        await asyncio.sleep(5)
        third = pair.offerer.createDataChannel("third")
        second.close()
        await asyncio.sleep(outage - 5)
        network.heal()
        await restart_call(pair.answerer, pair.offerer)
        await asyncio.sleep(0.2)
        assert (second.readyState, third.readyState) == ("closed", "open")
        assert len(opened) == 1
        messages: list[object] = []
        opened[0].on("message", messages.append)
        third.send("last")
        await until(lambda: messages == ["last"])
        await pair.exchange()


async def test_outage_before_the_association(network: Network) -> None:
    """
    A channel that waits for its association is none of what the path has lost.
    """
    async with peers(network) as (offerer, answerer):
        channel = offerer.createDataChannel("test")
        assert isinstance(offerer.sctp, RTCSctpTransport)
        await offerer.sctp.recover()
        await negotiate(offerer, answerer)
        await until(lambda: channel.readyState == "open")


async def test_nothing_is_sent_twice_without_an_outage(network: Network) -> None:
    """
    A restart of a healthy path resends nothing.
    """
    async with connected_pair(network) as pair:
        received: list[object] = []
        pair.remote_channel.on("message", received.append)
        for number in range(10):
            pair.channel.send(f"before {number}")
            await restart_call(pair.offerer, pair.answerer)
        await pair.exchange()
        datagrams = [x.data for x in network.log if x.message is None]
        assert len(datagrams) == len(set(datagrams))
        assert received[:10] == [f"before {number}" for number in range(10)]


@pytest.mark.parametrize("outage", [0, 15.3, 60.3])
async def test_keyframe(
    network: Network, monkeypatch: pytest.MonkeyPatch, outage: float
) -> None:
    """
    Video senders start with a keyframe after an outage, and only then.
    """
    asked: list[aiortc.RTCRtpSender] = []
    monkeypatch.setattr(
        aiortc.RTCRtpSender, "_send_keyframe", lambda self: asked.append(self)
    )

    def add_media(offerer: RTCPeerConnection, _: Any) -> None:
        offerer.addTransceiver("audio", direction="sendonly")
        offerer.addTransceiver("video", direction="sendonly")

    async with connected_pair(
        network, configuration=PATIENT, prepare=add_media
    ) as pair:
        if outage:
            network.cut()
            await asyncio.sleep(outage)
            network.heal()
        await restart_call(pair.offerer, pair.answerer)
        await asyncio.sleep(1)
        senders = [
            x
            for pc in (pair.offerer, pair.answerer)
            for x in pc.getSenders()
            if x.kind == "video"
        ]
        assert len(senders) == 2
        assert sorted(map(id, asked)) == (sorted(map(id, senders)) if outage else [])


async def test_same_association_after_an_outage(network: Network) -> None:
    """
    An outage and a restart leave DTLS, SCTP and the data channels as they were.
    """
    async with connected_pair(network, configuration=PATIENT) as pair:
        before = [
            (pc.sctp, pc.sctp.transport, ice_transport(pc), pc.sctp.state)
            for pc in (pair.offerer, pair.answerer)
            if pc.sctp is not None
        ]
        handshakes = sum(x.data[:1] == b"\x16" for x in network.log)
        network.cut()
        await asyncio.sleep(120)
        network.heal()
        await restart_call(pair.answerer, pair.offerer)
        await pair.exchange()
        after = [
            (pc.sctp, pc.sctp.transport, ice_transport(pc), pc.sctp.state)
            for pc in (pair.offerer, pair.answerer)
            if pc.sctp is not None
        ]
        assert after == before
        assert handshakes > 0
        assert sum(x.data[:1] == b"\x16" for x in network.log) == handshakes


@pytest.mark.parametrize("seconds", [0.0, 0.3, 1.2])
@pytest.mark.parametrize("by_offerer", [True, False])
async def test_restart_right_after_the_cut(
    network: Network, seconds: float, by_offerer: bool
) -> None:
    """
    What was lost just before a restart comes over the new pair at once, though nobody
    can know yet that the old one is dead.
    """
    async with connected_pair(network) as pair:
        network.delay(0.005)
        await asyncio.sleep(11)
        received = [
            arrivals(network, pair.channel),
            arrivals(network, pair.remote_channel),
        ]
        sent = 0

        async def send() -> None:
            nonlocal sent
            while True:
                for channel in (pair.channel, pair.remote_channel):
                    channel.send(str(sent))
                sent += 1
                await asyncio.sleep(0.02)

        sending = asyncio.create_task(send())
        await asyncio.sleep(1)
        slow_timer(pair)
        network.readdress("alice", "10.0.1.1", "10.0.3.1")
        network.cut("10.0.1.1", "bob")
        cut = network.now
        await asyncio.sleep(seconds)
        peers = [pair.offerer, pair.answerer]
        await restart_call(*(peers if by_offerer else peers[::-1]))
        switch = network.now
        await asyncio.sleep(1)
        sending.cancel()
        for times in received:
            first = min(x for x in times if x > cut + 0.01)
            assert first - switch < 0.1
        await asyncio.sleep(0.1)
        assert [len(x) for x in received] == [sent] * 2


async def test_restart_of_a_slow_living_path(network: Network) -> None:
    """
    A path which is alive and slow is not taken for a dead one when it is left.
    """
    async with connected_pair(network) as pair:
        events: list[str] = []
        for pc in (pair.offerer, pair.answerer):
            for name in ("recovered", "suspected"):
                ice_transport(pc).on(name, functools.partial(events.append, name))
        for delay in (0.02, 0.1, 0.4):
            network.delay(delay)
            await asyncio.sleep(11)
            events.clear()
            await restart_call(pair.offerer, pair.answerer)
            await asyncio.sleep(3)
            assert events == []
        network.delay(0)


async def test_restart_after_a_lost_question(network: Network) -> None:
    """
    A path which is alive is not taken for a dead one when it is left, though the last
    consent request of before the restart was lost.
    """
    async with connected_pair(network) as pair:
        await asyncio.sleep(3)
        transport = ice_transport(pair.offerer)
        events: list[str] = []
        for name in ("recovered", "suspected"):
            transport.on(name, functools.partial(events.append, name))
        answer = await answered(
            pair.answerer, await offered(pair.offerer, iceRestart=True)
        )
        network.cut("alice")
        active = transport._active
        assert active is not None
        active.ask()
        await asyncio.sleep(0)
        network.heal()
        assert active.connection.asking
        await pair.offerer.setRemoteDescription(answer)
        await switched(pair.offerer, pair.answerer)
        await asyncio.sleep(3)
        assert events == []
