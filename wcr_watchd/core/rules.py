"""The rule language: a condition over measurements, held for a time, that gives a severity.

::

    rule      := condition [ "for" hold ] [ "until" condition [ "for" hold ] ]
    hold      := duration | count "x"

A rule is decided once per label set of the measurements it names (its *instances*): ``disk_used > 90%`` stands for
every mount by itself. What cannot be decided because a value is absent leaves an instance as it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from wcr_watchd.core.errors import UnitError
from wcr_watchd.core.expressions import (
    Condition,
    Facts,
    Reader,
    Samples,
    Series,
    Window,
    because,
    instances,
    truth,
    values_in,
)
from wcr_watchd.core.model import Labels, MeasurementSpec, Observation, Outcome, Severity
from wcr_watchd.core.units import format_duration, parse_duration

GONE_AFTER = 10
"""Results in a row without a series (the check itself being up) after which its instance is given up: unmounted,
removed, renamed."""
MAX_SAMPLES = 2_000
"""Samples kept per series; beyond it the older half is thinned."""


class Verdict(StrEnum):
    """What a rule says about one instance after an observation."""

    CLEAR = "clear"
    PENDING = "pending"
    FIRING = "firing"


@dataclass(frozen=True, slots=True)
class Hold:
    """How long a condition must hold: ``seconds`` or a number of runs in a row."""

    seconds: float | None = None
    runs: int | None = None

    def over(self, since: float, runs: int, at: float) -> bool:
        """Whether a condition that holds since then and for so many runs has held long enough."""
        if self.seconds is not None:
            return at - since >= self.seconds
        return self.runs is None or runs >= self.runs


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition over measurements, held for a time, that gives a severity.

    ``topic`` is that of its measurements when they agree on one. ``windows`` lists the measurements of which it
    needs recent values, with how far back (seconds).
    """

    severity: Severity
    text: str
    condition: Condition
    hold: Hold | None = None
    until: Condition | None = None
    until_hold: Hold | None = None
    topic: str = ""
    windows: tuple[tuple[str, float], ...] = ()
    labelled: bool = False

    @property
    def longest_window(self) -> float:
        """How far back it looks, in seconds."""
        return max((seconds for _, seconds in self.windows), default=0.0)


@dataclass(frozen=True, slots=True)
class InstanceState:
    """Where a rule stands for one label set.

    ``since`` and ``runs`` count while the condition holds, ``clear_since`` and ``clear_runs`` while ``until`` does,
    ``missing`` the results in a row in which its series was absent.
    """

    verdict: Verdict = Verdict.CLEAR
    since: float | None = None
    runs: int = 0
    clear_since: float | None = None
    clear_runs: int = 0
    missing: int = 0
    because: str = ""


@dataclass(frozen=True, slots=True)
class RuleState:
    """Where a rule stands, by label set; label sets that are clear are left out."""

    instances: tuple[tuple[Labels, InstanceState], ...] = ()


@dataclass(frozen=True, slots=True)
class History:
    """The recent values that the window functions of a check's rules need."""

    series: Mapping[tuple[str, Labels], Samples] = field(default_factory=dict)


_CLEAR = InstanceState()
_NONE = RuleState()


def parse_rule(text: str, severity: Severity, specs: Sequence[MeasurementSpec]) -> Rule:
    """Read a rule and check its units against the measurements.

    Raises :class:`RuleError` with the column and, where there is one, a suggestion.
    """
    reader = Reader(text, specs)
    condition = reader.condition()
    hold = _hold(reader)
    until = reader.condition() if reader.accept("until") else None
    until_hold = _hold(reader) if until else None
    if reader.next.kind != "end":
        raise reader.wrong(f"{reader.next.text!r} is left over", "after the condition come `for` and `until`")
    values = [*values_in(condition), *(values_in(until) if until else ())]
    series = [value if isinstance(value, Series) else value.series for value in values]
    windows: dict[str, float] = {}
    for value in values:
        if isinstance(value, Window):
            windows[value.series.name] = max(value.past, windows.get(value.series.name, 0.0))
    topics = {one.topic for one in series}
    return Rule(
        severity=severity,
        text=text,
        condition=condition,
        hold=hold,
        until=until,
        until_hold=until_hold,
        topic=topics.pop() if len(topics) == 1 else "",
        windows=tuple(windows.items()),
        labelled=any(one.labelled for one in series),
    )


def _hold(reader: Reader) -> Hold | None:
    if not reader.accept("for"):
        return None
    token = reader.take()
    if count := re.fullmatch(r"(\d{1,6})x", token.text):
        if int(count[1]) == 0:
            raise reader.wrong("a condition must hold for at least one run: for 1x", token=token)
        return Hold(runs=int(count[1]))
    try:
        return Hold(seconds=parse_duration(token.text))
    except UnitError:
        found = token.text or "the end"
        raise reader.wrong(
            f"expected how long it must hold after `for`, found {found!r}",
            "write for 5m, or for 3x (three runs)",
            token,
        ) from None


