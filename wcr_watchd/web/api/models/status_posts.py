"""Posts of the status page."""

from __future__ import annotations

from wcr_watchd.web.api.forms import Answer
from wcr_watchd.web.api.models.common import Object, Time


class StatusPosts(Answer):
    """Posts of the status page with their drafts, newest first."""

    posts: list[Object]


class StatusPosted(Answer):
    """A post as it is now."""

    done: str
    post: Object


class Subscriber(Answer):
    """Somebody who wants mails; ``id`` names them here and nowhere else."""

    id: str
    address: str
    since: Time


class Subscribers(Answer):
    """Subscribers by address; ``count`` is of all, ``next`` the cursor of the next page."""

    subscribers: list[Subscriber]
    count: int
    next: str | None = None
