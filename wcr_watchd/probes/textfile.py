"""Reads a folder of ``*.prom`` files, as scripts drop them for node_exporter's textfile collector.

Tells how old each file is and names those that are broken; numbers in them are chosen by name and labels, counters
become rates.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from pydantic import Field, model_validator

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.scrape import (
    Chosen,
    ExpositionError,
    Scraped,
    Values,
    measure_chosen,
    read,
    refuse_taken,
    specs_of,
)
from wcr_watchd.kit.threads import StillBlockedError, Threads
from wcr_watchd.kit.tools import patience_of

MOST_FILES = 200
LARGEST_FILE = 1024 * 1024
LARGEST_ALL = 8 * 1024 * 1024


@dataclass(slots=True)
class _Folder:
    """What stands in the folder: by file its time of change (epoch seconds), and what is wrong with the broken ones."""

    modified: dict[str, float] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    scraped: Scraped = field(default_factory=Scraped)
    beyond: int = 0


class TextFile(Options):
    """Options of a check of a folder of drop-in files."""

    type: ClassVar[str] = "textfile"
    target_key: ClassVar[str] = "path"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    example: ClassVar[str] = """\
path = "/var/lib/prometheus/node-exporter"
values.backup_age = "backup_last_success_age_seconds"
values.jobs_failed = { metric = "job_failures_total", by = ["job"] }
"""
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("files", Unit.COUNT, "Files in the folder", topic="files"),
        MeasurementSpec("files_broken", Unit.COUNT, "Files that cannot be read", topic="files"),
        MeasurementSpec("file_age", Unit.SECONDS, "Time since a file was written", labels=("file",), topic="files"),
        MeasurementSpec("samples", Unit.COUNT, "Series in all files"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "files_broken > 0 for 2x"),
        (Severity.WARNING, "file_age > 26h"),
    )

    path: str
    """The folder."""
    values: Values = Field(default_factory=dict)
    """Measurements: name = metric with labels as in PromQL, or a table with more."""

    @model_validator(mode="after")
    def _names_are_free(self) -> TextFile:
        refuse_taken(self.measurements, self.values)
        return self

    @property
    def target(self) -> str:
        """The folder."""
        return self.path

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements and those under ``values``."""
        return specs_of(self.measurements, self.values)

    async def run(self, run: Run) -> Observation:
        """Read all files, and tell."""
        run.step = f"reading the files in {self.path}"
        threads, key = run.shared.get(Threads), f"files of {run.check}"
        patience = patience_of(run)  # a file system that does not answer says nothing of the jobs
        try:
            async with asyncio.timeout(patience):
                folder = await threads.run(key, _look, self.path, self.values)
        except (TimeoutError, StillBlockedError):
            return run.unknown("timeout", f"{self.path} could not be read within {format_duration(patience)}")
        except PermissionError:
            return run.unknown("permission", f"{self.path} may not be read by this user: check its mode and folders")
        except (FileNotFoundError, NotADirectoryError):
            return run.unknown("missing", f"{self.path} is no folder: create it, or correct the path")
        except OSError as error:
            return run.unknown("missing", f"{self.path} cannot be read: {error.strerror or error}")
        return self._told(run, folder)

    def _told(self, run: Run, folder: _Folder) -> Observation:
        run.measure("files", len(folder.modified) + folder.beyond)
        run.measure("files_broken", len(folder.broken))
        for name, modified in folder.modified.items():
            run.measure("file_age", max(0.0, run.started - modified), file=name)
        run.measure("samples", folder.scraped.samples)
        absent = measure_chosen(run, self.values, folder.scraped)
        if folder.beyond:
            run.evidence["files"] = f"{folder.beyond} more were not read: {MOST_FILES} files and 8 MiB are the most"
        said = f"{len(folder.modified)} files with {folder.scraped.samples} series in {self.path}"
        if folder.broken:
            run.evidence["broken"] = "\n".join(f"{name}: {problem}" for name, problem in folder.broken.items())
            name, problem = next(iter(folder.broken.items()))
            return run.up(f"{said}; {name} is broken: {problem}", "parse")
        return run.up(f"{said}; none of them has {', '.join(absent)}" if absent else said)


def _look(path: str, values: Mapping[str, Chosen]) -> _Folder:
    """Read the folder; ``OSError`` when it cannot be listed. What vanishes meanwhile was not there."""
    folder, left = _Folder(scraped=Scraped(series={name: [] for name in values})), LARGEST_ALL
    for name in sorted(name for name in os.listdir(path) if name.endswith(".prom")):
        if len(folder.modified) >= MOST_FILES or left <= 0:
            folder.beyond += 1
            continue
        try:
            content, modified = _content(Path(path, name))
        except FileNotFoundError:
            continue
        except OSError as error:
            folder.broken[name] = (error.strerror or str(error)).lower()
            continue
        folder.modified[name] = modified
        left -= len(content)
        _read_one(folder, name, content, values)
    return folder


def _read_one(folder: _Folder, name: str, content: bytes, values: Mapping[str, Chosen]) -> None:
    if len(content) > LARGEST_FILE:
        folder.broken[name] = f"it has more than {LARGEST_FILE} bytes"
        return
    if content and not content.endswith(b"\n"):
        folder.broken[name] = "its last line is cut short; write to another name and rename it"
        return
    try:
        found = read(content, False, values)
    except ExpositionError as error:
        folder.broken[name] = str(error)
        return
    folder.scraped.metrics += found.metrics
    folder.scraped.samples += found.samples
    for value, series in found.series.items():
        folder.scraped.series[value].extend(series)


def _content(path: Path) -> tuple[bytes, float]:
    """A file's content and when it was changed. A pipe must not hold us up."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(number, "rb") as file:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is no regular file")
        return file.read(LARGEST_FILE + 1), status.st_mtime
