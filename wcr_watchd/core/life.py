"""The life of an incident: what opens it, makes it worse or better, takes it, mutes it, and ends it.

Each step takes the :class:`~wcr_watchd.core.work.Work` of the decision, records what happened with its reason and owes
the messages that follow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from wcr_watchd.core.contacts import ways
from wcr_watchd.core.escalation import escalation_of, policy_named, recipients, unreachable
from wcr_watchd.core.model import Alert, EventKind, Incident, IncidentState, Recipient, Severity
from wcr_watchd.core.mute import Mute, mute_of
from wcr_watchd.core.setup import Check, Escalation, Setup, Target
from wcr_watchd.core.units import format_duration
from wcr_watchd.core.work import Work


@dataclass(frozen=True, slots=True)
class Finding:
    """What the rules say about one subject of a check: how bad, why, and by which rule."""

    severity: Severity
    because: str
    rule: str


# --- beginning ----------------------------------------------------------------------------------------------------


def begin(
    work: Work,
    check: Check,
    subject: str,
    finding: Finding,
    confirmed: str,
    *,
    flapping: bool = False,
    alert: Alert | None = None,
) -> Incident:
    """Open an incident, or go on with the one of the same subject that ended a short time ago."""
    again = _ended_lately(work, check, subject)
    fresh = Incident(
        id=again.id if again else work.take_number(),
        check=check.name,
        subject=subject,
        severity=finding.severity,
        peak=max(finding.severity, again.peak if again else Severity.OK),
        state=IncidentState.OPEN,
        opened_at=again.opened_at if again else work.now,
        changed_at=work.now,
        summary=work.summary(check.name, finding.because),
        rule=finding.rule,
        flapping=flapping,
        owner=again.owner if again else "",
        sequence=again.sequence if again else 0,
        alert=alert,
        first_acknowledged_at=again.taken_at if again else None,
        first_acknowledged_by=again.taken_by if again else "",
    )
    reason = f"{finding.because}, {confirmed}"
    if again and again.resolved_at is not None:
        reason += f"; it is back {format_duration(work.now - again.resolved_at)} after its end"
    kind = EventKind.FLAPPING if flapping else EventKind.OPENED
    if mute := what_mutes(work, check, fresh):
        return _hold(work, fresh, mute, kind, reason)
    return tell(work, check, fresh, kind, reason)


def _ended_lately(work: Work, check: Check, subject: str) -> Incident | None:
    again = work.state.ended.get((check.name, subject))
    if again is None or again.resolved_at is None or work.now - again.resolved_at > work.setup.reopen_within:
        return None
    return again


def what_mutes(work: Work, check: Check, incident: Incident) -> Mute | None:
    """What keeps an incident from being told now; None: nothing does."""
    known = work.state.checks.get(check.name)
    since = known.failing_since if known else None
    return mute_of(work.setup, work.state, check, incident, since or incident.opened_at, work.now)


def _hold(work: Work, incident: Incident, mute: Mute, kind: EventKind, reason: str) -> Incident:
    """Record the event and tell nobody, for the reason that mutes it."""
    return work.record(_muted(incident, mute), kind, f"{reason}; nobody is told: {mute.reason}")


def _muted(incident: Incident, mute: Mute) -> Incident:
    return replace(
        incident,
        state=mute.state,
        muted_by=mute.reason,
        muted_until=mute.until,
        next_step_at=None,
        next_reminder_at=None,
    )


# --- telling ------------------------------------------------------------------------------------------------------


def tell(
    work: Work,
    check: Check,
    incident: Incident,
    kind: EventKind,
    reason: str,
    previous: Severity = Severity.OK,
    also: tuple[Recipient, ...] = (),
) -> Incident:
    """Record the event, tell whom the policy names at once for the severity (``also`` others), and start its clocks.

    What comes and goes has none: once that is said, nothing more is until it is stable or gets worse. A contact of whom
    it is asked whether they can be reached is asked by each of their ways.
    """
    plan = escalation_of(work.setup, check.policy, incident.severity)
    to, remark = _whom(work, check, plan, plan.tell)
    to = _union(to, also)
    if not plan.tell:
        remark = f"; the policy {check.policy} tells nobody at once of {incident.severity.word}"
    told = replace(
        incident,
        told=_union(incident.told, to),
        told_severity=incident.severity,
        step=0,
        rounds=0,
        next_step_at=work.now + plan.steps[0].after if plan.steps and not incident.flapping else None,
        next_reminder_at=work.now + plan.repeat if plan.repeat and not incident.flapping else None,
    )
    asked = ways(work.setup, check.asks) if check.asks and work.setup.public_url else ()
    recorded = work.record(
        told, kind, reason + remark, to=tuple(one for one in to if one not in asked), previous=previous
    )
    work.ask(recorded, kind, asked)
    return recorded


def _whom(work: Work, check: Check, plan: Escalation, targets: tuple[Target, ...]) -> tuple[tuple[Recipient, ...], str]:
    """Whom to tell, with a remark on targets behind which nobody stands now; if that is so of all, who else can be."""
    to = recipients(work.setup, targets, work.now)
    missing = unreachable(work.setup, targets, work.now)
    nobody = "; " + ", ".join(missing) if missing else ""
    if to or not targets:
        return to, nobody
    others = recipients(work.setup, plan.fallback, work.now) or everybody(work.setup, check.policy, work.now)
    return others, nobody + (", so others are" if others else "")


def pass_by(work: Work, check: Check, subject: str, finding: Finding, end: str) -> Incident:
    """Record what is over when it becomes known, and tell of it in one message."""
    plan = escalation_of(work.setup, check.policy, finding.severity)
    to = recipients(work.setup, plan.tell, work.now)
    happened = Incident(
        id=work.take_number(),
        check=check.name,
        subject=subject,
        severity=finding.severity,
        peak=finding.severity,
        state=IncidentState.RESOLVED,
        opened_at=work.now,
        changed_at=work.now,
        resolved_at=work.now,
        summary=finding.because,
    )
    known = work.record(happened, EventKind.OPENED, "told together with its end")
    return work.record(replace(known, told=to, summary=end), EventKind.RESOLVED, finding.because, to=to)


def everybody(setup: Setup, policy: str, now: float) -> tuple[Recipient, ...]:
    """All whom the policy names, for any severity and at any step."""
    found = policy_named(setup, policy)
    plans = sorted(found.by_severity.items(), reverse=True) if found else []
    targets = [target for _, plan in plans for target in plan_targets(plan)]
    return recipients(setup, targets, now)


def plan_targets(plan: Escalation) -> tuple[Target, ...]:
    """All whom one severity's plan names."""
    return (*plan.tell, *(target for step in plan.steps for target in step.tell), *plan.fallback)


