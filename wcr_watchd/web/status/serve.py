"""Serves the status page: below its path, at its own host name, and at addresses where there is nothing else.

What is asked for lies ready as bytes; an answer is a look-up and a comparison of names, so that a flood of visitors
costs next to nothing. Only the forms of subscribers do more, and only so often.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.status import PublicFile, StatusPage
from wcr_watchd.web.access.allowance import Allowance
from wcr_watchd.web.access.headers import add_headers
from wcr_watchd.web.access.peer import is_own_page
from wcr_watchd.web.access.proxy import Network, behind_proxy
from wcr_watchd.web.access.roles import READING
from wcr_watchd.web.status import site
from wcr_watchd.web.status.posts import PostDesk

log = structlog.get_logger(__name__)

MAX_FORM = 4 * 1024
FORM_WITHIN = 5.0
"""Seconds for a form to come in."""
FRESH = "public, max-age=15, stale-while-revalidate=60, stale-if-error=86400"
FOR_GOOD = "public, max-age=31536000, immutable"
MOST_REMEMBERED = 10_000
"""Visitors and addresses whose requests are counted."""
HTML = "text/html"


class Desk(PostDesk, Protocol):
    """Where the page is kept up to date."""

    @property
    def files(self) -> Mapping[str, PublicFile]:
        """What lies ready to be served."""
        ...


class Mails(Protocol):
    """Where subscriptions begin and end."""

    def invite(self, address: str) -> bool:
        """Send a mail with a link that confirms; returns whether it will be tried."""
        ...

    def acceptable(self, address: str) -> bool:
        """Whether a text may be a mail address."""
        ...

    def invited(self, text: str) -> bool:
        """Whether the text of a link is good to confirm with."""
        ...

    async def confirm(self, text: str) -> bool:
        """Subscribe whom the text of a link names; returns whether it was good. Raises ``StoreError``."""
        ...

    async def unsubscribe(self, identity: str) -> bool:
        """End a subscription; returns whether there was one. Raises ``StoreError``."""
        ...


@dataclass(slots=True)
class Rationing:
    """How often mails may be asked for: by everybody, by one visitor, for one address. ``clock`` is monotonic."""

    clock: Callable[[], float]
    _all: Allowance = field(init=False)
    _visitors: OrderedDict[str, Allowance] = field(default_factory=OrderedDict)
    _addresses: OrderedDict[str, Allowance] = field(default_factory=OrderedDict)

    def __post_init__(self) -> None:
        self._all = Allowance(self.clock, most=60, seconds=3_600.0)

    def visitor_may(self, remote: str) -> bool:
        """Whether this visitor may ask once more."""
        return self._take(self._visitors, remote, 5) and self._all.take()

    def address_may(self, address: str) -> bool:
        """Whether this address may be sent a mail to confirm once more."""
        return self._take(self._addresses, address.lower(), 2)

    def _take(self, known: OrderedDict[str, Allowance], key: str, most: int) -> bool:
        if key not in known:
            known[key] = Allowance(self.clock, most=most, seconds=3_600.0)
        known.move_to_end(key)
        if len(known) > MOST_REMEMBERED:
            known.popitem(last=False)
        return known[key].take()


@dataclass(slots=True)
class StatusDoor:
    """All that serving needs."""

    desk: Desk
    mails: Mails
    rationing: Rationing


def offered(door: StatusDoor) -> Middleware:
    """Make the middleware that answers what is asked of the status page, before anybody is asked who they are."""

    @web.middleware
    async def offer(request: web.Request, handler: Handler) -> web.StreamResponse:
        page = door.desk.settings
        if page is None:
            return await handler(request)
        if page.host and request.host.rpartition(":")[0 if ":" in request.host else 2].lower() == page.host:
            return await answer(door, page, request, below(page, request.path) or "")
        rest = below(page, request.path, only=True)
        return await handler(request) if rest is None else await answer(door, page, request, rest)

    return offer


def own_application(door: StatusDoor, proxies: Callable[[], Sequence[Network]]) -> web.Application:
    """Build the application for the page's own addresses; ``proxies`` may say for whom they ask."""

    async def serve(request: web.Request) -> web.StreamResponse:
        page = door.desk.settings
        if page is None:
            raise web.HTTPNotFound(text="there is nothing here\n")
        return await answer(door, page, request, below(page, request.path) or "")

    app = web.Application(middlewares=[behind_proxy(proxies)], client_max_size=MAX_FORM)
    app.on_response_prepare.append(add_headers)
    app.router.add_route("*", "/{rest:.*}", serve)
    return app


def below(page: StatusPage, path: str, *, only: bool = False) -> str | None:
    """What is asked for below the page's path; with ``only`` None for all else, and the path itself is ``/``."""
    if path == page.path:
        return "/"
    if path.startswith(f"{page.path}/"):
        return path[len(page.path) + 1 :]
    return None if only else path.removeprefix("/")


