"""Replays the blackbox_exporter's facts on ``/probe``, which is to be taken for it; what cannot be is listed.

(The same facts are replayed on our own probes in test_blackbox_http.py and test_blackbox_others.py.)
"""

from __future__ import annotations

import asyncio
import gzip
import re
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import dns.message
import dns.rdataclass
import dns.rdatatype
import dns.rrset
import pytest
import yaml

from tests.cases.test_blackbox_http import ALL, Case, _as_checked, _certificate, _content
from tests.cases.test_blackbox_others import SERVERS
from tests.real.ports import free_port
from tests.real.servers.certificates import Authority, Pair
from tests.real.servers.dns import NameServer
from tests.real.servers.odd import Odd
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.blackbox_modules import Module, ModulesError, parse_modules
from wcr_watchd.web.compatible.blackbox import secured
from wcr_watchd.web.compatible.blackbox.attempt import Attempt
from wcr_watchd.web.compatible.blackbox.endpoint import Probing, _carry_out, timeout_of

NO_BROTLI = "there is no brotli decoder; a module that wants br says so when it is used"
NO_PROXY = "no proxy is gone through; a module that wants one says so when it is used"
NO_CEL = "there is no interpreter of CEL; a module that wants one says so when it is used"
NO_GRPC = "there is no gRPC library; a module of that prober says so when it is used"
NO_WEBSOCKET = "WebSocket modules are not served; one says so when it is used"
NOT_HERE = {
    "http-compression-br": NO_BROTLI,
    "http3-ok": "HTTP/3 is not spoken; a module that wants it says so when it is used",
    "http-redirect-to-tls-host": "needs the network",
    "http-resolve-proxy-resolve": NO_PROXY,
    "http-resolve-proxy-skip": NO_PROXY,
    "http-resolve-proxy-env-skip": NO_PROXY,
    "dns-servfail-3": "no file with such a query_type is read: config-reject-04",
    "tcp-fallback-unreachable-v6": "needs a name with both versions of addresses; choosing is tried without names",
    "resolve-no-fallback": "needs a name with IPv6 only; choosing is tried without names",
    "api-target-encoding-1": "replayed over HTTP in tests/web/test_probe.py, as are the next ones",
    "api-target-encoding-2": "likewise",
    "api-target-encoding-3": "likewise",
    "api-unknown-module": "likewise",
    "api-missing-target": "likewise",
    "api-hostname-tcp": "likewise",
    "api-secrets-hidden": "likewise",
}
FAMILIES_NOT_HERE = {"http-json-matches": NO_CEL, "http-json-not": NO_CEL, "grpc": NO_GRPC, "ws": NO_WEBSOCKET}
OTHERWISE = {
    "tcp-tls-two-chains": "OpenSSL tells the one chain it chose, not all that would do",
}
"""Cases whose verdict holds while a metric is different on purpose."""
UNSUPPORTED = ("http-compression-br", "http3-ok", "http-resolve-proxy", "http-json-", "grpc", "ws")

HERE = [case for case in ALL if case["id"] not in NOT_HERE and not case["id"].startswith(tuple(FAMILIES_NOT_HERE))]
CONFIGURED = [case for case in HERE if case["id"].startswith("config-")]
TIMED = [case for case in HERE if case["id"].startswith("timeout-")]
PROBED = [case for case in HERE if case not in CONFIGURED and case not in TIMED and "module" in case]


@dataclass
class Result:
    """What a probe came to: its metrics by name with labels, and its log."""

    metrics: dict[str, float]
    log: str

    def labels(self, name: str) -> dict[str, str]:
        """The labels of the one series of this name."""
        (series,) = [one for one in self.metrics if one.startswith(name + "{")]
        return dict(re.findall(r'(\w+)="([^"]*)"', series))


@pytest.fixture
async def over_ipv6() -> AsyncIterator[int]:
    """The port of a server that takes connections on ::1."""
    listening = await asyncio.start_server(lambda _, writer: writer.close(), "::1", 0)
    yield listening.sockets[0].getsockname()[1]
    listening.close()


def authoritative(question: dns.message.Message) -> dns.message.Message:
    """Their server that knows the zone itself, with all it says beside the answer."""
    response = dns.message.make_response(question)
    asked = question.question[0]
    if asked.rdtype == dns.rdatatype.SOA:
        soa = "ns1.isp.net. hostmaster.isp.net. 1000 7200 3600 1209600 300"
        response.answer.append(dns.rrset.from_text("example.com.", 3600, "IN", "SOA", soa))
    elif asked.rdclass == dns.rdataclass.CH:
        response.answer.append(dns.rrset.from_text("example.com.", 3600, "CH", "TXT", '"goCHAOS"'))
    else:
        response.answer.append(dns.rrset.from_text("example.com.", 3600, "IN", "A", "127.0.0.1"))
    response.authority.append(dns.rrset.from_text("isp.net.", 7200, "IN", "NS", "ns1.isp.net.", "ns2.isp.net."))
    for name, kind, address in (("ns1", "A", "127.0.0.1"), ("ns1", "AAAA", "::1"), ("ns2", "A", "127.0.0.2")):
        response.additional.append(dns.rrset.from_text(f"{name}.isp.net.", 7200, "IN", kind, address))
    return response


