"""Who may do what over HTTP: the Unix socket, this machine, a token, a signed-in browser.

* Over the Unix socket (mode 0660) the operating system has decided already.
* With a token configured, every other visitor shows it: as ``Authorization: Bearer`` or by signing in.
* Without one, only programs on this machine are let in: a loopback peer that names a loopback host and comes through no
  proxy. The name is checked because a web page elsewhere could make a browser here send requests to it (DNS
  rebinding), the proxy headers because behind nginx everybody looks local.
* A calendar program cannot show a token, so each calendar's address carries a key that opens it alone, for reading.
* A browser may change something only from our own pages (Origin and Sec-Fetch-Site, Fetch Metadata).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import pwd
import secrets
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from wcr_watchd.web.access.roles import READING, VISITOR, Means, Role, Visitor, needed

ALERTS_PATH = "/api/v2/"
COOKIE = "watchd_session"
SESSION_SECONDS = 7 * 86_400
MAX_SESSIONS = 1_000
SIGN_IN_PAUSE = 1.0
"""Seconds between two attempts to sign in, for everybody together: a token has 128 bit, so this is plenty."""

KEY_LENGTH = 32
"""Hexadecimal digits of a calendar's key: 128 bit."""

_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Real-IP", "Via")


@dataclass(slots=True)
class Access:
    """Decides who may use the pages and the API. ``token`` is empty when none is configured."""

    token: str = ""
    metrics_for_all: bool = False
    clock: Callable[[], float] = lambda: 0.0
    alerts_without_token: bool = False
    _sessions: dict[bytes, float] = field(default_factory=dict)
    _next_sign_in: float = 0.0

    def visitor(self, request: web.Request) -> Visitor | None:
        """Who asks; None when it may not come in."""
        if user := _unix_user(request):
            return Visitor(user, Role.ADMIN, Means.SOCKET)
        if not self.token:
            return Visitor("dashboard", Role.ADMIN, Means.LOOPBACK) if is_local(request) else None
        if self._has_token(request):
            return Visitor("operator", Role.ADMIN, Means.TOKEN)
        if self._has_session(request):
            return Visitor("operator", Role.ADMIN, Means.SESSION)
        if self.alerts_without_token and is_local(request):
            return Visitor("alerts", Role.NONE, Means.LOOPBACK, frozenset({"alerts"}))
        return Visitor("calendar", Role.VIEWER, Means.CALENDAR) if self._has_key(request) else None

    def key_of(self, path: str) -> str:
        """What opens this one calendar for whoever cannot show the token; empty when none is configured."""
        if not self.token:
            return ""
        return hmac.new(self.token.encode(), f"calendar {path}".encode(), "sha256").hexdigest()[:KEY_LENGTH]

    def may_read_metrics(self, request: web.Request) -> bool:
        """Whether the visitor may read ``/metrics``."""
        return (
            self.metrics_for_all
            or bool(_unix_user(request))
            or (is_direct(request) and _peer_is_loopback(request))
            or self._has_token(request)
        )

    def sign_in(self, token: str) -> str | None:
        """Return a new session's cookie value, or None when the token is wrong or the last attempt was just now."""
        now = self.clock()
        if now < self._next_sign_in:
            return None
        self._next_sign_in = now + SIGN_IN_PAUSE
        if not self.token or not hmac.compare_digest(token.encode(), self.token.encode()):
            return None
        self._next_sign_in = now
        self._sessions = {key: ends for key, ends in self._sessions.items() if ends > now}
        while len(self._sessions) >= MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        cookie = secrets.token_urlsafe(32)
        self._sessions[_digest(cookie)] = now + SESSION_SECONDS
        return cookie

    def sign_out(self, request: web.Request) -> None:
        """End the visitor's session."""
        self._sessions.pop(_digest(request.cookies.get(COOKIE, "")), None)

    def _has_token(self, request: web.Request) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        matches = hmac.compare_digest(given.strip().encode("utf-8", "replace"), self.token.encode())
        return bool(self.token) and scheme.lower() == "bearer" and matches

    def _has_key(self, request: web.Request) -> bool:
        given = request.query.get("key", "").encode()
        reads_calendar = request.method in READING and request.path.endswith(".ics")
        return reads_calendar and hmac.compare_digest(given, self.key_of(request.path).encode())

    def _has_session(self, request: web.Request) -> bool:
        ends = self._sessions.get(_digest(request.cookies.get(COOKIE, "")))
        return ends is not None and ends > self.clock()


