"""Browsers that are signed in: a random cookie each, of which only the hash is kept."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from aiohttp import web

from wcr_watchd.core.access import Role, Session
from wcr_watchd.web.access.digest import digest_of
from wcr_watchd.web.access.peer import is_https

COOKIE = "watchd_session"
SECURE_COOKIE = f"__Host-{COOKIE}"
"""The cookie's name where there is HTTPS: browsers then take it from nobody but this very host (RFC 6265bis, 4.1.3)."""
IDLE_SECONDS = 86_400.0
"""How long a session lasts that is not used."""
LONGEST_SECONDS = 7 * 86_400.0
"""How long a session lasts at most."""
MOST_SESSIONS = 1_000
LONGEST_AGENT = 200
"""Characters of a browser's own description that are kept."""


@dataclass(slots=True)
class Sessions:
    """All sessions by the hash of their cookie; ``now`` gives epoch seconds."""

    now: Callable[[], float]
    _known: dict[str, Session] = field(default_factory=dict)

    def begin(self, request: web.Request, name: str, role: Role, how: str, bound: str = "") -> str:
        """Start a session and return its cookie. One that this browser had is over, whoever it was."""
        self.end(request)
        now = self.now()
        self._known = {digest: one for digest, one in self._known.items() if self._lasts(one)}
        while len(self._known) >= MOST_SESSIONS:
            del self._known[min(self._known, key=lambda digest: self._known[digest].seen_at)]
        cookie = secrets.token_urlsafe(32)
        agent = request.headers.get("User-Agent", "")[:LONGEST_AGENT]
        session = Session(digest_of(cookie), name, role, how, bound, now, now, request.remote or "", agent)
        self._known[session.digest] = session
        return cookie

    def of(self, request: web.Request) -> Session | None:
        """The session of the browser that asks; being asked for, it goes on."""
        digest = digest_of(request.cookies.get(cookie_name(request), ""))
        session = self._known.get(digest)
        if session is None or not self._lasts(session):
            return None
        self._known[digest] = session = replace(session, seen_at=self.now())
        return session

    def end(self, request: web.Request) -> None:
        """End the session of the browser that asks."""
        self._known.pop(digest_of(request.cookies.get(cookie_name(request), "")), None)

    def end_all(self, name: str) -> int:
        """End every session of a user; returns how many there were."""
        theirs = [digest for digest, one in self._known.items() if one.name == name]
        for digest in theirs:
            del self._known[digest]
        return len(theirs)

    def _lasts(self, session: Session) -> bool:
        now = self.now()
        return now < session.seen_at + IDLE_SECONDS and now < session.started_at + LONGEST_SECONDS


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
