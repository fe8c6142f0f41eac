"""Slack: posts to an incoming webhook, with Block Kit blocks.

Formats: https://api.slack.com/messaging/webhooks (answers) and https://api.slack.com/reference/block-kit (limits).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.message import Fact, account, facts, headline, long_text, mark, shorten, tag, what
from wcr_watchd.core.model import Message, Notification
from wcr_watchd.core.protocols import Limits, Receipt
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.outbound import OutboundHttp, SecretUrl, refused

FALLBACK_LENGTH = 3000
HEADER_LENGTH = 150
SECTION_LENGTH = 3000
FIELD_LENGTH = 2000
MAX_FIELDS = 10
CONTEXT_LENGTH = 2000
URL_LENGTH = 3000
CONTEXT_LABELS = frozenset({"Why you are told", "Owner", "Tags", "Watched by", "Told"})
"""Facts in the small print at the end."""


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

    def render(self, message: Message) -> Mapping[str, str]:
        """The blocks as JSON, and the plain text that notifications on a phone show."""
        text = shorten(escape(long_text(message).strip()), FALLBACK_LENGTH)
        body = {"text": text, "blocks": blocks(message)}
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


def blocks(message: Message) -> list[dict[str, Any]]:
    """The message as Block Kit: header, what happened, facts in two columns, small print, a button to the incident."""
    found: list[dict[str, Any]] = [
        {"type": "header", "text": _plain(_title(message), HEADER_LENGTH)},
        {"type": "section", "text": _markdown(account(message), SECTION_LENGTH)},
    ]
    known = facts(message)
    if message.items:
        found.append({"type": "section", "text": _markdown(_list(known), SECTION_LENGTH, escaped=True)})
        return found
    fields = [fact for fact in known if fact.label not in CONTEXT_LABELS and fact.label != "Incident"]
    if fields:
        columns = [_markdown(_bold(fact), FIELD_LENGTH, escaped=True) for fact in fields[:MAX_FIELDS]]
        found.append({"type": "section", "fields": columns})
    small = [f"{fact.label}: {fact.value}" for fact in known if fact.label in CONTEXT_LABELS]
    if small:
        found.append({"type": "context", "elements": [_markdown(" · ".join(small), CONTEXT_LENGTH)]})
    if message.url and len(message.url) <= URL_LENGTH:
        button = {"type": "button", "text": _plain(f"Incident #{message.incident}", 75), "url": message.url}
        found.append({"type": "actions", "elements": [button]})
    return found


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
