"""Checks, what their runs found, their history and their jobs' signals."""

from __future__ import annotations

from typing import Literal

from wcr_watchd.web.api.forms import Answer
from wcr_watchd.web.api.models.common import Outcome, Severity, Time
from wcr_watchd.web.api.models.incidents import Incident


class Measurement(Answer):
    """A measured value in its base unit."""

    name: str
    labels: dict[str, str]
    value: float | None
    unit: str


class Observation(Answer):
    """What one run found."""

    check: str
    location: str
    at: Time
    duration: float
    outcome: Outcome
    reason: str
    summary: str
    measurements: list[Measurement]
    evidence: dict[str, str]


class Ran(Observation):
    """What a run out of turn found, and how the check is by now."""

    severity: Severity


class Check(Answer):
    """A check as it stands now. ``state`` is the one word for it."""

    name: str
    type: str
    target: str
    every: float
    group: str
    tags: list[str]
    owner: str
    depends_on: list[str]
    state: Literal["new", "ok", "info", "warning", "critical", "confirming", "down", "unknown"]
    outcome: Outcome | None
    severity: Severity
    since: Time | None
    last_at: Time | None
    duration: float | None
    summary: str
    incidents: list[int]


class Checks(Answer):
    """Checks by name in the order of the configuration; ``next`` is the cursor of the next page."""

    checks: list[Check]
    next: str | None = None


class Rule(Answer):
    """A rule of a check."""

    severity: Severity
    rule: str


class CheckDetails(Check):
    """A check with its rules, its latest observation, the last runs and its incidents."""

    rules: list[Rule]
    latest: Observation | None
    recent: list[tuple[float, float | None]]
    history: list[Incident]


class History(Answer):
    """A measurement's course: time (epoch seconds), mean, least, largest and number of the values at each point."""

    check: str
    measurement: str
    points: list[tuple[float, float, float, float, int]]


class Ping(Answer):
    """A signal of a job."""

    number: int
    at: Time
    job: str
    kind: str
    exit_status: int | None
    run_id: str
    method: str
    scheme: str
    remote: str
    agent: str
    body: str


class Available(Answer):
    """How much of so many seconds until now a check was up; all in seconds but the shares (0 to 1)."""

    span: float
    share: float | None
    share_with_planned: float | None
    up: float
    down: float
    planned: float
    unwatched: float


class Availability(Answer):
    """Availability of a check over some spans of time."""

    check: str
    spans: list[Available]


class Settings(Answer):
    """The effective settings of a check."""

    check: str
    toml: str


class Pings(Answer):
    """The last signals of a heartbeat, newest first."""

    pings: list[Ping]
