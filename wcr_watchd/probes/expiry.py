"""Keeps the date of something that ends or must be renewed: a licence, subscription, contract, key, password.

It asks nobody: what is written in the configuration is compared with today, in UTC. Never write the key itself here.
How many seats of a licence are in use is measured where that is known: by `sql`, or by `http` with `values`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.options import Duration, Options

DAY = 86400.0
Kind = Literal["licence", "subscription", "contract", "warranty", "key", "password", "document"]
LEADS: dict[str, tuple[float, float, float]] = {"key": (30 * DAY, 14 * DAY, 0.0), "password": (30 * DAY, 14 * DAY, 0.0)}
"""How long before the end one is told for information, warned, alarmed; what one can replace oneself needs less."""
USUAL_LEAD = (60 * DAY, 30 * DAY, 7 * DAY)
ROTATED = ("key", "password")
ROTATE_AFTER = 90 * DAY


def _falling(lead: tuple[float, float, float]) -> tuple[float, float, float]:
    if not lead[0] >= lead[1] >= lead[2] >= 0:
        raise ValueError('must fall, as ["60d", "30d", "7d"]: for information, a warning, an alarm')
    return lead


class Expiry(Options):
    """Options of an entry in the register."""

    type: ClassVar[str] = "expiry"
    target_key: ClassVar[str] = "expires"
    every: ClassVar[float] = 3600.0
    timeout: ClassVar[float] = 5.0
    example: ClassVar[str] = """\
expires = "2027-06-30"
kind = "subscription"
item = "mail delivery, 50 000 messages a month"
cancel_by = "2027-03-31"
"""
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("expires_in", Unit.SECONDS, "Time until it ends; negative afterwards", topic="expiry"),
        MeasurementSpec(
            "urgency", Unit.COUNT, "How near the end is by `lead`: 0 far, 1 known, 2 near, 3 at hand", topic="expiry"
        ),
        MeasurementSpec("cancel_in", Unit.SECONDS, "Time left to give notice; negative afterwards", topic="notice"),
        MeasurementSpec(
            "rotation_overdue",
            Unit.SECONDS,
            "Time since it should have been replaced; negative before",
            topic="rotation",
        ),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.INFO, "urgency >= 1"),
        (Severity.WARNING, "urgency >= 2"),
        (Severity.CRITICAL, "down or urgency >= 3"),
        (Severity.WARNING, "cancel_in < 30d and cancel_in > 0s"),
        (Severity.INFO, "rotation_overdue > 0s"),
    )

    expires: date
    """The day it ends: "2027-06-30"."""
    kind: Kind = "licence"
    """What it is; by this, how long before its end one is told."""
    item: str = ""
    """What exactly, in a few words, and where it is kept; never the secret itself."""
    lead: Annotated[tuple[Duration, Duration, Duration], AfterValidator(_falling)] | None = None
    """How long before its end one is told for information, warned and alarmed; default: ["60d", "30d", "7d"], of keys
    and passwords ["30d", "14d", "0d"]."""
    cancel_by: date | None = None
    """The last day to give notice, where it renews itself."""
    created: date | None = None
    """The day it was made, of keys and passwords: from it, when to replace it is counted."""
    rotate_after: Annotated[Duration, Field(gt=0)] = ROTATE_AFTER
    """How long after that it should be replaced."""

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.cancel_by is not None and self.cancel_by > self.expires:
            raise ValueError("cancel_by lies after expires: notice must be given before the end")
        if self.created is not None and self.kind not in ROTATED:
            raise ValueError(f"created is for what is to be replaced: {' and '.join(ROTATED)}")
        return self

    @property
    def target(self) -> str:
        """What ends when."""
        return f"{self.item or self.kind} until {self.expires.isoformat()}"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Compare the dates with today."""
        left = _begins(self.expires) - run.started
        urgency = sum(left <= lead for lead in self.lead or LEADS.get(self.kind, USUAL_LEAD))
        run.measure("expires_in", left)
        run.measure("urgency", urgency)
        what = self.item or f"the {self.kind}"
        ends = f"ended {format_duration(-left)} ago" if left <= 0 else f"ends in {format_duration(left)}"
        said = [f"{what} {ends}, on {self.expires.isoformat()}"]
        if self.cancel_by is not None:
            notice = _begins(self.cancel_by) + DAY - run.started
            run.measure("cancel_in", notice)
            when = self.cancel_by.isoformat()
            said.append(f"notice until {when}" if notice > 0 else f"it is too late to give notice (until {when})")
        if self.created is not None:
            age = run.started - _begins(self.created)
            run.measure("rotation_overdue", age - self.rotate_after)
            said.append(
                f"{format_duration(max(0.0, age))} old, to be replaced after {format_duration(self.rotate_after)}"
            )
        return run.up("; ".join(said), "expiry" if urgency else "")


def _begins(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
