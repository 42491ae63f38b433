"""
Programs which run in a terminal of their own, and what they have shown there.
"""

import contextlib
import os
import re
import sys
import termios
import warnings
from collections.abc import Iterator
from pathlib import Path

import pexpect

ROOT = Path(__file__).parent.parent.parent

LIMIT = 60.0
"Seconds which a program may take to show something, on a busy machine."

RECORDINGS = ROOT / "out" / "recordings"

SIZE = (24, 120)


class Program:
    """
    A module which runs in a terminal.

    :param module:    The name of the module.
    :param arguments: Its command line.
    :param size:      The lines and columns of the terminal.
    :param within:    A command which runs another, if that is to run it.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        size: tuple[int, int] = SIZE,
        within: tuple[str, ...] = (),
    ) -> None:
        command = [*within, sys.executable, "-m", module, *arguments]
        with warnings.catch_warnings():
            # Other tests may have left threads of an executor.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.child = pexpect.spawn(
                command[0],
                command[1:],
                cwd=str(ROOT),
                dimensions=size,
                encoding="utf-8",
                timeout=LIMIT,
            )
        self.shown = ""

    def close(self) -> None:
        """
        End the program if it has not ended.
        """
        self.child.close(force=True)

    def ended(self) -> int:
        """
        Wait until the program has ended, and return its exit status.
        """
        self.expect(pexpect.EOF)
        self.child.wait()
        assert self.child.exitstatus is not None, self.shown
        return int(self.child.exitstatus)

    def expect(self, pattern: object) -> str:
        """
        Wait until the program shows something which it has not shown yet, and return
        it.
        """
        try:
            self.child.expect(pattern)
        except pexpect.ExceptionPexpect as exc:
            exc.add_note(self.shown + self.child.before)
            raise
        text = self.child.after if isinstance(self.child.after, str) else ""
        self.shown += self.child.before + text
        return text

    def is_raw(self) -> bool:
        """
        Return whether the terminal gives each key at once, and does not show it.
        """
        flags = termios.tcgetattr(self.child.child_fd)[3]
        return not flags & (termios.ECHO | termios.ICANON)

    def press(self, keys: str) -> None:
        self.child.send(keys)


@contextlib.contextmanager
def running(
    module: str,
    *arguments: str,
    size: tuple[int, int] = SIZE,
    within: tuple[str, ...] = (),
) -> Iterator[Program]:
    """
    Run a module in a terminal for as long as this lasts. See :class:`Program`.
    """
    program = Program(module, *arguments, size=size, within=within)
    try:
        yield program
    finally:
        program.close()


def recorded(name: str, command: str, shown: str) -> list[str]:
    """
    Keep what a program has shown, as a person would have seen it: of a status line that
    is written again and again what differs in more than its numbers.

    :param name:    The file, in `out/recordings/`.
    :param command: What was typed.
    :param shown:   What the program wrote.
    """
    lines = [f"$ {command}"]
    status = ""
    for line in shown.replace("\r\n", "\n").split("\n"):
        *overwritten, last = re.split(r"\r\x1b\[K", line)
        for piece in overwritten:
            if piece and without_numbers(piece) != status:
                status = without_numbers(piece)
                lines.append(piece)
        if last:
            lines.append(last)
    RECORDINGS.mkdir(parents=True, exist_ok=True)
    (RECORDINGS / f"{name}.txt").write_text("\n".join(lines) + os.linesep)
    return lines


def without_numbers(line: str) -> str:
    """
    Return a line without what differs from run to run: numbers, addresses, credentials.
    """
    # The columns of a table are as wide as its numbers.
    line = re.sub(r"[ -]{2,}", " ", line)
    line = re.sub(r"(\[[0-9a-f:]+\]|\d+(\.\d+){3}):\d+", "address", line)
    line = re.sub(r"ufrags \S+ > \S+?(\.?)$", r"ufrags x > x\1", line)
    # How often there was a restart is the point of it.
    return re.sub(r"(?<!restarts )\b\d[\d.]*\b", "0", line)


def shows(directory: str) -> list[str]:
    """
    Return the lines of the recordings in the README.md of an example.
    """
    readme = (ROOT / "examples" / directory / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```text\n(.*?)```", readme, re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]
