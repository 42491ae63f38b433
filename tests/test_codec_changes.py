"""
What is negotiated in a call reaches the senders and receivers which run.
"""

import asyncio
import re
from collections.abc import Callable

import pytest
from aiortc import MediaStreamTrack, RTCSessionDescription, VideoStreamTrack
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpReceiveParameters

from aiortc_restart import RTCPeerConnection, RTCRtpSender

from .calls import SETTLING, answered, offered, peers, sections, switched
from .media import Silence
from .network import Network
from .utils import negotiate, until


def payload_types(pc: RTCPeerConnection) -> set[int | None]:
    """
    Record the payload types of what is received from now on.
    """
    seen: set[int | None] = set()
    (receiver,) = pc.getReceivers()
    handle = receiver._handle_rtp_packet

    async def note(packet, arrival_time_ms):  # type: ignore[no-untyped-def]
        seen.add(packet.payload_type)
        await handle(packet, arrival_time_ms)

    receiver._handle_rtp_packet = note  # type: ignore[method-assign]
    return seen


async def decode(track: MediaStreamTrack, sizes: list[int]) -> None:
    """
    Count the pictures which are decoded.
    """
    try:
        while True:
            await track.recv()
            sizes.append(1)
    except MediaStreamError:
        pass


@pytest.mark.parametrize("offerer", [0, 1])
async def test_codec_changes(network: Network, offerer: int) -> None:
    """
    Both sides send and decode the codec which was negotiated last, whoever prefers it.
    """
    # RFC 3264 section 8.3.2
    async with peers(network) as both:
        pictures: list[list[int]] = [[], []]
        tasks = []
        for pc, seen in zip(both, pictures, strict=True):
            pc.addTrack(VideoStreamTrack())
            pc.on(
                "track",
                lambda x, y=seen: tasks.append(asyncio.create_task(decode(x, y))),
            )
        await negotiate(*both)
        await until(lambda: all(pictures))
        types = [payload_types(x) for x in both]
        capabilities = RTCRtpSender.getCapabilities("video")
        assert capabilities is not None
        for name in ("H264", "VP8", "H264"):
            (transceiver,) = both[offerer].getTransceivers()
            transceiver.setCodecPreferences(
                [x for x in capabilities.codecs if x.name == name][:1]
            )
            _, answer = await negotiate(both[offerer], both[1 - offerer])
            (codec,) = sections(answer)[0].rtp.codecs
            assert codec.name == name
            # What is on its way still arrives.
            await asyncio.sleep(0.5)
            for number in (0, 1):
                types[number].clear()
                pictures[number].clear()
            await until(lambda: all(len(x) > 3 for x in pictures))
            assert types == [{codec.payloadType}, {codec.payloadType}]
        for task in tasks:
            task.cancel()


CHANGES: dict[str, Callable[[str], str]] = {
    "nothing": lambda sdp: sdp,
    "extensions": lambda sdp: re.sub("a=extmap:.*\r\n", "", sdp),
    "sources": lambda sdp: re.sub(r"a=ssrc:\d+", "a=ssrc:1234", sdp),
    "codecs": lambda sdp: re.sub("a=rtcp-fb:.*\r\n", "", sdp),
    "direction": lambda sdp: sdp.replace("a=sendrecv", "a=sendonly"),
}
"How an answer is changed."


@pytest.mark.parametrize("change", CHANGES)
async def test_told_of_what_changes(network: Network, change: str) -> None:
    """
    Senders and receivers are told of what has changed, and only then: most restarts
    change nothing for them.
    """
    told = []
    async with peers(network) as (pc, answerer):
        pc.addTrack(Silence("video"))
        answerer.addTrack(Silence("video"))
        await negotiate(pc, answerer)
        await switched(pc, answerer)
        (transceiver,) = pc.getTransceivers()
        receive = transceiver.receiver.receive

        async def note(parameters: RTCRtpReceiveParameters) -> None:
            told.append(parameters)
            await receive(parameters)

        transceiver.receiver.receive = note  # type: ignore[method-assign]
        offer = await offered(pc, iceRestart=True)
        answer = await answered(answerer, offer)
        changed = RTCSessionDescription(CHANGES[change](answer.sdp), answer.type)
        await pc.setRemoteDescription(changed)
        await switched(pc, answerer)
        await asyncio.sleep(SETTLING)
    assert len(told) == (change != "nothing")
