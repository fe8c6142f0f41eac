"""Single sign-on beside a provider of its own: it lets in whom it should, and is fooled by none of the known tricks."""

from __future__ import annotations

import base64
import html
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import aiohttp
import jwt
import pytest
from yarl import URL

from tests.web.access import MemoryRecords, access_for
from tests.web.provider import CLIENT, REDIRECT, SECRET, Provider
from tests.web.test_sign_in import Clock
from tests.web.test_web import Served, serve
from wcr_watchd.core.access import AccessSettings, Role, SingleSignOn
from wcr_watchd.kit.outbound import OutboundHttp
from wcr_watchd.web.access.open_id import BACK_WITHIN, KEYS_AGAIN_AFTER, MOST_REMEMBERED, MOST_UNDER_WAY

Claims = dict[str, Any]


class Site:
    """The dashboard, the provider, and a browser."""

    def __init__(self, served: Served, provider: Provider, clock: Clock, records: MemoryRecords) -> None:
        self.served, self.provider, self.clock, self.records = served, provider, clock, records
        self.browser = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))

    def configure(self, **changes: Any) -> None:
        """Change what the configuration says of the provider."""
        settings = replace(self.served.access.settings.single_sign_on, **changes)  # type: ignore[type-var]
        self.served.access._settings = lambda: AccessSettings(single_sign_on=settings)

    async def get(self, url: str, *, follow: bool = True) -> tuple[int, str, str]:
        """Status, address in the end or where it leads, and text."""
        async with self.browser.get(URL(url, encoded=True), allow_redirects=follow) as answer:
            where = answer.headers.get("Location", "") if not follow else str(answer.url)
            return answer.status, where, await answer.text()

    async def sign_in(self, after: str = "/account") -> tuple[int, str, str]:
        """Press the button, and go wherever it leads."""
        return await self.get(f"{self.served.base}/sign-in/elsewhere?next={after}")

    async def come_back(self) -> str:
        """Press the button and stop before the last step: the address that brings the answer."""
        _, there, _ = await self.get(f"{self.served.base}/sign-in/elsewhere?next=/", follow=False)
        return (await self.get(there, follow=False))[1]

    async def is_in(self) -> bool:
        return (await self.get(f"{self.served.base}/account", follow=False))[0] == 200


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    provider, clock, records, http = Provider(), Clock(), MemoryRecords(), OutboundHttp()
    await provider.start()
    wanted = SingleSignOn(
        label="the company",
        issuer=provider.base,
        client_id=CLIENT,
        client_secret=SECRET,
        scopes=("openid", "email"),
        allowed=(),
        claim="groups",
        roles=((Role.ADMIN, frozenset({"bosses"})), (Role.OPERATOR, frozenset({"ops"})), (Role.VIEWER, frozenset())),
    )
    public: list[str] = [""]
    access = access_for(AccessSettings(single_sign_on=wanted), now=clock, monotonic=clock, records=records, http=http)
    access.public_url = lambda: public[0]
    async for served in serve(access):
        public[0] = served.base
        found = Site(served, provider, clock, records)
        yield found
        await found.browser.close()
    await http.close()
    await provider.runner.cleanup()


async def test_the_button_leads_there_and_back_and_in(site: Site) -> None:
    assert "Sign in with the company" in (await site.get(f"{site.served.base}/sign-in"))[2]
    status, url, text = await site.sign_in("/account")
    assert (status, url) == (200, f"{site.served.base}/account")
    assert "ann@example.org" in text
    assert "operator" in text
    assert site.provider.asked == ["/.well-known/openid-configuration", "/authorize", "/token", "/keys"]
    assert [(one.who, one.means, one.result) for one in site.records.log] == [
        ("ann@example.org", "single sign-on", "done")
    ]
    assert SECRET not in str(site.records.kept)


async def test_what_is_asked_for_is_what_the_standards_want(site: Site) -> None:
    _, where, _ = await site.get(f"{site.served.base}/sign-in/elsewhere", follow=False)
    asked = URL(where).query
    assert asked["redirect_uri"] == site.served.base + REDIRECT
    assert min(len(asked[name]) for name in ("state", "nonce", "code_challenge")) >= 43
    assert SECRET not in where
    (cookie,) = [one for one in site.browser.cookie_jar if one.key == "watchd_elsewhere"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "Lax", "/sign-in/elsewhere")


