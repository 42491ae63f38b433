"""
A layer above that raises does not end the call: neither for what is forged, nor for
what the peer itself sends.
"""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import Any

import pylibsrtp
import pytest

from aiortc_restart import RTCPeerConnection

from ..agents import active, socket_address
from ..calls import ice_transport, restart
from ..media import Packets, Silence
from ..network import Network, two_hosts
from ..utils import Pair, connected_pair, until
from . import garbage, junk
from .path import Observer
from .phases import Call, packets_received, unmoved, walk

FORGERIES = {
    **{f"alert: {name}": data for name, data in junk.ALERTS.items()},
    **{f"record: {name}": data for name, data in junk.RECORDS.items()},
    **{f"message: {name}": data for name, data in junk.MESSAGES.items()},
    **{f"number: {name}": data for name, data in junk.RENUMBERED.items()},
}


@pytest.fixture
def network(request: pytest.FixtureRequest) -> Network:
    """
    A network on which the numbers that SCTP begins with are the same in each run.
    """
    network = two_hosts()
    network.seed = getattr(request, "param", 0)
    return network


def add_tracks(*pcs: RTCPeerConnection) -> None:
    for pc in pcs:
        pc.addTrack(Packets())
        pc.addTrack(Silence("video"))


def dtls(pc: RTCPeerConnection) -> Any:
    """
    Return the DTLS transport of a peer, whose private names its own side may use.
    """
    assert pc.sctp is not None
    return pc.sctp.transport


@asynccontextmanager
async def going_on(network: Network) -> AsyncIterator[Pair]:
    """
    Connect a call with sound, and assert that it goes on, and restarts, after what
    happens within.
    """
    async with connected_pair(network, prepare=add_tracks) as pair:
        both = pair.offerer, pair.answerer
        async with unmoved(*both):
            yield pair
            await asyncio.sleep(0.1)
            await pair.exchange()
            assert [dtls(x).state for x in both] == ["connected"] * 2
        before = packets_received(*both)
        await restart(*both)
        await pair.exchange()

        await asyncio.sleep(0.5)
        after = packets_received(*both)
        assert all(b > a for a, b in zip(before, after, strict=True))
        for pc in both:
            for sender in pc.getSenders():
                if sender.track is not None:
                    sender.track.stop()


@contextmanager
def time_limit(seconds: float) -> Iterator[Callable[[], bool]]:
    """
    Interrupt what holds the event loop, and yield a function which tells whether that
    was necessary.
    """
    interrupted = False

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        raise TimeoutError("The event loop was held")

    handler = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)
    try:
        yield lambda: interrupted
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


# Forged records


@pytest.mark.parametrize("name", FORGERIES)
async def test_forged_record(network: Network, name: str) -> None:
    """
    An alert, a record or a handshake message that is not authentic ends no handshake
    and no association, in whichever phase it comes in the peer's name.
    """
    # RFC 6347 section 4.1.2.7
    observer = Observer(network)

    async def attack(call: Call) -> None:
        for _ in range(2):
            for target, peer in call.targets:
                observer.inject(FORGERIES[name], peer, target)
            # In the middle of a flight, too.
            await asyncio.sleep(0.03)

    await walk(network, attack)


@pytest.mark.parametrize("name", ["handshake_failure", "close_notify"])
async def test_forged_alert_before_each_record(network: Network, name: str) -> None:
    """
    Nor does it if it comes before each datagram of a handshake.
    """
    observer = Observer(network)

    def forge(datagram: Any) -> None:
        if junk_follows(datagram.data):
            observer.inject(junk.ALERTS[name], datagram.source, datagram.destination)

    def junk_follows(data: bytes) -> bool:
        return data[:1] == bytes([junk.HANDSHAKE])

    network.tap(forge)
    async with connected_pair(network) as pair:
        await pair.exchange()


@pytest.mark.parametrize("name", FORGERIES)
async def test_forged_record_to_a_connected_peer(network: Network, name: str) -> None:
    """
    A connected peer takes no notice of a forged record.
    """
    observer = Observer(network)
    async with connected_pair(network) as pair:
        both = pair.offerer, pair.answerer
        ports = [socket_address(active(ice_transport(x))) for x in both]
        async with unmoved(*both):
            for _ in range(20):
                observer.inject(FORGERIES[name], ports[1], ports[0])
                observer.inject(FORGERIES[name], ports[0], ports[1])
            await asyncio.sleep(0.1)
            await pair.exchange()


async def test_authentic_alert(network: Network) -> None:
    """
    What the peer itself says with close() ends DTLS.
    """
    async with connected_pair(network) as pair:
        await pair.offerer.close()
        await until(lambda: dtls(pair.answerer).state == "closed", timeout=1)


# SCTP


