"""Tells which files of this machine are not as they were when a person last accepted them.

Content (SHA-256), mode, owner and capabilities are compared with a baseline in the state folder, which is signed, so
that whoever changes a file cannot change the baseline with it. The first run takes what is there;
`wcr-watchd accept NAME` takes what is there later. What a package has just brought, or somebody did in the time of a
change, is explained, and told as such.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate, takewhile
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Announced, Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.dpkg import Shipped, is_as_shipped, shipped
from wcr_watchd.kit.fingerprints import Fingerprint, Scan, matches, scan
from wcr_watchd.kit.options import Options, Secret, Size
from wcr_watchd.kit.signed import TamperedError, read_signed, signing_key, state_folder, write_signed
from wcr_watchd.kit.threads import Threads
from wcr_watchd.kit.tools import patience_of

HOUR = 3600.0
EXPLAINED_FOR = 24 * HOUR
"""Seconds for which a change that a package explains is told, before it becomes part of the baseline."""
MOST_NAMED = 40
MOST_FACTS = 1_000
"""Differences that are handed on as facts."""
MOST_REMEMBERED = 64 * 1024
"""Characters of the names of files that differ, by which it is seen that they were put back."""
CLOCKS_DIFFER = 5.0
"""Seconds by which the file system's clock and the daemon's may be apart."""
CRITICAL = (
    *("/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/sudoers", "/etc/sudoers.d/*"),
    *("/etc/ssh/**", "/root/.ssh/**", "/home/*/.ssh/**", "/etc/pam.d/*", "/etc/ld.so.preload"),
    *("/etc/crontab", "/etc/cron.*/*", "/var/spool/cron/**", "/etc/systemd/system/**", "/etc/nginx/**"),
    *("/etc/wcr-watchd/**",),
)
OTHERS = ("/etc/**", "/usr/local/bin/**", "/usr/local/sbin/**", "/boot/*")
CHANGING = (
    *("/etc/mtab", "/etc/adjtime", "/etc/resolv.conf", "/etc/ld.so.cache", "/etc/.pwd.lock", "*/.git/*"),
    *("/etc/passwd-", "/etc/shadow-", "/etc/group-", "/etc/gshadow-", "/etc/ssh/moduli", "/etc/machine-id"),
)

Pattern = Annotated[str, Field(pattern=r"^/.+")]


class Integrity(Options):
    """Options of a check of files against an accepted baseline; none is needed."""

    type: ClassVar[str] = "integrity"
    target_key: ClassVar[str] = "paths"
    every: ClassVar[float] = HOUR
    timeout: ClassVar[float] = 900.0
    example: ClassVar[str] = (
        'paths = ["/etc/**", "/srv/app/.env*"]\ncritical_paths = ["/etc/ssh/**", "/srv/app/.env*"]\n'
    )
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("files", Unit.COUNT, "Files that were compared"),
        MeasurementSpec("read", Unit.BYTES, "What was read of them"),
        MeasurementSpec("baseline_age", Unit.SECONDS, "Time since a person, or the first run, accepted them"),
        MeasurementSpec(
            "critical_changes", Unit.COUNT, "Unexplained changes of critical files", topic="critical files"
        ),
        MeasurementSpec("changes", Unit.COUNT, "Unexplained changes of other files", topic="files"),
        MeasurementSpec(
            "explained_changes", Unit.COUNT, "Changes that a package or an announced change explains", topic="packages"
        ),
        MeasurementSpec("unreadable", Unit.COUNT, "Files that this user may not read", topic="unreadable"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.CRITICAL, "critical_changes > 0"),
        (Severity.WARNING, "changes > 0"),
        (Severity.INFO, "explained_changes > 0"),
        (Severity.INFO, "unreadable > 0"),
    )

    paths: tuple[Pattern, ...] = OTHERS
    """What to compare: "*" stands for anything in a name, "/**" at the end for everything below a folder."""
    critical_paths: tuple[Pattern, ...] = CRITICAL
    """What to compare that may let somebody in: a change is critical."""
    exclude: tuple[str, ...] = CHANGING
    """What not to compare, because it changes by itself; "*" stands for anything."""
    most: Annotated[int, Field(ge=1, le=100_000)] = 20_000
    """Files to compare at most."""
    pace: Annotated[Size, Field(gt=0)] = 20 * 1024 * 1024
    """Bytes to read per second at most."""
    key: Secret | None = None
    """What to sign the baseline with; without it, with a key that is made in the state folder."""

    @property
    def target(self) -> str:
        """The patterns."""
        patterns = (*self.critical_paths, *self.paths)
        return " ".join(patterns[:4]) + (f" and {len(patterns) - 4} more" if len(patterns) > 4 else "")

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Compare the files with the baseline."""
        return await self._compare(run, "")

    async def accept(self, run: Run, by: str) -> Observation:
        """Make what is there now the baseline."""
        return await self._compare(run, by)

    async def _compare(self, run: Run, accepted_by: str) -> Observation:
        threads = run.shared.get(Threads)
        path = state_folder() / "integrity" / f"{_file_name(run.check)}.baseline"
        stop = threading.Event()
        run.step = "reading and comparing files"
        patience = patience_of(run)  # files that cannot be read in time are no sign of an intruder
        try:
            async with asyncio.timeout(patience):
                secret = self.key.get_secret_value() if self.key else ""
                key = await threads.call(signing_key, secret)
                there = await threads.call(path.exists)
                if accepted_by or not (there or "baseline" in run.memory):
                    return await self._accept(run, path, key, stop, accepted_by)
                if not there:
                    raise TamperedError("it is gone")
                items, checksum = await threads.call(read_signed, path, key)
                if run.memory.get("baseline", checksum) not in (checksum, items[0]["after"]):
                    raise TamperedError("it is an older one, put back in place of that which was accepted")
                run.memory["baseline"] = checksum
                explained = run.memory.get("explained", {})
                work = _Work(self, path, key, items, checksum, explained, run.announced, run.started, stop)
                report = await threads.call(work.compare)
        except TimeoutError:
            return run.unknown(
                "timeout",
                f"the files were not read within {format_duration(patience)}: raise timeout or pace, or compare fewer",
            )
        except TamperedError as error:
            return run.down("tampered", f"the baseline {path} is not as this daemon wrote it: {error}; {_DISTRUST}")
        except OSError as error:
            return run.unknown("state", f"the baseline {path} cannot be kept: {error.strerror or error}")
        finally:
            stop.set()
        return self._verdict(run, report)

    async def _accept(self, run: Run, path: Path, key: bytes, stop: threading.Event, by: str) -> Observation:
        def work() -> tuple[Scan, str]:
            found = self.scan(stop)
            head = {"version": 1, "at": run.started, "by": by or "the first run", "after": run.memory.get("baseline")}
            return found, _write(path, key, head, found.files)

        found, checksum = await run.shared.get(Threads).call(work)
        run.memory.clear()
        run.memory["baseline"] = checksum
        _note_baseline(run, by or "the first run", run.started)
        _measure_scan(run, found, run.started)
        run.measure_all({"critical_changes": 0, "changes": 0, "explained_changes": 0})
        if not found.files:
            return run.unknown("missing", f"no file to compare: {_why_none(found)}")
        who = (
            f"accepted by {by}" if by else "taken by the first run: look at it once, what is wrong already is not told"
        )
        return run.up(f"{len(found.files)} files are the baseline from now on, {who}")

    def scan(self, stop: threading.Event) -> Scan:
        """Fingerprint the files; blocks."""
        return scan((*self.critical_paths, *self.paths), self.exclude, self.most, self.pace, stop)

    def _verdict(self, run: Run, report: _Report) -> Observation:
        run.memory["explained"] = report.explained_since
        run.memory["baseline"] = report.checksum or run.memory["baseline"]
        _note_baseline(run, report.accepted_by, report.accepted_at)
        _note_files(run, report)
        _measure_scan(run, report.scan, report.accepted_at)
        run.measure("critical_changes", len(report.critical))
        run.measure("changes", len(report.others))
        run.measure("explained_changes", len(report.explained))
        for what, found in (
            ("critical", report.critical), ("changed", report.others), ("explained", report.explained)
        ):  # fmt: skip
            if found:
                run.evidence[what] = _listed(found)
        bad = [*report.critical, *report.others]
        if bad:
            return run.up(
                f"{len(bad)} unexplained changes of files, {len(report.critical)} of them critical: "
                f"{'; '.join(bad[:3])}{' …' if len(bad) > 3 else ''}. If they are right: wcr-watchd accept {run.check}",
                reason="changed",
            )
        if not report.scan.files:
            return run.unknown("missing", f"no file to compare: {_why_none(report.scan)}")
        by_packages = f", {len(report.explained)} changed {report.explained_by}" if report.explained else ""
        return run.up(f"{len(report.scan.files)} files are as accepted{by_packages}")


