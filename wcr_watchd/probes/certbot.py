"""Looks after certbot: that renewal is scheduled, how its last attempts went, and what each certificate would need.

Read are the configurations under `renewal/` (one per lineage), the certificates they lead to, the hooks, certbot's own
log, and who starts it: a systemd timer or cron. A certificate that is renewed and not loaded helps nobody, so a lineage
without a deploy hook is told; what the server shows is for `tls` or `certfile` with `served`.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.aside import aside
from wcr_watchd.kit.certbot_log import read_attempts
from wcr_watchd.kit.certificates import Certificate, end_in_words, read_pem, that_matter
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.subprocess import DEFAULT_PATH, locate, run_child
from wcr_watchd.kit.threads import Threads
from wcr_watchd.kit.tls import UnusableFileError, read_file

SYSTEMCTL = "systemctl"
SYSTEMD_RUNS = Path("/run/systemd/system")
"""There while systemd is the first process (sd_booted(3))."""
TIMERS = ("certbot.timer", "certbot-renew.timer", "snap.certbot.renew.timer")
CRON = ("/etc/crontab", "/etc/cron.d/*", "/etc/cron.daily/*", "/etc/cron.weekly/*", "/var/spool/cron/crontabs/*")
MOST_LINEAGES = 200
LARGEST_CRONTAB = 64 * 1024
MOST_CRONTABS = 200

_SHOWN = re.compile(r"^(\w+)=(.*)$")


@dataclass(frozen=True, slots=True)
class Lineage:
    """One certificate that certbot keeps: its file's chain, or why that cannot be read; whether a hook follows it."""

    name: str
    chain: tuple[Certificate, ...]
    problem: str
    hooked: bool


