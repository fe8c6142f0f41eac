"""What one result costs the engine among 10 000 checks: ``python -m tests.bench.engine_step``."""

from __future__ import annotations

from random import Random
from statistics import median
from time import perf_counter

from tests.core.world import check, setup
from wcr_watchd.core import engine
from wcr_watchd.core.model import Measurement, Observation, Outcome
from wcr_watchd.core.state import State

CHECKS = 10_000
ROUNDS = 4
CHANGES = 0.02
"""Part of the results that differ from the one before."""


def main() -> None:
    """Print the median and the slowest hundredth of observe and tick, in microseconds."""
    config = setup(*(check(f"check-{number}", warning="response_time > 1s") for number in range(CHECKS)))
    state, chance = State(), Random(1)
    down: set[str] = set()
    now, taken = 1_000_000.0, list[float]()
    for turn in range(ROUNDS):
        for name in config.checks:
            now += 60.0 / CHECKS
            if chance.random() < CHANGES:
                down ^= {name}
            seen = _observation(name, now, name in down)
            begun = perf_counter()
            engine.apply(state, engine.observe(config, state, seen, now))
            for number in tuple(state.by_check.get(name, {}).values()):
                engine.apply(state, engine.tick(config, state, number, now, seen))
            if turn:  # the first round has no past
                taken.append((perf_counter() - begun) * 1e6)
    slowest = sorted(taken)[int(len(taken) * 0.99)]
    opened = len(state.incidents)
    print(f"{CHECKS} checks, {opened} open incidents: median {median(taken):.1f} µs, 99 % below {slowest:.0f} µs")


def _observation(name: str, at: float, down: bool) -> Observation:
    outcome = Outcome.DOWN if down else Outcome.UP
    reason = "connect" if down else ""
    return Observation(name, "here", at, 0.1, outcome, reason, f"it is {outcome}", (Measurement("response_time", 0.1),))


if __name__ == "__main__":
    main()
