"""What must hold of a world that was lived through, judged by its plan, by what targets saw and providers accepted.

The judge knows neither the engine nor the dispatcher. It works with time spans: in which a target fails, in which
something keeps that from being told, in which a channel or the daemon itself cannot do anything. Times are seconds
since the beginning; those in messages come from the daemon's clock, which is off by up to :data:`OFF`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from tests.simulation.parts import Accepted
from tests.simulation.plan import (
    BEGIN,
    CHANNELS,
    DAY,
    EVERY,
    HOUR,
    OPTIONAL,
    PARENTS,
    QUIET,
    RETRIES,
    RETRY_EVERY,
    STEADY,
    STEP_AFTER,
    TIMEOUT,
    UNSTEADY,
    WINDOW,
    Spell,
)
from tests.simulation.world import World, news, story
from wcr_watchd.core.model import DeliveryState, EventKind, IncidentState, Message, Notification, Recipient, Severity

OFF = 65.0
FAILING = (
    EventKind.OPENED,
    EventKind.RAISED,
    EventKind.LOWERED,
    EventKind.REMINDED,
    EventKind.ESCALATED,
    EventKind.FLAPPING,
)
CONFIRM = RETRIES * (RETRY_EVERY + TIMEOUT) + TIMEOUT
"""Seconds from the first failing run to a confirmed failure, at most."""
NOTICE = EVERY + CONFIRM + 30.0
"""Seconds of undisturbed life within which a failure is confirmed and an end is seen."""
NOTICE_AFTER_START = 120.0
"""The same from a start on, since everything is looked at once at a start."""
SEND = 120.0
"""Seconds within which a working channel has taken what is owed."""
SEND_AFTER_OUTAGE = 1_500.0
"""The same when it has just been out: the pauses between attempts have grown."""
RECORD = 20.0
"""Seconds within which the records know that a message was accepted."""
REFUSED_LATELY = 10.0
"""Seconds after a refusal within which everything that waited is stored."""
IN_PLACE = ":fallback:"
"""Stands in the key of what is told in another's place, behind the key of that."""
RESULTS = 20
CHANGES = 5
"""Changes among so many last results from which on it may be said to flap."""

NEAR_SMS_CAP = 24
"""Text messages in an hour from which on the next one may have to wait: of the 30 of the plan some are kept back."""

Span = tuple[float, float]
Place = tuple[float, int]


def judge(world: World) -> list[str]:
    """Everything that does not hold, in words."""
    return [*world.faults, *Judge(world).faults()]