class Certbot(Options):
    """Looks after certbot."""

    type: ClassVar[str] = "certbot"
    target_key: ClassVar[str] = "path"
    every: ClassVar[float] = 3_600.0
    timeout: ClassVar[float] = 20.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("lineages", Unit.COUNT, "Certificates that certbot keeps"),
        MeasurementSpec("without_hook", Unit.COUNT, "Those after whose renewal nothing is started", topic="hook"),
        MeasurementSpec("expires_first", Unit.SECONDS, "Time until the first of them expires", topic="renewal"),
        MeasurementSpec("expires_in", Unit.SECONDS, "Time until each of them expires", ("lineage",), topic="renewal"),
        MeasurementSpec("failures", Unit.COUNT, "Attempts in a row, up to the last, that failed", topic="renewal"),
        MeasurementSpec("last_attempt", Unit.SECONDS, "Since certbot last went through all renewals", topic="renewal"),
        MeasurementSpec("next_attempt", Unit.SECONDS, "Time until the timer starts it next", topic="schedule"),
        MeasurementSpec("scheduled", Unit.COUNT, "1 when a timer or cron starts certbot, else 0", topic="schedule"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "failures >= 2 and expires_first < 15d"),
        (Severity.WARNING, "failures >= 1"),
        (Severity.WARNING, "last_attempt > 3d"),
        (Severity.WARNING, "scheduled == 0"),
        (Severity.WARNING, "without_hook > 0"),
        (Severity.WARNING, "down"),
    )
    example: ClassVar[str] = 'path = "/etc/letsencrypt"\n'

    path: str = "/etc/letsencrypt"
    """Certbot's folder."""
    logs: str = "/var/log/letsencrypt"
    """The folder of its logs."""
    hooks: bool = True
    """Whether each certificate needs a deploy hook."""

    @property
    def target(self) -> str:
        """The folder."""
        return self.path

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Read all there is once."""
        threads = run.shared.get(Threads)
        # A little before the run's own deadline: a file system that does not answer says nothing of certbot.
        patience = run.remaining * 0.9
        try:
            async with asyncio.timeout(patience):
                run.step = f"reading {self.path}"
                lineages = await threads.call(read_lineages, self.path)
                run.step = f"reading the logs in {self.logs}"
                attempts = await aside(read_attempts, self.logs)
                await self._measure_schedule(run, threads)
        except TimeoutError:
            return run.unknown("timeout", f"{self.path}: no end within {format_duration(patience)}; was {run.step}")
        except UnusableFileError as error:
            return run.unknown(error.reason, error.summary)
        except (OSError, RuntimeError) as error:
            return run.unknown("exec", f"{self.path}: its logs cannot be read: {error}")
        self._measure(run, lineages)
        self._measure_attempts(run, attempts)
        return self._told(run, lineages, attempts)

    def _measure(self, run: Run, lineages: Sequence[Lineage]) -> None:
        run.measure("lineages", len(lineages))
        if self.hooks:
            run.measure("without_hook", sum(not lineage.hooked for lineage in lineages))
        left = {one.name: min(c.left(run.started) for c in that_matter(one.chain)) for one in lineages if one.chain}
        for name, seconds in left.items():
            run.measure("expires_in", seconds, lineage=name)
        if left:
            run.measure("expires_first", min(left.values()))

    def _measure_attempts(self, run: Run, attempts: Mapping[str, Any]) -> None:
        if "absent" in attempts:
            run.missing(("failures", "last_attempt"), attempts["absent"])
            return
        run.measure("failures", attempts["failures"])
        run.measure("last_attempt", max(0.0, run.started - attempts["last_at"]))
        if attempts["errors"]:
            run.evidence["failed"] = "\n".join(f"{name}: {error}" for name, error in attempts["errors"])

    async def _measure_schedule(self, run: Run, threads: Threads) -> None:
        run.step = "looking for a timer"
        following = await _next_elapse(threads)
        if following is not None:
            run.measure("scheduled", 1)
            run.measure("next_attempt", following - run.started)
            return
        run.step = "looking for a job of cron"
        files, unreadable = await threads.call(cron_jobs)
        if files or not unreadable:
            run.measure("scheduled", bool(files))
        else:
            run.missing(("scheduled",), f"no timer starts certbot, and {unreadable} may not be read by this user")
        run.evidence["started by"] = ", ".join(files) or "neither a timer nor cron"

    def _told(self, run: Run, lineages: Sequence[Lineage], attempts: Mapping[str, Any]) -> Observation:
        broken = [f"{one.name}: {one.problem}" for one in lineages if one.problem]
        if broken:
            run.evidence["broken"] = "\n".join(broken)
            return run.down(
                "content", f"{self.path}: {broken[0]}" + (f" (and {len(broken) - 1} more)" * (len(broken) > 1))
            )
        if not lineages:
            return run.up(f"{self.path}: certbot keeps no certificate")
        ends = [(one.name, certificate) for one in lineages for certificate in that_matter(one.chain)]
        name, first = min(ends, key=lambda end: end[1].not_after)
        said = f"{len(lineages)} certificates; the first, {name}, {end_in_words(first, run.started)}"
        if "absent" in attempts:
            return run.up(f"{self.path}: {said}")
        ago = format_duration(max(0.0, run.started - attempts["last_at"]))
        if not attempts["failures"]:
            return run.up(f"{self.path}: {said}; renewal went well {ago} ago")
        names = ", ".join(name for name, _ in attempts["errors"]) or "some"
        return run.up(f"{self.path}: renewal of {names} failed {ago} ago; {said}", reason="renewal")


# --- what certbot keeps -----------------------------------------------------------------------------------------------


def read_lineages(path: str) -> tuple[Lineage, ...]:
    """All lineages by name. Raises :class:`UnusableFileError` when the folder cannot be read."""
    folder = Path(path) / "renewal"
    try:
        names = sorted(entry for entry in os.listdir(folder) if entry.endswith(".conf"))
    except FileNotFoundError as error:
        raise UnusableFileError(
            "missing", f"{folder} does not exist; is certbot installed, is it this path?"
        ) from error
    except PermissionError as error:
        raise UnusableFileError(
            "permission", f"{folder} may not be read by this user; let a group of the daemon's user enter {path}"
        ) from error
    except OSError as error:
        raise UnusableFileError("missing", f"{folder} cannot be read: {error.strerror}") from error
    for_all = _executables(Path(path) / "renewal-hooks" / "deploy")
    return tuple(_lineage(folder / name, for_all) for name in names[:MOST_LINEAGES])


def _lineage(file: Path, hooked_by_folder: bool) -> Lineage:
    name = file.name.removesuffix(".conf")
    try:
        settings = _settings(read_file(str(file), "the renewal configuration").decode(errors="replace"))
        if "fullchain" not in settings:
            return Lineage(name, (), f"{file} names no fullchain; certbot cannot renew it", False)
        chain = read_pem(read_file(settings["fullchain"], "the certificate file"))
    except UnusableFileError as error:
        if error.reason == "permission":
            raise
        return Lineage(name, (), error.summary, False)
    except ValueError as error:
        return Lineage(name, (), f"{settings['fullchain']} holds no readable certificate: {error}", False)
    hooked = hooked_by_folder or bool(settings.get("renew_hook") or settings.get("installer", "None") != "None")
    return Lineage(name, chain, "", hooked)


def _settings(text: str) -> Mapping[str, str]:
    """All settings of a renewal configuration but those of nested sections (configobj's format)."""
    found: dict[str, str] = {}
    nested = False
    for line in text.splitlines():
        if line.lstrip().startswith("["):
            nested = line.lstrip().startswith("[[")
        elif not nested and not line.lstrip().startswith("#") and "=" in line:
            key, _, value = line.partition("=")
            found.setdefault(key.strip(), value.strip())
    return found


def _executables(folder: Path) -> bool:
    """Whether certbot would start something out of a folder of hooks."""
    try:
        with os.scandir(folder) as entries:
            return any(os.access(entry.path, os.X_OK) and entry.is_file() for entry in entries)
    except OSError:
        return False


# --- who starts it ----------------------------------------------------------------------------------------------------


async def _next_elapse(threads: Threads) -> float | None:
    """When a timer of systemd starts certbot next (epoch seconds); None when none does."""
    if not await threads.call(SYSTEMD_RUNS.is_dir):
        return None
    words = [SYSTEMCTL, "show", "--property=ActiveState,NextElapseUSecRealtime", *TIMERS]
    environment = {"PATH": os.environ.get("PATH", DEFAULT_PATH), "TZ": "UTC", "LC_ALL": "C"}
    try:
        file = await threads.call(locate, SYSTEMCTL, environment["PATH"])
        done = await run_child(words, environment, file=file)
    except OSError:
        return None
    return min(_elapses(done.stdout), default=None)


def _elapses(shown: str) -> Iterator[float]:
    """Of ``systemctl show``: the next elapse of each unit that is active."""
    for block in shown.split("\n\n"):
        values = {match[1]: match[2] for line in block.splitlines() if (match := _SHOWN.fullmatch(line))}
        at = re.fullmatch(r"\w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", values.get("NextElapseUSecRealtime", ""))
        if values.get("ActiveState") == "active" and at:
            yield datetime.fromisoformat(at[1]).replace(tzinfo=UTC).timestamp()


def cron_jobs() -> tuple[tuple[str, ...], str]:
    """The files by which cron starts certbot, and what may not be read of where there may be others."""
    found, unreadable = [], ""
    for pattern in CRON:
        folder, _, _ = pattern.rpartition("/")
        try:
            files = [pattern] if "*" not in pattern else [entry.path for entry in os.scandir(folder) if entry.is_file()]
            found += [file for file in files[:MOST_CRONTABS] if _names_certbot(file)]
        except FileNotFoundError:
            continue
        except OSError:
            unreadable = folder
    return tuple(found), unreadable


def _names_certbot(file: str) -> bool:
    """Whether a line that is no comment names certbot, and is not left to systemd's timer, as Debian's is."""
    with open(file, "rb") as opened:
        text = opened.read(LARGEST_CRONTAB).decode(errors="replace")
    lines = [line for line in text.splitlines() if "certbot" in line and not line.lstrip().startswith("#")]
    return any("-d /run/systemd/system" not in line or not SYSTEMD_RUNS.is_dir() for line in lines)
