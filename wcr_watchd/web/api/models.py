"""What the API answers, as models: for the OpenAPI document, and for the tests that hold the answers to it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from wcr_watchd.web.api.forms import Answer

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""RFC 3339 in UTC, to the millisecond."""
Severity = Literal["ok", "info", "warning", "critical"]
Outcome = Literal["up", "down", "unknown"]
Object = dict[str, Any]


class ProblemAnswer(BaseModel):
    """What is wrong (RFC 9457)."""

    model_config = ConfigDict(extra="allow", defer_build=True)
    type: str
    title: str
    status: int
    detail: str
    errors: list[Object] = []
    """Field by field, where the request did not fit."""


class Done(Answer):
    """What was done, in a sentence."""

    done: str


class Document(Answer):
    """An object that is not described further."""

    model_config = ConfigDict(extra="allow", defer_build=True)


class Measurement(Answer):
    """A measured value in its base unit."""

    name: str
    labels: dict[str, str]
    value: float | None
    unit: str


class Observation(Answer):
    """What one run found."""

    check: str
    location: str
    at: Time
    duration: float
    outcome: Outcome
    reason: str
    summary: str
    measurements: list[Measurement]
    evidence: dict[str, str]


class Ran(Observation):
    """What a run out of turn found, and how the check is by now."""

    severity: Severity


class Check(Answer):
    """A check as it stands now. ``state`` is the one word for it."""

    name: str
    type: str
    target: str
    every: float
    group: str
    tags: list[str]
    owner: str
    depends_on: list[str]
    state: Literal["new", "ok", "info", "warning", "critical", "confirming", "down", "unknown"]
    outcome: Outcome | None
    severity: Severity
    since: Time | None
    last_at: Time | None
    duration: float | None
    summary: str
    incidents: list[int]


class Checks(Answer):
    """Checks by name in the order of the configuration; ``next`` is the cursor of the next page."""

    checks: list[Check]
    next: str | None = None


class Told(Answer):
    """Somebody who was told."""

    channel: str
    contact: str


class Incident(Answer):
    """An incident as it stands."""

    id: int
    check: str
    subject: str
    severity: Severity
    peak: Severity
    state: Literal["open", "acknowledged", "suppressed", "silenced", "maintenance", "resolved"]
    opened_at: Time
    changed_at: Time
    resolved_at: Time | None
    acknowledged_at: Time | None
    acknowledged_by: str
    acknowledged_until: Time | None
    owner: str
    flapping: bool
    summary: str
    rule: str
    muted_by: str
    muted_until: Time | None
    told: list[Told]
    next_escalation_at: Time | None
    next_reminder_at: Time | None


class Incidents(Answer):
    """Incidents, newest first; ``next`` is the cursor of the next page."""

    incidents: list[Incident]
    next: str | None = None


class Rule(Answer):
    """A rule of a check."""

    severity: Severity
    rule: str


class CheckDetails(Check):
    """A check with its rules, its latest observation, the last runs and its incidents."""

    rules: list[Rule]
    latest: Observation | None
    recent: list[tuple[float, float | None]]
    history: list[Incident]


class Event(Answer):
    """An entry of a timeline."""

    sequence: int
    event: str
    at: Time
    severity: Severity
    summary: str
    reason: str
    by: str


class Delivery(Answer):
    """A notification, and where it stands."""

    id: str
    incident: int
    event: str
    channel: str
    contact: str
    state: Literal["pending", "delivered", "failed", "merged", "superseded"]
    attempts: int
    created_at: Time
    delivered_at: Time | None
    last_error: str
    receipt: str


class DeadLetter(Delivery):
    """A notification that could not be delivered."""

    given_up_at: Time
    headline: str


class IncidentDetails(Incident):
    """An incident with its timeline and what became of its notifications."""

    timeline: list[Event]
    notifications: list[Delivery]


class WhyStep(Event):
    """A step of the answer: who was told of it, and who was not."""

    told: list[Object]
    not_told: str


