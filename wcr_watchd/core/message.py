"""What a notification says: the texts that all channels share, from one line to the whole story.

Everything here is a pure function of a :class:`~wcr_watchd.core.model.Message`. A channel adds its medium's form
(HTML, Block Kit, JSON); what is said, and in which words, is decided here so that a person reads the same everywhere.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote
from zoneinfo import ZoneInfo

from wcr_watchd.core.model import EventKind, IncidentState, Message, Severity
from wcr_watchd.core.units import Unit, format_duration, format_value

DIGEST_ITEMS = 100
"""Messages a digest carries in full; the counts in its summary are of all."""
LONGEST_NAME_IN_KEY = 80
"""Characters of the daemon's name in an incident's key; a longer one is replaced by its hash."""
NAMED = 12
"""Incidents that a digest's summary names."""


# --- words -------------------------------------------------------------------------------------------------------

HALF_A_YEAR = 182 * 86_400.0


_UNATTENDED = frozenset(
    {
        EventKind.OPENED,
        EventKind.RAISED,
        EventKind.LOWERED,
        EventKind.REMINDED,
        EventKind.ESCALATED,
        EventKind.FLAPPING,
        EventKind.DRILL,
    }
)
_COLOURS = {
    Severity.CRITICAL: "#b91c1c",
    Severity.WARNING: "#b45309",
    Severity.INFO: "#1d4ed8",
    Severity.OK: "#15803d",
}
_MARKS = {EventKind.RESOLVED: "✅", EventKind.ACKNOWLEDGED: "👀", EventKind.DRILL: "🧪"}
_SEVERITY_MARKS = {Severity.CRITICAL: "🔴", Severity.WARNING: "🟠", Severity.INFO: "🔵", Severity.OK: "✅"}


def colour(message: Message) -> str:
    """The colour of the news, as ``#rrggbb``: green when it is over or taken, else that of the severity."""
    calm = message.event in (EventKind.RESOLVED, EventKind.ACKNOWLEDGED)
    return _COLOURS[Severity.OK if calm else message.severity]


def mark(message: Message) -> str:
    """The news as one picture, to be seen before it is read."""
    return _MARKS.get(message.event) or _SEVERITY_MARKS[message.severity]


def tag(message: Message) -> str:
    """How bad it is and what kind of news, in capitals: ``CRITICAL``, ``STILL CRITICAL``, ``RESOLVED``, ``TEST``."""
    word = message.severity.name
    if message.event is EventKind.DRILL:
        return "DRILL" if message.incident else "TEST"
    return {
        EventKind.REMINDED: f"STILL {word}",
        EventKind.RAISED: f"{word}, was {message.previous_severity.word}",
        EventKind.LOWERED: f"{word}, was {message.previous_severity.word}",
        EventKind.ESCALATED: f"{word}, ESCALATED",
        EventKind.ACKNOWLEDGED: "ACKNOWLEDGED",
        EventKind.RESOLVED: "RESOLVED",
        EventKind.NOTED: "NOTE",
        EventKind.FLAPPING: f"{word}, FLAPPING",
        EventKind.HANDOVER: "ON CALL",
        EventKind.PLANNED: "PLANNED",
        EventKind.REPORT: "REPORT",
    }.get(message.event, word)


def marked(text: str, message: Message) -> str:
    """The text with ``[DRILL]`` before it in a drill, whatever words it has: nobody must take one for real."""
    drill = message.event is EventKind.DRILL and message.incident
    return f"[DRILL] {text}" if drill and text and "[DRILL]" not in text else text


def what(message: Message) -> str:
    """The check and, where an incident is about a part of it, that part: ``api``, ``host disk /data``."""
    return " ".join(filter(None, (message.check, message.subject)))


def one_line(text: str) -> str:
    """The text without line breaks, control characters and repeated blanks."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def clock_time(at: float, timezone: str, relative_to: float, *, dated: bool = False) -> str:
    """A point in time as people of that zone write it: ``03:12 EST``, or ``Nov 23 03:12 EST`` on another day.

    With the year when it is more than half a year away. ``dated``: also with the day of today.
    """
    local = datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(timezone))
    today = datetime.fromtimestamp(relative_to, UTC).astimezone(ZoneInfo(timezone))
    year = f"{local.year} " if abs(at - relative_to) > HALF_A_YEAR else ""
    day = "" if local.date() == today.date() and not dated else f"{local:%b} {local.day} {year}"
    return f"{day}{local:%H:%M} {local.tzname()}"


def since(message: Message) -> str:
    """When the incident began, in the message's own time zone."""
    return clock_time(message.opened_at, message.timezone, message.at)


def lasted(message: Message) -> str:
    """How long the incident has lasted (or lasted in all, when it is over)."""
    return format_duration(max(0.0, message.at - message.opened_at))


