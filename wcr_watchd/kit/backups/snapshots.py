"""What repositories of backups (borg, restic) have in common: a program lists snapshots, of which the newest counts."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from pydantic import Field

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.options import Duration, Options, Secret
from wcr_watchd.kit.subprocess import DEFAULT_PATH, Finished, locate, run_child
from wcr_watchd.kit.threads import Threads

LOOKED_AT = 200
"""Snapshots, the newest ones, that are listed."""
LONGEST_LIST = 1024 * 1024
SSH = "ssh -o BatchMode=yes -o ConnectTimeout=15"
"""Nobody is there to answer a question."""
_PASSED_ON = ("PATH", "HOME", "SSH_AUTH_SOCK", "XDG_CONFIG_HOME")

SNAPSHOT_MEASUREMENTS = (
    MeasurementSpec("age", Unit.SECONDS, "Age of the newest snapshot"),
    MeasurementSpec("missed", Unit.COUNT, "Snapshots that should have been made since the newest one"),
    MeasurementSpec("snapshots", Unit.COUNT, f"Snapshots there, {LOOKED_AT} at most"),
    MeasurementSpec("span", Unit.SECONDS, "Time between the oldest and the newest of them"),
    MeasurementSpec("list_time", Unit.SECONDS, "Time that listing them took"),
)
SNAPSHOT_RULES = ((Severity.CRITICAL, "down or missed >= 2"), (Severity.WARNING, "missed >= 1"))


class RepositoryOptions(Options):
    """A repository, and how often a snapshot comes to it."""

    repository: str
    """Where it is, as the program takes it: a folder, `ssh://…`, `sftp:…`, `s3:…`."""
    passphrase: Secret | None = None
    """The passphrase of the repository."""
    program: str = ""
    """The program, when it is not in the usual places."""
    env: dict[str, Secret] = Field(default_factory=dict)
    """Environment variables for the program, such as AWS_ACCESS_KEY_ID."""
    period: Duration = 86_400.0
    """How often a snapshot is made."""
    grace: Duration = 7_200.0
    """How much later it may be finished."""

    @property
    def target(self) -> str:
        """The repository."""
        return self.repository


class ProgramError(Exception):
    """The program could not be run, or did not end. ``reason`` is a label."""

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary


@asynccontextmanager
async def private_folder(run: Run) -> AsyncIterator[str]:
    """A folder that is removed after the block, for what a program would keep in its user's home."""
    threads = run.shared.get(Threads)
    folder = await threads.run(f"folder of {run.check}", tempfile.mkdtemp, "", "watchd-repository-")
    try:
        yield folder
    finally:
        await threads.call(shutil.rmtree, folder, True)


async def ask(run: Run, options: RepositoryOptions, words: Sequence[str], environment: Mapping[str, str]) -> Finished:
    """Run the program with these words; raises :class:`ProgramError`."""
    given = {"PATH": DEFAULT_PATH, "HOME": "/"} | {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    given |= {"LC_ALL": "C.UTF-8", **environment, **{name: one.get_secret_value() for name, one in options.env.items()}}
    patience = run.remaining * 0.95
    try:
        async with asyncio.timeout(patience):
            file = await run.shared.get(Threads).call(locate, words[0], given["PATH"])
            run.step = f"waiting for {words[0]} to list {options.repository}"
            finished = await run_child(words, given, file=file, limit=LONGEST_LIST)
    except TimeoutError as error:
        raise ProgramError("timeout", f"{words[0]} did not end within {format_duration(patience)}") from error
    except OSError as error:
        raise ProgramError("missing", f"{words[0]} cannot be run ({error.strerror}); install it") from error
    if finished.cut:
        raise ProgramError("parse", f"{words[0]} listed more than {LONGEST_LIST} bytes")
    return finished


def moment(text: str) -> float:
    """Epoch seconds of a time in ISO 8601, UTC where it names no zone; raises ``ValueError``."""
    read = datetime.fromisoformat(text)
    return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()


def judged(run: Run, options: RepositoryOptions, found: Mapping[str, float]) -> Observation:
    """Measure snapshots, name to time (epoch seconds), and tell the newest."""
    run.measure("snapshots", len(found))
    run.measure("list_time", run.elapsed)
    if not found:
        return run.down("missing", f"{options.repository} holds no such snapshot; does the job run?")
    name, newest = max(found.items(), key=lambda one: one[1])
    age = run.started - newest
    run.measure_all({"age": age, "span": newest - min(found.values())})
    run.measure("missed", max(0, (age - options.grace) // options.period))
    return run.up(f"{options.repository}: the newest of {len(found)} snapshots, {name}, is {format_duration(age)} old")
