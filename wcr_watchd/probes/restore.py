"""Restores a backup of PostgreSQL for real, into a server that is thrown away, and asks it whether everything is there.

Once a week one backup of the set is picked, older ones with more weight; one that failed is tried again until it is
whole or gone. It is decrypted, unpacked and loaded into a PostgreSQL that this starts for it (its programs must be
installed), in a folder of its own that nobody else can reach, or into a new database of a server that is given. Then
assertions are put to it. What is measured is the time it took: the part of the recovery time objective that is known.

A dump is a program: what it says is carried out with the rights of the user that runs PostgreSQL here.
"""

from __future__ import annotations

import math
import os
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from random import Random
from typing import Any, ClassVar, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import field_validator, model_validator

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.kit.backups.restores import PREFIX, clear, step_of
from wcr_watchd.kit.backups.sets import (
    BackupSet,
    Decryption,
    SetFile,
    SetOptions,
    WorkError,
    keys_of,
    list_set,
    problem,
    work,
)
from wcr_watchd.kit.options import Duration, Options, Ratio, Secret
from wcr_watchd.kit.threads import Threads

_LISTING = 120.0
_READY_EARLY = 43_200.0
"""Seconds before the period is over from which on the next test may begin: a day's rhythm keeps a weekly one."""
_CLEARING = 30.0
"""Seconds of a run that are kept for clearing up."""
_CONFIRMED_FOR = 3_600.0
"""Seconds after a failure in which it is only told again: confirming it by further runs must not take hours."""
_MOST_TOLD = 5
_NO_LIMIT = 1e12


class Assertion(Options):
    """A question in SQL about what was restored, and what the answer must be."""

    sql: str
    """A query with one value as its result."""
    name: str = ""
    """What it is called in messages; the query itself, when it is not set."""
    equals: str | None = None
    """The answer, as psql writes it."""
    at_least: float | None = None
    """The least that the answer may be."""
    at_most: float | None = None
    """The most that the answer may be."""
    within: Duration | None = None
    """The answer is a point in time (or epoch seconds), at most so long before the backup was taken."""

    @model_validator(mode="after")
    def _expects_something(self) -> Self:
        if self.equals is None and self.at_least is None and self.at_most is None and self.within is None:
            raise ValueError("say what the answer must be: equals, at_least, at_most or within")
        return self

    @property
    def title(self) -> str:
        """What it is called."""
        return self.name or self.sql

    def fault(self, answer: Mapping[str, str], taken: float) -> str:
        """What is wrong with the answer; empty when nothing is."""
        if answer["error"]:
            return f"{self.title}: the query failed: {answer['error']}"
        said = answer["value"]
        if self.equals is not None and said != self.equals:
            return f"{self.title}: expected {self.equals!r}, got {said!r:.80}"
        if self.at_least is not None or self.at_most is not None:
            number = _number(said)
            if number is None or not (self.at_least or -math.inf) <= number <= _most(self.at_most):
                return f"{self.title}: expected {_range(self.at_least, self.at_most)}, got {said!r:.80}"
        return self._too_old(said, taken) if self.within is not None else ""

    def _too_old(self, said: str, taken: float) -> str:
        at = _number(said)
        if at is None:
            with suppress(ValueError):
                moment = datetime.fromisoformat(said)
                at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        if at is None:
            return f"{self.title}: expected a point in time, got {said!r:.80}"
        if taken - at <= (self.within or 0.0):
            return ""
        return f"{self.title}: the newest is {format_duration(taken - at)} older than the backup"


def _number(text: str) -> float | None:
    with suppress(ValueError):
        return float(text)
    return None


def _most(at_most: float | None) -> float:
    return math.inf if at_most is None else at_most


def _range(least: float | None, most: float | None) -> str:
    words = [f"at least {least:g}"] if least is not None else []
    return " and ".join(words + ([f"at most {most:g}"] if most is not None else []))


