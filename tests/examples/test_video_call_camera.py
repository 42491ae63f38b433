"""
Sound of the video call's page, in a browser.
"""

import pytest

from .video_call import chromium, open_page, serving
from .watching import eventually, moves, needs_chromium

pytestmark = [pytest.mark.interop, needs_chromium]

# What the page has made, for the test to look at.
SHOW = """
window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...options) { super(...options); window.pc = this; }
};
"""

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
