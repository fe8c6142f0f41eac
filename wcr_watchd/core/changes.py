"""Changes: updates in progress, with their checklist, their window, what verifying found, and what was said of them.

A change is prepared, runs and is finished; or it is abandoned before it ran. Its checklist has steps before, during
and after; a person ticks a step, or it ticks itself where something can tell (:mod:`wcr_watchd.core.checklist`). All
here are values and pure functions; what cannot be done raises :class:`~wcr_watchd.core.errors.CommandError`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf

from wcr_watchd.core.comparison import FAILURES, Compared, Finding
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.modifications import Mark
from wcr_watchd.core.run import Announced
from wcr_watchd.core.silence import Matcher
from wcr_watchd.core.units import format_duration

SUBJECT = "change #"
"""The daemon's own incidents about a change begin so, with its number."""
MOST_ENTRIES = 500
"""Lines in the log of one change."""
LONGEST_NOTE = 1_000
REMEMBERED = 3 * 86_400.0
"""Seconds for which a finished change still explains what is found different only then."""


class Phase(StrEnum):
    """When a step is taken."""

    PRE = "pre"
    DURING = "during"
    POST = "post"


class Tick(StrEnum):
    """What ticks a step."""

    HAND = "hand"
    """A person."""
    STAGING = "staging"
    """The checks of staging are green, and have been for so long."""
    BACKUPS = "backups"
    """Each of the backups is younger than so long, and its check finds no fault with it."""
    TOLD = "told"
    """Those who must know were told by ``change tell``."""
    WINDOW = "window"
    """A planned maintenance window is open that covers what the change touches."""
    STARTED = "started"
    """The change was started: its window is open, and maintenance mode is on."""
    UPDATED = "updated"
    """A person: the update itself is done. From then on it counts as after."""
    VERIFIED = "verified"
    """``change verify`` found everything green."""
    COMPARED = "compared"
    """Enough runs after the update were compared with those before it, and nothing is worse."""
    LOGS = "logs"
    """The checks of logs are green, and have been for so long since the end."""
    FINISHED = "finished"
    """The change was finished: its window is closed, and maintenance mode is off."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a checklist. ``span`` is how long it must be green, or how old at most (seconds).

    Without a ``required`` step the change does not start, unless somebody gives a reason; ``evidence`` says that a
    person must write something when ticking it.
    """

    phase: Phase
    text: str
    tick: Tick = Tick.HAND
    span: float = 0.0
    required: bool = False
    evidence: bool = False


@dataclass(frozen=True, slots=True)
class Category:
    """A category of changes and its rules: the checklist, and how before and after are compared.

    ``comparison`` is for how many seconds at most on either side, ``worse_by`` how much worse is worth a warning
    (0.25: a quarter).
    """

    name: str
    steps: tuple[Step, ...]
    comparison: float = 3_600.0
    worse_by: float = 0.25
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What switches the platform's own maintenance mode: programs with their arguments; empty: none."""

    on: tuple[str, ...] = ()
    off: tuple[str, ...] = ()
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change is about: ``matchers`` say what its window covers, for ``length`` seconds.

    ``verify`` are the checks that tell whether all is well, ``compare`` those that are compared before and after,
    ``staging``, ``backups`` and ``logs`` those that tick steps; ``tell`` are targets such as ``mail:ops`` (empty: those
    whom the policies tell of an info).
    """

    name: str
    category: Category
    matchers: tuple[Matcher, ...]
    length: float = 3_600.0
    comment: str = ""
    verify: tuple[str, ...] = ()
    compare: tuple[str, ...] = ()
    staging: tuple[str, ...] = ()
    backups: tuple[str, ...] = ()
    logs: tuple[str, ...] = ()
    tell: tuple[str, ...] = ()
    hooks: Hooks = Hooks()


class ChangeState(StrEnum):
    """Where a change stands."""

    PREPARED = "prepared"
    RUNNING = "running"
    FINISHED = "finished"
    ABANDONED = "abandoned"

    @property
    def over(self) -> bool:
        """Whether nothing more happens to it."""
        return self in (ChangeState.FINISHED, ChangeState.ABANDONED)


@dataclass(frozen=True, slots=True)
class Ticked:
    """A step is done: since when, by whom (empty: by itself), and what was written or found."""

    at: float
    by: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line in the log of a change."""

    at: float
    by: str
    text: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What one check found when the change was verified; ``severity`` is the word."""

    check: str
    outcome: str
    severity: str
    summary: str

    @property
    def good(self) -> bool:
        """Whether nothing is wrong with it."""
        return self.outcome == "up" and self.severity in ("ok", "info")


@dataclass(frozen=True, slots=True)
class Change:
    """One change. Times are epoch seconds, None for what has not happened.

    ``ticks`` has an element for each step of the category. ``ends_at`` is when its window ends, ``silence`` the id of
    that window; a prepared one has it only while it is being started. ``overran`` says that it went on after that.
    ``version`` is what is to run afterwards (empty: not told). A running one has ``ending`` only while that person
    finishes it, and ``is_off`` from when maintenance mode was switched off.
    """

    id: int
    plan: Plan
    title: str
    state: ChangeState
    by: str
    prepared_at: float
    ticks: tuple[Ticked | None, ...]
    entries: tuple[Entry, ...] = ()
    started_at: float | None = None
    updated_at: float | None = None
    ends_at: float | None = None
    finished_at: float | None = None
    silence: str = ""
    overran: bool = False
    verified: tuple[Verified, ...] = ()
    verified_at: float | None = None
    compared: tuple[Compared, ...] = ()
    compared_at: float | None = None
    version: str = ""
    ending: str = ""
    is_off: bool = False

    @property
    def steps(self) -> tuple[tuple[Step, Ticked | None], ...]:
        """The checklist: each step, and since when it is done."""
        return tuple(zip(self.plan.category.steps, self.ticks, strict=True))

    @property
    def name(self) -> str:
        """What it is called in one line: ``change #4 release: 2.3``."""
        title = f": {self.title}" if self.title and self.title != self.plan.name else ""
        return f"{SUBJECT}{self.id} {self.plan.name}{title}"

    @property
    def watched_until(self) -> float | None:
        """Until when (epoch seconds) it is still compared after its end."""
        return self.finished_at + self.plan.category.comparison if self.finished_at is not None else None


