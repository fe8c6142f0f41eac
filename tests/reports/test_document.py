"""Reports out of real records, written by the process that the daemon starts for them."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import subprocess
import sys
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from pydantic import TypeAdapter

from tests.reports.past import BEGIN, DAY, END, HOUR, OUTAGE, fill, wanted
from wcr_watchd.core.report import Audience, Document, ReportKind, Wanted
from wcr_watchd.reports.facts import gather
from wcr_watchd.reports.render import document

SECRETS = ("db-internal-7", "ann", "ben", "api", "host", "nyc3", "502")
"""What stakeholders must not read: targets, people, checks."""


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("past") / "watchd.db"
    asyncio.run(fill(path))
    return path


def written(what: Wanted) -> Document:
    done = subprocess.run(
        [sys.executable, "-m", "wcr_watchd.reports"],
        input=TypeAdapter(Wanted).dump_json(what),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return TypeAdapter(Document).validate_json(done.stdout)


@pytest.fixture(scope="module")
def weekly(records: Path) -> Document:
    return written(wanted(records))


def facts(document: Document) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(document.json)
    return found


def of(document: Document, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in facts(document)["checks"] if one["name"] == name)
    return found


def test_availability_downtime_and_what_nobody_watched(weekly: Document) -> None:
    week = 7 * DAY
    api = of(weekly, "api")
    assert api["seconds_down"] == pytest.approx(2 * HOUR)
    assert api["seconds_down_planned"] == pytest.approx(HOUR)
    assert api["availability"] == pytest.approx(1 - 2 * HOUR / week)
    assert api["availability_without_maintenance"] == pytest.approx(1 - HOUR / (week - HOUR), rel=1e-6)
    assert (api["outages"], api["incidents"], api["longest"]) == (1, 1, OUTAGE[1] - OUTAGE[0])
    database = of(weekly, "database")
    assert database["seconds_unmonitored"] == pytest.approx(12 * HOUR)
    assert database["availability"] == 1.0, "what nobody saw is neither up nor down"


def test_speed_is_that_of_the_runs(weekly: Document) -> None:
    speed = of(weekly, "api")["speed"]
    assert 0.2 < speed["p50"] < speed["p95"] <= speed["p99"] < 0.32
    assert of(weekly, "database")["speed"] is None


def test_times_to_acknowledge_and_to_resolve(weekly: Document) -> None:
    found = facts(weekly)
    assert found["mean_time_to_acknowledge"] == 240
    assert found["mean_time_to_resolve"] == pytest.approx((7_200 + 5 * 600) / 6)
    assert found["mean_time_between_failures"] is None, "there was one critical incident"
    assert len(found["incidents"]) == 6


def test_a_disk_that_fills_is_full_when_it_is(weekly: Document) -> None:
    disk = next(one for one in facts(weekly)["resources"] if one["name"] == "disk_used")
    assert disk["labels"] == [["mount", "/data"]]
    # From 50 % to 90 % in 35 days: the rest takes 8.75 days more.
    assert (disk["full"]["expected"] - END) / DAY == pytest.approx(8.75, abs=0.5)
    assert disk["full"]["earliest"] <= disk["full"]["expected"] <= disk["full"]["latest"]
    memory = next(one for one in facts(weekly)["resources"] if one["name"] == "memory_used")
    assert memory["full"] == {"expected": None, "earliest": None, "latest": None}, "known, and never"


def test_it_recommends_what_follows_from_the_figures(weekly: Document) -> None:
    said = "\n".join(facts(weekly)["advice"])
    assert "Make room: disk_used /data of host" in said
    assert "Look at site: 5 incidents" in said
    assert "Come and go: site" in said
    assert "Not watched for a part of the time: database (7.14 %)" in said
    assert "runbook of what failed: api" in said
    assert "owner of what failed: site" in said


def test_costs_are_followed(weekly: Document) -> None:
    [cost] = facts(weekly)["costs"]
    assert cost["check"] == "cost-hosting"
    assert cost["last"] == pytest.approx(100, abs=1)
    assert cost["first"] == pytest.approx(81, abs=2)


def test_every_form_says_the_same(weekly: Document) -> None:
    assert weekly.title == "Week 26 November to 2 December 2026"
    assert weekly.summary == "Up 99.758 % of the time; 6 incidents, 1 critical"
    for text in (weekly.html, weekly.mail, weekly.text):
        assert weekly.title in text
        assert weekly.summary in text
        assert "HTTP 502 from db-internal-7" in text
        assert "ops: ben" in text
    rows = list(csv.DictReader(io.StringIO(weekly.csv)))
    assert [row["check"] for row in rows] == ["api", "site", "host", "database", "cost-hosting"]
    assert float(rows[0]["availability"]) == pytest.approx(1 - 2 / 168)


def test_the_mail_has_its_pictures_and_no_script(weekly: Document) -> None:
    named = set(re.findall(r'src="cid:([^"]+)"', weekly.mail))
    assert named == {one.name for one in weekly.pictures}
    assert {"days", "course-0"} <= named
    for one in weekly.pictures:
        with Image.open(io.BytesIO(b64decode(one.png))) as picture:
            assert picture.width == 1184
            assert len(picture.convert("RGB").getcolors(1_000_000) or []) > 2, "something is drawn on it"
    assert "<script" not in weekly.mail + weekly.html
    assert "<style" not in weekly.mail
    assert "http" not in re.sub(r"https://(watch|wiki)\.example\.org", "", weekly.html.replace("HTTP", ""))


def test_stakeholders_read_nothing_of_what_is_inside(records: Path) -> None:
    document = written(wanted(records, audience=Audience.STAKEHOLDERS))
    everything = " ".join(
        (document.title, document.summary, document.html, document.mail, document.text, document.json, document.csv)
    )
    for secret in SECRETS:
        assert not re.search(rf"\b{secret}\b", everything), secret
    assert document.summary == "Available 99.878 % of the time; disturbances in Web"
    assert "maintenance" in document.text


def test_a_month_and_a_time_without_records(records: Path) -> None:
    monthly = written(wanted(records, ReportKind.MONTHLY))
    assert monthly.title == "Month 3 November to 2 December 2026"
    assert of(monthly, "api")["incidents"] == 2
    empty = written(replace(wanted(records), before=END + DAY, since=END + 8 * DAY, until=END + 15 * DAY))
    assert empty.summary == "Nothing was measured in this time"
    assert facts(empty)["checks"][0]["availability"] is None


def test_the_time_before_a_check_was_there_is_no_gap(records: Path) -> None:
    known = replace(wanted(records), before=BEGIN - 12 * DAY, since=BEGIN - 5 * DAY, until=BEGIN + 2 * DAY)
    found = document(gather(known))
    assert (of(found, "api")["seconds_unmonitored"], of(found, "api")["watched_since"]) == (0.0, BEGIN)
    assert "Not watched for" not in "\n".join(facts(found)["advice"])
    assert "api: 100 %, watched since Thu 29 Oct 00:00" in found.text
    assert "not watched for" not in found.text
    assert "watched since Thu 29 Oct 00:00" in found.html
    week = document(gather(wanted(records)))
    assert "database: 100 %, not watched for 12 h" in week.text, "a gap between two runs is one"
    assert "not watched for 12 h" in week.mail
    assert "watched since" not in week.text
    assert ", 1 outage\n" in week.text


def test_records_that_are_not_there_are_said_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "wcr_watchd.reports"],
        input=TypeAdapter(Wanted).dump_json(wanted(tmp_path / "none.db")),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 1
    assert b"cannot read the records" in done.stderr
    assert b"Traceback" not in done.stderr


def test_names_are_text_and_no_markup_or_formula(records: Path) -> None:
    known = wanted(records)
    odd = replace(known.subjects[0], group="=cmd|'<b>x</b>'!A0")
    document = written(replace(known, subjects=(odd,)))
    assert "<b>x</b>" not in document.html + document.mail
    [row] = csv.DictReader(io.StringIO(document.csv))
    assert row["group"].startswith("'=")


def test_of_a_time_that_was_watched_in_part_no_more_is_said(records: Path) -> None:
    """A month of which ten days were watched was "up 100 % of the time"; twelve rows were of months before it."""
    for audience, said in ((Audience.TEAM, "Up 100 %"), (Audience.STAKEHOLDERS, "Available 100 %")):
        asked = replace(
            wanted(records, ReportKind.MONTHLY, audience),
            before=BEGIN - 50 * DAY,
            since=BEGIN - 20 * DAY,
            until=BEGIN + 10 * DAY,
            now=BEGIN + 10 * DAY,
        )
        found = document(gather(asked))
        assert found.summary.startswith(f"{said} of the time that was watched (10 d of 30 d); no ")
        for form in (found.html, found.mail, found.text):
            assert "not measured" not in form
            assert "2026-10" in form


def test_checks_that_are_new_take_nothing_from_the_others(records: Path) -> None:
    asked = wanted(records)
    new = tuple(replace(asked.subjects[1], name=f"new-{number}") for number in range(len(asked.subjects)))
    assert "of the time; " in document(gather(replace(asked, subjects=asked.subjects + new))).summary


def test_an_empty_platform_has_a_report_too(records: Path) -> None:
    for kind in (ReportKind.WEEKLY, ReportKind.MONTHLY):
        for audience in (Audience.TEAM, Audience.STAKEHOLDERS):
            found = document(gather(replace(wanted(records, kind, audience), subjects=())))
            for form in (found.html, found.mail, found.text):
                assert "No check is part of this report." in form


def test_what_is_critical_is_counted_in_words(records: Path) -> None:
    """ "1 incident, 1 of them critical"."""
    asked = wanted(records)
    one = document(gather(replace(asked, subjects=asked.subjects[:1])))
    assert one.summary.endswith("; 1 incident, critical")


def test_the_sentence_at_the_top_does_not_name_every_component(records: Path) -> None:
    asked = wanted(records, ReportKind.WEEKLY, Audience.STAKEHOLDERS)
    many = tuple(replace(asked.subjects[0], group=f"Part {number}") for number in range(8))
    found = document(gather(replace(asked, subjects=many)))
    assert found.summary.endswith("disturbances in Part 0, Part 1, Part 2, Part 3, Part 4 and 3 more")
