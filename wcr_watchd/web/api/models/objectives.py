"""Objectives, and what is left of their error budgets."""

from __future__ import annotations

from wcr_watchd.web.api.forms import Answer
from wcr_watchd.web.api.models.common import Time


class BurnRate(Answer):
    """How many times faster than allowed the error budget goes, over so many seconds."""

    window: float
    rate: float | None


class Objective(Answer):
    """An objective, and how it is kept."""

    name: str
    comment: str
    checks: list[str]
    target: float
    period: float
    month_begins: int | None
    """The day on which its months begin; null where it is the last `period` seconds."""
    since: Time
    availability: float | None
    availability_with_planned: float | None
    down: float
    watched: float
    unwatched: float
    budget_left: float | None
    incidents: int
    """Of its checks, open at some time in its period; the mean times (seconds) are of these."""
    mean_time_to_acknowledge: float | None
    mean_time_to_resolve: float | None
    mean_time_between_failures: float | None
    burn_rates: list[BurnRate]


class Objectives(Answer):
    """Every objective."""

    objectives: list[Objective]


class ObjectiveDay(Answer):
    """A day of an objective in seconds and shares (0 to 1); ``used`` and ``left`` are of the whole budget."""

    start: Time
    end: Time
    availability: float | None
    availability_with_planned: float | None
    down: float
    watched: float
    unwatched: float
    used: float
    left: float


class ObjectiveDays(Answer):
    """An objective day by day, oldest first."""

    name: str
    days: list[ObjectiveDay]
