"""Calendars that people subscribe to (iCalendar, RFC 5545). Times are in UTC: no rules of time zones need be told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

FOLD_AT = 75
"""Octets of a line at most (RFC 5545, 3.1)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Something in a calendar, from ``start`` to ``end`` (epoch seconds); ``uid`` stays the same when it is moved."""

    uid: str
    start: float
    end: float
    summary: str
    description: str


def write(title: str, product: str, entries: Iterable[Entry], now: float) -> str:
    """A whole calendar; ``product`` says what of this program made it."""
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        f"PRODID:-//wcr-watchd//{product}//EN",
        f"NAME:{_escaped(title)}",
        f"X-WR-CALNAME:{_escaped(title)}",
        "REFRESH-INTERVAL;VALUE=DURATION:PT1H",
        "X-PUBLISHED-TTL:PT1H",
    ]
    for entry in entries:
        lines += _event(entry, now)
    lines.append("END:VCALENDAR")
    return "".join(f"{_folded(line)}\r\n" for line in lines)


def _event(entry: Entry, now: float) -> list[str]:
    return [
        "BEGIN:VEVENT",
        f"UID:{entry.uid}",
        f"DTSTAMP:{_stamp(now)}",
        f"DTSTART:{_stamp(entry.start)}",
        f"DTEND:{_stamp(entry.end)}",
        f"SUMMARY:{_escaped(entry.summary)}",
        f"DESCRIPTION:{_escaped(entry.description)}",
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
