"""Every form of one report says the same: page, mail and plain text, word for word; JSON and CSV, as values.

The PDF is the page, printed: nothing is reckoned for it.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.reports import year
from tests.reports.__main__ import PUBLIC, TEAM, documents, wanted
from tests.reports.told import Line, in_html, in_text, strange
from wcr_watchd.core.report import Audience, Document, ReportKind
from wcr_watchd.core.uptime import total
from wcr_watchd.reports.drill import document as drill_report
from wcr_watchd.reports.facts import gather
from wcr_watchd.reports.rehearsed import gather as rehearsed
from wcr_watchd.reports.render import document
from wcr_watchd.reports.words import share

KINDS = (
    *("weekly-spring", "weekly-stakeholders", "monthly-february", "monthly-december", "stakeholders-december"),
    *("drill-team", "drill-stakeholders", "incident-team", "incident-stakeholders"),
)
HOUR, DAY = 3_600.0, 86_400.0
LISTS = ("Recommended", "Gaps", "Coming up")
SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3_600.0, "d": 86_400.0}
ROUNDED_TO = {"ms": 0.0, "s": 0.0, "min": 1.0, "h": 60.0, "d": 3_600.0}
SIZES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
AVAILABILITY = {
    "With planned": "availability",
    "Without planned": "availability_without_maintenance",
    "Available": "availability_without_maintenance",
    "Down": "seconds_down",
    "Not watched": "seconds_unmonitored",
    "Outages": "outages",
    "Disturbances": "outages",
    "Longest": "longest",
}
OBJECTIVE = {
    "Without planned": "availability_without_maintenance",
    "Promised": "target",
    "Down": "seconds_down",
    "Not watched": "seconds_unmonitored",
    "Error budget": "budget_left",
}
MONTH = {
    "With planned": "availability",
    "Without planned": "availability_without_maintenance",
    "Available": "availability_without_maintenance",
    "Incidents": "incidents",
    "Disturbances": "incidents",
    "To acknowledge": "acknowledge",
    "To resolve": "resolve",
    "Response": "response",
}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("year") / "watchd.db"
    asyncio.run(year.fill(path))
    return path


@pytest.fixture(scope="module")
def written(records: Path) -> Mapping[str, Document]:
    return dict(documents(records, ""))


def value(said: str) -> tuple[float, float] | None:
    """What a cell says, in base units, and by how much it may be rounded; None for a dash."""
    if found := re.fullmatch(r"([\d.]+) (ms|s|min|h|d)(?: (\d+) (s|min|h))?", said):
        more = float(found[3]) * SECONDS[found[4]] if found[3] else 0.0
        seconds = float(found[1]) * SECONDS[found[2]] + more
        return seconds, ROUNDED_TO[found[2]] / 2 + seconds * 0.005
    if said.startswith("used up"):
        more_used = re.search(r"(\d+) %", said)
        return (-int(more_used[1]) / 100 if more_used else 0.0), 0.006
    if found := re.match(r"([\d.]+) %", said):
        return float(found[1]) / 100, 0.0005 if "left" in said else 0.00001
    if found := re.fullmatch(r"([\d.]+) ([KMGT]iB|B)(?:/s)?", said):
        return float(found[1]) * SIZES[found[2]], float(found[1]) * SIZES[found[2]] * 0.005
    return (float(said), 0.0) if re.fullmatch(r"\d+(\.\d+)?", said) else None


def differs(said: str, known: float | None) -> bool:
    found = value(said)
    if found is None:
        assert said.strip("–") == "" or said.startswith("watched since"), said
        return bool(known) and not (known is not None and known < 3_600)
    return known is None or abs(found[0] - known) > found[1] * (1 + 1e-9)


def rows(page: Iterable[Line], section: str) -> Iterator[Line]:
    return (one for one in page if one.section == section and one.heads and one.cells != one.heads)


def compared(page: list[Line], section: str, columns: Mapping[str, str], known: Mapping[str, Any]) -> int:
    """How many cells of a table were held against the values that have the name of their row."""
    count = 0
    for row in rows(page, section):
        for head in [one for one in row.heads if one in columns and row.name in known]:
            told = known[row.name].get(columns[head])
            assert not differs(row.under(head), told), (section, row.name, head, row.under(head), told)
            count += 1
    return count


@pytest.mark.parametrize("kind", KINDS)
def test_a_mail_and_a_plain_text_say_what_the_page_says(written: Mapping[str, Document], kind: str) -> None:
    one = written[kind]
    page, mail = in_html(one.html), in_html(one.mail)
    text = in_text(one.text, {line.section for line in page})
    assert strange(page, mail) == []
    assert strange(page, text) == []
    assert sum(len(line.figures) for line in text) > 5
    for section in LISTS:
        told = [[one.text for one in form if one.section == section and not one.text.startswith("Times in")]
                for form in (page, mail, text)]  # fmt: skip
        assert all(some in ([], told[0]) for some in told), section
    for form in (one.html, one.mail, one.text):
        assert one.title in form
        assert one.summary in form


def test_a_figure_that_is_another_one_is_found(written: Mapping[str, Document]) -> None:
    """So that the test above cannot pass by reading nothing."""
    one = written["monthly-december"]
    page = in_html(one.html)
    sections = {line.section for line in page}
    for was, other in (("incidents", "1 incidents"), (" ms,", "1 ms,"), (" % of ", "1 % of "), (" EST", " EDT")):
        assert strange(page, in_text(one.text.replace(was, other), sections)), was


@pytest.mark.parametrize("kind", [one for one in KINDS if "weekly" in one or "december" in one or "monthly" in one])
def test_json_and_csv_have_the_values_of_the_page(written: Mapping[str, Document], kind: str) -> None:
    one = written[kind]
    page, known = in_html(one.html), json.loads(one.json)
    internal = one.audience is TEAM
    parts = known["checks"] if internal else known["components"]
    by_name = {part["name"]: part for part in parts}
    assert compared(page, "Availability", AVAILABILITY, by_name) >= 2 * len(parts)
    table = list(csv.DictReader(io.StringIO(one.csv)))
    assert len(table) == len(parts)
    for row in table:
        part = by_name[row.get("check") or row["component"]]
        part = {**part, **(part.get("speed") or {}), "longest_outage": part.get("longest"),
                "without_maintenance": part["availability_without_maintenance"]}  # fmt: skip
        for name in [name for name in row if name not in ("check", "component", "group")]:
            assert (float(row[name]) if row[name] else None) == part.get(name), (name, row)
    months = {month["month"]: month["figures"] for month in known.get("months", ()) if month["figures"]}
    if months:
        assert compared(page, "Month by month", MONTH, months) >= 2 * len(months)
    if internal:
        _has_what_the_team_reads(page, known)


def _has_what_the_team_reads(page: list[Line], known: dict[str, Any]) -> None:
    objectives = {one["name"]: one for one in known["objectives"]}
    assert compared(page, "Objectives", OBJECTIVE, objectives) == 5 * len(objectives)
    speeds = {one["name"]: one["speed"] for one in known["checks"] if one["speed"]}
    percentiles = {"Half": "p50", "95 %": "p95", "99 %": "p99"}
    assert compared(page, "Performance", percentiles, speeds) == 3 * len(speeds)
    used = {
        " ".join((one["name"], *(label for _, label in one["labels"]), "of", one["check"])): one
        for one in known["resources"]
    }
    shares = {"Half of the time": "p50", "95 %": "p95", "Peak": "peak"}
    for row in rows(page, "Capacity"):
        for head, name in shares.items():
            said = value(row.under(head))
            assert said is not None
            assert said[0] == pytest.approx(used[row.name][name], rel=0.005), (row.name, head)
    lasted = {
        f"#{one['id']}": {"seconds": one["resolved_at"] and one["resolved_at"] - one["opened_at"]}
        for one in known["incidents"]
    }
    listed = {row.name: row.under("Lasted") for row in rows(page, "Incidents")}
    assert listed.keys() == lasted.keys()
    for name, said in listed.items():
        assert said == "open" if lasted[name]["seconds"] is None else not differs(said, lasted[name]["seconds"])
    head = " ".join(line.text for line in page if not line.section)
    assert f"Incidents {len(listed)} " in head
    for words, name in (
        ("Mean time to acknowledge", "mean_time_to_acknowledge"),
        ("Mean time to resolve", "mean_time_to_resolve"),
        ("Mean time between failures", "mean_time_between_failures"),
    ):
        [said] = [line.text.removeprefix(words).strip() for line in page if line.text.startswith(words)]
        assert not differs(said, known[name]), (words, said)


@pytest.mark.parametrize("kind", ["drill-team", "drill-stakeholders"])
def test_json_and_csv_of_drills_have_the_values_of_the_page(written: Mapping[str, Document], kind: str) -> None:
    one = written[kind]
    page, known = in_html(one.html), json.loads(one.json)
    table = list(csv.DictReader(io.StringIO(one.csv)))
    for section, head, what, part, name in (
        ("Restored backups", "At most", "restore", "restores", "slowest"),
        ("Work at risk", "At worst", "recovery point", "at_risk", "worst"),
    ):
        shown, listed = list(rows(page, section)), [row for row in table if row["what"] == what]
        assert len(shown) == len(listed) == len(known[part]) > 0
        for row, line, told in zip(shown, listed, known[part], strict=True):
            assert not differs(row.under(head), told[name])
            assert not differs(row.under("Objective").partition(",")[0], told["objective"])
            assert ("not met" in row.under("Objective")) is not told["met"]
            assert (float(line["seconds"]), float(line["objective"])) == (told[name], told["objective"])
    drills = " ".join(line.text for line in page if line.section == "Drills of alarms")
    answers = re.findall(r"(?:acknowledged by \w+|answered) after ([0-9hmins ]+?)(?= ?\.| [A-Z]|$)", drills)
    taken = [drill["acknowledged_after"] for drill in known["drills"] if drill["acknowledged_after"] is not None]
    assert len(answers) == len(taken) > 0
    assert not any(differs(said, seconds) for said, seconds in zip(answers, taken, strict=True))
    assert [float(row["seconds"]) for row in table if row["what"] == "drill" and row["seconds"]] == taken


@pytest.mark.parametrize("kind", ["incident-team", "incident-stakeholders"])
def test_json_and_csv_of_an_incident_have_the_values_of_the_page(written: Mapping[str, Document], kind: str) -> None:
    one = written[kind]
    page, known = in_html(one.html), json.loads(one.json)
    said = {
        "Lasted": "seconds",
        "Time until somebody was told": "seconds_to_tell",
        "Time to acknowledge": "seconds_to_acknowledge",
        "Time to resolve": "seconds_to_resolve",
    }
    for words, name in list(said.items())[: 4 if one.audience is TEAM else 1]:
        [line] = [line.text for line in page if not line.section and line.text.startswith(words)]
        assert not differs(line.removeprefix(words).strip(), known[name]), line
    if one.audience is TEAM:
        assert f"Runs that failed meanwhile {known['runs_failed']} of {known['runs']}" in [line.text for line in page]
        assert len(list(csv.DictReader(io.StringIO(one.csv)))) == len(known["timeline"])
    else:
        [row] = csv.DictReader(io.StringIO(one.csv))
        assert (float(row["began"]), float(row["ended"])) == (known["opened_at"], known["resolved_at"])
        assert float(row["seconds"]) == known["seconds"]


def test_of_the_period_before_is_told_what_its_own_report_told(records: Path) -> None:
    """Both begin in the middle of an incident: it belongs to each period in which it was open."""
    begin = next(one.start for one in year.outages() if one.hours > 1 and one.start > year.BEGIN + 30 * DAY) + HOUR
    asked = replace(wanted(records, ReportKind.WEEKLY, TEAM, 1, 1, 2029), before=begin - 7 * DAY, since=begin)
    own = gather(replace(asked, until=begin + 7 * DAY))
    following = gather(replace(asked, before=begin, since=begin + 7 * DAY, until=begin + 14 * DAY))
    assert following.incidents_before == len(own.incidents) > 0


@pytest.mark.parametrize("audience", [TEAM, PUBLIC])
def test_its_days_come_to_what_a_report_says_of_all_of_them(records: Path, audience: Audience) -> None:
    """Stakeholders' days leave planned maintenance out, as their shares do."""
    known = gather(wanted(records, ReportKind.MONTHLY, audience, 3, 1))
    days = [total(parts) for parts in zip(*(one.days for one in known.checks), strict=True)]
    of_days = [one.share_with_planned if audience is TEAM else one.share for one in days]
    found = document(known)
    for form in (found.html, found.mail):
        assert f"the worst day {share(min(one for one in of_days if one is not None))}" in form
    assert total(days).all_up == pytest.approx(total(one.uptime for one in known.checks).all_up)


def test_a_restore_has_one_objective(records: Path) -> None:
    """The monthly report reckoned 14 399.999988 s where the one of drills said four hours."""
    monthly = json.loads(document(gather(wanted(records, ReportKind.MONTHLY, TEAM, 1, 1, 2029))).json)
    drills = json.loads(drill_report(rehearsed(wanted(records, ReportKind.DRILL, TEAM, 1, 1, 2029))).json)
    [restore] = [one for one in monthly["recovery"] if one["probe"] == "restore"]
    assert restore["objective"] == drills["restores"][0]["objective"] == 14_400.0
    assert restore["worst"] <= drills["restores"][0]["slowest"]