NAME_SERVERS = SERVERS | {"dns_authoritative": authoritative}


async def probe(shared: Shared, table: Case, target: str, timeout: float = 20.0) -> Result:
    """Carry out what a module, as it stands in the file, says about a target."""
    attempt = Attempt(shared, time.monotonic, time.time, timeout)
    await _carry_out(attempt, parsed(table), target)
    lines = [line for line in attempt.text().decode().splitlines() if not line.startswith("#")]
    return Result({line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}, "\n".join(attempt.lines))


def parsed(table: Case) -> Module:
    return parse_modules(yaml.safe_dump({"modules": {"m": table}}))["m"]


def test_every_case_is_replayed_or_listed() -> None:
    assert len(ALL) == 166
    assert {case["id"] for case in ALL} >= NOT_HERE.keys() | OTHERWISE.keys()
    left = [case["id"] for case in HERE if case not in CONFIGURED + TIMED + PROBED]
    assert left == ["serial-leading-zero"]


@pytest.mark.parametrize("case", PROBED, ids=lambda case: case["id"])
async def test_probe(
    case: Case,
    odd: Callable[..., Awaitable[Odd]],
    name_server: Callable[..., Awaitable[NameServer]],
    authority: Authority,
    shared: Shared,
    over_ipv6: int,
    tmp_path: Path,
) -> None:
    served = _certificate(case, authority) if isinstance(case.get("server", {}), dict) else None
    place = await _serve(case, odd, name_server, served, authority, over_ipv6)
    target = _target(case, place)
    quick = case["id"] in ("http-timeout-keeps-metrics", "dns-protocol-default-is-udp")
    result = await probe(shared, _table(case, authority, tmp_path, served), target, 0.5 if quick else 20.0)
    assert result.metrics["probe_success"] == case["expect"]["success"], result.log
    if case["id"] not in OTHERWISE:
        _compare(case["expect"], result, served)
    if case["id"] == "http-fail-if-not-ssl-conn-closed":
        assert "not over SSL" not in result.log


def _compare(expect: Case, result: Result, served: Pair | None) -> None:
    for name, value in expect.get("metrics", {}).items():
        if name in ("probe_ssl_last_chain_info", "probe_tls_version_info"):
            assert result.labels(name)
        elif value == "<encoded size>":
            assert 0 < result.metrics[name] < 110
        elif value == "<not_after>" and served is None:  # the certificate of the server that begins TLS later
            assert result.metrics[name] > time.time()
        elif isinstance(value, str) and served is not None:
            assert value.startswith("<not_after")
            assert result.metrics[name] == served.leaf.not_valid_after_utc.timestamp()
        else:
            assert result.metrics[name] == value, name
    for name, labels in expect.get("labels", {}).items():
        assert labels.items() <= result.labels(name).items()
    for name in expect.get("absent", ()):
        assert not any(one.split("{")[0] == name for one in result.metrics)
    for phase in expect.get("label_values", {}).get("probe_http_duration_seconds{phase}", ()):
        assert result.metrics[f'probe_http_duration_seconds{{phase="{phase}"}}'] >= 0


def _table(case: Case, authority: Authority, folder: Path, served: Pair | None) -> Case:
    """The module of the case, with files that exist."""
    table: Case = yaml.safe_load(yaml.safe_dump(case["module"]))
    options = table.get(table["prober"], {}) or {}
    if "ca_file" in options.get("tls_config", {}):
        options["tls_config"]["ca_file"] = authority.ca_file
    if case["id"] == "tcp-smtp-starttls":
        options["tls_config"]["server_name"] = "localhost"
    if "body_file" in options:
        options["body_file"] = str(folder / "body")
        (folder / "body").write_text("Test Body")
    if case["id"].startswith("tcp-ip-"):
        table["tcp"].pop("ip_protocol_fallback")
    return table


