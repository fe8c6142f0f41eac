"""Recurrence rules of RFC 5545 (``FREQ=MONTHLY;BYDAY=1TU``) as spans of time, by python-dateutil."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rrulestr

from wcr_watchd.core.local_time import instant
from wcr_watchd.core.recurrence import LOOK_AHEAD_DAYS, REMEMBERED_DAYS, Recurring, Span
from wcr_watchd.kit.refused import RefusedError

LONGEST_RULE = 500
FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY")
_PART = re.compile(r"([A-Z]+)=([A-Z0-9,+-]+)")
_KNOWN = frozenset(
    "FREQ INTERVAL COUNT UNTIL WKST BYSETPOS BYMONTH BYMONTHDAY BYYEARDAY BYWEEKNO BYDAY".split()  # noqa: SIM905
)
_EXAMPLE = 'write for example "FREQ=MONTHLY;BYDAY=1TU"'
_PAST_YEARS = 2
"""How far back a rule is followed that says nothing about its first day."""
_FUTURE = timedelta(days=3 * LOOK_AHEAD_DAYS)
"""How far a rule is followed: one that never comes must not be looked for until the year 9999."""


def check_rule(text: str) -> str:
    """Return the rule, in capitals and without its label, when it is one. Raises :class:`RefusedError`."""
    rule = text.strip().upper().removeprefix("RRULE:")
    parts = [_PART.fullmatch(part) for part in rule.split(";")]
    if len(rule) > LONGEST_RULE or not all(parts):
        raise RefusedError("is no recurrence rule", _EXAMPLE)
    values = {part[1]: part[2] for part in parts if part}
    unknown = values.keys() - _KNOWN
    if unknown or len(values) < len(parts):
        named = ", ".join(sorted(unknown)) or "a part twice"
        raise RefusedError(f"has {named}", f"parts are {', '.join(sorted(_KNOWN))}, each once")
    if values.get("FREQ") not in FREQUENCIES:
        raise RefusedError("does not say how often", f"FREQ is one of {', '.join(FREQUENCIES)}")
    for part in ("INTERVAL", "COUNT"):
        if part in values and not re.fullmatch(r"[1-9]\d{0,3}", values[part]):
            raise RefusedError(f"{part} must be a whole number from 1 to 9999", _EXAMPLE)
    if "UNTIL" in values and not re.fullmatch(r"\d{8}(T\d{6}Z?)?", values["UNTIL"]):
        raise RefusedError("UNTIL must be a day or a time", "write UNTIL=20261231, or UNTIL=20261231T030000Z (UTC)")
    return rule


def by_rule(text: str, start: time | datetime, duration: float, timezone: str, now: float) -> Recurring:
    """The spans of ``duration`` seconds that begin by the rule, on the clocks of a time zone.

    ``start`` is the time of day, or the first time as well, from which the rule counts. Raises :class:`RefusedError`.
    """
    counts = re.search(r"COUNT=|INTERVAL=(?!1(;|$))", text)
    if isinstance(start, datetime):
        if start.tzinfo is not None:
            raise RefusedError("`start` must be without offset", "it is on the clocks of `timezone`")
        first = start
    elif counts:
        raise RefusedError(
            f"counts ({counts[0].rstrip('=')}), but from when?", 'give the first day: start = "2026-12-01T03:00"'
        )
    else:
        today = datetime.fromtimestamp(now, ZoneInfo(timezone)).date()
        first = datetime.combine(date(today.year - _PAST_YEARS, 1, 1), start)
    rule = _rule(_on_the_clocks(text, timezone), first, timezone, now)

    @lru_cache(REMEMBERED_DAYS)
    def beginning(day: date) -> tuple[Span, ...]:
        midnight = datetime.combine(day, time())
        starts = rule.between(midnight, midnight + timedelta(days=1), inc=True)
        zone = ZoneInfo(timezone)
        begins = (instant(local, zone) for local in starts if local.date() == day)
        return tuple((at, at + duration) for at in begins)

    return Recurring(beginning, reach=int(duration // 86_400) + 1)


def _on_the_clocks(text: str, timezone: str) -> str:
    """The rule with its end as a local time: calendars write it in UTC (RFC 5545 3.3.10); a day is meant as a whole."""

    def local(found: re.Match[str]) -> str:
        try:
            end = datetime.strptime(found[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        except ValueError:  # the library says what is wrong with it
            return found[0]
        return f"UNTIL={end.astimezone(ZoneInfo(timezone)):%Y%m%dT%H%M%S}"

    text = re.sub(r"UNTIL=(\d{8})(?=;|$)", r"UNTIL=\1T235959", text)
    return re.sub(r"UNTIL=(\d{8}T\d{6})Z", local, text)


def _rule(text: str, first: datetime, timezone: str, now: float) -> rrule:
    try:
        rule = rrulestr(text, dtstart=first, cache=True)
        if not isinstance(rule, rrule):
            raise RefusedError("is more than one recurrence rule", _EXAMPLE)
        if "UNTIL=" in text or "COUNT=" in text:
            return rule
        last = datetime.fromtimestamp(now, ZoneInfo(timezone)).replace(tzinfo=None) + _FUTURE
        return rule.replace(until=last, cache=True)
    except (ValueError, TypeError) as error:
        if isinstance(error, RefusedError):
            raise
        raise RefusedError(f"is no recurrence rule: {error}", _EXAMPLE) from error
