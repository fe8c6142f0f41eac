"""Whether the daemon itself works: judged from its counters, for the health endpoint and the systemd watchdog."""

from __future__ import annotations

from dataclasses import dataclass

from wcr_watchd.core.view import View

STALLED_AFTER = 30.0
"""Seconds without progress after which a part counts as stalled; every part moves at least every few seconds."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the daemon: whether it works, and what is wrong or fine in a few words."""

    name: str
    ok: bool
    detail: str


def parts(view: View) -> tuple[Part, ...]:
    """Judge loop, scheduler, store and dispatcher, in this order."""
    counters, now = view.counters, view.monotonic()
    store = _progress("store", counters.store_progress_at, now)
    if store.ok and counters.store_last_error:
        store = Part("store", False, f"does not take writes: {counters.store_last_error}")
    elif store.ok and counters.store_mended:
        store = Part("store", True, f"works; {counters.store_mended}")
    return (
        _progress("loop", counters.loop_progress_at, now),
        _progress("scheduler", counters.scheduler_progress_at, now),
        store,
        _progress("dispatcher", counters.dispatcher_progress_at, now),
    )


def works(view: View) -> bool:
    """Whether nothing is wrong with any part: what ``/healthz`` answers, and whether a sign of life is given."""
    return all(part.ok for part in parts(view))


def moving(view: View) -> bool:
    """Whether every part makes progress; a store that refuses writes (full disk) moves, a restart would not mend it."""
    return all(part.ok or part.detail.startswith("does not take writes") for part in parts(view))


def waiting_for_first_result(view: View) -> tuple[str, ...]:
    """Checks that have not been observed since the daemon started."""
    return tuple(name for name in view.setup.checks if name not in view.latest)


def _progress(name: str, at: float, now: float) -> Part:
    age = now - at
    if age > STALLED_AFTER:
        return Part(name, False, f"no progress for {age:.0f} s")
    return Part(name, True, "works")
