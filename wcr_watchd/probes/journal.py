"""Reads systemd's journal on and counts the entries that match patterns, and those of each priority.

Only what is new counts: the first run notes where the journal ends, and from then on none is missed, not while the
daemon is restarted either. Entries are read by `journalctl` in a process of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.aside import aside
from wcr_watchd.kit.logs.tally import tally_journal
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.patterns import Pattern
from wcr_watchd.kit.subprocess import DEFAULT_PATH

_PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""By number, 0 first (syslog(3))."""
_TROUBLE = {
    "disk_full": "No space left on device|Disk quota exceeded",
    "disk_error": r"I/O error|EXT4-fs error|BTRFS error|XFS .*[Cc]orruption|Remounting filesystem read-only",
    "out_of_memory": "Out of memory: Killed process|oom-kill:|invoked oom-killer",
    "hardware_error": r"Machine [Cc]heck|mce: \[Hardware Error\]|EDAC .*(?:CE|UE) |Uncorrected error",
    "crash": r"segfault at |general protection fault|trap invalid opcode|dumped core",
    "kernel": r"kernel: (?:BUG:|Oops|watchdog: BUG|INFO: task .* blocked for more than)",
}
"""What needs a person wherever it is written."""
_FIELDS = "MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_COMM,_SYSTEMD_UNIT"
_PARTLY = "not seeing messages from other users"
"""What journalctl says to somebody who may read only what he wrote himself."""

_NO_SUCH_UNIT = "filter for units: No data available"
"""What it says when it knows no unit whose name is like that: there is no entry of any."""


def _word(value: str) -> str:
    if not value or value.startswith("-") or "\0" in value:
        raise ValueError(f"{value!r} is not the name of a unit or a program")
    return value


Word = Annotated[str, AfterValidator(_word)]


class Journal(Options):
    """Counts the entries of the journal that match patterns."""

    type: ClassVar[str] = "journal"
    target_key: ClassVar[str] = "units"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 30.0
    example: ClassVar[str] = (
        'units = ["nginx.service", "ssh*"]\npriority = "notice"\n'
        'patterns.failed_login = "Failed password|authentication failure"\n'
    )
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("matches", Unit.COUNT, "Entries that match", ("pattern",), counter=True, topic="match"),
        MeasurementSpec("entries", Unit.COUNT, "Entries of a priority", ("priority",), counter=True, topic="priority"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "increase(matches, 1h) > 0"),
        (Severity.WARNING, 'increase(entries{priority="emerg"}, 1h) > 0'),
        (Severity.WARNING, 'increase(entries{priority="alert"}, 1h) > 0'),
        (Severity.INFO, 'increase(entries{priority="crit"}, 1h) > 0'),
    )

    units: tuple[Word, ...] = ()
    """Only entries of these units; "*" stands for anything. Without any, of all and of the kernel."""
    identifiers: tuple[Word, ...] = ()
    """Only entries with one of these identifiers, such as "sshd" or "kernel"."""
    priority: Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"] = "debug"
    """Only entries of this priority or a more urgent one."""
    patterns: dict[str, Pattern] = Field(default_factory=lambda: dict(_TROUBLE), max_length=50)
    """Regular expressions by name, tried on "identifier: message". Without any, those are that tell of full or broken
    disks, lack of memory, broken hardware and crashes."""
    ignore: tuple[Pattern, ...] = ()
    """Regular expressions of entries that do not match, whatever they say."""
    directory: Annotated[str, AfterValidator(_word)] | None = None
    """Folder of the journal, when it is not this system's own: that of the host, seen from a container."""

    @property
    def target(self) -> str:
        """Whose entries are read."""
        return ", ".join((*self.units, *self.identifiers)) or self.directory or "the journal"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Read what came since the last run."""
        run.step = "reading on in the journal"
        # A little before the run's own deadline: what is to be done about a time-out is this probe's to say.
        patience = run.remaining * 0.95
        try:
            async with asyncio.timeout(patience):
                told = await aside(tally_journal, self._work(run))
        except TimeoutError:
            # Else the next run would have to read the same again, and more.
            run.memory.pop("cursor", None)
            return run.unknown(
                "timeout",
                f"the journal could not be read within {format_duration(patience)}; the next run passes over what is "
                "there: is the disk slow, or a pattern too hard?",
            )
        except FileNotFoundError:
            return run.unknown("missing", "there is no journalctl here: is this machine run by systemd?")
        except OSError as error:
            return run.unknown("exec", f"journalctl could not be run: {error.strerror}")
        return self._unreadable(run, told) or self._judge(run, told)

    def _work(self, run: Run) -> dict[str, Any]:
        words = ["journalctl", "--output=json", f"--output-fields={_FIELDS}", "--no-pager"]
        words += [f"--directory={self.directory}"] if self.directory else []
        environment = {"PATH": DEFAULT_PATH, "LC_ALL": "C.UTF-8"}
        cursor = run.memory.get("cursor")
        if cursor is None:
            # Where the journal ends; what is there so far is not new, so there is nothing to try patterns on.
            words.append("--lines=1")
            return {"command": words, "env": environment, "after": None, "patterns": {}, "ignore": []}
        words += [f"--unit={unit}" for unit in self.units]
        words += [f"--identifier={identifier}" for identifier in self.identifiers]
        words += [f"--priority={self.priority}"] if self.priority != "debug" else []
        # Not --after-cursor: that passes over the first entry whenever the cursor's own is not among those asked for.
        words.append(f"--cursor={cursor}")
        work = {"patterns": self.patterns, "ignore": self.ignore}
        return {"command": words, "env": environment, "after": cursor, **work}

    def _unreadable(self, run: Run, told: Mapping[str, Any]) -> Observation | None:
        said = told["said"]
        if _PARTLY in said or "insufficient permissions" in said:
            return run.unknown(
                "permission", "this user may not read the journal: let it be in the group systemd-journal (or adm)"
            )
        if told["status"] != 0 and _NO_SUCH_UNIT not in said:
            run.memory.pop("cursor", None)  # it may be what journalctl stumbles over
            return run.unknown("exec", f"journalctl ended with status {told['status']}: {said or 'it said nothing'}")
        if "cursor" not in run.memory and told["cursor"] is None:
            return run.unknown("missing", "there is no journal here: is systemd-journald running?")
        return None

    def _judge(self, run: Run, told: Mapping[str, Any]) -> Observation:
        first = "cursor" not in run.memory
        run.memory["cursor"] = told["cursor"] or run.memory["cursor"]
        before = run.memory.get("totals", {"matches": {}, "entries": {}})
        matches = {name: before["matches"].get(name, 0) + told["matches"].get(name, 0) for name in self.patterns}
        entries = {
            name: before["entries"].get(name, 0) + (0 if first else told["priorities"].get(str(number), 0))
            for number, name in enumerate(_PRIORITIES)
        }
        run.memory["totals"] = {"matches": matches, "entries": entries}
        for name, count in matches.items():
            run.measure("matches", count, pattern=name)
        for name, count in entries.items():
            run.measure("entries", count, priority=name)
        samples = told["samples"]
        run.evidence.update({name: "\n".join(lines) for name, lines in samples.items()})
        if samples:
            said = "; ".join(f"{name}: {lines[-1].strip()}" for name, lines in samples.items())
            return run.up(f"{self.target}: {said}", reason="match")
        return run.up(f"{self.target}: {0 if first else told['lines']} new entries, none matches")
