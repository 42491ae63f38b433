"""
Which candidates STUN and TURN servers give, and when (RFC 8445 section 5.1.1).
"""

import asyncio
import socket

import pytest

from aiortc_restart import RTCIceCandidate, RTCIceTransportPolicy, RTCPeerConnection

from .calls import peers, ufrag_of
from .found import Found, asking, gathered
from .network import Network
from .probes import StunServer, is_request, mapped, response, stun_server
from .turn import TurnServer, turn_server
from .utils import candidates, states, until

STUN = "stun:10.0.9.1:3478"
OTHER = "stun:10.0.9.2:3478"
SILENT = "stun:10.0.9.3:3478"
TURN = "turn:10.0.8.1:3478"

Server = StunServer | TurnServer

LOCAL_PREFERENCE = 0xFFFF00
"The bits of a priority in which candidates of one type and component differ."


def bases(found: list[RTCIceCandidate]) -> set[str | None]:
    return {x.relatedAddress for x in found}


async def negotiate_gathered(
    offerer: RTCPeerConnection, answerer: RTCPeerConnection
) -> None:
    """
    Negotiate when either description has candidates, though both peers trickle.
    """
    await offerer.setLocalDescription()
    await asyncio.sleep(0.5)
    await answerer.setRemoteDescription(offerer.localDescription)
    await answerer.setLocalDescription()
    await asyncio.sleep(0.5)
    await offerer.setRemoteDescription(answerer.localDescription)


# When


async def test_several_servers(network: Network) -> None:
    """
    Each candidate is told when its server has answered, and no server waits for
    another.
    """
    servers: list[Server] = [
        await stun_server(network, 1.0),
        await stun_server(network, 0.3, address="10.0.9.2", answer=mapped("192.0.2.2")),
        await turn_server(network, 2.0),
    ]
    found = await gathered(network, STUN, SILENT, TURN, OTHER)
    assert found.times == [
        (0, "host"),
        (0.3, "srflx"),
        (1.0, "srflx"),
        (2.0, "relay"),
        (5.0, "701"),
        (5.0, "end"),
        (5.0, "None"),
    ]
    assert [x.ip for x in found.of_type("srflx")] == ["192.0.2.2", "203.0.113.1"]
    for server in servers:
        server.close()


async def test_without_trickle(network: Network) -> None:
    """
    Without trickle the events come at the same times, and setLocalDescription() returns
    after them all.
    """
    server = await stun_server(network, 0.3)
    pc = network.at("alice", RTCPeerConnection)(
        asking(STUN, SILENT, iceTrickle=False),
    )
    found, history = Found(network, pc), states(pc)
    pc.createDataChannel("test")
    await pc.setLocalDescription()
    assert found.times == [
        (0, "host"),
        (0.3, "srflx"),
        (5.0, "701"),
        (5.0, "end"),
        (5.0, "None"),
    ]
    assert history.gathering == ["new", "gathering", "complete"]
    said = pc.localDescription
    assert [x.type for x in candidates(said)] == ["host", "srflx"]
    assert "a=end-of-candidates" in said.sdp
    await asyncio.sleep(10)
    assert len(found.times) == 5
    await pc.close()
    server.close()


async def test_description_at_each_event(network: Network) -> None:
    """
    A candidate is in the local description when it is told, and no later one is.
    """
    # webrtc-pc #dfn-surface-the-candidate
    server = await stun_server(network, 0.3)
    pc = network.at("alice", RTCPeerConnection)(asking(STUN, SILENT))
    shown: list[int] = []
    pc.on("icecandidate", lambda _: shown.append(len(candidates(pc.localDescription))))
    pc.createDataChannel("test")
    await pc.setLocalDescription()
    await asyncio.sleep(6)
    assert shown == [1, 2, 2, 2]
    await pc.close()
    server.close()


# Which


async def test_several_interfaces(network: Network) -> None:
    """
    Each server is asked from each interface of its own IP version.
    """
    network.readdress("alice", "10.0.1.1", "fd00::1", "10.0.1.2", "fd00::2")
    servers: list[Server] = [
        await stun_server(network, 0.1, 0.1),
        await stun_server(
            network, 0.2, 0.2, address="fd00::9", answer=mapped("2001:db8::1")
        ),
    ]
    found = await gathered(network, STUN, "stun:[fd00::9]:3478")
    assert [x.ip for x in found.of_type("host")] == network.addresses("alice")
    four, six = found.of_type("srflx")[:2], found.of_type("srflx")[2:]
    assert bases(four) == {"10.0.1.1", "10.0.1.2"}
    assert bases(six) == {"fd00::1", "fd00::2"}
    assert {x.ip for x in six} == {"2001:db8::1"}
    assert found.errors == []
    ports = {(x.ip, x.port) for x in found.of_type("host")}
    for candidate in (*four, *six):
        assert (candidate.relatedAddress, candidate.relatedPort) in ports
    for server in servers:
        server.close()


