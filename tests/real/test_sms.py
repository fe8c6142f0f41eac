"""SMS by Twilio's API and by a generic gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

import pytest
from pydantic import ValidationError

from tests.real.servers.providers import ACCOUNT, FROM, HANG, RESET, TOKEN, Fault, SmsGateway, Twilio
from tests.samples import make_message, make_notification
from wcr_watchd.channels.sms import Sms, fill
from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.model import Recipient
from wcr_watchd.core.protocols import Receipt
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime.sending import hand_over

LEAD = Recipient("sms", "lead", "+15550101")


@pytest.fixture
async def shared() -> AsyncIterator[SharedHelpers]:
    helpers = SharedHelpers()
    yield helpers
    await helpers.close()


def by_twilio(server: Twilio, **changes: Any) -> Sms:
    settings = {"account_sid": ACCOUNT, "auth_token": TOKEN, "from": FROM, "api_url": server.base} | changes
    return Sms.model_validate({key: value for key, value in settings.items() if value is not None})


def by_gateway(server: SmsGateway, **changes: Any) -> Sms:
    settings = {
        "provider": "http",
        "url": server.base + "/send",
        "headers": {"Authorization": f"Bearer {TOKEN}"},
        "body": {"recipients": [{"msisdn": "{to}"}], "message": "{text}", "ref": "{id}", "flash": False},
    }
    return Sms.model_validate(settings | changes)


async def send(channel: Sms, shared: SharedHelpers, to: Recipient = LEAD, **changes: Any) -> Receipt:
    return await hand_over(channel, make_notification(to, make_message(**changes)), shared)


async def test_twilio_takes_it_and_its_sid_is_the_receipt(twilio: Twilio, shared: SharedHelpers) -> None:
    receipt = await send(by_twilio(twilio), shared)
    (accepted,) = twilio.accepted
    assert accepted.fields == {
        "To": "+15550101",
        "From": FROM,
        "Body": "[CRITICAL] wcr-prod: api: HTTP 500, expected 2xx. Since 03:12 EST. #42",
    }
    assert receipt.text.startswith("SM")


async def test_twilio_takes_a_messaging_service_in_place_of_a_number(twilio: Twilio, shared: SharedHelpers) -> None:
    service = "MG" + "0" * 32
    await send(by_twilio(twilio, **{"from": None, "messaging_service_sid": service}), shared)
    assert twilio.accepted[0].fields["MessagingServiceSid"] == service


async def test_text_of_any_script_arrives_as_it_is(twilio: Twilio, shared: SharedHelpers) -> None:
    await send(by_twilio(twilio), shared, summary="Ошибка & 100% + €")
    assert "Ошибка & 100% + €" in twilio.accepted[0].fields["Body"]


@pytest.mark.parametrize(
    ("to", "code"), [("0123", "21211"), ("+15550199", "21610")], ids=["not a number", "unsubscribed"]
)
async def test_a_number_that_cannot_be_reached_is_refused_for_good(
    twilio: Twilio, shared: SharedHelpers, to: str, code: str
) -> None:
    twilio.unsubscribed = frozenset({"+15550199"})
    with pytest.raises(ChannelError, match=code) as caught:
        await send(by_twilio(twilio), shared, Recipient("sms", "lead", to))
    assert (caught.value.permanent, caught.value.reason) == (True, "rejected")
    assert not twilio.accepted


async def test_wrong_credentials_are_said_to_be_that(twilio: Twilio, shared: SharedHelpers) -> None:
    with pytest.raises(ChannelError, match="20003") as caught:
        await send(by_twilio(twilio, auth_token="wrong"), shared)
    assert caught.value.reason == "auth"
    assert "wrong" not in caught.value.summary


@pytest.mark.parametrize(
    ("fault", "reason", "after"),
    [
        (Fault(429, retry_after="7", body='{"code": 20429, "message": "Too many requests"}'), "rate_limited", 7.0),
        (Fault(400, body='{"code": 14107, "message": "SMS send rate limit exceeded"}'), "rate_limited", None),
        (Fault(500, body="oops"), "server", None),
        (Fault(503, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"), "server", 0.0),
        (RESET, "connect", None),
    ],
    ids=str,
)
async def test_trouble_that_may_pass_is_told_apart(
    twilio: Twilio, shared: SharedHelpers, fault: Fault, reason: str, after: float | None
) -> None:
    twilio.faults.append(fault)
    with pytest.raises(ChannelError) as caught:
        await send(by_twilio(twilio), shared)
    assert (caught.value.permanent, caught.value.reason, caught.value.retry_after) == (False, reason, after)
    assert TOKEN not in caught.value.summary
    await send(by_twilio(twilio), shared)
    assert len(twilio.accepted) == 1


async def test_a_provider_that_hangs_is_given_up(
    twilio: Twilio, shared: SharedHelpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sms, "timeout", 0.5)
    twilio.fault = HANG
    with pytest.raises(ChannelError) as caught:
        await send(by_twilio(twilio), shared)
    assert (caught.value.permanent, caught.value.reason) == (False, "timeout")


async def test_a_gateway_gets_json_as_configured(sms_gateway: SmsGateway, shared: SharedHelpers) -> None:
    receipt = await send(by_gateway(sms_gateway), shared, summary='say "{id}" {to} \\ {text}')
    fields = sms_gateway.accepted[0].fields
    assert fields["recipients"] == [{"msisdn": "+15550101"}]
    assert 'say "{id}" {to} \\ {text}' in fields["message"]
    assert fields["ref"] == make_notification(LEAD).id
    assert fields["flash"] is False
    assert receipt.text == 'HTTP 200 {"id": 1}'


async def test_a_gateway_gets_a_form_as_configured(sms_gateway: SmsGateway, shared: SharedHelpers) -> None:
    channel = by_gateway(sms_gateway, format="form", body={"to": "{to}", "text": "{text}&x=1"})
    await send(channel, shared)
    sent = dict(parse_qsl(sms_gateway.accepted[0].raw.decode()))
    assert sent.keys() == {"to", "text"}
    assert sent["to"] == "+15550101"
    assert sent["text"].endswith("#42&x=1")


async def test_a_gateway_that_does_not_know_us_refuses_for_good(sms_gateway: SmsGateway, shared: SharedHelpers) -> None:
    with pytest.raises(ChannelError, match="who are you") as caught:
        await send(by_gateway(sms_gateway, headers={}), shared)
    assert caught.value.permanent


def test_what_is_put_into_a_placeholder_is_not_a_placeholder() -> None:
    assert fill("{text}-{to}", {"text": "{to}", "to": "1", "id": "2"}) == "{to}-1"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "needs account_sid, auth_token"),
        ({"account_sid": "AC1", "auth_token": "x"}, 'one of "from" and "messaging_service_sid"'),
        ({"provider": "http"}, "needs url, body"),
        ({"provider": "http", "url": "https://x", "body": {"t": "{text}"}, "account_sid": "AC"}, "not use account_sid"),
        ({"provider": "http", "url": "ftp://x", "body": {"t": "{text}"}}, "must be a URL"),
    ],
)
def test_incomplete_settings_say_what_is_missing(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Sms.model_validate(settings)
