"""The page of silences in a real browser: the form works, the buttons work, and it fits a phone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.browser.chromium import chromium
from tests.browser.test_live_page import look
from tests.daemon.harness import RunningDaemon
from tests.real.ports import free_port

Daemons = Callable[..., RunningDaemon]

CONFIG = """
[check.api]
type = "tcp"
address = "127.0.0.1:1"
every = "1s"
timeout = "900ms"
retry = { times = 0 }
[maintenance.kernels]
when = "00:00-23:59"
timezone = "America/New_York"
match = ['group="nobody"']
comment = "kernel updates"
[maintenance.database]
rrule = "FREQ=MONTHLY;BYDAY=1TU"
start = "03:00"
duration = "2h"
timezone = "America/New_York"
checks = ["api"]
comment = "vacuum and reindex"
"""


def start(make_daemon: Daemons) -> tuple[str, str]:
    """Where the dashboard is, and a link that signs in there."""
    port = free_port()
    daemon = make_daemon(CONFIG, start=False)
    daemon.config.write_text(daemon.config.read_text().replace("listen = []", f'listen = ["127.0.0.1:{port}"]'))
    daemon.start()
    return f"http://127.0.0.1:{port}", daemon.sign_in_link()


async def test_a_silence_is_added_and_ended_in_the_browser(make_daemon: Daemons, tmp_path: Path) -> None:
    base, link = await asyncio.to_thread(start, make_daemon)
    async with chromium(tmp_path / "profile") as browser:
        await browser.open(link)
        await browser.open(base + "/silences?match=check%3D%22api%22")
        await browser.until("document.querySelector('#matchers')?.value === 'check=\"api\"'")
        await browser.evaluate(
            "document.querySelector('#comment').value = 'moving the machine';"
            "document.querySelector('.add button').click()"
        )
        await browser.until("document.body.textContent.includes('moving the machine')")
        assert await browser.evaluate("location.pathname + location.search") == "/silences"
        for width, scheme in ((1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")):
            await browser.width(width, scheme)
            await look(browser, f"silences-{width}-{scheme}")
            assert await browser.evaluate("document.documentElement.scrollWidth") <= width
        await browser.evaluate("document.querySelector('form[action$=expire] button').click()")
        await browser.until("document.body.textContent.includes('Nothing is silenced')")
        assert browser.complaints == []
