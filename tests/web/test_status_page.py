"""The public status page: its files, how they are served, and the forms of subscribers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from xml.etree import ElementTree

import aiohttp
import pytest
from aiohttp import web

from wcr_watchd.core.posts import Impact, Post, PostState, said, written
from wcr_watchd.core.status import (
    Chart,
    ComponentStatus,
    Condition,
    DayBar,
    PlannedWork,
    PublicFile,
    PublicStatus,
    StatusPage,
)
from wcr_watchd.core.units import Unit
from wcr_watchd.kit import status_pages
from wcr_watchd.runtime.status_mail import Invitations, acceptable
from wcr_watchd.web.status.serve import Rationing, StatusDoor, offered, own_application
from wcr_watchd.web.status.site import render

NOW = 1_795_456_800.0
PAGE = StatusPage("Example & Co", (), url="https://status.example.org", mail="mail", host="status.example.org")


def days(*worst: Condition) -> tuple[DayBar, ...]:
    bars = [DayBar(f"2026-09-{number:02d}", 86_400.0) for number in range(1, 31)]
    bars[3] = replace(bars[3], outage=600.0, outages=2)
    bars[5] = replace(bars[5], unwatched=86_400.0)
    bars[7] = replace(bars[7], maintenance=7_200.0)
    return tuple(bars)


def a_post(title: str = "API <slow>", at: float = NOW - 900, *, over: bool = False) -> Post:
    post = said(
        written(title, ("api",), Impact.MAJOR, at), PostState.INVESTIGATING, "We look & see.", at, "ann", publish=True
    )
    return said(post, PostState.RESOLVED, "Over.", at + 600, "ann", publish=True) if over else post


def a_status(condition: Condition = Condition.PARTIAL, *posts: Post) -> PublicStatus:
    chart = Chart("Response time", Unit.SECONDS, ((NOW - 7_200, 0.2), (NOW - 6_300, 0.25), (NOW - 60, 0.213)))
    components = (
        ComponentStatus(
            "site", "Website", "What visitors see", "Web", Condition.OPERATIONAL, NOW, days(), 0.99997, chart
        ),
        ComponentStatus("api", "API", "", "Web", condition, NOW - 900, days(), 0.99768),
        ComponentStatus("ghost", "Reports", "", "", Condition.UNKNOWN, None, days(), None),
    )
    planned = (
        PlannedWork("m1", "Database upgrade", ("api",), NOW - 60, NOW + 3_600),
        PlannedWork("m2", "Planned maintenance", ("api", "site"), NOW + 86_400, NOW + 90_000),
    )
    return PublicStatus(PAGE, components, tuple(one.public() for one in posts or (a_post(),)), planned, NOW)


def document(name: str, status: PublicStatus | None = None) -> dict[str, object]:
    found: dict[str, object] = json.loads(render(status or a_status(), copy=False)[f"api/v2/{name}.json"].body)
    return found


def test_our_own_reader_of_statuspage_reads_ours() -> None:
    text = render(a_status(), copy=False)["api/v2/summary.json"].body.decode()
    page = status_pages.read({"text": text, "components": [], "recent": 86_400.0, "now": NOW})
    assert page["name"] == "Example & Co"
    assert page["components"] == {"Website": 0, "API": 2, "Reports": 1}
    assert page["incidents"] == ["API <slow> (investigating)"]
    assert page["maintenances"] == ["Database upgrade (in_progress)"]
    assert page["impact"] == 2


def test_our_own_reader_of_feeds_reads_ours() -> None:
    status = a_status(Condition.PARTIAL, a_post(), a_post("Old one", NOW - 9_000, over=True))
    text = render(status, copy=False)["feed.atom"].body.decode()
    page = status_pages.read({"text": text, "components": [], "recent": 86_400.0, "now": NOW})
    assert page["incidents"] == ["API <slow> (Investigating)"]


def test_the_shape_is_that_of_statuspage() -> None:
    """The keys are those that every page of Statuspage answers with (https://metastatuspage.com/api)."""
    summary = document("summary")
    assert summary.keys() == {"page", "components", "incidents", "scheduled_maintenances", "status"}
    assert summary["status"] == {"indicator": "major", "description": "API is partly unavailable"}
    components: list[dict[str, object]] = summary["components"]  # type: ignore[assignment]
    group, site, api, ghost = components
    assert (group["group"], group["components"]) == (True, [site["id"], api["id"]])
    assert (site["group_id"], api["status"], ghost["status"]) == (group["id"], "partial_outage", "degraded_performance")
    (incident,) = summary["incidents"]  # type: ignore[misc]
    assert {"id", "name", "status", "impact", "shortlink", "incident_updates", "started_at"} <= incident.keys()
    assert incident["incident_updates"][0]["affected_components"][0]["name"] == "API"
    assert [one["status"] for one in document("scheduled-maintenances")["scheduled_maintenances"]] == [  # type: ignore[attr-defined]
        "in_progress",
        "scheduled",
    ]
    assert len(document("scheduled-maintenances/upcoming")["scheduled_maintenances"]) == 1  # type: ignore[arg-type]
    assert len(document("scheduled-maintenances/active")["scheduled_maintenances"]) == 1  # type: ignore[arg-type]
    over = a_status(Condition.OPERATIONAL, a_post(over=True))
    assert document("incidents/unresolved", over)["incidents"] == []
    assert len(document("incidents", over)["incidents"]) == 1  # type: ignore[arg-type]


def test_badges_are_pictures_that_say_it_in_words() -> None:
    files = render(a_status(), copy=False)
    said_by = {
        path: ElementTree.fromstring(one.body).findtext("{http://www.w3.org/2000/svg}title")
        for path, one in files.items()
        if path.startswith("badge/")
    }
    assert said_by["badge/api.svg"] == "API: partly unavailable"
    assert said_by["badge/api.uptime.svg"] == "uptime 30 days: 99.76 %"
    assert said_by["badge/ghost.uptime.svg"] == "uptime 30 days: not known"
    assert said_by["badge/site.chart.svg"] == "response time: 213 ms"
    assert said_by["badge/status.svg"] == "status: partly unavailable"


def test_the_page_says_its_formula_and_each_day_in_words() -> None:
    page = render(a_status(), copy=False)[""].body.decode()
    assert "Uptime = time without an outage ÷ time watched" in page
    assert "4 Sep 2026: 99.30 % up, 2 outages, 10 min in all" in page
    assert "6 Sep 2026: not watched" in page
    assert "8 Sep 2026: 100.00 % up, planned maintenance for 2 h" in page
    assert "API &lt;slow&gt;" in page
    assert "<script>" not in page
    assert " style=" not in page


def test_the_copy_says_how_old_it_is_without_script_and_has_no_forms() -> None:
    live, copy = (render(a_status(), copy=one)[""].body.decode() for one in (False, True))
    assert "This is a copy, written at" in copy
    assert "subscribe" not in copy
    assert "subscribe" in live
    assert "This is a copy" not in live


def test_the_calendar_holds_what_is_planned() -> None:
    text = render(a_status(), copy=False)["maintenance.ics"].body.decode()
    assert text.count("BEGIN:VEVENT") == 2
    assert "SUMMARY:Example & Co: Database upgrade" in text


# --- served -----------------------------------------------------------------------------------------------------------


@dataclass
class Shown:
    settings: StatusPage | None = PAGE
    files: Mapping[str, PublicFile] = field(default_factory=lambda: render(a_status(), copy=False))


class Mails:
    def __init__(self) -> None:
        self.invited_to: list[str] = []
        self.confirmed: list[str] = []
        self.ended: list[str] = []

    def invite(self, address: str) -> bool:
        self.invited_to.append(address)
        return True

    def acceptable(self, address: str) -> bool:
        return acceptable(address)

    def invited(self, text: str) -> bool:
        return text == "good"

    async def confirm(self, text: str) -> bool:
        self.confirmed.append(text)
        return text == "good"

    async def unsubscribe(self, identity: str) -> bool:
        self.ended.append(identity)
        return identity == "known"


class Served:
    def __init__(self, base: str, session: aiohttp.ClientSession, shown: Shown, mails: Mails) -> None:
        self.base, self.session, self.shown, self.mails = base, session, shown, mails

    async def ask(self, path: str, method: str = "GET", **options: object) -> tuple[int, str, Mapping[str, str]]:
        async with self.session.request(method, self.base + path, allow_redirects=False, **options) as answer:  # type: ignore[arg-type]
            return answer.status, await answer.text(), answer.headers

    async def subscribe(self, address: str) -> tuple[int, str]:
        status, text, _ = await self.ask("/status/subscribe", "POST", data={"address": address})
        return status, text


@asynccontextmanager
async def serving(app: web.Application, shown: Shown, mails: Mails) -> AsyncIterator[Served]:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with aiohttp.ClientSession(auto_decompress=True) as session:
            yield Served(base, session, shown, mails)
    finally:
        await runner.cleanup()


def door(shown: Shown, mails: Mails) -> StatusDoor:
    return StatusDoor(shown, mails, Rationing(lambda: 0.0))


@pytest.fixture
async def beside() -> AsyncIterator[Served]:
    """Beside a dashboard."""
    shown, mails = Shown(), Mails()

    async def inside(request: web.Request) -> web.Response:
        return web.Response(text="the dashboard")

    app = web.Application(middlewares=[offered(door(shown, mails))])
    app.router.add_get("/{rest:.*}", inside)
    async with serving(app, shown, mails) as served:
        yield served


@pytest.fixture
async def alone() -> AsyncIterator[Served]:
    """At an address of its own."""
    shown, mails = Shown(), Mails()
    async with serving(own_application(door(shown, mails), lambda: ()), shown, mails) as served:
        yield served


async def test_it_is_below_its_path_and_elsewhere_is_the_dashboard(beside: Served) -> None:
    status, _, headers = await beside.ask("/status")
    assert (status, headers["Location"]) == (308, "/status/")
    assert "API is partly unavailable" in (await beside.ask("/status/"))[1]
    assert (await beside.ask("/"))[1] == (await beside.ask("/statusx"))[1] == "the dashboard"
    assert (await beside.ask("/status/history"))[2]["Location"] == "history/"
    status, text, _ = await beside.ask("/status/nothing/here")
    assert status == 404
    assert "There is no such page" in text
    beside.shown.settings = None
    assert (await beside.ask("/status/"))[1] == "the dashboard"


@pytest.mark.parametrize("host", ["status.example.org", "Status.Example.org:8080"])
async def test_at_its_own_host_name_there_is_nothing_else(beside: Served, host: str) -> None:
    named = {"headers": {"Host": host}}
    assert "API is partly unavailable" in (await beside.ask("/", **named))[1]
    assert "API is partly unavailable" in (await beside.ask("/status/", **named))[1]
    assert (await beside.ask("/api/v1/status", **named))[0] == 404
    assert (await beside.ask("/healthz", **named))[0] == 404


async def test_at_its_own_address_there_is_nothing_else(alone: Served) -> None:
    status, text, headers = await alone.ask("/")
    assert status == 200
    assert "API is partly unavailable" in text
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    for path in ("/api/v1/status", "/metrics", "/healthz", "/sign-in", "/static/x"):
        assert (await alone.ask(path))[0] == 404, path
    assert (await alone.ask("/", "POST"))[0] == 405
    alone.shown.settings = None
    assert (await alone.ask("/"))[0] == 404


async def test_answers_may_be_kept_and_are_asked_for_by_name(beside: Served) -> None:
    _, _, headers = await beside.ask("/status/api/v2/summary.json")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Cache-Control"].startswith("public, max-age=15")
    status, text, again = await beside.ask("/status/api/v2/summary.json", headers={"If-None-Match": headers["ETag"]})
    assert (status, text, again["ETag"]) == (304, "", headers["ETag"])
    plain = (await beside.ask("/status/", headers={"Accept-Encoding": "identity"}))[2]
    packed = (await beside.ask("/status/", headers={"Accept-Encoding": "gzip"}))[2]
    assert plain["ETag"] != packed["ETag"]
    assert int(packed["Content-Length"]) < int(plain["Content-Length"])
    style = next(path for path in beside.shown.files if path.endswith(".css"))
    assert "immutable" in (await beside.ask(f"/status/{style}"))[2]["Cache-Control"]


async def test_before_the_first_look_it_says_so(beside: Served) -> None:
    beside.shown.files = {}
    status, _, headers = await beside.ask("/status/")
    assert (status, headers["Retry-After"]) == (503, "10")


# --- subscribers ------------------------------------------------------------------------------------------------------


async def test_whether_an_address_is_known_is_not_to_be_seen(beside: Served) -> None:
    first = await beside.subscribe("ann@example.org")
    second = await beside.subscribe("ann@example.org")
    third = await beside.subscribe("Ann@example.org")
    assert first == second == third
    assert first[0] == 200
    assert len(beside.mails.invited_to) == 2


async def test_one_visitor_cannot_make_us_write_to_the_world(beside: Served) -> None:
    answers = [(await beside.subscribe(f"{number}@example.org"))[0] for number in range(7)]
    assert answers == [200] * 5 + [429] * 2
    assert len(beside.mails.invited_to) == 5


@pytest.mark.parametrize(
    "address", ["", "ann", "a@b", "a b@example.org", "a@example.org\r\nBcc: b@example.org", "a@b@c.d"]
)
async def test_what_is_no_address_is_refused(beside: Served, address: str) -> None:
    assert (await beside.subscribe(address))[0] == 400
    assert beside.mails.invited_to == []


async def test_a_foreign_page_cannot_subscribe_its_visitors(beside: Served) -> None:
    foreign = {"headers": {"Origin": "https://evil.example"}, "data": {"address": "a@example.org"}}
    assert (await beside.ask("/status/subscribe", "POST", **foreign))[0] == 403


async def test_only_the_button_confirms_and_ends(beside: Served) -> None:
    assert "Yes, send me mails" in (await beside.ask("/status/confirm/good"))[1]
    assert (await beside.ask("/status/confirm/bad"))[0] == 404
    assert "No more mails" in (await beside.ask("/status/unsubscribe/known"))[1]
    assert beside.mails.confirmed == beside.mails.ended == []
    assert (await beside.ask("/status/confirm/good", "POST"))[0] == 200
    one_click = {"data": {"List-Unsubscribe": "One-Click"}}
    known = await beside.ask("/status/unsubscribe/known", "POST", **one_click)
    other = await beside.ask("/status/unsubscribe/other", "POST", **one_click)
    assert known[:2] == other[:2]
    assert beside.mails.ended == ["known", "other"]


def test_an_invitation_is_for_one_address_and_two_days() -> None:
    invitations = Invitations(bytes(32))
    text = invitations.write("ann@example.org", NOW)
    assert invitations.read(text, NOW + 3_600) == "ann@example.org"
    assert invitations.read(text, NOW + 49 * 3_600) is None
    assert invitations.read(text[:-2] + "AA", NOW) is None
    assert invitations.read("", NOW) is None
    assert Invitations(b"x" * 32).read(text, NOW) is None
