"""The webhook message, as the interface page promises it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from tests.real.servers.providers import RESET, WEBHOOK_SECRET, Fault, Provider, WebhookReceiver
from tests.samples import MESSAGES, OPENED, make_message, make_notification
from wcr_watchd.channels.webhook import Webhook, signature
from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.model import Message, Notification, Recipient
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.kit.templates import Wording
from wcr_watchd.runtime.sending import hand_over


@pytest.fixture
async def shared() -> AsyncIterator[SharedHelpers]:
    helpers = SharedHelpers()
    yield helpers
    await helpers.close()


class PlainReceiver(Provider):
    """Takes anything and answers ``status``."""

    status = 200

    def take(self, request: web.Request, raw: bytes) -> tuple[dict[str, Any], web.Response]:
        fields = {"method": request.method, "type": request.content_type, "text": raw.decode()}
        return fields, web.Response(status=self.status)


@pytest.fixture
def plain_receiver() -> Iterator[PlainReceiver]:
    server = PlainReceiver()
    server.start()
    yield server
    server.stop()


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


# --- a body of the user's own -----------------------------------------------------------------------------------------

BODY = """{"title": {{ headline | tojson }}, "urgent": {{ (severity == "critical") | tojson }}}"""


@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
async def test_a_template_makes_the_body(
    webhook_receiver: WebhookReceiver, shared: SharedHelpers, message: Message
) -> None:
    await hand_over(channel(webhook_receiver, body=BODY), owed(message), shared)
    assert webhook_receiver.accepted[0].fields.keys() == {"title", "urgent"}


async def test_a_template_that_fails_after_all_gives_way_to_the_document(
    webhook_receiver: WebhookReceiver, shared: SharedHelpers
) -> None:
    body = (
        """{"check": {{ check | tojson }}{% if owner == "platform" and check == "odd" %}, {{ nothing }}{% endif %}}"""
    )
    kind = channel(webhook_receiver, body=body)
    await hand_over(kind, owed(), shared)
    await hand_over(kind, owed(make_message(check="odd")), shared)
    first, second = (accepted.fields for accepted in webhook_receiver.accepted)
    assert first == {"check": "api"}
    assert second["check"]["name"] == "odd"
    assert second["note"].startswith("the channel's \"body\" does not do: cannot be filled: 'nothing' is undefined")


async def test_method_and_content_type_are_the_users(shared: SharedHelpers, plain_receiver: PlainReceiver) -> None:
    kind = Webhook.model_validate(
        {"url": plain_receiver.base, "method": "PUT", "content_type": "text/plain; charset=utf-8", "body": "{{ tag }}"}
    )
    await hand_over(kind, owed(), shared)
    (accepted,) = plain_receiver.accepted
    assert accepted.fields == {"method": "PUT", "type": "text/plain", "text": "CRITICAL"}


@pytest.mark.parametrize(
    ("expect", "status", "taken", "permanent"),
    [([], 204, True, False), ([201], 201, True, False), ([302], 302, True, False), ([201], 200, False, False),
     ([201], 404, False, True)],
)  # fmt: skip
async def test_the_user_says_what_an_acceptance_is(
    shared: SharedHelpers,
    plain_receiver: PlainReceiver,
    expect: list[int],
    status: int,
    taken: bool,
    permanent: bool,
) -> None:
    plain_receiver.status = status
    kind = Webhook.model_validate({"url": plain_receiver.base, "expect": expect})
    if taken:
        assert (await hand_over(kind, owed(), shared)).text.startswith(f"HTTP {status}")
        return
    with pytest.raises(ChannelError, match=f"answered HTTP {status}") as caught:
        await hand_over(kind, owed(), shared)
    assert caught.value.permanent is permanent


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"body": "{{ headlin }}"}, "\"body\" cannot be filled: 'headlin' is undefined"),
        ({"body": '{"a": "{{ summary }}"}'}, "write texts as {{ summary | tojson }}"),
        ({"body": "{{"}, '"body" is no template, line 1'),
        ({"content_type": "text/plain"}, '"content_type" is for a "body" of your own'),
        ({"expect": [500]}, "less than or equal to 399"),
    ],
)
def test_wrong_options_are_found_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        Webhook.model_validate({"url": "https://example.org"} | options)


async def test_own_words_stand_beside_the_document(webhook_receiver: WebhookReceiver, shared: SharedHelpers) -> None:
    await hand_over(channel(webhook_receiver), owed(), shared, Wording("{{ tag }}", "{{ summary }}"))
    fields = webhook_receiver.accepted[0].fields
    assert (fields["subject"], fields["text"]) == ("CRITICAL", "HTTP 500, expected 2xx")


def test_the_signature_is_the_hmac_of_the_body() -> None:
    # RFC 4231, test case 2
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert signature("Jefe", b"what do ya want for nothing?") == f"sha256={expected}"
