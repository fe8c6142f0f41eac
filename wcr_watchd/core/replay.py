"""Recorded observations through the engine under another configuration: what it would have opened and whom it would
have told. Pure: what was recorded comes from a :class:`Record`.

Whole hours of a check are left out where that changes nothing: nothing of it is open or being confirmed, all runs were
up, and no rule can have held within the hour's least and largest values. A check that something else depends on is not
left out while that needs it. Where rules look back by an hour at most, the hours before count as well; what was left
out of them is recalled before the check goes on. Checks whose rules look back further go through run by run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from math import inf, isnan
from typing import Protocol

from wcr_watchd.core import commands, engine
from wcr_watchd.core.announcements import next_edge
from wcr_watchd.core.connectivity import as_seen
from wcr_watchd.core.dependencies import ancestors
from wcr_watchd.core.model import Event, Incident, IncidentState, Notification, Observation, Outcome
from wcr_watchd.core.rules import History, remember
from wcr_watchd.core.setup import Check, Setup
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.state import CheckState, State
from wcr_watchd.core.steady import Bounds, can_fire

HOUR = 3_600.0
LOOKED_BACK = HOUR
"""Seconds that rules may look back for hours of their check to be left out."""
HOURS_IN_SIGHT = 3
"""Hours with runs in which lies what such a rule sees in the last of them: a window, and the value before it."""
HOURS_RECALLED = 3
"""Hours with runs before this one that are recalled: a window, and two values before it (see :mod:`core.windows`)."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Somebody really acknowledged an incident of this check and subject then (epoch seconds)."""

    at: float
    check: str
    subject: str
    by: str


class Record(Protocol):
    """What was recorded; hours are epoch seconds of their beginning."""

    def hours(self, since: float, until: float) -> Iterable[float]:
        """The hours in which anything may have been recorded, in order."""
        ...

    def spans(self, hour: float, names: Mapping[str, frozenset[str]]) -> Mapping[str, Bounds | None]:
        """Those of these checks with runs in the hour: bounds of the values named, None unless all runs were up."""
        ...

    def observations(self, hour: float, names: Mapping[str, frozenset[str]]) -> Sequence[Observation]:
        """All runs of these checks in the hour, by the time at which they ended, with the measurements named."""
        ...


