"""
One page's WebSocket, from its first message to its last.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable

from aiohttp import WSCloseCode, WSMsgType, web

from aiortc_restart import RTCConfiguration

from .bucket import Bucket
from .messages import MAX_LENGTH, BadMessageError, Join, Message, parse
from .outbox import Outbox
from .participant import Participant, shown
from .rooms import Rooms

CLOSE_TIMEOUT = 1.0
"Seconds in which the page has to confirm that its socket is closed."

ENDS = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)
"The messages after which there are no more."

HEARTBEAT = 6.0
"Seconds of silence until a page is pinged. It has half of that to answer."

JOIN_TIMEOUT = 8.0
"Seconds in which the first message has to come. The door waits a little longer."

RATE, BURST = 50.0, 200.0
"What a page may send: a second in the long run, and at once, each message being one."

UNIT = 1024
"Characters of a message which count as one message more."

REPLACED = 4001
"The code with which the socket is closed of who has joined once more."

logger = logging.getLogger(__name__)


class Session:
    """
    A page's session.

    :param rooms: Where it may go.
    :param configuration: What its peer connection is made with.
    :param sessions: All sessions there are.
    """

    def __init__(
        self,
        rooms: Rooms,
        configuration: RTCConfiguration,
        sessions: Iterable["Session"],
    ) -> None:
        self.participant: Participant | None = None
        self.transport: asyncio.Transport | None = None
        self._allowed = Bucket(RATE, BURST)
        self._configuration = configuration
        self._name = "Somebody"
        self._rooms = rooms
        self._sessions = sessions
        # A compressed message could be a thousand times as long as its frame. Pings
        # come here, since aiohttp would answer any number of them.
        self._socket = web.WebSocketResponse(
            autoping=False,
            compress=False,
            heartbeat=HEARTBEAT,
            max_msg_size=MAX_LENGTH,
            timeout=CLOSE_TIMEOUT,
        )
        self._outbox = Outbox(self._socket, self._hang_up, self.leave)

    def dismiss(self, code: int, reason: str) -> None:
        """
        End the session, soon. What still waits for the page is of no use to it.
        """
        self._outbox.end(code, reason)

    async def leave(self, code: int, reason: str) -> None:
        """
        End the session, and tell the page why.
        """
        logger.info("%s is sent away: %s, %s", self._name, code, reason)
        with contextlib.suppress(ConnectionError):
            await self._socket.close(code=code, message=reason.encode()[:120])

    async def run(self, request: web.Request) -> web.WebSocketResponse:
        """
        Serve the page until it leaves.
        """
        self.transport = request.transport
        await self._socket.prepare(request)
        writer = asyncio.create_task(self._outbox.write(), name="writer")
        try:
            await self._read()
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer
            if self.participant is not None:
                # The others are told first; then what they see of it ends.
                self._rooms.leave(self.participant)
                await self.participant.close()
                logger.info("%s has left", self._name)
        return self._socket

    def send(self, message: Message | bytes) -> None:
        """
        Send a message, or the answer to a ping, to the page, after those before.
        """
        self._outbox.put(message)

    def _hang_up(self) -> None:
        """
        End the session of a page that does not read: it would not read why, either.
        """
        if self.transport is not None and not self.transport.is_closing():
            logger.info("%s does not read", self._name)
            self.transport.abort()

    async def _join(self, join: Join) -> None:
        participant = Participant(join, self._configuration, self.send)
        try:
            previous = self._rooms.enter(participant)
        except BadMessageError:
            await participant.close()
            raise
        self.participant = participant
        logger.info("%s is in room %s", join.name, join.room)

        @participant.pc.on("connectionstatechange")
        def on_change() -> None:
            if participant.pc.connectionState == "closed":
                self.dismiss(WSCloseCode.GOING_AWAY, "The call was lost.")

        servers = [shown(x) for x in self._configuration.iceServers or []]
        self.send({"welcome": {"room": join.room, "iceServers": servers}})
        for session in self._sessions:
            if previous is not None and session.participant is previous:
                session.dismiss(REPLACED, "This call goes on in another tab.")

    async def _read(self) -> None:
        # One message after the other: a page which sends too much waits for itself.
        while True:
            timeout = JOIN_TIMEOUT if self.participant is None else None
            try:
                message = await self._socket.receive(timeout)
            except TimeoutError:
                await self.leave(WSCloseCode.POLICY_VIOLATION, "You have not joined.")
                return
            if message.type in ENDS:
                return
            if not self._allowed.take(1 + len(message.data or "") / UNIT):
                await self.leave(WSCloseCode.POLICY_VIOLATION, "Too many messages.")
                return
            if message.type in (WSMsgType.PING, WSMsgType.PONG):
                if message.type == WSMsgType.PING:
                    self.send(bytes(message.data))
                continue
            try:
                await self._receive(message.data)
            except BadMessageError as exc:
                await self._refuse(exc)
                if self.participant is None:
                    return
            except Exception:
                # It is this page's trouble, and not that of the others.
                logger.exception("What %s says cannot be dealt with", self._name)
                await self.leave(WSCloseCode.INTERNAL_ERROR, "Something went wrong.")
                return

    async def _receive(self, data: str | bytes) -> None:
        if not isinstance(data, str):
            raise BadMessageError("bad-message", "A message must be text.")
        request = parse(data)
        if self.participant is not None:
            await self.participant.receive(request)
        elif isinstance(request, Join):
            self._name = request.name
            await self._join(request)
        else:
            raise BadMessageError("not-joined", "You have to join a room first.")

    async def _refuse(self, exc: BadMessageError) -> None:
        # What it says may be the page's own words, in several lines.
        logger.info("%s is refused: %s, %r", self._name, exc.code, str(exc))
        error = {"error": {"code": exc.code, "message": str(exc)}}
        if self.participant is not None:
            self.send(error)
            return
        # The reason would be lost in the one of the time-out.
        with contextlib.suppress(ConnectionError):
            await self._socket.send_json(error)
        await self.leave(WSCloseCode.POLICY_VIOLATION, str(exc))
