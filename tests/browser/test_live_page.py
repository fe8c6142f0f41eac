"""The pages of a real daemon in a real browser."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from pathlib import Path

from tests.browser.chromium import Browser, chromium
from tests.browser.signing_in import sign_in
from tests.daemon.harness import RunningDaemon, eventually
from tests.real.servers.nginx import Nginx, Site, free_port
from wcr_watchd.web.access.peer import user_name

Daemons = Callable[..., RunningDaemon]
Start = Callable[..., Nginx]


def start(make_daemon: Daemons, nginx: Start) -> tuple[Nginx, RunningDaemon, str]:
    """A daemon with a site, and where its dashboard is."""
    server = nginx(Site())
    port = free_port()
    daemon = make_daemon(
        '[defaults]\nretry = { times = 0, every = "1s" }\n[contact.ann]\nemail = "a@example.org"\n'
        '[on_call.ops]\nrotation = "ann"\n'
        '[on_call.shop]\nlayers = [{ rotation = "ann", hours = "Mon-Fri 09:00-17:00" }]\n'
        '[check.host]\ntype = "host"\ncritical = []\nwarning = []\n'
        f'[check.site]\ntype = "http"\nurl = "{server.url()}"\nevery = "2s"\ntimeout = "1900ms"\n',
        start=False,
    )
    daemon.config.write_text(daemon.config.read_text().replace("listen = []", f'listen = ["127.0.0.1:{port}"]'))
    daemon.start()
    eventually(lambda: daemon.outcome("site") == "up", "the site is up")
    eventually(lambda: daemon.outcome("host") == "up", "the host is read")
    return server, daemon, f"http://127.0.0.1:{port}"


async def look(browser: Browser, name: str) -> None:
    """Keep a picture for whoever wants to see what the test saw (WATCHD_PICTURES names a folder)."""
    if folder := os.environ.get("WATCHD_PICTURES"):
        picture = await browser.call("Page.captureScreenshot")
        (Path(folder) / f"{name}.png").write_bytes(base64.b64decode(picture["data"]))


async def test_a_failure_appears_on_an_open_page_and_can_be_acknowledged(
    make_daemon: Daemons, nginx: Start, tmp_path: Path
) -> None:
    server, daemon, base = await asyncio.to_thread(start, make_daemon, nginx)
    async with chromium(tmp_path / "profile") as browser:
        await sign_in(browser, daemon)
        await browser.until("document.querySelector('h1').textContent.includes('fine')")
        server.stop()
        await browser.until("document.querySelector('h1').textContent.includes('1 of 2 checks needs attention')")
        await browser.until("document.getElementById('check-site').textContent.includes('critical')")
        await look(browser, "dashboard")
        await browser.evaluate("document.querySelector('.incident button').click()")
        await browser.until(f"document.body.textContent.includes('acknowledged by {user_name(os.getuid())}')")
        daemon.config.write_text(daemon.config.read_text() + '[check.more]\ntype = "certfile"\npath = "/none"\n')
        daemon.reload()
        await browser.until("document.getElementById('check-more') !== null")
        assert browser.complaints == []
        foreign = [url for url in browser.requests if not url.startswith((base, "data:"))]
        assert foreign == []
    incidents = await asyncio.to_thread(daemon.incidents)
    assert incidents[0]["state"] == "acknowledged"


async def test_pages_fit_a_telephone_and_fingers(make_daemon: Daemons, nginx: Start, tmp_path: Path) -> None:
    server, daemon, base = await asyncio.to_thread(start, make_daemon, nginx)
    server.stop()
    found = await asyncio.to_thread(eventually, lambda: daemon.incidents(open_only=True), "there is an incident")
    number = found[0]["id"]
    async with chromium(tmp_path / "profile") as browser:
        await sign_in(browser, daemon)
        for path in ("/", "/checks/host", f"/incidents/{number}", "/on-call", "/sign-in"):
            for width, scheme in ((360, "light"), (360, "dark"), (1280, "light"), (1280, "dark")):
                await browser.width(width, scheme)
                await browser.open(base + path)
                name = path.strip("/").replace("/", "-") or "home"
                await look(browser, f"{name}-{width}-{scheme}")
                assert await browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)
                small = "[...document.querySelectorAll('main button, .check')].filter(e => e.offsetHeight < 40).length"
                assert await browser.evaluate(small) == 0, path
        assert browser.complaints == []


async def test_the_dashboard_works_without_javascript(make_daemon: Daemons, nginx: Start, tmp_path: Path) -> None:
    server, daemon, _ = await asyncio.to_thread(start, make_daemon, nginx)
    server.stop()
    await asyncio.to_thread(eventually, lambda: daemon.incidents(open_only=True), "there is an incident")
    async with chromium(tmp_path / "profile") as browser:
        await browser.call("Emulation.setScriptExecutionDisabled", value=True)
        await sign_in(browser, daemon)
        document = await browser.call("DOM.getDocument", depth=-1)
        assert "needs attention" in str(document)
        assert "Acknowledge" in str(document)
