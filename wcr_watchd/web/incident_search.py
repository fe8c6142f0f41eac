"""Which incidents somebody looks for, by state, severity, check, group, tag, words and time: for page and API alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from zoneinfo import ZoneInfo

from wcr_watchd.core.model import IncidentState, Severity
from wcr_watchd.core.protocols import Wanted
from wcr_watchd.core.view import View
from wcr_watchd.web import shapes

STATES: Final[Mapping[str, tuple[IncidentState, ...]]] = {
    "open": (IncidentState.OPEN,),
    "acknowledged": (IncidentState.ACKNOWLEDGED,),
    "quiet": (IncidentState.SUPPRESSED, IncidentState.SILENCED, IncidentState.MAINTENANCE),
    "unresolved": tuple(state for state in IncidentState if state is not IncidentState.RESOLVED),
    "resolved": (IncidentState.RESOLVED,),
}
"""What can be asked for as a state."""
SEVERITIES = ("info", "warning", "critical")
LONGEST_TEXT = 200
DAY = 86_400.0


def wanted(view: View, asked: Mapping[str, str]) -> Wanted:
    """What ``state``, ``severity``, ``check``, ``group``, ``tag``, ``text``, ``since`` and ``until`` ask for.

    What is missing or empty narrows nothing. Raises ``ValueError`` with what would be right.
    """
    state, severity = asked.get("state", ""), asked.get("severity", "")
    if state and state not in STATES:
        raise ValueError(f"the state {state!r} is none of {', '.join(STATES)}")
    if severity and severity not in SEVERITIES:
        raise ValueError(f"the severity {severity!r} is none of {', '.join(SEVERITIES)}")
    zone = ZoneInfo(view.setup.timezone)
    found = Wanted(
        _checks(view, asked),
        STATES.get(state, ()),
        Severity.of(severity) if severity else Severity.OK,
        asked.get("text", "")[:LONGEST_TEXT],
    )
    if since := asked.get("since"):
        found = replace(found, since=shapes.moment(since, zone))
    if until := asked.get("until"):
        # A day ends when the next one begins.
        whole_day = DAY if len(until) == len("2026-11-28") and "-" in until else 0.0
        found = replace(found, until=shapes.moment(until, zone) + whole_day)
    return found


def _checks(view: View, asked: Mapping[str, str]) -> frozenset[str] | None:
    """The checks of a name, group and tag; None when none of these is asked for."""
    name, group, tag = (asked.get(key, "") for key in ("check", "group", "tag"))
    if not (name or group or tag):
        return None
    if name and not (group or tag):
        return frozenset((name,))  # also one that is no longer configured
    return frozenset(
        check.name
        for check in view.setup.checks.values()
        if name in ("", check.name) and group in ("", check.group) and (not tag or tag in check.tags)
    )
