"""A year of a small platform's records, to write reports from that are looked at: seasons, outages, things that grow.

From December 2027 to the end of 2028 in New York: both changes of the clocks and a leap day. Runs are hourly and stand
in the records as a year leaves them, as rollups of days.
"""

from __future__ import annotations

import math
import random
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from tests.reports.test_drills import ANSWERED, REFUSED, TOLD
from tests.store.samples import an_incident
from wcr_watchd.core.drill_report import DrillReport, DrillState
from wcr_watchd.core.model import Incident, IncidentState, Labels, Severity
from wcr_watchd.core.objectives import Objective
from wcr_watchd.core.protocols import Batch
from wcr_watchd.core.report import Limit, Planned, Subject
from wcr_watchd.core.task import TaskOutcome, TaskRecord
from wcr_watchd.store.codec import labels_text
from wcr_watchd.store.pack import PackedRow
from wcr_watchd.store.rollup import DAY, HOUR, encode, roll_up_day, roll_up_hour
from wcr_watchd.store.sqlite import SqliteStore

ZONE = "America/New_York"
HOURS, DAYS = 3_600.0, 86_400.0
BEGIN = datetime(2027, 12, 1, tzinfo=ZoneInfo(ZONE)).timestamp()
END = datetime(2029, 1, 1, tzinfo=ZoneInfo(ZONE)).timestamp()
EVERY = 3_500.0
SET = "/srv/backups/production_%Y%m%d.sql.gz.enc"
MOUNTS: tuple[Labels, ...] = ((("mount", "/"),), (("mount", "/var/lib/docker/volumes"),))
_WEB = (("response_time", "seconds"),)
_HOST = (("cpu_used", "ratio"), ("memory_used", "ratio"), ("disk_used", "ratio"))
_NETWORK = (("network_sent", "bytes_per_second"), ("network_received", "bytes_per_second"))
_SLOW = (("warning", "response_time > 500ms for 5m"),)
_DATABASE = (("connections_used", "ratio"), ("database_size", "bytes"))
SUBJECTS = (
    Subject("api-production", "http", "Web", ("web",), "lead", "api", EVERY, _SLOW, _WEB, "https://api.wcr.example"),
    Subject("site", "http", "Web", ("web",), "lead", "site", EVERY, _SLOW, _WEB, "https://wcr.example"),
    Subject("payment-webhook", "http", "Payments", (), "", "", EVERY, (), _WEB, "https://wcr.example/hooks"),
    Subject("host", "host", "Machine", (), "lead", "host", EVERY, (), _HOST + _NETWORK, "this machine"),
    Subject(
        "db-prod",
        "postgres",
        "Data",
        (),
        "second",
        "database",
        EVERY,
        (),
        _DATABASE,
        "db.example:25060/wcr",
        (Limit("database_size", ">", 20 * 2.0**30),),
    ),
    Subject(
        "cost-hosting",
        "http",
        "Costs",
        ("costs",),
        "lead",
        "",
        EVERY,
        (),
        (("spent", ""),),
        "invoice",
        (Limit("spent", ">", 140.0), Limit("spent", ">", 175.0)),
    ),
    Subject("backup-db-prod", "backup", "Data", (), "lead", "backups", DAYS, (), (("total_size", "bytes"),), SET),
    Subject("restore-test", "restore", "Data", (), "lead", "backups", EVERY, (), (), SET),
    Subject("recovery-point", "recovery_point", "Data", (), "lead", "recovery", EVERY, (), (), SET),
)
WEB = ("api-production", "site", "payment-webhook")
OBJECTIVES = tuple(
    Objective(name, WEB, 0.999, comment=comment, month_begins=begins, timezone=ZONE)
    for name, begins, comment in (
        ("platform", 0, "what visitors may expect"),
        ("agreement", 1, "what the hosting provider owes"),
        ("bill", 15, "the same by the month of its bill"),
    )
)
TASKS = ("task.restore-by-hand", "task.procedure-validation", "task.recovery-drill", "task.full-system-test")
SCHEDULES = dict(zip(TASKS, ("0 10 5 * *", "0 10 7 * *", "0 10 10 2,5,8,11 *", "0 10 12 10 *"), strict=True))
_SOMETIMES = 0.0005
"""The chance that a check of the web fails in an hour."""

