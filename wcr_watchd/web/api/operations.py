"""What each operation of the API takes and answers, declared beside its handler: for checking requests and for OpenAPI.

A request that does not fit is answered 422 before the handler sees it, with each field named and what would be right.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ValidationError

from wcr_watchd.web.api.forms import Answer, Body, Query
from wcr_watchd.web.api.problems import ProblemError
from wcr_watchd.web.api.requests import json_body

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; ``summary`` and ``text`` are its handler's documentation."""

    tag: str
    summary: str
    text: str
    query: type[Query] | None
    body: type[Body] | None
    answer: type[Answer] | None
    status: int
    media: str


OPERATIONS: dict[Callable[..., Any], Operation] = {}
"""By handler."""


def operation(
    tag: str,
    *,
    answer: type[Answer] | None = None,
    query: type[Query] | None = None,
    body: type[Body] | None = None,
    status: int = 200,
    media: str = JSON,
) -> Callable[[Handler], Handler]:
    """Declare a handler of the API; ``answer`` is None where it is no JSON object, but something of type ``media``."""

    def declare(handler: Handler) -> Handler:
        @wraps(handler)
        async def checked(request: web.Request) -> web.StreamResponse:
            if query is not None:
                _check(query, dict(request.query), "query")
            elif request.query:
                _check(Query, dict(request.query), "query")
            if body is not None:
                _require_json(request)
                _check(body, await json_body(request), "body")
            return await handler(request)

        summary, _, text = (handler.__doc__ or "").strip().partition("\n")
        OPERATIONS[checked] = Operation(tag, summary.rstrip("."), _dedented(text), query, body, answer, status, media)
        return checked

    return declare


def _require_json(request: web.Request) -> None:
    """A form of a foreign page cannot say that it is JSON, so this also keeps foreign pages out."""
    if request.can_read_body and request.content_type != JSON:
        raise ProblemError(415, f"the body is {request.content_type}; send JSON with Content-Type: {JSON}")


def _check(model: type[BaseModel], given: object, place: str) -> None:
    try:
        # As JSON, so that what is strict is strict by JSON's types and not by Python's.
        model.model_validate_json(json.dumps(given), strict=place == "body")
    except ValidationError as error:
        found = [
            {"field": ".".join((place, *map(str, one["loc"]))), "detail": one["msg"], "got": _short(one["input"])}
            for one in error.errors(include_url=False)
        ]
        said = "; ".join(f"{one['field']}: {one['detail']}" for one in found)
        known = ", ".join(field.alias or name for name, field in model.model_fields.items()) or "nothing"
        raise ProblemError(422, f"{said} (there may be: {known})", errors=found) from error


def _short(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def _dedented(text: str) -> str:
    return "\n".join(line.strip() for line in text.strip().splitlines())