class Judge:
    """Looks at one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._plan = world.plan
        self._dead = [(gone.at, gone.back) for gone in world.gone] + world.held_up
        self._forgotten = frozenset().union(*(gone.forgotten for gone in world.gone))
        self._may_forget = bool(self._forgotten)
        self._told: dict[str, list[tuple[Place, Accepted, Message]]] = defaultdict(list)
        """By check, every piece of news that was accepted first, in the order of the daemon's decisions."""
        known = set()
        for one in world.accepted:
            for item in one.items:
                key = news(one.notification.recipient, item)
                if key not in known:
                    known.add(key)
                    self._told[item.check].append((self._place(one, item), one, item))
        for told in self._told.values():
            told.sort(key=lambda entry: entry[0])

    def _place(self, one: Accepted, item: Message) -> Place:
        """Where a piece of news stands among the daemon's decisions, also when it is told in another's place later."""
        number = self._world.order.get(news(one.notification.recipient, item), -1)
        return self._world.decided.get(story(item), 0.0), number

    def faults(self) -> Iterator[str]:
        """One after the other."""
        yield from self._twice()
        yield from self._out_of_order()
        yield from self._told_while_muted()
        yield from self._told_for_nothing()
        for check in STEADY:
            for spell in self._plan.spells[check]:
                if spell.mood in ("down", "hang", "slow"):
                    yield from self._untold(check, spell)
                    yield from self._untold_end(check, spell)
        yield from self._unfinished()
        yield from self._outbox()

    # --- nothing twice, everything in order ---

    def _twice(self) -> Iterator[str]:
        by_id: dict[str, list[Accepted]] = defaultdict(list)
        by_news: dict[object, set[str]] = defaultdict(set)
        for one in self._world.accepted:
            by_id[one.notification.id].append(one)
            for item in one.items:
                by_news[news(one.notification.recipient, item)].add(one.notification.id)
        for key, takes in by_id.items():
            for first, second in pairwise(takes):
                if first.answered and not self._was_in_flight(key, first.at, second.at):
                    yield f"{second.at:.0f}: {key} is told again; first at {first.at:.0f}"
                if _content(first) != _content(second):
                    yield f"{second.at:.0f}: {key} is told again with other news under the same key"
        for told, keys in by_news.items():
            if len(keys) > 1 and not self._refused_to_record(keys):
                yield f"the same news is told under the keys {sorted(keys)}: {told}"

    def _refused_to_record(self, keys: set[str]) -> bool:
        """Whether a crash came when the store had long refused to note what had been taken, or was to be told."""
        refusals = [one for one in self._plan.store if one.mood == "refuse"]
        return any(
            keys & gone.forgotten or (keys & gone.unrecorded and _within(refusals, gone.at - REFUSED_LATELY, gone.at))
            for gone in self._world.gone
        )

    def _was_in_flight(self, key: str, first: float, second: float) -> bool:
        for gone in self._world.gone:
            # What is told in another's place may be recorded while the news itself is not yet: that is decided anew.
            if first <= gone.at <= second and {key, key.partition(IN_PLACE)[0]} & gone.forgotten:
                return True
            if first <= gone.at <= second and key in gone.unrecorded:
                return gone.at - first < RECORD or bool(_within(self._plan.store, first - RECORD, gone.at))
        return False

    def _out_of_order(self) -> Iterator[str]:
        last: dict[tuple[Recipient, int, float], tuple[Place, Message]] = {}
        known = set()
        for one in self._world.accepted:
            for item in one.items:
                key = news(one.notification.recipient, item)
                if key in known or not item.incident:
                    continue
                known.add(key)
                line = (one.notification.recipient, item.incident, item.opened_at)
                place = self._place(one, item)
                # It is decided before it is seen here: what the daemon's clock says as well is out of order.
                if line in last and last[line][0] > place and last[line][1].at > item.at:
                    before = last[line][1].event
                    yield f"{one.at:.0f}: #{item.incident} {item.event} comes after {before}: {line[0]}"
                if one.notification.id in self._forgotten:
                    last.pop(line, None)  # the next life does not know that they were told
                else:
                    last[line] = (place, item)

    # --- nobody is told what must not be told ---

    def _told_while_muted(self) -> Iterator[str]:
        silences = [one for one in self._world.asked if one.kind == "silence" and one.promised]
        taken = [one for one in self._world.asked if one.kind == "acknowledge" and one.promised]
        owed = (row.notification for row in self._world.rows.values())
        waits = {news(one.recipient, one.message): one.not_before for one in owed if one.not_before > one.created_at}
        for check, told in self._told.items():
            for _, one, item in told:
                at = item.at - BEGIN
                if item.event not in FAILING:
                    continue
                # What came first is told by true times: the clock may have been put right between the two.
                # What an outage kept since before a silence may come within it; what quiet hours kept may not.
                decided = self._world.decided[story(item)]
                if any(s.check == check and s.at + 1 < decided and at < s.end - 1 for s in silences):
                    yield f"{at:.0f}: {check} {item.event} is told during a silence ({one.notification.id})"
                due = waits.get(news(one.notification.recipient, item), BEGIN) - BEGIN
                if any(s.check == check and s.at + OFF < due and one.at < s.end - OFF for s in silences):
                    yield f"{one.at:.0f}: {check} {item.event} of {at:.0f} was held until a silence has begun, and told"
                if check == "windowed" and WINDOW[0] * HOUR + 1 < at % DAY < WINDOW[1] * HOUR - 1:
                    yield f"{at:.0f}: {check} {item.event} is told in a maintenance window ({one.notification.id})"
                if item.event in (EventKind.REMINDED, EventKind.ESCALATED) and any(
                    a.incident == item.incident
                    and a.at + 1 < decided
                    and at < min(a.end - 1, self._ack_ends(a.incident, a.start))
                    for a in taken
                ):
                    yield f"{at:.0f}: #{item.incident} {item.event} although it is acknowledged"

    def _ack_ends(self, incident: int, since: float) -> float:
        ends = (EventKind.RAISED, EventKind.RESOLVED)
        times = (one.at - BEGIN for one in self._world.events.get(incident, ()) if one.kind in ends)
        return min((at for at in times if at > since), default=float("inf"))

    def _told_for_nothing(self) -> Iterator[str]:
        news_of_failure = (EventKind.OPENED, EventKind.RAISED, EventKind.FLAPPING)
        for check, told in self._told.items():
            for _, one, item in told:
                at = item.at - BEGIN
                if item.event not in news_of_failure or check not in self._plan.spells or self._unsteady(check, at):
                    continue
                reach = (
                    OFF
                    + NOTICE
                    + sum(min(end, at) - max(start, at - HOUR) for start, end in self._dead_in(at - HOUR, at))
                )
                spells = [s for s in self._plan.spells[check] if s.mood != "blip"]
                if not _within(spells, at - reach, at + OFF):
                    yield f"{at:.0f}: {check} {item.event} is told although it works ({one.notification.id})"

    def _dead_in(self, start: float, end: float) -> list[Span]:
        return [one for one in self._dead if one[0] < end and one[1] > start]

    # --- everybody is told what must be told ---

    def _untold(self, check: str, spell: Spell) -> Iterator[str]:
        for start, end in self._open_spans(check, spell):
            known = self._noticed(start, end)
            if known is None or known + 2 * OFF > end:
                continue
            if spell.mood == "slow":
                quiet = _quiet_hours(self._plan.days)
                if self._delivered_by("mail", known, quiet) < end:  # what is over before the morning stays untold
                    yield from self._must_know(check, "mail", "", spell, known, quiet)
                continue
            for channel in CHANNELS:
                since = self._remembered(check, start, known, self._delivered_by(channel, known))
                if since + 2 * OFF < end:
                    yield from self._must_know(check, channel, "", spell, since)
            remembered = self._remembered(check, start, known, known + STEP_AFTER)
            stepped = _lasting(remembered + STEP_AFTER, OFF, self._dead)
            if stepped + 2 * OFF < end and not self._unsteady(check, stepped):
                for contact in ("lead", "second"):
                    if self._delivered_by("sms", stepped) < end:  # a step has lost its meaning once it is over
                        yield from self._must_know(check, "sms", contact, spell, stepped)

    def _remembered(self, check: str, start: float, known: float, end: float) -> float:
        """By when something is known for good that began at ``start``; crashes from ``end`` on do not matter.

        What a crash forgets, because it was told while the store took nothing, is decided anew, and so are its steps.
        """
        for gone in self._world.gone:
            forgets = any(one.notification.id in gone.forgotten for _, one, _ in self._told[check])
            if forgets and start <= gone.at < end:
                known = max(known, gone.back + NOTICE_AFTER_START)
        return known

    def _must_know(
        self, check: str, channel: str, contact: str, spell: Spell, since: float, quiet: Sequence[Span] = ()
    ) -> Iterator[str]:
        until = self._delivered_by(channel, since, quiet)
        last = self._last_told(check, channel, contact, since + OFF, until)
        if last is None or last.event is EventKind.RESOLVED:
            who = f"{channel}:{contact}" if contact else channel
            heard = "nothing" if last is None else f"{last.event} of {last.at - BEGIN:.0f}"
            yield (
                f"{check} is {spell.mood} {spell.start:.0f}-{spell.end:.0f}, known from {since:.0f}: "
                f"{who} was not told by {until:.0f}, but heard {heard} last"
            )

    def _untold_end(self, check: str, spell: Spell) -> Iterator[str]:
        following = min((s.start for s in self._plan.spells[check] if s.start > spell.end), default=self._plan.ends)
        known = self._noticed(spell.end, following)
        if known is None:
            return
        known = self._remembered(check, spell.end, known, following)
        if known + 2 * OFF > following or self._unsteady(check, known):
            return
        for channel in CHANNELS:
            until = self._delivered_by(channel, known, _quiet_hours(self._plan.days) if channel == "mail" else ())
            people = {
                one.notification.recipient.contact
                for _, one, _ in self._told[check]
                if one.channel == channel and IN_PLACE not in one.notification.id
            }
            for contact in people:
                last = self._last_told(check, channel, contact, known + OFF, until, but=self._forgotten)
                if last is not None and last.event in FAILING:
                    yield (
                        f"{check} works again from {spell.end:.0f}, known from {known:.0f}: {channel}:{contact} was "
                        f"not told by {until:.0f}, but heard {last.event} of {last.at - BEGIN:.0f} last"
                    )

    def _open_spans(self, check: str, spell: Spell) -> list[Span]:
        """When in a spell nothing keeps it from being told."""
        muted: list[Span] = [
            (one.start - OFF, (one.end if one.kind == "silence" else spell.end) + OFF)
            for one in self._world.asked
            if one.check == check and one.start < spell.end and one.end > spell.start - NOTICE
        ]
        if check == "windowed":
            days = range(int(self._plan.days) + 1)
            muted += [(day * DAY + WINDOW[0] * HOUR - OFF, day * DAY + WINDOW[1] * HOUR + OFF) for day in days]
        if check in PARENTS:
            muted += [(one.start - OFF, self._parent_forgotten(one)) for one in self._plan.spells[PARENTS[check]]]
        if check in OPTIONAL:
            muted += self._not_configured(OPTIONAL.index(check))
        return _without((spell.start, spell.end), muted)

    def _parent_forgotten(self, spell: Spell) -> float:
        """When the failure of a parent explains nothing any more; one that flaps is not over for long."""
        known = self._noticed(spell.end, float("inf")) or float("inf")
        return known + (RESULTS * EVERY if self._unsteady(PARENTS["shop"], known) else 2 * NOTICE)

    def _not_configured(self, place: int) -> Iterator[Span]:
        changes = [*self._world.reloads, (self._plan.ends, 0)]
        for (start, variant), (end, _) in pairwise(changes):
            if variant % 2 == place:
                yield start - OFF, end + OFF

    def _noticed(self, start: float, end: float) -> float | None:
        """By when the daemon knows of something that goes on from ``start`` to ``end``; None: it need not."""
        times = [_lasting(start, NOTICE, self._dead)]
        times += [_lasting(g.back, NOTICE_AFTER_START, self._dead) for g in self._world.gone if start <= g.back < end]
        known = min(times)
        return known if known < end else None

    def _delivered_by(self, channel: str, since: float, quiet: Sequence[Span] = ()) -> float:
        outages = [(one.start, one.end) for one in self._plan.outages[channel]]
        due = _lasting(since, 0.0, quiet)
        lately = _within(self._plan.outages[channel], due - 2 * SEND_AFTER_OUTAGE, due + SEND)
        need = SEND_AFTER_OUTAGE if lately else SEND
        by = _lasting(since, need, [*outages, *self._dead, *quiet])
        return by + HOUR if channel == "sms" and self._near_cap(by) else by

    def _near_cap(self, at: float) -> bool:
        """Whether there were nearly as many text messages lately as are allowed; the rest waits for a summary."""
        return sum(one.channel == "sms" and at - HOUR <= one.at <= at for one in self._world.accepted) >= NEAR_SMS_CAP

    def _last_told(
        self,
        check: str,
        channel: str,
        contact: str,
        decided_by: float,
        taken_by: float,
        but: frozenset[str] = frozenset(),
    ) -> Message | None:
        """The newest news of the check that was decided and accepted by then."""
        found = None
        for _, one, item in self._told[check]:
            key = one.notification.id
            remembered = key not in but or item.event is EventKind.RESOLVED
            itself = one.channel == channel and IN_PLACE not in key and remembered
            if (
                itself
                and (not contact or one.notification.recipient.contact == contact)
                and (
                    item.at - BEGIN <= decided_by
                    and one.at <= taken_by
                    and item.event in (*FAILING, EventKind.RESOLVED)
                )
            ):
                found = item
        return found

    def _unsteady(self, check: str, at: float) -> bool:
        """Whether there were so many changes lately that it may be said to flap, or to have flapped."""
        if check == UNSTEADY:
            return True
        seen = [one.outcome for one in self._world.seen.get(check, ()) if at - 4 * HOUR <= one.at <= at + HOUR]
        return sum(before != after for before, after in pairwise(seen)) >= CHANGES

    # --- in the end ---

    def _unfinished(self) -> Iterator[str]:
        for incident in self._world.incidents.values():
            if incident.state is not IncidentState.RESOLVED:
                yield f"#{incident.id} {incident.check} is {incident.state} in the end"
            sequence = [event.sequence for event in self._world.events[incident.id]]
            if sequence != list(range(1, incident.sequence + 1)):
                yield f"#{incident.id} {incident.check} has not its whole timeline: {sequence}"
        last: dict[tuple[str, int, float], tuple[Message, str]] = {}
        for told in self._told.values():
            for _, one, item in told:
                if item.incident and item.event in (*FAILING, EventKind.RESOLVED):
                    last[_person(one.notification.recipient), item.incident, item.opened_at] = item, one.notification.id
        for (who, number, opened), (item, key) in last.items():
            kept = self._world.incidents.get(number)
            # A crash while the store refused: nobody knows any more that this person was told.
            forgotten = key in self._forgotten or (self._may_forget and (kept is None or kept.opened_at != opened))
            if item.event is not EventKind.RESOLVED and not forgotten:
                at = item.at - BEGIN
                yield f"#{number} {item.check}: {who} heard {item.event} of {at:.0f} last, never of its end"

    def _outbox(self) -> Iterator[str]:
        taken = {one.notification.id for one in self._world.accepted}
        heard = {(one.notification.recipient, item.incident) for one in self._world.accepted for item in one.items}
        for key, row in self._world.rows.items():
            notification = row.notification
            if row.state is DeliveryState.PENDING or row.state is DeliveryState.FAILED:
                yield f"{key} is {row.state} in the end: {row.last_error}"
            elif row.state is DeliveryState.DELIVERED and key not in taken:
                yield f"{key} is noted as delivered, but nobody took it"
            elif row.state is DeliveryState.MERGED and row.receipt not in self._world.rows:
                yield f"{key} was to be part of {row.receipt}, which there is not"
            elif (
                row.state is DeliveryState.SUPERSEDED
                and notification.event
                not in (
                    EventKind.REMINDED,
                    EventKind.ESCALATED,
                )
                and notification.severity is Severity.CRITICAL
                # The end of what was held until then, which they never heard of, stays untold.
                and (notification.event is not EventKind.RESOLVED or _line(notification) in heard)
            ):
                yield f"{key} ({notification.event}) was dropped"
        if not self._may_forget:
            for key in taken - self._world.rows.keys():
                yield f"{key} was told and is not recorded"


