"""Who may use the pages and the API: roles, people, tokens and sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Network, IPv6Network


class Role(IntEnum):
    """What somebody may do; each includes the ones before."""

    NONE = 0
    """Nothing by itself: a token that opens single doors only."""
    VIEWER = 1
    """Reads."""
    OPERATOR = 2
    """Also acts: acknowledges, silences, runs checks, writes notes."""
    ADMIN = 3
    """Also changes how the daemon works: reloads, sees the audit log."""

    @property
    def word(self) -> str:
        """As it stands in the configuration."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Role:
        """The role of a word. Raises ``KeyError`` for any other."""
        return cls[word.upper()]


METRICS, ALERTS, PROBE = "metrics", "alerts", "probe"
DOORS = frozenset({METRICS, ALERTS, PROBE})
"""What a token can open besides what its role allows: ``/metrics``, the API of Alertmanager, ``/probe``."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who signs in with a password; ``password`` is its Argon2 hash."""

    name: str
    password: str
    role: Role
    contact: str = ""


@dataclass(frozen=True, slots=True)
class OwnPassword:
    """The Argon2 hash of a password that a user chose in the browser ``at`` this time (epoch seconds).

    It takes the place of the hash in the configuration with the fingerprint ``replaces``: when somebody writes another
    one there, that one holds again.
    """

    name: str
    password: str
    replaces: str
    at: float


@dataclass(frozen=True, slots=True)
class ApiToken:
    """What a program shows. ``digest`` is its SHA-256; ``expires_at`` in epoch seconds, None for never."""

    name: str
    digest: bytes
    role: Role
    doors: frozenset[str] = frozenset()
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is signed in.

    ``digest`` is the SHA-256 of its cookie (hexadecimal): who reads the store cannot sign in with it. ``how`` says by
    what it signed in. ``bound`` is a fingerprint of the credential behind it: when that changes or goes, the session is
    over. Times are epoch seconds.
    """

    digest: str
    name: str
    role: Role
    how: str
    bound: str
    started_at: float
    seen_at: float
    address: str = ""
    agent: str = ""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Something that was done, or tried. ``number`` counts them, 0 before it is stored.

    ``means`` is by what ``who`` was let in, ``source`` the address it came from (empty: this machine), ``detail`` what
    was sent along, ``result`` what came of it: ``done``, ``refused``, ``failed``, with a reason where there is one.
    """

    at: float
    who: str
    means: str
    source: str
    action: str
    target: str
    result: str
    detail: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class SingleSignOn:
    """An OpenID Connect provider, and who of its people may do what.

    ``allowed`` are mail addresses, ``*@domain`` and subjects; empty: all. ``roles`` are the values of ``claim`` that
    give a role, the highest first; ``*`` is everybody. ``ends_there``: who signs out here signs out there, too.
    """

    label: str
    issuer: str
    client_id: str
    client_secret: str
    scopes: tuple[str, ...]
    allowed: tuple[str, ...]
    claim: str
    roles: tuple[tuple[Role, frozenset[str]], ...]
    ends_there: bool = True


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Who is let in by the configuration in force."""

    users: Mapping[str, User] = field(default_factory=dict)
    tokens: tuple[ApiToken, ...] = ()
    single_sign_on: SingleSignOn | None = None
    metrics_for_all: bool = False
    alerts_without_token: bool = False
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Reverse proxies that are believed about who asks."""

    @property
    def nobody(self) -> bool:
        """Whether nobody can sign in but by a link that the daemon or its command prints."""
        return not self.users and not self.tokens and self.single_sign_on is None
