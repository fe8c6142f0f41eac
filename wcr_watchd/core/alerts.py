"""Alerts that Prometheus sends, as incidents with the same life as those of checks.

What an alert means over time is Alertmanager's (https://prometheus.io/docs/alerting/latest/clients/): it holds until
its ``endsAt``, which is a lease that each sending renews; one that is sent without ends by the resolve timeout.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from wcr_watchd.core import life
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.life import Finding
from wcr_watchd.core.model import Alert, Incident, IncidentState, Severity
from wcr_watchd.core.setup import AlertSettings, Setup
from wcr_watchd.core.state import State
from wcr_watchd.core.units import format_duration
from wcr_watchd.core.work import Decision, Work, alert_check

MAX_LABELS = 64
MAX_TEXT = 4_000
"""Characters of all labels together, and of one annotation."""
MAX_OPEN = 10_000
"""Incidents that can be open before no more alerts are taken."""


def received(
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    starts_at: float | None,
    ends_at: float | None,
    generator: str,
    now: float,
    timeout: float,
) -> Alert:
    """An alert as it was sent, with what was left out filled in. Raises :class:`CommandError` when it is none."""
    kept = tuple(sorted((name, value) for name, value in labels.items() if value))
    if not kept:
        raise CommandError("an alert needs at least one label with a value")
    if len(kept) > MAX_LABELS or sum(len(name) + len(value) for name, value in kept) > MAX_TEXT:
        raise CommandError(f"an alert has at most {MAX_LABELS} labels and {MAX_TEXT} characters in them")
    start = starts_at if starts_at is not None else ends_at if ends_at is not None else now
    end = ends_at if ends_at is not None else now + timeout
    if end < start:
        raise CommandError("an alert must not end before it starts")
    notes = tuple(sorted((name, value[:MAX_TEXT]) for name, value in annotations.items() if value))
    return Alert(kept, notes[:MAX_LABELS], start, end, ends_at is None, generator[:MAX_TEXT], now)


def merged(one: Alert, other: Alert) -> Alert:
    """What two sendings of an alert say together: the earliest start, the newest words, the latest explicit end."""
    older, newer = sorted((one, other), key=lambda alert: alert.updated_at)
    both_over = newer.ends_at <= newer.updated_at and older.ends_at <= newer.updated_at
    renewed = newer.ends_at > newer.updated_at and not older.timeout
    end = max(older.ends_at, newer.ends_at) if both_over or renewed else newer.ends_at
    return replace(newer, starts_at=min(older.starts_at, newer.starts_at), ends_at=end)


def take(setup: Setup, state: State, sent: Alert, now: float) -> Decision:
    """Decide what an alert means that was sent: it opens, changes or ends an incident.

    Raises :class:`CommandError` when alerts are not taken, or too many are open.
    """
    if setup.alerts is None:
        raise CommandError("alerts are not taken here: set enabled = true in [alerts]")
    work = Work(setup, state, now, None)
    check = alert_check(setup, sent)
    subject = subject_of(sent)
    incident = _open_incident(work, check.name, subject)
    finding = Finding(severity_of(setup.alerts, sent), summary_of(sent), "")
    if incident is None:
        if sent.ends_at > now:
            if len(state.incidents) >= MAX_OPEN:
                raise CommandError(f"{MAX_OPEN} incidents are open; no more alerts are taken")
            life.begin(work, check, subject, finding, "sent by Prometheus", alert=sent)
        return work.decision()
    alert = merged(incident.alert, sent) if incident.alert else sent
    known = work.keep(replace(incident, alert=alert))
    if alert.ends_at <= now:
        life.end(work, known, f"resolved: {finding.because}")
    else:
        _judge(work, known, finding)
    return work.decision()


def _open_incident(work: Work, name: str, subject: str) -> Incident | None:
    found = work.open_incident(name, subject)
    return found if found is not None and found.alert is not None else None


def _judge(work: Work, incident: Incident, finding: Finding) -> None:
    check = work.check_of(incident)
    incident = life.attend(work, check, incident)
    severity = max(finding.severity, incident.floor)
    if severity > incident.severity:
        life.worsen(work, check, incident, severity, finding.because)
    elif severity < incident.severity:
        life.better(work, incident, severity, finding)
    elif incident.summary != finding.because and incident.state is not IncidentState.RESOLVED:
        work.keep(replace(incident, summary=finding.because))


def lapse(work: Work, incident: Incident) -> bool:
    """End an incident whose alert is not sent any more; returns whether that is so."""
    alert = incident.alert
    if alert is None or alert.ends_at > work.now:
        return False
    silent = format_duration(max(0.0, work.now - alert.updated_at))
    life.end(work, incident, f"Prometheus has not sent it for {silent}: {summary_of(alert)}")
    return True


def renewed(setup: Setup, state: State, now: float) -> Decision:
    """Let no alert lapse because nobody was here to receive it: each holds for another resolve timeout."""
    work = Work(setup, state, now, None)
    until = now + (setup.alerts.resolve_timeout if setup.alerts else 0.0)
    for incident in state.incidents.values():
        if incident.alert is not None and incident.alert.ends_at < until:
            work.keep(replace(incident, alert=replace(incident.alert, ends_at=until, timeout=True)))
    return work.decision()


def subject_of(alert: Alert) -> str:
    """What tells an alert from others of its name: its labels."""
    others = [f'{name}="{value}"' for name, value in alert.labels if name != "alertname"]
    return ", ".join(others) or f'alertname="{alert.name}"'


def severity_of(settings: AlertSettings, alert: Alert) -> Severity:
    """How bad it is, by its label ``severity``."""
    return settings.severities.get(dict(alert.labels).get("severity", "").lower(), settings.default)


def summary_of(alert: Alert) -> str:
    """What it says, in one line."""
    notes = dict(alert.annotations)
    said = notes.get("summary") or notes.get("description") or notes.get("message") or ""
    return " ".join(said.split()) or f"{alert.name} fires"