Values = dict[tuple[str, Labels], float]


@dataclass(slots=True)
class Outage:
    """A check was down from then on (epoch seconds), for so many hours."""

    check: str
    start: float
    hours: int


def outages() -> list[Outage]:
    """Some each month, by chance that is the same each time."""
    chance = random.Random(28)
    found = []
    for check in ("api-production", "site", "payment-webhook", "db-prod"):
        at = BEGIN
        while at < END:
            if chance.random() < _SOMETIMES:
                found.append(Outage(check, at, chance.randint(1, 4)))
            at += HOURS
    return sorted(found, key=lambda one: one.start)


def planned() -> Planned:
    """Every Tuesday from three to five, of what visitors see."""
    zone = ZoneInfo(ZONE)
    tuesdays = (BEGIN + number * DAYS for number in range(397))
    opens = [
        datetime.fromtimestamp(at + 12 * HOURS, zone).replace(hour=3, minute=0, second=0).timestamp() for at in tuesdays
    ]
    spans = tuple((at, at + 2 * HOURS) for at in opens if datetime.fromtimestamp(at, zone).weekday() == 1)
    return Planned("weekly", WEB, spans)


def _values(check: str, at: float, chance: random.Random) -> Values:
    """What a check measures: more in the evening and in summer, and more from month to month."""
    part = (at - BEGIN) / (END - BEGIN)
    hour = datetime.fromtimestamp(at, ZoneInfo(ZONE)).hour
    busy = max(0.0, math.sin((hour - 9) / 24 * 2 * math.pi)) * (1 + 0.4 * math.sin((part - 0.3) * 2 * math.pi))
    noise = chance.lognormvariate(0, 0.15)
    if check in WEB:
        usual = {"api-production": 0.19, "site": 0.08, "payment-webhook": 0.11}[check]
        return {("response_time", ()): usual * (1 + 0.7 * busy + 0.5 * part) * noise}
    if check == "host":
        cleaned = 0.18 if part > 0.55 else 0.0
        disks = (0.48 + 0.05 * part, 0.42 + 0.62 * part - cleaned)
        return {
            ("cpu_used", ()): min(1.0, 0.15 + 0.35 * busy * noise),
            ("memory_used", ()): 0.55 + 0.12 * part + 0.03 * busy,
            **{("disk_used", mount): disk for mount, disk in zip(MOUNTS, disks, strict=True)},
            ("network_sent", ()): 4e5 * (0.3 + busy) * (1 + part) * noise,
            ("network_received", ()): 9e4 * (0.3 + busy) * (1 + part) * noise,
        }
    if check == "db-prod":
        used = min(1.0, 0.22 + 0.3 * busy * noise)
        return {("connections_used", ()): used, ("database_size", ()): (7.5 + 9 * part**1.3) * 2**30}
    if check == "cost-hosting":
        day = datetime.fromtimestamp(at, ZoneInfo(ZONE)).day
        return {("spent", ()): 5.1 * day}
    return _values_of_recovery(check, at, part, chance)


def _values_of_recovery(check: str, at: float, part: float, chance: random.Random) -> Values:
    if check == "backup-db-prod":
        return {("total_size", ()): (2.1 + 2.4 * part) * 2**30}
    since = (at - BEGIN) % (7 * DAYS)
    if check == "restore-test":
        took = 2_400.0 + 2_000 * part
        fresh = 0.0 if since < HOURS else since
        return {
            ("last_test_age", ()): fresh,
            ("restore_time", ()): took,
            ("objective_used", ()): took / 14_400.0,
        }
    exposure = 900.0 + 2_400.0 * chance.random()
    return {("exposure", ()): exposure, ("objective", ()): 3_600.0}