@pytest.mark.parametrize(
    ("groups", "role"),
    [(["ops"], "operator"), (["bosses", "ops"], "admin"), ("ops", "operator"), (["staff"], ""), ([], ""), (None, "")],
)
async def test_a_claim_gives_the_role(site: Site, groups: object, role: str) -> None:
    site.provider.person["groups"] = groups
    status, _, text = await site.sign_in()
    assert (status, await site.is_in()) == ((200, True) if role else (403, False))
    assert (role or "has no role here") in text


@pytest.mark.parametrize("verified", [True, False])
async def test_a_verified_address_may_give_the_role(site: Site, verified: bool) -> None:
    site.configure(claim="email", roles=((Role.ADMIN, frozenset({"ann@example.org"})),))
    site.provider.person |= {"email_verified": verified}
    await site.sign_in()
    assert await site.is_in() == verified


@pytest.mark.parametrize(
    ("allowed", "person", "comes_in"),
    [
        (("ann@example.org",), {}, True),
        (("*@example.org",), {}, True),
        (("u-1",), {}, True),
        (("*@example.com", "ben@example.org"), {}, False),
        (("*@example.org",), {"email": "ann@evil-example.org"}, False),
        (("*@example.org",), {"email_verified": False}, False),
        (("ann@example.org",), {"email_verified": "true"}, False),
        (("ann@example.org",), {"email": None}, False),
    ],
)
async def test_only_who_is_allowed_comes_in(
    site: Site, allowed: tuple[str, ...], person: Claims, comes_in: bool
) -> None:
    site.configure(allowed=allowed)
    site.provider.person |= person
    await site.sign_in()
    assert await site.is_in() == comes_in


async def test_a_name_without_a_verified_address_cannot_be_anybody_elses(site: Site) -> None:
    site.provider.person |= {"sub": "root", "email": "boss@example.org", "email_verified": False}
    assert "root by the company" in (await site.sign_in())[2]


WRONG: dict[str, tuple[Callable[[Provider, Claims], str], str]] = {
    "nonce": (lambda p, c: p.signed(c | {"nonce": "of another sign-in"}), "for another sign-in"),
    "no nonce": (lambda p, c: p.signed({k: v for k, v in c.items() if k != "nonce"}), "nonce"),
    "audience": (lambda p, c: p.signed(c | {"aud": "another program"}), "Audience"),
    "authorized party": (lambda p, c: p.signed(c | {"aud": [CLIENT, "x"], "azp": "x"}), "for another program"),
    "issuer": (lambda p, c: p.signed(c | {"iss": "https://evil.example"}), "issuer"),
    "expired": (lambda p, c: p.signed(c | {"exp": int(time.time()) - 3_600}), "expired"),
    "no end": (lambda p, c: p.signed({k: v for k, v in c.items() if k != "exp"}), "exp"),
    "from the future": (lambda p, c: p.signed(c | {"iat": int(time.time()) + 3_600}), "not yet valid"),
    "no subject": (lambda p, c: p.signed({k: v for k, v in c.items() if k != "sub"}), "sub"),
    "signature": (lambda p, c: p.signed(c, p.stranger), "Signature"),
    "cut signature": (lambda p, c: p.signed(c).rpartition(".")[0] + ".", "Signature"),
    "alg none": (lambda p, c: jwt.encode(c, None, algorithm="none", headers={"kid": p.key_id}), "alg"),
    "alg HS256 with the client's secret": (
        lambda p, c: jwt.encode(c, SECRET * 2, algorithm="HS256", headers={"kid": p.key_id}),
        "alg",
    ),
    "a shared key": (lambda p, c: jwt.encode(c, "secret" * 8, algorithm="HS256", headers={"kid": "shared"}), "publish"),
    "unknown key": (lambda p, c: p.signed(c, p.stranger, kid="made-up"), "does not publish"),
    "a key in the token": (
        lambda p, c: p.signed(c, p.stranger, jwk=jwt.algorithms.RSAAlgorithm.to_jwk(p.stranger.public_key(), True)),
        "Signature",
    ),
    "changed claims": (lambda p, c: _changed(p.signed(c), c | {"groups": ["bosses"]}), "Signature"),
    "no token": (lambda p, c: "", "does not hold"),
    "nonsense": (lambda p, c: "a.b.c", "does not hold"),
}


