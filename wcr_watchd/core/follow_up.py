"""Follow-ups: what is to be done after an incident, by whom and until when. Each is a task that comes once. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from wcr_watchd.core import task
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.local_time import instant
from wcr_watchd.core.message import clock_time
from wcr_watchd.core.task import (
    LONGEST_EVIDENCE,
    LONGEST_NOTE,
    MOST_EVIDENCE,
    TaskKind,
    TaskOutcome,
    TaskPhase,
    TaskRecord,
    TaskView,
)
from wcr_watchd.core.units import format_duration

PREFIX = "follow-up-"
"""Names of follow-ups begin with it, and so do the subjects of incidents about them."""
REMIND = 86_400.0
"""Seconds before it is due from which on it is reminded of."""
SHOWN_DONE = 30 * 86_400.0
"""Seconds for which one that is done is still listed."""
LONGEST_TEXT = 1_000
LONGEST_OWNER = 200
MOST = 50
"""Follow-ups of one incident."""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """Something to do after an incident; ``number`` counts those of the incident.

    ``owner`` does it, it is ``due`` then; ``by`` asked for it ``at`` that time (epoch seconds). ``done_at`` is when it
    was signed off (None: it is open), by whom, with what note and evidence.
    """

    incident: int
    number: int
    text: str
    owner: str
    due: float
    by: str
    at: float
    done_at: float | None = None
    done_by: str = ""
    note: str = ""
    evidence: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called among the tasks: ``follow-up-42-1``."""
        return f"{PREFIX}{self.incident}-{self.number}"

    @property
    def check(self) -> str:
        """Its name where tasks go by the names of their checks; it has none of its own."""
        return task.PREFIX + self.name


def end_of_day(date: str, timezone: str) -> float:
    """The last second of a day given as ``2026-12-10`` (epoch seconds): calendars show what is due then on that day.

    Raises :class:`CommandError` for what is no date.
    """
    try:
        day = datetime.strptime(date.strip(), "%Y-%m-%d")  # noqa: DTZ007 - a local date, turned into an instant
    except ValueError as error:
        raise CommandError(f"{date!r} is no date: write it as 2026-12-10") from error
    return instant(day + timedelta(days=1), ZoneInfo(timezone)) - 1.0


def added(known: Sequence[FollowUp], wanted: FollowUp) -> FollowUp:
    """The follow-up with its number among those ``known``. Raises :class:`CommandError` when it does not say enough."""
    text, owner = wanted.text.strip(), wanted.owner.strip()
    if not text:
        raise CommandError("a follow-up needs a text: what is to be done?")
    if not owner:
        raise CommandError("a follow-up needs an owner: who does it?")
    if len(text) > LONGEST_TEXT or len(owner) > LONGEST_OWNER:
        raise CommandError(f"a follow-up has at most {LONGEST_TEXT} characters, its owner {LONGEST_OWNER}")
    if wanted.due <= wanted.at:
        raise CommandError("a follow-up must be due in the future: until when is it done?")
    if len(known) >= MOST:
        raise CommandError(f"an incident has at most {MOST} follow-ups; put the rest into a ticket, and name that")
    return replace(wanted, number=max((one.number for one in known), default=0) + 1, text=text, owner=owner)


def signed_off(one: FollowUp, by: str, note: str, evidence: Sequence[str], now: float) -> FollowUp:
    """The follow-up as done. Raises :class:`CommandError` when it is already, or the sign-off says too much."""
    if one.done_at is not None:
        raise CommandError(f"{one.name} is done already, signed off by {one.done_by}")
    if not by.strip():
        raise CommandError("a sign-off needs a name: who has done it?")
    if len(note) > LONGEST_NOTE:
        raise CommandError(f"the note has {len(note)} characters; at most {LONGEST_NOTE} are kept")
    if len(evidence) > MOST_EVIDENCE or any(len(item) > LONGEST_EVIDENCE for item in evidence):
        raise CommandError(f"at most {MOST_EVIDENCE} pieces of evidence of {LONGEST_EVIDENCE} characters are kept")
    return replace(one, done_at=now, done_by=by, note=note.strip(), evidence=tuple(evidence))


def phase(one: FollowUp, now: float) -> TaskPhase:
    """How it stands."""
    if one.done_at is not None or now < one.due - REMIND:
        return TaskPhase.WAITING
    return TaskPhase.SOON if now < one.due else TaskPhase.OVERDUE


def told(one: FollowUp, now: float, timezone: str) -> str:
    """How it stands, in a sentence."""
    if one.done_at is not None:
        return f"done by {one.done_by}, {clock_time(one.done_at, timezone, now)}"
    when = clock_time(one.due, timezone, now)
    if now < one.due:
        return f"{one.owner} has until {when} for it"
    return f"{one.owner} had until {when} for it, {format_duration(now - one.due)} ago, and it is not done"


def view(one: FollowUp, now: float, timezone: str) -> TaskView:
    """It as a task among the others."""
    records = records_of(one)
    return TaskView(
        name=one.name,
        check=one.check,
        kind=TaskKind.SIGNED,
        about=one.text,
        schedule="once",
        owner=one.owner,
        tags=(),
        runbook="",
        phase=phase(one, now),
        summary=told(one, now, timezone),
        due=one.due if one.done_at is None else None,
        deadline=one.due if one.done_at is None else None,
        started_at=None,
        last_success_at=one.done_at,
        duration=None,
        last=records[0] if records else None,
        incident=one.incident,
    )


def records_of(one: FollowUp) -> tuple[TaskRecord, ...]:
    """How it ended, as a task's record; empty while it is open."""
    if one.done_at is None:
        return ()
    return (
        TaskRecord(
            task=one.check,
            number=1,
            outcome=TaskOutcome.DONE,
            at=one.done_at,
            due=one.due,
            by=one.done_by,
            note=one.note,
            evidence=one.evidence,
            text=f"signed off by {one.done_by}",
        ),
    )
