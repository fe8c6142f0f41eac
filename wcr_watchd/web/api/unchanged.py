"""Answers that did not change are not sent again: entity tags (RFC 9110, 8.8.3) for all that is read as JSON."""

from __future__ import annotations

from hashlib import blake2b

from aiohttp import ETag, web
from aiohttp.typedefs import Handler

from wcr_watchd.web.access.roles import READING
from wcr_watchd.web.api.problems import PREFIX


@web.middleware
async def with_entity_tag(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give an answer of the API its tag, or answer 304 to who has it already."""
    response = await handler(request)
    if (
        not request.path.startswith(PREFIX)
        or request.method not in READING
        or not isinstance(response, web.Response)
        or response.status != 200
        or not isinstance(response.body, bytes)
    ):
        return response
    tag = ETag(blake2b(response.body, digest_size=12).hexdigest(), is_weak=True)
    response.etag = tag
    response.headers["Cache-Control"] = "no-cache"
    known = request.if_none_match or ()
    if any(one.value in (tag.value, "*") for one in known):
        return web.Response(status=304, headers={"ETag": response.headers["ETag"], "Cache-Control": "no-cache"})
    response.enable_compression()
    return response
