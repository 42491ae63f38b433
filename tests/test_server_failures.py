"""
What is told of servers which give no candidate
(webrtc-pc #rtcpeerconnectioniceerrorevent).
"""

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from aioice import stun

from aiortc_restart import (
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCPeerConnectionIceErrorEvent,
)

from .found import Found, asking, gathered
from .network import Address, Network, Transport
from .probes import Answer, mapped, refused, response, stun_server
from .turn import turn_server
from .utils import until

STUN = "stun:10.0.9.1:3478"
OTHER = "stun:10.0.9.2:3478"
TURN = "turn:10.0.8.1:3478"

NO_ANSWER = "There was no answer within 5 seconds"


def without_address(request: stun.Message, addr: Address) -> stun.Message:
    message = response(request, addr, None)
    del message.attributes["XOR-MAPPED-ADDRESS"]
    return message


def without_code(request: stun.Message, addr: Address) -> stun.Message:
    message = response(request, addr, None, 400)
    del message.attributes["ERROR-CODE"]
    return message


def refuse_to_send(
    monkeypatch: pytest.MonkeyPatch, unreachable: Callable[[Address, Address], bool]
) -> None:
    """
    Let hosts have no route between some addresses.
    """
    error = Transport._error

    def error_or_none(self: Transport, to: Address, length: int) -> int | None:
        if unreachable(self.local, to):
            return errno.ENETUNREACH
        return error(self, to, length)

    monkeypatch.setattr(Transport, "_error", error_or_none)


def resolve(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[], list[Any]] | None
) -> list[bool]:
    """
    Let each name resolve to an answer, or never, and return for each question whether
    it has been given up.
    """
    asked: list[bool] = []

    async def getaddrinfo(host: str, *args: object, **kwargs: object) -> list[Any]:
        asked.append(False)
        if answer is not None:
            return answer()
        try:
            await asyncio.Event().wait()
        finally:
            asked[-1] = True
        return []

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (300, "Try Alternate"),
        (400, "Bad Request"),
        (420, "Unknown Attribute"),
        (500, "Server Error"),
        (600, "Global Failure"),
        (699, "überlastet"),
        (401, ""),
    ],
)
async def test_error_answer(network: Network, code: int, text: str) -> None:
    """
    The code and the text of a server's answer are told as they are, at once.
    """
    server = await stun_server(network, 0.2, answer=refused(code, text))
    found = await gathered(network, STUN)
    (host,) = found.candidates
    assert found.errors == [
        RTCPeerConnectionIceErrorEvent(host.ip, host.port, STUN, code, text)
    ]
    assert found.times[1:] == [(0.2, str(code)), (0.2, "end"), (0.2, "None")]
    server.close()


async def test_error_answer_of_each_interface(network: Network) -> None:
    """
    On which interface it failed can be told from the address.
    """
    # webrtc-pc #dom-rtcpeerconnectioniceerrorevent-address
    network.readdress("alice", "10.0.1.1", "10.0.1.2")
    server = await stun_server(network, 0.2, 0.3, answer=refused(403, "Forbidden"))
    found = await gathered(network, STUN)
    assert [(x.address, x.port) for x in found.errors] == [
        (x.ip, x.port) for x in found.candidates
    ]
    server.close()


@pytest.mark.parametrize("code", [100, 299])
async def test_no_error_code(network: Network, code: int) -> None:
    """
    What is no code of an error is not told for one.
    """
    server = await stun_server(network, 0.2, answer=refused(code, "?"))
    found = await gathered(network, STUN)
    assert [x.errorCode for x in found.errors] == [701]
    server.close()


async def test_no_answer(network: Network) -> None:
    """
    A server which does not answer is told of after five seconds, with the address from
    which it was asked.
    """
    found = await gathered(network, STUN)
    (host,) = found.candidates
    assert found.errors == [
        RTCPeerConnectionIceErrorEvent(host.ip, host.port, STUN, 701, NO_ANSWER)
    ]
    assert found.times == [(0, "host"), (5, "701"), (5, "end"), (5, "None")]


