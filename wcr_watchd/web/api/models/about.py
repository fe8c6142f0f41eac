"""How it is now, and the configuration in force."""

from __future__ import annotations

from wcr_watchd.web.api.forms import Answer
from wcr_watchd.web.api.models.common import Severity, Time
from wcr_watchd.web.api.models.incidents import Incident


class Counts(Answer):
    """How many checks there are, and how their last runs were."""

    total: int
    up: int
    down: int
    unknown: int


class Status(Answer):
    """How it is now."""

    watchd: str
    location: str
    version: str
    started_at: Time
    now: Time
    checks: Counts
    severity: dict[Severity, int]
    incidents: list[Incident]
    reload_problems: list[str]
    warnings: list[str]


class Plan(Answer):
    """Who is told at one severity, in a sentence."""

    severity: Severity
    tells: str


class Policy(Answer):
    """An escalation policy."""

    name: str
    plans: list[Plan]


class Configuration(Answer):
    """The configuration in force."""

    files: list[str]
    loaded_at: Time
    started_at: Time
    problems: list[str]
    warnings: list[str]
    counts: dict[str, int]
    policies: list[Policy]


class Reloaded(Answer):
    """What is wrong with the configuration; nothing when it is in force now."""

    problems: list[str]
