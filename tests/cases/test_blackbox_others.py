"""Replays the blackbox_exporter's facts about TCP and DNS; every other case of the file is listed with its reason.

Those about HTTP and certificates are replayed in test_blackbox_http.py. The file has none about ICMP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from pydantic import ValidationError

from tests.cases.test_blackbox_http import ALL, FAMILIES, Case
from tests.real.running import Observe, measured, names, probe_of
from tests.real.servers.dns import NameServer, status_answer
from tests.real.servers.odd import Odd
from wcr_watchd.core.model import Outcome

NO_SUCH_PROBE = "there is no probe of this kind in this version"
NOT_OURS = "is about the exporter's own web server or configuration file, which have no counterpart here"
OTHER_SECTIONS = "authority and additional sections are not judged; ask for the NS or A records themselves"
NOT_HERE = {
    "tcp-smtp-starttls": 'the tls probe does it: starttls = "smtp", tested in tests/real/test_tls.py',
    "tcp-ip-ip6": 'which address was used is no measurement; ip = "6" is tested in tests/real/test_tcp.py',
    "tcp-ip-default": "addresses race (RFC 8305), so there is no preferred version",
    "tcp-fallback-unreachable-v6": "addresses race, so a name whose IPv6 address is dead is up, as it is for visitors",
    "tcp-source-ip-invalid": "there is no source address to choose",
    "resolve-no-fallback": 'which addresses a name has is the system\'s matter; ip = "4" is tested in tests/real',
    "serial-leading-zero": "serial numbers of certificates are no labels here",
    "dns-recursive-4": OTHER_SECTIONS,
    "dns-recursive-5": OTHER_SECTIONS,
    "dns-authoritative-03": "only the class IN is asked for",
    "dns-authoritative-07": OTHER_SECTIONS,
    "dns-authoritative-09": OTHER_SECTIONS,
    "dns-authoritative-10": OTHER_SECTIONS,
    "dns-dot-needs-tcp": "DNS over TLS is not spoken",
}
"""Cases that should not hold here, each with the reason; those of whole families stand below."""
FAMILIES_NOT_HERE = {
    "grpc": NO_SUCH_PROBE,
    "ws": NO_SUCH_PROBE,
    "api": NOT_OURS,
    "config": NOT_OURS,
    "timeout": "a check's timeout is its own option and ours alone; no scraper sets it",
}

HERE = [case for case in ALL if not case["id"].startswith(FAMILIES) and case["id"] not in NOT_HERE]
OURS = [case for case in HERE if case["id"].split("-")[0] not in FAMILIES_NOT_HERE]
DIALOGUES = [case for case in OURS if case["module"]["prober"] == "tcp" and "server" in case]
LOOKUPS = [case for case in OURS if case["module"]["prober"] == "dns"]
REFUSED = {
    "tcp-bad-port": ("tcp", {"address": ":0"}),
    "tcp-no-port": ("tcp", {"address": "localhost"}),
    "dns-servfail-3": ("dns", {"name": "example.com", "record": "NOT_A_VALID_QUERY_TYPE"}),
}
"""What fails there at every run, and here once, when the configuration is read."""


def test_every_case_is_replayed_or_listed() -> None:
    ids = [case["id"] for case in ALL]
    http = [name for name in ids if name.startswith(FAMILIES)]
    of_families = [name for name in ids if name.split("-")[0] in FAMILIES_NOT_HERE]
    replayed = {case["id"] for case in (*DIALOGUES, *LOOKUPS)} | set(REFUSED) | {"unix-missing"}
    listed = set(NOT_HERE)
    assert len(ids) == len(set(ids)) == 166
    assert not replayed & listed
    assert set(ids) == set(http) | set(of_families) | replayed | listed


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_beforehand(name: str) -> None:
    kind, options = REFUSED[name]
    with pytest.raises(ValidationError):
        probe_of(kind, options)


async def test_unix_missing(observe: Observe) -> None:
    seen = await observe("tcp", address="unix:/tmp/does-not-exist")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect")


# --- dialogues by TCP -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", DIALOGUES, ids=lambda case: case["id"])
async def test_dialogue(case: Case, odd: Callable[..., Awaitable[Odd]], observe: Observe) -> None:
    server = await odd(_playing(case["server"]["script"]))
    steps = [_step(theirs) for theirs in case["module"].get("tcp", {}).get("query_response", ())]
    seen = await observe("tcp", address=server.address, script=steps)
    assert (seen.outcome is Outcome.UP) is case["expect"]["success"], seen.summary
    if case["expect"].get("metrics", {}).get("probe_failed_due_to_regex"):
        assert seen.reason == "content"


def _step(theirs: dict[str, Any]) -> dict[str, str]:
    """Theirs are patterns for a line; groups to send back and labels are not had here, so the text is sent as it is."""
    expect = f"/{theirs['expect']}/" if "expect" in theirs else theirs.get("expect_bytes", "")
    send = theirs.get("send", "").replace("${1}", "OpenSSH_6.9p1")
    return {"expect": expect, "send": f"{send}\n" if send else ""}


def _playing(script: list[dict[str, Any]]) -> Callable[..., Awaitable[None]]:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for step in script:
            if "send" in step:
                writer.write(step["send"].encode() + b"\r\n")
            if "send_raw" in step:
                writer.write(step["send_raw"].encode())
            if "expect" in step:
                await reader.readuntil(b"\n")

    return play


# --- look-ups ---------------------------------------------------------------------------------------------------------


def recursive(question: dns.message.Message) -> dns.message.Message:
    """Their server that answers only who asks it to ask others."""
    response = dns.message.make_response(question)
    if not question.flags & dns.flags.RD:
        response.set_rcode(dns.rcode.REFUSED)
    else:
        response.answer.append(dns.rrset.from_text("example.com.", 3600, "IN", "A", "127.0.0.1", "127.0.0.2"))
    return response


def authoritative(question: dns.message.Message) -> dns.message.Message:
    """Their server that knows the zone itself."""
    response = dns.message.make_response(question)
    if question.question[0].rdtype == dns.rdatatype.SOA:
        soa = "ns1.isp.net. hostmaster.isp.net. 1000 7200 3600 1209600 300"
        response.answer.append(dns.rrset.from_text("example.com.", 3600, "IN", "SOA", soa))
    else:
        response.answer.append(dns.rrset.from_text("example.com.", 3600, "IN", "A", "127.0.0.1"))
    response.authority.append(dns.rrset.from_text("isp.net.", 7200, "IN", "NS", "ns1.isp.net.", "ns2.isp.net."))
    response.additional.append(dns.rrset.from_text("ns1.isp.net.", 7200, "IN", "A", "127.0.0.1"))
    return response


SERVERS: dict[str, Any] = {
    "dns_recursive": recursive,
    "dns_authoritative": authoritative,
    "dns_servfail": status_answer("SERVFAIL"),
}
IN_ANSWER: dict[str, Any] = {
    "dns-authoritative-05": ({"answers": ["192.0.2.9"]}, False),
    "dns-authoritative-06": ({"answers": ["192.0.2.9"]}, False),
    "dns-servfail-2": ({"rcode": "SERVFAIL"}, True),
}
"""Their patterns over a whole record, as the values that ours compares: those of another address, in both cases."""


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("case", [one for one in LOOKUPS if one["id"] not in REFUSED], ids=lambda case: case["id"])
async def test_lookup(
    case: Case, transport: str, name_server: Callable[..., Awaitable[NameServer]], observe: Observe
) -> None:
    theirs = case["module"]["dns"]
    named = case["server"].partition(" on ")
    server = await name_server(SERVERS[named[0]], udp=not named[2])
    transport = "udp" if named[2] else transport
    expect, _ = IN_ANSWER.get(case["id"], ({}, None))
    options = {"recursive": theirs.get("recursion_desired", True), "record": theirs.get("query_type", "A")}
    asked = {"name": theirs["query_name"], "server": server.address, "transport": transport, "expect": expect}
    seen = await observe("dns", **asked, **options)
    assert (seen.outcome is Outcome.UP) is case["expect"]["success"], seen.summary
    metrics = case["expect"]["metrics"]
    if "answers" in names(seen):
        assert measured(seen, "answers") == metrics["probe_dns_answer_rrs"]
    if "probe_dns_serial" in metrics:
        assert measured(seen, "soa_serial") == metrics["probe_dns_serial"]
