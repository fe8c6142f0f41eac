"""What models have in common, and the answers that any route may give."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from wcr_watchd.web.api.forms import Answer

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""RFC 3339 in UTC, to the millisecond."""
Severity = Literal["ok", "info", "warning", "critical"]
Outcome = Literal["up", "down", "unknown"]
Object = dict[str, Any]


class ProblemAnswer(BaseModel):
    """What is wrong (RFC 9457)."""

    model_config = ConfigDict(extra="allow", defer_build=True)
    type: str
    title: str
    status: int
    detail: str
    errors: list[Object] = []
    """Field by field, where the request did not fit."""


class Done(Answer):
    """What was done, in a sentence."""

    done: str


class Document(Answer):
    """An object that is not described further."""

    model_config = ConfigDict(extra="allow", defer_build=True)


class Span(Answer):
    """From when to when."""

    start: Time
    end: Time
