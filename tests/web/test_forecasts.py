"""When what rules foretell meets their limits: on the page of a check and in the API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.web.access import access_for
from tests.web.showcase import SPECS
from tests.web.test_web import Served, serve
from wcr_watchd.core.model import Severity
from wcr_watchd.core.rules import parse_rule


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async for one in serve(access_for(), signed_in=True):
        rule = parse_rule("forecast(disk_used, 7d) > 100% for 1h", Severity.INFO, SPECS)
        checks = one.control.setup.checks
        host = replace(checks["host"], rules=(*checks["host"].rules, rule))
        one.control.setup = replace(one.control.setup, checks={**checks, "host": host})
        yield one


async def test_the_page_of_a_check_says_when_its_disks_are_full(served: Served) -> None:
    status, page = await served.get("/checks/host")
    assert status == 200
    assert "When it is full at this growth" in page
    assert '<td class="number">&gt; 100 %</td><td>in about ' in page


async def test_a_check_without_forecasts_says_nothing_of_them(served: Served) -> None:
    _, page = await served.get("/checks/api")
    assert "at this growth" not in page


async def test_the_api_has_the_dates(served: Served) -> None:
    status, text = await served.get("/api/v1/forecasts")
    assert status == 200
    rows = json.loads(text)["forecasts"]
    assert {row["check"] for row in rows} == {"host"}
    row = rows[0]
    assert row["measurement"] == "disk_used"
    assert (row["symbol"], row["limit"], row["unit"], row["known"]) == (">", 1.0, "ratio", True)
    assert row["earliest"] <= row["expected"] <= row["latest"]
    assert row["when"].startswith("in about ")
    assert row["begins_again"] is None
    assert json.loads((await served.get("/api/v1/forecasts?check=host"))[1])["forecasts"] == rows
    assert json.loads((await served.get("/api/v1/forecasts?check=api"))[1])["forecasts"] == []
    assert (await served.get("/api/v1/forecasts?check=none"))[0] == 404
    assert (await served.get("/api/v1/forecasts?limit=none"))[0] == 422
