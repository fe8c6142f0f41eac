"""Reads the log of logins: who failed how often within the last hour, and who came from where nobody came from before.

It follows `/var/log/auth.log` (or `secure`), or asks the journal where there is no such file. sshd, sudo, su and login
are understood. Where people come from is learned from what the log holds at the first run; a new network of an
administrator is told until `wcr-watchd accept NAME`. A log in which nothing is written for a day is told as well.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.aside import aside
from wcr_watchd.kit.logs.auth_log import Attempt, read_journal, read_log
from wcr_watchd.kit.novelty import Known
from wcr_watchd.kit.options import Options, Size
from wcr_watchd.kit.threads import Threads
from wcr_watchd.kit.tools import NoAnswerError, ask, patience_of, said

HOUR, DAY = 3600.0, 86_400.0
LOGS = ("/var/log/auth.log", "/var/log/secure")
BURST_WITHIN = 60.0
SUSPICIOUS = 5
"""Failures from one network within the hour, after which a login from there looks like a guessed password."""
SOURCE_KEPT = 180 * DAY
MOST_FAILURES = 1_000
MOST_SOURCES = 400
_FIELDS = "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_PID"
_FACILITIES = ("SYSLOG_FACILITY=4", "SYSLOG_FACILITY=10")
"""auth and authpriv (syslog(3)): with them comes what cron writes every hour, so that a silent log shows."""
UNKNOWN_USERS = "(unknown users)"


class Logins(Options):
    """Options of a check of the log of logins; none is needed."""

    type: ClassVar[str] = "logins"
    target_key: ClassVar[str] = "path"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 30.0
    example: ClassVar[str] = 'path = "/var/log/auth.log"\nprivileged = ["root", "deploy"]\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("logins", Unit.COUNT, "Logins by ssh within the last hour"),
        MeasurementSpec(
            "failed_logins", Unit.COUNT, "Failed attempts within the last hour", labels=("user",), topic="failed logins"
        ),
        MeasurementSpec("failed_logins_all", Unit.COUNT, "Failed attempts within the last hour, of all users"),
        MeasurementSpec(
            "failed_burst",
            Unit.COUNT,
            "Most failed attempts of one existing user within a minute",
            topic="failed logins",
        ),
        MeasurementSpec(
            "guessed",
            Unit.COUNT,
            f"Logins in the last hour from a network of {SUSPICIOUS} failures",
            topic="guessed password",
        ),
        MeasurementSpec(
            "new_root_sources", Unit.COUNT, "Networks root came from for the first time", topic="root source"
        ),
        MeasurementSpec(
            "new_admin_sources",
            Unit.COUNT,
            "Networks administrators came from for the first time",
            topic="admin source",
        ),
        MeasurementSpec("log_silent", Unit.SECONDS, "Time since anything was written into the log", topic="log"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.WARNING, "down"),
        (Severity.CRITICAL, "new_root_sources > 0"),
        (Severity.CRITICAL, "guessed > 0"),
        (Severity.WARNING, "new_admin_sources > 0"),
        (Severity.WARNING, 'failed_logins{user!="(unknown users)"} >= 3'),
        (Severity.WARNING, "failed_burst > 5"),
        (Severity.WARNING, "log_silent > 24h"),
    )

    path: str = ""
    """The log; without it, /var/log/auth.log or /var/log/secure where there is one, else the journal."""
    privileged: tuple[str, ...] = ()
    """Administrators whose new networks are told; without it, the members of the groups sudo, wheel and admin."""
    most: Size = 8 * 1024 * 1024
    """Bytes of new lines that are read in one run; of more, the newest."""

    @property
    def target(self) -> str:
        """The log."""
        return self.path or "log of logins"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Read what is new in the log."""
        return await self._read(run, "")

    async def accept(self, run: Run, by: str) -> Observation:
        """Accept the networks that people have come from."""
        return await self._read(run, by)

    async def _read(self, run: Run, accepted_by: str) -> Observation:
        threads = run.shared.get(Threads)
        run.step = "looking for the log of logins"
        try:
            path = self.path or await threads.call(_log_that_is_there)
            accounts = await threads.call(_accounts)
            if path:
                run.step = f"reading {path}"
                seen = await _from_file(run, path, self.most)
            else:
                seen = await _from_journal(run)
        except NoAnswerError as error:
            return run.unknown(error.reason, error.summary)
        except RuntimeError as error:
            return run.unknown("exec", f"{self.target} could not be read: {error}")
        except TimeoutError:
            return run.unknown("timeout", f"{self.target} could not be read in time")
        except OSError as error:
            reason = "permission" if isinstance(error, PermissionError) else "missing"
            hint = f"; let user id {os.geteuid()} read it: usermod -aG adm wcr-watchd" if reason == "permission" else ""
            return run.unknown(reason, f"{error.filename or path} cannot be read: {error.strerror}{hint}")
        run.memory["cursor"] = seen.cursor
        run.memory["written_at"] = seen.written_at or run.memory.get("written_at")
        admins = frozenset(self.privileged) or accounts.admins
        return _verdict(run, seen, accounts.names, admins, path or "the journal", accepted_by)


