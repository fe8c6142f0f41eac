"""Slack by an incoming webhook that enforces Block Kit's limits."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.real.servers.providers import RESET, Fault, Slack
from tests.samples import MESSAGES, OPENED, make_message, make_notification
from wcr_watchd.channels.slack import Slack as SlackChannel
from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.message import digest, redirected
from wcr_watchd.core.model import EventKind, Message, Recipient
from wcr_watchd.core.protocols import Receipt
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime.sending import hand_over


@pytest.fixture
async def shared() -> AsyncIterator[SharedHelpers]:
    helpers = SharedHelpers()
    yield helpers
    await helpers.close()


async def send(server: Slack, shared: SharedHelpers, message: Message, url: str = "") -> Receipt:
    channel = SlackChannel.model_validate({"webhook": url or server.url})
    return await hand_over(channel, make_notification(Recipient("slack"), message), shared)


@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
async def test_slack_takes_every_message(slack: Slack, shared: SharedHelpers, message: Message) -> None:
    assert (await send(slack, shared, message)).text == "ok"
    assert len(slack.accepted) == 1, slack.refused


async def test_it_shows_what_happened_and_where_to_go(slack: Slack, shared: SharedHelpers) -> None:
    await send(slack, shared, redirected(make_message(), "sms"))
    header, summary, facts, small, actions = slack.accepted[0].fields["blocks"]
    assert header["text"]["text"] == "🔴 [CRITICAL] api #42"
    assert summary["text"]["text"] == "HTTP 500, expected 2xx"
    assert {"type": "mrkdwn", "text": "*Note*\nsent here because sms could not deliver"} in facts["fields"]
    assert {"type": "mrkdwn", "text": "*Target*\nhttp://localhost:5001/health"} in facts["fields"]
    assert "Owner: platform" in small["elements"][0]["text"]
    assert actions["elements"][0]["url"] == "https://watch.example.org/incidents/42"
    assert slack.accepted[0].fields["text"].startswith("[CRITICAL] wcr-prod: api: HTTP 500, expected 2xx #42")


@pytest.mark.parametrize("secret", [None, "8f742231b10e8888abcd99yyyzzz85a5"])
@pytest.mark.parametrize("several", [False, True])
async def test_the_button_acknowledges_here_or_leads_to_where_one_can(
    slack: Slack, shared: SharedHelpers, secret: str | None, several: bool
) -> None:
    message = digest([make_message(), replace(make_message(), incident=43)], OPENED) if several else make_message()
    channel = SlackChannel.model_validate({"webhook": slack.url, **({"signing_secret": secret} if secret else {})})
    linked = replace(message, ack_url="https://watch.example.org/ack/a-ticket")
    await hand_over(channel, make_notification(Recipient("slack"), linked), shared)
    (first, *others) = slack.accepted[0].fields["blocks"][-1]["elements"]
    assert first["text"]["text"] == "Acknowledge"
    does = {key: first[key] for key in ("action_id", "value", "url") if key in first}
    if secret:
        assert does == {"action_id": "acknowledge", "value": "a-ticket"}
    else:
        assert does == {"action_id": "confirm", "url": linked.ack_url}
    assert [one["action_id"] for one in others] == ([] if several else ["open"])
    assert "*Acknowledge*" not in json.dumps(slack.accepted[0].fields["blocks"])


async def test_nothing_that_a_target_said_becomes_a_mention_or_a_link(slack: Slack, shared: SharedHelpers) -> None:
    await send(slack, shared, make_message(summary="<!channel> <https://evil.example|click> & more"))
    body = json.dumps(slack.accepted[0].fields)
    assert "<!channel>" not in body
    assert "&lt;!channel&gt; &lt;https://evil.example|click&gt; &amp; more" in body


async def test_the_end_is_green(slack: Slack, shared: SharedHelpers) -> None:
    await send(slack, shared, replace(make_message(event=EventKind.RESOLVED), at=OPENED + 60))
    assert slack.accepted[0].fields["blocks"][0]["text"]["text"] == "✅ [RESOLVED] api #42"


async def test_a_webhook_that_is_gone_is_given_up(slack: Slack, shared: SharedHelpers) -> None:
    with pytest.raises(ChannelError, match="no_service") as caught:
        await send(slack, shared, make_message(), slack.base + "/services/T0/B0/revoked")
    assert caught.value.permanent
    assert "revoked" not in caught.value.summary


async def test_an_archived_channel_is_given_up(slack: Slack, shared: SharedHelpers) -> None:
    slack.archived = True
    with pytest.raises(ChannelError, match="channel_is_archived") as caught:
        await send(slack, shared, make_message())
    assert caught.value.permanent


async def test_slack_may_ask_for_patience(slack: Slack, shared: SharedHelpers) -> None:
    slack.faults.append(Fault(429, retry_after="30", body="rate_limited"))
    with pytest.raises(ChannelError) as caught:
        await send(slack, shared, make_message())
    assert (caught.value.permanent, caught.value.reason, caught.value.retry_after) == (False, "rate_limited", 30.0)


@pytest.mark.parametrize("fault", [Fault(500, body="rollup_error"), RESET, Fault(200, body="<html>log in</html>")])
async def test_trouble_may_pass(slack: Slack, shared: SharedHelpers, fault: Fault) -> None:
    slack.faults.append(fault)
    with pytest.raises(ChannelError) as caught:
        await send(slack, shared, make_message())
    assert not caught.value.permanent
