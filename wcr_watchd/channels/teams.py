"""Microsoft Teams: posts an Adaptive Card by a workflow ("When a Teams webhook request is received").

Format: https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
(envelope, size), https://adaptivecards.io/explorer/ (elements; 1.4 is what Teams shows everywhere).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from wcr_watchd.core.message import Fact, account, facts, headline, links, mark, shorten
from wcr_watchd.core.model import EventKind, Message, Notification, Severity
from wcr_watchd.core.protocols import Limits, Receipt
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.outbound import OutboundHttp, SecretUrl, refused

LARGEST = 28 * 1024
"""Bytes of a whole message."""
TEXT_LENGTH = 4000
FACT_LENGTH = 1000
_COLOURS = {
    Severity.CRITICAL: "Attention",
    Severity.WARNING: "Warning",
    Severity.INFO: "Accent",
    Severity.OK: "Good",
}


class Teams(Options):
    """Posts to the channel or chat that one workflow serves."""

    type: ClassVar[str] = "teams"
    address_kind: ClassVar[str] = ""
    limits: ClassVar[Limits] = Limits(length=TEXT_LENGTH, rate=(4, 1.0))
    timeout: ClassVar[float] = 20.0
    example: ClassVar[str] = """\
[channel.teams]
type = "teams"
webhook = "${file:/etc/wcr-watchd/teams-webhook}"
"""

    webhook: SecretUrl
    """The workflow's URL; whoever knows it can post, so keep it in a file or credential."""

    def render(self, message: Message) -> Mapping[str, str]:
        """The card as JSON; when it is too large, facts are left out, the last first."""
        known = list(facts(message))
        while True:
            card = {"contentType": "application/vnd.microsoft.card.adaptive", "content": _card(message, known)}
            body = json.dumps({"type": "message", "attachments": [card]}, ensure_ascii=False)
            if not known or len(body.encode("utf-8", "replace")) <= LARGEST:
                return {"json": body}
            known = known[: len(known) * 3 // 4]

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: Shared) -> Receipt:
        """Post the card; the workflow has taken it when it answers 2xx."""
        url = self.webhook.get_secret_value()
        reply = await shared.get(OutboundHttp).send_json(url, json.loads(parts["json"]))
        if not reply.accepted:
            error = reply.document().get("error")
            said = f"{error.get('code')}: {error.get('message')}" if isinstance(error, dict) else reply.text
            raise refused(url, reply, said)
        return Receipt(f"HTTP {reply.status}")


def _card(message: Message, known: Sequence[Fact]) -> dict[str, Any]:
    """The Adaptive Card: headline, text, facts and buttons. Text runs know no Markdown: nothing in them is a link."""
    over = message.event in (EventKind.RESOLVED, EventKind.ACKNOWLEDGED)
    title = {
        "type": "TextRun",
        "text": f"{mark(message)} {headline(message)}",
        "weight": "Bolder",
        "size": "Medium",
        "color": _COLOURS[Severity.OK if over else message.severity],
    }
    story = {"type": "TextRun", "text": shorten(account(message), TEXT_LENGTH)}
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msteams": {"width": "Full"},
        "body": [_block(title), _block(story), *(_block(*_runs(fact)) for fact in known)],
    }
    buttons = [{"type": "Action.OpenUrl", "title": link.label, "url": link.value} for link in links(message)]
    return card | ({"actions": buttons} if buttons else {})


def _block(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": list(runs)}


def _runs(fact: Fact) -> tuple[dict[str, Any], dict[str, Any]]:
    label = {"type": "TextRun", "text": f"{fact.label}: ", "weight": "Bolder"}
    return label, {"type": "TextRun", "text": shorten(fact.value, FACT_LENGTH)}
