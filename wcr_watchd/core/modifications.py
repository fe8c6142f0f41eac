"""What became different: the log of modifications, found by comparing the facts of two runs of a check.

A fact that is new, or has another value than in the run before, is a modification. The first run of a check tells what
there is and modifies nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import floor
from types import MappingProxyType

from wcr_watchd.core.model import Fact, Observation

MOST_FACTS = 2_000
"""Facts of a check that are remembered; the rest is not compared."""
LONGEST = 200
"""Characters of a name or value that are kept."""
NOTE = "note"
"""The kind of a modification that a person wrote down."""
CONFIGURATION = "configuration"
"""The kind of a modification of this daemon's own configuration."""
PACKAGE = "package"
"""The kind of a modification of what dpkg installed, by its log."""
EXACT = (NOTE, CONFIGURATION, PACKAGE)
"""Kinds of which the time is known; of others it is known when a check noticed."""
TOGETHER, TOGETHER_AT_MOST = 300.0, 1_800.0
"""Seconds between two of a mark, and between its first and its last."""
AHEAD = 3_600.0
"""Seconds that a time may be ahead of ours; one that is later was written while a clock was wrong, and says nothing."""
NAMED = 3
"""Names of a mark that is of many."""
SHORTLY = 3_600.0
"""Seconds before an incident in which a modification may be its cause."""
SLACK = 120.0
"""Seconds after an incident began in which a modification may have been noticed that was before it."""
LATEST = 86_400.0
"""Seconds after which what a check notices then is no longer taken for what was before: some look once a week only."""


@dataclass(frozen=True, slots=True)
class Modification:
    """Something became different ``at`` this time (epoch seconds), as ``source`` (a check, or a person) noticed.

    ``name`` of this ``kind`` was ``before`` (empty: not known) and is ``after`` from then on.
    """

    at: float
    source: str
    kind: str
    name: str
    before: str = ""
    after: str = ""

    @property
    def text(self) -> str:
        """In one line: ``package openssl: 3.0.11 → 3.0.15``."""
        if self.kind == NOTE:
            return self.after
        return f"{self.kind} {self.name}: {f'{self.before} → ' if self.before else ''}{self.after}"


@dataclass(frozen=True, slots=True)
class KnownFacts:
    """What a check knew last: the value of each kind and name; and until when (epoch seconds) it knew what happened.

    ``of`` is what it looked at: its probe and target (empty: not known).
    """

    check: str
    values: tuple[tuple[str, str, str], ...]
    until: float
    of: str = ""


def compared(
    known: KnownFacts | None, seen: Observation, of: str = ""
) -> tuple[KnownFacts | None, tuple[Modification, ...]]:
    """What is known after this observation ``of`` a target, and what became different since what was ``known`` before.

    An observation whose probe did not look says nothing of facts. A fact that is not told any more keeps its last
    value, so that a container that comes back with the image it had is no modification; where there are too many, such
    are forgotten first. What is known of another target says nothing of this one.
    """
    if seen.facts is None:
        return known, ()
    if known is not None and known.of != of:
        known = None
    values = {} if known is None else {(kind, name): value for kind, name, value in known.values}
    until = seen.at if known is None else known.until
    facts = [_cut(fact) for fact in seen.facts]
    _make_room(values, {(fact.kind, fact.name) for fact in facts})
    found = []
    for fact in facts:
        before = values.get((fact.kind, fact.name))
        if known is not None and before is not None and 0 < fact.since < floor(known.until):
            continue  # of long ago: what came after it is remembered, and must not be taken for another value
        is_remembered = before is not None or len(values) < MOST_FACTS
        is_another = fact.value != before and is_remembered
        by_wrong_clock = fact.since > seen.at + AHEAD
        if known is not None and (is_another if by_wrong_clock else _is_new(fact, is_another, known.until)):
            at = min(fact.since or seen.at, seen.at)
            found.append(Modification(at, seen.check, fact.kind, fact.name, fact.before or before or "", fact.value))
        if is_remembered:
            values[fact.kind, fact.name] = fact.value
        until = until if by_wrong_clock else max(until, fact.since)
    now = KnownFacts(seen.check, tuple((kind, name, value) for (kind, name), value in values.items()), until, of)
    return now, tuple(sorted(found, key=lambda one: one.at))


def _make_room(values: dict[tuple[str, str], str], told: set[tuple[str, str]]) -> None:
    surplus = len(values.keys() | told) - MOST_FACTS
    if surplus > 0:
        for key in [key for key in values if key not in told][:surplus]:
            del values[key]


