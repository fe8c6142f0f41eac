"""How often the comparison of before and after errs, on drawn times of runs: the table of docs/changes.md.

    .venv/bin/python -m tests.bench.changes

Times are log-normal (median 200 ms, standard deviation of the logarithm 0.4). Each run resembles the one before it by
the correlation; *waves* are slow ones (correlation 0.9) under as much noise that knows nothing of the run before.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from wcr_watchd.core.comparison import LEVEL, Compared, Finding, compare
from wcr_watchd.core.model import Observation, Outcome

SERIES = 10
"""Series that are compared at once: the level of one is a tenth when a change is looked for."""
SLOWER = (1.25, 1.5, 2.0, 5.0)


def course(source: random.Random, count: int, alike: float, noise: float = 0.0) -> list[float]:
    """The logarithms of the times of runs, with mean 0 and deviation 1."""
    found, at = [], source.gauss(0, 1)
    for _ in range(count):
        at = alike * at + math.sqrt(1 - alike**2) * source.gauss(0, 1)
        found.append(math.sqrt(1 - noise) * at + math.sqrt(noise) * source.gauss(0, 1))
    return found


def runs(logarithms: Sequence[float], slower: float = 1.0) -> list[Observation]:
    """Runs that took these times."""
    return [
        Observation("api", "here", float(at), slower * 0.2 * math.exp(0.4 * one), Outcome.UP, "", "")
        for at, one in enumerate(logarithms)
    ]


def duration(before: list[Observation], after: list[Observation]) -> Compared:
    """What the comparison says of how long the runs took."""
    return next(one for one in compare({"api": before}, {"api": after}, {}, 0.25) if one.what == "duration")


def line(name: str, alike: float, noise: float, count: int, times: int) -> str:
    """A row of the table."""
    source = random.Random(5)
    told = false = 0
    found = dict.fromkeys(SLOWER, 0)
    for _ in range(times):
        one, other = (course(source, count, alike, noise) for _ in range(2))
        quiet = duration(runs(one), runs(other))
        told += quiet.finding is not Finding.UNDECIDED
        false += quiet.finding is Finding.WORSE
        for slower in SLOWER:
            seen = duration(runs(one), runs(other, slower))
            grew = seen.after > 1.25 * seen.before
            found[slower] += grew and seen.p is not None and seen.p <= LEVEL / SERIES
    shares = " | ".join(f"{share / times:.0%}".replace("%", " %") for share in (told, false, *found.values()))
    return f"| {name} | {count} | {shares} |"


def main() -> None:
    """Print the table."""
    print("| correlation | runs | told | called worse, and is not | × 1.25 | × 1.5 | × 2 | × 5 |")
    print("|---|---|---|---|---|---|---|---|")
    for name, alike, noise in (("0", 0.0, 0.0), ("0.5", 0.5, 0.0), ("0.9", 0.9, 0.0), ("waves", 0.9, 0.5)):
        for count in (8, 15, 60, 240):
            print(line(name, alike, noise, count, 400 if count < 100 else 150), flush=True)


if __name__ == "__main__":
    main()