def prepare(number: int, plan: Plan, title: str, by: str, now: float, version: str = "") -> Change:
    """A new change, with nothing done yet."""
    about = title.strip()[:LONGEST_NOTE] or plan.comment
    undone_yet = (None,) * len(plan.category.steps)
    change = Change(number, plan, about, ChangeState.PREPARED, by, now, undone_yet, version=version)
    return logged(
        change, by, f"prepared, category {plan.category.name}{f', version {version}' if version else ''}", now
    )


def altered(change: Change, wish: ChangeWish, by: str, now: float) -> Change:
    """A prepared change with what whoever starts it says anew: its title, its version, how long its window is open."""
    said: list[str] = []
    if wish.title and wish.title != change.title:
        change, said = replace(change, title=wish.title), [*said, f"title {wish.title}"]
    if wish.version and wish.version != change.version:
        change, said = replace(change, version=wish.version), [*said, f"version {wish.version}"]
    if wish.length and wish.length != change.plan.length:
        change = replace(change, plan=replace(change.plan, length=wish.length))
        said = [*said, f"a window of {format_duration(wish.length)}"]
    return logged(change, by, f"altered: {', '.join(said)}", now) if said else change


def logged(change: Change, by: str, text: str, now: float) -> Change:
    """The change with another line in its log."""
    kept = change.entries[-MOST_ENTRIES + 1 :]
    return replace(change, entries=(*kept, Entry(now, by, text)))


def note(change: Change, by: str, text: str, now: float) -> Change:
    """Somebody writes something down, at any time."""
    if not text.strip():
        raise CommandError("a note needs a text")
    return logged(change, by, text.strip()[:LONGEST_NOTE], now)


def tick(change: Change, number: int, by: str, text: str, now: float) -> Change:
    """A person says that the step with this number (from 1) is done."""
    if not 1 <= number <= len(change.ticks):
        raise CommandError(f"{change.name} has no step {number}; it has steps 1 to {len(change.ticks)}")
    if change.state is ChangeState.ABANDONED:
        raise CommandError(f"{change.name} was abandoned")
    step, done = change.steps[number - 1]
    if done is not None:
        raise CommandError(f"step {number} ({step.text}) was done already, by {done.by or 'itself'}")
    if step.tick in (Tick.STARTED, Tick.FINISHED):
        command = "start" if step.tick is Tick.STARTED else "finish"
        raise CommandError(f"step {number} ({step.text}) ticks itself: wcr-watchd change {command} {change.id}")
    written = text.strip()[:LONGEST_NOTE]
    if not written and (step.evidence or step.tick not in (Tick.HAND, Tick.UPDATED)):
        why = "asks for evidence" if step.evidence else "ticks itself; by hand it needs a reason"
        raise CommandError(f"step {number} ({step.text}) {why}: write a note with it")
    ticked = _with_tick(change, number - 1, Ticked(now, by, written))
    if step.tick is Tick.UPDATED:
        ticked = replace(ticked, updated_at=now)
    return logged(ticked, by, f"step {number} done: {step.text}{f' ({written})' if written else ''}", now)


