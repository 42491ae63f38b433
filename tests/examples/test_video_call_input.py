"""
What the server of the video call does with what no page of its own would send.
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError

from aiortc_restart import RTCIceServer
from examples.video_call import rooms, session

from ..utils import DESCRIPTORS, until
from .callers import (
    Caller,
    calling,
    described,
    expect,
    expect_close,
    expect_refusal,
    join_message,
    offering,
    send,
    vanish,
)


@contextlib.asynccontextmanager
async def nothing_left(caller: Caller) -> AsyncIterator[None]:
    """
    Wait at the end until there are no more tasks, nor descriptors, than before.
    """

    def count() -> dict[str, int]:
        return {
            "tasks": len(asyncio.all_tasks()),
            "descriptors": len(os.listdir(DESCRIPTORS)),
        }

    # The connection which a client keeps.
    await caller.client.get("/")
    before = count()
    yield
    await caller.nobody_left()
    await until(
        lambda: all(x <= before[name] for name, x in count().items()),
        message=lambda: f"before: {before}, after: {count()}",
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad-json"),
        ("{", "bad-json"),
        ("[" * 20000, "bad-json"),
        ("null", "bad-message"),
        ("[]", "bad-message"),
        ("7", "bad-message"),
        ("{}", "bad-message"),
        ('{"restart": true, "cut": 1}', "bad-message"),
        ('{"unknown": 1}', "bad-message"),
        ('{"restart": true}', "not-joined"),
        ('{"cut": 1}', "not-joined"),
        ('{"candidate": null}', "not-joined"),
        ('{"join": null}', "bad-message"),
        ('{"join": {"room": 7, "identity": "identity-1", "name": "A"}}', "bad-message"),
        (json.dumps({"join": join_message("identity-1", "No Such Room")}), "bad-room"),
        (json.dumps({"join": join_message("identity-1", "../etc")}), "bad-room"),
        (json.dumps({"join": join_message("identity-1", "x" * 33)}), "bad-room"),
        (json.dumps({"join": join_message("identity-1", "lobby\n")}), "bad-room"),
        (json.dumps({"join": join_message("short")}), "bad-identity"),
        (json.dumps({"join": join_message("identity-1", name="")}), "bad-name"),
        (json.dumps({"join": join_message("identity-1", name="\x00")}), "bad-name"),
        (json.dumps({"join": join_message("identity-1", name="x" * 25)}), "bad-name"),
    ],
)
async def test_bad_message(text: str, code: str) -> None:
    """
    Who begins with a message that is none is told why, and sent away.
    """
    async with calling() as caller:
        socket = await caller.connect()
        await socket.send_str(text)
        assert await expect_refusal(socket) == code
        await caller.nobody_left()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"candidate": 7}, "bad-candidate"),
        ({"candidate": {"candidate": "nonsense", "sdpMid": "0"}}, "bad-candidate"),
        ({"candidate": {"candidate": 7, "sdpMid": "0"}}, "bad-candidate"),
        ({"cut": "1"}, "bad-cut"),
        ({"cut": True}, "bad-cut"),
        ({"cut": 0}, "bad-cut"),
        ({"cut": 61}, "bad-cut"),
        ({"cut": float("nan")}, "bad-cut"),
        ({"cut": 10**400}, "bad-cut"),
        ({"description": None}, "bad-message"),
        ({"description": {"type": "offer"}}, "bad-message"),
        ({"description": {"type": "rollback", "sdp": ""}}, "bad-description"),
        (
            {"description": {"type": "offer", "sdp": "v=0\r\n" + 13 * "m=x\r\n"}},
            "bad-description",
        ),
        ({"description": {"type": "offer", "sdp": "nonsense"}}, "bad-description"),
        ({"description": {"type": "offer", "sdp": "v=0\r\nm=x"}}, "refused"),
        ({"description": {"type": "answer", "sdp": "v=0\r\n"}}, "refused"),
        ({"filter": []}, "bad-filter"),
        ({"join": join_message("identity-2")}, "joined"),
    ],
)
async def test_bad_request(
    message: dict[str, Any], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What cannot be done is refused with an error, which is logged, and a call can be
    made all the same.
    """
    caplog.set_level(logging.INFO, "examples.video_call")
    async with calling() as caller, offering() as pc:
        socket = await caller.join()
        await send(socket, **message)
        assert (await expect(socket, "error"))["code"] == code
        assert [x for x in caplog.messages if f"Ann is refused: {code}, " in x]
        await send(socket, description=described(pc))
        assert (await expect(socket, "description"))["type"] == "answer"
        await socket.close()
        await caller.nobody_left()


async def test_binary_message() -> None:
    """
    A message that is no text is answered with an error.
    """
    async with calling() as caller:
        socket = await caller.connect()
        await socket.send_bytes(b"\x00")
        assert await expect_refusal(socket) == "bad-message"


async def test_long_message() -> None:
    """
    A message that is too long ends the session.
    """
    async with calling() as caller:
        socket = await caller.join()
        await socket.send_str("x" * (1 << 17))
        code, _ = await expect_close(socket)
        assert code == 1009
        await caller.nobody_left()


