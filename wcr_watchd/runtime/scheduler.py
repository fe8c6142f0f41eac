"""When checks run: one heap on the monotonic clock, every check in its own fixed phase of its interval."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush

import structlog

from wcr_watchd.core.clock import Clock
from wcr_watchd.core.view import Counters

log = structlog.get_logger(__name__)

FRESH_RUNS = 100
"""Runs younger than :data:`FRESH_FOR` at a time; more wait their turn."""
FRESH_FOR = 0.25
"""Seconds after which a run makes room for the next: however many hang, 400 can begin in every second."""
SLOW_RUNS = 2_000
"""Older runs at a time. Beyond that a check that was slow last time leaves its slot out; healthy ones keep theirs."""
SLOW_FROM = 1.0
"""Seconds from which on a check was slow."""
HEARTBEAT = 5.0
"""Seconds after which the scheduler looks up even when nothing is due, so that it can be seen to live."""
RESOLUTION = 0.01
"""Seconds within which a slot is due: runs that are due almost together share one wake-up, which on a busy daemon saves
a fifth of the processor time."""
FIRST_ROUND_PACE = 0.008
"""Seconds of the first round per check: 100 checks start within 0.8 s, 10 000 within 80 s or their interval."""
FIRST_ROUND = 0.75
"""Part of the interval that the first round takes at most: all is known within one interval of the start."""


@dataclass(slots=True, eq=False)
class _Entry:
    """A check on the schedule: its interval, its next slot, and what is going on with it."""

    name: str
    every: float
    phase: float
    """Seconds after the beginning of its interval."""
    slot: float
    extra: float | None = None
    task: asyncio.Task[None] | None = None
    queued: bool = False
    again: float | None = None
    slow: bool = False
    removed: bool = False


class Scheduler:
    """Starts runs at their time: never two of one check at once, never a burst to make up for what was missed.

    ``run`` carries one check out. A slot that cannot be kept is counted as missed. Times are monotonic, so that a jump
    of the wall clock and a suspend change nothing.
    """

    def __init__(self, clock: Clock, run: Callable[[str], Awaitable[None]], counters: Counters) -> None:
        self._clock = clock
        self._run = run
        self._counters = counters
        self._entries: dict[str, _Entry] = {}
        self._heap: list[tuple[float, int, _Entry, bool]] = []
        self._pushed = 0
        self._ready: deque[tuple[_Entry, float]] = deque()
        self._fresh: set[_Entry] = set()
        self._slow: set[_Entry] = set()
        self._wake = asyncio.Event()

    def set_checks(self, checks: Mapping[str, float]) -> None:
        """Make these (name to interval in seconds) the schedule; a check that keeps its interval keeps its phase."""
        for name in [name for name, entry in self._entries.items() if checks.get(name) != entry.every]:
            self._remove(name)
        new = [name for name in checks if name not in self._entries]
        now = self._clock.monotonic()
        for name in new:
            every, place = checks[name], fraction(name)
            first = now + place * min(FIRST_ROUND * every, len(new) * FIRST_ROUND_PACE)
            entry = _Entry(name, every, place * every, slot=first)
            self._entries[name] = entry
            self._push(first, entry, extra=False)
        self._wake.set()

    def run_soon(self, name: str, delay: float) -> None:
        """Run a check once more, in ``delay`` seconds, beside its slots; while it runs, after it has finished."""
        entry = self._entries.get(name)
        if entry is None:
            return
        due = self._clock.monotonic() + delay
        if entry.task is not None or entry.queued:
            entry.again = delay if entry.again is None else min(delay, entry.again)
        elif entry.extra is None or due < entry.extra:
            entry.extra = due
            self._push(due, entry, extra=True)
            self._wake.set()

    async def serve(self) -> None:
        """Start what is due until cancelled, then end every run that is going on."""
        try:
            loop = asyncio.get_running_loop()
            while True:
                self._wake.clear()
                alarm = loop.call_later(self._start_due(), self._wake.set)
                self._counters.scheduler_progress_at = self._clock.monotonic()
                await self._wake.wait()
                alarm.cancel()
        finally:
            await self._end_runs()

    def _push(self, due: float, entry: _Entry, *, extra: bool) -> None:
        self._pushed += 1
        heappush(self._heap, (due, self._pushed, entry, extra))

    def _remove(self, name: str) -> None:
        entry = self._entries.pop(name)
        entry.removed = True
        entry.again = None
        if entry.task is not None:
            entry.task.cancel()

    def _start_due(self) -> float:
        """Start or queue everything that is due; returns the seconds until something is."""
        while self._heap:
            now = self._clock.monotonic()
            due, _, entry, extra = self._heap[0]
            if due > now + RESOLUTION:
                return min(due - now, HEARTBEAT)
            heappop(self._heap)
            if entry.removed or (extra and entry.extra != due):
                continue
            if extra:
                entry.extra = None
            else:
                self._plan_next(entry, now)
            self._due(entry, due)
        return HEARTBEAT

    def _plan_next(self, entry: _Entry, now: float) -> None:
        """Put the next slot of the check's phase on the heap; slots that are past already are missed."""
        now = max(now, entry.slot)
        following = now - (now - entry.phase) % entry.every + entry.every
        self._counters.scheduler_missed += int((now - entry.slot) // entry.every)
        # The first slot is not in phase; a next one that would come almost at once is left to the one after.
        entry.slot = following if following - now > min(1.0, entry.every / 10) else following + entry.every
        self._push(entry.slot, entry, extra=False)

    def _due(self, entry: _Entry, due: float) -> None:
        crowded = entry.slow and len(self._slow) >= SLOW_RUNS
        if entry.task is not None or entry.queued or crowded:
            self._counters.scheduler_missed += 1
        elif len(self._fresh) >= FRESH_RUNS:
            entry.queued = True
            self._ready.append((entry, due))
        else:
            self._start(entry, due)

    def _start(self, entry: _Entry, due: float) -> None:
        self._counters.scheduler_lag.observe(max(0.0, self._clock.monotonic() - due))
        entry.queued = False
        self._fresh.add(entry)
        self._counters.runs_in_flight += 1
        entry.task = asyncio.create_task(self._carry_out(entry), name=f"run {entry.name}")

    async def _carry_out(self, entry: _Entry) -> None:
        ageing = asyncio.get_running_loop().call_later(FRESH_FOR, self._age, entry)
        begun = self._clock.monotonic()
        try:
            await self._run(entry.name)
        except Exception:
            log.exception("a run could not be handled; the check goes on with its next slot", check=entry.name)
        finally:
            ageing.cancel()
            entry.slow = self._clock.monotonic() - begun >= SLOW_FROM
            self._fresh.discard(entry)
            self._slow.discard(entry)
            self._counters.runs_in_flight -= 1
            entry.task = None
            self._start_ready()
            if entry.again is not None and not entry.removed:
                delay, entry.again = entry.again, None
                self.run_soon(entry.name, delay)

    def _age(self, entry: _Entry) -> None:
        """The run takes long: it makes room among the fresh ones, as long as there is room among the slow."""
        if len(self._slow) < SLOW_RUNS:
            self._fresh.discard(entry)
            self._slow.add(entry)
            self._start_ready()
        elif entry in self._fresh:
            asyncio.get_running_loop().call_later(FRESH_FOR, self._age, entry)

    def _start_ready(self) -> None:
        while self._ready and len(self._fresh) < FRESH_RUNS:
            entry, due = self._ready.popleft()
            if not entry.removed:
                self._start(entry, due)

    async def _end_runs(self) -> None:
        self._ready.clear()
        tasks = [entry.task for entry in (*self._fresh, *self._slow) if entry.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def fraction(name: str) -> float:
    """A number 0-1 that is always the same for a name: where in its interval a check has its slot."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=6).digest()) / 2**48
