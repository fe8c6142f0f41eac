"""The report of what was rehearsed of a disaster: a verdict first, then restores, data at risk, drills, and the gaps.

Stakeholders read times against their objectives, and no name of a check, policy, channel or person.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from wcr_watchd.core.drill_report import DrillReport, DrillState
from wcr_watchd.core.report import Audience, Document, ReportKind
from wcr_watchd.core.task import TaskRecord, name_of
from wcr_watchd.core.units import format_duration
from wcr_watchd.kit.schedule_words import plain
from wcr_watchd.reports.forms import Files, cell, written
from wcr_watchd.reports.rehearsed import AtRisk, Facts, Restores, answered_after
from wcr_watchd.reports.words import counted

COLUMNS = ("what", "name", "at", "result", "seconds", "objective", "by")


def document(facts: Facts) -> Document:
    """Write the report of these facts."""
    wanted = facts.wanted
    internal = wanted.audience is Audience.TEAM
    zone = ZoneInfo(wanted.timezone)
    values = {
        "facts": facts,
        "figures": _figures(facts),
        "gaps": gaps(facts) if internal else [],
        "day": lambda at: f"{datetime.fromtimestamp(at, zone):%a %-d %b}",
        "restored": restored_words,
        "against": against,
        "answer": answer_words,
        "signed": signed_words,
        "in_time": in_time,
        "plain": plain,
    }
    return written(
        wanted,
        ("drill.html", "drill-mail.html", "drill.txt"),
        Files(_json(facts, internal=internal), _csv(facts, internal=internal)),
        kind=ReportKind.DRILL,
        title=title(facts),
        summary=summary(facts),
        span=(wanted.since, wanted.until),
        values=values,
    )


# --- words ------------------------------------------------------------------------------------------------------------


def title(facts: Facts) -> str:
    """``Recovery drills, July to September 2026`` for a whole quarter, with days otherwise."""
    wanted = facts.wanted
    zone = ZoneInfo(wanted.timezone)
    begin, end = (datetime.fromtimestamp(at, zone) for at in (wanted.since, wanted.until))
    last = end - timedelta(seconds=1)
    whole = (begin.day, begin.hour, end.day, end.hour) == (1, 0, 1, 0)
    first, final = (f"{begin:%B}", f"{last:%B %Y}") if whole else (f"{begin:%-d %B}", f"{last:%-d %B %Y}")
    return f"Recovery drills, {first}{f' {begin.year}' if begin.year != last.year else ''} to {final}"


def summary(facts: Facts) -> str:
    """The verdict in words, and the figures that it rests on, in one line."""
    days = sum(len(one.days) for one in facts.restores)
    by_people = len(facts.signed)
    if not days and not facts.drills and not by_people:
        return "Nothing was rehearsed: no backup was restored, and no alarm was drilled"
    in_part = "Recovery is rehearsed in part" if days or by_people else "Recovery is not rehearsed"
    verdict = in_part if gaps(facts) else "Recovery is rehearsed"
    slowest = max((one.slowest for one in facts.restores if one.slowest is not None), default=None)
    took = f", in {format_duration(slowest)} at most" if days and slowest is not None else ""
    restored = f"backups were restored on {counted(days, 'day')}{took}" if days else "no backup was restored"
    answered = facts.answered_after
    drilled = (
        counted(len(facts.drills), "drill of alarms", "drills of alarms") if facts.drills else "no drill of alarms"
    )
    if facts.drills:
        unanswered = sum(answered_after(one) is None for one in facts.drills)
        at_most = " at most" if len(facts.drills) > 1 else ""
        drilled += f", answered after {format_duration(answered)}{at_most}" if answered is not None else ""
        drilled += f", {unanswered} not answered" if unanswered else ""
    signed = f"; {counted(by_people, 'rehearsal', 'rehearsals')} by people" if by_people else ""
    return f"{verdict}: {restored}; {drilled}{signed}"


def gaps(facts: Facts) -> list[str]:
    """What is missing or went wrong, each with what to do about it; the most serious first."""
    return [*_restore_gaps(facts), *_late(facts), *_drill_gaps(facts)]


def _restore_gaps(facts: Facts) -> Iterator[str]:
    if not facts.restores:
        yield "No backup is restored for a test: write a check of type restore for the most important set"
    for one in facts.restores:
        name = one.subject.name
        if not one.in_time:
            took = against(one.slowest, one.objective)
            yield f"{name} took too long, {took}: make restoring quicker, or agree on a longer objective"
        if not one.days:
            yield f"{name} restored nothing in this time: see what keeps it from running"
        if one.failed:
            yield f"{name} failed in {counted(one.failed, 'run')}: see its incidents, and restore that set by hand"
    for risk in facts.at_risk:
        if not risk.met:
            lost = against(risk.worst, risk.objective)
            yield f"{risk.subject.name}: at worst the work of {lost} would have been lost: back up more often"
    tested = {one.subject.target for one in facts.restores}
    without = [one.name for one in facts.unrestored if one.target not in tested]
    if without:
        yield f"No test restores these sets of backups: {', '.join(without)}; restore each by hand once a quarter"


def _late(facts: Facts) -> Iterator[str]:
    for task in facts.by_people:
        for one in task.late:
            so_far = (one.resolved_at or facts.wanted.until) - one.opened_at
            over = f"was open for {format_duration(so_far)}" if one.resolved_at is not None else "is still open"
            yield f"{task.name} was not done in time (#{one.id} {over}): give it a person and a day"


def _drill_gaps(facts: Facts) -> Iterator[str]:
    for one in facts.drills:
        if one.state is DrillState.UNANSWERED:
            yield f"Nobody answered drill #{one.number} of {one.policy}: talk about it with those who were told"
        refused = sorted({message.channel for message in one.messages if not message.accepted})
        if refused:
            yield f"Drill #{one.number}: {', '.join(refused)} did not accept a message; mend that"
    if facts.undrilled:
        names = ", ".join(name for name, _ in facts.undrilled)
        yield f"No drill in this time of the policies: {names}; run wcr-watchd drill --policy NAME"
    if facts.unproven:
        names = ", ".join(facts.unproven)
        yield f"Nothing shows that these channels deliver: {names}; give each a canary, or drill a policy with it"


def restored_words(one: Restores) -> str:
    """``on 13 days``, or that it did not happen."""
    return f"on {counted(len(one.days), 'day')}" if one.days else "not in this time"


def against(taken: float | None, objective: float | None) -> str:
    """``1 h 20 min (objective: 4 h)``: what was measured, and what is allowed."""
    if taken is None:
        return "not measured"
    return format_duration(taken) + (f" (objective: {format_duration(objective)})" if objective is not None else "")


def answer_words(one: DrillReport, *, internal: bool) -> str:
    """Who acknowledged a drill after how long, or that nobody did."""
    taken = answered_after(one)
    if taken is not None:
        return (f"acknowledged by {one.acknowledged_by} after " if internal else "answered after ") + format_duration(
            taken
        )
    return "stopped before an answer" if one.state is DrillState.STOPPED else "nobody answered"


def signed_words(one: TaskRecord) -> str:
    """Who did it: ``signed off by ann``, or ``run by the schedule``."""
    if one.started_at is None:
        return f"signed off by {one.by or 'nobody'}"
    return f"run by {one.by or 'the schedule'}"


def in_time(one: TaskRecord) -> str:
    """How it was done beside when it was due: ``in time``, ``3 d late``."""
    if one.due is None:
        return ""
    return f"{format_duration(one.at - one.due)} late" if one.at > one.due else "in time"


def _figures(facts: Facts) -> list[tuple[str, str, str, bool]]:
    """The figures at the top: name, value, the objective, and whether it is as it should be."""
    slowest = max(facts.restores, key=lambda one: one.slowest or 0.0, default=None)
    worst = max(facts.at_risk, key=lambda one: one.worst or 0.0, default=None)
    answered, days = facts.answered_after, sum(len(one.days) for one in facts.restores)
    return [
        ("Backups restored", f"on {counted(days, 'day')}" if days else "never", "", bool(days)),
        (
            "Time to recover",
            *(_measured(slowest.slowest, slowest.objective) if slowest else ("not measured", "")),
            slowest is not None and slowest.in_time,
        ),
        (
            "Work at risk",
            *(_measured(worst.worst, worst.objective) if worst else ("not measured", "")),
            worst is not None and worst.met,
        ),
        *_figure_of_people(facts),
        ("Drills of alarms", str(len(facts.drills) or "none"), "", bool(facts.drills)),
        ("Longest until an answer", "–" if answered is None else format_duration(answered), "", answered is not None),
    ]


def _figure_of_people(facts: Facts) -> list[tuple[str, str, str, bool]]:
    """How often people rehearsed something, where there are tasks for that."""
    if not facts.by_people:
        return []
    late = sum(bool(one.late) for one in facts.by_people)
    note = f"{late} of {counted(len(facts.by_people), 'task')} late" if late else ""
    return [("Rehearsed by people", str(len(facts.signed) or "never"), note, bool(facts.signed) and not late)]


def _measured(taken: float | None, objective: float | None) -> tuple[str, str]:
    return against(taken, None), "" if objective is None else f"objective: {format_duration(objective)}"


# --- files ------------------------------------------------------------------------------------------------------------


def _json(facts: Facts, *, internal: bool) -> str:
    wanted = facts.wanted
    body: dict[str, object] = {
        "report": wanted.name if internal else wanted.kind,
        "kind": wanted.kind,
        "audience": wanted.audience,
        "watchd": wanted.watchd,
        "since": wanted.since,
        "until": wanted.until,
        "verdict": summary(facts),
        "restores": [_restore(one, internal=internal) for one in facts.restores],
        "at_risk": [_risk(one, internal=internal) for one in facts.at_risk],
        "drills": [_drill(one, internal=internal) for one in facts.drills],
        "by_people": [_signed(one, internal=internal) for one in facts.signed],
    }
    if internal:
        body |= {
            "gaps": gaps(facts),
            "backups_not_restored": [one.name for one in facts.unrestored],
            "policies_not_drilled": [{"policy": name, "last": last} for name, last in facts.undrilled],
            "channels_not_proven": list(facts.unproven),
        }
    return json.dumps(body, indent=1)


def _restore(one: Restores, *, internal: bool) -> dict[str, object]:
    known: dict[str, object] = {
        "days": list(one.days),
        "last": one.last,
        "slowest": one.slowest,
        "objective": one.objective,
        "met": one.in_time,
        "runs_failed": one.failed,
    }
    return {"check": one.subject.name, "incidents": [each.id for each in one.incidents], **known} if internal else known


def _risk(one: AtRisk, *, internal: bool) -> dict[str, object]:
    known: dict[str, object] = {"worst": one.worst, "objective": one.objective, "met": one.met}
    return {"check": one.subject.name, **known} if internal else known


def _drill(one: DrillReport, *, internal: bool) -> dict[str, object]:
    known = {
        "started_at": one.started_at,
        "state": one.state,
        "acknowledged_after": answered_after(one),
        "accepted": sum(message.accepted for message in one.messages),
        "not_accepted": sum(not message.accepted for message in one.messages),
    }
    return asdict(one) | known | {"severity": one.severity.word} if internal else known


def _signed(one: TaskRecord, *, internal: bool) -> dict[str, object]:
    known: dict[str, object] = {"at": one.at, "due": one.due}
    return (
        {"task": name_of(one.task), **known, "by": one.by, "note": one.note, "evidence": one.evidence}
        if internal
        else known
    )


def _csv(facts: Facts, *, internal: bool) -> str:
    into = io.StringIO()
    table = csv.writer(into)
    table.writerow(COLUMNS)

    def row(what: str, name: str, *values: object, by: str = "") -> None:
        shown = ["" if value is None else value for value in values]
        table.writerow([what, cell(name) if internal else "", *shown, cell(by) if internal else ""])

    for one in facts.restores:
        row("restore", one.subject.name, one.last, restored_words(one), one.slowest, one.objective)
    for risk in facts.at_risk:
        row("recovery point", risk.subject.name, None, "met" if risk.met else "not met", risk.worst, risk.objective)
    for signed in facts.signed:
        row("rehearsal", name_of(signed.task), signed.at, in_time(signed), None, None, by=signed.by)
    for drill in facts.drills:
        taken = answered_after(drill)
        row("drill", drill.policy, drill.started_at, drill.state.value, taken, None, by=drill.acknowledged_by)
    return into.getvalue()
