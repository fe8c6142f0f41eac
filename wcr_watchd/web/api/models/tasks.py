"""Tasks, and how they ended."""

from __future__ import annotations

from wcr_watchd.web.api.forms import Answer
from wcr_watchd.web.api.models.common import Time


class TaskRecord(Answer):
    """How one turn of a task ended."""

    number: int
    outcome: str
    at: Time
    due: Time | None
    started_at: Time | None
    by: str
    note: str
    evidence: list[str]
    exit_status: int | None
    attempts: int
    text: str
    output: str


class Task(Answer):
    """A task as it stands now."""

    name: str
    check: str
    kind: str
    phase: str
    summary: str
    about: str
    schedule: str
    schedule_words: str
    """The schedule in plain words; empty where there are none."""
    owner: str
    tags: list[str]
    runbook: str
    due: Time | None
    deadline: Time | None
    started_at: Time | None
    last_success_at: Time | None
    duration: float | None
    last: TaskRecord | None
    incident: int | None
    """What it follows, where it is a follow-up."""


class Tasks(Answer):
    """Every task."""

    tasks: list[Task]


class TaskDetails(Task):
    """A task with when it is due next, and how it ended the last times."""

    times: list[Time]
    history: list[TaskRecord]
