"""The page on which operators write and publish what the public status page says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web

from wcr_watchd.core.errors import CommandError, StoreError
from wcr_watchd.core.posts import Impact, PostState
from wcr_watchd.web.access.roles import VISITOR
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.status.posts import POSTS, wish

PATH = "/status-posts"
ONE = PATH + "/{id:[0-9a-f]{12}}"
SHOWN = 50
"""Posts that are shown, the newest."""


def add_routes(app: web.Application) -> None:
    """Put the page's routes into the application."""
    app.router.add_get(PATH, show)
    app.router.add_post(PATH, write)
    app.router.add_post(f"{ONE}/updates", update)
    app.router.add_post(f"{ONE}/publish", publish)
    app.router.add_post(f"{ONE}/discard", discard)


async def show(request: web.Request) -> web.Response:
    """All posts, and the form that begins one."""
    return _page(request, {})


async def write(request: web.Request) -> web.Response:
    """Begin what the form says; with what is wrong beside it when that cannot be done."""
    form = await request.post()
    given: dict[str, Any] = {**form, "components": form.getall("components", [])}
    desk, want = request.app[POSTS], wish(given)
    try:
        await desk.write(
            want.title,
            want.components,
            want.impact,
            want.state,
            want.text,
            request[VISITOR].name,
            publish="publish" in form,
        )
    except (CommandError, StoreError) as error:
        return _page(request, given, str(error), 400)
    raise web.HTTPSeeOther(PATH)


async def update(request: web.Request) -> web.Response:
    """Say more in a post, from its form."""
    form = await request.post()
    desk, want = request.app[POSTS], wish(form)
    try:
        await desk.update(
            request.match_info["id"], want.state, want.text, request[VISITOR].name, publish="publish" in form
        )
    except (CommandError, StoreError) as error:
        return _page(request, {}, str(error), 400)
    raise web.HTTPSeeOther(PATH)


async def publish(request: web.Request) -> web.Response:
    """Make the drafts of a post public, from its button."""
    try:
        await request.app[POSTS].publish(request.match_info["id"], request[VISITOR].name)
    except (CommandError, StoreError) as error:
        return _page(request, {}, str(error), 409)
    raise web.HTTPSeeOther(PATH)


async def discard(request: web.Request) -> web.Response:
    """Throw the drafts of a post away, from its button."""
    try:
        await request.app[POSTS].discard(request.match_info["id"], request[VISITOR].name)
    except (CommandError, StoreError) as error:
        return _page(request, {}, str(error), 409)
    raise web.HTTPSeeOther(PATH)


def _page(request: web.Request, form: Mapping[str, Any], said: str = "", status: int = 200) -> web.Response:
    desk = request.app[POSTS]
    settings = desk.settings
    posts = desk.posts[:SHOWN]
    response = page(
        request,
        "status_posts.html",
        settings=settings,
        names={one.id: one.name for one in settings.components} if settings else {},
        going_on=[one for one in posts if one.resolved_at is None],
        over=[one for one in posts if one.resolved_at is not None],
        states=list(PostState),
        impacts=list(Impact),
        form={"title": "", "text": "", "components": [], "impact": "minor", "state": "investigating", **form},
        said=said,
    )
    response.set_status(status)
    return response
