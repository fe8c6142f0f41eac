"""Whom to tell: from a policy's targets to the people and addresses of this moment."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from wcr_watchd.core.model import Recipient, Severity
from wcr_watchd.core.setup import Escalation, OnCallSchedule, Setup, Target

_NOBODY = Escalation()


def escalation_of(setup: Setup, policy: str, severity: Severity) -> Escalation:
    """What the policy says for the severity; nobody to tell (the dashboard always shows it) when it says nothing."""
    found = setup.policies.get(policy)
    return found.by_severity.get(severity, _NOBODY) if found else _NOBODY


def on_call_now(schedule: OnCallSchedule, now: float) -> str:
    """Return the name of the contact whose turn it is.

    Turns change weekly at the schedule's weekday and local wall-clock time, right across daylight-saving changes:
    weeks are counted in local calendar days, so a turn may be an hour shorter or longer but never starts at another
    hour. The count starts at Monday 1970-01-05, so that every daemon agrees without storing anything.
    """
    local = datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(schedule.timezone)).replace(tzinfo=None)
    first = datetime(1970, 1, 5) + timedelta(days=schedule.handover_weekday)  # noqa: DTZ001 - local calendar time
    first = first.replace(hour=schedule.handover_time.hour, minute=schedule.handover_time.minute)
    return schedule.rotation[(local - first) // timedelta(weeks=1) % len(schedule.rotation)]


def recipients(setup: Setup, targets: Iterable[Target], now: float) -> tuple[Recipient, ...]:
    """Resolve targets to recipients, each once and in order.

    A target whose contact has no address of the kind its channel needs resolves to nobody; the configuration
    is checked for that when it is read.
    """
    found: dict[Recipient, None] = {}
    for target in targets:
        recipient = _recipient(setup, target, now)
        if recipient:
            found[recipient] = None
    return tuple(found)


def _recipient(setup: Setup, target: Target, now: float) -> Recipient | None:
    kind = setup.channels.get(target.channel)
    if kind is None:
        return None
    if not kind:
        return Recipient(target.channel)
    schedule = setup.on_call.get(target.who)
    contact = setup.contacts.get(on_call_now(schedule, now) if schedule else target.who)
    if contact is None or kind not in contact.addresses:
        return None
    return Recipient(target.channel, contact.name, contact.addresses[kind])
