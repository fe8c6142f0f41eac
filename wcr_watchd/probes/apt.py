"""Watches the package updates that wait on a Debian or Ubuntu machine, those that mend security apart.

It asks `apt-get` what an upgrade would do and changes nothing: it never runs `apt-get update`. How long an update waits
is counted from when this check first saw it. Lists that nobody has renewed for two days say nothing of today, so the
answer is then unknown.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.modifications import PACKAGE
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.dpkg import last_actions
from wcr_watchd.kit.options import Duration, Options
from wcr_watchd.kit.threads import Threads
from wcr_watchd.kit.tools import NoAnswerError, ask, has, said

HOUR = 3600.0
MOST_KEPT = 3_000
"""Updates of which it is remembered when they were first seen; a machine with more has other troubles."""
MOST_NAMED = 30
_SETTINGS = (
    *("LISTS", "Dir::State::lists/d", "STATE", "Dir::State/d"),
    *("PERIODIC", "APT::Periodic::Enable", "UNATTENDED", "APT::Periodic::Unattended-Upgrade"),
)
_SIMULATION = (
    "apt-get",
    "--simulate",
    *("-o", "APT::Get::Show-User-Simulation-Note=false", "-o", "APT::Get::HideAutoRemove=false"),
    "dist-upgrade",
)
_INSTALL = re.compile(r"Inst (\S+) \[([^]]*)\] \((\S+) ([^()[\]]*)")
"""A line of apt-get(8) --simulate: package, version there is, version to come, and the archives that have it."""
_DRIVER = re.compile(r"linux-(modules|headers|firmware)|firmware-|.*-(dkms|microcode)$|nvidia-|xserver-xorg-video-")
_NO_LONGER_NEEDED = "installed and are no longer required:"


def _spec(name: str, unit: Unit, text: str, topic: str) -> MeasurementSpec:
    return MeasurementSpec(name, unit, text, topic=topic)


class Apt(Options):
    """Options of a check of the updates that wait; none is needed."""

    type: ClassVar[str] = "apt"
    target_key: ClassVar[str] = ""
    every: ClassVar[float] = HOUR
    timeout: ClassVar[float] = 60.0
    example: ClassVar[str] = 'stale_after = "48h"\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        _spec("updates", Unit.COUNT, "Packages of which there is a newer version", "updates"),
        _spec("driver_updates", Unit.COUNT, "Those of them that are drivers, firmware or microcode", "updates"),
        _spec("security_updates", Unit.COUNT, "Those of them that come from a security archive", "security"),
        _spec("security_update_age", Unit.SECONDS, "Time since the oldest waiting one was first seen", "security"),
        _spec("lists_age", Unit.SECONDS, "Time since the list renewed longest ago was renewed", "lists"),
        _spec("held", Unit.COUNT, "Packages that somebody forbade to upgrade (apt-mark hold)", "housekeeping"),
        _spec("autoremovable", Unit.COUNT, "Packages that nothing needs any more", "housekeeping"),
        _spec("unattended_upgrades_enabled", Unit.COUNT, "1 when updates are installed by themselves", "unattended"),
        _spec("unattended_upgrades_age", Unit.SECONDS, "Time since that last ended well", "unattended"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.WARNING, "down"),
        (Severity.INFO, "updates > 0"),
        (Severity.INFO, "security_updates > 0"),
        (Severity.WARNING, "security_update_age > 24h"),
        (Severity.WARNING, "lists_age > 7d"),
        (Severity.INFO, "autoremovable > 0"),
        (Severity.INFO, "unattended_upgrades_enabled == 0"),
        (Severity.WARNING, "unattended_upgrades_age > 3d"),
    )

    stale_after: Duration = 48 * HOUR
    """Age of the package lists from which on nothing is known of updates."""

    @property
    def target(self) -> str:
        """What is asked."""
        return "apt"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Ask apt what there is to upgrade."""
        threads = run.shared.get(Threads)
        await _note_packages(run, threads)
        try:
            settings = _settings((await ask(run, "apt-config", "shell", *_SETTINGS)).stdout)
            held = (await ask(run, "apt-mark", "showhold")).stdout.split()
            state = await threads.call(_read_state, settings.get("LISTS", ""), settings.get("STATE", ""))
            run.measure("held", len(held))
            _measure_unattended(run, settings, state, run.started)
            stale = self._measure_lists(run, state)
            if stale:
                return run.unknown("stale", stale)
            simulation = await ask(run, *_SIMULATION)
        except NoAnswerError as error:
            hint = "; this check is for Debian and Ubuntu" if error.reason == "missing" else ""
            return run.unknown(error.reason, error.summary + hint)
        except OSError as error:
            return run.unknown("permission", f"the package lists, {error.filename}, cannot be read: {error.strerror}")
        if simulation.status != 0:
            return run.down(
                "status", f"apt-get cannot upgrade anything: {said(simulation)}; try `apt-get --fix-broken install`"
            )
        updates, unneeded = await threads.call(parse_simulation, simulation.stdout)
        run.measure("autoremovable", len(unneeded))
        ages = _ages(updates, run.memory, run.started)
        return run.up(_measure_updates(run, updates, ages))

    def _measure_lists(self, run: Run, state: _State) -> str:
        """Measure the age of the lists; returns why they cannot be relied on, if so."""
        if not state.renewed:
            return "there are no package lists: nobody has run apt-get update here, or it removes them afterwards"
        oldest = min(state.renewed, key=lambda name: state.renewed[name])
        run.measure("lists_age", max(0.0, run.started - state.renewed[oldest]))
        run.evidence["list renewed longest ago"] = oldest
        matter = [at for name, at in state.renewed.items() if "security" in name] or [max(state.renewed.values())]
        age = run.started - min(matter)
        if age <= self.stale_after:
            return ""
        return (
            f"the package lists are {format_duration(age)} old ({format_duration(self.stale_after)} allowed), so "
            "nobody knows what waits: does apt-get update run (apt-daily.timer) and reach its servers?"
        )


