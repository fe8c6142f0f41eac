"""What the engine remembers between two observations."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass, field

from wcr_watchd.core.flapping import Flap
from wcr_watchd.core.model import Incident, Outcome, Severity
from wcr_watchd.core.rules import History, RuleState
from wcr_watchd.core.silence import Silence


@dataclass(frozen=True, slots=True)
class CheckState:
    """What is remembered of one check, and stored so that a restart goes on where it was.

    ``outcome`` is that of the last observation (None before the first), ``severity`` the worst of its open incidents,
    and ``since`` when it became so: when the outcome changed, or the severity of a check that is up. ``failing_since``
    is when an unconfirmed or confirmed failure began (None: not failing). ``unknown_runs`` counts unknown outcomes in
    a row. ``rules`` holds a state per rule text, ``flaps`` the recent changes per subject that has any.
    """

    check: str
    outcome: Outcome | None = None
    since: float = 0.0
    severity: Severity = Severity.OK
    last_at: float = 0.0
    summary: str = ""
    failing_since: float | None = None
    unknown_runs: int = 0
    rules: tuple[tuple[str, RuleState], ...] = ()
    flaps: tuple[tuple[str, Flap], ...] = ()


@dataclass(slots=True)
class State:
    """All the engine remembers. Decisions never change it; :func:`wcr_watchd.core.engine.apply` does."""

    checks: MutableMapping[str, CheckState] = field(default_factory=dict)
    incidents: dict[int, Incident] = field(default_factory=dict)
    """Incidents that are not resolved, by number."""
    by_check: dict[str, dict[str, int]] = field(default_factory=dict)
    """The numbers of a check's open incidents by subject; a check without one has no entry."""
    ended: dict[tuple[str, str], Incident] = field(default_factory=dict)
    """By check and subject, the incident that ended last: one that comes back soon goes on as the same."""
    silences: dict[str, Silence] = field(default_factory=dict)
    """Silences and started maintenance that are not over, by their id."""
    histories: dict[str, History] = field(default_factory=dict)
    next_incident: int = 1
    looks_until: float = 0.0
    """Nobody was watching for a while: until then (epoch seconds) what is muted stays so, for a fresh look at it."""
