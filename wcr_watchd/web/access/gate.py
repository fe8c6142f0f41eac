"""Who may do what over HTTP: one place decides who is let in, one middleware holds everybody to it.

* Over the Unix socket (mode 0660) the operating system has decided already: whoever can open it is an admin.
* A program shows a token, ``Authorization: Bearer``; it has the token's role, and what else the token opens.
* A browser has a session: by a password, by a token, or by a one-time link that the daemon or its command printed.
* A calendar program cannot show a token, so each calendar's address carries a key that opens it alone, for reading.
* Being on this machine lets nobody in, but to what is configured so: metrics, and alerts of a Prometheus.
* A browser may change something only from our own pages (:func:`wcr_watchd.web.access.peer.is_own_page`).
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from wcr_watchd.core.access import ALERTS, METRICS, AccessSettings, ApiToken, Role, Session
from wcr_watchd.kit.outbound import OutboundHttp
from wcr_watchd.web.access.allowance import Allowance
from wcr_watchd.web.access.audit import Audit
from wcr_watchd.web.access.digest import digest_of
from wcr_watchd.web.access.links import OneTimeLinks
from wcr_watchd.web.access.open_id import OpenId
from wcr_watchd.web.access.own_passwords import OwnPasswords
from wcr_watchd.web.access.peer import is_direct, is_local, is_own_page, peer_is_loopback, unix_user
from wcr_watchd.web.access.roles import READING, VISITOR, Means, Visitor, needed
from wcr_watchd.web.access.sessions import Sessions
from wcr_watchd.web.access.sign_in import (
    ELSEWHERE,
    LONG_WAIT,
    MOST_FAILURES_RECORDED,
    PASSWORD,
    SHORT_WAIT,
    TOKEN,
    SignIn,
    bound_to,
)
from wcr_watchd.web.access.throttle import Throttle

ALERTS_PATH = "/api/v2/"
SIGN_IN = "/sign-in"
KEY_LENGTH = 32
"""Hexadecimal digits of a calendar's key: 128 bit."""


