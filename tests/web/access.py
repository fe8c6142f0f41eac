"""Access control for tests: one of every kind of credential, and clients that show them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256

from wcr_watchd.core.access import DOORS, AccessSettings, ApiToken, AuditEntry, OwnPassword, Role, Session
from wcr_watchd.core.records import AccessRecords
from wcr_watchd.kit.outbound import OutboundHttp
from wcr_watchd.web.access.audit import Audit
from wcr_watchd.web.access.gate import Access

TOKEN = "a-token-of-enough-length"
SIGNED_IN = {"Authorization": f"Bearer {TOKEN}"}
"""What a program shows that may do everything; its name is ``operator``."""
SECRETS = {
    "viewer": "a-secret-that-only-reads",
    "operator": TOKEN,
    "alerts": "a-secret-of-a-prometheus",
    "metrics": "a-secret-that-scrapes",
    "probe": "a-secret-that-probes",
}
KEY = bytes(32)


class MemoryRecords:
    """Sessions and audit log without a database."""

    def __init__(self) -> None:
        self.kept: dict[str, Session] = {}
        self.chosen: dict[str, OwnPassword] = {}
        self.log: list[AuditEntry] = []

    async def sessions(self) -> Sequence[Session]:
        return list(self.kept.values())

    async def keep_sessions(self, kept: Sequence[Session], ended: Sequence[str]) -> None:
        for digest in ended:
            self.kept.pop(digest, None)
        self.kept.update((one.digest, one) for one in kept)

    async def own_passwords(self) -> Sequence[OwnPassword]:
        return list(self.chosen.values())

    async def keep_own_password(self, chosen: OwnPassword) -> None:
        self.chosen[chosen.name] = chosen

    async def record(self, entry: AuditEntry) -> None:
        self.log.append(replace(entry, number=len(self.log) + 1))

    async def audit(self, *, before: int | None = None, who: str = "", limit: int = 100) -> Sequence[AuditEntry]:
        found = [one for one in reversed(self.log) if not who or one.who == who]
        return [one for one in found if before is None or one.number < before][:limit]


def api_token(name: str, secret: str, role: Role, *doors: str, expires_at: float | None = None) -> ApiToken:
    """A token as the configuration gives it."""
    return ApiToken(name, sha256(secret.encode()).digest(), role, frozenset(doors), expires_at)


def everybody() -> AccessSettings:
    """``[web] token``, and a token for each door."""
    tokens = [api_token("operator", TOKEN, Role.ADMIN, *DOORS), api_token("viewer", SECRETS["viewer"], Role.VIEWER)]
    tokens += [api_token(door, SECRETS[door], Role.NONE, door) for door in sorted(DOORS)]
    return AccessSettings(tokens=tuple(tokens))


def access_for(
    settings: AccessSettings | None = None,
    *,
    now: Callable[[], float] = lambda: 0.0,
    monotonic: Callable[[], float] = lambda: 0.0,
    records: AccessRecords | None = None,
    http: OutboundHttp | None = None,
    public_url: str = "",
) -> Access:
    """Access control with those settings (None: :func:`everybody`)."""
    found = everybody() if settings is None else settings
    audit = Audit(records or MemoryRecords(), now, lambda text: text)
    return Access(
        lambda: found, audit, key=KEY, monotonic=monotonic, http=http or OutboundHttp(), public_url=lambda: public_url
    )
