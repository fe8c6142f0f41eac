"""Reports."""

from __future__ import annotations

from typing import Literal

from wcr_watchd.web.api.forms import Answer
from wcr_watchd.web.api.models.common import Time


class Report(Answer):
    """A report without its contents."""

    number: int
    name: str
    kind: Literal["weekly", "monthly", "drill", "incident"]
    audience: Literal["team", "stakeholders"]
    scheduled: bool
    title: str
    summary: str
    made_at: Time
    since: Time
    until: Time
    forms: list[str]


class Reports(Answer):
    """The reports that are kept, newest first."""

    reports: list[Report]
