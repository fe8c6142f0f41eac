"""The changes at hand: those that are under way and the last of those that are over, and how they are kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

from wcr_watchd.core import changes
from wcr_watchd.core.announcements import covered, in_short, readers
from wcr_watchd.core.changes import Change
from wcr_watchd.core.checklist import Sight
from wcr_watchd.core.clock import Clock
from wcr_watchd.core.errors import CommandError, StoreError
from wcr_watchd.core.escalation import recipients
from wcr_watchd.core.life import Finding
from wcr_watchd.core.model import EventKind, Notification, Observation, Severity
from wcr_watchd.core.notices import notice
from wcr_watchd.core.protocols import Store
from wcr_watchd.core.setup import Setup, Target
from wcr_watchd.core.silence import Matcher, Silence
from wcr_watchd.core.state import State
from wcr_watchd.core.versions import IMAGE, VERSION

log = structlog.get_logger(__name__)

MOST_MODIFICATIONS = 5_000
"""Modifications that are looked through for versions."""
KEPT_IN_MIND = 50
"""Changes that are over and still at hand; all of them are in the store."""


class Engine(Protocol):
    """What is known and decided, and where it is stored."""

    setup: Setup
    state: State

    @property
    def latest(self) -> Mapping[str, Observation]:
        """The newest observation of each check."""
        ...

    async def silence(self, wanted: Silence, changes: str = "") -> tuple[Silence, str]:
        """Put a window in force, or change the one named."""
        ...

    async def expire(self, identifier: str) -> str:
        """End a window."""
        ...

    def keep_change(self, change: Change) -> None:
        """Store a change."""
        ...

    async def flush(self) -> bool:
        """Store what waits."""
        ...

    def tell(self, notifications: Iterable[Notification]) -> None:
        """Owe messages."""
        ...

    def trouble(self, subject: str, finding: Finding, confirmed: str) -> None:
        """Open an incident of the daemon itself."""
        ...

    def trouble_over(self, subject: str, why: str) -> None:
        """End that incident."""
        ...


class Register:
    """Knows the changes and stores what becomes of them; one register is shared by all who work on changes.

    ``restored`` are the changes of the last life, with the newest of those that are over; ``watching_since`` is when
    this life began to watch (epoch seconds), if nobody did for a while before it.
    """

    def __init__(
        self, engine: Engine, store: Store, clock: Clock, restored: Iterable[Change], watching_since: float
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.touched = asyncio.Event()
        """Something was asked for, so that it is looked again what ticks itself."""
        self._store = store
        self._watching_since = watching_since
        self._changes = {one.id: one for one in sorted(restored, key=lambda one: one.id)}
        self._next = max(self._changes, default=0) + 1
        self._busy: dict[int, str] = {}
        self._deployed: dict[str, float] = {}

    # --- what is known ---

    @property
    def known(self) -> tuple[Change, ...]:
        """The changes that are not over, and the last of those that are; newest first."""
        return tuple(reversed(self._changes.values()))

    def at_hand(self, number: int) -> Change | None:
        """The change of this number, unless it was forgotten: there were too many that are over."""
        return self._changes.get(number)

    def newest(self, change: Change) -> Change:
        """The change as it is known by now."""
        return self._changes.get(change.id, change)

    async def change(self, number: int) -> Change:
        """One change. Raises ``CommandError`` when there is none of this number."""
        await self.look_for_versions()  # so that what its steps wait for is said by what is known now
        found = self._changes.get(number) or await self._store.change(number)
        if found is None:
            raise CommandError(f"there is no change #{number}; `wcr-watchd change list --all` shows all")
        return found

    def under_way(self, plan: str, matchers: tuple[Matcher, ...] = ()) -> Change | None:
        """The change of this plan that is not over; with ``matchers``, the one that touches just that."""
        alike = (one for one in self.known if one.plan.name == plan and not one.state.over)
        return next((one for one in alike if not matchers or one.plan.matchers == matchers), None)

    def sight(self) -> Sight:
        """What tells now whether steps are done."""
        engine = self.engine
        now = self.clock.now()
        return Sight(engine.setup, engine.state, engine.latest, now, self._watching_since, self._deployed)

    async def look_for_versions(self) -> None:
        """Find out when other versions came, for changes that name one."""
        spans = [
            step.span
            for one in self.known
            if one.version and one.state is changes.ChangeState.PREPARED
            for step, _ in one.steps
            if step.tick is changes.Tick.STAGING
        ]
        if not spans:
            return
        await self.engine.flush()
        now = self.clock.now()
        try:
            found = await self._store.modifications(since=now - max(spans), until=now + 1.0, limit=MOST_MODIFICATIONS)
        except StoreError as error:
            log.warning("when versions came is looked up when the store works again", error=str(error))
            return
        self._deployed = {one.source: one.at for one in reversed(found) if one.kind in (VERSION, IMAGE)}

    def about(self, change: Change) -> str:
        """What it touches, in short."""
        return in_short(covered(self.engine.setup, change.plan.matchers)) or "no check"

    # --- what becomes of it ---

    def take_number(self) -> int:
        """The number of a new change."""
        self._next += 1
        return self._next - 1

    def keep(self, change: Change) -> Change:
        """Know and store the change, if it is another than before."""
        if self._changes.get(change.id) != change:
            self._changes[change.id] = change
            self.engine.keep_change(change)
            self._forget_old()
        return change

    async def kept(self, change: Change, said: str, lines: tuple[str, ...] = ()) -> changes.Outcome:
        """The outcome of a command, once it is stored."""
        self.keep(change)
        self.touched.set()
        if not await self.engine.flush():
            said = f"{said}; not stored yet, a restart would forget it"
        return changes.Outcome(change, said, lines)

    def _forget_old(self) -> None:
        over = [one.id for one in self._changes.values() if one.state.over]
        for number in over[: max(0, len(over) - KEPT_IN_MIND)]:
            del self._changes[number]

    def is_busy(self, number: int) -> bool:
        """Whether a command that takes its time is carried out on it just now."""
        return number in self._busy

    @asynccontextmanager
    async def alone(self, number: int, doing: str) -> AsyncIterator[None]:
        """Only one of the commands that take their time is carried out on a change at once."""
        if number in self._busy:
            raise CommandError(f"change #{number} is being {self._busy[number]} just now")
        self._busy[number] = doing
        try:
            yield
        finally:
            del self._busy[number]

    # --- what is told ---

    def say(self, change: Change, summary: str) -> int:
        """Tell those whom the change names, or else the readers of infos; returns how many messages that are."""
        setup, now = self.engine.setup, self.clock.now()
        targets = tuple(Target(channel, who) for channel, _, who in (one.partition(":") for one in change.plan.tell))
        to = recipients(setup, targets, now) if targets else readers(setup, change.plan.matchers, now)
        identifier = f"{setup.name}-change-{change.id}-{int(now * 1000)}"
        reason = f"{change.name} is announced"
        self.engine.tell(notice(setup, EventKind.PLANNED, who, summary, reason, identifier, now) for who in to)
        return len(to)

    def trouble(
        self, change: Change, what: str, because: str, confirmed: str, severity: Severity = Severity.WARNING
    ) -> None:
        """Open an incident of the daemon itself about a change."""
        self.engine.trouble(_subject(change, what), Finding(severity, because, ""), confirmed)

    def trouble_over(self, change: Change, what: str, why: str) -> None:
        """End that incident."""
        self.engine.trouble_over(_subject(change, what), why)


def _subject(change: Change, what: str) -> str:
    return f"{changes.SUBJECT}{change.id} {what}"
