"""The overview: what it lists, page by page, and what it is told while it is open and after it was away."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from html import unescape

import aiohttp
import pytest

from tests.web.access import SECRETS, access_for
from tests.web.showcase import NOW, Showcase
from tests.web.test_web import Served, serve
from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.model import Incident, Outcome, Severity
from wcr_watchd.core.state import CheckState
from wcr_watchd.core.view import Touched
from wcr_watchd.web.dashboard import listing
from wcr_watchd.web.dashboard.board import BOARD, Board

ROW = re.compile(r'<a [^>]*id="check-([^"]+)"')


def rows(html: str) -> list[str]:
    """Names of the checks whose rows are in it."""
    return [unescape(name) for name in ROW.findall(html)]


async def listed(served: Served, query: str) -> list[str]:
    status, page = await served.get("/?" + query)
    assert status == 200
    return rows(page)


def stream_of(page: str) -> str:
    """Where the page asks for what changes."""
    (found,) = re.findall(r'sse-connect="([^"]+)"', page)
    return unescape(found)


class Events:
    """The events of a stream, as they come."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.stamp = ""

    async def next(self) -> tuple[str, str]:
        """Name and data of the next event that a page minds; ids are noted."""
        name, data = "message", list[str]()
        while True:
            line = (await self._answer.content.readline()).decode().rstrip("\n")
            field, _, value = line.rstrip("\r").partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
            elif field == "id":
                self.stamp = value
            elif not field and data:
                return name, "\n".join(data)


@asynccontextmanager
async def stream(served: Served, path: str, **headers: str) -> AsyncIterator[Events]:
    names = {key.replace("_", "-"): value for key, value in headers.items()}
    async with asyncio.timeout(20), served.session.get(served.base + path, headers=names) as answer:
        assert answer.status == 200
        yield Events(answer)


async def happen(served: Served, *checks: str) -> None:
    """Something is new of these checks, and the board knows."""
    board: Board = served.app[BOARD]
    before = board.version
    for check in checks:
        old = served.control.state.checks[check]
        served.control.state.checks[check] = replace(old, since=old.since + 1)
    served.control.happen(*(Touched(check=check) for check in checks))
    async with asyncio.timeout(10):
        while board.version == before:
            await asyncio.sleep(0.01)


async def remembered(served: Served) -> None:
    """Wait until the board has read the records."""
    async with asyncio.timeout(10):
        while not served.app[BOARD].version:
            await asyncio.sleep(0.01)


async def test_a_page_is_told_what_changes_and_nothing_else(served: Served) -> None:
    await remembered(served)
    page = (await served.get("/"))[1]
    async with stream(served, stream_of(page)) as events:
        name, above = await events.next()
        assert re.findall(r'<div id="(\w+)" hx-swap-oob', above) == ["header", "incidents"]
        await happen(served, "api")
        name, html = await events.next()
        assert (name, rows(html)) == ("message", ["api"])
        assert '<a hx-swap-oob="true" id="check-api"' in html
        assert "critical" in html


async def test_who_was_away_is_told_what_was_missed(served: Served) -> None:
    await remembered(served)
    page = (await served.get("/"))[1]
    await happen(served, "site")
    async with stream(served, stream_of(page)) as events:
        assert "hx-swap-oob" in (await events.next())[1]
        assert rows((await events.next())[1]) == ["site"]
        await happen(served, "host")
        assert rows((await events.next())[1]) == ["host"]
    await happen(served, "database", "host")
    async with stream(
        served, stream_of(page), Last_Event_ID=served.app[BOARD].stamp(served.app[BOARD].version - 1)
    ) as events:
        await events.next()
        assert sorted(rows((await events.next())[1])) == ["database", "host"]


@pytest.mark.parametrize("stamp", ["", "other-3", "other-", "nonsense", "-1", "9" * 40])
async def test_after_a_restart_of_the_daemon_all_is_told(served: Served, stamp: str) -> None:
    async with stream(served, "/live", Last_Event_ID=stamp) as events:
        await events.next()
        assert len(rows((await events.next())[1])) == 6


