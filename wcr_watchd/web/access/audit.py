"""The audit log: who did what, from where, by what, and what came of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from wcr_watchd.core.access import AuditEntry
from wcr_watchd.core.errors import StoreError, WatchdError
from wcr_watchd.core.records import AccessRecords
from wcr_watchd.web.access.peer import kept
from wcr_watchd.web.access.roles import READING, VISITOR, Means

log = structlog.get_logger(__name__)

UNRECORDED = frozenset({"/api/v2/alerts"})
"""What programs send all the time; it has a timeline of its own."""
NOTES_ITSELF = frozenset({"/account/password"})
"""What says for itself what was done: its body is nobody's business."""
LONGEST_DETAIL = 500
LONGEST_TEXT = 200
BODY_WITHIN = 1.0
"""Seconds to wait for what was sent along; a handler has read it already."""


@dataclass(slots=True)
class Audit:
    """Writes the log into the store and, in case that one cannot, among the daemon's own lines.

    ``now`` gives epoch seconds, ``redact`` takes secrets out of a text.
    """

    records: AccessRecords
    now: Callable[[], float]
    redact: Callable[[str], str]

    async def note(
        self,
        request: web.Request | None,
        who: str,
        means: str,
        action: str,
        *,
        target: str = "",
        result: str = "done",
        detail: str = "",
    ) -> None:
        """Add an entry about what a request (or, without one, somebody on this machine) asked for."""
        remote = request.remote if request is not None and means != Means.SOCKET.value else ""
        entry = AuditEntry(
            at=self.now(),
            who=kept(who, LONGEST_TEXT),
            means=means,
            source=remote or "",
            action=action,
            target=kept(self.redact(target), LONGEST_TEXT),
            result=kept(self.redact(result), LONGEST_TEXT),
            detail=kept(self.redact(detail), LONGEST_DETAIL),
        )
        log.info("action", who=entry.who, means=means, source=entry.source, action=action, target=entry.target)
        try:
            await self.records.record(entry)
        except StoreError as error:
            log.warning("an entry of the audit log stands here only", result=entry.result, error=str(error))

    async def entries(self, *, before: int | None = None, who: str = "", limit: int = 100) -> Sequence[AuditEntry]:
        """The log, newest first."""
        return await self.records.audit(before=before, who=who, limit=limit)


AUDIT = web.AppKey("audit", Audit)


@web.middleware
async def audited(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Record what visitors do, and what they try and may not; reading is not recorded."""
    result = "failed"
    try:
        response = await handler(request)
        result = "done" if response.status < 400 else f"refused: {response.reason}"
        return response
    except web.HTTPException as error:
        result = "done" if error.status < 400 else f"refused: {(error.text or error.reason).strip()}"
        raise
    except WatchdError as error:
        result = f"refused: {error}"
        raise
    finally:
        resource = request.match_info.route.resource
        route = resource.canonical if resource is not None else request.path
        visitor = request.get(VISITOR)
        if visitor is not None and request.method not in READING and route not in UNRECORDED | NOTES_ITSELF:
            target = ", ".join(request.match_info.values())
            await request.app[AUDIT].note(
                request,
                visitor.name,
                visitor.means.value,
                f"{request.method} {route}",
                target=target,
                result=result,
                detail=await _sent_along(request),
            )


async def _sent_along(request: web.Request) -> str:
    """The beginning of the body, which a handler that did something has read already."""
    try:
        async with asyncio.timeout(BODY_WITHIN):
            body = await request.read()
    except (TimeoutError, web.HTTPException, OSError):
        return ""
    return body[: 4 * LONGEST_DETAIL].decode(errors="replace").strip()


def number_in(request: web.Request, name: str) -> int | None:
    """A number of the query by which the log is asked for (None: it is not there). Raises ``HTTPBadRequest``."""
    text = request.query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise web.HTTPBadRequest(text=f"{name} must be a number, not {text[:40]!r}")
    return int(text)
