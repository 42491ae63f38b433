"""
What the policy "relay" hides (RFC 8828 section 5.2, RFC 9429 section 3.5.3).
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from aiortc_restart import (
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
)

from .calls import RETIREMENT, answered, edited, ice_transport, offered, switched
from .network import Address, Datagram, Network
from .probes import open_prober
from .turn import MAPPED, turn_server
from .utils import Pair, connected_pair, credentials, negotiate, until

CANDIDATES = (
    "1 1 udp 2130706431 10.0.2.1 5000 typ host",
    "2 1 udp 2130706431 10.0.1.1 5001 typ host",
    "3 1 udp 2130706431 127.0.0.1 5002 typ host",
    "4 1 udp 2130706431 fd00::2 5003 typ host",
    "5 1 udp 2130706431 0.0.0.0 5004 typ host",
    "6 1 tcp 2130706431 10.0.2.1 9 typ host tcptype active",
    "7 1 udp 1694498815 203.0.113.9 5005 typ srflx raddr 10.0.2.1 rport 5000",
    "8 1 udp 1862270975 10.0.2.1 5006 typ prflx raddr 10.0.2.1 rport 5000",
    "9 1 udp 16777215 10.0.8.9 3478 typ relay raddr 0.0.0.0 rport 9",
)
"Of each type, and also of addresses which are alice's own."

SERVER = "10.0.8.1"
OWN = "10.0.1.1"
"The address of alice, which is to be hidden."

SLOW = 0.3
"How long a datagram takes between the two hosts, in seconds."

UNRESOLVED = "8f2b3c1e-6b2b-4b54-9d70-0a4e2f4c5a11.local"


def policy(name: str, **options: Any) -> RTCConfiguration:
    """
    Return a configuration with the TURN server and a policy, "all" or "relay".
    """
    return RTCConfiguration(
        iceServers=[RTCIceServer(f"turn:{SERVER}", "user", "password")],
        iceTransportPolicy=RTCIceTransportPolicy(name),
        **options,
    )


def set_policy(pc: RTCPeerConnection, name: str) -> None:
    configuration = pc.getConfiguration()
    configuration.iceTransportPolicy = RTCIceTransportPolicy(name)
    pc.setConfiguration(configuration)


class Watch:
    """
    Records all that alice sends, and all that she tells.
    """

    def __init__(self, network: Network) -> None:
        self.said: list[str] = []
        self.sent: list[Datagram] = []
        network.tap(self._see)

    def direct(self, since: float = 0) -> list[Datagram]:
        """
        Return what alice has sent to others than the server.
        """
        return [
            x for x in self.sent if x.time >= since and x.destination != (SERVER, 3478)
        ]

    def listen(self, pc: RTCPeerConnection) -> None:
        """
        Record what a peer's events say.
        """
        for name in ("icecandidate", "icecandidateerror"):
            pc.on(name, lambda x: self.said.append(repr(x)))

    def assert_hidden(self, *pcs: RTCPeerConnection) -> None:
        """
        Assert that nothing has shown an address of alice.
        """
        assert self.sent
        assert self.direct() == []
        for pc in pcs:
            self.said.append(pc.localDescription.sdp)
        for text in self.said:
            assert OWN not in text
            assert MAPPED not in text
            assert not re.search(r"typ (host|srflx|prflx)", text)
        for datagram in self.sent:
            # What goes on to the peer shows addresses in two forms.
            message = datagram.message
            inner = datagram.data[4:] if message is None else datagram.data
            assert bytes(map(int, OWN.split("."))) not in inner
            assert OWN.encode() not in inner

    def _see(self, datagram: Datagram) -> None:
        if datagram.source[0] == OWN:
            self.sent.append(datagram)


async def restarted(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
    await negotiate(offerer, answerer, iceRestart=True)
    await switched(offerer, answerer)


# Nothing but relayed addresses


@pytest.mark.parametrize("trickle", [False, True])
@pytest.mark.parametrize("role", ["offerer", "answerer"])
async def test_relay_only(network: Network, trickle: bool, role: str) -> None:
    """
    A call over a relay, and its restarts by either side, show no address of the host.
    """
    watch = Watch(network)
    server = await turn_server(network, *5 * [0.1])
    async with connected_pair(
        network,
        configuration=policy("relay", iceTrickle=trickle),
        answerer_configuration=RTCConfiguration(iceServers=[]),
        prepare=lambda offerer, _: watch.listen(offerer),
    ) as pair:
        both = [pair.offerer, pair.answerer]
        if role == "answerer":
            both.reverse()
        for _ in range(3):
            await restarted(*both)
            await pair.exchange()
            watch.assert_hidden(pair.offerer)
            await asyncio.sleep(RETIREMENT)
        assert [x.connectionState for x in both] == ["connected", "connected"]
    assert watch.said
    watch.assert_hidden()
    server.close()


@pytest.mark.parametrize("trickle", [False, True])
async def test_server_fails(network: Network, trickle: bool) -> None:
    """
    Where the TURN server does not answer there is no candidate, and nobody else is
    asked or checked, whatever the peer offers.
    """
    watch = Watch(network)
    network.add_host("server", SERVER)
    alice = network.at("alice", RTCPeerConnection)(policy("relay", iceTrickle=trickle))
    bob = network.at("bob", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
    watch.listen(alice)
    bob.createDataChannel("test")
    await offered(bob)
    await bob.setRemoteDescription(await answered(alice, bob.localDescription))
    await asyncio.sleep(30)
    watch.assert_hidden(alice)
    assert network.sockets("alice") == 0
    await asyncio.gather(alice.close(), bob.close())


async def test_server_dies(network: Network) -> None:
    """
    Nor when it dies in a call, and restarts fail.
    """
    watch = Watch(network)
    server = await turn_server(network, *5 * [0.1])
    async with connected_pair(
        network,
        configuration=policy("relay"),
        answerer_configuration=RTCConfiguration(iceServers=[]),
    ) as pair:
        watch.listen(pair.offerer)
        network.cut(SERVER)
        await asyncio.sleep(10)
        await negotiate(pair.offerer, pair.answerer, iceRestart=True)
        await asyncio.sleep(45)
        watch.assert_hidden(pair.offerer)
        network.heal()
        await restarted(pair.offerer, pair.answerer)
        await pair.exchange()
        watch.assert_hidden(pair.offerer)
    server.close()


@pytest.mark.parametrize("role", ["offerer", "answerer"])
async def test_name(
    network: Network, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    """
    A candidate of the peer's with a name is not resolved over multicast DNS, also if it
    comes before our own candidates have been gathered.
    """
    looked_up: list[str] = []

    async def refuse(*args: object, **kwargs: object) -> None:
        looked_up.append("multicast")
        raise OSError("no multicast")

    monkeypatch.setattr("aioice.mdns.create_mdns_protocol", refuse)
    server = await turn_server(network, 0.1)
    alice = network.at("alice", RTCPeerConnection)(policy("relay"))
    bob = network.at("bob", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
    candidate = f"candidate:1 1 udp 1 {UNRESOLVED} 5000 typ host"
    trickled = RTCIceCandidate.fromJSON({"candidate": candidate, "sdpMid": "0"})
    if role == "offerer":
        alice.createDataChannel("test")
        await alice.setRemoteDescription(await answered(bob, await offered(alice)))
    else:
        bob.createDataChannel("test")
        offer = await offered(bob)
        described = edited(offer, "^a=candidate:.*", f"a={candidate}")
        await alice.setRemoteDescription(described)
        await asyncio.sleep(1)
    await alice.addIceCandidate(trickled)
    if role == "answerer":
        await alice.setLocalDescription()
    await asyncio.sleep(1)
    assert looked_up == []
    await asyncio.gather(alice.close(), bob.close())
    server.close()


@pytest.mark.parametrize("trickle", [False, True])
async def test_candidates_of_the_peer(network: Network, trickle: bool) -> None:
    """
    Whatever candidates the peer has, described or trickled, first or for a restart, it
    is checked over the relay only, and the call goes on.
    """
    watch = Watch(network)
    server = await turn_server(network, *4 * [0.1])
    alice = network.at("alice", RTCPeerConnection)(policy("relay", iceTrickle=trickle))
    bob = network.at("bob", RTCPeerConnection)(RTCConfiguration(iceServers=[]))
    watch.listen(alice)
    bob.createDataChannel("test")
    for restarts in range(2):
        offer = await offered(bob, iceRestart=restarts > 0)
        lines = "".join(f"a=candidate:{x}\r\n" for x in CANDIDATES if not trickle)
        await alice.setRemoteDescription(
            edited(offer, "^a=end-of-candidates\r\n", lines)
        )
        for candidate in CANDIDATES if trickle else ():
            await alice.addIceCandidate(
                RTCIceCandidate.fromJSON({"candidate": candidate, "sdpMid": "0"})
            )
        await alice.setLocalDescription()
        await bob.setRemoteDescription(alice.localDescription)
        await switched(alice, bob)
        await asyncio.sleep(RETIREMENT)
        watch.assert_hidden(alice)
    assert alice.connectionState == "connected"
    await asyncio.gather(alice.close(), bob.close())
    watch.assert_hidden()
    server.close()


async def test_checks_of_the_peer(network: Network) -> None:
    """
    Authentic checks, also such as nominate, that reach alice at ports of a direct path
    she has left, are not answered.
    """
    server = await turn_server(network, *4 * [0.1])
    async with connected_pair(
        network,
        configuration=policy("all"),
        answerer_configuration=RTCConfiguration(iceServers=[]),
    ) as pair:
        name, password = credentials(pair.offerer.localDescription)[0]
        port = own_port(pair.offerer)
        set_policy(pair.offerer, "relay")
        await restarted(pair.offerer, pair.answerer)
        prober = await open_prober(network, "bob")
        watch = Watch(network)
        for attributes in ({}, {"USE_CANDIDATE": None}):
            prober.send_check(port, f"{name}:x", password, **attributes)
            prober.send_check(port, f"{name}:x", "wrong", **attributes)
        await asyncio.sleep(0.1)
        assert prober.requests == prober.responses == []
        assert watch.direct() == []
        prober.close()
    server.close()


# The policy changes in a call


def own_port(pc: RTCPeerConnection) -> Address:
    """
    Return the address of a peer's end of the path.
    """
    pair = ice_transport(pc).getSelectedCandidatePair()
    assert pair is not None
    return pair.local.ip, pair.local.port


async def left(pair: Pair) -> None:
    """
    Wait until alice has switched to a relay.
    """
    await until(lambda: own_port(pair.offerer)[0] == SERVER)


def first(pair: Pair) -> list[RTCPeerConnection]:
    return [pair.offerer, pair.answerer]


def second(pair: Pair) -> list[RTCPeerConnection]:
    return [pair.answerer, pair.offerer]


@pytest.mark.parametrize("order", [first, second])
@pytest.mark.parametrize("trickle", [False, True])
async def test_all_to_relay(
    network: Network,
    trickle: bool,
    order: Callable[[Pair], list[RTCPeerConnection]],
) -> None:
    """
    When the restart that brings the policy "relay" is done the direct path is left:
    nothing is sent there any more, and what the peer still sends there is received.
    """
    watch = Watch(network)
    server = await turn_server(network, *8 * [0.1])
    async with connected_pair(
        network,
        configuration=policy("all", iceTrickle=trickle),
        answerer_configuration=RTCConfiguration(iceServers=[]),
    ) as pair:
        old = own_port(pair.offerer)
        assert old[0] == OWN
        network.delay(SLOW, "alice", "bob")
        set_policy(pair.offerer, "relay")
        await pair.exchange()
        assert own_port(pair.offerer) == old
        before = network.now
        negotiation = asyncio.create_task(negotiate(*order(pair), iceRestart=True))
        received: list[Any] = []
        pair.channel.on("message", received.append)
        sent = 0
        while own_port(pair.offerer) == old:
            pair.remote_channel.send(str(sent))
            sent += 1
            await asyncio.sleep(0.01)
            assert network.now < before + 20
        # The last ones are on their way over the direct path.
        switched_at = network.now
        await negotiation
        await switched(pair.offerer, pair.answerer)
        await until(lambda: len(received) == sent)
        await asyncio.sleep(15)
        await pair.exchange()
        assert [x for x in watch.sent if x.time < switched_at and x.source == old]
        assert watch.direct(switched_at) == []
    server.close()


async def test_back_and_forth(network: Network) -> None:
    """
    With the policy "all" again the direct path comes back, and with "relay" it is left
    again, also the one before it, which has not ended yet.
    """
    watch = Watch(network)
    server = await turn_server(network, *8 * [0.1])
    async with connected_pair(
        network,
        configuration=policy("relay"),
        answerer_configuration=RTCConfiguration(iceServers=[]),
    ) as pair:
        watch.assert_hidden(pair.offerer)
        set_policy(pair.offerer, "all")
        await pair.exchange()
        watch.assert_hidden(pair.offerer)
        ways = []
        for _ in range(2):
            await restarted(pair.offerer, pair.answerer)
            assert own_port(pair.offerer)[0] == OWN
            ways.append(
                (own_port(pair.offerer), *credentials(pair.offerer.localDescription)[0])
            )
        set_policy(pair.offerer, "relay")
        await restarted(pair.offerer, pair.answerer)
        assert own_port(pair.offerer)[0] == SERVER
        # What was sent in the same moment was sent before.
        count = len(watch.direct())
        prober = await open_prober(network, "bob")
        for port, name, password in ways:
            prober.send_check(port, f"{name}:x", password)
        await asyncio.sleep(15)
        await pair.exchange()
        assert watch.direct()[count:] == []
        prober.close()
    server.close()


async def test_restart_fails(network: Network) -> None:
    """
    A restart which finds no relay leaves the call on the direct path, and sends nothing
    from elsewhere.
    """
    watch = Watch(network)
    server = await turn_server(network, 0.1)
    async with connected_pair(
        network,
        configuration=policy("all"),
        answerer_configuration=RTCConfiguration(iceServers=[]),
    ) as pair:
        old = own_port(pair.offerer)
        network.cut(SERVER)
        set_policy(pair.offerer, "relay")
        await negotiate(pair.offerer, pair.answerer)
        assert OWN not in pair.offerer.localDescription.sdp
        await asyncio.sleep(45)
        await pair.exchange()
        assert {x.source for x in watch.direct()} == {old}
    network.heal()
    server.close()
