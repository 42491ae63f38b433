"""
M-sections that are rejected in a call with a browser, and used again for something else
(RFC 9429 sections 5.2.2 and 5.3.1).
"""

import re
from pathlib import Path

import pytest
from aiortc import RTCSessionDescription

from aiortc_restart import RTCPeerConnection

from ..applications import without_data
from ..calls import sections
from ..media import Pictures
from .call import Call, calling
from .goes_on import goes_on
from .local import LocalPeer
from .media import Clip
from .remote import missing, remote_peer

pytestmark = pytest.mark.interop

BROWSERS = ["chromium", "firefox"]


class RejectsData(RTCPeerConnection):
    """
    A peer which rejects data channels when it is asked to.
    """

    rejecting = False

    async def createAnswer(self) -> RTCSessionDescription:
        answer = await super().createAnswer()
        return without_data(answer, alone=True) if self.rejecting else answer


def described(call: Call) -> list[tuple[str, str, bool]]:
    """
    Return the kinds and mids of the m-sections, and whether they are in use.
    """
    return [
        (x.kind, x.rtp.muxId, bool(x.port)) for x in sections(call.pc.localDescription)
    ]


@pytest.mark.parametrize("browser", BROWSERS)
@pytest.mark.parametrize("who", ["local", "remote"])
@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_used_again(
    browser: str, who: str, restarts: bool, movie: Path, clip: Clip
) -> None:
    """
    The section of a stopped transceiver is rejected, whoever stops it, and used again
    for the next one; messages and pictures go on, and the call can be restarted.
    """
    if reason := missing(browser):
        pytest.skip(reason)
    async with (
        remote_peer(browser) as remote,
        calling(LocalPeer(RTCPeerConnection, movie), remote, who, clip) as call,
    ):
        pc = call.pc
        assert isinstance(pc, RTCPeerConnection)
        before = described(call)
        index = [kind for kind, _, _ in before].index("video")
        mid = before[index][1]
        if who == "local":
            (stopped,) = [x for x in pc.getTransceivers() if x.mid == mid]
            await stopped.stop()
        else:
            await remote.call("stopTransceiver", mid=mid)
        if restarts:
            pc.restartIce()
        await call.negotiate(who)
        assert described(call)[index] == ("video", mid, False)
        if who == "local":
            pc.addTrack(Pictures())
        else:
            await remote.call("addTransceiver", kind="video")
        await call.negotiate(who)
        after = described(call)
        assert len(after) == len(before)
        assert after[index][0] == "video" and after[index][2]
        assert after[index][1] != mid
        (used,) = [x for x in pc.getTransceivers() if x.mid == after[index][1]]
        assert not used.stopped
        await goes_on(call, only_to="remote" if who == "local" else "local")
        await remote.call("restartIce")
        await call.negotiate("remote")
        await goes_on(call, only_to="remote" if who == "local" else "local")
        assert pc.connectionState == "connected"
        assert (await call.snapshot()).remote["errors"] == []


@pytest.mark.parametrize("browser", BROWSERS)
@pytest.mark.parametrize("restarts", [False, True], ids=["plain", "restart"])
async def test_data_rejected(
    browser: str, restarts: bool, movie: Path, clip: Clip
) -> None:
    """
    An answer may reject the data channels of a call: those close at both ends, media
    goes on, and later ones are negotiated anew.
    """
    if reason := missing(browser):
        pytest.skip(reason)
    async with (
        remote_peer(browser) as remote,
        calling(LocalPeer(RejectsData, movie), remote, "remote", clip) as call,
    ):
        pc, channel = call.pc, call.local.channel
        assert isinstance(pc, RejectsData)
        assert channel is not None
        await call.local.stop_sending()
        await remote.call("stopSending")
        pc.rejecting = True
        if restarts:
            await remote.call("restartIce")
        await call.negotiate("remote")
        pc.rejecting = False
        assert not re.search("^m=application [1-9]", pc.localDescription.sdp, re.M)
        await call.until(lambda now: now.remote["channelState"] == "closed")
        assert channel.readyState == "closed"
        before = await call.snapshot()
        await call.until(
            lambda now: now.local_frames["video"] >= before.local_frames["video"] + 3
        )
        call.local.use_channel(pc.createDataChannel("later"))
        await call.negotiate("local")
        await call.until(lambda now: now.remote["channelState"] == "open")
        call.local.start_sending()
        await remote.call("startSending")
        await goes_on(call)


async def shows_pictures(call: Call) -> None:
    """
    Wait until pictures which come from now on are shown at the other end.
    """
    shown = (await call.snapshot()).remote["framesDecoded"]
    await call.until(
        lambda now: (
            now.remote["framesDecoded"] >= shown + 3
            and call.pc.connectionState == "connected"
            and now.remote["connectionState"] == "connected"
        )
    )


@pytest.mark.parametrize("browser", BROWSERS)
@pytest.mark.parametrize("who", ["local", "remote"])
@pytest.mark.parametrize("media", [False, True], ids=["data", "all"])
async def test_nothing_left(
    browser: str, who: str, media: bool, movie: Path, clip: Clip
) -> None:
    """
    When everything has been rejected, be it one section or all of several, either end
    may add something, and the call is connected again and can be restarted.
    """
    if reason := missing(browser):
        pytest.skip(reason)
    async with remote_peer(browser) as remote:
        call = Call(LocalPeer(RejectsData, movie), remote)
        pc = call.pc
        assert isinstance(pc, RejectsData)
        try:
            await call.connect("remote", clip, media=media)
            for kind, mid, _ in described(call):
                if kind != "application":
                    await remote.call("stopTransceiver", mid=mid)
            pc.rejecting = True
            await call.negotiate("remote")
            pc.rejecting = False
            before = described(call)
            assert [used for _, _, used in before] == [False] * len(before)

            pc.addTrack(Pictures())
            if who == "remote":
                await remote.call("addTransceiver", kind="video")
            await call.negotiate(who)
            after = described(call)
            # A section for data is used for data only.
            assert len(after) == max(len(before), 2)
            assert [kind for kind, _, used in after if used] == ["video"]
            await shows_pictures(call)
            await remote.call("restartIce")
            await call.negotiate("remote")
            await shows_pictures(call)
        finally:
            await call.stop()
