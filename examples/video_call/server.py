"""
The HTTP server: the page, and a WebSocket for each participant.
"""

import asyncio
import logging
import mimetypes
from pathlib import Path

from aiohttp import WSCloseCode, hdrs, web
from aiohttp.typedefs import Handler

from aiortc_restart import RTCConfiguration

from .hosts import Hosts
from .rooms import Rooms
from .session import Session

HERE = Path(__file__).parent / "static"

POLICY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'"

logger = logging.getLogger(__name__)


class Server:
    """
    The server's state: rooms, and sessions of those who are in them or on their way.

    :param configuration: What peer connections are made with.
    :param hosts: What the server is called.
    """

    def __init__(self, configuration: RTCConfiguration, hosts: Hosts) -> None:
        self.rooms = Rooms()
        self.sessions: set[Session] = set()
        self._configuration = configuration
        self._files = {x.name: x.read_bytes() for x in HERE.iterdir() if x.is_file()}
        "The page's files."

        self._hosts = hosts

    def application(self) -> web.Application:
        """
        Make the application.
        """
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._page)
        app.router.add_get("/socket", self._socket)
        app.router.add_get("/static/{name}", self._static)
        app.on_response_prepare.append(self._protect)
        app.on_shutdown.append(self._shut_down)
        return app

    def calls(self) -> set[asyncio.BaseTransport | None]:
        """
        Return the connections of those who are in a room.
        """
        return {x.transport for x in self.sessions if x.participant is not None}

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Handler
    ) -> web.StreamResponse:
        """
        Refuse what a page from elsewhere asks for: any may open a socket to this
        machine, and browsers say which one does.
        """
        host = request.headers.get(hdrs.HOST, "")
        if not self._hosts.know(host):
            logger.info("A page is refused: the server is not called %r", host)
            raise web.HTTPForbidden(text="This server is not called that.")
        origin = request.headers.get(hdrs.ORIGIN)
        if origin not in (None, f"http://{host}", f"https://{host}"):
            logger.info("A page is refused: it is from %r", origin)
            raise web.HTTPForbidden(text="This page is not from here.")
        return await handler(request)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        return self._file("index.html")

    async def _protect(
        self, request: web.Request, response: web.StreamResponse
    ) -> None:
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"

    async def _shut_down(self, app: web.Application) -> None:
        await asyncio.gather(
            *(
                x.leave(WSCloseCode.GOING_AWAY, "The server is shutting down.")
                for x in self.sessions
            )
        )

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        session = Session(self.rooms, self._configuration, self.sessions)
        self.sessions.add(session)
        try:
            return await session.run(request)
        finally:
            self.sessions.discard(session)

    async def _static(self, request: web.Request) -> web.StreamResponse:
        return self._file(request.match_info["name"])

    def _file(self, name: str) -> web.Response:
        """
        Return a file of the page's. Its bytes are sent from memory: asyncio's
        sendfile() never ends when the connection is aborted, and would keep task and
        descriptor.
        """
        if name not in self._files:
            raise web.HTTPNotFound
        kind, _ = mimetypes.guess_type(name)
        return web.Response(body=self._files[name], content_type=kind, charset="utf-8")
