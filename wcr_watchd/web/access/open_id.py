"""Single sign-on: the authorization code flow of OpenID Connect with PKCE, as a confidential client.

OpenID Connect Core 1.0, Discovery 1.0 and RP-Initiated Logout 1.0, RFC 7636 (PKCE), RFC 9207 (issuer in the answer),
and the advice of RFC 9700: exact redirect address, S256, state and nonce that are used once and bound to the browser
that began.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import jwt
import structlog
from aiohttp import web

from wcr_watchd.core.access import Role, SingleSignOn
from wcr_watchd.core.errors import ChannelError
from wcr_watchd.kit.outbound import OutboundHttp, Reply
from wcr_watchd.web.access.digest import digest_of
from wcr_watchd.web.access.peer import is_https
from wcr_watchd.web.access.refused import SignInRefusedError

log = structlog.get_logger(__name__)

START, CALLBACK = "/sign-in/elsewhere", "/sign-in/elsewhere/back"
SIGNED_OUT = "/sign-in"
"""Where the provider sends people to who have signed out there."""
COOKIE = "watchd_elsewhere"
BACK_WITHIN = 600.0
"""Seconds that signing in at the provider may take."""
MOST_UNDER_WAY = 1_000
MOST_REMEMBERED = 1_000
ANSWER_WITHIN = 10.0
"""Seconds for one answer of the provider."""
END_WITHIN = 3.0
"""Seconds to learn where a session ends there; whoever signs out is signed out here by then."""
JSON = {"Accept": "application/json"}
KEEP_METADATA = 3_600.0
KEYS_AGAIN_AFTER = 60.0
"""Seconds between two looks for a key that was not there: a made-up key id must not make us ask at each request."""
CLOCKS_DIFFER = 60.0
ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"},
)
"""Signatures by a key that only the provider has: neither none nor one by a secret that we share."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whom the provider vouches for, and what the configuration makes of them."""

    name: str
    role: Role
    after: str
    """The path to go on to."""
    id_token: str
    """What the provider vouched with; shown to it when the session is to end there, too."""


@dataclass(frozen=True, slots=True)
class _UnderWay:
    nonce: str
    verifier: str
    browser: str
    after: str
    until: float


