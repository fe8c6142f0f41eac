"""Reviews of incidents and the follow-ups in them: kept, reminded of before they are due, told of when late."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Never, Protocol

import structlog

from wcr_watchd.core import follow_up
from wcr_watchd.core.errors import CommandError, StoreError
from wcr_watchd.core.follow_up import SHOWN_DONE, FollowUp
from wcr_watchd.core.life import Finding
from wcr_watchd.core.model import Severity
from wcr_watchd.core.protocols import Batch, Store
from wcr_watchd.core.report import Upcoming
from wcr_watchd.core.review import Review
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.task import PREFIX, TaskPhase, TaskRecord, TaskView

log = structlog.get_logger(__name__)

LOOK_EVERY = 60.0
"""Seconds between looks at what is due."""


class Clock(Protocol):
    """The daemon's time."""

    def now(self) -> float:
        """Epoch seconds."""
        ...


class Engine(Protocol):
    """What is configured, and where incidents of the daemon itself are opened."""

    setup: Setup

    def trouble(self, subject: str, finding: Finding, confirmed: str) -> None:
        """Open an incident of the daemon itself, unless it is open."""
        ...

    def trouble_over(self, subject: str, why: str) -> None:
        """End that incident, if it is open."""
        ...


class FollowUps:
    """Keeps what people write after incidents, and sees to it that what they planned is done."""

    def __init__(self, engine: Engine, store: Store, clock: Clock) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock
        self._known: dict[str, FollowUp] = {}
        self._is_known = False
        self._changing = asyncio.Lock()

    async def serve(self) -> Never:
        """Look at what is due until cancelled."""
        while True:  # a clock is waited for, not an event
            try:
                await self.look()
            except StoreError as error:
                log.warning("follow-ups are not looked after: the records cannot be read", error=str(error))
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> None:
        """Remind of what is due soon, tell of what is overdue, and end the incidents of what is done."""
        await self._load()
        now, timezone = self._clock.now(), self._engine.setup.timezone
        for one in self._known.values():
            stands = follow_up.phase(one, now)
            said = f"{one.text}: {follow_up.told(one, now, timezone)} (follow-up of incident #{one.incident})"
            for late, severity, word in (
                (TaskPhase.SOON, Severity.INFO, "is due"),
                (TaskPhase.OVERDUE, self._engine.setup.follow_ups.overdue, "is overdue"),
            ):
                subject = f"{one.name} {word}"
                if stands is late:
                    self._engine.trouble(subject, Finding(severity, said, ""), "by its date")
                else:
                    over = follow_up.told(one, now, timezone) if one.done_at else "its time has passed"
                    self._engine.trouble_over(subject, over)

    async def keep(self, written: Review) -> None:
        """Keep the texts of a review; its follow-ups stay. Raises ``StoreError``."""
        async with self._changing:
            known = await self._review(written.incident)
            await self._store.commit(Batch(reviews=(replace(written, follow_ups=known.follow_ups),)))

    async def add(self, wanted: FollowUp) -> FollowUp:
        """Add a follow-up to its incident; returns it with its number. Raises ``CommandError`` and ``StoreError``."""
        async with self._changing:
            await self._load()
            review = await self._review(wanted.incident)
            one = follow_up.added(review.follow_ups, wanted)
            await self._store.commit(Batch(reviews=(replace(review, follow_ups=(*review.follow_ups, one)),)))
            self._known[one.name] = one
        await self.look()
        return one

    def has(self, name: str) -> bool:
        """Whether a task of this name is a follow-up."""
        return name.removeprefix(PREFIX) in self._known

    async def sign_off(self, name: str, by: str, note: str, evidence: Sequence[str]) -> str:
        """Somebody has done it; returns a sentence. Raises ``CommandError`` and ``StoreError``."""
        async with self._changing:
            one = self._of(name)
            done = follow_up.signed_off(one, by, note, evidence, self._clock.now())
            review = await self._review(one.incident)
            kept = tuple(done if known.number == one.number else known for known in review.follow_ups)
            await self._store.commit(Batch(reviews=(replace(review, follow_ups=kept),)))
            self._known[one.name] = done
        await self.look()
        return f"{one.name} is done, signed off by {by}; it does not come again"

    async def views(self, timezone: str = "") -> tuple[TaskView, ...]:
        """Those that are open or were done lately, as tasks, the one that is due first at the front.

        Times in words are of that zone, else of that of [watchd].
        """
        await self._load()
        now, timezone = self._clock.now(), timezone or self._engine.setup.timezone
        shown = [one for one in self._known.values() if one.done_at is None or now - one.done_at < SHOWN_DONE]
        return tuple(follow_up.view(one, now, timezone) for one in sorted(shown, key=lambda one: one.due))

    def times(self, name: str, until: float) -> tuple[float, ...]:
        """When it is due, if it is open and that is before then."""
        one = self._of(name)
        return (one.due,) if one.done_at is None and one.due < until else ()

    def records(self, name: str) -> tuple[TaskRecord, ...]:
        """How it ended, if it did."""
        return follow_up.records_of(self._of(name))

    def coming(self, until: float) -> tuple[Upcoming, ...]:
        """What people have to do until then, and what they should have done, for a report."""
        now = self._clock.now()
        return tuple(
            Upcoming(one.due, "task", f"{one.text} ({one.owner}){', overdue' if one.due <= now else ''}")
            for one in self._known.values()
            if one.done_at is None and one.due < until
        )

    def _of(self, name: str) -> FollowUp:
        known = self._known.get(name.removeprefix(PREFIX))
        if known is None:
            raise CommandError(f"there is no task {name!r}; `wcr-watchd task list` shows all")
        return known

    async def _review(self, incident: int) -> Review:
        return await self._store.review(incident) or Review(incident)

    async def _load(self) -> None:
        if not self._is_known:
            reviews = await self._store.reviews()
            self._known = {one.name: one for review in reviews for one in review.follow_ups} | self._known
            self._is_known = True
