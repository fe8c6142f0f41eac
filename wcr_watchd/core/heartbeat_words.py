"""How a job stands, in words for a person who is woken by it."""

from __future__ import annotations

from wcr_watchd.core.heartbeat import HeartbeatState, Phase, phase
from wcr_watchd.core.message import clock_time
from wcr_watchd.core.units import format_duration


def told(
    state: HeartbeatState,
    due: float | None,
    grace: float,
    now: float,
    timezone: str,
    away: tuple[float, float] | None = None,
) -> str:
    """What is known of a job; ``timezone`` is that of its schedule, ``away`` when nobody was there to take signals."""
    heard = f"last heard of {_ago(state.last_at, now)}" if state.last_at is not None else "never heard of an end of it"
    match phase(state, due, grace, now):
        case Phase.NEW if state.started_at is not None:
            return f"its first run began {_ago(state.started_at, now)}"
        case Phase.NEW:
            return "nothing was ever heard of it; it is watched from its first signal on"
        case Phase.FAILED:
            return _failure(state, now)
        case Phase.HUNG:
            began = state.started_at if state.started_at is not None else state.down_at
            return f"a run began {_ago(began, now)} and did not end within {format_duration(grace)}; {heard}"
        case Phase.OVERDUE:
            was_due = state.down_at - grace if state.down_at is not None else due or now
            at = clock_time(was_due, timezone, now)
            lost = _maybe_lost(was_due, grace, away, timezone, now)
            return f"was due at {at} and is not heard of within {format_duration(grace)}; {heard}{lost}"
        case Phase.LATE if due is not None:
            return f"was due {_ago(due, now)}, and has until {clock_time(due + grace, timezone, now)}"
        case _ if due is not None:
            return f"{heard}, due again at {clock_time(due, timezone, now)}"
        case _:
            return f"{heard}, and not due again"


def evidence(state: HeartbeatState, now: float, timezone: str) -> dict[str, str]:
    """The last signals, newest first: what each was, and the end of its body."""
    return {
        f"{heard.kind} {clock_time(heard.at, timezone, now)}"
        + ("" if heard.exit_status is None else f", exit status {heard.exit_status}"): heard.text or "(said no more)"
        for heard in reversed(state.heard)
    }


def _maybe_lost(was_due: float, grace: float, away: tuple[float, float] | None, timezone: str, now: float) -> str:
    """A remark where the watcher itself was away about the time when the job should have reported."""
    if away is None or away[1] < was_due - grace or away[0] > was_due + grace:
        return ""
    since, until = (clock_time(at, timezone, now) for at in away)
    return f"; this watcher was away from {since} to {until}, so its signal may have been lost"


def _failure(state: HeartbeatState, now: float) -> str:
    status = f" with exit status {state.exit_status}" if state.exit_status else ""
    text = next((heard.text for heard in reversed(state.heard) if heard.at == state.last_at), "")
    last_line = text.rstrip().rpartition("\n")[2].strip()
    return f"the job reported a failure{status} {_ago(state.last_at, now)}" + (f": {last_line}" if last_line else "")


def _ago(at: float | None, now: float) -> str:
    if at is None:
        return "at an unknown time"
    return f"{format_duration(now - at)} ago" if now - at >= 1 else "just now"
