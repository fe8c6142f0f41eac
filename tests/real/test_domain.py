"""The domain probe against an RDAP server on loopback that answers as registries do (RFC 9083), and as they should not.

The answers have the shape of Verisign's and the Public Interest Registry's; a registry cannot be reached from a test.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.real.running import Observe, Watch, measured, names
from tests.real.servers.odd import Odd
from wcr_watchd.core.model import Outcome
from wcr_watchd.probes import domain
from wcr_watchd.probes.domain import read_registration, server_for

Start = Callable[..., Awaitable[Odd]]
DAY = 86400.0
TODAY = datetime(2026, 11, 28, tzinfo=UTC).timestamp()
ANSWER = {
    "objectClassName": "domain",
    "ldhName": "EXAMPLE.ORG",
    "status": ["client delete prohibited", "client transfer prohibited"],
    "events": [
        {"eventAction": "registration", "eventDate": "1995-08-31T04:00:00Z"},
        {"eventAction": "expiration", "eventDate": "2027-08-30T04:00:00.00Z"},
        {"eventAction": "last update of RDAP database", "eventDate": "2026-11-27T10:00:00Z"},
    ],
    "entities": [
        {"roles": ["abuse"], "vcardArray": ["vcard", [["fn", {}, "text", "Nobody"]]]},
        {
            "roles": ["registrar"],
            "vcardArray": ["vcard", [["version", {}, "text", "4.0"], ["fn", {}, "text", "Names Ltd."]]],
        },
    ],
}


def http(body: Any, status: int = 200) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return b"HTTP/1.1 %d Some\r\nContent-Length: %d\r\n\r\n%s" % (status, len(content), content)


async def test_what_the_registry_tells(odd: Start, observe: Observe) -> None:
    registry = await odd(http(ANSWER))
    listed = {"services": [[["com", "net"], ["http://127.0.0.1:1/"]], [["org"], [registry.url("/rdap")]]]}
    iana = await odd(http(listed))
    seen = await observe("domain", name="example.org", bootstrap=iana.url("/dns.json"), started=TODAY)
    assert seen.outcome is Outcome.UP, seen.summary
    expires = datetime(2027, 8, 30, 4, tzinfo=UTC).timestamp()
    assert measured(seen, "expires_in") == expires - TODAY
    assert (measured(seen, "suspended"), measured(seen, "locked")) == (0, 1)
    assert seen.summary == "example.org is registered until 2027-08-30 (in 275 d 4 h), registrar Names Ltd."
    assert registry.requests[0].startswith("GET /rdap/domain/example.org HTTP/1.1")
    assert "Accept: application/rdap+json" in registry.requests[0]


async def test_it_asks_once_a_day_and_for_the_server_once_a_week(odd: Start, watch: Callable[..., Watch]) -> None:
    registry = await odd(http(ANSWER))
    iana = await odd(http({"services": [[["org"], [registry.url("/")]]]}))
    check = watch("domain", name="example.org", bootstrap=iana.url())
    for hours in (0, 1, 18):
        seen = await check.run(TODAY + hours * 3600)
        assert measured(seen, "answer_age") == hours * 3600
    assert (registry.connections, iana.connections) == (1, 1)
    await check.run(TODAY + DAY)
    assert (registry.connections, iana.connections) == (2, 1)
    await check.run(TODAY + 8 * DAY)
    assert (registry.connections, iana.connections) == (3, 2)


async def test_when_it_does_not_answer_what_it_said_last_is_kept(odd: Start, watch: Callable[..., Watch]) -> None:
    answers = [http(ANSWER), http({}, 429), http({}, 500), http(b"<html>")]

    async def talk(reader: Any, writer: Any) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        await writer.drain()

    registry = await odd(talk)
    check = watch("domain", name="example.org", rdap=registry.url())
    await check.run(TODAY)
    for day, said in ((1, "429"), (2, "status 500"), (3, "does not answer as an RDAP server does")):
        seen = await check.run(TODAY + day * DAY)
        assert seen.outcome is Outcome.UP
        assert measured(seen, "answer_age") == day * DAY
        assert said in seen.evidence["last attempt"]
    registry.port = 1
    seen = await watch("domain", name="example.org", rdap="http://127.0.0.1:1/").run(TODAY)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "connect")
    check.options["rdap"] = "http://127.0.0.1:1/"
    seen = await check.run(TODAY + 60 * DAY)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "connect"), "so old an answer says nothing"


@pytest.mark.parametrize("status", sorted(domain.BAD))
async def test_a_domain_that_does_not_work(odd: Start, observe: Observe, status: str) -> None:
    registry = await odd(http(ANSWER | {"status": ["active", status]}))
    seen = await observe("domain", name="example.org", rdap=registry.url(), started=TODAY)
    assert measured(seen, "suspended") == 1
    assert measured(seen, "locked") == 0
    assert f"{status}: {domain.BAD[status]}" in seen.summary
    assert seen.reason == "status", "a message carries the summary"


async def test_a_date_of_ones_own_where_the_registry_tells_none(odd: Start, observe: Observe) -> None:
    silent = await odd(http(ANSWER | {"events": []}))
    seen = await observe("domain", name="example.de", rdap=silent.url(), started=TODAY)
    assert seen.outcome is Outcome.UP
    assert "expires_in" not in names(seen), "absent, never 0"
    assert "set expires" in seen.summary
    seen = await observe("domain", name="example.de", rdap=silent.url(), started=TODAY, expires="2026-12-08")
    assert measured(seen, "expires_in") == 10 * DAY
    iana = await odd(http({"services": [[["org"], ["http://127.0.0.1:1/"]]]}))
    seen = await observe("domain", name="example.xy", bootstrap=iana.url(), started=TODAY)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "the registry of .xy has no RDAP server; or set expires" in seen.summary
    seen = await observe("domain", name="example.xy", bootstrap=iana.url(), started=TODAY, expires="2026-11-18")
    assert measured(seen, "expires_in") == -10 * DAY
    assert "has expired on 2026-11-18 (10 d ago), by the date in the configuration" in seen.summary
    assert "suspended" not in names(seen)


@pytest.mark.parametrize(
    ("in_dns", "outcome", "said"),
    [
        (True, Outcome.UNKNOWN, "but it is in DNS"),
        (False, Outcome.DOWN, "is not registered"),
        (None, Outcome.UNKNOWN, "DNS did not answer"),
    ],
)
async def test_one_that_the_registry_does_not_know(
    odd: Start, observe: Observe, monkeypatch: pytest.MonkeyPatch, in_dns: bool | None, outcome: Outcome, said: str
) -> None:
    async def resolve(name: str, record: str, **_: Any) -> None:
        assert (name, record) == ("example.org", "SOA")
        if in_dns is None:
            raise domain.dns.exception.Timeout
        if not in_dns:
            raise domain.dns.resolver.NXDOMAIN

    monkeypatch.setattr(domain.dns.asyncresolver, "resolve", resolve)
    registry = await odd(http({"errorCode": 404}, 404))
    seen = await observe("domain", name="example.org", rdap=registry.url(), started=TODAY)
    assert seen.outcome is outcome
    assert said in seen.summary


@pytest.mark.parametrize(
    "answer", [b"[]", b"{", b"\xff", b"[" * 100_000, b'{"status": 5, "events": [5, {"eventAction": "expiration"}]}']
)
async def test_nonsense_is_no_date(odd: Start, observe: Observe, answer: bytes) -> None:
    registry = await odd(http(answer))
    seen = await observe("domain", name="example.org", rdap=registry.url(), started=TODAY)
    assert "expires_in" not in names(seen)
    assert seen.outcome in (Outcome.UNKNOWN, Outcome.UP)


def test_the_longest_ending_counts_and_tls_before_none() -> None:
    services = [[["uk"], ["http://uk/"]], [["co.uk", "org.uk"], ["http://co/", "https://co/"]], "nonsense", [[5], 6]]
    assert server_for("shop.example.co.uk", {"services": services}) == "https://co/"
    assert server_for("example.me.UK", {"services": services}) == "http://uk/"
    assert server_for("example.org", {"services": services}) == ""
    assert server_for("example.org", {}) == ""


def test_statuses_as_epp_writes_them() -> None:
    found = read_registration({"status": ["clientHold", "pendingDelete"], "events": []})
    assert found.statuses == ("client hold", "pending delete")
