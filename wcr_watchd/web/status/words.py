"""What visitors read: times, shares, days and states in words."""

from __future__ import annotations

from datetime import UTC, datetime
from math import floor
from zoneinfo import ZoneInfo

from wcr_watchd.core.status import WORDS, Condition, DayBar
from wcr_watchd.core.units import format_duration


def machine_time(at: float) -> str:
    """A time for programs, as Statuspage writes it: RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(at: float, timezone: str) -> str:
    """A time for people: ``28 Nov 2026, 14:03 EST``."""
    moment = datetime.fromtimestamp(at, ZoneInfo(timezone))
    return f"{moment.day} {moment:%b %Y, %H:%M %Z}"


def span(start: float, end: float, timezone: str) -> str:
    """From when to when, for people; the date once where it is the same."""
    first, last = (datetime.fromtimestamp(at, ZoneInfo(timezone)) for at in (start, end))
    if first.date() != last.date():
        return f"{clock(start, timezone)} to {clock(end, timezone)}"
    return f"{first.day} {first:%b %Y, %H:%M} to {last:%H:%M %Z}"


def share(part: float | None) -> str:
    """An uptime: never rounded up to what it was not."""
    return "not known" if part is None else f"{floor(part * 10_000 + 1e-6) / 100:.2f} %"


def day(bar: DayBar) -> str:
    """A day's bar in a sentence."""
    date = datetime.fromisoformat(bar.date)
    said = f"{date.day} {date:%b %Y}: "
    if not bar.counted:
        return said + ("planned maintenance" if bar.maintenance > bar.unwatched else "not watched")
    parts = [f"{share(1.0 - bar.outage / bar.counted)} up"]
    if bar.outages or bar.outage:
        many = "1 outage" if bar.outages <= 1 else f"{bar.outages} outages"
        parts.append(f"{many}, {_long(bar.outage)} in all")
    if bar.degraded:
        parts.append(f"{WORDS[Condition.DEGRADED]} for {_long(bar.degraded)}")
    if bar.maintenance:
        parts.append(f"planned maintenance for {_long(bar.maintenance)}")
    if bar.unwatched >= 60.0:
        parts.append(f"not watched for {_long(bar.unwatched)}")
    return said + ", ".join(parts)


def _long(seconds: float) -> str:
    return format_duration(max(1.0, round(seconds) if seconds < 3_600 else round(seconds / 60) * 60))


def month(name: str) -> str:
    """``2026-11`` as ``November 2026``."""
    return f"{datetime.fromisoformat(f'{name}-01'):%B %Y}"
