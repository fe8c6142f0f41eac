"""The same history is the same number: objectives, the page of a check, reports; and how the status page differs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.reports.past import SUBJECTS
from tests.reports.past import wanted as a_wanted
from tests.runtime.test_objectives import World
from tests.store.samples import an_incident, an_observation
from wcr_watchd.core.matchers import parse_matchers
from wcr_watchd.core.model import IncidentState, Outcome
from wcr_watchd.core.objectives import Objective
from wcr_watchd.core.protocols import Batch
from wcr_watchd.core.report import Planned
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.status import ShownFrom, Together
from wcr_watchd.core.status_days import Course, day_bars, troubles, watched
from wcr_watchd.core.status_days import uptime as published
from wcr_watchd.core.uptime import Span, Uptime, uptime
from wcr_watchd.reports.facts import gather
from wcr_watchd.runtime.objectives import ObjectiveWatch
from wcr_watchd.store.sqlite import SqliteStore
from wcr_watchd.store.upkeep import Retention

HOUR, DAY = 3_600.0, 86_400.0
BEGIN = 1_795_392_000.0
"""2026-11-23 in UTC."""
END = BEGIN + 2 * DAY
EVERY = 300.0
DOWN = (BEGIN + 10 * HOUR, BEGIN + 13 * HOUR)
PLANNED = (BEGIN + 12 * HOUR, BEGIN + 14 * HOUR)
UNKNOWN = (BEGIN + 20 * HOUR, BEGIN + 22 * HOUR)
MISSING = (BEGIN + 30 * HOUR, BEGIN + 35 * HOUR)
BLIP = BEGIN + 40 * HOUR
"""One run failed, and the next one did not."""
CONFIRMED = 2 * EVERY
"""Three failed runs make an outage."""


def outcome(at: float) -> Outcome:
    if DOWN[0] <= at < DOWN[1] or at == BLIP:
        return Outcome.DOWN
    return Outcome.UNKNOWN if UNKNOWN[0] <= at < UNKNOWN[1] else Outcome.UP


@pytest.fixture
async def records(tmp_path: Path) -> Path:
    path = tmp_path / "watchd.db"
    store = SqliteStore(path)
    await store.open()
    times = [BEGIN + number * EVERY for number in range(int(2 * DAY / EVERY))]
    runs = [an_observation("api", at, outcome(at)) for at in times if not MISSING[0] <= at < MISSING[1]]
    await store.commit(Batch(observations=tuple(runs)))
    for _ in range(4):
        await store.prune(END + 3 * HOUR)
    await store.close()
    return path


async def by_objectives(path: Path, planned: Span = PLANNED, every: float = EVERY) -> tuple[Uptime, float | None]:
    """What the check's page shows, and what an objective counts: both ask the store and the core."""
    store = SqliteStore(path)
    await store.open()
    world = World()
    check = replace(world.setup.checks["api"], every=every)
    objective = Objective("api", ("api",), 0.99, period=END - BEGIN)
    world.setup = Setup("prod", "here", "UTC", "", {"api": check}, objectives={"api": objective})
    world.at = END
    work = Silence("s", parse_matchers("check=api"), *planned, "ann", "", planned[0], maintenance=True)
    world.state.silences["s"] = work
    budget = await ObjectiveWatch(world, store, world).budget(objective)
    outcomes = await store.outcomes("api", since=BEGIN, until=END, cuts=planned)
    await store.close()
    return uptime(outcomes, every, BEGIN, END, [planned]), budget.availability


def by_report(path: Path, planned: Span = PLANNED, every: float = EVERY) -> Uptime:
    subject = replace(SUBJECTS[0], every=every)
    wanted = replace(
        a_wanted(path),
        before=BEGIN - 2 * DAY,
        since=BEGIN,
        until=END,
        subjects=(subject,),
        planned=(Planned("weekly", ("api",), (planned,)),),
    )
    [facts] = gather(wanted).checks
    return facts.uptime


async def by_status_page(path: Path) -> float | None:
    store = SqliteStore(path)
    await store.open()
    outcomes = await store.outcomes("api", since=BEGIN, until=END)
    await store.close()
    opened = an_incident(1, "api", DOWN[0] + CONFIRMED, rule="down", state=IncidentState.RESOLVED, resolved_at=DOWN[1])
    course = Course(watched(outcomes, EVERY, END), troubles([opened], ShownFrom.WARNING, END))
    return published(day_bars([course], Together.WORST, [PLANNED], "UTC", 3, END))


