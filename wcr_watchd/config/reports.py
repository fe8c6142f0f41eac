"""Reports on a schedule: from tables to plans."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from wcr_watchd.config.faults import Faults
from wcr_watchd.config.maintenance import Coverage, Known, covering
from wcr_watchd.config.models import Texts, Timezone
from wcr_watchd.config.people import People, targets
from wcr_watchd.config.typed import named_tables
from wcr_watchd.core.errors import ScheduleError
from wcr_watchd.core.report import PERIODIC, Audience, ReportKind, ReportPlan
from wcr_watchd.kit.calendars import Cron, read_schedule
from wcr_watchd.kit.refused import RefusedError
from wcr_watchd.kit.week_hours import FULL_WEEKDAYS, WEEKDAYS

USUAL = {ReportKind.WEEKLY: "0 9 * * 1", ReportKind.MONTHLY: "0 9 1 * *", ReportKind.DRILL: "0 9 1 1,4,7,10 *"}
"""When a report is written that does not say when, as cron expressions: at 09:00 on the first day after its period."""

_WEEKLY = re.compile(r"\s*([A-Za-z]+)\s+(\d{1,2}):(\d{2})\s*")
_HINT = 'write "Mon 09:00", or a cron expression such as "0 9 1 * *"'


def _schedule(text: object) -> object:
    """``Mon 09:00`` or a cron expression, as a cron expression."""
    found = _WEEKLY.fullmatch(text) if isinstance(text, str) else None
    if found:
        day = found[1].lower()
        if day not in WEEKDAYS + FULL_WEEKDAYS or int(found[2]) > 23 or int(found[3]) > 59:
            raise RefusedError("is no weekday and time", _HINT)
        return f"{int(found[3])} {int(found[2])} * * {(WEEKDAYS.index(day[:3]) + 1) % 7}"
    try:
        read = read_schedule(text, "UTC") if isinstance(text, str) and len(text.split()) == 5 else None
    except ScheduleError as error:
        raise RefusedError(str(error), _HINT) from error
    if not isinstance(read, Cron):
        raise RefusedError("is no weekday and time", _HINT)
    return read.expression


Schedule = Annotated[
    str, BeforeValidator(_schedule), WithJsonSchema({"type": "string", "examples": ["Mon 09:00", "0 9 1 * *"]})
]


class ReportTable(Coverage):
    """A report of a week, a month or a quarter that is written on a schedule, kept, and sent to people."""

    kind: Literal["weekly", "monthly", "drill"] | None = None
    """What it covers: the last whole week or month, or as a drill what was rehearsed in the last whole quarter;
    default: its name, where that is one of the three."""
    schedule: Schedule | None = None
    """When it is written: "Mon 09:00", or a cron expression; default: at 09:00 on the day after its period."""
    timezone: Timezone | None = None
    """Time zone of the schedule and of the report; default: that of [watchd]."""
    audience: Literal["team", "stakeholders"] = "team"
    """For whom: stakeholders read how available each group was, and nothing of what is inside."""
    tell: Texts = ()
    """To whom it is sent: "channel:contact", "channel:schedule", or "channel"; it is also kept for the dashboard."""


def read_reports(
    faults: Faults, data: Mapping[str, Any], timezone: str, people: People, known: Known
) -> dict[str, ReportPlan]:
    """Read the section report; ``timezone`` is that of the daemon."""
    read = (
        (name, _plan(faults, name, table, timezone, people, known))
        for name, table in named_tables(faults, data, "report")
    )
    return {name: plan for name, plan in read if plan is not None}


def _plan(
    faults: Faults, name: str, table: Mapping[str, Any], timezone: str, people: People, known: Known
) -> ReportPlan | None:
    place = ("report", name)
    read = faults.validate(ReportTable, table, place)
    if read is None:
        return None
    word = read.kind or name
    if word not in PERIODIC:
        faults.add(place, "does not say what it covers", 'write kind = "weekly", kind = "monthly" or kind = "drill"')
        return None
    kind = ReportKind(word)
    matchers = covering(faults, place, read, known)
    if matchers is None:
        return None
    return ReportPlan(
        name=name,
        kind=kind,
        audience=Audience(read.audience),
        schedule=read.schedule or USUAL[kind],
        timezone=read.timezone or timezone,
        tell=targets(faults, people, (*place, "tell"), read.tell),
        matchers=matchers,
    )
