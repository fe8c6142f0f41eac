"""The pages of objectives, asked over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.web.access import access_for
from tests.web.test_web import Served, serve
from wcr_watchd.core.model import Severity
from wcr_watchd.core.objectives import DAY, Objective, stretches
from wcr_watchd.core.setup import OWN
from wcr_watchd.core.uptime import Uptime
from wcr_watchd.web.dashboard.objectives import bars, course, mark_of


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async for one in serve(access_for(), signed_in=True):
        yield one


async def test_every_objective_with_what_is_left_of_it(served: Served) -> None:
    other = Objective("<other>", ("mail",), 0.99)
    served.control.setup = replace(
        served.control.setup, objectives={**served.control.setup.objectives, "<other>": other}
    )
    status, page = await served.get("/objectives")
    assert status == 200
    assert "All objectives are kept" in page
    assert "99.9 % over 30 d" in page
    assert '<dt>up</dt><dd class="number">99.926 %</dd>' in page
    assert '<dt>with planned</dt><dd class="number">99.81 %</dd>' in page
    assert '<dt>unwatched</dt><dd class="number">2 d</dd>' in page
    assert '<dt>burn rate, 1 h</dt><dd class="number">0.42</dd>' in page
    assert "what we &lt;b&gt;promise&lt;/b&gt;" in page
    assert page.index(">shop<") < page.index("&lt;other&gt;"), "of what is not known nothing is known to be wrong"
    assert "nothing is known yet" in page


async def test_a_budget_that_goes_too_fast_is_said_first_with_its_incident(served: Served) -> None:
    host = served.control.state.incidents[41]
    for number, subject in (
        (50, "objective shop burns"),
        (51, "objective shop burns fast"),
        (52, "objective other burns"),
    ):
        severity = Severity.CRITICAL if "fast" in subject else Severity.WARNING
        served.control.state.incidents[number] = replace(
            host, id=number, check=OWN.name, subject=subject, severity=severity, summary="14.4 times too fast"
        )
    _, page = await served.get("/objectives")
    assert "The error budget of shop goes too fast" in page
    assert '<section class="card critical"' in page
    _, page = await served.get("/objectives/shop")
    assert "shop: the error budget goes too fast" in page
    assert '<a href="/incidents/51">Incident #51</a>: 14.4 times too fast' in page


async def test_without_objectives_the_page_says_what_they_are_for(served: Served) -> None:
    served.control.setup = replace(served.control.setup, objectives={})
    status, page = await served.get("/objectives")
    assert status == 200
    assert "<code>[objective.NAME]</code>" in page


async def test_one_objective_day_by_day(served: Served) -> None:
    status, page = await served.get("/objectives/shop")
    assert status == 200
    assert "shop: 31 % of the error budget is left" in page
    assert 'in the last 5 min</dt><dd class="number">no run' in page
    assert "each of the last 30 days: 26 as promised, 1 below it, 1 that used much of the budget, 2 not watched" in page
    assert page.count('<td class="fit"><time') == 30
    assert (await served.get("/objectives/none"))[0] == 404


async def test_the_api_has_the_days_too(served: Served) -> None:
    status, text = await served.get("/api/v1/objectives/shop/days")
    days = json.loads(text)["days"]
    assert (status, len(days), days[3]["availability"]) == (200, 30, None)
    assert days[-1]["left"] == pytest.approx(1 - sum(one["used"] for one in days))
    assert (await served.get("/api/v1/objectives/none/days"))[0] == 404


def test_the_drawing_shows_what_is_worse_higher_and_ends_at_what_is_left() -> None:
    objective = Objective("x", ("a",), 0.9)
    parts = [
        (number * DAY, (number + 1) * DAY, [Uptime(DAY - down, down) if down >= 0 else Uptime(unwatched=DAY)])
        for number, down in enumerate((0.0, 0.0, -1.0, 0.11 * DAY, 0.5 * DAY))
    ]
    days = stretches(objective, parts)
    assert [mark_of(one, 0.9) for one in days] == ["up", "up", "none", "warning", "critical"]
    assert bars(days, 0.9) == [
        ("up", "M0 16v-7h2v7z"),
        ("none", "M2 16v-2h1v2z"),
        ("warning", "M3 16v-12h1v12z"),
        ("critical", "M4 16v-16h1v16z"),
    ]
    assert course(days) == "M0 0L1 0.00 2 0.00 3 0.00 4 4.40 5 20.00", "no lower than nothing left"
