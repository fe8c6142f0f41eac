"""Who is on call when: layers of rotations, hand-overs on the wall clock, and overrides.

As in the schedules of PagerDuty and Grafana OnCall, a later layer goes before an earlier one wherever it has somebody,
and an override goes before all layers. Turns are counted from a fixed local time, so that every daemon agrees without
storing anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from wcr_watchd.core.local_time import Hours, instant, local_time

WEEK = 604_800.0
FIRST_MONDAY = datetime(1970, 1, 5)  # noqa: DTZ001 - a local time: Monday 00:00 by the clocks of any zone
"""From here turns are counted where nothing else is said."""
NOBODY = "no layer has anybody at this time"


@dataclass(frozen=True, slots=True)
class Layer:
    """People (or groups of people, who are on call together) who take turns.

    A turn lasts ``turn`` seconds on the wall clock: a day stays a day when it has 23 or 25 hours. Turns begin at
    ``first`` (local time without zone) and every ``turn`` before and after it; with ``starts`` nobody is on call before
    it. Where ``hours`` are given, the layer has nobody outside them. ``name`` says in reasons which layer it is.
    """

    name: str
    rotation: tuple[tuple[str, ...], ...]
    turn: float = WEEK
    first: datetime = FIRST_MONDAY.replace(hour=9)
    starts: bool = False
    hours: Hours | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """Somebody takes over from ``start`` to ``end`` (epoch seconds, end exclusive), whatever the layers say."""

    start: float
    end: float
    contacts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OnCallSchedule:
    """Who is on call: layers, of which a later one goes before an earlier one, and overrides, likewise."""

    name: str
    timezone: str
    layers: tuple[Layer, ...] = ()
    overrides: tuple[Override, ...] = ()

    def members(self) -> tuple[str, ...]:
        """Every contact it may ever name, each once."""
        groups = [group for layer in self.layers for group in layer.rotation]
        groups += [override.contacts for override in self.overrides]
        return tuple(dict.fromkeys(name for group in groups for name in group))


@dataclass(frozen=True, slots=True)
class Duty:
    """Who is on call at one moment (nobody: no contacts), and why: by which layer or override."""

    contacts: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch of time (epoch seconds, end exclusive) with the same people on call for the same reason."""

    start: float
    end: float
    contacts: tuple[str, ...]
    why: str


def weekly(
    name: str, timezone: str, rotation: tuple[str, ...], weekday: int = 0, handover: time = time(9)
) -> OnCallSchedule:
    """The simple schedule: contacts take turns of a week, from a weekday (0 = Monday) and local time on."""
    first = first_handover(weekday, handover)
    return OnCallSchedule(name, timezone, (Layer("rotation", tuple((who,) for who in rotation), first=first),))


def first_handover(weekday: int, handover: time) -> datetime:
    """The first local time of the count with this weekday (0 = Monday) and time of day."""
    return datetime.combine(FIRST_MONDAY + timedelta(days=weekday), handover)


def on_call_at(schedule: OnCallSchedule, at: float) -> Duty:
    """Who is on call at a time (epoch seconds), and why."""
    for override in reversed(schedule.overrides):
        if override.start <= at < override.end:
            return Duty(override.contacts, "override")
    zone = ZoneInfo(schedule.timezone)
    for layer in reversed(schedule.layers):
        if contacts := _contacts(layer, zone, at):
            return Duty(contacts, layer.name)
    return Duty((), NOBODY)


def turns(schedule: OnCallSchedule, start: float, end: float) -> list[Turn]:
    """Who is on call from ``start`` to ``end``: turns without space between them, cut off at both ends.

    Neighbours differ in people or reason; a stretch in which nobody is on call is a turn without contacts.
    """
    if start >= end:
        return []
    edges = sorted({start, end, *(edge for edge in _edges(schedule, start, end) if start < edge < end)})
    found: list[Turn] = []
    for begins, ends in pairwise(edges):
        duty = on_call_at(schedule, begins)
        if found and (found[-1].contacts, found[-1].why) == (duty.contacts, duty.why):
            begins = found.pop().start
        found.append(Turn(begins, ends, duty.contacts, duty.why))
    return found


def by_people(found: Iterable[Turn]) -> list[Turn]:
    """The same turns with neighbours of the same people made one, whatever the reasons (the first one's is kept)."""
    joined: list[Turn] = []
    for turn in found:
        if joined and joined[-1].contacts == turn.contacts:
            joined[-1] = replace(joined[-1], end=turn.end)
        else:
            joined.append(turn)
    return joined


def gaps(schedule: OnCallSchedule, start: float, end: float) -> list[Turn]:
    """When nobody is on call from ``start`` to ``end``."""
    return [turn for turn in turns(schedule, start, end) if not turn.contacts]


def _contacts(layer: Layer, zone: ZoneInfo, at: float) -> tuple[str, ...]:
    if layer.hours is not None and layer.hours.around(at) is None:
        return ()
    number = _turn_number(layer, zone, at)
    return () if layer.starts and number < 0 else layer.rotation[number % len(layer.rotation)]


def _turn_number(layer: Layer, zone: ZoneInfo, at: float) -> int:
    """The last turn that has begun by then; around a clock change the local time alone may be one or two off."""
    number = (local_time(at, zone) - layer.first) // timedelta(seconds=layer.turn)
    while _begin(layer, zone, number + 1) <= at:
        number += 1
    while _begin(layer, zone, number) > at:
        number -= 1
    return number


def _begin(layer: Layer, zone: ZoneInfo, number: int) -> float:
    return instant(layer.first + number * timedelta(seconds=layer.turn), zone)


def _edges(schedule: OnCallSchedule, start: float, end: float) -> Iterator[float]:
    """Every instant at which it may change who is on call."""
    for override in schedule.overrides:
        yield from (override.start, override.end)
    zone = ZoneInfo(schedule.timezone)
    for layer in schedule.layers:
        number = _turn_number(layer, zone, start) + 1
        while (edge := _begin(layer, zone, number)) < end:
            yield edge
            number += 1
        if layer.hours is not None:
            yield from layer.hours.edges(start, end)
