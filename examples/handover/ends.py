"""
The processes of the two ends.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

from .network import Network

LONGEST_LINE = 1 << 24
"Bytes: what an end has received is told in one line."


PATIENCE = 5.0
"Seconds after which a process which does not end is killed."


class End:
    """
    The process of one end, which is talked to in lines of JSON.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name

        self.path = ""
        "The addresses between which it sends."

        self.told: dict[str, Any] = {}
        "What it has told at the end."

        self._process = process

    async def listen(self) -> dict[str, Any]:
        """
        Wait for what it tells next, which is nothing when it has ended.
        """
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        return dict(json.loads(line)) if line else {}

    def tell(self, **message: Any) -> None:
        """
        Tell it something.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")


@contextlib.asynccontextmanager
async def running(network: Network, name: str) -> AsyncIterator[End]:
    """
    Run an end on its host for as long as this lasts.
    """
    module = f"{__package__}.peer"
    process = await asyncio.create_subprocess_exec(
        *network.command(name, sys.executable, "-m", module, name),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
        # Ctrl-C is for this program, which ends them.
        start_new_session=True,
    )
    try:
        yield End(name, process)
    finally:
        # It ends at the end of what it is told.
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(PATIENCE):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
