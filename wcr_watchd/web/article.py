"""An incident's review as a draft of an article for the knowledge folder."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import tomli_w

from wcr_watchd.core.message import one_line
from wcr_watchd.core.review import TEXTS, Facts, Review
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.units import format_duration

NOT_WRITTEN = "Not written yet."
LONGEST_TITLE = 120


def article(setup: Setup, facts: Facts, written: Review, by: str, now: float) -> str:
    """The file with its head, ready to be put into the folder once a person has read it."""
    incident = facts.incident
    today = datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(setup.timezone)).date()
    about = one_line(" ".join(filter(None, (incident.check, incident.subject))))
    head: dict[str, Any] = {
        "kind": "article",
        "title": f"{about}: {one_line(incident.summary)}"[:LONGEST_TITLE],
        "checks": [incident.check],
        "owner": one_line(incident.owner or by),
        "reviewed": today,
    }
    lasted = f"lasted {format_duration(facts.lasted)}" if incident.resolved_at else "was not over when this was written"
    begun = datetime.fromtimestamp(incident.opened_at, UTC).astimezone(ZoneInfo(setup.timezone))
    lines = ["+++", tomli_w.dumps(head).strip(), "+++", "", "## What happened", ""]
    lines += [f"    {one_line(incident.summary)}", ""]
    lines += [f"It began at {begun:%Y-%m-%d %H:%M %Z} and {lasted}; at worst it was {incident.peak.word}."]
    lines += [f"See [incident {incident.id}](/incidents/{incident.id}).", ""]
    for name, heading in TEXTS.items():
        lines += [f"## {heading}", "", getattr(written, name).strip() or NOT_WRITTEN, ""]
    return "\n".join(lines)
