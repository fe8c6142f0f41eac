"""Every page of a real daemon in a real browser: no error, nothing from elsewhere, usable by everybody, on any screen.

Pictures of what the test saw are in ``build/screenshots``: whole pages at three widths, light and dark. A new page
needs its path in :data:`PAGES` and nothing else.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import Browser, chromium
from tests.browser.signing_in import sign_in
from tests.daemon.harness import RunningDaemon, eventually
from tests.real.ports import free_port

PAGES = (
    "/",
    "/?q=none+is+like+that",
    "/?state=wrong",
    "/?wall",
    "/account",
    "/audit",
    "/changes",
    "/changes/1",
    "/channels",
    "/checks/shop",
    "/checks/shop?span=7d&figures=response_time",
    "/checks/host",
    "/config",
    "/dead-letters",
    "/incidents",
    "/incidents?text=none+is+like+that",
    "/incidents/{incident}",
    "/incidents/{incident}/review.html",
    "/knowledge",
    "/knowledge/shop-down",
    "/knowledge/hosting",
    "/maintenance",
    "/objectives",
    "/objectives/shop",
    "/on-call",
    "/reports",
    "/silences",
    "/silences?match=check%3D%22shop%22",
    "/sign-in",
    "/status-posts",
    "/status-posts/subscribers",
    "/tasks",
    "/tasks/books",
)
"""Paths of all pages; ``{incident}`` is the number of an open one."""

JUDGED = ((390, "light"), (1280, "dark"))
"""Where axe looks: the others differ in nothing that it minds."""
SCREENS = (
    tuple((width, scheme) for width in (390, 1280, 1920) for scheme in ("light", "dark"))
    if os.environ.get("PICTURES") == "all"
    else (*JUDGED, (1920, "light"))
)
"""What pictures are taken of; of all with `make screenshots`, for people to look at."""
AXE = Path(__file__).with_name("axe.js")
PICTURES = Path(__file__).parents[2] / "build" / "screenshots"

CONFIG = """
[defaults]
retry = { times = 0 }
[contact.ann]
email = "ann@example.org"
[contact.ben]
email = "ben@example.org"
[channel.room]
type = "webhook"
url = "http://127.0.0.1:1/room"
[channel.board]
type = "webhook"
url = "http://127.0.0.1:1/board"
limit = "20/1h"
[policy.default]
critical = { tell = ["room"] }
warning = { tell = ["board"] }
[on_call.ops]
rotation = ["ann", "ben"]
[on_call.office]
layers = [{ rotation = "ann", hours = "Mon-Fri 09:00-17:00" }]
[objective.shop]
checks = ["shop", "payments"]
target = "99.9%"
comment = "what we promise to customers"
[objective.machines]
checks = ["host"]
target = "99%"
period = "7d"
[contacts]
owner = "ann"
[knowledge]
folder = "knowledge"
[maintenance.kernels]
when = "00:00-23:59"
match = ['group="nobody"']
comment = "kernel updates"
[maintenance.database]
rrule = "FREQ=MONTHLY;BYDAY=1TU"
start = "03:00"
duration = "2h"
checks = ["shop"]
comment = "vacuum and reindex"
[status_page]
title = "Shop status"
[status_page.component.shop]
name = "Shop"
tags = ["public"]
[check.host]
type = "host"
group = "machines"
tags = ["hardware"]
[check.shop]
type = "http"
url = "http://127.0.0.1:1/health"
every = "1s"
timeout = "900ms"
group = "shop"
tags = ["money", "public"]
owner = "ann"
runbook = "shop-down"
vendor = "hosting"
[check.payments]
type = "tcp"
address = "127.0.0.1:1"
every = "1s"
timeout = "900ms"
group = "shop"
depends_on = ["shop"]
warning = ["down"]
critical = []
[check.letter]
type = "certfile"
path = "/nonexistent/certificate.pem"
group = "machines"
[change_category.feature]
pre = [{ text = "Review release notes" }, { text = "Backup", tick = "backups", within = "2h", required = true }]
post = [{ text = "Gather feedback", evidence = true }]
[change.release]
category = "feature"
checks = ["shop"]
[task.books]
about = "Close the month's books"
schedule = "0 9 3 * *"
owner = "ann"
"""


def write_knowledge(folder: Path) -> None:
    """A knowledge folder with an entry of each kind, one of them reviewed and one file that cannot be read."""
    entries = {
        "shop-down": (
            'kind = "runbook"\nowner = "ann"\nreviewed = 2026-11-01\nreview_every = "3000d"',
            "# The shop does not answer\n\n1. Restart it: `systemctl restart shop`\n"
            "2. Ask the [hosting](hosting.md).\n\n## Afterwards\n\n| what | who |\n|---|--:|\n| bill | ann |\n\n"
            "> Nobody restarts the database.\n\n"
            "```sh\njournalctl -u shop --since -1h\n```\n",
        ),
        "hosting": (
            'kind = "vendor"\ntitle = "Hosting"\nsupport = "+1 555 0100"\nhours = "all day"\naccount = "team shop"\n'
            'agreement = "99.9 %"\n[[escalation]]\nafter = "1h"\ncontact = "second level"',
            "Say the customer number.\n",
        ),
        "one-machine": ('kind = "risk"\nchecks = ["shop"]\nimpact = "high"', "# Everything runs on one machine\n"),
        "full-disk": ('kind = "article"\nchecks = ["shop"]\nwords = ["connect"]', "# What filled the disk\n"),
    }
    folder.mkdir()
    for name, (head, text) in entries.items():
        (folder / f"{name}.md").write_text(f"+++\n{head}\n+++\n{text}")
    (folder / "broken.md").write_text("no head\n")


def start(make_daemon: Callable[..., RunningDaemon]) -> tuple[RunningDaemon, str, int]:
    """A daemon with something on every page, where its pages are, and the number of an open incident."""
    daemon = make_daemon("", start=False)
    port = free_port()
    daemon.listen = [f"127.0.0.1:{port}"]
    write_knowledge(daemon.folder / "knowledge")
    daemon.write(CONFIG)
    daemon.start()
    eventually(lambda: daemon.outcome("host") == "up", "the host is read")
    found = eventually(
        lambda: [one for one in daemon.incidents(open_only=True) if one["check"] == "shop"], "the shop has an incident"
    )
    daemon.api("POST", f"/incidents/{found[0]['id']}/notes", {"by": "ann", "text": "looking into it"})
    post = {"title": "The shop is slow", "text": "We are looking.", "components": ["shop"]}
    daemon.api("POST", "/status-posts", post)
    daemon.api("POST", "/changes/start", {"plan": "release", "title": "2.3", "override": "it is a test"})
    daemon.api("POST", "/changes/1/verify")
    daemon.api("POST", "/modifications", {"text": "moved the cables"})
    daemon.api("POST", "/silences", {"matchers": ['check="letter"'], "for": "2h", "comment": "known, on its way"})
    daemon.api("POST", "/maintenance", {"matchers": ['group="web"'], "for": "2h", "comment": "new switch, rack 4"})
    return daemon, f"http://127.0.0.1:{port}", found[0]["id"]


async def picture(browser: Browser, path: str, width: int, scheme: str) -> None:
    """Keep a picture of the whole page."""
    name = path.strip("/").translate({ord(letter): "-" for letter in "/?=%&+{}"}) or "overview"
    taken = await browser.call("Page.captureScreenshot", captureBeyondViewport=True, optimizeForSpeed=True)
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / f"{name}-{width}-{scheme}.png").write_bytes(base64.b64decode(taken["data"]))


async def barriers(browser: Browser) -> list[str]:
    """What axe finds that keeps people from using the page (WCAG 2.2 A and AA), each with the elements."""
    kinds = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']"
    options = f"{{runOnly: {kinds}, rules: {{'target-size': {{enabled: true}}}}}}"
    found: list[dict[str, Any]] = await browser.evaluate(
        f"axe.run({options}).then((found) => found.violations.map((one) => "
        "({id: one.id, impact: one.impact, help: one.help, where: one.nodes.map((node) => node.target.join(' '))})))"
    )
    return [f"{one['id']} ({one['impact']}): {one['help']}: {one['where'][:3]}" for one in found]


async def faults(browser: Browser, url: str, path: str) -> list[str]:
    """What is wrong with a page, at all widths, light and dark."""
    await browser.open(url)
    await browser.evaluate(AXE.read_text() + "; true")
    # Rows below what is to be seen are not laid out, but pictures and axe are of the whole page.
    await browser.evaluate(
        "document.querySelectorAll('.checks li').forEach((row) => row.style.contentVisibility = 'visible')"
    )
    found = []
    for width, scheme in SCREENS:
        await browser.width(width, scheme)
        await picture(browser, path, width, scheme)
        if await browser.evaluate("document.documentElement.scrollWidth > window.innerWidth"):
            found.append(f"{path} hangs out at the side at {width} px")
        if (width, scheme) in JUDGED:
            found += [f"{path} at {width} px, {scheme}: {barrier}" for barrier in await barriers(browser)]
    return found


@pytest.mark.timeout(400)
async def test_every_page_is_fine_on_every_screen(make_daemon: Callable[..., RunningDaemon], tmp_path: Path) -> None:
    daemon, base, incident = await asyncio.to_thread(start, make_daemon)
    found = []
    async with chromium(tmp_path / "profile") as browser:
        await sign_in(browser, daemon)
        for path in PAGES:
            found += await faults(browser, base + path.format(incident=incident), path)
        foreign = [url for url in browser.requests if not url.startswith((base, "data:"))]
        assert (found, browser.complaints, foreign) == ([], [], [])