@dataclass(slots=True)
class Allowance:
    """So many of something per so many seconds, all at once if need be; ``clock`` gives monotonic seconds."""

    clock: Callable[[], float]
    most: int = 30
    seconds: float = 60.0
    _left: float = field(default=0.0, init=False)
    _at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._left, self._at = float(self.most), self.clock()

    def take(self) -> bool:
        """Whether there is one more now."""
        now = self.clock()
        self._left = min(self.most, self._left + (now - self._at) * self.most / self.seconds)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def guard(access: Access, public: frozenset[str]) -> Middleware:
    """Make the middleware that lets visitors in.

    ``public`` are the routes (as they were added) that everybody may ask, or that check a signature of their own.
    """

    @web.middleware
    async def let_in(request: web.Request, handler: Handler) -> web.StreamResponse:
        # By the route that was taken, not by the path: whatever is written there, nothing else is behind it.
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else ""
        if request.path in public or route in public:
            return await handler(request)
        visitor = access.visitor(request)
        if visitor is None:
            return _refuse(request, access)
        role = needed(request.method, request.match_info.handler)
        opened = "alerts" in visitor.doors and route.startswith(ALERTS_PATH)
        if visitor.role < role and not opened:
            raise web.HTTPForbidden(text=f"this needs the role {role.word}; {visitor.name} is {visitor.role.word}\n")
        if request.method not in READING and not is_own_page(request):
            raise web.HTTPForbidden(text="this request comes from another site; act on the dashboard itself\n")
        request[VISITOR] = visitor
        return await handler(request)

    return let_in


def is_local(request: web.Request) -> bool:
    """Whether the request comes from a program on this machine that meant to talk to this machine."""
    return is_direct(request) and _peer_is_loopback(request) and _names_loopback(request.host)


def is_direct(request: web.Request) -> bool:
    """Whether it came through no proxy: behind one everybody looks local."""
    return not any(name in request.headers for name in _FORWARDED)


def is_own_page(request: web.Request) -> bool:
    """Whether a request that changes something may be trusted to be meant: not sent by a foreign page."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = request.headers.get("Origin")
    return origin is None or origin.partition("://")[2] == request.host


def _refuse(request: web.Request, access: Access) -> web.StreamResponse:
    if not access.token:
        text = (
            "only programs on this machine may use this dashboard: no token is configured.\n"
            "To open it to others set [web] token in the configuration.\n"
        )
        raise web.HTTPForbidden(text=text)
    if request.path.startswith("/api/"):
        text = '{"error": "show the token: Authorization: Bearer <the [web] token>"}'
        raise web.HTTPUnauthorized(text=text, content_type="application/json", headers={"WWW-Authenticate": "Bearer"})
    raise web.HTTPSeeOther("/sign-in")


def _unix_user(request: web.Request) -> str:
    """The name of the user at the other end of a Unix socket (unix(7), SO_PEERCRED); empty for other sockets."""
    connection = request.transport.get_extra_info("socket") if request.transport else None
    if connection is None or connection.family != socket.AF_UNIX:
        return ""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _peer_is_loopback(request: web.Request) -> bool:
    try:
        return ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        return False


def _names_loopback(host: str) -> bool:
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _digest(value: str) -> bytes:
    return hashlib.sha256(value.encode("utf-8", "replace")).digest()
