"""
Move a call from Wi-Fi to LTE and back: root on one Linux machine is all that it takes.
"""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from ..ice_restart.timeline import draw
from .network import Network, Unavailable
from .report import print_report
from .story import Failed, Story


def main() -> int:
    """
    Run the program.

    :return: The exit status: 0 if nothing was lost, 1 if something was, 2 if there can
             be no network namespaces here, and 130 if the program was interrupted.
    """
    parser = argparse.ArgumentParser("examples.handover", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="how long to wait before each step"
    )
    parser.add_argument(
        "--png", type=Path, default=Path("out/handover.png"), help="the picture"
    )
    args = parser.parse_args()

    try:
        network = Network()
        for number in (signal.SIGHUP, signal.SIGTERM):
            # They end it as Ctrl-C does, so that no namespace is left.
            signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))
        with network:
            story = Story(network, args.seconds)
            asyncio.run(story.tell())
    except Unavailable as exc:
        print(exc, file=sys.stderr)
        return 2
    except Failed as exc:
        print(exc, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    complete = print_report(story.record)
    draw(story.record.timelines, story.record.marks, story.record.start, args.png)
    print(f"The timeline is in {args.png}.")
    print("Nothing was lost." if complete else "Something was lost.")
    return 0 if complete else 1


if __name__ == "__main__":
    sys.exit(main())
