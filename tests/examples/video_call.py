"""
A video call to look at: its server, and browsers which show its page.
"""

import abc
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web
from numpy.typing import NDArray
from playwright.async_api import Browser, Page, async_playwright

from aiortc_restart import RTCConfiguration, RTCIceServer
from examples.video_call.hosts import Hosts
from examples.video_call.server import Server

from ..interop.remote import (
    CHROMIUM_ARGUMENTS,
    RemotePeer,
    find_chromium,
    find_firefox,
    node_peer,
)

OUT = Path("out")

# What the page draws of a video, small.
PIXELS = """(() => {{
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [40, 30];
    const context = canvas.getContext("2d");
    context.drawImage(document.querySelector({selector}), 0, 0, 40, 30);
    return [...context.getImageData(0, 0, 40, 30).data];
}})()"""

STATES = """Object.fromEntries(
    [...document.querySelectorAll("[data-end] .states")].map((list) => [
        list.parentElement.dataset.end + " " + list.dataset.state,
        [...list.children].map((item) => item.textContent),
    ]),
)"""

GENERATIONS = """[...document.querySelectorAll("#generations tbody tr")].map((row) =>
    [...row.children].slice(2).map((cell) => cell.textContent))"""


class Tab(abc.ABC):
    """
    A page in a browser.
    """

    def __init__(self) -> None:
        self.errors: list[str] = []
        "What the page has complained about."

    @abc.abstractmethod
    async def click(self, selector: str) -> None:
        pass

    @abc.abstractmethod
    async def evaluate(self, expression: str) -> Any:
        pass

    async def frames(self, selector: str) -> int:
        """
        Return how many pictures of a video have been shown.
        """
        query = f"document.querySelector({json.dumps(selector)})"
        return int(
            await self.evaluate(
                f"{query}?.getVideoPlaybackQuality().totalVideoFrames ?? 0"
            )
        )

    async def generations(self) -> list[list[str]]:
        """
        Return the ufrag here, the one of the server, and the pair of each generation.
        """
        return list(await self.evaluate(GENERATIONS))

    async def marks(self) -> list[str]:
        """
        Return which restarts the chart shows.
        """
        marks = "[...document.querySelectorAll('#chart .restart')]"
        return list(await self.evaluate(f"{marks}.map((mark) => mark.dataset.kind)"))

    async def pixels(self, selector: str) -> NDArray[np.float64]:
        """
        Return what a video shows, in red, green, blue and opacity.
        """
        script = PIXELS.format(selector=json.dumps(selector))
        return np.array(await self.evaluate(script), np.float64)

    async def shown(self, selector: str) -> int:
        """
        Return how many elements there are which one can see.
        """
        query = f"[...document.querySelectorAll({json.dumps(selector)})]"
        return int(await self.evaluate(f"{query}.filter((x) => !x.hidden).length"))

    async def states(self) -> dict[str, list[str]]:
        """
        Return the histories of the states of both ends.
        """
        return dict(await self.evaluate(STATES))

    async def text(self, selector: str) -> str:
        query = f"document.querySelector({json.dumps(selector)})"
        return str(await self.evaluate(f"{query}.textContent"))


class ChromiumTab(Tab):
    def __init__(self, page: Page) -> None:
        super().__init__()
        self.page = page
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "console",
            lambda message: (
                self.errors.append(message.text)
                if message.type in ("error", "warning")
                else None
            ),
        )

    async def click(self, selector: str) -> None:
        await self.page.click(selector)

    async def evaluate(self, expression: str) -> Any:
        return await self.page.evaluate(expression)


class FirefoxTab(Tab):
    def __init__(self, peer: RemotePeer) -> None:
        super().__init__()
        self._peer = peer

    async def click(self, selector: str) -> None:
        await self._peer.call("click", selector=selector)

    async def evaluate(self, expression: str) -> Any:
        while not self._peer.messages.empty():
            self.errors.append(str(self._peer.messages.get_nowait()))
        return await self._peer.call("evaluate", expression=expression)

    async def frames(self, selector: str) -> int:
        # Without a screen it shows none, by its own account.
        query = f"document.querySelector({json.dumps(selector)})"
        return int(await self.evaluate(f"{query}.dataset.frames ?? 0"))


@contextlib.asynccontextmanager
async def chromium(autoplay: bool = True) -> AsyncIterator[Browser]:
    """
    Run Chromium.

    :param autoplay: Whether a page may make sound before somebody has clicked on it.
    """
    arguments = [x for x in CHROMIUM_ARGUMENTS if autoplay or "autoplay" not in x]
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(
            args=arguments, executable_path=str(find_chromium())
        ) as browser,
    ):
        yield browser


@contextlib.asynccontextmanager
async def firefox(url: str) -> AsyncIterator[FirefoxTab]:
    """
    Show a page in Firefox.
    """
    program = "../examples/firefox.js"
    async with node_peer("firefox", (), program, str(find_firefox()), url) as peer:
        yield FirefoxTab(peer)


async def open_page(
    browser: Browser, url: str, width: int = 1280, height: int = 800, script: str = ""
) -> ChromiumTab:
    """
    Show a page to a person who has not been there before.

    :param script: What is run before the page's own programs.
    """
    context = await browser.new_context(viewport={"width": width, "height": height})
    await context.grant_permissions(["camera", "microphone"])
    await context.add_init_script(script)
    tab = ChromiumTab(await context.new_page())
    await tab.page.goto(url)
    return tab


def make_server(*servers: RTCIceServer) -> Server:
    return Server(RTCConfiguration(iceServers=[*servers], iceTrickle=True), Hosts())


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[tuple[Server, str]]:
    """
    Run a server, and say where it is.
    """
    server = make_server()
    runner = web.AppRunner(server.application())
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield server, f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
