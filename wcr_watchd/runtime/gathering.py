"""What comes together is told together: one message of several to the same person, and few messages in a storm."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wcr_watchd.core.clock import Clock
from wcr_watchd.core.message import digest
from wcr_watchd.core.model import EventKind, Notification, Recipient
from wcr_watchd.runtime.lane import Lane, Owed, keys_of

STORM = 5
"""Messages to one person that may come of one gathering; more groups than that become a single summary."""
STORM_WAIT = 5.0
"""Seconds that are gathered after a storm began; doubled while it lasts."""
LONGEST_WAIT = 30.0
LOOK_AGAIN_AT_MUTED = 30.0
"""Seconds between looks at news whose time has come while its incident is muted."""
BEGINNINGS = (EventKind.OPENED, EventKind.FLAPPING)


@dataclass(slots=True)
class _Gathered:
    """What waits for one recipient, until ``closes`` (epoch seconds)."""

    closes: float = 0.0
    parts: list[Owed] = field(default_factory=list)


@dataclass(slots=True)
class _Storm:
    """A storm on one recipient: how long the next gathering takes, and until when one counts as the same storm."""

    wait: float
    until: float


class Gathering:
    """Keeps notifications for the short wait each of them allows, then sends those of one group as one.

    ``send`` queues one by itself, ``merge`` makes one message of several. The first of a storm go soon, as always;
    after them the wait grows while it lasts, so that a thousand failures are a few messages. ``muted`` says of a
    notification that was to wait that nobody is to be told of its incident now.
    """

    def __init__(
        self,
        clock: Clock,
        send: Callable[[Lane, Owed], None],
        merge: Callable[[Sequence[Owed]], None],
        muted: Callable[[Notification], bool],
    ) -> None:
        self._clock = clock
        self._send = send
        self._merge = merge
        self._muted = muted
        self._gathered: dict[Recipient, _Gathered] = {}
        self._storms: dict[Recipient, _Storm] = {}
        self._later: dict[tuple[Recipient, int], list[Owed]] = {}

    def take(self, lane: Lane, owed: Owed, *, alone: bool) -> Sequence[Owed]:
        """Take one in; returns those that have become superfluous: held for later, and overtaken by this one.

        A problem that is over before anybody was told of it stays untold, its end included. One that is to be
        ``alone`` waits for no others, but overtakes as any. What quiet hours held is held on by a silence or a
        window that has begun meanwhile.
        """
        now = self._clock.now()
        key = (owed.notification.recipient, owed.notification.incident)
        held = [one for one in self._later.get(key, []) if not one.done]
        if owed.notification.event is EventKind.RESOLVED and any(one.notification.event in BEGINNINGS for one in held):
            del self._later[key]
            return (*held, owed)
        if owed.notification.event is EventKind.REMINDED and held and owed.due > now:
            return (owed,)  # what is told by then already says that it is so
        if not owed.delivery.attempts and (owed.due > now or self._muted(owed.notification)):
            self._later.setdefault(key, []).append(owed)
            lane.at(max(owed.due, now), lambda: self._take_now(lane, owed, alone=alone))
            return ()
        self._later.pop(key, None)
        self._take_in(lane, owed, now, alone=alone)
        return held

    def take_instead(self, lane: Lane, owed: Owed) -> None:
        """Take one in that is told in another's place, for whom its time has come: of a storm it may be one of many."""
        self._gather(lane, owed, self._clock.now())

    def has_before(self, notification: Notification) -> bool:
        """Whether news of the same incident to the same person is being gathered, behind which this has its place."""
        waiting = self._gathered.get(notification.recipient)
        keys = set(keys_of(notification))
        return waiting is not None and any(not keys.isdisjoint(part.keys) for part in waiting.parts)

    def _take_now(self, lane: Lane, owed: Owed, *, alone: bool) -> None:
        """Its time has come: quiet hours are over. News that finds its incident muted waits for the end of that.

        What is told then overtakes it; it goes out by itself to those who are not told anew.
        """
        now = self._clock.now()
        if owed.done:
            self._forget(owed)
        elif self._muted(owed.notification):
            owed.freed_at = now
            lane.at(now + LOOK_AGAIN_AT_MUTED, lambda: self._take_now(lane, owed, alone=alone))
        else:
            self._forget(owed)
            self._take_in(lane, owed, now, alone=alone)

    def _take_in(self, lane: Lane, owed: Owed, now: float, *, alone: bool) -> None:
        if alone:
            self._send(lane, owed)
        else:
            self._gather(lane, owed, now)

    def _forget(self, owed: Owed) -> None:
        key = (owed.notification.recipient, owed.notification.incident)
        held = self._later.get(key, [])
        if owed in held:
            held.remove(owed)
        if not held:
            self._later.pop(key, None)

    def _gather(self, lane: Lane, owed: Owed, now: float) -> None:
        recipient = owed.notification.recipient
        waiting = self._gathered.get(recipient)
        wait = self._wait(owed, now)
        # One that was tried may have been taken: in a message with others, nobody would know it again.
        if owed.delivery.attempts or lane.channel.limits.single or (waiting is None and not wait):
            self._send(lane, owed)
            return
        if waiting is None:
            waiting = self._gathered[recipient] = _Gathered()
        # One that has passed was left by a channel that a reload took away.
        if not now < waiting.closes <= now + wait:
            waiting.closes = now + wait
            lane.at(waiting.closes, lambda: self._close(lane, recipient))
        waiting.parts.append(owed)

    def _wait(self, owed: Owed, now: float) -> float:
        """How long it may be gathered: not at all if it must be single, longer while a storm lasts."""
        if not owed.notification.wait:
            return 0.0
        storm = self._storms.get(owed.notification.recipient)
        return max(owed.notification.wait, storm.wait) if storm and now < storm.until else owed.notification.wait

    def _close(self, lane: Lane, recipient: Recipient) -> None:
        now = self._clock.now()
        gathered = self._gathered.get(recipient)
        if gathered is None or gathered.closes > now:
            return
        del self._gathered[recipient]
        parts = [owed for owed in gathered.parts if not owed.done]
        groups = _grouped(parts)
        if len(groups) > STORM:
            groups = [parts]
        self._note_storm(recipient, len(parts), now)
        for group in groups:
            if len(group) > 1:
                self._merge(group)
            else:
                self._send(lane, group[0])

    def _note_storm(self, recipient: Recipient, size: int, now: float) -> None:
        before = self._storms.pop(recipient, None)
        if size > STORM:
            lasting = before is not None and now < before.until
            wait = min(before.wait * 2, LONGEST_WAIT) if before and lasting else STORM_WAIT
            self._storms[recipient] = _Storm(wait, now + 2 * LONGEST_WAIT)


