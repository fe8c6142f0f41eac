"""How follow-ups of incidents are told: the section ``follow_ups``, made into a policy that pages nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from wcr_watchd.config.checks import DEFAULT_POLICY
from wcr_watchd.config.faults import Faults, did_you_mean
from wcr_watchd.config.models import Defaults
from wcr_watchd.config.people import People
from wcr_watchd.core.model import Severity
from wcr_watchd.core.setup import FOLLOW_UPS, Escalation, FollowUpSettings, Policy, Target
from wcr_watchd.kit.options import Options

PHONE = "phone"
"""The kind of address of channels that wake people."""


class FollowUpsTable(Options):
    """How it is told that a follow-up of an incident is due, or late."""

    policy: str | None = None
    """Who is told of it: as it says for info and warning, but nobody by phone, and it never becomes critical; default:
    whom the usual policy tells at once."""
    overdue: Literal["info", "warning"] = "warning"
    """How bad it is that one is late."""


def read_follow_ups(faults: Faults, data: Mapping[str, Any], people: People, defaults: Defaults) -> FollowUpSettings:
    """Read ``[follow_ups]``, which may be left out."""
    table = faults.validate(FollowUpsTable, data.get("follow_ups", {}), ("follow_ups",)) or FollowUpsTable()
    known = set(people.policies) or {DEFAULT_POLICY}
    if table.policy is not None and table.policy not in known:
        hint = did_you_mean(table.policy, known)
        faults.add_reference(("follow_ups", "policy"), f'there is no policy "{table.policy}"', hint)
    found = people.policies.get(table.policy or defaults.policy or DEFAULT_POLICY)
    quiet = {
        severity: _silent(people, plan if table.policy else _at_once(plan))
        for severity, plan in (found.by_severity.items() if found else ())
        if severity < Severity.CRITICAL
    }
    return FollowUpSettings(Policy(FOLLOW_UPS, quiet), Severity.of(table.overdue))


def _at_once(plan: Escalation) -> Escalation:
    """Of a plan that was written for what breaks: whom it tells at once."""
    return replace(plan, steps=(), fallback=(), loop=0)


def _silent(people: People, plan: Escalation) -> Escalation:
    """The plan without what would wake somebody: phones, and that it becomes critical."""

    def awake(targets: tuple[Target, ...]) -> tuple[Target, ...]:
        return tuple(target for target in targets if people.kinds.get(target.channel) != PHONE)

    steps = (
        replace(step, tell=awake(step.tell), raise_to=None if step.raise_to is Severity.CRITICAL else step.raise_to)
        for step in plan.steps
    )
    useful = tuple(step for step in steps if step.tell or step.raise_to)
    return replace(plan, tell=awake(plan.tell), steps=useful, fallback=awake(plan.fallback))
