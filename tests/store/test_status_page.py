"""Posts, subscribers and the mails they are owed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from wcr_watchd.core.posts import Impact, PostState, Subscriber, said, written
from wcr_watchd.store.sqlite import SqliteStore

POST = said(written("Slow", ("site",), Impact.MINOR, 5.0), PostState.INVESTIGATING, "a", 5.0, "ann", publish=True)
NEWS = (POST.id, POST.updates[0].id)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def test_a_post_and_the_mails_it_owes_are_there_after_a_crash(tmp_path: Path) -> None:
    async with opened(tmp_path / "w.db") as store:
        for number in (1, 2):
            await store.status_page.subscribe(Subscriber(f"id-{number}", f"{number}@example.org", float(number)))
        await store.status_page.subscribe(Subscriber("id-3", "1@example.org", 3.0))
        await store.status_page.keep([POST], [NEWS], 10.0)
    async with opened(tmp_path / "w.db") as again:
        records = again.status_page
        assert await records.posts() == (POST,)
        assert [(mail.subscriber, address) for mail, address in await records.mails(10.0, 9)] == [
            ("id-1", "1@example.org"),
            ("id-2", "2@example.org"),
        ]
        await records.keep([POST], [NEWS], 11.0)
        (first, _), (second, _) = await records.mails(11.0, 9)
        await records.mailed(first)
        await records.mailed(second, again_at=60.0)
        assert await records.mails(59.0, 9) == ()
        assert await records.next_mail_at() == 60.0
        [(later, _)] = await records.mails(60.0, 9)
        assert later.attempts == 1
        assert await records.unsubscribe("id-2")
        assert not await records.unsubscribe("id-2")
        assert await records.next_mail_at() is None
        assert [one.address for one in await records.subscribers()] == ["1@example.org"]
