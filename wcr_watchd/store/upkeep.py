"""Upkeep of the history: file observations, roll up what is complete, delete what retention no longer keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from wcr_watchd.core.silence import KEPT, KEPT_MAINTENANCE
from wcr_watchd.store.database import Database, InThread, Row
from wcr_watchd.store.pack import pack_texts, text_of, unpack, unpack_numbers
from wcr_watchd.store.rollup import (
    DAY,
    FIVE_MINUTES,
    HOUR,
    decode,
    encode,
    roll_up_day,
    roll_up_hour,
)

SLOT = 900_000
"""Milliseconds that raw observations are filed together for (also in ``sql/history.sql``)."""
LATE = 60_000
"""Milliseconds after the end of a slot before it is filed: runs that began in it may still be under way."""

_ARCHIVE_ROWS = 60_000
_UNPACKED_ROWS = 10_000
"""Rows held at a time: filing 60 000 at once would need 20 MB, of which much is never given back."""
_PACK_STEP = 200
_ROLLUP_STEP = 20
_ROLLUP_STEPS = 50
_DELETE_SLOTS = 4
_DELETE_INCIDENTS = 100
_AUDIT_ENTRIES = 100_000
"""Entries of the audit log at most, so that nobody can fill the disk with it: some 30 MB."""
MOST_MODIFICATIONS = 50_000
"""Modifications that are kept at most; of more, the newest."""

Slot = tuple[int, int]
"""Its beginning and the source."""
Slots = dict[Slot, dict[int, bytes]]
"""The text of every run by its time; one that was stored twice is there once."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long history is kept, in days: raw observations, five-minute and hourly rollups, resolved incidents."""

    raw: float = 7
    five_minutes: float = 60
    hours: float = 400
    incidents: float = 400

    def __post_init__(self) -> None:
        if not 1 <= self.raw <= self.five_minutes <= self.hours:
            raise ValueError(
                "retention must grow from raw (at least 1 day) over five-minute to hourly history: "
                f"got {self.raw:g}, {self.five_minutes:g} and {self.hours:g} days"
            )


