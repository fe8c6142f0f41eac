"""Looks at a set of backup files: how old and large the newest is, and whether all are whole, bit by bit.

The newest backup is read to its end once: against the checksum beside it, through decryption (where the key is given)
and decompression, down to the end of the dump or archive. Older ones are read again every week, slowly and behind
everything else, because a disk may lose what it has kept for long.
"""

from __future__ import annotations

from dataclasses import asdict
from statistics import median
from typing import Any, ClassVar, Literal

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.kit.backups.sets import (
    BackupSet,
    Decryption,
    SetFile,
    SetOptions,
    Verdict,
    VerifiedBackups,
    WorkError,
    list_set,
    problem,
    verify,
)
from wcr_watchd.kit.options import Duration, Size

_RECENT = 7
"""Earlier backups whose median a size is compared with; fewer than three have none."""
_LISTING = 0.2
"""Part of a run's time that listing may take."""
_READING = 0.9
"""Part of a run's time after which no file is begun to be read."""
_SHORTEST = 1.0
_DUE_EARLY = 0.8
"""Part of ``reread`` after which a file is due: it is to be read within that time, however long its turn takes."""
_MOST_TOLD = 5
_LONGEST_FAULT = 100


class Backup(SetOptions):
    """Looks at a set of backup files."""

    type: ClassVar[str] = "backup"
    target_key: ClassVar[str] = "path"
    every: ClassVar[float] = 900.0
    timeout: ClassVar[float] = 600.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("age", Unit.SECONDS, "Age of the newest finished backup, by its name or else its mtime"),
        MeasurementSpec("missed", Unit.COUNT, "Backups that should have been made since the newest one"),
        MeasurementSpec("files", Unit.COUNT, "Finished backups in the set"),
        MeasurementSpec("total_size", Unit.BYTES, "Size of all of them"),
        MeasurementSpec("in_progress", Unit.COUNT, "Backups that are being written"),
        MeasurementSpec("size", Unit.BYTES, "Size of the newest", topic="size"),
        MeasurementSpec(
            "size_share", Unit.RATIO, "Size of the newest against the median of the 7 before", topic="size"
        ),
        MeasurementSpec("time_gap", Unit.SECONDS, "mtime of the newest less the time in its name", topic="time"),
        MeasurementSpec("damaged", Unit.COUNT, "Older backups that are damaged", topic="integrity"),
        MeasurementSpec("without_checksum", Unit.COUNT, "Backups without a checksum beside them", topic="integrity"),
        MeasurementSpec("unread_for", Unit.SECONDS, "Longest time that a backup was not read again", topic="integrity"),
        MeasurementSpec("read_speed", Unit.BYTES_PER_SECOND, "How fast the newest was read"),
        MeasurementSpec("absent_paths", Unit.COUNT, "Required paths that the newest does not hold", topic="content"),
        MeasurementSpec("unencrypted", Unit.COUNT, "1 when the newest should be encrypted and is not", topic="content"),
        MeasurementSpec("uncompressed", Unit.COUNT, "1 when the newest is not compressed", topic="compression"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down or missed >= 2"),
        (Severity.CRITICAL, "damaged > 0"),
        (Severity.WARNING, "missed >= 1"),
        (Severity.WARNING, "size_share < 50% or size_share > 300%"),
        (Severity.WARNING, "time_gap > 4h or time_gap < -10m"),
        (Severity.WARNING, "without_checksum > 0 or unread_for > 8d"),
        (Severity.WARNING, "absent_paths > 0 or unencrypted > 0"),
        (Severity.INFO, "uncompressed > 0"),
    )
    example: ClassVar[str] = """\
path = "/opt/backups/app/database/production_%Y%m%d_%H%M%S.sql.gz.enc"
timezone = "America/New_York"
encrypted = true
decrypt = { passphrase = "${credential:backup_passphrase}" }
"""

    period: Duration = 86_400.0
    """How often a backup is made."""
    grace: Duration = 7_200.0
    """How much later it may be finished."""
    checksum: Literal["auto", "required", "off"] = "auto"
    """Whether each backup needs a file of checksums beside it (.sha256 .sha512 .sha1 .md5); `auto`: if any has one."""
    integrity: Literal["full", "outer", "off"] = "full"
    """`full` reads through encryption and compression to the end of what is inside, `outer` only the file."""
    reread: Duration = 604_800.0
    """Within what time every backup is read again; `0s`: only the newest is read, once."""
    rate: Size = 50_000_000
    """Bytes a second that are read at most."""
    encrypted: bool = False
    """Whether backups must be encrypted."""
    compressed: bool = True
    """Whether backups should be compressed."""
    required: tuple[str, ...] = ()
    """Paths that the newest archive must hold: files, folders or patterns of the shell, such as `etc/nginx`.
    A link counts with what it leads to."""
    decrypt: Decryption | None = None
    """What opens encrypted backups; without it, what is inside is not looked at."""

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """List the set, read the newest if it is new, and go on reading old ones."""
        try:
            found = await list_set(run, self, run.timeout * _LISTING)
        except WorkError as error:
            return self._unseen(run, error)
        run.measure("in_progress", len(found.growing))
        run.measure("files", found.count - len(found.growing))
        if not found.files:
            return self._none(run, found)
        newest = found.files[-1]
        self._measure(run, found, newest)
        records = _Records(run, found.files)
        known = await self._read_newest(run, newest, records)
        if self.reread and self.integrity != "off":
            await self._read_old(run, found.files[:-1], records)
        self._tell(run, found, records)
        return self._judge(run, found, newest, known)

    def _unseen(self, run: Run, error: WorkError) -> Observation:
        known = len(run.memory.get("files", {}))
        if error.reason == "missing" and known:
            return run.down(
                "missing", f"{error.summary}; {known} backups were there: was its disk unmounted or removed?"
            )
        return problem(run, error, f"the backups {self.target} cannot be looked at")

    def _none(self, run: Run, found: BackupSet) -> Observation:
        writing = f"; {found.growing[-1].name} is being written" if found.growing else ""
        gone = len(run.memory.get("files", {}))
        was = f", and {gone} that were there are gone" if gone else ""
        return run.down(
            "missing", f"there is no backup {self.target}{was}{writing}; does the job run, and does it write there?"
        )

    def _measure(self, run: Run, found: BackupSet, newest: SetFile) -> None:
        age = run.started - newest.taken
        run.measure("age", age)
        run.measure("missed", max(0, (age - self.grace) // self.period))
        run.measure("total_size", found.size)
        run.measure("size", newest.size)
        before = [one.size for one in found.files[-1 - _RECENT : -1]]
        if len(before) >= 3 and median(before) > 0:
            run.measure("size_share", newest.size / median(before))
        else:
            run.missing(["size_share"], "fewer than three earlier backups to compare with")
        if newest.named is not None:
            run.measure("time_gap", newest.mtime - newest.named)
        elif self.pattern.has_time:
            run.missing(["time_gap"], f"{newest.name} has no such time in its name as {self.target} says")
        if self.checksum == "required" or (self.checksum == "auto" and any(one.sidecar for one in found.files)):
            run.measure("without_checksum", sum(not one.sidecar for one in found.files))

    async def _read_newest(self, run: Run, newest: SetFile, records: _Records) -> dict[str, Any] | None:
        """What reading the newest told, now or in an earlier run; None when that is not known."""
        if self.integrity == "off":
            return None
        wanted = [newest.path, *newest.stamp, self.integrity, *self.required, self.decrypt is not None]
        if run.memory.get("newest", {}).get("of") != wanted:
            told = await self._read(run, [newest], records)
            run.memory["newest"] = {"of": wanted, **asdict(told[0])} if told and isinstance(told[0], Verdict) else {}
        known: dict[str, Any] = run.memory["newest"]
        return known or None

    async def _read_old(self, run: Run, files: tuple[SetFile, ...], records: _Records) -> None:
        """Read those again whose turn it is, as many as there is time for; the longest unread first."""
        due = [one for one in files if run.started - records.read_at(one) > self.reread * _DUE_EARLY]
        due.sort(key=records.read_at)
        while due and run.timeout * _READING - run.elapsed > _SHORTEST:
            told = await self._read(run, due, records)
            due = due[len(told) :] if told else []
        if due:
            run.evidence["not read again"] = f"{len(due)} backups, for want of time: a longer timeout or a higher rate"
        run.measure("unread_for", max((run.started - records.known_since(one) for one in files), default=0.0))

    async def _read(self, run: Run, files: list[SetFile], records: _Records) -> list[Verdict | WorkError]:
        """Read backups, as many as there is time for, note what that told, and return it."""
        run.step = f"reading {files[0].path}"
        left = max(_SHORTEST, run.timeout * _READING - run.elapsed)
        whole, required = self.integrity == "full", self.required
        try:
            told = await verify(
                run, files, left, decryption=self.decrypt, whole=whole, required=required, rate=self.rate
            )
        except WorkError as error:
            told = [error]
        for file, one in zip(files, told, strict=False):
            if isinstance(one, Verdict):
                records.note(file, one.fault)
            elif one.reason not in ("changed", "missing"):
                run.missing([f"integrity of {file.name}"], f"{one.summary}{self._too_slow(one, file)}")
        return told

    def _too_slow(self, error: WorkError, file: SetFile) -> str:
        if error.reason != "timeout":
            return ""
        return f" for {format_value(file.size, Unit.BYTES)}: give it a longer timeout or a higher rate"

    def _tell(self, run: Run, found: BackupSet, records: _Records) -> None:
        """Measure what reading told of the older ones, and tell the others in this daemon what is whole."""
        faults = {one: records.fault(one) for one in found.files}
        damaged = {one.name: fault for one, fault in faults.items() if fault and one is not found.files[-1]}
        if self.integrity != "off":
            run.measure("damaged", len(damaged))
        if damaged:
            run.evidence["damaged"] = "\n".join(
                f"{name}: {fault}" for name, fault in list(damaged.items())[:_MOST_TOLD]
            )
        whole = {one.path: one.stamp for one, fault in faults.items() if fault == ""}
        run.shared.get(VerifiedBackups).tell(run.check, run.started, self.target, whole)

    def _judge(self, run: Run, found: BackupSet, newest: SetFile, known: dict[str, Any] | None) -> Observation:
        if newest.size == 0:
            return run.down("content", f"{newest.path} is empty (0 bytes); the job failed: look at its log")
        if known is not None:
            self._measure_content(run, newest, known)
            if known["fault"]:
                return run.down("content", f"{newest.path} cannot be restored: {known['fault']}. Make a new backup now")
        age, size = format_duration(run.started - newest.taken), format_value(newest.size, Unit.BYTES)
        state = "not read" if known is None else "whole" if not known["unseen"] else "read, its inside not seen"
        return run.up(f"{newest.name}, {age} old, {size}, {state}; {found.count - len(found.growing)} backups in all")

    def _measure_content(self, run: Run, newest: SetFile, known: dict[str, Any]) -> None:
        if known["seconds"] > 0:
            run.measure("read_speed", known["read"] / known["seconds"])
        if known["unseen"]:
            run.missing(["content of " + newest.name], known["unseen"])
        elif self.required:
            run.measure("absent_paths", len(known["absent"]))
            if known["absent"]:
                run.evidence["absent from the archive"] = ", ".join(known["absent"])
        if self.encrypted:
            run.measure("unencrypted", not known["encrypted"])
        if self.compressed:
            run.measure("uncompressed", not known["compressed"])


class _Records:
    """What is remembered of the files of a set: since when each is known, when it was read, and what that told.

    By path, as a list: since (epoch seconds), read at (0: not yet), the file's stamp then, what is wrong with it.
    """

    def __init__(self, run: Run, files: tuple[SetFile, ...]) -> None:
        self._now = int(run.started)
        before: dict[str, list[Any]] = run.memory.get("files", {})
        self._files: dict[str, list[Any]] = {one.path: before.get(one.path) or [self._now, 0] for one in files}
        run.memory["files"] = self._files

    def fault(self, file: SetFile) -> str | None:
        """What is wrong with the file (empty: nothing); None when it was not read, or has changed since."""
        _, at, *rest = self._files[file.path]
        return str(rest[-1]) if at and rest[:-1] == list(file.stamp) else None

    def read_at(self, file: SetFile) -> float:
        """When the file was read last, as it is now; 0 when it never was."""
        return float(self._files[file.path][1]) if self.fault(file) is not None else 0.0

    def known_since(self, file: SetFile) -> float:
        """When it was read last, or else since when it is known."""
        return self.read_at(file) or float(self._files[file.path][0])

    def note(self, file: SetFile, fault: str) -> None:
        """Note what reading a file told."""
        self._files[file.path] = [self._files[file.path][0], self._now, *file.stamp, fault[:_LONGEST_FAULT]]
