"""What people are told about the watch itself: that nobody was watching, and that somebody else is on call now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from wcr_watchd.core import life
from wcr_watchd.core.escalation import quiet_until, recipients
from wcr_watchd.core.life import Finding
from wcr_watchd.core.message import about_no_incident, clock_time
from wcr_watchd.core.model import (
    EventKind,
    Incident,
    IncidentState,
    Notification,
    Recipient,
    Severity,
)
from wcr_watchd.core.on_call import on_call_at
from wcr_watchd.core.rules import RuleState, Verdict
from wcr_watchd.core.setup import OWN, Setup, Target
from wcr_watchd.core.state import CheckState, State
from wcr_watchd.core.units import format_duration
from wcr_watchd.core.work import Decision, Work, own_check

ABSENCE_SUBJECT = "absence"
NOBODY_SUBJECT = "nobody on call"
CANARY_SUBJECT = "channel"
REPORT_SUBJECT = "report"
CONFIRMS_NOTHING = 60.0
"""Seconds without anybody watching after which what was being confirmed must be confirmed anew."""
FRESH_LOOK = 30.0
"""Seconds that reminders and escalations wait after an absence for the results of their checks."""
NAMED = 5
"""Open incidents that a message names."""


def absence(setup: Setup, state: State, since: float, now: float, why: str) -> Decision:
    """Say for how long nobody was watching, and what is open; nothing when it was shorter than is worth telling.

    ``since`` and ``now`` are epoch seconds, ``why`` goes on with "nobody was watching …: ".
    """
    if not setup.tell_absence or now - since < setup.tell_absence:
        return Decision()
    work = Work(setup, state, now, None)
    span = f"{clock_time(since, setup.timezone, now)} to {clock_time(now, setup.timezone, now)}"
    because = f"nobody was watching from {span} ({format_duration(now - since)}): {why}"
    end = f"I am back; {because}; {_open_incidents(work)}"
    life.pass_by(work, OWN, ABSENCE_SUBJECT, Finding(Severity.WARNING, because, ""), end)
    return work.decision()


def unconfirmed(state: State) -> tuple[CheckState, ...]:
    """The check states without what was still being confirmed: a time in which nobody watched confirms nothing."""
    found = []
    for known in state.checks.values():
        if any(_pending(rule) for _, rule in known.rules):
            rules = tuple((text, _without_pending(rule)) for text, rule in known.rules)
            found.append(replace(known, rules=rules))
    return tuple(found)


def looked_at_first(state: State, until: float) -> Decision:
    """Let what fell due while nobody watched wait for a fresh look: most of it may be over by now.

    What is muted is looked at again at ``until`` (epoch seconds) at the latest; its silence may have run out.
    """
    waiting = []
    for one in state.incidents.values():
        step, reminder = (
            until if at is not None and at < until else at for at in (one.next_step_at, one.next_reminder_at)
        )
        muted = until if one.state.muted else one.muted_until
        taken = until if one.acknowledged_until and one.acknowledged_until < until else one.acknowledged_until
        waiting.append(
            replace(one, next_step_at=step, next_reminder_at=reminder, muted_until=muted, acknowledged_until=taken)
        )
    changed = tuple(one for one in waiting if one != state.incidents[one.id])
    return Decision(incidents=changed, rechecks=tuple((one.check, 0.0) for one in changed if one.check != OWN.name))


def _pending(rule: RuleState) -> bool:
    return any(instance.verdict is Verdict.PENDING for _, instance in rule.instances)


def _without_pending(rule: RuleState) -> RuleState:
    return RuleState(tuple(one for one in rule.instances if one[1].verdict is not Verdict.PENDING))


def hand_over(
    setup: Setup, state: State, schedule: str, people: tuple[str, ...], until: float | None, now: float
) -> Decision:
    """Tell who is on call from now on what is open, and that nobody is when nobody is.

    ``until`` is when the turn ends (epoch seconds; None: beyond what was looked at).
    """
    work = Work(setup, state, now, None)
    incident = work.open_incident(OWN.name, f"{NOBODY_SUBJECT} {schedule}")
    ends = f" until {clock_time(until, setup.timezone, now)}" if until is not None else ""
    if not people:
        if incident is None:
            because = f"nobody is on call for {schedule}{ends}: incidents go to the fallback of their policy"
            finding = Finding(Severity.WARNING, because, "")
            life.begin(work, OWN, f"{NOBODY_SUBJECT} {schedule}", finding, "by the schedule")
        return work.decision()
    if incident is not None:
        life.end(work, incident, f"{' and '.join(people)} on call for {schedule} again")
    summary = f"you are on call for {schedule}{ends}; {_open_incidents(work)}"
    reason = f"the on-call schedule {schedule} hands over"
    for number, who in enumerate(_reached(setup, schedule, people)):
        identifier = f"{setup.name}-handover-{schedule}-{int(now)}-{number}"
        due = quiet_until(setup, who, Severity.INFO, now)
        if until is None or due < until:
            work.notifications.append(notice(setup, EventKind.HANDOVER, who, summary, reason, identifier, now, due))
    return work.decision()


def duties_stand(setup: Setup, state: State, now: float) -> Decision:
    """End what is open about schedules that a new configuration no longer has, or by which somebody is on call."""
    work = Work(setup, state, now, None)
    prefix = f"{NOBODY_SUBJECT} "
    for subject in [one for one in state.by_check.get(OWN.name, {}) if one.startswith(prefix)]:
        incident = work.open_incident(OWN.name, subject)
        schedule = setup.on_call.get(subject.removeprefix(prefix))
        people = on_call_at(schedule, now).contacts if schedule else ()
        if incident is not None and schedule is None:
            life.end(work, incident, f"there is no on-call schedule {subject.removeprefix(prefix)} any more")
        elif incident is not None and people:
            life.end(work, incident, f"{' and '.join(people)} on call again")
    return work.decision()


def channel_fails(setup: Setup, state: State, channel: str, why: str, now: float) -> Decision:
    """Tell, over whatever else works, that a channel cannot deliver; nothing when that is known already."""
    finding = Finding(Severity.CRITICAL, f"the channel {channel} does not deliver: {why}", "")
    return trouble(setup, state, f"{CANARY_SUBJECT} {channel}", finding, "by its canary", now)


def channel_delivers(setup: Setup, state: State, channel: str, why: str, now: float) -> Decision:
    """End the incident of a channel that could not deliver, if there is one."""
    return trouble_over(setup, state, f"{CANARY_SUBJECT} {channel}", why, now)


def trouble(setup: Setup, state: State, subject: str, finding: Finding, confirmed: str, now: float) -> Decision:
    """Open an incident of the daemon itself about this subject; nothing when it is open already."""
    work = Work(setup, state, now, None)
    if work.open_incident(OWN.name, subject) is None:
        life.begin(work, own_check(subject), subject, finding, confirmed)
    return work.decision()


def trouble_over(setup: Setup, state: State, subject: str, why: str, now: float) -> Decision:
    """End the incident of the daemon itself about this subject, if there is one."""
    work = Work(setup, state, now, None)
    incident = work.open_incident(OWN.name, subject)
    if incident is not None:
        life.end(work, incident, why)
    return work.decision()


def report_fails(setup: Setup, state: State, report: str, why: str, now: float) -> Decision:
    """Tell that a report cannot be written: one that does not come is missed by nobody."""
    work = Work(setup, state, now, None)
    subject = f"{REPORT_SUBJECT} {report}"
    if work.open_incident(OWN.name, subject) is None:
        because = f"the report {report} cannot be written: {why}"
        life.begin(work, OWN, subject, Finding(Severity.WARNING, because, ""), "by its schedule")
    return work.decision()


def report_is_written(setup: Setup, state: State, report: str, now: float) -> Decision:
    """End the incident of a report that could not be written, if there is one."""
    work = Work(setup, state, now, None)
    incident = work.open_incident(OWN.name, f"{REPORT_SUBJECT} {report}")
    if incident is not None:
        life.end(work, incident, f"the report {report} is written")
    return work.decision()


def channels_that_fail(state: State) -> tuple[str, ...]:
    """The channels of which it is known that they do not deliver."""
    prefix = f"{CANARY_SUBJECT} "
    return tuple(one.removeprefix(prefix) for one in state.by_check.get(OWN.name, {}) if one.startswith(prefix))


def _reached(setup: Setup, schedule: str, people: tuple[str, ...]) -> tuple[Recipient, ...]:
    """The people over the channels by which policies tell this schedule; by text message only if by nothing else."""
    plans = (plan for policy in setup.policies.values() for plan in policy.by_severity.values())
    channels = [target.channel for plan in plans for target in life.plan_targets(plan) if target.who == schedule]
    quiet = [channel for channel in channels if setup.channels.get(channel) != "phone"]
    targets = (Target(channel, who) for channel in dict.fromkeys(quiet or channels) for who in people)
    return recipients(setup, targets, 0.0)


def notice(
    setup: Setup,
    kind: EventKind,
    who: Recipient,
    summary: str,
    reason: str,
    identifier: str,
    now: float,
    not_before: float = 0.0,
) -> Notification:
    """A message about no incident, for one recipient; ``identifier`` is what makes it a different one from others."""
    place = {"watchd": setup.name, "location": setup.location, "url": setup.public_url}
    message = about_no_incident(kind, now, setup.timezone, summary, reason, **place)
    message = replace(message, contacts=(who.contact,) if who.contact else ())
    return Notification(
        id=f"{identifier}-{who.channel}" + (f"-{who.contact}" if who.contact else ""),
        incident=0,
        event=kind,
        severity=Severity.INFO,
        recipient=who,
        created_at=now,
        not_before=max(now, not_before),
        message=message,
    )


def _open_incidents(work: Work) -> str:
    """``3 incidents are open: critical #42 api, …``."""
    now = (work.state.incidents | work.incidents).values()
    still = (one for one in now if one.state is not IncidentState.RESOLVED)
    found = sorted(still, key=lambda one: (-one.severity, one.opened_at))
    if not found:
        return "no incident is open"
    named = ", ".join(_short(found[:NAMED]))
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"{len(found)} incident{'s are' if len(found) > 1 else ' is'} open: {named}{more}"


def _short(incidents: Iterable[Incident]) -> Iterable[str]:
    for one in incidents:
        yield " ".join(filter(None, (one.severity.word, f"#{one.id}", one.check, one.subject)))
