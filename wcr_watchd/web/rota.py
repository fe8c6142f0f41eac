"""On-call schedules for readers: the page's week by days, and the calendar that people subscribe to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

from wcr_watchd.core.escalation import LOOK_AHEAD
from wcr_watchd.core.local_time import instant, local_time
from wcr_watchd.core.on_call import OnCallSchedule, Turn, by_people, turns

DAYS = 7
SHOWN_GAPS = 3
CALENDAR_PAST = 7 * 86_400.0
FOLD_AT = 75
"""Octets of a line at most (RFC 5545, 3.1)."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A part of a day: local times (empty: all day), who is on call (empty: nobody) and why."""

    hours: str
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the week that is shown."""

    name: str
    shifts: tuple[Shift, ...]


@dataclass(frozen=True, slots=True)
class Rota:
    """One schedule as the page shows it; ``until`` and ``following`` are empty when nothing changes for months."""

    name: str
    timezone: str
    who: str
    why: str
    until: str
    following: str
    days: tuple[Day, ...]
    gaps: tuple[str, ...]
    more_gaps: int


def rota(schedule: OnCallSchedule, now: float) -> Rota:
    """Now, the next seven days and the gaps of the next months, in the schedule's own time zone."""
    zone = ZoneInfo(schedule.timezone)
    ahead = by_people(turns(schedule, now, now + LOOK_AHEAD))
    gaps = [f"{_when(turn.start, zone)} to {_when(turn.end, zone)}" for turn in ahead if not turn.contacts]
    return Rota(
        name=schedule.name,
        timezone=schedule.timezone,
        who=names(ahead[0].contacts),
        why=ahead[0].why,
        until=_when(ahead[0].end, zone) if len(ahead) > 1 else "",
        following=names(ahead[1].contacts) or "nobody" if len(ahead) > 1 else "",
        days=tuple(_days(schedule, now, zone)),
        gaps=tuple(gaps[:SHOWN_GAPS]),
        more_gaps=max(0, len(gaps) - SHOWN_GAPS),
    )


def names(contacts: tuple[str, ...]) -> str:
    """Who is on call together, for people; empty when nobody is."""
    return " and ".join(filter(None, (", ".join(contacts[:-1]), *contacts[-1:])))


def _days(schedule: OnCallSchedule, now: float, zone: ZoneInfo) -> Iterator[Day]:
    today = local_time(now, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    for number in range(DAYS):
        day = today + timedelta(days=number)
        start, end = instant(day, zone), instant(day + timedelta(days=1), zone)
        found = by_people(turns(schedule, start, end))
        yield Day(f"{day:%a} {day.day} {day:%b}", tuple(_shift(turn, start, end, zone) for turn in found))


def _shift(turn: Turn, start: float, end: float, zone: ZoneInfo) -> Shift:
    whole = (turn.start, turn.end) == (start, end)
    until = "24:00" if turn.end == end else f"{local_time(turn.end, zone):%H:%M}"
    hours = "" if whole else f"{local_time(turn.start, zone):%H:%M}–{until}"
    return Shift(hours, names(turn.contacts), turn.why)


def _when(at: float, zone: ZoneInfo) -> str:
    moment = local_time(at, zone)
    return f"{moment:%a} {moment.day} {moment:%b} {moment:%H:%M}"


# --- the calendar (RFC 5545) ------------------------------------------------------------------------------------------


def calendar(schedule: OnCallSchedule, watchd: str, now: float) -> str:
    """The schedule as an iCalendar, from a week ago to some months ahead; gaps are in it, too.

    Times are in UTC, so that no rules of time zones need to be told.
    """
    start = now - CALENDAR_PAST - (now % 86_400.0)
    title = f"On call: {schedule.name}"
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//wcr-watchd//on call//EN",
        f"NAME:{_escaped(title)}",
        f"X-WR-CALNAME:{_escaped(title)}",
        "REFRESH-INTERVAL;VALUE=DURATION:PT1H",
        "X-PUBLISHED-TTL:PT1H",
    ]
    for turn in turns(schedule, start, now + LOOK_AHEAD):
        lines += _event(turn, schedule.name, watchd, now)
    lines.append("END:VCALENDAR")
    return "".join(f"{_folded(line)}\r\n" for line in lines)


def _event(turn: Turn, schedule: str, watchd: str, now: float) -> list[str]:
    who = names(turn.contacts) or "NOBODY"
    return [
        "BEGIN:VEVENT",
        f"UID:{turn.start:.0f}-{quote(schedule)}@{quote(watchd)}",
        f"DTSTAMP:{_stamp(now)}",
        f"DTSTART:{_stamp(turn.start)}",
        f"DTEND:{_stamp(turn.end)}",
        f"SUMMARY:{_escaped(f'{who} on call ({schedule})')}",
        f"DESCRIPTION:{_escaped(turn.why)}",
        "TRANSP:TRANSPARENT",
        "END:VEVENT",
    ]


def _stamp(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}"


def _escaped(text: str) -> str:
    """A text as a value of type TEXT (RFC 5545, 3.3.11)."""
    for char in ("\\", ";", ","):
        text = text.replace(char, "\\" + char)
    return "\\n".join(text.splitlines())


def _folded(line: str) -> str:
    """The line in pieces that are short enough, without cutting a character in two (RFC 5545, 3.1)."""
    pieces, piece = [], ""
    for char in line:
        if len((piece + char).encode()) > FOLD_AT:
            pieces.append(piece)
            piece = " "
        piece += char
    return "\r\n".join([*pieces, piece])