def _changed(token: str, claims: Claims) -> str:
    """The token with other claims under the old signature."""
    header, _, signature = token.split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return f"{header}.{body}.{signature}"


@pytest.mark.parametrize("what", WRONG)
async def test_a_token_that_is_wrong_lets_nobody_in(site: Site, what: str) -> None:
    forge, said = WRONG[what]
    site.provider.id_token = lambda claims: forge(site.provider, claims)
    status, _, text = await site.sign_in()
    assert (status, await site.is_in()) == (403, False)
    assert "The provider cannot be used: its ID token" in text
    assert said.lower() in text.lower()
    assert site.records.log[-1].result.startswith("refused: The provider cannot be used")


async def test_an_answer_is_taken_once(site: Site) -> None:
    answer = await site.come_back()
    assert (await site.get(answer, follow=False))[0] == 303
    site.browser.cookie_jar.clear(lambda cookie: cookie.key == "watchd_session")
    status, _, text = await site.get(answer)
    assert (status, "begin again" in text, await site.is_in()) == (403, True, False)


@pytest.mark.parametrize("changes", [{"state": "made-up"}, {"state": ""}, {"state": None}])
async def test_an_answer_to_nothing_that_was_asked_is_refused(site: Site, changes: dict[str, str | None]) -> None:
    answer = URL(await site.come_back())
    query = {**answer.query, **changes}
    status, _, _ = await site.get(str(answer.with_query({k: v for k, v in query.items() if v is not None})))
    assert (status, await site.is_in()) == (403, False)
    assert "/token" not in site.provider.asked, "the code is not even looked at"


async def test_an_answer_counts_in_the_browser_that_asked(site: Site) -> None:
    """Else somebody could sign another's browser in as themselves (login CSRF)."""
    answer = await site.come_back()
    site.browser.cookie_jar.clear()
    assert (await site.get(answer))[0] == 403
    assert not await site.is_in()


async def test_an_answer_that_comes_too_late_is_refused(site: Site) -> None:
    answer = await site.come_back()
    site.clock.now += BACK_WITHIN
    assert (await site.get(answer))[0] == 403


async def test_another_providers_answer_is_refused(site: Site) -> None:
    site.provider.issuer_said = "https://evil.example"
    assert "another provider" in (await site.sign_in())[2]
    site.provider.issuer_said = site.provider.base
    assert (await site.sign_in())[0] == 200


async def test_what_the_provider_says_against_it_is_shown_as_text(site: Site) -> None:
    site.provider.error = "<script>alert(1)</script>"
    status, _, text = await site.sign_in()
    assert (status, "<script>alert" in text) == (403, False)
    assert "let nobody in" in text


async def test_a_code_that_is_not_taken_is_said(site: Site) -> None:
    answer = URL(await site.come_back())
    text = (await site.get(str(answer.update_query(code="made-up"))))[2]
    assert "it did not take the code: invalid_grant" in text


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ({"issuer": "https://evil.example"}, "calls itself"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "authorization_endpoint"),
        ({"authorization_endpoint": None}, "authorization_endpoint"),
    ],
)
async def test_a_description_that_is_wrong_is_not_used(site: Site, documents: Claims, said: str) -> None:
    site.provider.documents = documents
    status, _, text = await site.sign_in()
    assert (status, said in text) == (502, True)


async def test_a_provider_that_is_away_is_said(site: Site) -> None:
    await site.provider.runner.cleanup()
    status, _, text = await site.sign_in()
    assert (status, "The provider cannot be used: no answer" in text) == (502, True)


async def test_the_secret_may_go_in_the_form(site: Site) -> None:
    site.provider.documents = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    assert (await site.sign_in())[0] == 200


async def test_other_kinds_of_keys_and_renewed_ones(site: Site) -> None:
    provider = site.provider
    provider.id_token = lambda claims: provider.signed(claims, provider.curve, "ES256", kid="curve")
    assert (await site.sign_in())[0] == 200
    provider.id_token, provider.key_id = provider.signed, "second"
    assert (await site.sign_in())[0] == 403, "keys are not asked for at every request"
    site.clock.now += KEYS_AGAIN_AFTER
    assert (await site.sign_in())[0] == 200
    assert provider.asked.count("/keys") == 2


