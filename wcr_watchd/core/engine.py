"""The engine: pure functions from what is known, what happened and the time to a decision.

``observe`` takes an observation, ``tick`` the passing of time, ``command`` what a person wants, ``reconcile`` a new
configuration. Each returns a :class:`Decision`, changing nothing; ``apply`` makes a decision part of the state.
Every event carries the reason for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from wcr_watchd.core.dependencies import ancestors, cause, patience_ends, stale_parents
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.escalation import escalation_of, other_addresses, quiet_until, recipients
from wcr_watchd.core.model import (
    Event,
    EventKind,
    Incident,
    IncidentState,
    Labels,
    Message,
    Notification,
    Observation,
    Outcome,
    Recipient,
    Severity,
)
from wcr_watchd.core.rules import History, Rule, RuleState, Verdict, evaluate, parse_rule, remember
from wcr_watchd.core.setup import Check, Setup
from wcr_watchd.core.state import CheckState, State

UNKNOWN_RULE = parse_rule("unknown for 3x", Severity.WARNING, ())
"""A check that stays unknown is a problem of its own: somebody must be told that nothing is known."""
UNKNOWN_SUBJECT = "no result"


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from one input: new values to remember and store, and what to do.

    ``rechecks`` are checks to run again soon, with the delay in seconds. ``overtaken`` are incidents whose
    unsent reminders have lost their meaning.
    """

    check: CheckState | None = None
    history: History | None = None
    incidents: tuple[Incident, ...] = ()
    events: tuple[Event, ...] = ()
    notifications: tuple[Notification, ...] = ()
    rechecks: tuple[tuple[str, float], ...] = ()
    overtaken: tuple[int, ...] = ()
    next_incident: int = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """What the rules say about one subject of a check: how bad, why, and by which rule."""

    severity: Severity
    because: str
    rule: str


def apply(state: State, decision: Decision) -> None:
    """Make a decision part of the state."""
    if decision.check:
        state.checks[decision.check.check] = decision.check
        if decision.history is not None:
            state.histories[decision.check.check] = decision.history
    for incident in decision.incidents:
        _keep(state, incident)
    state.next_incident = max(state.next_incident, decision.next_incident)


def restore(states: Iterable[CheckState], incidents: Iterable[Incident], next_incident: int) -> State:
    """Build the state that the last life left behind."""
    state = State(next_incident=next_incident)
    for check in states:
        state.checks[check.check] = check
    for incident in incidents:
        _keep(state, incident)
    return state


def observe(setup: Setup, state: State, observation: Observation, now: float) -> Decision:
    """Decide what an observation means: which incidents it opens, changes or ends, and who must be told."""
    check = setup.checks[observation.check]
    before = state.checks.get(check.name) or CheckState(check.name, since=observation.at)
    rules = (*check.rules, UNKNOWN_RULE)
    history = remember(state.histories.get(check.name) or History(), rules, observation)
    states = _evaluate(check, rules, before, history, observation)
    after = _next_state(before, observation, states)
    work = _Work(setup, state, now, observation)
    findings = _findings(rules, states)
    for subject in dict.fromkeys((*state.by_check.get(check.name, {}), *findings)):
        _judge(work, check, after, subject, findings.get(subject))
    severity = work.severity_of(check.name)
    changed = after.outcome is Outcome.UP and severity is not before.severity
    after = replace(after, severity=severity, since=observation.at if changed else after.since)
    if before.outcome is Outcome.DOWN and after.outcome is Outcome.UP:
        work.recheck_suppressed(check.name)
    return work.decision(after, history, _rechecks(setup, state, check, before, after, rules))