async def test_no_answer_of_a_relay(network: Network) -> None:
    """
    Nor is a TURN server waited for any longer; from which address it was asked is not
    known.
    """
    found = await gathered(network, TURN)
    event = RTCPeerConnectionIceErrorEvent(None, None, TURN, 701, NO_ANSWER)
    assert found.errors == [event]
    assert found.times[1:] == [(5, "701"), (5, "end"), (5, "None")]


@pytest.mark.parametrize("answer", [without_address, without_code])
async def test_malformed_answer(network: Network, answer: Answer) -> None:
    """
    A response which says nothing is a failure, and is not waited with.
    """
    server = await stun_server(network, 0.2, answer=answer)
    found = await gathered(network, STUN)
    assert [x.errorCode for x in found.errors] == [701]
    assert found.errors[0].errorText
    assert found.times[1:] == [(0.2, "701"), (0.2, "end"), (0.2, "None")]
    server.close()


async def test_no_route(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A server to which the system does not send is told of at once, and
    setLocalDescription() does not wait for it.
    """
    refuse_to_send(monkeypatch, lambda _, to: to[0] == "10.0.9.1")
    found = await gathered(network, STUN, iceTrickle=False)
    assert [(x.errorCode, x.errorText) for x in found.errors] == [
        (701, str(OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))))
    ]
    assert [time for time, _ in found.times] == 4 * [0]


async def test_no_route_to_one(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What the system says of one server is not taken for an answer of another one.
    """
    server = await stun_server(network, 0.3, address="10.0.9.2")
    refuse_to_send(monkeypatch, lambda _, to: to[0] == "10.0.9.1")
    found = await gathered(network, OTHER, STUN)
    assert [x.url for x in found.errors] == [STUN]
    assert found.times[1:3] == [(0, "701"), (0.3, "srflx")]
    server.close()


# webrtc-pc #dom-rtcpeerconnectioniceerrorevent-errorcode


@pytest.mark.parametrize("reason", ["cut", "no route"])
async def test_unreachable_from_one_interface(
    network: Network, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """
    A server which can be reached from one interface is not unreachable.
    """
    network.readdress("alice", "10.0.1.1", "10.0.1.2", "fd00::1")
    server = await stun_server(network, 0.3, 0.3)
    if reason == "cut":
        network.cut("10.0.1.1")
    else:
        refuse_to_send(monkeypatch, lambda local, _: local[0] == "10.0.1.1")
    found = await gathered(network, STUN)
    assert [x.relatedAddress for x in found.of_type("srflx")] == ["10.0.1.2"]
    assert found.errors == []
    server.close()


async def test_unreachable(network: Network) -> None:
    """
    That a server cannot be reached is told once, however many interfaces there are.
    """
    network.readdress("alice", "10.0.1.1", "10.0.1.2", "fd00::1")
    found = await gathered(network, STUN)
    assert [(x.url, x.errorText) for x in found.errors] == [(STUN, NO_ANSWER)]
    assert found.errors[0].address in ("10.0.1.1", "10.0.1.2")


async def test_other_ip_version(network: Network) -> None:
    """
    A server of an IP version which no interface has is unreachable, at once.
    """
    found = await gathered(network, "stun:[fd00::9]:3478")
    assert [(x.errorCode, x.errorText) for x in found.errors] == [
        (701, "fd00::9 has no address of IP version 4")
    ]
    assert found.times[-1] == (0, "None")


# Those which cannot be asked


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("stuns:10.0.9.1", "Servers of the scheme stuns are not supported"),
        (
            "turns:10.0.8.1?transport=udp",
            "Servers of the scheme turns over udp are not supported",
        ),
        ("turn:10.0.8.1", 'Credentials of the type "oauth" are not supported'),
    ],
)
async def test_obstacle(network: Network, url: str, text: str) -> None:
    """
    A server which cannot be asked is told of at once, and others are asked.
    """
    server = await stun_server(network, 0.1)
    configuration = asking(url, STUN)
    assert configuration.iceServers is not None
    if "oauth" in text:
        configuration.iceServers[0].credentialType = "oauth"
    pc = network.at("alice", RTCPeerConnection)(configuration)
    found = Found(network, pc)
    pc.createDataChannel("test")
    await pc.setLocalDescription()
    await until(lambda: pc.iceGatheringState == "complete")
    assert found.errors == [RTCPeerConnectionIceErrorEvent(None, None, url, 701, text)]
    assert [what for _, what in found.times] == ["host", "701", "srflx", "end", "None"]
    assert found.times[1] == (0, "701")
    await pc.close()
    server.close()


