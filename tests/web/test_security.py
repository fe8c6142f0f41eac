"""Every route of the application, asked by whom it may not be asked: new routes are covered by being there."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web

from tests.web.access import SECRETS, TOKEN, access_for, api_token
from tests.web.showcase import NOW
from tests.web.test_sign_in import sign_in
from tests.web.test_web import Served, serve
from wcr_watchd.core.access import DOORS, AccessSettings, Role
from wcr_watchd.web.app import PUBLIC

PUBLIC_BECAUSE = {
    "/healthz": "whoever watches the watcher has no credential",
    "/readyz": "likewise; it tells no more than two numbers",
    "/metrics": "decides for itself: programs on this machine, a credential, or all as configured",
    "/probe": "decides for itself: the networks in [probe] allow, or a credential",
    "/ping/{rest}": "the key in the path is the credential",
    "/ack/{ticket}": "the signed ticket in the path is the credential",
    "/answer/{channel}": "the provider's signature is the credential",
    "/sign-in": "where one gets a credential",
    "/sign-in/elsewhere": "sends off to the provider of single sign-on",
    "/sign-in/elsewhere/back": "the provider's answer, for a sign-in that this browser began, is the credential",
    "/sign-in/once/{code}": "the code in the path is the credential",
    "/favicon.ico": "a picture that everybody has",
    "/static/{name}": "style, scripts and pictures of the sign-in page",
}
"""All that answers without a credential. Whatever is added to it needs a reason that holds."""
ADMIN = {
    ("POST", "/api/v1/reload"),
    ("POST", "/config/reload"),
    ("POST", "/api/v1/sign-in-links"),
    ("GET", "/api/v1/audit"),
    ("GET", "/audit"),
}
VIEWER = {("POST", "/sign-out"), ("POST", "/account/password")}
OPERATOR_READS = {("GET", "/status-posts/subscribers"), ("GET", "/api/v1/status-subscribers")}
"""What differs from: viewers read, operators do everything else."""
SOCKET_ONLY = {("POST", "/api/v1/sign-in-links")}
ALERTS = "/api/v2/"
ROLES = {
    "viewer": (SECRETS["viewer"], Role.VIEWER),
    "operator": ("a-secret-that-also-acts", Role.OPERATOR),
    "admin": (TOKEN, Role.ADMIN),
}
STRANGERS = {
    "nobody": {},
    "a wrong token": {"Authorization": "Bearer not-the-token-of-anybody"},
    "an empty token": {"Authorization": "Bearer "},
    "another scheme": {"Authorization": f"Basic {TOKEN}"},
    "a made-up session": {"Cookie": "watchd_session=made-up; __Host-watchd_session=made-up"},
    "a wrong key": {"X-Key": "nothing"},
}
ELSEWHERE = {
    "another origin": {"Origin": "https://evil.example"},
    "no origin": {"Origin": "null"},
    "another scheme of our name": {"Origin": "https://127.0.0.1"},
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "a neighbour": {"Sec-Fetch-Site": "same-site"},
    "another site that says it is ours": {"Sec-Fetch-Site": "cross-site", "Origin": "OURS"},
    "another page": {"Referer": "https://evil.example/page"},
    "nothing at all": {},
}


def settings() -> AccessSettings:
    tokens = [api_token(name, secret, role) for name, (secret, role) in ROLES.items()]
    return AccessSettings(
        tokens=(*tokens, *(api_token(door, SECRETS[door], Role.NONE, door) for door in sorted(DOORS)))
    )


@pytest.fixture
async def site() -> AsyncIterator[Served]:
    async for one in serve(access_for(settings(), now=lambda: NOW)):
        yield one


def canonical(route: web.AbstractRoute) -> str:
    assert route.resource is not None
    return route.resource.canonical


def routes(site: Served) -> Iterator[tuple[str, str, str]]:
    """Method, route, and a path that it answers, of all that needs a credential."""
    found = 0
    for route in site.app.router.routes():
        name = canonical(route)
        if name not in PUBLIC:
            found += 1
            yield route.method, name, re.sub(r"\{[^}]*\}", "42", name)
    assert found > 50, "the walk found the application's routes"


async def ask(site: Served, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
    """The status, and where it leads; the body is not waited for, as some are endless."""
    shown = {name: site.base if value == "OURS" else value for name, value in headers.items()}
    async with site.session.request(method, site.base + path, headers=shown, allow_redirects=False) as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers, "no other site's script may read this"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        return answer.status, answer.headers.get("Location", "")


def turned_away(method: str, path: str, status: int, location: str) -> bool:
    """Whether somebody unknown learned nothing but how to be known."""
    return status == 401 if path.startswith("/api/") else status == 303 and location.startswith("/sign-in")


def asked_for(method: str, name: str) -> Role:
    if (method, name) in ADMIN or (method == "HEAD" and ("GET", name) in ADMIN):
        return Role.ADMIN
    if ("GET", name) in OPERATOR_READS:
        return Role.OPERATOR
    return Role.VIEWER if method in {"GET", "HEAD"} or (method, name) in VIEWER else Role.OPERATOR


def test_what_is_public_is_so_for_a_reason() -> None:
    assert set(PUBLIC_BECAUSE) == PUBLIC


async def test_the_lists_here_name_what_is_there(site: Served) -> None:
    there = {(route.method, canonical(route)) for route in site.app.router.routes()}
    assert there >= ADMIN | VIEWER | OPERATOR_READS | SOCKET_ONLY
    assert {name for _, name in there} >= set(PUBLIC)


@pytest.mark.parametrize("who", STRANGERS)
async def test_strangers_are_turned_away_everywhere(site: Served, who: str) -> None:
    wrong = [
        (method, path)
        for method, _, path in routes(site)
        if not turned_away(method, path, *await ask(site, method, path, STRANGERS[who]))
    ]
    assert wrong == []
    assert turned_away("GET", "/nowhere", *await ask(site, "GET", "/nowhere", STRANGERS[who])), "not even what is not"
    assert turned_away("GET", "/api/nowhere", *await ask(site, "GET", "/api/nowhere", STRANGERS[who]))
    assert site.control.asked == site.control.acknowledged == []


@pytest.mark.parametrize("who", ROLES)
async def test_a_role_may_what_it_may_and_no_more(site: Served, who: str) -> None:
    secret, role = ROLES[who]
    wrong = []
    for method, name, path in routes(site):
        status, location = await ask(site, method, path, {"Authorization": f"Bearer {secret}"})
        assert status < 500, f"{method} {name} breaks; what it asks for belongs into the showcase"
        let_in = status not in {401, 403} and not location.startswith("/sign-in?")
        expected = role >= asked_for(method, name) and (method, name) not in SOCKET_ONLY
        if let_in != expected:
            wrong.append((method, name, status))
    assert wrong == []


@pytest.mark.parametrize("door", sorted(DOORS))
async def test_a_token_for_one_door_opens_no_other(site: Served, door: str) -> None:
    for method, name, path in routes(site):
        status, _ = await ask(site, method, path, {"Authorization": f"Bearer {SECRETS[door]}"})
        opened = door == "alerts" and name.startswith(ALERTS)
        assert (status != 403) == opened, (method, name, status)


@pytest.mark.parametrize("where", ELSEWHERE)
async def test_other_sites_make_nobodys_browser_do_anything(site: Served, where: str) -> None:
    session = await sign_in(site)
    asked = (list(site.control.asked), list(site.control.acknowledged))
    for method, name, path in routes(site):
        if method in {"GET", "HEAD"}:
            continue
        status, _ = await ask(site, method, path, session | ELSEWHERE[where])
        assert status == 403, (method, name)
    assert asked == (site.control.asked, site.control.acknowledged)
    assert (await site.get("/", **session))[0] == 200, "the session is still there: nothing signed it out"


@pytest.mark.parametrize("where", ["another origin", "another site", "a neighbour"])
async def test_other_sites_cannot_use_what_a_browser_is_trusted_for_without_a_cookie(site: Served, where: str) -> None:
    for method, name, path in routes(site):
        if method not in {"GET", "HEAD"}:
            status, _ = await ask(site, method, path, ELSEWHERE[where] | {"Authorization": f"Bearer {TOKEN}"})
            assert status == 403, (method, name)


async def test_reading_changes_nothing(site: Served) -> None:
    for method, _, path in routes(site):
        if method in {"GET", "HEAD"}:
            await ask(site, method, path, {"Authorization": f"Bearer {TOKEN}"})
    assert site.control.asked == site.control.acknowledged == []
    assert await site.access.audit.entries() == []


async def test_what_is_private_is_kept_nowhere_on_the_way(site: Served) -> None:
    for path in ("/", "/incidents/42", "/api/v1/status", "/account", "/nowhere"):
        async with site.session.get(site.base + path, headers={"Authorization": f"Bearer {TOKEN}"}) as answer:
            assert re.search("no-store|no-cache|private", answer.headers["Cache-Control"]), path
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert "Strict-Transport-Security" not in answer.headers
    async with site.session.get(site.base + "/sign-in", headers={"X-Forwarded-Proto": "https"}) as answer:
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
