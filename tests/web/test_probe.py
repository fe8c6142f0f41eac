"""``/probe`` over HTTP: what is answered to whom; and Debian's blackbox_exporter says the same of the same targets."""

from __future__ import annotations

import asyncio
import re
import shutil
import ssl
import subprocess
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
import yaml
from aiohttp import web

from tests.cases.test_blackbox_probe import authoritative
from tests.real.ports import free_port
from tests.real.servers.certificates import Authority
from tests.real.servers.dns import NameServer
from tests.real.servers.odd import Odd, silence
from tests.web.access import SECRETS, TOKEN, access_for, everybody
from tests.web.showcase import Showcase
from tests.web.test_web import Metrics, no_desk, no_doors
from wcr_watchd.core.access import AccessSettings
from wcr_watchd.kit.blackbox_modules import parse_modules
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.web.app import build
from wcr_watchd.web.compatible.blackbox.endpoint import Prober, Probing

PATIENCE = 30.0
DEBIAN = Path("/etc/prometheus/blackbox.yml")
OURS = {"probe_timeout_seconds", "probe_tls_cipher_info", "probe_failed_due_to_bytes"}
"""Gauges of versions after Debian's 0.23."""


class Site:
    """A served application that probes."""

    def __init__(self, base: str, session: aiohttp.ClientSession) -> None:
        self.base = base
        self.session = session

    async def get(self, query: str, **headers: str) -> tuple[int, str]:
        """Status and text of ``/probe?query``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.session.get(
            aiohttp.client.URL(f"{self.base}/probe?{query}", encoded=True), headers=named
        ) as answer:
            return answer.status, await answer.text()


Serve = Callable[..., Awaitable[Site]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """``await serve(modules, token="…", allow=("192.0.2.0/24",))``; without modules there is no [probe]."""
    runners: list[web.AppRunner] = []
    sessions: list[aiohttp.ClientSession] = []
    shared = SharedHelpers()

    async def start(
        modules: str | None, *, token: str = "", allow: tuple[str, ...] = ("127.0.0.0/8",), offset: float = 0.5
    ) -> Site:
        access = access_for(everybody() if token else AccessSettings())
        networks = tuple(map(ip_network, allow))
        probing = Probing(parse_modules(modules), networks, offset) if modules is not None else None
        control = Showcase()
        control.monotonic = asyncio.get_running_loop().time  # type: ignore[method-assign]
        app = build(control, Metrics(b"", {}), access, no_doors(), Prober(lambda: probing, shared, access), no_desk())
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        sessions.append(aiohttp.ClientSession())
        return Site(f"http://127.0.0.1:{runner.addresses[0][1]}", sessions[-1])

    yield start
    for session in sessions:
        await session.close()
    for runner in runners:
        await runner.cleanup()
    await shared.close()


def value(text: str, name: str) -> float:
    (found,) = re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found)


HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
MODULES = """
modules:
  http_2xx: {prober: http}
  secret: {prober: http, http: {bearer_token: mysecret, headers: {X-Key: shown}}}
  named: {prober: http, http: {headers: {Host: a.example}}}
  tls: {prober: tcp, tcp: {tls: true, tls_config: {insecure_skip_verify: true}}}
  grpc: {prober: grpc}
  odd: {prober: nonsense}
