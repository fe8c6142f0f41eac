"""The web application: puts pages, API, health, metrics and access control together."""

from __future__ import annotations

import io
import logging
from typing import Protocol

from aiohttp import web
from aiohttp.http import HttpProcessingError

from wcr_watchd.core.view import Control
from wcr_watchd.web import answers, documents, live
from wcr_watchd.web.access.audit import AUDIT, audited
from wcr_watchd.web.access.gate import ACCESS, Access, guard
from wcr_watchd.web.access.headers import add_headers
from wcr_watchd.web.access.proxy import behind_proxy
from wcr_watchd.web.api import openapi, v1
from wcr_watchd.web.api import status_posts as status_posts_api
from wcr_watchd.web.compatible import alertmanager, ping
from wcr_watchd.web.compatible.blackbox import endpoint
from wcr_watchd.web.dashboard import (
    assets,
    audit,
    board,
    changes,
    channels,
    chart,
    check,
    configuration,
    dead_letters,
    incident,
    incidents,
    knowledge,
    layout,
    maintenance,
    objectives,
    on_call,
    overview,
    reports,
    sign_in,
    silences,
    status_posts,
    subscribers,
)
from wcr_watchd.web.dashboard import tasks as task_pages
from wcr_watchd.web.health import CONTROL, healthz, readyz
from wcr_watchd.web.status.posts import POSTS
from wcr_watchd.web.status.serve import StatusDoor, offered

MAX_BODY = 64 * 1024
PAGES = (
    overview,
    check,
    chart,
    incident,
    incidents,
    silences,
    maintenance,
    on_call,
    objectives,
    task_pages,
    changes,
    reports,
    knowledge,
    channels,
    dead_letters,
    sign_in,
    audit,
    configuration,
    subscribers,
)
PUBLIC = (
    answers.ROUTES
    | ping.ROUTES
    | sign_in.PUBLIC
    | {"/healthz", "/readyz", "/metrics", "/favicon.ico", assets.PATH, endpoint.PATH}
)
"""Routes that need no credential, or check their own."""


class Page(Protocol):
    """A rendered exposition."""

    @property
    def body(self) -> bytes:
        """What to answer."""
        ...

    @property
    def headers(self) -> dict[str, str]:
        """Content type and encoding."""
        ...


class Exposition(Protocol):
    """Renders the metrics for what a scraper accepts."""

    async def render(self, accept: str, accept_encoding: str) -> Page:
        """Return the metrics in the format and encoding negotiated from the two request headers."""
        ...


EXPOSITION = web.AppKey("exposition", Exposition)


def build(
    control: Control,
    exposition: Exposition,
    access: Access,
    doors: answers.Doors,
    prober: endpoint.Prober,
    desk: ping.Desk,
    status: StatusDoor | None = None,
) -> web.Application:
    """Build the application for a running daemon; who serves it on which socket is the daemon's business.

    ``status`` is the public status page, which the daemon's own always has.
    """
    logging.getLogger("aiohttp.server").addFilter(_is_of_interest)
    public = [offered(status)] if status else []
    middlewares = [
        behind_proxy(lambda: access.settings.proxies),
        *v1.MIDDLEWARES,
        *public,
        audited,
        guard(access, PUBLIC),
    ]
    app = web.Application(middlewares=middlewares, client_max_size=MAX_BODY)
    app.on_response_prepare.append(add_headers)
    app[CONTROL] = control
    app[EXPOSITION] = exposition
    app[ACCESS] = access
    app[AUDIT] = access.audit
    app[answers.DOORS] = doors
    app[documents.SHARED] = doors.shared
    app[endpoint.PROBER] = prober
    app[ping.DESK] = desk
    app[ping.COUNTER] = ping.Counter(control.monotonic)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    endpoint.add_routes(app)
    live.set_up(app)
    v1.add_routes(app)
    alertmanager.add_routes(app)
    ping.add_routes(app)
    answers.add_routes(app)
    if status:
        app[POSTS] = status.desk
        status_posts_api.add_routes(app)
        status_posts.add_routes(app)
    for one in PAGES:
        one.add_routes(app)
    app.router.add_get(assets.PATH, assets.serve)
    app.router.add_get("/favicon.ico", assets.favicon)
    openapi.set_up(app)
    layout.set_up(app)
    board.set_up(app)
    return app


async def metrics(request: web.Request) -> web.Response:
    """The Prometheus exposition, text or OpenMetrics, gzip where the scraper takes it."""
    if not request.app[ACCESS].may_read_metrics(request):
        raise web.HTTPForbidden(text='metrics are for this machine; set [web] metrics = "all" to open them\n')
    accept, encoding = request.headers.get("Accept", ""), request.headers.get("Accept-Encoding", "")
    page = await request.app[EXPOSITION].render(accept, encoding)
    # As a file it goes out piece by piece; handing over ten megabytes at once would hold the loop up.
    return web.Response(body=io.BytesIO(page.body), headers=page.headers)


def _is_of_interest(record: logging.LogRecord) -> bool:
    """Whether a line of aiohttp is worth logging: a malformed request is answered 400 and is no error of ours."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))
