"""Maintenance windows: from tables ``[maintenance.NAME]`` to core values.

A window says when it is in one of four ways: ``when`` (weekdays and times), ``rrule`` (RFC 5545) with ``start`` and
``duration``, ``from`` and ``until``, or ``intervals``, which are the time intervals of Alertmanager
(https://prometheus.io/docs/alerting/latest/configuration/#time_interval).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from itertools import islice
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from wcr_watchd.config.faults import Faults
from wcr_watchd.config.models import Span as Length
from wcr_watchd.config.models import Texts, Timezone
from wcr_watchd.config.positions import Place
from wcr_watchd.config.recurrence_rule import by_rule, check_rule
from wcr_watchd.config.schedules import Moment
from wcr_watchd.config.typed import named_tables
from wcr_watchd.core.errors import MatcherError
from wcr_watchd.core.local_time import MINUTES_A_DAY, MINUTES_A_WEEK, WeekSpans, instant
from wcr_watchd.core.matchers import any_of, is_glob, matchers_of
from wcr_watchd.core.recurrence import LONGEST, Interval, Once, recurring, weekly
from wcr_watchd.core.silence import Matcher, Spans, Window
from wcr_watchd.core.units import SECONDS_OF, format_duration
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.refused import RefusedError, did_you_mean
from wcr_watchd.kit.week_hours import FULL_WEEKDAYS, WeekHours, minutes_of_day

MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
SUNDAY_FIRST = (FULL_WEEKDAYS[6], *FULL_WEEKDAYS[:6])
"""Alertmanager counts the days of a week from Sunday."""
LONGEST_NOTICE = 90 * SECONDS_OF["d"]
LONGEST_WINDOW = 31 * SECONDS_OF["d"]

# --- option types -----------------------------------------------------------------------------------------------------


def _listed(value: object) -> list[str]:
    """A text or a list of texts; whole numbers may stand without quotes."""
    values = value if isinstance(value, list | tuple) else [value]
    if not all(isinstance(one, str | int) and not isinstance(one, bool) for one in values):
        raise RefusedError("must be text in quotes or a list of texts")
    return [str(one) for one in values]


def _ends(text: str) -> tuple[str, str]:
    first, colon, last = text.strip().lower().partition(":")
    return first.strip(), last.strip() if colon else first.strip()


def _weekdays(value: object) -> frozenset[int]:
    """Numbers of weekdays (0 = Monday) from ``monday:friday``; a range does not go on past Saturday."""
    found: set[int] = set()
    for text in _listed(value):
        ends = _ends(text)
        for word in ends:
            if word not in SUNDAY_FIRST:
                raise RefusedError(f'"{word}" is no weekday', did_you_mean(word, SUNDAY_FIRST))
        first, last = map(SUNDAY_FIRST.index, ends)
        if first > last:
            raise RefusedError(f'"{text}" goes backwards; weeks begin on Sunday here', "give two ranges")
        found.update((day - 1) % 7 for day in range(first, last + 1))
    return frozenset(found)


def _months(value: object) -> frozenset[int]:
    found: set[int] = set()
    for text in _listed(value):
        first, last = (_month(word) for word in _ends(text))
        if first > last:
            raise RefusedError(f'"{text}" goes backwards', "give two ranges")
        found.update(range(first, last + 1))
    return frozenset(found)


def _month(word: str) -> int:
    if word in MONTHS:
        return MONTHS.index(word) + 1
    if word.isdecimal() and 1 <= int(word) <= len(MONTHS):
        return int(word)
    raise RefusedError(f'"{word}" is no month', did_you_mean(word, MONTHS))


def _ranges(texts: list[str]) -> Iterator[tuple[int, int]]:
    for text in texts:
        match = re.fullmatch(r"\s*(-?\d{1,4})\s*(?::\s*(-?\d{1,4})\s*)?", text)
        if match is None:
            raise RefusedError(f'"{text}" is no number and no range', 'write "1", "1:7" or "-1"')
        yield int(match[1]), int(match[2] or match[1])


def _days_of_month(value: object) -> tuple[tuple[int, int], ...]:
    found = tuple(_ranges(_listed(value)))
    for first, last in found:
        if not all(1 <= abs(day) <= 31 for day in (first, last)):
            raise RefusedError(f'"{first}:{last}" names no days of a month', "write 1 to 31, or -1 (the last) to -31")
        if (first if first > 0 else first + 32) > (last if last > 0 else last + 32):
            raise RefusedError(f'"{first}:{last}" goes backwards', "begin with the earlier day")
    return found


def _years(value: object) -> tuple[tuple[int, int], ...]:
    found = tuple(_ranges(_listed(value)))
    for first, last in found:
        if not 1970 <= first <= last:
            raise RefusedError(f'"{first}:{last}" is no range of years', 'write "2026" or "2026:2030"')
    return found


def _times(value: object) -> object:
    """Minutes of the day from ``{ start_time = "09:00", end_time = "17:00" }`` or ``"09:00-17:00"``."""
    values = value if isinstance(value, list | tuple) else [value]
    if not values:
        raise RefusedError("must not be empty", "leave it out: then whole days are meant")
    return tuple(_time_range(one) for one in values)


def _time_range(value: object) -> tuple[int, int]:
    if isinstance(value, Mapping) and set(value) == {"start_time", "end_time"}:
        texts = [str(value["start_time"]), str(value["end_time"])]
    else:
        texts = str(value).split("-")
    matches = [re.fullmatch(r"\s*(\d{1,2}):(\d{2})\s*", text) for text in texts]
    if len(matches) != 2 or matches[0] is None or matches[1] is None:
        raise RefusedError(f'"{value}" is no range of times', 'write { start_time = "09:00", end_time = "17:00" }')
    start, end = (minutes_of_day(match[1], match[2]) for match in matches if match)
    if start == MINUTES_A_DAY:
        raise RefusedError("begins when the day ends", 'begin with "00:00"')
    if start == end:
        raise RefusedError(f'"{texts[0]}-{texts[1]}" begins when it ends', "leave `times` out for whole days")
    return start, end if end > start else end + MINUTES_A_DAY


def _start(value: object) -> object:
    """A time of day, or a local date and time."""
    if isinstance(value, time | datetime):
        return value
    try:
        if isinstance(value, str):
            text = value.strip()
            return time.fromisoformat(text) if len(text) <= len("03:00:00") else datetime.fromisoformat(text)
    except ValueError:
        pass
    raise RefusedError("is no time", 'write "03:00", or with the first day "2026-12-01T03:00"')


def _notice(seconds: float) -> float:
    if not SECONDS_OF["m"] <= seconds <= LONGEST_NOTICE:
        raise RefusedError("must be between 1m and 90d")
    return seconds


def _length(seconds: float) -> float:
    if not SECONDS_OF["m"] <= seconds <= LONGEST_WINDOW:
        raise RefusedError("must be between 1m and 31d")
    return seconds


WindowLength = Annotated[Length, AfterValidator(_length)]
"""How long a window may be open (seconds)."""


def _not_always(spans: WeekSpans) -> WeekSpans:
    if spans == ((0, MINUTES_A_WEEK),):
        raise RefusedError(
            "is the whole week, so that nothing would ever be told", "set enabled = false in the check instead"
        )
    return spans


_TEXTS = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": ["string", "integer"]}}]})
Weekdays = Annotated[frozenset[int], BeforeValidator(_weekdays), _TEXTS]
DaysOfMonth = Annotated[tuple[tuple[int, int], ...], BeforeValidator(_days_of_month), _TEXTS]
Months = Annotated[frozenset[int], BeforeValidator(_months), _TEXTS]
Years = Annotated[tuple[tuple[int, int], ...], BeforeValidator(_years), _TEXTS]
Times = Annotated[
    tuple[tuple[int, int], ...],
    BeforeValidator(_times),
    WithJsonSchema(
        {
            "type": "array",
            "items": {
                "anyOf": [
                    {"type": "string"},
                    {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["start_time", "end_time"],
                        "properties": {"start_time": {"type": "string"}, "end_time": {"type": "string"}},
                    },
                ]
            },
        }
    ),
]

# --- tables -----------------------------------------------------------------------------------------------------------


class IntervalTable(Options):
    """Some times of some days, written as a time interval of Alertmanager; what is left out is any."""

    weekdays: Weekdays = frozenset()
    """Weekdays, such as "monday:friday"; ranges do not go on past Saturday."""
    days_of_month: DaysOfMonth = ()
    """Days, such as "1:7"; "-1" is the last day of the month."""
    months: Months = frozenset()
    """Months by name or number, such as "march" or "1:3"."""
    years: Years = ()
    """Years, such as "2026:2028"."""
    times: Times = ((0, MINUTES_A_DAY),)
    """Times of day; one that ends before it begins goes on past midnight."""
    location: Timezone | None = None
    """Time zone; default: that of the window."""


class Coverage(Options):
    """Which checks something covers; what is given narrows the rest."""

    checks: Texts = ()
    """The checks it covers, by name; * stands for any part of a name."""
    tags: Texts = ()
    """It covers checks with one of these tags."""
    match: Texts = ()
    """Matchers that must all hold, such as 'group="web"'."""


class MaintenanceTable(Coverage):
    """A planned time in which nobody is told of what it covers."""

    when: Annotated[WeekHours, AfterValidator(_not_always)] | None = None
    """Weekdays and times: "Tue 03:00-05:00", "Mon-Fri 22:00-02:00", or a list of such."""
    rrule: Annotated[str, AfterValidator(check_rule)] | None = None
    """A recurrence rule of RFC 5545, such as "FREQ=MONTHLY;BYDAY=1TU"; goes with `start` and `duration`."""
    start: (
        Annotated[
            time | datetime,
            BeforeValidator(_start),
            WithJsonSchema({"type": "string", "examples": ["03:00", "2026-12-01T03:00"]}),
        ]
        | None
    ) = None
    """When a window of `rrule` begins: a local time, with the first day where the rule counts from one."""
    duration: WindowLength | None = None
    """How long a window of `rrule` lasts."""
    from_: Moment | None = Field(default=None, alias="from")
    """When a window that does not come again begins: with an offset, or in its time zone."""
    until: Moment | None = None
    """When a window that does not come again ends."""
    intervals: Annotated[tuple[IntervalTable, ...], Field(min_length=1)] | None = None
    """Time intervals as Alertmanager has them; any of them holds."""
    timezone: Timezone | None = None
    """Time zone of its times; default: that of [watchd]."""
    notice: Annotated[tuple[Annotated[Length, AfterValidator(_notice)], ...], Field(max_length=10)] = ()
    """How long before it begins it is announced to those whom the policy tells of an info."""
    comment: str = ""
    """What is done then; stands in the announcement and wherever the window is named."""
    public: str | None = None
    """What the public status page says of it, where components are concerned; default: "Planned maintenance"; "" hides
    it there."""

    @model_validator(mode="after")
    def _fits_together(self) -> MaintenanceTable:
        ways = {
            "when": self.when is not None,
            "rrule": self.rrule is not None,
            "from": self.from_ is not None or self.until is not None,
            "intervals": self.intervals is not None,
        }
        given = [name for name, is_given in ways.items() if is_given]
        if len(given) != 1:
            said = f"has {' and '.join(f'`{name}`' for name in given)}" if given else "does not say when it is"
            raise RefusedError(said, 'give one: when = "Tue 03:00-05:00", rrule, from and until, or intervals')
        if (self.rrule is None) is not (self.start is None and self.duration is None) or (
            self.rrule is not None and (self.start is None or self.duration is None)
        ):
            raise RefusedError("`rrule`, `start` and `duration` go together", 'write start = "03:00", duration = "2h"')
        if (self.from_ is None) is not (self.until is None):
            raise RefusedError("`from` and `until` go together", "give both")
        if not self.checks and not self.tags and not self.match:
            raise RefusedError("does not say what it covers", 'write checks = ["*"] for everything')
        return self


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Known:
    """What a window can refer to: names and tags of all checks."""

    checks: Collection[str]
    tags: Collection[str]


def read_windows(
    faults: Faults, data: Mapping[str, Any], timezone: str, known: Known, now: float
) -> tuple[Window, ...]:
    """Read the section maintenance; ``timezone`` is that of the daemon, ``now`` says what is to come."""
    return tuple(
        window
        for name, table in named_tables(faults, data, "maintenance")
        if (window := _window(faults, name, table, timezone, known, now)) is not None
    )


def _window(
    faults: Faults, name: str, table: Mapping[str, Any], timezone: str, known: Known, now: float
) -> Window | None:
    place = ("maintenance", name)
    read = faults.validate(MaintenanceTable, table, place)
    if read is None:
        return None
    zone = read.timezone or timezone
    spans = _spans(faults, place, read, zone, now)
    matchers = covering(faults, place, read, known)
    if spans is None or matchers is None:
        return None
    window = Window(name, spans, matchers, tuple(sorted(read.notice)), read.comment, _words(table), zone, read.public)
    _refuse_endless(faults, place, window, now)
    return window


def _spans(faults: Faults, place: Place, read: MaintenanceTable, zone: str, now: float) -> Spans | None:
    if read.when is not None:
        return weekly(read.when, zone)
    if read.intervals is not None:
        return recurring(tuple(interval(one, zone) for one in read.intervals))
    if read.from_ is not None and read.until is not None:
        once = Once(_instant(read.from_, zone), _instant(read.until, zone, last=True))
        if once.end <= once.start:
            faults.add((*place, "until"), "is not after `from`", "let it end after it begins")
            return None
        return once
    if read.rrule is None or read.start is None or read.duration is None:  # the model has seen to that
        raise AssertionError(f"{place} says when it is in no way")
    try:
        return by_rule(read.rrule, read.start, read.duration, zone, now)
    except RefusedError as refused:
        faults.add((*place, "rrule"), str(refused), refused.suggestion)
        return None


def interval(table: IntervalTable, zone: str) -> Interval:
    """A time interval as it was read; ``zone`` is its time zone where it names none."""
    return Interval(table.location or zone, table.times, table.weekdays, table.days_of_month, table.months, table.years)


def _instant(moment: datetime, zone: str, *, last: bool = False) -> float:
    return moment.timestamp() if moment.tzinfo else instant(moment, ZoneInfo(zone), last=last)


def covering(faults: Faults, place: Place, read: Coverage, known: Known) -> tuple[Matcher, ...] | None:
    """The matchers of what a table covers; None, with the reason noted, when they cannot be used."""
    for index, name in enumerate(read.checks):
        if not is_glob(name) and name not in known.checks:
            faults.add_reference(
                (*place, "checks", index), f'there is no check "{name}"', did_you_mean(name, known.checks)
            )
    for index, tag in enumerate(read.tags):
        if not is_glob(tag) and tag not in known.tags:
            hint = did_you_mean(tag, known.tags)
            faults.add_reference((*place, "tags", index), f'no check has the tag "{tag}"', hint)
    try:
        named = [any_of(label, given) for label, given in (("check", read.checks), ("tag", read.tags)) if given]
    except MatcherError as error:
        faults.add((*place, "checks" if read.checks else "tags"), error.reason)
        return None
    try:
        return (*named, *matchers_of(read.match))
    except MatcherError as error:
        faults.add((*place, "match"), f"column {error.column + 1}: {error.reason}", "write 'group=\"web\"'")
        return None


def _refuse_endless(faults: Faults, place: Place, window: Window, now: float) -> None:
    coming = islice(window.spans.after(now), 1)
    for start, end in filter(None, (window.spans.around(now), *coming)):
        if end - start >= LONGEST:
            lasts = format_duration(end - start)
            faults.add(place, f"goes on for {lasts} and more without a break", "leave some time to be told in")
            return


def _words(table: Mapping[str, Any]) -> str:
    """When a window is, as it is written."""
    if "when" in table:
        return ", ".join([table["when"]] if isinstance(table["when"], str) else table["when"])
    if "rrule" in table:
        return f"{table['rrule']} at {table['start']} for {table['duration']}"
    if "from" in table:
        return f"{table['from']} until {table['until']}"
    return "; ".join(" ".join(f"{key} {_plain(value)}" for key, value in one.items()) for one in table["intervals"])


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(_plain, value))
    if isinstance(value, Mapping):
        return "-".join(map(str, value.values()))
    return str(value)
