"""What somebody does whom a message woke: sign in, find the check, acknowledge, silence, see it mended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.browser.chromium import chromium
from tests.browser.signing_in import sign_in
from tests.browser.test_live_page import start
from tests.daemon.harness import RunningDaemon
from tests.real.servers.nginx import Nginx

Daemons = Callable[..., RunningDaemon]
Start = Callable[..., Nginx]

TYPE = "document.querySelector('[type=search]').value = '{}'; document.querySelector('.filter').requestSubmit()"
KEY = "document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {{key: '{}', bubbles: true}}))"
NAMES = "[...document.querySelectorAll('.check .name')].map((one) => one.firstChild.textContent).join()"


async def test_from_the_message_to_the_end(make_daemon: Daemons, nginx: Start, tmp_path: Path) -> None:
    server, daemon, base = await asyncio.to_thread(start, make_daemon, nginx)
    async with chromium(tmp_path / "profile") as browser:
        await sign_in(browser, daemon)
        await browser.until("document.querySelector('h1').textContent.includes('fine')")

        await browser.evaluate(KEY.format("/"))
        assert await browser.evaluate("document.activeElement.type") == "search"
        await browser.evaluate(TYPE.format("site"))
        await browser.until(f"{NAMES} === 'site'")
        assert await browser.evaluate("location.search.includes('q=site')")

        server.stop()  # the list that was just exchanged is as live as the first one
        await browser.until("document.querySelector('#check-site .badge').textContent === 'critical'")
        await browser.until("document.title.startsWith('(1)')")
        await browser.evaluate("document.activeElement.blur()")
        await browser.evaluate(KEY.format("j"))
        focused = await browser.evaluate("document.activeElement.textContent")
        assert "site" in focused
        await browser.evaluate("document.querySelector('.incident button').click()")
        await browser.until("document.querySelector('.incident')?.textContent.includes('acknowledged by')")

        await browser.open(base + "/silences?match=check%3D%22site%22")
        await browser.evaluate(
            "document.querySelector('#comment').value = 'replacing it'; document.querySelector('.add button').click()"
        )
        await browser.until("document.querySelector('table')?.textContent.includes('replacing it')")

        await browser.open(base + "/")
        await browser.until("document.querySelector('#header').textContent.includes('1 silence')")
        await asyncio.to_thread(server.start)
        await browser.until("document.querySelector('h1').textContent.includes('fine')")
        await browser.until("!document.title.startsWith('(')")
        daemon.config.write_text(daemon.config.read_text() + '[check.more]\ntype = "certfile"\npath = "/none"\n')
        daemon.reload()
        await browser.until("document.getElementById('check-more') !== null")
        assert browser.complaints == []
        assert [url for url in browser.requests if not url.startswith((base, "data:"))] == []


async def test_a_page_that_was_cut_off_catches_up(make_daemon: Daemons, nginx: Start, tmp_path: Path) -> None:
    server, daemon, _ = await asyncio.to_thread(start, make_daemon, nginx)
    async with chromium(tmp_path / "profile") as browser:
        await sign_in(browser, daemon)
        await browser.until("document.querySelector('h1').textContent.includes('fine')")
        await asyncio.to_thread(daemon.stop)
        await browser.until("!document.getElementById('connection').hidden")
        server.stop()
        await asyncio.to_thread(daemon.start)
        await browser.until("document.querySelector('#check-site .badge').textContent === 'critical'")
        await browser.until("document.getElementById('connection').hidden")


async def test_keys_can_be_turned_off_and_times_are_the_viewers(
    make_daemon: Daemons, nginx: Start, tmp_path: Path
) -> None:
    _, daemon, base = await asyncio.to_thread(start, make_daemon, nginx)
    async with chromium(tmp_path / "profile") as browser:
        await browser.call("Emulation.setTimezoneOverride", timezoneId="Asia/Tokyo")
        await sign_in(browser, daemon)
        shown = "document.querySelector('.since time')"
        here = await browser.evaluate(
            f"new Date({shown}.dateTime).toLocaleTimeString('en-GB', {{timeZone: 'Asia/Tokyo'}})"
        )
        assert here in await browser.evaluate(f"{shown}.textContent")
        assert "UTC ·" in await browser.evaluate(f"{shown}.title")
        assert "Asia/Tokyo" in await browser.evaluate("document.getElementById('zone').textContent")

        await browser.evaluate(KEY.format("?"))
        assert await browser.evaluate("document.getElementById('keys').open")
        await browser.evaluate("document.getElementById('keys-on').click(); document.getElementById('keys').close()")
        await browser.open(base + "/")
        await browser.evaluate(KEY.format("/"))
        assert await browser.evaluate("document.activeElement.type") != "search"
        assert browser.complaints == []
