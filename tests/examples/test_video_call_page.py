"""
What the page of the video call does at its limits, in a browser.
"""

import pytest
from playwright.async_api import Browser

from examples.video_call import rooms

from .video_call import ChromiumTab, chromium, open_page, serving
from .watching import eventually, moves, needs_chromium

pytestmark = [pytest.mark.interop, needs_chromium]

CONTROLS = "#controls button, #seconds, #filter, #listen, #say button, #text"


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
