"""
What closed connections answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiortc.exceptions import InvalidStateError

from aiortc_restart import RTCPeerConnection, RTCSessionDescription

from .calls import answered, offered, peers
from .network import Network
from .utils import candidates, connected_pair, negotiate

CALLS: dict[str, Callable[[RTCPeerConnection, Any], Awaitable[object]]] = {
    "createOffer": lambda pc, _: pc.createOffer(),
    "createOffer(iceRestart)": lambda pc, _: pc.createOffer(iceRestart=True),
    "createAnswer": lambda pc, _: pc.createAnswer(),
    "setLocalDescription": lambda pc, offer: pc.setLocalDescription(offer),
    "setLocalDescription()": lambda pc, _: pc.setLocalDescription(),
    "setRemoteDescription": lambda pc, offer: pc.setRemoteDescription(offer),
    "addIceCandidate": lambda pc, offer: pc.addIceCandidate(candidates(offer)[0]),
    "addIceCandidate(None)": lambda pc, _: pc.addIceCandidate(None),
}


@pytest.mark.parametrize("name", CALLS)
async def test_closed(network: Network, name: str) -> None:
    """
    A call on a closed connection says so and changes nothing.
    """
    async with connected_pair(network) as pair:
        offer = await offered(pair.answerer, iceRestart=True)
        await pair.offerer.close()
        said = [pair.offerer.localDescription, pair.offerer.remoteDescription]
        with pytest.raises(InvalidStateError, match="RTCPeerConnection is closed"):
            await CALLS[name](pair.offerer, offer)
        assert pair.offerer.signalingState == "closed"
        assert [pair.offerer.localDescription, pair.offerer.remoteDescription] == said
        assert network.sockets("alice") == 0


async def test_closed_restart_ice(network: Network) -> None:
    """
    `restartIce()` on a closed connection has no effect and is no error.
    """
    # webrtc-pc #dom-rtcpeerconnection-restartice
    async with connected_pair(network) as pair:
        await pair.offerer.close()
        result: object = pair.offerer.restartIce()  # type: ignore[func-returns-value]
        assert result is None


@pytest.mark.parametrize("turns", range(10, 30))
async def test_close_while_connecting(network: Network, turns: int) -> None:
    """
    A connection which is closed while it is being made leaves nothing behind.
    """
    async with peers(network) as (offerer, answerer):
        offerer.addTransceiver("audio")
        offerer.createDataChannel("test")
        await negotiate(offerer, answerer)
        for _ in range(turns):
            await asyncio.sleep(0)


async def test_close_after_a_pranswer(network: Network) -> None:
    """
    Transports which a provisional answer has bundled away are closed, too.
    """
    async with peers(network) as (offerer, answerer):
        offerer.addTransceiver("audio")
        offerer.createDataChannel("test")
        answer = await answered(answerer, await offered(offerer))
        assert network.sockets("alice") == 2
        await offerer.setRemoteDescription(
            RTCSessionDescription(sdp=answer.sdp, type="pranswer")
        )
        await offerer.close()
        assert network.sockets("alice") == 0