async def test_who_leaves_before_the_stream_begins_is_nothing_to_report(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    looked, gone = asyncio.Event(), asyncio.Event()

    async def look(work: Callable[..., object], *arguments: object) -> object:
        looked.set()
        await gone.wait()
        return work(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", look)
    task = asyncio.create_task(served.get("/live"))
    await looked.wait()
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0.1)
    gone.set()
    await asyncio.sleep(0.1)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_page_that_shows_other_checks_than_it_should_is_made_anew(served: Served) -> None:
    page = (await served.get("/"))[1]
    checks = {name: check for name, check in served.control.setup.checks.items() if name != "mail"}
    served.control.setup = replace(served.control.setup, checks=checks)
    async with stream(served, stream_of(page)) as events:
        assert (await events.next())[0] == "reload"


async def test_a_page_of_what_is_critical_is_made_anew_when_something_else_becomes_so(served: Served) -> None:
    await remembered(served)
    page = (await served.get("/?state=critical"))[1]
    assert rows(page) == ["api"]
    async with stream(served, stream_of(page)) as events:
        await events.next()
        served.control.state.checks["site"] = CheckState("site", Outcome.DOWN, NOW, Severity.CRITICAL)
        await happen(served, "site")
        assert (await events.next())[0] == "reload"


async def test_a_reload_of_the_configuration_while_a_page_is_made(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, real = served.control.setup, Board.row

    def row(board: Board, name: str) -> str:
        served.control.setup = replace(before)
        return real(board, name)

    monkeypatch.setattr(Board, "row", row)
    assert (await served.get("/"))[0] == 302


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("q=data", ["database"]),
        ("q=HTTP+health", ["api"]),
        ("q=lead+relay", ["mail"]),
        ("state=wrong", ["api", "host"]),
        ("state=unknown", ["certificate <b>"]),
        ("state=new", ["mail"]),
        ("state=nonsense&group=production", ["api", "database", "site"]),
        ("group=-&state=warning", ["host"]),
        ("tag=money", ["site"]),
        ("tag=money&state=critical", []),
        ("page=-1&q=site", ["site"]),
        ("page=99999&q=site", ["site"]),
        ("page=²&q=site", ["site"]),
    ],
)
async def test_checks_are_found(served: Served, query: str, names: list[str]) -> None:
    site = served.control.setup.checks["site"]
    checks = {**served.control.setup.checks, "site": replace(site, tags=("money",))}
    served.control.setup = replace(served.control.setup, checks=checks)
    assert await listed(served, query) == names


async def test_what_is_not_found_is_said(served: Served) -> None:
    assert "No check is like that" in (await served.get("/?q=<nothing>"))[1]


async def test_many_checks_come_page_by_page(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "ROWS_OF_A_PAGE", 4)
    first, second = await listed(served, ""), await listed(served, "page=2")
    assert (len(first), len(second)) == (4, 2)
    assert not set(first) & set(second)
    page = (await served.get("/?page=2&q="))[1]
    assert "5 to 6 of 6" in page
    assert 'rel="prev"' in page
    assert 'rel="next"' not in page


async def test_others_have_their_turn_while_thousands_of_checks_are_looked_through() -> None:
    control = Showcase()
    site = control.setup.checks["site"]
    names = [f"check-{number}" for number in range(10_000)]
    checks = {name: replace(site, name=name, group="all") for name in names}
    control.setup = replace(control.setup, checks=checks)
    control.state.checks = {"check-7": CheckState("check-7", Outcome.UP, NOW, Severity.WARNING)}
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    meanwhile = asyncio.create_task(other())
    found = await listing.listing(control, listing.Catalogue.of(control.setup), listing.Wanted())
    meanwhile.cancel()
    assert turns >= 10_000 / listing.CHECKS_AT_A_TIME
    assert (found.names[:3], found.pages) == (("check-7", "check-0", "check-1"), 50)
    assert found.words == {"warning": 1, "new": 9_999}


async def test_the_strip_tells_what_the_records_know(served: Served) -> None:
    await remembered(served)
    (words,) = re.findall(r'id="check-site".*?aria-label="last 24 h: ([^"]+)"', (await served.get("/"))[1], re.DOTALL)
    assert words == "up 23 h, not watched 1 h"


@pytest.mark.parametrize("page", ["/checks/api", "/incidents/42"])
async def test_what_happened_before_the_stream_of_a_page_is_shown_by_it(served: Served, page: str) -> None:
    async with stream(served, page + "/live") as events:
        assert (await events.next())[0] == "changed"


async def test_who_may_not_act_sees_no_button() -> None:
    async for guarded in serve(access_for()):
        token = {"Authorization": f"Bearer {SECRETS['viewer']}"}
        page = (await guarded.get("/", **token))[1]
        assert "#42" in page
        assert "Acknowledge" not in page
        async with stream(guarded, "/live", **token) as events:
            above = (await events.next())[1]
            assert "#42" in above
            assert "Acknowledge" not in above


async def test_the_wall_and_the_counts(served: Served) -> None:
    page = (await served.get("/?wall"))[1]
    assert '<body class="frame wall">' in page
    assert 'production <span class="quiet">1 critical · 2 ok</span>' in page


async def test_a_failing_history_leaves_the_page_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    class Forgetful(Showcase):
        async def incidents(self, **_: object) -> list[Incident]:
            raise StoreError("the disk is full")

    async for one in serve(access_for(), control=Forgetful(), signed_in=True):
        await remembered(one)
        assert len(await listed(one, "")) == 6
