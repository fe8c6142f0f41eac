"""Pages, API, health and live events, asked over HTTP; who is let in and who is not."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import aiohttp
import pytest
from aiohttp import web

from tests.web.access import SIGNED_IN, TOKEN, access_for
from tests.web.showcase import NOW, Showcase
from wcr_watchd.core.access import AccessSettings
from wcr_watchd.core.heartbeat import Book, HeartbeatState, Ping
from wcr_watchd.core.model import Measurement, MeasurementSpec, Outcome, Severity
from wcr_watchd.core.protocols import Channel
from wcr_watchd.core.rules import InstanceState, RuleState, Verdict, parse_rule
from wcr_watchd.core.state import CheckState
from wcr_watchd.core.units import Unit
from wcr_watchd.core.view import Touched
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.kit.tickets import KEY_BYTES, Tickets
from wcr_watchd.runtime.pings import PingDesk
from wcr_watchd.web.access.allowance import Allowance
from wcr_watchd.web.access.gate import Access
from wcr_watchd.web.answers import Doors
from wcr_watchd.web.app import build
from wcr_watchd.web.compatible.blackbox.endpoint import Prober
from wcr_watchd.web.live import STREAMS


@dataclass
class Metrics:
    body: bytes
    headers: dict[str, str]

    async def render(self, accept: str, accept_encoding: str) -> Metrics:
        return Metrics(f"# {accept} {accept_encoding}\n".encode(), {"Content-Type": "text/plain"})


class Served:
    """A served application, and a client for it."""

    def __init__(
        self, app: web.Application, control: Showcase, access: Access, base: str, session: aiohttp.ClientSession
    ) -> None:
        self.app = app
        self.control = control
        self.access = access
        self.base = base
        self.session = session

    def streams(self) -> int:
        """Event streams that are open."""
        return len(self.app[STREAMS])

    async def get(self, path: str, **headers: str) -> tuple[int, str]:
        names = {key.replace("_", "-"): value for key, value in headers.items()}
        async with self.session.get(self.base + path, headers=names, allow_redirects=False) as answer:
            return answer.status, await answer.text()

    async def post(self, path: str, data: object = None, **headers: str) -> tuple[int, str]:
        names = {key.replace("_", "-"): value for key, value in headers.items()}
        body = {"json": data} if path.startswith("/api/") and data is not None else {"data": data}
        async with self.session.post(self.base + path, headers=names, allow_redirects=False, **body) as answer:
            return answer.status, await answer.text()


def no_doors(channels: Mapping[str, Channel] = MappingProxyType({})) -> Doors:
    """Doors that nobody has a key to."""
    return Doors(Tickets(bytes(KEY_BYTES)), lambda: channels, SharedHelpers(), Allowance(lambda: 0.0))


def no_prober(access: Access) -> Prober:
    """What answers ``/probe`` where nothing is configured for it."""
    return Prober(lambda: None, SharedHelpers(), access)


def no_desk() -> PingDesk:
    """A desk where no job may report."""
    shared = SharedHelpers()
    return PingDesk(Book(), NoRecords(), Showcase(), shared, str, lambda check, delay: None)


class NoRecords:
    def heard(self, state: HeartbeatState, ping: Ping | None = None) -> None:
        raise AssertionError("nobody may report")

    async def flush(self) -> bool:
        raise AssertionError("nothing is to be stored")


async def serve(
    access: Access,
    socket: Path | None = None,
    doors: Doors | None = None,
    control: Showcase | None = None,
    desk: PingDesk | None = None,
    *,
    signed_in: bool = False,
) -> AsyncIterator[Served]:
    """The application and a client for it, which shows a credential when it is ``signed_in``."""
    control = control or Showcase()
    app = build(control, Metrics(b"", {}), access, doors or no_doors(), no_prober(access), desk or no_desk())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    if socket:
        await web.UnixSite(runner, str(socket)).start()
        base, connector = "http://localhost", aiohttp.UnixConnector(str(socket))
    else:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        base, connector = f"http://127.0.0.1:{port}", aiohttp.TCPConnector()
    async with aiohttp.ClientSession(connector=connector, headers=SIGNED_IN if signed_in else None) as session:
        yield Served(app, control, access, base, session)
    await runner.cleanup()


@pytest.fixture
async def over_socket(tmp_path: Path) -> AsyncIterator[Served]:
    async for one in serve(access_for(), tmp_path / "s"):
        yield one


async def test_dashboard_shows_problems_first_and_escapes_what_targets_say(served: Served) -> None:
    status, page = await served.get("/")
    assert status == 200
    assert "2 of 6 checks need attention" in page
    assert page.index("#42") < page.index("#41")
    assert "certificate &lt;b&gt;" in page
    assert "certificate <b>" not in page


async def test_the_dashboard_shows_latest_values_and_counts(served: Served) -> None:
    _, page = await served.get("/")
    assert "<small>response_time 213 ms</small>" in page
    assert "1 critical · 1 warning · 1 unknown · 1 new · 2 ok" in page
    assert "Times in America/New_York" in page


async def test_the_values_shown_are_those_that_rules_look_at_one_of_each_topic(served: Served) -> None:
    control = served.control
    specs = [
        MeasurementSpec(name, Unit.RATIO, name, topic=topic)
        for name, topic in (("a", "cpu"), ("b", "cpu"), ("c", ""), ("d", ""), ("e", ""), ("f", ""))
    ]
    specs.append(MeasurementSpec("total", Unit.COUNT, "Total.", counter=True))
    rules = (parse_rule("b > 50%", Severity.WARNING, specs), parse_rule("avg(f, 5m) > 50%", Severity.WARNING, specs))
    control.setup.checks["host"] = replace(control.setup.checks["host"], rules=rules)  # type: ignore[index]
    control.specs = {**control.specs, "host": tuple(specs)}
    measured = tuple(Measurement(spec.name, 0.25) for spec in specs)
    control.latest["host"] = replace(control.latest["host"], measurements=measured)
    _, page = await served.get("/")
    assert "<small>b 25 % · f 25 % · c 25 % · d 25 %</small>" in page


async def test_a_failure_that_no_rule_minds_is_called_down_and_not_confirming(served: Served) -> None:
    control = served.control
    control.state.incidents.clear()
    control.state.checks = {"api": CheckState("api", Outcome.DOWN, 0.0)}
    assert "No problem by the rules; 1 of 6 checks is down" in (await served.get("/"))[1]
    being_confirmed = RuleState((((), InstanceState(Verdict.PENDING)),))
    control.state.checks = {"api": CheckState("api", Outcome.DOWN, 0.0, rules=(("down", being_confirmed),))}
    assert "1 of 6 checks failed just now; trying again" in (await served.get("/"))[1]
    states = {row["name"]: row["state"] for row in json.loads((await served.get("/api/v1/checks"))[1])["checks"]}
    assert (states["api"], states["site"]) == ("confirming", "new")


async def test_pages_are_compressed_and_a_run_that_failed_is_a_full_bar(served: Served) -> None:
    async with served.session.get(served.base + "/checks/api") as answer:
        assert answer.headers["Content-Encoding"] in {"gzip", "deflate"}
        page = await answer.text()
    assert re.search(r'aria-label="last \d+ runs"><path d="M[^"]*"/><path class="bad" d="M\d+ 20v-20[^"]*"/>', page)


async def test_pages_load_only_our_own_files_and_browsers_keep_them(served: Served) -> None:
    _, page = await served.get("/")
    assert "https://" not in page.replace("https://www.example.org/", "")
    files = re.findall(r'<(?:script src|link rel="[a-z]+" href)="([^"]+)"', page)
    assert len(files) >= 3
    for file in files:
        async with served.session.get(served.base + file) as answer:
            assert answer.status == 200
            assert "immutable" in answer.headers["Cache-Control"]
    assert (await served.get("/static/other.js"))[0] == 404


async def test_pages_run_only_our_own_script(served: Served) -> None:
    async with served.session.get(served.base + "/") as answer:
        policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "'unsafe" not in policy


async def test_check_page_shows_measurements_and_evidence_as_text(served: Served) -> None:
    status, page = await served.get("/checks/api")
    assert status == 200
    assert "<code>disk_used</code>" in page
    assert "/data <strong>91 %</strong>" in page
    assert "<script>alert" not in page


async def test_incident_page_says_what_happened_and_who_was_told(served: Served) -> None:
    status, page = await served.get("/incidents/42")
    assert status == 200
    assert "confirmed by 3 of 3 runs" in page
    assert "lead (sms)" in page
    assert "+15550101" not in page


async def test_button_acknowledges_and_returns(served: Served) -> None:
    status, _ = await served.post("/incidents/42/acknowledge")
    assert status == 303
    assert served.control.acknowledged == [(42, "operator")]


async def test_another_sites_page_cannot_acknowledge(served: Served) -> None:
    status, _ = await served.post("/incidents/42/acknowledge", Origin="https://evil.example")
    assert status == 403
    status, _ = await served.post("/incidents/42/acknowledge", Sec_Fetch_Site="cross-site")
    assert status == 403
    assert served.control.acknowledged == []


async def test_with_a_token_it_must_be_shown(guarded: Served) -> None:
    assert (await guarded.get("/"))[0] == 303
    status, text = await guarded.get("/api/v1/status")
    assert (status, "Bearer" in text) == (401, True)
    assert (await guarded.get("/api/v1/status", Authorization="Bearer wrong"))[0] == 401
    assert (await guarded.get("/api/v1/status", Authorization="Bearer "))[0] == 401
    assert (await guarded.get("/api/v1/status", Authorization=f"Bearer {TOKEN}"))[0] == 200


async def test_the_unix_socket_needs_no_token_and_knows_who_acts(over_socket: Served) -> None:
    status, text = await over_socket.post("/api/v1/incidents/42/acknowledge", {})
    assert status == 200
    assert "acknowledged by root" in text or "acknowledged by" in text
    assert over_socket.control.acknowledged[0][1] not in {"", "operator"}


async def test_health_is_open_to_all_and_says_what_fails(guarded: Served) -> None:
    assert (await guarded.get("/healthz"))[0] == 200
    guarded.control.counters.dispatcher_progress_at = -100.0
    status, text = await guarded.get("/healthz")
    assert status == 503
    assert json.loads(text)["parts"]["dispatcher"] == {"ok": False, "detail": "no progress for 100 s"}


async def test_ready_once_every_check_has_had_its_first_run(served: Served) -> None:
    status, text = await served.get("/readyz")
    assert (status, json.loads(text)["waiting"]) == (503, 1)
    checks = dict(served.control.setup.checks)
    slow = {**checks, "mail": replace(checks["mail"], timeout=900.0)}
    served.control.setup, usual = replace(served.control.setup, checks=slow), served.control.setup
    assert (await served.get("/readyz"))[0] == 200
    served.control.setup = usual
    served.control.latest["mail"] = served.control.latest["api"]
    assert (await served.get("/readyz"))[0] == 200


async def test_metrics_pass_on_what_the_scraper_accepts(served: Served) -> None:
    status, text = await served.get("/metrics", Accept="application/openmetrics-text")
    assert status == 200
    assert "openmetrics" in text


async def test_metrics_are_not_for_those_behind_a_proxy(guarded: Served) -> None:
    assert (await guarded.get("/metrics"))[0] == 200
    proxied = {"X_Forwarded_For": "203.0.113.9"}
    assert (await guarded.get("/metrics", **proxied))[0] == 403
    assert (await guarded.get("/metrics", **proxied, Authorization=f"Bearer {TOKEN}"))[0] == 200
    async for opened in serve(access_for(AccessSettings(metrics_for_all=True))):
        assert (await opened.get("/metrics", **proxied))[0] == 200


async def test_status_counts(served: Served) -> None:
    body = json.loads((await served.get("/api/v1/status"))[1])
    assert body["checks"] == {"total": 6, "up": 3, "down": 1, "unknown": 1}
    assert body["severity"] == {"ok": 4, "info": 0, "warning": 1, "critical": 1}


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/api/v1/checks/nothing", 404, "wcr-watchd list"),
        ("/api/v1/incidents/999", 404, "no incident #999"),
        ("/api/v1/incidents?limit=many", 422, "'many' is no whole number"),
        ("/api/v1/checks/api/history", 422, "query.measurement: Field required"),
        ("/api/v1/nowhere", 404, "there is nothing at this path"),
    ],
)
async def test_errors_are_sentences_in_json(served: Served, path: str, status: int, says: str) -> None:
    got, text = await served.get(path)
    assert got == status
    assert says in json.loads(text)["detail"]


async def test_what_cannot_be_done_says_why(served: Served) -> None:
    status, text = await served.post("/api/v1/incidents/7/acknowledge", {})
    assert (status, json.loads(text)["detail"]) == (409, "there is no open incident #7")
    status, text = await served.post("/api/v1/channels/broken/test", {})
    assert (status, json.loads(text)["reason"]) == (502, "server")
    served.control.reload_problems = ("watchd.toml:3: wrong",)
    status, text = await served.post("/api/v1/reload")
    assert (status, json.loads(text)["problems"]) == (422, ["watchd.toml:3: wrong"])
    kind = {"Content-Type": "application/json"}
    async with served.session.post(served.base + "/api/v1/incidents/42/acknowledge", data=b"{", headers=kind) as answer:
        assert answer.status == 400


async def test_a_live_page_is_told_to_load_anew_after_a_reload(served: Served) -> None:
    async with asyncio.timeout(10), served.session.get(served.base + "/live") as answer:
        await answer.content.readline()
        served.control.setup = replace(served.control.setup)
        served.control.happen(Touched(check="api"))
        while (await answer.content.readline()).decode().rstrip() != "event: reload":
            pass


async def test_a_browser_that_goes_away_is_nothing_to_report(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    async with served.session.get(served.base + "/live") as answer:
        await answer.content.readline()
        served.control.happen(Touched(check="api"))
        answer.close()
    async with asyncio.timeout(10):
        while served.streams():
            served.control.happen(Touched(check="api"))
            await asyncio.sleep(0.05)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("path", "body", "asked"),
    [
        ("acknowledge", {"by": "ann", "for": "2h"}, ("acknowledge", 42, "ann", NOW + 7_200, False)),
        ("acknowledge", {"by": "ann", "sticky": True}, ("acknowledge", 42, "ann", None, True)),
        ("resolve", {"by": "ann"}, ("resolve", 42, "ann")),
        ("notes", {"by": "ann", "text": "disk swapped"}, ("note", 42, "ann", "disk swapped")),
        ("owner", {"by": "ann", "owner": "bob"}, ("assign", 42, "bob", "ann")),
    ],
)
async def test_what_people_do_with_an_incident(
    served: Served, path: str, body: dict[str, object], asked: tuple[object, ...]
) -> None:
    url = f"{served.base}/api/v1/incidents/42/{path}"
    async with served.session.post(url, json=body) as answer:
        assert answer.status == 200
    assert served.control.asked == [asked]


@pytest.mark.parametrize(
    ("path", "form", "asked"),
    [
        ("acknowledge", {"for": "2h"}, ("acknowledge", 42, "operator", NOW + 7_200, False)),
        ("resolve", {}, ("resolve", 42, "operator")),
        ("note", {"text": "disk swapped"}, ("note", 42, "operator", "disk swapped")),
    ],
)
async def test_the_page_of_an_incident_has_what_people_need(
    served: Served, path: str, form: dict[str, str], asked: tuple[object, ...]
) -> None:
    _, text = await served.get("/incidents/42")
    assert f'action="/incidents/42/{path}"' in text
    headers = {"Origin": served.base}
    async with served.session.post(
        f"{served.base}/incidents/42/{path}", data=form, headers=headers, allow_redirects=False
    ) as answer:
        assert answer.status == 303
    assert served.control.asked == [asked]


async def test_a_time_that_is_none_is_explained(served: Served) -> None:
    async with served.session.post(f"{served.base}/api/v1/incidents/42/acknowledge", json={"for": "soon"}) as answer:
        assert answer.status == 400
        assert "write for example 2h" in (await answer.json())["detail"]


async def _first_events(served: Served, path: str, wanted: int) -> list[str]:
    events: list[str] = []
    lines: list[str] = []
    async with asyncio.timeout(10), served.session.get(served.base + path) as answer:
        while len(events) < wanted:
            line = (await answer.content.readline()).decode().rstrip()
            if line.startswith("data:"):
                lines.append(line[5:].strip())
            elif not line and lines:
                events.append("\n".join(lines))
                lines.clear()
                served.control.happen(Touched(check="api"), Touched(check="api", incident=42))
    return events


async def test_programs_follow_along_in_json(served: Served) -> None:
    _, check, incident = await _first_events(served, "/api/v1/events", 3)
    assert json.loads(check)["name"] == "api"
    assert json.loads(incident)["id"] == 42


# --- what could not be delivered --------------------------------------------------------------------------------------


async def test_the_dashboard_says_how_much_could_not_be_delivered(served: Served) -> None:
    assert "could not be delivered" not in (await served.get("/"))[1]
    served.control.counters.dead_letters = 3
    assert '<a href="/dead-letters">3 messages could not be delivered</a>' in (await served.get("/"))[1]


async def test_the_page_of_dead_letters_says_why_and_has_buttons(served: Served) -> None:
    assert "No message was given up" in (await served.get("/dead-letters"))[1]
    served.control.failed = ("key-1", 'key-"2"')
    _, page = await served.get("/dead-letters")
    assert "2 messages could not be delivered" in page
    assert "after 7 attempts · the number &lt;b&gt;is&lt;/b&gt; not reachable" in page
    assert 'name="id" value="key-&#34;2&#34;"' in page
    assert await served.post("/dead-letters/resend", {"id": 'key-"2"'}) == (303, "303: See Other")
    await served.post("/dead-letters/discard")
    assert served.control.asked[0] == ("sent again", ('key-"2"',))
    what, which = served.control.asked[1]
    assert (what.startswith("discarded by "), which) == (True, None)
    status, said = await served.post("/dead-letters/resend", {"id": "gone"})
    assert (status, "not on the dead-letter list" in said) == (409, True)


async def test_the_api_of_dead_letters(served: Served) -> None:
    served.control.failed = ("key-1",)
    (row,) = json.loads((await served.get("/api/v1/dead-letters"))[1])["dead_letters"]
    assert (row["id"], row["attempts"], row["state"]) == ("key-1", 7, "failed")
    assert row["headline"].startswith("[CRITICAL] wcr-prod: api: ")
    assert (await served.post("/api/v1/dead-letters/resend", {"ids": ["key-1"]}))[0] == 200
    assert (await served.post("/api/v1/dead-letters/discard", {"all": True, "by": "ann"}))[0] == 200
    assert served.control.asked == [("sent again", ("key-1",)), ("discarded by ann", None)]
    assert (await served.post("/api/v1/dead-letters/resend", {"ids": ["gone"]}))[0] == 409


@pytest.mark.parametrize("body", [{}, {"ids": []}, {"ids": "key"}, {"ids": [1]}, {"all": "yes"}, {"all": 1}])
async def test_the_api_wants_to_know_which_dead_letters(served: Served, body: object) -> None:
    status, said = await served.post("/api/v1/dead-letters/resend", body)
    assert (status, "say which messages" in said) == (400, True) or (status, "body." in said) == (422, True)
    assert not served.control.asked


async def test_dead_letters_are_for_those_who_may(guarded: Served) -> None:
    assert (await guarded.post("/dead-letters/resend", Origin="https://evil.example"))[0] in (303, 401, 403)
    assert (await guarded.post("/api/v1/dead-letters/discard", {"all": True}, Origin="https://evil.example"))[0] >= 401
    assert not guarded.control.asked


async def test_a_malformed_request_leaves_no_traceback_in_the_log(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(served.base.rpartition(":")[2]))
    writer.write(b"GET \xff\xff\r HTTP/9.9\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.0 400")
    assert b"Traceback" not in answer
    assert "Traceback" not in caplog.text
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_what_a_job_said_can_be_read(served: Served) -> None:
    status, text = await served.get("/api/v1/checks/api/pings")
    assert status == 200
    (said,) = json.loads(text)["pings"]
    assert (said["number"], said["kind"], said["exit_status"], said["body"]) == (7, "fail", 3, "disk full")
    assert (await served.get("/api/v1/checks/nope/pings"))[0] == 404


async def test_reporting_needs_the_key_and_nothing_else(guarded: Served) -> None:
    status, text = await guarded.get("/ping/6d2f1d3e-1c0b-4d0a-9a55-0f2a7e3c9b11")
    assert (status, text) == (404, "not found")
    for path in ("/ping/../api/v1/status", "/ping/%2e%2e/api/v1/status", "/ping/", "/ping"):
        assert (await guarded.get(path))[0] in (303, 404, 401)
    url = guarded.base + "/ping/6d2f1d3e-1c0b-4d0a-9a55-0f2a7e3c9b11"
    async with guarded.session.delete(url, allow_redirects=False) as answer:
        assert answer.status == 303, "only what reports is let in without signing in"
