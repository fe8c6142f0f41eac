"""Browsers that are signed in: a random cookie each, of which only the hash is kept."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog
from aiohttp import web

from wcr_watchd.core.access import Role, Session
from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.records import AccessRecords
from wcr_watchd.web.access.digest import digest_of
from wcr_watchd.web.access.peer import is_https, kept

log = structlog.get_logger(__name__)

COOKIE = "watchd_session"
SECURE_COOKIE = f"__Host-{COOKIE}"
"""The cookie's name where there is HTTPS: browsers then take it from nobody but this very host (RFC 6265bis, 4.1.3)."""
IDLE_SECONDS = 86_400.0
"""How long a session lasts that is not used."""
LONGEST_SECONDS = 7 * 86_400.0
"""How long a session lasts at most."""
NOTE_EVERY = 600.0
"""Seconds after which it is stored that a session is still used."""
MOST_SESSIONS = 1_000
LONGEST_AGENT = 200
"""Characters of a browser's own description that are kept."""


@dataclass(slots=True)
class Sessions:
    """All sessions by the hash of their cookie, here and in the store; ``now`` gives epoch seconds.

    ``holds`` says whether a session's credential is still what it was.
    """

    records: AccessRecords
    now: Callable[[], float]
    holds: Callable[[Session], bool]
    _known: dict[str, Session] = field(default_factory=dict)
    _stored_at: dict[str, float] = field(default_factory=dict)
    """By digest: the use that the store knows of."""

    async def load(self) -> None:
        """Read back those of the last life."""
        try:
            found = {one.digest: one for one in await self.records.sessions()}
            self._known = {digest: one for digest, one in found.items() if self._lasts(one)}
            self._stored_at = {digest: one.seen_at for digest, one in self._known.items()}
            await self.records.keep_sessions((), [digest for digest in found if digest not in self._known])
        except StoreError as error:
            log.warning("whoever was signed in must sign in again", error=str(error))

    async def begin(self, request: web.Request, name: str, role: Role, how: str, bound: str = "") -> str:
        """Start a session and return its cookie. One that this browser had is over, whoever it was."""
        now, cookie = self.now(), secrets.token_urlsafe(32)
        agent = kept(request.headers.get("User-Agent", ""), LONGEST_AGENT)
        session = Session(digest_of(cookie), name, role, how, bound, now, now, request.remote or "", agent)
        over = [digest for digest, one in self._known.items() if not self._lasts(one)]
        over.append(_digest(request))
        oldest_first = sorted(self._known, key=lambda digest: self._known[digest].seen_at)
        over += oldest_first[: max(0, len(self._known) + 1 - MOST_SESSIONS)]
        self._known[session.digest] = session
        await self._store(over, session)
        return cookie

    def of(self, request: web.Request) -> Session | None:
        """The session of the browser that asks; being asked for, it goes on."""
        digest = _digest(request)
        session = self._known.get(digest)
        if session is None or not self._lasts(session):
            return None
        self._known[digest] = session = replace(session, seen_at=self.now())
        return session

    def theirs(self, name: str) -> list[Session]:
        """A user's sessions, the one that was used last first."""
        found = [one for one in self._known.values() if one.name == name and self._lasts(one)]
        return sorted(found, key=lambda one: one.seen_at, reverse=True)

    async def end(self, request: web.Request) -> None:
        """End the session of the browser that asks."""
        await self._store([_digest(request)])

    async def end_all(self, name: str) -> None:
        """End every session of a user."""
        await self._store([one.digest for one in self._known.values() if one.name == name])

    async def keep(self) -> None:
        """Store which sessions are still used; those that are over are forgotten."""
        over = [digest for digest, one in self._known.items() if not self._lasts(one)]
        used = [one for one in self._known.values() if one.seen_at > self._stored_at.get(one.digest, 0.0) + NOTE_EVERY]
        if over or used:
            await self._store(over, *used)

    async def _store(self, over: list[str], *used: Session) -> None:
        for digest in over:
            self._known.pop(digest, None)
            self._stored_at.pop(digest, None)
        used = tuple(one for one in used if one.digest in self._known)
        self._stored_at.update((one.digest, one.seen_at) for one in used)
        try:
            await self.records.keep_sessions(used, over)
        except StoreError as error:
            log.warning("sessions that began or ended now are not stored", error=str(error))

    def _lasts(self, session: Session) -> bool:
        now = self.now()
        in_time = now < session.seen_at + IDLE_SECONDS and now < session.started_at + LONGEST_SECONDS
        return in_time and self.holds(session)


def _digest(request: web.Request) -> str:
    return digest_of(request.cookies.get(cookie_name(request), ""))


def cookie_name(request: web.Request) -> str:
    """What the session's cookie is called by this browser."""
    return SECURE_COOKIE if is_https(request) else COOKIE


def set_cookie(request: web.Request, response: web.StreamResponse, cookie: str) -> None:
    """Give the browser its session; readable by no script, sent along from other sites by links only."""
    response.set_cookie(
        cookie_name(request),
        cookie,
        max_age=round(LONGEST_SECONDS),
        path="/",
        httponly=True,
        samesite="Lax",
        secure=is_https(request),
    )


def drop_cookie(request: web.Request, response: web.StreamResponse) -> None:
    """Let the browser forget it."""
    response.del_cookie(cookie_name(request), path="/", httponly=True, samesite="Lax", secure=is_https(request))
