"""When what a check measures meets the limits that its rules foretell: for page, API and command line alike."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from wcr_watchd.core.forecast import FORESEEN, foreseen
from wcr_watchd.core.prospect import PAST, Prospect, prospect
from wcr_watchd.core.setup import Check
from wcr_watchd.core.thresholds import limits
from wcr_watchd.core.units import format_value
from wcr_watchd.core.view import View

HOURS = round(PAST / 3_600)
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
    courses = await view.store.courses(check.name, names, since=at - PAST, until=at, points=HOURS)

    def reckoned() -> list[Prospect]:
        return [
            prospect(limit, one.labels, one.value, [(point.at, point.mean) for point in points], at)
            for (limit, one), points in zip(wanted, courses, strict=True)
        ]

    return await asyncio.to_thread(reckoned)


def when(one: Prospect, at: float) -> str:
    """``in about 43 d (30 d to 70 d)``, seen from a time (epoch seconds)."""
    met = one.met
    if met is None:
        return "not known yet: two days of the past are needed"
    if told := met.told(at):
        return f"met {told}" if told == "already" else told
    if met.earliest is not None and met.earliest - at <= FORESEEN:
        return f"not at this growth; {foreseen(met.earliest - at)} at the earliest"
    return "not at this growth"


def limit_text(one: Prospect) -> str:
    """``> 20 GiB``."""
    return f"{'>' if one.rises else '<'} {format_value(one.limit, one.unit)}"