class Access:
    """Decides who may use the pages and the API.

    ``settings`` are those in force, ``key`` is what calendars' keys are made of, ``public_url`` where people reach the
    pages, ``address`` where this machine does, ``http`` asks the provider of single sign-on. ``monotonic`` gives
    seconds that nobody sets.
    """

    def __init__(
        self,
        settings: Callable[[], AccessSettings],
        audit: Audit,
        *,
        key: bytes,
        monotonic: Callable[[], float],
        http: OutboundHttp,
        public_url: Callable[[], str] = lambda: "",
        address: str = "",
    ) -> None:
        self._settings = settings
        self._key = key
        self._now = audit.now
        self._address = address
        self.public_url = public_url
        self.audit = audit
        self.sessions = Sessions(audit.records, audit.now, self._holds)
        self.own_passwords = OwnPasswords(audit.records, audit.now)
        self.links = OneTimeLinks(monotonic)
        self.sign_in = SignIn(
            lambda: self.settings,
            self.own_passwords,
            self.sessions,
            self.links,
            OpenId(lambda: self.settings.single_sign_on, lambda: self.public_url(), http, monotonic),
            audit,
            self.token,
            by_source=Throttle(monotonic, free=10, longest=LONG_WAIT),
            by_account=Throttle(monotonic, free=5, longest=SHORT_WAIT),
            recorded=Allowance(monotonic, most=MOST_FAILURES_RECORDED, seconds=3_600.0),
        )

    @property
    def settings(self) -> AccessSettings:
        """Those in force."""
        return self._settings()

    def visitor(self, request: web.Request) -> Visitor | None:
        """Who asks; None when it may not come in. A credential that is shown and wrong is not made up for."""
        if user := unix_user(request):
            return Visitor(user, Role.ADMIN, Means.SOCKET)
        if "Authorization" in request.headers:
            token = self.token(_bearer(request))
            return Visitor(token.name, token.role, Means.TOKEN, token.doors) if token else None
        if session := self.sessions.of(request):
            known = self.settings.users.get(session.name) if session.how == PASSWORD else None
            contact = known.contact if known else ""
            return Visitor(session.name, self._role_of(session), Means.SESSION, contact=contact)
        if self.settings.alerts_without_token and request.path.startswith(ALERTS_PATH) and is_local(request):
            return Visitor("alerts", Role.NONE, Means.LOOPBACK, frozenset({ALERTS}))
        return Visitor("calendar", Role.VIEWER, Means.CALENDAR) if self._has_key(request) else None

    def token(self, given: str) -> ApiToken | None:
        """The token that was shown, while it holds."""
        digest = bytes.fromhex(digest_of(given))
        for token in self.settings.tokens:
            if hmac.compare_digest(token.digest, digest):
                return token if self._is_valid(token) else None
        return None

    def key_of(self, path: str) -> str:
        """What opens this one calendar for whoever cannot show a token."""
        return hmac.new(self._key, f"calendar {path}".encode(), "sha256").hexdigest()[:KEY_LENGTH]

    def may_read_metrics(self, request: web.Request) -> bool:
        """Whether the visitor may read ``/metrics``.

        A browser on this machine must sign in or mean this machine: a page from anywhere could make it ask.
        """
        if self.settings.metrics_for_all or is_local(request):
            return True
        if is_direct(request) and peer_is_loopback(request) and "Accept-Language" not in request.headers:
            return True
        visitor = self.visitor(request)
        return visitor is not None and (visitor.role >= Role.VIEWER or METRICS in visitor.doors)

    def link_for(self, name: str) -> str:
        """A new link that signs somebody in once, as an admin under this name."""
        return (self.public_url().rstrip("/") or self._address) + self.links.path_for(name)

    def _holds(self, session: Session) -> bool:
        """Whether the credential behind a session is still there, and the same."""
        if session.how == PASSWORD:
            user = self.settings.users.get(session.name)
            return user is not None and bound_to(self.own_passwords.of(user)) == session.bound
        if session.how == TOKEN:
            return any(one.digest.hex() == session.bound and self._is_valid(one) for one in self.settings.tokens)
        if session.how == ELSEWHERE:
            return session.bound == self.sign_in.open_id.bound()
        return True

    def _role_of(self, session: Session) -> Role:
        """What the configuration says now; a session does not keep a role that was taken away."""
        if session.how == PASSWORD:
            return self.settings.users[session.name].role
        if session.how == TOKEN:
            return next(one.role for one in self.settings.tokens if one.digest.hex() == session.bound)
        return session.role

    def _is_valid(self, token: ApiToken) -> bool:
        return token.expires_at is None or self._now() < token.expires_at

    def _has_key(self, request: web.Request) -> bool:
        given = request.query.get("key", "").encode()
        reads_calendar = request.method in READING and request.path.endswith(".ics")
        return reads_calendar and hmac.compare_digest(given, self.key_of(request.path).encode())


ACCESS = web.AppKey("access", Access)


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
            return _refuse(request)
        role = needed(request.method, request.match_info.handler)
        opened = ALERTS in visitor.doors and route.startswith(ALERTS_PATH)
        request[VISITOR] = visitor
        if visitor.role < role and not opened:
            raise web.HTTPForbidden(text=f"this needs the role {role.word}; {visitor.name} has {visitor.role.word}\n")
        meant = is_own_page(request, access.public_url(), ambient=visitor.means is Means.SESSION)
        if request.method not in READING and not meant:
            raise web.HTTPForbidden(text="this request comes from another site; act on the dashboard itself\n")
        return await handler(request)

    return let_in


def _refuse(request: web.Request) -> web.StreamResponse:
    if request.path.startswith("/api/"):
        text = json.dumps({"error": "show a token: Authorization: Bearer <a token of the configuration>"})
        raise web.HTTPUnauthorized(text=text, content_type="application/json", headers={"WWW-Authenticate": "Bearer"})
    after = quote(request.path_qs) if request.method == "GET" and request.path != "/" else ""
    raise web.HTTPSeeOther(f"{SIGN_IN}?next={after}" if after else SIGN_IN)


def _bearer(request: web.Request) -> str:
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    return given.strip() if scheme.lower() == "bearer" else ""
