"""Compares a folder, such as people's uploads, with its newest archive or its mirror: what is missing, what differs.

Every file that was there when the copy was made must be in it with its size; some, picked at random, are compared by
their SHA-256. Files that came later are not owed yet; how long the first of them has been waiting is measured.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.kit.backups.sets import Decryption, SetOptions, WorkError, keys_of, list_set, look_at, problem, work
from wcr_watchd.kit.options import Duration, Options, Size

_LISTING = 0.1
_READING = 0.8


class Archives(SetOptions):
    """The archives of the folder, of which the newest counts: whole ones by tar, packed and encrypted or not."""


class BackupManifest(Options):
    """Compares a folder with its copy."""

    type: ClassVar[str] = "backup_manifest"
    target_key: ClassVar[str] = "folder"
    every: ClassVar[float] = 86_400.0
    timeout: ClassVar[float] = 3_600.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("files", Unit.COUNT, "Files in the folder"),
        MeasurementSpec("size", Unit.BYTES, "Size of all of them"),
        MeasurementSpec("newest_age", Unit.SECONDS, "Time since a file in it was last changed"),
        MeasurementSpec("files_kept", Unit.RATIO, "Files now against files at the last run", topic="loss"),
        MeasurementSpec("copy_files", Unit.COUNT, "Files in the copy"),
        MeasurementSpec("copy_size", Unit.BYTES, "Size of all of them"),
        MeasurementSpec("copy_age", Unit.SECONDS, "Age of the archive; absent for a mirror", topic="lag"),
        MeasurementSpec("waiting", Unit.SECONDS, "Time for which the first file that came later waits", topic="lag"),
        MeasurementSpec("missing", Unit.COUNT, "Files that should be in the copy and are not", topic="missing"),
        MeasurementSpec("different", Unit.COUNT, "Files of another size or content in the copy", topic="different"),
        MeasurementSpec("sampled", Unit.COUNT, "Files whose content was compared"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.CRITICAL, "different > 0"),
        (Severity.WARNING, "missing > 0"),
        (Severity.WARNING, "waiting > 26h"),
        (Severity.WARNING, "files_kept < 90%"),
    )
    example: ClassVar[str] = """\
folder = "/var/lib/docker/volumes/production_api_uploads/_data"
archives = { path = "/opt/backups/app/application/docker_volumes_%Y%m%d_%H%M%S.tar.gz", timezone = "America/New_York" }
"""

    folder: str
    """The folder; everything below it counts, but no link is followed."""
    archives: Archives | None = None
    """Its archives, of which the newest is compared."""
    mirror: str = ""
    """A folder with a copy of it, in place of archives."""
    sample: int = Field(20, ge=0, le=1_000)
    """Files whose content is compared."""
    rate: Size = 50_000_000
    """Bytes a second that are read at most."""
    decrypt: Decryption | None = None
    """What opens encrypted archives."""
    settle: Duration = 3_600.0
    """How long before a mirror's newest change a file must have been there to be owed: as long as copying takes."""

    @model_validator(mode="after")
    def _has_one_copy(self) -> Self:
        if not self.folder.startswith("/"):
            raise ValueError(f"{self.folder!r} is not an absolute path")
        if self.archives is not None and self.mirror:
            raise ValueError("archives or mirror, not both: a check of its own for each copy")
        return self

    @property
    def target(self) -> str:
        """The folder."""
        return self.folder

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Go through folder and copy."""
        try:
            await look_at(run, self.folder, run.timeout * _LISTING)
            copy, taken = await self._copy(run)
        except WorkError as error:
            return problem(run, error, f"{self.folder} cannot be compared with its copy")
        if self.archives is not None and not copy:
            return run.down("missing", f"{self.folder} has no archive {self.archives.target}; does the job run?")
        seed = secrets.randbits(32)
        run.step = f"comparing {self.folder} with {copy or 'nothing'}"
        job = {
            "do": "compare", "folder": self.folder, "copy": copy, "taken": taken, "settle": self.settle,
            "sample": self.sample, "seed": seed, "rate": self.rate, "seconds": run.timeout * _READING,
        }  # fmt: skip
        try:
            async with keys_of(run, self.decrypt) as keys:
                found = await work(run, {**job, "keys": keys}, run.timeout * _READING + 1, self.decrypt)
        except WorkError as error:
            return problem(run, error, f"{self.folder} cannot be compared with {copy or 'nothing'}")
        self._measure_folder(run, found["source"])
        if not copy:
            return run.up(f"{self.folder}: {_in_words(found['source'])}; no copy is named to compare it with")
        run.evidence["sample"] = f"{found['sampled']} files, picked with seed {seed}"
        return self._judge(run, copy, taken, found)

    async def _copy(self, run: Run) -> tuple[str, float | None]:
        """The copy's path, empty when there is none, and when it was made (None: a mirror)."""
        if self.archives is None:
            if self.mirror:
                await look_at(run, self.mirror, run.timeout * _LISTING)
            return self.mirror, None
        listed = await list_set(run, self.archives, run.timeout * _LISTING)
        return (listed.files[-1].path, listed.files[-1].taken) if listed.files else ("", None)

    def _measure_folder(self, run: Run, source: Mapping[str, Any]) -> None:
        run.measure_all({"files": source["files"], "size": source["size"]})
        if source["newest"] is not None:
            run.measure("newest_age", run.started - source["newest"])
        before = run.memory.get("files")
        if before:
            run.measure("files_kept", source["files"] / before)
        run.memory["files"] = source["files"]

    def _judge(self, run: Run, copy: str, taken: float | None, found: Mapping[str, Any]) -> Observation:
        if found["fault"]:
            return run.down("content", f"{copy}, the copy of {self.folder}, is damaged: {found['fault']}")
        run.measure_all({name: found[name] for name in ("missing", "different", "sampled")})
        run.measure_all({"copy_files": found["copy"]["files"], "copy_size": found["copy"]["size"]})
        if taken is not None:
            run.measure("copy_age", run.started - taken)
        waiting = run.started - found["waiting"] if found["waiting"] is not None else 0.0
        run.measure("waiting", max(0.0, waiting))
        for name in ("missing", "different"):
            if found[name]:
                run.evidence[name] = ", ".join(found[f"{name}_examples"])
        wrong = [f"{found[name]} {name}" for name in ("missing", "different") if found[name]]
        state = " and ".join(wrong) if wrong else f"all {found['owed']} that should be there are"
        late = f"; the first that came later waits for {format_duration(waiting)}" if waiting > 0 else ""
        return run.up(f"{self.folder}: {_in_words(found['source'])}; in {os.path.basename(copy)} {state}{late}")


def _in_words(source: Mapping[str, Any]) -> str:
    return f"{source['files']} files, {format_value(source['size'], Unit.BYTES)}"
