"""What comes, in words: when something is full, how much it will be, and whether a budget will do."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from wcr_watchd.core.forecast import Reach
from wcr_watchd.core.report import Wanted
from wcr_watchd.core.units import Unit, format_part, format_value
from wcr_watchd.reports.ahead import Forecast
from wcr_watchd.reports.costs import Cost
from wcr_watchd.reports.months import Growth


def when_met(met: Reach | None, until: float) -> str:
    """When something is met, with the interval, or ``already``; empty when that is years away or not known."""
    return met.told(until) if met is not None else ""


def of_growth(value: float, growth: Growth) -> str:
    """A quantity as the resource has it: ``62.1 %``, ``4.1 GiB``."""
    return format_part(value) if growth.unit == Unit.RATIO else format_value(value, Unit(growth.unit))


def in_three_months(one: Forecast) -> str:
    """``66 % (60 % to 75 %)``; empty where too little is known to tell."""
    if one.ahead is None:
        return ""
    expected, low, high = (
        of_growth(value, one.growth) for value in (one.ahead.expected, one.ahead.low, one.ahead.high)
    )
    return expected + (f" ({low} to {high})" if low != high else "")


def limit_met(one: Forecast, until: float) -> str:
    """``full in about 40 d (31 d to 55 d)``, ``at 50 GiB already``; empty without a limit, or with too little known."""
    if one.limit is None or one.met is None:
        return ""
    said = "full" if one.growth.unit == Unit.RATIO else f"at {of_growth(one.limit, one.growth)}"
    said += " at the busiest hour" if one.comes_and_goes else ""
    when = when_met(one.met, until)
    return f"{said} {when}" if when else f"not {said} within 2 years"


def forecast_words(one: Forecast | None, until: float) -> str:
    """Both as the rest of a sentence: ``; in 3 months about 66 % (60 % to 75 %); full in about …``."""
    if one is None:
        return ""
    months = in_three_months(one)
    average = " on average" if one.comes_and_goes else ""
    parts = [f"in 3 months about {months}{average}" if months else "", limit_met(one, until)]
    return "".join(f"; {part}" for part in parts if part)


# --- costs ------------------------------------------------------------------------------------------------------------


def money(value: float) -> str:
    """``1 234.50``: an amount in the currency of whoever counts it."""
    return f"{value:,.2f}".replace(",", " ")


def spent(one: Cost) -> str:
    """``October 2026 148.30, November 2026 153.00``; else ``80.00 at first, 95.00 at last``."""
    if not one.month:
        return f"{money(one.first)} at first, {money(one.last)} at last"
    said = [f"{month_name(month)} {money(total)}" for month, total in one.sums]
    return ", ".join(said) if said else f"{money(one.last)} so far"


def to_come(one: Cost, wanted: Wanted) -> str:
    """``December 2026 about 158.10 (150.00 to 166.20), below 175``; empty where too little is known to tell."""
    if one.foreseen is None:
        return budget(one, wanted)
    expected, low, high = (money(value) for value in (one.foreseen.expected, one.foreseen.low, one.foreseen.high))
    said = f"{month_name(one.month) if one.month else 'in 3 months'} about {expected}"
    said += f" ({low} to {high})" if low != high else ""
    return ", ".join(filter(None, (said, budget(one, wanted))))


def budget(one: Cost, wanted: Wanted) -> str:
    """Whether the limit will do, and until when: ``passes 140 about 27 Dec (25 Dec to 30 Dec)``."""
    if one.limit is None:
        return ""
    limit, found = f"{one.limit:g}", one.foreseen
    if not one.month or found is None:
        when = when_met(one.met, wanted.until)
        return f"{limit} {when}" if when else f"not at {limit} within 2 years"
    if one.met is not None and one.met.expected is not None and one.met.expected <= found.at:
        edges = [one.met.earliest, one.met.latest]
        first, last = (_day(at, wanted) if at is not None and at <= found.at else "not this month" for at in edges)
        return f"passes {limit} about {_day(one.met.expected, wanted)}" + (
            f" ({first} to {last})" if first != last else ""
        )
    if found.expected > one.limit:
        return f"above {limit} already"
    return f"may pass {limit}" if found.high > one.limit else f"below {limit}"


def month_name(month: str) -> str:
    """``December 2026`` for ``2026-12``, ``month from 15 December 2026`` for ``2026-12-15``."""
    if month.count("-") > 1:
        return f"month from {datetime.fromisoformat(month):%-d %B %Y}"
    return f"{datetime.strptime(month, '%Y-%m'):%B %Y}"  # noqa: DTZ007 - a month has no zone


def _day(at: float, wanted: Wanted) -> str:
    return f"{datetime.fromtimestamp(at, ZoneInfo(wanted.timezone)):%-d %b}"


def as_json(one: Forecast) -> dict[str, Any]:
    """A forecast for the JSON form."""
    return {
        "check": one.growth.check,
        "name": one.growth.name,
        "labels": one.growth.labels,
        "unit": one.growth.unit,
        "mean": one.growth.mean,
        "now": one.now,
        "in_three_months": asdict(one.ahead) if one.ahead else None,
        "limit": one.limit,
        "limit_met": asdict(one.met) if one.met else None,
    }
