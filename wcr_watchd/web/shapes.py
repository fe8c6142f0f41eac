"""The JSON shapes of the API: one function per thing, used by the API, the pages and the command line alike."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime, tzinfo
from itertools import islice
from typing import Any

from wcr_watchd.core.announcements import covered
from wcr_watchd.core.causes import Cause
from wcr_watchd.core.contacts import Verification
from wcr_watchd.core.drill_report import DrillReport
from wcr_watchd.core.escalation import LOOK_AHEAD
from wcr_watchd.core.guidance import Guidance
from wcr_watchd.core.heartbeat import Ping
from wcr_watchd.core.knowledge import Entry
from wcr_watchd.core.message import headline
from wcr_watchd.core.model import Delivery, Event, Incident, Labels, Measurement, Observation, Outcome, Severity
from wcr_watchd.core.mute import open_span
from wcr_watchd.core.on_call import OnCallSchedule, Turn, by_people, gaps, turns
from wcr_watchd.core.review import TEXTS, Facts, Review
from wcr_watchd.core.rules import Verdict
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.silence import Silence, Window
from wcr_watchd.core.similar import Earlier
from wcr_watchd.core.state import CheckState
from wcr_watchd.core.task import TaskRecord, TaskView
from wcr_watchd.core.verdict import judge
from wcr_watchd.core.view import View
from wcr_watchd.kit.schedule_words import words

Json = dict[str, Any]

EARLIEST, LATEST = 0.0, 250_000_000_000.0
"""Times that can be asked about: from 1970 on, and so far ahead that Python can still tell the local time."""


def time_text(at: float | None) -> str | None:
    """RFC 3339 in UTC, to the millisecond; None stays None."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def parsed(body: bytes) -> Any:
    """The JSON value of a body. Raises ``ValueError`` when it is none or has half a character (it cannot be stored)."""
    try:
        value = json.loads(body)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("it has half a character (a lone surrogate)") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return value


