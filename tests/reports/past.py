"""Five weeks of a small platform's records: calm, one outage, one flapping check, and a disk that fills up."""

from __future__ import annotations

import math
from pathlib import Path

from tests.store.samples import an_incident
from wcr_watchd.core.model import Incident, IncidentState, Measurement, Observation, Outcome, Severity
from wcr_watchd.core.protocols import Batch
from wcr_watchd.core.report import Audience, Planned, ReportKind, Subject, Upcoming, Wanted
from wcr_watchd.store.sqlite import SqliteStore

HOUR, DAY = 3_600.0, 86_400.0
BEGIN = 1_793_232_000.0
"""2026-10-29 00:00 UTC."""
END = BEGIN + 35 * DAY
EVERY = 3_600.0
OUTAGE = (BEGIN + 30 * DAY, BEGIN + 30 * DAY + 2 * HOUR)
BLIND = (BEGIN + 31 * DAY, BEGIN + 31 * DAY + 12 * HOUR)
"""The database could not be asked: its password had changed."""

SUBJECTS = (
    Subject(
        "api",
        "http",
        "Web",
        ("web",),
        "ann",
        "",
        EVERY,
        (("warning", "response_time > 500ms for 5m"),),
        (("response_time", "seconds"), ("body_size", "bytes")),
    ),
    Subject(
        "site", "http", "Web", ("web",), "", "https://wiki.example.org/site", EVERY, (), (("response_time", "seconds"),)
    ),
    Subject(
        "host",
        "host",
        "Machine",
        (),
        "ann",
        "",
        EVERY,
        (),
        (("cpu_used", "ratio"), ("memory_used", "ratio"), ("disk_used", "ratio")),
    ),
    Subject("database", "postgres", "Data", (), "ben", "", EVERY, (), (("connections_used", "ratio"),)),
    Subject("cost-hosting", "http", "", ("costs",), "", "", EVERY, (), (("spent", ""), ("response_time", "seconds"))),
)


def wanted(store: Path, kind: ReportKind = ReportKind.WEEKLY, audience: Audience = Audience.TEAM) -> Wanted:
    """A report of the last week, or the last 30 days."""
    length = 7 * DAY if kind is ReportKind.WEEKLY else 30 * DAY
    return Wanted(
        name=kind.value,
        kind=kind,
        audience=audience,
        watchd="wcr-prod",
        location="nyc3",
        timezone="UTC",
        url="https://watch.example.org",
        store=str(store),
        now=END + 9 * HOUR,
        before=END - 2 * length,
        since=END - length,
        until=END,
        subjects=SUBJECTS,
        planned=(Planned("weekly", ("api", "site"), ((OUTAGE[0] + HOUR, OUTAGE[1]),)),),
        upcoming=(
            Upcoming(END + DAY, "maintenance", "weekly until 05:00 UTC: updates of db-internal-7"),
            Upcoming(END + 4 * DAY, "on call", "ops: ben"),
        ),
    )


async def fill(path: Path) -> None:
    """Write it as a daemon would have."""
    store = SqliteStore(path)
    await store.open()
    at = BEGIN
    while at < END:
        day = [one for step in range(24) for one in _runs(at + step * EVERY)]
        await store.commit(Batch(observations=tuple(day)))
        at += DAY
        await store.prune(at)
    for _ in range(4):
        await store.prune(END + HOUR)
    await store.commit(Batch(incidents=tuple(_incidents())))
    await store.close()


def _runs(at: float) -> list[Observation]:
    wave = math.sin(at / DAY * 2 * math.pi)
    part = (at - BEGIN) / (END - BEGIN)
    out = OUTAGE[0] <= at < OUTAGE[1]
    speed = 0.2 + 0.05 * wave + 0.05 * part
    blind = BLIND[0] <= at < BLIND[1]
    return [
        _run("api", at, Outcome.DOWN if out else Outcome.UP, response_time=speed, body_size=4_711.0),
        _run("site", at, Outcome.UP, response_time=0.08),
        _host(at, 0.3 + 0.2 * wave, 0.6, 0.5 + 0.4 * part),
        _run("database", at, Outcome.UNKNOWN if blind else Outcome.UP, connections_used=0.3),
        _run("cost-hosting", at, Outcome.UP, spent=100 * part, response_time=0.1),
    ]


def _run(check: str, at: float, outcome: Outcome, **values: float) -> Observation:
    known = values if outcome is Outcome.UP else {}
    measured = tuple(Measurement(name, value) for name, value in known.items())
    return Observation(check, "nyc3", at, 0.1, outcome, "", "as it is", measured)


def _host(at: float, cpu: float, memory: float, disk: float) -> Observation:
    plain = (Measurement("cpu_used", cpu), Measurement("memory_used", memory))
    return Observation(
        "host", "nyc3", at, 0.1, Outcome.UP, "", "", (*plain, Measurement("disk_used", disk, (("mount", "/data"),)))
    )


def _incidents() -> list[Incident]:
    outage = an_incident(
        7,
        "api",
        OUTAGE[0],
        summary="HTTP 502 from db-internal-7, expected 2xx",
        state=IncidentState.RESOLVED,
        resolved_at=OUTAGE[1],
        acknowledged_at=OUTAGE[0] + 240,
        acknowledged_by="ann",
        owner="ann",
    )
    flaps = [
        an_incident(
            8 + number,
            "site",
            BEGIN + (32 + number / 2) * DAY,
            summary="slow",
            state=IncidentState.RESOLVED,
            severity=Severity.WARNING,
            peak=Severity.WARNING,
            resolved_at=BEGIN + (32 + number / 2) * DAY + 600,
            flapping=number == 4,
        )
        for number in range(5)
    ]
    earlier = an_incident(3, "api", BEGIN + 22 * DAY, state=IncidentState.RESOLVED, resolved_at=BEGIN + 22 * DAY + 60)
    return [earlier, outage, *flaps]
