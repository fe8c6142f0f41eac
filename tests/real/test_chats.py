"""Discord, Telegram, ntfy and Microsoft Teams, each against a server that takes only what is documented."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from tests.real.servers.chats import BOT, CHAT, SIGNATURE, TOPIC, Discord, Ntfy, Teams, Telegram
from tests.real.servers.providers import RESET, TOKEN, Fault, Provider
from tests.samples import MESSAGES, make_message, make_notification
from wcr_watchd.channels.discord import Discord as DiscordChannel
from wcr_watchd.channels.ntfy import Ntfy as NtfyChannel
from wcr_watchd.channels.teams import Teams as TeamsChannel
from wcr_watchd.channels.telegram import Telegram as TelegramChannel
from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.model import EventKind, Message, Recipient, Severity
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.kit.templates import Wording
from wcr_watchd.runtime.sending import hand_over


@pytest.fixture
async def shared() -> AsyncIterator[SharedHelpers]:
    helpers = SharedHelpers()
    yield helpers
    await helpers.close()


def channel(server: Provider, **changes: Any) -> Any:
    match server:
        case Discord():
            return DiscordChannel.model_validate({"webhook": server.url} | changes)
        case Telegram():
            return TelegramChannel.model_validate({"url": server.base, "token": BOT, "chat": CHAT} | changes)
        case Ntfy():
            return NtfyChannel.model_validate({"url": server.base, "topic": TOPIC, "token": TOKEN} | changes)
        case Teams():
            return TeamsChannel.model_validate({"webhook": server.url} | changes)
    raise AssertionError(server)


async def tell(kind: Any, shared: SharedHelpers, message: Message | None = None, wording: Wording | None = None) -> str:
    return (await hand_over(kind, make_notification(Recipient("it"), message), shared, wording)).text


@pytest.fixture(params=["discord", "telegram", "ntfy", "teams"])
def chat(request: pytest.FixtureRequest) -> Provider:
    """Each provider in turn."""
    found: Provider = request.getfixturevalue(request.param)
    return found


# --- what holds for all -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
async def test_every_message_is_taken(chat: Provider, shared: SharedHelpers, message: Message) -> None:
    await tell(channel(chat), shared, message)
    assert len(chat.accepted) == 1, chat.refused


async def test_long_texts_of_the_users_own_are_taken(chat: Provider, shared: SharedHelpers) -> None:
    long = Wording(subject="😀" * 3000, text="<b>&lt; *x* 😀</b>\n" * 2000)
    await tell(channel(chat), shared, wording=long)
    assert len(chat.accepted) == 1, chat.refused


@pytest.mark.parametrize(
    ("fault", "permanent", "reason"),
    [
        (Fault(400), True, "rejected"),
        (Fault(401), True, "auth"),
        (Fault(404), True, "rejected"),
        (Fault(429, retry_after="7"), False, "rate_limited"),
        (Fault(502), False, "server"),
        (RESET, False, "connect"),
    ],
    ids=str,
)
async def test_what_may_pass_and_what_not(
    chat: Provider, shared: SharedHelpers, fault: Fault, permanent: bool, reason: str
) -> None:
    chat.faults.append(fault)
    with pytest.raises(ChannelError) as caught:
        await tell(channel(chat), shared)
    assert (caught.value.permanent, caught.value.reason) == (permanent, reason)
    assert caught.value.retry_after == (7.0 if fault.retry_after else None)
    assert "must-never-be-seen" not in caught.value.summary


# --- Discord ----------------------------------------------------------------------------------------------------------


async def test_discord_shows_what_happened(discord: Discord, shared: SharedHelpers) -> None:
    assert await tell(channel(discord, username="watchd", thread="77"), shared) == "message 998877"
    fields = discord.accepted[0].fields
    (embed,) = fields["embeds"]
    assert embed["title"] == "🔴 [CRITICAL] wcr-prod: api: HTTP 500, expected 2xx #42"
    assert embed["url"] == "https://watch.example.org/incidents/42"
    assert embed["color"] == 0xB91C1C
    assert {"name": "Owner", "value": "platform", "inline": True} in embed["fields"]
    assert {"name": "Runbook", "value": "https://wiki.example.org/runbooks/api", "inline": True} in embed["fields"]
    assert fields["username"] == "watchd"


async def test_nothing_that_a_target_said_is_formatted_or_mentions_anybody_in_discord(
    discord: Discord, shared: SharedHelpers
) -> None:
    await tell(channel(discord), shared, make_message(summary="@everyone [x](https://evil.example) **loud**"))
    fields = discord.accepted[0].fields
    assert fields["allowed_mentions"] == {"parse": []}
    expected = r"\@everyone \[x\]\(https\://evil.example\) \*\*loud\*\*"
    assert fields["embeds"][0]["description"] == expected


async def test_discord_says_in_its_answer_how_long_to_wait(discord: Discord, shared: SharedHelpers) -> None:
    said = json.dumps({"message": "You are being rate limited.", "retry_after": 0.65, "global": False})
    discord.faults.append(Fault(429, retry_after="1", body=said))
    with pytest.raises(ChannelError, match="You are being rate limited") as caught:
        await tell(channel(discord), shared)
    assert caught.value.retry_after == 0.65


async def test_a_thread_that_is_not_there_is_said_in_discords_words(discord: Discord, shared: SharedHelpers) -> None:
    with pytest.raises(ChannelError, match=r"Unknown Channel \(code 10003\)"):
        await tell(channel(discord, thread="78"), shared)


# --- Telegram ---------------------------------------------------------------------------------------------------------


async def test_telegram_shows_what_happened(telegram: Telegram, shared: SharedHelpers) -> None:
    assert await tell(channel(telegram, thread=5), shared, make_message(summary="<b>500</b> & more")) == "message 1"
    assert telegram.accepted[0].fields["message_thread_id"] == 5
    assert telegram.accepted[0].fields["disable_notification"] is False
    shown = telegram.shown[0].splitlines()
    assert shown[0] == "🔴 [CRITICAL] wcr-prod: api: <b>500</b> & more #42"
    assert shown[2] == "<b>500</b> & more"
    assert "Runbook: https://wiki.example.org/runbooks/api" in shown


@pytest.mark.parametrize(
    ("changes", "silent"),
    [
        ({"severity": Severity.INFO}, True),
        ({"event": EventKind.RESOLVED}, True),
        ({"severity": Severity.WARNING}, False),
    ],
)
async def test_what_is_not_urgent_makes_no_sound(
    telegram: Telegram, shared: SharedHelpers, changes: dict[str, Any], silent: bool
) -> None:
    await tell(channel(telegram), shared, make_message(**changes))
    assert telegram.accepted[0].fields["disable_notification"] is silent


async def test_telegram_says_in_its_answer_how_long_to_wait(telegram: Telegram, shared: SharedHelpers) -> None:
    said = {"ok": False, "error_code": 429, "description": "Too Many Requests: retry after 5"}
    telegram.faults.append(Fault(429, body=json.dumps(said | {"parameters": {"retry_after": 5}})))
    with pytest.raises(ChannelError, match="Too Many Requests") as caught:
        await tell(channel(telegram), shared)
    assert (caught.value.permanent, caught.value.retry_after) == (False, 5.0)


async def test_a_group_that_moved_says_where_to(telegram: Telegram, shared: SharedHelpers) -> None:
    telegram.migrated = True
    with pytest.raises(ChannelError, match="set chat = -100999 in the configuration") as caught:
        await tell(channel(telegram), shared)
    assert caught.value.permanent


async def test_another_bots_token_is_not_shown(telegram: Telegram, shared: SharedHelpers) -> None:
    with pytest.raises(ChannelError, match="Unauthorized") as caught:
        await tell(channel(telegram, token="99:secret-of-another"), shared)
    assert "secret-of-another" not in caught.value.summary


async def test_a_200_of_a_proxy_is_no_acceptance(telegram: Telegram, shared: SharedHelpers) -> None:
    telegram.faults.append(Fault(200, body="<html>please log in</html>"))
    with pytest.raises(ChannelError, match="is a proxy answering") as caught:
        await tell(channel(telegram), shared)
    assert not caught.value.permanent


@pytest.mark.parametrize(
    ("changes", "said"), [({"token": "abc"}, "as BotFather gives it"), ({"chat": "ops"}, "the number of a chat")]
)
def test_wrong_options_of_telegram_are_found_at_once(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TelegramChannel.model_validate({"token": BOT, "chat": CHAT} | changes)


# --- ntfy -------------------------------------------------------------------------------------------------------------


async def test_ntfy_shows_what_happened(ntfy: Ntfy, shared: SharedHelpers) -> None:
    assert await tell(channel(ntfy), shared) == "message hwQ2YpKdmg"
    fields = ntfy.accepted[0].fields
    assert fields["title"] == "[CRITICAL] wcr-prod: api: HTTP 500, expected 2xx #42"
    assert (fields["priority"], fields["tags"]) == (5, ["rotating_light"])
    assert fields["click"] == "https://watch.example.org/incidents/42"
    assert [action["label"] for action in fields["actions"]] == ["Incident", "Runbook"]
    assert fields["message"].startswith("HTTP 500, expected 2xx\nCheck: api\n")


async def test_the_end_is_no_alarm(ntfy: Ntfy, shared: SharedHelpers) -> None:
    await tell(channel(ntfy), shared, make_message(event=EventKind.RESOLVED))
    assert (ntfy.accepted[0].fields["priority"], ntfy.accepted[0].fields["tags"]) == (3, ["white_check_mark"])


async def test_ntfy_lets_a_user_in(ntfy: Ntfy, shared: SharedHelpers) -> None:
    user = NtfyChannel.model_validate({"url": ntfy.base, "topic": TOPIC, "username": "watch", "password": TOKEN})
    await tell(user, shared)
    with pytest.raises(ChannelError, match="HTTP 403: forbidden") as caught:
        await tell(channel(ntfy, token="another"), shared)
    assert caught.value.permanent


# --- Microsoft Teams --------------------------------------------------------------------------------------------------


async def test_teams_shows_what_happened(teams: Teams, shared: SharedHelpers) -> None:
    assert await tell(channel(teams), shared, make_message(summary="[click](https://evil.example)")) == "HTTP 202"
    card = teams.accepted[0].fields["attachments"][0]["content"]
    title, story, *known = card["body"]
    assert title["inlines"][0]["text"].startswith("🔴 [CRITICAL] wcr-prod: api: ")
    assert title["inlines"][0]["color"] == "Attention"
    assert story["inlines"][0] == {"type": "TextRun", "text": "[click](https://evil.example)"}
    assert "Owner: platform" in ["".join(run["text"] for run in block["inlines"]) for block in known]
    assert [button["title"] for button in card["actions"]] == ["Incident", "Runbook"]


async def test_a_workflow_that_is_gone_is_given_up(teams: Teams, shared: SharedHelpers) -> None:
    gone = teams.url.replace("0123", "4567")
    with pytest.raises(ChannelError, match="WorkflowNotFound: The workflow could not be found") as caught:
        await tell(channel(teams, webhook=gone), shared)
    assert caught.value.permanent
    assert SIGNATURE not in caught.value.summary
