"""
A coturn server on the loopback interface, and what it says of its allocations.
"""

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from ..utils import until

MISSING = None if shutil.which("turnserver") else "coturn is not installed"

USER, PASSWORD, REALM = "user", "secret", "example.org"

OTHER_USER, OTHER_PASSWORD = "other", "other secret"


class Coturn:
    """
    A running server.
    """

    def __init__(self, address: str, port: int) -> None:
        self.log: list[str] = []
        self.url = f"turn:{address}:{port}"
        self._live: set[str] = set()
        self._made = 0
        self._users: dict[str, set[str]] = {}

    @property
    def live(self) -> int:
        """
        The number of allocations which the server holds.
        """
        return len(self._live)

    def has_made(self, allocations: int) -> bool:
        """
        Whether the server has granted so many allocations so far.
        """
        return self._made == allocations

    def live_of(self, user: str) -> int:
        """
        Return the number of allocations which the server holds for a user.
        """
        return sum(self._users[x] == {user} for x in self._live)

    def users(self) -> list[set[str]]:
        """
        Return who has been heard in each session, the oldest first.
        """
        return list(self._users.values())

    def read(self, line: str) -> None:
        self.log.append(line)
        if match := re.search(r"session (\d+): .* user <([^>]+)>: incoming", line):
            self._users.setdefault(match[1], set()).add(match[2])
        match = re.search(r"session (\d+).* (ALLOCATE processed, success|closed)", line)
        if match is None:
            return
        if match[2] == "closed":
            self._live.discard(match[1])
        elif match[1] not in self._live:
            self._live.add(match[1])
            self._made += 1


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@asynccontextmanager
async def coturn(
    address: str = "127.0.0.1", wrapper: Sequence[str] = ()
) -> AsyncIterator[Coturn]:
    """
    Run a server while the context lasts.

    :param address: The address which it listens on.
    :param wrapper: The program, with its arguments, which runs the server.
    """
    port = _free_port()
    server = Coturn(address, port)
    process = await asyncio.create_subprocess_exec(
        *wrapper,
        *("turnserver", "-n", "--lt-cred-mech", "--no-cli", "--no-tls", "--no-dtls"),
        *("--log-file", "stdout", "--simple-log", "-v", "--allow-loopback-peers"),
        *("--listening-ip", address, "--relay-ip", address),
        *("--listening-port", str(port), "--user", f"{USER}:{PASSWORD}"),
        *("--user", f"{OTHER_USER}:{OTHER_PASSWORD}"),
        *("--realm", REALM, "--pidfile", "", "--relay-threads", "1"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )

    async def read() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            server.read(line.decode(errors="replace").strip())

    reader = asyncio.create_task(read())
    try:
        await until(
            lambda: any("UDP listener opened" in x for x in server.log),
            message="coturn does not listen",
        )
        yield server
    finally:
        process.terminate()
        await process.wait()
        await reader