def _union(first: tuple[Recipient, ...], second: tuple[Recipient, ...]) -> tuple[Recipient, ...]:
    return tuple(dict.fromkeys((*first, *second)))


# --- getting worse and better -------------------------------------------------------------------------------------


def worsen(work: Work, check: Check, incident: Incident, severity: Severity, because: str, rule: str = "") -> Incident:
    """It got worse: told anew, an acknowledgement given for less is void unless it is a sticky one."""
    worse = replace(
        incident,
        severity=severity,
        peak=max(incident.peak, severity),
        changed_at=work.now,
        summary=work.summary(check.name, because),
        rule=rule or incident.rule,
    )
    reason = f"{because}; was {incident.severity.word}"
    if incident.state is IncidentState.ACKNOWLEDGED and incident.sticky:
        return work.record(worse, EventKind.RAISED, f"{reason}; nobody is told: {_taken(incident)}")
    if mute := what_mutes(work, check, worse):
        return _hold(work, _untaken(worse), mute, EventKind.RAISED, reason)
    return tell(work, check, _free(_untaken(worse)), EventKind.RAISED, reason, previous=incident.severity)


def go_on(work: Work, check: Check, incident: Incident, stage: Finding) -> Incident:
    """A further stage of it is no worse: told anew, and an acknowledgement of the one before is void, as when it is."""
    further = replace(
        incident, changed_at=work.now, summary=work.summary(check.name, stage.because), rule=stage.rule or incident.rule
    )
    if incident.state is IncidentState.ACKNOWLEDGED and incident.sticky:
        return work.record(further, EventKind.NOTED, f"{stage.because}; nobody is told: {_taken(incident)}")
    if mute := what_mutes(work, check, further):
        return _hold(work, _untaken(further), mute, EventKind.NOTED, stage.because)
    return tell(work, check, _free(_untaken(further)), EventKind.REMINDED, stage.because)


def _taken(incident: Incident) -> str:
    return f"acknowledged by {incident.acknowledged_by} until it is over"


def _untaken(incident: Incident) -> Incident:
    return replace(
        incident,
        state=IncidentState.OPEN if incident.state is IncidentState.ACKNOWLEDGED else incident.state,
        acknowledged_at=None,
        acknowledged_by="",
        acknowledged_until=None,
        sticky=False,
    )


