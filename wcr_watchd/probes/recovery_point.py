"""Tells how much work would be lost if everything were lost now: the time since the newest point that can be restored.

Counted are backups that were read and found whole (by a check of type `backup` of the same path, or by this one where
there is none), an archive of PostgreSQL's write-ahead log as far as it is without a gap, and what a provider's API says
of its own backups. Where no source is made as often as the objective asks, that is said once, as unmet by design, and
alarms go by the rhythm that there is.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

import asyncpg
import jmespath
from pydantic import AfterValidator, Field
from yarl import URL

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.backups.sets import (
    Decryption,
    SetFile,
    SetOptions,
    VerifiedBackups,
    WorkError,
    list_set,
    look_at,
    verify,
    work,
)
from wcr_watchd.kit.expectations import Path as JsonPath
from wcr_watchd.kit.http import Exchange, ExchangeError, HttpClient, Request
from wcr_watchd.kit.options import Duration, Options, Secret
from wcr_watchd.kit.postgres.bounds import bounded
from wcr_watchd.kit.tls import UnusableFileError

_READING = 0.6
"""Part of a run's time that may go to reading a backup."""
_LISTING = 0.2
_ASKING = 0.25
_AGAIN = 3_600.0
"""Seconds after which a backup that could not be read is tried again."""
_REFUSALS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_POSITION = """
SELECT pg_current_wal_lsn() - '0/0'::pg_lsn,
  (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size'),
  (SELECT setting::bigint FROM pg_settings WHERE name = 'archive_timeout')
"""
_MOST_READ = 5
"""Backups, of the newest, that are read here until one is whole."""
_LABEL_LATER = 600.0
"""Seconds by which a base backup's history file may come to the archive later than its last byte was written."""
_LONGEST_ANSWER = 64 * 1024


def _http_url(url: str) -> str:
    if URL(url).scheme not in ("http", "https") or not URL(url).host:
        raise ValueError(f"{url!r} is not an http or https URL")
    return url


class WalArchive(Options):
    """An archive of PostgreSQL's write-ahead log, which is replayed on top of a base backup."""

    folder: str
    """Where archive_command puts the segments."""
    period: Duration = 900.0
    """How often a segment comes at the latest: archive_timeout."""
    source: Secret | None = None
    """DSN of the server: where nothing is written nothing is archived, and then the archive's age says nothing.
    Any role that may log in will do."""


class Provider(Options):
    """What a provider says of the backups that it makes itself."""

    url: Annotated[str, AfterValidator(_http_url)]
    """Where its API answers with JSON."""
    headers: dict[str, Secret] = Field(default_factory=dict)
    """Header fields, such as Authorization with a token that may only read."""
    value: JsonPath
    """JMESPath of the times of its backups: one or a list, as ISO 8601 or epoch seconds."""
    period: Duration = 86_400.0
    """How often it makes one."""
    point_in_time: Duration | None = None
    """It promises every point in time up to so long ago, while its newest backup is no older than twice the period."""


@dataclass(frozen=True, slots=True)
class _Point:
    """The newest point that a source could be restored to (None: to none, or not known), and how that is known.

    ``finished`` is when the file of it was finished.
    """

    source: str
    at: float | None
    period: float
    said: str
    known: bool = True
    finished: float = 0.0


