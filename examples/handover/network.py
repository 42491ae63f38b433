"""
Two hosts in network namespaces, and two networks between them.
"""

import os
import shutil
import signal
import subprocess
import sys

PHONE, DESK = HOSTS = ("phone", "desk")

WIFI, LTE = NETWORKS = ("wifi", "lte")


class Unavailable(Exception):
    """
    There can be no namespaces here.
    """


class Network:
    """
    Two hosts. At first both are on Wi-Fi only.

    :raises Unavailable: if there can be no namespaces here.
    """

    def __init__(self) -> None:
        if sys.platform != "linux":
            raise Unavailable("Network namespaces are there on Linux only.")
        if os.geteuid() != 0:
            raise Unavailable("To make network namespaces takes root: try sudo.")
        if shutil.which("ip") is None:
            raise Unavailable("The program `ip` is missing: install iproute2.")

    def __enter__(self) -> "Network":
        try:
            for host in HOSTS:
                run("ip", "netns", "add", namespace(host))
                run("ip", "-n", namespace(host), "link", "set", "lo", "up")
            for network in NETWORKS:
                # A cable: what goes in at one end comes out at the other.
                run(
                    *("ip", "-n", namespace(PHONE), "link", "add", network),
                    *("type", "veth", "peer", "name", network),
                    *("netns", namespace(DESK)),
                )
                self._connect(DESK, network)
            self.join(WIFI)
        except subprocess.CalledProcessError as exc:
            self._remove()
            raise Unavailable(
                f"`{' '.join(exc.cmd)}` says: {exc.stderr.strip()}"
            ) from exc
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._remove()

    @staticmethod
    def command(host: str, *command: str) -> list[str]:
        """
        Return the command which runs a program on a host.
        """
        return ["ip", "netns", "exec", namespace(host), *command]

    def join(self, network: str) -> None:
        """
        Let the phone join a network, and have an address there.
        """
        self._connect(PHONE, network)

    def leave(self, network: str) -> None:
        """
        Let the phone lose a network, and its address there. Nobody else is told.
        """
        run("ip", "-n", namespace(PHONE), "address", "flush", "dev", network)
        run("ip", "-n", namespace(PHONE), "link", "set", network, "down")

    def _connect(self, host: str, network: str) -> None:
        address = f"{prefix(network)}{HOSTS.index(host) + 1}/24"
        link = ["ip", "-n", namespace(host)]
        run(*link, "address", "add", address, "dev", network)
        run(*link, "link", "set", network, "up")

    def _remove(self) -> None:
        # Who presses Ctrl-C once more does not stop this in the middle.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        for host in HOSTS:
            # The interfaces go with them.
            run("ip", "netns", "del", namespace(host), check=False)
        signal.signal(signal.SIGINT, handler)


def namespace(host: str) -> str:
    """
    Return the name of a host's namespace. Several programs may run at once.
    """
    return f"handover-{os.getpid()}-{host}"


def prefix(network: str) -> str:
    """
    Return what all addresses of a network begin with.
    """
    return f"10.77.{NETWORKS.index(network) + 1}."


def run(*command: str, check: bool = True) -> None:
    """
    Run a program, which Ctrl-C does not reach.
    """
    subprocess.run(
        command, check=check, capture_output=True, text=True, start_new_session=True
    )
