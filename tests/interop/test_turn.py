"""
Restarts over a real TURN server.
"""

import asyncio
from functools import partial

import pytest

from aiortc_restart import (
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
)

from ..utils import connected_pair, event, negotiate, until
from .coturn import MISSING, PASSWORD, USER, coturn

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]


async def test_restart_frees_allocation() -> None:
    """
    A relayed call has one allocation a side again when the old generation has retired.
    """
    async with coturn() as server:
        configuration = RTCConfiguration(
            iceServers=[
                RTCIceServer(server.url, username=USER, credential=PASSWORD),
            ],
            iceTransportPolicy=RTCIceTransportPolicy.RELAY,
        )
        async with connected_pair(configuration=configuration) as pair:
            assert server.live == 2
            assert server.has_made(2)
            for round_, (offerer, answerer) in enumerate(
                [(pair.offerer, pair.answerer), (pair.answerer, pair.offerer)], start=1
            ):
                switches = [
                    asyncio.create_task(
                        event(x.sctp.transport.transport, "selectedcandidatepairchange")
                    )
                    for x in (offerer, answerer)
                    if x.sctp
                ]
                offerer.restartIce()
                await negotiate(offerer, answerer)
                await asyncio.wait_for(asyncio.gather(*switches), 30)
                await pair.exchange()
                await until(partial(server.has_made, 2 + 2 * round_), timeout=30)

                # The old ones receive for 3 s more (RFC 8445 section 8.3.1).
                await until(lambda: server.live == 2, timeout=30)
                await pair.exchange()
        await until(lambda: server.live == 0, timeout=30)