def _with_tick(change: Change, index: int, ticked: Ticked | None) -> Change:
    return replace(change, ticks=(*change.ticks[:index], ticked, *change.ticks[index + 1 :]))


def ticked_by_itself(
    change: Change, kind: Tick, why: str, now: float, phases: Collection[Phase] = tuple(Phase)
) -> Change:
    """Every step of this kind and these phases is done by itself, if it was not done already."""
    for index, (step, done) in enumerate(change.steps):
        if step.tick is kind and done is None and step.phase in phases:
            change = _with_tick(change, index, Ticked(now, "", why))
    return change


def unticked(change: Change, kind: Tick) -> Change:
    """No step of this kind is done by itself any more: what held does not hold now."""
    for index, (step, done) in enumerate(change.steps):
        if step.tick is kind and done is not None and not done.by:
            change = _with_tick(change, index, None)
    return change


def undone(change: Change, *phases: Phase) -> tuple[Step, ...]:
    """The steps of these phases that are not done."""
    return tuple(step for step, done in change.steps if done is None and step.phase in phases)


def must_be_startable(change: Change, override: str, why_not: Sequence[str]) -> None:
    """Raise ``CommandError`` when it cannot start: it is not prepared, or a required step is not done.

    With a reason to ``override`` that is no hindrance. ``why_not`` says of each step what it waits for.
    """
    if change.state is not ChangeState.PREPARED:
        raise CommandError(f"{change.name} is {change.state.value}, so it cannot be started")
    steps = zip(change.steps, why_not, strict=True)
    missing = [f"{step.text} ({why})" for (step, done), why in steps if done is None and step.required]
    if missing and not override.strip():
        raise CommandError(
            f"{change.name} is not ready: {'; '.join(missing)}. Do that, or start with --override and the reason"
        )


def starting(change: Change, silence: str) -> Change:
    """A window with this id is about to open for it. Should the daemon end now, the next one knows whose that is."""
    return replace(change, silence=silence)


def not_started(change: Change, why: str, now: float) -> Change:
    """Its start came to nothing, and its window is closed again."""
    return logged(replace(change, silence=""), "", f"not started: {why}", now)


def started(change: Change, by: str, silence: str, ends_at: float, override: str, now: float) -> Change:
    """It runs from now on, under a window with this id until then."""
    not_done = undone(change, Phase.PRE)
    although = f", although: {override.strip()}" if any(step.required for step in not_done) else ""
    change = replace(change, state=ChangeState.RUNNING, started_at=now, ends_at=ends_at, silence=silence)
    change = logged(change, by, f"started{although}", now)
    if not_done:
        change = logged(change, by, f"started without: {'; '.join(step.text for step in not_done)}", now)
    return ticked_by_itself(change, Tick.STARTED, "", now)


def must_run(change: Change, what: str) -> None:
    """Raise ``CommandError`` when it does not run."""
    if change.state is not ChangeState.RUNNING:
        raise CommandError(f"{change.name} is {change.state.value}, so it cannot be {what}")


def verified(change: Change, by: str, found: Sequence[Verified], now: float) -> Change:
    """Its checks were run and found this; with the first time the update counts as done."""
    red = [one for one in found if not one.good]
    change = replace(change, verified=tuple(found), verified_at=now, updated_at=change.updated_at or now)
    change = ticked_by_itself(change, Tick.UPDATED, "with the first verification", now)
    if found and not red:
        change = ticked_by_itself(change, Tick.VERIFIED, f"{len(found)} checks are green", now)
    return logged(change, by, f"verified: {_verdict(found, red)}", now)


def _verdict(found: Sequence[Verified], red: Sequence[Verified]) -> str:
    if not found:
        return "no check tells"
    if not red:
        return f"all {len(found)} checks are green"
    return f"{len(red)} of {len(found)} checks are not green: {', '.join(one.check for one in red)}"