async def test_obstacle_without_an_interface(network: Network) -> None:
    """
    With the policy `relay` no STUN server would be asked, so none is told of.
    """
    found = await gathered(
        network,
        "stuns:10.0.9.1",
        "turns:10.0.8.1?transport=udp",
        iceTransportPolicy=RTCIceTransportPolicy.RELAY,
    )
    assert [x.url for x in found.errors] == ["turns:10.0.8.1?transport=udp"]


# Names


async def test_unknown_name(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A name which does not resolve is told of as soon as that is known.
    """

    def answer() -> list[Any]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    resolve(monkeypatch, answer)
    found = await gathered(network, "stun:nowhere.invalid")
    (event,) = found.errors
    assert event.errorCode == 701
    assert "Name or service not known" in event.errorText
    assert found.times[-1] == (0, "None")


async def test_impossible_name(network: Network) -> None:
    """
    So is one that no name can be.
    """
    found = await gathered(network, f"stun:{64 * 'a'}.invalid")
    assert [x.errorCode for x in found.errors] == [701]


@pytest.mark.parametrize("moment", [None, 1])
async def test_name_which_takes_long(
    network: Network, monkeypatch: pytest.MonkeyPatch, moment: float | None
) -> None:
    """
    A name which takes longer to resolve than a server may take to answer is given up,
    as it is when the connection is closed.
    """
    asked = resolve(monkeypatch, None)
    pc = network.at("alice", RTCPeerConnection)(asking("stun:stun.example.org"))
    found = Found(network, pc)
    pc.createDataChannel("test")
    await pc.setLocalDescription()
    await asyncio.sleep(moment or 6)
    if moment is None:
        assert [x.errorCode for x in found.errors] == [701]
    await pc.close()
    await asyncio.sleep(0)
    assert asked == [True]


# Both at the same time


@pytest.mark.parametrize("early", [0.0, 1e-10, 1e-3])
@pytest.mark.parametrize("answer", [mapped("203.0.113.1"), refused(500, "Error")])
async def test_answer_at_the_last_moment(
    network: Network, early: float, answer: Answer
) -> None:
    """
    Whatever comes when the time is over, it leaves nothing behind.
    """
    server = await stun_server(network, 4.0 - early, answer=answer)
    network.delay(0.5, "alice", "10.0.9.1")
    found = await gathered(network, STUN)
    assert len(found.of_type("srflx")) + len(found.errors) == 1
    server.close()


async def test_relay_at_the_last_moment(network: Network) -> None:
    """
    An allocation which comes when the time is over is given back, or is never known.
    """
    server = await turn_server(network, 4.0 - 1e-10)
    network.delay(0.5, "alice", "10.0.8.1")
    found = await gathered(network, TURN)
    assert len(found.of_type("relay")) + len(found.errors) == 1
    await asyncio.sleep(1)
    assert server.live == len(found.errors)
    server.close()


async def test_handler_which_raises(network: Network) -> None:
    """
    A handler which raises neither ends gathering nor makes a failure of a candidate.
    """
    server = await stun_server(network, 0.1)
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, x: reported.append(x))
    pc = network.at("alice", RTCPeerConnection)(asking(STUN, OTHER))
    found = Found(network, pc)

    def fail(event: object) -> None:
        raise RuntimeError("Oh no")

    pc.on("icecandidate", fail)
    pc.on("icecandidateerror", fail)
    pc.createDataChannel("test")
    await pc.setLocalDescription()
    await until(lambda: pc.iceGatheringState == "complete")
    assert [what for _, what in found.times] == [
        "host",
        "srflx",
        "701",
        "end",
        "None",
    ]
    assert [x.url for x in found.errors] == [OTHER]
    assert len(reported) == 5
    await pc.close()
    server.close()
