"""The public status page in a browser: the days in words by pointer and keys, and how a copy says that it is old."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from tests.browser.chromium import Browser, chromium
from tests.browser.test_every_page import faults
from tests.web.test_status_page import Mails, Served, Shown, a_status, door, serving
from wcr_watchd.web.status.serve import own_application
from wcr_watchd.web.status.site import render

BARS = "document.querySelectorAll('#component-api .bars li')"


@asynccontextmanager
async def showing(folder: Path, *, age: float = 0.0, copy: bool = False) -> AsyncIterator[tuple[Browser, Served]]:
    """A browser, and the page as it was made so many seconds ago."""
    status = replace(a_status(), at=time.time() - age)
    shown, mails = Shown(files=render(status, copy=copy)), Mails()
    app = own_application(door(shown, mails), lambda: ())
    async with serving(app, shown, mails) as served, chromium(folder / "profile") as browser:
        await browser.call("Emulation.setFocusEmulationEnabled", enabled=True)
        yield browser, served


async def seen(browser: Browser, number: int) -> bool:
    """Whether the words of a day can be read."""
    shown: bool = await browser.evaluate(f"{BARS}[{number}].querySelector('span').getBoundingClientRect().width > 20")
    return shown


async def test_the_words_of_a_day_come_by_keys_and_by_pointer(tmp_path: Path) -> None:
    async with showing(tmp_path) as (browser, served):
        await browser.open(served.base + "/")
        stops = f"[...{BARS}].filter(day => day.tabIndex === 0).length"
        assert await browser.evaluate(stops) == 1
        await browser.evaluate(f"{BARS}[29].focus()")
        assert await seen(browser, 29)
        for _ in range(26):
            await browser.call("Input.dispatchKeyEvent", type="keyDown", key="ArrowLeft", code="ArrowLeft")
        assert await browser.evaluate(f"document.activeElement === {BARS}[3]")
        assert await seen(browser, 3)
        assert "2 outages" in await browser.evaluate("document.activeElement.textContent")
        place = await browser.evaluate(
            f"(box => [box.x + box.width / 2, box.y + box.height / 2])({BARS}[10].getBoundingClientRect())"
        )
        await browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
        assert await seen(browser, 10)
        assert browser.complaints == []


async def test_without_script_days_with_trouble_can_be_reached_and_all_is_said(tmp_path: Path) -> None:
    async with showing(tmp_path, age=7_200.0, copy=True) as (browser, served):
        await browser.call("Emulation.setScriptExecutionDisabled", value=True)
        await browser.open(served.base + "/")
        document = str(await browser.call("DOM.getDocument", depth=-1))
        assert "This is a copy, written at" in document
        assert "2 outages" in document
        assert await browser.evaluate(f"[...{BARS}].filter(day => day.tabIndex === 0).length") == 1


async def test_an_old_copy_says_since_when(tmp_path: Path) -> None:
    async with showing(tmp_path, age=7_300.0, copy=True) as (browser, served):
        await browser.open(served.base + "/")
        await browser.until("!document.getElementById('stale').hidden")
        said = await browser.evaluate("document.getElementById('stale').textContent")
        assert "not been renewed for 2 hours" in said


async def test_its_pages_are_fine_on_every_screen(tmp_path: Path) -> None:
    async with showing(tmp_path) as (browser, served):
        found = []
        for path in ("/", "/subscribe"):
            found += await faults(browser, served.base + path, f"/public{path}")
        foreign = [url for url in browser.requests if not url.startswith((served.base, "data:"))]
        assert (found, browser.complaints, foreign) == ([], [], [])