async def test_what_is_told_only_when_asked_once_more(site: Site) -> None:
    del site.provider.person["groups"]
    site.provider.userinfo = {"sub": "u-1", "groups": ["ops"]}
    assert (await site.sign_in())[0] == 200
    site.browser.cookie_jar.clear()
    site.provider.userinfo = {"sub": "u-2", "groups": ["bosses"]}
    status, _, text = await site.sign_in()
    assert (status, "about another one" in text) == (403, True)


async def test_sessions_end_when_the_configuration_of_the_provider_changes(site: Site) -> None:
    await site.sign_in()
    assert await site.is_in()
    site.configure(roles=((Role.VIEWER, frozenset({"*"})),))
    assert not await site.is_in()
    site.served.access._settings = AccessSettings
    assert (await site.sign_in())[0] == 502


async def test_sign_ins_that_nobody_finishes_are_few(site: Site) -> None:
    open_id = site.served.access.sign_in.open_id
    for _ in range(3):
        await site.get(f"{site.served.base}/sign-in/elsewhere", follow=False)
    (template, *_) = open_id._under_way.values()
    open_id._under_way |= {str(number): template for number in range(MOST_UNDER_WAY)}
    await site.get(f"{site.served.base}/sign-in/elsewhere", follow=False)
    assert len(open_id._under_way) == MOST_UNDER_WAY


async def sign_out(site: Site) -> tuple[int, str, str]:
    """Press the button: status, where it leads, and the page."""
    headers = {"Origin": site.served.base}
    async with site.browser.post(f"{site.served.base}/sign-out", headers=headers, allow_redirects=False) as answer:
        return answer.status, answer.headers.get("Location", ""), await answer.text()


def way_out(text: str) -> URL:
    """Where the page of who has signed out leads."""
    [there] = set(re.findall(r'(?:url=|href=")(http[^"]*)"', text))
    return URL(html.unescape(there), encoded=True)


async def test_who_signs_out_here_signs_out_there(site: Site) -> None:
    site.provider.documents = {"end_session_endpoint": f"{site.provider.base}/end?realm=x"}
    await site.sign_in()
    status, _, text = await sign_out(site)
    assert (status, await site.is_in()) == (200, False)
    there = way_out(text)
    assert str(there).startswith(f"{site.provider.base}/end?realm=x&")
    assert there.query["client_id"] == CLIENT
    assert there.query["post_logout_redirect_uri"] == f"{site.served.base}/sign-in"
    claims = jwt.decode(there.query["id_token_hint"], options={"verify_signature": False})
    assert claims["sub"] == "u-1"
    assert "You are signed out here" in text
    assert "Sign out everywhere" not in text


async def test_after_a_restart_the_provider_is_asked_without_the_token(site: Site) -> None:
    site.provider.documents = {"end_session_endpoint": f"{site.provider.base}/end"}
    await site.sign_in()
    site.served.access.sign_in.open_id._id_tokens.clear()
    assert way_out((await sign_out(site))[2]).query.keys() == {"client_id", "post_logout_redirect_uri"}


@pytest.mark.parametrize("why", ["it offers nothing", "it is not wanted", "it is less safe", "it is away"])
async def test_signing_out_here_alone(site: Site, why: str) -> None:
    if why != "it offers nothing":
        site.provider.documents = {"end_session_endpoint": f"{site.provider.base}/end"}
    if why == "it is less safe":
        site.provider.documents = {"end_session_endpoint": "javascript:alert(1)"}
    if why == "it is not wanted":
        site.configure(ends_there=False)
    await site.sign_in()
    if why == "it is away":
        await site.provider.runner.cleanup()
        site.served.access.sign_in.open_id._metadata = ("", 0.0, {})
    status, where, _ = await sign_out(site)
    assert (status, where, await site.is_in()) == (303, "/sign-in", False)


async def test_what_the_provider_vouched_with_is_kept_for_so_many_only(site: Site) -> None:
    open_id = site.served.access.sign_in.open_id
    for number in range(MOST_REMEMBERED + 5):
        open_id.remember(f"d{number}", "t")
    assert len(open_id._id_tokens) == MOST_REMEMBERED
    assert SECRET not in str(site.records.kept)