def _content(one: Accepted) -> set[tuple[int, float, str]]:
    return {(item.incident, item.opened_at, item.event.value) for item in one.items}


def _line(notification: Notification) -> tuple[Recipient, int]:
    return notification.recipient, notification.incident


def _person(who: Recipient) -> str:
    return who.contact or who.channel


# --- spans ----------------------------------------------------------------------------------------------------------


def _within(spells: Sequence[Spell], start: float, end: float) -> list[Spell]:
    return [one for one in spells if one.start < end and one.end > start]


def _lasting(start: float, need: float, bad: Iterable[Span]) -> float:
    """When, from ``start`` on, ``need`` seconds without anything bad have passed."""
    for begins, ends in sorted(bad):
        if begins >= start + need:
            break
        start = max(start, ends)
    return start + need


def _without(whole: Span, parts: Iterable[Span]) -> list[Span]:
    """What is left of a span without some parts."""
    left = [whole]
    for begins, ends in parts:
        cut = [((start, min(end, begins)), (max(start, ends), end)) for start, end in left]
        left = [span for pair in cut for span in pair if span[0] < span[1]]
    return left


def _quiet_hours(days: float) -> list[Span]:
    return [(day * DAY + QUIET[0] * HOUR - OFF, day * DAY + QUIET[1] * HOUR + OFF) for day in range(int(days) + 1)]
