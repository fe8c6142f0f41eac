"""What one decision of the engine consists of, and the collecting of it: incidents, events, what is owed to whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from wcr_watchd.core import follow_up
from wcr_watchd.core.contacts import QUESTION
from wcr_watchd.core.dependencies import ancestors
from wcr_watchd.core.escalation import escalation_of, other_addresses, quiet_until, recipients
from wcr_watchd.core.guidance import runbook_address
from wcr_watchd.core.message import clock_time
from wcr_watchd.core.model import (
    Alert,
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
from wcr_watchd.core.rules import History
from wcr_watchd.core.setup import FOLLOW_UP, OWN, Check, Setup
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.state import CheckState, State
from wcr_watchd.core.units import format_duration

MESSAGE_MEASUREMENTS = 20
"""How many measurements a message carries at most; a host has hundreds, a person reads a few."""


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
    silences: tuple[Silence, ...] = ()
    rechecks: tuple[tuple[str, float], ...] = ()
    overtaken: tuple[int, ...] = ()
    next_incident: int = 0


def check_of(setup: Setup, incident: Incident) -> Check:
    """The check an incident is about; what Prometheus watches has one made up from its labels."""
    if incident.alert:
        return alert_check(setup, incident.alert)
    return own_check(incident.subject) if incident.check == OWN.name else check_named(setup, incident.check)


def own_check(subject: str) -> Check:
    """What the daemon itself is for an incident of this subject: follow-ups are told by a policy of their own."""
    return FOLLOW_UP if subject.startswith(follow_up.PREFIX) else OWN


def alert_check(setup: Setup, alert: Alert) -> Check:
    """A check as an alert would have it: its group, owner and policy by labels, its runbook by annotation."""
    labels = dict(alert.labels)
    policy = labels.get("policy", "")
    fallback = setup.alerts.policy if setup.alerts else ""
    runbook = dict(alert.annotations).get("runbook_url", "")
    return Check(
        alert.name,
        probe="prometheus",
        target=labels.get("instance", ""),
        every=0.0,
        timeout=0.0,
        rules=(),
        policy=policy if policy in setup.policies else fallback,
        owner=labels.get("owner", ""),
        group=labels.get("group", ""),
        runbook=runbook if runbook.startswith(("https://", "http://")) else "",
        flapping=None,
    )


def check_named(setup: Setup, name: str) -> Check:
    """The check an incident is about; one that is no longer configured has a name and nobody to tell."""
    if name == OWN.name:
        return OWN
    return setup.checks.get(name) or Check(name, probe="", target="", every=0.0, timeout=0.0, rules=(), policy="")


def group_of(check: Check, by: tuple[str, ...]) -> str:
    """What a check has in common with others that are told together with it."""
    host = host_of(check.target)
    known = {
        "group": check.group or host or check.name,
        "host": host or check.name,
        "tag": ",".join(sorted(check.tags)),
        "check": check.name,
    }
    return "|".join(known[key] for key in by)


def host_of(target: str) -> str:
    """The host in a target as probes write it: a URL, ``host:port``, ``host/database``; empty when there is none."""
    rest = target.partition("://")[2] or target
    place = rest.split("/", 1)[0].rpartition("@")[2]
    if place.startswith("["):
        return place[1:].partition("]")[0]
    host, colon, port = place.rpartition(":")
    return host if colon and port.isdigit() else place


class Work:
    """Collects what one decision consists of, so that its steps see each other's results."""

    def __init__(self, setup: Setup, state: State, now: float, observation: Observation | None) -> None:
        self.setup = setup
        self.state = state
        self.now = now
        self.observation = observation
        self.incidents: dict[int, Incident] = {}
        self.events: list[Event] = []
        self.notifications: list[Notification] = []
        self.silences: list[Silence] = []
        self.rechecks: list[tuple[str, float]] = []
        self.overtaken: list[int] = []
        self._next_incident = state.next_incident

    def take_number(self) -> int:
        """The number of a new incident."""
        number = self._next_incident
        self._next_incident += 1
        return number

    def check_of(self, incident: Incident) -> Check:
        """The check that the incident is about."""
        return check_of(self.setup, incident)

    def open_incident(self, check: str, subject: str) -> Incident | None:
        """The incident of a check's subject that is not over, as this decision leaves it so far."""
        number = self.state.by_check.get(check, {}).get(subject)
        return None if number is None else self.incidents.get(number, self.state.incidents[number])

    def severity_of(self, check: str) -> Severity:
        """The worst severity of the check's incidents as they will be after this decision."""
        mine = {number: self.state.incidents[number] for number in self.state.by_check.get(check, {}).values()}
        mine |= {number: incident for number, incident in self.incidents.items() if incident.check == check}
        alive = (incident.severity for incident in mine.values() if incident.state is not IncidentState.RESOLVED)
        return max(alive, default=Severity.OK)

    def summary(self, check: str, fallback: str) -> str:
        """What the check's probe said, or the rule's own words where none has spoken or it saw nothing wrong."""
        seen = self.observation
        if seen is None or seen.check != check or not seen.summary:
            return fallback
        fine = seen.outcome is Outcome.UP and not seen.reason
        return fallback if fine and fallback != "all rules are clear" else seen.summary

    def lasted(self, incident: Incident) -> str:
        """How long the incident has lasted, in words."""
        return format_duration(max(0.0, self.now - incident.opened_at))

    def recheck_suppressed(self, parent: str) -> None:
        """The parent is fine again: look at once which of its children still fail, to tell of those."""
        failing = (name for name in self.state.by_check if name in self.setup.checks)
        self.rechecks.extend((name, 0.0) for name in failing if parent in ancestors(self.setup, name))

    def keep(self, incident: Incident) -> Incident:
        """Remember a change of an incident that is no event."""
        self.incidents[incident.id] = incident
        return incident

    def record(
        self,
        incident: Incident,
        kind: EventKind,
        reason: str,
        to: tuple[Recipient, ...] = (),
        by: str = "engine",
        previous: Severity = Severity.OK,
        repeated: bool = False,
    ) -> Incident:
        """Add an event to the incident's timeline and owe its message to the recipients.

        One that is only ``repeated`` is left out in quiet hours: at their end it says nothing that the news does not.
        """
        numbered = replace(incident, sequence=incident.sequence + 1)
        self.incidents[numbered.id] = numbered
        to = self._as_reached_now(to)
        asleep = tuple(who for who in to if repeated and self._is_quiet(numbered.severity, who))
        self.events.append(
            Event(
                incident=numbered.id,
                sequence=numbered.sequence,
                kind=kind,
                at=self.now,
                severity=numbered.severity,
                summary=numbered.summary,
                reason=reason
                + self._quiet(asleep, numbered.severity, "not told in their quiet hours")
                + self._quiet((who for who in to if who not in asleep), numbered.severity, "held back by quiet hours"),
                by=by,
            )
        )
        if to:
            message = self._message(numbered, kind, reason, to, by, previous)
            awake = (who for who in to if who not in asleep)
            self.notifications.extend(self._notification(numbered, message, who, to) for who in awake)
        return numbered

    def ask(self, incident: Incident, kind: EventKind, to: Iterable[Recipient]) -> None:
        """Owe each of these the question whether this reaches them: at once, and by nothing else in its place."""
        for number, who in enumerate(to, 1):
            message = replace(
                self._message(incident, kind, "", (who,), "engine", Severity.OK), summary=QUESTION, question=True
            )
            one = self._notification(incident, message, who, (who,))
            due = quiet_until(self.setup, who, incident.severity, self.now)
            self.notifications.append(
                replace(one, id=f"{one.id}-asked-{number}", not_before=due, digest=False, fallbacks=(), wait=0.0)
            )

    def _quiet(self, recipients: Iterable[Recipient], severity: Severity, why: str) -> str:
        """A remark that names those whose quiet hours it is, and until when; empty for nobody."""
        ends = ((who, quiet_until(self.setup, who, severity, self.now)) for who in recipients)
        found = [
            f"{who.channel}:{who.contact} until {clock_time(end, self.setup.timezone, self.now)}"
            for who, end in ends
            if end > self.now
        ]
        return f"; {why}: {', '.join(found)}" if found else ""

    def _is_quiet(self, severity: Severity, who: Recipient) -> bool:
        return quiet_until(self.setup, who, severity, self.now) > self.now

    def _as_reached_now(self, to: Iterable[Recipient]) -> tuple[Recipient, ...]:
        """The same people, each once, at their present address: a reload may have changed it since they were told."""
        found: dict[tuple[str, str], Recipient] = {}
        for who in to:
            contact = self.setup.contacts.get(who.contact)
            addresses = contact.addresses.get(self.setup.channels.get(who.channel, "")) if contact else None
            found[who.channel, who.contact] = replace(who, address=addresses[0]) if addresses else who
        return tuple(found.values())

    def _notification(
        self, incident: Incident, message: Message, who: Recipient, to: tuple[Recipient, ...]
    ) -> Notification:
        check = self.check_of(incident)
        plan = escalation_of(self.setup, check.policy, incident.severity)
        batched = plan.digest is not None and who in recipients(self.setup, plan.tell, self.now)
        due = self.now + (plan.digest or 0.0) if batched else self.now
        others = (*other_addresses(self.setup, who), *recipients(self.setup, plan.fallback, self.now))
        return Notification(
            # What was told before it was stored may be forgotten by a crash, and its number given to another event.
            id=f"{self.setup.name}-{incident.id}-{int(incident.opened_at)}-{incident.sequence}-{message.event}"
            + f"-{who.channel}"
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
            group=group_of(check, plan.group_by),
            wait=plan.group_wait,
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
        check = self.check_of(incident)
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
            probe=check.probe,
            target=check.target,
            subject=incident.subject,
            tags=check.tags,
            owner=incident.owner or check.owner,
            runbook=runbook_address(self.setup, check.runbook),
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
        """All that was collected."""
        return Decision(
            check=check,
            history=history,
            incidents=tuple(self.incidents.values()),
            events=tuple(self.events),
            notifications=tuple(self.notifications),
            silences=tuple(self.silences),
            rechecks=(*rechecks, *self.rechecks),
            overtaken=tuple(self.overtaken),
            next_incident=self._next_incident,
        )


def _measured(observation: Observation | None, units: Mapping[str, str]) -> tuple[tuple[str, float, str], ...]:
    if observation is None:
        return ()
    return tuple(
        (_series(measured.name, measured.labels), measured.value, units.get(measured.name, ""))
        for measured in observation.measurements[:MESSAGE_MEASUREMENTS]
    )


def _series(name: str, labels: Labels) -> str:
    return name + ("{" + ",".join(f'{key}="{value}"' for key, value in labels) + "}" if labels else "")
