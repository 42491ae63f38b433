"""
A restart from a slow path to a fast one.
"""

import asyncio

from .calls import ice_transport
from .network import Network
from .utils import connected_pair, negotiate, until


async def test_messages_in_flight_are_overtaken(network: Network) -> None:
    """
    What is in flight on a slow path when the call moves to a fast one is not given up,
    though it may not be sent again.
    """
    async with connected_pair(network, ordered=False, maxRetransmits=0) as pair:
        offerer, answerer = pair.offerer, pair.answerer
        received: dict[str, list[str]] = {"forth": [], "back": []}
        pair.remote_channel.on("message", received["forth"].append)
        pair.channel.on("message", received["back"].append)
        network.delay(0.1, "10.0.1.1")
        network.delay(0.1, "10.0.2.1")

        async def send(count: int) -> None:
            for number in range(count):
                pair.channel.send(str(number))
                pair.remote_channel.send(str(number))
                await asyncio.sleep(0.005)

        sending = asyncio.create_task(send(400))
        await asyncio.sleep(0.5)
        network.readdress("alice", "10.0.1.2", "10.0.1.1")
        network.readdress("bob", "10.0.2.2", "10.0.2.1")
        offerer.restartIce()
        await negotiate(offerer, answerer)
        await sending
        for peer in (offerer, answerer):
            selected = ice_transport(peer).getSelectedCandidatePair()
            assert selected and selected.local.ip.endswith(".2")
        # RFC 3758 section 3.5: an abandoned message would never come.
        await until(lambda: [len(x) for x in received.values()] == [400, 400])
        assert all(sorted(map(int, x)) == [*range(400)] for x in received.values())
