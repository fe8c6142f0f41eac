"""The report after an incident: the facts as they were recorded, and what people make of them, as one Markdown text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from wcr_watchd.core.causes import Cause
from wcr_watchd.core.follow_up import FollowUp
from wcr_watchd.core.model import Delivery, DeliveryState, Event, EventKind, Incident
from wcr_watchd.core.units import format_duration
from wcr_watchd.core.uptime import Outcomes

LONGEST_TEXT = 10_000
"""Characters of one of the four texts."""
TEXTS = {
    "root_cause": "Root cause",
    "impact": "Impact",
    "resolution": "Resolution",
    "prevention": "Prevention",
}
"""What people are asked for, by name: the heading."""


@dataclass(frozen=True, slots=True)
class Review:
    """What people wrote about an incident; ``by`` and ``at`` are of the last change of a text (epoch seconds)."""

    incident: int
    root_cause: str = ""
    impact: str = ""
    resolution: str = ""
    prevention: str = ""
    by: str = ""
    at: float = 0.0
    follow_ups: tuple[FollowUp, ...] = ()


def rewritten(known: Review, texts: Mapping[str, str], by: str, at: float) -> Review:
    """The review with these texts by their names in :data:`TEXTS`; those that are not given stay."""
    given = {name: texts.get(name, getattr(known, name)).strip()[:LONGEST_TEXT] for name in TEXTS}
    return Review(
        known.incident,
        given["root_cause"],
        given["impact"],
        given["resolution"],
        given["prevention"],
        by,
        at,
        known.follow_ups,
    )


@dataclass(frozen=True, slots=True)
class Affected:
    """A check that depends on the one of an incident, and the numbers of the incidents it had meanwhile."""

    check: str
    incidents: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """Somebody who was told: whom and over what, when it was accepted first (epoch seconds), how many messages."""

    who: str
    at: float
    messages: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What was recorded of an incident; durations in seconds, None for what did not happen (yet).

    ``runs`` are those between its beginning and its end, ``failed`` those of them that were not up.
    """

    incident: Incident
    lasted: float
    acknowledged_after: float | None
    resolved_after: float | None
    first_told_after: float | None
    told: tuple[Told, ...]
    undelivered: int
    runs: int
    failed: int
    timeline: tuple[Event, ...]
    causes: tuple[Cause, ...] = field(default=())


def facts(
    incident: Incident,
    events: Sequence[Event],
    deliveries: Iterable[Delivery],
    outcomes: Iterable[Outcomes],
    causes: Sequence[Cause],
    now: float,
) -> Facts:
    """What the records say of an incident; ``outcomes`` are of its check while it lasted."""
    rows = list(deliveries)
    told = _told(rows)
    taken = next((event.at for event in events if event.kind is EventKind.ACKNOWLEDGED), incident.taken_at)
    end = incident.resolved_at
    counted = list(outcomes)
    return Facts(
        incident=incident,
        lasted=max(0.0, (end or now) - incident.opened_at),
        acknowledged_after=_after(incident, taken),
        resolved_after=_after(incident, end),
        first_told_after=_after(incident, min((one.at for one in told), default=None)),
        told=told,
        undelivered=sum(one.state is DeliveryState.FAILED for one in rows),
        runs=sum(one.up + one.down + one.unknown for one in counted),
        failed=sum(one.down for one in counted),
        timeline=tuple(events),
        causes=tuple(causes),
    )


def _after(incident: Incident, at: float | None) -> float | None:
    return None if at is None else max(0.0, at - incident.opened_at)


def _told(deliveries: Iterable[Delivery]) -> tuple[Told, ...]:
    accepted: dict[str, list[float]] = {}
    for one in deliveries:
        if one.delivered_at is not None:
            to = one.notification.recipient
            who = f"{to.contact} by {to.channel}" if to.contact else to.channel
            accepted.setdefault(who, []).append(one.delivered_at)
    found = (Told(who, min(times), len(times)) for who, times in accepted.items())
    return tuple(sorted(found, key=lambda one: (one.at, one.who)))


