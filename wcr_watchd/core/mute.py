"""Why nobody is told of an incident: maintenance, a silence, lost connectivity, a failed parent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, takewhile

from wcr_watchd.core.connectivity import is_offline, waiting_for_controls
from wcr_watchd.core.dependencies import cause
from wcr_watchd.core.model import Incident, IncidentState
from wcr_watchd.core.setup import OWN, Check, Setup
from wcr_watchd.core.silence import Facts, Silence, Window, covers
from wcr_watchd.core.state import State

MOST_SPANS = 500
"""Spans of a window that are looked at."""
UNKNOWN_SUBJECT = "no result"
"""The subject of an incident about a check that stays unknown."""


@dataclass(frozen=True, slots=True)
class Mute:
    """What keeps an incident from being told: the state it is in meanwhile, the reason, when to look again."""

    state: IncidentState
    reason: str
    until: float | None = None


def facts_of(setup: Setup, check: Check, incident: Incident) -> Facts:
    """What silences and windows can match of an incident."""
    return {
        **facts_of_check(setup, check),
        "owner": (incident.owner or check.owner,),
        "subject": (incident.subject,),
        "severity": (incident.severity.word,),
        **({name: (value,) for name, value in incident.alert.labels} if incident.alert else {}),
    }


def facts_of_check(setup: Setup, check: Check) -> dict[str, tuple[str, ...]]:
    """What can be matched of a check with which nothing is wrong."""
    return {
        "alertname": (check.name,),
        "check": (check.name,),
        "type": (check.probe,),
        "target": (check.target,),
        "group": (check.group,),
        "owner": (check.owner,),
        "tag": check.tags,
        "location": (setup.location,),
    }


def mute_of(setup: Setup, state: State, check: Check, incident: Incident, since: float, now: float) -> Mute | None:
    """Say what keeps the incident from being told at this time; None: nothing does.

    ``since`` is when the check began to fail.
    """
    facts = facts_of(setup, check, incident)
    return (
        _maintenance(setup, state, facts, now)
        or _silenced(state, facts, now)
        or _explained(setup, state, check, incident, since, now)
    )


def _maintenance(setup: Setup, state: State, facts: Facts, now: float) -> Mute | None:
    for window in setup.windows:
        if covers(window.matchers, facts) and (span := open_span(state, window, now)):
            return Mute(IncidentState.MAINTENANCE, f"maintenance {window.name}", span[1])
    return None


def open_span(state: State, window: Window, now: float) -> tuple[float, float] | None:
    """The span of the window that holds at this time, unless somebody has ended it early."""
    span = window.spans.around(now)
    return None if span is None or stopped_id(window.name, span[0]) in state.silences else span


def planned_spans(setup: Setup, state: State, check: Check, since: float, until: float) -> list[tuple[float, float]]:
    """When planned maintenance covered a check between two times: by the present windows, and started by hand.

    Finding when something recurs takes a while: not on an event loop.
    """
    facts = facts_of_check(setup, check)
    found = [
        (one.starts_at, one.ends_at)
        for one in list(state.silences.values())
        if one.maintenance and covers(one.matchers, facts) and one.starts_at < until and one.ends_at > since
    ]
    for window in setup.windows:
        if covers(window.matchers, facts):
            found += window_spans(state.silences, window, since, until)
    return found


def window_spans(
    silences: Mapping[str, Silence], window: Window, since: float, until: float
) -> list[tuple[float, float]]:
    """The spans of a window between two times that nobody ended early: what those lasted is among the ``silences``."""
    held = window.spans.around(since)
    coming = takewhile(lambda span: span[0] < until, window.spans.after(since))
    spans = (*((held,) if held else ()), *islice(coming, MOST_SPANS))
    return [span for span in spans if stopped_id(window.name, span[0]) not in silences]


def is_planned(setup: Setup, state: State, check: Check, now: float) -> bool:
    """Whether planned maintenance covers a check now."""
    facts = facts_of_check(setup, check)
    started = (one.matchers for one in state.silences.values() if one.maintenance and one.active(now))
    return any(covers(matchers, facts) for matchers in started) or any(
        covers(window.matchers, facts) and open_span(state, window, now) is not None for window in setup.windows
    )


def stopped_id(window: str, start: float) -> str:
    """Under which id a silence that is over notes that a window which began then was ended early."""
    return f"window-{window}-{int(start)}"


def _silenced(state: State, facts: Facts, now: float) -> Mute | None:
    for silence in state.silences.values():
        if silence.active(now) and covers(silence.matchers, facts):
            return Mute(
                IncidentState.MAINTENANCE if silence.maintenance else IncidentState.SILENCED,
                _words(silence),
                silence.ends_at,
            )
    return None


def _words(silence: Silence) -> str:
    kind = "maintenance started" if silence.maintenance else "silenced"
    return f"{kind} by {silence.author}" + (f": {silence.comment}" if silence.comment else "")


def _explained(setup: Setup, state: State, check: Check, incident: Incident, since: float, now: float) -> Mute | None:
    if incident.subject not in ("", UNKNOWN_SUBJECT) or check.name == OWN.name:
        return None
    if check.external or check.name in setup.controls:
        if is_offline(setup, state):
            return Mute(IncidentState.SUPPRESSED, "this watcher is offline")
        if waiting := waiting_for_controls(setup, state, since, now):
            return Mute(IncidentState.SUPPRESSED, *waiting)
    found = cause(setup, state, check.name, since, now) if check.depends_on else None
    return Mute(IncidentState.SUPPRESSED, *found) if found else None
