"""The engine: pure functions from what is known, what happened and the time to a decision.

``observe`` takes an observation, ``tick`` the passing of time, ``reconcile`` a new configuration; what people ask for
is in :mod:`wcr_watchd.core.commands`. Each returns a :class:`Decision`, changing nothing; ``apply`` makes a decision
part of the state. Every event carries the reason for it.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator
from dataclasses import replace

from wcr_watchd.core import alerts, life
from wcr_watchd.core.connectivity import is_offline, offline_since, stale_controls
from wcr_watchd.core.dependencies import stale_parents
from wcr_watchd.core.escalation import escalation_of
from wcr_watchd.core.flapping import RESULTS, Flap, after_result
from wcr_watchd.core.life import Finding
from wcr_watchd.core.model import Incident, IncidentState, Labels, Observation, Outcome, Severity
from wcr_watchd.core.mute import UNKNOWN_SUBJECT
from wcr_watchd.core.rules import History, Rule, RuleState, Verdict, evaluate, parse_rule, remember
from wcr_watchd.core.setup import OWN, Check, Setup
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.state import CheckState, State
from wcr_watchd.core.work import Decision, Work

__all__ = ["Decision", "apply", "deadline", "observe", "reconcile", "restore", "tick"]

UNKNOWN_RULE = parse_rule("unknown for 3x", Severity.WARNING, ())
"""A check that stays unknown is a problem of its own: somebody must be told that nothing is known."""
OFFLINE_SUBJECT = "offline"
REMEMBERED_ENDS = 10_000
"""Incidents that ended last, of which one may go on."""

RuleStates = tuple[tuple[str, RuleState], ...]


def apply(state: State, decision: Decision) -> None:
    """Make a decision part of the state."""
    if decision.check:
        state.checks[decision.check.check] = decision.check
        if decision.history is not None:
            state.histories[decision.check.check] = decision.history
    for incident in decision.incidents:
        _keep(state, incident)
    for silence in decision.silences:
        state.silences[silence.id] = silence
        for old in [one.id for one in state.silences.values() if one.forgotten_at < silence.updated_at]:
            del state.silences[old]
    state.next_incident = max(state.next_incident, decision.next_incident)


def restore(
    states: Iterable[CheckState],
    incidents: Iterable[Incident],
    next_incident: int,
    silences: Iterable[Silence] = (),
) -> State:
    """Build the state that the last life left behind; ``incidents`` are those open or ended a short time ago."""
    state = State(next_incident=next_incident)
    for check in states:
        state.checks[check.check] = check
    for incident in incidents:
        _keep(state, incident)
    state.silences.update((silence.id, silence) for silence in silences)
    return state


def observe(setup: Setup, state: State, observation: Observation, now: float) -> Decision:
    """Decide what an observation means: which incidents it opens, changes or ends, and who must be told."""
    check = setup.checks[observation.check]
    before = state.checks.get(check.name) or CheckState(check.name, since=observation.at)
    rules = _rules(setup, state, check)
    history = remember(state.histories.get(check.name) or History(), rules, observation)
    states = _evaluate(check, rules, before, history, observation)
    after = _next_state(before, observation, states)
    flaps = _flaps(check, rules, before, after)
    if flaps != after.flaps:
        after = replace(after, flaps=flaps)
    work = Work(setup, _with(state, after), now, observation)
    findings = _findings(rules, states)
    stages = _stages(rules, before, states) if check.staged else {}
    flapping = dict(after.flaps)
    subjects = (*state.by_check.get(check.name, {}), *findings, *(s for s, flap in after.flaps if flap.flapping))
    for subject in dict.fromkeys(subjects):
        if not _is_alert(work, check.name, subject):
            _judge(work, check, after, subject, findings.get(subject), flapping.get(subject, _STEADY))
            if subject in stages:
                _judge_stage(work, check, subject, stages[subject])
    if check.name in setup.controls:
        _judge_connectivity(work)
    severity = work.severity_of(check.name)
    changed = after.outcome is Outcome.UP and severity is not before.severity
    if severity is not after.severity or changed:
        after = replace(after, severity=severity, since=observation.at if changed else after.since)
    if before.outcome is Outcome.DOWN and after.outcome is Outcome.UP:
        work.recheck_suppressed(check.name)
    return work.decision(after, history, _rechecks(setup, state, check, before, after, rules))


def tick(setup: Setup, state: State, number: int, now: float, latest: Observation | None) -> Decision:
    """Do for one incident what is due by now: look whether it is still muted, escalate, remind."""
    incident = state.incidents.get(number)
    if incident is None or not _is_about_something(setup, incident):
        return Decision()
    work = Work(setup, state, now, latest)
    check = work.check_of(incident)
    if alerts.lapse(work, incident):
        return work.decision()
    if incident.acknowledged_until is not None and incident.acknowledged_until <= now:
        life.take_back(work, check, incident, f"the acknowledgement by {incident.acknowledged_by} has ended")
    elif life.attend(work, check, incident) is incident and incident.state is IncidentState.OPEN:
        _step_or_remind(work, check, incident)
    return work.decision()


def _is_about_something(setup: Setup, incident: Incident) -> bool:
    """Whether what the incident is about is still watched by somebody."""
    if incident.alert is not None:
        return setup.alerts is not None
    return incident.check in setup.checks or incident.check == OWN.name


def _step_or_remind(work: Work, check: Check, incident: Incident) -> None:
    """Remind before a step is taken, so that whom the step tells is not told twice at once."""
    step_due = incident.next_step_at is not None and incident.next_step_at <= work.now
    spent = incident.step >= len(escalation_of(work.setup, check.policy, incident.severity).steps)
    if incident.next_reminder_at is not None and incident.next_reminder_at <= work.now and not (step_due and spent):
        life.remind(work, check, incident)
    elif step_due:
        life.escalate(work, check, incident)


def is_muted(setup: Setup, state: State, number: int, now: float) -> bool:
    """Whether nobody is to be told of an incident at this time, whoever has acknowledged it."""
    incident = state.incidents.get(number)
    if incident is None or not _is_about_something(setup, incident):
        return False
    work = Work(setup, state, now, None)
    return life.what_mutes(work, work.check_of(incident), incident) is not None


def deadline(incident: Incident) -> float | None:
    """When :func:`tick` has something to do for the incident (epoch seconds; None: nothing is owed)."""
    lapses = incident.alert.ends_at if incident.alert else None
    times = (
        incident.next_step_at,
        incident.next_reminder_at,
        incident.muted_until,
        incident.acknowledged_until,
        lapses,
    )
    return min((at for at in times if at is not None), default=None)


def reconcile(setup: Setup, state: State, now: float) -> Decision:
    """End the incidents of what a new configuration no longer has, and look anew at what was muted or has no clock."""
    work = Work(setup, state, now, None)
    for incident in list(state.incidents.values()):
        if not _is_about_something(setup, incident):
            what = "the check was removed from" if incident.alert is None else "alerts are not taken any more by"
            life.end(work, incident, f"{what} the configuration")
        elif incident.check == OWN.name and incident.subject == OFFLINE_SUBJECT and not setup.controls:
            life.end(work, incident, "no control targets are configured any more")
        elif incident.state.muted:
            life.attend(work, work.check_of(incident), incident)
        else:
            life.rewind(work, work.check_of(incident), incident)
    return work.decision()


# --- state ----------------------------------------------------------------------------------------------------------


def _keep(state: State, incident: Incident) -> None:
    subjects = state.by_check.setdefault(incident.check, {})
    if incident.state is IncidentState.RESOLVED:
        state.incidents.pop(incident.id, None)
        if subjects.get(incident.subject) == incident.id:
            del subjects[incident.subject]
        if not subjects:
            del state.by_check[incident.check]
        state.ended.pop((incident.check, incident.subject), None)
        state.ended[incident.check, incident.subject] = incident
        if len(state.ended) > REMEMBERED_ENDS:
            del state.ended[next(iter(state.ended))]
    else:
        state.incidents[incident.id] = incident
        subjects[incident.subject] = incident.id


def _with(state: State, check: CheckState) -> State:
    """The state with a check as it is now, the rest shared."""
    return replace(state, checks=ChainMap({check.check: check}, state.checks))


# --- what an observation means --------------------------------------------------------------------------------------


def _rules(setup: Setup, state: State, check: Check) -> tuple[Rule, ...]:
    """The check's rules, and that unknown is a problem: but not while it is the watcher that knows nothing."""
    if check.external and is_offline(setup, state):
        return check.rules
    return (*check.rules, UNKNOWN_RULE)


