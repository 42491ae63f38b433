"""
Serve a video call, in which ICE restarts can be watched.
"""

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import signal
import sys

from aiohttp import web

from .door import Door
from .hosts import Hosts
from .options import parse_arguments
from .server import Server


def url(options: argparse.Namespace, port: int) -> str:
    """
    Return what one opens on this machine.
    """
    scheme = "https" if options.certificate else "http"
    host = options.host
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
        if address.version == 6:
            host = f"[{host}]"
    return f"{scheme}://{host}:{port}/"


async def serve(options: argparse.Namespace) -> None:
    """
    Serve until the task is cancelled.

    :raises OSError: if there can be no server at this place.
    """
    server = Server(options.configuration, Hosts(options.host, options.allow_host))
    runner = web.AppRunner(
        server.application(), keepalive_timeout=options.limits.patience
    )
    await runner.setup()
    assert runner.server is not None
    door = Door(runner.server, server.calls, options.limits, options.certificate)
    try:
        await door.open(options.host, options.port)
        print(
            f"Open {url(options, door.port)} in two browsers, "
            'or click "Join as a second person".',
            flush=True,
        )
        await asyncio.Event().wait()
    finally:
        await door.close()
        await runner.cleanup()


async def run(options: argparse.Namespace) -> None:
    """
    Serve until the program is ended, by whatever signal.
    """
    task = asyncio.current_task()
    assert task is not None
    # A shell lets what it runs in the background ignore Ctrl-C.
    with contextlib.suppress(NotImplementedError):
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serve(options)


def main() -> int:
    """
    Run the program, and return its exit status.
    """
    options = parse_arguments()
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger(__package__).setLevel(logging.INFO)
    try:
        asyncio.run(run(options))
    except KeyboardInterrupt:
        pass
    except OSError as exc:
        reason = exc.strerror or exc
        print(f"Cannot listen on {options.host}: {reason}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
