"""Posts of the public status page: what visitors are told about an outage, from first notice to its end.

They are drafted from the state of components alone, in neutral words, so that nothing internal can get into them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from wcr_watchd.core.errors import CommandError

LONGEST_TITLE = 200
LONGEST_TEXT = 5_000
MOST_UPDATES = 200
JOINS_WITHIN = 900.0
"""Seconds after an automatic post in which further outages are taken for the same trouble and join it."""
AUTOMATIC = "wcr-watchd"
MOST_NAMED = 3
"""Components that a sentence names."""


class PostState(StrEnum):
    """Where the work on an incident stands; the words of Statuspage."""

    INVESTIGATING = "investigating"
    IDENTIFIED = "identified"
    MONITORING = "monitoring"
    RESOLVED = "resolved"


class Impact(StrEnum):
    """How bad something is for visitors; the words of Statuspage."""

    NONE = "none"
    MINOR = "minor"
    MAJOR = "major"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class Update:
    """One thing that was said at ``at`` (epoch seconds), or is only drafted. ``by`` is not shown in public."""

    id: str
    at: float
    state: PostState
    text: str
    published: bool
    by: str = ""


@dataclass(frozen=True, slots=True)
class Post:
    """What is told about one trouble. ``components`` are ids, ``updates`` oldest first.

    ``automatic`` ones follow the state of their components by themselves. ``planned`` ones are of maintenance: they
    stand on no page, and are what its mails are made of (:mod:`wcr_watchd.core.planned_mails`).
    """

    id: str
    title: str
    components: tuple[str, ...]
    impact: Impact
    created_at: float
    updates: tuple[Update, ...] = ()
    automatic: bool = False
    planned: bool = False

    @property
    def state(self) -> PostState:
        """The last that was said or drafted."""
        return self.updates[-1].state if self.updates else PostState.INVESTIGATING

    @property
    def published(self) -> bool:
        """Whether any of it is public."""
        return any(update.published for update in self.updates)

    @property
    def drafts(self) -> bool:
        """Whether something waits for somebody to publish it."""
        return any(not update.published for update in self.updates)

    @property
    def resolved_at(self) -> float | None:
        """When it ended (epoch seconds); None while it goes on."""
        return self.updates[-1].at if self.updates and self.state is PostState.RESOLVED else None

    @property
    def changed_at(self) -> float:
        """When something was said last (epoch seconds)."""
        return self.updates[-1].at if self.updates else self.created_at

    def public(self) -> Post:
        """The post with what is published of it, and without who wrote it."""
        said = tuple(replace(update, by="") for update in self.updates if update.published)
        return replace(self, updates=said)


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Somebody who confirmed that they want mails; ``id`` is the secret of their link to end that."""

    id: str
    address: str
    confirmed_at: float


@dataclass(frozen=True, slots=True)
class OwedMail:
    """A mail that a subscriber is owed about an update of a post; it is forgotten once it is delivered."""

    subscriber: str
    post: str
    update: str
    owed_at: float
    attempts: int = 0
    next_attempt_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Trouble:
    """A component that is not available, since when (epoch seconds), and how bad that is."""

    name: str
    since: float
    impact: Impact


# --- what people write ------------------------------------------------------------------------------------------------


def written(title: str, components: tuple[str, ...], impact: Impact, at: float) -> Post:
    """A new post, with nothing said yet. Raises ``CommandError`` when it cannot be that way."""
    title = " ".join(title.split())
    if not title or len(title) > LONGEST_TITLE:
        raise CommandError(f"a post needs a title of 1 to {LONGEST_TITLE} characters; this one has {len(title)}")
    return Post(_identity("post", title, *components, f"{at:.6f}"), title, components, impact, at)


def said(post: Post, state: PostState, text: str, at: float, by: str, *, publish: bool) -> Post:
    """The post with one more update. Raises ``CommandError`` when that makes no sense."""
    text = "\n".join(line.rstrip() for line in text.strip().splitlines())
    if not text or len(text) > LONGEST_TEXT:
        raise CommandError(f"an update needs a text of 1 to {LONGEST_TEXT} characters; this one has {len(text)}")
    if len(post.updates) >= MOST_UPDATES:
        raise CommandError(f"this post has {MOST_UPDATES} updates already; begin a new one")
    # Two updates never stand at the same time, and none before what was said already: the last one is the state.
    at = max(at, post.changed_at + 0.001) if post.updates else at
    update = Update(_identity(post.id, str(len(post.updates)), text), at, state, text, publish, by)
    return replace(post, updates=(*post.updates, update))


