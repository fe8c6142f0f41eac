"""The smtp probe against real and against odd mail servers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.real.running import Observe, measured, probe_of
from tests.real.servers.certificates import Authority
from tests.real.servers.mail import PASSWORD, USER, MailRelay
from tests.real.servers.odd import Odd, silence
from wcr_watchd.core.model import Outcome

Make = Callable[..., MailRelay]
Start = Callable[..., Awaitable[Odd]]


async def test_the_whole_dialogue_and_no_mail(make_mail_relay: Make, mail_ca_file: Path, observe: Observe) -> None:
    relay = make_mail_relay(login=True)
    seen = await observe(
        "smtp",
        url=relay.url,
        starttls="required",
        ca_file=str(mail_ca_file),
        username=USER,
        password=PASSWORD,
        mail_from="watch@example.org",
        rcpt_to="lead@example.org",
    )
    assert seen.outcome is Outcome.UP, seen.summary
    assert "takes mail for lead@example.org" in seen.summary
    for phase in ("connect", "ehlo", "starttls", "auth", "rcpt"):
        assert measured(seen, "smtp_phase", phase=phase) > 0
    assert measured(seen, "certificate_expires_in") > 86_400
    assert 0 < measured(seen, "certificate_lifetime_left") <= 1
    assert relay.mails == []


async def test_tls_from_the_start(make_mail_relay: Make, mail_ca_file: Path, observe: Observe) -> None:
    relay = make_mail_relay(tls_first=True)
    seen = await observe("smtp", url=relay.url, ca_file=str(mail_ca_file))
    assert seen.outcome is Outcome.UP, seen.summary


async def test_wrong_password_is_down_and_never_shown(
    make_mail_relay: Make, mail_ca_file: Path, observe: Observe
) -> None:
    relay = make_mail_relay(login=True)
    seen = await observe("smtp", url=relay.url, ca_file=str(mail_ca_file), username=USER, password="no-such-word")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "auth")
    assert "no-such-word" not in seen.summary


async def test_untrusted_certificate_is_down(make_mail_relay: Make, authority: Authority, observe: Observe) -> None:
    seen = await observe("smtp", url=make_mail_relay().url, ca_file=authority.ca_file)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "tls")


async def test_missing_starttls_is_down_only_when_required(make_mail_relay: Make, observe: Observe) -> None:
    relay = make_mail_relay(tls=False)
    assert (await observe("smtp", url=relay.url)).outcome is Outcome.UP
    seen = await observe("smtp", url=relay.url, starttls="required")
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "tls")
    assert "STARTTLS" in seen.summary


async def test_a_password_is_not_sent_in_clear_unasked(make_mail_relay: Make, observe: Observe) -> None:
    relay = make_mail_relay(tls=False, login=True)
    seen = await observe("smtp", url=relay.url, username=USER, password=PASSWORD)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "tls")
    asked = await observe("smtp", url=relay.url, username=USER, password=PASSWORD, starttls="never")
    assert asked.outcome is Outcome.UP, asked.summary


async def test_refused_recipient_is_down_with_the_servers_words(make_mail_relay: Make, observe: Observe) -> None:
    relay = make_mail_relay(tls=False)
    relay.rcpt_reply = "550 5.1.1 nobody here by that name"
    seen = await observe("smtp", url=relay.url, mail_from="a@example.org", rcpt_to="b@example.org")
    assert seen.outcome is Outcome.DOWN
    assert "nobody here by that name" in seen.summary


async def test_stopped_server_is_down(make_mail_relay: Make, observe: Observe) -> None:
    relay = make_mail_relay(tls=False)
    relay.stop()
    seen = await observe("smtp", url=relay.url)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "connect")


async def test_silent_server_is_down_within_the_deadline(odd: Start, observe: Observe) -> None:
    server = await odd(silence)
    seen = await observe("smtp", url=f"smtp://{server.address}", timeout=0.5)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "timeout")
    assert "greeting" in seen.summary


async def test_endless_babble_is_bounded(odd: Start, observe: Observe) -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"220-and another thing\r\n" * 1000)
            await writer.drain()

    server = await odd(babble)
    seen = await observe("smtp", url=f"smtp://{server.address}", timeout=5)
    assert seen.outcome is Outcome.DOWN


@pytest.mark.parametrize("greeting", [b"554 go away\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
async def test_something_else_answers(greeting: bytes, odd: Start, observe: Observe) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()
        writer.close()

    server = await odd(greet)
    seen = await observe("smtp", url=f"smtp://{server.address}", timeout=5)
    assert seen.outcome is Outcome.DOWN
    assert seen.reason in ("protocol", "connect"), seen


@pytest.mark.parametrize("options", [{"url": "mail:25"}, {"url": "smtp://h", "username": "a"}])
def test_wrong_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        probe_of("smtp", options)
