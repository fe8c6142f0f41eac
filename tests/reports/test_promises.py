"""What was promised and what would be lost, over days that are no 24 hours, and periods that begin within an hour."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from wcr_watchd.core.model import Measurement, Observation, Outcome
from wcr_watchd.core.objectives import DAY, Objective
from wcr_watchd.core.protocols import Batch
from wcr_watchd.core.report import Audience, Document, Planned, ReportKind, Subject, Wanted, period
from wcr_watchd.reports.facts import gather
from wcr_watchd.reports.render import document
from wcr_watchd.store.sqlite import SqliteStore

HOUR = 3_600.0
EVERY = 600.0
EXPOSED = (("exposure", "seconds"), ("objective", "seconds"))
RESTORED = (("restore_time", "seconds"), ("objective_used", "ratio"))
SUBJECTS = (
    Subject("api", "http", "Web", (), "ann", "", EVERY, (), ()),
    Subject("site", "http", "Web", (), "", "site-is-down", EVERY, (), ()),
    Subject("lost", "recovery_point", "", (), "ann", "restore", EVERY, (), EXPOSED),
    Subject("gone", "recovery_point", "", (), "ann", "restore", EVERY, (), EXPOSED),
    Subject("back", "restore", "", (), "ann", "restore", EVERY, (), RESTORED),
)
OBJECTIVES = (
    Objective("web", ("api", "site"), 0.99, 30 * DAY, comment="what visitors may expect"),
    Objective("strict", ("api",), 0.9999, 30 * DAY),
)


def at(text: str, zone: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def runs(begin: float, end: float, is_down: Callable[[float], bool]) -> Iterator[Observation]:
    now = begin
    while now < end:
        outcome = Outcome.DOWN if is_down(now) else Outcome.UP
        yield Observation("api", "here", now, 0.1, outcome, "", "")
        yield Observation("site", "here", now + 1, 0.1, Outcome.UP, "", "")
        lost = (Measurement("exposure", 7_200.0), Measurement("objective", 3_600.0))
        yield Observation("lost", "here", now + 2, 0.1, Outcome.UP, "", "", lost)
        yield Observation("gone", "here", now + 3, 0.1, Outcome.DOWN, "", "nothing could be restored")
        back = (Measurement("restore_time", 900.0), Measurement("objective_used", 0.5))
        yield Observation("back", "here", now + 4, 0.1, Outcome.UP, "", "", back)
        now += EVERY


async def written(
    path: Path,
    zone: str,
    now: str,
    is_down: Callable[[float], bool] = lambda when: False,
    kind: ReportKind = ReportKind.WEEKLY,
    planned: tuple[Planned, ...] = (),
) -> tuple[Wanted, dict[str, Any], Document]:
    """The report on schedule at that time, of records of five weeks."""
    before, since, until = period(kind, zone, at(now, zone), whole=True)
    store = SqliteStore(path)
    await store.open()
    day = (until - 35 * DAY) // DAY * DAY
    while day < until + DAY:
        await store.commit(Batch(observations=tuple(runs(day, day + DAY, is_down))))
        day += DAY
        await store.prune(day)
    await store.close()
    times = (at(now, zone), before, since, until)
    wanted = Wanted(kind.value, kind, Audience.TEAM, "prod", "here", zone, "", str(path), *times, SUBJECTS, planned)
    wanted = replace(wanted, objectives=OBJECTIVES)
    found = document(gather(wanted))
    return wanted, json.loads(found.json), found


def of(found: dict[str, Any], part: str, name: str) -> dict[str, Any]:
    one: dict[str, Any] = next(one for one in found[part] if one["name"] == name)
    return one


@pytest.mark.parametrize(
    ("zone", "now", "hours"),
    [
        ("America/New_York", "2026-11-02 09:00", 169),  # the clocks went back on Sunday
        ("America/New_York", "2026-03-09 09:00", 167),
        ("Asia/Kolkata", "2026-11-02 09:00", 168),  # midnight is at half past six (UTC)
    ],
)
async def test_a_week_is_reckoned_to_the_run_however_long_its_days_are(
    tmp_path: Path, zone: str, now: str, hours: int
) -> None:
    """By hand: its first two hours are down, with one before, and the last two of Sunday, with one beyond."""
    _, since, until = period(ReportKind.WEEKLY, zone, at(now, zone), whole=True)

    def is_down(when: float) -> bool:
        return since - HOUR <= when < since + 2 * HOUR or until - 2 * HOUR <= when < until + HOUR

    wanted, found, _ = await written(tmp_path / "w.db", zone, now, is_down)
    assert wanted.until - wanted.since == hours * HOUR
    api = of(found, "checks", "api")
    assert api["seconds_down"] == pytest.approx(4 * HOUR, abs=1)
    assert api["seconds_unmonitored"] == pytest.approx(0.0, abs=1)
    assert api["availability"] == pytest.approx(1 - 4 / hours)
    days = [one.share for one in next(one for one in gather(wanted).checks if one.subject.name == "api").days]
    assert days == pytest.approx([22 / 24, 1, 1, 1, 1, 1, 1 - 2 / (hours - 144)], abs=1e-4), "each by its own hours"


async def test_what_was_promised_stands_in_every_form_of_the_report(tmp_path: Path) -> None:
    """The budget over thirty days until the end of the week; what was planned does not cost it."""
    until = at("2026-11-30 00:00", "UTC")
    outages = [(until - days * DAY, until - days * DAY + 2 * HOUR) for days in (2, 9, 28)]
    work = (until - 3 * DAY, until - 3 * DAY + 4 * HOUR)
    planned = (Planned("weekly", ("api",), (work,)),)

    def is_down(when: float) -> bool:
        return any(start <= when < end for start, end in (*outages, work))

    _, found, told = await written(tmp_path / "w.db", "UTC", "2026-11-30 09:00", is_down, planned=planned)
    web, strict = (of(found, "objectives", name) for name in ("web", "strict"))
    assert web["seconds_down"] == pytest.approx(6 * HOUR, abs=1)
    assert web["budget_left"] == pytest.approx(1 - 6 * HOUR / (0.01 * (60 * DAY - 4 * HOUR)), abs=1e-3)
    assert strict["budget_left"] == pytest.approx(1 - 6 * HOUR / (0.0001 * (30 * DAY - 4 * HOUR)), rel=1e-3)
    assert strict["availability"] == pytest.approx(1 - 10 * HOUR / (30 * DAY), abs=1e-5)
    for text in (told.text, told.mail, told.html):
        assert "strict" in text
        assert "99.99 %" in text
        assert "58.2 % left" in text
        assert "used up, and " in text
    assert "(98.78 % without planned maintenance)" in told.text
    assert "98.78 % without planned maintenance" in told.mail
    assert "the error budget of strict is gone, 6 h down in 30 d have used it up" in told.text


async def test_it_recommends_what_would_be_lost_and_what_nobody_is_prepared_for(tmp_path: Path) -> None:
    wanted, found, _ = await written(tmp_path / "w.db", "UTC", "2026-11-01 09:00", kind=ReportKind.MONTHLY)
    said = found["advice"]
    assert "Back up more often: by lost 2 h of work could have been lost, the recovery point objective is 1 h" in said
    assert "Make a backup and read it back: gone found nothing that can be restored" in said
    assert not any("of back" in one for one in said), "that one keeps to its objective"
    assert "Write down a runbook before it is needed: api" in said
    assert "Write down an owner before it is needed: site" in said
    met = [(one["check"], one["worst"], one["objective"], one["is_met"]) for one in found["recovery"]]
    assert met == [("lost", 7_200, 3_600, False), ("gone", None, None, True), ("back", 900, 1_800, True)]
    weekly = replace(wanted, kind=ReportKind.WEEKLY)
    assert not any(one.startswith("Without") for one in json.loads(document(gather(weekly)).json)["advice"])
