"""
Run fuzz targets by hand: `python -m tests.fuzz [TARGET...] [--count N] [--seed S]`.
"""

import argparse
import logging
import sys
import time
from collections import Counter

from . import SLOWEST, TARGETS, merge, target

PART = 2000
"After how many inputs there is something to be seen."


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--count", type=int, default=20_000, help="inputs of each")
    parser.add_argument("--seed", type=int, default=0, help="of the first session")
    parser.add_argument(
        "--keep-going", action="store_true", help="after a failure, with other seeds"
    )
    options = parser.parse_args()
    unknown = {*options.targets} - {*TARGETS}
    if unknown:
        parser.error(f"there is no target {', '.join(sorted(unknown))}")
    logging.disable(logging.CRITICAL)
    failures = 0
    for name in options.targets or TARGETS:
        failures += run(name, options.count, options.seed, options.keep_going)
    return 1 if failures else 0


def run(name: str, count: int, seed: int, keep_going: bool) -> int:
    """
    Run a target, print what has become of its inputs, and return how often it failed.
    """
    tally: Counter[str] = Counter()
    failures = done = 0
    began = time.monotonic()
    while done < count:
        try:
            part = target(name)(min(PART, count - done), seed)
        except AssertionError as exc:
            failures += 1
            print(f"\n{name}: {exc}", flush=True)
            if not keep_going:
                break
            done += 1
        else:
            merge(tally, part)
            done = sum(number for key, number in tally.items() if key != SLOWEST)
        # Sessions are shorter than a part, so that no seed comes twice.
        seed += PART
        if sys.stderr.isatty():
            print(f"\r{name}: {done}", end="", file=sys.stderr, flush=True)
    seconds = time.monotonic() - began
    print(f"\n{name}: {done} inputs in {seconds:.0f} s, {failures} failures")
    for key, number in sorted(tally.items(), key=lambda x: (x[0] == SLOWEST, -x[1])):
        print(f"  {number:>9}  {key}")
    return failures


if __name__ == "__main__":
    sys.exit(main())
