"""
Servers which die while they are asked, and names which never resolve.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any
from unittest import mock

import pytest
from aioice import stun

from aiortc_restart import (
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
)

from .calls import restart
from .found import Found, asking, trickle
from .network import Address, Network
from .probes import response
from .turn import turn_server
from .utils import connected_pair, negotiate, until

ANSWER_TIME = 5.0
"How long all servers together have to answer, in seconds."

TURN = "turn:10.0.8.1:3478"

PROMPTLY = 2.0
"Seconds which are enough for what waits for nothing, on a machine under load."


def unauthorized(request: stun.Message, addr: Address) -> bytes:
    message = response(request, addr, None, 401)
    message.message_method = request.message_method
    message.attributes["REALM"] = "realm"
    message.attributes["NONCE"] = b"nonce"
    return bytes(message)


class DyingServer(asyncio.DatagramProtocol):
    """
    A TURN server which dies after so many answers, each of them a 401.
    """

    def __init__(self, answers: int) -> None:
        self.requests: list[stun.Message] = []
        self._answers = answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.DatagramTransport)
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.requests.append(stun.parse_message(data))
        if len(self.requests) <= self._answers:
            self._transport.sendto(unauthorized(self.requests[-1], addr), addr)
        else:
            self._transport.close()


@pytest.mark.parametrize("answers", [0, 1])
@pytest.mark.parametrize("trickles", [False, True])
@pytest.mark.parametrize("is_restart", [False, True])
async def test_relay_dies(
    network: Network, answers: int, trickles: bool, is_restart: bool
) -> None:
    """
    A TURN server over UDP that dies before or after its 401 is waited for until all
    servers have had their time, and is told of; the call comes up, or goes on.
    """
    network.add_host("server", "10.0.8.1")
    server = DyingServer(answers)
    with network.host("server"):
        await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: server, local_addr=("10.0.8.1", 3478)
        )
    # The offerer of a first call has the server from its beginning.
    asks = asking(TURN, iceTrickle=trickles)
    async with connected_pair(
        network,
        configuration=asking(iceTrickle=trickles) if is_restart else asks,
        answerer_configuration=asking(iceTrickle=trickles),
        prepare=trickle if trickles else None,
    ) as pair:
        if is_restart:
            await asyncio.sleep(1)
            assert server.requests == []
            pair.offerer.setConfiguration(asks)
            found = Found(network, pair.offerer)
            began = network.now
            await negotiate(pair.offerer, pair.answerer, iceRestart=True)
            assert (network.now - began < 1) == trickles
            await until(lambda: found.errors != [])
            assert network.now - began < ANSWER_TIME + 0.1
            assert [x.url for x in found.errors] == [TURN]
        await pair.exchange()
        await until(lambda: pair.offerer.iceGatheringState == "complete")
        assert len(server.requests) > answers
        assert network.sockets("alice") <= 2
        await asyncio.sleep(15)
        assert network.sockets("alice") == 1


async def test_relay_which_comes_back(network: Network) -> None:
    """
    A server which was dead when a restart asked it is asked again in the next one.
    """
    async with connected_pair(network, configuration=asking(), prepare=trickle) as pair:
        await asyncio.sleep(1)
        pair.offerer.setConfiguration(asking(TURN))
        found = Found(network, pair.offerer)
        await restart(pair.offerer, pair.answerer)
        await until(lambda: [x.url for x in found.errors] == [TURN])
        server = await turn_server(network, 0)
        await restart(pair.offerer, pair.answerer)
        await until(lambda: found.of_type("relay") != [])
        await pair.exchange()
    server.close()


@contextlib.asynccontextmanager
async def stream_server(answers: int) -> AsyncIterator[str]:
    """
    Run a TURN server over TCP on this machine, which closes its connections after so
    many answers, and return its URL.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            for _ in range(answers):
                head = await reader.readexactly(20)
                body = await reader.readexactly(int.from_bytes(head[2:4], "big"))
                addr = writer.get_extra_info("peername")
                writer.write(unauthorized(stun.parse_message(head + body), addr))
            await reader.readexactly(20)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"turn:127.0.0.1:{port}?transport=tcp"
    finally:
        server.close()
        await server.wait_closed()


