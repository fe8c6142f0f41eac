"""The dispatcher over days of virtual time: once, in order, by the fallback when need be, within the cost cap."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.samples import OPENED, MemoryStore, make_message, make_notification
from tests.virtual_time import virtual_loop
from wcr_watchd.core.errors import ChannelError, StoreError
from wcr_watchd.core.message import trial
from wcr_watchd.core.model import (
    DeliveryState,
    EventKind,
    Incident,
    IncidentState,
    Message,
    Notification,
    Recipient,
    Severity,
)
from wcr_watchd.core.protocols import Batch, Limits, Receipt
from wcr_watchd.core.sms import sms_text
from wcr_watchd.core.view import Counters
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime.dispatcher import Dispatcher
from wcr_watchd.runtime.lane import GATHER
from wcr_watchd.runtime.patience import GIVE_UP_AFTER

pytestmark = pytest.mark.looptime

LEAD = Recipient("sms", "lead", "+15550101")
SECOND = Recipient("sms", "second", "+15550102")
MAIL = Recipient("mail", "lead", "lead@example.org")
SLACK = Recipient("slack")
HANG = "hang"
DOWN = ChannelError("no answer", reason="connect", permanent=False)
REFUSED = ChannelError("no such number", reason="rejected", permanent=True)


class LoopClock:
    """Time as the loop sees it."""

    def now(self) -> float:
        return OPENED + asyncio.get_running_loop().time()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


@dataclass
class Wire:
    """A channel whose provider behaves to order: ``behaviour`` per attempt, then ``default`` (None: accept)."""

    default: Any = None
    behaviour: list[Any] = field(default_factory=list)
    takes: float = 0.1
    timeout: float = 15.0
    limits: Limits = Limits()
    accepted: list[tuple[float, Notification]] = field(default_factory=list)
    attempts: list[tuple[float, str]] = field(default_factory=list)
    before_send: Callable[[Notification], object] = lambda _: None
    type: str = "wire"
    address_kind: str = ""
    example: str = ""

    def render(self, message: Message) -> Mapping[str, str]:
        return {"text": sms_text(message)}

    async def send(self, notification: Notification, parts: Mapping[str, str], shared: object) -> Receipt:
        self.before_send(notification)
        self.attempts.append((now(), notification.id))
        act = self.behaviour.pop(0) if self.behaviour else self.default
        if act == HANG:
            await asyncio.sleep(10**6)
        await asyncio.sleep(self.takes)
        if isinstance(act, Exception):
            raise act
        self.accepted.append((now(), notification))
        return Receipt(f"took {len(self.accepted)}")

    @property
    def ids(self) -> list[str]:
        return [notification.id for _, notification in self.accepted]


def now() -> float:
    """Seconds since the test began."""
    return asyncio.get_running_loop().time()


def message(number: int = 1, event: EventKind = EventKind.OPENED, **changes: Any) -> Message:
    return make_message(incident=number, event=event, at=OPENED + now(), **changes)


def owed(to: Recipient = LEAD, number: int = 1, event: EventKind = EventKind.OPENED, **changes: Any) -> Notification:
    """A notification created now; its id says incident, event and contact."""
    named = make_notification(to, message(number, event), id=f"{number}-{event.value}-{to.channel}{to.contact}")
    return replace(named, **changes)


@dataclass
class World:
    """A running dispatcher with its surroundings."""

    dispatcher: Dispatcher
    store: MemoryStore
    counters: Counters
    wires: Mapping[str, Wire]

    async def owe(self, *notifications: Notification) -> None:
        """As the monitor does: stored first."""
        with suppress(StoreError):
            await self.store.commit(Batch(notifications=notifications))
        self.dispatcher.owe(notifications)


@asynccontextmanager
async def running(
    store: MemoryStore | None = None,
    caps: Mapping[str, tuple[int, float]] | None = None,
    incidents: Sequence[Incident] = (),
    **wires: Wire,
) -> AsyncIterator[World]:
    """Run a dispatcher over the wires, first resuming what the store holds."""
    store = store or MemoryStore()
    counters = Counters()
    redact: Callable[[str], str] = lambda text: text.replace("hunter2", "***")  # noqa: E731
    dispatcher = Dispatcher(wires, store, LoopClock(), SharedHelpers(), counters, caps, redact)  # type: ignore[arg-type]
    muted = {incident.id for incident in incidents if incident.state.muted}
    dispatcher.heed(lambda number: number in muted)
    dispatcher.resume(store.restored(*incidents))
    task = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(0)
    try:
        yield World(dispatcher, store, counters, wires)
        assert not task.done(), "the dispatcher must never end by itself"
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_what_is_owed_is_sent_at_once_and_marked_when_it_was_taken() -> None:
    sms = Wire()
    async with running(sms=sms) as world:
        await world.owe(owed())
        await asyncio.sleep(0.05)
        assert world.store.states() == {"1-opened-smslead": "pending"}, "not marked before the provider took it"
        await asyncio.sleep(1)
        row = world.store.rows["1-opened-smslead"]
        assert (row.state, row.attempts, row.receipt) == (DeliveryState.DELIVERED, 1, "took 1")
        assert row.delivered_at == pytest.approx(OPENED + sms.accepted[0][0])
        counters = world.counters.channels["sms"]
        assert (counters.sent, counters.failed, counters.last_success_at) == (1, {}, row.delivered_at)
        assert world.counters.notifications_pending == 0


async def test_trouble_is_met_with_patience_and_the_message_arrives_once() -> None:
    sms = Wire(behaviour=[DOWN] * 8)
    async with running(sms=sms) as world:
        await world.owe(owed())
        await asyncio.sleep(3 * 3600)
        assert len(sms.accepted) == 1
        waits = [later - sooner for (sooner, _), (later, _) in pairwise(sms.attempts)]
        expected = [5, 10, 20, 40, 80, 160, 320, 600]
        assert all(0.79 * want <= waited <= 1.21 * want + 1 for waited, want in zip(waits, expected, strict=True))
        assert world.store.rows["1-opened-smslead"].attempts == 9
        assert world.counters.channels["sms"].failed == {"connect": 8}


async def test_after_a_day_it_is_given_up_and_listed() -> None:
    sms = Wire(default=ChannelError("login hunter2 refused", reason="server", permanent=False))
    async with running(sms=sms) as world:
        await world.owe(owed())
        await asyncio.sleep(GIVE_UP_AFTER - 700)
        assert world.store.states() == {"1-opened-smslead": "pending"}
        await asyncio.sleep(2000)
        assert world.store.states() == {"1-opened-smslead": "failed"}
        assert world.store.rows["1-opened-smslead"].last_error == "login *** refused"
        tried = len(sms.attempts)
        await asyncio.sleep(GIVE_UP_AFTER)
        assert len(sms.attempts) == tried


async def test_a_refusal_for_good_tells_the_fallback_at_once() -> None:
    sms, mail = Wire(default=REFUSED), Wire()
    async with running(sms=sms, mail=mail) as world:
        await world.owe(owed(fallbacks=(MAIL,)))
        await asyncio.sleep(1)
        assert mail.ids == ["1-opened-smslead:fallback:mail"]
        assert mail.accepted[0][1].message.note == "sent here because sms could not deliver"
        assert world.store.states() == {
            "1-opened-smslead": "failed",
            "1-opened-smslead:fallback:mail": "delivered",
        }
        assert len(sms.attempts) == 1


async def test_a_fallback_is_stored_before_it_is_sent() -> None:
    store, seen = MemoryStore(delay=1.0), []
    mail = Wire(before_send=lambda notification: seen.append(store.rows.get(notification.id)))
    async with running(store, sms=Wire(default=REFUSED), mail=mail) as world:
        await world.owe(owed(fallbacks=(MAIL,)))
        await asyncio.sleep(5)
        assert [row.state for row in seen if row] == [DeliveryState.PENDING]
        assert world.store.rows["1-opened-smslead"].fell_back


async def test_a_fallback_that_fails_hands_on_to_the_next() -> None:
    slack = Wire()
    async with running(sms=Wire(default=REFUSED), mail=Wire(default=REFUSED), slack=slack) as world:
        await world.owe(owed(fallbacks=(MAIL, SLACK)))
        await asyncio.sleep(1)
        assert slack.ids == ["1-opened-smslead:fallback:mail:fallback:slack"]


OTHER_PHONE = Recipient("sms", "lead", "+15550109")


async def test_a_refused_number_is_followed_by_the_contact_s_other_one() -> None:
    sms, mail = Wire(behaviour=[REFUSED]), Wire()
    async with running(sms=sms, mail=mail) as world:
        await world.owe(owed(fallbacks=(OTHER_PHONE, MAIL)))
        await asyncio.sleep(1)
        assert [notification.recipient for _, notification in sms.accepted] == [OTHER_PHONE]
        assert mail.accepted == []


async def test_where_no_number_can_be_reached_mail_is_sent_all_the_same() -> None:
    mail = Wire()
    async with running(sms=Wire(default=DOWN), mail=mail) as world:
        await world.owe(owed(fallbacks=(OTHER_PHONE, MAIL)))
        await asyncio.sleep(60)
        ((at, notification),) = mail.accepted
        assert (at < 45, notification.fallbacks) == (True, ())


async def test_two_failures_in_a_row_tell_the_fallback_and_the_original_arrives_later_once() -> None:
    sms, mail = Wire(behaviour=[DOWN] * 4), Wire()
    async with running(sms=sms, mail=mail) as world:
        await world.owe(owed(fallbacks=(MAIL,)))
        await asyncio.sleep(10)
        assert (len(mail.accepted), len(sms.accepted)) == (1, 0)
        await asyncio.sleep(600)
        assert (len(mail.accepted), len(sms.accepted)) == (1, 1)
        assert set(world.store.states().values()) == {"delivered"}


async def test_a_channel_that_hangs_has_twenty_seconds() -> None:
    sms, mail = Wire(default=HANG, timeout=60), Wire()
    async with running(sms=sms, mail=mail) as world:
        await world.owe(*(owed(number=number, fallbacks=(MAIL,)) for number in range(1, 11)))
        await asyncio.sleep(19)
        assert not mail.accepted
        await asyncio.sleep(6)
        assert len(mail.accepted) == 10, "also those that wait behind the ones that hang"


async def test_the_end_follows_the_beginning_to_the_fallback() -> None:
    sms, mail = Wire(default=DOWN), Wire()
    async with running(sms=sms, mail=mail) as world:
        await world.owe(owed(fallbacks=(MAIL,)))
        await asyncio.sleep(60)
        await world.owe(owed(event=EventKind.RESOLVED, fallbacks=(MAIL,)))
        await asyncio.sleep(60)
        assert [notification.event for _, notification in mail.accepted] == [EventKind.OPENED, EventKind.RESOLVED]


async def test_the_end_also_reaches_who_stood_in_when_the_channel_works_again() -> None:
    sms, mail = Wire(behaviour=[DOWN, DOWN]), Wire()
    async with running(sms=sms, mail=mail) as world:
        await world.owe(owed(fallbacks=(MAIL,)))
        await asyncio.sleep(120)
        await world.owe(owed(event=EventKind.RESOLVED, fallbacks=(MAIL,)))
        await asyncio.sleep(120)
        assert sms.ids == ["1-opened-smslead", "1-resolved-smslead"]
        assert [notification.event for _, notification in mail.accepted] == [EventKind.OPENED, EventKind.RESOLVED]
        assert mail.accepted[1][1].message.note == "sent here because sms could not deliver what came before"


async def test_who_stands_in_late_hears_the_end_that_was_owed_before() -> None:
    sms, mail = Wire(behaviour=[DOWN, DOWN]), Wire()
    async with running(sms=sms, mail=mail) as world:
        await world.owe(owed(fallbacks=(MAIL,)))
        await asyncio.sleep(0.5)
        await world.owe(owed(event=EventKind.RESOLVED, fallbacks=(MAIL,)))
        assert not mail.attempts
        await asyncio.sleep(120)
        assert sms.ids == ["1-opened-smslead", "1-resolved-smslead"]
        assert [notification.event for _, notification in mail.accepted] == [EventKind.OPENED, EventKind.RESOLVED]


async def test_who_stood_in_in_the_last_life_hears_the_end_in_this_one() -> None:
    store, mail = MemoryStore(), Wire()
    async with running(store, sms=Wire(default=REFUSED), mail=mail) as world:
        await world.owe(owed(fallbacks=(MAIL,)))
        await asyncio.sleep(5)
    async with running(store, incidents=[incident(IncidentState.OPEN)], sms=Wire(), mail=mail) as world:
        await world.owe(owed(event=EventKind.RESOLVED, fallbacks=(MAIL,)))
        await asyncio.sleep(5)
    assert [notification.event for _, notification in mail.accepted] == [EventKind.OPENED, EventKind.RESOLVED]


async def test_who_is_the_fallback_of_several_is_told_once_across_lives() -> None:
    store, mail = MemoryStore(), Wire()
    first, second = owed(LEAD, fallbacks=(MAIL,)), owed(SECOND, fallbacks=(MAIL,))
    async with running(store, sms=Wire(default=DOWN), mail=mail) as world:
        await world.owe(first)
        await asyncio.sleep(60)
    await store.commit(Batch(notifications=(second,)))  # the crash came before its channel was seen to fail as well
    async with running(store, sms=Wire(default=DOWN), mail=mail):
        await asyncio.sleep(120)
    assert mail.ids == ["1-opened-smslead:fallback:mail"]


async def test_who_stood_in_hears_the_end_once_when_the_channel_fails_again_in_the_next_life() -> None:
    store, mail = MemoryStore(), Wire()
    async with running(store, sms=Wire(default=DOWN), mail=mail) as world:
        await world.owe(owed(fallbacks=(MAIL,)))
        await asyncio.sleep(60)
        await world.owe(owed(event=EventKind.RESOLVED, fallbacks=(MAIL,)))
        await asyncio.sleep(1)
    async with running(store, incidents=[], sms=Wire(default=DOWN), mail=mail):
        await asyncio.sleep(120)
    assert [notification.event for _, notification in mail.accepted] == [EventKind.OPENED, EventKind.RESOLVED]
    assert store.rows["1-resolved-smslead"].fell_back


async def test_what_was_told_is_not_told_again_when_it_is_owed_once_more() -> None:
    sms = Wire()
    async with running(sms=sms) as world:
        for _ in range(2):
            await world.owe(owed())
            await asyncio.sleep(10)
    assert sms.ids == ["1-opened-smslead"]


async def test_who_is_told_of_the_end_anyway_is_not_told_twice() -> None:
    mail = Wire()
    async with running(sms=Wire(default=REFUSED), mail=mail) as world:
        await world.owe(owed(fallbacks=(MAIL,)))
        await asyncio.sleep(5)
        ends = (owed(event=EventKind.RESOLVED), owed(MAIL, event=EventKind.RESOLVED))
        await world.owe(*ends)
        await asyncio.sleep(60)
        assert [notification.event for _, notification in mail.accepted].count(EventKind.RESOLVED) == 1


async def test_an_end_is_not_told_instead_to_who_heard_that_it_began_again() -> None:
    sms, mail = Wire(), Wire(behaviour=[DOWN] * 4)
    async with running(sms=sms, mail=mail) as world:
        await world.owe(owed(MAIL, event=EventKind.RESOLVED, fallbacks=(LEAD,)))
        await asyncio.sleep(1)
        await world.owe(owed(LEAD), owed(MAIL))
        await asyncio.sleep(60)
        assert sms.ids == ["1-opened-smslead"], "an end after it would sound as if all were well"
        await asyncio.sleep(600)
        assert mail.ids == ["1-resolved-maillead", "1-opened-maillead"]


async def test_what_is_held_for_the_morning_does_not_keep_older_news_from_who_stands_in() -> None:
    mail = Wire()
    async with running(sms=Wire(default=DOWN), mail=mail) as world:
        await world.owe(owed(fallbacks=(MAIL,)))
        await asyncio.sleep(1)
        lowered = owed(MAIL, event=EventKind.LOWERED)
        await world.owe(replace(lowered, not_before=lowered.created_at + 3600))
        await asyncio.sleep(60)
        assert mail.ids == ["1-opened-smslead:fallback:mail"]


async def test_who_is_the_fallback_of_several_is_told_once() -> None:
    mail = Wire()
    async with running(sms=Wire(default=REFUSED), mail=mail) as world:
        await world.owe(owed(LEAD, fallbacks=(MAIL,)), owed(SECOND, fallbacks=(MAIL,)))
        await asyncio.sleep(1)
        assert len(mail.accepted) == 1
        assert sorted(row.fell_back for row in world.store.rows.values()) == [False, True, True]


async def test_a_channel_that_hangs_delays_no_other() -> None:
    mail = Wire()
    async with running(sms=Wire(default=HANG), mail=mail) as world:
        await world.owe(*(owed(LEAD, number) for number in range(1, 50)), owed(MAIL))
        await asyncio.sleep(1)
        assert len(mail.accepted) == 1


async def test_news_of_one_incident_arrive_in_order_and_hold_up_no_other() -> None:
    sms = Wire(behaviour=[DOWN])
    async with running(sms=sms) as world:
        await world.owe(owed(), owed(event=EventKind.RAISED), owed(SECOND), owed(number=2))
        await asyncio.sleep(1)
        assert sorted(sms.ids) == ["1-opened-smssecond", "2-opened-smslead"]
        await asyncio.sleep(10)
        assert sms.ids[2:] == ["1-opened-smslead", "1-raised-smslead"]


async def test_a_provider_s_wish_for_silence_is_honoured_by_the_whole_channel() -> None:
    sms = Wire(behaviour=[ChannelError("slow down", reason="rate_limited", permanent=False, retry_after=90)])
    async with running(sms=sms) as world:
        await world.owe(owed())
        await asyncio.sleep(5)
        await world.owe(owed(number=2))
        await asyncio.sleep(80)
        assert len(sms.attempts) == 1
        await asyncio.sleep(10)
        assert len(sms.accepted) == 2


async def test_an_absurd_wish_for_silence_is_bounded() -> None:
    sms = Wire(behaviour=[ChannelError("come next year", reason="rate_limited", permanent=False, retry_after=3e7)])
    async with running(sms=sms) as world:
        await world.owe(owed())
        await asyncio.sleep(3700)
        assert len(sms.accepted) == 1


async def test_a_channel_s_own_rate_is_kept() -> None:
    slack = Wire(limits=Limits(rate=(1, 1.0)), takes=0.0)
    async with running(slack=slack) as world:
        await world.owe(*(owed(SLACK, number) for number in range(1, 6)))
        await asyncio.sleep(10)
        times = [at for at, _ in slack.accepted]
        assert all(later - sooner >= 0.999 for sooner, later in pairwise(times))
        assert len(times) == 5


# --- the store ---


async def test_a_store_that_fails_silences_nobody_and_repeats_nothing() -> None:
    sms, mail = Wire(), Wire()
    async with running(sms=sms, mail=mail) as world:
        world.store.broken = True
        await world.owe(owed(), owed(MAIL))
        await asyncio.sleep(3600)
        assert (len(sms.accepted), len(mail.accepted)) == (1, 1)
        assert world.store.rows == {}
        world.store.broken = False
        await asyncio.sleep(60)
        assert set(world.store.states().values()) == {"delivered"}
        assert (len(sms.attempts), len(mail.attempts)) == (1, 1)


async def test_what_was_told_meanwhile_is_noted_as_soon_as_the_store_works_again() -> None:
    """Else a kill just after a full disk would have it told twice."""
    async with running(sms=Wire()) as world:
        world.store.broken = True
        await world.owe(owed())
        await asyncio.sleep(3600)
        world.store.broken = False
        world.dispatcher.store_works()
        await asyncio.sleep(0.1)
        assert set(world.store.states().values()) == {"delivered"}


async def test_a_fallback_goes_out_although_it_cannot_be_stored() -> None:
    mail = Wire()
    async with running(sms=Wire(default=REFUSED), mail=mail) as world:
        world.store.broken = True
        await world.owe(owed(fallbacks=(MAIL,)))
        await asyncio.sleep(10)
        assert len(mail.accepted) == 1


async def test_after_a_crash_what_was_under_way_is_sent_again_under_the_same_key() -> None:
    store = MemoryStore()
    async with running(store, sms=Wire(default=HANG)) as world:
        await world.owe(owed())
        await asyncio.sleep(1)
    sms = Wire()
    async with running(store, sms=sms):
        await asyncio.sleep(1)
    assert sms.ids == ["1-opened-smslead"]
    again = Wire()
    async with running(store, sms=again):
        await asyncio.sleep(1)
    assert not again.attempts


async def test_backoff_goes_on_after_a_restart() -> None:
    store = MemoryStore()
    async with running(store, sms=Wire(default=DOWN)) as world:
        await world.owe(owed())
        await asyncio.sleep(120)
    due = store.rows["1-opened-smslead"].next_attempt_at - OPENED
    sms = Wire()
    async with running(store, sms=sms):
        await asyncio.sleep(300)
    assert sms.attempts[0][0] == pytest.approx(due, abs=0.1)


async def test_stopping_lets_what_is_under_way_finish_and_leaves_the_rest() -> None:
    store = MemoryStore()
    async with running(store, sms=Wire(takes=3)) as world:
        await world.owe(*(owed(number=number) for number in range(1, 7)))
        await asyncio.sleep(1)
    assert sorted(store.states().values()) == ["delivered"] * 4 + ["pending"] * 2


async def test_stopping_does_not_wait_for_a_provider_that_hangs() -> None:
    store = MemoryStore()
    async with running(store, sms=Wire(default=HANG)) as world:
        await world.owe(owed())
        await asyncio.sleep(1)
        stopping = now()
    assert now() - stopping < 8
    assert store.states() == {"1-opened-smslead": "pending"}


# --- overtaken ---


def incident(state: IncidentState) -> Incident:
    return Incident(1, "api", "", Severity.CRITICAL, Severity.CRITICAL, state, OPENED, OPENED, "down")


async def test_reminders_of_what_is_taken_care_of_are_dropped() -> None:
    sms = Wire(default=DOWN)
    async with running(sms=sms) as world:
        await world.owe(owed(), owed(event=EventKind.REMINDED), owed(number=2, event=EventKind.REMINDED))
        await asyncio.sleep(1)
        world.dispatcher.overtaken([1])
        sms.default = None
        await asyncio.sleep(30)
        assert sorted(sms.ids) == ["1-opened-smslead", "2-reminded-smslead"]
        assert world.store.states()["1-reminded-smslead"] == "superseded"


async def test_a_reminder_under_way_is_not_tried_again_once_it_is_overtaken() -> None:
    sms = Wire(default=DOWN, takes=2)
    async with running(sms=sms) as world:
        await world.owe(owed(event=EventKind.REMINDED))
        await asyncio.sleep(1)
        world.dispatcher.overtaken([1])
        await asyncio.sleep(600)
        assert len(sms.attempts) == 1
        assert world.store.states() == {"1-reminded-smslead": "superseded"}


@pytest.mark.parametrize(
    ("known", "state"),
    [
        ((), "superseded"),
        ((incident(IncidentState.ACKNOWLEDGED),), "superseded"),
        ((incident(IncidentState.OPEN),), "delivered"),
    ],
    ids=["resolved", "acknowledged", "open"],
)
async def test_a_restart_drops_reminders_that_were_overtaken_meanwhile(known: tuple[Incident, ...], state: str) -> None:
    store = MemoryStore()
    await store.commit(Batch(notifications=(owed(event=EventKind.REMINDED),)))
    async with running(store, incidents=known, sms=Wire()):
        await asyncio.sleep(1)
    assert store.states() == {"1-reminded-smslead": state}


# --- several as one ---


def batched(number: int, event: EventKind = EventKind.OPENED, after: float = 3600.0) -> Notification:
    return owed(SLACK, number, event, digest=True, not_before=OPENED + now() + after)


async def test_a_digest_waits_for_its_hour_and_goes_as_one() -> None:
    slack = Wire()
    async with running(slack=slack) as world:
        await world.owe(batched(1))
        await asyncio.sleep(1800)
        await world.owe(batched(2), batched(1, EventKind.RESOLVED))
        await asyncio.sleep(1700)
        assert not slack.attempts
        await asyncio.sleep(200)
        ((_, sent),) = slack.accepted
        assert sent.event is EventKind.DIGEST
        assert [(item.incident, item.event.value) for item in sent.message.items] == [
            (1, "opened"),
            (2, "opened"),
            (1, "resolved"),
        ]
        assert sorted(world.store.states().values()) == ["delivered", "merged", "merged", "merged"]
        await asyncio.sleep(7200)
        assert len(slack.accepted) == 1


async def test_a_digest_of_one_is_a_plain_message() -> None:
    slack = Wire()
    async with running(slack=slack) as world:
        await world.owe(batched(1))
        await asyncio.sleep(3700)
        assert slack.ids == ["1-opened-slack"]


async def test_a_digest_survives_a_restart() -> None:
    store = MemoryStore()
    async with running(store, slack=Wire()) as world:
        await world.owe(batched(1), batched(2))
        await asyncio.sleep(600)
    slack = Wire()
    async with running(store, slack=slack):
        await asyncio.sleep(2900)
        assert not slack.attempts
        await asyncio.sleep(200)
    assert len(slack.accepted[0][1].message.items) == 2


async def test_what_is_urgent_does_not_wait_for_the_digest() -> None:
    slack = Wire()
    async with running(slack=slack) as world:
        await world.owe(batched(1))
        await world.owe(owed(SLACK, 1, EventKind.RAISED))
        await asyncio.sleep(1)
        assert slack.ids == ["1-raised-slack"]


async def test_beyond_the_cost_cap_the_rest_comes_as_one_summary() -> None:
    sms = Wire()
    async with running(caps={"sms": (10, 3600.0)}, sms=sms) as world:
        await world.owe(*(owed(number=number) for number in range(1, 31)))
        await asyncio.sleep(GATHER + 5)
        assert len(sms.accepted) == 10
        summary = sms.accepted[-1][1]
        assert summary.event is EventKind.DIGEST
        single = {notification.incident for _, notification in sms.accepted[:-1]}
        assert single | {item.incident for item in summary.message.items} == set(range(1, 31))
        assert len(summary.message.items) == 21
        assert sms_text(summary.message).startswith("[CRITICAL] wcr-prod: ")
        assert sorted(world.store.states().values()) == ["delivered"] * 10 + ["merged"] * 21
        await asyncio.sleep(3500)
        assert len(sms.accepted) == 10


async def test_a_long_storm_costs_no_more_than_the_cap_and_loses_nothing() -> None:
    sms = Wire()
    async with running(caps={"sms": (5, 3600.0)}, sms=sms) as world:
        for number in range(1, 201):
            await world.owe(owed(LEAD if number % 2 else SECOND, number))
            await asyncio.sleep(90)
        await asyncio.sleep(2 * 3600)
    times = [at for at, _ in sms.accepted]
    assert all(sum(at <= other < at + 3600 for other in times) <= 5 for at in times)
    told = [item.incident for _, sent in sms.accepted for item in sent.message.items or (sent.message,)]
    assert sorted(told) == list(range(1, 201))
    for who in (LEAD, SECOND):
        mine = [sent.message for _, sent in sms.accepted if sent.recipient == who]
        order = [item.incident for said in mine for item in said.items or (said,)]
        assert order == sorted(order)


async def test_after_a_quiet_time_a_message_goes_at_once() -> None:
    sms = Wire()
    async with running(caps={"sms": (2, 3600.0)}, sms=sms) as world:
        await world.owe(*(owed(number=number) for number in range(1, 20)))
        await asyncio.sleep(3 * 3600)
        before = now()
        await world.owe(owed(number=99))
        await asyncio.sleep(10)
        assert sms.ids[-1] == "99-opened-smslead"
        assert sms.accepted[-1][0] - before < 1


async def test_a_cap_of_one_still_lets_the_first_message_through() -> None:
    sms = Wire()
    async with running(caps={"sms": (1, 3600.0)}, sms=sms) as world:
        await world.owe(owed(), owed(number=2), owed(number=3))
        await asyncio.sleep(1)
        assert len(sms.accepted) == 1
        await asyncio.sleep(3700)
        assert len(sms.accepted) == 2
        assert len(sms.accepted[1][1].message.items) == 2


async def test_what_the_cap_holds_for_long_is_told_by_the_fallback_meanwhile() -> None:
    sms, mail = Wire(), Wire()
    async with running(caps={"sms": (2, 3600.0)}, sms=sms, mail=mail) as world:
        await world.owe(*(owed(number=number) for number in range(1, 4)))
        await asyncio.sleep(GATHER + 5)
        assert len(sms.accepted) == 2
        await world.owe(owed(number=9, fallbacks=(MAIL,)))
        await asyncio.sleep(GATHER + 5)
        assert mail.ids == ["9-opened-smslead:fallback:mail"]
        assert mail.accepted[0][1].message.note == "sent here because sms has reached its limit"
        await asyncio.sleep(3600)
        assert sms.ids[-1] == "9-opened-smslead"


async def test_a_restart_does_not_lift_the_cap() -> None:
    store = MemoryStore()
    caps = {"sms": (3, 3600.0)}
    async with running(store, caps, sms=Wire()) as world:
        await world.owe(*(owed(number=number) for number in range(1, 10)))
        await asyncio.sleep(GATHER + 5)
    sms = Wire()
    async with running(store, caps, sms=sms) as world:
        await world.owe(owed(number=50))
        await asyncio.sleep(600)
        assert not sms.attempts
        await asyncio.sleep(3600)
        assert sms.ids == ["50-opened-smslead"]


# --- configuration, defects, being seen ---


async def test_a_channel_that_is_gone_hands_over_to_the_fallback() -> None:
    mail = Wire()
    async with running(mail=mail) as world:
        await world.owe(owed(fallbacks=(MAIL,)))
        await asyncio.sleep(1)
        assert mail.ids == ["1-opened-smslead:fallback:mail"]
        assert 'no channel "sms"' in world.store.rows["1-opened-smslead"].last_error


async def test_a_reload_adds_changes_and_removes_channels() -> None:
    old, mail = Wire(default=DOWN), Wire()
    async with running(sms=old, mail=mail) as world:
        await world.owe(owed(fallbacks=(MAIL,)), owed(SLACK))
        await asyncio.sleep(1)
        new, slack = Wire(), Wire()
        world.dispatcher.reconfigure({"sms": new, "mail": mail, "slack": slack}, {})
        await world.owe(owed(SLACK, 2))
        await asyncio.sleep(30)
        assert (new.ids, slack.ids) == (["1-opened-smslead"], ["2-opened-slack"])
        assert len(old.attempts) == 1
        new.default = HANG
        await world.owe(owed(number=3, fallbacks=(MAIL,)), *(owed(number=n, fallbacks=(MAIL,)) for n in range(4, 9)))
        await asyncio.sleep(1)
        world.dispatcher.reconfigure({"mail": mail, "slack": slack}, {})
        assert "sms" not in world.counters.channels
        await asyncio.sleep(60)
        assert len(mail.accepted) == 6
        assert world.store.states()["8-opened-smslead"] == "failed"


async def test_a_channel_with_a_defect_stops_nothing() -> None:
    sms, mail = Wire(default=ZeroDivisionError("oh")), Wire()
    async with running(sms=sms, mail=mail) as world:
        await world.owe(owed(fallbacks=(MAIL,)), owed(MAIL, 2))
        await asyncio.sleep(30)
        assert len(mail.accepted) == 2
        assert "ZeroDivisionError" in world.store.rows["1-opened-smslead"].last_error
        assert world.counters.channels["sms"].failed["internal"] >= 2


async def test_the_same_notification_owed_twice_is_sent_once() -> None:
    sms = Wire()
    async with running(sms=sms) as world:
        same = owed()
        await world.owe(same, same)
        await asyncio.sleep(1)
        assert len(sms.accepted) == 1


async def test_it_can_be_seen_to_live_and_how_much_it_owes() -> None:
    async with running(sms=Wire(default=HANG), mail=Wire()) as world:
        await asyncio.sleep(100)
        await world.owe(owed(), owed(number=2), batched(3))
        await asyncio.sleep(100)
        assert now() - world.counters.dispatcher_progress_at <= 12
        assert world.counters.notifications_pending == 2
        assert world.counters.oldest_pending_at == pytest.approx(OPENED + 100, abs=1)


async def test_a_test_message_goes_past_queue_and_store() -> None:
    sms = Wire(behaviour=[HANG] * 4)
    async with running(caps={"sms": (1, 3600.0)}, sms=sms) as world:
        await world.owe(*(owed(number=number) for number in range(1, 5)))
        await asyncio.sleep(1)
        sms.behaviour.clear()
        text = trial(watchd="wcr-prod", location="", timezone="UTC", at=OPENED)
        receipt = await world.dispatcher.send_test(LEAD, text)
        assert receipt.text == "took 1"
        assert not any("test" in name for name in world.store.rows)
        sms.behaviour.insert(0, REFUSED)
        with pytest.raises(ChannelError, match="no such number"):
            await world.dispatcher.send_test(LEAD, text)
        with pytest.raises(KeyError):
            await world.dispatcher.send_test(Recipient("pigeon"), text)


# --- whatever happens ---


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=40)
def test_whatever_fails_everything_is_taken_once_and_in_order(seed: int, capped: bool) -> None:
    chance = random.Random(seed)

    async def live() -> None:
        trouble: list[Any] = [DOWN, HANG, ChannelError("429", reason="rate_limited", permanent=False, retry_after=30)]
        wires = {
            name: Wire(
                behaviour=[chance.choice([None, *trouble]) for _ in range(chance.randrange(60))],
                takes=chance.choice([0.0, 0.3, 4.0]),
            )
            for name in ("sms", "mail", "slack")
        }
        caps = {"sms": (4, 600.0)} if capped else {}
        sequence: dict[tuple[Recipient, int], list[float]] = defaultdict(list)
        owed_ids = []
        async with running(caps=caps, **wires) as world:
            for step in range(60):
                to = chance.choice([LEAD, SECOND, MAIL, SLACK])
                number = chance.randrange(1, 5)
                told = make_notification(to, message(number, EventKind.RAISED), id=f"{step}")
                owed_ids.append(told.id)
                world.store.broken = chance.random() < 0.2
                await world.owe(told)
                await asyncio.sleep(chance.choice([0, 0.1, 1, 20, 200]))
            world.store.broken = False
            for _ in range(24 * 60):
                await asyncio.sleep(60)
                if not world.counters.notifications_pending:
                    break
            await asyncio.sleep(60)
            for wire in wires.values():
                assert len(wire.ids) == len(set(wire.ids)), "taken twice"
                for _, sent in wire.accepted:
                    for item in sent.message.items or (sent.message,):
                        sequence[sent.recipient, item.incident].append(item.at)
            assert sum(len(times) for times in sequence.values()) == len(owed_ids)
            assert all(times == sorted(times) for times in sequence.values()), "out of order"
            assert "pending" not in world.store.states().values()
            assert set(owed_ids) <= world.store.rows.keys()

    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(live())
