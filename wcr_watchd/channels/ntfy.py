"""ntfy: publishes to a topic, on ntfy.sh or a server of your own.

Format: https://docs.ntfy.sh/publish/#publish-as-json (fields), /publish/#limitations (lengths).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, SecretStr, model_validator

from wcr_watchd.core.message import account, facts, headline, links
from wcr_watchd.core.model import EventKind, Message, Notification, Severity
from wcr_watchd.core.protocols import Limits, Receipt
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.outbound import OutboundHttp, Url, refused

TITLE_LENGTH = 200
MESSAGE_BYTES = 4000
"""ntfy turns what is longer than 4096 bytes into an attachment."""
_PICTURES = {Severity.CRITICAL: "rotating_light", Severity.WARNING: "warning", Severity.INFO: "information_source"}
_PRIORITIES = {Severity.CRITICAL: 5, Severity.WARNING: 4, Severity.INFO: 3, Severity.OK: 3}
_CALM = {EventKind.RESOLVED: "white_check_mark", EventKind.ACKNOWLEDGED: "eyes", EventKind.DRILL: "test_tube"}


def _check_topic(topic: SecretStr) -> SecretStr:
    name = topic.get_secret_value()
    if not 1 <= len(name) <= 64 or not name.replace("-", "").replace("_", "").isalnum() or not name.isascii():
        raise ValueError("must be 1 to 64 letters, digits, dashes and underscores")
    return topic


class Ntfy(Options):
    """Publishes to one topic."""

    type: ClassVar[str] = "ntfy"
    address_kind: ClassVar[str] = ""
    limits: ClassVar[Limits] = Limits(length=MESSAGE_BYTES, rate=(60, 300.0))
    timeout: ClassVar[float] = 15.0
    example: ClassVar[str] = """\
[channel.phones]
type = "ntfy"
url = "https://ntfy.example.org"
topic = "${credential:ntfy_topic}"
token = "${credential:ntfy_token}"
"""

    url: Url = "https://ntfy.sh"
    """The server, without the topic."""
    topic: Annotated[SecretStr, AfterValidator(_check_topic)]
    """The topic; where topics are open to all, whoever knows it can read and write."""
    token: Secret | None = None
    """An access token."""
    username: str = ""
    """A user name, in place of the token."""
    password: Secret | None = None
    """The user's password."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if bool(self.username) != bool(self.password):
            raise ValueError('"username" and "password" belong together')
        if self.username and self.token:
            raise ValueError('give "token", or "username" and "password"')
        return self

    def render(self, message: Message) -> Mapping[str, str]:
        """The message as JSON, without the topic."""
        picture = _CALM.get(message.event) or _PICTURES.get(message.severity)
        priority = 3 if message.event in _CALM else _PRIORITIES[message.severity]
        lines = [account(message), *(f"{fact.label}: {fact.value}" for fact in facts(message))]
        body: dict[str, Any] = {
            "title": headline(message, TITLE_LENGTH),
            "message": _cut("\n".join(lines)),
            "priority": priority,
            "tags": [picture] if picture else [],
        }
        actions = [{"action": "view", "label": link.label, "url": link.value} for link in links(message)]
        if actions:
            body |= {"click": actions[0]["url"], "actions": actions}
        return {"json": json.dumps(body, ensure_ascii=False)}

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: Shared) -> Receipt:
        """Publish it."""
        body = {"topic": self.topic.get_secret_value(), **json.loads(parts["json"])}
        headers = {"Authorization": f"Bearer {self.token.get_secret_value()}"} if self.token else {}
        auth = (self.username, self.password.get_secret_value()) if self.password else None
        url = f"{self.url.rstrip('/')}/"
        reply = await shared.get(OutboundHttp).send_json(url, body, headers=headers, auth=auth)
        answer = reply.document()
        if not reply.accepted:
            raise refused(url, reply, str(answer.get("error") or reply.text))
        return Receipt(f"message {answer.get('id', '')}".strip())


def _cut(text: str) -> str:
    """The text in at most MESSAGE_BYTES bytes of UTF-8."""
    found = text.encode("utf-8", "replace")[:MESSAGE_BYTES]
    return found.decode("utf-8", "ignore")
