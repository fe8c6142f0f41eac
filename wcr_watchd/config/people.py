"""Channels, contacts, on-call schedules and escalation policies: from tables to core values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from wcr_watchd.config.faults import Faults, did_you_mean
from wcr_watchd.config.models import ChannelTable, ContactTable, PlanTable, StepTable, TemplateTable
from wcr_watchd.config.positions import Place
from wcr_watchd.config.schedules import read_schedule
from wcr_watchd.config.typed import CHANNELS, load_type, named_tables, split
from wcr_watchd.core.local_time import Hours
from wcr_watchd.core.model import Severity
from wcr_watchd.core.on_call import OnCallSchedule
from wcr_watchd.core.protocols import Channel
from wcr_watchd.core.setup import Canary, Contact, Escalation, Policy, Step, Target
from wcr_watchd.kit.templates import Wording

GROUP_WAIT = {Severity.CRITICAL: 0.2, Severity.WARNING: 5.0, Severity.INFO: 5.0}
"""Seconds that a message may wait for others; what is critical must not, but a rack fails within a moment."""
_SEVERITIES = ("critical", "warning", "info")


@dataclass(slots=True)
class People:
    """Who can be told, by what, and when. The names of what is faulty are known too, to say nothing more about it."""

    channels: dict[str, Channel] = field(default_factory=dict)
    caps: dict[str, tuple[int, float]] = field(default_factory=dict)
    canaries: dict[str, Canary] = field(default_factory=dict)
    wordings: dict[str, Wording] = field(default_factory=dict)
    """Own words of those channels that have some."""
    kinds: dict[str, str | None] = field(default_factory=dict)
    """By channel: the kind of address it needs; None when its type is not known."""
    contacts: dict[str, Contact] = field(default_factory=dict)
    schedules: dict[str, OnCallSchedule] = field(default_factory=dict)
    faulty: set[str] = field(default_factory=set)
    """Contacts that could not be read."""
    faulty_schedules: set[str] = field(default_factory=set)
    """Schedules that could not be read."""
    policies: dict[str, Policy] = field(default_factory=dict)


def read_people(faults: Faults, data: Mapping[str, Any], timezone: str) -> People:
    """Read the sections channel, contact, on_call and policy; ``timezone`` is that of the daemon."""
    people = People()
    for name, table in named_tables(faults, data, "channel"):
        _channel(faults, people, name, table)
    for name, table in named_tables(faults, data, "contact"):
        _contact(faults, people, name, table, timezone)
    for name, table in named_tables(faults, data, "on_call"):
        _schedule(faults, people, name, table, timezone)
    for name, canary in people.canaries.items():
        _check_canary(faults, people, name, canary)
    for name, plans in named_tables(faults, data, "policy"):
        people.policies[name] = _policy(faults, people, name, plans)
    return people


def _channel(faults: Faults, people: People, name: str, table: Mapping[str, Any]) -> None:
    place = ("channel", name)
    people.kinds[name] = None
    kind = load_type(faults, CHANNELS, table, place)
    ours, own = split(table, ChannelTable)
    common = faults.validate(ChannelTable, ours, place) if kind else None
    if kind is None:
        return
    people.kinds[name] = kind.address_kind
    channel = faults.validate(kind, own, place, also=ChannelTable.model_fields)
    if channel is None or common is None:
        return
    people.channels[name] = channel
    if common.limit is not None:
        people.caps[name] = common.limit
    if common.canary is not None:
        people.canaries[name] = Canary(common.canary, common.canary_to)
    if common.template != TemplateTable():
        people.wordings[name] = Wording(common.template.subject, common.template.text)


def _check_canary(faults: Faults, people: People, name: str, canary: Canary) -> None:
    """A canary must have somebody to go to."""
    place, kind = ("channel", name, "canary_to"), people.kinds[name]
    known = {*people.contacts, *people.faulty, *people.schedules, *people.faulty_schedules}
    if kind and not canary.to:
        faults.add(("channel", name, "canary"), f"needs to know to whose {kind}", 'give canary_to = "CONTACT"')
    elif canary.to and canary.to not in known:
        faults.add_reference(place, f'there is no contact "{canary.to}"', did_you_mean(canary.to, known))
    elif canary.to and not kind:
        faults.add(place, "is not needed: this channel has its own destination", "remove it")


def _contact(faults: Faults, people: People, name: str, table: Mapping[str, Any], timezone: str) -> None:
    """Besides phone and mail a contact may have the kinds of address that other configured channels need."""
    place = ("contact", name)
    further = {kind for kind in people.kinds.values() if kind} - set(ContactTable.model_fields)
    others: dict[str, tuple[str, ...]] = {}
    for key in further & table.keys():
        others[key] = tuple(table[key] if isinstance(table[key], list) else (table[key],))
        if not others[key] or not all(isinstance(one, str) and one for one in others[key]):
            faults.add((*place, key), "must be text in quotes or a list of texts")
    known = {key: value for key, value in table.items() if key not in further}
    contact = faults.validate(ContactTable, known, place, also=further)
    if contact is None:
        people.faulty.add(name)
        return
    addresses = {"phone": contact.phone or (), "email": contact.email or (), **others}
    quiet = Hours(contact.timezone or timezone, contact.quiet) if contact.quiet else None
    people.contacts[name] = Contact(
        name, {kind: tuple(dict.fromkeys(some)) for kind, some in addresses.items() if some}, quiet
    )


def _schedule(faults: Faults, people: People, name: str, table: Mapping[str, Any], timezone: str) -> None:
    known = {*people.contacts, *people.faulty}
    if name in known:
        faults.add(
            ("on_call", name), f'is also the name of a contact, so "CHANNEL:{name}" could mean both', "rename one"
        )
    schedule = read_schedule(faults, name, table, timezone, known)
    if schedule is None:
        people.faulty_schedules.add(name)
    else:
        people.schedules[name] = schedule


# --- policies ---------------------------------------------------------------------------------------------------------


def _policy(faults: Faults, people: People, name: str, plans: Mapping[str, Any]) -> Policy:
    read: dict[Severity, PlanTable] = {}
    for word, table in plans.items():
        place = ("policy", name, word)
        if word not in _SEVERITIES:
            hint = (
                f"write [policy.{name}.critical]" if word in PlanTable.model_fields else did_you_mean(word, _SEVERITIES)
            )
            faults.add(place, f'"{word}" is no severity', hint)
        elif (plan := faults.validate(PlanTable, table, place)) is not None:
            read[Severity.of(word)] = plan
        elif isinstance(table, dict) and isinstance(table.get("tell"), list):  # say at once what else is wrong
            targets(faults, people, (*place, "tell"), [one for one in table["tell"] if isinstance(one, str)])
    mentioned = [target for plan in read.values() for target in _all_told(plan)]
    return Policy(
        name,
        {
            severity: _escalation(faults, people, ("policy", name, severity.word), plan, mentioned)
            for severity, plan in read.items()
        },
    )


def _all_told(plan: PlanTable) -> Iterator[str]:
    yield from plan.tell
    for step in plan.escalate:
        yield from step.tell


def _escalation(faults: Faults, people: People, place: Place, plan: PlanTable, mentioned: Iterable[str]) -> Escalation:
    tell = targets(faults, people, (*place, "tell"), plan.tell)
    severity = Severity.of(str(place[-1]))
    steps = [
        _step(faults, people, (*place, "escalate", index), step, severity) for index, step in enumerate(plan.escalate)
    ]
    if plan.fallback is None:
        fallback = _other_ways(
            tell, [target for text in mentioned if (target := _target(text)).channel in people.channels]
        )
    else:
        fallback = targets(faults, people, (*place, "fallback"), plan.fallback)
    return Escalation(
        tell=tell,
        steps=tuple(sorted(steps, key=lambda step: step.after)),
        repeat=plan.repeat,
        digest=plan.digest,
        fallback=fallback,
        loop=plan.loop,
        group_wait=GROUP_WAIT[severity] if plan.group_wait is None else plan.group_wait,
        group_by=plan.group_by,
    )


def _step(faults: Faults, people: People, place: Place, step: StepTable, severity: Severity) -> Step:
    raise_to = Severity.of(step.raise_) if step.raise_ else None
    if raise_to is not None and raise_to <= severity:
        faults.add((*place, "raise"), f'"{raise_to.word}" is not above "{severity.word}"', "raise to a higher severity")
    return Step(step.after, targets(faults, people, (*place, "tell"), step.tell), raise_to)


def _other_ways(told: tuple[Target, ...], mentioned: Iterable[Target]) -> tuple[Target, ...]:
    """The same people by other channels of the policy."""
    whom = {target.who for target in told}
    return tuple(dict.fromkeys(target for target in mentioned if target.who in whom and target not in told))


def _target(text: str) -> Target:
    channel, _, who = text.partition(":")
    return Target(channel.strip(), who.strip())


def targets(faults: Faults, people: People, place: Place, texts: Iterable[str]) -> tuple[Target, ...]:
    """Whom texts such as ``sms:ops`` name; what names nobody is noted."""
    found = []
    for index, text in enumerate(texts):
        target = _target(text)
        problem = _problem(people, target)
        if problem is not None:
            faults.add_reference((*place, index), *problem)
        found.append(target)
    return tuple(dict.fromkeys(found))


def _problem(people: People, target: Target) -> tuple[str, str] | None:
    """Why a target cannot be told, and what would do."""
    if target.channel not in people.kinds:
        hint = did_you_mean(target.channel, people.kinds) or "configure one: [channel.NAME]"
        return f'"{target}": there is no channel "{target.channel}"', hint
    kind = people.kinds[target.channel]
    if kind is None:
        return None
    if not kind:
        hint = f'write "{target.channel}"'
        return (f'"{target}": the channel has its own destination and takes nobody', hint) if target.who else None
    reachable = [name for name, contact in people.contacts.items() if kind in contact.addresses]
    if not target.who:
        example = (*people.schedules, *reachable, "NAME")[0]
        return f'"{target}": the channel needs to know whom to tell', f'write "{target.channel}:{example}"'
    return _nobody(people, target, kind, reachable)


def _nobody(people: People, target: Target, kind: str, reachable: list[str]) -> tuple[str, str] | None:
    if target.who in people.faulty | people.faulty_schedules:
        return None
    if target.who in people.schedules:
        members = people.schedules[target.who].members()
    elif target.who in people.contacts:
        members = (target.who,)
    else:
        hint = did_you_mean(target.who, (*people.schedules, *reachable)) or "add [contact.NAME]"
        return f'"{target}": there is no contact or on-call schedule "{target.who}"', hint
    without = [name for name in members if name in people.contacts and name not in reachable]
    if not without:
        return None
    return f'"{target}": the contact "{without[0]}" has no {kind}', f"add {kind} to [contact.{without[0]}]"
