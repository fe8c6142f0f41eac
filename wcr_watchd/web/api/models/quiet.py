"""Silences and maintenance windows."""

from __future__ import annotations

from typing import Literal

from wcr_watchd.web.api.forms import Answer
from wcr_watchd.web.api.models.common import Span, Time


class Silence(Answer):
    """A silence, or maintenance that was started by hand."""

    id: str
    state: Literal["pending", "active", "expired"]
    matchers: list[str]
    starts_at: Time
    ends_at: Time
    author: str
    comment: str
    maintenance: bool


class Silences(Answer):
    """Silences; those that end first come first."""

    silences: list[Silence]


class Silenced(Answer):
    """The silence that holds now."""

    done: str
    silence: Silence


class Window(Answer):
    """A planned maintenance window."""

    name: str
    when: str
    timezone: str
    comment: str
    matchers: list[str]
    checks: list[str]
    notice: list[float]
    current: Span | None
    next: list[Span]


class Maintenance(Answer):
    """Planned windows, and what was started by hand."""

    windows: list[Window]
    started: list[Silence]
