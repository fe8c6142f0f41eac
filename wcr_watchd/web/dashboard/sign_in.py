"""Signing in and out."""

from __future__ import annotations

from urllib.parse import urlsplit

from aiohttp import web

from wcr_watchd.core.access import Role
from wcr_watchd.web.access.gate import ACCESS, SIGN_IN
from wcr_watchd.web.access.links import LINK_PATH, LINK_SECONDS
from wcr_watchd.web.access.peer import is_own_page
from wcr_watchd.web.access.roles import VISITOR, Means, needs
from wcr_watchd.web.access.sessions import drop_cookie, set_cookie
from wcr_watchd.web.dashboard.layout import page

LINKS = "/api/v1/sign-in-links"
PUBLIC = frozenset({SIGN_IN, LINK_PATH})


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    app.router.add_get(SIGN_IN, show)
    app.router.add_post(SIGN_IN, sign_in)
    # Not for HEAD: looking at a link must not use it up.
    app.router.add_get(LINK_PATH, by_link, allow_head=False)
    app.router.add_post(LINKS, make_link)
    app.router.add_post("/sign-out", sign_out)


async def show(request: web.Request) -> web.Response:
    """The form that asks for the token."""
    return _form(request)


async def sign_in(request: web.Request) -> web.Response:
    """Check the token and start a session."""
    access = request.app[ACCESS]
    if not is_own_page(request, access.public_url(), ambient=True):
        raise web.HTTPForbidden(text="sign in on the dashboard's own page\n")
    form = await request.post()
    cookie = access.sign_in(request, str(form.get("token", "")))
    if cookie is None:
        response = _form(request, failed=True)
        response.set_status(403)
        return response
    return _signed_in(request, cookie, str(form.get("next", "")))


async def by_link(request: web.Request) -> web.Response:
    """Start a session by a one-time link."""
    cookie = request.app[ACCESS].sign_in_by_link(request, request.match_info["code"])
    if cookie is None:
        response = _form(request, used_up=True)
        response.set_status(410)
        return response
    return _signed_in(request, cookie, "/")


@needs(Role.ADMIN)
async def make_link(request: web.Request) -> web.Response:
    """A new one-time link, for who asks over the Unix socket."""
    visitor = request[VISITOR]
    if visitor.means is not Means.SOCKET:
        raise web.HTTPForbidden(text="one-time links are made over the Unix socket only: wcr-watchd sign-in-link")
    return web.json_response({"url": request.app[ACCESS].link_for(visitor.name), "lasts": LINK_SECONDS})


async def sign_out(request: web.Request) -> web.Response:
    """End the session."""
    request.app[ACCESS].sessions.end(request)
    answer = web.Response(status=303, headers={"Location": SIGN_IN})
    drop_cookie(request, answer)
    return answer


def _form(request: web.Request, *, failed: bool = False, used_up: bool = False) -> web.Response:
    nobody = request.app[ACCESS].settings.nobody
    after = _own_path(request.query.get("next", ""))
    return page(request, "sign_in.html", failed=failed, used_up=used_up, nobody=nobody, after=after)


def _signed_in(request: web.Request, cookie: str, after: str) -> web.Response:
    answer = web.Response(status=303, headers={"Location": _own_path(after)})
    set_cookie(request, answer, cookie)
    return answer


def _own_path(path: str) -> str:
    """A path of our own to go on to; the start page for all that could lead elsewhere."""
    parts = urlsplit(path)
    ours = path.startswith("/") and not parts.netloc and not path.startswith("//") and "\\" not in path
    return path if ours and path.isprintable() else "/"