def _evaluate(
    check: Check, rules: tuple[Rule, ...], before: CheckState, history: History, observation: Observation
) -> RuleStates:
    known = dict(before.rules)
    none = RuleState()
    return tuple(
        (rule.text, evaluate(rule, known.get(rule.text, none), history, observation, check.retry.times))
        for rule in rules
    )


def _next_state(before: CheckState, observation: Observation, states: RuleStates) -> CheckState:
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


def _instances(rules: tuple[Rule, ...], states: RuleStates, verdict: Verdict) -> Iterator[tuple[Rule, Labels, str]]:
    for rule, (_, state) in zip(rules, states, strict=True):
        for labels, instance in state.instances:
            if instance.verdict is verdict:
                yield rule, labels, instance.because


def _findings(rules: tuple[Rule, ...], states: RuleStates) -> dict[str, Finding]:
    """The worst firing rule of each subject."""
    found: dict[str, Finding] = {}
    for rule, labels, because in _instances(rules, states, Verdict.FIRING):
        subject = _subject(rule, labels)
        if subject not in found or rule.severity > found[subject].severity:
            found[subject] = Finding(rule.severity, because, rule.text)
    return found


def _stages(rules: tuple[Rule, ...], before: CheckState, states: RuleStates) -> dict[str, Finding]:
    """The worst rule of each subject that did not fire before."""
    known = {
        (text, labels)
        for text, state in before.rules
        for labels, one in state.instances
        if one.verdict is Verdict.FIRING
    }
    began = tuple(
        (text, RuleState(tuple(one for one in state.instances if (text, one[0]) not in known)))
        for text, state in states
    )
    return _findings(rules, began)


