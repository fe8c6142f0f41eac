"""A drill: the messages that a policy's escalation would send, marked [DRILL], and when."""

from __future__ import annotations

from dataclasses import dataclass, replace

from wcr_watchd.core.model import EventKind, Notification, Severity
from wcr_watchd.core.outlook import outlook
from wcr_watchd.core.setup import Check, Policy, Setup

LONGEST = 7 * 86_400.0
"""Seconds of escalation that a drill walks at most."""
DRILLED = frozenset({EventKind.OPENED, EventKind.RAISED, EventKind.ESCALATED})
"""What a drill tells: the steps, without the reminders in between."""


@dataclass(frozen=True, slots=True)
class Move:
    """One step of a drill: seconds after its beginning, why, and its messages."""

    after: float
    reason: str
    notifications: tuple[Notification, ...]


def moves(setup: Setup, policy: str, severity: Severity, number: int, by: str, now: float) -> tuple[Move, ...]:
    """The steps of an escalation by this policy as a drill under an incident's ``number``, started ``by`` somebody."""
    check = Check("drill", "drill", "nothing", 60.0, 10.0, (), policy=policy)
    drilled = replace(setup, checks={check.name: check}, windows=(), policies={policy: _once(setup.policies[policy])})
    found = outlook(drilled, check, severity, now, now + LONGEST)
    said = f"this is a drill by {by}: acknowledge it as you would a real one, and do nothing else"
    return tuple(
        Move(
            one.at - now,
            one.reason,
            tuple(_marked(owed, number, said) for owed in one.notifications),
        )
        for one in found.tellings
        if one.kind in DRILLED
    )


def _once(policy: Policy) -> Policy:
    """The policy without reminders."""
    plans = {severity: replace(plan, repeat=None) for severity, plan in policy.by_severity.items()}
    return replace(policy, by_severity=plans)


def _marked(owed: Notification, number: int, said: str) -> Notification:
    url = owed.message.url.rpartition("/incidents/")[0]
    message = replace(owed.message, event=EventKind.DRILL, incident=number, summary=said, url=url, measurements=())
    return replace(owed, id=f"drill-{owed.id}", incident=number, event=EventKind.DRILL, message=message)