_DISTRUST = "treat this machine as broken into until you know who did that, then: wcr-watchd accept"


@dataclass(slots=True)
class _Report:
    """Lines of what differs; ``explained_since`` is when each explained change was seen first (epoch seconds).

    ``differences`` are the files that differ, with what is different and the beginning of their content's sum.
    """

    scan: Scan
    accepted_at: float
    accepted_by: str
    differences: list[tuple[str, str]] = field(default_factory=list)
    critical: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    explained: list[str] = field(default_factory=list)
    explained_since: dict[str, float] = field(default_factory=dict)
    checksum: str = ""
    """That of the baseline, where it was written anew."""
    announced: int = 0
    """How many differences a change explains."""

    @property
    def explained_by(self) -> str:
        """By what, in words."""
        if not self.announced:
            return "by packages"
        return "in a change" if self.announced == len(self.explained) else "by packages and in a change"


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    """One comparison, carried out in a thread."""

    options: Integrity
    path: Path
    key: bytes
    items: Sequence[Any]
    checksum: str
    explained_since: Mapping[str, float]
    announced: Sequence[Announced]
    now: float
    stop: threading.Event

    def compare(self) -> _Report:
        """Read the files and say what differs; what has been explained for a day goes into the baseline."""
        head, accepted = _of_items(self.items)
        found = self.options.scan(self.stop)
        report = _Report(found, head["at"], head["by"])
        differences = self._differences(accepted, found)
        explanations = self._explanations(accepted, found, differences, head["at"])
        for path, what in differences.items():
            is_now = found.files.get(path)
            report.differences.append((path, f"{what} {is_now.content[:12]}" if is_now else what))
            explanation = f"package {explanations[path]}" if path in explanations else ""
            if not explanation and (explanation := self._announced_by(path, accepted.get(path), is_now)):
                report.announced += 1
            if explanation:
                report.explained.append(f"{path}: {what} ({explanation})")
                report.explained_since[path] = self.explained_since.get(path, self.now)
            elif matches(path, self.options.critical_paths):
                report.critical.append(f"{path}: {what}")
            else:
                report.others.append(f"{path}: {what}")
        self._adopt(report, head, accepted, found)
        return report

    def _differences(self, accepted: Mapping[str, Fingerprint], found: Scan) -> dict[str, str]:
        differences = {}
        for path, was in accepted.items():
            now = found.files.get(path)
            if now is not None and now != was:
                differences[path] = was.differences(now)
            elif now is None and path not in found.unreadable and not found.cut:
                differences[path] = "removed"
        differences |= dict.fromkeys((path for path in found.files if path not in accepted), "new")
        return differences

    def _explanations(
        self, accepted: Mapping[str, Fingerprint], found: Scan, differences: Mapping[str, str], since: float
    ) -> dict[str, str]:
        """The package that explains each change: it was installed since, and the content is what it brought.

        Nothing explains that a file has become more dangerous, or that one is gone.
        """
        known: Mapping[str, Shipped] = shipped(tuple(differences))
        explained = {}
        for path, by in known.items():
            was, now = accepted.get(path), found.files.get(path)
            if now is None or (was is not None and (was.content == now.content or was.more_dangerous(now))):
                continue
            if by.installed_at >= since and is_as_shipped(path, by):
                explained[path] = by.package
        return explained

    def _announced_by(self, path: str, was: Fingerprint | None, now: Fingerprint | None) -> str:
        """The change in whose time the file was changed, by the time that the file system keeps of that (ctime).

        No program can set that time. Nothing explains that a file has become more dangerous.
        """
        if not self.announced or (now is not None and (was or _HARMLESS).more_dangerous(now)):
            return ""
        try:
            moment = os.lstat(path if now is not None else os.path.dirname(path)).st_ctime
        except OSError:
            return ""
        for one in self.announced:
            if one.start - CLOCKS_DIFFER <= moment <= one.end + CLOCKS_DIFFER:
                return one.name
        return ""

    def _adopt(self, report: _Report, head: Any, accepted: dict[str, Fingerprint], found: Scan) -> None:
        old = [path for path, since in report.explained_since.items() if self.now - since >= EXPLAINED_FOR]
        if old:
            for path in old:
                accepted.pop(path, None)
            accepted |= {path: found.files[path] for path in old if path in found.files}
            report.checksum = _write(self.path, self.key, head | {"after": self.checksum}, accepted)
            for path in old:
                del report.explained_since[path]


