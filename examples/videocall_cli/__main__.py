"""
Hold a video call from one terminal to another. Keys: r restart, s stats, q quit.
"""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from aiortc.contrib.signaling import add_signaling_arguments
from av import FFmpegError

from .call import Call
from .terminal import Terminal


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser("examples.videocall_cli", description=__doc__)
    parser.add_argument("role", choices=["offer", "answer"], help="who calls")
    parser.add_argument(
        "--play-from",
        metavar="FILE",
        help="what to send: a file, or a camera (/dev/video0); else a test picture",
    )
    parser.add_argument(
        "--record-to", metavar="FILE", type=Path, help="where to write what comes"
    )
    parser.add_argument(
        "--ice-server",
        metavar="URL",
        action="append",
        default=[],
        help="a STUN server, to call through a NAT (stun:host:port)",
    )
    add_signaling_arguments(parser)
    args = parser.parse_args()
    # It is an int, or what has been typed.
    port = str(args.signaling_port)
    if not port.isdecimal() or not 0 < int(port) < 65536:
        parser.error(f"argument --signaling-port: {port} is no number from 1 to 65535")
    for url in args.ice_server:
        if not url.startswith("stun:"):
            parser.error(f"argument --ice-server: {url} is no stun:host:port")
    return args


async def hold_call(args: argparse.Namespace) -> int:
    """
    Hold a call until one end hangs up, and return the exit status.
    """
    task = asyncio.current_task()
    assert task is not None
    # Ends as Ctrl-C does, so that the terminal is what it was.
    for number in (signal.SIGHUP, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    with Terminal(sys.stdin, sys.stdout) as terminal:
        try:
            call = Call(args, terminal)
        except (FFmpegError, OSError, ValueError) as exc:
            terminal.say(f"There can be no call: {exc}")
            return 2
        try:
            await call.hold()
        except OSError as exc:
            terminal.say(f"The other end cannot be reached: {exc}")
            return 1
        finally:
            await call.close()
    return 0


def main() -> int:
    """
    Run the program.
    """
    try:
        return asyncio.run(hold_call(parse_arguments()))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


if __name__ == "__main__":
    sys.exit(main())