async def test_name(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A server's name is resolved once, and each interface asks at the address of its own
    IP version.
    """
    network.readdress("alice", "10.0.1.1", "fd00::1", "10.0.1.2")
    names = []

    async def getaddrinfo(host: str, *args: object, **kwargs: object) -> list[object]:
        names.append(host)
        return [
            (socket.AF_INET6, 2, 17, "", ("fd00::9", 0, 0, 0)),
            (socket.AF_INET, 2, 17, "", ("10.0.9.1", 0)),
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    servers: list[Server] = [
        await stun_server(network, 0.1, 0.1),
        await stun_server(
            network, 0.1, address="fd00::9", answer=mapped("2001:db8::1")
        ),
    ]
    found = await gathered(network, "stun:stun.example.org")
    assert names == ["stun.example.org"]
    assert {(x.relatedAddress, x.ip) for x in found.of_type("srflx")} == {
        ("10.0.1.1", "203.0.113.1"),
        ("10.0.1.2", "203.0.113.1"),
        ("fd00::1", "2001:db8::1"),
    }
    for server in servers:
        server.close()


@pytest.mark.parametrize("behind_nat", [False, True])
async def test_redundant(network: Network, behind_nat: bool) -> None:
    """
    Eliminating Redundant Candidates: a mapped address is told once, and not at all if
    it is that of the socket itself.
    """
    # RFC 8445 section 5.1.3
    servers: list[Server] = [
        await stun_server(
            network,
            0.1 + i,
            address=f"10.0.9.{i + 1}",
            answer=None if behind_nat else lambda x, addr: response(x, addr, None),
        )
        for i in range(2)
    ]
    found = await gathered(network, STUN, OTHER)
    assert [x.type for x in found.candidates] == ["host"] + ["srflx"] * behind_nat
    assert found.errors == []
    for server in servers:
        server.close()


async def test_not_redundant(network: Network) -> None:
    """
    One mapped address of two sockets makes two candidates, as their bases differ.
    """
    network.readdress("alice", "10.0.1.1", "10.0.1.2")
    server = await stun_server(
        network,
        0.1,
        0.1,
        answer=lambda x, _: response(x, ("203.0.113.1", 50000), None),
    )
    found = await gathered(network, STUN)
    assert bases(found.of_type("srflx")) == {"10.0.1.1", "10.0.1.2"}
    server.close()


async def test_priorities(network: Network) -> None:
    """
    Recommended Formula: no two candidates of a type have the same priority, and the
    first interface and the first server come first.
    """
    # RFC 8445 section 5.1.2.1
    network.readdress("alice", "10.0.1.1", "10.0.1.2", "fd00::1")
    servers: list[Server] = [
        await stun_server(network, 0.2, 0.2),
        await stun_server(
            network, 0.1, 0.1, address="10.0.9.2", answer=mapped("192.0.2.2")
        ),
        await turn_server(network, 0.1),
        await turn_server(network, 0.1, address="10.0.8.2"),
    ]
    found = await gathered(network, STUN, OTHER, TURN, "turn:10.0.8.2:3478")
    counts = {"host": 3, "srflx": 4, "relay": 2}
    for kind, preference in (("host", 126), ("srflx", 100), ("relay", 0)):
        priorities = [x.priority for x in found.of_type(kind)]
        assert len(set(priorities)) == len(priorities) == counts[kind]
        assert {x >> 24 for x in priorities} == {preference}
        assert {x & 0xFF for x in priorities} == {255}
    ranked = sorted(found.candidates, key=lambda x: -x.priority)
    assert [(x.ip, x.relatedAddress) for x in ranked] == [
        ("10.0.1.1", None),
        ("10.0.1.2", None),
        ("fd00::1", None),
        ("203.0.113.1", "10.0.1.1"),
        ("192.0.2.2", "10.0.1.1"),
        ("203.0.113.1", "10.0.1.2"),
        ("192.0.2.2", "10.0.1.2"),
        ("10.0.8.1", "203.0.113.7"),
        ("10.0.8.2", "203.0.113.7"),
    ]
    for server in servers:
        server.close()


async def test_foundations(network: Network) -> None:
    """
    Computing Foundations: two candidates have the same one if their type, their base
    and their server are the same, and else another.
    """
    # RFC 8445 section 5.1.1.3
    network.readdress("alice", "10.0.1.1", "10.0.1.2")
    servers: list[Server] = [
        await stun_server(network, *(4 * [0.1])),
        await stun_server(
            network, *(4 * [0.2]), address="10.0.9.2", answer=mapped("192.0.2.2")
        ),
        await turn_server(network, 0.1, 0.1),
        await turn_server(network, 0.2, 0.2, address="10.0.8.2"),
        await turn_server(network, 0.3, 0.3, address="10.0.8.3"),
    ]
    urls = STUN, OTHER, TURN, "turn:10.0.8.2:3478", "turn:10.0.8.3:3478"
    first, second = [
        (await gathered(network, *urls)).candidates,
        (await gathered(network, *urls)).candidates,
    ]
    foundations = [x.foundation for x in first]
    assert len(set(foundations)) == len(foundations) == 2 + 4 + 3
    assert all(1 <= len(x) <= 32 and x.isalnum() for x in foundations)
    assert [x.foundation for x in second] == foundations
    for server in servers:
        server.close()


async def test_priority_of_checks(network: Network) -> None:
    """
    Generating Credentials: a check's PRIORITY has the type preference of a peer
    reflexive candidate, and the local preference of the candidate that sends it.
    """
    # RFC 8445 section 7.1.1
    network.readdress("alice", "10.0.1.1", "10.0.1.2")
    server = await turn_server(network, 0.1)
    async with peers(network, configuration=asking(TURN)) as (offerer, answerer):
        answerer.setConfiguration(asking())
        found = Found(network, offerer)
        offerer.createDataChannel("test")
        # No pair works before all have been checked.
        network.cut("bob")
        await negotiate_gathered(offerer, answerer)
        await asyncio.sleep(2)
    relay, *_ = server.relays
    preferences = {
        (x.ip, x.port): x.priority & LOCAL_PREFERENCE for x in found.candidates
    }
    seen = set()
    for datagram in network.log:
        if datagram.destination[0] == "10.0.2.1" and is_request(datagram):
            assert datagram.message is not None
            priority = datagram.message.attributes["PRIORITY"]
            assert priority == 110 << 24 | preferences[datagram.source] | 255
            seen.add(datagram.source[0])
    assert seen == {"10.0.1.1", "10.0.1.2", relay.address[0]}
    server.close()


async def test_priority_of_checks_in_a_restart(network: Network) -> None:
    """
    While trickling it is the candidate's own, or that of a peer reflexive one where
    that ranks higher, as it does for a relayed one.
    """
    server = await turn_server(network, 0.1, 0.1)
    async with peers(network, configuration=asking(TURN)) as (offerer, answerer):
        answerer.setConfiguration(asking())
        channel = offerer.createDataChannel("test")
        for restarts in (False, True):
            if restarts:
                offerer.restartIce()
                network.cut("bob")
            await negotiate_gathered(offerer, answerer)
            if not restarts:
                await until(lambda: channel.readyState == "open")
                await asyncio.sleep(5)
        name = f":{ufrag_of(offerer.localDescription)}"
        await asyncio.sleep(2)
    types = set()
    for datagram in network.log:
        message = datagram.message
        if message is None or not is_request(datagram):
            continue
        if message.attributes.get("USERNAME", "").endswith(name):
            if datagram.destination[0] == "10.0.2.1":
                types.add((datagram.source[0], message.attributes["PRIORITY"] >> 24))
    assert types == {("10.0.1.1", 126), (server.relays[-1].address[0], 110)}
    server.close()


async def test_relay_only(network: Network) -> None:
    """
    With the policy `relay` only relayed candidates are told, without the address that
    the server has seen, and no STUN server is asked.
    """
    # RFC 9429 section 3.5.3
    server = await turn_server(network, 0.1)
    found = await gathered(
        network, STUN, TURN, iceTransportPolicy=RTCIceTransportPolicy.RELAY
    )
    assert [what for _, what in found.times] == ["relay", "end", "None"]
    (candidate,) = found.candidates
    assert (candidate.relatedAddress, candidate.relatedPort) == ("0.0.0.0", 9)
    assert not any(x.destination[0] == "10.0.9.1" for x in network.log)
    server.close()


async def test_nothing_to_gather(network: Network) -> None:
    """
    Without an interface and without a relay there is the end of candidates, and no
    more.
    """
    found = await gathered(
        network, STUN, iceTransportPolicy=RTCIceTransportPolicy.RELAY
    )
    assert found.times == [(0, "end"), (0, "None")]