_HARMLESS = Fingerprint("", 0, "")
"""What was there before a file that is new."""


def _write(path: Path, key: bytes, head: Mapping[str, Any], files: Mapping[str, Fingerprint]) -> str:
    """Write the baseline; returns its checksum.

    The head names the checksum of the one before: should the daemon be killed before it has stored the new one's, it
    still knows the file as its own.
    """
    lines = ([name, one.content, one.mode, one.owner, one.capabilities] for name, one in files.items())
    return write_signed(path, (head, *lines), key)


def _of_items(items: Sequence[Any]) -> tuple[Any, dict[str, Fingerprint]]:
    return items[0], {name: Fingerprint(*rest) for name, *rest in items[1:]}


def _note_files(run: Run, report: _Report) -> None:
    """Note which files differ, and which do so no more though the baseline is the same: they were put back."""
    told = dict(report.differences[:MOST_FACTS])
    baseline, before = run.memory.get("differing", ("", ()))
    known = set(before)
    for file, difference in told.items():
        was = "" if file in known or difference.startswith("new") else "as accepted"
        run.fact("file", file, difference, before=was)
    not_seen = {*report.scan.unreadable, *(known if report.scan.cut else ())}
    if baseline == run.memory["baseline"]:
        differing = {file for file, _ in report.differences}
        for file in before:
            if file not in differing and file not in not_seen:
                run.fact("file", file, "as accepted")
    kept = (*told, *(file for file in before if file in not_seen and file not in told))
    within = takewhile(lambda pair: pair[1] <= MOST_REMEMBERED, zip(kept, accumulate(map(len, kept)), strict=True))
    run.memory["differing"] = (run.memory["baseline"], [file for file, _ in within])


