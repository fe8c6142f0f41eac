"""What the configuration in force says, in figures and sentences: for page and API alike."""

from __future__ import annotations

from wcr_watchd.core.setup import FOLLOW_UPS, Escalation, Setup
from wcr_watchd.core.units import format_duration


def counts(setup: Setup) -> list[tuple[str, int]]:
    """How many there are of what can be configured."""
    return [
        ("checks", len(setup.checks)),
        ("channels", len(setup.channels)),
        ("policies", len(setup.policies)),
        ("contacts", len(setup.contacts)),
        ("on-call schedules", len(setup.on_call)),
        ("maintenance windows", len(setup.windows)),
        ("objectives", len(setup.objectives)),
    ]


def policies(setup: Setup) -> list[tuple[str, list[tuple[str, str]]]]:
    """Each escalation policy: for each severity, the worst first, who is told and when, in a sentence."""
    return [
        (name, [(severity.word, _told(plan)) for severity, plan in sorted(policy.by_severity.items(), reverse=True)])
        for name, policy in (*setup.policies.items(), (FOLLOW_UPS, setup.follow_ups.policy))
        if policy.by_severity or name != FOLLOW_UPS
    ]


def _told(plan: Escalation) -> str:
    said = [", ".join(map(str, plan.tell)) or "nobody"]
    for step in plan.steps:
        more = ", ".join(map(str, step.tell)) or "nobody more"
        raised = f", as {step.raise_to.word}" if step.raise_to is not None else ""
        said.append(f"after {format_duration(step.after)} {more}{raised}")
    if plan.digest:
        said.append(f"together every {format_duration(plan.digest)}")
    if plan.repeat:
        said.append(f"again every {format_duration(plan.repeat)}")
    if plan.fallback:
        said.append(f"in their place {', '.join(map(str, plan.fallback))}")
    return "; ".join(said)
