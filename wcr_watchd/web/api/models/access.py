"""Signing in, and the audit log."""

from __future__ import annotations

from pydantic import ConfigDict

from wcr_watchd.web.api.forms import Answer
from wcr_watchd.web.api.models.common import Time


class Link(Answer):
    """A link that signs a browser in once."""

    model_config = ConfigDict(extra="allow", defer_build=True)
    url: str


class AuditEntry(Answer):
    """Who did what."""

    model_config = ConfigDict(extra="allow", defer_build=True)
    number: int
    at: Time


class Audit(Answer):
    """The audit log, newest first."""

    entries: list[AuditEntry]
