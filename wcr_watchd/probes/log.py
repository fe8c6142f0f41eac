"""Follows log files and counts the lines that match patterns, over rotation, truncation and restarts of the daemon.

Only what is new counts: the first run begins at the end of each file. Lines are read and patterns tried in a process of
their own, so that neither a hundred megabytes nor a pattern that takes for ever holds up anything else.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.aside import aside
from wcr_watchd.kit.logs.tally import ERRORS, MOST_FILES, files_of, tally_files
from wcr_watchd.kit.options import Options, Size
from wcr_watchd.kit.patterns import Pattern
from wcr_watchd.kit.threads import Threads


def _absolute(path: str) -> str:
    if not os.path.isabs(path):
        raise ValueError(f"{path!r} must begin with /, as the daemon has no folder of its own to look in")
    return path


class Log(Options):
    """Counts the lines of log files that match patterns."""

    type: ClassVar[str] = "log"
    target_key: ClassVar[str] = "path"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 30.0
    example: ClassVar[str] = (
        'path = "/var/log/app/*.log"\nignore = ["favicon"]\npatterns.error = "\\\\bERROR\\\\b"\n'
        'patterns.slow_query = "duration: [0-9]{4,}"\n'
    )
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("matches", Unit.COUNT, "Lines that match a pattern", ("pattern",), counter=True, topic="match"),
        MeasurementSpec("lines", Unit.COUNT, "Lines read", counter=True),
        MeasurementSpec("silence", Unit.SECONDS, "Time since anything was written into any of the files"),
        MeasurementSpec("size", Unit.BYTES, "Size of all the files, without rotated ones"),
        MeasurementSpec("skipped", Unit.BYTES, "Passed over, as there was more than `most`", counter=True),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "increase(matches, 1h) > 5"),
        (Severity.INFO, "increase(skipped, 1h) > 0"),
    )

    path: Annotated[str, AfterValidator(_absolute)]
    """The file, or several by "*" and "?"; rotated ones (app.log.1, app.log-20260131.gz) need not be named."""
    patterns: dict[str, Pattern] = Field(default_factory=lambda: {"error": ERRORS}, min_length=1, max_length=50)
    """Regular expressions by name; lines are counted that have the expression somewhere in them. Without any, those are
    that tell of an error."""
    ignore: tuple[Pattern, ...] = ()
    """Regular expressions of lines that do not count, whatever else they match."""
    most: Size = 64 * 1024 * 1024
    """Bytes read of a file in one run; of more, the newest."""

    @property
    def target(self) -> str:
        """The path."""
        return self.path

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Read what was written since the last run."""
        # A little before the run's own deadline: what is to be done about a time-out is this probe's to say.
        patience = run.remaining * 0.95
        try:
            async with asyncio.timeout(patience):
                return await self._read(run)
        except TimeoutError:
            # Else the next run would have to read the same again, and more.
            run.memory["cursors"] = dict.fromkeys(run.memory.get("cursors", {}))
            run.memory.pop("stamps", None)
            return run.unknown(
                "timeout",
                f"{self.path} could not be read within {format_duration(patience)} ({run.step}); the next run passes "
                "over what is there: is the disk slow, or a pattern too hard?",
            )

    async def _read(self, run: Run) -> Observation:
        run.step = f"looking for {self.path}"
        if run.memory.get("path") != self.path:
            run.memory.clear()  # what another path's files hold is not new
            run.memory["path"] = self.path
        stamps, left_out = await run.shared.get(Threads).call(_stamps, self.path)
        if left_out:
            run.missing([f"{left_out} files"], f"no more than {MOST_FILES} are followed: write more than one check")
        if stamps != run.memory.get("stamps"):
            run.step = f"reading what is new in {self.path}"
            try:
                told = await aside(tally_files, self._work(run))
            except OSError as error:
                return run.unknown("exec", f"no process could be started to read {self.path}: {error.strerror}")
            samples, problems = self._remember(run, told, stamps)
        else:
            samples, problems = {}, {}
        return self._judge(run, stamps, samples, problems)

    def _work(self, run: Run) -> dict[str, Any]:
        return {
            "path": self.path,
            "patterns": self.patterns,
            "ignore": self.ignore,
            "most": self.most,
            "first": "totals" not in run.memory,
            "cursors": run.memory.get("cursors", {}),
        }

    def _remember(
        self, run: Run, told: Mapping[str, Any], stamps: Mapping[str, Sequence[float]]
    ) -> tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[Any]]]:
        """Add what was counted to what was counted before; returns samples by pattern and problems by file."""
        before = run.memory.get("totals", {"lines": 0, "skipped": 0, "matches": {}})
        matches = {name: before["matches"].get(name, 0) + told["matches"][name] for name in self.patterns}
        totals = {name: before[name] + told[name] for name in ("lines", "skipped")}
        run.memory["totals"] = {**totals, "matches": matches}
        run.memory["cursors"] = cursors = told["cursors"]
        # A file that was rotated a moment ago is not finished: it has to be looked at again, whatever the new one does.
        behind = any(cursor and cursor["inode"] != stamps.get(path, [0])[0] for path, cursor in cursors.items())
        run.memory["stamps"] = None if behind or told["problems"] else stamps
        if told["lost"]:
            run.evidence["lost"] = "truncated or gone before it was read to its end: " + ", ".join(told["lost"])
        return told["samples"], told["problems"]

    def _judge(
        self,
        run: Run,
        stamps: Mapping[str, Sequence[float]],
        samples: Mapping[str, Sequence[str]],
        problems: Mapping[str, Sequence[Any]],
    ) -> Observation:
        readable = [stamp for path, stamp in stamps.items() if path not in problems]
        if not readable:
            return self._nothing_read(run, problems)
        for path, (_, why) in problems.items():
            run.missing([path], str(why))
        totals = run.memory["totals"]
        run.measure_all({name: totals[name] for name in ("lines", "skipped")})
        for name, count in totals["matches"].items():
            run.measure("matches", count, pattern=name)
        silence = max(0.0, run.started - max(stamp[2] for stamp in readable))
        run.measure_all({"silence": silence, "size": sum(stamp[1] for stamp in readable)})
        run.evidence.update({name: "\n".join(lines) for name, lines in samples.items()})
        where = self.path if len(stamps) == 1 else f"{len(stamps)} files {self.path}"
        if samples:
            said = "; ".join(f"{name}: {lines[-1].strip()}" for name, lines in samples.items())
            return run.up(f"{where}: {said}", reason="match")
        return run.up(f"{where}: nothing new that matches; last written to {format_duration(silence)} ago")

    def _nothing_read(self, run: Run, problems: Mapping[str, Sequence[Any]]) -> Observation:
        if not problems:
            return run.unknown(
                "missing", f"no file {self.path} can be seen: correct the path, or let this user look into its folder"
            )
        path, (number, why) = next(iter(problems.items()))
        if number in (errno.EACCES, errno.EPERM):
            return run.unknown(
                "permission", f"{path} may not be read by this user: let it be in the group of the file (often adm)"
            )
        return run.unknown("missing", f"{path} cannot be read: {why}")


def _stamps(path: str) -> tuple[dict[str, list[float]], int]:
    """Inode, size and time of the last change (epoch seconds) of the files by path; and how many are too many."""
    files = files_of(path)
    found = {}
    for one in files[:MOST_FILES]:
        with suppress(OSError):
            status = os.stat(one)
            found[one] = [status.st_ino, status.st_size, status.st_mtime]
    return found, max(0, len(files) - MOST_FILES)
