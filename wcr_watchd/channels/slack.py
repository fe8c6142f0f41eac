"""Slack: posts to an incoming webhook, with Block Kit blocks.

Formats: https://api.slack.com/messaging/webhooks (answers) and https://api.slack.com/reference/block-kit (limits).
"""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.message import Fact, account, facts, headline, long_text, mark, one_line, shorten, tag, what
from wcr_watchd.core.model import Message, Notification
from wcr_watchd.core.protocols import Answer, Asked, Call, Limits, Receipt
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.outbound import OutboundHttp, SecretUrl, refused, where

FALLBACK_LENGTH = 3000
HEADER_LENGTH = 150
SECTION_LENGTH = 3000
FIELD_LENGTH = 2000
MAX_FIELDS = 10
CONTEXT_LENGTH = 2000
URL_LENGTH = 3000
CONTEXT_LABELS = frozenset({"Why you are told", "Owner", "Tags", "Watched by", "Told"})
"""Facts in the small print at the end."""
BUTTON_LABELS = frozenset({"Acknowledge", "Incident"})
"""Facts that are buttons here."""
ACKNOWLEDGE = "acknowledge"
THROUGH = "Slack"
OLDEST_REQUEST = 300.0
"""Seconds after which a signed request may be somebody's copy of it."""
REPLY_WITHIN = 2.0
"""Seconds for the answer to whoever pressed a button; Slack itself wants ours within three."""


class Slack(Options):
    """Posts to one Slack channel by its incoming webhook."""

    type: ClassVar[str] = "slack"
    address_kind: ClassVar[str] = ""
    limits: ClassVar[Limits] = Limits(length=SECTION_LENGTH, rate=(1, 1.0))
    timeout: ClassVar[float] = 15.0
    example: ClassVar[str] = """\
[channel.slack]
type = "slack"
webhook = "${file:/etc/wcr-watchd/slack-webhook}"
"""

    webhook: SecretUrl
    """The incoming webhook's URL; whoever knows it can post, so keep it in a file or credential."""
    signing_secret: Secret | None = None
    """The app's signing secret: with it, Slack's requests to ``/answer/<name of the channel>`` are obeyed."""

    def render(self, message: Message) -> Mapping[str, str]:
        """The blocks as JSON, and the plain text that notifications on a phone show."""
        text = shorten(escape(long_text(message).strip()), FALLBACK_LENGTH)
        body = {"text": text, "blocks": blocks(message, answers=self.signing_secret is not None)}
        return {"text": text, "json": json.dumps(body, ensure_ascii=False)}

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: Shared) -> Receipt:
        """Post the blocks; Slack has taken them when it answers 200 and ``ok``."""
        url = self.webhook.get_secret_value()
        body = parts["json"].encode()
        reply = await shared.get(OutboundHttp).send(url, body, content_type="application/json; charset=utf-8")
        if not reply.accepted:
            raise refused(url, reply, reply.text)
        if reply.complete and reply.text != "ok":
            raise ChannelError(
                f"Slack answered HTTP {reply.status} with {reply.text[:100]!r} instead of 'ok'; "
                "is the webhook's URL right, or is a proxy answering?",
                reason="server",
                permanent=False,
            )
        return Receipt("ok")

    def asked(self, call: Call) -> Asked | None:
        """What a button or ``/watchd`` asks for; None for a request that Slack did not sign within five minutes.

        https://docs.slack.dev/authentication/verifying-requests-from-slack
        """
        if self.signing_secret is None or not _is_signed(call, self.signing_secret.get_secret_value()):
            return None
        try:
            form = dict(parse_qsl(call.body.decode(), keep_blank_values=True))
            return _pressed(json.loads(form["payload"])) if "payload" in form else _typed(form)
        except (ValueError, KeyError, TypeError, AttributeError):
            return Asked(THROUGH)

    async def answer(self, asked: Asked, sentence: str, shared: Shared) -> Answer:
        """Tell only who asked; after a button at the address that Slack gave for it."""
        if not sentence:
            return Answer()
        document = {"response_type": "ephemeral", "text": escape(sentence)}
        if not asked.ticket:
            return Answer(json.dumps(document, ensure_ascii=False), "application/json")
        # Slack signed that address, but nothing of ours needs to be asked of any host but Slack's own.
        if where(asked.reply_to) == where(self.webhook.get_secret_value()):
            with suppress(ChannelError, TimeoutError):
                async with asyncio.timeout(REPLY_WITHIN):
                    await shared.get(OutboundHttp).send_json(asked.reply_to, {**document, "replace_original": False})
        return Answer()


