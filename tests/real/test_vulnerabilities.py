"""The vulnerabilities probe with the real debsecan, which fetches a tracker's data from a server of this test."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from tests.real.running import measured, names, probe_of
from tests.real.tools import Looks, Tools, none_runs
from wcr_watchd.core.model import Outcome
from wcr_watchd.probes.vulnerabilities import parse_summary

DAY = 86_400.0
NAMES = [
    "CVE-2026-0001,,urgent and remote",
    "CVE-2026-0002,,local",
    "CVE-2026-0003,,not mended yet",
    "TEMP-1-ABC,,no number",
]


class Tracker:
    """Serves data in the format of security-tracker.debian.org/tracker/debsecan/release/1/SUITE."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str] = []
        self.packages = ["bash,0,BHRF,9999,", "bash,1,BL F,9999,", "coreutils,2,B   ,9999,", "coreutils,3,B ?F,9999,"]
        """Package, number of the name, flags (binary, urgency, remote, fix available), version that mends it."""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.match_info["suite"])
        text = "VERSION 1\n" + "".join(f"{line}\n" for line in (*NAMES, "", *self.packages, "", ""))
        return web.Response(body=zlib.compress(text.encode()))


@pytest.fixture
async def tracker() -> AsyncIterator[Tracker]:
    """A tracker that knows vulnerabilities of two packages every machine has."""
    made = Tracker()
    app = web.Application()
    app.router.add_get("/{suite}", made.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield made
    await runner.cleanup()


@pytest.fixture
def check(tracker: Tracker) -> Callable[[], Any]:
    """The check of this machine by that tracker."""
    return lambda: probe_of("vulnerabilities", {"suite": "bookworm", "source": tracker.url})


async def test_the_real_debsecan(tracker: Tracker, check: Callable[[], Any], looks: Looks) -> None:
    now = time.time()
    seen = await looks.at(check(), now)
    assert seen.outcome is Outcome.UP, seen.summary
    assert tracker.asked == ["bookworm"]
    assert measured(seen, "fixable") == 3
    assert measured(seen, "fixable_remote") == measured(seen, "fixable_high") == 1
    assert measured(seen, "vulnerable_packages") == 2
    assert measured(seen, "oldest_fixable") == measured(seen, "data_age") == 0
    assert "CVE-2026-0001 bash remote urgent" in seen.evidence["vulnerabilities"].splitlines()[0]
    tracker.packages = tracker.packages[1:3]
    later = await looks.at(check(), now + 3 * DAY)
    assert measured(later, "fixable") == 1
    assert measured(later, "oldest_fixable") == 3 * DAY
    assert "first seen 3 d ago: CVE-2026-0002 (bash)" in later.summary
    tracker.packages = []
    done = await looks.at(check(), now + 4 * DAY)
    assert measured(done, "fixable") == measured(done, "oldest_fixable") == 0
    assert looks.memory["seen"] == {}


async def test_a_tracker_that_cannot_be_reached(tracker: Tracker, check: Callable[[], Any], looks: Looks) -> None:
    now = time.time()
    await looks.at(check(), now)
    tracker.url = "http://127.0.0.1:1/"
    seen = await looks.at(check(), now + 9 * DAY)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "status")
    assert "Connection refused" in seen.summary
    assert measured(seen, "data_age") == 9 * DAY
    assert names(seen) == {"data_age"}


def test_what_a_summary_tells() -> None:
    text = (
        "CVE-2026-1 nginx (fixed, remotely exploitable, high urgency)\nCVE-2026-2 nginx (obsolete)\nCVE-2026-3 x\nodd\n"
    )
    (found,) = parse_summary(text)
    assert (found.name, found.package, found.remote, found.urgent) == ("CVE-2026-1", "nginx", True, True)


async def test_without_debsecan_and_on_other_systems(
    tools: Tools, looks: Looks, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools.only()
    seen = await looks.at(probe_of("vulnerabilities", {"suite": "bookworm"}))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "apt-get install debsecan" in seen.summary
    monkeypatch.setattr("wcr_watchd.probes.vulnerabilities._installed_suite", lambda: "")
    seen = await looks.at(probe_of("vulnerabilities", {}))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "on Ubuntu" in seen.summary


async def test_a_hanging_debsecan(tools: Tools, looks: Looks) -> None:
    tools.put("debsecan", "sleep 67.3")
    probe = probe_of("vulnerabilities", {"suite": "bookworm"})
    seen = await looks.at(probe, timeout=0.5)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    task = asyncio.create_task(looks.at(probe))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    none_runs("sleep 67.3")
