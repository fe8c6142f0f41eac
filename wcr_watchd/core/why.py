"""Why somebody was told of an incident, or was not: step by step, from the reasons and deliveries that were stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from wcr_watchd.core.escalation import escalation_of
from wcr_watchd.core.life import plan_targets
from wcr_watchd.core.message import clock_time
from wcr_watchd.core.model import Delivery, DeliveryState, Event, EventKind, Incident
from wcr_watchd.core.on_call import on_call_at
from wcr_watchd.core.setup import Check, Setup

SAME_MOMENT = 0.002
"""Seconds by which a stored event and its notifications may differ: events are stored to the millisecond."""
SILENT = frozenset({EventKind.NOTED, EventKind.MUTED})
"""Events of which nobody is told by their nature."""


@dataclass(frozen=True, slots=True)
class Step:
    """One event of the incident: its reason, what became of each message, and why the person asked for had none."""

    event: Event
    deliveries: tuple[tuple[Delivery, str], ...]
    not_told: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer in a sentence, and step by step."""

    sentence: str
    steps: tuple[Step, ...]


def why(
    setup: Setup,
    check: Check,
    incident: Incident,
    events: Iterable[Event],
    deliveries: Sequence[Delivery],
    contact: str = "",
) -> Answer:
    """Say why ``contact`` (or, without one, anybody) was or was not told of the incident.

    Who was on call is told by the schedules of the present configuration.
    """
    steps = tuple(_step(setup, check, event, deliveries, contact) for event in events)
    return Answer(_sentence(setup, check, incident, steps, contact), steps)


def _step(setup: Setup, check: Check, event: Event, deliveries: Sequence[Delivery], contact: str) -> Step:
    about = [one for one in deliveries if _follows(one, event)]
    mine = [one for one in about if not contact or one.notification.recipient.contact == contact]
    told = tuple((one, became(setup, one)) for one in sorted(mine, key=lambda one: one.notification.created_at))
    if not contact or told or event.kind in SILENT:
        return Step(event, told)
    return Step(event, (), _why_not(setup, check, event, about, contact))


def _follows(delivery: Delivery, event: Event) -> bool:
    """Whether the message, or the one that it stands in for, came of this event."""
    message = delivery.notification.message
    return message.event is event.kind and abs(message.at - event.at) < SAME_MOMENT


def became(setup: Setup, delivery: Delivery) -> str:
    """What became of a message, in words."""
    owed = delivery.notification
    who = f"{owed.recipient.contact} by {owed.recipient.channel}" if owed.recipient.contact else owed.recipient.channel
    instead = f" ({owed.message.note})" if owed.message.note else ""
    end = {
        DeliveryState.PENDING: "is still owed",
        DeliveryState.DELIVERED: f"was accepted {_when(setup, delivery.delivered_at, owed.created_at)}",
        DeliveryState.FAILED: f"could not be told{_attempts(delivery)}",
        DeliveryState.MERGED: "was told together with others in one message",
        DeliveryState.SUPERSEDED: "was not sent: overtaken before it could be",
    }.get(delivery.state, delivery.state.value)
    held = ""
    if owed.not_before > owed.created_at:
        because = "collected for a digest" if owed.digest else "held back"
        held = f", {because} until {clock_time(owed.not_before, setup.timezone, owed.created_at)}"
    trouble = f"; {delivery.last_error}" if delivery.last_error else ""
    fallback = "; the next in line was told as well" if delivery.fell_back else ""
    return f"{who}{instead} {end}{held}{trouble}{fallback}"


def _when(setup: Setup, at: float | None, owed: float) -> str:
    return f"{clock_time(at, setup.timezone, owed)}, {max(0.0, at - owed):.1f} s after it was owed" if at else ""


def _attempts(delivery: Delivery) -> str:
    return f" in {delivery.attempts} attempt{'s' if delivery.attempts > 1 else ''}" if delivery.attempts else ""


def _why_not(setup: Setup, check: Check, event: Event, about: Sequence[Delivery], contact: str) -> str:
    """Why an event was not told to the person: the event's own reason names mutes and quiet hours."""
    named = _named(setup, check, event, contact)
    if not about:
        return f"nobody was told of this{'' if named else f'; and {_unnamed(check, event, contact)}'}"
    others = ", ".join(
        dict.fromkeys(one.notification.recipient.contact or one.notification.recipient.channel for one in about)
    )
    duty = _duty(setup, check, event)
    if not named:
        return f"told were {others}; {_unnamed(check, event, contact)}{duty}"
    return f"told were {others}{duty}"


def _unnamed(check: Check, event: Event, contact: str) -> str:
    return f"the policy {check.policy} does not name {contact} for {event.severity.word}"


def _named(setup: Setup, check: Check, event: Event, contact: str) -> bool:
    """Whether the policy names the person for this severity, also as a member of an on-call schedule."""
    names = {target.who for target in plan_targets(escalation_of(setup, check.policy, event.severity))}
    members = {who for name in names if name in setup.on_call for who in setup.on_call[name].members()}
    return contact in names | members


def _duty(setup: Setup, check: Check, event: Event) -> str:
    """Who was on call by then, by the schedules that the policy names."""
    targets = plan_targets(escalation_of(setup, check.policy, event.severity))
    schedules = dict.fromkeys(target.who for target in targets if target.who in setup.on_call)
    found = []
    for name in schedules:
        duty = on_call_at(setup.on_call[name], event.at)
        found.append(f"{' and '.join(duty.contacts) or 'nobody'} ({duty.why}) on call for {name}")
    return f"; {', '.join(found)}" if found else ""


def _sentence(setup: Setup, check: Check, incident: Incident, steps: Sequence[Step], contact: str) -> str:
    told = [one for step in steps for one, _ in step.deliveries]
    accepted = [one for one in told if one.state in (DeliveryState.DELIVERED, DeliveryState.MERGED)]
    who = contact or "somebody"
    if accepted:
        first = min(accepted, key=lambda one: one.delivered_at or one.notification.created_at)
        channel = first.notification.recipient.channel
        at = first.delivered_at or first.notification.created_at
        times = f"{len(accepted)} time{'s' if len(accepted) > 1 else ''}"
        clock = clock_time(at, setup.timezone, incident.changed_at)
        return f"{who} was told of #{incident.id} {times}, first by {channel} {clock}"
    if told:
        return f"{who} was to be told of #{incident.id}, but no message was accepted"
    if contact and contact not in setup.contacts:
        return f"there is no contact {contact}, so nobody of that name was told of #{incident.id}"
    reason = next((step.not_told for step in steps if step.not_told), "") or incident.muted_by
    reason = reason or next((step.event.reason for step in steps), "")
    return f"{contact or 'nobody'} was {'not ' if contact else ''}told of #{incident.id}" + (
        f": {reason}" if reason else ""
    )
