"""
Bad descriptions, and those whose callers are cancelled: nothing changes, in any state,
and the next good one works.
"""

import asyncio
import contextlib
import re
from collections.abc import Awaitable

import aioice
import pytest
from aiortc.exceptions import OperationError

from aiortc_restart import (
    RTCConfiguration,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc_restart.ice.connection import Connection

from .calls import (
    ROLLBACK,
    SETTLING,
    Unbundled,
    answered,
    edited,
    ice_transport,
    ice_transports,
    offered,
    paths,
    peers,
    restart,
    switched,
    ufrag_of,
)
from .network import Network
from .probes import stun_server
from .snapshots import nothing_changes
from .utils import candidates, connected_pair, negotiate, until

# What else may be wrong with a description whose credentials are bad.
OTHERWISE_BAD: dict[str, tuple[str, str]] = {
    "nothing": ("^s=-", "s=-"),
    "codecs": (r"opus/48000/2|G722/8000|PCM[AU]/8000", "unknown/8000"),
    "rtcp-mux": ("^a=rtcp-mux\r\n", ""),
    "fingerprints": ("^a=fingerprint:.*\r\n", ""),
    "role": ("^a=setup:.*\r\n", "a=setup:actpass\r\n"),
    "mids": ("^a=mid:.*\r\n", "a=mid:other\r\n"),
}

BAD_CREDENTIALS: dict[str, tuple[str, str]] = {
    "missing": ("^a=ice-pwd:.*\r\n", ""),
    "short": ("^a=ice-ufrag:.*\r\n", "a=ice-ufrag:abc\r\n"),
    "grammar": ("^a=ice-pwd:.", "a=ice-pwd:-"),
}


def add_media(*pcs: RTCPeerConnection) -> None:
    for pc in pcs:
        pc.addTransceiver("audio")


@pytest.mark.parametrize("type", ["offer", "pranswer", "answer"])
@pytest.mark.parametrize("side", ["local", "remote"])
async def test_credentials_first(network: Network, side: str, type: str) -> None:
    """
    Credentials are checked before anything else, whatever else is wrong.
    """
    async with connected_pair(network, prepare=add_media) as pair:
        pc, other = pair.offerer, pair.answerer
        if (side, type) == ("local", "offer"):
            good = await pc.createOffer(iceRestart=True)
        elif side == "remote" and type != "offer":
            good = await answered(other, await offered(pc, iceRestart=True))
        else:
            good = await offered(other, iceRestart=True)
            if side == "local":
                await pc.setRemoteDescription(good)
                good = await pc.createAnswer()
        apply = pc.setLocalDescription if side == "local" else pc.setRemoteDescription
        good = RTCSessionDescription(sdp=good.sdp, type=type)
        for wrong in BAD_CREDENTIALS.values():
            for also_wrong in OTHERWISE_BAD.values():
                bad = edited(edited(good, *wrong), *also_wrong)
                with (
                    nothing_changes(pc),
                    pytest.raises(ValueError, match=r"^ICE (username|password)"),
                ):
                    await apply(bad)
        await apply(good)
        await pair.exchange()


@pytest.mark.parametrize("connected", [False, True], ids=["first", "again"])
async def test_no_common_codec(network: Network, connected: bool) -> None:
    """
    An offer without a common codec, or whose later section has none, is undone.
    """
    async with peers(network) as (offerer, pc):
        offerer.createDataChannel("test")
        if connected:
            await negotiate(offerer, pc)
            await switched(offerer, pc)
        offerer.addTransceiver("audio")
        offerer.addTransceiver("video")
        offer = await offered(offerer, iceRestart=True)
        bad = edited(offer, "(VP8|H264|VP9|AV1|rtx)/90000", "unknown/90000")
        for _ in range(3):
            with nothing_changes(pc), pytest.raises(OperationError):
                await pc.setRemoteDescription(bad)
        await offerer.setRemoteDescription(await answered(pc, offer))
        await switched(offerer, pc)
        await restart(pc, offerer)


@pytest.mark.parametrize("side", ["local", "remote"])
async def test_fewer_sections(network: Network, side: str) -> None:
    """
    An offer which lacks a section that has been negotiated, or has another in its
    place, is refused.
    """
    # RFC 3264 section 8
    async with connected_pair(network, prepare=add_media) as pair:
        pc = pair.offerer
        good = await (pc if side == "local" else pair.answerer).createOffer()
        start, audio, data = re.split("^(?=m=)", good.sdp, flags=re.MULTILINE)
        start = re.sub("a=group:BUNDLE.*\r\n", "", start)
        for parts in ([start], [start, audio], [start, data, audio]):
            bad = RTCSessionDescription(sdp="".join(parts), type="offer")
            with nothing_changes(pc), pytest.raises(ValueError, match="do not match"):
                if side == "local":
                    await pc.setLocalDescription(bad)
                else:
                    await pc.setRemoteDescription(bad)
        await pair.exchange()
        await restart(pair.offerer, pair.answerer)


@pytest.mark.parametrize("connected", [False, True], ids=["first", "restart"])
async def test_answer_then_another(
    network: Network, monkeypatch: pytest.MonkeyPatch, connected: bool
) -> None:
    """
    Nothing of an answer which fails is in the way of the next: neither its candidates
    nor their end.
    """

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async with peers(network) as (pc, answerer):
        pc.createDataChannel("test")
        if connected:
            await negotiate(pc, answerer)
            await switched(pc, answerer)
        offer = await offered(pc, iceRestart=connected)
        answer = await answered(answerer, offer)
        other = edited(answer, "^(a=candidate:.*) 10.0.2.1 ", r"\1 10.0.9.9 ")
        without = edited(answer, "^a=candidate:.*\r\n", "")
        for bad in (other, without):
            with nothing_changes(pc), monkeypatch.context() as patch:
                # This comes after the candidates.
                patch.setattr(RTCPeerConnection, "_join_bundle", fail)
                with pytest.raises(ZeroDivisionError):
                    await pc.setRemoteDescription(bad)
        await pc.setRemoteDescription(answer)
        await switched(pc, answerer)
        assert paths(pc)[0] == (ufrag_of(offer), ufrag_of(answer))
        found = [x.ip for x in ice_transport(pc).getRemoteCandidates()]
        assert found == ["10.0.2.1"]


async def test_handler_raises(network: Network) -> None:
    """
    What a handler raises does not undo the description whose events it handles.
    """
    errors: list[object] = []
    loop = asyncio.get_running_loop()
    handler = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: errors.append(context["exception"]))

    def fail(*_: object) -> None:
        raise RuntimeError

    async with peers(network) as (offerer, answerer):
        for pc in (offerer, answerer):
            for name in (
                "connectionstatechange",
                "icegatheringstatechange",
                "iceconnectionstatechange",
                "negotiationneeded",
                "signalingstatechange",
                "track",
            ):
                pc.on(name, fail)
        offerer.addTransceiver("audio")
        offerer.createDataChannel("test")
        await negotiate(offerer, answerer)
        await switched(offerer, answerer)
        await negotiate(answerer, offerer, iceRestart=True)
        await switched(offerer, answerer)
    assert {type(x) for x in errors} == {RuntimeError}
    loop.set_exception_handler(handler)


