"""
The policy "relay" over a real TURN server.
"""

import asyncio
import socket
from typing import Any

import pytest

from aiortc_restart import RTCConfiguration, RTCIceServer, RTCIceTransportPolicy

from ..calls import ice_transport
from ..utils import connected_pair, event, negotiate, until
from .coturn import MISSING, PASSWORD, USER, Coturn, coturn

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]


def configured(server: Coturn, policy: RTCIceTransportPolicy) -> RTCConfiguration:
    return RTCConfiguration(
        iceServers=[RTCIceServer(server.url, username=USER, credential=PASSWORD)],
        iceTransportPolicy=policy,
    )


async def test_direct_path_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    After a restart with the policy "relay", nothing leaves the sockets of the direct
    path any more, and a further restart opens none.
    """
    opened: list[asyncio.DatagramTransport] = []
    sent: list[socket.socket] = []
    loop = asyncio.get_running_loop()
    create = loop.create_datagram_endpoint

    async def create_and_watch(*args: Any, **kwargs: Any) -> Any:
        transport, protocol = await create(*args, **kwargs)
        if kwargs.get("remote_addr") is None:
            opened.append(transport)
            sendto = transport.sendto

            def count(*args: Any) -> None:
                sent.append(transport.get_extra_info("socket"))
                sendto(*args)

            monkeypatch.setattr(transport, "sendto", count)
        return transport, protocol

    async with coturn() as server:
        policy = RTCIceTransportPolicy.ALL
        configuration = configured(server, policy)
        async with connected_pair(
            configuration=configuration,
            prepare=lambda *_: monkeypatch.setattr(
                loop, "create_datagram_endpoint", create_and_watch
            ),
        ) as pair:
            assert opened
            assert sent
            relay = configured(server, RTCIceTransportPolicy.RELAY)
            both = pair.offerer, pair.answerer
            for pc in both:
                pc.setConfiguration(relay)
            for _ in range(2):
                count_opened = len(opened)
                switches = [
                    asyncio.create_task(
                        event(ice_transport(pc), "selectedcandidatepairchange")
                    )
                    for pc in both
                ]
                await negotiate(*both, iceRestart=True)
                await asyncio.wait_for(asyncio.gather(*switches), 30)
                count_sent = len(sent)
                await pair.exchange()
                await asyncio.sleep(4)
                await pair.exchange()
                assert len(sent) == count_sent
                assert len(opened) == count_opened
            for description in (
                pair.offerer.localDescription,
                both[1].localDescription,
            ):
                assert "typ host" not in description.sdp
                assert "typ srflx" not in description.sdp
            await until(lambda: all(x.is_closing() for x in opened), timeout=30)
        await until(lambda: server.live == 0, timeout=30)
