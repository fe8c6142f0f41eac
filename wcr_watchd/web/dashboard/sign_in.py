"""Signing in and out."""

from __future__ import annotations

import asyncio
import math
from urllib.parse import urlsplit

from aiohttp import web

from wcr_watchd.core.access import Role
from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.on_call import on_call_at
from wcr_watchd.core.units import format_duration
from wcr_watchd.kit.passwords import SHORTEST_PASSWORD
from wcr_watchd.web.access.gate import ACCESS, SIGN_IN
from wcr_watchd.web.access.links import LINK_PATH
from wcr_watchd.web.access.open_id import CALLBACK, START
from wcr_watchd.web.access.own_passwords import fault_of
from wcr_watchd.web.access.peer import is_own_page
from wcr_watchd.web.access.refused import SignInRefusedError
from wcr_watchd.web.access.roles import VISITOR, needs
from wcr_watchd.web.access.sessions import drop_cookie, set_cookie
from wcr_watchd.web.access.sign_in import ELSEWHERE, PASSWORD
from wcr_watchd.web.dashboard.layout import page
from wcr_watchd.web.health import CONTROL

PASSWORD_PATH = "/account/password"
BODY_WITHIN = 10.0
"""Seconds for the form to come in: strangers may send it."""
PUBLIC = frozenset({SIGN_IN, LINK_PATH, START, CALLBACK})


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    app.router.add_get(SIGN_IN, show)
    app.router.add_post(SIGN_IN, sign_in)
    # Not for HEAD: looking at a link must not use it up.
    app.router.add_get(LINK_PATH, by_link, allow_head=False)
    app.router.add_get(START, elsewhere, allow_head=False)
    app.router.add_get(CALLBACK, back, allow_head=False)
    app.router.add_get("/account", account)
    app.router.add_post(PASSWORD_PATH, change_password)
    app.router.add_post("/sign-out", sign_out)


async def show(request: web.Request) -> web.Response:
    """The form that asks for name and password, or for a token."""
    return _form(request)


async def sign_in(request: web.Request) -> web.Response:
    """Check what was shown and start a session."""
    access = request.app[ACCESS]
    if not is_own_page(request, access.public_url(), ambient=True):
        raise web.HTTPForbidden(text="sign in on the dashboard's own page\n")
    try:
        async with asyncio.timeout(BODY_WITHIN):
            form = {key: str(value) for key, value in (await request.post()).items()}
    except TimeoutError as error:
        raise web.HTTPRequestTimeout(text="the request did not come in time\n") from error
    try:
        if form.get("token"):
            cookie = await access.sign_in.by_token(request, form["token"])
        else:
            cookie = await access.sign_in.by_password(request, form.get("name", ""), form.get("password", ""))
    except SignInRefusedError as error:
        return _refused(request, error, 403, form.get("next", ""))
    return _signed_in(request, cookie, form.get("next", ""))


async def by_link(request: web.Request) -> web.Response:
    """Start a session by a one-time link."""
    try:
        cookie = await request.app[ACCESS].sign_in.by_link(request, request.match_info["code"])
    except SignInRefusedError as error:
        return _refused(request, error, 410)
    return _signed_in(request, cookie, "/")


async def elsewhere(request: web.Request) -> web.Response:
    """Off to the provider of single sign-on."""
    try:
        return await request.app[ACCESS].sign_in.open_id.begin(request, _own_path(request.query.get("next", "")))
    except SignInRefusedError as error:
        return _refused(request, error, 502)


async def back(request: web.Request) -> web.Response:
    """Back from there."""
    try:
        cookie, after = await request.app[ACCESS].sign_in.elsewhere(request)
    except SignInRefusedError as error:
        return _refused(request, error, 403)
    return _signed_in(request, cookie, after)


async def account(request: web.Request) -> web.Response:
    """Who one is, and where one is signed in."""
    return _account(request, done="done" in request.query)


