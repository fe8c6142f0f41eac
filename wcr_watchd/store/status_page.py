"""What the status page keeps in the records: its posts, subscribers, and the mails that these are owed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydantic import TypeAdapter

from wcr_watchd.core.posts import OwedMail, Post, Subscriber
from wcr_watchd.store.codec import from_json, milliseconds, seconds, to_json
from wcr_watchd.store.database import Database

POST = TypeAdapter(Post)
MOST_POSTS = 1_000


class StatusRecords:
    """See :class:`wcr_watchd.core.records.StatusRecords`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def posts(self, since: float = 0.0) -> Sequence[Post]:
        """Posts that changed since a time, newest first."""
        rows = await self._database.fetch("status_posts", milliseconds(since), MOST_POSTS)
        return tuple(from_json(POST, row[0]) for row in rows)

    async def keep(self, posts: Iterable[Post], announced: Iterable[tuple[str, str]] = (), at: float = 0.0) -> None:
        """Keep posts, and owe all subscribers a mail about each of the updates (post and update), all or nothing."""
        async with self._database.transaction(durable=True) as transaction:
            rows = [
                (post.id, milliseconds(post.created_at), milliseconds(post.changed_at), to_json(POST, post))
                for post in posts
            ]
            await transaction.run_many("keep_status_post", rows)
            await transaction.run_many("owe_status_mails", [(*one, milliseconds(at)) for one in announced])

    async def drop(self, post: str) -> None:
        """Forget a post."""
        async with self._database.transaction(durable=True) as transaction:
            await transaction.run("drop_status_post", post)

    async def subscribers(self) -> Sequence[Subscriber]:
        """Everybody who subscribed, in the order in which they did."""
        rows = await self._database.fetch("status_subscribers")
        return tuple(Subscriber(identity, address, seconds(at)) for identity, address, at in rows)

    async def subscribe(self, who: Subscriber) -> None:
        """Keep a subscriber; an address that is known keeps what it has."""
        async with self._database.transaction(durable=True) as transaction:
            await transaction.run("keep_status_subscriber", who.id, who.address, milliseconds(who.confirmed_at))

    async def unsubscribe(self, subscriber: str) -> bool:
        """Forget a subscriber and what they are owed; returns whether there was one."""
        async with self._database.transaction(durable=True) as transaction:
            await transaction.run("drop_status_mails_of", subscriber)
            return bool(await transaction.run("drop_status_subscriber", subscriber))

    async def mails(self, now: float, limit: int) -> Sequence[tuple[OwedMail, str]]:
        """Mails that are due, the oldest first, each with its address."""
        rows = await self._database.fetch("status_mails", milliseconds(now), limit)
        return tuple(
            (OwedMail(who, post, update, seconds(owed), attempts, seconds(due)), address)
            for who, address, post, update, owed, attempts, due in rows
        )

    async def next_mail_at(self) -> float | None:
        """When the next mail is due (epoch seconds); None when none is owed."""
        [[at]] = await self._database.fetch("next_status_mail")
        return None if at is None else seconds(at)

    async def mailed(self, mail: OwedMail, *, again_at: float | None = None) -> None:
        """A mail is delivered or given up, or is to be tried once more at a time."""
        async with self._database.transaction(durable=True) as transaction:
            if again_at is None:
                await transaction.run("drop_status_mail", mail.subscriber, mail.update)
            else:
                row = (mail.subscriber, mail.update, mail.attempts + 1, milliseconds(again_at))
                await transaction.run("keep_status_mail", *row)
