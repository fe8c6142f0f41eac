"""The page of a check and the data of its charts, asked over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.web.access import SECRETS, access_for
from tests.web.showcase import NOW, SPECS, Showcase
from tests.web.test_web import Served, serve
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.model import Observation
from wcr_watchd.core.modifications import Mark
from wcr_watchd.core.protocols import Point
from wcr_watchd.core.silence import Matcher, Operator, Silence, Window
from wcr_watchd.web.dashboard import chart

HOUR = 3_600.0


class Weekly:
    """Two hours from every full day on."""

    def around(self, at: float) -> tuple[float, float] | None:
        start = at // 86_400 * 86_400
        return (start, start + 7_200) if at < start + 7_200 else None

    def after(self, at: float) -> object:
        start = -(-at // 86_400) * 86_400
        while True:
            yield start, start + 7_200
            start += 86_400


def api(operator: Operator = Operator.EQUAL) -> tuple[Matcher, ...]:
    return (Matcher("check", operator, "api"),)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    control = Showcase()
    control.troubled()
    async for one in serve(access_for(), control=control, signed_in=True):
        yield one


async def test_the_page_says_how_it_is_and_why(served: Served) -> None:
    status, page = await served.get("/checks/api")
    assert status == 200
    assert "</span>api is warning: response_time 1.61 s &gt; 1 s for 5 min</h1>" in page
    assert "response_time &gt; 1s for 5m until response_time &lt; 800ms" in page
    assert 'aria-label="dns 4 ms, connect 21 ms, tls 43 ms, first byte 1.4 s, transfer 142 ms"' in page
    assert "/checks/database" in page
    assert "/checks/site" in page
    assert "https://wiki.example.org/api" in page
    assert "[check.api]" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "style=" not in page


async def test_an_open_page_asks_for_its_head_alone(served: Served) -> None:
    status, head = await served.get("/checks/api/now")
    assert status == 200
    assert head.startswith('<div id="now">')
    assert "api is warning: response_time 1.61 s" in head
    assert "Availability" not in head
    assert (await served.get("/checks/nothing/now"))[0] == 404


async def test_availability_is_told_for_four_spans(served: Served) -> None:
    _, page = await served.get("/checks/api")
    rows = page.split('class="availability"')[1].split("</table>")[0]
    assert [words in rows for words in ("24 hours", "7 days", "30 days", "90 days")] == [True] * 4
    assert "100.000 %" not in rows.split("90 days")[1]


async def test_an_availability_is_never_rounded_up(served: Served) -> None:
    _, page = await served.get("/checks/api")
    last = page.split("90 days")[1].split("<strong>")[1].split(" %")[0]
    counted = await served.control.outcomes("api", since=NOW - 90 * 86_400, until=NOW)
    exact = 100 * sum(one.up / (one.up + one.down) for one in counted) / len(counted)
    assert 0 <= exact - float(last) < 0.001


async def test_a_check_without_a_result_has_a_page(served: Served) -> None:
    status, page = await served.get("/checks/mail")
    assert (status, "mail has no result yet" in page) == (200, True)


async def test_a_chart_has_columns_lines_and_marks(served: Served) -> None:
    served.control.setup = replace(served.control.setup, windows=(Window("nightly", Weekly(), api()),))  # type: ignore[arg-type]
    status, body = await served.get("/checks/api/chart?measurement=response_time&span=24h")
    data = json.loads(body)
    assert status == 200
    assert (data["until"], data["since"]) == (NOW, NOW - 86_400)
    assert [(one["value"], one["severity"]) for one in data["thresholds"]] == [(3.0, "critical"), (1.0, "warning")]
    (series,) = data["series"]
    assert len(data["times"]) == len(series["mean"]) == len(series["min"]) == len(series["max"]) == 113
    assert series["mean"].count(None) == 1, "the hole interrupts the line once"
    assert data["times"] == sorted(data["times"])
    kinds = {one["kind"]: one for one in data["marks"]}
    assert kinds["incident"]["url"].startswith("/incidents/")
    assert kinds["window"]["text"] == "maintenance nightly"
    assert [one["text"] for one in data["marks"] if one["kind"] == "change"] == [
        "release 4.2",
        "package openssl: 3.0.11 → 3.0.15",
    ]


async def test_a_change_that_goes_on_is_marked_until_now_and_settings_of_other_checks_are_not(served: Served) -> None:
    async def marks(since: float, until: float) -> tuple[Mark, ...]:
        return (
            Mark(NOW - 1_800, "change #7 release", None, 7),
            Mark(NOW - 900, "image web: a → b", noticed_by="box"),
            Mark(NOW - 600, "configuration check.mail.every: 1m → 5m", settings=("check.mail.every",)),
        )

    served.control.marks = marks
    _, body = await served.get("/checks/api/chart?measurement=response_time&span=1h")
    spans = [(one["from"] - NOW, one["until"] - NOW) for one in json.loads(body)["marks"] if one["kind"] == "change"]
    assert spans == [(-1_800, 0), (-900, -900)]


@pytest.mark.parametrize("span", ["1h", "6h", "7d", "30d", "1y"])
async def test_every_span_can_be_asked_for(served: Served, span: str) -> None:
    status, body = await served.get(f"/checks/api/chart?measurement=response_time&span={span}")
    assert (status, json.loads(body)["since"]) == (200, NOW - chart.SPANS[span])
    assert (await served.get(f"/checks/api?span={span}"))[0] == 200


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("measurement=nothing", 404, "there is no such measurement"),
        ("", 404, "there is no such measurement"),
        ("measurement=response_time&span=2h", 400, "there are 1h, 6h, 24h, 7d, 30d, 1y"),
        ("measurement=response_time&since=1&until=2", 400, "a minute to three years"),
        ("measurement=response_time&since=yesterday&until=2", 400, "is no time"),
        ("measurement=response_time&since=5", 400, "give since and until"),
    ],
)
async def test_what_a_chart_cannot_show_is_said(served: Served, query: str, status: int, said: str) -> None:
    answered, text = await served.get(f"/checks/api/chart?{query}")
    assert answered == status
    assert said in text


async def test_a_part_of_the_time_can_be_asked_for(served: Served) -> None:
    _, body = await served.get(f"/checks/api/chart?measurement=response_time&since={NOW - 2 * HOUR}&until={NOW + HOUR}")
    data = json.loads(body)
    assert (data["since"], data["until"]) == (NOW - 2 * HOUR, NOW)


async def test_a_measurement_with_labels_has_a_line_for_each(served: Served) -> None:
    disk = [one for one in served.control.latest["host"].measurements if one.name == "disk_used"]
    more = tuple(replace(disk[0], labels=(("mount", f"/{number}"),)) for number in range(12))
    served.control.latest["host"] = replace(served.control.latest["host"], measurements=more)
    _, body = await served.get("/checks/host/chart?measurement=disk_used")
    assert [one["name"] for one in json.loads(body)["series"]] == [f'mount="/{number}"' for number in range(8)]


async def test_a_chart_can_be_read_as_a_table(served: Served) -> None:
    _, page = await served.get("/checks/api?span=6h&figures=response_time")
    table = page.split('id="figures"')[1].split("</table>")[0]
    assert "response_time in the last 6 hours" in page
    assert table.count('<td class="quiet">') in range(20, 25)
    assert re.search(r"1\.\d+ s</td>", table), "the spike near the end"


def test_no_line_crosses_a_hole_and_rare_runs_are_none() -> None:
    at = [0.0, 60.0, 120.0, 900.0, 960.0]
    figure = chart.Figure((), [Point(one, 1, 1.0, 1.0, 1.0) for one in at])
    times, (columns,) = chart.table([figure], 60.0)
    assert times == [0, 60, 120, 121, 900, 960]
    assert columns == {"mean": [1.0, 1.0, 1.0, None, 1.0, 1.0]}
    daily = chart.Figure((), [Point(86_400.0 * one, 1, 1.0, 1.0, 1.0) for one in range(5)])
    assert chart.table([daily], 86_400.0)[0] == [86_400 * one for one in range(5)]


async def test_run_now_says_what_it_found(served: Served) -> None:
    status, page = await served.post("/checks/api/run")
    assert status == 200
    assert "Run now: up in 213 ms." in page


async def test_a_run_that_does_not_come_to_an_end_is_said(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(check: str) -> Observation:
        raise CommandError(f"{check} gave no result within 25 s; is the daemon overloaded?")

    monkeypatch.setattr(served.control, "run_now", never)
    status, page = await served.post("/checks/api/run")
    assert (status, "api gave no result within 25 s" in page) == (409, True)


async def test_a_silence_is_put_in_force_from_the_page(served: Served) -> None:
    status, _ = await served.post("/checks/api/silence", {"for": "2h", "comment": "known", "kind": "silence"})
    assert status == 303
    (made,) = served.control.state.silences.values()
    assert (made.matchers, made.ends_at, made.comment, made.maintenance) == (api(), NOW + 7_200, "known", False)
    _, page = await served.get("/checks/api")
    assert "Nobody is told now: silenced by operator" in page


async def test_a_wrong_silence_stays_in_the_form(served: Served) -> None:
    status, page = await served.post("/checks/api/silence", {"for": "two hours", "comment": "k<b>", "kind": "silence"})
    assert status == 400
    assert "write for example 2h" in page
    assert 'value="two hours"' in page
    assert "k&lt;b&gt;" in page


async def test_a_viewer_reads_and_has_no_buttons(served: Served) -> None:
    async for one in serve(access_for(), control=served.control):
        viewer = {"Authorization": f"Bearer {SECRETS['viewer']}"}
        status, page = await one.get("/checks/api", **viewer)
        assert (status, "/checks/api/run" in page, "Runbook" in page) == (200, False, True)
        assert (await one.post("/checks/api/run", **viewer))[0] == 403


async def test_silences_that_are_over_are_marked_where_they_were(served: Served) -> None:
    over = Silence("s1", api(), NOW - 7_200, NOW - 3_600, "ann", "", NOW - 7_200)
    served.control.state.silences["s1"] = over
    _, body = await served.get("/checks/api/chart?measurement=response_time&span=6h")
    (mark,) = [one for one in json.loads(body)["marks"] if one["kind"] == "window"]
    assert (mark["text"], mark["from"], mark["until"]) == ("silenced by ann", NOW - 7_200, NOW - 3_600)
    assert SPECS[0].name in body
