"""Changes as people ask for them and as they are shown: by API, command line and page alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wcr_watchd.core.announcements import covered
from wcr_watchd.core.changes import Change, ChangeWish, Outcome, Step, Ticked
from wcr_watchd.core.comparison import Compared
from wcr_watchd.core.modifications import Mark, Modification
from wcr_watchd.core.view import Control, View
from wcr_watchd.web import quiet
from wcr_watchd.web.shapes import Json, time_text

LONGEST_TITLE = 200
LONGEST_VERSION = 100


def wish(view: View, asked: Mapping[str, Any]) -> ChangeWish:
    """The change that a request asks for. Raises ``HTTPBadRequest`` and ``CommandError`` with what is wrong."""
    return ChangeWish(
        plan=str(asked.get("plan") or ""),
        category=str(asked.get("category") or ""),
        title=str(asked.get("title") or "").strip()[:LONGEST_TITLE],
        version=str(asked.get("version") or "").strip()[:LONGEST_VERSION],
        matchers=quiet.matchers(view, asked),
        length=quiet.length(str(asked["for"])) if asked.get("for") else 0.0,
    )


def change(view: Control, found: Change) -> Json:
    """A change with its checklist, what verifying and comparing found, and its log."""
    why_not = view.changes.why_not(found) if not found.state.over or found.finished_at else ("",) * len(found.ticks)
    return summary(found) | {
        "matchers": [str(one) for one in found.plan.matchers],
        "checks": covered(view.setup, found.plan.matchers),
        "steps": [
            _step(number, step, ticked, why)
            for number, ((step, ticked), why) in enumerate(zip(found.steps, why_not, strict=True), 1)
        ],
        "verified_at": _time(found.verified_at),
        "verified": [
            {
                "check": one.check,
                "outcome": one.outcome,
                "severity": one.severity,
                "summary": one.summary,
                "good": one.good,
            }
            for one in found.verified
        ],
        "compared_at": _time(found.compared_at),
        "compared": [_compared(one) for one in found.compared],
        "log": [{"at": time_text(one.at), "by": one.by, "text": one.text} for one in found.entries],
    }


def summary(found: Change) -> Json:
    """A change in a list of changes."""
    done = sum(ticked is not None for ticked in found.ticks)
    return {
        "id": found.id,
        "plan": found.plan.name,
        "category": found.plan.category.name,
        "title": found.title,
        "version": found.version,
        "name": found.name,
        "state": found.state.value,
        "by": found.by,
        "prepared_at": time_text(found.prepared_at),
        "started_at": _time(found.started_at),
        "updated_at": _time(found.updated_at),
        "ends_at": _time(found.ends_at),
        "finished_at": _time(found.finished_at),
        "overran": found.overran,
        "steps_done": done,
        "steps_total": len(found.ticks),
    }


def outcome(view: Control, came: Outcome) -> Json:
    """What came of a command."""
    return {"done": came.said, "lines": list(came.lines), "change": change(view, came.change)}


def modification(found: Modification) -> Json:
    """A line of the log of modifications."""
    return {
        "at": time_text(found.at),
        "source": found.source,
        "kind": found.kind,
        "name": found.name,
        "before": found.before,
        "after": found.after,
        "text": found.text,
    }


def marks(found: Sequence[Mark]) -> list[Json]:
    """What is marked on charts; times also in epoch seconds, as charts need them."""
    return [
        {
            "at": time_text(one.at),
            "until": _time(one.until),
            "time": one.at,
            "end": one.until,
            "text": one.text,
            "change": one.change or None,
        }
        for one in found
    ]


def _step(number: int, step: Step, ticked: Ticked | None, why_not: str) -> Json:
    return {
        "number": number,
        "phase": step.phase.value,
        "text": step.text,
        "tick": step.tick.value,
        "required": step.required,
        "evidence": step.evidence,
        "done_at": _time(ticked.at if ticked else None),
        "done_by": ticked.by if ticked else "",
        "note": ticked.note if ticked else "",
        "waits_for": "" if ticked else why_not,
    }


def _compared(one: Compared) -> Json:
    return {
        "check": one.check,
        "what": one.what,
        "unit": one.unit.value,
        "before": one.before,
        "after": one.after,
        "runs_before": one.count_before,
        "runs_after": one.count_after,
        "p": one.p,
        "finding": one.finding.value,
        "text": one.text,
    }


def _time(at: float | None) -> str | None:
    return None if at is None else time_text(at)
