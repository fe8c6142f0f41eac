"""Posts of the status page."""

from __future__ import annotations

from wcr_watchd.web.api.forms import Answer
from wcr_watchd.web.api.models.common import Object


class StatusPosts(Answer):
    """Posts of the status page with their drafts, newest first."""

    posts: list[Object]


class StatusPosted(Answer):
    """A post as it is now."""

    done: str
    post: Object
