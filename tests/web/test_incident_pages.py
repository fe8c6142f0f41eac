"""The list of incidents and the page of one, asked over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.web.access import SECRETS, access_for
from tests.web.showcase import NOW, Showcase
from tests.web.test_web import Served, serve
from wcr_watchd.core.model import IncidentState, Severity
from wcr_watchd.web.dashboard import incidents

DAY = 86_400.0


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    control = Showcase()
    control.troubled()
    api = control.state.incidents[42]
    for number in range(1, 40):
        at = NOW - (41 - number) * DAY
        control.old.append(
            replace(
                api,
                id=number,
                state=IncidentState.RESOLVED,
                opened_at=at,
                resolved_at=at + 60 * number,
                summary=f"GET http://localhost:5001/health answered {500 + number}",
            )
        )
    async for one in serve(access_for(), control=control, signed_in=True):
        yield one


async def test_the_list_shows_all_newest_first_and_goes_on(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incidents, "AT_A_TIME", 10)
    status, page = await served.get("/incidents?check=api")
    assert status == 200
    assert page.index("#42") < page.index("#39")
    assert "#30<" not in page
    assert 'href="?check=api&amp;before=31"' in page
    _, older = await served.get("/incidents?check=api&before=31")
    assert "#30<" in older
    assert 'href="?check=api">Newest' in older


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=open", (None, (IncidentState.OPEN,), Severity.OK, "")),
        ("severity=warning&text=Disk", (None, (), Severity.WARNING, "Disk")),
        ("check=gone", (frozenset({"gone"}), (), Severity.OK, "")),
        ("group=production", (frozenset({"site", "api", "database"}), (), Severity.OK, "")),
        ("tag=shop&group=production", (frozenset({"api"}), (), Severity.OK, "")),
        ("tag=nobody", (frozenset(), (), Severity.OK, "")),
    ],
)
async def test_the_form_narrows(served: Served, query: str, expected: tuple[object, ...]) -> None:
    assert (await served.get(f"/incidents?{query}"))[0] == 200
    asked = served.control.wanted[-1]
    assert (asked.checks, asked.states, asked.severity, asked.text) == expected


async def test_a_day_is_one_of_the_platform_and_the_last_one_is_whole(served: Served) -> None:
    await served.get("/incidents?since=2026-11-01&until=2026-11-02")
    asked = served.control.wanted[-1]
    assert (asked.until - asked.since) == 2 * DAY + 3_600, "the night on which the clock is set back"


@pytest.mark.parametrize("query", ["state=broken", "severity=awful", "since=yesterday", "before=x"])
async def test_what_cannot_be_asked_is_said(served: Served, query: str) -> None:
    status, page = await served.get(f"/incidents?{query}")
    assert status == 400
    assert 'role="alert"' in page


async def test_nothing_found_says_so(served: Served) -> None:
    _, page = await served.get("/incidents?tag=nobody")
    assert "No incident is like that." in page


async def test_the_page_tells_likely_causes(served: Served) -> None:
    database = replace(
        served.control.state.incidents[42], id=40, check="database", opened_at=NOW - 760, summary="connection refused"
    )
    served.control.state.incidents[40] = database
    _, page = await served.get("/incidents/42")
    causes = page.split("Likely cause")[1].split("</ul>")[0]
    assert "api depends on database, which had trouble 1 min before: connection refused" in causes
    assert '<a href="/incidents/40">#40</a>' in causes
    assert "package openssl: 3.0.11 → 3.0.15" in causes
    assert causes.index("database") < causes.index("openssl")


async def test_earlier_ones_are_told_with_their_ends(served: Served) -> None:
    _, page = await served.get("/incidents/42")
    earlier = page.split("Earlier ones of this kind")[1].split("<h2")[0]
    assert "#39" in earlier
    assert "in the same words" in earlier
    assert "It came 40 times in 90 days." in earlier
    assert "after 39 min" in earlier


async def test_what_is_pressed_is_done_and_leads_back(served: Served) -> None:
    status, _ = await served.post("/incidents/42/acknowledge", {"for": "2h", "sticky": "yes"})
    assert status == 303
    assert served.control.asked[-1] == ("acknowledge", 42, "operator", NOW + 7_200, True)
    await served.post("/incidents/42/assign", {"owner": "ben"})
    assert served.control.asked[-1] == ("assign", 42, "ben", "operator")
    await served.post("/incidents/42/note", {"text": "looking"})
    assert served.control.asked[-1] == ("note", 42, "operator", "looking")


async def test_what_cannot_be_done_is_said_on_the_page(served: Served) -> None:
    status, page = await served.post("/incidents/42/acknowledge", {"for": "soon"})
    assert (status, "write for example 2h" in page) == (400, True)
    served.control.old.append(replace(served.control.state.incidents.pop(42)))
    status, page = await served.post("/incidents/42/acknowledge", {})
    assert status == 404, "neither open nor in the records"


async def test_a_review_is_kept_shown_and_taken_away(served: Served) -> None:
    texts = {
        "root_cause": "A <b>bad</b> *release*",
        "impact": "Nobody could pay",
        "resolution": "",
        "prevention": "Test",
    }
    assert (await served.post("/incidents/42/review", texts))[0] == 303
    _, page = await served.get("/incidents/42")
    assert "A &lt;b&gt;bad&lt;/b&gt; *release*</textarea>" in page
    assert "Written by operator" in page
    status, text = await served.get("/incidents/42/review.md")
    assert status == 200
    assert "## Root cause\n\nA \\<b\\>bad\\</b\\> \\*release\\*" in text
    assert "## Resolution\n\n*Not written yet.*" in text
    status, page = await served.get("/incidents/42/review.html")
    assert (status, "Nobody could pay" in page, "<b>bad" in page) == (200, True, False)


async def test_a_viewer_reads_all_of_it_and_changes_nothing(served: Served) -> None:
    async for one in serve(access_for(), control=served.control):
        viewer = {"Authorization": f"Bearer {SECRETS['viewer']}"}
        status, page = await one.get("/incidents/42", **viewer)
        assert (status, "<textarea" in page, "/acknowledge" in page) == (200, False, False)
        assert (await one.post("/incidents/42/review", {"impact": "x"}, **viewer))[0] == 403
        assert (await one.get("/incidents", **viewer))[0] == 200
