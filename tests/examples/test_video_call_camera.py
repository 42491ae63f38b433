"""
Picture and sound of the video call's page, in a browser: what it sends when it lacks a
camera or a microphone, and what it gets back.
"""

import pytest

from .video_call import chromium, open_page, serving
from .watching import eventually, moves, needs_chromium

pytestmark = [pytest.mark.interop, needs_chromium]

# What the page has made, for the test to look at.
SHOW = """
window.AudioContext = class extends AudioContext {
    constructor() { super(); window.audio = this; }
};
window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...options) { super(...options); window.pc = this; }
};
"""

# Fails for a kind of device as if there were none.
LACK = """
const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (media) => {
    if (media.%s) {
        throw new DOMException("Requested device not found", "NotFoundError");
    }
    return open(media);
};
"""

TRACKS = """document.querySelector("#own").srcObject.getTracks()
    .map((track) => [track.kind, track.label.includes("fake")])"""

# The sound which comes back is received where the own one is sent.
SOUND = """(async () => {
    const isOwn = ({ sender }) => sender.track?.kind === "audio";
    const { receiver } = pc.getTransceivers().find(isOwn);
    const report = [...(await receiver.getStats()).values()];
    const { packetsReceived, totalAudioEnergy, totalSamplesReceived } =
        report.find(({ type }) => type === "inbound-rtp") ?? {};
    return [packetsReceived ?? 0, totalSamplesReceived ?? 0, totalAudioEnergy ?? 0];
})()"""


async def test_sound() -> None:
    """
    What one says comes back from Python, and is heard once *Hear it* is pressed.
    """
    async with serving() as (_, url), chromium() as browser:
        tab = await open_page(browser, url, script=SHOW)
        await moves(tab, "#processed")
        muted = "document.querySelector('#processed').muted"
        assert await tab.evaluate(muted) is True
        for pressed in (True, False, True):
            await tab.click("#listen")
            assert await tab.evaluate(muted) is not pressed
            assert await tab.page.get_attribute("#listen", "aria-pressed") == (
                str(pressed).lower()
            )

        before = await tab.evaluate(SOUND)

        async def heard() -> bool:
            now = await tab.evaluate(SOUND)
            # The camera of the browser's test beeps once a second.
            more = [x - y for x, y in zip(now, before, strict=True)]
            return bool(more[0] > 50 and more[1] > 48000 and more[2] > 1e-4)

        await eventually(heard, f"no sound: {before}")
        assert tab.errors == []


async def test_no_microphone() -> None:
    """
    Without a microphone the camera's picture is sent all the same, with silence.
    """
    async with serving() as (_, url), chromium() as browser:
        tab = await open_page(browser, url, script=SHOW + LACK % "audio")
        await moves(tab, "#processed")
        assert "No microphone" in await tab.text("#notice")
        tracks = await tab.evaluate(TRACKS)
        assert sorted(tracks) == [["audio", False], ["video", True]]
        assert tab.errors == []


async def test_no_camera() -> None:
    """
    Without either a drawn picture is sent, with a tone from the first click.
    """
    async with serving() as (_, url), chromium(autoplay=False) as browser:
        tab = await open_page(browser, url, script=SHOW + LACK % "video")
        await moves(tab, "#processed")
        assert "No camera or microphone (NotFoundError)" in await tab.text("#notice")
        assert sorted(await tab.evaluate(TRACKS)) == [
            ["audio", False],
            ["video", False],
        ]
        assert await tab.evaluate("audio.state") == "suspended"
        await tab.click("h1")

        async def sounds() -> bool:
            return str(await tab.evaluate("audio.state")) == "running"

        await eventually(sounds, "the tone is suspended")