def tick(setup: Setup, state: State, number: int, now: float, latest: Observation | None) -> Decision:
    """Do for one incident what is due by now: stop waiting for a parent, take an escalation step, remind."""
    incident = state.incidents.get(number)
    if incident is None or incident.check not in setup.checks:
        return Decision()
    work = _Work(setup, state, now, latest)
    check = setup.checks[incident.check]
    if incident.state is IncidentState.SUPPRESSED:
        _release(work, check, incident, state.checks[check.name].failing_since or incident.opened_at)
    elif incident.next_step_at is not None and incident.next_step_at <= now:
        _escalate(work, check, incident)
    elif incident.next_reminder_at is not None and incident.next_reminder_at <= now:
        _remind(work, check, incident)
    return work.decision()


def deadline(incident: Incident) -> float | None:
    """When :func:`tick` has something to do for the incident (epoch seconds; None: nothing is owed)."""
    times = [at for at in (incident.next_step_at, incident.next_reminder_at) if at is not None]
    return min(times, default=None)


def acknowledge(setup: Setup, state: State, number: int, by: str, now: float, latest: Observation | None) -> Decision:
    """Somebody takes the incident: reminders and escalation stop.

    Raises :class:`CommandError` when there is no such open incident or somebody has it already.
    """
    incident = state.incidents.get(number)
    if incident is None:
        raise CommandError(f"there is no open incident #{number}; `wcr-watchd incidents` lists them")
    if incident.state is IncidentState.ACKNOWLEDGED:
        raise CommandError(f"incident #{number} is already acknowledged by {incident.acknowledged_by}")
    work = _Work(setup, state, now, latest)
    taken = replace(
        incident,
        state=IncidentState.ACKNOWLEDGED,
        acknowledged_at=now,
        acknowledged_by=by,
        next_step_at=None,
        next_reminder_at=None,
    )
    # Nobody is woken by good news: whoever was told learns of it, but not by text message.
    to = tuple(who for who in incident.told if setup.channels.get(who.channel) != "phone")
    work.record(taken, EventKind.ACKNOWLEDGED, f"acknowledged by {by}", to=to, by=by)
    work.overtaken.append(number)
    return work.decision()


def reconcile(setup: Setup, state: State, now: float) -> Decision:
    """End the incidents of checks that a new configuration no longer has, telling those who were told of them."""
    work = _Work(setup, state, now, None)
    for incident in list(state.incidents.values()):
        if incident.check not in setup.checks:
            _resolve(work, incident, "the check was removed from the configuration")
    return work.decision()


def _keep(state: State, incident: Incident) -> None:
    subjects = state.by_check.setdefault(incident.check, {})
    if incident.state is IncidentState.RESOLVED:
        state.incidents.pop(incident.id, None)
        subjects.pop(incident.subject, None)
        if not subjects:
            del state.by_check[incident.check]
    else:
        state.incidents[incident.id] = incident
        subjects[incident.subject] = incident.id


def _evaluate(
    check: Check, rules: tuple[Rule, ...], before: CheckState, history: History, observation: Observation
) -> tuple[tuple[str, RuleState], ...]:
    known = dict(before.rules)
    none = RuleState()
    return tuple(
        (rule.text, evaluate(rule, known.get(rule.text, none), history, observation, check.retry.times))
        for rule in rules
    )


def _next_state(before: CheckState, observation: Observation, states: tuple[tuple[str, RuleState], ...]) -> CheckState:
    failing_since = before.failing_since
    if observation.outcome is Outcome.UP:
        failing_since = None
    elif observation.outcome is Outcome.DOWN and failing_since is None:
        failing_since = observation.at
    return replace(
        before,
        outcome=observation.outcome,
        since=before.since if before.outcome is observation.outcome else observation.at,
        last_at=observation.at,
        summary=observation.summary,
        failing_since=failing_since,
        unknown_runs=before.unknown_runs + 1 if observation.outcome is Outcome.UNKNOWN else 0,
        rules=states,
    )


def _subject(rule: Rule, labels: Labels) -> str:
    if rule.text == UNKNOWN_RULE.text:
        return UNKNOWN_SUBJECT
    return " ".join((rule.topic, *(value for _, value in labels))) if rule.topic else ""


