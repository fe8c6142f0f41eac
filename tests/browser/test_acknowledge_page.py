"""The page behind a message's link, in a real browser without JavaScript, on a phone, light and dark."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.browser.chromium import Browser, chromium
from tests.browser.test_live_page import look
from tests.web.test_answers import LEAD, Outside, asked, link, outside, watched
from tests.web.test_web import Served
from wcr_watchd.core.setup import Contact

__all__ = ["outside"]

PHONE = 360


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with chromium(tmp_path / "profile") as one:
        await one.call("Emulation.setScriptExecutionDisabled", value=True)
        yield one


async def fits(browser: Browser) -> None:
    """Nothing hangs out at the side of the page."""
    assert await browser.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


async def see(browser: Browser, outside: Served, path: str, name: str) -> None:
    await browser.open(outside.base + path)
    for scheme in ("light", "dark"):
        await browser.width(PHONE, scheme)
        await fits(browser)
        await look(browser, f"{name}-{scheme}")


async def test_one_press_acknowledges(outside: Outside, browser: Browser) -> None:
    await see(browser, outside, link(), "ack-asks")
    button = "document.querySelector('form.confirm button')"
    assert await browser.evaluate(f"{button}.getBoundingClientRect().height") >= 44
    assert await browser.evaluate(f"{button}.getBoundingClientRect().bottom") < 640
    assert watched(outside).acknowledged == []
    await browser.evaluate(f"{button}.click()")
    await browser.until("document.querySelector('h1')?.textContent === 'Acknowledged'")
    assert watched(outside).acknowledged == [(42, "lead by mail link")]
    await see(browser, outside, link(), "ack-done")
    assert browser.complaints == []


async def test_a_contact_says_that_it_reaches_them(outside: Outside, browser: Browser) -> None:
    links = asked(outside, Contact("lead", {"phone": ("+15550101",), "email": ("lead@example.org",)}))
    await see(browser, outside, links["sms"], "reach-asks")
    await browser.evaluate("document.querySelector('form.confirm button').click()")
    await browser.until("document.querySelector('h1')?.textContent === 'Thank you, lead'")
    await see(browser, outside, links["sms"], "reach-done")
    assert browser.complaints == []


async def test_the_other_answers_can_be_read_as_well(outside: Outside, browser: Browser) -> None:
    await see(browser, outside, link(replace(LEAD, incidents=(42, 41))), "ack-two")
    watched(outside).end(42)
    await see(browser, outside, link(), "ack-over")
    await see(browser, outside, "/ack/cut-off", "ack-invalid")
    await see(browser, outside, link(replace(LEAD, issued_at=0.0)), "ack-expired")
