"""
How the two ends reach each other: by aiortc's sockets, or by copy and paste.
"""

import argparse
import asyncio
from collections.abc import Callable

from aiortc.contrib.signaling import (
    BaseSignaling,
    SignalingBye,
    create_signaling,
    object_from_string,
    object_to_string,
)

from ..perfect_negotiation import Message
from .terminal import Terminal

RETRY = 0.2
"Seconds until the end which connects tries again."


Signal = Message | SignalingBye
"What aiortc's signaling carries."


class BadMessage(Exception):
    """
    What has come is nothing that the other end would have sent.
    """


class PasteSignaling(BaseSignaling):
    """
    Messages which people carry: aiortc's takes the keyboard for itself.
    """

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    async def connect(self) -> None:
        pass

    async def close(self) -> None:
        # The other end sees that the connection is closed.
        pass

    async def receive(self) -> Signal:
        return object_from_string(await self._terminal.messages.get())

    async def send(self, descr: Signal) -> None:
        self._terminal.say("-- Paste this line into the other terminal:")
        self._terminal.say(object_to_string(descr))
        self._terminal.say("-- and what that gives into this one.")


class Line:
    """
    One end of the signaling channel.

    Of aiortc's sockets the end which sends first listens, and the other one connects.
    So one may not receive, and the other one not send, before they are connected.

    :param signaling: aiortc's end.
    :param listens:   Whether this one sends first.
    :param say:       Tells the user something.
    """

    def __init__(
        self, signaling: BaseSignaling, listens: bool, say: Callable[[str], None]
    ) -> None:
        self._connected = asyncio.Event()
        self._failure: OSError | None = None
        self._listens = listens
        self._say = say
        self._signaling = signaling

    async def close(self) -> None:
        """
        Say goodbye.
        """
        await self._signaling.close()

    async def receive(self) -> Message | None:
        """
        Wait for the next message. At the end of all it is `None`.

        :raises BadMessage: if it cannot be read.
        :raises OSError:    if the other end cannot be reached.
        """
        if self._listens:
            await self._connected.wait()
        if self._failure is not None:
            raise self._failure
        if self._connected.is_set():
            return await self._next()
        message = await self._first()
        self._connected.set()
        return message

    async def send(self, message: Message) -> None:
        """
        Send a message, when the other end is there.
        """
        if not self._listens:
            await self._connected.wait()
        try:
            await self._signaling.send(message)
        except OSError as exc:
            # An event handler sends, and nobody awaits it.
            self._failure = exc
        self._connected.set()

    async def _first(self) -> Message | None:
        told = False
        while True:
            try:
                return await self._next()
            except (ConnectionRefusedError, FileNotFoundError):
                if not told:
                    self._say("Waiting for the other end.")
                told = True
                await asyncio.sleep(RETRY)

    async def _next(self) -> Message | None:
        try:
            message = await self._signaling.receive()
        except (AssertionError, LookupError, TypeError, ValueError) as exc:
            raise BadMessage(f"{type(exc).__name__}: {exc}") from exc
        except (ConnectionResetError, asyncio.LimitOverrunError):
            return None
        return None if isinstance(message, SignalingBye) else message


def open_line(args: argparse.Namespace, terminal: Terminal) -> Line:
    """
    Make the end of the channel for which the command line asks.
    """
    signaling = (
        create_signaling(args)
        if args.signaling in ("tcp-socket", "unix-socket")
        else PasteSignaling(terminal)
    )
    return Line(signaling, args.role == "offer", terminal.say)