"""


# --- what is answered -------------------------------------------------------------------------------------------------


async def test_metrics_of_a_target(serve: Serve, odd: Callable[..., Awaitable[Odd]]) -> None:
    site, server = await serve(MODULES), await odd(HELLO)
    status, text = await site.get(f"target=http://{server.address}")
    assert status == 200
    assert value(text, "probe_success") == 1
    assert value(text, "probe_http_status_code") == 200
    assert "# HELP probe_success Displays whether or not the probe was a success\n# TYPE probe_success gauge\n" in text
    assert "User-Agent: wcr-watchd/" in server.requests[0]


@pytest.mark.parametrize("target", ["http://{}", "http://{}/api/v1%3Alatest", "{}", "http%3A%2F%2F{}"])
async def test_a_target_may_be_encoded(serve: Serve, odd: Callable[..., Awaitable[Odd]], target: str) -> None:
    site, server = await serve(MODULES), await odd(HELLO)
    assert value((await site.get("target=" + target.format(server.address)))[1], "probe_success") == 1
    twice = target.format(server.address.replace(":", "%253A"))
    assert value((await site.get("target=" + twice))[1], "probe_success") == 1


async def test_the_path_of_a_target_is_left_as_it_is(serve: Serve, odd: Callable[..., Awaitable[Odd]]) -> None:
    site, server = await serve(MODULES), await odd(HELLO)
    await site.get("target=" + quote(f"http://{server.address}/a%2Fb+c?d=%26", safe=""))
    assert server.requests[0].startswith("GET /a%2Fb+c?d=%26 HTTP/1.1")


async def test_a_large_body_is_counted_and_not_kept(serve: Serve, odd: Callable[..., Awaitable[Odd]]) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n")
        for _ in range(200):
            writer.write(bytes(100_000))
            await writer.drain()

    site, server = await serve(MODULES), await odd(talk)
    tracemalloc.start()
    _, text = await site.get(f"target={server.address}")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert value(text, "probe_success") == 1
    assert value(text, "probe_http_uncompressed_body_length") == 20_000_000
    assert peak < 2_000_000


async def test_wrong_questions_are_answered_as_the_exporter_does(serve: Serve) -> None:
    site = await serve(MODULES)
    assert await site.get("module=nope&target=x") == (400, 'Unknown module "nope"\n')
    assert await site.get("module=http_2xx") == (400, "Target parameter is missing\n")
    assert await site.get("module=odd&target=x") == (400, 'Unknown prober "nonsense"\n')
    status, text = await site.get("module=grpc&target=x")
    assert (status, "gRPC needs a library" in text) == (400, True)
    status, text = await site.get("target=x", X_Prometheus_Scrape_Timeout_Seconds="soon")
    assert (status, text.startswith("Failed to parse timeout from Prometheus header")) == (500, True)


TARGETS = (
    "%00",
    "a%00b",
    "[::1",
    "http://",
    "http://:80",
    "http://[",
    "http://a:99999",
    "::::",
    "x" * 5000,
    "%C3%A9",
    "%ff",
    "..",
    "%20",
)


@pytest.mark.parametrize("module", ["http_2xx", "tls", "icmp", "dns", "unix", "banner"])
async def test_no_target_upsets_it(serve: Serve, module: str) -> None:
    more = """
  icmp: {prober: icmp}
  dns: {prober: dns, dns: {query_name: example.com}}
  unix: {prober: unix}
  banner: {prober: tcp, tcp: {query_response: [{expect: x}]}}
