"""Objectives: from tables ``[objective.NAME]`` to core values."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from wcr_watchd.config.faults import Faults
from wcr_watchd.config.models import Span, Texts
from wcr_watchd.config.positions import Place
from wcr_watchd.config.typed import named_tables
from wcr_watchd.core.matchers import is_glob
from wcr_watchd.core.objectives import DAY, USUAL_PERIOD, Objective
from wcr_watchd.kit.options import Options, Ratio
from wcr_watchd.kit.refused import RefusedError, did_you_mean


def _target(share: float) -> float:
    if not 0.5 <= share < 1.0:
        raise RefusedError("must be from 50% to below 100%", 'write "99.9%"; what may never fail has no budget')
    return round(share, 9)  # a percentage divided by a hundred


def _period(seconds: float) -> float:
    if not 7 * DAY <= seconds <= 92 * DAY:
        raise RefusedError("must be between 7d and 92d", 'write "30d"')
    return seconds


class ObjectiveTable(Options):
    """What share of the time some checks must be up: an error budget, and alerts when it goes too fast."""

    checks: Texts
    """The checks whose time counts together; * stands for any part of a name."""
    target: Annotated[Ratio, AfterValidator(_target)]
    """The share of the time that they must be up, such as "99.9%"."""
    period: Annotated[Span, AfterValidator(_period)] = USUAL_PERIOD
    """Over how long; "30d"."""
    month_begins: Annotated[int | None, Field(ge=1, le=31)] = None
    """In place of a period: the month that begins on this day, as a vendor bills it (1: the calendar's)."""
    least_failures: Annotated[int, Field(ge=1, le=1000)] = 2
    """Failed runs in the long window below which nobody is told; where runs are few, one is a large share."""
    comment: str = ""
    """What is promised, and to whom: a vendor's agreement, one's own goal."""


def read_objectives(
    faults: Faults, data: Mapping[str, Any], timezone: str, names: Collection[str], running: Collection[str]
) -> dict[str, Objective]:
    """Read the section objective; of the checks named, those that are ``running`` count."""
    found = {}
    for name, raw in named_tables(faults, data, "objective"):
        place = ("objective", name)
        table = faults.validate(ObjectiveTable, raw, place)
        if table is None:
            continue
        checks = tuple(dict.fromkeys(_checks(faults, (*place, "checks"), table.checks, names)))
        counted = tuple(one for one in checks if one in running)
        if table.month_begins is not None and "period" in table.model_fields_set:
            faults.add((*place, "month_begins"), "stands beside period", "a month or a period, not both")
        month, zone = (table.month_begins, timezone) if table.month_begins else (0, "UTC")
        found[name] = Objective(
            name, counted, table.target, table.period, table.least_failures, table.comment, month, zone
        )
    return found


def _checks(faults: Faults, place: Place, texts: tuple[str, ...], names: Collection[str]) -> Iterator[str]:
    for index, text in enumerate(texts):
        named = [name for name in names if fnmatchcase(name, text)]
        if not named:
            what = "no check has a name like" if is_glob(text) else "there is no check"
            faults.add_reference((*place, index), f'{what} "{text}"', did_you_mean(text, names))
        yield from named
