"""Asks `debsecan` which known vulnerabilities the installed packages have that an update would mend.

It compares what is installed with the security tracker of Debian, which it fetches for that; of Ubuntu's packages
debsecan knows nothing (what mends vulnerabilities there and is not installed is seen by the `apt` check). How long a
vulnerability has been known is counted from when this check first saw it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.threads import Threads
from wcr_watchd.kit.tools import NoAnswerError, ask, said

DAY = 86_400.0
MOST_KEPT = 2_000
MOST_NAMED = 30
_SUMMARY = re.compile(r"([A-Z]+-[\w-]+) (\S+)(?: \((.*)\))?$")
"""A line of debsecan(1) --format summary: name, package, notes."""


class Vulnerabilities(Options):
    """Options of a check of known vulnerabilities; none is needed."""

    type: ClassVar[str] = "vulnerabilities"
    target_key: ClassVar[str] = "suite"
    every: ClassVar[float] = DAY
    timeout: ClassVar[float] = 300.0
    example: ClassVar[str] = 'suite = "bookworm"\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("fixable", Unit.COUNT, "Known vulnerabilities of installed packages that an update mends"),
        MeasurementSpec("fixable_remote", Unit.COUNT, "Those of them that can be used over the network"),
        MeasurementSpec("fixable_high", Unit.COUNT, "Those of them that the tracker calls urgent"),
        MeasurementSpec("vulnerable_packages", Unit.COUNT, "Packages that have any of them"),
        MeasurementSpec("oldest_fixable", Unit.SECONDS, "Time since the oldest of them was first seen, 0 with none"),
        MeasurementSpec("data_age", Unit.SECONDS, "Time since the tracker was last asked with success", topic="data"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.WARNING, "down"),
        (Severity.INFO, "fixable > 0"),
        (Severity.WARNING, "oldest_fixable > 48h"),
        (Severity.WARNING, "data_age > 8d"),
    )

    suite: str = Field(default="", pattern=r"^[a-z]*$")
    """The Debian release by its code name; without it, the one that is installed."""
    source: str = Field(default="", pattern=r"^(https?://.+)?$")
    """Where the tracker's data are fetched from, when not from Debian itself: the URL of a mirror."""

    @property
    def target(self) -> str:
        """The release."""
        return self.suite or "installed packages"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Ask debsecan."""
        threads = run.shared.get(Threads)
        try:
            suite = self.suite or await threads.call(_installed_suite)
            if not suite:
                return run.unknown(
                    "missing", "this is no Debian release that debsecan knows; on Ubuntu use an apt check"
                )
            source = ("--source", self.source) if self.source else ()
            answer = await ask(run, "debsecan", "--suite", suite, "--only-fixed", "--format", "summary", *source)
        except NoAnswerError as error:
            _measure_age(run)
            hint = ": apt-get install debsecan" if error.reason == "missing" else ""
            return run.unknown(error.reason, error.summary + hint)
        if answer.status != 0:
            _measure_age(run)
            return run.unknown("status", f"debsecan could not get the tracker's data: {said(answer)}")
        run.memory["asked_at"] = run.started
        _measure_age(run)
        found = await threads.call(parse_summary, answer.stdout)
        return run.up(_measure(run, found, suite))


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """A known vulnerability of an installed package."""

    name: str
    package: str
    remote: bool
    urgent: bool


def parse_summary(text: str) -> list[Vulnerability]:
    """The vulnerabilities that an update mends, out of what ``debsecan --format summary`` prints."""
    found = []
    for line in text.splitlines():
        if match := _SUMMARY.match(line):
            notes = (match[3] or "").split(", ")
            if "fixed" in notes:
                found.append(
                    Vulnerability(match[1], match[2], "remotely exploitable" in notes, "high urgency" in notes)
                )
    return found


def _installed_suite() -> str:
    """The code name of the release, where it is Debian's (os-release(5))."""
    lines = Path("/etc/os-release").read_text(errors="replace").splitlines()
    words = {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}
    return words.get("VERSION_CODENAME", "") if words.get("ID") == "debian" else ""


def _measure_age(run: Run) -> None:
    if "asked_at" in run.memory:
        run.measure("data_age", max(0.0, run.started - run.memory["asked_at"]))


def _measure(run: Run, found: Sequence[Vulnerability], suite: str) -> str:
    names = {one.name for one in found}
    ages = _ages(names, run.memory, run.started)
    packages = {one.package for one in found}
    oldest = max(ages.values(), default=0.0)
    run.measure("fixable", len(names))
    run.measure("fixable_remote", len({one.name for one in found if one.remote}))
    run.measure("fixable_high", len({one.name for one in found if one.urgent}))
    run.measure("vulnerable_packages", len(packages))
    run.measure("oldest_fixable", oldest)
    if not found:
        return f"no known vulnerability that an update of Debian {suite} mends"
    worst = sorted(found, key=lambda one: (not one.urgent, not one.remote, -ages.get(one.name, 0.0), one.name))
    run.evidence["vulnerabilities"] = "\n".join(
        f"{one.name} {one.package}{' remote' if one.remote else ''}{' urgent' if one.urgent else ''}, "
        f"seen {format_duration(ages.get(one.name, 0.0))} ago"
        for one in worst[:MOST_NAMED]
    )
    return (
        f"{len(names)} known vulnerabilities in {len(packages)} packages that updates mend, first seen "
        f"{format_duration(oldest)} ago: {', '.join(f'{one.name} ({one.package})' for one in worst[:3])}"
    )


def _ages(names: set[str], memory: dict[str, Any], now: float) -> Mapping[str, float]:
    """How long each has been known here (seconds); forgets those that are mended."""
    seen = memory.get("seen", {})
    memory["seen"] = {name: min(now, seen.get(name, now)) for name in sorted(names)[:MOST_KEPT]}
    return {name: now - at for name, at in memory["seen"].items()}
