"""
Hold a call which restarts ICE, and report what it cost: nothing, it is hoped.
"""

import argparse
import asyncio
import gc
import sys
import tempfile
from pathlib import Path

from .call import hold_call
from .media import write_video
from .report import print_report
from .timeline import draw_timeline


def main() -> int:
    """
    Run the program.

    :rtype: int
    """
    parser = argparse.ArgumentParser("examples.ice_restart", description=__doc__)
    parser.add_argument("--restarts", type=int, default=3, help="how many")
    parser.add_argument(
        "--seconds", type=float, default=1.8, help="how long to wait between them"
    )
    parser.add_argument(
        "--png", type=Path, default=Path("out/ice_restart.png"), help="the picture"
    )
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as directory:
        video = Path(directory) / "video.webm"
        # It must not end before the call does.
        write_video(video, seconds=(args.restarts + 1) * args.seconds + 10)
        # What is loaded stays. A garbage collector which walks through it in the
        # middle of the call would show as a gap of some 40 ms.
        gc.collect()
        gc.freeze()
        record = asyncio.run(hold_call(video, args.restarts, args.seconds))

    print_report(record)
    draw_timeline(record, args.png)
    print(f"The timeline is in {args.png}.")
    if all(traffic.complete for traffic in record.traffic):
        print("Nothing was lost.")
        return 0
    print("Something was lost.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