async def test_objectives_check_page_and_reports_say_the_same(records: Path) -> None:
    on_page, by_budget = await by_objectives(records)
    in_report = by_report(records)
    expected = Uptime(
        up=48 * HOUR - 2 * HOUR - EVERY - 2 * HOUR - 2 * HOUR - 5 * HOUR,
        down=2 * HOUR + EVERY,
        planned_up=HOUR,
        planned_down=HOUR,
        unwatched=7 * HOUR,
    )
    for found in (on_page, in_report):
        assert (found.up, found.down, found.planned_up, found.planned_down, found.unwatched) == pytest.approx(
            (expected.up, expected.down, expected.planned_up, expected.planned_down, expected.unwatched)
        )
    assert by_budget == pytest.approx(expected.share) == pytest.approx(in_report.share)


@pytest.mark.parametrize(("raw", "fine", "off"), [(7, 60, 0.0), (1, 60, 150.0), (1, 1, 900.0)], ids=str)
async def test_what_planned_work_takes_down_costs_no_budget(tmp_path: Path, raw: int, fine: int, off: float) -> None:
    """Twenty minutes of announced work, down in all of them, and three of an outage ten minutes after it.

    To the run while single runs are kept, by five minutes for two months; an hour's share says little of either.
    """
    path, every = tmp_path / "watchd.db", 30.0
    work = (BEGIN + 12 * HOUR + 7 * 60.0 + 20.0, BEGIN + 12 * HOUR + 27 * 60.0 + 20.0)
    outage = (work[1] + 600.0, work[1] + 780.0)
    store = SqliteStore(path)
    await store.open()
    times = [BEGIN + number * every for number in range(int(2 * DAY / every))]
    down = [Outcome.DOWN if any(start <= at < end for start, end in (work, outage)) else Outcome.UP for at in times]
    runs = [an_observation("api", at, found) for at, found in zip(times, down, strict=True)]
    await store.commit(Batch(observations=tuple(runs)))
    for _ in range(4):
        await store.prune(END + 2 * DAY)
    await store.close()
    later = SqliteStore(path, retention=Retention(raw, fine, 400, 400))
    await later.open()
    for _ in range(12):
        await later.prune(END + 2 * DAY)
    await later.close()
    on_page, by_budget = await by_objectives(path, work, every)
    in_report = by_report(path, work, every)
    for found in (on_page, in_report):
        assert found.down == pytest.approx(180.0, abs=every + off)
        assert found.planned_down == pytest.approx(1200.0, abs=every + off)
        assert found.unwatched == pytest.approx(0.0, abs=1.0)
    assert by_budget == pytest.approx(in_report.share) == pytest.approx(on_page.share)
    assert (on_page.down, on_page.planned_down) == pytest.approx((in_report.down, in_report.planned_down))


async def test_the_status_page_is_apart_by_what_was_not_confirmed(records: Path) -> None:
    in_report = by_report(records)
    assert in_report.share is not None
    shown = await by_status_page(records)
    unconfirmed = CONFIRMED + EVERY  # until the outage was one, and the blip that never was
    assert shown == pytest.approx(in_report.share + unconfirmed / (in_report.up + in_report.down))


async def test_the_hour_that_goes_on_is_reckoned_as_on_the_page_of_the_check(tmp_path: Path) -> None:
    """A run a minute for 23 minutes; one fails, and two more confirm that."""
    path, now = tmp_path / "watchd.db", END + 23 * 60.0
    store = SqliteStore(path)
    await store.open()
    times = [END - HOUR + 60.0 * number for number in range(83)]
    runs = [an_observation("api", at, Outcome.DOWN if at == END + 600 else Outcome.UP) for at in times]
    confirming = [an_observation("api", END + 600 + later, Outcome.DOWN) for later in (5.0, 10.0)]
    await store.commit(Batch(observations=(*runs, *confirming)))
    on_page = uptime(await store.outcomes("api", since=END, until=now), 60.0, END, now, ())
    await store.close()
    subject = replace(SUBJECTS[0], every=60.0)
    wanted = replace(a_wanted(path), before=END - DAY, since=END, until=now, subjects=(subject,), planned=())
    [facts] = gather(wanted).checks
    assert on_page.down == pytest.approx(60.0, rel=0.05)
    assert (facts.uptime.up, facts.uptime.down) == pytest.approx((on_page.up, on_page.down))
