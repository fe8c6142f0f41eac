"""Discord: posts to a channel's webhook, with an embed.

Format: https://discord.com/developers/docs/resources/webhook#execute-webhook (request, answer),
https://discord.com/developers/docs/resources/message#embed-object-embed-limits (lengths),
https://discord.com/developers/docs/topics/rate-limits (429).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

from pydantic import Field
from yarl import URL

from wcr_watchd.core.message import account, colour, facts, headline, mark, shorten
from wcr_watchd.core.model import Message, Notification
from wcr_watchd.core.protocols import Limits, Receipt
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.outbound import OutboundHttp, Reply, SecretUrl, refused

TITLE_LENGTH = 256
DESCRIPTION_LENGTH = 2000
"""Characters of the main text; Discord takes 4096, but only 6000 in the whole embed."""
FIELD_NAME_LENGTH = 256
FIELD_LENGTH = 1024
MOST_FIELDS = 25
EMBED_LENGTH = 6000
"""Characters of title, description and all fields together."""
_MARKDOWN = re.compile(r"([\\*_~`|>\[\]()#<@:-])")


class Discord(Options):
    """Posts to one Discord channel by its webhook; nobody is mentioned, whatever a target says."""

    type: ClassVar[str] = "discord"
    address_kind: ClassVar[str] = ""
    limits: ClassVar[Limits] = Limits(length=DESCRIPTION_LENGTH, rate=(5, 2.0))
    timeout: ClassVar[float] = 15.0
    example: ClassVar[str] = """\
[channel.discord]
type = "discord"
webhook = "${file:/etc/wcr-watchd/discord-webhook}"
"""

    webhook: SecretUrl
    """The webhook's URL; whoever knows it can post, so keep it in a file or credential."""
    username: str = Field(default="", max_length=80)
    """The name to post under; empty: the webhook's own."""
    thread: str = Field(default="", pattern=r"^\d*$")
    """The id of a thread in the channel to post to."""

    def render(self, message: Message) -> Mapping[str, str]:
        """The message with its embed as JSON."""
        body: dict[str, Any] = {"embeds": [embed(message)], "allowed_mentions": {"parse": []}}
        if self.username:
            body["username"] = self.username
        return {"json": json.dumps(body, ensure_ascii=False)}

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: Shared) -> Receipt:
        """Post it and wait until Discord says under which id it stands."""
        where = URL(self.webhook.get_secret_value(), encoded=True)
        url = str(where.update_query({"wait": "true"} | ({"thread_id": self.thread} if self.thread else {})))
        reply = await shared.get(OutboundHttp).send_json(url, json.loads(parts["json"]))
        if not reply.accepted:
            raise refused(url, reply, _reasons(reply), _wait(reply))
        return Receipt(f"message {reply.document().get('id', '')}".strip())


def embed(message: Message) -> dict[str, Any]:
    """The message as an embed: colour, headline, what happened, facts."""
    title = f"{mark(message)} {headline(message, TITLE_LENGTH - 2)}"
    description = shorten(_escape(account(message)), DESCRIPTION_LENGTH)
    room = EMBED_LENGTH - len(title) - len(description)
    fields = []
    for fact in facts(message)[:MOST_FIELDS]:
        name, value = shorten(fact.label, FIELD_NAME_LENGTH), shorten(_shown(fact.value), FIELD_LENGTH)
        room -= len(name) + len(value)
        if room < 0:
            break
        fields.append({"name": name, "value": value, "inline": len(value) <= 40})
    found = {
        "title": title,
        "description": description,
        "color": int(colour(message).lstrip("#"), 16),
        "timestamp": datetime.fromtimestamp(message.at, UTC).isoformat(timespec="milliseconds"),
        "fields": fields,
    }
    return found | ({"url": message.url} if message.url.startswith(("https://", "http://")) else {})


def _shown(value: str) -> str:
    """A fact's value; an address of ours stays one that can be followed."""
    return value if re.fullmatch(r"https?://[\w./:?&=%~#+-]+", value) else _escape(value)


def _escape(text: str) -> str:
    """Text in which nothing is formatted, a link or a mention."""
    return _MARKDOWN.sub(r"\\\1", text)


def _reasons(reply: Reply) -> str:
    answer = reply.document()
    code = f" (code {answer['code']})" if answer.get("code") else ""
    errors = f": {json.dumps(answer['errors'])}" if answer.get("errors") else ""
    return f"{answer['message']}{code}{errors}" if answer.get("message") else reply.text


def _wait(reply: Reply) -> float | None:
    """The seconds in ``retry_after``, which are more exact than the header's."""
    wait = reply.document().get("retry_after")
    return float(wait) if isinstance(wait, int | float) and wait >= 0 else None