def with_comparison(change: Change, found: Sequence[Compared], now: float) -> Change:
    """It was compared with before; a step that waits for that is done for as long as nothing is worse.

    Before that it must be told of every check, of more than its failures: how many of a few runs failed says little.
    A step of afterwards is not done before the end: until then visitors may see the page of maintenance.
    Only a comparison that says another thing than the last one is written into the log.
    """
    before = {(one.check, one.what) for one in worse(change.compared)}
    first = change.compared_at is None
    change = replace(change, compared=tuple(found), compared_at=now)
    bad = worse(found)
    decided = [one for one in found if one.finding is not Finding.UNDECIDED]
    if bad:
        change = unticked(change, Tick.COMPARED)
    elif decided and not untold(found):
        phases = tuple(Phase) if change.finished_at is not None else (Phase.PRE, Phase.DURING)
        change = ticked_by_itself(change, Tick.COMPARED, f"{len(decided)} series are no worse than before", now, phases)
    if bad and (first or {(one.check, one.what) for one in bad} - before):
        change = logged(change, "", f"worse than before: {'; '.join(one.text for one in bad)}", now)
    return change


def worse(found: Iterable[Compared]) -> tuple[Compared, ...]:
    """What is worse than before."""
    return tuple(one for one in found if one.finding is Finding.WORSE)


def untold(found: Iterable[Compared]) -> tuple[str, ...]:
    """The checks of which it is not told yet whether they are worse: neither how long they take nor any share."""
    told = {one.check: False for one in found}
    for one in found:
        told[one.check] |= one.what != FAILURES and one.finding is not Finding.UNDECIDED
    return tuple(name for name, is_told in told.items() if not is_told)


def ending(change: Change, by: str) -> Change:
    """Somebody is about to finish it. Should the daemon end now, the next one knows that it was left halfway."""
    return replace(change, ending=by)


def not_ended(change: Change, why: str, now: float) -> Change:
    """Its end came to nothing, and it goes on."""
    return logged(replace(change, ending=""), "", f"not finished: {why}", now)


def switched_off(change: Change, said: str, now: float) -> Change:
    """Maintenance mode is off: its program is not run again for this change."""
    return logged(replace(change, is_off=True), "", f"maintenance mode off{f': {said}' if said else ''}", now)


def finished(change: Change, by: str, still_bad: Sequence[Verified], now: float) -> Change:
    """It is over; what is still bad is written into its log."""
    change = replace(change, state=ChangeState.FINISHED, finished_at=now, silence="", ending="")
    change = ticked_by_itself(change, Tick.FINISHED, "", now)
    names = ", ".join(f"{one.check} ({one.severity if one.severity != 'ok' else one.outcome})" for one in still_bad)
    return logged(change, by, f"finished; {f'still bad: {names}' if names else 'nothing is bad'}", now)


def abandoned(change: Change, by: str, why: str, now: float) -> Change:
    """It does not take place."""
    if change.state is not ChangeState.PREPARED:
        raise CommandError(f"{change.name} is {change.state.value}; only a change that did not start can be abandoned")
    change = replace(change, state=ChangeState.ABANDONED, finished_at=now)
    return logged(change, by, "abandoned" + (f": {why.strip()}" if why.strip() else ""), now)


def overrun(change: Change, now: float) -> Change:
    """Its window is over and it is not."""
    return logged(
        replace(change, overran=True), "", "its window is over, the change is not: what is broken is told", now
    )


def announced(changes: Iterable[Change], now: float) -> tuple[Announced, ...]:
    """What explains that things are different: the changes that run, and those that ended in the last days."""
    return tuple(
        Announced(one.started_at, inf if one.finished_at is None else one.finished_at, one.name)
        for one in changes
        if one.started_at is not None and (one.finished_at is None or now - one.finished_at < REMEMBERED)
    )


def marks(changes: Iterable[Change]) -> tuple[Mark, ...]:
    """Each change that was started, to be marked on charts and named in incidents."""
    return tuple(
        Mark(one.started_at, f"{one.name} (by {one.by})", one.finished_at, one.id)
        for one in changes
        if one.started_at is not None
    )


@dataclass(frozen=True, slots=True)
class ChangeWish:
    """What somebody asks for who prepares or starts a change.

    ``plan`` is the name of a configured one; or ``category`` that of a category, for a change of its own with these
    ``matchers``. ``length`` is how long its window is (seconds; 0: as configured), ``version`` what is to run then.
    """

    plan: str = ""
    category: str = ""
    title: str = ""
    matchers: tuple[Matcher, ...] = ()
    length: float = 0.0
    version: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a command: the change as it is now, a sentence, and lines that say more."""

    change: Change
    said: str
    lines: tuple[str, ...] = field(default=())