@dataclass(slots=True)
class _Seen:
    """What was read; ``learned``: it is the past, to learn from and not to tell. ``written_at``: of the log."""

    cursor: Any = None
    attempts: list[Attempt] = field(default_factory=list)
    written_at: float | None = None
    learned: bool = False


@dataclass(frozen=True, slots=True)
class _Accounts:
    names: frozenset[str]
    admins: frozenset[str]


# --- reading ----------------------------------------------------------------------------------------------------------


async def _from_file(run: Run, path: str, most: int) -> _Seen:
    """What is new in a file. Raises ``OSError``, ``TimeoutError`` among them."""
    cursor = run.memory.get("cursor")
    cursor = cursor if isinstance(cursor, dict) else None
    async with asyncio.timeout(patience_of(run)):
        return _seen(await aside(read_log, {"path": path, "most": most, "cursor": cursor}), learned=cursor is None)


def _seen(read: Mapping[str, Any], *, learned: bool) -> _Seen:
    return _Seen(read["cursor"], [Attempt(*one) for one in read["attempts"]], read["written_at"], learned)


def _log_that_is_there() -> str:
    return next((path for path in LOGS if os.path.exists(path)), "")


def _accounts() -> _Accounts:
    """The names of this machine's users, and of its administrators."""
    names = frozenset(line.split(":")[0] for line in Path("/etc/passwd").read_text(errors="replace").splitlines())
    admins = {"root"}
    for line in Path("/etc/group").read_text(errors="replace").splitlines():
        words = line.split(":")
        if len(words) == 4 and words[0] in ("sudo", "wheel", "admin"):
            admins.update(filter(None, words[3].split(",")))
    return _Accounts(names, frozenset(admins))


async def _from_journal(run: Run) -> _Seen:
    """What the journal has of logins since the cursor; without one, of the last month, to learn from."""
    cursor = run.memory.get("cursor")
    since = ("--after-cursor", cursor) if isinstance(cursor, str) else ("--since", "-30d", "--lines", "3000")
    answer = await ask(run, "journalctl", "--output", "json", _FIELDS, "--no-pager", *since, *_FACILITIES)
    if "not seeing messages from other users" in answer.stderr or answer.status != 0:
        raise NoAnswerError(
            "permission",
            f"the journal tells user id {os.geteuid()} nothing of logins ({said(answer)}), and there is no "
            f"{' or '.join(LOGS)}: usermod -aG systemd-journal wcr-watchd",
        )
    seen = _seen(await run.shared.get(Threads).call(read_journal, answer.stdout), learned=not isinstance(cursor, str))
    seen.cursor = seen.cursor or cursor
    return seen


# --- the verdict ------------------------------------------------------------------------------------------------------


