"""Webhook: sends the message to any URL, as JSON of its own or in the form that a template gives it, signed if wanted.

Format: the section "The webhook message" of the interface, version 1.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.message import marked, rfc3339
from wcr_watchd.core.model import Message, Notification
from wcr_watchd.core.protocols import Limits, Receipt
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.outbound import OutboundHttp, SecretUrl, refused, where
from wcr_watchd.kit.templates import fill, noted, tried

VERSION = 1


class Webhook(Options):
    """Sends every message to one URL; the receiver has taken it when it answers 2xx, or as ``expect`` says."""

    type: ClassVar[str] = "webhook"
    address_kind: ClassVar[str] = ""
    limits: ClassVar[Limits] = Limits(single=True)
    timeout: ClassVar[float] = 15.0
    example: ClassVar[str] = """\
[channel.tickets]
type = "webhook"
url = "https://tickets.example.org/hooks/watchd"
secret = "${file:/etc/wcr-watchd/tickets-secret}"
"""

    url: SecretUrl
    """Where to send it."""
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    """The request's method."""
    body: str = ""
    """A template (Jinja2) for the request's body; empty: the document of the interface. See docs/channels.md."""
    content_type: str = Field(default="application/json", pattern=r"^[\w.+-]+/[\w.+-]+(; ?[\w-]+=[\w.-]+)*$")
    """What ``body`` is; of JSON it is checked that it is."""
    expect: list[Annotated[int, Field(ge=200, le=399)]] = Field(default_factory=list)
    """The statuses that mean that it was taken; empty: any 2xx."""
    secret: Secret | None = None
    """Key of the signature in ``X-Watchd-Signature: sha256=<hex HMAC of the body>``; without it nothing is signed."""
    headers: dict[str, Secret] = Field(default_factory=dict)
    """Headers to add, such as ``Authorization``."""

    @model_validator(mode="after")
    def _filled(self) -> Self:
        """Try the template, so that a wrong one is found when the configuration is read."""
        if self.body:
            try:
                tried(self.body, json.loads if _is_json(self.content_type) else None)
            except json.JSONDecodeError as error:
                said = f'"body" does not make JSON ({error}): write texts as {{{{ summary | tojson }}}}'
                raise ValueError(said) from error
            except ValueError as error:
                raise ValueError(f'"body" {error}') from error
        elif "content_type" in self.model_fields_set:
            raise ValueError('"content_type" is for a "body" of your own; without one it is JSON')
        return self

    def render(self, message: Message) -> Mapping[str, str]:
        """The body: what the template makes, or the JSON document."""
        if self.body:
            try:
                made = fill(self.body, message)
                if _is_json(self.content_type):
                    json.loads(made)
            except ValueError as error:
                message = noted(message, f'the channel\'s "body" does not do: {error}')
            else:
                return {"body": made, "content_type": self.content_type}
        made = json.dumps(document(message), ensure_ascii=False, allow_nan=False)
        return {"body": made, "content_type": "application/json"}

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: Shared) -> Receipt:
        """Send the body; a repeated delivery carries the same ``Idempotency-Key``."""
        url = self.url.get_secret_value()
        body = parts["body"].encode("utf-8", "replace")
        headers = {name: value.get_secret_value() for name, value in self.headers.items()}
        headers["Idempotency-Key"] = idempotency_key(notification)
        if self.secret is not None:
            headers["X-Watchd-Signature"] = signature(self.secret.get_secret_value(), body)
        reply = await shared.get(OutboundHttp).send(
            url, body, content_type=parts["content_type"], method=self.method, headers=headers
        )
        if self.expect and reply.accepted and reply.status not in self.expect:
            wanted = " or ".join(map(str, self.expect))
            said = f"{where(url)} answered HTTP {reply.status}, expected {wanted}: {reply.text[:300]}"
            raise ChannelError(said, reason="rejected", permanent=False)
        if reply.status not in self.expect and not reply.accepted:
            raise refused(url, reply, reply.text)
        return Receipt(f"HTTP {reply.status} {reply.text[:200]}".strip())


def _is_json(content_type: str) -> bool:
    name = content_type.partition(";")[0].strip().lower()
    return name == "application/json" or name.endswith("+json")


def idempotency_key(notification: Notification) -> str:
    """The notification's id as a header can carry it: percent-encoded where it is not printable ASCII."""
    return "".join(c if 33 <= ord(c) <= 126 and c != "%" else "".join(f"%{b:02X}" for b in c.encode())
                   for c in notification.id)  # fmt: skip


def signature(secret: str, body: bytes) -> str:
    """HMAC-SHA256 of the body (RFC 2104), as ``sha256=<hex>``."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def document(message: Message) -> dict[str, Any]:
    """The message as the interface's fields; ``items``, ``note`` and own words only when there are any."""
    found: dict[str, Any] = {
        "version": VERSION,
        "event": message.event.value,
        "at": rfc3339(message.at, message.timezone),
        "watchd": message.watchd,
        "location": message.location,
        "incident": {
            "id": message.incident,
            "severity": message.severity.word,
            "state": message.state.value,
            "opened_at": rfc3339(message.opened_at, message.timezone),
            "url": message.url,
        },
        "check": {
            "name": message.check,
            "type": message.probe,
            "target": message.target,
            "tags": list(message.tags),
            "owner": message.owner,
            "runbook": message.runbook,
        },
        "summary": marked(message.summary, message),
        "measurements": {
            name: {"value": value, "unit": unit} for name, value, unit in message.measurements if math.isfinite(value)
        },
        "contacts": list(message.contacts),
    }
    if message.own_subject:
        found["subject"] = message.own_subject
    if message.own_text:
        found["text"] = message.own_text
    if message.note:
        found["note"] = message.note
    if message.items:
        found["items"] = [document(item) for item in message.items]
    return found
