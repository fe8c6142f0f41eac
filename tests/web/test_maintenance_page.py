"""The page of maintenance: it lists, plans, changes, ends, and acts for nobody's foreign page."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.web.access import SECRETS
from tests.web.showcase import NOW
from tests.web.test_web import Served
from wcr_watchd.core.changes import Category, Change, ChangeState, Plan
from wcr_watchd.core.matchers import parse_matchers
from wcr_watchd.core.recurrence import weekly
from wcr_watchd.core.silence import Silence, Window

HERE = ZoneInfo("America/New_York")
FORM = {"matchers": 'group="production"', "for": "90m", "comment": "new <switch>"}


def local(at: float) -> str:
    return datetime.fromtimestamp(at, HERE).strftime("%Y-%m-%dT%H:%M")


def one(served: Served, **more: Any) -> Silence:
    usual = Silence("m1-long", parse_matchers("check=api"), NOW - 10.0, NOW + 3_600.0, "ann", "disks", NOW, True)
    found = replace(usual, **more)
    served.control.state.silences[found.id] = found
    return found


async def test_maintenance_is_started_now_or_planned_by_the_clocks_here(served: Served) -> None:
    status, page = await served.get("/maintenance?match=check%3D%22api%22")
    assert status == 200
    assert "Nobody works on anything" in page
    assert 'value="check=&#34;api&#34;"' in page
    assert (await served.post("/maintenance", FORM))[0] == 303
    later = NOW + 86_400.0
    assert (await served.post("/maintenance", FORM | {"starts_at": local(later)}))[0] == 303
    now, then = sorted(served.control.state.silences.values(), key=lambda found: found.starts_at)
    assert (now.starts_at, now.ends_at, now.maintenance, now.author) == (NOW, NOW + 5_400.0, True, "operator")
    assert (then.starts_at, then.ends_at) == (later // 60 * 60, later // 60 * 60 + 5_400.0)
    _, page = await served.get("/maintenance")
    assert "1 maintenance window is open" in page
    assert page.count("new &lt;switch&gt; · operator") == 2
    assert page.count("site, api, database") == 2
    assert "Call off" in page


async def test_what_is_wrong_is_said_beside_the_form_which_keeps_what_was_written(served: Served) -> None:
    status, page = await served.post("/maintenance", FORM | {"for": "soon"})
    assert status == 400
    assert "write for example 2h" in page
    assert 'value="soon"' in page
    assert served.control.state.silences == {}


async def test_what_goes_on_is_extended_and_keeps_what_it_covers(served: Served) -> None:
    known = one(served)
    status, _ = await served.post(
        "/maintenance/m1-long/change", {"ends_at": local(NOW + 7_200.0), "comment": "more disks"}
    )
    assert status == 303
    (wanted, changed) = served.control.asked[-1]
    assert changed == "m1-long"
    assert (wanted.matchers, wanted.starts_at) == (known.matchers, known.starts_at)
    assert (wanted.ends_at, wanted.comment, wanted.maintenance) == ((NOW + 7_200.0) // 60 * 60, "more disks", True)
    status, page = await served.post("/maintenance/m1-long/change", {"ends_at": "never", "comment": ""})
    assert status == 400
    assert "&#39;never&#39; is no time" in page
    assert (await served.post("/maintenance/gone/change", {"ends_at": local(NOW)}))[0] == 409


async def test_what_is_planned_gets_another_beginning_and_a_silence_is_no_maintenance(served: Served) -> None:
    one(served, starts_at=NOW + 600.5, ends_at=NOW + 7_200.25)
    form = {"starts_at": local(NOW + 1_200.0), "ends_at": local(NOW + 7_200.25), "comment": "disks"}
    assert (await served.post("/maintenance/m1-long/change", form))[0] == 303
    assert served.control.asked[-1][0].starts_at == (NOW + 1_200.0) // 60 * 60
    one(served, id="s1", maintenance=False)
    assert (await served.post("/maintenance/s1/expire"))[0] == 409


async def test_it_ends_by_its_button_and_for_nobodys_foreign_page(served: Served) -> None:
    one(served)
    for path in (
        "/maintenance",
        "/maintenance/m1-long/expire",
        "/maintenance/m1-long/change",
        "/maintenance/weekly/stop",
    ):
        assert (await served.post(path, FORM, Origin="https://evil.example"))[0] == 403
    assert (await served.post("/maintenance/m1-long/expire"))[0] == 303
    assert served.control.state.silences == {}


async def test_recurring_windows_stand_with_their_next_times(served: Served) -> None:
    spans = weekly(tuple((day * 1440, day * 1440 + 1439) for day in range(7)), "America/New_York")
    window = Window("night", spans, parse_matchers("group=none"), (86_400.0,), "kernel", "all week", "America/New_York")
    served.control.setup = replace(served.control.setup, windows=(window,))
    _, page = await served.get("/maintenance")
    assert "1 maintenance window is open" in page
    assert "told 1 d before" in page
    assert "no check as things are" in page
    assert page.count(" to <time") >= 6
    assert (await served.post("/maintenance/night/stop"))[0] == 303
    assert served.control.asked[-1] == ("stop_window", "night", "operator")
    status, page = await served.get("/maintenance", Authorization=f"Bearer {SECRETS['viewer']}")
    assert (status, '<form method="post" action="/maintenance' in page) == (200, False)


async def test_a_change_that_overruns_is_said_first(served: Served) -> None:
    plan = Plan("release", Category("feature", ()), parse_matchers("check=site"))
    served.control.changes.known = (
        Change(7, plan, "2.3", ChangeState.RUNNING, "ann", NOW - 9_000.0, (), ends_at=NOW - 60.0, overran=True),
    )
    _, page = await served.get("/maintenance")
    assert "1 change overruns: the window is over, the work is not" in page
    assert 'href="/changes/7"' in page
