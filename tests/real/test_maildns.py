"""Records that mail needs, asked of a name server on loopback that answers out of a zone."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from tests.real.running import carry_out, measured, names, new_run, probe_of
from tests.real.servers.dns import NameServer, status_answer, zone_answer
from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.kit.shared import SharedHelpers

Make = Callable[..., Awaitable[NameServer]]


def rsa_key(bits: int) -> str:
    public = rsa.generate_private_key(65537, bits).public_key()
    return base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


RSA = rsa_key(2048)
ED25519 = base64.b64encode(
    ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
).decode()
HEAD = "$ORIGIN example.org.\n$TTL 300\n@ IN SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ IN NS ns1\n"
GOOD = {
    "mx": "@ IN MX 10 mail\nmail IN A 192.0.2.25",
    "spf": '@ IN TXT "v=spf1 mx include:_spf.example.org ip4:192.0.2.0/24 -all"\n'
    '@ IN TXT "unrelated=1"\n_spf IN TXT "v=spf1 a:relay.example.org ~all"',
    "dkim": f'mail2026._domainkey IN TXT "v=DKIM1; k=rsa; p={RSA[:200]}" "{RSA[200:]}"',
    "dmarc": '_dmarc IN TXT "v=DMARC1; p=quarantine; rua=mailto:d@example.org"',
}


class Domain:
    """A domain whose records are looked at again and again."""

    def __init__(self, make: Make, shared: SharedHelpers) -> None:
        self._make = make
        self._shared = shared
        self.memory: dict[str, Any] = {}

    async def look(self, at: float | None = None, zone: dict[str, str] | None = None, **options: Any) -> Observation:
        text = HEAD + "\n".join((GOOD | (zone or {})).values()) + "\n"
        server = await self._make(zone_answer(text))
        run = new_run(self._shared, started=at)
        run.memory = self.memory
        fixed = {"domain": "example.org", "selectors": ["mail2026"], "server": server.address}
        return await carry_out(probe_of("maildns", fixed | options), run)


@pytest.fixture
def domain(name_server: Make, shared: SharedHelpers) -> Domain:
    return Domain(name_server, shared)


async def test_good_records(domain: Domain) -> None:
    seen = await domain.look()
    assert seen.outcome is Outcome.UP, seen.summary
    for record in ("mx", "spf", "dkim mail2026", "dmarc"):
        assert measured(seen, "record_ok", record=record) == 1
    assert measured(seen, "spf_lookups") == 3
    assert measured(seen, "dkim_key_length", selector="mail2026") == 2048
    assert measured(seen, "changed") == 0
    assert seen.evidence["mx"] == "10 mail.example.org."


def includes(count: int) -> str:
    lines = [f's{n} IN TXT "v=spf1 include:s{n + 1}.example.org -all"' for n in range(count)]
    return '@ IN TXT "v=spf1 include:s0.example.org -all"\n' + "\n".join(lines) + f'\ns{count} IN TXT "v=spf1 -all"'


@pytest.mark.parametrize(
    ("record", "zone", "says"),
    [
        ("mx", "", "MX: there is no MX record"),
        ("mx", "@ IN MX 0 .", "takes no mail"),
        ("mx", "@ IN MX 10 mail", "mail.example.org. has no address"),
        ("mx", "@ IN MX 10 mail\nmail IN CNAME other\nother IN A 192.0.2.1", "is an alias"),
        ("spf", "", "SPF: there is no SPF record"),
        ("spf", '@ IN TXT "v=spf1 -all"\n@ IN TXT "v=spf1 mx -all"', "there are 2 SPF records"),
        ("spf", '@ IN TXT "v=spf1 mx allow -all"', "'allow' is no term"),
        ("spf", '@ IN TXT "v=spf1 mx +all"', "everybody"),
        ("spf", '@ IN TXT "v=spf1 mx all"', "everybody"),
        ("spf", '@ IN TXT "v=spf1 include: -all"', "'include:' is no term"),
        ("spf", '@ IN TXT "v=spf1 include:gone.example.org -all"', "it includes gone.example.org: there is no SPF"),
        ("spf", '@ IN TXT "v=spf1 include:example.org -all"', "circle"),
        ("spf", includes(11), "12 look-ups"),
        ("dkim", "", "DKIM mail2026: there is no DKIM record"),
        ("dkim", 'mail2026._domainkey IN TXT "v=DKIM1; p="', "revoked"),
        ("dkim", 'mail2026._domainkey IN TXT "v=DKIM1; k=rsa"', "no key"),
        ("dkim", 'mail2026._domainkey IN TXT "v=DKIM1; p=%%%"', "cannot be read"),
        ("dkim", 'mail2026._domainkey IN TXT "v=DKIM2; p=AAAA"', "'DKIM2'"),
        ("dkim", 'mail2026._domainkey IN TXT "no tags at all"', "is no tag"),
        ("dkim", f'mail2026._domainkey IN TXT "v=DKIM1; k=ed25519; p={RSA[:40]}"', "cannot be read"),
        ("dmarc", "", "DMARC: there is no DMARC record"),
        ("dmarc", '_dmarc IN TXT "v=DMARC1; p=maybe"', "'maybe'"),
        ("dmarc", '_dmarc IN TXT "v=DMARC1; rua=mailto:x@example.org"', "its policy is ''"),
        ("dmarc", '_dmarc IN TXT "v=DMARC1; p=none"\n_dmarc IN TXT "v=DMARC1; p=reject"', "2 DMARC records"),
        ("dmarc", '_dmarc IN TXT "v=DMARC1; p=none; p=reject"', "twice"),
    ],
)
async def test_each_fault_is_told(domain: Domain, record: str, zone: str, says: str) -> None:
    seen = await domain.look(zone={record: zone})
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")
    assert says in seen.summary
    label = "dkim mail2026" if record == "dkim" else record
    wrong = {dict(one.labels)["record"] for one in seen.measurements if one.name == "record_ok" and not one.value}
    assert wrong == {label}


async def test_short_keys_are_told_and_ed25519_is_taken(domain: Domain) -> None:
    seen = await domain.look(zone={"dkim": f'mail2026._domainkey IN TXT "p={rsa_key(1024)}"'})
    assert seen.outcome is Outcome.UP
    seen = await domain.look(zone={"dkim": f'mail2026._domainkey IN TXT "v=DKIM1; k=ed25519; p={ED25519}"'})
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "dkim_key_length", selector="mail2026") == 256


async def test_dmarc_of_the_domain_above_holds_below(domain: Domain) -> None:
    zone = {
        "below": 'news IN MX 10 mail\nnews IN TXT "v=spf1 -all"',
        "dmarc": '_dmarc IN TXT "v=DMARC1; p=reject; sp=none"',
    }
    seen = await domain.look(zone=zone, domain="news.example.org", selectors=[])
    assert seen.outcome is Outcome.UP, seen.summary
    seen = await domain.look(zone=zone, domain="news.example.org", selectors=[], dmarc="reject")
    assert "its policy is none, weaker than reject" in seen.summary
    assert (await domain.look(zone=zone, dmarc="reject")).outcome is Outcome.UP


async def test_what_receives_no_mail_needs_no_mx(domain: Domain) -> None:
    seen = await domain.look(zone={"mx": ""}, receives=False)
    assert seen.outcome is Outcome.UP


async def test_a_change_is_told_for_a_while(domain: Domain) -> None:
    other = {"mx": "@ IN MX 5 mail\nmail IN A 192.0.2.25"}
    assert measured(await domain.look(at=1_000.0), "changed") == 0
    seen = await domain.look(at=2_000.0, zone=other)
    assert measured(seen, "changed") == 1
    assert (seen.outcome, seen.reason) == (Outcome.UP, "changed")
    assert seen.summary == "example.org: mx changed 0 s ago"
    assert seen.evidence["mx before"] == "10 mail.example.org."
    assert measured(await domain.look(at=2_000.0 + 86_399, zone=other), "changed") == 1
    assert measured(await domain.look(at=2_000.0 + 86_400, zone=other), "changed") == 0


async def test_no_answer_is_unknown(name_server: Make, shared: SharedHelpers) -> None:
    for answer, timeout in ((status_answer("SERVFAIL"), 20.0), (lambda question: None, 0.5)):
        server = await name_server(answer)
        run = new_run(shared, timeout)
        run.memory = {"records": {"mx": ["10 mail.example.org."]}}
        seen = await carry_out(probe_of("maildns", {"domain": "example.org", "server": server.address}), run)
        assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "dns")
        assert "example.org MX" in seen.summary
        assert names(seen) == set()
        assert run.memory["records"] == {"mx": ["10 mail.example.org."]}, "what is not known has not changed"


async def test_cancelling_leaves_nothing_behind(name_server: Make, shared: SharedHelpers) -> None:
    server = await name_server(lambda question: None)
    before = asyncio.all_tasks()
    probe = probe_of("maildns", {"domain": "example.org", "server": server.address})
    running = asyncio.create_task(carry_out(probe, new_run(shared)))
    while not server.questions:
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert running.cancelled()
    assert asyncio.all_tasks() <= before


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"domain": "localhost"}, "no domain"),
        ({"domain": "a..b"}, "not a name"),
        ({"domain": "example.org", "selectors": ["a b"]}, "pattern"),
        ({"domain": "example.org", "server": "ns1.example.org:53"}, "must be an address"),
    ],
)
def test_what_makes_no_sense_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        probe_of("maildns", options)
