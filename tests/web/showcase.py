"""A daemon to look at without running one: every state a page can show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from math import sin
from typing import Any

from wcr_watchd.core.changes import Change
from wcr_watchd.core.drill_report import DrillReport, DrillWish
from wcr_watchd.core.errors import ChannelError, CommandError
from wcr_watchd.core.heartbeat import Ping, PingKind
from wcr_watchd.core.local_time import Hours, merged
from wcr_watchd.core.model import (
    Alert,
    Delivery,
    DeliveryState,
    Event,
    EventKind,
    Incident,
    IncidentState,
    Labels,
    Measurement,
    MeasurementSpec,
    Message,
    Notification,
    Observation,
    Outcome,
    Recipient,
    Severity,
)
from wcr_watchd.core.modifications import Mark, Modification
from wcr_watchd.core.objectives import Budget, Objective, Stretch, stretches
from wcr_watchd.core.on_call import Layer, OnCallSchedule, Override, weekly
from wcr_watchd.core.posts import Subscriber
from wcr_watchd.core.protocols import Point, Wanted
from wcr_watchd.core.report import Filed, ReportWish
from wcr_watchd.core.review import Review
from wcr_watchd.core.rules import InstanceState, RuleState, Verdict, parse_rule
from wcr_watchd.core.setup import AlertSettings, Canary, Check, Setup
from wcr_watchd.core.silence import Silence
from wcr_watchd.core.state import CheckState, State
from wcr_watchd.core.task import TaskKind, TaskOutcome, TaskPhase, TaskRecord, TaskView
from wcr_watchd.core.units import Unit
from wcr_watchd.core.uptime import Outcomes, Uptime
from wcr_watchd.core.view import ChannelView, Counters, Touched

NOW = 1_795_456_800.0
SPECS = (
    MeasurementSpec("response_time", Unit.SECONDS, "Time from the start of the request to the end of the answer."),
    MeasurementSpec("disk_used", Unit.RATIO, "Used part of a disk.", labels=("mount",), topic="disk"),
)


def _check(name: str, probe: str, target: str, group: str = "") -> Check:
    return Check(name=name, probe=probe, target=target, every=60.0, timeout=10.0, rules=(), group=group, owner="lead")


def schedules() -> dict[str, OnCallSchedule]:
    """One by the week with an override, one with hours and so with gaps."""
    shops = ((day * 1440 + 540, day * 1440 + 1020) for day in range(5))
    noon = Override(NOW + 86_400, NOW + 90_000, ("kim", "eve"))
    office = Layer("layer <office>", (("ann",), ("ben",)), turn=86_400.0, hours=Hours("Europe/Berlin", merged(shops)))
    return {
        "ops": replace(weekly("ops", "America/New_York", ("lead", "second")), overrides=(noon,)),
        "shop": OnCallSchedule("shop", "Europe/Berlin", (office,)),
    }


def example_tasks() -> Iterator[TaskView]:
    """One of each kind and of each way it can stand."""

    def one(name: str, kind: TaskKind, phase: TaskPhase, summary: str, **more: Any) -> TaskView:
        usual: dict[str, Any] = {
            "about": f"What to do for {name}",
            "schedule": "0 9 * * 1 America/New_York",
            "owner": "lead",
            "tags": ("production",),
            "runbook": "https://wiki.example.org/tasks",
            "due": NOW + 86_400,
            "deadline": NOW + 2 * 86_400,
            "started_at": None,
            "last_success_at": NOW - 6 * 86_400,
            "duration": None,
            "last": None,
        }
        return TaskView(name, f"task.{name}", kind, phase=phase, summary=summary, **usual | more)

    signed = TaskRecord(
        "task.restore-by-hand",
        3,
        TaskOutcome.DONE,
        NOW - 6 * 86_400,
        due=NOW - 7 * 86_400,
        by="ann",
        note="rows <b>compared</b>",
        evidence=("https://wiki.example.org/restore/3", "ticket 4711"),
        text="signed off by ann",
    )
    failed = TaskRecord(
        "task.offsite",
        9,
        TaskOutcome.FAILED,
        NOW - 600,
        due=NOW - 900,
        started_at=NOW - 900,
        exit_status=7,
        attempts=3,
        text="/usr/local/bin/offsite ended with status 7, expected status 0: no room",
        output="copying\nno room",
    )
    yield one("restore-by-hand", TaskKind.SIGNED, TaskPhase.SOON, "is due at Nov 24 09:00 EST", last=signed)
    yield one("access-review", TaskKind.SIGNED, TaskPhase.OVERDUE, "was due and is not done", due=NOW - 3 * 86_400)
    yield one("licences", TaskKind.SIGNED, TaskPhase.DUE, "is due since 09:00 EST", due=NOW - 60)
    yield one("offsite", TaskKind.RUN, TaskPhase.FAILED, failed.text, last=failed, duration=300.0)
    yield one("backup", TaskKind.RUN, TaskPhase.RUNNING, "runs since 4 min", started_at=NOW - 240)
    yield one("vacuum <i>", TaskKind.REPORTED, TaskPhase.WAITING, "last heard of 3 h ago", owner="", about="")


OBJECTIVE = Objective("shop", ("api", "site"), 0.999, comment="what we <b>promise</b>")


class Promises:
    """Objectives whose budget is nearly used up by one bad day."""

    async def budget(self, objective: Objective) -> Budget:
        day = 86_400.0
        return Budget(0.99926, 0.9981, 0.0207 * day, 28 * day, 2 * day, 0.31 if objective is OBJECTIVE else None)

    async def days(self, objective: Objective) -> Sequence[Stretch]:
        begin, parts = NOW - 30 * 86_400, []
        for number in range(30):
            down = {11: 1_400.0, 23: 400.0}.get(number, 0.0)
            known = Uptime(86_400.0 - down, down) if number not in (3, 4) else Uptime(unwatched=86_400.0)
            parts.append((begin + number * 86_400, begin + (number + 1) * 86_400, [known]))
        return stretches(objective, parts)

    def rates(self, objective: Objective) -> Sequence[tuple[float, float | None]]:
        return [(300.0, None), (3_600.0, 0.42), (259_200.0, 0.9)]


class NoChanges:
    """A desk of changes on which none lies; called, it is what the store has under this name."""

    known: tuple[Change, ...] = ()

    async def __call__(self, **_: object) -> Sequence[Change]:
        return ()

    async def change(self, number: int) -> Change:
        raise CommandError(f"there is no change #{number}")

    async def _no(self, *_: object, **__: object) -> Any:
        raise CommandError("there is no such change")

    prepare = start = start_prepared = extend = tell = tick = note = abandon = verify = finish = _no


class StatusRecords:
    """Who subscribed to the status page."""

    def __init__(self) -> None:
        names = ("zoe@example.org", "Ann@example.com", "o'brien+status@example.net")
        self.known = [Subscriber(f"secret-of-{name}", name, NOW - 86_400.0 * 40) for name in names]

    async def subscribers(self) -> Sequence[Subscriber]:
        return tuple(self.known)

    async def unsubscribe(self, identity: str) -> bool:
        before = len(self.known)
        self.known = [one for one in self.known if one.id != identity]
        return len(self.known) < before


class Showcase:
    """The :class:`~wcr_watchd.core.view.Control` of a daemon that stands still, but for acknowledging."""

    version = "0.1.0"
    failed: tuple[str, ...] = ()
    """Keys of messages that could not be delivered."""
    started_at = NOW - 3_600

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[str, ...] | None]] = []
        checks = [
            _check("site", "http", "https://www.example.org/", "production"),
            _check("api", "http", "http://localhost:5001/health", "production"),
            _check("database", "postgres", "localhost/app", "production"),
            _check("host", "host", "web-1"),
            _check("certificate <b>", "tls", "www.example.org:443"),
            _check("mail", "smtp", "smtp://relay:587"),
        ]
        self.setup = Setup(
            name="wcr-prod",
            location="nyc3",
            timezone="America/New_York",
            public_url="",
            checks={check.name: check for check in checks},
            on_call=schedules(),
            units={check.name: {spec.name: spec.unit.value for spec in SPECS} for check in checks},
            objectives={"shop": OBJECTIVE},
        )
        self.objectives: Any = Promises()
        self.changes: Any = NoChanges()
        self.status_page: Any = StatusRecords()
        self.state = State(
            checks={
                "site": CheckState("site", Outcome.UP, NOW - 90_000),
                "api": CheckState("api", Outcome.DOWN, NOW - 700, Severity.CRITICAL),
                "database": CheckState("database", Outcome.UP, NOW - 4_000),
                "host": CheckState("host", Outcome.UP, NOW - 90_000, Severity.WARNING),
                "certificate <b>": CheckState("certificate <b>", Outcome.UNKNOWN, NOW - 100),
            },
            incidents={
                42: self._incident(42, "api", Severity.CRITICAL, "GET http://localhost:5001/health answered 503"),
                41: self._incident(41, "host", Severity.WARNING, "disk_used 91 % > 90 %", subject="disk /data"),
            },
            by_check={"api": {"": 42}, "host": {"disk /data": 41}},
        )
        self.latest = {
            name: Observation(
                check=name,
                location="nyc3",
                at=NOW - 20,
                duration=0.213,
                outcome=state.outcome or Outcome.UP,
                reason="status",
                summary=f"{name} said something that is long enough to need more than one line on a telephone",
                measurements=(
                    Measurement("response_time", 0.213),
                    Measurement("disk_used", 0.91, (("mount", "/data"),)),
                ),
                evidence={"body": "<script>alert(1)</script>"},
            )
            for name, state in self.state.checks.items()
        }
        self.specs = dict.fromkeys(self.setup.checks, SPECS)
        self.counters = Counters()
        self.reload_problems: tuple[str, ...] = ()
        self.warnings: tuple[str, ...] = ()
        self.store: Any = self
        self.acknowledged: list[tuple[int, str]] = []
        self.asked: list[tuple[Any, ...]] = []
        self.drills: dict[int, DrillReport] = {}
        self.old: list[Incident] = []
        self.wanted: list[Wanted] = []
        self.reviews: dict[int, Review] = {}
        self.readers: list[asyncio.Queue[tuple[Touched, ...]]] = []

    def troubled(self) -> None:
        """From now on ``api`` has rules, phases, a parent and a child, and a rule that fires."""
        rules = [
            parse_rule("response_time > 1s for 5m until response_time < 800ms", Severity.WARNING, SPECS),
            parse_rule("response_time > 3s", Severity.CRITICAL, SPECS),
            parse_rule("down", Severity.CRITICAL, SPECS),
        ]
        api = replace(
            self.setup.checks["api"],
            rules=tuple(rules),
            depends_on=("database",),
            tags=("web", "shop"),
            runbook="https://wiki.example.org/api",
        )
        site = replace(self.setup.checks["site"], depends_on=("api",))
        self.setup = replace(self.setup, checks={**self.setup.checks, "api": api, "site": site})
        firing = InstanceState(Verdict.FIRING, since=NOW - 700, runs=9, because="response_time 1.61 s > 1 s for 5 min")
        standing = ((rules[0].text, RuleState((((), firing),))),)
        self.state.checks["api"] = replace(
            self.state.checks["api"], outcome=Outcome.UP, severity=Severity.WARNING, rules=standing
        )
        steps = (("dns", 0.004), ("connect", 0.021), ("tls", 0.043), ("first_byte", 1.4), ("transfer", 0.142))
        phases = tuple(Measurement("response_phase", value, (("phase", name),)) for name, value in steps)
        latest = self.latest["api"]
        self.latest["api"] = replace(latest, outcome=Outcome.UP, measurements=(*latest.measurements, *phases))

    def _incident(self, number: int, check: str, severity: Severity, summary: str, subject: str = "") -> Incident:
        return Incident(
            id=number,
            check=check,
            subject=subject,
            severity=severity,
            peak=severity,
            state=IncidentState.OPEN,
            opened_at=NOW - 700,
            changed_at=NOW - 700,
            summary=summary,
            told=(Recipient("sms", "lead", "+15550101"), Recipient("slack")),
        )

    def now(self) -> float:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    def recent(self, check: str) -> tuple[tuple[float, float | None], ...]:
        if check not in self.latest:
            return ()
        bad = {"api": range(48, 60), "certificate <b>": range(20, 22)}.get(check, range(0))
        return tuple((NOW - 60 * (60 - i), None if i in bad else 0.1 + (i * 7 % 11) / 50) for i in range(60))

    files = ("/etc/wcr-watchd/watchd.toml",)

    def channels(self) -> Sequence[ChannelView]:
        return (
            ChannelView("sms", "sms", "phone", (1, 1.0), (20, 3_600.0), None),
            ChannelView("broken", "webhook", "", None, None, Canary(86_400.0)),
        )

    async def touched(self) -> AsyncIterator[tuple[Touched, ...]]:
        pending: asyncio.Queue[tuple[Touched, ...]] = asyncio.Queue()
        self.readers.append(pending)
        try:
            while True:
                yield await pending.get()
        finally:
            self.readers.remove(pending)

    def happen(self, *changes: Touched) -> None:
        for reader in self.readers:
            reader.put_nowait(changes)

    async def acknowledge(self, incident: int, by: str, *, until: float | None = None, sticky: bool = False) -> str:
        if incident not in self.state.incidents:
            raise CommandError(f"there is no open incident #{incident}")
        self.acknowledged.append((incident, by))
        self.asked.append(("acknowledge", incident, by, until, sticky))
        return f"incident #{incident} is acknowledged by {by}"

    async def resolve(self, incident: int, by: str) -> str:
        self.asked.append(("resolve", incident, by))
        return "ended"

    async def note(self, incident: int, by: str, text: str) -> str:
        self.asked.append(("note", incident, by, text))
        return "noted"

    async def assign(self, incident: int, owner: str, by: str) -> str:
        self.asked.append(("assign", incident, owner, by))
        return "assigned"

    async def silence(self, wanted: Silence, changes: str = "") -> tuple[Silence, str]:
        if changes:
            self.asked.append((wanted, changes))
        self.state.silences[wanted.id] = wanted
        return wanted, "in force"

    async def expire(self, silence: str) -> str:
        if silence not in self.state.silences:
            raise CommandError(f"there is no silence {silence}")
        del self.state.silences[silence]
        return "over"

    def take_alerts(self) -> None:
        """From now on alerts are taken."""
        self.setup = replace(self.setup, alerts=AlertSettings())

    async def alerts(self, sent: Sequence[Alert]) -> None:
        self.asked.append(("alerts", *sent))

    async def stop_window(self, name: str, by: str) -> str:
        self.asked.append(("stop_window", name, by))
        return "over for this time"

    async def tasks(self, timezone: str = "") -> Sequence[TaskView]:
        return tuple(example_tasks())

    async def task_times(self, check: str, until: float) -> Sequence[float]:
        found = next(one for one in example_tasks() if one.check == check)
        return () if found.due is None else (found.due, found.due + 7 * 86_400)

    async def task_records(self, check: str) -> Sequence[TaskRecord]:
        return tuple(one.last for one in example_tasks() if one.check == check and one.last)

    async def sign_off_task(self, name: str, by: str, note: str = "", evidence: Sequence[str] = ()) -> str:
        self.asked.append((f"{name} done by {by}: {note}", tuple(evidence)))
        if name == "backup":
            raise CommandError("backup is running; sign it off when that is over")
        return f"{name} is done, signed off by {by}; due again in 7 d"

    async def run_task(self, name: str, by: str) -> str:
        self.asked.append((f"{name} run by {by}", None))
        return f"{name} is begun"

    async def pings(self, check: str) -> Sequence[Ping]:
        return [Ping(PingKind.FAIL, check, number=7, at=NOW - 60, exit_status=3, body=b"disk full")]

    async def run_now(self, check: str) -> Observation:
        if check not in self.latest:
            raise CommandError(f"there is no check named {check!r}")
        return self.latest[check]

    async def accept(self, check: str, by: str) -> Observation:
        self.asked.append(("accept", check, by))
        return await self.run_now(check)

    async def modified(self, by: str, text: str) -> Modification:
        if not text:
            raise CommandError("say what was done")
        self.asked.append(("modified", by, text))
        return Modification(NOW, by, "note", "", after=text)

    def start_drill(self, wish: DrillWish) -> DrillReport:
        raise CommandError(f"there is no policy {wish.policy!r}")

    def stop_drill(self, number: int) -> DrillReport:
        return self.drill(number)

    async def write_report(self, wish: ReportWish) -> Filed:
        raise CommandError(f"there is no report {wish.name!r}")

    def drill(self, number: int) -> DrillReport:
        if number not in self.drills:
            raise CommandError(f"there is no drill #{number}")
        return self.drills[number]

    async def notify_test(self, channel: str, who: str) -> str:
        if channel == "broken":
            raise ChannelError("the gateway answered 500", reason="server", permanent=False)
        return "accepted"

    async def resend(self, ids: Collection[str] | None) -> str:
        return self._done("sent again", ids)

    async def discard(self, ids: Collection[str] | None, by: str) -> str:
        return self._done(f"discarded by {by}", ids)

    def _done(self, what: str, ids: Collection[str] | None) -> str:
        if ids is not None and "gone" in ids:
            raise CommandError("'gone' is not on the dead-letter list")
        self.asked.append((what, None if ids is None else tuple(ids)))
        return what

    async def reload(self) -> tuple[str, ...]:
        return self.reload_problems

    def rendered(self, channel: str, check: str | None, event: EventKind, severity: Severity) -> Mapping[str, str]:
        if channel == "gone":
            raise CommandError("there is no channel named 'gone'; configured: sms, broken")
        return {"text": f"{severity.word} {event.value}: {check or 'a made-up check'}"}

    # the reading side of the store
    async def report(self, number: int) -> Filed | None:
        return None

    async def reports(self, **_: object) -> Sequence[Filed]:
        return ()

    async def modifications(self, **_: object) -> Sequence[Modification]:
        return ()

    async def incidents(self, **_: object) -> Sequence[Incident]:
        return (*self.state.incidents.values(), *self.old)

    async def incident(self, number: int) -> Incident | None:
        return None

    async def find_incidents(self, wanted: Wanted, *, before: int = 0, limit: int = 50) -> Sequence[Incident]:
        self.wanted.append(wanted)
        known = sorted((*self.state.incidents.values(), *self.old), key=lambda one: -one.id)
        return [
            one
            for one in known
            if (not before or one.id < before)
            and (wanted.checks is None or one.check in wanted.checks)
            and (not wanted.states or one.state in wanted.states)
            and one.opened_at < wanted.until
            and (one.resolved_at or NOW) >= wanted.since
        ][:limit]

    async def review(self, written: Review | int) -> Any:
        """What the store and the daemon have under this name."""
        if isinstance(written, int):
            return self.reviews.get(written)
        self.reviews[written.incident] = written
        return "kept"

    async def events(self, incident: int) -> Sequence[Event]:
        opened = Event(incident, 1, EventKind.OPENED, NOW - 700, Severity.CRITICAL, "503", "confirmed by 3 of 3 runs")
        return (opened,)

    async def deliveries(self, *, states: Collection[DeliveryState] = (), **_: object) -> Sequence[Delivery]:
        found = self.state.incidents[42]
        message = Message(
            event=EventKind.OPENED,
            at=NOW - 700,
            watchd="wcr-prod",
            location="nyc3",
            incident=42,
            severity=found.severity,
            state=found.state,
            opened_at=found.opened_at,
            url="",
            check="api",
            probe="http",
            target="",
            subject="",
            tags=(),
            owner="",
            runbook="",
            summary=found.summary,
            reason="",
        )
        owed = Notification(
            "key", 42, EventKind.OPENED, Severity.CRITICAL, found.told[0], NOW - 700, NOW - 700, message
        )
        if DeliveryState.FAILED in states:
            why = "the number <b>is</b> not reachable"
            failed = (Delivery(replace(owed, id=one), DeliveryState.FAILED, 7, NOW - 60, why) for one in self.failed)
            return tuple(failed)
        return (Delivery(owed, DeliveryState.DELIVERED, 1, delivered_at=NOW - 699),)

    async def history(self, *_: object, **__: object) -> Sequence[object]:
        return ()

    async def courses(
        self, check: str, wanted: Sequence[tuple[str, Labels]], *, since: float, until: float, points: int = 300
    ) -> Sequence[Sequence[Point]]:
        """A slow wave with a hole in its middle and a spike near its end; a host's disks fill up."""
        step, found = (until - since) / 120, []
        for number, (name, _) in enumerate(wanted):
            course = []
            for at in range(120):
                value = 0.2 + 0.05 * sin(at / 6) + (1.4 if 108 <= at < 114 else 0.0)
                if name == "disk_used":
                    value = 0.6 + 0.002 * at + 0.05 * number
                if not 50 <= at < 58:
                    course.append(Point(since + at * step, 12, value * 0.8, value * 1.25, value))
            found.append(course)
        return found

    async def outcomes(
        self, check: str, *, since: float, until: float, fine: bool = False, cuts: Sequence[float] = ()
    ) -> Sequence[Outcomes]:
        hours = range(int((until - since) // 3_600))
        return [Outcomes(since + 3_600 * at, 3_600.0, 60, 60 * (at % 500 == 3), 0) for at in hours if at % 97]

    async def marks(self, since: float, until: float) -> Sequence[Mark]:
        return (Mark(NOW - 1_500, "package openssl: 3.0.11 → 3.0.15"), Mark(NOW - 9_000, "release 4.2", NOW - 8_000, 7))

    def settings(self, check: str) -> str:
        return f'[check.{check}]\ntype = "http"  # watchd.toml:3\npassword = "•••"\n'
