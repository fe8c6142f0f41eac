"""The dependency graph: which failure of an ancestor explains the failure of a check."""

from __future__ import annotations

from collections.abc import Iterator

from wcr_watchd.core.model import Outcome, Severity
from wcr_watchd.core.rules import RuleState, Verdict
from wcr_watchd.core.setup import Check, Setup
from wcr_watchd.core.state import CheckState, State

MARGIN = 5.0
"""Seconds beyond the time a parent needs to be confirmed that a child waits for it."""
NEVER = RuleState()
"""A rule that was not asked yet."""


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


def cause(setup: Setup, state: State, check: str, failing_since: float, now: float) -> tuple[str, float | None] | None:
    """Say which ancestor's failure explains that of ``check``, and until when at most (None: no end); None: none does.

    An ancestor with a critical incident explains it, and one with any that has not been up since it was down. One that
    is down but not confirmed, or whose newest result is older than the failure, might: then the answer is to wait, but
    no longer than a confirmation takes, because a parent that never makes up its mind must not keep its children's
    failures from being told.
    """
    patience = patience_ends(setup, check, failing_since)
    for name in ancestors(setup, check):
        parent = state.checks.get(name)
        if parent is None:
            continue
        number = state.by_check.get(name, {}).get("")
        if number is not None and (
            state.incidents[number].severity is Severity.CRITICAL or parent.failing_since is not None
        ):
            return f"child of {name} (#{number})", None
        if parent.outcome is Outcome.DOWN and now < (ends := max(patience, _decided_by(setup.checks[name], parent))):
            return f"waiting for {name} to be confirmed", ends
    stale = stale_parents(setup, state, check, failing_since)
    return (f"waiting for a result of {stale[0]}", patience) if stale and now < patience else None


def _decided_by(parent: Check, known: CheckState) -> float:
    """When the parent's rules that want a failure to last have decided (epoch seconds; 0: none is about to)."""
    pending = dict(known.rules)
    lasting = ((rule, rule.hold) for rule in parent.rules if rule.hold and not rule.names and not rule.windows)
    times = (
        one.since + (hold.seconds or (hold.runs or 0) * parent.every) + parent.every + parent.timeout + MARGIN
        for rule, hold in lasting
        for _, one in pending.get(rule.text, NEVER).instances
        if one.verdict is Verdict.PENDING and one.since is not None
    )
    return max(times, default=0.0)


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