class Why(Answer):
    """Why somebody was, or was not, told."""

    incident: Incident
    answer: str
    steps: list[WhyStep]


class Cause(Answer):
    """What an incident may be due to, and the numbers of what it refers to."""

    kind: Literal["watcher", "dependency", "vendor", "change", "neighbours"]
    text: str
    incident: int | None
    change: int | None


class Causes(Answer):
    """Likely causes, the likeliest first."""

    causes: list[Cause]


class Noted(Answer):
    """What somebody noted."""

    by: str
    text: str


class Earlier(Answer):
    """An earlier incident like this one: whether it was told in the same words, how it ended, what was noted."""

    incident: Incident
    same_words: bool
    ended: str
    notes: list[Noted]


class Similar(Answer):
    """Earlier incidents like this one; ``recent`` is how many began in the 90 days up to it, with this one."""

    similar: list[Earlier]
    recent: int


class ToldFirst(Answer):
    """Somebody who was told: over what, when first, in how many messages."""

    who: str
    at: Time
    messages: int


class Review(Answer):
    """What was recorded of an incident (durations in seconds, null for what did not happen), and what people wrote."""

    incident: Incident
    lasted: float
    acknowledged_after: float | None
    resolved_after: float | None
    first_told_after: float | None
    told: list[ToldFirst]
    undelivered: int
    runs: int
    failed: int
    causes: list[Cause]
    root_cause: str
    impact: str
    resolution: str
    prevention: str
    written_by: str
    written_at: Time | None
    markdown: str


class Deliveries(Answer):
    """Notifications, newest first."""

    deliveries: list[Delivery]


class Channel(Answer):
    """A channel as it stands; counts are since the start of the daemon."""

    name: str
    type: str
    state: Literal["critical", "warning", "new", "ok"]
    sentence: str
    sent: int
    failed: dict[str, int]
    last_success_at: Time | None
    waiting: int
    last_error: str
    limits: list[str]
    people: list[str]


class Channels(Answer):
    """Every channel, those that fail first."""

    channels: list[Channel]


class Rendered(Answer):
    """A message as it would look, part by part."""

    channel: str
    parts: dict[str, str]


class DeadLetters(Answer):
    """The dead-letter list, newest first."""

    dead_letters: list[DeadLetter]


class History(Answer):
    """A measurement's course: time (epoch seconds), mean, least, largest and number of the values at each point."""

    check: str
    measurement: str
    points: list[tuple[float, float, float, float, int]]


class Ping(Answer):
    """A signal of a job."""

    number: int
    at: Time
    job: str
    kind: str
    exit_status: int | None
    run_id: str
    method: str
    scheme: str
    remote: str
    agent: str
    body: str


class Available(Answer):
    """How much of so many seconds until now a check was up; all in seconds but the shares (0 to 1)."""

    span: float
    share: float | None
    share_with_planned: float | None
    up: float
    down: float
    planned: float
    unwatched: float


class Availability(Answer):
    """Availability of a check over some spans of time."""

    check: str
    spans: list[Available]


class Settings(Answer):
    """The effective settings of a check."""

    check: str
    toml: str


class Pings(Answer):
    """The last signals of a heartbeat, newest first."""

    pings: list[Ping]


class Counts(Answer):
    """How many checks there are, and how their last runs were."""

    total: int
    up: int
    down: int
    unknown: int


class Status(Answer):
    """How it is now."""

    watchd: str
    location: str
    version: str
    started_at: Time
    now: Time
    checks: Counts
    severity: dict[Severity, int]
    incidents: list[Incident]
    reload_problems: list[str]
    warnings: list[str]


class Silence(Answer):
    """A silence, or maintenance that was started by hand."""

    id: str
    state: Literal["pending", "active", "expired"]
    matchers: list[str]
    starts_at: Time
    ends_at: Time
    author: str
    comment: str
    maintenance: bool


