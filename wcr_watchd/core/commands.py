"""What people ask of the engine: acknowledge, resolve, note, assign, silence. Pure, like the engine itself.

``by`` is who asks, with through what where that is known (``ann by SMS``). Each raises
:class:`~wcr_watchd.core.errors.CommandError` with a sentence when it cannot be done.
"""

from __future__ import annotations

from dataclasses import replace

from wcr_watchd.core import life
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.message import clock_time
from wcr_watchd.core.model import EventKind, Incident, IncidentState, Observation
from wcr_watchd.core.mute import facts_of, facts_of_check, open_span, stopped_id
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.silence import Matcher, Silence, Standing, covers, revised
from wcr_watchd.core.state import State
from wcr_watchd.core.work import Decision, Work, check_of

OF_INCIDENTS = ("severity", "subject")
"""Labels that a check has only while something is wrong with it."""


def acknowledge(
    setup: Setup,
    state: State,
    number: int,
    by: str,
    now: float,
    latest: Observation | None,
    *,
    until: float | None = None,
    sticky: bool = False,
) -> Decision:
    """Somebody takes the incident: reminders and escalation stop.

    Until it is over or gets worse; with ``until`` (epoch seconds) no longer than that; a ``sticky`` one stays when it
    gets worse.
    """
    incident = _open(state, number)
    if incident.state is IncidentState.ACKNOWLEDGED and incident.acknowledged_by == by and until is None:
        raise CommandError(f"incident #{number} is already acknowledged by {by}")
    if incident.state is IncidentState.ACKNOWLEDGED and until is None:
        raise CommandError(f"incident #{number} is already acknowledged by {incident.acknowledged_by}")
    if until is not None and until <= now:
        raise CommandError("an acknowledgement must end in the future; name a later time or none")
    work = Work(setup, state, now, latest)
    taken = replace(
        incident,
        state=IncidentState.ACKNOWLEDGED,
        acknowledged_at=now,
        acknowledged_by=by,
        acknowledged_until=until,
        first_acknowledged_at=now if incident.taken_at is None else incident.taken_at,
        first_acknowledged_by=incident.taken_by or by,
        sticky=sticky,
        owner=incident.owner or by.partition(" by ")[0],
        muted_by="",
        muted_until=None,
        next_step_at=None,
        next_reminder_at=None,
    )
    # Nobody is woken by good news: whoever was told learns of it, but not by text message.
    to = tuple(who for who in incident.told if setup.channels.get(who.channel) != "phone")
    ends = f" until {clock_time(until, setup.timezone, now)}" if until is not None else ""
    work.record(taken, EventKind.ACKNOWLEDGED, f"acknowledged by {by}{ends}", to=to, by=by)
    work.overtaken.append(number)
    return work.decision()


def resolve(setup: Setup, state: State, number: int, by: str, now: float, latest: Observation | None) -> Decision:
    """Somebody ends the incident; if its check still fails at the next result, it goes on."""
    incident = _open(state, number)
    work = Work(setup, state, now, latest)
    life.end(work, incident, f"ended by {by}", by=by)
    return work.decision()


def note(setup: Setup, state: State, incident: Incident, by: str, text: str, now: float) -> Decision:
    """Add a line to the incident's timeline, also after its end; nobody is told."""
    if not text.strip():
        raise CommandError("a note needs a text")
    work = Work(setup, state, now, None)
    work.record(state.incidents.get(incident.id, incident), EventKind.NOTED, text.strip(), by=by)
    return work.decision()


def assign(setup: Setup, state: State, number: int, owner: str, by: str, now: float) -> Decision:
    """Say who works on the incident."""
    work = Work(setup, state, now, None)
    incident = replace(_open(state, number), owner=owner)
    work.record(incident, EventKind.NOTED, f"owner is {owner or 'nobody'}", by=by)
    return work.decision()


def silence(setup: Setup, state: State, wanted: Silence, now: float) -> Decision:
    """Put a new silence in force: what it covers is muted."""
    _check_silence(wanted, now)
    return _put(setup, state, (wanted,), now)


def change_silence(setup: Setup, state: State, identifier: str, wanted: Silence, now: float) -> Decision:
    """Change a silence: what it no longer covers is told.

    Where the old one cannot go on truthfully, it ends and ``wanted`` follows under its own id; the last of the
    decision's silences is the one that holds.
    """
    before = _silence(state, identifier)
    _check_silence(wanted, now)
    return _put(setup, state, revised(before, wanted, now), now)


def expire(setup: Setup, state: State, identifier: str, now: float) -> Decision:
    """End a silence now; what is still broken under it is told."""
    found = _silence(state, identifier)
    return Decision() if found.standing(now) is Standing.EXPIRED else _put(setup, state, (found.ended(now),), now)


def stop_window(setup: Setup, state: State, name: str, by: str, now: float) -> Decision:
    """End a planned maintenance window for this time; what is still broken under it is told."""
    window = next((one for one in setup.windows if one.name == name), None)
    if window is None:
        raise CommandError(f"there is no maintenance {name}; `wcr-watchd maintenance list` shows all")
    span = open_span(state, window, now)
    if span is None:
        raise CommandError(f"the maintenance window {name} is not open now")
    ended = Silence(stopped_id(name, span[0]), window.matchers, span[0], now, by, "ended early", now, maintenance=True)
    return _put(setup, state, (ended,), now)


def _check_silence(wanted: Silence, now: float) -> None:
    if not wanted.matchers:
        raise CommandError('a silence needs at least one matcher, such as check="api"')
    if not wanted.maintenance and covers(wanted.matchers, {}):
        raise CommandError(
            "this would silence everything: each of its matchers also holds where the label is not there; "
            "if the whole platform is worked on, start maintenance"
        )
    if wanted.ends_at < wanted.starts_at:
        raise CommandError("a silence must end after it starts")
    if wanted.ends_at < now:
        raise CommandError("a silence must end in the future")


def covers_nothing(setup: Setup, state: State, matchers: tuple[Matcher, ...]) -> bool:
    """Whether no check and no open incident is what the matchers name: they may be misspelt."""
    always = tuple(matcher for matcher in matchers if matcher.name not in OF_INCIDENTS)
    if not always:
        return False
    if any(all(matcher.holds(facts_of_check(setup, check)) for matcher in always) for check in setup.checks.values()):
        return False
    known = ((check_of(setup, incident), incident) for incident in state.incidents.values())
    return not any(covers(always, facts_of(setup, check, incident)) for check, incident in known)


def _silence(state: State, identifier: str) -> Silence:
    found = state.silences.get(identifier)
    if found is None:
        raise CommandError(f"there is no silence {identifier}; `wcr-watchd silence list --all` shows all")
    return found


def look_again(setup: Setup, state: State, now: float) -> Decision:
    """Mute what a window covers that has begun, and tell what is still broken of one that is over."""
    return _put(setup, state, (), now)


def _put(setup: Setup, state: State, silences: tuple[Silence, ...], now: float) -> Decision:
    view = replace(state, silences={**state.silences, **{one.id: one for one in silences}})
    work = Work(setup, view, now, None)
    work.silences.extend(silences)
    for incident in list(state.incidents.values()):
        life.attend(work, work.check_of(incident), incident)
    return work.decision()


def _open(state: State, number: int) -> Incident:
    incident = state.incidents.get(number)
    if incident is None:
        raise CommandError(f"there is no open incident #{number}; `wcr-watchd incidents` lists them")
    return incident