def _is_new(fact: Fact, is_another: bool, until: float) -> bool:
    """Times are told in whole seconds: in the last one that is known, more may have happened than was seen."""
    return is_another if not fact.since else fact.since > until or (is_another and fact.since >= floor(until))


def _cut(fact: Fact) -> Fact:
    if max(len(fact.name), len(fact.value), len(fact.before)) <= LONGEST:
        return fact
    return Fact(fact.kind, fact.name[:LONGEST], fact.value[:LONGEST], fact.before[:LONGEST], fact.since)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something to mark on a chart or name in an incident: what was done ``at`` then, and until when it went on.

    ``until`` is None for a moment and for what still goes on; ``change`` is the number of the change, 0 for none.
    ``noticed_by`` is the check that noticed it only then (empty: the time is that of the deed). ``settings`` are the
    keys of the configuration, where it is of nothing but settings of single checks.
    """

    at: float
    text: str
    until: float | None = None
    change: int = 0
    noticed_by: str = ""
    settings: tuple[str, ...] = ()

    def concerns(self, checks: Collection[str]) -> bool:
        """Whether it may have to do with one of these checks: all may, but for settings of others."""
        return not self.settings or any(
            key == table or key.startswith(f"{table}.")
            for key in self.settings
            for table in map("check.{}".format, checks)
        )


def grouped(modifications: Sequence[Modification]) -> tuple[Mark, ...]:
    """Marks of modifications, oldest first: those of one source and kind that follow each other closely are one mark.

    An upgrade of a hundred packages is one mark, named by its first ones; what goes on for long is one again and again,
    so that it is named in what fails in its course.
    """
    groups: list[list[Modification]] = []
    open_groups: dict[tuple[str, str], list[Modification]] = {}
    for one in sorted(modifications, key=lambda one: one.at):
        group = open_groups.get((one.source, one.kind))
        if group is None or one.at - group[-1].at > TOGETHER or one.at - group[0].at > TOGETHER_AT_MOST:
            group = open_groups[one.source, one.kind] = []
            groups.append(group)
        group.append(one)
    return tuple(_mark(group) for group in groups)


def _mark(group: Sequence[Modification]) -> Mark:
    first, names = group[0], tuple(one.name for one in group)
    of_checks = first.kind == CONFIGURATION and all(name.startswith("check.") for name in names)
    noticed_by = "" if first.kind in EXACT else first.source
    return Mark(first.at, _in_short(group), noticed_by=noticed_by, settings=names if of_checks else ())


def _in_short(group: Sequence[Modification]) -> str:
    """All of it in words where they are few, the names where they are many."""
    kind = group[0].kind
    if kind == NOTE:
        return "; ".join(one.after for one in group)
    courses: dict[str, list[str]] = {}
    for one in group:
        courses.setdefault(one.name, [one.before] if one.before else []).append(one.after)
    said = [f"{name}: {_course(course)}" for name, course in courses.items()]
    text = f"{kind} {'; '.join(said)}"
    if len(said) == 1 or (len(said) <= NAMED and len(text) <= LONGEST):
        return text
    more = f" and {len(said) - NAMED} more" if len(said) > NAMED else ""
    return f"{kind} {', '.join(list(courses)[:NAMED])}{more}"


def _course(values: Sequence[str]) -> str:
    """From what to what; of one that went back and forth, how often."""
    if len(values) <= NAMED:
        return " → ".join(values)
    return f"{values[0]} → {values[1]} → … → {values[-1]} ({len(values) - 1} times)"


def shortly_before(
    marks: Iterable[Mark], opened_at: float, late: Mapping[str, float] = MappingProxyType({})
) -> tuple[Mark, ...]:
    """The marks that may be the cause of an incident that was opened then (epoch seconds), the nearest first.

    Those in the hour before; a change also while it went on. What was found after it may have been there before: for
    as long as ``late`` says (seconds) of the check that noticed it, and for a while in any case; of a change it is
    known when it began.
    """
    found = [
        mark
        for mark in marks
        if mark.at <= opened_at + (0.0 if mark.change else max(SLACK, late.get(mark.noticed_by, 0.0)))
        and (
            mark.at >= opened_at - SHORTLY
            or (mark.change and (mark.until is None or mark.until >= opened_at - SHORTLY))
        )
    ]
    return tuple(sorted(found, key=lambda mark: abs(opened_at - mark.at)))
