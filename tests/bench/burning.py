"""The burn-rate alerts beside the published figures: the tables of docs/objectives.md.

    .venv/bin/python -m tests.bench.burning

The first: a steady share of errors, when it is told and how long after its end the alert is over. The second: weeks of
outages at random, and how the alerts, which know them by the runs of a check only, compare with an oracle that knows
them to the second and goes by the same rule.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.core.test_burning import OBJECTIVE, over, share, told
from wcr_watchd.core.burning import ALERTS, HOUR, MINUTE, BurnAlert
from wcr_watchd.core.model import Severity
from wcr_watchd.core.objectives import DAY
from wcr_watchd.core.units import format_duration

WEEK = 7 * DAY
LOOK = 30.0
Spans = Sequence[tuple[float, float]]


def steady() -> None:
    """Print the first table."""
    print("| errors | alert | published | measured | over after |")
    print("|---|---|---|---|---|")
    for errors, alert in ((1.0, 0), (0.1, 0), (0.02, 0), (0.0125, 1), (0.002, 2)):
        rule = ALERTS[alert]
        published = OBJECTIVE.allowed / errors * rule.long * rule.burn_rate(OBJECTIVE.period)
        ends = published * 1.25
        down = share(errors)
        is_down = {"api": (10.0, lambda at, ends=ends, down=down: at < ends and down(at))}
        changes = told(is_down, ends + 2 * rule.short + HOUR, look=LOOK if published < DAY else MINUTE)
        begun = next(at for at, holds in changes if rule.severity in holds)
        after = over(changes, rule.severity) - ends
        row = (format_duration(rule.long), format_duration(published), format_duration(begun), format_duration(after))
        print(f"| {errors:.4g} | {' | '.join(row)} |", flush=True)


@dataclass
class Score:
    """How the alerts of one severity compare with the oracle."""

    alerts: int = 0
    right: int = 0
    due: int = 0
    found: int = 0

    def text(self, delays: Sequence[float], shares: Sequence[float]) -> str:
        """As cells of a table."""
        late = f"{median(delays):.0f} s, {max(delays):.0f} s" if delays else "-"
        least = f"{min(shares):.0%}".replace("%", " %") if shares else "-"
        return f"{self.right} of {self.alerts} | {least} | {self.found} of {self.due} | {late}"


def outages(source: random.Random) -> Spans:
    """A week of outages of all lengths, most of them short."""
    begins = sorted(source.uniform(0, WEEK) for _ in range(28))
    spans: list[tuple[float, float]] = []
    for begin in begins:
        length = source.choice((20.0, 60.0, 180.0, 600.0)) * source.uniform(0.5, 1.5)
        if not spans or begin > spans[-1][1]:
            spans.append((begin, begin + length))
    return spans


def lost(spans: Spans, since: float, until: float) -> float:
    """Seconds that were down between two times."""
    return sum(max(0.0, min(until, end) - max(since, start)) for start, end in spans)


def fraction(spans: Spans, rule: BurnAlert, at: float) -> float:
    """How much of the share of the budget that the rule asks for went in its long window, if it still goes on."""
    limit = OBJECTIVE.allowed * rule.burn_rate(OBJECTIVE.period)
    if lost(spans, at - rule.short, at) <= limit * rule.short:
        return 0.0
    return lost(spans, at - rule.long, at) / (limit * rule.long)


def random_weeks(every: float, weeks: int) -> None:
    """Print a row of the second table: critical alerts of a check that runs every so many seconds."""
    rules = [rule for rule in ALERTS if rule.severity is Severity.CRITICAL]
    score, delays, shares = Score(), list[float](), list[float]()
    for week in range(weeks):
        spans = outages(random.Random(week))

        def is_down(at: float, spans: Spans = spans) -> bool:
            return any(start <= at < end for start, end in spans)

        changes = told({"api": (every, is_down)}, WEEK, look=LOOK)
        begun = begins([(at, Severity.CRITICAL in holds) for at, holds in changes])
        near = sorted({step for start, end in spans for step in range(int(start), int(end) + 2 * int(MINUTE))})
        due = begins([(float(at), any(fraction(spans, rule, at) > 1 for rule in rules)) for at in near])
        for at in begun:
            most = max(lost(spans, at - rule.long, at) / rule.long / rule.burn_rate(OBJECTIVE.period) for rule in rules)
            shares.append(most / OBJECTIVE.allowed)
        score.alerts += len(begun)
        score.right += sum(one >= 1 for one in shares[len(shares) - len(begun) :])
        for at in due:
            after = [one - at for one in begun if -10 * MINUTE <= one - at <= 10 * MINUTE]
            score.due += 1
            score.found += bool(after)
            delays += [min(after, key=abs)] if after else []
    print(f"| {format_duration(every)} | {score.text(delays, shares)} |", flush=True)


def begins(course: Sequence[tuple[float, bool]]) -> list[float]:
    """When something began to hold; what ends and comes back within a quarter of an hour goes on."""
    found: list[float] = []
    last = -DAY
    for at, holds in course:
        if holds and at - last > 15 * MINUTE:
            found.append(at)
        if holds or (found and at - last <= MINUTE):
            last = at
    return found


def main() -> None:
    """Print both tables."""
    steady()
    print("\n| runs every | told rightly | least of the share | found of due | later by (median, most) |")
    print("|---|---|---|---|---|")
    for every in (10.0, 60.0, 300.0):
        random_weeks(every, 3)


if __name__ == "__main__":
    main()
