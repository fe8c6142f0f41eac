"""The charts of a check in a real browser: drawn where they should be, zoomed, and without a word of complaint."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.browser.chromium import Browser, chromium
from tests.browser.test_live_page import look
from tests.web.access import SIGNED_IN, access_for
from tests.web.showcase import Showcase
from tests.web.test_web import Served, serve
from wcr_watchd.core.model import IncidentState
from wcr_watchd.core.view import Touched

FIRST = "document.querySelector('[data-chart]')"
RED = """(() => {
  const canvas = document.querySelector('.chart canvas'), y = %d;
  const pixels = canvas.getContext('2d').getImageData(0, y - 1, canvas.width, 3).data;
  let red = 0;
  for (let at = 0; at < pixels.length; at += 4)
    if (pixels[at + 3] > 200 && pixels[at] > 150 && pixels[at + 1] < 90 && pixels[at + 2] < 90) red++;
  return red;
})()"""


@pytest.fixture
async def shop() -> AsyncIterator[Served]:
    control = Showcase()
    control.troubled()
    async for one in serve(access_for(), control=control):
        yield one


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with chromium(tmp_path / "profile") as one:
        await one.call("Network.enable")
        await one.call("Network.setExtraHTTPHeaders", headers=dict(SIGNED_IN))
        yield one


async def drawn(browser: Browser) -> None:
    await browser.until(f"Number({FIRST}.dataset.drawn) > 0")


async def test_a_chart_is_drawn_and_its_threshold_lies_where_it_should(shop: Served, browser: Browser) -> None:
    await browser.width(1280)
    await browser.open(shop.base + "/checks/api")
    await drawn(browser)
    assert browser.complaints == []
    canvas = "document.querySelector('.chart canvas')"
    inked = f"{canvas}.getContext('2d').getImageData(0, 0, {canvas}.width, {canvas}.height).data.some(one => one > 0)"
    assert await browser.evaluate(inked)
    lines = dict(json.loads(await browser.evaluate(f"{FIRST}.dataset.lines")))
    assert lines.keys() == {3, 1}
    assert lines[3] < lines[1], "what is more lies higher"
    assert await browser.evaluate(RED % round(lines[3])) > 400, "the critical line goes from side to side"
    between = round((lines[3] + lines[1]) / 2)
    assert await browser.evaluate(RED % between) < 100
    assert [url for url in browser.requests if not url.startswith((shop.base, "data:"))] == []


async def test_a_chart_is_zoomed_by_its_buttons_and_by_dragging(shop: Served, browser: Browser) -> None:
    await browser.width(1280)
    await browser.open(shop.base + "/checks/api?span=7d")
    await drawn(browser)
    await browser.evaluate(
        f"[...{FIRST}.querySelectorAll('button')].find(one => one.textContent === 'Zoom in').click()"
    )
    await asked(browser, 2)
    await browser.evaluate("document.querySelector('.chart').scrollIntoView({ block: 'center' })")
    box = "document.querySelector('.chart .u-over').getBoundingClientRect()"
    left, top, wide = [await browser.evaluate(f"{box}.{side}") for side in ("left", "top", "width")]
    for kind, share in (("mouseMoved", 0.3), ("mousePressed", 0.3), ("mouseMoved", 0.6), ("mouseReleased", 0.6)):
        await browser.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=left + share * wide,
            y=top + 60,
            button="left",
            buttons=1,
            clickCount=1,
        )
    await asked(browser, 3)
    since, until = await browser.evaluate(f"{LAST}.map(Number)")
    assert (until - since) / 86_400 == pytest.approx(3.5 * 0.3, rel=0.1)
    assert browser.complaints == []


LAST = """(() => {
  const url = new URL(performance.getEntriesByType('resource').filter(one => one.name.includes('/chart?')
    && one.name.includes('response_time')).at(-1).name);
  return ['since', 'until'].map(key => url.searchParams.get(key));
})()"""


async def asked(browser: Browser, times: int) -> None:
    """The data of the first chart were fetched so often."""
    found = "performance.getEntriesByType('resource').filter(one => one.name.includes('measurement=response_time'))"
    await browser.until(f"{found}.length === {times}")


async def test_the_page_follows_its_check_and_fits_a_telephone(shop: Served, browser: Browser) -> None:
    for width, scheme in ((390, "light"), (390, "dark"), (1280, "light"), (1280, "dark"), (1920, "light")):
        await browser.width(width, scheme)
        await browser.open(shop.base + "/checks/api?figures=response_time")
        await drawn(browser)
        await look(browser, f"check-{width}-{scheme}")
        assert await browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
    await browser.until("document.querySelector('#connection').hidden")
    shop.control.latest["api"] = shop.control.latest["site"]
    shop.control.happen(Touched("api"))
    await browser.until("document.querySelector('#now .summary').textContent.startsWith('site said')")
    assert browser.complaints == []


async def test_the_page_of_an_incident_follows_it(shop: Served, browser: Browser) -> None:
    for width, scheme in ((390, "dark"), (1280, "light")):
        await browser.width(width, scheme)
        await browser.open(shop.base + "/incidents/42")
        await look(browser, f"incident-{width}-{scheme}")
        assert await browser.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
    await browser.until("document.querySelector('#connection').hidden")
    await browser.evaluate("document.querySelector('#root_cause').value = 'half a sentence'")
    found = shop.control.state.incidents[42]
    taken = replace(found, state=IncidentState.ACKNOWLEDGED, acknowledged_by="ben")
    shop.control.state.incidents[42] = taken
    shop.control.happen(Touched(incident=42))
    await browser.until("document.querySelector('#now').textContent.includes('acknowledged by ben')")
    await browser.until("![...document.querySelectorAll('#take button')].some(one => one.className === 'large')")
    assert await browser.evaluate("document.querySelector('#root_cause').value") == "half a sentence"
    assert browser.complaints == []
