"""
The terminal: keys pressed, messages pasted, and a status line below what is said.
"""

import asyncio
import codecs
import contextlib
import os
import termios
import tty
from typing import Any, TextIO

Attributes = list[Any]
"What the module `termios` gets and sets."


class Terminal:
    """
    A terminal which gives each key at once, as long as it is entered.

    :param source: Where keys come from. If it is no terminal, it may still be read.
    :param target: Where to write. If it is no terminal, no status line is shown.
    """

    def __init__(self, source: TextIO, target: TextIO) -> None:
        self.keys: asyncio.Queue[str] = asyncio.Queue()
        "The keys which have been pressed."

        self.messages: asyncio.Queue[str] = asyncio.Queue()
        "The lines which have been pasted, each of which begins with a brace."

        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._message = ""
        self._source = source
        self._status = ""
        self._target = target
        self._saved: Attributes | None = None

    def __enter__(self) -> "Terminal":
        if self._source.isatty():
            # Besides, a line which is edited ends after 4,095 bytes, and a description
            # may be longer.
            self._saved = termios.tcgetattr(self._source)
            tty.setcbreak(self._source)
        # A file is always readable, and cannot be waited for.
        with contextlib.suppress(PermissionError):
            asyncio.get_running_loop().add_reader(self._source, self._read)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._source)
        self.show("")
        # Where the terminal has been closed there is nothing to be restored.
        with contextlib.suppress(termios.error):
            if self._saved is not None:
                termios.tcsetattr(self._source, termios.TCSADRAIN, self._saved)

    def say(self, text: str) -> None:
        """
        Write a line above the status line.
        """
        self._write(f"{self._erase()}{text}\n{self._status}")

    def show(self, status: str) -> None:
        """
        Replace the status line.
        """
        if self._target.isatty():
            # What is wider would leave a line behind with each change.
            width = os.get_terminal_size(self._target.fileno()).columns
            erase, self._status = self._erase(), status[: max(width - 1, 0)]
            self._write(erase + self._status)

    def _erase(self) -> str:
        return "\r\x1b[K" if self._status else ""

    def _read(self) -> None:
        try:
            data = os.read(self._source.fileno(), 65536)
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._source)
        for character in self._decoder.decode(data):
            if self._message or character == "{":
                self._take(character)
            elif not character.isspace():
                self.keys.put_nowait(character)

    def _take(self, character: str) -> None:
        if character not in "\r\n":
            self._message += character
        else:
            self.messages.put_nowait(self._message)
            self._message = ""

    def _write(self, text: str) -> None:
        # The terminal may have been closed.
        with contextlib.suppress(OSError):
            self._target.write(text)
            self._target.flush()
