"""Signs in at a payment provider as the shop does, and never charges anything.

PayPal: fetches an access token (`POST /v1/oauth2/token`, OAuth 2.0 client credentials, RFC 6749 section 4.4) and does
nothing with it. Stripe: reads the balance (`GET /v1/balance`); a restricted key that may read the balance and nothing
else is enough. Whether keys of the test mode stand in production is said as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import aiohttp
from pydantic import AfterValidator, model_validator
from yarl import URL

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.fetch import NotFetchedError, fetch
from wcr_watchd.kit.http import Answer, Request
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.tls import TlsSettings

_PROVIDERS = {"paypal": "https://api-m.paypal.com", "stripe": "https://api.stripe.com"}


def _url(url: str) -> str:
    parsed = URL(url)
    if url and (parsed.scheme not in ("http", "https") or not parsed.raw_host or parsed.user):
        raise ValueError('must begin with "https://", name a host and hold no password')
    return url.rstrip("/")


class Payment(Options):
    """Signs in at a payment provider."""

    type: ClassVar[str] = "payment"
    target_key: ClassVar[str] = "provider"
    every: ClassVar[float] = 300.0
    timeout: ClassVar[float] = 20.0
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("response_time", Unit.SECONDS, "Time until the provider had answered"),
        MeasurementSpec("token_lifetime", Unit.SECONDS, "For how long the access token is good (PayPal)"),
        MeasurementSpec("live", Unit.COUNT, "1 when the key is one of the live mode, 0 for test mode"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down for 3x"),
        (Severity.WARNING, "response_time > 5s for 3x"),
    )
    example: ClassVar[str] = 'provider = "stripe"\nkey = "rk_live_0123456789abcdef"\n'

    provider: Literal["paypal", "stripe"]
    """Who is asked."""
    client_id: str = ""
    """PayPal: the app's client id."""
    client_secret: Secret | None = None
    """PayPal: the app's secret."""
    key: Secret | None = None
    """Stripe: a key that may read the balance."""
    url: Annotated[str, AfterValidator(_url)] = ""
    """Where its API is; default: the live one ("https://api-m.sandbox.paypal.com" for PayPal's sandbox)."""
    mode: Literal["live", "test", "any"] = "any"
    """Which mode the key must be of; what is of the other one is down."""
    ca_file: str = ""
    """File with the certificate authorities to trust instead of the system's, PEM."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.provider == "paypal" and not (self.client_id and self.client_secret and not self.key):
            raise ValueError("paypal needs client_id and client_secret")
        if self.provider == "stripe" and (self.key is None or self.client_id or self.client_secret):
            raise ValueError("stripe needs a key, and nothing else to sign in")
        return self

    @property
    def target(self) -> str:
        """Whose API, and where."""
        return f"{self.provider} at {self._base}"

    @property
    def _base(self) -> str:
        return self.url or _PROVIDERS[self.provider]

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Sign in once."""
        try:
            answer = await fetch(run, self._request())
        except NotFetchedError as error:
            say = run.unknown if error.ours else run.down
            return say(error.reason, f"{self.target}: {error.summary}")
        run.measure("response_time", run.elapsed)
        said = _json(answer)
        if answer.status != 200:
            return self._refused(run, answer, said)
        return self._paypal(run, said) if self.provider == "paypal" else self._stripe(run, said)

    def _request(self) -> Request:
        tls = TlsSettings(ca_file=self.ca_file)
        if self.provider == "stripe":
            bearer = f"Bearer {self.key.get_secret_value() if self.key else ''}"
            return Request("GET", URL(f"{self._base}/v1/balance"), {"Authorization": bearer}, tls=tls, redirects=0)
        secret = self.client_secret.get_secret_value() if self.client_secret else ""
        headers = {
            "Authorization": aiohttp.encode_basic_auth(self.client_id, secret),
            "Content-Type": "application/x-www-form-urlencoded",
        }
        body = b"grant_type=client_credentials"
        return Request("POST", URL(f"{self._base}/v1/oauth2/token"), headers, body, tls=tls, redirects=0)

    def _refused(self, run: Run, answer: Answer, said: Mapping[str, Any]) -> Observation:
        """PayPal says ``error`` and ``error_description``, Stripe ``error.message``."""
        error = said.get("error")
        words = error.get("message") if isinstance(error, dict) else said.get("error_description", error)
        because = f": {str(words)[:200]}" if words else ""
        if answer.status in (401, 403):
            return run.down("auth", f"{self.target} refuses the credentials ({answer.status}{because}); check them")
        return run.down("status", f"{self.target} answered {answer.status} {answer.phrase}{because}, expected 200")

    def _paypal(self, run: Run, said: Mapping[str, Any]) -> Observation:
        lifetime = said.get("expires_in")
        if not isinstance(said.get("access_token"), str) or not said["access_token"]:
            return run.down("content", f"{self.target} answered 200, but with no access token")
        if isinstance(lifetime, int | float) and not isinstance(lifetime, bool):
            run.measure("token_lifetime", lifetime)
        return self._in_mode(run, "sandbox" not in (URL(self._base).host or ""), "gives an access token")

    def _stripe(self, run: Run, said: Mapping[str, Any]) -> Observation:
        if said.get("object") != "balance" or not isinstance(said.get("available"), list):
            return run.down("content", f"{self.target} answered 200, but with no balance")
        return self._in_mode(run, said.get("livemode") is True, "shows the balance")

    def _in_mode(self, run: Run, live: bool, does: str) -> Observation:
        run.measure("live", live)
        mode = "live" if live else "test"
        if self.mode not in ("any", mode):
            return run.down("content", f"{self.target} {does}, but in {mode} mode; expected {self.mode} mode")
        return run.up(f"{self.target} {does} in {format_duration(run.elapsed)} ({mode} mode)")


def _json(answer: Answer) -> Mapping[str, Any]:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
