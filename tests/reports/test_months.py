"""Thirteen months side by side, out of the reports that were kept; what is missing is not measured, and no zero."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace
from pathlib import Path

from tests.reports.past import SUBJECTS, wanted
from tests.store.samples import an_observation
from wcr_watchd.core.protocols import Batch
from wcr_watchd.core.report import Audience, Document, Filed, ReportKind, Wanted
from wcr_watchd.core.status_days import months
from wcr_watchd.reports.facts import gather
from wcr_watchd.reports.months import Figures
from wcr_watchd.reports.render import document
from wcr_watchd.store.sqlite import SqliteStore

NOW = 1_796_115_600.0
"""2026-12-01 09:00 in UTC."""
PAST = {one[0]: one[1:] for one in months(NOW, "UTC", 15)}
SINCE, UNTIL = PAST["2026-11"]


def month(store: Path, audience: Audience = Audience.TEAM) -> Wanted:
    subject = replace(SUBJECTS[0], every=3_600.0)
    before = PAST["2026-10"][0]
    kind = ReportKind.MONTHLY
    return replace(wanted(store, kind, audience), before=before, since=SINCE, until=UNTIL, now=NOW, subjects=(subject,))


def filed(number: int, name: str, audience: Audience, figures: dict[str, object], *, scheduled: bool = True) -> Filed:
    since, until = PAST[name]
    body = json.dumps({"since": since, "figures": figures})
    head = ("monthly", ReportKind.MONTHLY, audience, name, "", until, since, until)
    return Filed(number, Document(*head, json=body), scheduled)


async def fill(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    runs = tuple(an_observation("api", SINCE + number * 3_600.0) for number in range(24))
    team, public = Audience.TEAM, Audience.STAKEHOLDERS
    kept = (
        filed(1, "2025-10", team, {"availability": 0.5, "incidents": 99}),
        filed(2, "2025-11", team, {"availability": 0.99, "incidents": 4, "acknowledge": 120.0, "fullest": 0.7}),
        filed(3, "2026-09", team, {"availability": 0.1, "incidents": 1}, scheduled=False),
        filed(4, "2026-10", team, {"availability": 0.995, "incidents": 3, "resolve": 900.0}),
        filed(5, "2026-10", public, {"availability": 0.995, "incidents": 1}),
    )
    await store.commit(Batch(observations=runs, reports=kept))
    await store.close()


def test_what_was_told_and_what_was_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "watchd.db"
    asyncio.run(fill(path))
    written = document(gather(month(path)))
    rows = json.loads(written.json)["months"]
    assert [row["month"] for row in rows][::12] == ["2025-11", "2026-11"]
    known = {row["month"]: row["figures"] for row in rows if row["figures"]}
    assert set(known) == {"2025-11", "2026-10", "2026-11"}, "what was asked for out of turn is no month"
    assert (known["2025-11"]["acknowledge"], known["2026-10"]["incidents"]) == (120.0, 3)
    assert (known["2026-11"]["availability"], known["2026-11"]["incidents"]) == (1.0, 0)
    assert "2026-09: not measured" in written.text
    assert "2026-10: 99.50 %, 3 incidents, over after 15 min on average" in written.text
    assert written.html.count("not measured</td>") == 10
    assert {"days", "months"} <= set(re.findall(r'src="cid:([^"]+)"', written.mail))
    assert json.loads(written.json)["figures"] == known["2026-11"], "the next report reads it there"


def test_stakeholders_have_months_of_their_own_without_internals(tmp_path: Path) -> None:
    path = tmp_path / "watchd.db"
    asyncio.run(fill(path))
    written = document(gather(month(path, Audience.STAKEHOLDERS)))
    known = {row["month"]: row["figures"] for row in json.loads(written.json)["months"] if row["figures"]}
    assert set(known) == {"2026-10", "2026-11"}
    assert Figures(**known["2026-11"]) == Figures(1.0, 1.0, 0)
    assert "To acknowledge" not in written.html


def test_a_report_up_to_now_ends_with_the_last_whole_month(tmp_path: Path) -> None:
    path = tmp_path / "watchd.db"
    asyncio.run(fill(path))
    up_to_now = replace(month(path), since=SINCE + 10 * 86_400.0, until=UNTIL + 9 * 3_600.0)
    rows = json.loads(document(gather(up_to_now)).json)["months"]
    assert rows[-1]["month"] == "2026-11"
    assert rows[-1]["figures"] is None, "no report of all of it was written yet"
