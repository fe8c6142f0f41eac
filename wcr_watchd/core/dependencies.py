"""The dependency graph: which failure of an ancestor explains the failure of a check."""

from __future__ import annotations

from collections.abc import Iterator

from wcr_watchd.core.model import Outcome, Severity
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.state import State

MARGIN = 5.0
"""Seconds beyond the time a parent needs to be confirmed that a child waits for it."""


def ancestors(setup: Setup, check: str) -> Iterator[str]:
    """All checks that ``check`` depends on, nearest first, each once."""
    seen = {check}
    queue = list(setup.checks[check].depends_on)
    while queue:
        name = queue.pop(0)
        if name in seen or name not in setup.checks:
            continue
        seen.add(name)
        yield name
        queue.extend(setup.checks[name].depends_on)


def cause(setup: Setup, state: State, check: str, failing_since: float, now: float) -> str:
    """Say which ancestor's failure explains that of ``check``, as a reason; empty when none does.

    An ancestor with a critical incident explains it. One that is down but not confirmed, or whose newest result is
    older than the failure, might: then the answer is to wait, but no longer than a confirmation takes, because a
    parent that never makes up its mind must not keep its children's failures from being told.
    """
    patient = now < patience_ends(setup, check, failing_since)
    for name in ancestors(setup, check):
        parent = state.checks.get(name)
        if parent is None:
            continue
        number = state.by_check.get(name, {}).get("")
        if number is not None and state.incidents[number].severity is Severity.CRITICAL:
            return f"child of {name} (#{number})"
        if parent.outcome is Outcome.DOWN and number is not None:
            return f"child of {name} (#{number})"
        if parent.outcome is Outcome.DOWN and patient:
            return f"waiting for {name} to be confirmed"
    stale = stale_parents(setup, state, check, failing_since)
    return f"waiting for a result of {stale[0]}" if stale and patient else ""


def patience_ends(setup: Setup, check: str, failing_since: float) -> float:
    """When a child stops waiting for its parents' newest results (epoch seconds)."""
    parents = (setup.checks[name] for name in ancestors(setup, check))
    needed = (p.timeout + p.retry.times * (p.retry.every + p.timeout) + MARGIN for p in parents)
    return failing_since + max(needed, default=0.0)


def stale_parents(setup: Setup, state: State, check: str, since: float) -> tuple[str, ...]:
    """Ancestors whose newest result is older than ``since``: worth running now."""
    return tuple(
        name for name in ancestors(setup, check) if (seen := state.checks.get(name)) is None or seen.last_at < since
    )
