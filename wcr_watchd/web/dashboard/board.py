"""What all viewers of the overview share: rows, header and strips are made once, however many people look.

One task follows the daemon and counts versions; a page knows by which version it was made, so that whoever was away (a
laptop that slept, a connection that broke, a daemon that was restarted) gets exactly what changed since.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Set
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import uuid4
from zoneinfo import ZoneInfo

import structlog
from aiohttp import web

from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.model import Observation
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.state import CheckState
from wcr_watchd.core.uptime import Outcomes
from wcr_watchd.core.view import View
from wcr_watchd.web import shapes
from wcr_watchd.web.dashboard.layout import fragment, warm_up
from wcr_watchd.web.dashboard.listing import Catalogue
from wcr_watchd.web.dashboard.rows import row_of
from wcr_watchd.web.dashboard.strips import SLOT, SLOTS, Mark, Strips, mark_of
from wcr_watchd.web.health import CONTROL
from wcr_watchd.web.live import lines

log = structlog.get_logger(__name__)

MOST_INCIDENTS = 1_000
"""Incidents of the last day that are drawn."""
NO_VERSION = -1
PACE = 2.0
"""Seconds between two versions while something changes all the time; after a rest the first one comes at once."""
_DAY = SLOT * SLOTS


@dataclass(frozen=True, slots=True)
class _Made:
    """A row, and what it was made of; all of it is replaced when it changes, never altered."""

    html: str
    event: bytes
    setup: Setup
    latest: Observation | None
    state: CheckState | None
    slot: float
    day: date


class Board:
    """The overview's memory."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._life = uuid4().hex[:8]
        self._version = 0
        self._rows: dict[str, _Made] = {}
        self._events: dict[str, bytes] = {}
        self._touched: dict[str, int] = {}
        self._last: set[str] = set()
        self._words: dict[str, str] = {}
        self._above: dict[bool, tuple[int, bytes]] = {}
        self._changed = asyncio.Event()
        self._setup = view.setup
        self._catalogue: Catalogue | None = None
        self.strips = Strips()
        self.counts: Counter[str] = Counter()
        self._count_anew()

    @property
    def version(self) -> int:
        """How many times something changed."""
        return self._version

    def stamp(self, version: int) -> str:
        """A version, with the life of the daemon that it belongs to."""
        return f"{self._life}-{version}"

    def version_of(self, stamp: str) -> int:
        """The version that a stamp means; ``NO_VERSION`` when it is of another life, or none."""
        life, _, number = stamp.partition("-")
        known = life == self._life and number.isdecimal() and len(number) < 16
        return int(number) if known and int(number) <= self._version else NO_VERSION

    async def catalogue(self) -> Catalogue:
        """The checks there are, in order; put in order once per configuration."""
        found, setup = self._catalogue, self._view.setup
        if found is None or found.setup is not setup:
            found = self._catalogue = await asyncio.to_thread(Catalogue.of, setup)
        return found

    def word(self, name: str) -> str:
        """How a check is, in one word."""
        return self._words.get(name, "new")

    def newer(self, names: Set[str], version: int) -> Collection[str]:
        """Those of the checks that changed after a version."""
        if version == NO_VERSION:
            return names
        if version == self._version - 1:
            return [name for name in self._last if name in names]
        return [name for name in names if self._touched.get(name, 0) > version]

    def row(self, name: str) -> str:
        """The row of a check."""
        return self._made(name).html

    def row_event(self, name: str) -> bytes:
        """The row of a check, in an event: it takes the place of the one that is there. Made once per version."""
        event = self._events.get(name)
        if event is None:
            event = self._events[name] = self._made(name).event
        return event

    def _made(self, name: str) -> _Made:
        view = self._view
        now = view.now()
        latest, state = view.latest.get(name), view.state.checks.get(name)
        slot, day = now // SLOT, datetime.fromtimestamp(now, UTC).astimezone(ZoneInfo(view.setup.timezone)).date()
        made = self._rows.get(name)
        fresh = made is not None and made.setup is view.setup and made.latest is latest and made.state is state
        if made is None or not fresh or (made.slot, made.day) != (slot, day):
            html = fragment(view, "_row.html", row=row_of(view, name), strip=self.strips.draw(name, now))
            event = lines(html.replace("<a ", '<a hx-swap-oob="true" ', 1))
            made = self._rows[name] = _Made(html, event, view.setup, latest, state, slot, day)
        return made

    def above(self, may_act: bool, make: Callable[[], str]) -> bytes:
        """What stands above the list, as ``make`` says once per version: the same object while it is the same."""
        version, event = self._above.get(may_act, (NO_VERSION, b""))
        if version != self._version:
            made = lines(make())
            event = event if made == event else made
            self._above[may_act] = self._version, event
        return event

    async def versions(self, seen: int) -> AsyncIterator[int]:
        """Each version after that one; who is slow misses some."""
        while True:
            if seen == self._version:
                await self._changed.wait()
                continue
            seen = self._version
            yield seen

    async def follow(self) -> None:
        """Keep up with the daemon; never ends."""
        async for batch in self._view.touched():
            if self._view.setup is not self._setup:
                self._count_anew()
            names = {change.check for change in batch if change.check}
            for name in names:
                self._note(name)
            self._announce(names)
            await asyncio.sleep(PACE)

    async def remember(self) -> None:
        """Draw what the records say of the last day, a check at a time; prepare the pages before."""
        await asyncio.to_thread(warm_up)
        now = self._view.now()
        try:
            for incident in await self._view.store.incidents(since=now - _DAY, limit=MOST_INCIDENTS):
                self.strips.note_incident(incident, now)
            for name in tuple(self._view.setup.checks):
                for found in await self._view.store.outcomes(name, since=now - _DAY, until=now):
                    self.strips.note(name, found.start, min(now, found.start + found.width - 1), _mark(found))
                self._rows.pop(name, None)
                self._touched[name] = self._version + 1
        except StoreError as error:
            log.warning("the overview shows no history before the start", error=str(error))
        self._announce(set(self._view.setup.checks))

    def _note(self, name: str) -> None:
        state = self._view.state.checks.get(name)
        if name not in self._view.setup.checks:
            return
        self.counts[self.word(name)] -= 1
        self._words[name] = shapes.state_word(state)
        self.counts[self._words[name]] += 1
        self._touched[name] = self._version + 1
        if state is not None and state.outcome is not None:
            now = self._view.now()
            self.strips.note(name, now, now, mark_of(state))

    def _announce(self, names: set[str]) -> None:
        self._version += 1
        self._last = names
        self._events.clear()
        self._changed.set()
        self._changed = asyncio.Event()

    def _count_anew(self) -> None:
        """Other checks, after a reload."""
        view = self._view
        self._setup = view.setup
        self._words = {name: shapes.state_word(view.state.checks.get(name)) for name in view.setup.checks}
        self.counts = Counter(self._words.values())
        for kept in (self._rows, self._touched):
            for name in [name for name in kept if name not in view.setup.checks]:
                del kept[name]
        self.strips.forget(view.setup.checks)


def _mark(found: Outcomes) -> Mark:
    """What is drawn of these runs; when in a whole hour something was down, the incidents know better."""
    if found.down and (found.width <= SLOT or not found.up):
        return Mark.WARNING
    return Mark.UP if found.up else Mark.UNKNOWN


BOARD = web.AppKey("board", Board)


def set_up(app: web.Application) -> None:
    """Let the board follow the daemon as long as pages are served."""

    async def running(app: web.Application) -> AsyncIterator[None]:
        app[BOARD] = board = Board(app[CONTROL])
        tasks = [asyncio.create_task(board.follow()), asyncio.create_task(board.remember())]
        for task in tasks:
            task.add_done_callback(_report)
        yield
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    app.cleanup_ctx.append(running)


def _report(task: asyncio.Task[None]) -> None:
    """A board that failed must not be silent: pages would stand still and look fine."""
    if not task.cancelled() and (error := task.exception()):
        log.error("the dashboard's live changes ended", exc_info=error)