class Restore(SetOptions):
    """Restores a backup and asks what is in it."""

    type: ClassVar[str] = "restore"
    target_key: ClassVar[str] = "path"
    every: ClassVar[float] = 86_400.0
    timeout: ClassVar[float] = 14_400.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("last_test_age", Unit.SECONDS, "Time since a backup was last restored with success"),
        MeasurementSpec("restore_time", Unit.SECONDS, "Time from beginning to a loaded database"),
        MeasurementSpec("objective_used", Unit.RATIO, "That time against the recovery time objective"),
        MeasurementSpec("restored_age", Unit.SECONDS, "Age of the backup that was restored"),
        MeasurementSpec("restored_size", Unit.BYTES, "Size of that backup"),
        MeasurementSpec("tables", Unit.COUNT, "Tables that were restored"),
        MeasurementSpec("rows", Unit.COUNT, "Rows in them"),
        MeasurementSpec("failed_assertions", Unit.COUNT, "Assertions about it that did not hold"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "objective_used > 50%"),
        (Severity.WARNING, "last_test_age > 8d"),
    )
    example: ClassVar[str] = """\
path = "/opt/backups/app/database/production_%Y%m%d_%H%M%S.sql.gz.enc"
timezone = "America/New_York"
decrypt = { passphrase = "${credential:backup_passphrase}" }
tables = ["public.users", "public.payments"]
assertions = [
  { sql = "SELECT max(created_at) FROM audit_log", within = "1h" },
  { sql = "SELECT count(*) FROM payments WHERE amount < 0", equals = "0" },
]
"""

    decrypt: Decryption | None = None
    """What opens encrypted backups."""
    period: Duration = 604_800.0
    """How often a backup is really restored; runs in between only say how the last test went."""
    objective: Duration = 14_400.0
    """The recovery time objective."""
    pick: Literal["random", "newest"] = "random"
    """Which backup: `random`, old ones with more weight, or `newest`."""
    tables: tuple[str, ...] = ()
    """Tables that must be there, as `schema.table`."""
    assertions: tuple[Assertion, ...] = ()
    """Questions about what was restored."""
    rows_kept: Ratio = 0.99
    """Part of the rows of the newest backup restored before that each table of a newer one must have; `0%`: any."""
    server: Secret | None = None
    """DSN of a PostgreSQL to use in place of one of its own: a new database is made there and dropped."""
    user: str = ""
    """Who runs the PostgreSQL that is started, where the daemon is root: `postgres`, or else `nobody`."""
    folder: str = ""
    """Where that PostgreSQL's files go for the time, with room for the whole database; the temporary folder."""

    @field_validator("server")
    @classmethod
    def _is_a_dsn(cls, dsn: Secret | None) -> Secret | None:
        if dsn is not None and urlsplit(dsn.get_secret_value()).scheme not in ("postgres", "postgresql"):
            raise ValueError("not a DSN: write postgresql://user:password@host:5432/database")
        return dsn

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Test when it is time for one, else tell how the last test went."""
        last = run.memory.get("last")
        rested = last is not None and run.started - last["at"] < self.period - min(_READY_EARLY, self.period / 2)
        failed = run.memory.get("failed")
        if failed and 0 <= run.started - failed["at"] < _CONFIRMED_FOR:
            last = failed
        elif failed or not rested:
            try:
                found = await list_set(run, self, min(_LISTING, run.remaining / 2))
            except WorkError as error:
                return problem(run, error, f"no backup of {self.target} can be restored")
            if not found.files:
                return run.down("missing", f"there is no backup {self.target} to restore; does the job run?")
            try:
                last = await self._test(run, self._picked(run, found))
            except WorkError as error:
                return problem(run, error, "no backup could be restored")
        assert last is not None
        return self._told(run, last)

    def _picked(self, run: Run, found: BackupSet) -> SetFile:
        """The one that failed last, or one at random: of n backups the oldest is n times as likely as the newest."""
        failed = run.memory.get("failed", {}).get("path")
        for file in found.files:
            if file.path == failed:
                return file
        if self.pick == "newest":
            return found.files[-1]
        seed = secrets.randbits(32)
        run.evidence["picked"] = f"at random with seed {seed} of {len(found.files)} backups"
        weights = range(len(found.files), 0, -1)
        return Random(seed).choices(found.files, weights)[0]  # noqa: S311 - a choice, no secret

    async def _test(self, run: Run, file: SetFile) -> dict[str, Any]:
        """Restore a backup and judge it; what is to be remembered. Raises :class:`WorkError`."""
        run.step = f"restoring {file.path}"
        answer = await self._restored(run, file)
        faults = self._faults(run, file, answer)
        last = {
            "at": run.started,
            "path": file.path,
            "taken": file.taken,
            "size": file.size,
            "seconds": answer["seconds"],
            "tables": len(answer["rows"]),
            "rows": sum(answer["rows"].values()),
            "faults": [fault[:300] for fault in faults[:_MOST_TOLD]],
            "failed": len(faults),
        }
        if faults:
            run.memory["failed"] = last
            return last
        run.memory.pop("failed", None)
        run.memory["last"] = last
        if file.taken >= run.memory.get("counted", {}).get("taken", 0.0):
            run.memory["counted"] = {"taken": file.taken, "rows": answer["rows"]}
        return last

    async def _restored(self, run: Run, file: SetFile) -> dict[str, Any]:
        threads = run.shared.get(Threads)
        parent = self.folder or tempfile.gettempdir()
        work_folder = os.path.join(parent, f"{PREFIX}{secrets.token_hex(4)}")
        seconds = max(1.0, run.remaining - min(_CLEARING, run.timeout / 3))
        job = {
            "do": "restore", "path": file.path, "folder": work_folder, "user": self.user,
            "server": _libpq(self.server.get_secret_value()) if self.server else {},
            "questions": [one.sql for one in self.assertions], "rate": _NO_LIMIT, "seconds": seconds,
        }  # fmt: skip
        try:
            async with keys_of(run, self.decrypt) as keys:
                return await work(run, {**job, "keys": keys}, seconds, self.decrypt)
        except WorkError as error:
            if error.reason != "timeout":
                raise
            step = await threads.call(step_of, work_folder)
            raise WorkError(
                "timeout", f"{file.path} was not restored within {format_duration(seconds)}: {step}"
            ) from error
        finally:
            # The worker clears up after itself unless it was killed; who is cancelled here has killed it.
            await threads.call(clear, work_folder)

    def _faults(self, run: Run, file: SetFile, answer: Mapping[str, Any]) -> list[str]:
        """All that is wrong with what was restored."""
        if answer["fault"]:
            return [answer["fault"]]
        faults = [f"{answer['errors']} errors while loading: {answer['first_errors'][0]}"] if answer["errors"] else []
        rows = answer["rows"]
        missing = [table for table in self.tables if table not in rows]
        faults += [f"table {table} is missing" for table in missing]
        faults += self._lost(file, rows, run.memory.get("counted", {}))
        found = [one.fault(said, file.taken) for one, said in zip(self.assertions, answer["answers"], strict=True)]
        failed = list(filter(None, found))
        run.measure("failed_assertions", len(failed))
        return faults + failed

    def _lost(self, file: SetFile, rows: Mapping[str, int], counted: Mapping[str, Any]) -> Sequence[str]:
        """Tables with fewer rows than an older backup had."""
        if not self.rows_kept or file.taken < counted.get("taken", math.inf):
            return []
        return [
            f"table {table} has {rows.get(table, 0)} rows, an older backup had {before}"
            for table, before in counted["rows"].items()
            if rows.get(table, 0) < before * self.rows_kept or table not in rows
        ]

    def _told(self, run: Run, last: Mapping[str, Any]) -> Observation:
        good = run.memory.get("last")
        if good is not None:
            run.measure("last_test_age", run.started - good["at"])
        age = last["at"] - last["taken"]
        run.measure("restored_age", age)
        run.measure("restored_size", last["size"])
        what = f"{os.path.basename(last['path'])} ({format_duration(age)} old)"
        if last["failed"]:
            run.evidence["faults"] = "\n".join(last["faults"])
            more = f" (and {last['failed'] - 1} more)" if last["failed"] > 1 else ""
            return run.down("content", f"{what} was restored for a test and failed: {last['faults'][0]}{more}")
        run.measure_all({"restore_time": last["seconds"], "objective_used": last["seconds"] / self.objective})
        run.measure_all({"tables": last["tables"], "rows": last["rows"]})
        when = "now" if last["at"] == run.started else f"{format_duration(run.started - last['at'])} ago"
        size = format_value(last["size"], Unit.BYTES)
        return run.up(
            f"{what} was restored {when} in {format_duration(last['seconds'])}: {size}, {last['tables']} tables, "
            f"{last['rows']} rows"
        )


def _libpq(dsn: str) -> dict[str, str]:
    """libpq's environment for a DSN (PostgreSQL documentation, 34.15), so that no password stands in a command line."""
    parts = urlsplit(dsn)
    given = {
        "PGHOST": parts.hostname or "", "PGPORT": str(parts.port or ""), "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""), "PGDATABASE": unquote(parts.path.strip("/")) or "postgres",
    }  # fmt: skip
    for word in filter(None, parts.query.split("&")):
        name, _, value = word.partition("=")
        given[{"host": "PGHOST"}.get(name, f"PG{name.upper()}")] = unquote(value)
    return {name: value for name, value in given.items() if value}
