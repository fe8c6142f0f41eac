"""Signing in and out in a real browser, single sign-on, and the pages of account and audit log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.browser.chromium import PATIENCE, Browser, chromium
from tests.browser.test_live_page import look
from tests.web.access import MemoryRecords, access_for, api_token
from tests.web.provider import CLIENT, SECRET, Provider
from tests.web.showcase import NOW
from tests.web.test_sign_in import Clock
from tests.web.test_web import Served, serve
from wcr_watchd.core.access import AccessSettings, Role, SingleSignOn, User
from wcr_watchd.kit.outbound import OutboundHttp
from wcr_watchd.kit.passwords import hash_of

PASSWORD = "correct horse battery"


@pytest.fixture
async def site() -> AsyncIterator[Served]:
    provider, clock, http = Provider(), Clock(), OutboundHttp()
    await provider.start()
    clock.now = NOW
    settings = AccessSettings(
        users={"ann": User("ann", hash_of(PASSWORD), Role.ADMIN)},
        tokens=(api_token("script", "a-token-of-enough-length", Role.VIEWER),),
        single_sign_on=SingleSignOn(
            "the company", provider.base, CLIENT, SECRET, ("openid",), (), "groups", ((Role.OPERATOR, frozenset("*")),)
        ),
    )
    access = access_for(settings, now=clock, monotonic=clock, records=MemoryRecords(), http=http)
    base: list[str] = []
    access.public_url = lambda: base[0]
    async for one in serve(access):
        base.append(one.base)
        yield one
    await http.close()
    await provider.runner.cleanup()


async def see(browser: Browser, name: str) -> None:
    for width in (390, 1280):
        for scheme in ("light", "dark"):
            await browser.width(width, scheme)
            assert await browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)
            await look(browser, f"{name}-{width}-{scheme}")


async def fill(browser: Browser, name: str, password: str) -> None:
    await browser.until("document.querySelector('#password') !== null")
    await browser.evaluate(
        f"document.querySelector('#name').value = {name!r};"
        f"document.querySelector('#password').value = {password!r};"
        "document.querySelector('#password').form.querySelector('button').click()"
    )


async def test_signing_in_looking_around_and_signing_out(site: Served, tmp_path: Path) -> None:
    async with chromium(tmp_path / "profile") as browser:
        await browser.open(site.base + "/incidents/42")
        await see(browser, "sign-in")
        await fill(browser, "ann", "wrong")
        await browser.until("document.body.textContent.includes('The name or the password is wrong.')")
        await see(browser, "sign-in-refused")
        await fill(browser, "ann", PASSWORD)
        button = "document.querySelector('form[action$=acknowledge] button')"
        await browser.until(f"location.pathname === '/incidents/42' && {button} !== null")
        await browser.evaluate(f"{button}.click()")
        async with asyncio.timeout(PATIENCE):
            while site.control.acknowledged != [(42, "ann")]:
                await asyncio.sleep(0.05)
        await browser.open(site.base + "/audit")
        assert "acknowledge" in await browser.evaluate("document.body.textContent")
        await see(browser, "audit")
        await browser.open(site.base + "/account")
        await see(browser, "account")
        await browser.evaluate("document.querySelector('button[name=everywhere]').click()")
        await browser.until("location.pathname === '/sign-in'")
        await browser.open(site.base + "/account")
        assert await browser.evaluate("location.pathname") == "/sign-in"
        assert [one for one in browser.complaints if "403" not in one] == []


async def test_single_sign_on(site: Served, tmp_path: Path) -> None:
    async with chromium(tmp_path / "profile") as browser:
        await browser.open(site.base + "/silences")
        button = "document.querySelector('a[href^=\"/sign-in/elsewhere\"]')"
        await browser.until(f"{button} !== null")
        await browser.evaluate(f"{button}.click()")
        await browser.until("location.pathname === '/silences'")
        assert browser.complaints == []
