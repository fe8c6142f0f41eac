"""Stakeholders get nothing of what is inside, wherever it may stand: every text that a report has is a mark."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from tests.reports import year
from tests.reports.__main__ import PUBLIC, TEAM, wanted
from tests.reports.test_incident import wanted as incident_wanted
from wcr_watchd.core.report import Audience, Document, ReportKind
from wcr_watchd.reports.drill import document as drill_report
from wcr_watchd.reports.facts import gather
from wcr_watchd.reports.incident import document as incident_report
from wcr_watchd.reports.rehearsed import gather as rehearsed
from wcr_watchd.reports.render import document
from wcr_watchd.runtime.reports import enclosure

MARK = "zqx-marked"
CHOSEN = {
    "Wanted": {"watchd", "timezone"},
    "IncidentWanted": {"name", "watchd", "timezone", "components"},  # its name has the number of the incident
    "Subject": {"group"},
    "Upcoming": {"kind"},
    "Review": {"root_cause", "impact", "resolution", "prevention"},
    "FollowUp": {"text"},
}
"""What is chosen or written for the public, as docs/reports.md says; everything else is inside."""


def planted(one: Any) -> Any:
    """The same with a mark in place of every text that is inside, also in fields that come to it later."""
    if isinstance(one, str) and not isinstance(one, Enum):
        return MARK
    if is_dataclass(one) and not isinstance(one, type):
        chosen = CHOSEN.get(type(one).__name__, set())
        names = [each.name for each in fields(one) if each.init and each.name not in chosen]
        return replace(one, **{name: planted(getattr(one, name)) for name in names})
    if isinstance(one, Mapping):
        return {key: planted(value) for key, value in one.items()}
    return type(one)(map(planted, one)) if isinstance(one, (tuple, list)) else one


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("year") / "watchd.db"
    asyncio.run(year.fill(path))
    return path


def written(records: Path, kind: ReportKind, audience: Audience) -> Document:
    if kind is ReportKind.INCIDENT:
        return incident_report(planted(incident_wanted(audience)))
    asked = wanted(records, kind, audience, 1, 1, 2029)
    if kind is ReportKind.DRILL:
        return drill_report(planted(rehearsed(asked)))
    return document(planted(gather(asked)))


@pytest.mark.parametrize("kind", list(ReportKind))
def test_stakeholders_read_no_mark(records: Path, kind: ReportKind) -> None:
    found = written(records, kind, PUBLIC)
    for name in ("title", "summary", "html", "mail", "text", "json", "csv"):
        assert MARK not in getattr(found, name), name
    sent = enclosure(found)
    assert MARK not in "".join((sent.page_name, *(name for name, _ in sent.pictures)))


@pytest.mark.parametrize("kind", [ReportKind.DRILL, ReportKind.INCIDENT])
def test_marks_would_be_read(records: Path, kind: ReportKind) -> None:
    """Those of the team are full of them."""
    found = written(records, kind, TEAM)
    for name in ("html", "mail", "text", "json", "csv"):
        assert MARK in getattr(found, name), name