def relaying(*urls: str) -> RTCConfiguration:
    """
    Return a configuration with relays only, so that no interface is used.
    """
    return RTCConfiguration(
        iceServers=[RTCIceServer(x, username="u", credential="p") for x in urls],
        iceTransportPolicy=RTCIceTransportPolicy.RELAY,
    )


async def test_stream_relay_dies() -> None:
    """
    So is a TURN server over TCP, and the one from which no answer came is told of.
    """
    loop = asyncio.get_running_loop()
    async with stream_server(0) as first, stream_server(1) as second:
        pc = RTCPeerConnection(relaying(first, second))
        errors: list[Any] = []
        pc.on("icecandidateerror", errors.append)
        pc.createDataChannel("test")
        began = loop.time()
        await pc.setLocalDescription()
        assert loop.time() - began < ANSWER_TIME + PROMPTLY
        assert sorted(x.url for x in errors) == sorted([first, second])
        assert {x.errorCode for x in errors} == {701}
        await pc.close()


# Names


@contextlib.contextmanager
def unresolvable() -> Iterator[list[str]]:
    """
    Have the system's resolver block on each name, and say on which.
    """
    asked: list[str] = []
    done = threading.Event()
    getaddrinfo = socket.getaddrinfo

    def block(host: Any, *args: Any, **kwargs: Any) -> Any:
        if not str(host).endswith(".example"):
            return getaddrinfo(host, *args, **kwargs)
        asked.append(host)
        done.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure")

    with mock.patch.object(socket, "getaddrinfo", block):
        try:
            yield asked
        finally:
            # The threads are to end with the test.
            done.set()


URLS = [
    "turn:udp.example",
    "turn:tcp.example?transport=tcp",
    "turns:tls.example",
]


async def test_name_never_resolves() -> None:
    """
    A resolver that blocks its thread holds nothing up longer than a server may take.
    """
    loop = asyncio.get_running_loop()
    with unresolvable() as asked:
        pc = RTCPeerConnection(relaying(*URLS))
        errors: list[Any] = []
        pc.on("icecandidateerror", errors.append)
        pc.createDataChannel("test")
        began = loop.time()
        await pc.setLocalDescription()
        assert loop.time() - began < ANSWER_TIME + PROMPTLY
        assert sorted(x.url for x in errors) == sorted(URLS)
        assert sorted(set(asked)) == ["tcp.example", "tls.example", "udp.example"]
        began = loop.time()
        await pc.close()
        assert loop.time() - began < PROMPTLY


async def test_close_while_a_name_is_resolved() -> None:
    """
    close() does not wait for a resolver that blocks its thread.
    """
    loop = asyncio.get_running_loop()
    with unresolvable() as asked:
        pc = RTCPeerConnection(relaying(*URLS))
        pc.createDataChannel("test")
        setting = asyncio.ensure_future(pc.setLocalDescription())
        await until(lambda: len(asked) == len(URLS))
        began = loop.time()
        await pc.close()
        assert loop.time() - began < PROMPTLY
        await asyncio.wait([setting])
        assert "closed" in str(setting.exception())


async def test_restart_while_a_name_is_resolved(network: Network) -> None:
    """
    A restart that trickles, and asks a server whose name never resolves, does not wait
    for it.
    """
    asked = asyncio.Event()

    async def getaddrinfo(*args: object, **kwargs: object) -> list[Any]:
        asked.set()
        await asyncio.Event().wait()
        return []

    async with connected_pair(network, configuration=asking(), prepare=trickle) as pair:
        await asyncio.sleep(1)
        pair.offerer.setConfiguration(asking("stun:stun.example"))
        found = Found(network, pair.offerer)
        began = network.now
        loop = asyncio.get_running_loop()
        with mock.patch.object(loop, "getaddrinfo", getaddrinfo):
            await restart_without_waiting(pair.offerer, pair.answerer)
            await asyncio.wait_for(asked.wait(), 1)
            assert network.now - began < 1
            await until(lambda: found.errors != [])
            assert network.now - began < ANSWER_TIME + 0.1
        await pair.exchange()
        await restart(pair.offerer, pair.answerer)


async def restart_without_waiting(
    offerer: RTCPeerConnection, answerer: RTCPeerConnection
) -> None:
    await negotiate(offerer, answerer, iceRestart=True)
    await until(lambda: offerer.iceConnectionState in ("connected", "completed"))