@dataclass(frozen=True, slots=True)
class Update:
    """A package with a newer version, and whether that comes from a security archive."""

    package: str
    installed: str
    version: str
    security: bool

    @property
    def key(self) -> str:
        """What is remembered: an update to a yet newer version is another one."""
        return f"{self.package}={self.version}"


@dataclass(frozen=True, slots=True)
class _State:
    """What apt's files tell: when each list was renewed, and when updates last installed themselves (epoch seconds)."""

    renewed: Mapping[str, float]
    unattended: float | None
    has_unattended: bool


async def _note_packages(run: Run, threads: Threads) -> None:
    """Note which packages dpkg installed, upgraded or removed lately."""
    actions = await threads.call(last_actions)
    if actions is None:
        return
    run.facts = []
    for one in actions:
        again = " (again)" if one.after and one.after == one.before else ""
        run.fact(PACKAGE, one.package, f"{one.after or 'removed'}{again}", before=one.before, since=one.at)


def parse_simulation(text: str) -> tuple[list[Update], list[str]]:
    """The updates in what ``apt-get --simulate dist-upgrade`` prints, and the packages that nothing needs any more."""
    updates, unneeded, listing = [], list[str](), False
    for line in text.splitlines():
        if listing and line.startswith("  "):
            unneeded += line.split()
            continue
        listing = line.endswith(_NO_LONGER_NEEDED)
        if found := _INSTALL.match(line):
            package, installed, version, archives = found.groups()
            updates.append(Update(package, installed, version, "-security" in archives.lower()))
    return updates, unneeded


def _settings(text: str) -> dict[str, str]:
    """The variables that ``apt-config shell`` prints, quoted for a shell; one that is not set is not there."""
    try:
        pairs = [word.partition("=") for word in shlex.split(text)]
    except ValueError as error:
        raise NoAnswerError("parse", f"apt-config told nothing that can be read: {error}") from error
    return {name: value for name, _, value in pairs}


def _read_state(lists: str, state: str) -> _State:
    """Look at apt's files; blocks.

    A list's own time is the server's. When it was last renewed, or found to be still current, is when its directory
    entry last changed: apt moves it for the check and back. An update that fails leaves it alone.
    """
    renewed = {}
    if lists:
        with os.scandir(lists) as entries:
            for entry in entries:
                if entry.name.endswith(("_InRelease", "_Release")):
                    renewed[entry.name] = entry.stat().st_ctime
    stamp = Path(state, "periodic", "upgrade-stamp")
    try:
        unattended = stamp.stat().st_mtime
    except OSError:
        unattended = None
    return _State(renewed, unattended, has("unattended-upgrade"))


def _measure_unattended(run: Run, settings: Mapping[str, str], state: _State, now: float) -> None:
    """apt.systemd.daily(8) runs unattended-upgrade when both settings say so, and stamps a run that ended well."""
    enabled = (
        state.has_unattended
        and settings.get("PERIODIC", "1") != "0"
        and settings.get("UNATTENDED", "0") not in ("0", "")
    )
    run.measure("unattended_upgrades_enabled", enabled)
    if enabled and state.unattended is not None:
        run.measure("unattended_upgrades_age", max(0.0, now - state.unattended))
    elif enabled:
        run.missing(("unattended_upgrades_age",), "it is enabled and has never ended well yet")


def _ages(updates: Sequence[Update], memory: dict[str, Any], now: float) -> dict[str, float]:
    """How long each update has been known here (seconds); forgets those that wait no more."""
    seen = memory.get("seen", {})
    kept = {update.key: min(now, seen.get(update.key, now)) for update in updates[:MOST_KEPT]}
    memory["seen"] = kept
    return {key: now - at for key, at in kept.items()}


def _measure_updates(run: Run, updates: Sequence[Update], ages: Mapping[str, float]) -> str:
    security = [update for update in updates if update.security]
    oldest = max((ages.get(update.key, 0.0) for update in security), default=0.0)
    drivers = [update for update in updates if _DRIVER.match(update.package)]
    run.measure("updates", len(updates))
    run.measure("security_updates", len(security))
    run.measure("security_update_age", oldest)
    run.measure("driver_updates", len(drivers))
    for what, found in (("security updates", security), ("drivers", drivers)):
        if found:
            run.evidence[what] = _listed(found, ages)
    if not updates:
        return "every package is up to date"
    if not security:
        return f"{len(updates)} packages have updates, none of them for security"
    names = ", ".join(update.package for update in security[:5]) + (" …" if len(security) > 5 else "")
    return (
        f"{len(security)} security updates wait (of {len(updates)} updates), first seen {format_duration(oldest)} ago: "
        f"{names}"
    )


def _listed(updates: Sequence[Update], ages: Mapping[str, float]) -> str:
    lines = [
        f"{update.package} {update.installed} -> {update.version}, "
        f"seen {format_duration(ages.get(update.key, 0.0))} ago"
        for update in updates[:MOST_NAMED]
    ]
    return "\n".join(lines) + (f"\n… {len(updates) - MOST_NAMED} more" if len(updates) > MOST_NAMED else "")
