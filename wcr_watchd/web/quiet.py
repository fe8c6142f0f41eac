"""Silences and maintenance as people ask for them: by API, command line and page alike."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any
from uuid import uuid4

from aiohttp import web

from wcr_watchd.core.errors import CommandError, MatcherError, UnitError
from wcr_watchd.core.matchers import any_of, is_glob, matchers_of
from wcr_watchd.core.silence import Matcher, Silence, Standing
from wcr_watchd.core.units import parse_duration
from wcr_watchd.core.view import View
from wcr_watchd.web import shapes

MAX_COMMENT = 1_000
SHORTEST_ID = 4
"""Characters of an id that name a silence where they are those of no other."""


def silences(view: View, *, all_: bool, maintenance: bool) -> list[shapes.Json]:
    """Silences, or maintenance that was started; those that end first come first."""
    now = view.now()
    found = sorted(view.state.silences.values(), key=lambda one: one.ends_at)
    return [
        shapes.silence(one, now)
        for one in found
        if one.maintenance is maintenance and (all_ or one.standing(now) is not Standing.EXPIRED)
    ]


def wanted(view: View, asked: Mapping[str, Any], by: str, *, maintenance: bool, zone: tzinfo | None = None) -> Silence:
    """The silence that a request asks for. Raises ``HTTPBadRequest`` and ``CommandError`` with what is wrong.

    A time without an offset is one of ``zone``; without a zone it is refused.
    """
    now = view.now()
    starts_at = _moment(asked["starts_at"], zone) if asked.get("starts_at") else now
    if asked.get("ends_at"):
        ends_at = _moment(asked["ends_at"], zone)
    elif asked.get("for"):
        ends_at = starts_at + length(str(asked["for"]))
    else:
        raise web.HTTPBadRequest(text='say for how long: "for": "2h"')
    comment = str(asked.get("comment") or "").strip()[:MAX_COMMENT]
    return Silence(str(uuid4()), matchers(view, asked), starts_at, ends_at, by, comment, now, maintenance)


def matchers(view: View, asked: Mapping[str, Any]) -> tuple[Matcher, ...]:
    """What a request covers by ``check``, ``tag`` and ``matchers``; raises as :func:`wanted` does."""
    checks, tags = _texts(asked.get("check")), _texts(asked.get("tag"))
    unknown = [name for name in checks if not is_glob(name) and not _is_known(view, name)]
    if unknown:
        raise CommandError(f"there is no check named {unknown[0]!r}; `wcr-watchd list` shows all")
    try:
        named = [any_of(label, given) for label, given in (("check", checks), ("tag", tags)) if given]
        return (*named, *matchers_of(_texts(asked.get("matchers"))))
    except MatcherError as error:
        raise web.HTTPBadRequest(text=f"matchers, column {error.column + 1}: {error.reason}") from error


def known_id(view: View, text: str) -> str:
    """The id of a silence that is meant by it or by its beginning. Raises ``CommandError`` when that is not clear."""
    if text in view.state.silences:
        return text
    found = [one for one in view.state.silences if one.startswith(text)] if len(text) >= SHORTEST_ID else []
    if len(found) > 1:
        raise CommandError(f"{text} is the beginning of {len(found)} ids; write more of it")
    return found[0] if found else text


def _is_known(view: View, name: str) -> bool:
    return name in view.setup.checks or name in view.state.by_check


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value] if value else []
    return [text for text in map(str, values) if text.strip()]


def length(text: str) -> float:
    """How many seconds a text such as 2h is; raises ``HTTPBadRequest`` for one that is none."""
    try:
        seconds = parse_duration(text)
    except UnitError as error:
        raise web.HTTPBadRequest(text=f"{error}; write for example 2h") from error
    if seconds <= 0:
        raise web.HTTPBadRequest(text="it must last for some time; write for example 2h")
    return seconds


def _moment(text: object, zone: tzinfo | None) -> float:
    try:
        return shapes.moment(str(text), zone)
    except ValueError as error:
        raise web.HTTPBadRequest(text=str(error)) from error
