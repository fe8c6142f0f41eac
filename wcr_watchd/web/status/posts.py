"""Posts of the status page for operators: what the page of the dashboard and the API share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from wcr_watchd.core.posts import Impact, Post, PostState
from wcr_watchd.core.status import StatusPage
from wcr_watchd.web import shapes


class PostDesk(Protocol):
    """Where posts are written. Its commands raise ``CommandError``, and ``StoreError`` when nothing can be kept."""

    @property
    def settings(self) -> StatusPage | None:
        """The page's settings in force; None when there is no page."""
        ...

    @property
    def posts(self) -> Sequence[Post]:
        """All posts with their drafts, newest first."""
        ...

    def post(self, identity: str) -> Post | None:
        """A post by its id, with its drafts."""
        ...

    async def write(
        self,
        title: str,
        components: Sequence[str],
        impact: Impact,
        state: PostState,
        text: str,
        by: str,
        *,
        publish: bool,
    ) -> Post:
        """Begin a post."""
        ...

    async def update(self, post: str, state: PostState, text: str, by: str, *, publish: bool) -> Post:
        """Say more in a post."""
        ...

    async def publish(self, post: str, by: str) -> Post:
        """Make the drafts of a post public."""
        ...

    async def discard(self, post: str, by: str) -> str:
        """Throw the drafts of a post away; returns a sentence."""
        ...


POSTS = web.AppKey("status posts", PostDesk)


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to say, as it was read."""

    title: str
    components: tuple[str, ...]
    impact: Impact
    state: PostState
    text: str


def wish(given: Mapping[str, Any]) -> Wish:
    """Read what a form or a JSON body says. Raises 400 for words that are none of those that are known."""
    components = given.get("components") or ()
    named = [components] if isinstance(components, str) else list(components)
    try:
        return Wish(
            title=str(given.get("title") or ""),
            components=tuple(str(one) for one in named if one),
            impact=Impact(given.get("impact") or "minor"),
            state=PostState(given.get("state") or "investigating"),
            text=str(given.get("text") or ""),
        )
    except ValueError as error:
        words = f"impact: {', '.join(Impact)}; state: {', '.join(PostState)}"
        raise web.HTTPBadRequest(text=f"{error}; {words}\n") from error


def shape(post: Post) -> dict[str, Any]:
    """A post with its drafts."""
    return {
        "id": post.id,
        "title": post.title,
        "components": list(post.components),
        "impact": post.impact.value,
        "state": post.state.value,
        "automatic": post.automatic,
        "published": post.published,
        "drafts": post.drafts,
        "created_at": shapes.time_text(post.created_at),
        "resolved_at": shapes.time_text(post.resolved_at),
        "updates": [
            {
                "id": one.id,
                "at": shapes.time_text(one.at),
                "state": one.state.value,
                "text": one.text,
                "published": one.published,
                "by": one.by,
            }
            for one in post.updates
        ],
    }
