"""What is wrong, for programs: problem details as JSON (RFC 9457), never a traceback."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from wcr_watchd.core.errors import ChannelError, CommandError, StoreError
from wcr_watchd.web.compatible import alertmanager

PREFIX = "/api/v1/"
MEDIA = "application/problem+json"


class ProblemError(Exception):
    """A request that cannot be answered: its status, what is wrong in a sentence, and more about it."""

    def __init__(self, status: int, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.more = more


def answered(status: int, detail: str, headers: dict[str, str] | None = None, **more: Any) -> web.Response:
    """A problem as it is sent."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail, **more}
    return web.Response(status=status, text=json.dumps(body), content_type=MEDIA, headers=headers)


@web.middleware
async def as_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Say what is wrong in JSON to a program; Alertmanager's interface has a way of its own."""
    if not request.path.startswith("/api/"):
        return await handler(request)
    try:
        return await handler(request)
    except alertmanager.RefusedError as error:
        return alertmanager.refused(error)
    except ProblemError as problem:
        return answered(problem.status, problem.detail, **problem.more)
    except CommandError as error:
        return answered(409, str(error))
    except ChannelError as error:
        return answered(502, error.summary, reason=error.reason)
    except StoreError as error:
        return answered(503, str(error))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _of(error)


def _of(error: web.HTTPException) -> web.Response:
    kept = {
        name: value for name, value in error.headers.items() if name in ("Allow", "WWW-Authenticate", "Retry-After")
    }
    if error.content_type == "application/json":  # what the gate says
        body = json.loads(error.text or "{}")
        return answered(error.status, str(body.get("error", error.reason)), kept)
    said = (error.text or error.reason).strip()
    if isinstance(error, web.HTTPMethodNotAllowed):
        said = f"{error.method} is not allowed here; allowed: {', '.join(sorted(error.allowed_methods))}"
    elif isinstance(error, web.HTTPNotFound) and said == f"404: {error.reason}":
        said = "there is nothing at this path; GET /api/v1/openapi.json says what there is"
    return answered(error.status, said, kept)