def _instances(
    rules: tuple[Rule, ...], states: tuple[tuple[str, RuleState], ...], verdict: Verdict
) -> Iterator[tuple[Rule, Labels, str]]:
    for rule, (_, state) in zip(rules, states, strict=True):
        for labels, instance in state.instances:
            if instance.verdict is verdict:
                yield rule, labels, instance.because


def _findings(rules: tuple[Rule, ...], states: tuple[tuple[str, RuleState], ...]) -> dict[str, Finding]:
    """The worst firing rule of each subject."""
    found: dict[str, Finding] = {}
    for rule, labels, because in _instances(rules, states, Verdict.FIRING):
        subject = _subject(rule, labels)
        if subject not in found or rule.severity > found[subject].severity:
            found[subject] = Finding(rule.severity, because, rule.text)
    return found


def _rechecks(
    setup: Setup, state: State, check: Check, before: CheckState, after: CheckState, rules: tuple[Rule, ...]
) -> tuple[tuple[str, float], ...]:
    """Whom to run again soon: a failure being confirmed, and at its first sign the parents that may explain it."""
    confirming = any(rule.hold is None for rule, _, _ in _instances(rules, after.rules, Verdict.PENDING))
    again = ((check.name, check.retry.every),) if confirming else ()
    if after.failing_since is None or before.failing_since is not None:
        return again
    return again + tuple((name, 0.0) for name in stale_parents(setup, state, check.name, after.failing_since))


def _judge(work: _Work, check: Check, after: CheckState, subject: str, finding: Finding | None) -> None:
    """Compare what the rules say about a subject with its open incident, if any, and act on the difference."""
    incident = work.open_incident(check.name, subject)
    if incident is None:
        if finding:
            _open(work, check, after, subject, finding)
        return
    if finding is None:
        if not _rule_replaced(check, incident, after):
            _resolve(work, incident, work.summary("all rules are clear"))
        return
    if incident.state is IncidentState.SUPPRESSED:
        incident = _release(work, check, incident, after.failing_since or incident.opened_at)
    severity = max(finding.severity, incident.floor)
    if severity > incident.severity:
        _raise(work, check, incident, severity, finding.because, rule=finding.rule)
    elif severity < incident.severity:
        _lower(work, incident, severity, finding)


def _rule_replaced(check: Check, incident: Incident, after: CheckState) -> bool:
    """Whether a reload replaced the incident's rule and a new one is still being confirmed: then it is not over yet."""
    if incident.rule == UNKNOWN_RULE.text or any(rule.text == incident.rule for rule in check.rules):
        return False
    rules = (*check.rules, UNKNOWN_RULE)
    return any(
        _subject(rule, labels) == incident.subject
        for rule, labels, _ in _instances(rules, after.rules, Verdict.PENDING)
    )


def _open(work: _Work, check: Check, after: CheckState, subject: str, finding: Finding) -> None:
    number = work.take_number()
    incident = Incident(
        id=number,
        check=check.name,
        subject=subject,
        severity=finding.severity,
        peak=finding.severity,
        state=IncidentState.OPEN,
        opened_at=work.now,
        changed_at=work.now,
        summary=work.summary(finding.because),
        rule=finding.rule,
    )
    since = after.failing_since or work.now
    explicable = subject in ("", UNKNOWN_SUBJECT)
    muted_by = cause(work.setup, work.state, check.name, since, work.now) if explicable else ""
    if muted_by:
        wait = patience_ends(work.setup, check.name, since) if muted_by.startswith("waiting") else None
        held = replace(incident, state=IncidentState.SUPPRESSED, muted_by=muted_by, next_step_at=wait)
        work.record(held, EventKind.OPENED, f"{finding.because}; nobody is told: {muted_by}")
    else:
        _tell(work, check, incident, EventKind.OPENED, f"{finding.because}, confirmed by {_confirmation(check)}")


