"""
Measure what the package costs, side by side with stock aiortc, and what it can do,
side by side with libwebrtc.
"""

import argparse
import asyncio
import gc
import os
import resource
import sys

from ..interop.remote import missing
from . import (
    continuity,
    crowd,
    drops,
    endurance,
    outages,
    packets,
    switch,
    throughput,
    trickle,
)
from .harness import Row

BENCHMARKS = {
    "throughput": throughput.run,
    "packets": packets.run,
    "drops": drops.run,
    "switch": switch.run,
    "continuity": continuity.run,
    "endurance": endurance.run,
    "crowd": crowd.run,
    "outages": outages.run,
    "trickle": trickle.run,
}

PEERS = {"outages": ["wrtc"], "trickle": ["wrtc", "werift"]}
"What some are measured beside. Without it those columns are empty."


def main() -> int:
    """
    Run the program.

    :rtype: int
    """
    parser = argparse.ArgumentParser("tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument(
        "--figures",
        action="store_true",
        help="a missed limit is no error, a missing peer is",
    )
    args = parser.parse_args()
    unknown = set(args.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no such benchmark: {', '.join(sorted(unknown))}")
    names = args.names or list(BENCHMARKS)
    if args.figures and (reasons := absent(names)):
        print("\n".join(reasons), file=sys.stderr)
        return 1

    # A hundred peers hold the sockets of several generations each.
    _, limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    # What is loaded stays: the garbage collector need not go through it.
    gc.collect()
    gc.freeze()

    rows = []
    for name in names:
        print(f"{name} ...", flush=True)
        found = asyncio.run(BENCHMARKS[name](args.quick))
        for row in found:
            print(
                f"  {row.figure}: stock {row.stock}, ours {row.ours}, "
                f"libwebrtc {row.libwebrtc}",
                flush=True,
            )
        rows += found
    print()
    print_table(rows)
    load, cpus = os.getloadavg()[0], os.cpu_count() or 1
    if load > cpus:
        print(f"Others were busy here, too (load {load:.1f} on {cpus} CPUs).")
    return 0 if args.figures or all(row.holds for row in rows) else 1


def absent(names: list[str]) -> list[str]:
    """
    Return why some peers cannot be measured here.

    :param names: Of benchmarks.
    """
    peers = dict.fromkeys(peer for name in names for peer in PEERS.get(name, []))
    return [reason for peer in peers if (reason := missing(peer)) is not None]


def print_table(rows: list[Row]) -> None:
    """
    Print figures with their limits.

    :param rows: The lines.
    """
    cells = [("figure", "stock", "ours", "libwebrtc", "limit", "verdict")]
    for row in rows:
        verdict = "holds" if row.holds else "MISSED"
        cells.append(
            (row.figure, row.stock, row.ours, row.libwebrtc, row.limit, verdict)
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        columns = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(columns).rstrip())


if __name__ == "__main__":
    sys.exit(main())
