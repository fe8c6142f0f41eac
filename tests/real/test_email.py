"""Mail by real relays: TLS, login, several relays, threads, and what cannot be smuggled in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.real.servers.mail import PASSWORD, USER, MailRelay
from tests.samples import MESSAGES, OPENED, make_message, make_notification
from wcr_watchd.channels.email import Email
from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.model import EventKind, Message, Recipient
from wcr_watchd.core.protocols import Receipt
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime.sending import hand_over

LEAD = Recipient("mail", "lead", "lead@example.org")
Relays = Callable[..., MailRelay]


@pytest.fixture
async def shared() -> AsyncIterator[SharedHelpers]:
    helpers = SharedHelpers()
    yield helpers
    await helpers.close()


@pytest.fixture
def channel(mail_ca_file: Path) -> Callable[..., Email]:
    """Make a channel that uses the given relays."""

    def make(*relays: MailRelay, **changes: Any) -> Email:
        settings = {
            "servers": [relay.url for relay in relays],
            "from": "Watch <watch@example.org>",
            "ca_file": str(mail_ca_file),
        }
        return Email.model_validate(settings | changes)

    return make


Channels = Callable[..., Email]


async def send(channel: Email, shared: SharedHelpers, message: Message | None = None, **changes: Any) -> Receipt:
    return await hand_over(channel, make_notification(changes.pop("to", LEAD), message, **changes), shared)


async def test_a_mail_arrives_as_text_and_html_over_tls(
    mail_relay: MailRelay, channel: Channels, shared: SharedHelpers
) -> None:
    receipt = await send(channel(mail_relay), shared)
    (mail,) = mail_relay.mails
    assert receipt.text == f"localhost:{mail_relay.port}: queued as 1"
    assert mail.over_tls
    assert (mail.sender, mail.recipients) == ("watch@example.org", ("lead@example.org",))
    assert mail.message["From"] == "Watch <watch@example.org>"
    assert mail.message["To"] == "lead@example.org"
    assert mail.message["Subject"] == "[CRITICAL] wcr-prod: api: HTTP 500, expected 2xx #42"
    assert mail.message["Auto-Submitted"] == "auto-generated"
    assert mail.message["X-Watchd-Incident"] == "42"
    assert parsedate_to_datetime(mail.message["Date"]).timestamp() == OPENED
    assert "Runbook: https://wiki.example.org/runbooks/api" in mail.part("plain")
    html = mail.part("html")
    assert 'href="https://watch.example.org/incidents/42"' in html
    assert "HTTP 500, expected 2xx" in html


async def test_the_link_to_acknowledge_is_a_button_and_a_line(
    mail_relay: MailRelay, channel: Channels, shared: SharedHelpers
) -> None:
    url = "https://watch.example.org/ack/a-ticket"
    await send(channel(mail_relay), shared, make_message(ack_url=url))
    (mail,) = mail_relay.mails
    assert mail.part("html").count(f'<a href="{url}"') == mail.part("html").count(url) == 1
    assert f"\nAcknowledge: {url}\n" in mail.part("plain").replace("\r", "")


@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
async def test_every_message_can_be_mailed(
    mail_relay: MailRelay, channel: Channels, shared: SharedHelpers, message: Message
) -> None:
    await send(channel(mail_relay), shared, message)
    assert mail_relay.mails[0].message["Bcc"] is None
    assert not mail_relay.mails[0].message.defects


async def test_everything_about_an_incident_is_one_thread(
    mail_relay: MailRelay, channel: Channels, shared: SharedHelpers
) -> None:
    mails = channel(mail_relay)
    await send(mails, shared)
    await send(mails, shared, make_message(event=EventKind.RESOLVED, at=OPENED + 60))
    await send(mails, shared, make_message(incident=43))
    opened, resolved, other = (mail.message for mail in mail_relay.mails)
    assert opened["References"] == resolved["References"] == resolved["In-Reply-To"]
    assert opened["References"] != other["References"]
    assert len({mail["Message-ID"] for mail in (opened, resolved, other)}) == 3


async def test_the_same_notification_always_has_the_same_message_id(
    mail_relay: MailRelay, channel: Channels, shared: SharedHelpers
) -> None:
    for _ in range(2):
        await send(channel(mail_relay), shared)
    first, second = (mail.message["Message-ID"] for mail in mail_relay.mails)
    assert first == second


async def test_what_a_target_said_is_shown_and_not_obeyed(
    mail_relay: MailRelay, channel: Channels, shared: SharedHelpers
) -> None:
    said = "<script>alert(1)</script>\r\nBcc: spy@example.org\r\n\r\nhello"
    await send(channel(mail_relay), shared, make_message(summary=said, check="api\r\nX-Evil: 1"))
    (mail,) = mail_relay.mails
    assert mail.recipients == ("lead@example.org",)
    assert mail.message["Bcc"] is None
    assert mail.message["X-Evil"] is None
    assert "<script>" not in mail.part("html")
    assert "&lt;script&gt;" in mail.part("html")


@pytest.mark.parametrize("address", ["nobody", "a@b\r\nBcc: c@example.org", "", "a@b, c@d"])
async def test_a_contact_without_a_usable_address_is_named(
    mail_relay: MailRelay, channel: Channels, shared: SharedHelpers, address: str
) -> None:
    with pytest.raises(ChannelError, match="lead") as caught:
        await send(channel(mail_relay), shared, to=Recipient("mail", "lead", address))
    assert (caught.value.permanent, caught.value.reason) == (True, "config")
    assert not mail_relay.mails


async def test_login_works_over_starttls_and_over_tls(
    make_mail_relay: Relays, channel: Channels, shared: SharedHelpers
) -> None:
    for relay in (make_mail_relay(login=True), make_mail_relay(login=True, tls_first=True)):
        await send(channel(relay, username=USER, password=PASSWORD), shared)
        assert relay.mails[0].user == USER


async def test_a_wrong_password_is_said_to_be_that_and_not_shown(
    make_mail_relay: Relays, channel: Channels, shared: SharedHelpers
) -> None:
    with pytest.raises(ChannelError, match="535") as caught:
        await send(channel(make_mail_relay(login=True), username=USER, password="guess-me"), shared)
    assert (caught.value.permanent, caught.value.reason) == (True, "auth")
    assert "guess-me" not in caught.value.summary


async def test_the_next_relay_is_used_when_one_is_down(
    make_mail_relay: Relays, channel: Channels, shared: SharedHelpers
) -> None:
    first, second = make_mail_relay(), make_mail_relay()
    first.stop()
    await send(channel(first, second), shared)
    assert len(second.mails) == 1
    first.start()
    await send(channel(first, second), shared)
    assert (len(first.mails), len(second.mails)) == (1, 1)


async def test_the_next_relay_is_used_when_one_defers(
    make_mail_relay: Relays, channel: Channels, shared: SharedHelpers
) -> None:
    first, second = make_mail_relay(), make_mail_relay()
    first.data_reply = "451 come back later"
    await send(channel(first, second), shared)
    assert (len(first.mails), len(second.mails)) == (0, 1)


async def test_a_relay_that_hangs_leaves_time_for_the_next(
    make_mail_relay: Relays, channel: Channels, shared: SharedHelpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Email, "timeout", 9.0)
    first, second = make_mail_relay(), make_mail_relay()
    first.hang = True
    await send(channel(first, second), shared)
    assert len(second.mails) == 1


async def test_deferral_by_all_may_pass(make_mail_relay: Relays, channel: Channels, shared: SharedHelpers) -> None:
    relays = [make_mail_relay(), make_mail_relay()]
    for relay in relays:
        relay.rcpt_reply = "451 greylisted"
    with pytest.raises(ChannelError, match=r"451 greylisted.*; .*451 greylisted") as caught:
        await send(channel(*relays), shared)
    assert (caught.value.permanent, caught.value.reason) == (False, "server")


async def test_refusal_of_the_recipient_is_for_good(
    make_mail_relay: Relays, channel: Channels, shared: SharedHelpers
) -> None:
    down, relay = make_mail_relay(), make_mail_relay()
    down.stop()
    relay.rcpt_reply = "550 no such user"
    with pytest.raises(ChannelError, match="550 no such user") as caught:
        await send(channel(down, relay), shared)
    assert (caught.value.permanent, caught.value.reason) == (True, "rejected")


async def test_tls_is_demanded_unless_told_otherwise(
    make_mail_relay: Relays, channel: Channels, shared: SharedHelpers
) -> None:
    plain = make_mail_relay(tls=False)
    with pytest.raises(ChannelError, match="STARTTLS") as caught:
        await send(channel(plain), shared)
    assert not caught.value.permanent
    for mode in ("opportunistic", "none"):
        await send(channel(plain, tls=mode), shared)
    assert [mail.over_tls for mail in plain.mails] == [False, False]


async def test_a_certificate_that_nobody_vouches_for_is_not_trusted(
    mail_relay: MailRelay, channel: Channels, shared: SharedHelpers
) -> None:
    with pytest.raises(ChannelError, match="certificate verify failed") as caught:
        await send(channel(mail_relay, ca_file=None), shared)
    assert not caught.value.permanent
    await send(channel(mail_relay, ca_file=None, tls="opportunistic"), shared)
    assert mail_relay.mails[0].over_tls


async def test_a_mail_that_was_taken_is_delivered_whatever_follows(
    mail_relay: MailRelay, channel: Channels, shared: SharedHelpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: object, **__: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr("aiosmtplib.SMTP.quit", lambda *_, **__: asyncio.wait_for(never(), 0.2))
    await send(channel(mail_relay), shared)
    assert len(mail_relay.mails) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"servers": []}, "at least 1"),
        ({"servers": ["relay:25"]}, "must look like smtp://"),
        ({"servers": ["smtp://user:pw@relay"]}, '"username" and "password"'),
        ({"from": "nobody"}, "no mail address"),
        ({"username": "u"}, "belong together"),
        ({"username": "u", "password": "p", "tls": "none"}, "only sent over verified TLS"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Email.model_validate({"servers": ["smtp://relay"], "from": "watch@example.org"} | settings)
