"""Alertmanager: pushes incidents as alerts, and keeps them alive there for as long as they last here.

Format: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml (``POST /api/v2/alerts``). An alert
lives until its ``endsAt``; like Prometheus, we set that a few minutes ahead and push again well before.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.message import account, apart, headline, long_text, one_line
from wcr_watchd.core.model import EventKind, Message, Notification, Severity
from wcr_watchd.core.protocols import Limits, Receipt
from wcr_watchd.core.run import Shared
from wcr_watchd.kit.options import Duration, Options, Secret
from wcr_watchd.kit.outbound import NOTHING_TO_DO, OutboundHttp, SecretUrl, refused

PUSHES_PER_LIFE = 4
"""An alert is pushed so often in the time that it lives by one push, so that one may fail."""
AT_ONCE = 500
"""Alerts in one request."""
_LABEL = r"^[a-zA-Z_][a-zA-Z0-9_]*$"


def _long_enough(seconds: float) -> float:
    if not 60 <= seconds <= 86_400:
        raise ValueError("must be from 1m to 1d")
    return seconds


class Alertmanager(Options):
    """Pushes to one Alertmanager, or to every member of a cluster as it wants it."""

    type: ClassVar[str] = "alertmanager"
    address_kind: ClassVar[str] = ""
    limits: ClassVar[Limits] = Limits()
    timeout: ClassVar[float] = 20.0
    example: ClassVar[str] = """\
[channel.alertmanager]
type = "alertmanager"
urls = ["http://alertmanager-1:9093", "http://alertmanager-2:9093"]
labels = { team = "platform" }
"""

    urls: list[SecretUrl] = Field(min_length=1)
    """The Alertmanagers, without ``/api/v2``; all are told, and one that takes it is enough."""
    labels: dict[Annotated[str, Field(pattern=_LABEL)], str] = Field(default_factory=dict)
    """Labels to add to every alert, for the routes there."""
    expires: Annotated[Duration, AfterValidator(_long_enough)] = 300.0
    """How long an alert lives there when this daemon is gone; it is pushed again four times as often."""
    username: str = ""
    """User name (Basic)."""
    password: Secret | None = None
    """The user's password."""
    token: Secret | None = None
    """A bearer token, in place of user name and password."""

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if bool(self.username) != bool(self.password):
            raise ValueError('"username" and "password" belong together')
        if self.username and self.token:
            raise ValueError('give "token", or "username" and "password"')
        return self

    @property
    def sustain_every(self) -> float:
        """Seconds between pushes of what is still wrong."""
        return self.expires / PUSHES_PER_LIFE

    def render(self, message: Message) -> Mapping[str, str]:
        """The alerts as JSON; without an ``endsAt`` those that go on, which get theirs when they are sent."""
        found = [alert for one in apart(message) for alert in self._alerts(one)]
        return {"json": json.dumps(found, ensure_ascii=False)}

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: Shared) -> Receipt:
        """Push the alerts to all Alertmanagers; pushed again, they are the same by their labels."""
        alerts = json.loads(parts["json"])
        return await self._push(alerts, shared.get(OutboundHttp)) if alerts else Receipt(NOTHING_TO_DO)

    async def sustain(self, messages: Sequence[Message], shared: Shared) -> None:
        """Push again what was sent and is not over; raises :class:`ChannelError` when no Alertmanager takes it."""
        alerts = [self._alert(message, message.severity) for message in messages]
        for first in range(0, len(alerts), AT_ONCE):
            await self._push(alerts[first : first + AT_ONCE], shared.get(OutboundHttp))

    def _alerts(self, message: Message) -> list[dict[str, Any]]:
        """The alert, and the end of the one before: labels make an alert what it is, and the severity is one."""
        current = self._alert(message, message.severity)
        ended = rfc3339_utc(max(message.at, message.opened_at))
        if message.event is EventKind.RESOLVED:
            return [current | {"endsAt": ended}]
        if message.event in (EventKind.RAISED, EventKind.LOWERED):
            return [self._alert(message, message.previous_severity) | {"endsAt": ended}, current]
        return [current]

    def _alert(self, message: Message, severity: Severity) -> dict[str, Any]:
        labels = {
            "alertname": message.check or "wcr-watchd",
            "severity": severity.word,
            "watchd": message.watchd,
            "location": message.location,
            "subject": message.subject,
            "probe": message.probe,
            "owner": message.owner,
            "tags": ",".join(message.tags),
            "incident": str(message.incident) if message.incident else message.event.value,
            **self.labels,
        }
        annotations = {
            "summary": headline(message),
            "description": message.own_text or one_line(account(message)),
            "text": long_text(message),
            "runbook_url": message.runbook,
        }
        found: dict[str, Any] = {
            "labels": {name: value for name, value in labels.items() if value},
            "annotations": {name: value for name, value in annotations.items() if value},
            "startsAt": rfc3339_utc(message.opened_at),
        }
        return found | ({"generatorURL": message.url} if message.url else {})

    async def _push(self, alerts: Sequence[Mapping[str, Any]], http: OutboundHttp) -> Receipt:
        expiry = {"endsAt": rfc3339_utc(time.time() + self.expires)}
        complete = [expiry | dict(alert) for alert in alerts]
        urls = [f"{url.get_secret_value().rstrip('/')}/api/v2/alerts" for url in self.urls]
        results = await asyncio.gather(*(self._push_to(url, complete, http) for url in urls))
        failures = [error for error in results if error is not None]
        if len(failures) == len(urls):
            raise ChannelError(
                "; ".join(error.summary for error in failures),
                reason=failures[0].reason,
                permanent=all(error.permanent for error in failures),
                retry_after=min((error.retry_after for error in failures if error.retry_after), default=None),
            )
        failed = f"; not by: {'; '.join(error.summary for error in failures)}" if failures else ""
        return Receipt(f"taken by {len(urls) - len(failures)} of {len(urls)}{failed}")

    async def _push_to(self, url: str, alerts: Sequence[Mapping[str, Any]], http: OutboundHttp) -> ChannelError | None:
        headers = {"Authorization": f"Bearer {self.token.get_secret_value()}"} if self.token else {}
        auth = (self.username, self.password.get_secret_value()) if self.password else None
        try:
            reply = await http.send_json(url, alerts, headers=headers, auth=auth)
        except ChannelError as error:
            return error
        return None if reply.accepted else refused(url, reply, reply.text)


def rfc3339_utc(at: float) -> str:
    """A point in time as Alertmanager reads it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
