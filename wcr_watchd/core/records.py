"""What is stored besides the course of checks: who may do what and did it, and the status page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from wcr_watchd.core.access import AuditEntry, OwnPassword, Session
from wcr_watchd.core.posts import OwedMail, Post, Subscriber


class AccessRecords(Protocol):
    """What is remembered of who is signed in and of who did what. ``StoreError`` when that cannot be done in time."""

    async def sessions(self) -> Sequence[Session]:
        """All that were kept and not ended."""
        ...

    async def keep_sessions(self, kept: Sequence[Session], ended: Sequence[str]) -> None:
        """Keep sessions, new or changed, and forget others by their digests."""
        ...

    async def own_passwords(self) -> Sequence[OwnPassword]:
        """The passwords that users chose themselves, one of each at most."""
        ...

    async def keep_own_password(self, chosen: OwnPassword) -> None:
        """Keep one in the place of the user's last; when this returns it survives ``kill -9``."""
        ...

    async def record(self, entry: AuditEntry) -> None:
        """Add to the audit log; when this returns it survives ``kill -9``."""
        ...

    async def audit(self, *, before: int | None = None, who: str = "", limit: int = 100) -> Sequence[AuditEntry]:
        """What was done, newest first: before an entry's number, by one person only."""
        ...


class StatusRecords(Protocol):
    """What the public status page keeps. Every call raises ``StoreError``."""

    async def posts(self, since: float = 0.0) -> Sequence[Post]:
        """Posts that changed since a time, newest first."""
        ...

    async def keep(self, posts: Iterable[Post], announced: Iterable[tuple[str, str]] = (), at: float = 0.0) -> None:
        """Keep posts, and owe all subscribers a mail about each of the updates (post and update), all or nothing."""
        ...

    async def drop(self, post: str) -> None:
        """Forget a post."""
        ...

    async def subscribers(self) -> Sequence[Subscriber]:
        """Everybody who subscribed, in the order in which they did."""
        ...

    async def subscribe(self, who: Subscriber) -> None:
        """Keep a subscriber; an address that is known keeps what it has."""
        ...

    async def unsubscribe(self, subscriber: str) -> bool:
        """Forget a subscriber and what they are owed; returns whether there was one."""
        ...

    async def mails(self, now: float, limit: int) -> Sequence[tuple[OwedMail, str]]:
        """Mails that are due, the oldest first, each with its address."""
        ...

    async def next_mail_at(self) -> float | None:
        """When the next mail is due (epoch seconds); None when none is owed."""
        ...

    async def mailed(self, mail: OwedMail, *, again_at: float | None = None) -> None:
        """A mail is delivered or given up, or is to be tried once more at a time."""
        ...
