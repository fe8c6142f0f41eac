"""Thirteen months side by side: out of reports that were kept, else of the records; what is missing is no zero."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.reports.past import SUBJECTS, wanted
from tests.store.samples import an_incident, an_observation
from wcr_watchd.core.local_time import months
from wcr_watchd.core.model import Measurement, Outcome
from wcr_watchd.core.protocols import Batch
from wcr_watchd.core.report import Audience, Document, Filed, Planned, ReportKind, Subject, Wanted
from wcr_watchd.reports import earlier
from wcr_watchd.reports.facts import gather
from wcr_watchd.reports.months import Figures, from_json
from wcr_watchd.reports.render import document
from wcr_watchd.store.sqlite import SqliteStore

NOW = 1_796_115_600.0
"""2026-12-01 09:00 in UTC."""
PAST = {one[0]: one[1:] for one in months(NOW, "UTC", 15)}
SINCE, UNTIL = PAST["2026-11"]


def month(store: Path, audience: Audience = Audience.TEAM) -> Wanted:
    subject = replace(SUBJECTS[0], every=EVERY)
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
    assert "2026-10: 99.5 %, 3 incidents, over after 15 min on average" in written.text
    assert written.html.count("not measured</td>") == 10
    assert {"days", "months"} <= set(re.findall(r'src="cid:([^"]+)"', written.mail))
    assert json.loads(written.json)["figures"] == known["2026-11"], "the next report reads it there"


def test_stakeholders_have_months_of_their_own_without_internals(tmp_path: Path) -> None:
    path = tmp_path / "watchd.db"
    asyncio.run(fill(path))
    written = document(gather(month(path, Audience.STAKEHOLDERS)))
    known = {row["month"]: row["figures"] for row in json.loads(written.json)["months"] if row["figures"]}
    assert set(known) == {"2026-10", "2026-11"}
    assert from_json(known["2026-11"]) == Figures(1.0, 1.0, 0)
    assert "To acknowledge" not in written.html


def test_a_report_up_to_now_ends_with_the_last_whole_month(tmp_path: Path) -> None:
    path = tmp_path / "watchd.db"
    asyncio.run(fill(path))
    up_to_now = replace(month(path), since=SINCE + 10 * 86_400.0, until=UNTIL + 9 * 3_600.0)
    rows = json.loads(document(gather(up_to_now)).json)["months"]
    assert rows[-1]["month"] == "2026-11"
    assert rows[-1]["figures"]["availability"] == 1.0, "no report of all of it was written yet: by the records"


# --- by the records ---------------------------------------------------------------------------------------------------

DAY = 86_400.0
EVERY = 3_500.0
"""Seconds between runs; each speaks for all of the hour that it is in."""
HOST = Subject(
    "host", "host", "", (), "", "", EVERY, (), (("disk_used", "ratio"), ("network_sent", "bytes_per_second"))
)
DATABASE = Subject("database", "postgres", "", (), "", "", EVERY, (), (("database_size", "bytes"),))


async def live(path: Path, names: Sequence[str], checks: Sequence[str] = ("api",)) -> None:
    """Of each of these months the first two days: on the second one all checks are down for six hours."""
    store = SqliteStore(path)
    await store.open()
    for number, name in enumerate(names):
        begin = PAST[name][0]
        for hour in range(48):
            at = begin + hour * 3_600.0
            outcome = Outcome.DOWN if 30 <= hour < 36 else Outcome.UP
            runs = [an_observation(check, at, outcome) for check in checks]
            disk = Measurement("disk_used", 0.5 + number / 100, (("mount", "/data"),))
            runs.append(replace(an_observation("host", at), measurements=(disk, Measurement("network_sent", 1e6))))
            size = Measurement("database_size", (10 + number) * 2.0**30)
            runs.append(replace(an_observation("database", at), measurements=(size,)))
            await store.commit(Batch(observations=tuple(runs)))
        await store.prune(begin + 4 * DAY)
        outage = an_incident(number + 1, "api", begin + 30 * 3_600.0, resolved_at=begin + 36 * 3_600.0)
        await store.commit(Batch(incidents=(outage,)))
        for _ in range(4):
            await store.prune(begin + 5 * DAY)
    await store.close()


def test_months_without_a_report_are_reckoned_from_the_records(tmp_path: Path) -> None:
    path = tmp_path / "watchd.db"
    asyncio.run(live(path, ("2026-01", "2026-09", "2026-10", "2026-11")))
    api = replace(SUBJECTS[0], every=EVERY)
    begin = PAST["2026-09"][0]
    window = Planned("weekly", ("api",), ((begin + 30 * 3_600.0, begin + 33 * 3_600.0),))
    asked = replace(month(path), subjects=(api, HOST, DATABASE), planned=(window,))
    written = document(gather(asked))
    known = {row["month"]: row["figures"] for row in json.loads(written.json)["months"] if row["figures"]}
    assert set(known) == {"2026-01", "2026-09", "2026-10", "2026-11"}
    # Three checks for 48 hours each, one of them down for 6, of which 3 are planned in September.
    assert known["2026-09"]["availability"] == pytest.approx(138 / 144)
    assert known["2026-09"]["availability_without_maintenance"] == pytest.approx(138 / 141)
    assert known["2026-10"]["availability_without_maintenance"] == pytest.approx(138 / 144)
    assert (known["2026-09"]["incidents"], known["2026-09"]["resolve"]) == (1, pytest.approx(6 * 3_600.0))
    assert "2026-05: not measured" in written.text
    used = {name: {one["name"]: one["mean"] for one in row["growth"]} for name, row in known.items()}
    assert used["2026-01"] == pytest.approx({"disk_used": 0.5, "network_sent": 1e6, "database_size": 10 * 2.0**30})
    assert used["2026-10"] == pytest.approx({"disk_used": 0.52, "network_sent": 1e6, "database_size": 12 * 2.0**30})
    assert "disk_used /data of host: 53 % (2026-10: 52 %, 2026-01: 50 %)" in written.text
    assert "database_size of database: 13 GiB (2026-10: 12 GiB, 2026-01: 10 GiB)" in written.text
    assert "network_<wbr>sent of host" in written.html


def test_stakeholders_read_nothing_of_what_grows(tmp_path: Path) -> None:
    path = tmp_path / "watchd.db"
    asyncio.run(live(path, ("2026-10", "2026-11")))
    api = replace(SUBJECTS[0], every=EVERY)
    written = document(gather(replace(month(path, Audience.STAKEHOLDERS), subjects=(api, HOST, DATABASE))))
    known = {row["month"]: from_json(row["figures"]) for row in json.loads(written.json)["months"] if row["figures"]}
    assert known["2026-10"] == Figures(pytest.approx(138 / 144), pytest.approx(138 / 144), 1)
    assert "disk_used" not in written.html + written.text + written.json


def test_a_month_of_the_report_and_of_the_records_is_the_same_number(tmp_path: Path) -> None:
    path = tmp_path / "watchd.db"
    asyncio.run(live(path, ("2026-10", "2026-11")))
    api = replace(SUBJECTS[0], every=EVERY)
    asked = replace(month(path), subjects=(api, HOST, DATABASE))
    since, until = PAST["2026-10"]
    october = replace(asked, since=since, until=until, before=PAST["2026-09"][0])
    by_report = json.loads(document(gather(october)).json)["figures"]
    by_records = {row["month"]: row["figures"] for row in json.loads(document(gather(asked)).json)["months"]}["2026-10"]
    assert by_records == by_report


def test_so_many_months_are_reckoned_at_a_time_and_read_in_the_next_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "watchd.db"
    names = ("2026-06", "2026-07", "2026-08", "2026-09", "2026-10", "2026-11")
    asyncio.run(live(path, names))
    monkeypatch.setattr(earlier, "MOST_DAYS", 100)  # 60 are of the report itself, so that there is room for one month
    for written_before, expected, left in ((0, 3, 3), (1, 4, 2), (2, 5, 1), (3, 6, 0)):
        written = document(gather(month(path)))
        rows = json.loads(written.json)["months"]
        assert len([row for row in rows if row["figures"]]) == expected, written_before
        assert written.text.count("comes with the next report") == left
        asyncio.run(keep(path, replace(written, since=SINCE - DAY), 10 + written_before))
    assert "2026-06: 87.5 %, 1 incident" in written.text


async def keep(path: Path, written: Document, number: int) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.commit(Batch(reports=(Filed(number, written, scheduled=False),)))
    await store.close()
