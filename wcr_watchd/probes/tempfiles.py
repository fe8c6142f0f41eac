"""Watches the folders of temporary files: how much they hold, and whether anybody cleans them up.

systemd-tmpfiles(8) deletes what nobody used for 10 days in /tmp and 30 days in /var/tmp; what is far older tells that
it does not run. Whether its timer fires is for a `systemd` check to tell. A daemon whose unit has `PrivateTmp=` sees a
/tmp and /var/tmp of its own.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration, format_value
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.threads import Threads
from wcr_watchd.kit.trees import files, on_disk

_MOST = 200_000
"""Files looked at in one folder."""


def _spec(name: str, unit: Unit, text: str) -> MeasurementSpec:
    return MeasurementSpec(name, unit, text, ("folder",), topic="folder")


class Tempfiles(Options):
    """Options of a check of temporary files; none is needed."""

    type: ClassVar[str] = "tempfiles"
    target_key: ClassVar[str] = "folders"
    every: ClassVar[float] = 3600.0
    timeout: ClassVar[float] = 120.0
    example: ClassVar[str] = 'folders = ["/tmp", "/var/tmp", "/srv/app/uploads/partial"]\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        _spec("size", Unit.BYTES, "What the files of a folder take on the disk"),
        _spec("used", Unit.RATIO, "Share of its file system that a folder takes"),
        _spec("files", Unit.COUNT, "Files in a folder and below"),
        _spec("oldest", Unit.SECONDS, "Time since the oldest file was read or changed"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.INFO, "used > 10% until used < 9%"),
        (Severity.INFO, "oldest > 60d"),
    )

    folders: tuple[str, ...] = ("/tmp", "/var/tmp")  # noqa: S108 - looked at, not used
    """The folders; other file systems mounted inside are left out."""

    @property
    def target(self) -> str:
        """The folders."""
        return ", ".join(self.folders)

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Go through every folder."""
        # A little before the run's own deadline: a folder that cannot be read says nothing.
        patience = run.remaining * 0.95
        said = []
        try:
            async with asyncio.timeout(patience):
                for folder in self.folders:
                    run.step = f"going through {folder}"
                    seen = await run.shared.get(Threads).call(_look, folder)
                    _measure(run, folder, seen)
                    said.append(f"{folder} {format_value(seen.size, Unit.BYTES)} in {seen.files} files")
        except TimeoutError:
            return run.unknown("timeout", f"no end within {format_duration(patience)}, {run.step}: is the disk slow?")
        except FileNotFoundError as error:
            return run.unknown("missing", f"{error.filename} does not exist; correct `folders`")
        except OSError as error:
            return run.unknown("permission", f"{error.filename} cannot be looked at: {error.strerror}")
        return run.up(", ".join(said))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What there is in a folder; ``oldest`` is when the oldest file was used last (epoch seconds, None: no file)."""

    files: int
    size: int
    oldest: float | None
    capacity: int
    cut: bool
    problems: Mapping[str, str]


def _look(folder: str) -> _Seen:
    """Go through a folder; blocks. ``OSError`` when it cannot be read itself."""
    problems: dict[str, str] = {}
    os.scandir(folder).close()
    space = os.statvfs(folder)
    count = size = 0
    oldest = None
    for _, status in files(folder, problems, same_device=True):
        count += 1
        if count > _MOST:
            break
        size += on_disk(status)
        used = max(status.st_atime, status.st_mtime, status.st_ctime)
        oldest = used if oldest is None else min(oldest, used)
    return _Seen(min(count, _MOST), size, oldest, space.f_blocks * space.f_frsize, count > _MOST, problems)


def _measure(run: Run, folder: str, seen: _Seen) -> None:
    run.measure("size", seen.size, folder=folder)
    run.measure("files", seen.files, folder=folder)
    if seen.capacity:
        run.measure("used", seen.size / seen.capacity, folder=folder)
    if seen.oldest is not None:
        run.measure("oldest", max(0.0, run.started - seen.oldest), folder=folder)
    if seen.cut:
        run.missing([f"some of {folder}"], f"there are more than {_MOST} files")
    for path, why in seen.problems.items():
        run.missing([path], why)
