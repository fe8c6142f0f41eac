"""When what a check measures meets the limits that its rules foretell: for page, API and command line alike."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from wcr_watchd.core.forecast import FORESEEN, foreseen
from wcr_watchd.core.local_time import local_time
from wcr_watchd.core.prospect import WEEKS_PAST, Monthly, Prospect, prospect
from wcr_watchd.core.protocols import Point
from wcr_watchd.core.setup import Check
from wcr_watchd.core.spending import COST_TAG, DAY, Bill, was_emptied
from wcr_watchd.core.spending import PAST as MONTHS_PAST
from wcr_watchd.core.thresholds import limits
from wcr_watchd.core.units import format_value
from wcr_watchd.core.view import View

HOURS = round(WEEKS_PAST / 3_600)
DAYS = round(MONTHS_PAST / DAY)
MOST = 100
"""Series of one check that are looked at: a machine has many disks."""


async def prospects(view: View, check: Check) -> Sequence[Prospect]:
    """Each series of the newest result that a rule has a forecast of, with the date at which it meets that limit."""
    latest, at = view.latest.get(check.name), view.now()
    wanted = [
        (limit, one)
        for limit in limits(check.rules)
        for one in (latest.measurements if latest else ())
        if one.name == limit.series.name and limit.series.matches(one.labels)
    ][:MOST]
    if not wanted:
        return ()
    names = [(one.name, one.labels) for _, one in wanted]
    courses = await view.store.courses(check.name, names, since=at - WEEKS_PAST, until=at, points=HOURS)
    is_cost, bill = COST_TAG in check.tags, Bill(view.setup.timezone, check.month_begins)
    may = [
        number
        for number, ((limit, _), points) in enumerate(zip(wanted, courses, strict=True))
        if is_cost or not limit.rises or was_emptied([point.mean for point in points])
    ]
    months = await view.store.courses(
        check.name, [names[number] for number in may], since=at - MONTHS_PAST, until=at, points=DAYS
    )
    days = dict(zip(may, months, strict=True))

    def reckoned() -> list[Prospect]:
        return [
            prospect(
                limit,
                one.labels,
                one.value,
                [(point.at, point.mean) for point in points],
                at,
                Monthly(_days(days[number], at, rises=limit.rises), bill, is_cost) if number in days else None,
            )
            for number, ((limit, one), points) in enumerate(zip(wanted, courses, strict=True))
        ]

    return await asyncio.to_thread(reckoned)


def _days(points: Sequence[Point], at: float, *, rises: bool) -> list[tuple[float, float]]:
    """The highest value of each day that ends with ``at``, or the lowest, at the end of the day."""
    return [(at - (at - point.at) // DAY * DAY, point.maximum if rises else point.minimum) for point in points]


def when(one: Prospect, at: float, timezone: str) -> str:
    """``in about 43 d (30 d to 70 d)``, seen from a time (epoch seconds); dates are those of the time zone."""
    met = one.met
    if met is None:
        return "not known yet: two days of the past are needed"
    if told := met.told(at, never="never" if one.begins_again is None else "not this month"):
        return f"met {told}" if told == "already" else told
    said = "not at this growth"
    if one.begins_again is not None:
        said = f"not before it begins again on {local_time(one.begins_again, ZoneInfo(timezone)):%-d %B}"
    if met.earliest is not None and met.earliest - at <= FORESEEN:
        return f"{said}; {foreseen(met.earliest - at)} at the earliest"
    return said


def limit_text(one: Prospect) -> str:
    """``> 20 GiB``."""
    return f"{'>' if one.rises else '<'} {format_value(one.limit, one.unit)}"
