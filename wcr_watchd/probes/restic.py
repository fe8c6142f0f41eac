"""Looks into a restic repository: when its newest snapshot was made.

Runs `restic snapshots --json` (https://restic.readthedocs.io/en/stable/075_scripting.html) without lock and cache, so
that it is in no backup's way.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.kit.backups.snapshots import (
    LOOKED_AT,
    SNAPSHOT_MEASUREMENTS,
    SNAPSHOT_RULES,
    SSH,
    ProgramError,
    RepositoryOptions,
    ask,
    judged,
    moment,
)

_ABSENT, _WRONG_PASSWORD = 10, 12
"""Exit statuses of restic 0.17 and later; before that, 1 for everything, and only the text says which."""


class Restic(RepositoryOptions):
    """Looks into a restic repository."""

    type: ClassVar[str] = "restic"
    target_key: ClassVar[str] = "repository"
    every: ClassVar[float] = 3_600.0
    timeout: ClassVar[float] = 120.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = SNAPSHOT_MEASUREMENTS
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = SNAPSHOT_RULES
    example: ClassVar[str] = """\
repository = "s3:https://nyc3.storage.example.org/wcr-uploads"
passphrase = "${credential:restic_password}"
env = { AWS_ACCESS_KEY_ID = "${credential:s3_access_key}", AWS_SECRET_ACCESS_KEY = "${credential:s3_secret_key}" }
"""

    host: str = ""
    """Only snapshots of this host."""
    snapshot_tags: tuple[str, ...] = ()
    """Only snapshots with all of these tags."""
    paths: tuple[str, ...] = ()
    """Only snapshots of these paths."""

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """List the newest snapshots."""
        only = [
            *(["--host", self.host] if self.host else []),
            *(["--tag", ",".join(self.snapshot_tags)] if self.snapshot_tags else []),
        ]
        only += [word for path in self.paths for word in ("--path", path)]
        words = (
            self.program or "restic", "--repo", self.repository, "--no-lock", "--no-cache", "--json",
            "--option", f"sftp.args={SSH.partition(' ')[2]}", "snapshots", "--latest", str(LOOKED_AT), *only,
        )  # fmt: skip
        password = {"RESTIC_PASSWORD": self.passphrase.get_secret_value()} if self.passphrase else {}
        try:
            finished = await ask(run, self, words, password)
        except ProgramError as error:
            return run.unknown(error.reason, f"{self.repository}: {error.summary}")
        if finished.status:
            return self._failed(run, finished.stderr, finished.status)
        try:
            found = _snapshots(json.loads(finished.stdout))
        except (ValueError, KeyError, TypeError) as error:
            return run.unknown("parse", f"{self.repository}: restic's list cannot be read ({error!r})")
        return judged(run, self, found)

    def _failed(self, run: Run, stderr: str, status: int) -> Observation:
        said = " ".join(stderr.split())[-200:]
        if status == _ABSENT or "Is there a repository at" in stderr:
            return run.down("missing", f"{self.repository}: there is no repository (restic says: {said})")
        if status == _WRONG_PASSWORD or "wrong password" in stderr or "empty password" in stderr:
            return run.unknown("auth", f"{self.repository} cannot be opened: wrong password or none; check passphrase")
        return run.unknown("exec", f"{self.repository}: restic ended with status {status}: {said}")


def _snapshots(answer: Any) -> dict[str, float]:
    """Time of each snapshot by its short name; restic writes nanoseconds, which are more than Python reads."""
    return {one["short_id"]: moment(_without_nanoseconds(one["time"])) for one in answer or ()}


def _without_nanoseconds(text: str) -> str:
    head, point, rest = text.partition(".")
    zone = rest.lstrip("0123456789")
    return f"{head}{zone}" if point else text
