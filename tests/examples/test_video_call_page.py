"""
What the page of the video call does at its limits, in a browser.
"""

import asyncio

import pytest
from playwright.async_api import Browser, WebSocketRoute

from examples.video_call import rooms

from .video_call import ChromiumTab, chromium, open_page, serving
from .watching import OTHER, eventually, moves, needs_chromium

pytestmark = [pytest.mark.interop, needs_chromium]

CONTROLS = "#controls button, #seconds, #filter, #listen, #say button, #text"


# The signaling states of the page's connection, all of them.
RECORD = """
window.signaling = [];
window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...options) {
        super(...options);
        this.onsignalingstatechange = () => signaling.push(this.signalingState);
    }
};
"""

PRESS_BOTH = """for (const side of ["here", "server"]) {
    document.querySelector(`#restart-${side}`).click();
}"""


def delay(socket: WebSocketRoute) -> None:
    """
    Have what the page says of its offers come late, so that they meet the server's.
    """
    loop = asyncio.get_running_loop()
    server = socket.connect_to_server()

    def send(message: str | bytes) -> None:
        late = str(message).startswith(('{"description"', '{"candidate"'))
        loop.call_later(1.0 if late else 0, server.send, message)

    socket.on_message(send)


async def enabled(tab: ChromiumTab) -> set[bool]:
    """
    Return whether one can use the controls: all of them, or none.
    """
    states = f"[...document.querySelectorAll('{CONTROLS}')].map((x) => !x.disabled)"
    return {*await tab.evaluate(states), bool(await tab.shown("#second"))}


async def refused(browser: Browser, url: str, reason: str) -> None:
    """
    Open a page which is not let in, and look whether it says why, and stands still.
    """
    tab = await open_page(browser, url)

    async def told() -> bool:
        return reason in await tab.text("#notice")

    await eventually(told, "it is not told")
    assert await enabled(tab) == {False}
    for button in ("#restart-here", "#restart-server", "#cut", "#listen"):
        await tab.page.click(button, force=True)
    # Nothing that comes later takes the place of the reason.
    await tab.page.wait_for_timeout(500)
    assert await told()
    assert (
        await tab.evaluate("document.querySelector('#own').srcObject.active") is False
    )
    assert tab.errors == []


@pytest.mark.parametrize(
    ("room", "limit", "reason"),
    [
        ("No Such", None, "There is no such room"),
        ("test", "MAX_PARTICIPANTS", "Room test is full"),
        ("test", "MAX_ROOMS", "There are too many rooms"),
    ],
    ids=["bad-room", "full", "no-room"],
)
async def test_refused(
    monkeypatch: pytest.MonkeyPatch, room: str, limit: str | None, reason: str
) -> None:
    """
    Who is not let in is told why, and has nothing to press.
    """
    if limit is not None:
        monkeypatch.setattr(rooms, limit, 0)
    async with serving() as (_, url), chromium() as browser:
        await refused(browser, f"{url}?room={room}", reason)


async def test_controls() -> None:
    """
    There is something to press from the welcome to the end of the call.
    """
    async with serving() as (server, url), chromium() as browser:
        context = await browser.new_context(permissions=["camera", "microphone"])
        tab = ChromiumTab(await context.new_page())
        await tab.page.route_web_socket("**/socket", lambda socket: None)
        await tab.page.goto(url)
        await moves(tab, "#own")
        assert await enabled(tab) == {False}

        tab = await open_page(browser, url)
        await moves(tab, "#processed")
        assert await enabled(tab) == {True}
        for session in server.sessions:
            session.dismiss(1001, "That was it.")

        async def told() -> bool:
            return await tab.text("#notice") == (
                "That was it. Reload the page to join again."
            )

        await eventually(told, "it is not told")
        assert await enabled(tab) == {False}
        assert tab.errors == []


async def test_second_person() -> None:
    """
    *Join as a second person* opens a tab in which one is somebody else.
    """
    async with serving() as (server, url), chromium() as browser:
        tab = await open_page(browser, f"{url}?room=test&name=Ann")
        await moves(tab, "#processed")
        async with tab.page.context.expect_page() as opened:
            await tab.click("#second")
        second = ChromiumTab(await opened.value)
        for one, other in ((tab, "second"), (second, "Ann")):
            await moves(one, OTHER)
            assert await one.text(".other:not([hidden]) figcaption") == other
            assert await one.text("#room") == "test"
            assert not await one.shown("#notice")
            assert one.errors == []
        [room] = server.rooms.rooms.values()
        assert len(room.participants) == 2


async def test_both_restart() -> None:
    """
    When both buttons are pressed at the same moment the offers meet, and the polite
    page takes back its own.
    """
    async with serving() as (_, url), chromium() as browser:
        context = await browser.new_context(permissions=["camera", "microphone"])
        await context.add_init_script(RECORD)
        tab = ChromiumTab(await context.new_page())
        await tab.page.route_web_socket("**/socket", delay)
        await tab.page.goto(url)
        await moves(tab, "#processed")
        for count in range(2, 5):
            await tab.evaluate("signaling.length = 0")
            await tab.evaluate(PRESS_BOTH)

            async def restarted(count: int = count) -> bool:
                states = await tab.states()
                return (
                    len(await tab.generations()) >= count
                    and states["here signalingState"][-1] == "stable"
                    and states["server signalingState"][-1] == "stable"
                    and states["here iceConnectionState"][-1]
                    in ("connected", "completed")
                    and states["server iceConnectionState"][-1] == "completed"
                )

            await eventually(restarted, "it does not restart")
            # They have met.
            assert await tab.evaluate("signaling") == [
                *("have-local-offer", "stable", "have-remote-offer", "stable")
            ]
        await moves(tab, "#processed")
        assert not await tab.shown("#notice")
        assert tab.errors == []
