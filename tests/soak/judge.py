"""What must hold of a daemon's records and of what receivers were told, whatever happened to it meanwhile."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from tests.soak.world import MoodyReceiver, Taken
from wcr_watchd.core.model import Delivery, DeliveryState, Event, EventKind, Incident, IncidentState, Severity
from wcr_watchd.store.sqlite import SqliteStore

ABSENCE = "absence"
UNTOLD = "nobody was told of it, so nobody is told of its end"
RECORDED_WITHIN = 2.0
"""Seconds of life after which an accepted message is in the records for sure."""


@dataclass(frozen=True)
class Records:
    """Everything a daemon that has ended has written down about incidents."""

    incidents: Sequence[Incident]
    events: Mapping[int, Sequence[Event]]
    outbox: Sequence[Delivery]


def read(path: Path) -> Records:
    """Read the records at a path, and see that the file is sound."""
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    database.close()

    async def collect() -> Records:
        store = SqliteStore(path)
        await store.open()
        try:
            incidents = await store.incidents(limit=1_000_000)
            events = {one.id: await store.events(one.id) for one in incidents}
            return Records(incidents, events, await store.deliveries(limit=10_000_000))
        finally:
            await store.close()

    return asyncio.run(collect())


def pending(path: Path) -> int:
    """How many notifications a running daemon still owes, by its records."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        [count] = database.execute("SELECT count(*) FROM outbox WHERE state = 'pending'").fetchone()
    database.close()
    return int(count)


def all_is_over_and_told(records: Records, receivers: Mapping[str, MoodyReceiver]) -> None:
    """Every incident has its whole timeline and an end, and every receiver took its beginning and its end."""
    _timelines_are_whole(records)
    _everything_was_owed(records, receivers)
    _everything_owed_was_taken(records, receivers)


def _timelines_are_whole(records: Records) -> None:
    numbers = sorted(one.id for one in records.incidents)
    assert numbers == list(range(1, len(numbers) + 1)), "an incident is missing"
    for incident in records.incidents:
        timeline = records.events[incident.id]
        assert incident.state is IncidentState.RESOLVED, incident
        assert [event.sequence for event in timeline] == list(range(1, incident.sequence + 1)), timeline
        kinds = [event.kind for event in timeline]
        assert (kinds[0], kinds[-1]) == (EventKind.OPENED, EventKind.RESOLVED), timeline
        is_open = False
        for kind in kinds:  # it may come back, as itself or as flapping; it cannot begin nor end twice
            assert is_open == (kind not in (EventKind.OPENED, EventKind.FLAPPING)) or kind is EventKind.FLAPPING, (
                timeline
            )
            is_open = kind is not EventKind.RESOLVED


def _everything_was_owed(records: Records, receivers: Iterable[str]) -> None:
    rows = [row.notification for row in records.outbox]
    owed = Counter((one.incident, one.event, one.recipient.channel) for one in rows)
    for incident in records.incidents:
        if incident.subject == ABSENCE:  # the daemon's own: told by another policy, if at all
            continue
        timeline = records.events[incident.id]
        told = {EventKind.OPENED: sum(event.kind is EventKind.OPENED for event in timeline)}
        told[EventKind.RESOLVED] = sum(1 for _ in _told_spells(timeline))
        for kind, times in told.items():
            for channel in receivers:
                assert owed[incident.id, kind, channel] == times, (incident, kind, channel, timeline)


def _told_spells(timeline: Sequence[Event]) -> Iterator[Sequence[Event]]:
    """Each time from a beginning to the end, but those of which the policy tells nobody: never what was critical."""
    spell: list[Event] = []
    for event in timeline:
        spell.append(event)
        if event.kind is EventKind.RESOLVED:
            critical = any(one.severity is Severity.CRITICAL for one in spell[:-1])
            if critical or not event.reason.endswith(UNTOLD):
                yield spell
            spell = []


def _everything_owed_was_taken(records: Records, receivers: Mapping[str, MoodyReceiver]) -> None:
    expected: dict[str, set[str]] = {name: set() for name in receivers}
    for row in records.outbox:
        if row.notification.event in (EventKind.OPENED, EventKind.RESOLVED):
            assert row.state is DeliveryState.DELIVERED, row
        if row.state is DeliveryState.DELIVERED:
            expected[row.notification.recipient.channel].add(row.notification.id)
    everything = {row.notification.id for row in records.outbox}
    for name, receiver in receivers.items():
        taken = {one.key for one in receiver.taken}
        assert expected[name] <= taken, f"recorded as delivered but never taken: {expected[name] - taken}"
        assert taken <= everything, f"told but not recorded: {taken - everything}"


def told_again(receivers: Iterable[MoodyReceiver], kills: Sequence[float] = ()) -> int:
    """How many messages came more than once; each of them was on its way at a kill, or its answer got lost."""
    again = 0
    for receiver in receivers:
        by_key: dict[str, list[Taken]] = defaultdict(list)
        for one in receiver.taken:
            by_key[one.key].append(one)
        for takes in by_key.values():
            again += len(takes) - 1
            for first, second in pairwise(takes):
                killed = next((at for at in kills if first.at <= at <= second.at), None)
                in_flight = killed is not None and killed - (first.answered or first.at) < RECORDED_WITHIN
                assert first.answered is None or in_flight, (first, second, killed)
    return again