class RecoveryPoint(SetOptions):
    """How much would be lost if everything were lost now."""

    type: ClassVar[str] = "recovery_point"
    target_key: ClassVar[str] = "path"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 50.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("exposure", Unit.SECONDS, "Time since the newest point that can be restored"),
        MeasurementSpec("objective", Unit.SECONDS, "The recovery point objective"),
        MeasurementSpec("objective_used", Unit.RATIO, "Exposure against the objective, where that can be met"),
        MeasurementSpec("rhythm_used", Unit.RATIO, "Exposure against what the sources' rhythm allows, where it cannot"),
        MeasurementSpec("unmet_by_design", Unit.COUNT, "1 when no source comes as often as asked", topic="design"),
        MeasurementSpec("source_age", Unit.SECONDS, "Time since the newest point of each source", labels=("source",)),
        MeasurementSpec("wal_gap", Unit.COUNT, "1 when a segment is missing from the archive", topic="wal"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down or objective_used > 100% or rhythm_used > 190%"),
        (Severity.CRITICAL, "wal_gap > 0"),
        (Severity.WARNING, "objective_used > 50% or rhythm_used > 100%"),
        (Severity.INFO, "unmet_by_design > 0"),
    )
    example: ClassVar[str] = """\
path = "/opt/backups/app/base_%Y%m%d_%H%M%S.tar.gz"
timezone = "America/New_York"
objective = "1h"
wal = { folder = "/opt/backups/app/wal", period = "15m" }
"""

    objective: Duration = 3_600.0
    """How much work may be lost at most: the recovery point objective."""
    period: Duration = 86_400.0
    """How often a backup of the path is made."""
    grace: Duration = 7_200.0
    """How much later one may be finished."""
    wal: WalArchive | None = None
    """An archive of the write-ahead log; the path then names the base backups."""
    provider: Provider | None = None
    """What a provider says of its own backups."""
    verified: bool = True
    """Whether only backups count that were read to their end and found whole."""
    decrypt: Decryption | None = None
    """What opens encrypted backups, where this check reads them itself."""

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Ask every source for its newest point, and compare the newest of all with the objective."""
        points = [await self._backups(run)]
        if self.wal is not None:
            points.append(await self._archive(run, self.wal, points[0]))
        if self.provider is not None:
            points.append(await _provider(run, self.provider))
        for point in points:
            if point.at is not None:
                run.measure("source_age", run.started - point.at, source=point.source)
            run.evidence[point.source] = point.said
        return self._judge(run, points)

    def _judge(self, run: Run, points: list[_Point]) -> Observation:
        shortest = min(point.period for point in points)
        unmet = shortest > self.objective
        run.measure_all({"objective": self.objective, "unmet_by_design": float(unmet)})
        best = max((point for point in points if point.at is not None), key=lambda point: point.at or 0.0, default=None)
        if best is None or best.at is None:
            said = "; ".join(point.said for point in points)
            if all(point.known for point in points):
                return run.down("missing", f"nothing could be restored: {said}. Make a backup now")
            return run.unknown("missing", f"whether anything could be restored is not known: {said}")
        exposure = max(0.0, run.started - best.at)
        run.measure("exposure", exposure)
        if unmet:
            run.measure("rhythm_used", exposure / (shortest + self.grace))
        else:
            run.measure("objective_used", exposure / self.objective)
        design = f" (the fastest source comes every {format_duration(shortest)})" if unmet else ""
        return run.up(
            f"if all were lost now, the last {format_duration(exposure)} would be lost; the objective is "
            f"{format_duration(self.objective)}{design}; best source: {best.said}"
        )

    # --- backups ------------------------------------------------------------------------------------------------------

    async def _backups(self, run: Run) -> _Point:
        try:
            found = await list_set(run, self, run.timeout * _LISTING)
        except WorkError as error:
            return _Point("backup", None, self.period, f"backups {self.target}: {error.summary}", known=False)
        if not found.files:
            return _Point("backup", None, self.period, f"there is no finished backup {self.target}")
        if not self.verified:
            newest = found.files[-1]
            return _Point("backup", newest.taken, self.period, f"{newest.name}, not read", finished=newest.mtime)
        return await self._newest_whole(run, found.files)

    async def _newest_whole(self, run: Run, files: tuple[SetFile, ...]) -> _Point:
        """The newest backup that is known to be whole; where no other check reads them, the newest are read here."""
        verified = run.shared.get(VerifiedBackups)
        before: dict[str, list[Any]] = run.memory.get("read", {})
        read = run.memory["read"] = {one.path: before[one.path] for one in files if one.path in before}
        others_read, why = verified.covers(self.target, run.started), ""
        for file in reversed(files):
            if not others_read and file in files[-_MOST_READ:]:
                await self._read(run, file, read)
            fault = self._fault(file, read)
            if verified.holds(file) or fault == "":
                newer = f" (newer ones are not known to be whole{why})" if file is not files[-1] else ""
                said = f"{file.name}, read and whole{newer}"
                return _Point("backup", file.taken, self.period, said, finished=file.mtime)
            why = why or (f": {file.name}: {fault}" if fault else "")
        known = all(self._fault(file, read) is not None for file in files)
        return _Point("backup", None, self.period, f"no backup {self.target} was found whole{why}", known)

    def _fault(self, file: SetFile, read: dict[str, list[Any]]) -> str | None:
        """What is wrong with a backup that was read here (empty: nothing); None when that is not known."""
        stamp, _, told, fault = read.get(file.path, [[], 0, False, ""])
        return str(fault) if told and stamp == list(file.stamp) else None

    async def _read(self, run: Run, file: SetFile, read: dict[str, list[Any]]) -> None:
        """Read a backup, if that was not done and there is time: its stamp, when, whether that told, what is wrong."""
        stamp, at, told, _ = read.get(file.path, [[], 0.0, False, ""])
        left = run.timeout * _READING - run.elapsed
        if (stamp == list(file.stamp) and (told or run.started - at < _AGAIN)) or left <= 0:
            return
        run.step = f"reading {file.path}"
        try:
            one = (await verify(run, [file], left, decryption=self.decrypt))[0]
        except WorkError as error:
            one = error
        if isinstance(one, WorkError):
            fault = f"it could not be read within a run ({one.summary}); add a check of type backup"
            run.missing([f"state of {file.name}"], fault)
        else:
            fault = one.fault
        read[file.path] = [list(file.stamp), run.started, not isinstance(one, WorkError), fault]

    # --- the write-ahead log ------------------------------------------------------------------------------------------

    async def _archive(self, run: Run, wal: WalArchive, base: _Point) -> _Point:
        run.step = f"listing {wal.folder}"
        try:
            await look_at(run, wal.folder, run.timeout * _LISTING)
            job = {"do": "wal", "folder": wal.folder, "finished_by": base.finished + _LABEL_LATER}
            answer = await work(run, job, run.timeout * _LISTING)
        except WorkError as error:
            return _Point("wal", None, wal.period, f"write-ahead log: {error.summary}", known=False)
        if base.at is None:
            return _Point(
                "wal", None, wal.period, "the write-ahead log has no base backup to be replayed on", base.known
            )
        if answer["base"] is None:
            return _Point("wal", None, wal.period, f"{wal.folder} holds no history file (*.backup) of that base backup")
        run.measure("wal_gap", bool(answer["gap"]))
        upto = f"; segment {answer['gap']} is missing, nothing after it can be replayed" if answer["gap"] else ""
        said = f"write-ahead log of {answer['segments']} segments{upto}"
        promised = await _promised(run, wal.source, answer["last"]) if wal.source is not None else None
        if promised is None or answer["point"] is None or answer["gap"]:
            return _Point("wal", answer["point"], wal.period, said)
        point = max(answer["point"], run.started - promised)
        return _Point("wal", point, wal.period, f"{said}; the server has nothing to archive")


async def _promised(run: Run, source: Secret, last: int) -> float | None:
    """Within how many seconds the server archives what is written now, when its archive lacks nothing that is complete.

    With archive_timeout a segment is ended so long after anything was written into it (PostgreSQL documentation,
    20.5.3). None when there is no such promise, or the archive's ``last`` segment is not the one before the current.
    """
    run.step = "asking the server where its write-ahead log is"
    try:
        with bounded():
            async with asyncio.timeout(min(run.timeout * _ASKING, run.remaining * 0.9)):
                connection = await asyncpg.connect(
                    source.get_secret_value(),
                    statement_cache_size=0,
                    server_settings={"application_name": "wcr-watchd"},
                )
                try:
                    row = await connection.fetchrow(_POSITION)
                    await connection.close(timeout=run.remaining)
                finally:
                    connection.terminate()
    except (OSError, TimeoutError, ValueError, *_REFUSALS) as error:
        run.missing(("what the server has to archive",), " ".join(str(error).split()) or "it does not answer")
        return None
    position, size, seconds = (int(value) for value in row or (0, 1, 0))
    return float(seconds) if seconds and last >= position // size - 1 else None


# --- a provider -------------------------------------------------------------------------------------------------------


async def _provider(run: Run, provider: Provider) -> _Point:
    def tell(step: str) -> None:
        run.step = step

    def unknown(why: str) -> _Point:
        return _Point("provider", None, provider.period, f"the provider's backups: {why}", known=False)

    headers = {name: value.get_secret_value() for name, value in provider.headers.items()}
    request = Request("GET", URL(provider.url), headers=headers, redirects=0, max_body=_LONGEST_ANSWER)
    try:
        async with asyncio.timeout(min(run.timeout * _ASKING, run.remaining * 0.9)):
            answer = await run.shared.get(HttpClient).carry_out(Exchange(request, told=tell))
    except TimeoutError:
        return unknown(f"no answer within the time of a run ({run.step})")
    except (ExchangeError, UnusableFileError, OSError) as error:
        return unknown(str(error))
    if answer.status != 200 or not answer.complete:
        return unknown(f"{provider.url} answered with status {answer.status}, expected 200 and a short body")
    try:
        newest = max(_times(jmespath.search(provider.value, json.loads(answer.body))), default=None)
    except (ValueError, TypeError, ArithmeticError, RecursionError, jmespath.exceptions.JMESPathError) as error:
        return unknown(f"{provider.url} answered with what cannot be read as JSON: {error}")
    return _provider_point(run, provider, newest, unknown)


def _provider_point(run: Run, provider: Provider, newest: float | None, unknown: Callable[[str], _Point]) -> _Point:
    if newest is None:
        return unknown(f"{provider.url} names no time at {provider.value}")
    age = run.started - newest
    if provider.point_in_time is None:
        return _Point("provider", newest, provider.period, f"the provider's backup, {format_duration(age)} old")
    if age > 2 * provider.period:
        old = f"the provider's newest backup is {format_duration(age)} old, so its point-in-time promise does not count"
        return _Point("provider", newest, provider.point_in_time, old)
    return _Point(
        "provider",
        run.started - provider.point_in_time,
        provider.point_in_time,
        "the provider's point-in-time recovery",
    )


def _times(value: Any) -> list[float]:
    """All times in a value: epoch seconds or ISO 8601, which is UTC where it names no zone."""
    found: list[float] = []
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, int | float) and not isinstance(one, bool):
            found.append(float(one))
        elif isinstance(one, str):
            with suppress(ValueError):
                moment = datetime.fromisoformat(one)
                found.append((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    return found