async def fill(path: Path, subjects: Sequence[Subject] = SUBJECTS) -> None:
    """Write the year's records of some checks into a new file."""
    store = SqliteStore(path)
    await store.open()
    incidents = tuple(_incidents())
    await store.commit(Batch(incidents=incidents, drills=tuple(_drills()), task_records=tuple(_signed_off())))
    await store.close()
    series: dict[tuple[str, Labels], int] = {}
    with sqlite3.connect(path) as connection:
        for source, one in enumerate(subjects, 1):
            connection.execute("INSERT INTO source VALUES (?, ?, 'nyc3', 0)", (source, one.name))
            rows = list(_days(source, one.name, series))
            connection.executemany(f"INSERT INTO rollup VALUES ({HOUR}, ?, ?, ?)", rows)
        connection.executemany(
            "INSERT INTO series VALUES (?, ?, ?, 0)",
            [(number, name, labels_text(labels)) for (name, labels), number in series.items()],
        )


def _days(source: int, check: str, series: dict[tuple[str, Labels], int]) -> Iterator[tuple[int, int, bytes]]:
    """The packed rows of a check's days (UTC)."""
    chance = random.Random(check)
    down = [(one.start, one.start + one.hours * HOURS) for one in outages() if one.check == check]
    for day in range(int(BEGIN * 1000) // DAY * DAY, int(END * 1000), DAY):
        hours = []
        for hour in range(max(day, int(BEGIN * 1000)), min(day + DAY, int(END * 1000)), HOUR):
            at = hour / 1000
            is_down = any(start <= at < end for start, end in down)
            values = {} if is_down else _values(check, at, chance)
            numbers = [series.setdefault(key, len(series) + 1) for key in values]
            run = PackedRow(source, hour, 0.2, int(is_down), "", "", numbers, list(values.values()), None)
            hours.append((hour, roll_up_hour(hour, [run])))
        yield day, source, encode(roll_up_day(day, hours))


def _incidents() -> Iterator[Incident]:
    number = 0
    said = {
        "api-production": "HTTP 502 from https://api.wcr.example/health, expected 2xx",
        "site": "no answer within 10 s from https://wcr.example",
        "payment-webhook": "HTTP 500 from https://wcr.example/hooks, expected 401",
        "db-prod": "remaining connection slots are reserved",
    }
    for number, one in enumerate(outages(), 1):
        yield an_incident(
            number,
            one.check,
            one.start + 30,
            summary=said[one.check],
            state=IncidentState.RESOLVED,
            resolved_at=one.start + one.hours * HOURS,
            acknowledged_at=one.start + 30 + 90 * (number % 7),
            acknowledged_by=("lead", "second")[number % 2],
            owner="lead",
        )
    disk = an_incident(number + 1, "host", END - 9 * DAYS, subject="disk", summary="disk_used of /data is above 85 %")
    late = an_incident(number + 2, TASKS[0], END - 49 * DAYS, summary="restore-by-hand is overdue")
    over = replace(late, state=IncidentState.RESOLVED, resolved_at=END - 48 * DAYS)
    for one in (disk, over):
        yield replace(one, severity=Severity.WARNING, peak=Severity.WARNING)


def _drills() -> Iterator[DrillReport]:
    for number, back in enumerate((300.0, 210.0, 120.0, 51.0), 1):
        at = END - back * DAYS
        told = (replace(TOLD, at=at), replace(REFUSED, at=at))[: 1 + (number == 4)]
        drill = replace(ANSWERED, number=number, started_at=at, messages=told, acknowledged_at=at + 70 * number)
        nobody = replace(drill, state=DrillState.UNANSWERED, acknowledged_at=None, acknowledged_by="")
        yield nobody if number == 3 else drill


def _signed_off() -> Iterator[TaskRecord]:
    for month in range(1, 13):
        due = datetime(2028, month, 5, 10, tzinfo=ZoneInfo(ZONE)).timestamp()
        at = due + 9 * DAYS if month == 11 else due - HOURS
        note = f"production_2028{month:02d}04 on a new machine in {40 + 3 * month} min; users and orders compared"
        page = (f"https://wiki.wcr.example/restores/{month}",)
        yield TaskRecord(TASKS[0], month, TaskOutcome.DONE, at, due, by="lead", note=note, evidence=page)
    due = datetime(2028, 11, 10, 10, tzinfo=ZoneInfo(ZONE)).timestamp()
    note = "Scenario: the machine is gone. Found: one person alone knows where the passphrase of the backups is"
    yield TaskRecord(TASKS[2], 4, TaskOutcome.DONE, due - DAYS, due, by="second", note=note, evidence=("ticket 812",))
