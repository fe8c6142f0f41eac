"""Sets of backup files as the probes see them: listed and read by another process, which can be stopped."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, model_validator

from wcr_watchd.core.model import Observation
from wcr_watchd.core.run import Run
from wcr_watchd.kit.backups.archives import PASSPHRASE
from wcr_watchd.kit.backups.names import NamePattern
from wcr_watchd.kit.backups.scan import SetFile as SetFile
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.subprocess import DEFAULT_PATH, run_child
from wcr_watchd.kit.threads import Threads

T = TypeVar("T")

MOST_FILES = 1_000
"""Files of a set that are looked at, the newest ones."""
MOST_AT_ONCE = 100
"""Files that one process is told to read: a longer list would be too long for its command line."""
GROWING = 60.0
"""Seconds without a change after which a file is taken for finished."""
MOST_GROWING = 20
"""Files, of the newest, that can be in the making."""
SILENT_FOR = 2 * 86_400.0
"""Seconds after which a check that has not told of its backups is taken for gone."""
_ROOT = str(Path(__file__).parents[3])
"""Where Python finds this package."""
_ANSWER_LIMIT = 1024 * 1024
_PASSED_ON = ("PATH", "TZ", "PYTHONTZPATH", "TMPDIR")


def _zone(name: str) -> str:
    try:
        if name:
            ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not a time zone, such as America/New_York") from error
    return name


TimeZone = Annotated[str, AfterValidator(_zone)]
"""The name of a time zone, or nothing for this machine's."""


class Decryption(Options):
    """What opens encrypted backups."""

    passphrase: Secret | None = None
    """The passphrase, of openssl's or of GnuPG's symmetric encryption."""
    openssl: tuple[str, ...] = ("-aes-256-cbc", "-pbkdf2")
    """How `openssl enc` was told to encrypt."""
    gnupg_home: str = ""
    """Folder of GnuPG's keys, for backups encrypted to a key."""


class SetOptions(Options):
    """Which files are the backups of one set."""

    path: str
    """Folder and name of the files: `%Y%m%d_%H%M%S` is the time in the name, as in strptime, `*` and `?` are the
    shell's. Without a time in the name the files' own time counts."""
    regex: str = ""
    """A regular expression for the file's name, with a group `(?P<time>…)`; then path is the folder."""
    time_format: str = ""
    """What that group holds, such as `%Y-%m-%dT%H%M`."""
    timezone: TimeZone = ""
    """Time zone of the time in the name; this machine's, when it is not set."""

    @model_validator(mode="after")
    def _names_files(self) -> Self:
        self.pattern.check()
        return self

    @property
    def target(self) -> str:
        """The path."""
        return f"{self.path}/{self.regex}" if self.regex else self.path

    @property
    def pattern(self) -> NamePattern:
        """The pattern that these options make."""
        return NamePattern(self.path, self.regex, self.time_format)


@dataclass(frozen=True, slots=True)
class BackupSet:
    """The files of a set, oldest first, without those that are being written; how many and how large all are.

    ``older`` is how many are older than was asked about.
    """

    files: tuple[SetFile, ...]
    growing: tuple[SetFile, ...]
    count: int
    size: int
    older: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What reading a backup to its end told. ``fault`` is empty when it is whole; ``unseen`` says what was not seen.

    ``files`` is the number of entries of an archive; ``absent`` required paths that it does not hold.
    """

    fault: str
    unseen: str
    files: int | None
    absent: tuple[str, ...]
    encrypted: bool
    compressed: bool
    read: int
    seconds: float


class WorkError(Exception):
    """The work could not be done. ``reason`` is a label (``missing permission timeout changed …``)."""

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary


def _read(text: str) -> dict[str, Any]:
    """The answer as it is. Raises :class:`WorkError` when it is that the work could not be done."""
    answer: dict[str, Any] = json.loads(text)
    if "trouble" in answer:
        raise WorkError(answer["trouble"], answer["said"])
    return answer


async def work(
    run: Run,
    job: Mapping[str, Any],
    seconds: float,
    decryption: Decryption | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    program: str = "worker",
) -> dict[str, Any]:
    """Have a job done by another process, of :mod:`wcr_watchd.kit.backups.worker` or its like, within so many seconds.

    Raises :class:`WorkError` for everything that keeps it from being done.
    """
    given = dict(environment or {})
    if decryption is not None and decryption.passphrase is not None:
        given[PASSPHRASE] = decryption.passphrase.get_secret_value()
    return await _work(run, job, seconds, _read, given, program)


async def _work(
    run: Run, job: Mapping[str, Any], seconds: float, read: Callable[[str], T], environment: Mapping[str, str],
    program: str,
) -> T:  # fmt: skip
    """What ``read`` makes of the answer, in a thread: a long one would hold up the loop."""
    given = {"PATH": DEFAULT_PATH} | {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    given |= {"PYTHONPATH": _ROOT, "LC_ALL": "C.UTF-8", **environment}
    words = (sys.executable, "-P", "-m", f"wcr_watchd.kit.backups.{program}", json.dumps(job))
    try:
        async with asyncio.timeout(seconds):
            finished = await run_child(words, given, file=sys.executable, limit=_ANSWER_LIMIT)
    except TimeoutError as error:
        raise WorkError("timeout", f"no end within {seconds:.0f} s ({run.step})") from error
    except OSError as error:
        raise WorkError("exec", f"the process that reads backups cannot be started: {error}") from error
    if finished.status or finished.cut:
        said = " ".join(finished.stderr.split())[-200:]
        raise WorkError("exec", f"the process that reads backups ended with status {finished.status}: {said}")
    return await run.shared.get(Threads).call(read, finished.stdout)


async def list_set(
    run: Run, options: SetOptions, seconds: float, *, daily: bool = False, before: float = 0.0
) -> BackupSet:
    """The files of a set now; with ``daily`` the last of every day (UTC). ``before`` bounds what is counted as older.

    Raises :class:`WorkError`.
    """
    folder = options.pattern.folder
    run.step = f"listing {folder}"
    await look_at(run, folder, seconds)
    job = {
        "do": "scan", "path": options.path, "regex": options.regex, "time_format": options.time_format,
        "timezone": options.timezone, "most": MOST_FILES, "daily": daily, "before": before,
    }  # fmt: skip
    return await _work(run, job, seconds, partial(_read_set, run.started), {}, "worker")


def _read_set(now: float, text: str) -> BackupSet:
    answer = _read(text)
    files = [SetFile(*row) for row in answer["files"]]
    # A clock that was set back leaves files of the future; they are finished all the same.
    growing = [one for one in files[-MOST_GROWING:] if 0 <= now - one.mtime < GROWING]
    finished = tuple(one for one in files if one not in growing) if growing else tuple(files)
    return BackupSet(finished, tuple(growing), answer["count"], answer["size"], answer["older"])


async def look_at(run: Run, folder: str, seconds: float) -> None:
    """Make sure that a folder's file system answers, in a thread: a process that hangs on it could not be ended."""
    try:
        async with asyncio.timeout(seconds):
            await run.shared.get(Threads).call(os.stat, folder)
    except TimeoutError as error:
        raise WorkError(
            "timeout", f"{folder} does not answer within {seconds:.0f} s; is its disk or server gone?"
        ) from error
    except FileNotFoundError as error:
        raise WorkError("missing", f"{folder} does not exist") from error
    except OSError as error:
        raise WorkError("permission", f"{folder} cannot be looked at: {error.strerror}") from error


