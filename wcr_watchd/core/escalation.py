"""Whom to tell: from a policy's targets to the people and addresses of this moment."""

from __future__ import annotations

from collections.abc import Iterable
from zoneinfo import ZoneInfo

from wcr_watchd.core.local_time import local_time
from wcr_watchd.core.model import Recipient, Severity
from wcr_watchd.core.on_call import OnCallSchedule, on_call_at, turns
from wcr_watchd.core.setup import FOLLOW_UPS, Escalation, Policy, Setup, Target

LOOK_AHEAD = 90 * 86_400.0
"""Seconds ahead in which gaps of an on-call schedule are looked for."""

_NOBODY = Escalation()


def policy_named(setup: Setup, name: str) -> Policy | None:
    """The policy that a check names; follow-ups have one of their own."""
    return setup.follow_ups.policy if name == FOLLOW_UPS else setup.policies.get(name)


def escalation_of(setup: Setup, policy: str, severity: Severity) -> Escalation:
    """What the policy says for the severity; nobody to tell (the dashboard always shows it) when it says nothing."""
    found = policy_named(setup, policy)
    return found.by_severity.get(severity, _NOBODY) if found else _NOBODY


def recipients(setup: Setup, targets: Iterable[Target], now: float) -> tuple[Recipient, ...]:
    """Resolve targets to recipients, each once and in order: of each person the first address of the channel's kind.

    A target whose schedule has nobody on call, or whose contact has no address of the kind its channel needs, resolves
    to nobody; :func:`unreachable` says which and why.
    """
    return tuple(dict.fromkeys(who for target in targets for who in _recipients(setup, target, now)))


def other_addresses(setup: Setup, who: Recipient) -> tuple[Recipient, ...]:
    """The same person at the further addresses of the same kind, in order: told when the first cannot be reached."""
    contact = setup.contacts.get(who.contact)
    addresses = contact.addresses.get(setup.channels.get(who.channel, ""), ()) if contact else ()
    return tuple(Recipient(who.channel, who.contact, address) for address in addresses if address != who.address)


def unreachable(setup: Setup, targets: Iterable[Target], now: float) -> tuple[str, ...]:
    """Say of every target that comes to nobody at this time, why: ``sms:ops: nobody is on call until …``."""
    return tuple(
        f"{target}: {_why_nobody(setup, target, now)}"
        for target in dict.fromkeys(targets)
        if not _recipients(setup, target, now)
    )


def quiet_until(setup: Setup, who: Recipient, severity: Severity, at: float) -> float:
    """The time (epoch seconds) before which a message due ``at`` must not be sent: when the quiet hours end.

    ``at`` itself when there are none then, and always for what is critical.
    """
    contact = setup.contacts.get(who.contact)
    if contact is None or contact.quiet is None or severity is Severity.CRITICAL:
        return at
    for _ in contact.quiet.spans:  # a clock change can make one begin where another ends
        span = contact.quiet.around(at)
        at = span[1] if span else at
    return at


def _recipients(setup: Setup, target: Target, now: float) -> tuple[Recipient, ...]:
    kind = setup.channels.get(target.channel)
    if kind is None:
        return ()
    if not kind:
        return (Recipient(target.channel),)
    people = [setup.contacts[name] for name in _people(setup, target, now) if name in setup.contacts]
    return tuple(
        Recipient(target.channel, contact.name, addresses[0])
        for contact in people
        if (addresses := contact.addresses.get(kind))
    )


def _people(setup: Setup, target: Target, now: float) -> tuple[str, ...]:
    schedule = setup.on_call.get(target.who)
    return on_call_at(schedule, now).contacts if schedule else (target.who,)


def _why_nobody(setup: Setup, target: Target, now: float) -> str:
    kind = setup.channels.get(target.channel)
    if kind is None:
        return "there is no such channel"
    if not target.who:
        return "nobody is named"
    people = _people(setup, target, now)
    if not people:
        return f"nobody is on call {_until(setup.on_call[target.who], now)}"
    strangers = [name for name in people if name not in setup.contacts]
    if strangers:
        return f"there is no contact {strangers[0]!r}"
    return f"{' and '.join(people)} {'has' if len(people) == 1 else 'have'} no {kind}"


def _until(schedule: OnCallSchedule, now: float) -> str:
    gap = turns(schedule, now, now + LOOK_AHEAD)[0]
    if gap.end >= now + LOOK_AHEAD:
        return f"for the next {LOOK_AHEAD / 86_400:.0f} days"
    return f"until {local_time(gap.end, ZoneInfo(schedule.timezone)):%a %Y-%m-%d %H:%M} ({schedule.timezone})"