def moment(text: str, zone: tzinfo | None = None) -> float:
    """Epoch seconds of a time as people and programs write it: RFC 3339, or epoch seconds themselves.

    A time without offset is one of ``zone``; a plus sign that came through a URL as a space is understood. Raises
    ``ValueError`` with what would be right.
    """
    try:
        if text.replace(".", "", 1).isdecimal():
            at = float(text)
        else:
            read = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
            if read.tzinfo is None and zone is None:
                raise ValueError("no offset")
            at = (read if read.tzinfo else read.replace(tzinfo=zone)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no time; write 2026-12-24T18:00:00-05:00") from None
    if not EARLIEST <= at <= LATEST:
        raise ValueError(f"{text!r} is too long ago or too far ahead")
    return at


def task(found: TaskView) -> Json:
    """A task as it stands now."""
    return {
        "name": found.name,
        "check": found.check,
        "kind": found.kind.value,
        "phase": found.phase.value,
        "summary": found.summary,
        "about": found.about,
        "schedule": found.schedule,
        "schedule_words": words(found.schedule),
        "owner": found.owner,
        "tags": list(found.tags),
        "runbook": found.runbook,
        "due": time_text(found.due),
        "deadline": time_text(found.deadline),
        "started_at": time_text(found.started_at),
        "last_success_at": time_text(found.last_success_at),
        "duration": found.duration,
        "last": None if found.last is None else task_record(found.last),
        "incident": found.incident or None,
    }


def task_record(record: TaskRecord) -> Json:
    """How one turn of a task ended."""
    return {
        "number": record.number,
        "outcome": record.outcome.value,
        "at": time_text(record.at),
        "due": time_text(record.due),
        "started_at": time_text(record.started_at),
        "by": record.by,
        "note": record.note,
        "evidence": list(record.evidence),
        "exit_status": record.exit_status,
        "attempts": record.attempts,
        "text": record.text,
        "output": record.output,
    }


def series_name(name: str, labels: Labels) -> str:
    """``disk_used{mount="/"}``: a measurement's name with its labels, as rules write it."""
    return name + ("{" + ",".join(f'{key}="{value}"' for key, value in labels) + "}" if labels else "")


def measurement(setup: Setup, check: str, measured: Measurement) -> Json:
    """A measured value with its unit."""
    unit = setup.units.get(check, {}).get(measured.name, "")
    return {"name": measured.name, "labels": dict(measured.labels), "value": measured.value, "unit": unit}


def observation(setup: Setup, seen: Observation) -> Json:
    """What one run found."""
    return {
        "check": seen.check,
        "location": seen.location,
        "at": time_text(seen.at),
        "duration": seen.duration,
        "outcome": seen.outcome.value,
        "reason": seen.reason,
        "summary": seen.summary,
        "measurements": [measurement(setup, seen.check, one) for one in seen.measurements],
        "evidence": dict(seen.evidence),
    }


def verdict(setup: Setup, seen: Observation) -> list[Json]:
    """What the check's rules say about this observation alone; ``fires`` is false where it would have to last."""
    return [
        {
            "severity": said.rule.severity.word,
            "rule": said.rule.text,
            "labels": dict(said.labels),
            "because": said.because,
            "fires": said.fires,
        }
        for said in judge(setup.checks[seen.check], seen)
    ]


def state_word(state: CheckState | None) -> str:
    """One word for how a check is: the severity of its incidents, else what the last run said.

    ``new`` has no result yet, ``confirming`` failed just now and is tried again before anybody is told, ``down`` is not
    up and no rule minds.
    """
    if state is None or state.outcome is None:
        return "new"
    if state.severity > Severity.OK:
        return state.severity.word
    if state.outcome is not Outcome.DOWN:
        return {Outcome.UP: "ok", Outcome.UNKNOWN: "unknown"}[state.outcome]
    pending = any(one.verdict is Verdict.PENDING for _, rule in state.rules for _, one in rule.instances)
    return "confirming" if pending else "down"


def check(view: View, name: str) -> Json:
    """A check as it stands now, without its measurements."""
    configured = view.setup.checks[name]
    state = view.state.checks.get(name)
    latest = view.latest.get(name)
    numbers = sorted(view.state.by_check.get(name, {}).values())
    return {
        "name": name,
        "type": configured.probe,
        "target": configured.target,
        "every": configured.every,
        "group": configured.group,
        "tags": list(configured.tags),
        "owner": configured.owner,
        "depends_on": list(configured.depends_on),
        "state": state_word(state),
        "outcome": state.outcome.value if state and state.outcome else None,
        "severity": (state.severity if state else Severity.OK).word,
        "since": time_text(state.since) if state and state.outcome else None,
        "last_at": time_text(latest.at) if latest else None,
        "duration": latest.duration if latest else None,
        "summary": latest.summary if latest else (state.summary if state else ""),
        "incidents": numbers,
    }


def incident(found: Incident) -> Json:
    """An incident as it stands."""
    return {
        "id": found.id,
        "check": found.check,
        "subject": found.subject,
        "severity": found.severity.word,
        "peak": found.peak.word,
        "state": found.state.value,
        "opened_at": time_text(found.opened_at),
        "changed_at": time_text(found.changed_at),
        "resolved_at": time_text(found.resolved_at),
        "acknowledged_at": time_text(found.acknowledged_at),
        "acknowledged_by": found.acknowledged_by,
        "acknowledged_until": time_text(found.acknowledged_until),
        "owner": found.owner,
        "flapping": found.flapping,
        "summary": found.summary,
        "rule": found.rule,
        "muted_by": found.muted_by,
        "muted_until": time_text(found.muted_until),
        "told": [{"channel": who.channel, "contact": who.contact} for who in found.told],
        "next_escalation_at": time_text(found.next_step_at),
        "next_reminder_at": time_text(found.next_reminder_at),
    }


def cause(one: Cause) -> Json:
    """What an incident may be due to; numbers of what it refers to, null for none."""
    return {
        "kind": one.kind.value,
        "text": one.text,
        "incident": one.incident or None,
        "change": one.change or None,
    }


def earlier(one: Earlier) -> Json:
    """An earlier incident like another."""
    notes = [{"by": by, "text": text} for by, text in one.notes]
    return {"incident": incident(one.incident), "same_words": one.same_words, "ended": one.ended, "notes": notes}


def review(found: Facts, written: Review) -> Json:
    """What was recorded of an incident, in seconds and counts, and what people wrote about it."""
    return {
        "incident": incident(found.incident),
        "lasted": found.lasted,
        "acknowledged_after": found.acknowledged_after,
        "resolved_after": found.resolved_after,
        "first_told_after": found.first_told_after,
        "told": [{"who": one.who, "at": time_text(one.at), "messages": one.messages} for one in found.told],
        "undelivered": found.undelivered,
        "runs": found.runs,
        "failed": found.failed,
        "causes": [cause(one) for one in found.causes],
        **{name: getattr(written, name) for name in TEXTS},
        "written_by": written.by,
        "written_at": time_text(written.at) if written.by else None,
        "follow_ups": [
            {
                "task": one.name,
                "text": one.text,
                "owner": one.owner,
                "due": time_text(one.due),
                "done_at": time_text(one.done_at),
                "done_by": one.done_by,
            }
            for one in written.follow_ups
        ],
    }


def turn(one: Turn) -> Json:
    """A stretch of time with the same people on call; nobody is an empty list."""
    return {
        "start": time_text(one.start),
        "end": time_text(one.end),
        "contacts": list(one.contacts),
        "why": one.why,
    }


def on_call(schedule: OnCallSchedule, now: float, start: float, until: float) -> Json:
    """Who is on call now, and from ``start`` to ``until``; ``now.until`` is null when nothing changes for months."""
    first, *following = by_people(turns(schedule, now, now + LOOK_AHEAD))
    return {
        "name": schedule.name,
        "timezone": schedule.timezone,
        "now": {
            "contacts": list(first.contacts),
            "why": first.why,
            "until": time_text(first.end) if following else None,
            "next": list(following[0].contacts) if following else None,
        },
        "turns": [turn(one) for one in turns(schedule, start, until)],
        "gaps": [{"start": time_text(one.start), "end": time_text(one.end)} for one in gaps(schedule, start, until)],
    }


def silence(found: Silence, now: float) -> Json:
    """A silence or started maintenance."""
    return {
        "id": found.id,
        "state": found.standing(now).value,
        "matchers": [str(matcher) for matcher in found.matchers],
        "starts_at": time_text(found.starts_at),
        "ends_at": time_text(found.ends_at),
        "author": found.author,
        "comment": found.comment,
        "maintenance": found.maintenance,
    }


NEXT_SPANS = 3
"""Spans to come that are shown of a maintenance window."""


def next_spans(found: Window, now: float) -> list[tuple[float, float]]:
    """The next times of a maintenance window: start and end, epoch seconds."""
    return list(islice((span for span in found.spans.after(now) if span[0] > now), NEXT_SPANS))


def window(view: View, found: Window) -> Json:
    """A planned maintenance window with the span that holds now and the next ones."""
    current = open_span(view.state, found, view.now())
    return {
        "name": found.name,
        "when": found.when,
        "timezone": found.timezone,
        "comment": found.comment,
        "matchers": [str(matcher) for matcher in found.matchers],
        "checks": covered(view.setup, found.matchers),
        "notice": list(found.notice),
        "current": _span(current) if current else None,
        "next": [_span(span) for span in next_spans(found, view.now())],
    }


def _span(span: tuple[float, float]) -> Json:
    return {"start": time_text(span[0]), "end": time_text(span[1])}


def event(happened: Event) -> Json:
    """One entry of a timeline."""
    return {
        "sequence": happened.sequence,
        "event": happened.kind.value,
        "at": time_text(happened.at),
        "severity": happened.severity.word,
        "summary": happened.summary,
        "reason": happened.reason,
        "by": happened.by,
    }


def delivery(row: Delivery) -> Json:
    """A notification and where it stands; addresses are left out, contacts have names."""
    owed = row.notification
    return {
        "id": owed.id,
        "incident": owed.incident,
        "event": owed.event.value,
        "channel": owed.recipient.channel,
        "contact": owed.recipient.contact,
        "state": row.state.value,
        "attempts": row.attempts,
        "created_at": time_text(owed.created_at),
        "delivered_at": time_text(row.delivered_at),
        "last_error": row.last_error,
        "receipt": row.receipt,
    }


def dead_letter(row: Delivery) -> Json:
    """A notification that could not be delivered, with what it says."""
    given_up = {"given_up_at": time_text(row.next_attempt_at), "headline": headline(row.notification.message)}
    return delivery(row) | given_up


def drill(found: DrillReport) -> Json:
    """How a drill goes or went."""
    taken = None if found.acknowledged_at is None else round(found.acknowledged_at - found.started_at, 3)
    return {
        "number": found.number,
        "policy": found.policy,
        "severity": found.severity.word,
        "state": found.state.value,
        "started_at": time_text(found.started_at),
        "ended_at": time_text(found.ended_at),
        "acknowledged_by": found.acknowledged_by,
        "acknowledged_after": taken,
        "messages": [
            asdict(one) | {"at": time_text(one.at), "seconds": round(one.seconds, 3)} for one in found.messages
        ],
    }


def ping(one: Ping) -> dict[str, Any]:
    """A signal of a job; ``body`` is what it said."""
    return {
        "number": one.number,
        "at": time_text(one.at),
        "job": one.job,
        "kind": one.kind.value,
        "exit_status": one.exit_status,
        "run_id": one.run_id,
        "method": one.method,
        "scheme": one.scheme,
        "remote": one.remote,
        "agent": one.agent,
        "body": one.body.decode(errors="replace"),
    }


def verification(found: Verification) -> Json:
    """A contact, and when they were verified last."""
    task = found.task
    last = task.last if task is not None else None
    return {
        "name": found.contact.name,
        "addresses": list(found.contact.addresses),
        "state": task.phase.value if task is not None else None,
        "verified_at": time_text(task.last_success_at) if task is not None else None,
        "verified_by": last.by if last is not None else "",
        "note": last.note if last is not None else "",
        "due": time_text(task.due) if task is not None else None,
    }


def entry(found: Entry, now: float) -> Json:
    """An entry of the knowledge folder, without its text."""
    return {
        "name": found.name,
        "kind": found.kind.value,
        "title": found.title,
        "file": found.file,
        "owner": found.owner,
        "matchers": [str(matcher) for matcher in found.matchers],
        "words": list(found.words),
        "reviewed": found.reviewed.isoformat() if found.reviewed else None,
        "review_due": time_text(found.due_at) if found.reviewed else None,
        "due": found.due_at <= now,
        "support": None if found.support is None else asdict(found.support),
        "rating": None if found.rating is None else asdict(found.rating),
    }


def guidance(found: Guidance, runbook: str, now: float) -> Json:
    """What is written down about a check or an incident; ``runbook`` is what the check names."""
    return {
        "runbook": runbook,
        "runbooks": [entry(one, now) | {"text": one.text} for one in found.runbooks],
        "vendors": [entry(one, now) | {"text": one.text} for one in found.vendors],
        "related": [entry(one, now) for one in found.related],
    }