class Silences(Answer):
    """Silences; those that end first come first."""

    silences: list[Silence]


class Silenced(Answer):
    """The silence that holds now."""

    done: str
    silence: Silence


class Span(Answer):
    """From when to when."""

    start: Time
    end: Time


class Window(Answer):
    """A planned maintenance window."""

    name: str
    when: str
    timezone: str
    comment: str
    matchers: list[str]
    checks: list[str]
    notice: list[float]
    current: Span | None
    next: list[Span]


class Maintenance(Answer):
    """Planned windows, and what was started by hand."""

    windows: list[Window]
    started: list[Silence]


class OnCallNow(Answer):
    """Who is on call now."""

    contacts: list[str]
    why: str
    until: Time | None
    next: list[str] | None


class Turn(Answer):
    """A stretch of time with the same people on call."""

    start: Time
    end: Time
    contacts: list[str]
    why: str


class Schedule(Answer):
    """An on-call schedule."""

    name: str
    timezone: str
    now: OnCallNow
    turns: list[Turn]
    gaps: list[Span]


class OnCall(Answer):
    """Who is on call."""

    now: Time
    from_: Time = Field(alias="from")
    until: Time
    schedules: list[Schedule]


class Drill(Answer):
    """How a drill goes or went."""

    number: int
    policy: str
    severity: Severity
    state: Literal["running", "acknowledged", "unanswered", "stopped"]
    started_at: Time
    ended_at: Time | None
    acknowledged_by: str
    acknowledged_after: float | None
    messages: list[Object]


class Outlook(Answer):
    """Who would be told, step by step."""

    check: str
    severity: Severity
    at: Time
    steps: list[Object]
    afterwards: str


class Plan(Answer):
    """Who is told at one severity, in a sentence."""

    severity: Severity
    tells: str


class Policy(Answer):
    """An escalation policy."""

    name: str
    plans: list[Plan]


class Configuration(Answer):
    """The configuration in force."""

    files: list[str]
    loaded_at: Time
    started_at: Time
    problems: list[str]
    warnings: list[str]
    counts: dict[str, int]
    policies: list[Policy]


class Reloaded(Answer):
    """What is wrong with the configuration; nothing when it is in force now."""

    problems: list[str]


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
    owner: str
    tags: list[str]
    runbook: str
    due: Time | None
    deadline: Time | None
    started_at: Time | None
    last_success_at: Time | None
    duration: float | None
    last: TaskRecord | None


class Tasks(Answer):
    """Every task."""

    tasks: list[Task]


class TaskDetails(Task):
    """A task with when it is due next, and how it ended the last times."""

    times: list[Time]
    history: list[TaskRecord]


class Report(Answer):
    """A report without its contents."""

    number: int
    name: str
    kind: Literal["weekly", "monthly"]
    audience: Literal["team", "stakeholders"]
    scheduled: bool
    title: str
    summary: str
    made_at: Time
    since: Time
    until: Time
    forms: list[str]


class Reports(Answer):
    """The reports that are kept, newest first."""

    reports: list[Report]


class Change(Answer):
    """An update in progress, or one of the past."""

    id: int
    plan: str
    category: str
    title: str
    name: str
    state: str
    by: str
    prepared_at: Time
    started_at: Time | None
    updated_at: Time | None
    ends_at: Time | None
    finished_at: Time | None
    overran: bool
    steps_done: int
    steps_total: int


class Changes(Answer):
    """Changes, newest first."""

    changes: list[Change]


class ChangeDetails(Change):
    """A change with its checklist, what verifying and comparing found, and its log."""

    matchers: list[str]
    checks: list[str]
    steps: list[Object]
    verified_at: Time | None
    verified: list[Object]
    compared_at: Time | None
    compared: list[Object]
    log: list[Object]


class ChangeOutcome(Answer):
    """What came of a command about a change."""

    done: str
    lines: list[str]
    change: ChangeDetails


