"""A report, the pages and the API answer the same question with the same number: one week of the same records."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.core.world import check
from tests.reports.past import DAY, END, EVERY, HOUR, OUTAGE, fill
from tests.reports.past import wanted as a_wanted
from tests.reports.told import in_html
from tests.web.access import access_for
from tests.web.showcase import Showcase
from tests.web.test_web import Served, serve
from wcr_watchd.core.matchers import parse_matchers
from wcr_watchd.core.objectives import Objective
from wcr_watchd.core.report import Document
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.state import State
from wcr_watchd.reports.facts import gather
from wcr_watchd.reports.render import document
from wcr_watchd.runtime.objectives import ObjectiveWatch
from wcr_watchd.store.sqlite import SqliteStore

WEEK = 7 * DAY
NAMES = ("api", "site")
OBJECTIVE = Objective("promise", NAMES, 0.99, period=WEEK)
WORK = (OUTAGE[0] + HOUR, OUTAGE[1])
"""When the second hour of the outage was planned; see :mod:`tests.reports.past`."""


class Past(Showcase):
    """The daemon that has those records, at the end of the report's week."""

    def __init__(self, store: SqliteStore) -> None:
        super().__init__()
        checks = {name: replace(check(name), every=EVERY) for name in NAMES}
        self.setup = replace(self.setup, checks=checks, timezone="UTC", objectives={"promise": OBJECTIVE})
        self.specs = dict.fromkeys(checks, ())
        self.state = State()
        work = Silence("w", parse_matchers('check=~"api|site"'), *WORK, "ann", "", WORK[0], maintenance=True)
        self.state.silences["w"] = work
        self.store = store
        self.objectives = ObjectiveWatch(self, store, self)  # type: ignore[arg-type]

    def now(self) -> float:
        return END


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    await fill(tmp_path / "watchd.db")
    store = SqliteStore(tmp_path / "watchd.db")
    await store.open()
    async for one in serve(access_for(), control=Past(store), signed_in=True):
        yield one
    await store.close()


@pytest.fixture
def report(served: Served, tmp_path: Path) -> Document:
    known = a_wanted(tmp_path / "watchd.db")
    subjects = tuple(one for one in known.subjects if one.name in NAMES)
    return document(gather(replace(known, subjects=subjects, objectives=(OBJECTIVE,))))


async def answer(served: Served, path: str) -> Any:
    status, body = await served.get(f"/api/v1{path}")
    assert status == 200, body
    return json.loads(body)


async def test_the_api_has_the_values_of_the_report(served: Served, report: Document) -> None:
    known = json.loads(report.json)
    for told in known["checks"]:
        spans = (await answer(served, f"/checks/{told['name']}/availability"))["spans"]
        [week] = [one for one in spans if one["span"] == WEEK]
        assert week["share"] == pytest.approx(told["availability_without_maintenance"])
        assert week["share_with_planned"] == pytest.approx(told["availability"])
        assert week["down"] == pytest.approx(told["seconds_down"] - told["seconds_down_planned"])
        assert week["unwatched"] == pytest.approx(told["seconds_unmonitored"], abs=1e-6)
    [told] = known["objectives"]
    [row] = (await answer(served, "/objectives"))["objectives"]
    for name, in_report in (
        ("target", "target"),
        ("availability", "availability_without_maintenance"),
        ("availability_with_planned", "availability"),
        ("down", "seconds_down"),
        ("unwatched", "seconds_unmonitored"),
        ("budget_left", "budget_left"),
    ):
        assert row[name] == pytest.approx(told[in_report]), name
    assert row["incidents"] == len(known["incidents"])
    for name in ("mean_time_to_acknowledge", "mean_time_to_resolve", "mean_time_between_failures"):
        assert row[name] == known[name], name
    listed = (await answer(served, "/incidents?limit=100"))["incidents"]
    opened = {one["id"]: one["opened_at"] for one in listed}
    assert {one["id"] for one in known["incidents"]} <= opened.keys()


async def test_the_pages_have_the_words_of_the_report(served: Served, report: Document) -> None:
    page = in_html(report.html)
    [row] = [one for one in page if one.section == "Availability" and one.name == "api" and len(one.cells) > 2]
    status, shown = await served.get("/checks/api")
    assert status == 200
    [week] = [one for one in in_html(shown) if one.cells[0] == "7 days"]
    assert week.under("up") == row.under("Without planned")
    assert week.under("with planned") == row.under("With planned")
    [promise] = [one for one in page if one.section == "Objectives" and one.name == "promise"]
    status, shown = await served.get("/objectives")
    assert status == 200
    assert promise.under("Error budget") in shown
    assert promise.under("Without planned") in shown
    assert promise.under("Promised") in shown
    _, shown = await served.get("/incidents/7")
    [incident] = [one for one in page if one.name == "#7"]
    assert incident.under("Lasted") in shown