@dataclass(slots=True)
class OpenId:
    """Sends browsers to the provider and checks what they bring back.

    ``settings`` are those in force, ``public_url`` is where the provider sends people back to, ``clock`` gives
    monotonic seconds.
    """

    settings: Callable[[], SingleSignOn | None]
    public_url: Callable[[], str]
    http: OutboundHttp
    clock: Callable[[], float]
    _under_way: dict[str, _UnderWay] = field(default_factory=dict)
    _metadata: tuple[str, float, Mapping[str, Any]] = ("", 0.0, MappingProxyType({}))
    """Issuer, until when it is believed, and its description."""
    _keys: tuple[str, float, Sequence[jwt.PyJWK]] = ("", 0.0, ())
    """Address, when they were read, and the keys."""
    _id_tokens: dict[str, str] = field(default_factory=dict)
    """By the digest of a session. Not stored: after a restart the provider asks who it is that signs out."""

    async def begin(self, request: web.Request, after: str) -> web.Response:
        """The answer that sends the browser to the provider. Raises :class:`SignInRefusedError`."""
        settings = self._set()
        endpoint = _endpoint(await self._described(settings), "authorization_endpoint", settings)
        state, nonce, verifier, browser = (secrets.token_urlsafe(32) for _ in range(4))
        now = self.clock()
        self._under_way = {key: one for key, one in self._under_way.items() if one.until > now}
        while len(self._under_way) >= MOST_UNDER_WAY:
            del self._under_way[next(iter(self._under_way))]
        self._under_way[digest_of(state)] = _UnderWay(nonce, verifier, digest_of(browser), after, now + BACK_WITHIN)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": settings.client_id,
            "redirect_uri": self._redirect_uri(),
            "scope": " ".join(settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        separator = "&" if urlsplit(endpoint).query else "?"
        answer = web.Response(status=303, headers={"Location": f"{endpoint}{separator}{urlencode(asked)}"})
        secure = is_https(request)
        answer.set_cookie(
            COOKIE, browser, max_age=round(BACK_WITHIN), path=START, httponly=True, samesite="Lax", secure=secure
        )
        return answer

    async def finish(self, request: web.Request) -> Person:
        """Who came back from the provider. Raises :class:`SignInRefusedError`."""
        settings, query = self._set(), request.query
        under_way = self._under_way.pop(digest_of(query.get("state", "")), None)
        browser = digest_of(request.cookies.get(COOKIE, ""))
        if under_way is None or under_way.until <= self.clock() or under_way.browser != browser:
            raise SignInRefusedError("This sign-in was not begun in this browser, or it took too long; begin again.")
        if query.get("iss", settings.issuer) != settings.issuer:
            raise SignInRefusedError("The answer comes from another provider than the one that was asked.")
        if "code" not in query:
            said = query.get("error_description") or query.get("error", "no code")
            raise SignInRefusedError(f"The provider let nobody in: {said[:200]}")
        described = await self._described(settings)
        tokens = await self._exchanged(settings, described, query["code"], under_way.verifier)
        claims = await self._checked(settings, described, str(tokens.get("id_token", "")), under_way.nonce)
        claims = await self._completed(settings, described, claims, str(tokens.get("access_token", "")))
        return _person(settings, claims, under_way.after, str(tokens["id_token"]))

    def remember(self, session: str, id_token: str) -> None:
        """Keep what the provider vouched with for the session of this digest, until it ends."""
        while len(self._id_tokens) >= MOST_REMEMBERED:
            del self._id_tokens[next(iter(self._id_tokens))]
        self._id_tokens[session] = id_token

    async def way_out(self, session: str) -> str:
        """Where the browser of a session (by its digest) ends what it has at the provider (RP-Initiated Logout 1.0, 2).

        Empty where the provider offers nothing like that, it is not wanted, or the provider does not answer.
        """
        id_token, settings = self._id_tokens.pop(session, ""), self.settings()
        if settings is None or not settings.ends_there:
            return ""
        try:
            async with asyncio.timeout(END_WITHIN):
                described = await self._described(settings)
            if "end_session_endpoint" not in described:
                return ""
            endpoint = _endpoint(described, "end_session_endpoint", settings)
        except (SignInRefusedError, TimeoutError):
            return ""
        asked = {
            "client_id": settings.client_id,
            "post_logout_redirect_uri": self.public_url().rstrip("/") + SIGNED_OUT,
            **({"id_token_hint": id_token} if id_token else {}),
        }
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(asked)}"

    def bound(self) -> str:
        """The fingerprint of the settings: sessions end when any of them changes."""
        return digest_of(repr(self.settings()))

    def _set(self) -> SingleSignOn:
        settings = self.settings()
        if settings is None:
            raise SignInRefusedError("Single sign-on is not configured.")
        return settings

    def _redirect_uri(self) -> str:
        return self.public_url().rstrip("/") + CALLBACK

    async def _described(self, settings: SingleSignOn) -> Mapping[str, Any]:
        """The provider's description of itself (Discovery 4)."""
        issuer, until, known = self._metadata
        if issuer == settings.issuer and self.clock() < until:
            return known
        found = await self._document(settings.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != settings.issuer:
            raise _unusable(f"it calls itself {found.get('issuer')!r}, the configuration {settings.issuer!r}")
        self._metadata = settings.issuer, self.clock() + KEEP_METADATA, found
        return found

    async def _exchanged(
        self, settings: SingleSignOn, described: Mapping[str, Any], code: str, verifier: str
    ) -> Mapping[str, Any]:
        """The tokens for a code (Core 3.1.3)."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri(),
            "code_verifier": verifier,
        }
        auth = None
        if "client_secret_basic" in described.get("token_endpoint_auth_methods_supported", ["client_secret_basic"]):
            # Both are encoded as in a form before they are joined (RFC 6749, 2.3.1).
            auth = quote(settings.client_id, safe=""), quote(settings.client_secret, safe="")
        else:
            form |= {"client_id": settings.client_id, "client_secret": settings.client_secret}
        url = _endpoint(described, "token_endpoint", settings)
        reply = await self._asked(url, method="POST", body=urlencode(form).encode(), auth=auth)
        if not reply.accepted:
            raise _unusable(f"it did not take the code: {reply.document().get('error', reply.status)}")
        return reply.document()

    async def _checked(
        self, settings: SingleSignOn, described: Mapping[str, Any], token: str, nonce: str
    ) -> Mapping[str, Any]:
        """The claims of an ID token that holds (Core 3.1.3.7)."""
        offered = described.get("id_token_signing_alg_values_supported", ["RS256"])
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(settings, described, header)
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=sorted(ALGORITHMS.intersection(offered)),
                audience=settings.client_id,
                issuer=settings.issuer,
                leeway=CLOCKS_DIFFER,
                options={"require": ["iss", "sub", "aud", "exp", "iat", "nonce"]},
            )
        except jwt.PyJWTError as error:
            raise _unusable(f"its ID token does not hold: {error}") from error
        if not secrets.compare_digest(str(claims["nonce"]), nonce):
            raise _unusable("its ID token is for another sign-in")
        if claims.get("azp", settings.client_id) != settings.client_id:
            raise _unusable("its ID token is for another program")
        return claims

    async def _key(self, settings: SingleSignOn, described: Mapping[str, Any], header: Mapping[str, Any]) -> jwt.PyJWK:
        """The provider's key that a token names, asked for anew when it is not among those that are known."""
        url = _endpoint(described, "jwks_uri", settings)
        known_url, read_at, keys = self._keys
        found = _matching(keys, header) if known_url == url else None
        if found is None and (known_url != url or self.clock() >= read_at + KEYS_AGAIN_AFTER):
            keys = _keys_of(await self._document(url))
            self._keys = url, self.clock(), keys
            found = _matching(keys, header)
        if found is None:
            raise _unusable("its ID token is signed with a key that it does not publish")
        return found

    async def _completed(
        self, settings: SingleSignOn, described: Mapping[str, Any], claims: Mapping[str, Any], access_token: str
    ) -> Mapping[str, Any]:
        """The claims, with those that the provider tells only when it is asked once more (Core 5.3)."""
        if "userinfo_endpoint" not in described or not access_token or {"email", settings.claim} <= claims.keys():
            return claims
        url = _endpoint(described, "userinfo_endpoint", settings)
        told = await self._document(url, {"Authorization": f"Bearer {access_token}"})
        if told.get("sub") != claims["sub"]:
            raise _unusable("what it tells about the person is about another one")
        return {**told, **claims}

    async def _document(self, url: str, headers: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        reply = await self._asked(url, headers=headers)
        if reply.status != 200 or not reply.document():
            raise _unusable(f"{urlsplit(url).path} is answered with status {reply.status} and no JSON object")
        return reply.document()

    async def _asked(
        self,
        url: str,
        *,
        method: str = "GET",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> Reply:
        form = "application/x-www-form-urlencoded"
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                return await self.http.send(
                    url, body, content_type=form, method=method, headers={**JSON, **(headers or {})}, auth=auth
                )
        except ChannelError as error:
            raise _unusable(error.summary) from error
        except TimeoutError as error:
            raise _unusable(f"no answer within {ANSWER_WITHIN:.0f} s") from error


def _unusable(why: str) -> SignInRefusedError:
    log.warning("single sign-on does not work", why=why)
    return SignInRefusedError(f"The provider cannot be used: {why}")


def _endpoint(described: Mapping[str, Any], name: str, settings: SingleSignOn) -> str:
    """An address that the provider names; never a less safe one than its own."""
    url = str(described.get(name, ""))
    if urlsplit(url).scheme != "https" and urlsplit(url).scheme != urlsplit(settings.issuer).scheme:
        raise _unusable(f"it names no {name} that is as safe as itself")
    return url


def _keys_of(document: Mapping[str, Any]) -> list[jwt.PyJWK]:
    """Keys for signatures; those of kinds that are not known are no use and left out."""
    found = []
    listed = document.get("keys")
    for one in listed if isinstance(listed, list) else ():
        try:
            if isinstance(one, dict) and one.get("use", "sig") == "sig" and one.get("kty") != "oct":
                found.append(jwt.PyJWK(one))
        except jwt.PyJWTError:
            continue
    return found


def _matching(keys: Sequence[jwt.PyJWK], header: Mapping[str, Any]) -> jwt.PyJWK | None:
    """The key with the token's key id; without an id, the only one there is."""
    if "kid" in header:
        return next((key for key in keys if key.key_id == header["kid"]), None)
    return keys[0] if len(keys) == 1 else None


def _person(settings: SingleSignOn, claims: Mapping[str, Any], after: str, id_token: str) -> Person:
    subject = str(claims["sub"])
    mail = str(claims.get("email", "")).lower() if claims.get("email_verified") is True else ""
    name = mail or f"{subject} by {settings.label}"
    if settings.allowed and not any(_is_allowed(one, subject, mail) for one in settings.allowed):
        raise SignInRefusedError(f"{name} may not come in: no entry of `allow` in [oidc] is about this person.")
    # An address that is not verified may be anybody's: it gives no role, either.
    said = mail if settings.claim == "email" else claims.get(settings.claim, ())
    values = {str(one) for one in (said if isinstance(said, list) else [said])} if said else set()
    for role, wanted in settings.roles:
        if wanted & values or "*" in wanted:
            return Person(name, role, after, id_token)
    shown = json.dumps(sorted(values))
    raise SignInRefusedError(
        f"{name} has no role here: `{settings.claim}` says {shown}; see [oidc] in the configuration."
    )


def _is_allowed(entry: str, subject: str, mail: str) -> bool:
    if entry.startswith("*@"):
        return bool(mail) and mail.endswith(entry[1:].lower())
    return entry == subject or (bool(mail) and entry.lower() == mail)