def _is_signed(call: Call, secret: str) -> bool:
    stamp, given = (call.headers.get(f"x-slack-{name}", "") for name in ("request-timestamp", "signature"))
    if not re.fullmatch(r"\d{1,12}", stamp, re.ASCII) or abs(call.at - int(stamp)) > OLDEST_REQUEST:
        return False
    signed = hmac.digest(secret.encode(), b"v0:" + stamp.encode() + b":" + call.body, "sha256")
    return hmac.compare_digest(given.encode("utf-8", "replace"), f"v0={signed.hex()}".encode())


def _pressed(payload: Any) -> Asked:
    """A button of a message (``block_actions``); only one of them asks us for something, the others are links."""
    values = [action["value"] for action in payload["actions"] if action.get("action_id") == ACKNOWLEDGE]
    if payload["type"] != "block_actions" or not values:
        return Asked(THROUGH)
    user, reply_to = payload["user"], str(payload.get("response_url", ""))
    return Asked(THROUGH, _person(user.get("username") or user["name"]), ticket=str(values[0]), reply_to=reply_to)


def _typed(form: Mapping[str, str]) -> Asked:
    """A slash command: what stands behind it."""
    return Asked(THROUGH, _person(form["user_name"]), text=form.get("text", "").strip() or "help")


def _person(name: str) -> str:
    return shorten(one_line(name), 80) or "somebody"


def blocks(message: Message, *, answers: bool = False) -> list[dict[str, Any]]:
    """The message as Block Kit: header, what happened, facts in two columns, small print, buttons.

    With ``answers``, Slack passes a press of the button on to us; else the button is a link.
    """
    found: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(_title(message), HEADER_LENGTH)},
        {"type": "section", "text": _markdown(account(message), SECTION_LENGTH)},
    ]
    known = facts(message)
    buttons = _buttons(message, answers=answers)
    if message.items:
        listed = tuple(fact for fact in known if fact.label not in BUTTON_LABELS)
        found.append({"type": "section", "text": _markdown(_list(listed), SECTION_LENGTH, escaped=True)})
        return found + buttons
    fields = [fact for fact in known if fact.label not in CONTEXT_LABELS | BUTTON_LABELS]
    if fields:
        columns = [_markdown(_bold(fact), FIELD_LENGTH, escaped=True) for fact in fields[:MAX_FIELDS]]
        found.append({"type": "section", "fields": columns})
    small = [f"{fact.label}: {fact.value}" for fact in known if fact.label in CONTEXT_LABELS]
    if small:
        found.append({"type": "context", "elements": [_markdown(" · ".join(small), CONTEXT_LENGTH)]})
    return found + buttons


def _buttons(message: Message, *, answers: bool) -> list[dict[str, Any]]:
    found = []
    if message.ack_url and answers:
        ticket = message.ack_url.rpartition("/")[2]
        found.append({**_button("Acknowledge"), "action_id": ACKNOWLEDGE, "value": ticket, "style": "primary"})
    elif message.ack_url and len(message.ack_url) <= URL_LENGTH:
        found.append({**_button("Acknowledge"), "action_id": "confirm", "url": message.ack_url})
    if message.url and len(message.url) <= URL_LENGTH:
        found.append({**_button(f"Incident #{message.incident}"), "action_id": "open", "url": message.url})
    return [{"type": "actions", "elements": found}] if found else []


def _button(text: str) -> dict[str, Any]:
    return {"type": "button", "text": _plain(text, 75)}


def _title(message: Message) -> str:
    number = f" #{message.incident}" if message.incident else ""
    about = what(message) or message.watchd
    if message.own_subject:
        return f"{mark(message)} {headline(message, HEADER_LENGTH - 2)}"
    fixed = f"{mark(message)} [{tag(message)}] "
    return fixed + shorten(about, HEADER_LENGTH - len(fixed) - len(number)) + number


def _list(known: tuple[Fact, ...]) -> str:
    return "\n".join(f"• *{escape(fact.label)}* {escape(fact.value)}" for fact in known)


def _bold(fact: Fact) -> str:
    return f"*{escape(fact.label)}*\n{escape(fact.value)}"


def _plain(text: str, length: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": shorten(text, length), "emoji": False}


def _markdown(text: str, length: int, *, escaped: bool = False) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": shorten(text if escaped else escape(text), length)}


def escape(text: str) -> str:
    """Text as Slack wants it in ``mrkdwn``: so that nothing in it is a link, a mention or a channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
