"""
A DTLS handshake which an outage has interrupted goes on at once after it.
"""

import asyncio
from collections.abc import Callable

import aiortc
import pytest

from aiortc_restart import RTCConfiguration, RTCPeerConnection

from .calls import peers
from .calls import restart as restart_call
from .network import Datagram, Network
from .utils import Pair, connected_pair, negotiate, until

DTLS = range(20, 64)
"How datagrams of DTLS begin (RFC 9443)."

HANDSHAKE = 22
"How those of a handshake do which are not encrypted."

PATIENT = RTCConfiguration(iceServers=[], iceFailedTimeout=None)


def with_dtls(packets: int) -> Callable[[Datagram], bool]:
    """
    Return a filter which drops what comes after so many datagrams of DTLS.
    """
    left = iter(range(packets))

    def is_passed(datagram: Datagram) -> bool:
        return datagram.data[0] not in DTLS or next(left, None) is not None

    return is_passed


async def interrupted(
    network: Network,
    offerer: RTCPeerConnection,
    answerer: RTCPeerConnection,
    packets: int,
) -> tuple[aiortc.RTCDataChannel, list[aiortc.RTCDataChannel]]:
    """
    Begin a call whose path dies in the handshake, and return the ends of its channel.
    """
    channel = offerer.createDataChannel("test")
    opened: list[aiortc.RTCDataChannel] = []
    answerer.on("datachannel", opened.append)
    network.delay(0.005)
    network.filter = with_dtls(packets)
    await negotiate(offerer, answerer)
    await until(
        lambda: offerer.iceConnectionState == answerer.iceConnectionState == "completed"
    )
    await asyncio.sleep(0.1)
    network.cut()
    network.filter = None
    return channel, opened


@pytest.mark.parametrize("packets", range(4))
@pytest.mark.parametrize("by_offerer", [True, False])
@pytest.mark.parametrize("outage", [0.5, 1.2])
async def test_restart(
    network: Network, packets: int, by_offerer: bool, outage: float
) -> None:
    """
    Whichever flight was lost, it is sent again after a restart.
    """
    # OpenSSL's timer expires after 1 s and 3 s, real ones.
    async with peers(network, configuration=PATIENT) as (offerer, answerer):
        channel, opened = await interrupted(network, offerer, answerer, packets)
        await asyncio.sleep(outage)
        assert channel.readyState == "connecting"
        network.heal()
        pcs = (offerer, answerer) if by_offerer else (answerer, offerer)
        await restart_call(*pcs)
        await until(lambda: channel.readyState == "open" and opened, timeout=0.2)
        await Pair(offerer, answerer, channel, opened[0]).exchange()


async def test_blip(network: Network) -> None:
    """
    The handshake goes on when the path is found to have healed by itself.
    """
    # OpenSSL's timer expires after 1 s, 3 s and 7 s.
    async with peers(network) as (offerer, answerer):
        channel, opened = await interrupted(network, offerer, answerer, 2)
        await asyncio.sleep(4)
        network.heal()
        await until(lambda: channel.readyState == "open" and opened, timeout=1)
        await Pair(offerer, answerer, channel, opened[0]).exchange()


async def test_nothing_is_sent_twice_after_the_handshake(network: Network) -> None:
    """
    A handshake which has been answered is over.
    """
    async with connected_pair(network, configuration=PATIENT) as pair:
        await pair.exchange()
        network.cut()
        await asyncio.sleep(60)
        network.log.clear()
        network.heal()
        await restart_call(pair.offerer, pair.answerer)
        await pair.exchange()
        assert [x for x in network.log if x.data[0] == HANDSHAKE] == []