def remember(history: History, rules: Sequence[Rule], observation: Observation) -> History:
    """Return the history with the observation's values that the rules' windows need, older ones dropped."""
    needed: dict[str, float] = {}
    for rule in rules:
        for name, seconds in rule.windows:
            needed[name] = max(seconds, needed.get(name, 0.0))
    if not needed:
        return history
    series = dict(history.series)
    for measured in observation.measurements:
        if measured.name in needed:
            key = (measured.name, measured.labels)
            samples = (*series.get(key, ()), (observation.at, measured.value))
            series[key] = _trimmed(samples, observation.at - needed[measured.name])
    stale = [key for key, samples in series.items() if samples[-1][0] < observation.at - 2 * needed.get(key[0], 0.0)]
    for key in stale:
        del series[key]
    return History(series)


def _trimmed(samples: Samples, start: float) -> Samples:
    """Without what is older than the window, but for one sample from before it; thinned when there are too many."""
    first = 0
    while first + 1 < len(samples) and samples[first + 1][0] <= start:
        first += 1
    kept = samples[first:]
    if len(kept) > MAX_SAMPLES:
        half = len(kept) // 2
        kept = (*kept[:half:2], *kept[half:])
    return kept


def evaluate(rule: Rule, state: RuleState, history: History, observation: Observation, confirmations: int) -> RuleState:
    """Return where the rule stands after the observation.

    ``history`` already holds the observation. A rule without ``for`` fires after ``1 + confirmations`` runs in a row.
    """
    if not rule.labelled:
        facts = _facts(rule, history, observation)
        before = state.instances[0][1] if state.instances else _CLEAR
        after = _advance(rule, before, facts, (), confirmations)
        if after is before:
            return state
        return _NONE if after.verdict is Verdict.CLEAR else RuleState((((), after),))
    return _evaluate_labelled(rule, state, _facts(rule, history, observation), confirmations)


def _facts(rule: Rule, history: History, observation: Observation) -> Facts:
    now: dict[str, list[tuple[Labels, float]]] = {}
    for measured in observation.measurements:
        now.setdefault(measured.name, []).append((measured.labels, measured.value))
    return Facts(observation.at, observation.outcome, now, history.series if rule.windows else {})


def _evaluate_labelled(rule: Rule, state: RuleState, facts: Facts, confirmations: int) -> RuleState:
    before = dict(state.instances)
    seen = instances(rule.condition, facts)
    after: dict[Labels, InstanceState] = {}
    for labels in seen:
        after[labels] = replace(_advance(rule, before.get(labels, _CLEAR), facts, labels, confirmations), missing=0)
    for labels, known in before.items():
        if labels not in after:
            after[labels] = _missed(known, facts)
    alive = tuple((labels, one) for labels, one in sorted(after.items()) if one.verdict is not Verdict.CLEAR)
    return RuleState(alive) if alive else _NONE


def _missed(known: InstanceState, facts: Facts) -> InstanceState:
    """An instance whose series is absent holds its state, until the series is taken to be gone for good."""
    if facts.outcome is not Outcome.UP:
        return known
    return _CLEAR if known.missing + 1 >= GONE_AFTER else replace(known, missing=known.missing + 1)


def _advance(rule: Rule, before: InstanceState, facts: Facts, labels: Labels, confirmations: int) -> InstanceState:
    holds = truth(rule.condition, facts, labels)
    if before.verdict is Verdict.FIRING:
        return _firing(rule, before, facts, labels, holds)
    if holds is None:
        return before
    if not holds:
        return _CLEAR if before.verdict is not Verdict.CLEAR else before
    since = facts.at if before.since is None else before.since
    runs = before.runs + 1
    enough = rule.hold.over(since, runs, facts.at) if rule.hold else runs > confirmations
    return InstanceState(
        verdict=Verdict.FIRING if enough else Verdict.PENDING,
        since=since,
        runs=runs,
        because=because(rule.condition, facts, labels) + _held(rule),
    )


def _firing(rule: Rule, before: InstanceState, facts: Facts, labels: Labels, holds: bool | None) -> InstanceState:
    """A firing instance: clear at the first result that denies its condition, or as its ``until`` says."""
    if rule.until is None:
        if holds is False:
            return _CLEAR
    else:
        over = truth(rule.until, facts, labels)
        if over:
            since = facts.at if before.clear_since is None else before.clear_since
            runs = before.clear_runs + 1
            if rule.until_hold is None or rule.until_hold.over(since, runs, facts.at):
                return _CLEAR
            return replace(before, clear_since=since, clear_runs=runs)
        if over is False:
            before = replace(before, clear_since=None, clear_runs=0)
    return replace(before, because=because(rule.condition, facts, labels) + _held(rule)) if holds else before


def _held(rule: Rule) -> str:
    if rule.hold is None:
        return ""
    if rule.hold.seconds is not None:
        return f" for {format_duration(rule.hold.seconds)}"
    return f" for {rule.hold.runs} runs"
