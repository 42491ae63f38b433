"""
Who calls the server of the video call: bare sockets, and guests with a whole call.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

from aiohttp import ClientWebSocketResponse, WSMsgType
from aiohttp.test_utils import TestClient, TestServer

from aiortc_restart import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCIceCandidate,
    RTCIceServer,
    RTCPeerConnection,
    RTCSessionDescription,
)
from examples.perfect_negotiation import Message, PerfectNegotiation
from examples.video_call.outage import Outage
from examples.video_call.server import Server

from ..utils import until
from .video_call import make_server

Socket = ClientWebSocketResponse


class Caller:
    """
    What a test has: a server, and sockets to it.
    """

    def __init__(self, server: Server, client: TestClient[Any, Any]) -> None:
        self.client = client
        self.server = server

    async def connect(self, **headers: str) -> Socket:
        return await self.client.ws_connect("/socket", headers=headers)

    async def join(self, identity: str = "identity-1", room: str = "lobby") -> Socket:
        socket = await self.connect()
        await send(socket, join=join_message(identity, room))
        assert (await expect(socket, "welcome"))["room"] == room
        return socket

    def outages(self) -> list[Outage]:
        """
        Return the networks of all who are in a room.
        """
        return [x.participant._outage for x in self.server.sessions if x.participant]

    async def nobody_left(self) -> None:
        await until(
            lambda: not self.server.sessions and not self.server.rooms.rooms,
            message="somebody is left",
        )


@contextlib.asynccontextmanager
async def calling(*servers: RTCIceServer) -> AsyncIterator[Caller]:
    server = make_server(*servers)
    async with TestClient(TestServer(server.application())) as client:
        yield Caller(server, client)


def join_message(identity: str, room: str = "lobby", name: str = "Ann") -> Any:
    return {"identity": identity, "name": name, "room": room}


async def send(socket: Socket, **message: Any) -> None:
    await socket.send_str(json.dumps(message))


async def expect(socket: Socket, name: str) -> Any:
    """
    Wait for a message of a name, and pass over those before.
    """
    async with asyncio.timeout(10):
        while True:
            message = await socket.receive_json()
            if name in message:
                return message[name]


async def expect_close(socket: Socket) -> tuple[int | None, str]:
    """
    Wait until the server closes a socket, and return with which code and reason.
    """
    async with asyncio.timeout(10):
        while (message := await socket.receive()).type == WSMsgType.TEXT:
            pass
    assert message.type == WSMsgType.CLOSE
    return message.data, str(message.extra)


async def expect_refusal(socket: Socket) -> str:
    """
    Wait until the server does not let somebody join, and return the code of the error,
    of which it makes the reason of the close.
    """
    error = await expect(socket, "error")
    assert error["message"].endswith(".")
    assert await expect_close(socket) == (1008, error["message"])
    return str(error["code"])


@contextlib.asynccontextmanager
async def offering() -> AsyncIterator[RTCPeerConnection]:
    """
    Make a connection with something to offer.
    """
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[], iceTrickle=True))
    pc.createDataChannel("chat")
    pc.addTransceiver("audio")
    pc.addTransceiver("video")
    await pc.setLocalDescription()
    try:
        yield pc
    finally:
        await pc.close()


def described(pc: RTCPeerConnection) -> dict[str, str]:
    return {"sdp": pc.localDescription.sdp, "type": pc.localDescription.type}


async def vanish(socket: Socket) -> None:
    """
    Lose the connection of a socket, without a word.
    """
    connection = socket._conn
    assert connection is not None and connection.transport is not None
    connection.transport.abort()
    await socket.close()


class Guest:
    """
    Who is in a room, with a call such as a page has.

    :param socket: Where the guest has joined.
    """

    def __init__(self, socket: Socket) -> None:
        self.errors: list[str] = []
        "What the server has refused, and why."

        self.tracks: list[MediaStreamTrack] = []
        "What has come of the others, and of the guest's own."

        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[], iceTrickle=True))
        self.channel = self.pc.createDataChannel("chat")
        self.socket = socket
        self.texts: list[str] = []
        "What anybody has said."

        self._negotiation = PerfectNegotiation(self.pc, self._send, polite=True)
        self.channel.on("message", self._hear)
        self.pc.on("track", self.tracks.append)

    async def cut(self, seconds: float) -> None:
        await send(self.socket, cut=seconds)

    def videos(self) -> list[MediaStreamTrack]:
        """
        Return the pictures which come: the guest's own, then those of the others.
        """
        return [x for x in self.tracks if x.kind == "video"]

    async def run(self) -> None:
        """
        Take what the server sends.
        """
        async for received in self.socket:
            [(name, value)] = json.loads(received.data).items()
            if name == "description":
                await self._negotiation.receive(RTCSessionDescription(**value))
            elif name == "candidate":
                candidate = RTCIceCandidate.fromJSON(value)
                assert candidate is not None
                await self._negotiation.receive(candidate)
            elif name == "error":
                self.errors.append(value["message"])

    def _hear(self, message: str) -> None:
        if "chat" in (told := json.loads(message)):
            self.texts.append(told["chat"]["text"])

    async def _send(self, message: Message) -> None:
        if isinstance(message, RTCSessionDescription):
            await send(
                self.socket,
                description={"type": message.type, "sdp": message.sdp},
            )
        elif isinstance(message, RTCIceCandidate):
            await send(self.socket, candidate=message.toJSON())


@contextlib.asynccontextmanager
async def guest(
    caller: Caller, name: str, tracks: Iterable[MediaStreamTrack] = ()
) -> AsyncIterator[Guest]:
    """
    Have somebody in the room until this ends.
    """
    socket = await caller.connect()
    await send(socket, join=join_message(f"identity-of-{name}", name=name))
    someone = Guest(socket)
    for track in tracks:
        someone.pc.addTrack(track)
    running = asyncio.create_task(someone.run())
    try:
        await until(
            lambda: someone.channel.readyState == "open",
            message=f"{name} is not connected",
        )
        yield someone
    finally:
        await someone.pc.close()
        await socket.close()
        await running