def _confirmation(check: Check) -> str:
    runs = check.retry.times + 1
    return f"{runs} of {runs} runs" if runs > 1 else "one run"


def _release(work: _Work, check: Check, incident: Incident, failing_since: float) -> Incident:
    """Tell of a suppressed incident once no ancestor explains it any more; else say who does."""
    muted_by = cause(work.setup, work.state, check.name, failing_since, work.now)
    if not muted_by:
        released = replace(incident, state=IncidentState.OPEN, muted_by="")
        return _tell(work, check, released, EventKind.OPENED, f"no longer explained: was {incident.muted_by}")
    wait = patience_ends(work.setup, check.name, failing_since) if muted_by.startswith("waiting") else None
    held = replace(incident, muted_by=muted_by, next_step_at=wait)
    if held != incident:
        work.incidents[held.id] = held
    return held


def _tell(work: _Work, check: Check, incident: Incident, kind: EventKind, reason: str) -> Incident:
    """Record the event, tell whom the policy names at once for the severity, and start its clocks."""
    plan = escalation_of(work.setup, check.policy, incident.severity)
    to = recipients(work.setup, plan.tell, work.now)
    told = replace(
        incident,
        told=_union(incident.told, to),
        step=0,
        next_step_at=work.now + plan.steps[0].after if plan.steps else None,
        next_reminder_at=work.now + plan.repeat if plan.repeat else None,
    )
    return work.record(told, kind, reason, to=to)


def _raise(work: _Work, check: Check, incident: Incident, severity: Severity, because: str, rule: str = "") -> None:
    """It got worse: told anew, an acknowledgement given for less is void."""
    worse = replace(
        incident,
        severity=severity,
        peak=max(incident.peak, severity),
        changed_at=work.now,
        summary=work.summary(because),
        rule=rule or incident.rule,
    )
    if incident.state is IncidentState.SUPPRESSED:
        work.record(worse, EventKind.RAISED, f"{because}; nobody is told: {incident.muted_by}")
        return
    opened = replace(worse, state=IncidentState.OPEN, acknowledged_at=None, acknowledged_by="")
    _tell(work, check, opened, EventKind.RAISED, f"{because}; was {incident.severity.word}")


def _lower(work: _Work, incident: Incident, severity: Severity, finding: Finding) -> None:
    """It got better but is not over: told once to those who know of it; reminders go on at the new pace."""
    check = work.setup.checks[incident.check]
    plan = escalation_of(work.setup, check.policy, severity)
    quiet = incident.state is not IncidentState.OPEN
    better = replace(
        incident,
        severity=severity,
        changed_at=work.now,
        summary=work.summary(finding.because),
        rule=finding.rule,
        step=0,
        next_step_at=None if quiet or not plan.steps else work.now + plan.steps[0].after,
        next_reminder_at=None if quiet or not plan.repeat else work.now + plan.repeat,
    )
    reason = f"{finding.because}; was {incident.severity.word}"
    work.record(better, EventKind.LOWERED, reason, to=incident.told, previous=incident.severity)


def _resolve(work: _Work, incident: Incident, reason: str) -> None:
    over = replace(
        incident,
        state=IncidentState.RESOLVED,
        changed_at=work.now,
        resolved_at=work.now,
        summary=reason,
        next_step_at=None,
        next_reminder_at=None,
    )
    why = reason if incident.told else f"{reason}; nobody was told of it, so nobody is told of its end"
    work.record(over, EventKind.RESOLVED, why, to=incident.told)
    work.overtaken.append(incident.id)