def _rechecks(
    setup: Setup, state: State, check: Check, before: CheckState, after: CheckState, rules: tuple[Rule, ...]
) -> tuple[tuple[str, float], ...]:
    """Whom to run again soon: a failure being confirmed, and at its first sign what may explain it."""
    confirming = any(rule.hold is None for rule, _, _ in _instances(rules, after.rules, Verdict.PENDING))
    again = ((check.name, check.retry.every),) if confirming else ()
    if after.failing_since is None or before.failing_since is not None:
        return again
    asked = stale_parents(setup, state, check.name, after.failing_since)
    if check.external or check.name in setup.controls:
        asked += tuple(name for name in stale_controls(setup, state, after.failing_since) if name != check.name)
    return again + tuple((name, 0.0) for name in dict.fromkeys(asked))


# --- flapping -------------------------------------------------------------------------------------------------------

_STEADY = Flap()


def _flaps(
    check: Check, rules: tuple[Rule, ...], before: CheckState, after: CheckState
) -> tuple[tuple[str, Flap], ...]:
    """Where each subject stands that changed lately; a result that could not tell is no change."""
    if check.flapping is None:
        return ()
    if after.outcome is Outcome.UNKNOWN:
        return before.flaps
    seen = _severities(rules, after.rules)
    if not seen and not before.flaps:
        return ()
    known = dict(before.flaps)
    start, end = check.flapping.start, check.flapping.end
    moved = (
        (subject, after_result(known.get(subject, _STEADY), seen.get(subject, Severity.OK), start, end))
        for subject in dict.fromkeys((*known, *seen))
    )
    return tuple((subject, flap) for subject, flap in moved if not flap.idle)


def _severities(rules: tuple[Rule, ...], states: RuleStates) -> dict[str, Severity]:
    """How bad each subject is by this result alone, confirmed or not; a condition that must last counts once it has."""
    found: dict[str, Severity] = {}
    unconfirmed = (one for one in _instances(rules, states, Verdict.PENDING) if one[0].hold is None)
    for rule, labels, _ in (*_instances(rules, states, Verdict.FIRING), *unconfirmed):
        subject = _subject(rule, labels)
        if subject != UNKNOWN_SUBJECT:
            found[subject] = max(rule.severity, found.get(subject, Severity.OK))
    return found


# --- incidents ------------------------------------------------------------------------------------------------------


def _is_alert(work: Work, check: str, subject: str) -> bool:
    """Whether what is open of this name is an alert of Prometheus, which happens to be called like a check."""
    incident = work.open_incident(check, subject)
    return incident is not None and incident.alert is not None


