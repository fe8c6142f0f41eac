"""Signing in and out."""

from __future__ import annotations

from aiohttp import web

from wcr_watchd.web.access.gate import COOKIE, SESSION_SECONDS
from wcr_watchd.web.dashboard.layout import ACCESS, page

PATH = "/sign-in"


def add_routes(app: web.Application) -> None:
    """Put the routes into the application."""
    app.router.add_get(PATH, show)
    app.router.add_post(PATH, sign_in)
    app.router.add_post("/sign-out", sign_out)


async def show(request: web.Request) -> web.Response:
    """The form that asks for the token."""
    return page(request, "sign_in.html", failed=False)


async def sign_in(request: web.Request) -> web.Response:
    """Check the token and start a session."""
    form = await request.post()
    cookie = request.app[ACCESS].sign_in(str(form.get("token", "")))
    if cookie is None:
        response = page(request, "sign_in.html", failed=True)
        response.set_status(403)
        return response
    answer = web.Response(status=303, headers={"Location": "/"})
    secure = request.headers.get("X-Forwarded-Proto", request.scheme) == "https"
    answer.set_cookie(COOKIE, cookie, max_age=SESSION_SECONDS, httponly=True, samesite="Lax", secure=secure)
    return answer


async def sign_out(request: web.Request) -> web.Response:
    """End the session."""
    request.app[ACCESS].sign_out(request)
    answer = web.Response(status=303, headers={"Location": "/sign-in"})
    answer.del_cookie(COOKIE)
    return answer
