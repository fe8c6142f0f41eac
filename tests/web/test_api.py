"""The API as its own document describes it: what is declared is checked, and what is answered fits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from openapi_spec_validator import validate

from tests.web.access import access_for
from tests.web.showcase import NOW
from tests.web.test_web import Served, serve
from wcr_watchd.core.model import IncidentState, Severity
from wcr_watchd.core.protocols import Wanted
from wcr_watchd.core.view import Touched
from wcr_watchd.web.api import events
from wcr_watchd.web.api.openapi import DOCUMENT, document
from wcr_watchd.web.incident_search import STATES

PREFIX = "/api/v1"


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    async for one in serve(access_for(), signed_in=True):
        yield one


async def get(served: Served, path: str, **headers: str) -> tuple[int, Any, Mapping[str, str]]:
    names = {key.replace("_", "-"): value for key, value in headers.items()}
    async with served.session.get(served.base + PREFIX + path, headers=names) as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if text else None, answer.headers


async def test_the_document_is_valid_and_has_every_route(served: Served) -> None:
    status, document, _ = await get(served, "/openapi.json")
    assert status == 200
    validate(document)
    assert document["openapi"] == "3.1.0"
    operations = [one for path in document["paths"].values() for one in path.values()]
    assert len({one["operationId"] for one in operations}) == len(operations) > 50
    assert all(one["summary"] for one in operations)
    check = document["paths"]["/api/v1/incidents/{number}/acknowledge"]["post"]
    assert check["description"].endswith("Needs the role operator.")
    assert document["components"]["schemas"]["Check"]["additionalProperties"] is False


async def test_a_route_that_declares_nothing_is_noticed(served: Served) -> None:
    async def nothing(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.router.add_get("/api/v1/nothing", nothing)
    with pytest.raises(LookupError, match="GET /api/v1/nothing is in the API and declares nothing"):
        document(app)
    assert DOCUMENT in served.app


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "detail"),
    [
        ("GET", "/nothing", None, 404, "there is nothing at this path; GET /api/v1/openapi.json says what there is"),
        ("GET", "/checks/ghost", None, 404, "there is no check named 'ghost'; `wcr-watchd list` shows all"),
        ("PUT", "/checks", None, 405, "PUT is not allowed here; allowed: GET, HEAD"),
        ("GET", "/checks?colour=red", None, 422, "query.colour: Extra inputs are not permitted (there may be: limit, "),
        ("GET", "/checks?limit=0", None, 422, "query.limit: '0' is no whole number from 1 to 1000"),
        ("GET", "/incidents?state=closed", None, 422, "query.state: Input should be 'open', 'acknowledged'"),
        ("GET", "/incidents?since=yesterday", None, 400, "'yesterday' is no time; write 2026-12-24T18:00:00-05:00"),
        ("GET", "/incidents?cursor=x", None, 422, "query.cursor: 'x' is none of ours"),
        ("POST", "/incidents/42/notes", {"words": "x"}, 422, "body.text: Field required; body.words: Extra inputs"),
        ("POST", "/incidents/42/notes", {"text": 7}, 422, "body.text: Input should be a valid string"),
        ("POST", "/incidents/42/acknowledge", {"for": "soon"}, 400, "write for example 2h"),
        ("POST", "/silences", {"check": "api"}, 400, 'say for how long: "for": "2h"'),
        ("POST", "/silences", [1], 400, "the body must be a JSON object"),
        (
            "GET",
            "/policy/test?check=api&severity=fatal",
            None,
            422,
            "query.severity: Input should be 'info', 'warning'",
        ),
    ],
)
async def test_problems_say_what_is_wrong(
    served: Served, method: str, path: str, body: object, status: int, detail: str
) -> None:
    async with served.session.request(method, served.base + PREFIX + path, json=body) as answer:
        assert answer.content_type == "application/problem+json"
        said = await answer.json(content_type=None)
    assert (answer.status, said["status"]) == (status, status)
    assert detail in said["detail"]
    assert said["title"]


async def test_a_body_that_is_no_json_by_its_type_is_not_taken(served: Served) -> None:
    """A form of a foreign page can be sent without asking first; JSON cannot (Fetch, 4.8)."""
    url = f"{served.base}{PREFIX}/incidents/42/notes"
    async with served.session.post(url, data='{"text": "x"}', headers={"Content-Type": "text/plain"}) as answer:
        assert answer.status == 415
        assert "send JSON with Content-Type: application/json" in (await answer.json(content_type=None))["detail"]


async def test_a_list_comes_in_pieces(served: Served) -> None:
    _, everything, _ = await get(served, "/checks")
    names = [row["name"] for row in everything["checks"]]
    assert everything["next"] is None
    seen: list[str] = []
    cursor = ""
    while True:
        _, piece, _ = await get(served, f"/checks?limit=2{cursor}")
        assert 0 < len(piece["checks"]) <= 2
        seen += [row["name"] for row in piece["checks"]]
        if piece["next"] is None:
            break
        cursor = f"&cursor={piece['next']}"
    assert seen == names


@pytest.mark.parametrize(
    ("query", "fits"),
    [
        ("state=critical", lambda row: row["state"] == "critical"),
        ("outcome=up", lambda row: row["outcome"] == "up"),
        ("type=http", lambda row: row["type"] == "http"),
        ("name=a*", lambda row: row["name"].startswith("a")),
        ("q=API", lambda row: "api" in (row["name"] + row["target"] + row["summary"]).lower()),
        ("group=none-such", lambda row: False),
    ],
)
async def test_checks_are_filtered(served: Served, query: str, fits: Any) -> None:
    _, everything, _ = await get(served, "/checks")
    _, some, _ = await get(served, f"/checks?{query}")
    assert some["checks"] == [row for row in everything["checks"] if fits(row)]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("state=acknowledged", Wanted(states=(IncidentState.ACKNOWLEDGED,))),
        ("open=1", Wanted(states=STATES["unresolved"])),
        ("severity=warning", Wanted(severity=Severity.WARNING)),
        ("check=api", Wanted(checks=frozenset({"api"}))),
        ("group=production", Wanted(checks=frozenset({"site", "api", "database"}))),
        ("tag=none-such", Wanted(checks=frozenset())),
        ("q=503", Wanted(text="503")),
        ("since=100&until=200.5", Wanted(since=100.0, until=200.5)),
        ("since=2026-11-28T00:00:00Z", Wanted(since=1_795_824_000.0)),
    ],
)
async def test_incidents_are_filtered(served: Served, query: str, wanted: Wanted) -> None:
    status, _, _ = await get(served, f"/incidents?{query}")
    assert status == 200
    assert served.control.wanted == [wanted]


async def test_filtered_incidents_come_in_pieces(served: Served) -> None:
    _, first, headers = await get(served, "/incidents?open=1&limit=1")
    assert ([row["id"] for row in first["incidents"]], first["next"]) == ([42], "42")
    _, rest, _ = await get(served, "/incidents?open=1&limit=1&cursor=42")
    assert ([row["id"] for row in rest["incidents"]], rest["next"]) == ([41], None)
    status, _, _ = await get(served, "/incidents?open=1&limit=1", If_None_Match=headers["ETag"])
    assert status == 304


async def test_what_may_be_the_cause_and_what_was_like_it(served: Served) -> None:
    here = served.control.state.incidents[42]
    served.control.old.append(
        replace(here, id=7, opened_at=NOW - 9_000, resolved_at=NOW - 8_000, state=IncidentState.RESOLVED)
    )
    _, causes, _ = await get(served, "/incidents/42/causes")
    kinds = {one["kind"]: one for one in causes["causes"]}
    assert "openssl" in kinds["change"]["text"]
    _, likely, _ = await get(served, "/incidents/42/similar")
    assert ([one["incident"]["id"] for one in likely["similar"]], likely["recent"]) == ([7], 2)
    assert likely["similar"][0]["same_words"] is True


async def test_the_review_is_read_and_written(served: Served) -> None:
    url = f"{served.base}{PREFIX}/incidents/42/review"
    _, before, _ = await get(served, "/incidents/42/review")
    assert (before["root_cause"], before["written_by"], before["written_at"]) == ("", "", None)
    assert before["markdown"].startswith("# Incident #42")
    for body in ({"root_cause": " a full disk ", "by": "ann"}, {"impact": "the shop"}):
        async with served.session.put(url, json=body) as answer:
            assert answer.status == 200
    _, after, _ = await get(served, "/incidents/42/review")
    assert (after["root_cause"], after["impact"], after["written_by"]) == ("a full disk", "the shop", "operator")
    async with served.session.put(url, json={"impact": "x" * 10_001}) as answer:
        assert answer.status == 422
    async with served.session.put(f"{served.base}{PREFIX}/incidents/7/review", json={}) as answer:
        assert answer.status == 404


async def test_channels_stand_as_on_their_page(served: Served) -> None:
    status, body, _ = await get(served, "/channels")
    assert status == 200
    [broken] = [one for one in body["channels"] if one["name"] == "broken"]
    assert (broken["state"], broken["sentence"], broken["people"]) == ("new", "has not been used since the start", [])
    [sms] = [one for one in body["channels"] if one["name"] == "sms"]
    assert sms["limits"] == ["20 in 1 h by the configuration", "1 in 1 s by the provider"]


async def test_a_message_is_shown_and_not_sent(served: Served) -> None:
    _, usual, _ = await get(served, "/channels/sms/message")
    assert usual == {"channel": "sms", "parts": {"text": "critical opened: a made-up check"}}
    _, asked, _ = await get(served, "/channels/sms/message?check=api&severity=info&event=resolved")
    assert asked["parts"] == {"text": "info resolved: api"}
    assert (await get(served, "/channels/gone/message"))[0] == 409
    assert (await get(served, "/channels/sms/message?event=danced"))[0] == 422


async def test_deliveries_are_filtered(served: Served) -> None:
    served.control.failed = ("a", "b")
    _, failed, _ = await get(served, "/deliveries?state=failed&incident=42&limit=5")
    assert [one["id"] for one in failed["deliveries"]] == ["a", "b"]
    assert (await get(served, "/deliveries?incident=x"))[0] == 422


async def test_the_configuration_in_force(served: Served) -> None:
    served.control.reload_problems = ("watchd.toml:3: no such key",)
    status, body, _ = await get(served, "/configuration")
    assert (status, body["files"]) == (200, ["/etc/wcr-watchd/watchd.toml"])
    assert (body["problems"], body["counts"]["checks"]) == (["watchd.toml:3: no such key"], 6)
    _, settings, _ = await get(served, "/checks/api/settings")
    assert 'password = "•••"' in settings["toml"]


async def test_availability_is_that_of_the_page(served: Served) -> None:
    _, body, _ = await get(served, "/checks/api/availability")
    assert [one["span"] for one in body["spans"]] == [86_400.0, 604_800.0, 2_592_000.0, 7_776_000.0]
    longest = body["spans"][-1]
    assert 0.99 < longest["share"] < 1
    seconds = longest["up"] + longest["down"] + longest["planned"] + longest["unwatched"]
    assert seconds == pytest.approx(longest["span"])
    assert (await get(served, "/checks/ghost/availability"))[0] == 404


async def test_what_did_not_change_is_not_sent_again(served: Served) -> None:
    status, _, headers = await get(served, "/on-call")
    assert (status, headers["Cache-Control"]) == (200, "no-cache")
    status, body, again = await get(served, "/on-call", If_None_Match=headers["ETag"])
    assert (status, body, again["ETag"]) == (304, None, headers["ETag"])
    status, _, _ = await get(served, "/on-call", If_None_Match='W/"other"')
    assert status == 200
    async with served.session.head(f"{served.base}{PREFIX}/on-call") as answer:
        assert answer.status == 200


# --- the stream -------------------------------------------------------------------------------------------------------


async def frames(answer: aiohttp.ClientResponse, count: int) -> list[dict[str, str]]:
    """The next so many events."""
    found: list[dict[str, str]] = []
    text = ""
    while len(found) < count:
        async with asyncio.timeout(10):
            text += (await answer.content.readany()).decode()
        *whole, text = text.split("\n\n")
        found += [dict(line.split(": ", 1) for line in one.split("\n")) for one in whole if not one.startswith(":")]
    return found


async def touch(served: Served, *touched: Touched) -> None:
    """Let something happen."""
    feed = served.app[events.FEED]
    feed._note(touched)
    await feed._wake()


async def test_what_was_missed_is_made_up(served: Served) -> None:
    url = f"{served.base}{PREFIX}/events"
    async with served.session.get(url) as stream:
        [hello] = await frames(stream, 1)
        assert hello["event"] == "hello"
        await touch(served, Touched(check="api"))
        [first] = await frames(stream, 1)
        assert (first["event"], json.loads(first["data"])["name"]) == ("check", "api")
    await touch(served, Touched(check="site"), Touched(incident=42), Touched(check="no-such-check"))
    async with served.session.get(url, headers={"Last-Event-ID": first["id"]}) as stream:
        missed = await frames(stream, 2)
        assert [one["event"] for one in missed] == ["check", "incident"]
        assert json.loads(missed[1]["data"])["id"] == 42
    for stale in ("00000000-1", "nonsense", first["id"].partition("-")[0] + "-999999"):
        async with served.session.get(url, headers={"Last-Event-ID": stale}) as stream:
            assert (await frames(stream, 1))[0]["event"] == "reset", "what is not known must be asked for anew"


async def test_what_is_not_kept_any_more_is_said_so(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{served.base}{PREFIX}/events"
    async with served.session.get(url) as stream:
        [hello] = await frames(stream, 1)
    await touch(served, *[Touched(check="api")] * (events.KEPT + 1))
    async with served.session.get(url, headers={"Last-Event-ID": hello["id"]}) as stream:
        assert [one["event"] for one in await frames(stream, 1)] == ["reset"]


async def test_a_stream_can_be_narrowed(served: Served) -> None:
    async with served.session.get(f"{served.base}{PREFIX}/events?check=site&kind=check") as stream:
        await frames(stream, 1)
        await touch(served, Touched(check="api"), Touched(incident=42), Touched(check="site"))
        [only] = await frames(stream, 1)
        assert json.loads(only["data"])["name"] == "site"


async def test_an_event_is_encoded_once_for_all_streams(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    feed = served.app[events.FEED]
    encoded: list[int] = []
    real = feed._framed
    monkeypatch.setattr(events.Feed, "_framed", lambda self, *given: encoded.append(given[0]) or real(*given))
    streams = [await served.session.get(f"{served.base}{PREFIX}/events") for _ in range(20)]
    try:
        await asyncio.gather(*(frames(one, 1) for one in streams))
        encoded.clear()
        await touch(served, Touched(check="api"))
        await asyncio.gather(*(frames(one, 1) for one in streams))
        assert len(encoded) == 1
    finally:
        for one in streams:
            one.close()