def _verdict(
    run: Run, seen: _Seen, names: frozenset[str], admins: frozenset[str], where: str, accepted_by: str
) -> Observation:
    recent = _recent(run, seen.attempts)
    good, bad = [one for one in recent if one.good], [one for one in recent if not one.good]
    by_user = Counter[str]()
    for one in bad:
        by_user[one.user if one.exists and one.user in names else UNKNOWN_USERS] += one.count
    for user, count in by_user.items():
        run.measure("failed_logins", count, user=user)
    for user in run.memory.get("told", ()):
        if user not in by_user:
            run.measure("failed_logins", 0, user=user)
    run.memory["told"] = sorted(by_user)[:MOST_SOURCES]
    guessed = _guessed(good, bad)
    run.measure("logins", len(good))
    run.measure("failed_logins_all", sum(by_user.values()))
    run.measure("failed_burst", _burst([one for one in bad if one.user in names]))
    run.measure("guessed", len(guessed))
    if run.memory["written_at"]:
        run.measure("log_silent", max(0.0, run.started - run.memory["written_at"]))
    new = _new_sources(run, seen, admins, accepted_by)
    _keep_evidence(run, recent, by_user)
    return _in_words(run, by_user, guessed, new, where, accepted_by)


def _recent(run: Run, attempts: Sequence[Attempt]) -> list[Attempt]:
    """The attempts of the last hour, those kept from earlier runs included."""
    kept = [Attempt(*one) for one in run.memory.get("recent", [])]
    whole = [one for one in (*kept, *attempts) if run.started - HOUR < one.at <= run.started + HOUR][-MOST_FAILURES:]
    run.memory["recent"] = [[one.at, one.user[:64], one.source[:64], one.good, one.count, one.exists] for one in whole]
    return whole


def _burst(failures: Iterable[Attempt]) -> int:
    """The most failures of one user within a minute."""
    most, by_user = 0, dict[str, deque[Attempt]]()
    for one in sorted(failures, key=lambda one: one.at):
        window = by_user.setdefault(one.user, deque())
        window.append(one)
        while window[0].at < one.at - BURST_WITHIN:
            window.popleft()
        most = max(most, sum(each.count for each in window))
    return most


def _guessed(good: Sequence[Attempt], bad: Sequence[Attempt]) -> list[Attempt]:
    """Logins after so many failures from the same network that the password was perhaps guessed."""
    found = []
    for one in good:
        before = sum(each.count for each in bad if each.source == one.source and each.at <= one.at)
        if before >= SUSPICIOUS:
            found.append(one)
    return found


def _new_sources(run: Run, seen: _Seen, admins: frozenset[str], accepted_by: str) -> list[str]:
    """Measure and return the networks, as "user from network", that an administrator never came from before."""
    sources: dict[str, float] = run.memory.setdefault("sources", {})
    for one in seen.attempts:
        if one.good and one.user in admins:
            key = f"{one.user} from {one.source}"
            sources[key] = max(one.at, sources.get(key, 0.0))
    kept = sorted(sources.items(), key=lambda pair: pair[1])[-MOST_SOURCES:]
    run.memory["sources"] = {key: at for key, at in kept if run.started - at < SOURCE_KEPT}
    known = Known(run.memory, run.started)
    new = known.look("sources", run.memory["sources"], seen.learned or bool(accepted_by))
    run.measure("new_root_sources", sum(one.startswith("root from ") for one in new))
    run.measure("new_admin_sources", sum(not one.startswith("root from ") for one in new))
    return new


def _keep_evidence(run: Run, recent: Sequence[Attempt], by_user: Counter[str]) -> None:
    networks = Counter[str]()
    for one in recent:
        if not one.good:
            networks[one.source] += one.count
    for what, counted in (("failed, by user", by_user), ("failed, from", networks)):
        if counted:
            run.evidence[what] = "\n".join(f"{name}: {count}" for name, count in counted.most_common(15))


def _in_words(
    run: Run, by_user: Counter[str], guessed: Sequence[Attempt], new: Sequence[str], where: str, accepted_by: str
) -> Observation:
    if guessed:
        who = ", ".join(f"{one.user} from {one.source}" for one in guessed[:3])
        return run.up(f"{who} got in after many failed attempts from there: a guessed password?", reason="guessed")
    if new:
        return run.up(
            f"logins from networks never seen before: {', '.join(new[:4])}. If that is right: "
            f"wcr-watchd accept {run.check}",
            reason="new",
        )
    failed = ", ".join(f"{name} {count}" for name, count in by_user.most_common(3))
    silent = run.started - (run.memory["written_at"] or run.started)
    words = (
        f"failed logins within the last hour: {failed or 'none'} ({where}, last written {format_duration(silent)} ago)"
    )
    return run.up(f"{words}{f'; accepted by {accepted_by}' if accepted_by else ''}")
