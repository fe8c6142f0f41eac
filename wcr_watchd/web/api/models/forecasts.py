"""When limits are met."""

from __future__ import annotations

from wcr_watchd.web.api.forms import Answer
from wcr_watchd.web.api.models.common import Time


class Forecast(Answer):
    """When a series meets the limit that a rule has a forecast of, in its unit.

    ``expected``, ``earliest`` and ``latest`` (95 %) are null where that is not at this growth, or not ``known`` yet.
    """

    check: str
    measurement: str
    labels: dict[str, str]
    unit: str
    symbol: str
    """``>`` where it rises to the limit, ``<`` where it falls to it."""
    limit: float
    now: float
    known: bool
    expected: Time | None
    earliest: Time | None
    latest: Time | None
    begins_again: Time | None
    """When what is counted by the month (costs, traffic) begins again at nothing; null for all else."""
    when: str
    """The same in words."""


class Forecasts(Answer):
    """Forecasts of some checks, in the order of the configuration."""

    forecasts: list[Forecast]
    next: str | None
