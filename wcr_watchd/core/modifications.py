"""What became different: the log of modifications, found by comparing the facts of two runs of a check.

A fact that is new, or has another value than in the run before, is a modification. The first run of a check tells what
there is and modifies nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wcr_watchd.core.model import Fact, Observation

MOST_FACTS = 2_000
"""Facts of a check that are remembered; the rest is not compared."""
LONGEST = 200
"""Characters of a name or value that are kept."""
NOTE = "note"
"""The kind of a modification that a person wrote down."""
CONFIGURATION = "configuration"
"""The kind of a modification of this daemon's own configuration."""
SHORTLY = 3_600.0
"""Seconds before an incident in which a modification may be its cause."""
SLACK = 120.0
"""Seconds after an incident began in which a modification may have been noticed that was before it."""


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
    """What a check knew last: the value of each kind and name; and until when (epoch seconds) it knew what happened."""

    check: str
    values: tuple[tuple[str, str, str], ...]
    until: float


def compared(known: KnownFacts | None, seen: Observation) -> tuple[KnownFacts | None, tuple[Modification, ...]]:
    """What is known after this observation, and what became different since what was ``known`` before.

    An observation whose probe did not look says nothing of facts. A fact that is not told any more keeps its last
    value, so that a container that comes back with the image it had is no modification.
    """
    if seen.facts is None:
        return known, ()
    values = {} if known is None else {(kind, name): value for kind, name, value in known.values}
    until = seen.at if known is None else known.until
    found = []
    for fact in map(_cut, seen.facts):
        before = values.get((fact.kind, fact.name))
        if known is not None and _is_new(fact, before, known):
            at = min(fact.since or seen.at, seen.at)
            found.append(Modification(at, seen.check, fact.kind, fact.name, fact.before or before or "", fact.value))
        if before is not None or len(values) < MOST_FACTS:
            values[fact.kind, fact.name] = fact.value
        until = max(until, fact.since)
    now = KnownFacts(seen.check, tuple((kind, name, value) for (kind, name), value in values.items()), until)
    return now, tuple(sorted(found, key=lambda one: one.at))


def _is_new(fact: Fact, before: str | None, known: KnownFacts) -> bool:
    if fact.since:
        return fact.since > known.until
    return fact.value != before and (before is not None or len(known.values) < MOST_FACTS)


def _cut(fact: Fact) -> Fact:
    if max(len(fact.name), len(fact.value), len(fact.before)) <= LONGEST:
        return fact
    return Fact(fact.kind, fact.name[:LONGEST], fact.value[:LONGEST], fact.before[:LONGEST], fact.since)


@dataclass(frozen=True, slots=True)
class Mark:
    """Something to mark on a chart or name in an incident: what was done ``at`` then, and until when it went on.

    ``until`` is None for a moment and for what still goes on; ``change`` is the number of the change, 0 for none.
    """

    at: float
    text: str
    until: float | None = None
    change: int = 0


def grouped(modifications: Sequence[Modification], within: float = 300.0) -> tuple[Mark, ...]:
    """Marks of modifications, oldest first: those of one source and kind within so many seconds are one mark.

    An upgrade of a hundred packages is one mark, named by its first ones.
    """
    groups: list[list[Modification]] = []
    open_groups: dict[tuple[str, str], list[Modification]] = {}
    for one in sorted(modifications, key=lambda one: one.at):
        group = open_groups.get((one.source, one.kind))
        if group is None or one.at - group[-1].at > within:
            group = open_groups[one.source, one.kind] = []
            groups.append(group)
        group.append(one)
    return tuple(Mark(group[0].at, _in_short(group)) for group in groups)


def _in_short(group: Sequence[Modification]) -> str:
    if len(group) == 1:
        return group[0].text
    names = list(dict.fromkeys(one.name for one in group))
    if group[0].kind == NOTE:
        return "; ".join(one.after for one in group)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{group[0].kind} {', '.join(names[:3])}{more}"


def shortly_before(marks: Iterable[Mark], opened_at: float) -> tuple[Mark, ...]:
    """The marks that may be the cause of an incident that was opened then (epoch seconds), the nearest first.

    Those in the hour before; a change also while it went on. What was found shortly after may have been there before;
    of a change it is known when it began.
    """
    found = [
        mark
        for mark in marks
        if mark.at <= opened_at + (0.0 if mark.change else SLACK)
        and (
            mark.at >= opened_at - SHORTLY
            or (mark.change and (mark.until is None or mark.until >= opened_at - SHORTLY))
        )
    ]
    return tuple(sorted(found, key=lambda mark: abs(opened_at - mark.at)))