def _free(incident: Incident) -> Incident:
    return replace(incident, state=IncidentState.OPEN, muted_by="", muted_until=None)


def better(work: Work, incident: Incident, severity: Severity, finding: Finding) -> Incident:
    """It got better but is not over: told once to those who know of it; reminders go on at the new pace."""
    check = work.check_of(incident)
    plan = escalation_of(work.setup, check.policy, severity)
    reminding = incident.state is IncidentState.OPEN and not incident.flapping
    lower = replace(
        incident,
        severity=severity,
        changed_at=work.now,
        summary=work.summary(check.name, finding.because),
        rule=finding.rule,
        step=0,
        rounds=0,
        next_step_at=work.now + plan.steps[0].after if reminding and plan.steps else None,
        next_reminder_at=work.now + plan.repeat if reminding and plan.repeat else None,
    )
    reason = f"{finding.because}; was {incident.severity.word}"
    if incident.state.muted:
        return work.record(lower, EventKind.LOWERED, f"{reason}; nobody is told: {incident.muted_by}")
    known = replace(lower, told_severity=severity)
    return work.record(known, EventKind.LOWERED, reason, to=incident.told, previous=incident.severity)


def end(work: Work, incident: Incident, reason: str, by: str = "engine") -> Incident:
    """It is over: whoever was told of it is told so, also while it is silenced."""
    over = replace(
        incident,
        state=IncidentState.RESOLVED,
        changed_at=work.now,
        resolved_at=work.now,
        summary=reason,
        muted_by="",
        muted_until=None,
        flapping=False,
        acknowledged_until=None,
        next_step_at=None,
        next_reminder_at=None,
    )
    why = reason if incident.told else f"{reason}; nobody was told of it, so nobody is told of its end"
    work.overtaken.append(incident.id)
    return work.record(over, EventKind.RESOLVED, why, to=incident.told, by=by)


# --- coming and going ---------------------------------------------------------------------------------------------


def start_flapping(work: Work, check: Check, incident: Incident, because: str) -> Incident:
    """It comes and goes: said once, then nothing until it is stable; meanwhile it does not end."""
    unsteady = replace(incident, flapping=True, changed_at=work.now)
    if incident.state is not IncidentState.OPEN:
        muted = incident.muted_by or f"acknowledged by {incident.acknowledged_by}"
        return work.record(unsteady, EventKind.FLAPPING, f"{because}; nobody is told: {muted}")
    return tell(work, check, replace(unsteady, summary=because), EventKind.FLAPPING, because)


def stop_flapping(work: Work, check: Check, incident: Incident, finding: Finding) -> Incident:
    """It no longer comes and goes, but it still fails."""
    steady = replace(
        incident,
        flapping=False,
        severity=finding.severity,
        summary=work.summary(check.name, finding.because),
        rule=finding.rule,
    )
    reason = f"no longer flapping: {finding.because}"
    if incident.state is IncidentState.OPEN:
        return tell(work, check, steady, EventKind.REMINDED, reason)
    return work.record(steady, EventKind.NOTED, reason)


# --- being muted, and no longer -----------------------------------------------------------------------------------


def attend(work: Work, check: Check, incident: Incident) -> Incident:
    """Mute the incident, or tell of what was muted, as things stand now.

    What nobody was told of is told when nothing mutes it any more; who knows of it learns that it still holds.
    """
    if incident.state in (IncidentState.ACKNOWLEDGED, IncidentState.RESOLVED):
        return incident
    mute = what_mutes(work, check, incident)
    if mute is None and incident.state.muted and work.now < work.state.looks_until:
        # Nobody has looked since an absence: it may be over.
        waits = replace(incident, muted_until=work.state.looks_until)
        return work.keep(waits) if waits != incident else incident
    if mute is None:
        return _unmute(work, check, incident) if incident.state.muted else incident
    if incident.state is IncidentState.OPEN:
        return _hold(work, incident, mute, EventKind.MUTED, "not told any more")
    held = _muted(incident, mute)
    return work.keep(held) if held != incident else incident


def _unmute(work: Work, check: Check, incident: Incident) -> Incident:
    free = _free(incident)
    reason = f"no longer muted: was {incident.muted_by}"
    if incident.state is IncidentState.MAINTENANCE:
        reason = f"still broken at the end: {incident.muted_by}"
    if not incident.told:
        return tell(work, check, free, EventKind.FLAPPING if incident.flapping else EventKind.OPENED, reason)
    if incident.severity > incident.told_severity:
        return tell(work, check, free, EventKind.RAISED, reason, previous=incident.told_severity)
    if incident.severity < incident.told_severity:
        knows = incident.told
        return tell(work, check, free, EventKind.LOWERED, reason, previous=incident.told_severity, also=knows)
    if incident.flapping and incident.state is IncidentState.SUPPRESSED:
        return work.keep(free)  # what it depends on comes and goes as well: that would be said again and again
    return tell(work, check, free, EventKind.REMINDED, f"still so; {reason}")