"""
    site = await serve(MODULES + more)
    for target in TARGETS:
        status, text = await site.get(f"module={module}&target={target}", X_Prometheus_Scrape_Timeout_Seconds="2")
        assert (status, target) == (200, target)
        assert value(text, "probe_success") == 0


async def test_a_silent_target_ends_before_the_scraper_gives_up(
    serve: Serve, odd: Callable[..., Awaitable[Odd]]
) -> None:
    site, server = await serve(MODULES), await odd(silence)
    status, text = await site.get(f"target={server.address}", X_Prometheus_Scrape_Timeout_Seconds="1")
    assert status == 200
    assert value(text, "probe_success") == 0
    assert value(text, "probe_timeout_seconds") == 0.5
    assert 0.4 < value(text, 'probe_http_duration_seconds{phase="processing"}') < PATIENCE


async def test_debugging_shows_log_metrics_and_module_without_secrets(
    serve: Serve, odd: Callable[..., Awaitable[Odd]]
) -> None:
    site, server = await serve(MODULES), await odd(HELLO)
    status, text = await site.get(f"module=secret&target={server.address}&debug=true")
    assert status == 200
    assert text.startswith("Logs for the probe:\n")
    assert 'msg="Received HTTP response" status_code=200' in text
    assert "\n\n\nMetrics that would have been returned:\n" in text
    assert value(text, "probe_success") == 1
    configuration = text.partition("Module configuration:\n")[2]
    assert "bearer_token: <secret>" in configuration
    assert "X-Key: shown" in configuration
    assert "mysecret" not in text
    assert "Authorization: Bearer mysecret" in server.requests[0]


async def test_a_host_name_beside_the_target(
    serve: Serve, odd: Callable[..., Awaitable[Odd]], authority: Authority
) -> None:
    site, server = await serve(MODULES), await odd(HELLO)
    await site.get(f"target={server.address}&hostname=shop.example")
    assert "\r\nHost: shop.example\r\n" in server.requests[0]
    status, text = await site.get(f"module=named&target={server.address}&hostname=shop.example")
    assert (status, "both in module configuration (a.example)" in text) == (400, True)
    asked: list[str] = []
    context = tls_context(authority)
    context.sni_callback = lambda session, name, _: asked.append(name)
    secure = await odd(silence, context)
    text = (await site.get(f"module=tls&target={secure.address}&hostname=foo.example.com"))[1]
    assert value(text, "probe_success") == 1
    assert asked == ["foo.example.com"]


async def test_who_may_probe(serve: Serve) -> None:
    dead = f"target=127.0.0.1:{free_port()}"
    own = f"Bearer {TOKEN}"
    assert (await (await serve(None, token=TOKEN)).get(dead, Authorization=own))[0] == 404
    assert (await (await serve(None)).get(dead))[0] == 403
    site = await serve(MODULES, token=TOKEN)
    assert (await site.get(dead))[0] == 200, "programs of this machine, without the token"
    assert (await site.get(dead, X_Forwarded_For="192.0.2.1"))[0] == 403, "who comes through a proxy may be anybody"
    assert (await site.get(dead, Accept_Language="en"))[0] == 403, "a browser must sign in"
    assert (await site.get(dead, Accept_Language="en", Authorization=own))[0] == 200
    closed = await serve(MODULES, token=TOKEN, allow=("192.0.2.0/24",))
    assert (await closed.get(dead))[0] == 403
    assert (await closed.get(dead, Authorization=own))[0] == 200
    assert (await closed.get(dead, Authorization=f"Bearer {SECRETS['viewer']}"))[0] == 403, "reading is not probing"
    assert (await closed.get(dead, Authorization=f"Bearer {SECRETS['probe']}"))[0] == 200
    assert (await closed.get(dead, Authorization=own, Sec_Fetch_Site="cross-site"))[0] == 403


# --- beside Debian's blackbox_exporter --------------------------------------------------------------------------------


def tls_context(authority: Authority) -> ssl.SSLContext:
    pair = authority.issue("localhost", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


class Exporter:
    """A running blackbox_exporter."""

    def __init__(self, folder: Path, modules: str) -> None:
        program = shutil.which("prometheus-blackbox-exporter")
        assert program, "apt-get install prometheus-blackbox-exporter"
        self.port = free_port()
        (folder / "blackbox.yml").write_text(modules)
        words = [program, f"--config.file={folder / 'blackbox.yml'}", f"--web.listen-address=127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    async def get(self, session: aiohttp.ClientSession, query: str) -> tuple[int, str]:
        """Status and text of ``/probe?query``, once it answers."""
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    async with session.get(f"http://127.0.0.1:{self.port}/probe?{query}") as answer:
                        return answer.status, await answer.text()
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0.05)


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Callable[[str], Exporter]]:
    """``exporter(modules)`` starts one with this module file."""
    running: list[Exporter] = []

    def start(modules: str) -> Exporter:
        running.append(Exporter(tmp_path, modules))
        return running[-1]

    yield start
    for one in running:
        one.process.kill()
        one.process.wait(PATIENCE)


def beside(authority: Authority) -> dict[str, Any]:
    """The modules that both are given."""
    trusting = {"tls_config": {"ca_file": authority.ca_file}}
    questions = {"query_name": "example.com", "preferred_ip_protocol": "ip4"}
    return {
        "http_2xx": {"prober": "http"},
        "http_500": {"prober": "http", "http": {"valid_status_codes": [500]}},
        "https": {"prober": "http", "http": {**trusting, "enable_http2": False}},
        "no_redirect": {"prober": "http", "http": {"follow_redirects": False}},
        "http_body": {"prober": "http", "http": {"fail_if_body_matches_regexp": ["^HELL", "(?i)hell+o$"]}},
        "tcp": {"prober": "tcp"},
        "banner": {
            "prober": "tcp",
            "tcp": {
                "query_response": [{"expect": "^SSH-([0-9.]+)-(.+)$", "send": "I am ${2} ${1}"}, {"expect": "^ok"}]
            },
        },
        "tls": {"prober": "tcp", "tcp": {"tls": True, **trusting}},
        "icmp": {"prober": "icmp", "timeout": "5s"},
        "dns": {"prober": "dns", "dns": {**questions, "query_type": "SOA"}},
        "dns_checked": {
            "prober": "dns",
            "dns": {
                **questions,
                "transport_protocol": "tcp",
                "validate_answer_rrs": {"fail_if_not_matches_regexp": [r"example\.com\.\s+3600\s+IN\s+A\s+127"]},
                "validate_additional_rrs": {"fail_if_matches_regexp": [".*::1"]},
            },
        },
    }


async def banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"hello\r\nSSH-2.0-nobody\r\n")
    writer.write(b"ok\n" if await reader.readline() == b"I am nobody 2.0\n" else b"no\n")
    await writer.drain()


async def hung_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say something else, and go."""
    writer.write(b"hello\n")
    await writer.drain()


