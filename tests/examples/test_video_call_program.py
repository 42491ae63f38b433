"""
The program which serves the video call: what it says, where it listens, how it ends.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from examples.video_call.options import parse_arguments

from .terminals import LIMIT, ROOT

COMMAND = (sys.executable, "-m", "examples.video_call")


class Served:
    """
    A server which runs in a process of its own.
    """

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=ROOT,
            # As a shell does with what runs in the background.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.said = self.process.stdout.readline()

    @property
    def url(self) -> str:
        match = re.fullmatch(r"Open (\S+) in two browsers, or click .*\n", self.said)
        assert match, self.said
        return match[1]

    def end(self, number: int) -> tuple[int, str, str]:
        """
        End it with a signal, and return its exit status and what it has said since.
        """
        self.process.send_signal(number)
        output, errors = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, output, errors


@contextlib.contextmanager
def served(*arguments: str) -> Iterator[Served]:
    """
    Run a server until this ends.
    """
    running = Served(*arguments)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.communicate()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def listening(pid: int) -> list[tuple[str, int]]:
    """
    Return the addresses and ports at which a process takes connections.
    """
    descriptors = Path(f"/proc/{pid}/fd")
    own = {os.readlink(x) for x in descriptors.iterdir()}
    found = []
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = fields = line.split()
            if state == "0A" and f"socket:[{fields[9]}]" in own:
                address, port = local.split(":")
                # The words of an address are in the order of the machine.
                words = [bytes.fromhex(x)[::-1] for x in re.findall(".{8}", address)]
                name = socket.inet_ntop(family, b"".join(words))
                found.append((name, int(port, 16)))
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_program(number: int) -> None:
    """
    It says where it is, is there, for this machine only, logs who comes, and ends as
    it should, also while a page is open.
    """
    with served("--port", "0") as running:
        url = running.url
        match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/", url)
        assert match
        assert listening(running.process.pid) == [("127.0.0.1", int(match[1]))]
        async with aiohttp.ClientSession() as client:
            async with client.get(url) as response:
                assert response.status == 200
                assert "<title>" in await response.text()
            async with (
                client.ws_connect(f"{url}socket") as page,
                client.ws_connect(f"{url}socket") as other,
            ):
                await other.send_str("nonsense")
                while not other.closed:
                    await other.receive()
                join = {"room": "lobby", "identity": "identity-1", "name": "Ann"}
                await page.send_json({"join": join})
                await page.receive()
                status, output, errors = running.end(number)
    assert (status, output) == (0, "")
    logged = [re.sub(r"^[\d:]{8} ", "", x) for x in errors.splitlines()]
    assert sorted(logged) == [
        "Ann has left",
        "Ann is in room lobby",
        "Ann is sent away: 1001, The server is shutting down.",
        "Somebody is refused: bad-json, 'A message must be JSON.'",
        "Somebody is sent away: 1008, A message must be JSON.",
    ]


@pytest.mark.parametrize(
    ("host", "shown"), [("::1", "[::1]"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]")]
)
async def test_address(host: str, shown: str) -> None:
    """
    What is to be opened can be opened, wherever it listens.
    """
    if ":" in host and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    with served("--host", host, "--port", "0") as running:
        assert re.fullmatch(rf"http://{re.escape(shown)}:[1-9]\d*/", running.url)
        [(bound, _)] = listening(running.process.pid)
        assert bound == host
        async with aiohttp.ClientSession() as client:
            async with client.get(running.url) as response:
                assert response.status == 200


def test_port_in_use() -> None:
    """
    Nobody is sent to a port on which somebody else listens.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = subprocess.run(
            [*COMMAND, "--port", str(server.getsockname()[1])],
            capture_output=True,
            cwd=ROOT,
            text=True,
            timeout=LIMIT,
        )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert re.fullmatch("Cannot listen on 127.0.0.1: .*in use.*\n", ended.stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--port", "70000"),
        ("--port", "-1"),
        ("--port", "http"),
        ("--certificate", "nowhere.pem"),
        ("--certificate", __file__),
        ("--ice-server", "nonsense"),
        ("--ice-server", "stun:192.0.2.1:99999"),
        ("--ice-server", "turn:192.0.2.1"),
    ],
)
def test_bad_arguments(
    arguments: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """
    An argument that cannot be used is named, in one line.
    """
    with pytest.raises(SystemExit) as caught:
        parse_arguments(arguments)
    assert caught.value.code == 2
    usage, _, error = capsys.readouterr().err.partition(
        "\nexamples.video_call: error: "
    )
    assert usage.startswith("usage: ")
    assert re.fullmatch(f"argument {arguments[0]}: .+\n", error)


async def test_turn_server() -> None:
    """
    A TURN server is taken if there are name and password.
    """
    login = ("--ice-username", "user", "--ice-credential", "secret")
    with served("--port", "0", "--ice-server", "turn:192.0.2.1", *login) as running:
        async with (
            aiohttp.ClientSession() as client,
            client.ws_connect(f"{running.url}socket") as socket,
        ):
            join = {"room": "lobby", "identity": "identity-1", "name": "Ann"}
            await socket.send_json({"join": join})
            while "welcome" not in (message := await socket.receive_json()):
                pass
            [server] = message["welcome"]["iceServers"]
            assert (server["username"], server["credential"]) == ("user", "secret")


def test_make() -> None:
    """
    `make video-call` runs it.
    """
    # The tests may be run by make, which would have this one tell of directories.
    shown = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "video-call"],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFL"))},
        text=True,
    ).stdout
    assert shown.splitlines()[-1].endswith("bin/python -m examples.video_call")


def test_command() -> None:
    """
    The README shows what the program says.
    """
    readme = (ROOT / "examples" / "video_call" / "README.md").read_text("utf-8")
    with served("--port", "0") as running:
        said = running.said.replace(running.url, "http://127.0.0.1:8080/")
        assert f"\n{said}```\n" in readme