@pytest.mark.parametrize("network", range(2), indirect=True)
@pytest.mark.parametrize("name", garbage.CHUNKS)
async def test_malformed_chunk(network: Network, name: str) -> None:
    """
    A packet of SCTP that is malformed or means nothing costs itself only.
    """
    async with going_on(network) as pair:
        for sender in (pair.offerer, pair.answerer):
            for chunk in garbage.CHUNKS[name]:
                await dtls(sender)._send_data(garbage.packet(sender.sctp, chunk))
                await dtls(sender)._send_data(garbage.packet(sender.sctp, chunk, tag=0))
            whole = garbage.packet(sender.sctp, *garbage.CHUNKS[name])
            await dtls(sender)._send_data(whole)
            # A wrong checksum, and less than a header.
            await dtls(sender)._send_data(whole[:8] + bytes(4) + whole[12:])
            for length in (0, 1, 11, 12, 15):
                if whole[:length]:
                    await dtls(sender)._send_data(whole[:length])


@pytest.mark.parametrize("name", garbage.ENDLESS)
async def test_endless_parameters(network: Network, name: str) -> None:
    """
    A parameter without length does not hold the event loop.
    """
    async with connected_pair(network) as pair:
        for sender in (pair.offerer, pair.answerer):
            for tag in (None, 0):
                with time_limit(2) as held:
                    data = garbage.packet(sender.sctp, garbage.ENDLESS[name], tag=tag)
                    await dtls(sender)._send_data(data)
                    await asyncio.sleep(0.1)
                assert not held()
        await pair.exchange()


@pytest.mark.parametrize("name", garbage.MESSAGES)
async def test_malformed_message(network: Network, name: str) -> None:
    """
    A message that no channel has costs itself only, on a stream of a channel or not.
    """
    async with going_on(network) as pair:
        protocol, data = garbage.MESSAGES[name]
        association: Any = pair.offerer.sctp
        for stream in (pair.channel.id, 500):
            await association._send(stream, protocol, data or b"\x00")
            await association._send(stream, protocol, data + bytes(3000))


async def test_channel_that_is_open_already(network: Network) -> None:
    """
    To open a channel once more is no reason to end the others.
    """
    async with going_on(network) as pair:
        association: Any = pair.offerer.sctp
        _, data = garbage.MESSAGES["an OPEN with another encoding"]
        await association._send(pair.channel.id, garbage.DCEP, data[:8] + bytes(4))


# SRTP


async def test_malformed_rtp(network: Network) -> None:
    """
    RTP that is malformed, or that no codec takes, is dropped packet by packet.
    """
    async with going_on(network) as pair:
        for pc in (pair.offerer, pair.answerer):
            types = [
                codec.payloadType
                for transceiver in pc.getTransceivers()
                for codec in transceiver._codecs
                if codec.payloadType is not None
            ]
            assert types
            # Its own would cost the sender its place in the sequence.
            for ssrc in (1234, 5678):
                for data in garbage.rtp_packets([*types, 77], ssrc):
                    await send_rtp(pc, data)
                await asyncio.sleep(0.05)


async def test_malformed_rtcp(network: Network) -> None:
    """
    RTCP that is malformed is dropped packet by packet.
    """
    async with going_on(network) as pair:
        for pc in (pair.offerer, pair.answerer):
            for data in garbage.rtcp_packets():
                await send_rtp(pc, data)


async def send_rtp(pc: RTCPeerConnection, data: bytes) -> None:
    try:
        await dtls(pc)._send_rtp(data)
    except pylibsrtp.Error:
        # The library does not sign it, nor would that of the other side take it.
        pass


# The log


@pytest.mark.parametrize("layer", ["SCTP", "RTP", "SRTP"])
async def test_layer_that_raises(
    network: Network, caplog: pytest.LogCaptureFixture, layer: str
) -> None:
    """
    Whatever a layer above raises is logged once, and costs the datagram.
    """
    async with connected_pair(network, prepare=add_tracks) as pair:
        transport = dtls(pair.answerer)
        before = transport.transport.drops.counts["layer above"]
        failures = 0
        owner, name = {
            "SCTP": (transport._data_receiver, "_handle_data"),
            "RTP": (transport, "_handle_rtp_data"),
            "SRTP": (transport._rx_srtp, None),
        }[layer]

        async def fail(*args: object, **kwargs: object) -> None:
            nonlocal failures
            failures += 1
            raise RuntimeError("a fault of the layer above")

        class Failing:
            def unprotect(self, data: bytes) -> bytes:
                nonlocal failures
                failures += 1
                raise IndexError("a fault of the layer above")

            unprotect_rtcp = unprotect

        with caplog.at_level(logging.INFO):
            with pytest.MonkeyPatch.context() as patch:
                if name is None:
                    patch.setattr(transport, "_rx_srtp", Failing())
                else:
                    patch.setattr(owner, name, fail)
                for number in range(50):
                    pair.channel.send(str(number))
                    await asyncio.sleep(0.02)
            await asyncio.sleep(1)
            assert failures > 20
            dropped = transport.transport.drops.counts["layer above"] - before
            assert dropped == failures
            lines = [x for x in caplog.records if "fault" in x.getMessage()]
            assert len(lines) == 1
        assert transport.state == "connected"
        await pair.exchange()
        for pc in (pair.offerer, pair.answerer):
            for sender in pc.getSenders():
                if sender.track is not None:
                    sender.track.stop()
