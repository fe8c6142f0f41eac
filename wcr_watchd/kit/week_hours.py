"""Hours that come again every week, as they are written: ``Mon-Fri 09:00-17:00``, ``22:00-07:00``, ``Sat,Sun``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from wcr_watchd.core.local_time import MINUTES_A_DAY, MINUTES_A_WEEK, WeekSpans, merged
from wcr_watchd.kit.refused import RefusedError, did_you_mean

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
FULL_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_EXAMPLE = 'write "Mon-Fri 09:00-17:00", "22:00-07:00", "Sat,Sun" or "Fri 17:00-Mon 09:00"'
_DAY = r"[A-Za-z]+"
_TIME = r"(\d{1,2}):(\d{2})"
_ACROSS_DAYS = re.compile(rf"({_DAY})\s+{_TIME}\s*-\s*({_DAY})\s+{_TIME}", re.ASCII)
_DAILY = re.compile(rf"(?:({_DAY}(?:\s*[-,]\s*{_DAY})*)\s+)?{_TIME}\s*-\s*{_TIME}", re.ASCII)
_DAYS = re.compile(rf"{_DAY}(?:\s*[-,]\s*{_DAY})*", re.ASCII)


def weekday(word: str) -> int:
    """The number of a weekday (0 = Monday) written in English, short or in full. Raises :class:`RefusedError`."""
    for names in (WEEKDAYS, FULL_WEEKDAYS):
        if word.lower() in names:
            return names.index(word.lower())
    close = did_you_mean(word.capitalize(), (name.capitalize() for name in (*WEEKDAYS, *FULL_WEEKDAYS)))
    raise RefusedError(f'"{word}" is no weekday', close if close.startswith("did") else 'write "Mon", "Tue", …')


def read_hours(value: object) -> WeekSpans:
    """The parts of the week that a text or a list of texts names. Raises :class:`RefusedError`."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
        raise RefusedError("must be text in quotes or a list of texts", _EXAMPLE)
    if not texts:
        raise RefusedError("must not be empty", "leave it out instead")
    return merged(span for text in texts for span in _spans(text.strip()))


def _spans(text: str) -> Iterator[tuple[int, int]]:
    if match := _ACROSS_DAYS.fullmatch(text):
        start = weekday(match[1]) * MINUTES_A_DAY + minutes_of_day(match[2], match[3])
        end = weekday(match[4]) * MINUTES_A_DAY + minutes_of_day(match[5], match[6])
        yield start, end if end > start else end + MINUTES_A_WEEK
    elif match := _DAILY.fullmatch(text):
        start, end = minutes_of_day(match[2], match[3]), minutes_of_day(match[4], match[5])
        if start == end:
            raise RefusedError(f'"{text}" begins when it ends', 'write "00:00-24:00" for whole days')
        for day in _days(match[1]) if match[1] else range(7):
            yield day * MINUTES_A_DAY + start, day * MINUTES_A_DAY + (end if end > start else end + MINUTES_A_DAY)
    elif _DAYS.fullmatch(text):
        for day in _days(text):
            yield day * MINUTES_A_DAY, (day + 1) * MINUTES_A_DAY
    else:
        raise RefusedError(f'"{text}" names no hours', _EXAMPLE)


def _days(text: str) -> Iterator[int]:
    """The weekdays of ``Mon-Wed,Fri``; a range may go on past Sunday."""
    for part in text.split(","):
        ends = [weekday(word.strip()) for word in part.split("-")]
        if len(ends) > 2:
            raise RefusedError(f'"{part.strip()}" is no range of weekdays', 'write "Mon-Fri"')
        for offset in range((ends[-1] - ends[0]) % 7 + 1):
            yield (ends[0] + offset) % 7


def minutes_of_day(hours: str, minutes: str) -> int:
    """Minutes since midnight; the day ends with 24:00. Raises :class:`RefusedError`."""
    total = int(hours) * 60 + int(minutes)
    if int(minutes) > 59 or total > MINUTES_A_DAY:
        raise RefusedError(f'"{hours}:{minutes}" is no time of day', "times go from 00:00 to 24:00")
    return total


WeekHours = Annotated[
    WeekSpans,
    BeforeValidator(read_hours),
    WithJsonSchema(
        {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            "examples": ["Mon-Fri 09:00-17:00", "22:00-07:00"],
        }
    ),
]
"""Parts of the week, on a wall clock that is told elsewhere."""
