"""
The other ends of the calls: implementations which are not ours.
"""

import abc
import asyncio
import contextlib
import itertools
import json
import shlex
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from playwright.async_api import Page, Route, async_playwright

HERE = Path(__file__).parent

CHROMIUM_ARGUMENTS = [
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-sandbox",
    "--use-fake-device-for-media-stream",
]

CHROMIUM_MEDIA_ARGUMENTS = [
    # An address hidden behind a multicast name has to be asked for first.
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--use-fake-ui-for-media-stream",
]

# What each of the ends needs which run in a process of Node's.
NODE_PACKAGES = {
    "firefox": "puppeteer-core",
    "werift": "werift",
    "wrtc": "@roamhq/wrtc",
}

# Media devices exist only in a secure context. Nothing looks the name up, since each
# request is answered here.
ORIGIN = "https://call.test/"

Message = dict[str, Any]


class RemoteError(Exception):
    """
    An operation failed at the other end.
    """


class RemoteCrashedError(RemoteError):
    """
    The process of the other end was killed by a signal.

    libwebrtc for Node does it to itself once in some thousand starts. It says nothing
    about our end, so that a test which meets it is run once more (see
    `pyproject.toml`).
    """


class RemotePeer(abc.ABC):
    """
    The :class:`RemotePeer` drives the other end of a call.

    The descriptions and candidates which it sends are put into :attr:`messages`, in
    their order.
    """

    def __init__(self) -> None:
        self.messages: asyncio.Queue[Message] = asyncio.Queue()

    async def call(self, method: str, **args: Any) -> Any:
        """
        Run a method of `RemoteEnd`, see `remote.js`.

        :raises RemoteError: if it fails there.
        """
        outcome = await self._call(method, args)
        if outcome.get("signal") is not None:
            raise RemoteCrashedError(f"{method}: signal {outcome['signal']}")
        if outcome.get("error") is not None:
            raise RemoteError(f"{method}: {outcome['error']}")
        return outcome.get("result")

    @abc.abstractmethod
    async def _call(self, method: str, args: Message) -> Message:
        pass


class ChromiumPeer(RemotePeer):
    """
    The :class:`ChromiumPeer` is a page in a browser.
    """

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.__page = page

    async def load(self, page: str) -> None:
        await self.__page.route("**/*", self.__serve)
        await self.__page.expose_function("emit", self.messages.put_nowait)
        await self.__page.goto(ORIGIN + page)

    async def _call(self, method: str, args: Message) -> Message:
        outcome: Message = await self.__page.evaluate(
            """([method, args]) =>
                remote.call(method, args).then(
                    (result) => ({ result }),
                    (error) => ({ error: errorText(error) }),
                )""",
            [method, args],
        )
        return outcome

    async def __serve(self, route: Route) -> None:
        path = HERE / route.request.url.removeprefix(ORIGIN)
        if path.is_file():
            await route.fulfill(path=path)
        else:
            await route.fulfill(status=404)


class NodePeer(RemotePeer):
    """
    The :class:`NodePeer` is a process of Node's, which with one of the packages of
    `package.json` is the other end, or drives the browser which is.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        super().__init__()
        self.__calls: dict[int, asyncio.Future[Message]] = {}
        self.__end: Message | None = None
        self.__numbers = itertools.count()
        self.__process = process

    @property
    def pid(self) -> int:
        return self.__process.pid

    async def _call(self, method: str, args: Message) -> Message:
        assert self.__process.stdin is not None
        if self.__end is not None:
            return self.__end
        number = next(self.__numbers)
        future = asyncio.get_running_loop().create_future()
        self.__calls[number] = future
        line = json.dumps({"id": number, "method": method, "args": args})
        self.__process.stdin.write(line.encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await self.__process.stdin.drain()
        outcome: Message = await future
        return outcome

    async def read(self) -> None:
        """
        Take what the process says, until it ends.
        """
        assert self.__process.stdout is not None
        async for line in self.__process.stdout:
            message = json.loads(line)
            if "event" in message:
                self.messages.put_nowait(message)
            else:
                future = self.__calls.pop(message["id"])
                if not future.done():
                    future.set_result(message)
        status = await self.__process.wait()
        self.__end = {"error": f"the process has ended with status {status}"}
        if status < 0:
            self.__end["signal"] = -status
        for future in self.__calls.values():
            if not future.done():
                future.set_result(self.__end)


def find_chromium() -> str | None:
    """
    Return where the browser is, or `None`.
    """
    return shutil.which("chromium") or shutil.which("chromium-browser")


def find_firefox() -> str | None:
    """
    Return where the browser is, or `None`.
    """
    return shutil.which("firefox-esr") or shutil.which("firefox")


def missing(name: str) -> str | None:
    """
    Return why there can be no other end of the given name here, or `None`.
    """
    if name == "chromium":
        return None if find_chromium() else "chromium is not installed"
    if name == "firefox" and not find_firefox():
        return "firefox is not installed"
    if shutil.which("node") is None:
        return "node is not installed"
    if not (HERE / "node_modules" / NODE_PACKAGES[name]).is_dir():
        return f"{NODE_PACKAGES[name]} is not installed: run npm ci in tests/interop"
    return None


def remote_peer(
    name: str,
    page: str = "page.html",
    wrapper: Sequence[str] = (),
    media: bool = True,
) -> contextlib.AbstractAsyncContextManager[RemotePeer]:
    """
    Start another end of a call, and end it on exit.

    :param name: One of `"chromium"`, `"firefox"`, `"werift"`, `"wrtc"`.
    :param page: What a browser shows.
    :param wrapper: The program, with its arguments, which runs it.
    :param media: Whether Chromium may send media. One which may not hides its
                  addresses.
    """
    if name == "chromium":
        return chromium_peer(page, wrapper, media)
    if name == "firefox":
        return node_peer(name, wrapper, "firefox.js", str(find_firefox()), page)
    return node_peer(name, wrapper, "peer.js", name)


@contextlib.asynccontextmanager
async def chromium_peer(
    page: str, wrapper: Sequence[str], media: bool
) -> AsyncIterator[RemotePeer]:
    executable = str(find_chromium())
    with tempfile.TemporaryDirectory() as directory:
        if wrapper:
            # It takes no more than the path of a program.
            script = Path(directory) / "chromium"
            command = shlex.join([*wrapper, executable])
            script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
            script.chmod(0o755)
            executable = str(script)
        async with browsing(executable, page, media) as peer:
            yield peer


@contextlib.asynccontextmanager
async def browsing(
    executable: str, page: str, media: bool
) -> AsyncIterator[RemotePeer]:
    args = [*CHROMIUM_ARGUMENTS, *(CHROMIUM_MEDIA_ARGUMENTS if media else [])]
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(
            args=args, executable_path=executable
        ) as browser,
    ):
        peer = ChromiumPeer(await browser.new_page())
        await peer.load(page)
        yield peer


@contextlib.asynccontextmanager
async def node_peer(
    name: str, wrapper: Sequence[str], program: str, *args: str
) -> AsyncIterator[RemotePeer]:
    process = await asyncio.create_subprocess_exec(
        *wrapper,
        "node",
        str(HERE / program),
        *args,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        # A line holds a whole description, or a clip.
        limit=1 << 24,
    )
    assert process.stdin is not None
    peer = NodePeer(process)
    reader = asyncio.create_task(peer.read(), name=f"{name}-reader")
    try:
        yield peer
    finally:
        process.stdin.close()
        await process.wait()
        await reader
