"""
Bad descriptions, and those whose callers are cancelled: nothing changes, in any state,
and the next good one works.
"""

import asyncio
import re

import pytest

from aiortc_restart import (
    RTCConfiguration,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc_restart.session.proposals import Proposals

from .calls import (
    answered,
    edited,
    ice_transport,
    offered,
    paths,
    peers,
    restart,
    sections,
    switched,
    ufrag_of,
)
from .network import Network
from .snapshots import nothing_changes
from .utils import connected_pair, negotiate, until

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
    "grammar": ("^a=ice-pwd:.", "a=ice-pwd:!"),
}


def add_media(*pcs: RTCPeerConnection) -> None:
    for pc in pcs:
        pc.addTransceiver("audio")


@pytest.mark.parametrize("type", ["offer", "pranswer", "answer"])
@pytest.mark.parametrize("side", ["local", "remote"])
async def test_bad_credentials(network: Network, side: str, type: str) -> None:
    """
    Credentials which are missing or malformed are refused, whatever else is wrong.
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
                    pytest.raises(ValueError, match=r"^ICE (username|password)|mid"),
                ):
                    await apply(bad)
        await apply(good)
        await pair.exchange()


@pytest.mark.parametrize("connected", [False, True], ids=["first", "again"])
async def test_no_common_codec(network: Network, connected: bool) -> None:
    """
    A section without a common codec is rejected, and the rest of its offer goes on.
    """
    # RFC 9429 section 5.3.1
    async with peers(network) as (offerer, pc):
        offerer.createDataChannel("test")
        if connected:
            await negotiate(offerer, pc)
            await switched(offerer, pc)
        offerer.addTransceiver("audio")
        offerer.addTransceiver("video")
        offer = await offered(offerer, iceRestart=True)
        bad = edited(offer, "(VP8|H264|VP9|AV1|rtx)/90000", "unknown/90000")
        answer = await answered(pc, bad)
        assert [(x.kind, x.port > 0) for x in sections(answer)] == [
            (x.kind, x.kind != "video") for x in sections(offer)
        ]
        assert [x.kind for x in pc.getTransceivers()] == ["audio"]
        await offerer.setRemoteDescription(answer)
        await switched(offerer, pc)
        assert [x.stopped for x in offerer.getTransceivers()] == [False, True]
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
                # Planning ends with it.
                patch.setattr(Proposals, "check_restart", fail)
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


NO_DATA_PORT = {
    "missing": ("^a=sctp-port:.*\r\n", ""),
    "negative": ("^a=sctp-port:.*", "a=sctp-port:-1"),
    "too-big": ("^a=sctp-port:.*", "a=sctp-port:65536"),
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


@pytest.mark.parametrize("type", ["offer", "answer"])
async def test_no_setup_in_a_bundle(network: Network, type: str) -> None:
    """
    A local description without a DTLS role in a section is refused, also where the
    section is bundled.
    """
    async with peers(network) as (pc, other):
        for x in (pc, other):
            x.addTransceiver("audio")
            x.addTransceiver("video")
        good = await pc.createOffer()
        if type == "answer":
            await pc.setRemoteDescription(await offered(other))
            good = await pc.createAnswer()
        head, audio, video = re.split("^(?=m=)", good.sdp, flags=re.M)
        video = re.sub("^a=setup:.*\r\n", "", video, flags=re.M)
        bad = RTCSessionDescription(sdp=head + audio + video, type=type)
        with nothing_changes(pc), pytest.raises(ValueError, match="setup"):
            await pc.setLocalDescription(bad)
        await pc.setLocalDescription(good)


async def test_stopped_since_the_offer_was_made(network: Network) -> None:
    """
    An offer is refused whose transceiver has been stopped since it was made.
    """
    async with peers(network) as (pc, answerer):
        stopped = pc.addTransceiver("audio")
        pc.addTransceiver("video")
        offer = await pc.createOffer()
        await stopped.stop()
        with nothing_changes(pc), pytest.raises(ValueError, match="No transceiver"):
            await pc.setLocalDescription(offer)
        await negotiate(pc, answerer)
        await switched(pc, answerer)


async def test_channel_after_an_offer_with_data(network: Network) -> None:
    """
    The first data channel uses what an offer has described already.
    """
    configuration = RTCConfiguration(iceServers=[], alwaysNegotiateDataChannels=True)
    async with peers(network, configuration=configuration) as (pc, answerer):
        offer = await pc.createOffer()
        channel = pc.createDataChannel("test")
        await pc.setLocalDescription(offer)
        await pc.setRemoteDescription(await answered(answerer, pc.localDescription))
        await until(lambda: channel.readyState == "open")
