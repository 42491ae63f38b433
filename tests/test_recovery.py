"""
The handlers of the README bring a call back.
"""

import asyncio

import pytest

from aiortc_restart import RTCIceServer, RTCPeerConnection, RTCSessionDescription
from examples.recovery import keep_up

from .calls import answered, ice_transport, peers
from .network import Network
from .probes import stun_server
from .utils import states, until


@pytest.mark.parametrize("reconfigured", [False, True], ids=["plain", "servers"])
async def test_lost_path(network: Network, reconfigured: bool) -> None:
    """
    A call whose path is lost is failed, restarts and comes back, with the same DTLS
    association and data channel, and with other servers if it was given any.
    """
    server = await stun_server(network, *([0.0] * 9))
    async with peers(network) as (alice, bob):
        signal = Signaling(bob)
        servers = [RTCIceServer("stun:10.0.9.1:3478")] if reconfigured else None
        keep_up(alice, signal, servers)
        received: list[object] = []
        bob.on("datachannel", lambda channel: channel.on("message", received.append))
        channel = alice.createDataChannel("test")
        await until(lambda: channel.readyState == "open")
        history = states(alice)
        dtls = ice_transport(alice), alice.sctp and alice.sctp.transport

        network.cut("alice")
        await until(lambda: alice.iceConnectionState == "disconnected", timeout=7)
        channel.send("while it is gone")
        # It tries once when it is failed; then the network is there again.
        await until(lambda: alice.iceConnectionState == "failed", timeout=40)
        network.heal()
        await until(lambda: received == ["while it is gone"])

        assert history.ice == [
            *("completed", "disconnected", "failed", "checking", "completed")
        ]
        assert history.connection == [
            *("connected", "disconnected", "failed", "connecting", "connected")
        ]
        assert dtls == (ice_transport(alice), alice.sctp and alice.sctp.transport)
        assert signal.offers == 2
        found = {x.type for x in ice_transport(alice).local_candidates}
        assert found == ({"host", "srflx"} if reconfigured else {"host"})
    server.close()


class Signaling:
    """
    A channel for signalling which has a way of its own to the peer.
    """

    def __init__(self, peer: RTCPeerConnection) -> None:
        self.offers = 0
        self._peer = peer

    async def __call__(self, offer: RTCSessionDescription) -> RTCSessionDescription:
        self.offers += 1
        await asyncio.sleep(0.05)
        return await answered(self._peer, offer)
