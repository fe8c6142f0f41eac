"""Watches a PostgreSQL server's settings: what differs from what it should be, or was, and what waits for a restart.

The settings of the first run are the ones that later runs compare with, until what has changed has stood for
``accept_after``. What ``expect`` names must be as it says at all times.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.options import Duration
from wcr_watchd.kit.postgres.server import PostgresServer, Row, Session

DAY = 86400.0
MOST_NAMED = 20
_LONGEST = 80
_HIDDEN = re.compile(r"conninfo|_command|password|passphrase|krb_|secret", re.IGNORECASE)
"""Settings that may hold a password: that they changed is told, not to what."""


class PostgresSettings(PostgresServer):
    """Options of a check of a server's settings."""

    type: ClassVar[str] = "postgres_settings"
    target_key: ClassVar[str] = "dsn"
    every: ClassVar[float] = 3600.0
    timeout: ClassVar[float] = 20.0
    example: ClassVar[str] = """\
dsn = "postgresql://watchd:${credential:pg_password}@db.example.org:5432/app"
expect = { shared_buffers = "2GB", fsync = "on" }
"""
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("settings", Unit.COUNT, "Settings that were compared"),
        MeasurementSpec("changed", Unit.COUNT, "Settings that are not as they were", topic="drift"),
        MeasurementSpec("unexpected", Unit.COUNT, "Settings that are not as `expect` says", topic="expected"),
        MeasurementSpec("pending_restart", Unit.COUNT, "Changed settings that need a restart", topic="restart"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "pending_restart > 0"),
        (Severity.WARNING, "unexpected > 0"),
        (Severity.INFO, "changed > 0"),
    )

    expect: dict[str, str] = Field(default_factory=dict)
    """Values that settings must have, written as SHOW shows them: shared_buffers = "2GB"."""
    accept_after: Duration = 7 * DAY
    """For how long a changed setting is told, before it is what later ones are compared with."""

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def look(self, run: Run, session: Session) -> Observation:
        """Read all settings, and compare."""
        server = await session.server()
        if not server["may_read_settings"]:
            role = server["own_role"]
            return run.unknown(
                "permission", f"{self.target}: {role} may not see all settings: GRANT pg_monitor TO {role}"
            )
        rows = await session.rows_or_missing(_SETTINGS, "the settings", ())
        if rows is None:
            return session.untold(self.target)
        await session.end()
        run.measure("settings", len(rows))
        pending = [row["name"] for row in rows if row["pending_restart"]]
        run.measure("pending_restart", len(pending))
        if run.memory.get("of") != self.target:  # of another server nothing is known
            run.memory.clear()
            run.memory["of"] = self.target
        salt = run.memory.setdefault("salt", secrets.token_hex(16))
        settings = {row["name"]: kept(row["name"], _written(row), salt) for row in rows}
        for name, value in settings.items():
            run.fact("setting", name, value)
        changed = self._drift(run, settings)
        run.measure("changed", len(changed))
        unexpected = self._unexpected(rows)
        run.measure("unexpected", len(unexpected))
        for heading, lines in (("pending restart", pending), ("changed", changed), ("unexpected", unexpected)):
            if lines:
                run.evidence[heading] = "\n".join(lines[:MOST_NAMED])
        said = {"wait for a restart": pending, "changed": changed, "not as expected": unexpected}
        told = [f"{word}: {', '.join(lines[:3])}" for word, lines in said.items() if lines]
        return run.up("; ".join([f"{len(rows)} settings compared", *told]))

    def _drift(self, run: Run, now: Mapping[str, str]) -> list[str]:
        """What differs from the remembered settings, in words; what has stood for long enough is remembered in turn."""
        before: dict[str, str] = run.memory.setdefault("settings", dict(now))
        since: dict[str, float] = run.memory.get("since", {})
        differing = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
        since = {name: since.get(name, run.started) for name in differing}
        for name in [name for name in differing if run.started - since[name] >= self.accept_after]:
            differing.remove(name)
            del since[name]
            before.pop(name, None)
            if name in now:
                before[name] = now[name]
        run.memory["since"] = since
        return [_change(name, before.get(name), now.get(name), run.started - since[name]) for name in differing]

    def _unexpected(self, rows: Sequence[Row]) -> list[str]:
        shown: dict[str, Any] = {row["name"]: row["shown"] for row in rows}
        return [
            f"{name} is {shown.get(name, 'unknown to this server')}, expected {wanted}"
            for name, wanted in self.expect.items()
            if shown.get(name) != wanted
        ]


def _written(row: Row) -> str | None:
    """What a session begins with, as SHOW shows it (128MB); where the session has another value, as it is kept."""
    return row["shown"] if row["setting"] == row["value"] else f"{row['value']}{row['unit'] or ''}"


def kept(name: str, value: str | None, salt: str) -> str:
    """What is remembered and told of a value: of one that may hold a password, or is long, its digest.

    Without the ``salt`` nobody can find out the password by trying: viewers see the digest.
    """
    text = value or ""
    if text and (_HIDDEN.search(name) or len(text) > _LONGEST):
        return f"digest:{hashlib.blake2b(text.encode(), key=salt.encode(), digest_size=8).hexdigest()}"
    return text


def _change(name: str, before: str | None, now: str | None, age: float) -> str:
    ago = f" ({format_duration(age)} ago)" if age >= 1 else ""
    if any((value or "").startswith("digest:") for value in (before, now)):
        return f"{name} has another value{ago}"
    return f"{name}: {before if before is not None else 'not there'} → {now if now is not None else 'not there'}{ago}"


_SETTINGS = """
SELECT name, setting, unit, reset_val AS value, pending_restart, current_setting(name, true) AS shown
FROM pg_settings
WHERE source NOT IN ('client', 'session', 'override') OR context = 'internal'
ORDER BY name
"""
