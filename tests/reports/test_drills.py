"""The report of what was rehearsed: a quarter of restore tests, drills of alarms, and what nobody tried."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.store.samples import an_incident
from wcr_watchd.core.drill_report import DrillMessage, DrillReport, DrillState
from wcr_watchd.core.model import IncidentState, Measurement, Observation, Outcome, Severity
from wcr_watchd.core.protocols import Batch
from wcr_watchd.core.report import Audience, Document, Rehearsable, ReportKind, Subject, Wanted
from wcr_watchd.core.task import TaskOutcome, TaskRecord
from wcr_watchd.reports.drill import document
from wcr_watchd.reports.rehearsed import gather
from wcr_watchd.store.sqlite import SqliteStore

DAY = 86_400.0
BEGIN = 1_790_812_800.0
"""2026-10-01 00:00 UTC."""
UNTIL = BEGIN + 92 * DAY
SET, UPLOADS = "/srv/backups/shop_%Y%m%d.sql", "/srv/backups/uploads_%Y%m%d.tar"
FAILED = range(35, 37)
"""Days on which the test of the fifth week failed."""
SUBJECTS = (
    Subject("shop-backup", "backup", "Data", (), "", "", DAY, (), (), SET),
    Subject("uploads-backup", "backup", "Data", (), "", "", DAY, (), (), UPLOADS),
    Subject("shop-restore", "restore", "Data", (), "", "", DAY, (), (), SET),
    Subject("shop-point", "recovery_point", "Data", (), "", "", DAY, (), (), SET),
    Subject("api", "http", "Web", (), "", "", 60.0, (), (("response_time", "seconds"),), "https://example.org"),
)
TOLD = DrillMessage(BEGIN + 40 * DAY, 0.0, "at once", "mail", "lea", True, 0.8, "250 queued", "", "")
REFUSED = replace(TOLD, channel="chat", contact="", accepted=False, receipt="", error="HTTP 403: archived", seconds=0.3)
ANSWERED = DrillReport(
    41,
    "night",
    Severity.CRITICAL,
    DrillState.ACKNOWLEDGED,
    BEGIN + 40 * DAY,
    (TOLD, REFUSED),
    "lea",
    BEGIN + 40 * DAY + 190,
    BEGIN + 40 * DAY + 190,
    by="ann",
)
EARLIER = replace(ANSWERED, number=12, policy="default", started_at=BEGIN - 20 * DAY)
SECRETS = ("shop", "uploads", "night", "default", "mail", "chat", "pager", "lea", "ann", "403", "users", "nyc3")
"""What stakeholders must not read: checks, sets, policies, channels, people."""


def wanted(store: Path, audience: Audience = Audience.TEAM) -> Wanted:
    """The report of the fourth quarter of 2026."""
    return Wanted(
        name="drill",
        kind=ReportKind.DRILL,
        audience=audience,
        watchd="wcr-prod",
        location="nyc3",
        timezone="UTC",
        url="https://watch.example.org",
        store=str(store),
        now=UNTIL + 9 * 3_600,
        before=BEGIN - 92 * DAY,
        since=BEGIN,
        until=UNTIL,
        subjects=SUBJECTS,
        rehearsable=Rehearsable(("default", "night", "weekend"), ("mail", "chat", "sms", "pager"), ("sms",)),
    )


async def fill(path: Path) -> None:
    """Write the quarter as a daemon would have: a restore every week, of which one fails for two days."""
    store = SqliteStore(path)
    await store.open()
    runs: list[Observation] = []
    last = 0
    for day in range(92):
        if day % 7 == 0:
            await store.commit(Batch(observations=tuple(runs)))
            await store.prune(BEGIN + day * DAY)
            runs = []
        at = BEGIN + day * DAY + 3 * 3_600
        if day in FAILED:
            told = (Measurement("last_test_age", (day - last) * DAY),)
            runs.append(Observation("shop-restore", "nyc3", at, 9.0, Outcome.DOWN, "content", "no users", told))
        else:
            last = day if day % 7 == 0 or day - 1 in FAILED else last
            took = 3_000.0 + 10 * last
            values = {"last_test_age": (day - last) * DAY, "restore_time": took, "objective_used": took / 14_400}
            told = tuple(Measurement(name, value) for name, value in values.items())
            runs.append(Observation("shop-restore", "nyc3", at, 9.0, Outcome.UP, "", "restored", told))
        at_risk = (Measurement("exposure", 5_400.0 if day == 50 else 1_800.0), Measurement("objective", 3_600.0))
        runs.append(Observation("shop-point", "nyc3", at, 0.1, Outcome.UP, "", "", at_risk))
    trouble = an_incident(
        77,
        "shop-restore",
        BEGIN + 35 * DAY,
        summary="shop_20261104.sql was restored for a test and failed: table users is missing",
        state=IncidentState.RESOLVED,
        resolved_at=BEGIN + 37 * DAY,
    )
    await store.commit(Batch(observations=tuple(runs), incidents=(trouble,), drills=(ANSWERED, EARLIER)))
    for _ in range(3):
        await store.prune(UNTIL)
    await store.close()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drills") / "watchd.db"
    asyncio.run(fill(path))
    return path


def written(what: Wanted) -> Document:
    return document(gather(what))


def facts(one: Document) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(one.json)
    return found


def test_restores_are_held_against_their_objective(records: Path) -> None:
    [restore] = facts(written(wanted(records)))["restores"]
    assert restore["check"] == "shop-restore"
    # Weekly from the first day on, the one of day 35 two days late.
    assert [(at - BEGIN) // DAY for at in restore["days"]] == [0, 7, 14, 21, 28, 37, 42, 49, 56, 63, 70, 77, 84, 91]
    assert (restore["slowest"], restore["objective"], restore["met"]) == (3_910, 14_400, True)
    assert (restore["runs_failed"], restore["incidents"]) == (2, [77])
    assert (restore["last"] - BEGIN) // DAY == 91


def test_work_at_risk_is_the_worst_there_was(records: Path) -> None:
    [risk] = facts(written(wanted(records)))["at_risk"]
    assert (risk["worst"], risk["objective"], risk["met"]) == (5_400, 3_600, False)


def test_of_drills_it_tells_who_was_reached_and_who_answered(records: Path) -> None:
    report = written(wanted(records))
    [drill] = facts(report)["drills"]
    assert (drill["number"], drill["by"], drill["acknowledged_by"]) == (41, "ann", "lea")
    assert (drill["acknowledged_after"], drill["accepted"], drill["not_accepted"]) == (190, 1, 1)
    assert "acknowledged by lea after 3 min 10 s" in report.html
    assert "chat: NOT accepted: HTTP 403: archived" in report.text


def test_what_was_not_rehearsed_is_named_with_what_to_do(records: Path) -> None:
    report = written(wanted(records))
    found = facts(report)
    assert found["backups_not_restored"] == ["uploads-backup"]
    assert found["policies_not_drilled"] == [
        {"policy": "default", "last": EARLIER.started_at},
        {"policy": "weekend", "last": None},
    ]
    assert found["channels_not_proven"] == ["chat", "pager"], "mail was drilled, sms has a canary"
    gaps = "\n".join(found["gaps"])
    for said in (
        "shop-restore failed in 2 runs",
        "shop-point: at worst the work of 1 h 30 min (objective: 1 h) would have been lost",
        "No test restores these sets of backups: uploads-backup",
        "Drill #41: chat did not accept a message",
        "No drill in this time of the policies: default, weekend",
    ):
        assert said in gaps


def test_the_verdict_stands_first_in_every_form(records: Path) -> None:
    report = written(wanted(records))
    assert report.title == "Recovery drills, October to December 2026"
    assert report.summary == (
        "Recovery is rehearsed in part: backups were restored on 14 days, in 1 h 5 min at most; "
        "1 drill of alarms, answered after 3 min 10 s"
    )
    for text in (report.html, report.mail, report.text):
        assert report.title in text
        assert report.summary in text
    rows = list(csv.DictReader(io.StringIO(report.csv)))
    assert [(row["what"], row["name"]) for row in rows] == [
        ("restore", "shop-restore"),
        ("recovery point", "shop-point"),
        ("drill", "night"),
    ]
    assert "<style" not in report.mail


def test_without_gaps_it_says_so(records: Path) -> None:
    known = wanted(records)
    good = replace(
        known,
        since=BEGIN + 51 * DAY,
        subjects=tuple(one for one in SUBJECTS if one.name != "uploads-backup"),
        rehearsable=Rehearsable(),
    )
    found = document(replace(gather(good), drills=(replace(ANSWERED, messages=(TOLD,)),)))
    assert found.summary.startswith("Recovery is rehearsed: backups were restored on 6 days")
    assert facts(found)["gaps"] == []


def test_nothing_rehearsed_is_a_verdict_as_well(records: Path) -> None:
    empty = written(replace(wanted(records), since=UNTIL + DAY, until=UNTIL + 90 * DAY))
    assert empty.summary == "Nothing was rehearsed: no backup was restored, and no alarm was drilled"
    assert "shop-restore restored nothing in this time" in "\n".join(facts(empty)["gaps"])
    found = gather(replace(wanted(records), since=UNTIL + DAY, until=UNTIL + 90 * DAY))
    alarmed = document(replace(found, drills=(replace(ANSWERED, state=DrillState.UNANSWERED),)))
    assert alarmed.summary == (
        "Recovery is not rehearsed: no backup was restored; 1 drill of alarms, 1 not answered"
    ), "alarms alone bring nothing back"


def test_stakeholders_read_figures_and_no_names(records: Path) -> None:
    report = written(wanted(records, Audience.STAKEHOLDERS))
    everything = " ".join(
        (report.title, report.summary, report.html, report.mail, report.text, report.json, report.csv)
    )
    for secret in SECRETS:
        assert not re.search(rf"\b{secret}\b", re.sub(r"<style>.*?</style>", "", everything, flags=re.S)), secret
    assert "1 h 5 min (objective: 4 h)" in report.text
    assert "answered after 3 min 10 s" in report.html
    assert "written by wcr-watchd on 1 January 2027 09:00 UTC" in report.html


# --- what people sign off ---------------------------------------------------------------------------------------------

RESTORED = TaskRecord(
    "task.restore-by-hand",
    3,
    TaskOutcome.DONE,
    BEGIN + 5 * DAY,
    due=BEGIN + 6 * DAY,
    by="zoe",
    note="shop_20261004 in 52 min; all tables there",
    evidence=("https://wiki.example.org/restores/3", "ticket 812"),
)
LATE = replace(RESTORED, number=4, at=BEGIN + 39 * DAY, due=BEGIN + 36 * DAY, note="", evidence=())
LONG_AGO = replace(RESTORED, task="task.full-system-test", number=1, at=BEGIN - 100 * DAY, due=None)
FAILED_RUN = replace(RESTORED, number=5, outcome=TaskOutcome.FAILED, at=BEGIN + 60 * DAY)


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("signed") / "watchd.db"

    async def fill_with_people() -> None:
        await fill(path)
        store = SqliteStore(path)
        await store.open()
        overdue = an_incident(
            80,
            "task.restore-by-hand",
            BEGIN + 37 * DAY,
            severity=Severity.WARNING,
            peak=Severity.WARNING,
            state=IncidentState.RESOLVED,
            resolved_at=BEGIN + 39 * DAY,
        )
        reminder = replace(overdue, id=81, opened_at=BEGIN + 3 * DAY, severity=Severity.INFO, peak=Severity.INFO)
        records = (RESTORED, LATE, FAILED_RUN, LONG_AGO)
        await store.commit(Batch(task_records=records, incidents=(overdue, reminder)))
        await store.close()

    asyncio.run(fill_with_people())
    return path


def of_people(store: Path, audience: Audience = Audience.TEAM) -> Wanted:
    tasks = {
        "task.restore-by-hand": "0 10 5 * *",
        "task.full-system-test": "0 10 12 10 *",
        "task.recovery-drill": "Mon *-2,5,8,11-01..07 10:00",
    }
    return replace(wanted(store, audience), rehearsable=Rehearsable(tasks=tasks))


def test_who_signed_off_what_with_which_note_and_evidence(signed: Path) -> None:
    report = written(of_people(signed))
    assert [(one["task"], one["by"], one["at"]) for one in facts(report)["by_people"]] == [
        ("restore-by-hand", "zoe", RESTORED.at),
        ("restore-by-hand", "zoe", LATE.at),
    ], "a run that failed is none"
    assert report.summary.endswith("; 2 rehearsals by people")
    assert 'href="https://wiki.example.org/restores/3"' in report.html
    for said in ("ticket 812", "signed off by zoe", "shop_20261004 in 52 min; all tables there", "3 d late"):
        assert said in report.html
        assert said in report.text
    assert "full-system-test (every 12 October at 10:00): not in this time; last" in report.text
    for when in ("the 5th of each month at 10:00", "every 12 October at 10:00", "Mon *-2,5,8,11-01..07 10:00"):
        assert when in report.html
    assert "recovery-drill (Mon *-2,5,8,11-01..07 10:00): not in this time; never before" in report.text
    assert "signed off by zoe: shop_20261004 in 52 min" in report.mail
    [gap] = [one for one in facts(report)["gaps"] if "restore-by-hand" in one]
    assert gap == "restore-by-hand was not done in time (#80 was open for 2 d): give it a person and a day"
    rows = [row for row in csv.DictReader(io.StringIO(report.csv)) if row["what"] == "rehearsal"]
    assert [(row["name"], row["result"], row["by"]) for row in rows] == [
        ("restore-by-hand", "in time", "zoe"),
        ("restore-by-hand", "3 d late", "zoe"),
    ]


def test_a_restore_by_hand_is_something_that_was_rehearsed(signed: Path) -> None:
    found = gather(of_people(signed))
    alone = document(replace(found, restores=(), drills=()))
    assert alone.summary == (
        "Recovery is rehearsed in part: no backup was restored; no drill of alarms; 2 rehearsals by people"
    )


def test_stakeholders_read_on_which_days_people_rehearsed(signed: Path) -> None:
    report = written(of_people(signed, Audience.STAKEHOLDERS))
    everything = " ".join((report.html, report.mail, report.text, report.json, report.csv))
    for secret in ("zoe", "restore-by-hand", "full-system-test", "ticket", "shop_"):
        assert secret not in everything, secret
    assert "Tue 6 Oct" in report.html
    assert "Tue 6 Oct" in report.text


def test_evidence_that_is_no_address_of_the_web_is_no_link(signed: Path) -> None:
    found = gather(of_people(signed))
    [task, *others] = found.by_people
    sly = replace(RESTORED, evidence=("javascript:alert(1)",))
    page = document(replace(found, by_people=(replace(task, done=(sly,)), *others))).html
    assert "javascript:alert(1)" in page
    assert 'href="javascript' not in page
