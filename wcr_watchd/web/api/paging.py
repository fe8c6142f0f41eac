"""Lists in pieces: so many at a time, and a cursor for the next ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from aiohttp import web
from pydantic import Field

from wcr_watchd.web.api.forms import Query
from wcr_watchd.web.api.problems import ProblemError

MOST = 1_000
USUAL = 500
T = TypeVar("T")


class Paged(Query):
    """Which piece of a list."""

    limit: str | None = Field(None, description=f"So many at most, up to {MOST}; default: {USUAL}.")
    cursor: str | None = Field(None, description="Where to go on: `next` of the answer before.")


def limit_of(request: web.Request, usual: int = USUAL) -> int:
    """How many the request wants at most. Raises :class:`ProblemError` for what is no number."""
    text = request.query.get("limit")
    if text is None:
        return usual
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:10]) <= MOST:
        raise ProblemError(422, f"query.limit: {text!r} is no whole number from 1 to {MOST}")
    return int(text)


def page_of(request: web.Request, items: Sequence[T], key: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
    """The items that the request wants, and the cursor of those that follow (None: none do).

    A cursor is the key of the last item before; one that is not there any more begins anew, lest anything be missed.
    """
    cursor, limit = request.query.get("cursor"), limit_of(request)
    begin = 0
    if cursor:
        begin = next((number for number, item in enumerate(items, 1) if key(item) == cursor), 0)
    some = items[begin : begin + limit]
    return some, key(some[-1]) if some and begin + limit < len(items) else None
