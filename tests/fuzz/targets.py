# ruff: noqa: E501 - words as they are

"""What is fuzzed: each target takes bytes, feeds them in as an outsider could, and fails when that does harm.

Harm is an exception that nobody announced, an answer 500, a traceback in what a person sees, or a result without reason.
:data:`WORDS` are what the formats are made of, so that both fuzzers get beyond the first character.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from aiohttp import web

from tests.real.hostile.case import watch
from tests.web.access import access_for
from tests.web.showcase import Showcase
from tests.web.test_web import Metrics, no_desk, no_doors, no_prober
from wcr_watchd.channels.slack import Slack
from wcr_watchd.channels.sms import Sms
from wcr_watchd.config.load import loads
from wcr_watchd.core.errors import ConfigError, RuleError
from wcr_watchd.core.model import Measurement, Observation, Outcome, Severity
from wcr_watchd.core.rules import History, RuleState, evaluate, parse_rule, remember
from wcr_watchd.core.run import Run
from wcr_watchd.kit import scrape
from wcr_watchd.kit.blackbox_modules import ModulesError, parse_modules
from wcr_watchd.kit.logs.access_log import Tallies
from wcr_watchd.kit.markup import field_of, page_of
from wcr_watchd.kit.perfdata import base_unit, parse
from wcr_watchd.kit.scrape import Chosen
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.probes.domain import read_registration, server_for
from wcr_watchd.probes.http import Http
from wcr_watchd.web.app import build

Target = Callable[[bytes], Awaitable[None]]
ANSWERING = {
    "slack": Slack.model_validate({"webhook": "http://localhost/", "signing_secret": "secret"}),
    "sms": Sms.model_validate({"account_sid": "AC1", "auth_token": "secret", "from": "+15550100"}),
}
HANG = 20.0
"""Seconds after which an input counts as one that hangs."""


def config(data: bytes) -> None:
    """A configuration is read, or every problem has its place and its reason."""
    try:
        loads(data.decode("utf-8", "replace"), "fuzz.toml")
        return
    except ConfigError as error:
        problems = error.problems
    assert problems
    for problem in problems:
        assert problem.line >= 1
        assert problem.reason
        assert "Traceback" not in str(problem)


def rules(data: bytes) -> None:
    """A rule is refused with a reason, or can be evaluated at whatever was measured."""
    text = data.decode("utf-8", "replace")
    try:
        rule = parse_rule(text, Severity.CRITICAL, Http.measurements)
    except RuleError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        return
    state, history = RuleState(), History()
    for number, value in enumerate((0.0, 1.5, float("nan"), -1.0, 1e300)):
        measured = tuple(
            Measurement(spec.name, value, tuple((label, "x") for label in spec.labels)) for spec in Http.measurements
        )
        outcome = (Outcome.UP, Outcome.DOWN, Outcome.UNKNOWN)[number % 3]
        seen = Observation("c", "here", 1000.0 + 60 * number, 0.1, outcome, "", "", measured, {})
        history = remember(history, (rule,), seen)
        state = evaluate(rule, state, history, seen, 1)


def plugin(data: bytes) -> None:
    """The output of a plugin becomes text and numbers."""
    output = parse(data.decode("utf-8", "replace"))
    for datum in output.data:
        value, unit = base_unit(datum)
        assert isinstance(value, float)
        assert unit in ("s", "B", "%", "c", "")


CHOSEN = {
    "a": Chosen(metric='a_total{b=~"x.*",c!="d"}', by=("b", "quantity")),
    "h": Chosen(metric="h_sum", combine="max"),
}


def exposition(data: bytes) -> None:
    """What an exporter shows becomes numbers, in both formats, or is refused with a reason."""
    for openmetrics in (False, True):
        with contextlib.suppress(scrape.ExpositionError):
            scraped = scrape.read(data, openmetrics, CHOSEN)
            run = Run("c", "here", 1000.0, 1.0, lambda: 0.0, SharedHelpers())
            scrape.measure_chosen(run, CHOSEN, scraped)
            json.dumps(run.memory, allow_nan=False)
            repr(run.measurements).encode()


def access_log(data: bytes) -> None:
    """Lines of an access log are counted or unreadable, and what is told of them is JSON."""
    for log_format in ("auto", "json", "$msec $status $request_uri $upstream_addr $request_time"):
        tallies = Tallies(log_format, {"api": ["/api"], "odd": ["~ x$"]})
        tallies.add_block(data + b"\n")
        told = json.loads(json.dumps(tallies.told(), allow_nan=False))
        assert told["tallies"]["all"]["requests"] + told["unreadable"] == told["lines"]


def markup(data: bytes) -> None:
    """A page is read as far as it goes."""
    text = data.decode("utf-8", "replace")
    page = page_of(text, "http://h/a/")
    assert all(asset.url.startswith(("http://", "https://")) for asset in page.assets)
    field_of(text, "csrf")


def modules(data: bytes) -> None:
    """A module file of blackbox_exporter is read, or refused with a reason."""
    with contextlib.suppress(ModulesError):
        assert all(module.shown for module in parse_modules(data).values())


def registration(data: bytes) -> None:
    """What a registry answers has a date or none, whatever it is made of."""
    with contextlib.suppress(ValueError, RecursionError):
        answer = json.loads(data)
        if isinstance(answer, dict):
            json.dumps(asdict(read_registration(answer)), allow_nan=False)
            server = server_for("example.co.uk", answer)
            assert not server or server.startswith("http")


class HttpAnswers:
    """HTTP answers, given to the http probe by a server that says what it is told."""

    options: ClassVar[dict[str, Any]] = {
        "expect": {"json": {"a.b": "> 0", "length(c)": 1}, "body": "x", "headers": {"A": True}, "max_size": 1000},
        "values": {"a": "a"},
        "max_body": 10_000,
        "max_redirects": 2,
    }

    def __init__(self) -> None:
        self.said = b""
        self.server: asyncio.Server | None = None
        self.shared = SharedHelpers()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(65536)
            writer.write(self.said)
            await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def __call__(self, data: bytes) -> None:
        self.said = data
        if self.server is None:
            self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        port = self.server.sockets[0].getsockname()[1]
        seen = await watch("http", {"url": f"http://127.0.0.1:{port}/", **self.options}, HANG, self.shared)
        assert seen.reason not in ("probe_error", "timeout"), seen.summary
        assert seen.summary
        repr(seen).encode()

    async def close(self) -> None:
        await self.shared.close()
        if self.server is not None:
            self.server.close()


class Web:
    """Requests to the pages and the API, over TCP or over the Unix socket."""

    def __init__(self, over_socket: bool) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="fuzz-") if over_socket else None
        self.runner: web.AppRunner | None = None

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.runner is None:
            access = access_for()
            app = build(Showcase(), Metrics(b"", {}), access, no_doors(ANSWERING), no_prober(access), no_desk())
            self.runner = web.AppRunner(app, access_log=None)
            await self.runner.setup()
            site = web.UnixSite(self.runner, self.path) if self.folder else web.TCPSite(self.runner, "127.0.0.1", 0)
            await site.start()
        if self.folder:
            return await asyncio.open_unix_connection(self.path)
        return await asyncio.open_connection(*self.runner.addresses[0][:2])

    @property
    def path(self) -> str:
        assert self.folder is not None
        return str(Path(self.folder.name) / "s")

    async def __call__(self, data: bytes) -> None:
        if b"/events" in data or b"/live" in data:
            return  # these answer for as long as somebody listens
        reader, writer = await self.connect()
        try:
            writer.write(data)
            writer.write_eof()
            async with asyncio.timeout(HANG):
                answer = await reader.read(4 * 1024 * 1024)
        except OSError:
            return  # it may hang up
        finally:
            writer.transport.abort()
        assert b"Traceback" not in answer
        assert not answer.startswith(b"HTTP/1.1 5"), answer[:300]
        assert b"\nHTTP/1.1 500" not in answer, answer

    async def close(self) -> None:
        if self.runner is not None:
            await self.runner.cleanup()
        if self.folder is not None:
            self.folder.cleanup()


PLAIN: dict[str, Callable[[bytes], None]] = {
    "config": config,
    "rules": rules,
    "plugin": plugin,
    "exposition": exposition,
    "access_log": access_log,
    "markup": markup,
    "modules": modules,
    "registration": registration,
}
NAMES = (*PLAIN, "http", "api", "socket")


def served(name: str) -> HttpAnswers | Web:
    """A target that needs a running server; close it at the end."""
    return HttpAnswers() if name == "http" else Web(over_socket=name == "socket")


_REQUEST = [
    b"GET ", b"POST ", b"DELETE ", b"HEAD ", b"/api/v1/", b"status", b"checks/api", b"/history?", b"start=", b"end=1e9",
    b"step=0", b"limit=-1", b"incidents/42/acknowledge", b"/notes", b"/owner", b"silences", b"maintenance", b"/on-call",
    b"deliveries?state=x", b"channels/sms/test", b"/", b"%00", b"%ff", b"..", b"?", b"&", b"=", b" HTTP/1.1\r\n",
    b"Host: localhost\r\n", b"Content-Length: 20\r\n", b"Content-Type: application/json\r\n", b"Transfer-Encoding: chunked\r\n",
    b"\r\n", b'{"by": "ann"}', b'{"matchers": ["check=a"], "for": "1h", "comment": 5}', b'{"note": null}', b"[]", b"{", b'"',
    b"\\ud800", b"1e999", b"Accept: text/html\r\n", b"Cookie: watchd_session=\xff\r\n", b"Authorization: Bearer \xff\r\n",
    b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"POST /api/v1/silences HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 9\r\n\r\n",
    b"POST /answer/slack", b"POST /answer/sms", b"/ack/", b"AAAA", b"X-Slack-Signature: v0=\xff\r\n", b"X-Twilio-Signature: \xff\r\n",
    b"X-Slack-Request-Timestamp: 1795456800\r\n", b"payload=%7B%7D", b"Content-Type: application/x-www-form-urlencoded\r\n",
    b"POST /answer/sms HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n", b"GET /ack/",
    b"GET /checks/api?", b"range=7d", b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
]  # fmt: skip
WORDS: dict[str, list[bytes]] = {
    "modules": [
        b"modules:\n", b"  a:\n", b"    prober: http\n", b"    http:\n", b"      headers: {A: b}\n", b"    prober: tcp\n", b"    tcp:\n",
        b"      query_response:\n", b"      - expect: ", b"        send: ${1}\n", b"      fail_if_body_matches_regexp: [", b"]\n", b"'", b'"',
        b"    prober: dns\n", b"    dns: {query_name: x}\n", b"    timeout: 5s\n", b"[[:alpha:]", b"^+", b"(?i)", b"\\Q", b"\\z", b"(?<a>", b"*", b"&a",
        b"*a", b"!!python/object:os.system", b"- ", b": ", b"\t", b"      body_size_limit: 1MB\n", b"{", b"}", b"0x", b"~", b"1e999", b"9" * 30,
    ],
    "registration": [
        b'{"events": [', b'{"eventAction": "expiration", "eventDate": "', b"2027-08-30T04:00:00Z", b'"}', b"]", b"}", b'"status": [', b'"clientHold"',
        b'"services": [[["uk"], ["https://x/"]]', b'"entities": [{"roles": ["registrar"], "vcardArray": ["vcard", [["fn", {}, "text", ', b"[", b"{", b",",
        b"null", b"1e999", b"NaN", b"-1", b'"', b"\\ud800", b"9999-12-31T23:59:59-23:59", b"0000-00-00",
    ],
    "config": [
        b"[check.a]\n", b'type = "http"\n', b'url = "http://h/"\n', b"[channel.s]\n", b'type = "sms"\n', b"[policy.default.critical]\n",
        b'tell = ["s:a"]\n', b"[contact.a]\n", b'phone = "+1"\n', b"[on_call.o]\n", b'rotation = ["a"]\n', b"[[on_call.o.layers]]\n",
        b'every = "1m"\n', b'warning = "response_time > 1s for 5m"\n', b"expect.json.a = 1\n", b'depends_on = ["a"]\n', b"[defaults]\n",
        b'include = ["x/*.toml"]\n', b"${env:", b"${file:", b"}", b"=", b'"', b"'''", b"[", b"]", b"{", b"}", b".", b"\n", b"\r", b"#",
        b"1979-05-27T07:32:00Z", b"0x", b"inf", b"nan", b"true", b"\\u", b"\xc3", b"\0", b"[watchd]\n", b'timezone = "', b"[web]\n",
        b'listen = [":1"]\n', b"[store]\n", b'path = "', b"1e400", b"9" * 30, b"[a.b.c]\n", b"retry = {times = ",
    ],
    "rules": [
        b"response_time", b"status", b"body_size", b"response_phase", b'{phase="tls"}', b"{", b"}", b"!=", b">", b"<", b"==", b">=",
        b" and ", b" or ", b"not ", b"(", b")", b" for ", b" until ", b"5m", b"3x", b"0s", b"down", b"up", b"unknown", b"avg(", b"p95(",
        b"rate(", b"increase(", b"forecast(", b"baseline(", b"delta(", b", 5m", b"1s", b"10%", b"5GB", b"1e9", b"-", b"*", b"3 * ", b"/s",
        b"9" * 400, b" ", b"\xc3\xa4", b'"', b"\n", b"certificate_expires_in", b"7d", b"999999999999999999w",
    ],
    "plugin": [
        b"OK", b"|", b"=", b"'", b"''", b";", b":", b"@", b"~", b"1.5", b"1e999", b"-", b"ms", b"KB", b"GiB", b"%", b"c", b"U", b" ",
        b"\n", b"\r\n", b"\t", b"load1=0.5;1;2;0;", b"'a b'=1s;@1:2;~:3", b"/=1MB", b"nan", b"inf", b"\xff", b"\0", b"9" * 400,
    ],
    "exposition": [
        b"# TYPE a_total counter\n", b"# TYPE a counter\n", b"# TYPE h histogram\n", b"# HELP a \\\\x\\n\n", b"# UNIT a_seconds seconds\n", b"# EOF\n",
        b'a_total{b="x1",c="e"} 5\n', b"a_total", b"a_created", b"h_sum 3\n", b'h_bucket{le="+Inf"} 1\n', b"h_count 1\n", b"{", b"}", b'"',
        b",", b"=", b"b", b" ", b"\n", b"\t", b"1e999", b"NaN", b"-Inf", b"+Inf", b"1", b" # {a=\"b\"} 1 1\n", b"\\", b"#", b"\xff", b"\0",
        b"# TYPE g gauge\ng 1 1795881094000\n", b'{"a_total",b="x"} 1\n', b"9" * 400,
    ],
    "access_log": [
        b'192.0.2.1 - - [28/Nov/2026:15:51:34 +0000] "GET /api/x?a=b HTTP/1.1" 200 12 "-" "agent"', b" rt=0.123", b" 0.500", b"\n", b"\r\n",
        b'{"status": "200", "request": "GET /x HTTP/1.1", "request_time": ', b'"0.1"', b"}", b"{", b"[", b'"', b"null", b"1e999", b"NaN", b"-",
        b"1795881094.123 503 /api/y?z - 0.2", b"1795881094.123 200 / a, b : c -", b" 999 ", b" 404 ", b"29/Feb/2023:00:00:00 +9999", b"\\x16\\x03",
        b"\xff", b"\0", b"\x85", b"\xe2\x80\xa8", b'"status": [', b'"msec": -1, ', b"9" * 400,
    ],
    "markup": [
        b"<link rel=stylesheet href=", b"<script src='", b"<img src=\"", b"<base href=", b"<meta name=csrf content=x>", b"<input name=csrf value=",
        b"/a.css", b"http://h/", b"//[", b"?", b"data:,", b"javascript:", b">", b"'", b'"', b" ", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<!DOCTYPE",
        b"<?", b"</script>", b"</", b"<title>", b"&amp;", b"&#x", b"&", b"\0", b"\xff", b"\n", b"rel='icon stylesheet'", b"loading=lazy", b"<style>",
    ],
    "http": [
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 500 \r\n", b"HTTP/1.1 302 Found\r\n", b"Location: ", b"/x", b"http://h", b"//", b"ftp://x", b"\r\n",
        b"\n", b"Content-Length: ", b"5", b"-1", b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n", b"0\r\n\r\n", b"Content-Encoding: gzip\r\n",
        b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"Content-Type: text/html; charset=", b"utf-16", b"idna", b"charset*0*=x''%ff", b'{"a": {"b": 1}, "c": [1]}',
        b"A: x\r\n", b"Set-Cookie: a=b; Domain=", b"Set-Cookie: \xff\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"\0", b"\xff", b": ", b"1e999",
        b"Connection: upgrade\r\n", b"[[[[", b"HTTP/1.1 204 \r\n", b"xyz",
    ],
    "api": _REQUEST,
    "socket": _REQUEST,
}  # fmt: skip
