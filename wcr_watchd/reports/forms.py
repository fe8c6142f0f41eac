"""The forms that every report has: a page, a mail and plain text, filled from templates, and the files beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from typing import Any
from zoneinfo import ZoneInfo

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from wcr_watchd.core.message import clock_time
from wcr_watchd.core.report import Audience, Document, IncidentWanted, Picture, ReportKind, Wanted
from wcr_watchd.core.units import format_duration

STYLE = (resources.files("wcr_watchd.reports") / "templates" / "report.css").read_text(encoding="utf-8")
"""The page's style; who serves the page allows it by its hash."""

Form = tuple[str, str, str]
"""The names of the templates of a page, a mail and a plain text."""


@dataclass(frozen=True, slots=True)
class Files:
    """What a report brings beside its forms."""

    json: str
    csv: str
    pictures: tuple[Picture, ...] = ()


_templates = Environment(
    loader=PackageLoader("wcr_watchd.reports"),
    autoescape=select_autoescape(("html",)),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def written(
    wanted: Wanted | IncidentWanted,
    form: Form,
    files: Files,
    *,
    kind: ReportKind,
    title: str,
    summary: str,
    span: tuple[float, float],
    values: Mapping[str, Any],
) -> Document:
    """A report whose ``form`` is filled with ``values`` and with what all forms use, over ``span`` (epoch seconds)."""
    shared = {
        "wanted": wanted,
        "internal": wanted.audience is Audience.TEAM,
        "title": title,
        "summary": summary,
        "style": STYLE,
        "made": f"{datetime.fromtimestamp(wanted.now, ZoneInfo(wanted.timezone)):%-d %B %Y %H:%M %Z}",
        "duration": format_duration,
        "moment": lambda at: clock_time(at, wanted.timezone, wanted.now, dated=True),
    }
    page, mail, text = (_templates.get_template(name).render(shared | dict(values)) for name in form)
    return Document(
        name=wanted.name,
        kind=kind,
        audience=wanted.audience,
        title=title,
        summary=summary,
        made_at=wanted.now,
        since=span[0],
        until=span[1],
        html=page,
        mail=mail,
        text=text,
        json=files.json,
        csv=files.csv,
        pictures=files.pictures,
    )


def cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula (OWASP: CSV injection)."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t")) else text
