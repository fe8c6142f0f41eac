"""Which steps of a change's checklist tick themselves now, and why others do not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from wcr_watchd.core import changes
from wcr_watchd.core.announcements import covered
from wcr_watchd.core.changes import Change, ChangeState, Phase, Step, Tick
from wcr_watchd.core.model import Observation, Outcome, Severity
from wcr_watchd.core.mute import open_span
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.state import CheckState, State
from wcr_watchd.core.units import format_duration
from wcr_watchd.core.versions import another

AGES = ("age", "exposure", "copy_age")
"""Measurements (seconds) that tell how old a backup is, by which a check of backups is read."""
FRESH = 3.0
"""Intervals of a check after which its last result says nothing of now."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether a step ticks itself, and why, or why not."""

    holds: bool
    why: str


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known at this time (epoch seconds); from ``watched_since`` on somebody watched all the time.

    ``deployed`` is when checks last saw another version come, as far back as a step asks for.
    """

    setup: Setup
    state: State
    latest: Mapping[str, Observation]
    now: float
    watched_since: float = 0.0
    deployed: Mapping[str, float] = field(default_factory=dict)


def looked_over(change: Change, sight: Sight) -> Change:
    """The change with the steps ticked that hold now; before it starts, those that hold no more are not done again."""
    prepared = change.state is ChangeState.PREPARED
    for step, done in change.steps:
        if step.tick in _LIVE and (done is None or (prepared and not done.by)):
            answer = tells(change, step, sight)
            if answer.holds:
                change = changes.ticked_by_itself(change, step.tick, answer.why, sight.now)
            elif prepared:
                change = changes.unticked(change, step.tick)
    return change


def tells(change: Change, step: Step, sight: Sight) -> Answer:
    """Whether the step holds now. Of one that only a person or a command can tick: no, and what to do."""
    plan = change.plan
    match step.tick:
        case Tick.STAGING:
            return _staged(change, step.span, sight)
        case Tick.BACKUPS:
            return _backed_up(plan.backups, step.span, sight)
        case Tick.WINDOW:
            return _in_window(change, sight)
        case Tick.LOGS:
            return _clean(change, step, sight)
        case Tick.COMPARED:
            return Answer(False, _not_compared(change, step))
        case _:
            return Answer(False, _TO_DO[step.tick])


_LIVE = (Tick.STAGING, Tick.BACKUPS, Tick.WINDOW, Tick.LOGS)
_TO_DO = {
    Tick.HAND: "for a person: wcr-watchd change tick",
    Tick.UPDATED: "for a person: wcr-watchd change tick, or with the first wcr-watchd change verify",
    Tick.TOLD: "wcr-watchd change tell",
    Tick.STARTED: "wcr-watchd change start",
    Tick.VERIFIED: "wcr-watchd change verify, when everything is green",
    Tick.FINISHED: "wcr-watchd change finish",
}


def _staged(change: Change, span: float, sight: Sight) -> Answer:
    """Staging is green for so long and, where the change names a version, with that one."""
    names = change.plan.staging
    if not change.version or not names:
        return _green(names, "staging", span, sight)
    for name in names:
        if why := _not_green(name, sight):
            return Answer(False, f"{name} {why}")
        if name not in sight.latest:
            return Answer(False, f"{name} has not run since the daemon started")
    seen = {name: another(sight.latest[name], change.version) for name in names}
    telling = {name: other for name, other in seen.items() if other is not None}
    if not telling:
        return Answer(False, f"no check of staging tells which version runs, {change.version} is asked for: {_HOW}")
    for name, other in telling.items():
        if other:
            return Answer(False, f"{name} sees {other}, not {change.version}")
    found = _green(names, "staging", span, sight, max(sight.deployed.get(name, 0.0) for name in telling))
    return Answer(found.holds, f"{found.why} with {change.version}" if found.holds else found.why)


_HOW = "give `version` in an http check of staging, or name a docker check in `staging`"


def _green(names: tuple[str, ...], what: str, span: float, sight: Sight, begun: float = 0.0) -> Answer:
    """All of these checks are up without an incident, and have been for so many seconds, ``begun`` then or later."""
    if not names:
        return Answer(False, f"the change names no checks of {what}")
    for name in names:
        why = _not_green(name, sight)
        if why:
            return Answer(False, f"{name} {why}")
    youngest = max(names, key=lambda name: sight.state.checks[name].since)
    lasts = sight.now - max(sight.state.checks[youngest].since, sight.watched_since, begun)
    if lasts < span:
        return Answer(False, f"{youngest} is green for {format_duration(lasts)}; {format_duration(span)} are asked for")
    return Answer(True, f"{', '.join(names[:5])}{' …' if len(names) > 5 else ''} green for {format_duration(lasts)}")


def _not_green(name: str, sight: Sight) -> str:
    check, known = sight.setup.checks.get(name), sight.state.checks.get(name)
    if check is None:
        return "is not watched any more"
    if known is None or known.outcome is None:
        return "has no result yet"
    if sight.now - known.last_at > FRESH * check.every + check.timeout:
        return f"has not been looked at for {format_duration(sight.now - known.last_at)}"
    return "" if _is_good(known) else f"is {_how(known)}: {known.summary}"


def _is_good(known: CheckState) -> bool:
    return known.outcome is Outcome.UP and known.severity <= Severity.INFO


def _how(known: CheckState) -> str:
    return known.severity.word if known.severity > Severity.INFO or known.outcome is None else known.outcome.value


def _backed_up(names: tuple[str, ...], span: float, sight: Sight) -> Answer:
    if not names:
        return Answer(False, "the change names no checks of backups")
    ages = []
    for name in names:
        if why := _not_green(name, sight):
            return Answer(False, f"{name} {why}")
        seen = sight.latest.get(name)
        if seen is None:
            return Answer(False, f"{name} has not run since the daemon started")
        age = _age_of(seen, sight.now)
        if age is None:
            return Answer(False, f"{name} does not tell how old its backup is")
        if age > span:
            old, asked = format_duration(age), format_duration(span)
            return Answer(False, f"the backup of {name} is {old} old; younger than {asked} is asked for")
        ages.append(age)
    return Answer(True, f"{', '.join(names)}: {format_duration(max(ages))} old and verified")


def _age_of(seen: Observation, now: float) -> float | None:
    """How old the backup is by now."""
    values = {one.name: one.value for one in seen.measurements if not one.labels}
    found = next((values[name] for name in AGES if name in values), None)
    return None if found is None else found + max(0.0, now - seen.at)


def _in_window(change: Change, sight: Sight) -> Answer:
    """A planned window is open that covers all checks by which the change is verified."""
    wanted = set(change.plan.verify)
    for window in sight.setup.windows:
        span = open_span(sight.state, window, sight.now)
        if span is not None and wanted <= set(covered(sight.setup, window.matchers)):
            return Answer(True, f"maintenance {window.name} is open for {format_duration(span[1] - sight.now)}")
    return Answer(False, "no planned maintenance window is open that covers it")


def _not_compared(change: Change, step: Step) -> str:
    """Why it is not said that nothing is worse than before."""
    if change.finished_at is None and step.phase is Phase.POST:
        return "after the end of the change, by itself"
    if bad := changes.worse(change.compared):
        return f"worse than before: {'; '.join(f'{one.check} {one.what}' for one in bad[:3])}"
    if names := changes.untold(change.compared):
        some = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        return f"it cannot be told yet of {some}: too few runs, or they resemble each other too much"
    return "some runs after the update"


def _clean(change: Change, step: Step, sight: Sight) -> Answer:
    """The logs' checks are green for as long as is asked for, all of it after the end of the change."""
    if change.finished_at is None:
        return Answer(False, "after the end of the change")
    if sight.now - change.finished_at < step.span:
        return Answer(False, f"looked at until {format_duration(step.span)} after the end")
    return _green(change.plan.logs, "logs", step.span, sight)
