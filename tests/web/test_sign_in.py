"""Signing in and out: by a token, by a link that works once; and that being on this machine is not enough."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from yarl import URL

from tests.web.access import SECRETS, TOKEN, access_for
from tests.web.test_web import Served, serve
from wcr_watchd.core.access import AccessSettings
from wcr_watchd.web.access.links import LINK_SECONDS, MOST_LINKS, OneTimeLinks
from wcr_watchd.web.access.sessions import COOKIE, IDLE_SECONDS, LONGEST_SECONDS, SECURE_COOKIE
from wcr_watchd.web.dashboard import sign_in as sign_in_page


class Clock:
    """A time that the test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def guarded(clock: Clock) -> AsyncIterator[Served]:
    async for one in serve(access_for(now=clock, monotonic=clock)):
        yield one


@pytest.fixture
async def nobody() -> AsyncIterator[Served]:
    async for one in serve(access_for(AccessSettings())):
        yield one


async def sign_in(served: Served, token: str = TOKEN, **headers: str) -> dict[str, str]:
    """The header of a browser that is signed in."""
    own = {"Origin": served.base, **{key.replace("_", "-"): value for key, value in headers.items()}}
    async with served.session.post(
        served.base + "/sign-in", data={"token": token}, headers=own, allow_redirects=False
    ) as answer:
        assert answer.status == 303, await answer.text()
        (cookie,) = answer.cookies.values()
    return {"Cookie": f"{cookie.key}={cookie.value}"}


async def test_being_on_this_machine_lets_nobody_in(nobody: Served) -> None:
    assert (await nobody.get("/"))[0] == 303
    assert (await nobody.get("/api/v1/status"))[0] == 401
    assert (await nobody.get("/api/v2/alerts"))[0] == 401
    assert (await nobody.post("/incidents/42/acknowledge"))[0] == 303
    assert nobody.control.acknowledged == []
    assert "sign-in-link" in (await nobody.get("/sign-in"))[1]


async def test_a_link_signs_in_once(nobody: Served) -> None:
    link = nobody.base + nobody.access.link_for("ann")
    async with nobody.session.head(link, allow_redirects=False) as answer:
        assert answer.headers["Location"] == "/sign-in", "looking at a link does not use it up"
    async with nobody.session.get(link, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (303, "/")
        cookie = answer.cookies[COOKIE]
    nobody.session.cookie_jar.clear()
    shown = {"Cookie": f"{COOKIE}={cookie.value}"}
    assert (await nobody.get("/", **shown))[0] == 200
    assert (await nobody.post("/incidents/42/acknowledge", Origin=nobody.base, **shown))[0] == 303
    assert nobody.control.acknowledged == [(42, "ann")]
    status, text = await nobody.get(nobody.access.link_for("ann") + "x")
    assert (status, "sign-in-link" in text) == (410, True)
    assert (await nobody.get(link.removeprefix(nobody.base)))[0] == 410


def test_links_expire_and_are_few() -> None:
    clock = Clock()
    links = OneTimeLinks(clock)
    codes = [links.path_for("ann").rpartition("/")[2] for _ in range(MOST_LINKS + 1)]
    assert links.take(codes[0]) == ""
    assert links.take(codes[1]) == "ann"
    clock.now += LINK_SECONDS
    assert links.take(codes[2]) == ""


async def test_links_are_made_over_the_unix_socket_only(tmp_path: Path, guarded: Served) -> None:
    own = {"Authorization": f"Bearer {TOKEN}"}
    assert (await guarded.post("/api/v1/sign-in-links", {}, **own))[0] == 403
    async for local in serve(access_for(), tmp_path / "s"):
        status, text = await local.post("/api/v1/sign-in-links", {})
        assert (status, "/sign-in/once/" in text) == (200, True)


async def test_signing_in_starts_a_session_and_signing_out_ends_it(guarded: Served) -> None:
    shown = await sign_in(guarded)
    assert (await guarded.get("/", **shown))[0] == 200
    assert (await guarded.post("/sign-out", Origin=guarded.base, **shown))[0] == 303
    assert (await guarded.get("/", **shown))[0] == 303


async def test_a_session_cookie_is_for_this_site_alone_and_for_no_script(guarded: Served) -> None:
    form = {"token": TOKEN}
    async with guarded.session.post(
        guarded.base + "/sign-in", data=form, headers={"Origin": guarded.base}, allow_redirects=False
    ) as answer:
        cookie = answer.cookies[COOKIE]
    assert cookie["httponly"]
    assert (cookie["samesite"], cookie["path"], cookie["domain"]) == ("Lax", "/", "")
    own = {"Origin": guarded.base.replace("http", "https"), "X-Forwarded-Proto": "https"}
    async with guarded.session.post(guarded.base + "/sign-in", data=form, headers=own, allow_redirects=False) as answer:
        cookie = answer.cookies[SECURE_COOKIE]
    assert cookie["secure"]
    assert (cookie["path"], cookie["domain"]) == ("/", "")


async def test_a_new_session_has_a_new_cookie_and_ends_the_one_before(guarded: Served) -> None:
    first = await sign_in(guarded)
    second = await sign_in(guarded, **first)
    assert first != second
    assert (await guarded.get("/", **first))[0] == 303
    assert (await guarded.get("/", **second))[0] == 200


async def test_a_session_ends_when_it_is_idle_and_at_last_in_any_case(guarded: Served, clock: Clock) -> None:
    shown = await sign_in(guarded)
    clock.now += IDLE_SECONDS - 1
    assert (await guarded.get("/", **shown))[0] == 200
    clock.now += IDLE_SECONDS
    assert (await guarded.get("/", **shown))[0] == 303
    shown = await sign_in(guarded)
    began = clock.now
    while clock.now < began + LONGEST_SECONDS - IDLE_SECONDS:
        clock.now += IDLE_SECONDS - 1
        assert (await guarded.get("/", **shown))[0] == 200
    clock.now = began + LONGEST_SECONDS
    assert (await guarded.get("/", **shown))[0] == 303


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "https://evil.example"}, {"Sec_Fetch_Site": "cross-site"}, {"Origin": "null"}]
)
async def test_what_a_browser_sends_by_itself_must_come_from_our_own_page(
    guarded: Served, headers: dict[str, str]
) -> None:
    shown = await sign_in(guarded)
    assert (await guarded.post("/incidents/42/acknowledge", **shown, **headers))[0] == 403
    assert guarded.control.acknowledged == []


