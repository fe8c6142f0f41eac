"""Rules: conditions over measurements, held for a time, that give a severity.

``condition [for hold] [until condition [for hold]]``, see docs/rules.md. Reading one checks its units; evaluating one
is a pure function of where it stood and an observation. What cannot be decided leaves an instance as it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import isnan

from wcr_watchd.core.errors import UnitError
from wcr_watchd.core.expressions import (
    Condition,
    Facts,
    Series,
    Source,
    Window,
    because,
    instances,
    series_of,
    sources,
    truth,
)
from wcr_watchd.core.grammar import Reader, wrong
from wcr_watchd.core.model import Labels, MeasurementSpec, Observation, Outcome, Severity
from wcr_watchd.core.units import format_duration, meant_duration, parse_duration
from wcr_watchd.core.windows import History, Track, record

__all__ = [
    "GONE_AFTER",
    "History",
    "Hold",
    "InstanceState",
    "Rule",
    "RuleState",
    "Verdict",
    "evaluate",
    "parse_rule",
    "remember",
]

GONE_AFTER = 10
"""Results in a row without a series (the check itself being up) after which its instance is given up: unmounted,
removed, renamed."""


class Verdict(StrEnum):
    """What a rule says about one instance after an observation."""

    CLEAR = "clear"
    PENDING = "pending"
    FIRING = "firing"


@dataclass(frozen=True, slots=True)
class Hold:
    """How long a condition must hold: ``seconds`` or a number of ``runs`` in a row; ``text`` is how it was written."""

    seconds: float | None = None
    runs: int | None = None
    text: str = field(default="", compare=False)

    def over(self, since: float, runs: int, at: float) -> bool:
        """Whether a condition that holds since then and for so many runs has held long enough."""
        if self.seconds is not None:
            return at - since >= self.seconds
        return self.runs is None or runs >= self.runs


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition over measurements, held for a time, that gives a severity.

    ``topic`` is that of the condition's measurements when they agree on one. ``names`` are the measurements whose
    value of now it needs, ``windows`` those of which it needs recent values. ``apart`` are the measurements with
    labels that tell its instances apart; without one it has the single instance ``()``.
    """

    severity: Severity
    text: str
    condition: Condition
    hold: Hold | None = None
    until: Condition | None = None
    until_hold: Hold | None = None
    topic: str = ""
    names: frozenset[str] = frozenset()
    windows: tuple[Track, ...] = ()
    apart: tuple[Source, ...] = ()

    def __str__(self) -> str:
        """The rule in its plainest form; reading it gives the same rule."""
        parts = [str(self.condition), f"for {self.hold.text}" if self.hold else ""]
        if self.until:
            parts += [f"until {self.until}", f"for {self.until_hold.text}" if self.until_hold else ""]
        return " ".join(filter(None, parts))

    @property
    def longest_window(self) -> float:
        """How far back it looks, in seconds."""
        return max((track.past for track in self.windows), default=0.0)


