"""An OpenID Connect provider as the standards have it, which can also be told to be wrong in one thing."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa

CLIENT, SECRET = "watchd", "a secret: with signs & such"
REDIRECT = "/sign-in/elsewhere/back"


@cache
def _keys() -> tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey]:
    """Made once: it takes a while."""
    first, second = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    return first, second, ec.generate_private_key(ec.SECP256R1())


class Provider:
    """Signs everybody in as ``person`` at once, without asking.

    ``id_token`` gets the claims and may return a token of its own making; ``documents`` are changes of the description.
    """

    def __init__(self) -> None:
        self.key, self.stranger, self.curve = _keys()
        self.person: dict[str, Any] = {
            "sub": "u-1",
            "email": "Ann@example.org",
            "email_verified": True,
            "groups": ["staff", "ops"],
        }
        self.userinfo: dict[str, Any] | None = None
        self.id_token: Callable[[dict[str, Any]], str] = self.signed
        self.documents: dict[str, Any] = {}
        self.error = ""
        self.issuer_said: str | None = None
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        self.base = ""
        self.key_id = "first"
        app = web.Application(middlewares=[self._note])
        app.router.add_get("/.well-known/openid-configuration", self._configuration)
        app.router.add_get("/authorize", self._authorize)
        app.router.add_post("/token", self._token)
        app.router.add_get("/keys", self._keys)
        app.router.add_get("/userinfo", self._userinfo)
        self.runner = web.AppRunner(app, access_log=None)

    async def start(self) -> None:
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.base = f"http://127.0.0.1:{self.runner.addresses[0][1]}"

    def signed(self, claims: dict[str, Any], key: Any = None, algorithm: str = "RS256", **header: Any) -> str:
        """An ID token; by this provider's own key unless told otherwise."""
        return jwt.encode(claims, key or self.key, algorithm=algorithm, headers={"kid": self.key_id, **header})

    @web.middleware
    async def _note(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(request.path)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _configuration(self, request: web.Request) -> web.Response:
        document = {
            "issuer": self.base,
            "authorization_endpoint": f"{self.base}/authorize",
            "token_endpoint": f"{self.base}/token",
            "jwks_uri": f"{self.base}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"],
        }
        if self.userinfo is not None:
            document["userinfo_endpoint"] = f"{self.base}/userinfo"
        return web.json_response(document | self.documents)

    async def _authorize(self, request: web.Request) -> web.Response:
        query = dict(request.query)
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        assert query["redirect_uri"].endswith(REDIRECT)
        answer = {"state": query["state"]}
        if self.error:
            answer |= {"error": "access_denied", "error_description": self.error}
        else:
            answer["code"] = f"code-{len(self.asked)}"
            self.codes[answer["code"]] = query
        if self.issuer_said is not None:
            answer["iss"] = self.issuer_said
        raise web.HTTPSeeOther(f"{query['redirect_uri']}?{urlencode(answer)}")

    async def _token(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl(await request.text()))
        asked = self.codes.pop(form.get("code", ""), None)
        if asked is None or form.get("redirect_uri") != asked["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        proof = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=")
        if proof.decode() != asked["code_challenge"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        if not self._is_client(request, form):
            return web.json_response({"error": "invalid_client"}, status=401)
        now = int(time.time())
        claims = {"iss": self.base, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        body = {"access_token": "opaque", "token_type": "Bearer", "id_token": self.id_token(claims | self.person)}
        return web.json_response(body)

    def _is_client(self, request: web.Request, form: dict[str, str]) -> bool:
        if "client_secret_post" in self.documents.get("token_endpoint_auth_methods_supported", ()):
            return (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)
        scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
        name, _, secret = base64.b64decode(shown).decode().partition(":")
        return (scheme, unquote(name), unquote(secret)) == ("Basic", CLIENT, SECRET)

    async def _keys(self, request: web.Request) -> web.Response:
        rsa_key = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        curve_key = jwt.algorithms.ECAlgorithm.to_jwk(self.curve.public_key(), as_dict=True)
        keys = [
            rsa_key | {"kid": self.key_id, "use": "sig"},
            curve_key | {"kid": "curve"},
            {"kty": "OKP", "crv": "unknown", "kid": "odd"},
            {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        ]
        return web.json_response({"keys": keys})

    async def _userinfo(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer opaque"
        return web.json_response(self.userinfo)