def published(post: Post, at: float, by: str) -> Post:
    """The post with all of it public, as said now. Raises ``CommandError`` when it is already."""
    if not post.drafts:
        raise CommandError("there is nothing to publish: all of this post is public")
    moments = iter(at + number * 0.001 for number in range(len(post.updates)))
    return replace(
        post,
        updates=tuple(
            update if update.published else replace(update, published=True, at=max(next(moments), update.at), by=by)
            for update in post.updates
        ),
    )


def without_drafts(post: Post) -> Post | None:
    """What is left when its drafts are thrown away; None when nothing was published."""
    left = tuple(update for update in post.updates if update.published)
    return replace(post, updates=left, automatic=False) if left else None


def _identity(*parts: str) -> str:
    """A short public name; of twelve characters, as Statuspage's are."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


# --- what follows by itself -------------------------------------------------------------------------------------------


def follow(
    posts: tuple[Post, ...],
    troubles: Mapping[str, Trouble],
    calm_since: Mapping[str, float | None],
    settings: Settings,
    now: float,
) -> tuple[Post, ...]:
    """The posts that change or begin, by the outages there are.

    ``posts`` are those that are not resolved, ``troubles`` outages by component, ``calm_since`` since when each other
    component is available (None: it is not known to be).
    """
    changed: dict[str, Post] = {}
    current = {post.id: post for post in posts}
    told = {component for post in posts for component in post.components}
    news = {
        component: trouble
        for component, trouble in troubles.items()
        if component not in told and now - trouble.since >= settings.post_after
    }
    if news:
        # What fails together is told together, lest subscribers get a mail for each.
        same = next((one for one in posts if one.automatic and now - one.created_at < JOINS_WITHIN), None)
        post = _joined(same, news, settings, now) if same else _begun(news, settings, now)
        current[post.id] = changed[post.id] = post
    for post in list(current.values()):
        if post.automatic and _is_over(post, troubles, calm_since, settings, now):
            text = "This is resolved: everything it was about is available again."
            changed[post.id] = said(post, PostState.RESOLVED, text, now, AUTOMATIC, publish=settings.publish)
    return tuple(changed.values())


@dataclass(frozen=True, slots=True)
class Settings:
    """How posts follow outages: whether they are published by themselves, and after how many seconds."""

    publish: bool
    post_after: float
    resolve_after: float


def _begun(news: Mapping[str, Trouble], settings: Settings, now: float) -> Post:
    words, impact = _words(news), _worst(news)
    post = replace(written(words[:LONGEST_TITLE], tuple(news), impact, now), automatic=True)
    text = f"We see that {words}, and are looking into it."
    return said(post, PostState.INVESTIGATING, text, now, AUTOMATIC, publish=settings.publish)


def _joined(post: Post, news: Mapping[str, Trouble], settings: Settings, now: float) -> Post:
    impact = max((post.impact, _worst(news)), key=list(Impact).index)
    grown = replace(post, components=(*post.components, *news), impact=impact)
    return said(grown, post.state, f"{_words(news)}, too.", now, AUTOMATIC, publish=settings.publish)


def _worst(news: Mapping[str, Trouble]) -> Impact:
    return max((one.impact for one in news.values()), key=list(Impact).index)


def _words(news: Mapping[str, Trouble]) -> str:
    names = [one.name for one in news.values()]
    listed = named(names)
    adjective = "unavailable" if _worst(news) is Impact.CRITICAL else "partly unavailable"
    return f"{listed} {'is' if len(names) == 1 else 'are'} {adjective}"


def named(names: Sequence[str]) -> str:
    """Names in a sentence; of very many, how many more there are."""
    if len(names) > MOST_NAMED:
        return f"{', '.join(names[:MOST_NAMED])} and {len(names) - MOST_NAMED} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _is_over(
    post: Post,
    troubles: Mapping[str, Trouble],
    calm_since: Mapping[str, float | None],
    settings: Settings,
    now: float,
) -> bool:
    """Whether all it is about has been available for long enough; a component that is gone is nothing to wait for."""
    if post.resolved_at is not None or any(component in troubles for component in post.components):
        return False
    since = [calm_since[component] for component in post.components if component in calm_since]
    return all(at is not None and now - at >= settings.resolve_after for at in since)