def as_one(parts: Sequence[Owed], suffix: str, note: str, now: float) -> Notification:
    """One notification that says what several to one recipient say, made now (epoch seconds).

    Its id is that of the first with this suffix; ``note`` says why it is one. Whoever was not told by a fallback is
    told of all of it if it cannot be delivered.
    """
    first = parts[0].notification
    message = digest([owed.notification.message for owed in parts], now, note)
    untold = (who for owed in parts if not owed.delivery.fell_back for who in owed.notification.fallbacks)
    return Notification(
        id=first.id + suffix,
        incident=message.incident,
        event=EventKind.DIGEST,
        severity=message.severity,
        recipient=first.recipient,
        created_at=now,
        not_before=now,
        message=message,
        fallbacks=tuple(dict.fromkeys(untold)),
    )


def _grouped(parts: Sequence[Owed]) -> list[list[Owed]]:
    """Those of one group together, in order; whatever tells of the same incident is in one, so that it keeps its order.

    A message that stands for several (left by the last life) joins the groups of all its incidents.
    """
    groups: list[list[int]] = []
    place: dict[str | int, int] = {}
    for number, owed in enumerate(parts):
        about: list[str | int] = [incident for _, incident in owed.keys if incident]
        about.append(owed.notification.group or owed.notification.id)
        found = sorted({place[key] for key in about if key in place})
        here = found[0] if found else len(groups)
        if not found:
            groups.append([])
        for other in found[1:]:
            groups[here] += groups[other]
            groups[other] = []
            place.update((key, here) for key, group in place.items() if group == other)
        groups[here].append(number)
        place.update((key, here) for key in about)
    return [[parts[number] for number in sorted(group)] for group in groups if group]