class Replay:
    """The engine under ``setup``, with a hand on the clock; keeps everything that it decides."""

    def __init__(
        self,
        setup: Setup,
        start: float,
        silences: Iterable[Silence] = (),
        acknowledged: Iterable[Acknowledged] = (),
        state: State | None = None,
    ) -> None:
        self.setup = setup
        self.state = state or State()
        self.now = start
        self.incidents: dict[int, Incident] = {}
        self.events: list[Event] = []
        self.notifications: list[Notification] = []
        self.fed = 0
        """Runs that went through the engine."""
        self._latest: dict[str, Observation] = {}
        self._deadlines: list[tuple[float, int]] = []
        self._acknowledged = sorted(acknowledged, key=lambda one: -one.at)
        self._parents = {name for check in setup.checks.values() for name in check.depends_on} | {*setup.controls}
        self._looking_back = {check.name: reach for check in setup.checks.values() if (reach := _reach(check))}
        self._hours: dict[str, deque[tuple[float, Bounds | None]]] = {}
        """By check whose rules look back a little: its last hours with runs, and what is known of them."""
        self._left_out: set[str] = set()
        """Those of them whose last runs are not in their history."""
        self.state.silences.update((silence.id, silence) for silence in silences)
        self._starts = sorted((s.starts_at for s in self.state.silences.values() if s.starts_at > start), reverse=True)
        self._edge = next_edge(setup, start)

    # --- what happened ---

    def see(self, observation: Observation) -> None:
        """Take in a run, at the time it ended."""
        check = self.setup.checks.get(observation.check)
        if check is None:
            return
        self.pass_time(observation.at + observation.duration)
        if self._says_nothing(check, observation):
            return
        self.fed += 1
        observation = as_seen(self.setup, self.state, observation)
        self._latest[check.name] = observation
        self.take(engine.observe(self.setup, self.state, observation, self.now))

    def pass_time(self, until: float) -> None:
        """Let time pass up to then (epoch seconds): deadlines, windows that begin or end, acknowledgements."""
        while True:
            at, act = self._next()
            if at > until:
                break
            self.now = max(self.now, at)
            act()
        self.now = max(self.now, until)

    def _next(self) -> tuple[float, Callable[[], None]]:
        """What is due next, and when."""
        at, act = (self._deadlines[0][0] if self._deadlines else inf), self._tick
        if self._edge is not None and self._edge < at:
            at, act = self._edge, self._pass_edge
        if self._starts and self._starts[-1] < at:
            at, act = self._starts[-1], self._begin_silence
        if self._acknowledged and self._acknowledged[-1].at < at:
            at, act = self._acknowledged[-1].at, self._acknowledge
        return at, act

    def _tick(self) -> None:
        _, number = heappop(self._deadlines)
        incident = self.state.incidents.get(number)
        due = engine.deadline(incident) if incident else None
        if incident and due is not None and due <= self.now:
            latest = self._latest.get(incident.check)
            self.take(engine.tick(self.setup, self.state, number, self.now, latest))

    def _pass_edge(self) -> None:
        self.take(commands.look_again(self.setup, self.state, self.now))
        self._edge = next_edge(self.setup, self.now)

    def _begin_silence(self) -> None:
        self._starts.pop()
        self.take(commands.look_again(self.setup, self.state, self.now))

    def _acknowledge(self) -> None:
        taken = self._acknowledged.pop()
        number = self.state.by_check.get(taken.check, {}).get(taken.subject)
        if number is not None and self.state.incidents[number].state is not IncidentState.ACKNOWLEDGED:
            latest = self._latest.get(taken.check)
            self.take(commands.acknowledge(self.setup, self.state, number, taken.by, self.now, latest))

    def take(self, decision: engine.Decision) -> None:
        """Make a decision part of what happened."""
        engine.apply(self.state, decision)
        self.events += decision.events
        self.notifications += decision.notifications
        for incident in decision.incidents:
            self.incidents[incident.id] = incident
            at = engine.deadline(incident)
            if at is not None:
                heappush(self._deadlines, (at, incident.id))

    # --- what may be left out ---

    def _says_nothing(self, check: Check, observation: Observation) -> bool:
        """Whether the run changes nothing but the time of the last one, which is then noted."""
        if observation.outcome is not Outcome.UP or check.name in self._looking_back or not self.rests(check.name):
            return False
        bounds: dict[str, tuple[float, float]] = {}
        for measured in observation.measurements:
            if not isnan(measured.value):
                low, high = bounds.get(measured.name, (inf, -inf))
                bounds[measured.name] = (min(low, measured.value), max(high, measured.value))
        if any(can_fire(rule, bounds) for rule in check.rules):
            return False
        if check.name in self._parents:
            known = self.state.checks.get(check.name) or CheckState(check.name, since=observation.at)
            self.state.checks[check.name] = replace(known, outcome=Outcome.UP, last_at=observation.at)
        return True

    def rests(self, name: str) -> bool:
        """Whether nothing of the check is open, being confirmed, coming and going, or looked back on."""
        if name in self.state.by_check or self._looking_back.get(name, 0.0) > LOOKED_BACK:
            return False
        known = self.state.checks.get(name)
        if known is None:
            return True
        return known.outcome is Outcome.UP and not known.flaps and not any(rule.instances for _, rule in known.rules)

    def needed(self, hour: float, spans: Mapping[str, Bounds | None]) -> set[str]:
        """The checks of which an hour cannot be left out, with those that they depend on."""
        for name, bounds in spans.items():
            if name in self._looking_back:
                known = self._hours.setdefault(name, deque(maxlen=HOURS_RECALLED + 1))
                known.append((hour, bounds))
        found = {name for name, bounds in spans.items() if name in self.setup.checks and not self._idle(name, bounds)}
        external = any(self.setup.checks[name].external or name in self.setup.controls for name in found)
        for name in tuple(found):
            found.update(ancestors(self.setup, name))
        return found | ({*self.setup.controls} if external else set())

    def behind(self, hour: float, needed: Iterable[str]) -> Mapping[str, list[float]]:
        """Which hours are to be recalled of those needed checks of which runs were left out; of the others they are."""
        found = {name: [at for at, _ in self._hours[name] if at < hour] for name in self._left_out.intersection(needed)}
        self._left_out |= self._hours.keys() - set(needed)
        self._left_out -= found.keys()
        return found

    def recall(self, name: str, seen: Iterable[Observation]) -> None:
        """Make the history of a check anew from its last runs, in order."""
        history, rules = History(), self.setup.checks[name].rules
        for observation in seen:
            history = remember(history, rules, observation)
        self.state.histories[name] = history

    def _idle(self, name: str, bounds: Bounds | None) -> bool:
        if bounds is None or not self.rests(name):
            return False
        recent = _together(list(self._hours[name])[-HOURS_IN_SIGHT:]) if name in self._hours else None
        return not any(can_fire(rule, bounds, recent) for rule in self.setup.checks[name].rules)


def _reach(check: Check) -> float:
    """How far the check's rules look back, in seconds."""
    return max((rule.longest_window for rule in check.rules), default=0.0)


def _together(hours: Iterable[tuple[float, Bounds | None]]) -> Bounds | None:
    """The bounds over several hours; None when nothing is known of one of them."""
    found: dict[str, tuple[float, float]] = {}
    for _, bounds in hours:
        if bounds is None:
            return None
        for name, (low, high) in bounds.items():
            known = found.get(name, (inf, -inf))
            found[name] = (min(known[0], low), max(known[1], high))
    return found


def run(replay: Replay, record: Record, until: float, progress: Callable[[float], None] = lambda _: None) -> None:
    """Replay what was recorded from the replay's own time until then (epoch seconds).

    ``progress`` is told the beginning of each hour.
    """
    wanted = {check.name: _names(check) for check in replay.setup.checks.values()}
    since = replay.now
    for hour in record.hours(since, until):
        progress(hour)
        needed = replay.needed(hour, record.spans(hour, wanted))
        for name, before in replay.behind(hour, needed).items():
            recalled = [one for at in before for one in record.observations(at, {name: wanted[name]})]
            replay.recall(name, [one for one in recalled if one.at >= since])
        seen = record.observations(hour, {name: wanted[name] for name in needed}) if needed else ()
        for observation in seen:
            if since <= observation.at < until:
                replay.see(observation)
        replay.pass_time(min(hour + HOUR, until))
    replay.pass_time(until)


def _names(check: Check) -> frozenset[str]:
    """The measurements that the check's rules look at."""
    return frozenset(name for rule in check.rules for name in (*rule.names, *(track.name for track in rule.windows)))
