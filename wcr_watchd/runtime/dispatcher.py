"""Delivers what is owed: every notification once, by its channel or its fallback, across failures and restarts."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import structlog

from wcr_watchd.core.clock import Clock
from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.model import (
    Delivery,
    DeliveryState,
    EventKind,
    Incident,
    IncidentState,
    Message,
    Notification,
    Recipient,
)
from wcr_watchd.core.protocols import Channel, Receipt, Restored, Store
from wcr_watchd.core.run import Shared
from wcr_watchd.core.view import ChannelCounters, Counters
from wcr_watchd.kit.templates import Wording
from wcr_watchd.runtime import recall
from wcr_watchd.runtime.gathering import LOOK_AGAIN_AT_MUTED, Gathering, as_one
from wcr_watchd.runtime.lane import SUMMARY, Cap, Key, Lane, Owed, keys_of
from wcr_watchd.runtime.ledger import Ledger
from wcr_watchd.runtime.patience import CLOCK_DOUBT, GIVE_UP_AFTER, LONGEST_RETRY_AFTER, backoff, due
from wcr_watchd.runtime.sending import hand_over, out_of_turn
from wcr_watchd.runtime.stand_ins import StandIns, in_place_of

log = structlog.get_logger(__name__)

FALLBACK_AFTER_ATTEMPTS = 2
FALLBACK_AFTER = 20.0
"""Seconds without acceptance after which the fallback is told while the channel is in trouble."""
HANGS_AFTER = 10.0
"""Seconds after which an attempt without an answer counts as trouble."""
LOOK_AGAIN = 5.0
"""Seconds between looks at a message that waits although its channel works."""
RECORD_PATIENCE = 2.0
"""Seconds to wait for the store before a message goes out unrecorded: a full disk must not silence a page."""
FLUSH_WITHIN = 2.0
REPORT_EVERY = 10.0
"""Seconds between looks at the lanes; with their heartbeat, a lane that stands still is seen within 30."""
REMEMBERED_DELIVERIES = 1000
"""Notifications known to be delivered: a wall clock that is set back makes the same hand-over come twice."""

_OVERTAKEN = frozenset({EventKind.REMINDED, EventKind.ESCALATED})


class Dispatcher:
    """The durable outbox's other half: takes notifications that are stored and sees that they are delivered.

    ``channels`` by configured name, ``wordings`` the own words of some; ``caps`` the most messages in so many seconds
    for those that cost money; ``redact`` removes secrets from a text, ``linked`` adds the recipient's own links and
    ``enclosed`` the document that a notification brings.

    One :class:`~wcr_watchd.runtime.lane.Lane` per channel keeps the order, so that a provider that hangs delays no
    other. Call :meth:`resume` once before :meth:`run`.
    """

    def __init__(
        self,
        channels: Mapping[str, Channel],
        store: Store,
        clock: Clock,
        shared: Shared,
        counters: Counters,
        caps: Mapping[str, Cap] | None = None,
        redact: Callable[[str], str] = str,
        wordings: Mapping[str, Wording] | None = None,
        linked: Callable[[Notification], Notification] = lambda notification: notification,
        enclosed: Callable[[Notification], Awaitable[Notification]] | None = None,
    ) -> None:
        self._linked = linked
        self._enclosed = enclosed
        self._store = store
        self._clock = clock
        self._shared = shared
        self._counters = counters
        self._redact = redact
        self._wordings = wordings or {}
        self._ledger = Ledger(store, redact)
        self._lanes: dict[str, Lane] = {}
        self._owed: dict[str, Owed] = {}
        self._digests: dict[Recipient, list[Owed]] = {}
        self._muted: Callable[[int], bool] = lambda incident: False
        self._gathering = Gathering(clock, self._enqueue, self._tell_together, self._is_muted)
        self._told: OrderedDict[str, None] = OrderedDict()
        self._stand_ins = StandIns()
        self._open_since: dict[int, float] = {}
        self._early: list[Notification] | None = []
        """What was owed before it was known who stood in for whom in the last life; None: it is known."""
        self._tasks: asyncio.TaskGroup | None = None
        self._open_lanes(channels, caps or {})

    # --- what the rest of the daemon calls ---

    def owe(self, notifications: Iterable[Notification]) -> None:
        """Deliver these; they are stored already. Whoever stood in for somebody is told of the end as well."""
        owed = list(notifications)
        for notification in owed:
            self._stand_ins.meant(notification)
            self._take(Delivery(notification))
        if self._early is None:
            self._tell_stand_ins(owed)
        else:
            self._early += owed

    def heed(self, is_muted: Callable[[int], bool]) -> None:
        """From now on ask this whether nobody is to be told of an incident: what waited for its time then waits on."""
        self._muted = is_muted

    def overtaken(self, incidents: Iterable[int]) -> None:
        """The incidents are acknowledged or over: reminders of them that are still owed have lost their meaning."""
        numbers = set(incidents)
        for owed in list(self._owed.values()) if numbers else ():
            notification = owed.notification
            if notification.incident in numbers and notification.event in _OVERTAKEN:
                owed.overtaken = True
                if not owed.in_flight:
                    self._close(owed, replace(owed.delivery, state=DeliveryState.SUPERSEDED))

    def store_works(self) -> None:
        """The store takes writes again: note at once what became of notifications meanwhile."""
        self._ledger.write_soon()

    def record_all(self) -> None:
        """The store begins anew: write down again everything that is still owed, and how far it has come."""
        owed = [owed.delivery for owed in self._owed.values()]
        self._ledger.note(owed, [delivery.notification for delivery in owed])

    def resume(self, restored: Restored) -> None:
        """Go on with what the last life still owed; reminders of what is acknowledged or over are dropped.

        What may have been on its way goes out under its own key, so that a provider that has it knows. The others are
        gathered, lest a storm come of them.
        What waits for a later time was not on its way, nor was anything behind it in its order; unless it is not much
        later, as the clock may have been ahead in the last life.
        """
        incidents = {incident.id: incident for incident in restored.incidents}
        self._open_since = {incident.id: incident.opened_at for incident in restored.incidents}
        ends = [one.notification for one in restored.pending if one.notification.event is EventKind.RESOLVED]
        self._open_since |= {end.incident: end.message.opened_at for end in ends}
        self._early = ends
        now = self._clock.now()
        waiting: set[Key] = set()
        owed, ready = [], []
        for delivery in recall.in_order(restored.pending):
            if delivery.notification.event in _OVERTAKEN and not _unattended(incidents, delivery.notification):
                self._ledger.note([replace(delivery, state=DeliveryState.SUPERSEDED)])
                continue
            owed.append(delivery)
            keys = keys_of(delivery.notification)
            if due(delivery, now) > now + CLOCK_DOUBT or not waiting.isdisjoint(keys):
                waiting.update(keys)
            else:
                ready.append(delivery)
        alone = recall.on_their_way(ready, now)
        for delivery in owed:
            self._take(delivery, alone=delivery.notification.id in alone)

    def reconfigure(
        self, channels: Mapping[str, Channel], caps: Mapping[str, Cap], wordings: Mapping[str, Wording] | None = None
    ) -> None:
        """Go on with other channels. What is owed to a channel that is gone goes to its fallback."""
        self._wordings = wordings or {}
        for name in [name for name in self._lanes if name not in channels]:
            self._lanes.pop(name).retired = True
            self._counters.channels.pop(name, None)
        self._open_lanes(channels, caps)
        for owed in list(self._owed.values()):
            if owed.notification.recipient.channel not in channels and not owed.in_flight:
                self._fail_unknown(owed)

    def delivers_by(self, channel: str) -> bool:
        """Whether there is a channel of this name."""
        return channel in self._lanes

    def owes(self, notification: str) -> bool:
        """Whether the notification of this id is on its way."""
        return notification in self._owed

    def send_again(self, given_up: Delivery) -> None:
        """Try for another day what was given up, as the same notification; its fallback is not told once more."""
        now = self._clock.now()
        delivery = replace(given_up, state=DeliveryState.PENDING, next_attempt_at=now, fell_back=True)
        self._counters.dead_letters -= 1
        self._ledger.note([delivery])
        self._take(delivery, freed_at=now)

    def let_go(self, given_up: Delivery, why: str) -> None:
        """What was given up need not be told any more."""
        self._counters.dead_letters -= 1
        self._ledger.note([replace(given_up, state=DeliveryState.SUPERSEDED, receipt=why)])

    async def send_test(self, recipient: Recipient, message: Message) -> Receipt:
        """Send a message at once, past queue, cap and store, to prove that the channel delivers.

        Raises :class:`ChannelError` when it is not accepted, ``KeyError`` when there is no such channel.
        """
        name, linked = recipient.channel, self._linked(out_of_turn(recipient, message))
        try:
            receipt = await hand_over(self._lanes[name].channel, linked, self._shared, self._wordings.get(name))
        except ChannelError as error:
            error.summary = self._redact(error.summary)
            raise
        return Receipt(self._redact(receipt.text))

    async def run(self) -> None:
        """Deliver until cancelled; then finish what is on its way, and leave the rest to the next life."""
        now = self._clock.now()
        await recall.count_sent(self._store, self._lanes, now)
        await recall.note_stand_ins(self._store, self._stand_ins, self._open_since, now)
        early, self._early = self._early or [], None
        self._tell_stand_ins(early)
        try:
            async with asyncio.TaskGroup() as self._tasks:
                self._tasks.create_task(self._ledger.run(), name="ledger")
                for lane in self._lanes.values():
                    self._tasks.create_task(lane.run(), name=f"lane {lane.name}")
                while True:
                    self._report()
                    await asyncio.sleep(REPORT_EVERY)
        finally:
            self._tasks = None
            await self._ledger.flush(FLUSH_WITHIN)

    # --- taking on ---

    def _open_lanes(self, channels: Mapping[str, Channel], caps: Mapping[str, Cap]) -> None:
        for name, channel in channels.items():
            if name in self._lanes:
                self._lanes[name].channel, self._lanes[name].cap = channel, caps.get(name)
                continue
            lane = Lane(
                name, channel, caps.get(name), self._clock, self._attempt, self._summarise, self._fall_back_full
            )
            self._lanes[name] = lane
            self._counters.channels.setdefault(name, ChannelCounters())
            if self._tasks is not None:
                self._tasks.create_task(lane.run(), name=f"lane {name}")

    def _take(self, delivery: Delivery, *, unwritten: bool = False, freed_at: float = 0.0, alone: bool = False) -> None:
        notification = delivery.notification
        if notification.id in self._owed or notification.id in self._told:
            return
        owed = Owed(delivery, due=due(delivery, self._clock.now()), unwritten=unwritten, freed_at=freed_at)
        self._owed[notification.id] = owed
        self._counters.notifications_pending = len(self._owed)
        lane = self._lanes.get(notification.recipient.channel)
        if lane is None:
            self._fail_unknown(owed)
        elif notification.digest:
            self._gather(lane, owed)
        elif unwritten and alone:
            self._enqueue(lane, owed)
        elif unwritten:
            self._gathering.take_instead(lane, owed)
        else:
            for overtaken in self._gathering.take(lane, owed, alone=alone):
                self._close(overtaken, replace(overtaken.delivery, state=DeliveryState.SUPERSEDED))

    def _enqueue(self, lane: Lane, owed: Owed) -> None:
        lane.add(owed)
        if owed.notification.fallbacks and not owed.delivery.fell_back:
            when = max(self._clock.now(), owed.begun) + FALLBACK_AFTER
            lane.at(when, lambda: self._check_overdue(lane, owed))

    # --- one attempt and what follows ---

    async def _attempt(self, lane: Lane, owed: Owed) -> None:
        if owed.unwritten:
            await self._ledger.written(RECORD_PATIENCE)
            owed.unwritten = False
        try:
            notification = self._linked(owed.notification)
            if self._enclosed is not None:
                notification = await self._enclosed(notification)
            receipt = await hand_over(lane.channel, notification, self._shared, self._wordings.get(lane.name))
        except ChannelError as error:
            self._failed(lane, owed, error)
        else:
            self._delivered(lane, owed, receipt)

    def _delivered(self, lane: Lane, owed: Owed, receipt: Receipt) -> None:
        now = self._clock.now()
        lane.note_sent(now)
        counters = self._counters_of(lane.name)
        counters.sent += 1
        counters.last_success_at = now
        if lane.failing_since is not None:
            log.info("channel delivers again", channel=lane.name, after=round(now - lane.failing_since, 1))
            lane.failing_since = None
        delivered = replace(
            owed.delivery,
            state=DeliveryState.DELIVERED,
            attempts=owed.delivery.attempts + 1,
            delivered_at=now,
            receipt=self._redact(receipt.text),
        )
        log.info("notification delivered", channel=lane.name, id=owed.notification.id, receipt=delivered.receipt)
        self._told[owed.notification.id] = None
        if len(self._told) > REMEMBERED_DELIVERIES:
            self._told.popitem(last=False)
        self._close(owed, delivered)

    def _failed(self, lane: Lane, owed: Owed, error: ChannelError) -> None:
        now = self._clock.now()
        counters = self._counters_of(lane.name)
        counters.failed[error.reason] = counters.failed.get(error.reason, 0) + 1
        attempts = owed.delivery.attempts + 1
        owed.delivery = replace(owed.delivery, attempts=attempts, last_error=self._redact(error.summary))
        self._say_failing(lane, owed, error, now)
        if owed.overtaken:
            self._close(owed, replace(owed.delivery, state=DeliveryState.SUPERSEDED))
        elif error.permanent or lane.retired or now - owed.begun >= GIVE_UP_AFTER:
            self._give_up(owed)
        else:
            self._try_later(lane, owed, error, now)

    def _try_later(self, lane: Lane, owed: Owed, error: ChannelError, now: float) -> None:
        asked = min(error.retry_after or 0.0, LONGEST_RETRY_AFTER)
        wait = max(backoff(owed.delivery.attempts), asked)
        owed.delivery = replace(owed.delivery, next_attempt_at=now + wait)
        self._ledger.note([owed.delivery])
        if asked:
            lane.pause(now + asked)
        lane.retry(owed, now + wait)
        if owed.delivery.attempts >= FALLBACK_AFTER_ATTEMPTS:
            self._fall_back(owed, "could not deliver")

    def _give_up(self, owed: Owed) -> None:
        """Put it on the dead-letter list and tell the next in line instead."""
        log.error(
            "notification given up",
            channel=owed.notification.recipient.channel,
            id=owed.notification.id,
            attempts=owed.delivery.attempts,
            error=owed.delivery.last_error,
        )
        self._fall_back(owed, "could not deliver")
        self._counters.dead_letters += 1
        self._close(owed, replace(owed.delivery, state=DeliveryState.FAILED, next_attempt_at=self._clock.now()))

    def _fail_unknown(self, owed: Owed) -> None:
        name = owed.notification.recipient.channel
        owed.delivery = replace(
            owed.delivery, last_error=f'there is no channel "{name}" in the configuration (any more)'
        )
        self._give_up(owed)

    def _close(self, owed: Owed, delivery: Delivery) -> None:
        """It needs nothing more: note how it ended and let others go."""
        owed.delivery = delivery
        self._owed.pop(owed.notification.id, None)
        self._counters.notifications_pending = len(self._owed)
        self._ledger.note([delivery])
        lane = self._lanes.get(owed.notification.recipient.channel)
        if lane is not None:
            lane.remove(owed)
        owed.done = True

    def _say_failing(self, lane: Lane, owed: Owed, error: ChannelError, now: float) -> None:
        said = {"channel": lane.name, "id": owed.notification.id, "reason": error.reason}
        if lane.failing_since is None and not error.permanent:
            lane.failing_since = owed.started or now
            log.warning("channel does not deliver", error=owed.delivery.last_error, **said)
        else:
            log.debug("attempt failed", error=owed.delivery.last_error, attempts=owed.delivery.attempts, **said)

    # --- fallback ---

    def _check_overdue(self, lane: Lane, owed: Owed) -> None:
        """It has been due for a while: tell the fallback if the channel is in trouble, else look again soon."""
        if owed.done or owed.delivery.fell_back:
            return
        now = self._clock.now()
        before = lane.blocked_by(owed)
        hangs = owed.in_flight and now - owed.started >= HANGS_AFTER
        stuck = lane.failing_since is not None or (lane.full and not owed.held)
        waits = stuck or (before is not None and before.delivery.fell_back)
        if hangs or (waits and not owed.in_flight) or (owed.delivery.attempts and not owed.held):
            self._fall_back(owed, "could not deliver")
        else:
            lane.at(now + LOOK_AGAIN, lambda: self._check_overdue(lane, owed))

    def _fall_back_full(self, owed: Owed) -> None:
        self._fall_back(owed, "has reached its limit")

    def _fall_back(self, owed: Owed, why: str) -> None:
        """Owe the same news to the next in line as well, once; the original is still tried."""
        original = owed.notification
        if owed.delivery.fell_back or not original.fallbacks:
            return
        owed.delivery = replace(owed.delivery, fell_back=True)
        following = original.fallbacks[0]
        untold = self._stand_ins.untold(original.message, following)
        if untold is None:  # two channels failed, and both fall back to this person
            self._ledger.note([owed.delivery])
            return
        instead = in_place_of(original, untold, why, self._clock.now())
        log.warning("fallback told", id=instead.id, instead_of=original.recipient.channel, channel=following.channel)
        self._stand_ins.note(instead)
        lane = self._lanes.get(original.recipient.channel)
        # What is told one by one there was never gathered: of a storm it would be a flood elsewhere.
        ungathered = lane is not None and lane.channel.limits.single
        self._owe_new(instead, [owed.delivery], alone=not ungathered and not self._gathering.has_before(instead))
        self._tell_stand_ins(self._stand_ins.ends_since(instead))

    def _tell_stand_ins(self, owed: Sequence[Notification]) -> None:
        """Have those told of an end who heard of the beginning in somebody else's place."""
        for end, meant in self._stand_ins.ends(owed, self._clock.now()):
            self._stand_ins.note(end)
            self._owe_new(end, self._fell_back(meant, end.recipient), alone=False)

    def _fell_back(self, meant: Notification, told: Recipient) -> list[Delivery]:
        """Note that the next in line is told already, so that this is not done once more, in this life or the next."""
        owed = self._owed.get(meant.id)
        if owed is None or told not in meant.fallbacks[:1]:
            return []
        owed.delivery = replace(owed.delivery, fell_back=True)
        return [owed.delivery]

    def _owe_new(self, notification: Notification, changed: Sequence[Delivery], *, alone: bool = True) -> None:
        """Record a notification that was made here, with those that led to it, then deliver it: or gather it first."""
        self._ledger.note(changed, [notification])
        self._take(Delivery(notification), unwritten=True, alone=alone)

    # --- several as one ---

    def _is_muted(self, notification: Notification) -> bool:
        """Whether it was to wait, and nobody is to be told of it now; ends are told to whoever knows of the problem."""
        waits = notification.not_before > notification.created_at and notification.event is not EventKind.RESOLVED
        return waits and self._muted(notification.incident)

    def _gather(self, lane: Lane, owed: Owed) -> None:
        """Keep it for the recipient's digest, which goes when the oldest of its parts has waited long enough."""
        recipient = owed.notification.recipient
        if recipient not in self._digests:
            self._digests[recipient] = []
            lane.at(owed.due, lambda: self._send_digest(recipient))
        self._digests[recipient].append(owed)

    def _send_digest(self, recipient: Recipient) -> None:
        lane = self._lanes.get(recipient.channel)
        parts = [owed for owed in self._digests.pop(recipient, []) if not owed.done]
        muted = [owed for owed in parts if self._is_muted(owed.notification)]
        if muted and lane is not None:
            self._digests[recipient] = muted
            parts = [owed for owed in parts if owed not in muted]
            lane.at(self._clock.now() + LOOK_AGAIN_AT_MUTED, lambda: self._send_digest(recipient))
        if len(parts) == 1 and lane is not None:
            parts[0].due = self._clock.now()
            self._enqueue(lane, parts[0])
        elif parts:
            self._merge(parts, ":digest", "")

    def _tell_together(self, parts: Sequence[Owed]) -> None:
        self._merge(parts, ":group", "")

    def _summarise(self, parts: Sequence[Owed]) -> None:
        channel = parts[0].notification.recipient.channel
        self._merge(parts, SUMMARY, f"sent as one because {channel} has reached its limit")

    def _merge(self, parts: Sequence[Owed], suffix: str, note: str) -> None:
        """Replace several notifications to one recipient by one that says it all."""
        merged = as_one(parts, suffix, note, self._clock.now())
        for owed in parts:
            self._close(owed, replace(owed.delivery, state=DeliveryState.MERGED, receipt=merged.id))
        self._owe_new(merged, ())

    # --- being seen ---

    def _counters_of(self, channel: str) -> ChannelCounters:
        return self._counters.channels.setdefault(channel, ChannelCounters())

    def _report(self) -> None:
        """Say how much is owed, since when, and that all lanes live."""
        now = self._clock.now()
        overdue = [
            owed.begun for owed in self._owed.values() if owed.begun <= now and not self._is_muted(owed.notification)
        ]
        self._counters.notifications_pending = len(self._owed)
        self._counters.oldest_pending_at = min(overdue, default=None)
        alive = [lane.progress_at for lane in self._lanes.values()]
        self._counters.dispatcher_progress_at = min(alive, default=self._clock.monotonic())


def _unattended(incidents: Mapping[int, Incident], notification: Notification) -> bool:
    incident = incidents.get(notification.incident)
    return incident is not None and incident.state is IncidentState.OPEN
