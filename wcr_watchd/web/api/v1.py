"""Version 1 of the JSON API: its routes, and what goes round all of them."""

from __future__ import annotations

from aiohttp import web

from wcr_watchd.web.api import (
    about,
    access,
    changes,
    checks,
    events,
    forecasts,
    incidents,
    knowledge,
    messages,
    objectives,
    openapi,
    people,
    quiet,
    reports,
    subscribers,
    tasks,
)
from wcr_watchd.web.api.problems import as_problems
from wcr_watchd.web.api.unchanged import with_entity_tag

MIDDLEWARES = (as_problems, with_entity_tag)
_FILES = (
    about,
    access,
    changes,
    checks,
    events,
    forecasts,
    incidents,
    knowledge,
    messages,
    objectives,
    openapi,
    people,
    quiet,
    reports,
    subscribers,
    tasks,
)


def add_routes(app: web.Application) -> None:
    """Put the API into the application."""
    for file in _FILES:
        file.add_routes(app)
