"""
Hosts in network namespaces, with two paths between them.

Everything runs in this process: a socket belongs to the namespace in which it was made,
so only that needs to happen inside.
"""

import asyncio
import contextvars
import ctypes
import functools
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aioice.ice

from ..places import Places

PATHS = ("wifi", "lte")
"Each is a network of its own, which all hosts are on."

HOSTS = ("alice", "bob", "server")

CLONE_NEWNET = 0x40000000

_current_host: contextvars.ContextVar[str | None] = contextvars.ContextVar(
    "current_host", default=None
)
_get_host_addresses = aioice.ice.get_host_addresses


def run(*command: str) -> None:
    """
    Run a program.
    """
    subprocess.run(command, check=True, capture_output=True, text=True)


@functools.cache
def missing() -> str | None:
    """
    Return why there can be no namespaces here, or `None`.
    """
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    name = f"probe-{os.getpid()}"
    try:
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "add", "bridge", "type", "bridge")
    except subprocess.CalledProcessError as exc:
        return f"no network namespaces here: {exc.stderr.strip()}"
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return None


class Lab(Places):
    """
    Three hosts on two paths. A path may be cut silently, so that no host notices it; a
    host's interface may go down, or lose its address.
    """

    def __init__(self) -> None:
        self._prefix = f"lab{os.getpid()}"
        self._files: dict[str, int] = {}
        self._own = os.open("/proc/self/ns/net", os.O_RDONLY)
        self._libc = ctypes.CDLL(None, use_errno=True)

    def __enter__(self) -> "Lab":
        for name in ("switch", *HOSTS):
            run("ip", "netns", "add", self._namespace(name))
            path = f"/run/netns/{self._namespace(name)}"
            self._files[name] = os.open(path, os.O_RDONLY)
            self._ip(name, "link", "set", "lo", "up")
        for path in PATHS:
            self._ip("switch", "link", "add", path, "type", "bridge")
            self._ip("switch", "link", "set", path, "up")
            for name in HOSTS:
                self._plug(name, path)
        return self

    def __exit__(self, *_: object) -> None:
        for file in (*self._files.values(), self._own):
            os.close(file)
        for name in self._files:
            run("ip", "netns", "del", self._namespace(name))

    @staticmethod
    def address(name: str, path: str, version: int = 4) -> str:
        """
        Return the address which a host has on a path.
        """
        network, host = PATHS.index(path) + 1, HOSTS.index(name) + 1
        return f"10.77.{network}.{host}" if version == 4 else f"fd77:{network}::{host}"

    def add_address(self, name: str, path: str, version: int = 4) -> None:
        """
        Give a host its address on a path.
        """
        # Nobody else has it, so that it can be used at once.
        options = ["nodad"] if version == 6 else []
        network = self._network(name, path, version)
        self._ip(name, "address", "add", network, "dev", path, *options)

    def remove_address(self, name: str, path: str, version: int = 4) -> None:
        """
        Take a host its address on a path.
        """
        self._ip(
            name, "address", "del", self._network(name, path, version), "dev", path
        )

    def cut(self, path: str) -> None:
        """
        Drop whatever is sent on a path from now on. No interface goes down.
        """
        self._ip("switch", "link", "set", path, "down")

    def heal(self, path: str) -> None:
        """
        Undo the cut of a path.
        """
        self._ip("switch", "link", "set", path, "up")

    def link(self, name: str, path: str, up: bool) -> None:
        """
        Set the interface of a host up or down.
        """
        self._ip(name, "link", "set", path, "up" if up else "down")

    @contextmanager
    def host(self, name: str) -> Iterator[None]:
        token = _current_host.set(name)
        try:
            yield
        finally:
            _current_host.reset(token)

    @contextmanager
    def inside(self, name: str | None = None) -> Iterator[None]:
        """
        Enter the namespace of a host, by default of that which the code runs on.
        """
        name = name or _current_host.get()
        if name is None:
            raise RuntimeError("this runs outside of any host")
        self._enter(self._files[name])
        try:
            yield
        finally:
            self._enter(self._own)

    def command(self, name: str, *command: str) -> list[str]:
        """
        Return the command which runs a program on a host.
        """
        return ["ip", "netns", "exec", self._namespace(name), *command]

    def host_addresses(self, use_ipv4: bool, use_ipv6: bool) -> list[str]:
        """
        Stand in for aioice's function.
        """
        with self.inside():
            return _get_host_addresses(use_ipv4=use_ipv4, use_ipv6=use_ipv6)

    def _enter(self, file: int) -> None:
        if self._libc.setns(file, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")

    def _ip(self, name: str, *command: str) -> None:
        run("ip", "-n", self._namespace(name), *command)

    def _namespace(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def _network(self, name: str, path: str, version: int) -> str:
        return f"{self.address(name, path, version)}/{24 if version == 4 else 64}"

    def _plug(self, name: str, path: str) -> None:
        port = f"{path}-{name}"
        self._ip(
            *("switch", "link", "add", port, "type", "veth", "peer", "name", path),
            *("netns", self._namespace(name)),
        )
        self._ip("switch", "link", "set", port, "master", path, "up")
        self._ip(name, "link", "set", path, "up")
        self.add_address(name, path)


class LabLoop(asyncio.SelectorEventLoop):
    """
    An event loop whose datagram sockets are made on the host that the code runs on.
    """

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self._lab = lab

    async def create_datagram_endpoint(
        self,
        protocol_factory: Any,
        local_addr: Any = None,
        remote_addr: Any = None,
        **options: Any,
    ) -> Any:
        address = local_addr or remote_addr
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        with self._lab.inside():
            sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.setblocking(False)
        try:
            if local_addr is not None:
                sock.bind(local_addr)
            if remote_addr is not None:
                sock.connect(remote_addr)
        except OSError:
            sock.close()
            raise
        return await super().create_datagram_endpoint(
            protocol_factory, sock=sock, **options
        )
