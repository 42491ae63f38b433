"""
How soon a call is back when there is another path.
"""

import asyncio

import pytest

from aiortc_restart import RTCConfiguration, RTCPeerConnection

from .calls import answered
from .network import Network
from .test_ice_outage import arrivals
from .utils import connected_pair, until

DELAYS = [0.0, 0.025, 0.1]
"Seconds, one way."

OUTAGES = [3.0, 30.0, 45.0]
"Seconds without a path."

CONSENT = 36.0
"Seconds after which there is no consent any more, wherever its timer has been."

PATIENT = RTCConfiguration(iceServers=[], iceFailedTimeout=None)

SLACK = 0.05
"Seconds for all that is neither signaling nor a round trip of the new path."


def negotiating(pc: RTCPeerConnection, peer: RTCPeerConnection, delay: float) -> None:
    """
    Have a peer negotiate when it needs to.

    :param delay: How long a description is on its way, in seconds.
    """

    @pc.on("negotiationneeded")
    async def on_negotiation_needed() -> None:
        await pc.setLocalDescription()
        offer = pc.localDescription
        await asyncio.sleep(delay)
        answer = await answered(peer, offer)
        await asyncio.sleep(delay)
        await pc.setRemoteDescription(answer)


async def time_to_data(
    network: Network, signaling: float, media: float, outage: float, by: str
) -> float:
    """
    Return how long it takes, from `restartIce()` on, until data which has waited comes
    both ways over a new path.

    :param signaling: How long a description is on its way, in seconds.
    :param media: How long a datagram is.
    :param outage: For how long there is no path.
    :param by: Who restarts.
    """
    network.delay(media)
    async with connected_pair(network, configuration=PATIENT) as pair:
        offerer, answerer = pair.offerer, pair.answerer
        if by == "bob":
            offerer, answerer = answerer, offerer
        negotiating(offerer, answerer, signaling)
        times: list[list[float]] = []
        for channel in (pair.channel, pair.remote_channel):
            times.append(arrivals(network, channel))
        network.cut("10.0.1.1")
        for channel in (pair.channel, pair.remote_channel):
            channel.send("while there is no path")
        await asyncio.sleep(outage)
        assert outage < CONSENT or offerer.iceConnectionState == "failed"
        network.readdress("alice", "10.0.3.1")
        began = network.now
        offerer.restartIce()
        await until(lambda: all(times))
        return max(x for x, *_ in times) - began


@pytest.mark.parametrize("by", ["alice", "bob"])
@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("signaling", DELAYS)
@pytest.mark.parametrize("media", DELAYS)
async def test_first_data(
    network: Network, media: float, signaling: float, outage: float, by: str
) -> None:
    """
    From `restartIce()` to the first byte of a data channel over a new path it takes at
    most a round trip of the signaling, two of the new path and 50 ms, after a short
    outage, a long one, and one after which the connection is failed.
    """
    took = await time_to_data(network, signaling, media, outage, by)
    assert took <= 2 * signaling + 4 * media + SLACK