def _escalate(work: _Work, check: Check, incident: Incident) -> None:
    """Nobody acknowledged in time: take the next step of the policy."""
    plan = escalation_of(work.setup, check.policy, incident.severity)
    if incident.step >= len(plan.steps):  # the policy was shortened by a reload
        work.incidents[incident.id] = replace(incident, next_step_at=None)
        return
    step = plan.steps[incident.step]
    following = incident.step + 1
    pause = plan.steps[following].after - step.after if following < len(plan.steps) else None
    reason = f"nobody acknowledged within {step.after / 60:g} min"
    to = recipients(work.setup, step.tell, work.now)
    stepped = replace(
        incident,
        step=following,
        told=_union(incident.told, to),
        next_step_at=work.now + pause if pause is not None else None,
    )
    if to or step.raise_to is None:
        stepped = work.record(stepped, EventKind.ESCALATED, reason, to=to)
    if step.raise_to is not None and step.raise_to > incident.severity:
        _raise(work, check, replace(stepped, floor=step.raise_to), step.raise_to, reason)
    elif stepped.id not in work.incidents:
        work.incidents[stepped.id] = stepped


def _remind(work: _Work, check: Check, incident: Incident) -> None:
    plan = escalation_of(work.setup, check.policy, incident.severity)
    if plan.repeat is None:  # the policy stopped repeating with a reload
        work.incidents[incident.id] = replace(incident, next_reminder_at=None)
        return
    taken = [target for step in plan.steps[: incident.step] for target in step.tell]
    to = recipients(work.setup, (*plan.tell, *taken), work.now)
    again = replace(incident, told=_union(incident.told, to), next_reminder_at=work.now + plan.repeat)
    work.record(again, EventKind.REMINDED, f"not acknowledged; repeats every {plan.repeat / 60:g} min", to=to)


def _union(first: tuple[Recipient, ...], second: tuple[Recipient, ...]) -> tuple[Recipient, ...]:
    return tuple(dict.fromkeys((*first, *second)))


