"""The webhook message, as the interface page promises it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest

from tests.real.servers.providers import RESET, WEBHOOK_SECRET, Fault, WebhookReceiver
from tests.samples import MESSAGES, OPENED, make_notification
from wcr_watchd.channels.webhook import Webhook, signature
from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.model import Message, Notification, Recipient
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime.dispatcher import hand_over


@pytest.fixture
async def shared() -> AsyncIterator[SharedHelpers]:
    helpers = SharedHelpers()
    yield helpers
    await helpers.close()


def channel(server: WebhookReceiver, **changes: Any) -> Webhook:
    return Webhook.model_validate({"url": server.url, "secret": WEBHOOK_SECRET} | changes)


def owed(message: Message | None = None, **changes: Any) -> Notification:
    return make_notification(Recipient("hook"), message, **changes)


async def test_the_document_has_the_promised_fields(webhook_receiver: WebhookReceiver, shared: SharedHelpers) -> None:
    receipt = await hand_over(channel(webhook_receiver), owed(), shared)
    assert receipt.text == "HTTP 202 taken"
    document = webhook_receiver.accepted[0].fields
    assert document == {
        "version": 1,
        "event": "opened",
        "at": "2026-11-23T03:12:00.000-05:00",
        "watchd": "wcr-prod",
        "location": "nyc3",
        "incident": {
            "id": 42,
            "severity": "critical",
            "state": "open",
            "opened_at": "2026-11-23T03:12:00.000-05:00",
            "url": "https://watch.example.org/incidents/42",
        },
        "check": {
            "name": "api",
            "type": "http",
            "target": "http://localhost:5001/health",
            "tags": ["web", "core"],
            "owner": "platform",
            "runbook": "https://wiki.example.org/runbooks/api",
        },
        "summary": "HTTP 500, expected 2xx",
        "measurements": {
            "response_time": {"value": 0.213, "unit": "seconds"},
            'disk_used{mount="/"}': {"value": 0.931, "unit": "ratio"},
        },
        "contacts": ["lead"],
    }
    assert datetime.fromisoformat(document["at"]).timestamp() == OPENED


@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
async def test_every_message_is_valid_signed_json(
    webhook_receiver: WebhookReceiver, shared: SharedHelpers, message: Message
) -> None:
    await hand_over(channel(webhook_receiver), owed(message), shared)
    (accepted,) = webhook_receiver.accepted
    assert len(accepted.fields.get("items", [])) == len(message.items)


async def test_a_repeated_delivery_has_the_same_key(webhook_receiver: WebhookReceiver, shared: SharedHelpers) -> None:
    odd = owed(id="wcr prod-42-1-hook-Jürgen%")
    for _ in range(2):
        await hand_over(channel(webhook_receiver), odd, shared)
    first, second = webhook_receiver.keys
    assert first == second == "wcr%20prod-42-1-hook-J%C3%BCrgen%25"


async def test_a_wrong_secret_is_refused_for_good(webhook_receiver: WebhookReceiver, shared: SharedHelpers) -> None:
    with pytest.raises(ChannelError, match="the signature is wrong") as caught:
        await hand_over(channel(webhook_receiver, secret="other"), owed(), shared)
    assert (caught.value.permanent, caught.value.reason) == (True, "auth")


async def test_headers_can_be_added(webhook_receiver: WebhookReceiver, shared: SharedHelpers) -> None:
    await hand_over(channel(webhook_receiver, headers={"Authorization": "Bearer x"}), owed(), shared)
    assert webhook_receiver.accepted[0].headers["Authorization"] == "Bearer x"


@pytest.mark.parametrize(
    ("fault", "permanent"),
    [(Fault(404), True), (Fault(422), True), (Fault(302), True), (Fault(408), False), (Fault(425), False),
     (Fault(429), False), (Fault(500), False), (Fault(502), False), (RESET, False)],
    ids=str,
)  # fmt: skip
async def test_what_may_pass_and_what_not(
    webhook_receiver: WebhookReceiver, shared: SharedHelpers, fault: Fault, permanent: bool
) -> None:
    webhook_receiver.faults.append(fault)
    with pytest.raises(ChannelError) as caught:
        await hand_over(channel(webhook_receiver), owed(), shared)
    assert caught.value.permanent is permanent
    assert not webhook_receiver.accepted


def test_the_signature_is_the_hmac_of_the_body() -> None:
    # RFC 4231, test case 2
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert signature("Jefe", b"what do ya want for nothing?") == f"sha256={expected}"
