"""Webhook: posts the message as JSON to any URL, signed so that the receiver can trust it.

Format: the section "The webhook message" of the interface, version 1.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from wcr_watchd.core.message import rfc3339
from wcr_watchd.core.model import Message, Notification
from wcr_watchd.core.protocols import Limits, Receipt
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.outbound import OutboundHttp, SecretUrl, refused

VERSION = 1


class Webhook(Options):
    """Posts every message as JSON to one URL; the receiver has taken it when it answers 2xx."""

    type: ClassVar[str] = "webhook"
    address_kind: ClassVar[str] = ""
    limits: ClassVar[Limits] = Limits()
    timeout: ClassVar[float] = 15.0
    example: ClassVar[str] = """\
[channel.tickets]
type = "webhook"
url = "https://tickets.example.org/hooks/watchd"
secret = "${file:/etc/wcr-watchd/tickets-secret}"
"""

    url: SecretUrl
    """Where to post."""
    secret: Secret | None = None
    """Key of the signature in ``X-Watchd-Signature: sha256=<hex HMAC of the body>``; without it nothing is signed."""
    headers: dict[str, Secret] = Field(default_factory=dict)
    """Headers to add, such as ``Authorization``."""

    def render(self, message: Message) -> Mapping[str, str]:
        """The JSON document."""
        return {"json": json.dumps(document(message), ensure_ascii=False, allow_nan=False)}

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: Shared) -> Receipt:
        """Post the document; a repeated delivery carries the same ``Idempotency-Key``."""
        url = self.url.get_secret_value()
        body = parts["json"].encode()
        headers = {name: value.get_secret_value() for name, value in self.headers.items()}
        headers["Idempotency-Key"] = idempotency_key(notification)
        if self.secret is not None:
            headers["X-Watchd-Signature"] = signature(self.secret.get_secret_value(), body)
        reply = await shared.get(OutboundHttp).send(url, body, content_type="application/json", headers=headers)
        if not reply.accepted:
            raise refused(url, reply, reply.text)
        return Receipt(f"HTTP {reply.status} {reply.text[:200]}".strip())


def idempotency_key(notification: Notification) -> str:
    """The notification's id as a header can carry it: percent-encoded where it is not printable ASCII."""
    return "".join(c if 33 <= ord(c) <= 126 and c != "%" else "".join(f"%{b:02X}" for b in c.encode())
                   for c in notification.id)  # fmt: skip


def signature(secret: str, body: bytes) -> str:
    """HMAC-SHA256 of the body (RFC 2104), as ``sha256=<hex>``."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def document(message: Message) -> dict[str, Any]:
    """The message as the interface's fields; ``items`` and ``note`` stand there only when there are any."""
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
        "summary": message.summary,
        "measurements": {
            name: {"value": value, "unit": unit} for name, value, unit in message.measurements if math.isfinite(value)
        },
        "contacts": list(message.contacts),
    }
    if message.note:
        found["note"] = message.note
    if message.items:
        found["items"] = [document(item) for item in message.items]
    return found
