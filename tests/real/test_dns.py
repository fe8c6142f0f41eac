"""The dns probe against a real name server, and against those that do not behave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import dns.message
import dns.rrset
import pytest
from pydantic import ValidationError

from tests.real.ports import free_port
from tests.real.running import Observe, measured, names, probe_of
from tests.real.servers.dns import NameServer, status_answer, zone_answer
from wcr_watchd.core.model import Outcome
from wcr_watchd.probes import dns as probe_module

Start = Callable[..., Awaitable[NameServer]]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_an_address_is_found(transport: str, name_server: Start, observe: Observe) -> None:
    server = await name_server()
    seen = await observe(
        "dns",
        name="www.example.org",
        server=server.address,
        transport=transport,
        expect={"answers": ["192.0.2.1", "192.0.2.2"], "exact": True},
    )
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "answers") == 2
    assert measured(seen, "ttl") == 60, "the shortest counts"
    assert measured(seen, "response_time") > 0
    assert "soa_serial" not in names(seen)
    assert server.by_tcp == (1 if transport == "tcp" else 0)


@pytest.mark.parametrize(
    ("name", "record", "answer"),
    [
        ("www.example.org", "AAAA", "2001:0DB8:0:0::1"),
        ("shop.example.org", "CNAME", "WWW.example.org"),
        ("shop.example.org", "A", "192.0.2.2"),
        ("example.org", "MX", "10 mail.example.org"),
        ("example.org", "TXT", "v=spf1 ip4:192.0.2.1 -all"),
        ("key._domainkey.example.org", "TXT", "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA"),
        ("example.org", "NS", "ns1.example.org."),
        ("example.org", "CAA", '0 issue "letsencrypt.org"'),
        ("_sip._tcp.example.org", "SRV", "10 60 5060 www.example.org."),
        ("192.0.2.1", "PTR", "www.example.org"),
        ("1.2.0.192.in-addr.arpa", "PTR", "www.example.org"),
    ],
)
async def test_each_kind_of_record(name: str, record: str, answer: str, name_server: Start, observe: Observe) -> None:
    server = await name_server()
    seen = await observe("dns", name=name, record=record, server=server.address, expect={"answers": [answer]})
    assert seen.outcome is Outcome.UP, seen.summary


async def test_serial_of_a_zone(name_server: Start, observe: Observe) -> None:
    server = await name_server()
    seen = await observe("dns", name="example.org", record="SOA", server=server.address)
    assert measured(seen, "soa_serial") == 2026112301


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ({"answers": ["192.0.2.1", "192.0.2.9"]}, "192.0.2.9"),
        ({"answers": ["192.0.2.1"], "exact": True}, "192.0.2.2 was not expected"),
    ],
)
async def test_other_answers_are_down(
    expect: dict[str, object], words: str, name_server: Start, observe: Observe
) -> None:
    server = await name_server()
    seen = await observe("dns", name="www.example.org", server=server.address, expect=expect)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")
    assert words in seen.summary
    assert "got 192.0.2.1, 192.0.2.2" in seen.summary
    assert measured(seen, "response_time") > 0


async def test_capitals_count_in_a_text(name_server: Start, observe: Observe) -> None:
    server = await name_server()
    key = "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA"
    seen = await observe(
        "dns",
        name="key._domainkey.example.org",
        record="TXT",
        server=server.address,
        expect={"answers": [key.replace("MIG", "mig")]},
    )
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")


async def test_a_name_that_does_not_exist(name_server: Start, observe: Observe) -> None:
    server = await name_server()
    seen = await observe("dns", name="gone.example.org", server=server.address)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "dns")
    assert "does not exist" in seen.summary
    wanted = await observe("dns", name="gone.example.org", server=server.address, expect={"rcode": "nxdomain"})
    assert wanted.outcome is Outcome.UP, wanted.summary


async def test_a_name_without_such_a_record(name_server: Start, observe: Observe) -> None:
    server = await name_server()
    seen = await observe("dns", name="mail.example.org", record="AAAA", server=server.address)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")
    assert measured(seen, "answers") == 0
    assert "no AAAA record" in seen.summary


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED"])
async def test_a_server_that_cannot_answer(rcode: str, name_server: Start, observe: Observe) -> None:
    server = await name_server(status_answer(rcode))
    seen = await observe("dns", name="www.example.org", server=server.address)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "dns")
    assert rcode in seen.summary


async def test_a_long_answer_is_fetched_by_tcp(name_server: Start, observe: Observe) -> None:
    def long_answer(question: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(question)
        addresses = [f"192.0.2.{last}" for last in range(1, 101)]
        response.answer.append(dns.rrset.from_text_list(question.question[0].name, 60, "IN", "A", addresses))
        return response

    server = await name_server(long_answer)
    seen = await observe("dns", name="many.example.org", server=server.address)
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "answers") == 100
    assert server.by_tcp == 1
    assert "and 92 more" in seen.summary


async def test_the_longest_answer_there_can_be_holds_up_nothing(name_server: Start, observe: Observe) -> None:
    def huge_answer(question: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(question)
        addresses = [f"10.0.{number // 256}.{number % 256}" for number in range(4_000)]
        response.answer.append(dns.rrset.from_text_list(question.question[0].name, 60, "IN", "A", addresses))
        return response

    server = await name_server(huge_answer)
    seen = await observe("dns", name="many.example.org", server=server.address, transport="tcp")  # looks at its steps
    assert seen.outcome is Outcome.UP, seen.summary
    assert measured(seen, "answers") == 4_000


async def test_nothing_is_cached(name_server: Start, observe: Observe) -> None:
    server = await name_server()
    for _ in range(3):
        await observe("dns", name="www.example.org", server=server.address)
    assert len(server.questions) == 3


async def test_recursion_is_asked_for_unless_told_otherwise(name_server: Start, observe: Observe) -> None:
    server = await name_server()
    await observe("dns", name="www.example.org", server=server.address)
    await observe("dns", name="www.example.org", server=server.address, recursive=False)
    assert [bool(question.flags & dns.flags.RD) for question in server.questions] == [True, False]


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_nobody_listening_is_told_at_once(transport: str, observe: Observe) -> None:
    seen = await observe("dns", name="www.example.org", server=f"127.0.0.1:{free_port()}", transport=transport)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect")
    assert "refused" in seen.summary


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_silent_server_is_down_at_the_deadline(transport: str, name_server: Start, observe: Observe) -> None:
    server = await name_server(lambda question: None)
    seen = await observe("dns", name="www.example.org", server=server.address, transport=transport, timeout=0.5)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "timeout")
    assert "waiting for the answer of 127.0.0.1" in seen.summary


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("garbage", [b"\x00", b"HTTP/1.1 400 Bad Request\r\n\r\n", bytes(2000)])
async def test_garbage_is_no_answer(garbage: bytes, transport: str, name_server: Start, observe: Observe) -> None:
    server = await name_server(lambda question: garbage)
    seen = await observe("dns", name="www.example.org", server=server.address, transport=transport)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "protocol"), seen.summary


async def test_the_answer_to_another_question_is_none(name_server: Start, observe: Observe) -> None:
    def confused(question: dns.message.Message) -> dns.message.Message:
        return zone_answer()(dns.message.make_query("mail.example.org", "A", id=question.id))

    server = await name_server(confused)
    seen = await observe("dns", name="www.example.org", server=server.address)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "protocol")


async def test_a_server_by_its_name(name_server: Start, observe: Observe) -> None:
    server = await name_server()
    seen = await observe("dns", name="www.example.org", server=f"localhost:{server.port}")
    assert seen.outcome is Outcome.UP, seen.summary


async def test_a_server_whose_name_is_unknown(observe: Observe) -> None:
    seen = await observe("dns", name="www.example.org", server="no-such-server.invalid")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "dns")
    assert "name server no-such-server.invalid" in seen.summary


# --- the system's servers ---------------------------------------------------------------------------------------------


def configure(monkeypatch: pytest.MonkeyPatch, *servers: NameServer | int) -> None:
    """Let these be the ones that /etc/resolv.conf names."""
    ports = [one if isinstance(one, int) else one.port for one in servers]
    monkeypatch.setattr(probe_module, "_system_servers", lambda: [("127.0.0.1", port) for port in ports])


async def test_the_next_one_is_asked_when_one_is_dead_or_cannot_help(
    name_server: Start, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, good = await name_server(status_answer("SERVFAIL")), await name_server()
    configure(monkeypatch, free_port(), broken, good)
    seen = await observe("dns", name="www.example.org")
    assert seen.outcome is Outcome.UP, seen.summary
    assert seen.evidence["answered by"] == f"127.0.0.1 port {good.port}"
    assert len(broken.questions) == 1


async def test_a_silent_one_leaves_time_for_the_next(
    name_server: Start, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, good = await name_server(lambda question: None), await name_server()
    configure(monkeypatch, silent, good)
    seen = await observe("dns", name="www.example.org", timeout=6)
    assert seen.outcome is Outcome.UP, seen.summary


async def test_a_name_that_does_not_exist_is_not_asked_of_the_others(
    name_server: Start, observe: Observe, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await name_server(), await name_server()
    configure(monkeypatch, first, second)
    seen = await observe("dns", name="gone.example.org")
    assert seen.outcome is Outcome.DOWN
    assert not second.questions


async def test_no_server_configured(observe: Observe, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch)
    seen = await observe("dns", name="www.example.org")
    assert seen.outcome is Outcome.UNKNOWN
    assert "set server" in seen.summary


async def test_many_checks_at_a_time(name_server: Start, observe: Observe, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, await name_server())
    seen = await asyncio.gather(*(observe("dns", name="www.example.org") for _ in range(20)))
    assert {one.outcome for one in seen} == {Outcome.UP}, [one.summary for one in seen]


@pytest.mark.parametrize(
    "options",
    [
        {"name": "a..b"},
        {"name": "a", "record": "B"},
        {"name": "a", "server": "::1:x"},
        {"name": "a", "expect": {"rcode": "FINE"}},
    ],
)
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        probe_of("dns", options)