def rfc3339(at: float, timezone: str) -> str:
    """A point in time as RFC 3339 with the zone's offset, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(timezone)).isoformat(timespec="milliseconds")


def headline(message: Message, length: int = 500) -> str:
    """The news in one line: ``[CRITICAL] wcr-prod: api: HTTP 500, expected 2xx #42``.

    In at most ``length`` characters; the end of the summary gives way, the number does not.
    """
    if message.own_subject:
        return shorten(one_line(message.own_subject), length)
    number = _number(message)
    return shorten(one_line(f"[{tag(message)}] {message.watchd}: {_story(message)}"), length - len(number)) + number


def account(message: Message) -> str:
    """What is wrong in the message's main sentence or paragraph: the user's own text, else the summary."""
    return message.own_text or message.summary or headline(message)


def _story(message: Message) -> str:
    about, said = what(message), message.summary
    if message.event is EventKind.ACKNOWLEDGED and message.by:
        said = f"acknowledged by {message.by}"
    return ": ".join(filter(None, (about, said)))


def _number(message: Message) -> str:
    return f" #{message.incident}" if message.incident else ""


# --- long texts --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fact:
    """One labelled line of a long message."""

    label: str
    value: str


def facts(message: Message) -> tuple[Fact, ...]:
    """What a person wants to know, most urgent first; empty values are left out.

    A message with a text of the user's own has none, but for the note about the message itself.
    """
    note = (Fact("Note", one_line(message.note)),) if message.note else ()
    if message.own_text:
        return note
    acknowledge = (Fact(_answer(message), message.ack_url),) if message.ack_url else ()
    if message.items:
        items = (Fact(clock_time(item.at, item.timezone, message.at), headline(item)) for item in message.items)
        return (*note, *acknowledge, *items)
    over = message.event is EventKind.RESOLVED
    found = (
        Fact("Check", what(message)),
        Fact("Target", message.target),
        Fact("Severity", _severity(message)),
        Fact("Lasted" if over else "Since", _duration(message)),
        *acknowledge,
        Fact("Why you are told", message.reason),
        Fact("By", message.by),
        Fact("Measured", ", ".join(f"{name} {measured(value, unit)}" for name, value, unit in message.measurements)),
        Fact("Told", ", ".join(message.contacts)),
        Fact("Owner", message.owner),
        Fact("Tags", ", ".join(message.tags)),
        Fact("Watched by", " at ".join(filter(None, (message.watchd, message.location)))),
        Fact("Runbook", message.runbook),
        Fact("Report" if message.report else "Incident", message.url),
    )
    return note + tuple(Fact(fact.label, one_line(fact.value)) for fact in found if fact.value)


def links(message: Message) -> tuple[Fact, ...]:
    """Where to go from here, as far as it can be followed: to acknowledge, the incident's page, the runbook."""
    about = "Report" if message.report else "Incident"
    known = (Fact(_answer(message), message.ack_url), Fact(about, message.url), Fact("Runbook", message.runbook))
    return tuple(link for link in known if link.value.startswith(("https://", "http://")))


def _answer(message: Message) -> str:
    return "Answer" if message.question else "Acknowledge"


def _severity(message: Message) -> str:
    if message.event is EventKind.RESOLVED or not message.incident:
        return ""
    was = message.previous_severity
    return message.severity.word + (f" (was {was.word})" if was is not Severity.OK else "")


def _duration(message: Message) -> str:
    if not message.incident:
        return ""
    if message.event is EventKind.RESOLVED:
        end = clock_time(message.at, message.timezone, message.opened_at)
        return f"{lasted(message)}, from {since(message)} to {end}"
    return since(message) if message.at - message.opened_at < 1 else f"{since(message)} ({lasted(message)})"


def measured(value: float, unit: str) -> str:
    """A measured value with its unit, for people; a unit this program does not know is written as it stands."""
    try:
        return format_value(value, Unit(unit))
    except ValueError:
        return f"{value:g} {unit}"


def long_text(message: Message) -> str:
    """The whole message as plain text: the headline, then the user's own text or the facts."""
    own = (message.own_text.strip(),) if message.own_text else ()
    lines = (f"{fact.label}: {fact.value}" for fact in facts(message))
    return "\n".join((headline(message), "", *own, *lines)) + "\n"


def shorten(text: str, width: int) -> str:
    """The text in at most ``width`` characters, with ``...`` where something is missing (if there is room for it)."""
    if len(text) <= width:
        return text
    return text[: width - 3].rstrip(" ,.:;") + "..." if width > 6 else ""


# --- messages made of messages, and made up ones -------------------------------------------------------------------