# --- as time passes -----------------------------------------------------------------------------------------------


def escalate(work: Work, check: Check, incident: Incident) -> Incident:
    """Nobody acknowledged in time: take the next step of the policy, begin its next round, or say that it ran out."""
    plan = escalation_of(work.setup, check.policy, incident.severity)
    if not plan.steps:  # a reload took the steps away
        return work.keep(replace(incident, next_step_at=None))
    if incident.step >= len(plan.steps):
        return _round(work, check, incident, plan)
    step = plan.steps[incident.step]
    following = incident.step + 1
    pause = plan.steps[following].after - step.after if following < len(plan.steps) else _last_pause(plan)
    reason = f"nobody acknowledged within {format_duration(step.after)}"
    to, remark = _whom(work, check, plan, step.tell)
    stepped = replace(
        incident,
        step=following,
        told=_union(incident.told, to),
        next_step_at=work.now + pause,
    )
    if to or step.raise_to is None:
        stepped = work.record(stepped, EventKind.ESCALATED, reason + remark, to=to)
    if step.raise_to is not None and step.raise_to > incident.severity:
        return worsen(work, check, replace(stepped, floor=step.raise_to), step.raise_to, reason)
    return work.keep(stepped)


def _last_pause(plan: Escalation) -> float:
    """How long the last step is given: as long as the one before it was."""
    before = plan.steps[-2].after if len(plan.steps) > 1 else 0.0
    return max(plan.steps[-1].after - before, 60.0)


def _round(work: Work, check: Check, incident: Incident, plan: Escalation) -> Incident:
    if incident.rounds < plan.loop:
        to, remark = _whom(work, check, plan, plan.tell)
        again = replace(
            incident,
            step=0,
            rounds=incident.rounds + 1,
            told=_union(incident.told, to),
            next_step_at=work.now + plan.steps[0].after,
        )
        reason = f"nobody acknowledged; round {again.rounds + 1} of {plan.loop + 1} begins"
        return work.record(again, EventKind.ESCALATED, reason + remark, to=to)
    to = recipients(work.setup, plan_targets(plan), work.now)
    repeat = work.now + plan.repeat if plan.repeat else None
    spent = replace(incident, told=_union(incident.told, to), next_step_at=None, next_reminder_at=repeat)
    reason = f"the policy {check.policy} has run out and nobody has acknowledged: all it names are told"
    return work.record(spent, EventKind.ESCALATED, reason, to=to)


def remind(work: Work, check: Check, incident: Incident) -> Incident:
    """Nobody has acknowledged: tell again whoever has been told by the policy so far."""
    plan = escalation_of(work.setup, check.policy, incident.severity)
    if plan.repeat is None:  # the policy stopped repeating with a reload
        return work.keep(replace(incident, next_reminder_at=None))
    taken = tuple(target for step in plan.steps[: incident.step] for target in step.tell)
    to, remark = _whom(work, check, plan, (*plan.tell, *taken))
    again = replace(incident, told=_union(incident.told, to), next_reminder_at=work.now + plan.repeat)
    reason = f"not acknowledged; repeats every {format_duration(plan.repeat)}"
    return work.record(again, EventKind.REMINDED, reason + remark, to=to, repeated=True)


def rewind(work: Work, check: Check, incident: Incident) -> Incident:
    """Start the clocks that a new configuration has and the one before had not: steps to come, reminders."""
    if incident.state is not IncidentState.OPEN or incident.flapping:
        return incident
    plan = escalation_of(work.setup, check.policy, incident.severity)
    wound = incident
    if wound.next_step_at is None and wound.step < len(plan.steps):
        wound = replace(wound, next_step_at=work.now + plan.steps[wound.step].after)
    if wound.next_reminder_at is None and plan.repeat:
        wound = replace(wound, next_reminder_at=work.now + plan.repeat)
    return work.keep(wound) if wound is not incident else incident


def take_back(work: Work, check: Check, incident: Incident, reason: str) -> Incident:
    """An acknowledgement is over and the incident is not: tell again."""
    free = _untaken(incident)
    if mute := what_mutes(work, check, free):
        return _hold(work, free, mute, EventKind.MUTED, reason)
    return tell(work, check, free, EventKind.REMINDED, reason)
