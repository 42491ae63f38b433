"""
The page of the video call, in browsers.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
import pytest

from examples.video_call.server import Server

from ..interop.remote import missing
from .video_call import OUT, ChromiumTab, Tab, chromium, firefox, open_page, serving
from .watching import OTHER, eventually, moves, needs_chromium

pytestmark = pytest.mark.interop


@dataclass
class Room:
    server: Server
    url: str
    ann: ChromiumTab
    ben: ChromiumTab


async def reads(tab: Tab, text: str) -> None:
    async def arrived() -> bool:
        return text in await tab.text("#texts")

    await eventually(arrived, f"{text!r} has not come")


async def say(tab: ChromiumTab, text: str) -> None:
    await tab.page.fill("#text", text)
    await tab.click("#say button")


async def screenshot(tab: ChromiumTab, name: str, width: int, height: int) -> None:
    OUT.mkdir(exist_ok=True)
    await tab.page.set_viewport_size({"width": width, "height": height})
    await tab.evaluate("window.scrollTo(0, 0)")
    # The chart is drawn twice a second.
    await asyncio.sleep(0.6)
    path = OUT / f"video_call_{name}"
    await tab.page.screenshot(path=path.with_suffix(".png"))
    await tab.page.screenshot(path=f"{path}_full.png", full_page=True)
    # Nothing is beside the screen of a phone.
    assert await tab.evaluate(
        "document.documentElement.scrollWidth <= window.innerWidth"
    )


@contextlib.asynccontextmanager
async def room_of_two() -> AsyncIterator[Room]:
    """
    Let two people meet, and look at the end whether their pages had errors.
    """
    async with serving() as (server, url), chromium() as browser:
        ann = await open_page(browser, f"{url}?room=test&name=Ann")
        ben = await open_page(browser, f"{url}?room=test&name=Ben")
        for tab in (ann, ben):
            await moves(tab, "#processed")
            await moves(tab, OTHER)
        room = Room(server, url, ann, ben)
        yield room
        for tab in (room.ann, room.ben):
            assert tab.errors == []
            assert await tab.shown("#notice") == 0, await tab.text("#notice")


@needs_chromium
async def test_pictures_and_chat() -> None:
    """
    Both see their own picture processed, and the other's; what one says both read.
    """
    async with room_of_two() as room:
        for tab, other in ((room.ann, "Ben"), (room.ben, "Ann")):
            await moves(tab, "#own")
            assert await tab.text(".other:not([hidden]) figcaption") == other
        await say(room.ann, "Hello <b>Ben</b>")
        await reads(room.ben, "Ann: Hello <b>Ben</b>")
        await reads(room.ann, "Ann: Hello <b>Ben</b>")

        await room.ann.page.select_option("#filter", "edges")

        async def differ() -> bool:
            own = await room.ann.pixels("#own")
            processed = await room.ann.pixels("#processed")
            other = await room.ben.pixels(OTHER)
            # Between the edges it is dark; the other sees what the camera does.
            return bool(
                np.abs(own - processed).mean() > 20
                and np.abs(own - other).mean() < np.abs(own - processed).mean()
            )

        await eventually(differ, "the processed picture is like the own one")
        await screenshot(room.ann, "phone", 390, 844)


@needs_chromium
@pytest.mark.parametrize("side", ["here", "server"])
async def test_restart(side: str) -> None:
    """
    A restart gives both ends new ufrags, is marked on the chart, and nothing stops.
    """
    async with room_of_two() as room:
        [[here, server, pair]] = await room.ann.generations()
        await room.ann.click(f"#restart-{side}")

        async def restarted() -> list[list[str]]:
            generations = await room.ann.generations()
            return generations if len(generations) == 2 else []

        _, after = await eventually(restarted, "no second generation")
        for old, new in zip((here, server, pair), after, strict=True):
            assert old != new
        assert await room.ann.marks() == [side]
        await moves(room.ann, "#processed")
        await moves(room.ann, OTHER)
        await moves(room.ben, OTHER)
        states = await room.ann.states()
        for end in ("here", "server"):
            assert "disconnected" not in states[f"{end} iceConnectionState"]
        # The other's call has not been touched.
        assert len(await room.ben.generations()) == 1


@needs_chromium
async def test_cut() -> None:
    """
    A cut is seen as a stall and as `disconnected`, and the page recovers by itself.
    """
    async with room_of_two() as room:
        ann = room.ann
        await ann.page.fill("#seconds", "15")
        await ann.click("#cut")

        async def stalled() -> bool:
            return bool(await ann.shown(".stall")) and "gone" in await ann.text(
                "#countdown"
            )

        await eventually(stalled, "the stall is not shown")
        await say(ann, "in the dark")

        async def disconnected() -> bool:
            states = await ann.states()
            return all(
                "disconnected" in states[f"{end} iceConnectionState"]
                for end in ("here", "server")
            )

        await eventually(disconnected, "it is not disconnected")

        async def recovered() -> bool:
            states = await ann.states()
            return (
                states["here iceConnectionState"][-1] in ("connected", "completed")
                and states["server iceConnectionState"][-1] == "completed"
                and not await ann.shown(".stall")
            )

        await eventually(recovered, "it does not recover")
        await moves(ann, "#processed")
        await moves(ann, OTHER)
        await reads(room.ben, "in the dark")
        assert "self" in await ann.marks()
        assert len(await ann.generations()) >= 2
        # Chromium takes a large gap for another beginning of the stream.
        assert int(await ann.text("#server-lost")) > 0
        for mark in ("outage", "down", "lost"):
            assert await ann.shown(f"#chart .{mark}")
        # The other has not noticed anything but the picture.
        states = await room.ben.states()
        assert "disconnected" not in states["here iceConnectionState"]
        await screenshot(ann, "laptop", 1280, 800)


@needs_chromium
async def test_reload_and_second_tab() -> None:
    """
    Who comes again takes their own place, whether they have left it or not.
    """
    async with room_of_two() as room:
        for _ in range(2):
            await room.ben.page.reload()
            await moves(room.ben, OTHER)
            await moves(room.ann, OTHER)
        tab = ChromiumTab(await room.ben.page.context.new_page())
        await tab.page.goto(f"{room.url}?room=test&name=Ben")
        await moves(tab, OTHER)
        await moves(room.ann, OTHER)

        async def told() -> bool:
            return "goes on in another tab" in await room.ben.text("#notice")

        await eventually(told, "the first tab is not told")
        assert room.ben.errors == tab.errors == []
        room.ben = tab
        # Two for the own tracks and two for the other's, whoever that was, and data.
        assert await room.ann.shown(".other video") == 1
        [participants] = [x.participants for x in room.server.rooms.rooms.values()]
        assert len(participants) == 2
        for participant in participants.values():
            assert len(participant.pc.getTransceivers()) == 4


@pytest.mark.skipif(missing("firefox") is not None, reason=str(missing("firefox")))
async def test_firefox() -> None:
    """
    All that is shown works in Firefox, too.
    """
    async with serving() as (_, url), firefox(f"{url}?room=test") as tab:
        await moves(tab, "#processed")
        assert len(await tab.generations()) == 1
        for number, side in enumerate(("here", "server"), 2):
            await tab.click(f"#restart-{side}")

            async def restarted(number: int = number) -> bool:
                return len(await tab.generations()) == number

            await eventually(restarted, f"restart {side}")
            await moves(tab, "#processed")
        await tab.click("#cut")

        async def disconnected() -> bool:
            states = await tab.states()
            return "disconnected" in states["here iceConnectionState"]

        await eventually(disconnected, "it is not disconnected")
        await moves(tab, "#processed")
        assert (await tab.marks())[:2] == ["here", "server"]
        assert tab.errors == []
