"""The API as its own document describes it: what is declared is checked, and what is answered fits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from openapi_spec_validator import validate

from tests.web.access import access_for
from tests.web.test_web import Served, serve
from wcr_watchd.core.view import Touched
from wcr_watchd.web.api import events
from wcr_watchd.web.api.openapi import DOCUMENT, document

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
