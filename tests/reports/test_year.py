"""The monthly reports of a virtual year say of each error budget what the calendar and the outages make it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from tests.reports import year
from tests.reports.__main__ import TEAM, wanted
from tests.simulation.calendar_year import NEW_YORK, midnight
from wcr_watchd.core.report import ReportKind
from wcr_watchd.reports.facts import gather
from wcr_watchd.reports.render import document

HOUR, DAY = 3_600.0, 86_400.0
Spans = list[tuple[float, float]]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("year") / "watchd.db"
    asyncio.run(year.fill(path, [one for one in year.SUBJECTS if one.name in year.WEB]))
    return path


def hours(start: float, end: float) -> Iterator[float]:
    return (start + HOUR * number for number in range(round((end - start) / HOUR)))


def reckoned(begins: float, until: float, ends: float) -> tuple[float, float]:
    """Seconds down, and the share of the budget that is left, hour by hour."""
    outages = {(one.check, at) for one in year.outages() for at in hours(one.start, one.start + one.hours * HOUR)}
    work = {at for span in year.planned().spans for at in hours(*span)}
    known = [(check, at) for at in hours(begins, until) if at not in work for check in year.WEB]
    down = HOUR * sum(one in outages for one in known)
    return down, 1 - down / (0.001 * (HOUR * len(known) + len(year.WEB) * (ends - until)))


@pytest.mark.parametrize("month", range(1, 13))
def test_every_month_has_its_budget(records: Path, month: int) -> None:
    following = date(2028 + month // 12, month % 12 + 1, 1)
    asked = wanted(records, ReportKind.MONTHLY, TEAM, following.month, 1, following.year)
    told = {one["name"]: one for one in json.loads(document(gather(asked)).json)["objectives"]}
    until = midnight(following, NEW_YORK)
    spans = {
        "platform": (until - 30 * DAY, until),
        "agreement": (midnight(date(2028, month, 1), NEW_YORK), until),
        "bill": (midnight(date(2028, month, 15), NEW_YORK), midnight(following.replace(day=15), NEW_YORK)),
    }
    for name, (begins, ends) in spans.items():
        down, left = reckoned(begins, until, ends)
        assert told[name]["seconds_down"] == pytest.approx(down, abs=1.0), name
        assert told[name]["budget_left"] == pytest.approx(left, abs=1e-6), name
        assert told[name]["seconds_unmonitored"] == pytest.approx(0.0, abs=1.0), name