def answer(status: int, *headers: str, body: bytes = b"hello") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status} Some", *headers, f"Content-Length: {len(body)}", "", ""])
    return head.encode() + body


async def test_the_same_as_debians_exporter_says(
    serve: Serve,
    exporter: Callable[[str], Exporter],
    odd: Callable[..., Awaitable[Odd]],
    name_server: Callable[..., Awaitable[NameServer]],
    authority: Authority,
) -> None:
    modules = yaml.safe_dump({"modules": beside(authority)})
    ours, theirs = await serve(modules), exporter(modules)
    context = tls_context(authority)
    changed = "Last-Modified: Wed, 21 Oct 2015 07:28:00 GMT"
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    leading = await odd(answer(302, f"Location: http://127.0.0.1:{(await odd(answer(200))).port}/there"))
    names = await name_server(authoritative)
    dead = f"127.0.0.1:{free_port()}"
    asked = {
        ("http_2xx", (await odd(answer(200, changed))).address),
        ("http_2xx", (await odd(answer(404))).address),
        ("http_2xx", (await odd(chunked)).address),
        ("http_2xx", leading.address),
        ("http_2xx", dead),
        ("http_2xx", "http://no-such-name.invalid/"),
        ("http_500", (await odd(answer(500))).address),
        ("no_redirect", leading.address),
        ("http_body", (await odd(answer(200))).address),
        ("http_body", (await odd(answer(200, body=b"fine"))).address),
        ("https", f"https://{(await odd(answer(200), context)).address}/"),
        ("https", f"https://{(await odd(answer(200), self_signed(authority))).address}/"),
        ("tcp", (await odd(silence)).address),
        ("tcp", dead),
        ("tcp", "no-port"),
        ("banner", (await odd(banner)).address),
        ("banner", (await odd(hung_up)).address),
        ("tls", (await odd(silence, context)).address),
        ("tls", (await odd(silence, self_signed(authority))).address),
        ("icmp", "127.0.0.1"),
        ("dns", names.address),
        ("dns_checked", names.address),
    }
    for module, target in sorted(asked):
        query = f"module={module}&target={target}"
        (status, text), (theirs_status, theirs_text) = await asyncio.gather(
            ours.get(query), theirs.get(ours.session, query)
        )
        assert (status, query) == (theirs_status, query) == (200, query)
        compare(query, series(text), series(theirs_text))


def self_signed(authority: Authority) -> ssl.SSLContext:
    pair = authority.self_signed("127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context


def series(text: str) -> dict[str, float]:
    """Values by name and labels, sorted; the serial number, a label of later versions, is left out."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, _, number = line.rpartition(" ")
        base, _, labels = name.partition("{")
        pairs = sorted(re.findall(r'(\w+="(?:[^"\\]|\\.)*")', labels))
        found[base + "{" + ",".join(one for one in pairs if not one.startswith("serialnumber="))] = float(number)
    return {name: number for name, number in found.items() if name.partition("{")[0] not in OURS}


def compare(query: str, ours: dict[str, float], theirs: dict[str, float]) -> None:
    """The same series, and the same values but for times."""
    assert ours.keys() == theirs.keys(), f"{query}: {sorted(ours.keys() ^ theirs.keys())}"
    for name, number in theirs.items():
        if "duration_seconds" in name or "lookup_time" in name:
            assert 0 <= ours[name] < PATIENCE
        else:
            assert ours[name] == number, f"{query}: {name} is {ours[name]}, there {number}"


async def test_debians_module_file_is_read_as_it_is(serve: Serve, odd: Callable[..., Awaitable[Odd]]) -> None:
    site = await serve(DEBIAN.read_text())
    assert value((await site.get("module=icmp&target=127.0.0.1"))[1], "probe_success") == 1
    server = await odd(banner)
    assert value((await site.get(f"module=ssh_banner&target={server.address}"))[1], "probe_success") == 1
