"""What an incident may be due to: a failed dependency, a change shortly before, a vendor, or what failed with it.

Nothing here is certain: it is what a person would look at first, the likeliest first, each with its reason in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from wcr_watchd.core import changes, objectives
from wcr_watchd.core.dependencies import ancestors
from wcr_watchd.core.model import Incident
from wcr_watchd.core.modifications import LATEST, SLACK, Mark, shortly_before
from wcr_watchd.core.setup import OWN, Check, Setup
from wcr_watchd.core.units import format_duration
from wcr_watchd.core.work import check_of, host_of

AROUND = 300.0
"""Seconds before and after an incident began in which what else failed may have the same cause."""
PARENT_LATE = 120.0
"""Seconds after an incident began in which the trouble of what it depends on may have been noticed only."""
MOST_CHANGES = 3
NAMED = 4
"""Checks that are named; of more it is told how many."""
ENOUGH_OF_A_TAG = 2
"""Other checks of a tag that must fail: one alone is chance, since tags are wide."""
VENDOR = "vendor"
"""The probe type that watches a provider's own status page."""


class Kind(StrEnum):
    """What a cause is; in the order in which they are likely."""

    WATCHER = "watcher"
    DEPENDENCY = "dependency"
    VENDOR = "vendor"
    CHANGE = "change"
    NEIGHBOURS = "neighbours"


@dataclass(frozen=True, slots=True)
class Cause:
    """A likely cause in a sentence; ``incident`` and ``change`` are numbers of what it refers to, 0 for none."""

    kind: Kind
    text: str
    incident: int = 0
    change: int = 0


def likely_causes(
    setup: Setup, incident: Incident, others: Iterable[Incident], marks: Iterable[Mark]
) -> tuple[Cause, ...]:
    """What may be the cause of an incident, the likeliest first.

    ``others`` are incidents that were open some time around its beginning, ``marks`` what was changed around then.
    """
    near = [one for one in others if one.id != incident.id and one.check != incident.check and _holds(one, incident)]
    check = check_of(setup, incident)
    known = check.name in setup.checks
    parents = list(ancestors(setup, check.name)) if known else []
    found = [
        *_watcher(incident, near),
        *_dependencies(incident, near, parents),
        *_vendors(setup, incident, near, parents),
        *_changes(setup, incident, marks, parents),
        *(_neighbours(setup, check, incident, near, parents) if known else ()),
    ]
    return tuple(found)


def _holds(other: Incident, incident: Incident) -> bool:
    """Whether the other one was open when this one began, or began soon after it."""
    over = other.resolved_at is not None and other.resolved_at < incident.opened_at - AROUND
    return other.opened_at <= incident.opened_at + AROUND and not over


def _watcher(incident: Incident, near: Iterable[Incident]) -> Iterator[Cause]:
    for one in near:
        # An error budget goes, and a change makes worse, because of what fails, not the other way round.
        if one.check == OWN.name and not one.subject.startswith((f"{objectives.SUBJECT} ", changes.SUBJECT)):
            yield Cause(Kind.WATCHER, f"the watcher itself had trouble {_when(one, incident)}: {one.summary}", one.id)


def _dependencies(incident: Incident, near: Iterable[Incident], parents: Sequence[str]) -> Iterator[Cause]:
    failed = [one for one in near if one.check in parents and one.opened_at <= incident.opened_at + PARENT_LATE]
    for one in sorted(failed, key=lambda one: (-one.peak, parents.index(one.check), one.id)):
        said = f"{incident.check} depends on {one.check}, which had trouble {_when(one, incident)}: {one.summary}"
        yield Cause(Kind.DEPENDENCY, said, one.id)


def _vendors(setup: Setup, incident: Incident, near: Iterable[Incident], parents: Sequence[str]) -> Iterator[Cause]:
    for one in near:
        vendor = setup.checks.get(one.check)
        if vendor is not None and vendor.probe == VENDOR and one.check not in parents:
            yield Cause(
                Kind.VENDOR, f"the provider behind {one.check} said so {_when(one, incident)}: {one.summary}", one.id
            )


def _changes(setup: Setup, incident: Incident, marks: Iterable[Mark], parents: Sequence[str]) -> Iterator[Cause]:
    """What was changed shortly before; first what the check noticed itself, or one that it depends on."""
    late = {name: min(one.every + one.timeout, LATEST) for name, one in setup.checks.items()}
    own = {incident.check, *parents}
    found = shortly_before((mark for mark in marks if mark.concerns(own)), incident.opened_at, late)
    for mark in sorted(found, key=lambda mark: mark.noticed_by not in own)[:MOST_CHANGES]:
        what = "a change" if mark.change else "something became different"
        when = _ago(incident.opened_at - mark.at)
        if mark.noticed_by and mark.at > incident.opened_at + SLACK:
            when = f"in the {format_duration(late[mark.noticed_by])} before {mark.noticed_by} noticed, {when}"
        yield Cause(Kind.CHANGE, f"{what} {when}: {mark.text}", change=mark.change)


def _neighbours(
    setup: Setup, check: Check, incident: Incident, near: Iterable[Incident], parents: Sequence[str]
) -> Iterator[Cause]:
    """Checks of the same host, or of a tag, that began to fail at nearly the same time; not parents and children."""
    together = [
        (one, setup.checks[one.check])
        for one in near
        if one.check in setup.checks and one.check not in parents and abs(one.opened_at - incident.opened_at) <= AROUND
    ]
    siblings = [(one, other) for one, other in together if check.name not in ancestors(setup, other.name)]
    host = host_of(check.target)
    on_host = [one for one, other in siblings if host and host_of(other.target) == host]
    if on_host:
        yield _failed_together(f"on the host {host}", on_host)
    for tag in check.tags:
        tagged = [one for one, other in siblings if tag in other.tags and one not in on_host]
        if len({one.check for one in tagged}) >= ENOUGH_OF_A_TAG:
            yield _failed_together(f"with the tag {tag}", tagged)


def _failed_together(what: str, incidents: Sequence[Incident]) -> Cause:
    names = list(dict.fromkeys(one.check for one in incidents))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    began = "another check" if len(names) == 1 else f"{len(names)} other checks"
    said = f"{began} {what} began to fail within {format_duration(AROUND)}: {', '.join(names[:NAMED])}{more}"
    return Cause(Kind.NEIGHBOURS, said, incidents[0].id)


def _when(other: Incident, incident: Incident) -> str:
    return _ago(incident.opened_at - other.opened_at)


def _ago(seconds: float) -> str:
    if abs(seconds) < 1:
        return "at the same time"
    return f"{format_duration(abs(seconds))} {'before' if seconds > 0 else 'after'}"