def figures(found: Facts) -> list[tuple[str, str]]:
    """The durations and counts with their names, for people."""
    rows = [
        ("Lasted", format_duration(found.lasted) if found.resolved_after is not None else "still open"),
        ("Time until somebody was told", _words(found.first_told_after, "nobody was told")),
        ("Time to acknowledge", _words(found.acknowledged_after, "nobody acknowledged it")),
        ("Time to resolve", _words(found.resolved_after, "not over yet")),
    ]
    if found.runs:
        rows.append(("Runs that failed meanwhile", f"{found.failed} of {found.runs}"))
    if found.undelivered:
        rows.append(("Messages that could not be delivered", str(found.undelivered)))
    return rows


def _words(seconds: float | None, none: str) -> str:
    return none if seconds is None else format_duration(seconds)


def markdown(found: Facts, written: Review, timezone: str) -> str:
    """The whole report as Markdown (CommonMark); what targets and people said is text and no markup."""
    return "\n".join(_lines(found, written, ZoneInfo(timezone))) + "\n"


def _lines(found: Facts, written: Review, zone: ZoneInfo) -> Iterator[str]:
    incident = found.incident
    subject = f" · {incident.subject}" if incident.subject else ""
    yield f"# Incident #{incident.id}: {_plain(incident.check + subject)}"
    yield ""
    yield _plain(incident.summary)
    yield ""
    yield f"- Severity: {incident.peak.word}"
    yield f"- Began: {_clock(incident.opened_at, zone)}"
    yield f"- Ended: {_clock(incident.resolved_at, zone) if incident.resolved_at else 'not yet'}"
    yield from (f"- {name}: {value}" for name, value in figures(found))
    for name, heading in TEXTS.items():
        yield from ("", f"## {heading}", "", _plain(getattr(written, name)) or "*Not written yet.*")
    if written.follow_ups:
        yield from ("", "## Follow-ups", "")
        yield from (f"- {_plain(one.text)} ({_plain(one.owner)}, {_due(one, zone)})" for one in written.follow_ups)
    if found.causes:
        yield from ("", "## What happened around it", "")
        yield from (f"- {_plain(cause.text)}" for cause in found.causes)
    yield from ("", "## Who was told", "")
    for one in found.told:
        times = f"{one.messages} message{'s' if one.messages > 1 else ''}"
        yield f"- {_plain(one.who)}: first {_clock(one.at, zone)}, {times}"
    if not found.told:
        yield "Nobody."
    yield from ("", "## Timeline", "")
    for event in found.timeline:
        by = "" if event.by == "engine" or event.by in event.reason else f" ({event.by})"
        yield f"- {_clock(event.at, zone)} **{event.kind.value}** {_plain(event.reason or event.summary)}{_plain(by)}"
    if written.by:
        yield from ("", f"Written by {_plain(written.by)}, {_clock(written.at, zone)}.")


def _due(one: FollowUp, zone: ZoneInfo) -> str:
    return f"done {_clock(one.done_at, zone)}" if one.done_at else f"due {_clock(one.due, zone)}"


def _clock(at: float, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(at, UTC).astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


_MARKUP = re.compile(r"([\\`*_\[\]<>#|!~&])")


def _plain(text: str) -> str:
    """Text in which nothing is markup, paragraphs kept."""
    escaped = _MARKUP.sub(r"\\\1", text.strip())
    # A number, dash or plus at the beginning of a line would make a list, an equals sign a heading.
    return re.sub(
        r"(?m)^(\s*)([-+=]|\d+(?=[.)]))",
        lambda found: f"{found[1]}\\{found[2]}" if not found[2].isdigit() else f"{found[1]}{found[2]}\u200b",
        escaped,
    )
