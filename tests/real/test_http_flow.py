"""The http_flow probe on a small shop with sign-in, cookies and forms (aiohttp's server, which speaks proper HTTP)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from tests.real.running import Observe, carry_out, descriptors, measured, names, new_run, none_left_open, probe_of
from tests.real.servers.odd import Odd, silence
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.shared import SharedHelpers

StartOdd = Callable[..., Awaitable[Odd]]


class Shop:
    """A site that lets in who has its cookie, its token and the right password; ``got`` are the requests it got."""

    def __init__(self) -> None:
        self.got: list[tuple[str, str, dict[str, str]]] = []
        self.port = 0

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        form = await request.post() if request.content_type != "application/json" else {}
        self.got.append((request.method, request.path_qs, {key: str(value) for key, value in form.items()}))
        return await getattr(self, request.path.strip("/").replace("/", "_") or "home")(request, form)

    async def home(self, request: web.Request, form: Any) -> web.Response:
        return web.Response(text="home")

    async def login(self, request: web.Request, form: Any) -> web.Response:
        if request.method == "GET":
            answer = web.Response(
                text='<form><input name="csrf" value="t&amp;k/1"></form><p>Order no. 4711</p>',
                content_type="text/html",
                headers={"X-Next": "/account"},
            )
            answer.set_cookie("visit", "v1")
            return answer
        if (form["csrf"], form["password"], request.cookies.get("visit")) != ("t&k/1", "right", "v1"):
            return web.Response(status=403, text="wrong password")
        signed_in = web.Response(status=302, headers={"Location": "/account"})
        signed_in.set_cookie("session", "s1", path="/")
        return signed_in

    async def account(self, request: web.Request, form: Any) -> web.Response:
        if request.cookies.get("session") != "s1":
            return web.Response(status=401, text="who are you?")
        return web.json_response({"name": "watch", "orders": [{"id": 42}]})

    async def order(self, request: web.Request, form: Any) -> web.Response:
        return web.json_response({"echo": await request.json(), "key": request.headers.get("X-Key", "")})


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    served = Shop()
    runner = web.ServerRunner(web.Server(served.serve))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    served.port = runner.addresses[0][1]
    yield served
    await runner.cleanup()


SIGN_IN = [
    {
        "name": "sign-in page",
        "path": "/login",
        "capture": {
            "token": {"field": "csrf"},
            "number": {"regex": "no\\. (\\d+)"},
            "next": {"header": "X-Next"},
            "visit": {"cookie": "visit"},
        },
    },
    {"name": "sign in", "path": "/login", "form": {"csrf": "{{token}}", "password": "right"}},
    {
        "name": "own page",
        "path": "{{next}}",
        "expect": {"json": {"name": "watch"}},
        "capture": {"order": {"json": "orders[0].id"}},
    },
]


async def test_a_whole_scenario(shop: Shop, observe: Observe) -> None:
    order = {
        "name": "order",
        "path": "/order?no={{number}}&t={{token}}",
        "json": {"id": "{{order}}", "lines": [{"visit": "{{ visit }}"}], "count": 1},
        "headers": {"X-Key": "k-{{number}}"},
        "expect": {"json": {"echo.id": "42", "echo.lines[0].visit": "v1", "echo.count": 1, "key": "k-4711"}},
    }
    seen = await observe("http_flow", url=shop.url(), steps=[*SIGN_IN, order])
    assert seen.outcome is Outcome.UP, seen.summary
    assert seen.summary.startswith("all 4 steps")
    assert measured(seen, "steps_done") == 4
    steps = {dict(one.labels)["step"]: one.value for one in seen.measurements if one.name == "step_time"}
    assert set(steps) == {"sign-in page", "sign in", "own page", "order"}
    assert 0 < sum(steps.values()) <= measured(seen, "flow_time")
    assert [(method, path) for method, path, _ in shop.got] == [
        ("GET", "/login"),
        ("POST", "/login"),
        ("GET", "/account"),
        ("GET", "/account"),
        ("POST", "/order?no=4711&t=t%26k%2F1"),
    ]


async def test_the_failing_step_is_named(shop: Shop, observe: Observe) -> None:
    wrong = {**SIGN_IN[1], "form": {"csrf": "{{token}}", "password": "wrong"}}
    seen = await observe("http_flow", url=shop.url(), steps=[SIGN_IN[0], wrong, SIGN_IN[2]])
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "status")
    assert seen.summary.startswith(f"step 2 of 3, sign in: POST {shop.url('/login')}: answered 403 Forbidden")
    assert seen.evidence["body"] == "wrong password"
    assert measured(seen, "steps_done") == 1
    assert "flow_time" not in names(seen)
    assert len(shop.got) == 2, "what comes after it is not tried"
    assert "t&k" not in seen.summary


async def test_without_cookies_nobody_is_let_in(shop: Shop, observe: Observe) -> None:
    seen = await observe("http_flow", url=shop.url(), steps=[{"path": "/account"}])
    assert "step 1 of 1: GET" in seen.summary
    assert "answered 401" in seen.summary


async def test_redirects_can_be_looked_at(shop: Shop, observe: Observe) -> None:
    own = {**SIGN_IN[1], "follow_redirects": False, "expect": {"status": 302, "headers": {"Location": "/account"}}}
    seen = await observe("http_flow", url=shop.url(), steps=[SIGN_IN[0], own, {"path": "/account"}])
    assert seen.outcome is Outcome.UP, seen.summary


@pytest.mark.parametrize(
    ("capture", "what"),
    [
        ({"json": "orders"}, "JSON orders"),
        ({"regex": "no such"}, "a match of no such"),
        ({"field": "none"}, "a field none"),
        ({"header": "X-None"}, "the header X-None"),
        ({"cookie": "none"}, "the cookie none"),
    ],
)
async def test_what_cannot_be_captured(capture: dict[str, str], what: str, shop: Shop, observe: Observe) -> None:
    seen = await observe("http_flow", url=shop.url(), steps=[{"path": "/login", "capture": {"x": capture}}])
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")
    assert f"{what} is not there to be captured as x" in seen.summary


async def test_a_slow_expression_is_cut_off(odd: StartOdd, observe: Observe) -> None:
    body = b"a" * 60 + b"!"
    server = await odd(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    steps = [{"capture": {"x": {"regex": "(a+)+$"}}}]
    seen = await observe("http_flow", url=server.url(), steps=steps)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")


async def test_what_leads_elsewhere_gets_no_keys(shop: Shop, odd: StartOdd, observe: Observe) -> None:
    other = await odd(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    steps = [{"path": other.url("/hook")}, {"path": "/"}]
    seen = await observe(
        "http_flow", url=shop.url(), steps=steps, auth={"bearer": "geheim"}, headers={"X-Key": "geheim"}
    )
    assert seen.outcome is Outcome.UP, seen.summary
    assert "geheim" not in other.requests[0]


@pytest.mark.parametrize("value", ["javascript:alert(1)", "http://[", "ftp://a.example/"])
async def test_a_captured_address_that_is_none(value: str, odd: StartOdd, observe: Observe) -> None:
    body = json.dumps({"next": value}).encode()
    server = await odd(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
    steps = [{"capture": {"next": {"json": "next"}}}, {"name": "on", "path": "{{next}}"}]
    seen = await observe("http_flow", url=server.url(), steps=steps)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")
    assert "step 2 of 2, on: GET {{next}}" in seen.summary


async def test_a_step_that_hangs_is_named_by_the_time_out(odd: StartOdd, shop: Shop, shared: SharedHelpers) -> None:
    silent = await odd(silence)
    slow = {"path": silent.url("/slow?token={{token}}")}
    check = probe_of("http_flow", {"url": shop.url(), "steps": [SIGN_IN[0], slow]})
    before = descriptors()
    run = new_run(shared, timeout=0.5)
    seen = await carry_out(check, run)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "timeout")
    assert silent.url("/slow?token={{token}}") in run.step, "the value is nobody's business"
    assert measured(seen, "steps_done") == 1
    await asyncio.sleep(0)
    await none_left_open(before)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([{"path": "/{{token}}"}], "which no step before it captures"),
        ([{"form": {"a": "{{x}}"}, "capture": {"x": {"field": "y"}}}], "step 1 needs {{x}}"),
        ([{"path": "/a"}, {"path": "/a"}], "two steps are called"),
        ([{"capture": {"x": {"field": "y", "json": "z"}}}], "give one of"),
        ([{"capture": {"x": {}}}], "give one of"),
        ([{"body": "a", "form": {"b": "c"}}], "give one of body"),
        ([], "at least 1 item"),
    ],
)
def test_options_that_are_refused(steps: list[Any], words: str) -> None:
    with pytest.raises(ValueError, match=words.replace("{", "\\{")):
        probe_of("http_flow", {"url": "http://x.example", "steps": steps})