async def verify(
    run: Run,
    files: Sequence[SetFile],
    seconds: float,
    *,
    decryption: Decryption | None = None,
    whole: bool = True,
    required: Sequence[str] = (),
    rate: float = 1e12,
) -> list[Verdict | WorkError]:
    """Read backups to their ends, at most ``rate`` bytes a second, as many as there is time for.

    What is said of each is a verdict, or the error that kept it from being read. Raises :class:`WorkError`.
    """
    job = {
        "do": "verify", "files": [(one.path, one.sidecar) for one in files[:MOST_AT_ONCE]], "whole": whole,
        "required": list(required), "rate": rate, "seconds": seconds,
    }  # fmt: skip
    async with keys_of(run, decryption) as keys:
        answer = await work(run, {**job, "keys": keys}, min(seconds + 1, run.remaining * 0.9), decryption)
    return [
        WorkError(one["trouble"], one["said"])
        if "trouble" in one
        else Verdict(**{**one, "absent": tuple(one["absent"])})
        for one in answer["told"]
    ]


@asynccontextmanager
async def keys_of(run: Run, decryption: Decryption | None) -> AsyncIterator[Mapping[str, Any]]:
    """How keys stand in a job, with a home for GnuPG that is removed after the block."""
    if decryption is None:
        yield {"passphrase": False, "openssl": [], "gnupg_home": ""}
        return
    keys = {"passphrase": decryption.passphrase is not None, "openssl": list(decryption.openssl)}
    if decryption.gnupg_home:
        yield {**keys, "gnupg_home": decryption.gnupg_home}
        return
    threads = run.shared.get(Threads)
    home = await threads.run(f"home for GnuPG of {run.check}", tempfile.mkdtemp, "", "watchd-gpg-")
    try:
        yield {**keys, "gnupg_home": home}
    finally:
        # GnuPG leaves an agent running, which ends when its home is gone.
        await threads.call(shutil.rmtree, home, True)


class VerifiedBackups:
    """Which backups were read to their end and found whole, for who must know what could be restored now.

    One for the daemon: get it by ``run.shared.get(VerifiedBackups)``.
    """

    def __init__(self) -> None:
        self._told: dict[str, tuple[float, str, Mapping[str, tuple[int, float, float]]]] = {}

    def tell(self, check: str, at: float, target: str, whole: Mapping[str, tuple[int, float, float]]) -> None:
        """What a check of the set ``target`` found whole by now (``at``): path to the stamp of the file then."""
        self._told[check] = at, target, whole

    def covers(self, target: str, now: float) -> bool:
        """Whether some check reads the backups of this set; one that was silent for long may be gone."""
        return any(one == target and now - at < SILENT_FOR for at, one, _ in self._told.values())

    def holds(self, file: SetFile) -> bool:
        """Whether a file is one of those that are whole, and unchanged."""
        return any(whole.get(file.path) == file.stamp for _, _, whole in self._told.values())


def problem(run: Run, error: WorkError, what: str) -> Observation:
    """The observation for work that could not be done."""
    return run.unknown(error.reason, f"{what}: {error.summary}{_ADVICE.get(error.reason, '')}")


_ADVICE: dict[str, str] = {
    "missing": "; correct the path, or mount what should be there",
    "permission": "; let a group of the daemon's user read it",
}
