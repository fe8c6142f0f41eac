"""On-call schedules: from tables to core values."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from wcr_watchd.config.faults import Faults
from wcr_watchd.config.models import Handover, Texts, Timezone
from wcr_watchd.config.positions import Place
from wcr_watchd.core.local_time import Hours, instant
from wcr_watchd.core.on_call import FIRST_MONDAY, Layer, OnCallSchedule, Override, first_handover
from wcr_watchd.core.units import SECONDS_OF
from wcr_watchd.kit.options import Duration, Options
from wcr_watchd.kit.refused import RefusedError, did_you_mean
from wcr_watchd.kit.week_hours import FULL_WEEKDAYS, WEEKDAYS, WeekHours

HOUR = SECONDS_OF["h"]
LONGEST_TURN = 52 * SECONDS_OF["w"]

# --- option types -----------------------------------------------------------------------------------------------------


def _rotation(value: object) -> object:
    """Names and groups of names; a single name is a rotation of one."""
    members = [value] if isinstance(value, str) else value
    if not isinstance(members, list | tuple) or not all(isinstance(one, str | list | tuple) for one in members):
        raise RefusedError("must be a list of contacts", 'write ["ann", "ben"]; [["ann", "ben"]] for both at once')
    return [[one] if isinstance(one, str) else one for one in members]


def _turn(seconds: float) -> float:
    if seconds % HOUR or not HOUR <= seconds <= LONGEST_TURN:
        raise RefusedError("must be whole hours, from 1h to 52w", 'write "1w", "1d" or "12h"')
    return seconds


def _layer_handover(text: object) -> object:
    """``Mon 09:00`` or ``09:00``: weekday (0 = Monday; None: any) and local time."""
    match = re.fullmatch(r"\s*(?:([A-Za-z]+)\s+)?(\d{1,2}):(\d{2})\s*", text) if isinstance(text, str) else None
    day = (match[1] or "mon").lower() if match else ""
    if match is None or day not in WEEKDAYS + FULL_WEEKDAYS or int(match[2]) > 23 or int(match[3]) > 59:
        raise RefusedError("is no time to hand over", 'write "Mon 09:00", or "09:00" for any day')
    return WEEKDAYS.index(day[:3]) if match[1] else None, time(int(match[2]), int(match[3]))


def _day(value: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(value) if isinstance(value, str) else _no_day()
    except ValueError:
        return _no_day()


def _no_day() -> object:
    raise RefusedError("is no date", "write 2026-12-07")


def _moment(value: object) -> object:
    """A time of RFC 3339, with offset or without (then in the schedule's zone)."""
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str) and len(value.strip()) > len("2026-12-24"):
            return datetime.fromisoformat(value.strip())
    except ValueError:
        pass
    raise RefusedError(
        "is no date and time", "write 2026-12-24T18:00:00 (in the schedule's zone) or 2026-12-24T18:00:00-05:00"
    )


Group = Annotated[tuple[str, ...], Field(min_length=1)]
Rotation = Annotated[
    tuple[Group, ...],
    BeforeValidator(_rotation),
    Field(min_length=1),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "anyOf": [{"type": "string"}, {"type": "array", "minItems": 1, "items": {"type": "string"}}]
                    },
                },
            ]
        }
    ),
]
"""Contacts in the order of their turns; a list in the list is on call together."""
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-12-24T18:00:00-05:00"]}),
]

# --- tables -----------------------------------------------------------------------------------------------------------


class LayerTable(Options):
    """A rotation of its own; a later layer goes before an earlier one wherever it has somebody."""

    name: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """How it is called where it is said who is on call and why; default: its number."""
    rotation: Rotation
    """Contacts, in the order of their turns; a list in the list is on call together."""
    turn: Annotated[Duration, AfterValidator(_turn)] = 7 * 24 * HOUR
    """How long a turn lasts, in whole hours on the wall clock: "1w", "1d", "12h"."""
    handover: Annotated[
        tuple[int | None, time],
        BeforeValidator(_layer_handover),
        WithJsonSchema({"type": "string", "examples": ["Mon 09:00", "09:00"]}),
    ] = (None, time(9))
    """When turns change: weekday (for turns of weeks) and local time."""
    hours: WeekHours | None = None
    """When the layer has somebody at all, "Mon-Fri 09:00-17:00" or a list of such; default: always."""
    start: (
        Annotated[
            date,
            BeforeValidator(_day),
            WithJsonSchema({"type": "string", "format": "date", "examples": ["2026-12-07"]}),
        ]
        | None
    ) = None
    """The first turn begins with the first handover on or after this day, nobody is on call before; default: always."""


