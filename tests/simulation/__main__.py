"""Simulated days: ``python -m tests.simulation [--worlds N]``, or one of them again: ``--seed N [--days N] [--disk]``.

Exit status 0 when everything held.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.many import WORKERS, Sum, live, live_all


def main() -> int:
    """Print what did not hold, and the sum of it."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, help="the one world to live through")
    parser.add_argument("--days", type=float, default=1.0, help="how long that one lasts")
    parser.add_argument("--disk", action="store_true", help="keep its records in SQLite")
    parser.add_argument("--worlds", type=int, default=200, help="so many worlds of a day")
    parser.add_argument("--first", type=int, default=1, help="seed of the first")
    parser.add_argument("--workers", type=int, default=WORKERS)
    asked = parser.parse_args()
    begun, total = time.monotonic(), Sum()
    one_world = asked.seed is not None
    seeds = range(asked.first, asked.first + asked.worlds)
    for one in [live(asked.seed, asked.days, on_disk=asked.disk)] if one_world else live_all(seeds, asked.workers):
        total.add(one)
        if one.faults:
            print(one, flush=True)
    print(f"{total}; {time.monotonic() - begun:.0f} s")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