def digest(messages: Sequence[Message], at: float, note: str = "") -> Message:
    """One message that stands for several to the same recipient, oldest first; ``at`` is now.

    ``note`` says why they come together. At least one message; digests among them are taken apart. Beyond
    :data:`DIGEST_ITEMS` the later ones are counted, not carried.
    """
    items = _oldest_first(item for message in messages for item in message.items or (message,))
    first = items[0]
    return replace(
        first,
        event=EventKind.DIGEST,
        at=at,
        incident=0,
        severity=max((i.severity for i in items if i.event is not EventKind.RESOLVED), default=Severity.OK),
        state=IncidentState.OPEN,
        opened_at=first.at,
        url="",
        check="",
        probe="",
        target="",
        subject="",
        tags=(),
        owner="",
        runbook="",
        summary=_counts(items),
        reason="several messages sent as one",
        measurements=(),
        contacts=tuple(dict.fromkeys(contact for item in items for contact in item.contacts)),
        previous_severity=Severity.OK,
        by="",
        items=tuple(items[:DIGEST_ITEMS]),
        note=note,
    )


def _oldest_first(items: Iterable[Message]) -> list[Message]:
    """By time, but news of one incident in the order they come in: a clock that was set back turns nothing round."""
    latest: dict[int, float] = {}
    placed = []
    for item in items:
        at = max(item.at, latest.get(item.incident, item.at)) if item.incident else item.at
        latest[item.incident] = at
        placed.append((at, item))
    return [item for _, item in sorted(placed, key=lambda place: place[0])]


def _counts(items: Sequence[Message]) -> str:
    """``7 messages: 2 critical, 1 resolved: api #42, database #43``."""
    kinds = Counter(
        item.event.value if item.event in (EventKind.RESOLVED, EventKind.ACKNOWLEDGED) else item.severity.word
        for item in items
    )
    order = ("critical", "warning", "info", "ok", "acknowledged", "resolved")
    counts = ", ".join(f"{kinds[kind]} {kind}" for kind in order if kinds[kind])
    about = list(dict.fromkeys(f"{what(item)}{_number(item)}" for item in items))
    more = f" and {len(about) - NAMED} more" if len(about) > NAMED else ""
    return f"{len(items)} messages: {counts}: {', '.join(about[:NAMED])}{more}"


def apart(message: Message) -> tuple[Message, ...]:
    """The single messages that a message stands for, for providers that keep incidents of their own.

    A digest that carries fewer messages than it stands for comes last itself, so that what it counts is not lost.
    Notices about no incident are left out, since nobody would ever end what they began; only a test is not.
    """
    items = tuple(replace(item, note=item.note or message.note) for item in message.items)
    single = items + ((message,) if len(items) in (0, DIGEST_ITEMS) else ())
    return tuple(one for one in single if one.incident or one.event in (EventKind.DRILL, EventKind.DIGEST))


def unattended(message: Message) -> tuple[int, ...]:
    """The incidents and drills, by number, that a message tells of and somebody may want to acknowledge."""
    numbers = (one.incident for one in message.items or (message,) if one.incident and one.event in _UNATTENDED)
    return tuple(dict.fromkeys(numbers))


def incident_key(message: Message) -> str:
    """A name that all messages about one incident share and no others have, for a provider to put them together.

    At most 128 printable ASCII characters, no blanks. A drill and what is about no incident have names of their own.
    """
    name = quote(message.watchd, safe="")
    if len(name) > LONGEST_NAME_IN_KEY:
        name = hashlib.sha256(name.encode()).hexdigest()[:32]
    if not message.incident or message.event is EventKind.DRILL:
        return f"{name}-{message.event.value}-{message.at:.3f}"
    return f"{name}-{message.incident}-{message.opened_at:.0f}"


def redirected(message: Message, channel: str, why: str = "could not deliver") -> Message:
    """The message as it goes out by a fallback of ``channel``; ``why`` goes on with the sentence."""
    return replace(message, note=f"sent here because {channel} {why}")


NOTIFY_TEST = "somebody ran wcr-watchd notify-test"


def trial(*, watchd: str, location: str, timezone: str, at: float, reason: str = NOTIFY_TEST) -> Message:
    """A message that proves that a channel delivers: marked [TEST], about no incident, nothing to do."""
    works = f"this channel works; sent {clock_time(at, timezone, at)}, nothing to do"
    message = about_no_incident(EventKind.DRILL, at, timezone, works, reason, watchd=watchd, location=location)
    return replace(message, state=IncidentState.RESOLVED)


def about_no_incident(
    event: EventKind,
    at: float,
    timezone: str,
    summary: str = "",
    reason: str = "",
    *,
    watchd: str = "",
    location: str = "",
    url: str = "",
) -> Message:
    """A message that something else than an incident is the cause of, and that no check is named in."""
    return Message(
        event=event,
        at=at,
        watchd=watchd,
        location=location,
        incident=0,
        severity=Severity.INFO,
        state=IncidentState.OPEN,
        opened_at=at,
        url=url,
        check="",
        probe="",
        target="",
        subject="",
        tags=(),
        owner="",
        runbook="",
        summary=summary,
        reason=reason,
        timezone=timezone,
    )
