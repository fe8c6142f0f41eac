"""The part of the JSON API that is about posts of the public status page."""

from __future__ import annotations

from aiohttp import web
from pydantic import Field

from wcr_watchd.web.api.forms import By, Query
from wcr_watchd.web.api.models import status_posts as models
from wcr_watchd.web.api.models.common import Document, Done
from wcr_watchd.web.api.operations import operation
from wcr_watchd.web.api.requests import by, json_body
from wcr_watchd.web.status.posts import POSTS, shape, wish

PATH = "/api/v1/status-posts"
ONE = PATH + "/{id:[0-9a-f]{12}}"


TAG = "status page"


class Listing(Query):
    """Which posts."""

    open: str | None = Field(None, description="1: only those that are not resolved.")


class Post(By):
    """What is said to the public."""

    title: str | None = Field(None, description="What it is about; of a new post only.")
    components: list[str] | None = Field(None, description="Ids of the components that are concerned.")
    impact: str | None = Field(None, description="none, minor, major or critical.")
    state: str | None = Field(None, description="investigating, identified, monitoring or resolved.")
    text: str | None = Field(None, description="What is said.")
    publish: bool | None = Field(None, description="Whether it is public at once; default: a draft.")


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    app.router.add_get(PATH, posts)
    app.router.add_post(PATH, write)
    app.router.add_get(ONE, post)
    app.router.add_post(f"{ONE}/updates", update)
    app.router.add_post(f"{ONE}/publish", publish)
    app.router.add_post(f"{ONE}/discard", discard)


@operation(TAG, query=Listing, answer=models.StatusPosts)
async def posts(request: web.Request) -> web.Response:
    """All posts with their drafts, newest first; ``?open=1``: those that are not resolved."""
    found = request.app[POSTS].posts
    if request.query.get("open", "") in {"1", "true", "yes"}:
        found = [one for one in found if one.resolved_at is None]
    return web.json_response({"posts": [shape(one) for one in found]})


@operation(TAG, answer=Document)
async def post(request: web.Request) -> web.Response:
    """One post with its drafts."""
    found = request.app[POSTS].post(request.match_info["id"])
    if found is None:
        raise web.HTTPNotFound(text="there is no such post")
    return web.json_response(shape(found))


@operation(TAG, body=Post, answer=models.StatusPosted, status=201)
async def write(request: web.Request) -> web.Response:
    """Begin a post.

    JSON body: ``{"title": …, "components": [id …], "impact": "none|minor|major|critical", "state":
    "investigating|identified|monitoring|resolved", "text": …, "publish": true, "by": …}``.
    """
    body = await json_body(request)
    want = wish(body)
    made = await request.app[POSTS].write(
        want.title,
        want.components,
        want.impact,
        want.state,
        want.text,
        by(request, body),
        publish=bool(body.get("publish")),
    )
    return web.json_response({"done": _said(bool(body.get("publish"))), "post": shape(made)}, status=201)


@operation(TAG, body=Post, answer=models.StatusPosted)
async def update(request: web.Request) -> web.Response:
    """Say more in a post. JSON body: ``{"state": …, "text": …, "publish": true, "by": …}``."""
    body = await json_body(request)
    want = wish(body)
    publishes = bool(body.get("publish"))
    made = await request.app[POSTS].update(
        request.match_info["id"], want.state, want.text, by(request, body), publish=publishes
    )
    return web.json_response({"done": _said(publishes), "post": shape(made)})


@operation(TAG, body=By, answer=models.StatusPosted)
async def publish(request: web.Request) -> web.Response:
    """Make the drafts of a post public. JSON body: ``{"by": …}``."""
    made = await request.app[POSTS].publish(request.match_info["id"], by(request, await json_body(request)))
    return web.json_response({"done": _said(True), "post": shape(made)})


@operation(TAG, body=By, answer=Done)
async def discard(request: web.Request) -> web.Response:
    """Throw the drafts of a post away. JSON body: ``{"by": …}``."""
    said = await request.app[POSTS].discard(request.match_info["id"], by(request, await json_body(request)))
    return web.json_response({"done": said})


def _said(published: bool) -> str:
    return "published; subscribers are told" if published else "kept as a draft"
