"""How a browser of the tests signs in; the one place that knows."""

from __future__ import annotations

import asyncio

from tests.browser.chromium import Browser
from tests.daemon.harness import RunningDaemon


async def sign_in(browser: Browser, daemon: RunningDaemon) -> None:
    """Sign in by a one-time link; the browser then shows the overview."""
    await browser.open(await asyncio.to_thread(daemon.sign_in_link))