@pytest.mark.parametrize("header", ["Origin", "Referer", "Sec_Fetch_Site"])
async def test_our_own_page_is_known_by_any_of_three_headers(guarded: Served, header: str) -> None:
    shown = await sign_in(guarded)
    value = {"Origin": guarded.base, "Referer": guarded.base + "/incidents/42", "Sec_Fetch_Site": "same-origin"}
    assert (await guarded.post("/incidents/42/acknowledge", **shown, **{header: value[header]}))[0] == 303


async def test_nobody_is_signed_in_by_another_site(guarded: Served) -> None:
    assert (await guarded.post("/sign-in", {"token": TOKEN}, Origin="https://evil.example"))[0] == 403
    assert (await guarded.post("/sign-in", {"token": TOKEN}))[0] == 403


async def test_after_signing_in_it_goes_on_where_one_wanted_to_be(guarded: Served) -> None:
    async with guarded.session.get(guarded.base + "/incidents/42?contact=lead", allow_redirects=False) as answer:
        assert URL(answer.headers["Location"]).query["next"] == "/incidents/42?contact=lead"
    page = (await guarded.get("/sign-in?next=/incidents/42%3Fcontact%3Dlead"))[1]
    assert 'name="next" value="/incidents/42?contact=lead"' in page
    form = {"token": "wrong", "next": "/incidents/42"}
    text = (await guarded.post("/sign-in", form, Origin=guarded.base))[1]
    assert 'name="next" value="/incidents/42"' in text, "also after a mistake"


@pytest.mark.parametrize("after", ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "", "/a\nb"])
async def test_signing_in_leads_to_no_other_site(guarded: Served, after: str) -> None:
    form = {"token": TOKEN, "next": after}
    async with guarded.session.post(
        guarded.base + "/sign-in", data=form, headers={"Origin": guarded.base}, allow_redirects=False
    ) as answer:
        assert answer.headers["Location"] == "/"


async def test_a_token_that_opens_single_doors_does_not_sign_in(guarded: Served) -> None:
    assert (await guarded.post("/sign-in", {"token": SECRETS["metrics"]}, Origin=guarded.base))[0] == 403


async def test_a_wrong_credential_is_not_made_up_for_by_another(guarded: Served) -> None:
    shown = await sign_in(guarded)
    assert (await guarded.get("/api/v1/status", **shown, Authorization="Bearer wrong"))[0] == 401


async def test_a_form_that_does_not_come_is_not_waited_for(guarded: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in_page, "BODY_WITHIN", 0.1)
    host, _, port = guarded.base.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /sign-in HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\nContent-Length: 100\r\n")
    writer.write(b"Content-Type: application/x-www-form-urlencoded\r\n\r\ntoken=")
    async with asyncio.timeout(20):
        assert b"408" in await reader.readline()
    writer.close()
    await writer.wait_closed()
