"""The watcher's own connectivity: when all control targets are gone, it is the watcher that is offline."""

from __future__ import annotations

from dataclasses import replace

from wcr_watchd.core.dependencies import MARGIN
from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.state import State

OFFLINE = "offline"
"""The reason of an observation that says nothing because the watcher had no network."""


def is_offline(setup: Setup, state: State) -> bool:
    """Whether the newest result of every control check is a failure."""
    return bool(setup.controls) and all(
        (known := state.checks.get(name)) is not None and known.outcome is Outcome.DOWN for name in setup.controls
    )


def offline_since(setup: Setup, state: State) -> float | None:
    """When the last of the control checks began to fail, once all of them have failed for as long as confirming takes.

    None while the watcher is online or not sure.
    """
    if not is_offline(setup, state):
        return None
    for name in setup.controls:
        known, retry = state.checks[name], setup.checks[name].retry
        if known.failing_since is None or known.last_at - known.failing_since < retry.times * retry.every - MARGIN:
            return None
    return max(state.checks[name].failing_since or 0.0 for name in setup.controls)


def stale_controls(setup: Setup, state: State, since: float) -> tuple[str, ...]:
    """Control checks whose newest result is older than ``since``: worth running now."""
    return tuple(name for name in setup.controls if (seen := state.checks.get(name)) is None or seen.last_at < since)


def waiting_for_controls(setup: Setup, state: State, since: float, now: float) -> tuple[str, float] | None:
    """Why, and until when, a failure beyond this machine waits: not all control targets have been asked since.

    None when one of them is known to be fine, or when it has waited long enough.
    """
    stale = stale_controls(setup, state, since)
    fresh = (state.checks[name] for name in setup.controls if name not in stale)
    if not stale or any(known.outcome is not Outcome.DOWN for known in fresh):
        return None
    until = since + max(setup.checks[name].timeout for name in stale) + MARGIN
    return (f"waiting for a result of {stale[0]}", until) if now < until else None


def as_seen(setup: Setup, state: State, observation: Observation) -> Observation:
    """What an observation is worth: one from beyond this machine says nothing while the watcher is offline."""
    check = setup.checks.get(observation.check)
    if check is None or not check.external or check.name in setup.controls:
        return observation
    if observation.outcome is not Outcome.DOWN:
        return observation
    if not is_offline(setup, state):
        return observation
    summary = f"this watcher is offline, so nothing is known of the target; the probe said: {observation.summary}"
    return replace(observation, outcome=Outcome.UNKNOWN, reason=OFFLINE, summary=summary)
