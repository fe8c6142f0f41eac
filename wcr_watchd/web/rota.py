"""On-call schedules for readers: the page's week by days, and the calendar that people subscribe to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

from wcr_watchd.core.escalation import LOOK_AHEAD
from wcr_watchd.core.local_time import instant, local_time
from wcr_watchd.core.on_call import OnCallSchedule, Turn, by_people, turns
from wcr_watchd.web import icalendar
from wcr_watchd.web.icalendar import Entry

DAYS = 7
SHOWN_GAPS = 3
CALENDAR_PAST = 7 * 86_400.0


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


# --- the calendar -----------------------------------------------------------------------------------------------------


def calendar(schedule: OnCallSchedule, watchd: str, now: float) -> str:
    """The schedule as an iCalendar, from a week ago to some months ahead; gaps are in it, too."""
    start = now - CALENDAR_PAST - (now % 86_400.0)
    entries = (_entry(turn, schedule.name, watchd) for turn in turns(schedule, start, now + LOOK_AHEAD))
    return icalendar.write(f"On call: {schedule.name}", "on call", entries, now)


def _entry(turn: Turn, schedule: str, watchd: str) -> Entry:
    who = names(turn.contacts) or "NOBODY"
    return Entry(
        uid=f"{turn.start:.0f}-{quote(schedule)}@{quote(watchd)}",
        start=turn.start,
        end=turn.end,
        summary=f"{who} on call ({schedule})",
        description=turn.why,
    )
