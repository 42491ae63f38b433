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
from .coturn import (
    MISSING,
    OTHER_PASSWORD,
    OTHER_USER,
    PASSWORD,
    USER,
    Coturn,
    coturn,
)

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]


def relayed(server: Coturn, user: str, password: str) -> RTCConfiguration:
    """
    Return a configuration for a call through the server.
    """
    return RTCConfiguration(
        iceServers=[RTCIceServer(server.url, username=user, credential=password)],
        iceTransportPolicy=RTCIceTransportPolicy.RELAY,
    )


async def test_restart_frees_allocation() -> None:
    """
    A relayed call has one allocation a side again when the old generation has retired.
    """
    async with coturn() as server:
        configuration = relayed(server, USER, PASSWORD)
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


async def test_other_user() -> None:
    """
    A TURN user which setConfiguration() brings allocates with the next restart and not
    before; the allocation of the user before is released, by that user.
    """
    # RFC 9429 section 4.1.18
    async with coturn() as server:
        configuration = relayed(server, USER, PASSWORD)
        async with connected_pair(configuration=configuration) as pair:
            pair.offerer.setConfiguration(relayed(server, OTHER_USER, OTHER_PASSWORD))
            await asyncio.sleep(1)
            await pair.exchange()
            assert server.users() == [{USER}, {USER}]

            assert pair.offerer.sctp is not None
            switch = asyncio.create_task(
                event(
                    pair.offerer.sctp.transport.transport,
                    "selectedcandidatepairchange",
                )
            )
            await negotiate(pair.offerer, pair.answerer)
            await asyncio.wait_for(switch, 30)
            await pair.exchange()
            assert server.has_made(4)
            assert server.live_of(OTHER_USER) == 1

            # The old ones receive for 3 s more (RFC 8445 section 8.3.1).
            await until(lambda: server.live == 2, timeout=30)
            assert server.live_of(USER) == server.live_of(OTHER_USER) == 1
            await pair.exchange()
        await until(lambda: server.live == 0, timeout=30)
        # No allocation has ever been touched by the other's credentials.
        assert server.users()[:2] == [{USER}, {USER}]
        assert sorted(map(sorted, server.users()[2:])) == [[OTHER_USER], [USER]]
