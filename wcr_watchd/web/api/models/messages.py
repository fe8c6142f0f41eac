"""Messages, how they were delivered, and the channels they go by."""

from __future__ import annotations

from typing import Literal

from wcr_watchd.web.api.forms import Answer
from wcr_watchd.web.api.models.common import Time


class Delivery(Answer):
    """A notification, and where it stands."""

    id: str
    incident: int
    event: str
    channel: str
    contact: str
    state: Literal["pending", "delivered", "failed", "merged", "superseded"]
    attempts: int
    created_at: Time
    delivered_at: Time | None
    last_error: str
    receipt: str


class DeadLetter(Delivery):
    """A notification that could not be delivered."""

    given_up_at: Time
    headline: str


class Deliveries(Answer):
    """Notifications, newest first."""

    deliveries: list[Delivery]


class Channel(Answer):
    """A channel as it stands; counts are since the start of the daemon."""

    name: str
    type: str
    state: Literal["critical", "warning", "new", "ok"]
    sentence: str
    sent: int
    failed: dict[str, int]
    last_success_at: Time | None
    waiting: int
    last_error: str
    limits: list[str]
    people: list[str]


class Channels(Answer):
    """Every channel, those that fail first."""

    channels: list[Channel]


class Rendered(Answer):
    """A message as it would look, part by part."""

    channel: str
    parts: dict[str, str]


class DeadLetters(Answer):
    """The dead-letter list, newest first."""

    dead_letters: list[DeadLetter]
