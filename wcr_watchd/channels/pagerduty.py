"""PagerDuty: triggers, acknowledges and resolves one alert per incident by the Events API v2.

Format: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/ (fields, lengths, answers).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, PrivateAttr, SecretStr

from wcr_watchd.core.message import apart, facts, headline, incident_key, links, rfc3339, shorten, what
from wcr_watchd.core.model import EventKind, Message, Notification
from wcr_watchd.core.protocols import Limits, Receipt
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.outbound import NOTHING_TO_DO, OutboundHttp, Progress, Reply, Url, refused

KEY_LENGTH = 32
SUMMARY_LENGTH = 1024
DETAIL_LENGTH = 4000
"""Characters of one of the custom details; an event may have 512 KB in all."""

Word = Literal["critical", "error", "warning", "info"]


def _check_key(key: SecretStr) -> SecretStr:
    length = len(key.get_secret_value())
    if length != KEY_LENGTH:
        raise ValueError(f"must be the {KEY_LENGTH} characters of an Events API v2 integration; it has {length}")
    return key


class Severities(Options):
    """PagerDuty's word for each severity."""

    critical: Word = "critical"
    """For critical."""
    warning: Word = "warning"
    """For warning."""
    info: Word = "info"
    """For info."""


class PagerDuty(Options):
    """Keeps one alert per incident in a PagerDuty service."""

    type: ClassVar[str] = "pagerduty"
    address_kind: ClassVar[str] = ""
    limits: ClassVar[Limits] = Limits(length=SUMMARY_LENGTH, rate=(120, 60.0))
    timeout: ClassVar[float] = 30.0
    example: ClassVar[str] = """\
[channel.pager]
type = "pagerduty"
routing_key = "${credential:pagerduty_routing_key}"
"""

    routing_key: Annotated[SecretStr, AfterValidator(_check_key)]
    """The integration key of a service's Events API v2 integration, or of a global event orchestration."""
    url: Url = "https://events.pagerduty.com"
    """Where the Events API is; ``https://events.eu.pagerduty.com`` in the EU."""
    severities: Severities = Field(default_factory=Severities)
    """PagerDuty's ``critical``, ``error``, ``warning`` or ``info`` for each severity of ours."""
    _progress: Progress = PrivateAttr(default_factory=Progress)

    def render(self, message: Message) -> Mapping[str, str]:
        """The events as JSON, without the key: one, or one for each message of a digest."""
        return {"json": json.dumps([self._event(one) for one in apart(message)], ensure_ascii=False)}

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: Shared) -> Receipt:
        """Send the events in order; sent again, they are known by their ``dedup_key``."""
        url = f"{self.url.rstrip('/')}/v2/enqueue"
        receipts = []
        for event in self._progress.remaining(notification.id, json.loads(parts["json"])):
            keyed = {"routing_key": self.routing_key.get_secret_value(), **event}
            reply = await shared.get(OutboundHttp).send_json(url, keyed)
            if not reply.accepted:
                raise refused(url, reply, _reasons(reply))
            receipts.append(f"{reply.document().get('status', 'taken')} {event['dedup_key']}")
        if len(receipts) > 1:
            return Receipt(f"{len(receipts)} events; the last: {receipts[-1]}")
        return Receipt(receipts[0] if receipts else NOTHING_TO_DO)

    def _event(self, message: Message) -> dict[str, Any]:
        key = incident_key(message)
        if message.event in (EventKind.ACKNOWLEDGED, EventKind.RESOLVED):
            action = "acknowledge" if message.event is EventKind.ACKNOWLEDGED else "resolve"
            return {"event_action": action, "dedup_key": key}
        return {
            "event_action": "trigger",
            "dedup_key": key,
            "payload": self._payload(message),
            "links": [{"href": link.value, "text": link.label} for link in links(message)],
            "client": shorten(f"wcr-watchd {message.watchd}", SUMMARY_LENGTH),
            **({"client_url": message.url} if message.url else {}),
        }

    def _payload(self, message: Message) -> dict[str, Any]:
        words = {"ok": "info", **dict(self.severities)}
        known = {
            "component": what(message),
            "class": message.probe,
            "group": ", ".join(message.tags)[:SUMMARY_LENGTH],
        }
        details = {fact.label: shorten(fact.value, DETAIL_LENGTH) for fact in facts(message)[:100]}
        if message.own_text:
            details["Text"] = shorten(message.own_text, DETAIL_LENGTH)
        return {
            "summary": headline(message, SUMMARY_LENGTH),
            "source": message.target or message.watchd,
            "severity": words[message.severity.word],
            "timestamp": rfc3339(message.at, message.timezone),
            **{name: value for name, value in known.items() if value},
            "custom_details": details,
        }


def _reasons(reply: Reply) -> str:
    """PagerDuty's own words for what is wrong."""
    answer = reply.document()
    errors = answer.get("errors")
    listed = "; ".join(map(str, errors)) if isinstance(errors, list) else ""
    return ": ".join(filter(None, (str(answer.get("message", "")), listed))) or reply.text