def _judge(work: Work, check: Check, after: CheckState, subject: str, finding: Finding | None, flap: Flap) -> None:
    """Compare what is found of a subject with its open incident, if any, and act on the difference."""
    incident = work.open_incident(check.name, subject)
    if incident is None:
        _judge_new(work, check, subject, finding, flap)
    elif incident.flapping or flap.flapping:
        _judge_flapping(work, check, after, incident, finding, flap)
    elif finding is None:
        if not _may_go_on(check, incident, after):
            life.end(work, incident, work.summary(check.name, "all rules are clear"))
    else:
        _judge_change(work, check, incident, finding)


def _judge_new(work: Work, check: Check, subject: str, finding: Finding | None, flap: Flap) -> None:
    if flap.flapping:
        because = _unsteady(flap)
        severity = finding.severity if finding else max(flap.severity, Severity.WARNING)
        life.begin(work, check, subject, Finding(severity, because, "flapping"), "not confirmed", flapping=True)
    elif finding:
        life.begin(work, check, subject, finding, f"confirmed by {_confirmation(check)}")


def _unsteady(flap: Flap) -> str:
    return f"flapping: {flap.count} changes in the last {RESULTS} results ({flap.share:.1%} by weight)"


def _confirmation(check: Check) -> str:
    runs = check.retry.times + 1
    return f"{runs} of {runs} runs" if runs > 1 else "one run"


def _judge_flapping(
    work: Work, check: Check, after: CheckState, incident: Incident, finding: Finding | None, flap: Flap
) -> None:
    """While it flaps it neither ends nor falls; there is something to say only when it gets worse."""
    if incident.state.muted or not (incident.flapping and flap.flapping):
        incident = life.attend(work, check, incident)
    if not incident.flapping:
        life.start_flapping(work, check, incident, _unsteady(flap))
    elif flap.flapping:
        if finding and finding.severity > incident.severity:
            life.worsen(work, check, incident, finding.severity, finding.because, rule=finding.rule)
    elif finding:
        life.stop_flapping(work, check, incident, finding)
    elif after.outcome is not Outcome.UNKNOWN:  # a reload says that it does not flap, the result says nothing
        life.end(work, incident, f"stable again: {work.summary(check.name, 'all rules are clear')}")


def _judge_change(work: Work, check: Check, incident: Incident, finding: Finding) -> None:
    incident = life.attend(work, check, incident)
    severity = max(finding.severity, incident.floor)
    if severity > incident.severity:
        life.worsen(work, check, incident, severity, finding.because, rule=finding.rule)
    elif severity < incident.severity:
        life.better(work, incident, severity, finding)


def _judge_stage(work: Work, check: Check, subject: str, stage: Finding) -> None:
    """What began to hold is told, unless that was news anyway: the incident began with it, or got worse or better."""
    before = work.state.by_check.get(check.name, {}).get(subject)
    incident = work.open_incident(check.name, subject)
    if incident is None or before is None or incident.flapping or incident.severity is not stage.severity:
        return
    if incident.severity is work.state.incidents[before].severity:
        life.go_on(work, check, incident, stage)


def _may_go_on(check: Check, incident: Incident, after: CheckState) -> bool:
    """Whether the incident is not denied, only not asked for: a reload replaced its rule, or the watcher was offline.

    A result that could not tell does not end it then, nor does one by which a rule is still being confirmed (anew).
    """
    asked = dict(after.rules)
    if incident.rule not in asked and after.outcome is Outcome.UNKNOWN:
        return True
    known = {rule.text: rule for rule in (*check.rules, UNKNOWN_RULE)}
    return any(
        text in known and _subject(known[text], labels) == incident.subject
        for text in ((incident.rule,) if incident.rule in asked else asked)
        for labels, instance in asked[text].instances
        if instance.verdict is Verdict.PENDING
    )


def _judge_connectivity(work: Work) -> None:
    """One incident of the watcher's own while every control target is gone."""
    since = offline_since(work.setup, work.state)
    incident = work.open_incident(OWN.name, OFFLINE_SUBJECT)
    if since is not None and incident is None:
        names = ", ".join(work.setup.controls)
        because = f"this watcher is offline: {names} {'has' if len(work.setup.controls) == 1 else 'have all'} failed"
        life.begin(work, OWN, OFFLINE_SUBJECT, Finding(Severity.CRITICAL, because, ""), "confirmed")
    elif incident is not None and not is_offline(work.setup, work.state):
        life.end(work, incident, f"this watcher is online again; nothing was known for {work.lasted(incident)}")