SLOW = "10.0.9.9"


def slow_candidates(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """
    Have some candidates take for ever to be added, and return the addresses of those
    which are being added.
    """
    asked: list[str] = []
    add_remote_candidate = Connection.add_remote_candidate

    async def add(connection: Connection, candidate: aioice.Candidate | None) -> None:
        if candidate is not None and candidate.host == SLOW:
            asked.append(candidate.host)
            await asyncio.sleep(1000)
        await add_remote_candidate(connection, candidate)

    monkeypatch.setattr(Connection, "add_remote_candidate", add)
    return asked


async def cancelled(coro: Awaitable[None], asked: list[str]) -> None:
    """
    Cancel what waits for a candidate.
    """
    task = asyncio.ensure_future(coro)
    await until(lambda: asked)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    asked.clear()


@pytest.mark.parametrize("kind", [RTCPeerConnection, Unbundled])
@pytest.mark.parametrize(
    # Without a restart and new transports no candidate of the peer's is of use.
    ("connected", "restarts"),
    [(False, False), (True, True)],
    ids=["first", "restart"],
)
async def test_cancelled(
    network: Network,
    monkeypatch: pytest.MonkeyPatch,
    restarts: bool,
    connected: bool,
    kind: type[RTCPeerConnection],
) -> None:
    """
    A description whose caller is cancelled in the midst of it changes nothing.
    """
    async with peers(network, offerer=kind) as (offerer, pc):
        asked = slow_candidates(monkeypatch)
        offerer.createDataChannel("test")
        offerer.addTransceiver("audio")
        if connected:
            await negotiate(offerer, pc)
            await switched(offerer, pc)
        offerer.addTransceiver("video")
        offer = await offered(offerer, iceRestart=restarts)
        slowed = edited(offer, "^(a=candidate:.*) 10.0.1.1 ", rf"\g<1> {SLOW} ")
        for _ in range(2):
            with nothing_changes(pc):
                await cancelled(pc.setRemoteDescription(slowed), asked)
        answer = await answered(pc, offer)
        slowed = edited(answer, "^(a=candidate:.*) 10.0.2.1 ", rf"\g<1> {SLOW} ")
        for _ in range(2):
            with nothing_changes(offerer):
                await cancelled(offerer.setRemoteDescription(slowed), asked)
        await offerer.setRemoteDescription(answer)
        await switched(offerer, pc)
        await restart(pc, offerer)


async def test_starts_nothing(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Nothing starts with what half of a description has said, though our candidates
    become complete in the midst of it.
    """
    server = await stun_server(network, 3.0, 1.0)
    slow = RTCConfiguration(iceServers=[RTCIceServer("stun:10.0.9.1:3478")])
    async with peers(network, configuration=slow) as (pc, answerer):
        asked = slow_candidates(monkeypatch)
        pc.createDataChannel("test")
        offering = asyncio.create_task(pc.setLocalDescription())
        await until(lambda: pc.localDescription is not None)
        answer = await answered(answerer, pc.localDescription)
        slowed = edited(answer, "^(a=candidate:.*) 10.0.2.1 ", rf"\g<1> {SLOW} ")

        async def answer_twice() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await pc.setRemoteDescription(slowed)
            await pc.setRemoteDescription(slowed)

        answering = asyncio.create_task(answer_twice())
        await until(lambda: asked)
        assert pc.iceGatheringState == "gathering"
        await offering
        for _ in range(2):
            await asyncio.sleep(SETTLING)
            assert [x.state for x in ice_transports(pc)] == ["new"]
            answering.cancel()
        await asyncio.sleep(SETTLING)
        assert [x.state for x in ice_transports(pc)] == ["new"]
        assert ice_transport(pc).remote_parameters is None
        await pc.setRemoteDescription(answer)
        # These had been found too late for the offer.
        for candidate in candidates(pc.localDescription):
            await answerer.addIceCandidate(candidate)
        await switched(pc, answerer)
    server.close()


@pytest.mark.parametrize("phase", ["nothing", "ICE", "DTLS"])
async def test_starts_afterwards(
    network: Network, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    """
    What has not started when a description is applied starts when it has failed, with
    what was known before it.
    """
    network.delay(0.2)
    async with peers(network) as (pc, answerer):
        asked = slow_candidates(monkeypatch)
        channel = pc.createDataChannel("test")
        answer = await answered(answerer, await offered(pc))
        offer = await offered(answerer, iceRestart=True)
        for pattern, replacement in (
            ("^(a=candidate:.*) 10.0.2.1 ", rf"\g<1> {SLOW} "),
            ("^(a=fingerprint:sha-256).*", r"\1 00"),
            ("^a=sctp-port:5000", "a=sctp-port:5001"),
        ):
            offer = edited(offer, pattern, replacement)
        await pc.setRemoteDescription(answer)
        transport = ice_transport(pc)
        if phase != "nothing":
            await until(lambda: transport.started)
        if phase == "DTLS":
            await until(lambda: transport.state == "completed")
        applying = asyncio.create_task(pc.setRemoteDescription(offer))
        await until(lambda: asked)
        await asyncio.sleep(5)
        assert channel.readyState == "connecting"
        applying.cancel()
        await answerer.setLocalDescription(ROLLBACK)
        await until(lambda: channel.readyState == "open")


NO_DATA_PORT = {
    "missing": ("^a=sctp-port:.*\r\n", ""),
    "negative": ("^a=sctp-port:.*", "a=sctp-port:-1"),
    "too-big": ("^a=sctp-port:.*", "a=sctp-port:65536"),
    "legacy": ("^m=application (.*) UDP/DTLS/SCTP ", r"m=application \1 DTLS/SCTP "),
}


@pytest.mark.parametrize("name", NO_DATA_PORT)
@pytest.mark.parametrize("connected", [False, True], ids=["first", "again"])
async def test_no_data_port(network: Network, name: str, connected: bool) -> None:
    """
    A description which does not say to which SCTP port to connect is refused.
    """
    async with peers(network) as (offerer, answerer):
        offerer.createDataChannel("test")
        pattern, replacement = NO_DATA_PORT[name]
        if connected:
            await negotiate(offerer, answerer)
            await switched(offerer, answerer)
        offer = await offered(offerer)
        bad = edited(offer, pattern, replacement)
        with nothing_changes(answerer), pytest.raises(ValueError, match="no SCTP port"):
            await answerer.setRemoteDescription(bad)
        answer = await answered(answerer, offer)
        bad = edited(answer, pattern, replacement)
        with nothing_changes(offerer), pytest.raises(ValueError, match="no SCTP port"):
            await offerer.setRemoteDescription(bad)
        await offerer.setRemoteDescription(answer)
        await switched(offerer, answerer)
        await until(
            lambda: offerer.sctp is not None and offerer.sctp.state == "connected"
        )


async def test_no_setup(network: Network) -> None:
    """
    Who does not say which DTLS roles it may have is told so.
    """
    async with connected_pair(network) as pair:
        bad = edited(await offered(pair.offerer), "^a=setup:.*\r\n", "")
        with (
            nothing_changes(pair.answerer),
            pytest.raises(ValueError, match='section "0" has no DTLS setup attribute'),
        ):
            await pair.answerer.setRemoteDescription(bad)
