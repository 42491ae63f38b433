"""
Trickled calls over a real TURN server by each way to it, and servers which are none.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from aiortc_restart import (
    RTCConfiguration,
    RTCIceServer,
    RTCIceTransportPolicy,
    RTCPeerConnection,
    RTCPeerConnectionIceErrorEvent,
)

from ..calls import ice_transport, restart
from ..found import trickle
from ..utils import connected_pair, until
from .coturn import MISSING, PASSWORD, USER, coturn, free_port, make_certificate

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]

SLOWEST = 4.5
"Less than the seconds which a server has to answer."


def relaying(*urls: str, password: str = PASSWORD, **options: Any) -> RTCConfiguration:
    """
    Return a configuration for a trickled call by relays alone.

    :param options: More arguments for `RTCConfiguration()`.
    """
    servers = [RTCIceServer(x, username=USER, credential=password) for x in urls]
    options = {
        "iceTransportPolicy": RTCIceTransportPolicy.RELAY,
        "iceTrickle": True,
        **options,
    }
    return RTCConfiguration(iceServers=servers, **options)


def failures(pc: RTCPeerConnection) -> list[RTCPeerConnectionIceErrorEvent]:
    """
    Return what a peer tells of servers from now on.
    """
    errors: list[RTCPeerConnectionIceErrorEvent] = []
    pc.on("icecandidateerror", errors.append)
    return errors


async def gathered(
    configuration: RTCConfiguration,
) -> tuple[list[str], list[RTCPeerConnectionIceErrorEvent]]:
    """
    Gather the candidates of a data channel, and return their types, and the failures.
    """
    pc = RTCPeerConnection(configuration)
    errors = failures(pc)
    pc.createDataChannel("test")
    await pc.setLocalDescription()
    await until(lambda: pc.iceGatheringState == "complete")
    types = [x.type for x in ice_transport(pc).iceGatherer.getLocalCandidates()]
    await pc.close()
    return types, errors


@contextlib.asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """
    Listen on a port with TCP, and say nothing.
    """
    async with asyncio.TaskGroup() as handlers:

        async def read(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter
        ) -> None:
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()

        server = await asyncio.start_server(
            lambda *x: handlers.create_task(read(*x)), "127.0.0.1", 0
        )
        async with server:
            yield int(server.sockets[0].getsockname()[1])


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """
    Assert that nothing is reported to the log of asyncio, as exceptions are that nobody
    handles.
    """
    with caplog.at_level(logging.WARNING, logger="asyncio"):
        yield
    assert [x.getMessage() for x in caplog.records if x.name == "asyncio"] == []


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """
    The file with the certificate and the key of a server.
    """
    return make_certificate(tmp_path / "server.pem")


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    The same, which we trust.
    """
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    return certificate


@pytest.mark.parametrize("way", ["udp", "tcp", "tls"])
@pytest.mark.usefixtures("quiet")
async def test_call(way: str, trusted: Path) -> None:
    """
    A relayed call comes up and is restarted over UDP, TCP and TLS to the server.
    """
    async with coturn(certificate=trusted) as server:
        configuration = relaying(server.urls[way])
        async with connected_pair(configuration=configuration, prepare=trickle) as pair:
            sides = [pair.offerer, pair.answerer]
            for round_ in range(3):
                if round_:
                    await restart(*sides)
                    sides.reverse()
                for pc in sides:
                    selected = ice_transport(pc).getSelectedCandidatePair()
                    assert selected is not None
                    assert selected.local.type == "relay"
                    assert selected.local.relatedAddress == "0.0.0.0"
                await pair.exchange()
                await until(partial(server.has_made, 2 + 2 * round_))
                # The old ones receive for 3 s more (RFC 8445 section 8.3.1).
                await until(lambda: server.live == 2)
        await until(lambda: server.live == 0)
        assert any("method=TLS" in x for x in server.log) == (way == "tls")
        assert any("TCP socket closed" in x for x in server.log) == (way != "udp")


@pytest.mark.parametrize("way", ["udp", "tcp"])
@pytest.mark.parametrize("first", ["dead", "living"])
@pytest.mark.usefixtures("quiet")
async def test_dead_server(way: str, first: str) -> None:
    """
    A call comes up by the server which is there, and does not wait for one which is
    not.
    """
    dead = f"turn:127.0.0.1:{free_port()}?transport={way}"
    async with coturn() as server:
        urls = [dead, server.urls["udp"]]
        if first == "living":
            urls.reverse()
        errors: list[list[RTCPeerConnectionIceErrorEvent]] = []
        known: dict[str, int] = {}

        def prepare(offerer: RTCPeerConnection, answerer: RTCPeerConnection) -> None:
            trickle(offerer, answerer)
            errors.extend([failures(offerer), failures(answerer)])
            offerer.on(
                "iceconnectionstatechange",
                lambda: known.setdefault(offerer.iceConnectionState, len(errors[0])),
            )

        async with connected_pair(
            configuration=relaying(*urls), prepare=prepare
        ) as pair:
            await pair.exchange()
            await until(
                lambda: (
                    pair.offerer.iceConnectionState
                    == pair.answerer.iceConnectionState
                    == "completed"
                )
            )
            # A refused connection is known at once, silence after five seconds.
            assert way == "tcp" or known["connected"] == 0
            for told in errors:
                assert [(x.url, x.errorCode) for x in told] == [(dead, 701)]
                assert told[0].errorText
        await until(lambda: server.live == 0)


