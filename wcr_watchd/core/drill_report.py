"""Drills of alarms as plain values: what somebody wishes for, and how it went, as it is kept."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from wcr_watchd.core.model import Severity


class DrillState(StrEnum):
    """Where a drill stands."""

    RUNNING = "running"
    ACKNOWLEDGED = "acknowledged"
    UNANSWERED = "unanswered"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class DrillWish:
    """What a drill is to be: ``contact`` narrows it to one person, ``speed`` shortens the delays between its steps.

    ``wait`` is how many seconds an answer is waited for after the last step.
    """

    policy: str
    severity: Severity
    by: str
    contact: str = ""
    speed: float = 1.0
    wait: float = 300.0


@dataclass(frozen=True, slots=True)
class DrillMessage:
    """One message of a drill: when (epoch seconds), by which step and why, and what the provider said to it.

    ``after`` is how many seconds into a real escalation it would come, ``instead`` the channel that it stood in for.
    """

    at: float
    after: float
    reason: str
    channel: str
    contact: str
    accepted: bool
    seconds: float
    receipt: str
    error: str
    instead: str


@dataclass(frozen=True, slots=True)
class DrillReport:
    """How a drill went so far; ``contact`` is the one person whom it was narrowed to, ``by`` who began it."""

    number: int
    policy: str
    severity: Severity
    state: DrillState
    started_at: float
    messages: tuple[DrillMessage, ...] = ()
    acknowledged_by: str = ""
    acknowledged_at: float | None = None
    ended_at: float | None = None
    by: str = ""
    contact: str = ""
