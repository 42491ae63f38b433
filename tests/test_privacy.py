"""
With the policy `RELAY` nobody but the TURN server sees our addresses (RFC 9429 section
3.5.3).
"""

import asyncio
import re

import pytest
from aiortc import RTCIceTransportPolicy

from aiortc_restart import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
)

from .calls import ice_transport, peers, restart, switched
from .network import Datagram, Network
from .probes import open_prober
from .turn import MAPPED, TurnServer, turn_server
from .utils import Pair, negotiate, until

OURS = ("10.0.1.1", "10.0.1.2")
"The addresses of the host that is to be hidden."

RELAY = "10.0.8.1"

SERVERS = [RTCIceServer(urls=f"turn:{RELAY}", username="u", credential="p")]


def hidden(trickle: bool = False) -> RTCConfiguration:
    return RTCConfiguration(
        iceServers=SERVERS,
        iceTransportPolicy=RTCIceTransportPolicy.RELAY,
        iceTrickle=trickle,
    )


def seen_by_others(network: Network) -> list[Datagram]:
    """
    Return what our host has sent to anybody but the TURN server.
    """
    return [
        x
        for x in network.log
        if x.source[0] in OURS and x.destination[0] != RELAY and x.fate != "cut"
    ]


def assert_hidden(*texts: str) -> None:
    """
    Assert that descriptions and candidates name none of our addresses.
    """
    for text in texts:
        found = set(re.findall(r"\d+\.\d+\.\d+\.\d+", text))
        assert found <= {RELAY, "0.0.0.0", "127.0.0.1"}, text


async def connect(
    network: Network, offerer: RTCPeerConnection, answerer: RTCPeerConnection
) -> tuple[Pair, list[str]]:
    """
    Connect, and return what our side, the offerer, tells meanwhile and later.
    """
    told: list[str] = []

    def tell(candidate: RTCIceCandidate | None) -> None:
        if candidate is not None:
            told.append(str(candidate.toJSON()))

    offerer.on("icecandidate", tell)
    if offerer.getConfiguration().iceTrickle:

        async def add(candidate: RTCIceCandidate | None) -> None:
            if candidate is not None:
                await answerer.addIceCandidate(candidate)

        offerer.on("icecandidate", add)
    channel = offerer.createDataChannel("test")
    opened: list[object] = []
    answerer.on("datachannel", opened.append)
    await negotiate(offerer, answerer)
    await until(lambda: channel.readyState == "open" and opened)
    return Pair(offerer, answerer, channel, opened[0]), told  # type: ignore[arg-type]


@pytest.mark.parametrize("trickle", [False, True])
async def test_nothing_leaves(network: Network, trickle: bool) -> None:
    """
    Neither candidates nor descriptions nor checks show our addresses, over restarts of
    either side, whatever the peer sends us.
    """
    network.readdress("alice", *OURS)
    server = await turn_server(network, *[0.1] * 4)
    async with peers(network, configuration=hidden(trickle)) as (offerer, _):
        answerer = network.at("bob", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
        pair, told = await connect(network, offerer, answerer)
        for first, second in ((offerer, answerer), (answerer, offerer)):
            await restart(first, second)
            await switched(offerer, answerer)
            await pair.exchange()
            assert_hidden(offerer.localDescription.sdp, *told)
        # The peer may name any address, and check from any.
        connection = ice_transport(offerer)._connection
        prober = await open_prober(network, "bob", connection.remote_password or "")
        for protocol in connection._protocols:
            prober.send_check(
                (protocol.local_candidate.host, protocol.local_candidate.port),
                f"{connection.local_username}:{connection.remote_username}",
                connection.local_password,
                ICE_CONTROLLED=1,
            )
        await asyncio.sleep(10)
        assert seen_by_others(network) == []
        assert told
        prober.close()
        await answerer.close()
    await until(lambda: server.live == 0)
    server.close()


async def test_server_fails(network: Network) -> None:
    """
    If the TURN server does not answer, no other path is taken.
    """
    network.readdress("alice", *OURS)
    async with peers(network, configuration=hidden()) as (offerer, _):
        answerer = network.at("bob", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
        offerer.createDataChannel("test")
        await offerer.setLocalDescription()
        await answerer.setRemoteDescription(offerer.localDescription)
        await answerer.setLocalDescription()
        await offerer.setRemoteDescription(answerer.localDescription)
        assert "a=candidate" not in offerer.localDescription.sdp
        assert_hidden(offerer.localDescription.sdp)
        await asyncio.sleep(60)
        assert seen_by_others(network) == []
        await answerer.close()


async def direct_call_becomes_relayed(
    network: Network, server: TurnServer, offerer: RTCPeerConnection
) -> None:
    """
    Change the policy of a call.
    """
    configuration = offerer.getConfiguration()
    configuration.iceServers = SERVERS
    configuration.iceTransportPolicy = RTCIceTransportPolicy.RELAY
    offerer.setConfiguration(configuration)


async def test_direct_path_is_left(network: Network) -> None:
    """
    When a policy of `RELAY` has come into force with a restart, nothing is sent on the
    direct path, and what still comes on it is read.
    """
    network.readdress("alice", *OURS)
    server = await turn_server(network, *[0.1] * 2)
    async with peers(network) as (offerer, answerer):
        pair, _ = await connect(network, offerer, answerer)
        await direct_call_becomes_relayed(network, server, offerer)
        await asyncio.sleep(8)
        # Until then it carries the call, and is asked for consent.
        await pair.exchange()
        before = len(seen_by_others(network))
        assert before
        await restart(offerer, answerer)
        await switched(offerer, answerer)
        sent = len(seen_by_others(network))
        for _ in range(20):
            await pair.exchange()
            await asyncio.sleep(1)
        assert len(seen_by_others(network)) == sent
        assert MAPPED not in offerer.localDescription.sdp
        assert_hidden(offerer.localDescription.sdp)
        # And back: the direct path is better than the relay.
        configuration = offerer.getConfiguration()
        configuration.iceTransportPolicy = RTCIceTransportPolicy.ALL
        configuration.iceServers = []
        offerer.setConfiguration(configuration)
        await restart(offerer, answerer)
        await switched(offerer, answerer)
        await pair.exchange()
        selected = ice_transport(offerer).getSelectedCandidatePair()
        assert selected is not None
        assert selected.local.type == "host"
    await until(lambda: server.live == 0)
    server.close()


async def test_data_on_the_direct_path(network: Network) -> None:
    """
    A peer which still sends on the direct path is heard there, and has no answer to its
    checks, so that it leaves it.
    """
    network.readdress("alice", *OURS)
    server = await turn_server(network, 0.1)
    async with peers(network) as (offerer, answerer):
        pair, _ = await connect(network, offerer, answerer)
        old = ice_transport(answerer)._active
        assert old is not None
        await direct_call_becomes_relayed(network, server, offerer)
        await restart(offerer, answerer)
        await switched(offerer, answerer)
        sent = len(seen_by_others(network))
        count = offerer.sctp.transport._RTCDtlsTransport__rx_packets  # type: ignore[union-attr]
        await old.connection.send(b"\x80" + bytes(20))
        old.connection.probe()
        await asyncio.sleep(0.5)
        assert offerer.sctp.transport._RTCDtlsTransport__rx_packets == count + 1  # type: ignore[union-attr]
        assert len(seen_by_others(network)) == sent
        await pair.exchange()
    await until(lambda: server.live == 0)
    server.close()
