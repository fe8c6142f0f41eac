"""Opsgenie: creates, acknowledges and closes one alert per incident by the Alert API.

Format: https://docs.opsgenie.com/docs/alert-api (fields, lengths, answers, requests by alias).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, PrivateAttr

from wcr_watchd.core.message import apart, facts, headline, incident_key, long_text, shorten
from wcr_watchd.core.model import EventKind, Message, Notification
from wcr_watchd.core.protocols import Limits, Receipt
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.options import Options, Secret
from wcr_watchd.kit.outbound import NOTHING_TO_DO, OutboundHttp, Progress, Url, refused

MESSAGE_LENGTH = 130
DESCRIPTION_LENGTH = 15_000
ENTITY_LENGTH = 512
NAME_LENGTH = 100
NOTE_LENGTH = 25_000
MOST_TAGS = 20
TAG_LENGTH = 50
DETAILS_LENGTH = 8000
"""Characters of all names and values of the details together."""

Priority = Literal["P1", "P2", "P3", "P4", "P5"]


class Priorities(Options):
    """Opsgenie's priority for each severity."""

    critical: Priority = "P1"
    """For critical."""
    warning: Priority = "P3"
    """For warning."""
    info: Priority = "P5"
    """For info."""


class Responder(Options):
    """Somebody in Opsgenie: a team, user, escalation or schedule by its name."""

    type: Literal["team", "user", "escalation", "schedule"]
    """What it is."""
    name: str = Field(min_length=1)
    """Its name; a user's is the mail address."""


class Opsgenie(Options):
    """Keeps one alert per incident in Opsgenie."""

    type: ClassVar[str] = "opsgenie"
    address_kind: ClassVar[str] = ""
    limits: ClassVar[Limits] = Limits(length=DESCRIPTION_LENGTH)
    timeout: ClassVar[float] = 30.0
    example: ClassVar[str] = """\
[channel.opsgenie]
type = "opsgenie"
api_key = "${credential:opsgenie_api_key}"
responders = [{ type = "team", name = "platform" }]
"""

    api_key: Secret
    """The key of an API integration."""
    url: Url = "https://api.opsgenie.com"
    """Where the API is; ``https://api.eu.opsgenie.com`` in the EU."""
    responders: list[Responder] = Field(default_factory=list, max_length=50)
    """Who is to care for it; without any, as the integration says."""
    priorities: Priorities = Field(default_factory=Priorities)
    """Opsgenie's ``P1`` to ``P5`` for each severity of ours."""
    _progress: Progress = PrivateAttr(default_factory=Progress)

    def render(self, message: Message) -> Mapping[str, str]:
        """The requests as JSON: method, path and body of each."""
        requests = [request for one in apart(message) for request in self._requests(one)]
        return {"json": json.dumps(requests, ensure_ascii=False)}

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: Shared) -> Receipt:
        """Send the requests in order; sent again, they are about the same alert by its alias."""
        headers = {"Authorization": f"GenieKey {self.api_key.get_secret_value()}"}
        receipt = NOTHING_TO_DO
        for request in self._progress.remaining(notification.id, json.loads(parts["json"])):
            url = self.url.rstrip("/") + request["path"]
            reply = await shared.get(OutboundHttp).send_json(
                url, request["body"], method=request["method"], headers=headers
            )
            answer = reply.document()
            if not reply.accepted:
                raise refused(url, reply, _reasons(answer) or reply.text)
            receipt = f"{answer.get('result', 'taken')} {answer.get('requestId', '')}".strip()
        return Receipt(receipt)

    def _requests(self, message: Message) -> list[dict[str, Any]]:
        """What to ask for: Opsgenie counts a known alias up and keeps its priority, so that is set anew."""
        alias = incident_key(message)
        about = f"/v2/alerts/{quote(alias, safe='')}"
        by = {"source": shorten(message.watchd, NAME_LENGTH)}
        if message.event in (EventKind.ACKNOWLEDGED, EventKind.RESOLVED):
            action = "acknowledge" if message.event is EventKind.ACKNOWLEDGED else "close"
            user = {"user": shorten(message.by, NAME_LENGTH)} if message.by else {}
            note = {"note": shorten(headline(message), NOTE_LENGTH)}
            return [_request("POST", f"{about}/{action}?identifierType=alias", by | user | note)]
        found = [_request("POST", "/v2/alerts", self._alert(message, alias) | by)]
        if message.event in (EventKind.RAISED, EventKind.LOWERED):
            priority = {"priority": self._priority(message)}
            found.append(_request("PUT", f"{about}/priority?identifierType=alias", priority))
        return found

    def _alert(self, message: Message, alias: str) -> dict[str, Any]:
        return {
            "message": headline(message, MESSAGE_LENGTH),
            "alias": alias,
            "description": shorten(long_text(message).strip(), DESCRIPTION_LENGTH),
            "priority": self._priority(message),
            "tags": [tag[:TAG_LENGTH] for tag in message.tags[:MOST_TAGS]],
            "details": _details(message),
            **({"entity": message.check[:ENTITY_LENGTH]} if message.check else {}),
            **({"responders": [dict(one) for one in self.responders]} if self.responders else {}),
        }

    def _priority(self, message: Message) -> str:
        words: dict[str, str] = {"ok": "P5", **dict(self.priorities)}
        return words[message.severity.word]


def _request(method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"method": method, "path": path, "body": body}


def _details(message: Message) -> dict[str, str]:
    """The facts, as many as there is room for."""
    room = DETAILS_LENGTH
    found = {}
    for fact in facts(message):
        room -= len(fact.label) + len(fact.value)
        if room < 0:
            break
        found[fact.label] = fact.value
    return found


def _reasons(answer: Mapping[str, Any]) -> str:
    """Opsgenie's own words for what is wrong."""
    errors = answer.get("errors")
    listed = "; ".join(f"{name}: {said}" for name, said in errors.items()) if isinstance(errors, dict) else ""
    return ": ".join(filter(None, (str(answer.get("message", "")), listed)))
