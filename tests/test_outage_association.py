"""
An SCTP association outlives an outage: what it has asked for is asked for again.
"""

import asyncio
from collections.abc import Callable

import aiortc
import pytest

from aiortc_restart import RTCConfiguration

from .calls import peers
from .calls import restart as restart_call
from .network import Datagram, Network
from .utils import Pair, connected_pair, negotiate, until

APPLICATION_DATA = 23
"The content type of DTLS records which carry SCTP."

NOTICED = 1.0
"""
Seconds after which a path that has healed by itself has been noticed, and what has
waited has come: a probe is sent each half a second.
"""

PATIENT = RTCConfiguration(iceServers=[], iceFailedTimeout=None)


def sctp_states(*pcs: aiortc.RTCPeerConnection) -> list[str]:
    return [pc.sctp.state for pc in pcs if pc.sctp is not None]


def with_sctp(packets: int) -> Callable[[Datagram], bool]:
    """
    Return a filter which drops what comes after so many packets of SCTP.
    """
    left = iter(range(packets))

    def is_passed(datagram: Datagram) -> bool:
        return datagram.data[0] != APPLICATION_DATA or next(left, None) is not None

    return is_passed


# Each side sends an INIT, an INIT ACK, a COOKIE ECHO and a COOKIE ACK, in turn.
@pytest.mark.parametrize("packets", range(8))
@pytest.mark.parametrize(
    "outage, restarted",
    [(5, False), (20, False), (5, True), (25, True), (45, True), (400, True)],
)
async def test_set_up(
    network: Network, packets: int, outage: float, restarted: bool
) -> None:
    """
    An association which the outage has found half set up is there at once after it,
    whichever packet was lost, and however long ago.
    """
    async with peers(network, configuration=PATIENT) as (offerer, answerer):
        channels = [offerer.createDataChannel("test")]
        opened: list[aiortc.RTCDataChannel] = []
        for pc in (answerer, offerer):
            pc.on("datachannel", opened.append)
        network.delay(0.005)
        network.filter = with_sctp(packets)
        await negotiate(offerer, answerer)
        channels.append(answerer.createDataChannel("other"))
        await until(lambda: sctp_states(offerer, answerer).count("new") == 0)
        await asyncio.sleep(0.1)
        network.cut()
        network.filter = None
        await asyncio.sleep(outage)
        assert [x.readyState for x in channels] != ["open", "open"]
        assert "closed" not in sctp_states(offerer, answerer)
        network.heal()
        if restarted:
            await restart_call(offerer, answerer)
        await asyncio.sleep(0.2 if restarted else NOTICED)
        assert [x.readyState for x in channels] == ["open", "open"]
        assert sorted(x.label for x in opened) == ["other", "test"]
        for channel in channels:
            remote = next(x for x in opened if x.label == channel.label)
            await Pair(offerer, answerer, channel, remote).exchange()


@pytest.mark.parametrize("outage", [25, 400])
@pytest.mark.parametrize("packets", [5, 6])
async def test_set_up_on_one_side(
    network: Network, packets: int, outage: float
) -> None:
    """
    What is sent on an association of which the other side does not know yet arrives,
    though its cookie is stale by then.
    """
    async with peers(network, configuration=PATIENT) as (offerer, answerer):
        received: list[list[object]] = []
        channels: list[aiortc.RTCDataChannel] = []
        for pc in (offerer, answerer):
            channels.append(pc.createDataChannel("test", negotiated=True, id=7))
            received.append([])
            channels[-1].on("message", received[-1].append)
        network.delay(0.005)
        network.filter = with_sctp(packets)
        await negotiate(offerer, answerer)
        await until(lambda: "connected" in sctp_states(offerer, answerer))
        established = [x for x in channels if x.readyState == "open"]
        network.cut()
        network.filter = None
        messages: list[object] = [str(x % 9) * 1000 for x in range(90)]
        for channel in established:
            for message in messages:
                channel.send(str(message))
        await asyncio.sleep(outage)
        network.heal()
        await restart_call(offerer, answerer)
        await until(lambda: sum(map(len, received)) == 90 * len(established))
        assert all(x in ([], messages) for x in received)
        await Pair(offerer, answerer, channels[0], channels[1]).exchange()


