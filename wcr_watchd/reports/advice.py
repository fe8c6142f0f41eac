"""What a report recommends, by rule: each with the figure that it follows from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from wcr_watchd.core.errors import UnitError
from wcr_watchd.core.forecast import foreseen
from wcr_watchd.core.report import ReportKind
from wcr_watchd.core.units import Unit, format_duration, format_part, parse_duration
from wcr_watchd.reports.facts import CheckFacts, Facts
from wcr_watchd.reports.foretold import limit_met, to_come
from wcr_watchd.reports.promises import RECOVERY_POINT
from wcr_watchd.reports.reckoning import SPEED
from wcr_watchd.reports.words import LEAST_UNWATCHED, counted

DISK_FULL = 0.8
MEMORY_FULL = 0.85
SOON = 90 * 86_400.0
ALERTS_A_DAY = 5.0
NOISY = 5
"""Incidents of one check in a period that are worth a look."""
BLIND = 0.05
"""Share of the time in which nobody could say how a check was."""
NEAR = 0.8
"""A threshold of which the slowest percent of the runs takes that much will fire soon."""
LITTLE = 0.25
"""Share of an error budget below which it is nearly used up."""
NAMED = 5
_THRESHOLD = re.compile(rf"\b({'|'.join(SPEED)})\s*>=?\s*([0-9.]+(?:ms|s|m))\b")


def advice(facts: Facts) -> list[str]:
    """The recommendations, the most urgent first."""
    return [
        *_recovery(facts),
        *_budgets(facts),
        *_resources(facts),
        *_limits(facts),
        *_costs(facts),
        *_noise(facts),
        *_thresholds(facts.checks),
        *_blind(facts.checks),
        *_channels(facts),
        *_missing(facts.checks),
        *(_unprepared(facts.checks) if facts.wanted.kind is ReportKind.MONTHLY else ()),
    ]


def _recovery(facts: Facts) -> Iterator[str]:
    for one in facts.recovery:
        if one.worst is None and one.runs_failed:
            yield f"Make a backup and read it back: {one.check} found nothing that can be restored"
        elif one.worst is not None and one.objective is not None and not one.is_met:
            worst, objective = format_duration(one.worst), format_duration(one.objective)
            if one.probe == RECOVERY_POINT:
                what = f"{worst} of work could have been lost, the recovery point objective is {objective}"
                yield f"Back up more often: by {one.check} {what}"
            else:
                what = f"took {worst}, the recovery time objective is {objective}"
                yield f"Restore faster: the restore of {one.check} {what}"


def _budgets(facts: Facts) -> Iterator[str]:
    for one in facts.promises:
        left, period = one.budget.left, one.objective.over
        if left is not None and left <= 0:
            used = f"{format_duration(one.budget.down)} down in {period} have used it up"
            yield f"Put safety before news: the error budget of {one.objective.name} is gone, {used}"
        elif left is not None and left < LITTLE:
            yield f"Be careful with changes: {format_part(left)} of the error budget of {one.objective.name} is left"


def _resources(facts: Facts) -> Iterator[str]:
    for one in facts.resources:
        limit = DISK_FULL if one.name in ("disk_used", "inodes_used") else MEMORY_FULL
        expected = one.full.expected if one.full else None
        left = SOON if expected is None else expected - facts.wanted.until
        if one.name == "cpu_used" or (one.p95 <= limit and left >= SOON):
            continue
        when = f"; at this growth it is full in about {foreseen(left)}" if 0 < left < SOON else ""
        used = format_part(one.p95)
        yield f"Make room: {one.title} of {one.check} was at {used} or more for 5 % of the time{when}"


def _limits(facts: Facts) -> Iterator[str]:
    """What is no share and meets soon what a rule names; shares are told of with the resources."""
    until = facts.wanted.until
    for one in facts.forecasts:
        expected = one.met.expected if one.met else None
        if one.growth.unit != Unit.RATIO and expected is not None and 0 < expected - until < SOON:
            yield f"Make room: at this growth {one.growth.title} is {limit_met(one, until)}"


def _costs(facts: Facts) -> Iterator[str]:
    for one in facts.costs:
        ends = one.foreseen.at if one.foreseen and one.month else facts.wanted.until + SOON
        if one.met is not None and one.met.expected is not None and one.met.expected <= ends:
            yield f"Mind the budget: {one.title}: {to_come(one, facts.wanted)}"


def _noise(facts: Facts) -> Iterator[str]:
    days = max(1.0, (facts.wanted.until - facts.wanted.since) / 86_400)
    rate = len(facts.incidents) / days
    if rate > ALERTS_A_DAY:
        yield f"Calm the alerts: {rate:.1f} incidents a day are more than {ALERTS_A_DAY:.0f}; people stop reading them"
    counts = Counter(one.check for one in facts.incidents)
    for name, count in counts.most_common(NAMED):
        if count >= NOISY:
            yield f"Look at {name}: {count} incidents; mend the cause, or give its rules a `for` or a wider threshold"
    flapping = sorted({one.check for one in facts.incidents if one.flapping})
    if flapping:
        yield f"Come and go: {_names(flapping)}; put `until` with a lower threshold into the rule"


def _thresholds(checks: Iterable[CheckFacts]) -> Iterator[str]:
    near = []
    for one in checks:
        found = [known for _, text in one.subject.rules for _, known in _THRESHOLD.findall(text)]
        for threshold in found if one.speed else ():
            limit = _seconds(threshold)
            if limit and one.speed and NEAR * limit < one.speed.p99 < limit:
                near.append(f"{one.subject.name} ({format_duration(one.speed.p99)} of {format_duration(limit)})")
    if near:
        yield f"Look at what gets slow: 1 % of the runs take nearly as long as a rule allows: {_names(near)}"


def _seconds(text: str) -> float | None:
    try:
        return parse_duration(text)
    except UnitError:
        return None


def _blind(checks: Iterable[CheckFacts]) -> Iterator[str]:
    blind = []
    for one in checks:
        watched, missed = one.uptime.watched, one.unwatched
        if watched and missed >= LEAST_UNWATCHED and missed / (watched + missed) > BLIND:
            blind.append(f"{one.subject.name} ({format_part(missed / (watched + missed))})")
    if blind:
        yield f"Not watched for a part of the time: {_names(blind)}; see why they are unknown"


def _channels(facts: Facts) -> Iterator[str]:
    for one in facts.channels:
        if one.failed:
            yield f"Mend the channel {one.name}: {counted(one.failed, 'message')} could not be delivered"


def _missing(checks: Iterable[CheckFacts]) -> Iterator[str]:
    known = list(checks)
    for word, names in (
        ("runbook", [one.subject.name for one in known if one.incidents and not one.subject.runbook]),
        ("owner", [one.subject.name for one in known if one.incidents and not one.subject.owner]),
    ):
        if names:
            yield f"Write down the {word} of what failed: {_names(names)}"


def _unprepared(checks: Iterable[CheckFacts]) -> Iterator[str]:
    """What did not fail, but would find nobody prepared; once a month."""
    calm = [one.subject for one in checks if not one.incidents]
    for word, names in (
        ("a runbook", [one.name for one in calm if not one.runbook]),
        ("an owner", [one.name for one in calm if not one.owner]),
    ):
        if names:
            yield f"Write down {word} before it is needed: {_names(names)}"


def _names(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