@pytest.mark.parametrize("way", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("password", ["wrong", ""])
@pytest.mark.usefixtures("quiet")
async def test_wrong_password(way: str, password: str, trusted: Path) -> None:
    """
    A server which answers 401 for ever is told of with that code, without waiting.
    """
    async with coturn(certificate=trusted) as server:
        types, errors = await gathered(relaying(server.urls[way], password=password))
        assert types == []
        assert [(x.url, x.errorCode) for x in errors] == [(server.urls[way], 401)]
        assert errors[0].errorText == "Unauthorized"
        assert server.live == 0


@pytest.mark.usefixtures("quiet")
async def test_no_password() -> None:
    """
    So is one which is asked without a user.
    """
    async with coturn() as server:
        configuration = RTCConfiguration(
            iceServers=[RTCIceServer(server.url)], iceTrickle=True
        )
        _, errors = await gathered(configuration)
        assert [x.errorCode for x in errors] == [401]


@pytest.mark.usefixtures("quiet")
async def test_several_ways() -> None:
    """
    One server by several ways gives a relay for each, the cheapest first.
    """
    async with coturn() as server:
        pc = RTCPeerConnection(relaying(server.urls["tcp"], server.urls["udp"]))
        errors = failures(pc)
        pc.createDataChannel("test")
        await pc.setLocalDescription()
        await until(lambda: pc.iceGatheringState == "complete")
        found = ice_transport(pc).iceGatherer.getLocalCandidates()
        assert [x.type for x in found] == ["relay", "relay"]
        assert len({x.priority for x in found}) == 2
        assert len({x.foundation for x in found}) == 2
        assert errors == []
        assert server.live == 2
        await pc.close()
        await until(lambda: server.live == 0)


# Servers which are none


@pytest.mark.usefixtures("quiet")
async def test_certificate_not_trusted(certificate: Path) -> None:
    """
    A server whose certificate is not trusted is told of with what is wrong with it.
    """
    async with coturn(certificate=certificate) as server:
        types, errors = await gathered(relaying(server.urls["tls"]))
        assert types == []
        assert [(x.url, x.errorCode) for x in errors] == [(server.urls["tls"], 701)]
        assert "CERTIFICATE_VERIFY_FAILED" in errors[0].errorText


@pytest.mark.usefixtures("quiet")
async def test_certificate_of_another_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nor is one taken which is trusted for another host.
    """
    other = make_certificate(tmp_path / "other.pem", "192.0.2.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    async with coturn(certificate=other) as server:
        types, errors = await gathered(relaying(server.urls["tls"]))
        assert types == []
        assert [x.errorCode for x in errors] == [701]
        assert "IP address mismatch" in errors[0].errorText


@pytest.mark.usefixtures("quiet")
async def test_unknown_name() -> None:
    """
    A name which does not resolve is told of, whichever the way would have been.
    """
    name = "nowhere.invalid"
    urls = [f"turn:{name}", f"turn:{name}?transport=tcp", f"turns:{name}"]
    urls.append(f"stun:{name}")
    policy = RTCIceTransportPolicy.ALL
    types, errors = await gathered(relaying(*urls, iceTransportPolicy=policy))
    assert set(types) == {"host"}
    assert sorted(x.url for x in errors) == sorted(urls)
    for error in errors:
        assert error.errorCode == 701
        assert error.errorText


@pytest.mark.parametrize("scheme", ["turn", "turns"])
@pytest.mark.usefixtures("quiet")
async def test_silent_stream(scheme: str) -> None:
    """
    A server which takes a connection and says nothing is waited for as long as others.
    """
    async with silent_server() as port:
        url = f"{scheme}:127.0.0.1:{port}?transport=tcp"
        _, errors = await gathered(relaying(url))
        assert [(x.url, x.errorCode) for x in errors] == [(url, 701)]


@pytest.mark.parametrize("way", ["udp", "tcp", "tls"])
@pytest.mark.usefixtures("quiet")
async def test_close(way: str, trusted: Path) -> None:
    """
    A connection which is closed in the midst of it all leaves no allocation behind.
    """
    async with coturn(certificate=trusted) as server:
        for moment in (0, 0.001, 0.003, 0.01, 0.03):
            pc = RTCPeerConnection(relaying(server.urls[way]))
            pc.createDataChannel("test")
            await pc.setLocalDescription()
            await asyncio.sleep(moment)
            await pc.close()
        # One which is being made is given back when it has been.
        await asyncio.sleep(1)
        await until(lambda: server.live == 0)


@pytest.mark.usefixtures("quiet")
def test_end_of_the_program() -> None:
    """
    A program which ends while a server has not answered ends at once, and in silence.
    """

    async def main() -> float:
        pc = RTCPeerConnection(
            relaying(
                f"turn:127.0.0.1:{free_port()}",
                f"stun:127.0.0.1:{free_port()}",
                iceTransportPolicy=RTCIceTransportPolicy.ALL,
            )
        )
        pc.createDataChannel("test")
        await pc.setLocalDescription()
        await asyncio.sleep(0.1)
        await pc.close()
        return asyncio.get_running_loop().time()

    with asyncio.Runner() as runner:
        ended = runner.run(main())
        loop = runner.get_loop()
    assert loop.time() - ended < SLOWEST
