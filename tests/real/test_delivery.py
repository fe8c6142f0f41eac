"""Dispatcher and channels together against providers that fail as providers do: delivered in the end, once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.real.servers.mail import MailRelay
from tests.real.servers.providers import (
    ACCOUNT,
    FROM,
    HANG,
    RESET,
    TOKEN,
    WEBHOOK_SECRET,
    Fault,
    Slack,
    Twilio,
    WebhookReceiver,
)
from tests.samples import MemoryStore, make_message, make_notification
from wcr_watchd.channels.email import Email
from wcr_watchd.channels.slack import Slack as SlackChannel
from wcr_watchd.channels.sms import Sms
from wcr_watchd.channels.webhook import Webhook
from wcr_watchd.core.model import EventKind, Notification, Recipient
from wcr_watchd.core.protocols import Batch, Channel, Store
from wcr_watchd.core.view import Counters
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime import patience
from wcr_watchd.runtime.dispatcher import Dispatcher
from wcr_watchd.store.open import from_url

LEAD = Recipient("sms", "lead", "+15550101")
MAIL = Recipient("mail", "lead", "lead@example.org")
SLACK = Recipient("slack")
HOOK = Recipient("hook")


class WallClock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become tenths, since these servers live in real time."""
    monkeypatch.setattr(patience, "FIRST_BACKOFF", 0.3)
    for channel in (Email, SlackChannel, Sms, Webhook):
        monkeypatch.setattr(channel, "timeout", 3.0)


@asynccontextmanager
async def running(store: Store | MemoryStore, **channels: Channel) -> AsyncIterator[Dispatcher]:
    shared = SharedHelpers()
    dispatcher = Dispatcher(channels, store, WallClock(), shared, Counters())  # type: ignore[arg-type]
    task = asyncio.create_task(dispatcher.run())
    yield dispatcher
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    await shared.close()


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.02)


def owed(to: Recipient, event: EventKind = EventKind.OPENED, *fallbacks: Recipient) -> Notification:
    return make_notification(to, make_message(event=event, at=time.time(), opened_at=time.time()), fallbacks=fallbacks)


async def owe(store: Store | MemoryStore, dispatcher: Dispatcher, *notifications: Notification) -> None:
    await store.commit(Batch(notifications=notifications))
    dispatcher.owe(notifications)


async def test_a_relay_that_is_down_for_a_while(mail_relay: MailRelay, mail_ca_file: Path) -> None:
    store = MemoryStore()
    settings = {"servers": [mail_relay.url], "from": "watch@example.org", "ca_file": str(mail_ca_file)}
    mail_relay.stop()
    async with running(store, mail=Email.model_validate(settings)) as dispatcher:
        await owe(store, dispatcher, owed(MAIL), owed(MAIL, EventKind.RESOLVED))
        await until(lambda: any(row.attempts >= 2 for row in store.rows.values()))
        mail_relay.start()
        await until(lambda: set(store.states().values()) == {"delivered"})
        subjects = [str(mail.message["Subject"]).partition("]")[0] for mail in mail_relay.mails]
        assert subjects == ["[CRITICAL", "[RESOLVED"]


async def test_slack_in_every_kind_of_trouble(slack: Slack) -> None:
    store = MemoryStore()
    slack.faults.extend([Fault(429, retry_after="1"), Fault(500, body="rollup_error"), HANG, RESET])
    async with running(store, slack=SlackChannel.model_validate({"webhook": slack.url})) as dispatcher:
        await owe(store, dispatcher, owed(SLACK))
        await until(lambda: set(store.states().values()) == {"delivered"})
        assert len(slack.accepted) == 1
        assert slack.requests == 5


async def test_a_critical_message_goes_out_by_the_fallback_while_its_channel_is_down(
    twilio: Twilio, mail_relay: MailRelay, mail_ca_file: Path
) -> None:
    store = MemoryStore()
    sms = Sms.model_validate({"account_sid": ACCOUNT, "auth_token": TOKEN, "from": FROM, "api_url": twilio.base})
    mail = {"servers": [mail_relay.url], "from": "watch@example.org", "ca_file": str(mail_ca_file)}
    twilio.fault = Fault(503)
    async with running(store, sms=sms, mail=Email.model_validate(mail)) as dispatcher:
        await owe(store, dispatcher, owed(LEAD, EventKind.OPENED, MAIL))
        await until(lambda: mail_relay.mails)
        assert not twilio.accepted
        assert "sent here because sms could not deliver" in mail_relay.mails[0].part("plain")
        twilio.fault = None
        await until(lambda: set(store.states().values()) == {"delivered"})
        assert (len(twilio.accepted), len(mail_relay.mails)) == (1, 1)
        assert store.rows[owed(LEAD).id].receipt.startswith("SM")


async def test_what_was_taken_without_an_answer_comes_again_under_the_same_key(
    webhook_receiver: WebhookReceiver,
) -> None:
    store = MemoryStore()
    webhook_receiver.faults.append(Fault(reset=True, after_accepting=True))
    hook = Webhook.model_validate({"url": webhook_receiver.url, "secret": WEBHOOK_SECRET})
    async with running(store, hook=hook) as dispatcher:
        await owe(store, dispatcher, owed(HOOK))
        await until(lambda: set(store.states().values()) == {"delivered"})
        first, second = webhook_receiver.keys
        assert first == second


async def test_the_real_store_keeps_fallbacks_and_digests_over_a_restart(
    twilio: Twilio, slack: Slack, tmp_path: Path
) -> None:
    """The first life makes a fallback and a digest and cannot send them; the second finds them and does."""
    url = f"sqlite:///{tmp_path}/watchd.db"
    sms = Sms.model_validate({"account_sid": ACCOUNT, "auth_token": TOKEN, "from": FROM, "api_url": twilio.base})
    channels = {"sms": sms, "slack": SlackChannel.model_validate({"webhook": slack.url})}
    twilio.unsubscribed = frozenset({LEAD.address})
    slack.fault = Fault(500)
    parts = [
        make_notification(SLACK, make_message(incident=n), id=f"part {n}", digest=True, not_before=time.time())
        for n in (1, 2)
    ]
    store = from_url(url)
    await store.open()
    async with running(store, **channels) as dispatcher:
        await owe(store, dispatcher, owed(LEAD, EventKind.OPENED, SLACK), *parts)
        await until(lambda: slack.requests >= 2)
    await store.close()
    assert not slack.accepted

    slack.fault = None
    store = from_url(url)
    await store.open()
    async with running(store, **channels) as dispatcher:
        dispatcher.resume(await store.restore())
        await until(lambda: len(slack.accepted) == 2)
    states = {row.notification.id: row.state.value for row in await store.deliveries()}
    await store.close()
    assert states == {
        owed(LEAD).id: "failed",
        f"{owed(LEAD).id}:fallback:slack": "delivered",
        "part 1": "merged",
        "part 2": "merged",
        "part 1:digest": "delivered",
    }
    assert [row.fields["blocks"][0]["type"] for row in slack.accepted] == ["header", "header"]


async def test_an_answer_that_breaks_off_after_its_status_counts(webhook_receiver: WebhookReceiver) -> None:
    """A 2xx has been said: sending again would tell people twice."""
    store = MemoryStore()
    hook = Webhook.model_validate({"url": webhook_receiver.url, "secret": WEBHOOK_SECRET})
    webhook_receiver.cut_answers = True
    async with running(store, hook=hook) as dispatcher:
        await owe(store, dispatcher, owed(HOOK))
        await until(lambda: set(store.states().values()) == {"delivered"})
        assert webhook_receiver.requests == 1
