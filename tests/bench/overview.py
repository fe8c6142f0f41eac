"""What the overview costs with many checks: ``python -m tests.bench.overview`` (bars: 50 ms, 500 ms, 150 KB, 5 %).

The pages are those of a daemon that stands still, served here; a browser and five hundred event streams of another
process look at them. A busy machine shows in all of it: look at the best.
"""

from __future__ import annotations

import asyncio
import re
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from html import unescape
from pathlib import Path
from statistics import median

import click

from tests.browser.chromium import chromium
from tests.web.access import SIGNED_IN, access_for
from tests.web.showcase import NOW, Showcase
from tests.web.test_web import Served, serve
from wcr_watchd.core.model import Outcome, Severity
from wcr_watchd.core.state import CheckState
from wcr_watchd.core.view import Touched
from wcr_watchd.web.dashboard.board import BOARD

ROUNDS = 15
CHANGES = 33
"""Results a second: a thousand checks every half minute."""
SECONDS = 10.0
CLIENT = """
import selectors, socket, sys
port, path, credential, count = sys.argv[1:]
selector = selectors.DefaultSelector()
for _ in range(int(count)):
    one = socket.create_connection(("127.0.0.1", int(port)))
    head = f"GET {path} HTTP/1.1\\r\\nHost: 127.0.0.1:{port}\\r\\nAuthorization: {credential}"
    one.sendall(head.encode() + b"\\r\\n\\r\\n")
    selector.register(one, selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        if not key.fileobj.recv(1 << 20):
            selector.unregister(key.fileobj)
"""


@click.command()
@click.option("--checks", default=1_000, show_default=True)
@click.option("--streams", default=500, show_default=True)
def main(checks: int, streams: int) -> None:
    """Measure the page, its first paint and the streams."""
    asyncio.run(_measure(checks, streams))


async def _measure(checks: int, streams: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (4 * streams + 256, 4 * streams + 256))
    async for served in serve(access_for(), control=_many(checks), signed_in=True):
        while not served.app[BOARD].version:
            await asyncio.sleep(0.1)
        await _page(served, checks)
        await _paint(served)
        await _streams(served, streams)


def _many(count: int) -> Showcase:
    """A hundredth of the checks has a warning; what they say differs, as it does in life."""
    control = Showcase()
    plain, latest = control.setup.checks["site"], control.latest["site"]
    names = [f"check-{number:05}" for number in range(count)]
    checks = {
        name: replace(plain, name=name, group=f"group {number % 20:02}", tags=("even" if number % 2 else "odd",))
        for number, name in enumerate(names)
    }
    control.setup = replace(control.setup, checks=checks, units={})
    control.state.checks = {
        name: CheckState(name, Outcome.UP, NOW - number * 97.0, Severity.OK if number % 100 else Severity.WARNING)
        for number, name in enumerate(names)
    }
    control.latest = {
        name: replace(latest, check=name, summary=f"200 in {number * 7919 % 997} ms, {number * 31 % 4096} bytes")
        for number, name in enumerate(names)
    }
    control.specs = dict.fromkeys(names, control.specs["site"])
    return control


async def _page(served: Served, checks: int) -> None:
    took, sent, held = [], 0, list[tuple[float, float]]()
    for _ in range(ROUNDS):
        async with _watched_loop(held):
            begun = time.perf_counter()
            async with served.session.get(served.base + "/", auto_decompress=False) as answer:
                sent = len(await answer.read())
            took.append((time.perf_counter() - begun) * 1000)
    click.echo(
        f"{checks} checks: {min(took):.0f} ms at best, {median(took):.0f} ms in the middle, first {took[0]:.0f} ms; "
        f"{sent / 1000:.0f} KB"
    )
    for kind, times in zip(("time", "processor time"), zip(*held, strict=True), strict=True):
        best, middle, most = (1_000 * one for one in (min(times), median(times), max(times)))
        click.echo(f"the loop held for, {kind}: {best:.1f} ms at best, {middle:.1f} ms in the middle, {most:.1f} ms")


@asynccontextmanager
async def _watched_loop(held: list[tuple[float, float]]) -> AsyncIterator[None]:
    """Note for how long the loop was held at most, in time and in processor time of its thread.

    The first has in it what others on the machine take, and waits for threads that keep the interpreter.
    """
    worst = worst_work = 0.0

    async def watch() -> None:
        nonlocal worst, worst_work
        while True:
            before, work_before = time.perf_counter(), time.thread_time()
            await asyncio.sleep(0)
            worst = max(worst, time.perf_counter() - before)
            worst_work = max(worst_work, time.thread_time() - work_before)

    task = asyncio.create_task(watch())
    yield
    task.cancel()
    held.append((worst, worst_work))


async def _paint(served: Served) -> None:
    painted, sent = [], 0
    with tempfile.TemporaryDirectory() as folder:
        async with chromium(Path(folder)) as browser:
            await browser.call("Network.enable")
            await browser.call("Network.setExtraHTTPHeaders", headers=SIGNED_IN)
            for _ in range(5):
                await browser.call("Network.setCacheDisabled", cacheDisabled=True)
                await browser.open(served.base + "/")
                await browser.until("performance.getEntriesByName('first-contentful-paint').length")
                painted.append(
                    await browser.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
                )
                await browser.evaluate("sized = (kind) => performance.getEntriesByType(kind)")
                entries = "[...sized('resource'), ...sized('navigation')]"
                sent = await browser.evaluate(f"{entries}.reduce((sum, one) => sum + one.transferSize, 0)")
    best, middle = min(painted), median(painted)
    click.echo(f"first paint {best:.0f} ms at best, {middle:.0f} ms in the middle; {sent / 1000:.0f} KB in all")


async def _streams(served: Served, count: int) -> None:
    changing = asyncio.create_task(_change(served))
    before = await _processor()
    page = (await served.get("/"))[1]
    (path,) = re.findall(r'sse-connect="([^"]+)"', page)
    address = (served.base.rsplit(":", 1)[1], unescape(path), SIGNED_IN["Authorization"], str(count))
    client = await asyncio.create_subprocess_exec(sys.executable, "-c", CLIENT, *address)
    while served.streams() < count:
        await asyncio.sleep(0.1)
    await asyncio.sleep(3)
    after = await _processor()
    click.echo(f"{count} streams: {after - before:.1f} % of a core ({before:.1f} % without them)")
    changing.cancel()
    client.kill()
    await client.wait()


async def _change(served: Served) -> None:
    control, names, number = served.control, list(served.control.setup.checks), 0
    while True:
        some = [names[(number + one) * 37 % len(names)] for one in range(CHANGES)]
        number += CHANGES
        for name in some:
            control.state.checks[name] = replace(control.state.checks[name], since=control.state.checks[name].since + 1)
        control.happen(*(Touched(check=name) for name in some))
        await asyncio.sleep(1)


async def _processor() -> float:
    """How much of a core this process uses, in percent."""
    begun, used = time.monotonic(), time.process_time()
    await asyncio.sleep(SECONDS)
    return (time.process_time() - used) / (time.monotonic() - begun) * 100


if __name__ == "__main__":
    main()
