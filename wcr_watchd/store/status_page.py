"""What the status page needs of the records: its posts, subscribers, mails owed, and when checks were watched."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pydantic import TypeAdapter

from wcr_watchd.core.posts import OwedMail, Post, Subscriber
from wcr_watchd.core.status_days import Runs
from wcr_watchd.store.codec import from_json, milliseconds, seconds, to_json
from wcr_watchd.store.database import Database, Row
from wcr_watchd.store.history import Course, Rollups, read_raw, read_rollups, rows_of
from wcr_watchd.store.pack import PackedRow
from wcr_watchd.store.rollup import FIVE_MINUTES, HOUR, outcomes
from wcr_watchd.store.upkeep import InThread

POST = TypeAdapter(Post)
MOST_POSTS = 1_000
_NO_SERIES = 0
_NO_LIMIT = 1 << 31
_UNKNOWN = 2
"""The number of the outcome in a row."""


class StatusRecords:
    """See :class:`wcr_watchd.core.protocols.StatusRecords`."""

    def __init__(self, database: Database, in_thread: InThread) -> None:
        self._database = database
        self._in_thread = in_thread

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

    async def runs(self, check: str, *, since: float, until: float) -> Sequence[Runs]:
        """How many runs of a check came to something, by hours of the past and five minutes of now, oldest first."""
        course = Course(_NO_SERIES, milliseconds(since), milliseconds(until))
        found: dict[tuple[int, int], list[int]] = {}
        for source, _ in await self._database.fetch("sources_of_check", check):
            rollups, rest = await read_rollups(self._database, course, source, HOUR)
            raw = await read_raw(self._database, source, rest, course.until, _NO_LIMIT)
            await self._in_thread(_counting(found, rollups, raw, source, rest))
        return tuple(
            Runs(seconds(at), width / 1000, known, unknown) for (at, width), (known, unknown) in sorted(found.items())
        )


def _counting(
    found: dict[tuple[int, int], list[int]], rollups: Sequence[Rollups], raw: Sequence[bytes], source: int, since: int
) -> Callable[[], None]:
    def count() -> None:
        for width, rows in rollups:
            _count_rollups(found, width, rows)
        _count_rows(found, (row for row in rows_of(raw, source) if row.at >= since))

    return count


def _count_rollups(found: dict[tuple[int, int], list[int]], width: int, rows: Iterable[Row]) -> None:
    for start, body in rows:
        for number, (up, down, unknown) in outcomes(body).items():
            counts = found.setdefault((start + number * width, width), [0, 0])
            counts[0] += up + down
            counts[1] += unknown


def _count_rows(found: dict[tuple[int, int], list[int]], rows: Iterable[PackedRow]) -> None:
    for row in rows:
        counts = found.setdefault((row.at // FIVE_MINUTES * FIVE_MINUTES, FIVE_MINUTES), [0, 0])
        counts[row.outcome == _UNKNOWN] += 1