@pytest.mark.parametrize("outage", [5, 25, 45, 400])
@pytest.mark.parametrize("by_offerer", [True, False])
async def test_first_channel_of_a_call(
    network: Network, outage: float, by_offerer: bool
) -> None:
    """
    A first channel which is negotiated without a path opens as soon as there is one.
    """
    async with peers(network, configuration=PATIENT) as (offerer, answerer):
        offerer.addTransceiver("audio")
        await negotiate(offerer, answerer)
        await until(
            lambda: offerer.connectionState == answerer.connectionState == "connected"
        )
        network.delay(0.01)
        network.cut()
        channel = offerer.createDataChannel("late")
        opened: list[aiortc.RTCDataChannel] = []
        answerer.on("datachannel", opened.append)
        await negotiate(offerer, answerer)
        await asyncio.sleep(outage)
        network.heal()
        pcs = (offerer, answerer) if by_offerer else (answerer, offerer)
        await restart_call(*pcs)
        await asyncio.sleep(0.2)
        assert channel.readyState == "open"
        await Pair(offerer, answerer, channel, opened[0]).exchange()


async def close_meanwhile(
    network: Network, pair: Pair, outage: float, by_offerer: bool
) -> list[aiortc.RTCDataChannel]:
    """
    Close a second channel in an outage, and return its ends.
    """
    opened: list[aiortc.RTCDataChannel] = []
    pair.answerer.on("datachannel", opened.append)
    second = pair.offerer.createDataChannel("second")
    await until(lambda: second.readyState == "open" and len(opened) == 1)
    ends = [second, opened[0]]
    network.delay(0.01)
    await asyncio.sleep(11)
    network.cut()
    await asyncio.sleep(0.5)
    ends[not by_offerer].send("last")
    ends[not by_offerer].close()
    await asyncio.sleep(outage - 0.5)
    network.heal()
    return ends


@pytest.mark.parametrize("outage", [3, 8, 20])
@pytest.mark.parametrize("by_offerer", [True, False])
async def test_channel_closed_in_a_blip(
    network: Network, outage: float, by_offerer: bool
) -> None:
    """
    A channel which is closed in a blip is so when the path is found to have healed.
    """
    async with connected_pair(network) as pair:
        ends = await close_meanwhile(network, pair, outage, by_offerer)
        await asyncio.sleep(NOTICED)
        assert [x.readyState for x in ends] == ["closed", "closed"]
        await pair.exchange()


@pytest.mark.parametrize("outage", [8, 45, 400])
@pytest.mark.parametrize("by_offerer", [True, False])
async def test_channel_closed_before_a_restart(
    network: Network, outage: float, by_offerer: bool
) -> None:
    """
    A channel which is closed in an outage is so at once after a restart, when what it
    had sent has come, and the other one lives on.
    """
    async with connected_pair(network, configuration=PATIENT) as pair:
        ends = await close_meanwhile(network, pair, outage, by_offerer)
        messages: list[object] = []
        ends[by_offerer].on("message", messages.append)
        await restart_call(pair.offerer, pair.answerer)
        await asyncio.sleep(0.2)
        assert [x.readyState for x in ends] == ["closed", "closed"]
        assert messages == ["last"]
        assert sctp_states(pair.offerer, pair.answerer) == ["connected"] * 2
        await pair.exchange()


async def test_silent_peer_when_setting_up(network: Network) -> None:
    """
    A peer which does not answer an INIT on a path that works is given up.
    """
    async with peers(network, configuration=PATIENT) as (offerer, answerer):
        offerer.createDataChannel("test")
        network.filter = with_sctp(0)
        await negotiate(offerer, answerer)
        await until(
            lambda: sctp_states(offerer, answerer) == ["closed"] * 2, timeout=28
        )
        assert offerer.iceConnectionState == "completed"


async def test_silent_peer_when_closing_a_channel(network: Network) -> None:
    """
    A peer which does not reset a stream on a path that works is given up.
    """
    async with connected_pair(network, configuration=PATIENT) as pair:
        network.filter = with_sctp(0)
        pair.channel.close()
        await until(lambda: sctp_states(pair.offerer) == ["closed"], timeout=400)
        assert pair.offerer.iceConnectionState == "completed"


async def test_cookie_which_is_stale_at_once(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A peer to which each cookie is stale is not asked for others for ever.
    """
    monkeypatch.setattr(aiortc.rtcsctptransport, "COOKIE_LIFETIME", -10)
    async with peers(network, configuration=PATIENT) as (offerer, answerer):
        offerer.createDataChannel("test")
        await negotiate(offerer, answerer)
        await until(lambda: sctp_states(offerer, answerer) == ["closed"] * 2)
        # Two for each INIT and each COOKIE ECHO, and those which are sent again.
        packets = [x for x in network.log if x.data[0] == APPLICATION_DATA]
        assert len(packets) < 50
