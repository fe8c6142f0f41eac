"""One channel's queue: what may be handed to the provider now, and what has to wait for what."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from wcr_watchd.core.clock import Clock
from wcr_watchd.core.model import Delivery, EventKind, Notification, Recipient, Severity
from wcr_watchd.core.protocols import Channel

CONCURRENCY = 4
"""Messages of one channel on their way at a time; a provider that hangs keeps no more than these."""
HEARTBEAT = 10.0
"""Seconds after which a lane looks up even when nothing is due, so that it can be seen to live."""
LEAST_PAUSE = 0.001
"""Seconds to wait at least: the loop's clock is finer than a time of day, and a lane must not spin between the two."""
GATHER = 60.0
"""Seconds for which messages beyond the cost cap are gathered before their summary goes out."""
STOP_WITHIN = 5.0
"""Seconds that messages on their way may take to finish when the daemon stops."""

SUMMARY = ":summary"
"""How the id of a message ends that stands for what the cost cap held back."""

FEW = 4
"""Messages of a cost cap below which there is no slot to keep for urgent news alone."""

Key = tuple[Recipient, int]
Cap = tuple[int, float]
"""At most so many messages in so many seconds."""


@dataclass(slots=True, eq=False)
class Owed:
    """One notification on its way through a lane.

    ``due`` is when it may be tried next (epoch seconds). ``unwritten`` marks one that this life made up and the
    store may not have yet. ``reserved`` lets it use the slot of the cost cap that is kept for summaries.
    ``freed_at`` is until when it was held for longer than it was to wait: somebody asked for it to be sent again after
    it was given up, or its incident was muted.
    """

    delivery: Delivery
    due: float
    unwritten: bool = False
    reserved: bool = False
    started: float = 0.0
    in_flight: bool = False
    held: bool = False
    freed_at: float = 0.0
    overtaken: bool = False
    done: bool = False
    keys: tuple[Key, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.keys = keys_of(self.notification)
        self.reserved = self.reserved or self.notification.id.endswith(SUMMARY)

    @property
    def notification(self) -> Notification:
        """What is to be sent."""
        return self.delivery.notification

    @property
    def begun(self) -> float:
        """When it could first have been sent (epoch seconds)."""
        return max(self.notification.created_at, self.notification.not_before, self.freed_at)


def keys_of(notification: Notification) -> tuple[Key, ...]:
    """The orders in which a notification has its place: its recipient's, of each incident it tells of."""
    about = {item.incident for item in notification.message.items} or {notification.incident}
    return tuple((notification.recipient, incident) for incident in sorted(about))


class Lane:
    """Sends one channel's notifications, each as soon as it is due, and strictly in order per incident and recipient.

    A message about several incidents (a summary) keeps its place in the order of each. Nothing here knows why
    something failed or what to do about it: ``attempt`` tries one and then calls :meth:`remove` or :meth:`retry`;
    ``merge`` makes one message of several that the cap held back; ``stuck`` hears of those that it holds for long.
    """

    def __init__(
        self,
        name: str,
        channel: Channel,
        cap: Cap | None,
        clock: Clock,
        attempt: Callable[[Lane, Owed], Awaitable[None]],
        merge: Callable[[Sequence[Owed]], None],
        stuck: Callable[[Owed], None],
    ) -> None:
        self.name = name
        self.channel = channel
        self.cap = cap
        self.failing_since: float | None = None
        self.progress_at = clock.monotonic()
        self.retired = False
        self._clock = clock
        self._attempt = attempt
        self._merge = merge
        self._stuck = stuck
        self._queues: dict[Key, deque[Owed]] = {}
        self._ready: list[tuple[float, int, Owed]] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._held: dict[Recipient, list[Owed]] = {}
        self._reserved: set[Owed] = set()
        self._sent: deque[float] = deque()
        self._started: deque[float] = deque()
        self._paused_until = 0.0
        self._order = count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()

    # --- what goes in and out ---

    def add(self, owed: Owed) -> None:
        """Queue it behind everything about the same incidents to the same recipient."""
        for key in owed.keys:
            self._queues.setdefault(key, deque()).append(owed)
        if owed.reserved:
            self._reserved.add(owed)
        self._make_ready(owed)

    def remove(self, owed: Owed) -> None:
        """It is dealt with: what waited for it may go."""
        owed.done = True
        self._reserved.discard(owed)
        self._step_aside(owed)

    def retry(self, owed: Owed, at: float) -> None:
        """Try it again at a time; what waits for it goes on waiting."""
        owed.due = at
        self._make_ready(owed)

    def pause(self, until: float) -> None:
        """The provider asked for silence until a time."""
        self._paused_until = max(self._paused_until, until)

    def at(self, when: float, call: Callable[[], None]) -> None:
        """Call something at a time (epoch seconds) from within the lane."""
        heappush(self._timers, (when, next(self._order), call))
        self._wake.set()

    def note_sent(self, at: float) -> None:
        """Count a message that the provider took against the cost cap."""
        if self.cap is not None:
            self._sent.append(at)

    def blocked_by(self, owed: Owed) -> Owed | None:
        """What it has to wait for before it may go; None when it is first in all its orders."""
        heads = (self._queues[key][0] for key in owed.keys if self._queues.get(key))
        return next((head for head in heads if head is not owed), None)

    @property
    def full(self) -> bool:
        """Whether as many messages are on their way as may be."""
        return len(self._tasks) >= CONCURRENCY

    # --- the loop ---

    async def run(self) -> None:
        """Send what is due. Runs until cancelled, then lets what is on its way finish for a moment."""
        try:
            while not (self.retired and not self._tasks):
                pause = self._start_due()
                self.progress_at = self._clock.monotonic()
                await self._sleep(pause)
        finally:
            await self._drain()

    async def _sleep(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(min(seconds, HEARTBEAT)):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    def _start_due(self) -> float:
        """Start everything that may start now; returns the seconds until something else may."""
        now = self._clock.now()
        while self._timers and self._timers[0][0] <= now:
            heappop(self._timers)[2]()
        while self._ready and self._ready[0][0] <= now and not self.full:
            open_from = self._open_from(now)
            if open_from > now:
                return self._until(now, open_from)
            _, _, owed = heappop(self._ready)
            if self._may_start(owed, now) and self._within_cap(owed, now):
                self._start(owed, now)
        next_ready = self._ready[0][0] if self._ready and not self.full else now + HEARTBEAT
        return self._until(now, next_ready)

    def _until(self, now: float, moment: float) -> float:
        timer = self._timers[0][0] if self._timers else moment
        return max(LEAST_PAUSE, min(moment, timer) - now)

    def _open_from(self, now: float) -> float:
        """When the provider may be bothered next: after a pause it asked for, and within its own rate limit."""
        rate = self.channel.limits.rate
        if rate is None:
            return self._paused_until
        allowed, window = rate
        while self._started and self._started[0] <= now - window:
            self._started.popleft()
        free_from = self._started[0] + window if len(self._started) >= allowed else now
        return max(self._paused_until, free_from)

    def _may_start(self, owed: Owed, now: float) -> bool:
        """Whether an entry of the heap still holds: it may be old, its item done, moved to later or under way."""
        return not (owed.done or owed.in_flight or owed.held or owed.due > now or self.blocked_by(owed))

    def _start(self, owed: Owed, now: float) -> None:
        owed.in_flight, owed.started = True, now
        if self.channel.limits.rate is not None:
            self._started.append(now)
        task = asyncio.create_task(self._carry_out(owed), name=f"send {owed.notification.id}")
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    async def _carry_out(self, owed: Owed) -> None:
        try:
            await self._attempt(self, owed)
        finally:
            owed.in_flight = False
            if not owed.done:
                self._make_ready(owed)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._wake.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            self.at(0.0, _raiser(error))  # a defect of ours, not of the provider: end the lane, and with it the daemon

    async def _drain(self) -> None:
        tasks = set(self._tasks)
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=STOP_WITHIN)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late)

    # --- order ---

    def _make_ready(self, owed: Owed) -> None:
        if not owed.in_flight and not owed.held and self.blocked_by(owed) is None:
            heappush(self._ready, (owed.due, next(self._order), owed))
            self._wake.set()

    def _step_aside(self, owed: Owed) -> None:
        """Leave all orders it stands in."""
        for key in owed.keys:
            queue = self._queues.get(key)
            if queue is None or owed not in queue:
                continue
            queue.remove(owed)
            if queue:
                self._make_ready(queue[0])
            else:
                del self._queues[key]
        self._wake.set()

    # --- the cost cap ---

    def _within_cap(self, owed: Owed, now: float) -> bool:
        """Whether the cap lets it go now; if not, it is held for a summary (or, being one, waits for a free slot).

        One slot of the window is kept for the summary, so that what was held back is told soon after a storm
        began and not when the window ends.
        """
        if self.cap is None:
            return True
        allowed, _ = self.cap
        used = self._used(now)
        if owed.reserved or owed.delivery.attempts:  # one that was tried may have been taken: it keeps its own key
            if used < allowed:
                return True
            self.retry(owed, self._slot_free_at(now))
            return False
        recipient = owed.notification.recipient
        summary_first = recipient in self._held or any(s.notification.recipient == recipient for s in self._reserved)
        if not summary_first and used + self._spoken_for < max(1, allowed - self._kept(owed, allowed)):
            return True
        self._hold(owed, now)
        if _urgent(owed):
            self._stuck(owed)
        return False

    def _kept(self, owed: Owed, allowed: int) -> int:
        """How many slots of the window are not for this one: the summary's, and one that only urgent news may have."""
        return 1 if _urgent(owed) or allowed < FEW else 2

    @property
    def _spoken_for(self) -> int:
        """Slots of the window that summaries wait for."""
        return sum(not owed.in_flight for owed in self._reserved)

    def _used(self, now: float) -> int:
        window = self.cap[1] if self.cap else 0.0
        while self._sent and self._sent[0] <= now - window:
            self._sent.popleft()
        return len(self._sent) + len(self._tasks)

    def _slot_free_at(self, now: float) -> float:
        """When a slot of the window may be free; what is on its way now decides itself within moments."""
        window = self.cap[1] if self.cap else 0.0
        return self._sent[0] + window if self._sent and not self._tasks else now + 1.0

    def _hold(self, owed: Owed, now: float) -> None:
        owed.held = True
        self._step_aside(owed)
        recipient = owed.notification.recipient
        if recipient not in self._held:
            self._held[recipient] = []
            self.at(now + GATHER, lambda: self._summarise(recipient))
        self._held[recipient].append(owed)

    def _summarise(self, recipient: Recipient) -> None:
        """Send what was held for the recipient as one message, when the window has room for it."""
        now = self._clock.now()
        held = [owed for owed in self._held[recipient] if not owed.done]
        if held and self.cap is not None and self._used(now) + self._spoken_for >= self.cap[0]:
            self._held[recipient] = held
            for owed in held:
                self._stuck(owed)
            self.at(self._slot_free_at(now), lambda: self._summarise(recipient))
            return
        del self._held[recipient]
        if len(held) > 1:
            self._merge(held)
        for owed in held:
            owed.held = False
            if len(held) == 1:
                owed.reserved = True
                self.add(owed)


def _urgent(owed: Owed) -> bool:
    """Whether it is the first that somebody hears of something critical."""
    notification = owed.notification
    news = (EventKind.OPENED, EventKind.RAISED, EventKind.FLAPPING, EventKind.DIGEST)
    return notification.severity is Severity.CRITICAL and notification.event in news


def _raiser(error: BaseException) -> Callable[[], None]:
    def throw() -> None:
        raise error

    return throw