async def test_too_many_messages() -> None:
    """
    Who talks too much is sent away.
    """
    async with calling() as caller:
        socket = await caller.join()
        with contextlib.suppress(ConnectionError):
            for _ in range(500):
                await send(socket, candidate=None)
        assert await expect_close(socket) == (1008, "Too many messages.")
        await caller.nobody_left()


async def test_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Who says nothing is sent away.
    """
    monkeypatch.setattr(session, "JOIN_TIMEOUT", 0.1)
    async with calling() as caller:
        socket = await caller.connect()
        assert await expect_close(socket) == (1008, "You have not joined.")
        await caller.nobody_left()


@pytest.mark.parametrize(
    "origin", ["http://elsewhere.test", "null", "http://", "http://["]
)
async def test_origin(origin: str) -> None:
    """
    A page from elsewhere gets no socket, the server's own does.
    """
    async with calling() as caller:
        with pytest.raises(WSServerHandshakeError) as caught:
            await caller.connect(Origin=origin)
        assert caught.value.status == 403
        url = caller.client.make_url("/")
        socket = await caller.connect(Origin=f"http://{url.host}:{url.port}")
        await socket.close()
        await caller.nobody_left()


@pytest.mark.parametrize("path", ["/", "/socket", "/static/main.js"])
async def test_name_of_another(path: str) -> None:
    """
    A page whose own name has been pointed to this machine gets nothing.
    """
    async with calling() as caller:
        port = caller.client.port
        for host, status in ((f"evil.test:{port}", 403), (f"localhost:{port}", 200)):
            headers = {"Host": host, "Origin": f"http://{host}"}
            if path == "/socket" and status == 200:
                await (await caller.connect(**headers)).close()
                continue
            response = await caller.client.get(path, headers=headers)
            assert response.status == status
        await caller.nobody_left()


async def test_full_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Rooms, and the people in one, are bounded in number, until somebody leaves; who
    finds no place is told why, and sent away.
    """
    monkeypatch.setattr(rooms, "MAX_ROOMS", 2)
    monkeypatch.setattr(rooms, "MAX_PARTICIPANTS", 2)
    async with calling() as caller:
        first = await caller.join("identity-1", "one")
        await caller.join("identity-2", "one")
        second = await caller.join("identity-3", "two")

        for room, code in (("one", "full"), ("three", "no-room")):
            socket = await caller.connect()
            await send(socket, join=join_message("identity-4", room))
            assert await expect_refusal(socket) == code

        await first.close()
        await second.close()
        await until(lambda: len(caller.server.sessions) == 1)
        await caller.join("identity-4", "three")
        await caller.join("identity-5", "one")


async def test_ice_servers() -> None:
    """
    A page is told of the server's ICE servers, without members that have no value.
    """
    stun = RTCIceServer("stun:192.0.2.1")
    turn = RTCIceServer("turn:192.0.2.1", username="user", credential="secret")
    async with calling(stun, turn) as caller:
        socket = await caller.connect()
        await send(socket, join=join_message("identity-1"))
        told = (await expect(socket, "welcome"))["iceServers"]
        for server in told:
            assert server.pop("credentialType") == "password"
        assert told == [
            {"urls": "stun:192.0.2.1"},
            {"urls": "turn:192.0.2.1", "username": "user", "credential": "secret"},
        ]


async def test_second_identity() -> None:
    """
    Who joins a second time takes the place of the first, which is told.
    """
    async with calling() as caller, offering() as pc:
        first = await caller.join()
        await send(first, description=described(pc))
        await expect(first, "description")
        second = await caller.join()
        code, reason = await expect_close(first)
        assert code == session.REPLACED
        assert reason == "This call goes on in another tab."
        await until(lambda: len(caller.server.sessions) == 1)
        [room] = caller.server.rooms.rooms.values()
        assert len(room.participants) == 1
        await second.close()
        await caller.nobody_left()


@pytest.mark.parametrize("after", ["offer", "answer", "restart", "cut"])
async def test_closed_while_negotiating(after: str) -> None:
    """
    A page that vanishes at any moment of a negotiation leaves nothing behind.
    """
    async with calling() as caller, nothing_left(caller), offering() as pc:
        socket = await caller.join()
        await send(socket, description=described(pc))
        if after != "offer":
            await expect(socket, "description")
        if after != "answer":
            await send(socket, restart=True)
        if after == "cut":
            await send(socket, cut=60)
            assert (await expect(socket, "cut"))["active"]
        await vanish(socket)


async def test_many_sockets() -> None:
    """
    Twenty sockets opened and dropped, at all stages, leave nothing behind.
    """
    async with calling() as caller:
        async with nothing_left(caller), offering() as pc:
            sockets = []
            for i in range(20):
                if i % 4 == 0:
                    sockets.append(await caller.connect())
                    continue
                sockets.append(await caller.join(f"identity-{i}", f"room-{i % 6}"))
                if i % 4 == 1:
                    await send(sockets[-1], description=described(pc))
            await asyncio.gather(*map(vanish, sockets))
        # The server is still there.
        socket = await caller.join()
        await socket.close()


async def test_shutdown() -> None:
    """
    When the server ends, its pages are told.
    """
    async with calling() as caller:
        socket = await caller.join()
        reading = asyncio.create_task(expect_close(socket))
        await caller.client.server.close()
        assert await reading == (1001, "The server is shutting down.")
