"""
Over which IP versions a TURN server is asked (RFC 8445 section 5.1.1.2).
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from aioice import stun

from aiortc_restart import RTCIceTransportPolicy, RTCPeerConnection, _aiortc

from .found import Found, asking, gathered
from .network import Address, Network
from .probes import Answer, refused, stun_server
from .turn import TurnServer, turn_server
from .utils import until

FOUR, SIX = "10.0.8.1", "fd00::8"

URL = "turn:turn.example.org"

Resolver = Callable[..., asyncio.Event]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """
    Let each name resolve to some addresses, as soon as the event is set.
    """

    def resolve(*addresses: str, at_once: bool = True) -> asyncio.Event:
        resolved = asyncio.Event()
        if at_once:
            resolved.set()

        async def getaddrinfo(host: str, *args: object, **kwargs: object) -> list[Any]:
            await resolved.wait()
            return [
                (socket.AF_INET6, 2, 17, "", (x, 0, 0, 0))
                if ":" in x
                else (socket.AF_INET, 2, 17, "", (x, 0))
                for x in addresses
            ]

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        return resolved

    return resolve


def asked(network: Network) -> set[str]:
    """
    Return the addresses at which a server has been asked.
    """
    return {x.destination[0] for x in network.log if x.destination[1] == 3478}


def allocation_refused(code: int) -> Answer:
    answer = refused(code, "No")

    def answer_method(request: stun.Message, addr: Address) -> stun.Message:
        message = answer(request, addr)
        message.message_method = request.message_method
        return message

    return answer_method


async def test_both(network: Network, resolve: Resolver) -> None:
    """
    A name with addresses of both IP versions is asked over both at the same time, and
    the candidates differ in priority and foundation, also from those of other servers.
    """
    resolve(SIX, FOUR)
    network.readdress("alice", "10.0.1.1", "fd00::1")
    servers: list[TurnServer] = [
        await turn_server(network, 0.2, address=FOUR),
        await turn_server(network, 0.1, address=SIX),
        await turn_server(network, 0.3, address="10.0.8.2"),
    ]
    found = await gathered(network, URL, "turn:10.0.8.2")
    assert found.times[2:5] == [(0.1, "relay"), (0.2, "relay"), (0.3, "relay")]
    relays = found.of_type("relay")
    assert [x.ip for x in relays] == [SIX, FOUR, "10.0.8.2"]
    assert len({x.foundation for x in relays}) == len(relays)
    # The system has ranked the addresses.
    priorities = [x.priority for x in relays]
    assert priorities == sorted(set(priorities), reverse=True)
    assert found.errors == []
    await asyncio.sleep(0)
    assert [x.live for x in servers] == [0, 0, 0]
    for server in servers:
        server.close()


@pytest.mark.parametrize("policy", RTCIceTransportPolicy)
@pytest.mark.parametrize("dead", [FOUR, SIX])
async def test_one_is_dead(
    network: Network, resolve: Resolver, dead: str, policy: RTCIceTransportPolicy
) -> None:
    """
    One over which nothing comes does not keep the other from giving a candidate, and is
    not told of.
    """
    resolve(SIX, FOUR)
    network.readdress("alice", "10.0.1.1", "fd00::1")
    (alive,) = {FOUR, SIX} - {dead}
    server = await turn_server(network, 0.1, address=alive)
    found = await gathered(network, URL, iceTransportPolicy=policy)
    assert asked(network) == {FOUR, SIX}
    assert [x.ip for x in found.of_type("relay")] == [alive]
    assert found.errors == []
    assert found.times[-1] == (5, "None")
    server.close()


async def test_both_are_dead(network: Network, resolve: Resolver) -> None:
    """
    A server which cannot be reached over either is told of once.
    """
    resolve(SIX, FOUR)
    network.readdress("alice", "10.0.1.1", "fd00::1")
    found = await gathered(network, URL)
    assert [(x.url, x.errorCode) for x in found.errors] == [(URL, 701)]
    assert found.times[-3:] == [(5, "701"), (5, "end"), (5, "None")]


@pytest.mark.parametrize("first", [FOUR, SIX])
async def test_refused(network: Network, resolve: Resolver, first: str) -> None:
    """
    What a server has answered over one is told rather than the silence over the other.
    """
    resolve(SIX, FOUR)
    network.readdress("alice", "10.0.1.1", "fd00::1")
    server = await stun_server(
        network, 0.1, address=first, answer=allocation_refused(486)
    )
    found = await gathered(network, URL)
    assert [x.errorCode for x in found.errors] == [486]
    server.close()


@pytest.mark.parametrize("policy", RTCIceTransportPolicy)
async def test_of_one_version(
    network: Network,
    resolve: Resolver,
    monkeypatch: pytest.MonkeyPatch,
    policy: RTCIceTransportPolicy,
) -> None:
    """
    It is not asked over an IP version which this host lacks.
    """
    resolve(SIX, FOUR)
    relayed_candidate = _aiortc.relayed_candidate
    hosts: list[str] = []

    async def ask(*, turn_server: Address, **options: Any) -> Any:
        hosts.append(turn_server[0])
        return await relayed_candidate(turn_server=turn_server, **options)

    monkeypatch.setattr(_aiortc, "relayed_candidate", ask)
    server = await turn_server(network, 0.1, address=FOUR)
    found = await gathered(network, URL, iceTransportPolicy=policy)
    assert hosts == [FOUR]
    assert [x.ip for x in found.of_type("relay")] == [FOUR]
    assert found.times[-1] == (0.1, "None")
    server.close()


async def test_of_the_other_version(network: Network, resolve: Resolver) -> None:
    """
    Where a server has no address which fits, it is for the system to say so.
    """
    resolve(SIX)
    found = await gathered(network, URL)
    assert [x.errorCode for x in found.errors] == [701]
    assert found.times[-1] == (0, "None")


async def test_name_takes_long(network: Network, resolve: Resolver) -> None:
    """
    The time for the name is part of the time which a server has.
    """
    resolved = resolve(FOUR, at_once=False)
    server = await turn_server(network, 2.0, address=FOUR)
    asyncio.get_running_loop().call_later(4, resolved.set)
    found = await gathered(network, URL)
    assert [x.errorCode for x in found.errors] == [701]
    assert found.times[-1] == (5, "None")
    server.close()


@pytest.mark.parametrize("moment", [1, 2.05, 2.15])
async def test_closed(network: Network, resolve: Resolver, moment: float) -> None:
    """
    Whenever the connection is closed, nothing is left of it at the servers, and who has
    not been asked is not asked any more.
    """
    resolved = resolve(SIX, FOUR, at_once=False)
    network.readdress("alice", "10.0.1.1", "fd00::1")
    servers = [
        await turn_server(network, 0.1, address=FOUR),
        await turn_server(network, 0.2, address=SIX),
    ]
    pc = network.at("alice", RTCPeerConnection)(asking(URL))
    found = Found(network, pc)
    pc.createDataChannel("test")
    await pc.setLocalDescription()
    asyncio.get_running_loop().call_later(2, resolved.set)
    await asyncio.sleep(moment)
    await pc.close()
    await asyncio.sleep(5)
    assert found.errors == []
    assert asked(network) == (set() if moment < 2 else {FOUR, SIX})
    assert [x.live for x in servers] == [0, 0]
    assert network.sockets("alice") == 0
    for server in servers:
        server.close()


async def test_connection_by_name(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Over TCP and TLS the name is asked for, by which the certificate is checked.
    """
    names: list[Any] = []

    async def relayed_candidate(*, turn_server: Any, **options: Any) -> None:
        names.append(turn_server)
        raise ConnectionRefusedError

    monkeypatch.setattr(_aiortc, "relayed_candidate", relayed_candidate)
    urls = f"{URL}?transport=tcp", "turns:turn.example.org"
    found = await gathered(network, *urls)
    assert names == [("turn.example.org", 3478), ("turn.example.org", 5349)]
    assert [x.url for x in found.errors] == [*urls]
    await until(lambda: network.sockets("alice") == 0)