class Modification(Answer):
    """Something that became different."""

    at: Time
    source: str
    kind: str
    name: str
    before: str
    after: str
    text: str


class Modifications(Answer):
    """What became different, newest first."""

    modifications: list[Modification]


class Mark(Answer):
    """Something to mark on charts; times also in epoch seconds."""

    at: Time
    until: Time | None
    time: float
    end: float | None
    text: str
    change: int | None


class Marks(Answer):
    """What to mark on charts, oldest first."""

    marks: list[Mark]


class Link(Answer):
    """A link that signs a browser in once."""

    model_config = ConfigDict(extra="allow", defer_build=True)
    url: str


class AuditEntry(Answer):
    """Who did what."""

    model_config = ConfigDict(extra="allow", defer_build=True)
    number: int
    at: Time


class Audit(Answer):
    """The audit log, newest first."""

    entries: list[AuditEntry]


class BurnRate(Answer):
    """How many times faster than allowed the error budget goes, over so many seconds."""

    window: float
    rate: float | None


class Objective(Answer):
    """An objective, and how it is kept."""

    name: str
    comment: str
    checks: list[str]
    target: float
    period: float
    availability: float | None
    availability_with_planned: float | None
    down: float
    watched: float
    unwatched: float
    budget_left: float | None
    burn_rates: list[BurnRate]


class Objectives(Answer):
    """Every objective."""

    objectives: list[Objective]


class ObjectiveDay(Answer):
    """A day of an objective in seconds and shares (0 to 1); ``used`` and ``left`` are of the whole budget."""

    start: Time
    end: Time
    availability: float | None
    availability_with_planned: float | None
    down: float
    watched: float
    unwatched: float
    used: float
    left: float


class ObjectiveDays(Answer):
    """An objective day by day, oldest first."""

    name: str
    days: list[ObjectiveDay]


class StatusPosts(Answer):
    """Posts of the status page with their drafts, newest first."""

    posts: list[Object]


class StatusPosted(Answer):
    """A post as it is now."""

    done: str
    post: Object


class SupportLevel(Answer):
    """Whom to call at a vendor after so many seconds without help."""

    after: float
    contact: str


class Support(Answer):
    """How a vendor helps."""

    address: str
    hours: str
    account: str
    agreement: str
    escalation: list[SupportLevel]


class Rating(Answer):
    """How likely a risk is, how much it would hurt, and what became of it."""

    likelihood: Literal["low", "medium", "high"]
    impact: Literal["low", "medium", "high"]
    status: Literal["open", "mitigated", "accepted", "closed"]


class Entry(Answer):
    """An entry of the knowledge folder."""

    name: str
    kind: Literal["runbook", "vendor", "risk", "article"]
    title: str
    file: str
    owner: str
    matchers: list[str]
    words: list[str]
    reviewed: str | None
    review_due: Time | None
    due: bool
    support: Support | None
    rating: Rating | None


class Knowledge(Answer):
    """The knowledge folder."""

    folder: str
    entries: list[Entry]
    problems: list[str]


class EntryDetails(Entry):
    """An entry with its text as Markdown, and the checks that it is about."""

    text: str
    checks: list[str]


class WrittenEntry(Entry):
    """An entry with its text as Markdown."""

    text: str


class Guidance(Answer):
    """What is written down; `runbook` is what the check names, a URL or an entry's name."""

    runbook: str
    runbooks: list[WrittenEntry]
    vendors: list[WrittenEntry]
    related: list[Entry]


class Contact(Answer):
    """A contact: the kinds of address they have, and when somebody last saw that they can be reached.

    `state` is that of the task `verify-NAME`; null where nobody asks for it.
    """

    name: str
    addresses: list[str]
    state: Literal["waiting", "soon", "due", "overdue", "running", "failed"] | None
    verified_at: Time | None
    verified_by: str
    note: str
    due: Time | None


class Contacts(Answer):
    """Every contact."""

    contacts: list[Contact]
