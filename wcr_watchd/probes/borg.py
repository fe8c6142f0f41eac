"""Looks into a Borg repository: when its newest archive was made.

Runs `borg list --json` (https://borgbackup.readthedocs.io/en/stable/internals/frontends.html) without taking the
repository's lock, so that it is in no backup's way, and keeps no cache.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit
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
    private_folder,
)

_FAILURES = {
    "Repository.DoesNotExist": ("missing", "there is no repository"),
    "Repository.InvalidRepository": ("content", "it is no valid repository; look at it with borg check"),
    "Repository.CheckNeeded": ("content", "it is inconsistent; run borg check"),
    "IntegrityError": ("content", "its data is damaged; run borg check"),
    "ConnectionClosed": ("connect", "the connection to it closed"),
    "ConnectionClosedWithHint": ("connect", "the connection to it closed"),
}
"""What Borg says (msgid) that is the repository's fault, with a label and plain words."""
_WRONG_KEY = (
    "PassphraseWrong",
    "PasscommandFailure",
    "NoPassphraseFailure",
    "KeyfileNotFoundError",
    "RepoKeyNotFoundError",
)


class Borg(RepositoryOptions):
    """Looks into a Borg repository."""

    type: ClassVar[str] = "borg"
    target_key: ClassVar[str] = "repository"
    every: ClassVar[float] = 3_600.0
    timeout: ClassVar[float] = 120.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        *SNAPSHOT_MEASUREMENTS,
        MeasurementSpec("unencrypted", Unit.COUNT, "1 when the repository is not encrypted", topic="encryption"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (*SNAPSHOT_RULES, (Severity.WARNING, "unencrypted > 0"))
    example: ClassVar[str] = """\
repository = "ssh://backup@vault.example.org/./uploads"
passphrase = "${credential:borg_passphrase}"
archives = "uploads-*"
"""

    archives: str = ""
    """Only archives whose name is in this pattern of the shell."""

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """List the newest archives."""
        only = ("--glob-archives", self.archives) if self.archives else ()
        words = (
            self.program or "borg", "--bypass-lock", "--log-json", "list", "--json", "--last", str(LOOKED_AT), *only,
            self.repository,
        )  # fmt: skip
        try:
            async with private_folder(run) as folder:
                finished = await ask(run, self, words, self._environment(folder))
        except ProgramError as error:
            return run.unknown(error.reason, f"{self.repository}: {error.summary}")
        if finished.status > 1:  # 1 is a warning
            return self._failed(run, finished.stderr, finished.status)
        try:
            answer = json.loads(finished.stdout)
            found = {one["name"]: moment(one["start"]) for one in answer["archives"]}
            mode = answer["encryption"]["mode"]
        except (ValueError, KeyError, TypeError) as error:
            return run.unknown("parse", f"{self.repository}: borg's list cannot be read ({error!r}); is borg too new?")
        run.measure("unencrypted", mode == "none" or mode.startswith("authenticated"))
        run.evidence["encryption"] = str(mode)
        return judged(run, self, found)

    def _environment(self, folder: str) -> dict[str, str]:
        given = {
            "BORG_CACHE_DIR": folder, "BORG_SECURITY_DIR": f"{folder}/security", "BORG_RSH": SSH, "TZ": "UTC",
            "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes", "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
            "BORG_DISPLAY_PASSPHRASE": "no", "BORG_PASSPHRASE": "",
        }  # fmt: skip
        return given | ({"BORG_PASSPHRASE": self.passphrase.get_secret_value()} if self.passphrase else {})

    def _failed(self, run: Run, stderr: str, status: int) -> Observation:
        said = _messages(stderr)
        for message in said:
            name = str(message.get("msgid") or "")
            if name in _FAILURES:
                reason, words = _FAILURES[name]
                return run.down(reason, f"{self.repository}: {words} (borg says: {message.get('message')})")
            if name in _WRONG_KEY:
                return run.unknown(
                    "auth", f"{self.repository} cannot be opened: {message.get('message')}; check passphrase"
                )
        last = said[-1].get("message") if said else stderr.strip()[-200:]
        return run.unknown("exec", f"{self.repository}: borg ended with status {status}: {last}")


def _messages(stderr: str) -> list[Mapping[str, Any]]:
    """Borg's log, one JSON object a line; lines that are none come from ssh."""
    found: list[Mapping[str, Any]] = []
    for line in stderr.splitlines():
        try:
            one = json.loads(line)
        except ValueError:
            one = {"message": line}
        if isinstance(one, dict) and one.get("message"):
            found.append(one)
    return found