class OverrideTable(Options):
    """Somebody takes over for a while, whatever the layers say."""

    start: Moment
    """When it begins: with an offset, or in the schedule's time zone."""
    end: Moment
    """When it ends."""
    who: Annotated[Texts, Field(min_length=1)]
    """The contact, or several who are on call together."""


class OnCallTable(Options):
    """People who take turns: a `rotation` by the week, or `layers` for all else."""

    timezone: Timezone | None = None
    """Time zone of all its times; default: that of [watchd]."""
    rotation: Rotation | None = None
    """Contacts, in the order of their turns of a week; a list in the list is on call together."""
    handover: Handover | None = None
    """When the turns of `rotation` change: weekday and local time; default: "Mon 09:00"."""
    layers: tuple[LayerTable, ...] = ()
    """Rotations over each other: the last one that has somebody is on call."""
    overrides: tuple[OverrideTable, ...] = ()
    """Who takes over from when to when; of two at once the later written holds."""

    @model_validator(mode="after")
    def _fits_together(self) -> OnCallTable:
        if self.rotation is not None and self.layers:
            raise RefusedError("has both `rotation` and `layers`", "make the rotation the first of the layers")
        if self.handover is not None and self.rotation is None:
            raise RefusedError("has a `handover` and no `rotation`", "give each of the layers its own")
        if self.rotation is None and not self.layers and not self.overrides:
            raise RefusedError("has nobody who is ever on call", 'give rotation = ["ann", "ben"]')
        return self


# --- reading ----------------------------------------------------------------------------------------------------------


def read_schedule(
    faults: Faults, name: str, table: Mapping[str, Any], timezone: str, contacts: Collection[str]
) -> OnCallSchedule | None:
    """Read ``[on_call.NAME]``; None, with the reasons noted, when it cannot be. ``contacts`` are all people known."""
    place = ("on_call", name)
    read = faults.validate(OnCallTable, table, place)
    if read is None:
        return None
    for at, member in _named(read, place):
        if member not in contacts:
            faults.add_reference(at, f'there is no contact "{member}"', did_you_mean(member, contacts))
    zone = read.timezone or timezone
    overrides = tuple(
        Override(_instant(one.start, zone), _instant(one.end, zone), tuple(dict.fromkeys(one.who)))
        for one in read.overrides
    )
    for index, override in enumerate(overrides):
        if override.end <= override.start:
            faults.add((*place, "overrides", index, "end"), "is not after `start`", "let it end after it begins")
    return OnCallSchedule(name, zone, tuple(_layers(read, zone)), overrides)


def _named(read: OnCallTable, place: Place) -> Iterator[tuple[Place, str]]:
    """Every contact that is named, with where."""
    yield from _members(read.rotation or (), (*place, "rotation"))
    for index, layer in enumerate(read.layers):
        yield from _members(layer.rotation, (*place, "layers", index, "rotation"))
    for index, override in enumerate(read.overrides):
        for position, member in enumerate(override.who):
            yield (*place, "overrides", index, "who", position), member


def _members(rotation: Iterable[tuple[str, ...]], place: Place) -> Iterator[tuple[Place, str]]:
    for index, group in enumerate(rotation):
        for position, member in enumerate(group):
            yield (*place, index, position), member


def _layers(read: OnCallTable, zone: str) -> Iterator[Layer]:
    if read.rotation is not None:
        yield Layer("rotation", read.rotation, first=first_handover(*(read.handover or (0, time(9)))))
    for number, layer in enumerate(read.layers, 1):
        yield Layer(
            name=f"layer {layer.name or number}",
            rotation=layer.rotation,
            turn=layer.turn,
            first=_first(layer),
            starts=layer.start is not None,
            hours=Hours(zone, layer.hours) if layer.hours else None,
        )


def _first(layer: LayerTable) -> datetime:
    """The first handover (on or after ``start``, where that is given) with the weekday, where that is given."""
    day, at = layer.handover
    begin = layer.start or FIRST_MONDAY.date()
    return datetime.combine(begin + timedelta(days=0 if day is None else (day - begin.weekday()) % 7), at)


def _instant(moment: datetime, zone: str) -> float:
    return moment.timestamp() if moment.tzinfo else instant(moment, ZoneInfo(zone))