class _Work:
    """Collects what one decision consists of, so that its steps see each other's results."""

    def __init__(self, setup: Setup, state: State, now: float, observation: Observation | None) -> None:
        self.setup = setup
        self.state = state
        self.now = now
        self.observation = observation
        self.incidents: dict[int, Incident] = {}
        self.events: list[Event] = []
        self.notifications: list[Notification] = []
        self.rechecks: list[tuple[str, float]] = []
        self.overtaken: list[int] = []
        self._next_incident = state.next_incident

    def take_number(self) -> int:
        number = self._next_incident
        self._next_incident += 1
        return number

    def open_incident(self, check: str, subject: str) -> Incident | None:
        number = self.state.by_check.get(check, {}).get(subject)
        return None if number is None else self.incidents.get(number, self.state.incidents[number])

    def severity_of(self, check: str) -> Severity:
        """The worst severity of the check's incidents as they will be after this decision."""
        mine = {number: self.state.incidents[number] for number in self.state.by_check.get(check, {}).values()}
        mine |= {number: incident for number, incident in self.incidents.items() if incident.check == check}
        alive = (incident.severity for incident in mine.values() if incident.state is not IncidentState.RESOLVED)
        return max(alive, default=Severity.OK)

    def summary(self, fallback: str) -> str:
        """What the probe said, or the rule's own words where no probe has spoken or it saw nothing wrong."""
        seen = self.observation
        if seen is None or not seen.summary:
            return fallback
        fine = seen.outcome is Outcome.UP and not seen.reason
        return fallback if fine and fallback != "all rules are clear" else seen.summary

    def recheck_suppressed(self, parent: str) -> None:
        """The parent is fine again: look at once which of its children still fail, to tell of those."""
        failing = (name for name in self.state.by_check if name in self.setup.checks)
        self.rechecks.extend((name, 0.0) for name in failing if parent in ancestors(self.setup, name))

    def record(
        self,
        incident: Incident,
        kind: EventKind,
        reason: str,
        to: tuple[Recipient, ...] = (),
        by: str = "engine",
        previous: Severity = Severity.OK,
    ) -> Incident:
        """Add an event to the incident's timeline and owe its message to the recipients."""
        numbered = replace(incident, sequence=incident.sequence + 1)
        self.incidents[numbered.id] = numbered
        self.events.append(
            Event(
                incident=numbered.id,
                sequence=numbered.sequence,
                kind=kind,
                at=self.now,
                severity=numbered.severity,
                summary=numbered.summary,
                reason=reason,
                by=by,
            )
        )
        if to:
            message = self._message(numbered, kind, reason, to, by, previous)
            self.notifications.extend(self._notification(numbered, message, who, to) for who in to)
        return numbered

    def _notification(
        self, incident: Incident, message: Message, who: Recipient, to: tuple[Recipient, ...]
    ) -> Notification:
        policy = self.setup.checks[incident.check].policy if incident.check in self.setup.checks else ""
        plan = escalation_of(self.setup, policy, incident.severity)
        batched = plan.digest is not None and who in recipients(self.setup, plan.tell, self.now)
        due = self.now + (plan.digest or 0.0) if batched else self.now
        others = (*other_addresses(self.setup, who), *recipients(self.setup, plan.fallback, self.now))
        return Notification(
            id=f"{self.setup.name}-{incident.id}-{int(incident.opened_at)}-{incident.sequence}-{who.channel}"
            + (f"-{who.contact}" if who.contact else ""),
            incident=incident.id,
            event=message.event,
            severity=incident.severity,
            recipient=who,
            created_at=self.now,
            not_before=quiet_until(self.setup, who, incident.severity, due),
            message=message,
            digest=batched,
            fallbacks=tuple(other for other in others if other not in to),
        )

    def _message(
        self,
        incident: Incident,
        kind: EventKind,
        reason: str,
        to: tuple[Recipient, ...],
        by: str,
        previous: Severity,
    ) -> Message:
        check = self.setup.checks.get(incident.check)
        url = f"{self.setup.public_url.rstrip('/')}/incidents/{incident.id}" if self.setup.public_url else ""
        return Message(
            event=kind,
            at=self.now,
            watchd=self.setup.name,
            location=self.setup.location,
            incident=incident.id,
            severity=incident.severity,
            state=incident.state,
            opened_at=incident.opened_at,
            url=url,
            check=incident.check,
            probe=check.probe if check else "",
            target=check.target if check else "",
            subject=incident.subject,
            tags=check.tags if check else (),
            owner=check.owner if check else "",
            runbook=check.runbook if check else "",
            summary=incident.summary,
            reason=reason,
            measurements=_measured(self.observation, self.setup.units.get(incident.check, {})),
            contacts=tuple(dict.fromkeys(who.contact for who in to if who.contact)),
            previous_severity=previous,
            by="" if by == "engine" else by,
            timezone=self.setup.timezone,
        )

    def decision(
        self,
        check: CheckState | None = None,
        history: History | None = None,
        rechecks: tuple[tuple[str, float], ...] = (),
    ) -> Decision:
        return Decision(
            check=check,
            history=history,
            incidents=tuple(self.incidents.values()),
            events=tuple(self.events),
            notifications=tuple(self.notifications),
            rechecks=(*rechecks, *self.rechecks),
            overtaken=tuple(self.overtaken),
            next_incident=self._next_incident,
        )


MESSAGE_MEASUREMENTS = 20
"""How many measurements a message carries at most; a host has hundreds, a person reads a few."""


def _measured(observation: Observation | None, units: Mapping[str, str]) -> tuple[tuple[str, float, str], ...]:
    if observation is None:
        return ()
    return tuple(
        (_series(measured.name, measured.labels), measured.value, units.get(measured.name, ""))
        for measured in observation.measurements[:MESSAGE_MEASUREMENTS]
    )


def _series(name: str, labels: Labels) -> str:
    return name + ("{" + ",".join(f'{key}="{value}"' for key, value in labels) + "}" if labels else "")