async def answer(door: StatusDoor, page: StatusPage, request: web.Request, path: str) -> web.StreamResponse:
    """Answer a request for a path of the status page."""
    if path == "/":
        raise web.HTTPPermanentRedirect(f"{page.path}/")
    what, _, rest = path.partition("/")
    form = {"subscribe": _subscribe, "confirm": _confirm, "unsubscribe": _unsubscribe}.get(what)
    if form is not None and page.mail and page.url:
        return await form(door, page, request, rest)
    if request.method not in READING:
        raise web.HTTPMethodNotAllowed(request.method, sorted(READING), text="this can only be read\n")
    files = door.desk.files
    if not files:
        retry = {"Retry-After": "10", "Cache-Control": "no-store"}
        raise web.HTTPServiceUnavailable(text="the status page is being made; come again in a moment\n", headers=retry)
    if path in files:
        return _file(request, files[path], FOR_GOOD if _is_named_by_content(path) else FRESH)
    if f"{path}/" in files:
        raise web.HTTPFound(f"{path.rpartition('/')[2]}/")
    return _page(page, "There is no such page", root="../" * path.count("/") or "./", status=404)


def _is_named_by_content(path: str) -> bool:
    return "/" not in path and path.count(".") == 2


def _file(request: web.Request, file: PublicFile, keep: str) -> web.Response:
    packs = "gzip" in request.headers.get("Accept-Encoding", "").lower() and len(file.packed) < len(file.body)
    name = f'"{file.etag}-gz"' if packs else f'"{file.etag}"'
    headers = {
        "ETag": name,
        "Cache-Control": keep,
        "Vary": "Accept-Encoding",
        "Access-Control-Allow-Origin": "*",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "Content-Type": file.content_type,
    }
    known = [one.strip().removeprefix("W/") for one in request.headers.get("If-None-Match", "").split(",")]
    if name in known or "*" in known:
        del headers["Content-Type"]
        return web.Response(status=304, headers=headers)
    if packs:
        headers["Content-Encoding"] = "gzip"
    return web.Response(body=file.packed if packs else file.body, headers=headers)


def _page(page: StatusPage, heading: str, *lines: str, status: int = 200, **values: Any) -> web.Response:
    body = site.form(page, heading, *lines, **values)
    return web.Response(
        body=body, status=status, content_type=HTML, charset="utf-8", headers={"Cache-Control": "no-store"}
    )


# --- subscribers ------------------------------------------------------------------------------------------------------


async def _subscribe(door: StatusDoor, page: StatusPage, request: web.Request, rest: str) -> web.Response:
    heading = f"Mails about {page.title}"
    ask: dict[str, Any] = {"asks_address": True, "button": "Send me a mail to confirm", "action": "subscribe"}
    if request.method in READING:
        lines = (
            "You get a mail when something is wrong, when there is news of it, and when it is over.",
            "First you get one with a link to confirm that it is you. Until then nothing is stored; afterwards your "
            "address, for this alone, until you end it by the link in each mail.",
        )
        return _page(page, heading, *lines, **ask)
    if not is_own_page(request, page.url):
        raise web.HTTPForbidden(text="this request comes from another site; use the form here\n")
    given = await _field(request, "address")
    address = given.strip()
    if not door.mails.acceptable(address):
        said = "This is no mail address; write it as in name@example.org"
        return _page(page, heading, problem=said, status=400, **ask)
    if not door.rationing.visitor_may(request.remote or ""):
        return _page(page, heading, problem="Too many requests; try again in an hour", status=429, **ask)
    # Whether the address is known, or was asked for just now, is not to be seen from here.
    if door.rationing.address_may(address) and not door.mails.invite(address):
        return _page(page, heading, problem="Too many requests; try again in an hour", status=429, **ask)
    return _page(
        page,
        "Look into your mailbox",
        "If the address can be reached, a mail with a link is on its way to it. Open the link within two days.",
    )


async def _confirm(door: StatusDoor, page: StatusPage, request: web.Request, token: str) -> web.Response:
    if request.method in READING:  # programs that look through mails open links; only the button confirms
        if not door.mails.invited(token):
            return _page(page, "This link is not good any more", "Ask for a new one.", root="../", status=404)
        button = "Yes, send me mails"
        return _page(page, f"Mails about {page.title}", "Do you want them?", root="../", button=button, action=token)
    try:
        good = await door.mails.confirm(token)
    except StoreError as error:
        return _unavailable(page, error)
    if not good:
        return _page(page, "This link is not good any more", "Ask for a new one.", root="../", status=404)
    return _page(page, "You get mails from now on", "Each has a link to end that.", root="../")


async def _unsubscribe(door: StatusDoor, page: StatusPage, request: web.Request, identity: str) -> web.Response:
    """End a subscription by the button, or by a mail program's one click (RFC 8058); the link is the credential."""
    if request.method in READING:
        button = "No more mails"
        return _page(page, f"Mails about {page.title}", "End them?", root="../", button=button, action=identity)
    try:
        await door.mails.unsubscribe(identity)
    except StoreError as error:
        return _unavailable(page, error)
    return _page(page, "You get no more mails", "Your address is deleted.", root="../")


def _unavailable(page: StatusPage, error: StoreError) -> web.Response:
    log.warning("a subscription could not be changed", error=str(error))
    return _page(page, "This does not work just now", "Please try again in some minutes.", root="../", status=503)


async def _field(request: web.Request, name: str) -> str:
    try:
        async with asyncio.timeout(FORM_WITHIN):
            form = await request.post()
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text="the form did not come in time\n") from error
    return str(form.get(name, ""))
