"""The report of one incident: what was recorded, what people make of it, and what follows from it.

Stakeholders read when what was out for how long, the four texts as people wrote them, and what is done about it;
nothing that was recorded inside.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import datetime
from zoneinfo import ZoneInfo

from wcr_watchd.core import follow_up
from wcr_watchd.core.follow_up import FollowUp
from wcr_watchd.core.message import clock_time
from wcr_watchd.core.report import Audience, Document, IncidentWanted, ReportKind
from wcr_watchd.core.review import TEXTS, figures
from wcr_watchd.core.units import format_duration
from wcr_watchd.reports.forms import Files, cell, written

TIMELINE_COLUMNS = ("at", "event", "severity", "what", "by")
SUMMARY_COLUMNS = ("component", "began", "ended", "seconds")
SOMETHING = "the platform"
"""What stakeholders read where neither the status page nor a group has a name for it."""


def document(wanted: IncidentWanted) -> Document:
    """Write the report of an incident."""
    internal = wanted.audience is Audience.TEAM
    incident = wanted.facts.incident
    values = {
        "facts": wanted.facts,
        "incident": incident,
        "figures": _team_figures(wanted) if internal else _public_figures(wanted),
        "texts": [(heading, getattr(wanted.written, name)) for name, heading in TEXTS.items()],
        "follow_ups": wanted.written.follow_ups,
        "stands": lambda one: follow_up.told(one, wanted.now, wanted.timezone),
    }
    return written(
        wanted,
        ("incident.html", "incident-mail.html", "incident.txt"),
        Files(_json(wanted, internal=internal), _timeline(wanted) if internal else _summary(wanted)),
        kind=ReportKind.INCIDENT,
        title=title(wanted),
        summary=summary(wanted),
        span=(incident.opened_at, incident.resolved_at or wanted.now),
        values=values,
    )


def title(wanted: IncidentWanted) -> str:
    """``Incident #42: api``; for stakeholders ``Disturbance of Shop on 28 November 2026``."""
    incident = wanted.facts.incident
    if wanted.audience is Audience.TEAM:
        return f"Incident #{incident.id}: {incident.check}" + (f" {incident.subject}" if incident.subject else "")
    began = datetime.fromtimestamp(incident.opened_at, ZoneInfo(wanted.timezone))
    return f"Disturbance of {', '.join(wanted.components) or SOMETHING} on {began.day} {began:%B %Y}"


def summary(wanted: IncidentWanted) -> str:
    """The report in one sentence."""
    facts, written = wanted.facts, wanted.written
    lasted = format_duration(facts.lasted)
    over = f"It lasted {lasted}" if facts.resolved_after is not None else f"It goes on, for {lasted} so far"
    if wanted.audience is Audience.STAKEHOLDERS:
        return over
    missing = [heading.lower() for name, heading in TEXTS.items() if not getattr(written, name)]
    still = f"; not written yet: {', '.join(missing)}" if missing else ""
    to_do = sum(one.done_at is None for one in written.follow_ups)
    return f"{over}, {facts.incident.peak.word} at worst{still}" + (
        f"; {to_do} follow-up{'s' if to_do > 1 else ''} to do" if to_do else ""
    )


def _team_figures(wanted: IncidentWanted) -> list[tuple[str, str]]:
    known = figures(wanted.facts)
    return [*_when(wanted), *known, ("Acknowledged by", wanted.facts.incident.taken_by or "nobody")]


def _public_figures(wanted: IncidentWanted) -> list[tuple[str, str]]:
    return [*_when(wanted), ("Lasted", format_duration(wanted.facts.lasted))]


def _when(wanted: IncidentWanted) -> list[tuple[str, str]]:
    incident, moment = wanted.facts.incident, _moment(wanted)
    ended = moment(incident.resolved_at) if incident.resolved_at is not None else "not yet"
    return [("Began", moment(incident.opened_at)), ("Ended", ended)]


def _moment(wanted: IncidentWanted) -> Callable[[float], str]:
    return lambda at: clock_time(at, wanted.timezone, wanted.now, dated=True)


# --- files ------------------------------------------------------------------------------------------------------------


def _json(wanted: IncidentWanted, *, internal: bool) -> str:
    facts, incident = wanted.facts, wanted.facts.incident
    body = {
        "kind": wanted.kind,
        "audience": wanted.audience,
        "watchd": wanted.watchd,
        "components": list(wanted.components),
        "opened_at": incident.opened_at,
        "resolved_at": incident.resolved_at,
        "seconds": facts.lasted,
        **{name: getattr(wanted.written, name) for name in TEXTS},
        "follow_ups": [_planned(one, internal=internal) for one in wanted.written.follow_ups],
    }
    if internal:
        body |= {
            "incident": incident.id,
            "check": incident.check,
            "subject": incident.subject,
            "severity": incident.peak.word,
            "summary": incident.summary,
            "acknowledged_by": incident.taken_by,
            "seconds_to_tell": facts.first_told_after,
            "seconds_to_acknowledge": facts.acknowledged_after,
            "seconds_to_resolve": facts.resolved_after,
            "runs": facts.runs,
            "runs_failed": facts.failed,
            "told": [{"who": one.who, "accepted_at": one.at, "messages": one.messages} for one in facts.told],
            "undelivered": facts.undelivered,
            "affected": [{"check": one.check, "incidents": list(one.incidents)} for one in wanted.affected],
            "likely_causes": [one.text for one in facts.causes],
            "earlier": [one.incident.id for one in wanted.earlier],
            "in_ninety_days": wanted.recent,
            "timeline": [
                {"at": one.at, "event": one.kind, "severity": one.severity.word, "what": one.reason or one.summary}
                for one in facts.timeline
            ],
        }
    return json.dumps(body, indent=1)


def _planned(one: FollowUp, *, internal: bool) -> dict[str, object]:
    known: dict[str, object] = {"text": one.text, "due": one.due, "done_at": one.done_at}
    return known | {"task": one.name, "owner": one.owner} if internal else known


def _timeline(wanted: IncidentWanted) -> str:
    into = io.StringIO()
    table = csv.writer(into)
    table.writerow(TIMELINE_COLUMNS)
    for one in wanted.facts.timeline:
        what, by = cell(one.reason or one.summary), cell(one.by)
        table.writerow([f"{one.at:.3f}", one.kind.value, one.severity.word, what, by])
    return into.getvalue()


def _summary(wanted: IncidentWanted) -> str:
    incident, into = wanted.facts.incident, io.StringIO()
    table = csv.writer(into)
    table.writerow(SUMMARY_COLUMNS)
    for name in wanted.components or (SOMETHING,):
        ended = "" if incident.resolved_at is None else f"{incident.resolved_at:.0f}"
        table.writerow([cell(name), f"{incident.opened_at:.0f}", ended, f"{wanted.facts.lasted:.0f}"])
    return into.getvalue()
