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
from tests.real.ports import free_port
from tests.real.servers.nginx import Nginx, Site

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
