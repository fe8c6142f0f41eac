"""What would follow an incident, step by step: who would be told, by what, when and until when. Nobody is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from wcr_watchd.core import engine, life
from wcr_watchd.core.life import Finding
from wcr_watchd.core.model import EventKind, Incident, Notification, Outcome, Severity
from wcr_watchd.core.on_call import on_call_at
from wcr_watchd.core.replay import Replay
from wcr_watchd.core.setup import Check, Setup
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.state import CheckState, State
from wcr_watchd.core.units import format_duration
from wcr_watchd.core.work import Work


@dataclass(frozen=True, slots=True)
class Telling:
    """One moment at which something happens: why, and who is told; ``on_call`` is who is by then, by schedule."""

    at: float
    kind: EventKind
    severity: Severity
    reason: str
    notifications: tuple[Notification, ...]
    on_call: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Outlook:
    """All that would happen while nobody does anything, and in a sentence how it goes on after that."""

    tellings: tuple[Telling, ...]
    afterwards: str


def outlook(
    setup: Setup, check: Check, severity: Severity, at: float, until: float, silences: Iterable[Silence] = ()
) -> Outlook:
    """What would follow if the check had an incident of this severity ``at`` that time (epoch seconds).

    Nobody acknowledges, everything else is fine, and it lasts ``until`` then.
    """
    trial = Replay(setup, at, silences, state=_as_of(setup, check, at, until))
    work = Work(setup, trial.state, at, None)
    incident = life.begin(work, check, "", Finding(severity, f"{check.name} is {severity.word}", ""), "as a trial")
    trial.take(work.decision())
    trial.pass_time(until)
    owed: dict[tuple[EventKind, float], list[Notification]] = {}
    for one in trial.notifications:
        owed.setdefault((one.event, one.created_at), []).append(one)
    tellings = tuple(
        Telling(
            event.at,
            event.kind,
            event.severity,
            event.reason,
            tuple(owed.get((event.kind, event.at), ())),
            _on_call(setup, check, event.at),
        )
        for event in trial.events
    )
    return Outlook(tellings, _afterwards(setup, trial.incidents[incident.id], until))


def _as_of(setup: Setup, check: Check, at: float, until: float) -> State:
    """Everything is fine but the check itself, and seen to be fine all the time."""
    state = State()
    for name in setup.checks:
        state.checks[name] = CheckState(name, outcome=Outcome.UP, since=at, last_at=until)
    state.checks[check.name] = CheckState(check.name, Outcome.DOWN, since=at, last_at=at, failing_since=at)
    return state


def _on_call(setup: Setup, check: Check, at: float) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Who is on call by the schedules that the check's policy names."""
    policy = setup.policies.get(check.policy)
    plans = policy.by_severity.values() if policy else ()
    named = dict.fromkeys(target.who for plan in plans for target in life.plan_targets(plan))
    return tuple((name, on_call_at(setup.on_call[name], at).contacts) for name in named if name in setup.on_call)


def _afterwards(setup: Setup, incident: Incident, until: float) -> str:
    due = engine.deadline(incident)
    if incident.state.muted:
        return f"still nobody is told then: {incident.muted_by}"
    if due is None:
        return "after that nothing more is told until it gets worse or is over"
    return (
        f"and so on (next in {format_duration(max(0.0, due - until))}), until somebody acknowledges it, it is silenced "
        "or it is over"
    )