class Upkeep:
    """Bounded pieces of upkeep work; times are epoch milliseconds."""

    def __init__(self, database: Database, retention: Retention, in_thread: InThread) -> None:
        self._database = database
        self._retention = retention
        self._in_thread = in_thread
        self._working = asyncio.Lock()

    async def work(self, now: int) -> None:
        """Do a piece of whatever is due."""
        async with self._working:
            await self.archive(now)
            for width, complete in ((FIVE_MINUTES, now - HOUR - LATE), (HOUR, now - DAY - HOUR)):
                for _ in range(_ROLLUP_STEPS):
                    if not await self._roll_up(width, complete):
                        break
            await self._delete_history(now)
            await self._delete_incidents(now)
            async with self._database.transaction(durable=False) as transaction:
                await transaction.run("delete_old_silences", now - int(KEPT * 1000), now - int(KEPT_MAINTENANCE * 1000))
                before = now - int(self._retention.incidents * DAY)
                await transaction.run("delete_old_audit", before, _AUDIT_ENTRIES)
                await transaction.run("delete_old_changes", before)
                await transaction.run("delete_old_modifications", before, MOST_MODIFICATIONS)

    async def archive(self, now: int | None) -> bool:
        """File recent observations whose slot is over (None: all there are); returns whether there was anything."""
        recent = await self._database.fetch("recent_sources")
        last, rows = _last_to_file(recent, now)
        if not last:
            return False
        bodies = [row[0] for row in await self._database.fetch("recent_bodies", last)]
        floor = 0 if now is None else self._raw_floor(now)
        parts = -(-rows // _UNPACKED_ROWS)
        packed: list[Row] = []
        for part in range(parts):
            packed += await self._file(bodies, floor, part, parts)
        async with self._database.transaction(durable=False) as transaction:
            await transaction.run_many("keep_slot", sorted(packed))
            due = {(FIVE_MINUTES, at // HOUR * HOUR, source) for at, source, _ in packed}
            await transaction.run_many("add_due", due)
            await transaction.run("drop_recent", last)
        return True

    async def _file(self, bodies: Sequence[bytes], floor: int, part: int, parts: int) -> list[Row]:
        """Rows to keep of one part of the sources."""
        filed = await self._in_thread(lambda: _by_slot(bodies, floor, part, parts))
        await self._merge_filed(filed)
        packed: list[Row] = []
        for keys in _portions(sorted(filed), _PACK_STEP):
            packed += await self._in_thread(_packing(filed, keys))
        return packed

    async def _merge_filed(self, filed: Slots) -> None:
        """Add what an earlier call filed already in the same slots: latecomers, and runs at the edge of a slot."""
        for slot in {slot for slot, _ in filed}:
            for row in await self._database.fetch("sources_in_slot", slot):
                if (slot, row[0]) in filed:
                    [[body]] = await self._database.fetch("slot", slot, row[0])
                    filed[slot, row[0]] |= {one.at: text_of(one) for one in unpack(body)}

    async def _roll_up(self, width: int, complete: int) -> bool:
        """Compute some rows of buckets that begin at or before ``complete``; returns whether there were any."""
        due = await self._database.fetch("due", width, complete, _ROLLUP_STEP)
        if not due:
            return False
        read = self._read_hour if width == FIVE_MINUTES else self._read_day
        packed = [(width, start, source, await read(start, source)) for start, source in due]
        async with self._database.transaction(durable=False) as transaction:
            await transaction.run_many("keep_rollup", [row for row in packed if row[3]])
            await transaction.run_many("drop_due", [(width, start, source) for start, source in due])
            if width == FIVE_MINUTES:
                await transaction.run_many("add_due", {(HOUR, start // DAY * DAY, source) for start, source in due})
        return True

    async def _read_hour(self, start: int, source: int) -> bytes:
        rows = await self._database.fetch("slots_of_hour", source, start)
        return await self._in_thread(lambda: _pack_hour(start, rows))

    async def _read_day(self, start: int, source: int) -> bytes:
        rows = await self._database.fetch("rollups", FIVE_MINUTES, source, start, start + DAY - HOUR, HOUR)
        return await self._in_thread(lambda: _pack_day(start, rows))

    async def _delete_history(self, now: int) -> None:
        """Delete what is too old, but nothing that still has to be rolled up."""
        floors = {
            "delete_old_observations": await self._unless_due(FIVE_MINUTES, self._raw_floor(now)),
            "delete_old_five_minutes": await self._unless_due(
                HOUR, (now - int(self._retention.five_minutes * DAY)) // DAY * DAY
            ),
            "delete_old_hours": (now - int(self._retention.hours * DAY)) // DAY * DAY,
        }
        for statement, floor in floors.items():
            for _ in range(_DELETE_SLOTS):
                async with self._database.transaction(durable=False) as transaction:
                    if not await transaction.run(statement, floor):
                        break

    async def _unless_due(self, width: int, floor: int) -> int:
        [[oldest]] = await self._database.fetch("oldest_due", width)
        return floor if oldest is None else min(floor, oldest)

    async def _delete_incidents(self, now: int) -> None:
        before = now - int(self._retention.incidents * DAY)
        old = await self._database.fetch("old_incidents", before, _DELETE_INCIDENTS)
        if old:
            async with self._database.transaction(durable=False) as transaction:
                for statement in (
                    "delete_incident_events",
                    "delete_incident_outbox",
                    "delete_review",
                    "delete_incident",
                ):
                    await transaction.run_many(statement, old)
        async with self._database.transaction(durable=False) as transaction:
            await transaction.run("delete_old_reports", before)

    def _raw_floor(self, now: int) -> int:
        """Whole hours only: an hour of which a part is gone could not be rolled up again."""
        return (now - int(self._retention.raw * DAY)) // HOUR * HOUR


def _last_to_file(recent: Sequence[Row], now: int | None) -> tuple[int, int]:
    """The number of the last commit that can be filed, 0 for none, and how many observations there are up to it.

    Commits from more than an hour ahead are filed as well: they were written while the clock was wrong, and must
    not block those that follow.
    """
    last = rows = taken = 0
    for number, since, sources in recent:
        taken += len(unpack_numbers(sources))
        over = now is None or since < (now - LATE) // SLOT * SLOT or since > now + HOUR
        if not over or (taken > _ARCHIVE_ROWS and last):
            break
        last, rows = number, taken
    return last, rows


def _by_slot(bodies: Iterable[bytes], floor: int, part: int, parts: int) -> Slots:
    """Sort the observations of one of so many parts of the sources into slots.

    Those from before ``floor`` came too late: that hour is rolled up and gone.
    """
    slots: Slots = {}
    for body in bodies:
        for row in unpack(body):
            if row.at >= floor and row.source % parts == part:
                slots.setdefault((row.at // SLOT * SLOT, row.source), {})[row.at] = text_of(row)
    return slots


def _packing(filed: Slots, keys: Sequence[Slot]) -> Callable[[], list[Row]]:
    return lambda: [(*key, pack_texts(text for _, text in sorted(filed[key].items()))) for key in keys]


def _portions(keys: Sequence[Slot], size: int) -> Iterable[Sequence[Slot]]:
    return (keys[first : first + size] for first in range(0, len(keys), size))


def _pack_hour(start: int, slots: Iterable[Row]) -> bytes:
    rows = [row for slot in slots for row in unpack(slot[0])]
    return encode(roll_up_hour(start, rows)) if rows else b""


def _pack_day(start: int, rows: Iterable[Row]) -> bytes:
    hours = [(hour, decode(body)) for hour, body in rows]
    return encode(roll_up_day(start, hours)) if hours else b""
