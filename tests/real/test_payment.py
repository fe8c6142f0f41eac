"""Payment providers: peers that are true to the documented shapes of PayPal's and Stripe's answers, on loopback.

https://developer.paypal.com/api/rest/authentication/ and https://docs.stripe.com/api/balance
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import ValidationError

from tests.real.running import Observe, measured, names, probe_of
from tests.real.servers.odd import Odd
from wcr_watchd.core.model import Outcome

Serve = Callable[..., Awaitable[Odd]]
PAYPAL: dict[str, Any] = {"provider": "paypal", "client_id": "the-app", "client_secret": "sEcret-of-the-app"}
STRIPE: dict[str, Any] = {"provider": "stripe", "key": "rk_live_0123456789abcdef"}
TOKEN = {
    "scope": "https://uri.paypal.com/services/payments/payment",
    "access_token": "A21AAFEpH4PsADK7qSS7pSRsgzfENtu",
    "token_type": "Bearer",
    "app_id": "APP-80W284485P519543T",
    "expires_in": 31668,
    "nonce": "2020-04-03T15:35:36ZaYZlGvEkV4yVSz8g6bAKFoGSEzuy3CQcz3ljhibkOHg",
}
BALANCE = {
    "object": "balance",
    "available": [{"amount": 666670, "currency": "usd", "source_types": {"card": 666670}}],
    "connect_reserved": [{"amount": 0, "currency": "usd"}],
    "livemode": True,
    "pending": [{"amount": 61414, "currency": "usd", "source_types": {"card": 61414}}],
}


def answer(body: Any, status: str = "200 OK") -> bytes:
    raw = (body if isinstance(body, str) else json.dumps(body)).encode()
    return f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n".encode() + raw


async def test_paypal_gives_a_token_and_nothing_is_charged(odd: Serve, observe: Observe) -> None:
    server = await odd(answer(TOKEN))
    seen = await observe("payment", url=server.url("/"), **PAYPAL)
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "token_lifetime") == 31668
    assert measured(seen, "live") == 1
    assert "response_time" in names(seen)
    (head,) = server.requests
    assert head.startswith("POST /v1/oauth2/token HTTP/1.1")
    assert f"Basic {base64.b64encode(b'the-app:sEcret-of-the-app').decode()}" in head
    assert TOKEN["access_token"] not in repr(seen)


async def test_stripe_shows_the_balance(odd: Serve, observe: Observe) -> None:
    server = await odd(answer(BALANCE))
    seen = await observe("payment", url=server.url("/"), **STRIPE)
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "live") == 1
    assert "666670" not in repr(seen), "how much there is, is nobody's business"
    (head,) = server.requests
    assert head.startswith("GET /v1/balance HTTP/1.1")
    assert "Authorization: Bearer rk_live_0123456789abcdef" in head


async def test_a_key_of_the_test_mode_is_told(odd: Serve, observe: Observe) -> None:
    server = await odd(answer(BALANCE | {"livemode": False}))
    seen = await observe("payment", url=server.url("/"), mode="live", **STRIPE)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")
    assert "in test mode; expected live mode" in seen.summary
    assert measured(seen, "live") == 0


@pytest.mark.parametrize(
    ("options", "status", "body", "reason", "says"),
    [
        (
            PAYPAL,
            "401 Unauthorized",
            {"error": "invalid_client", "error_description": "Client Authentication failed"},
            "auth",
            "401: Client Authentication failed",
        ),
        (
            STRIPE,
            "401 Unauthorized",
            {"error": {"message": "Expired API Key provided: rk_***", "type": "invalid_request_error"}},
            "auth",
            "Expired API Key",
        ),
        (STRIPE, "403 Forbidden", {"error": {"message": "no permission for 'balance_read'"}}, "auth", "balance_read"),
        (STRIPE, "500 Internal Server Error", "oops", "status", "answered 500"),
        (PAYPAL, "302 Found", "", "status", "answered 302"),
        (PAYPAL, "200 OK", {"token_type": "Bearer"}, "content", "no access token"),
        (PAYPAL, "200 OK", [1], "content", "no access token"),
        (STRIPE, "200 OK", {"object": "charge"}, "content", "no balance"),
        (STRIPE, "200 OK", '{"a":' * 50_000, "content", "no balance"),
    ],
)
async def test_what_is_no_sign_in_is_down(
    odd: Serve, observe: Observe, options: dict[str, Any], status: str, body: Any, reason: str, says: str
) -> None:
    server = await odd(answer(body, status))
    seen = await observe("payment", url=server.url("/"), **options)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, reason)
    assert says in seen.summary
    assert "sEcret" not in seen.summary
    assert "rk_live" not in seen.summary


async def test_nobody_there_is_down_and_a_missing_file_unknown(observe: Observe) -> None:
    seen = await observe("payment", url="http://127.0.0.1:1", **STRIPE)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect")
    seen = await observe("payment", url="https://127.0.0.1:1", ca_file="/no/such/file", **STRIPE)
    assert seen.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("options", [{}, {"client_id": "x"}, {"key": "x"}, PAYPAL | {"key": "x"}])
def test_credentials_must_be_there(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="paypal needs client_id and client_secret"):
        probe_of("payment", {"provider": "paypal"} | options)