def _target(case: Case, place: str) -> str:
    target = case.get("target", "")
    port = place.rpartition(":")[2]
    if case["id"].startswith("tcp-ip-") or case["id"] == "dns-protocol-default-is-udp":
        return f"[::1]:{port}"  # of localhost, which has no such address everywhere
    if "://H" in target or target in ("", "H"):
        scheme = (
            "https://" if case.get("server") and isinstance(case["server"], dict) and "tls" in case["server"] else ""
        )
        if target.endswith("H") and target:
            return target.replace("H", place) if "://" not in target else f"{target.split('://')[0]}://{place}"
        return f"{scheme if case['module']['prober'] == 'http' else ''}{place}"
    return target.replace("PORT", port) if "PORT" in target else target


async def _serve(
    case: Case,
    odd: Callable[..., Awaitable[Odd]],
    name_server: Callable[..., Awaitable[NameServer]],
    served: Pair | None,
    authority: Authority,
    over_ipv6: int,
) -> str:
    server = case.get("server", {})
    if isinstance(server, str):
        kind, _, only = server.partition(" on ")
        return (await name_server(NAME_SERVERS[kind], udp=not only)).address
    if server.get("listen") is False or not server:
        return f"127.0.0.1:{free_port()}"
    if server.get("listen") == "dual-stack":
        return f"[::1]:{over_ipv6}"
    context = None
    if served is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(served.certificate, served.key)
        if "TLS 1.2 only" in server["tls"]["cert"]:
            context.maximum_version = ssl.TLSVersion.TLSv1_2
    if case["module"]["prober"] == "http":
        return (await odd(_http(server), context)).address
    if case["id"] != "tcp-smtp-starttls":
        return (await odd(_script(server.get("script", []), None), context)).address
    pair = authority.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return (await odd(_script(server["script"], context))).address


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _http(server: Case) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if server.get("close"):
            return
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        body = await reader.readexactly(int(fields.get("Content-Length", 0)))
        path = head.split(" ")[1]
        await asyncio.sleep(server.get("delay_s", 0))
        writer.write(_answer(server.get("routes", {}).get(path, server), path, fields, body))
        await writer.drain()

    return talk


def _answer(server: Case, path: str, fields: dict[str, str], body: bytes) -> bytes:
    status, headers, content = server.get("status", 200), list(server.get("headers", [])), _content(server)
    if "echo" in server:
        status = 200 if _as_checked(server["echo"], fields, body) else 400
    if "redirect" in server and path != server["redirect"]["to"]:
        status = server["redirect"]["code"]
        headers.append(["Location", server["redirect"]["to"]])
    if "encode" in server:  # nobody unpacks br in these tests, so any bytes will do
        content = gzip.compress(content)
        headers.append(["Content-Encoding", server["encode"]])
    if not any(name == "Content-Length" for name, _ in headers) and status != 204:
        headers.append(["Content-Length", len(content)])
    lines = [f"HTTP/1.1 {status} Some words", *(f"{name}: {value}" for name, value in headers), "", ""]
    return "\r\n".join(lines).encode() + content


def _script(steps: list[Case], context: ssl.SSLContext | None) -> Talk:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for step in steps:
            for line in [step["send"]] if isinstance(step.get("send"), str) else step.get("send", ()):
                writer.write(line.encode() + b"\r\n")
            if "send_raw" in step:
                writer.write(step["send_raw"].encode())
            if "expect" in step:
                assert step["expect"].encode() in await reader.readuntil(b"\n")
            if step.get("starttls"):
                assert context is not None
                await writer.drain()
                await writer.start_tls(context)
        await writer.drain()
        if not any("close" in step for step in steps):
            await reader.read()

    return play


def test_serial_leading_zero() -> None:
    assert secured.serial(0x0BFFBC11F1907D02AF719AFCD64FB253) == "0bffbc11f1907d02af719afcd64fb253"


@pytest.mark.parametrize("case", CONFIGURED, ids=lambda case: case["id"])
def test_configuration(case: Case) -> None:
    if case["expect"].get("config_ok"):
        parsed(case["module"])
        return
    with pytest.raises(ModulesError, match="module m: "):
        parsed(case["module"])


@pytest.mark.parametrize("case", TIMED, ids=lambda case: case["id"])
def test_timeout(case: Case) -> None:
    given = case["input"]
    module = parsed({"prober": "http", "timeout": f"{given['module_timeout_s']}s"})
    settings = Probing({}, (), given["timeout_offset_s"])
    assert timeout_of(given["scrape_timeout_header"], module, settings) == case["expect"]["timeout_seconds"]


@pytest.mark.parametrize(
    "case", [one for one in ALL if one["id"].startswith(UNSUPPORTED) and "module" in one], ids=lambda case: case["id"]
)
def test_what_cannot_be_had_keeps_no_file_from_being_read(case: Case) -> None:
    if case["id"] not in ("http-json-metric-absent-without-option",):
        assert parsed(case["module"]).unsupported