def _note_baseline(run: Run, by: str, at: float) -> None:
    run.fact("baseline", run.check, f"accepted by {by}, {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC")


def _measure_scan(run: Run, found: Scan, accepted_at: float) -> None:
    run.measure("files", len(found.files))
    run.measure("read", found.size)
    run.measure("baseline_age", max(0.0, run.started - accepted_at))
    run.measure("unreadable", len(found.unreadable))
    if found.unreadable:
        run.evidence["unreadable"] = (
            f"user id {os.geteuid()} may not read {', '.join(found.unreadable[:10])}"
            f"{' …' if len(found.unreadable) > 10 else ''}: grant AmbientCapabilities=CAP_DAC_READ_SEARCH (and "
            "the same in CapabilityBoundingSet=) by `systemctl edit wcr-watchd`"
        )
    if found.cut:
        run.evidence["cut"] = f"only the first {len(found.files)} files are compared: raise most, or name fewer paths"


def _why_none(found: Scan) -> str:
    return "none of them may be read by this user" if found.unreadable else "no path of this check names one"


def _listed(lines: Sequence[str]) -> str:
    more = f"\n… {len(lines) - MOST_NAMED} more" if len(lines) > MOST_NAMED else ""
    return "\n".join(lines[:MOST_NAMED]) + more


def _file_name(check: str) -> str:
    """The check's name as that of a file."""
    return re.sub(r"[^\w.-]", "_", check).lstrip(".") or "check"