@dataclass(frozen=True, slots=True)
class InstanceState:
    """Where a rule stands for one label set.

    ``since`` (epoch seconds) and ``runs`` count while the condition holds, ``clear_since`` and ``clear_runs`` while
    ``until`` does, ``missing`` the results in a row in which its series was absent.
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
    """Where a rule stands, by label set.

    Label sets that are clear are left out, but for one whose series is gone: it says so once.
    """

    instances: tuple[tuple[Labels, InstanceState], ...] = ()


_CLEAR = InstanceState()
_GONE = InstanceState(because=f"its series is gone: absent from the last {GONE_AFTER} results")
_NONE = RuleState()


# --- reading ---


def parse_rule(text: str, severity: Severity, specs: Sequence[MeasurementSpec]) -> Rule:
    """Read a rule and check its units against the measurements.

    Raises :class:`RuleError` with the column and, where there is one, a suggestion.
    """
    reader = Reader(text, specs)
    condition = reader.condition()
    hold = _hold(reader)
    until_at = reader.next
    until = reader.condition() if reader.accept("until") else None
    until_hold = _hold(reader) if until else None
    reader.end()
    named = tuple(dict.fromkeys(sources(condition)))
    ending = tuple(dict.fromkeys(sources(until))) if until else ()
    apart = _apart(named)
    told = {label for source in apart for label in series_of(source).labels}
    for series in map(series_of, ending):
        if series.pin is None and not told.issuperset(series.labels):
            reason = f"`until` looks at {series} for each {', '.join(series.labels)}, which the condition does not"
            raise wrong(until_at, reason, "name one series with labels in braces")
    topics = {series_of(source).topic for source in named}
    return Rule(
        severity=severity,
        text=text,
        condition=condition,
        hold=hold,
        until=until,
        until_hold=until_hold,
        topic=topics.pop() if len(topics) == 1 else "",
        names=frozenset(source.name for source in (*named, *ending) if isinstance(source, Series)),
        windows=tuple(
            dict.fromkeys(
                track for source in (*named, *ending) if isinstance(source, Window) for track in source.tracks
            )
        ),
        apart=apart,
    )


def _apart(named: Iterable[Source]) -> tuple[Source, ...]:
    """The measurements that tell a rule's instances apart.

    Those that stand for several series; if there are none, those pinned to one by a filter, unless they are pinned to
    different ones: ``disk_used{mount="/"} > 90% and disk_used{mount="/srv"} > 90%`` is about the check as a whole.
    """
    labelled = [source for source in named if series_of(source).labels]
    open_ones = tuple(source for source in labelled if series_of(source).pin is None)
    if open_ones:
        return open_ones
    pinned: dict[str, str] = {}
    for source in labelled:
        for label, value in series_of(source).pin or ():
            if pinned.setdefault(label, value) != value:
                return ()
    return tuple(labelled)


def _hold(reader: Reader) -> Hold | None:
    if not reader.accept("for"):
        return None
    token = reader.take()
    if count := re.fullmatch(r"([0-9]{1,6})x", token.text):
        if int(count[1]) == 0:
            raise wrong(token, "a condition must hold for at least one run", "write for 1x")
        return Hold(runs=int(count[1]), text=token.text)
    try:
        return Hold(seconds=parse_duration(token.text), text=token.text)
    except UnitError:
        meant = meant_duration(token.text)
        hint = f"did you mean {meant}?" if meant else "write for 5m, or for 3x (three runs)"
        raise wrong(token, f"expected how long it must hold after `for`, found {token.found}", hint) from None


# --- evaluating ---


def remember(history: History, rules: Sequence[Rule], observation: Observation) -> History:
    """Return the history with the observation's values that the rules' windows need, older ones dropped.

    Without such rules it is the same history.
    """
    tracks = dict.fromkeys(track for rule in rules for track in rule.windows)
    return record(history, tracks, observation) if tracks or history.series else history


def evaluate(rule: Rule, state: RuleState, history: History, observation: Observation, confirmations: int) -> RuleState:
    """Return where the rule stands after the observation.

    ``history`` already holds the observation. A rule without ``for`` fires after ``1 + confirmations`` runs in a row.
    """
    facts = Facts(observation.at, observation.outcome, _values_now(rule.names, observation), history.series)
    if rule.apart:
        return _evaluate_each(rule, state, facts, confirmations)
    before = state.instances[0][1] if state.instances else _CLEAR
    after = _advance(rule, before, facts, (), confirmations)
    if after is before and state.instances:
        return state
    return _NONE if after.verdict is Verdict.CLEAR else RuleState((((), after),))


def _values_now(names: frozenset[str], observation: Observation) -> Mapping[str, Mapping[Labels, float]]:
    found: dict[str, dict[Labels, float]] = {}
    if names:
        for measured in observation.measurements:
            if measured.name in names and not isnan(measured.value):
                found.setdefault(measured.name, {})[measured.labels] = measured.value
    return found


def _evaluate_each(rule: Rule, state: RuleState, facts: Facts, confirmations: int) -> RuleState:
    """Evaluate a rule for every label set that is there now, and for those it knows."""
    before = {labels: one for labels, one in state.instances if one.verdict is not Verdict.CLEAR}
    there = dict.fromkeys(instances(rule.apart, facts))
    if there:
        # The check as a whole stood in while no series was there (`down or disk_used > 90%`).
        before.pop((), None)
    after: list[tuple[Labels, InstanceState]] = []
    for labels in sorted({**there, **before}) if there or before else [()]:
        one = _advance(rule, before.get(labels, _CLEAR), facts, labels, confirmations)
        if labels in there or not labels:
            one = replace(one, missing=0) if one.missing else one
        elif facts.outcome is Outcome.UP:
            one = _GONE if one.missing + 1 >= GONE_AFTER else replace(one, missing=one.missing + 1)
        if one.verdict is not Verdict.CLEAR or one is _GONE:
            after.append((labels, one))
    return RuleState(tuple(after)) if after else _NONE


def _advance(rule: Rule, before: InstanceState, facts: Facts, labels: Labels, confirmations: int) -> InstanceState:
    holds = truth(rule.condition, facts, labels)
    if before.verdict is Verdict.FIRING:
        return _firing(rule, before, facts, labels, holds)
    if holds is None:
        return before
    if not holds:
        return _CLEAR
    # A clock that was set back must not make it wait for the time to come again.
    since = facts.at if before.since is None else min(before.since, facts.at)
    runs = before.runs + 1
    enough = rule.hold.over(since, runs, facts.at) if rule.hold else runs > confirmations
    return InstanceState(
        verdict=Verdict.FIRING if enough else Verdict.PENDING,
        since=since,
        runs=runs,
        because=because(rule.condition, facts, labels) + (_held(rule.hold) if enough else ""),
    )


def _firing(rule: Rule, before: InstanceState, facts: Facts, labels: Labels, holds: bool | None) -> InstanceState:
    """A firing instance: clear at the first result that denies its condition, or as its ``until`` says."""
    if rule.until is None:
        if holds is False:
            return _CLEAR
    else:
        over = truth(rule.until, facts, labels)
        if over:
            since = facts.at if before.clear_since is None else min(before.clear_since, facts.at)
            runs = before.clear_runs + 1
            if rule.until_hold is None or rule.until_hold.over(since, runs, facts.at):
                return _CLEAR
            return replace(before, clear_since=since, clear_runs=runs)
        if over is False and before.clear_runs:
            before = replace(before, clear_since=None, clear_runs=0)
    if not holds:
        return before
    return replace(before, because=because(rule.condition, facts, labels) + _held(rule.hold))


def _held(hold: Hold | None) -> str:
    if hold is None:
        return ""
    if hold.seconds is not None:
        return f" for {format_duration(hold.seconds)}" if hold.seconds else ""
    return f" for {hold.runs} runs" if hold.runs != 1 else ""