@needs(Role.VIEWER)
async def change_password(request: web.Request) -> web.Response:
    """Give oneself a new password; the old one is asked for, and everywhere else one is signed out."""
    access, visitor = request.app[ACCESS], request[VISITOR]
    if not _has_password(request):
        raise web.HTTPConflict(text="only who signed in with a name and a password has one to change\n")
    form = {key: str(value) for key, value in (await request.post()).items()}
    old, new = form.get("old", ""), form.get("new", "")
    if fault := fault_of(new, form.get("again", ""), old):
        return _account(request, fault, 400)
    try:
        cookie = await access.sign_in.change_password(request, visitor.name, old, new)
    except SignInRefusedError as error:
        wait = math.ceil(error.wait)
        response = _account(request, f"{error} Try again in {format_duration(wait)}." if wait else str(error), 403)
        if wait:
            response.set_status(429)
            response.headers["Retry-After"] = str(wait)
        return response
    except StoreError as error:
        return _account(request, f"The new password cannot be kept, so the old one holds: {error}", 503)
    answer = web.Response(status=303, headers={"Location": "/account?done"})
    set_cookie(request, answer, cookie)
    return answer


def _has_password(request: web.Request) -> bool:
    session = request.app[ACCESS].sessions.of(request)
    return session is not None and session.how == PASSWORD


def _account(request: web.Request, said: str = "", status: int = 200, *, done: bool = False) -> web.Response:
    access, visitor, view = request.app[ACCESS], request[VISITOR], request.app[CONTROL]
    duties = [
        schedule.name
        for schedule in view.setup.on_call.values()
        if visitor.contact and visitor.contact in on_call_at(schedule, view.now()).contacts
    ]
    response = page(
        request,
        "account.html",
        duties=duties,
        current=access.sessions.of(request),
        others=access.sessions.theirs(visitor.name),
        has_password=_has_password(request),
        shortest=SHORTEST_PASSWORD,
        said=said,
        done=done,
    )
    response.set_status(status)
    return response


@needs(Role.VIEWER)
async def sign_out(request: web.Request) -> web.Response:
    """End the session, or with ``everywhere`` all of this user, and the one at the provider where it offers that."""
    access = request.app[ACCESS]
    session = access.sessions.of(request)
    if (await request.post()).get("everywhere"):
        await access.sessions.end_all(request[VISITOR].name)
    else:
        await access.sessions.end(request)
    way_out = await access.sign_in.open_id.way_out(session.digest) if session and session.how == ELSEWHERE else ""
    if way_out:
        # Not by a redirect: what a form leads to is held to our own site (form-action), also by the ways it takes.
        single_sign_on = access.settings.single_sign_on
        label = single_sign_on.label if single_sign_on else ""
        answer = page(request, "signed_out.html", way_out=way_out, label=label)
    else:
        answer = web.Response(status=303, headers={"Location": SIGN_IN})
    drop_cookie(request, answer)
    return answer


def _form(request: web.Request, said: str = "", after: str = "", *, by_link: bool = False) -> web.Response:
    settings = request.app[ACCESS].settings
    return page(
        request,
        "sign_in.html",
        said=said,
        by_link=by_link,
        settings=settings,
        after=_own_path(after or request.query.get("next", "")),
    )


def _refused(request: web.Request, error: SignInRefusedError, status: int, after: str = "") -> web.Response:
    wait = math.ceil(error.wait)
    said = f"{error} Try again in {format_duration(wait)}." if wait else str(error)
    response = _form(request, said, after, by_link=status == 410)
    response.set_status(429 if wait else status)
    if wait:
        response.headers["Retry-After"] = str(wait)
    return response


def _signed_in(request: web.Request, cookie: str, after: str) -> web.Response:
    answer = web.Response(status=303, headers={"Location": _own_path(after)})
    set_cookie(request, answer, cookie)
    return answer


def _own_path(path: str) -> str:
    """A path of our own to go on to; the start page for all that could lead elsewhere."""
    parts = urlsplit(path)
    ours = path.startswith("/") and not parts.netloc and not path.startswith("//") and "\\" not in path
    return path if ours and path.isprintable() else "/"
