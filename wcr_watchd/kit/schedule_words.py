"""A cron expression in plain words: ``daily at 03:15``, ``the first Monday of each month at 09:00``.

Words are given only where they say all of it. The fields are read by the library cronsim, as everywhere else.
"""

from __future__ import annotations

from calendar import day_name, month_name, monthrange
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

MOST = 4
"""Times of a day, and days of a month, that are named one by one."""
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_ORDINALS = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", CronSim.LAST: "last"}
_WEEKDAYS = [day_name[6], *day_name[:6]]
"""In English, as the program never asks for another language; Sunday is first in cron."""
_MONTHS = month_name[1:]
_COMMON_YEAR = 2001


def plain(schedule: str) -> str:
    """The words for a schedule, else the schedule as it is written."""
    return words(schedule) or schedule


@lru_cache(1_000)
def words(schedule: str) -> str:
    """The words for a cron expression, with a time zone behind it or without; empty where there are no plain ones."""
    expression, zone = _without_zone(schedule)
    if len(expression.split()) != 5:
        return ""
    try:
        fields = CronSim(expression, _EPOCH)
    except CronSimError:
        return ""
    days = _days(fields)
    at = _times(sorted(fields.minutes), sorted(fields.hours))
    if not days or not at:
        return ""
    said = at if days == "daily" else f"{at}, {days}"
    found = f"{days} at {at}" if at[0].isdigit() else said
    return f"{found} ({zone})" if zone else found


def _without_zone(schedule: str) -> tuple[str, str]:
    expression, _, last = schedule.strip().rpartition(" ")
    try:
        ZoneInfo(last)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return schedule, ""
    return expression, last


# --- times of a day ---------------------------------------------------------------------------------------------------


def _times(minutes: list[int], hours: list[int]) -> str:
    """``03:15 and 15:15``, ``every 15 minutes from 08:00 to 17:45``; empty for what is not so regular."""
    if len(minutes) * len(hours) <= MOST:
        return _listed([f"{hour:02}:{minute:02}" for hour in hours for minute in minutes])
    step = _step(minutes, 60)
    if len(minutes) > 1 and step and _is_run(hours):
        every = "every minute" if step == 1 else f"every {step} minutes"
        return every if len(hours) == 24 else f"{every} from {hours[0]:02}:00 to {hours[-1]:02}:{minutes[-1]:02}"
    if len(minutes) == 1 and _is_run(hours):
        past = f":{minutes[0]:02}"
        if len(hours) == 24:
            return "every hour" if minutes == [0] else f"every hour at {past}"
        return f"every hour from {hours[0]:02}{past} to {hours[-1]:02}{past}"
    if len(minutes) == 1 and (step := _step(hours, 24)):
        return f"every {step} hours from 00:{minutes[0]:02} on"
    if len(minutes) <= MOST and len(hours) == 24:
        return f"every hour at {_listed([f':{minute:02}' for minute in minutes])}"
    return ""


def _step(values: list[int], end: int) -> int:
    """Every how many of the hour (day) these are, from its beginning to its end; 0 when they are not."""
    step = values[1] - values[0] if len(values) > 1 else end
    return step if end % step == 0 and values == list(range(0, end, step)) else 0


def _is_run(values: Sequence[int]) -> bool:
    return values[-1] - values[0] == len(values) - 1


# --- days -------------------------------------------------------------------------------------------------------------


def _days(fields: CronSim) -> str:
    """``daily``, ``every Monday in March``, ``the 5th of each month``; empty for what has no plain words."""
    weekdays = {day % 7 if isinstance(day, int) else (day[0] % 7, day[1]) for day in fields.weekdays}
    any_day, any_weekday = {*range(1, 32)} <= set(fields.days), {*range(7)} <= weekdays
    months = [] if len(fields.months) == 12 else sorted(fields.months)
    if (any_day and any_weekday) or (not fields.day_and and (any_day or any_weekday)):
        return f"daily in {_named(months)}" if months else "daily"
    if any_weekday:
        return _of_month(fields.days, months)
    return _of_week(weekdays, months) if any_day else ""


def _of_week(weekdays: set[int | tuple[int, int]], months: list[int]) -> str:
    from_monday = sorted((day - 1) % 7 for day in weekdays if isinstance(day, int))
    if len(from_monday) == len(weekdays):
        names = [_WEEKDAYS[(day + 1) % 7] for day in from_monday]
        found = f"{names[0]} to {names[-1]}" if len(names) > 2 and _is_run(from_monday) else f"every {_listed(names)}"
        return f"{found} in {_named(months)}" if months else found
    nth = [day for day in weekdays if isinstance(day, tuple)]
    if len(weekdays) > 1:
        return ""
    [(day, number)] = nth
    found = f"the {_ORDINALS[number]} {_WEEKDAYS[day]} of {_month(months)}"
    return f"{found} that has one" if number == 5 else found


def _of_month(days: Collection[int], months: list[int]) -> str:
    if set(days) == {CronSim.LAST}:
        return f"the last day of {_month(months)}"
    numbers = sorted(days)
    if numbers[0] < 0:
        return ""
    if len(numbers) == len(months) == 1:
        return f"every {numbers[0]} {_named(months)}"
    is_rare = numbers[-1] > min(monthrange(_COMMON_YEAR, month)[1] for month in months or (2,))
    if is_rare and (months or len(numbers) > 1):
        return ""
    if len(numbers) > 2 and _is_run(numbers):
        return f"the {_ordinal(numbers[0])} to {_ordinal(numbers[-1])} of {_month(months)}"
    if len(numbers) > MOST:
        return ""
    found = f"the {_listed([_ordinal(number) for number in numbers])} of {_month(months)}"
    return f"{found} that has one" if is_rare else found


def _month(months: list[int]) -> str:
    return _named(months) if months else "each month"


def _named(months: list[int]) -> str:
    return _listed([_MONTHS[month - 1] for month in months])


def _ordinal(number: int) -> str:
    ending = "th" if number in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
