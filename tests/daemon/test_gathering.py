"""What comes together is told together, on a virtual clock."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.daemon.test_dispatcher import (
    DOWN,
    HANG,
    LEAD,
    MAIL,
    OPENED,
    REFUSED,
    SECOND,
    SLACK,
    Wire,
    batched,
    incident,
    now,
    owed,
    running,
)
from tests.samples import MemoryStore
from tests.virtual_time import virtual_loop
from wcr_watchd.core.model import EventKind, Incident, IncidentState, Notification, Recipient, Severity
from wcr_watchd.core.protocols import Batch, Limits
from wcr_watchd.core.setup import Check
from wcr_watchd.core.work import group_of, host_of

pytestmark = pytest.mark.looptime


def together(number: int, group: str = "web", wait: float = 0.2, **changes: Any) -> Notification:
    return owed(
        changes.pop("to", LEAD), number, changes.pop("event", EventKind.OPENED), group=group, wait=wait, **changes
    )


def told(wire: Wire) -> list[tuple[int, ...]]:
    """The incidents each accepted message tells of."""
    return [tuple(item.incident for item in sent.message.items) or (sent.incident,) for _, sent in wire.accepted]


async def test_those_of_one_group_are_one_message_and_others_are_not() -> None:
    sms = Wire()
    async with running(sms=sms) as world:
        await world.owe(together(1), together(2, "database"), together(3))
        await asyncio.sleep(1)
        assert sorted(told(sms)) == [(1, 3), (2,)]
        assert sms.accepted[0][0] < 0.5
        assert Counter(world.store.states().values()) == {"merged": 2, "delivered": 2}


async def test_one_alone_is_a_plain_message_after_its_wait() -> None:
    sms = Wire(takes=0.0)
    async with running(sms=sms) as world:
        await world.owe(together(1, wait=5.0))
        await asyncio.sleep(10)
        ((at, sent),) = sms.accepted
        assert at == pytest.approx(5.0, abs=0.1)
        assert sent.event is EventKind.OPENED


async def test_what_may_not_wait_takes_with_it_what_may() -> None:
    mail = Wire(takes=0.0)
    async with running(mail=mail) as world:
        await world.owe(together(1, wait=5.0, to=MAIL))
        await asyncio.sleep(1)
        await world.owe(together(2, wait=0.2, to=MAIL))
        await asyncio.sleep(1)
        assert told(mail) == [(1, 2)]


async def test_a_thousand_in_a_second_are_few_messages_and_the_first_comes_early() -> None:
    sms, mail = Wire(), Wire()
    async with running(sms=sms, mail=mail) as world:
        for number in range(1, 1_001):
            await world.owe(together(number, f"g{number % 40}"), together(number, f"g{number % 40}", to=MAIL))
            await asyncio.sleep(0.001)
        await asyncio.sleep(60)
        for wire in (sms, mail):
            assert len(wire.accepted) <= 5
            assert wire.accepted[0][0] < 2.0
            counts = [int(sent.message.summary.split()[0]) if sent.message.items else 1 for _, sent in wire.accepted]
            assert sum(counts) == 1_000
        before = len(sms.accepted)
        for number in range(1, 1_001):
            await world.owe(together(number, f"g{number % 40}", event=EventKind.RESOLVED))
            await asyncio.sleep(0.001)
        await asyncio.sleep(120)
        assert len(sms.accepted) - before <= 5
        assert world.counters.notifications_pending == 0


async def test_a_single_failure_after_a_storm_is_told_at_its_usual_pace() -> None:
    sms = Wire(takes=0.0)
    async with running(sms=sms) as world:
        await world.owe(*(together(number, f"g{number}") for number in range(1, 30)))
        await asyncio.sleep(300)
        await world.owe(together(99))
        await asyncio.sleep(1)
        assert told(sms)[-1] == (99,)


async def test_programs_get_every_message_by_itself_and_at_once() -> None:
    mail = Wire(limits=Limits(single=True), takes=0.0)
    async with running(mail=mail) as world:
        await world.owe(*(together(number, to=MAIL, wait=5.0) for number in range(1, 5)))
        await asyncio.sleep(0.1)
        assert told(mail) == [(1,), (2,), (3,), (4,)]


async def test_a_recovery_waits_for_the_message_that_told_of_the_beginning() -> None:
    sms = Wire(behaviour=[DOWN, DOWN], takes=0.0)
    async with running(sms=sms) as world:
        await world.owe(together(1), together(2))
        await asyncio.sleep(1)
        await world.owe(together(1, event=EventKind.RESOLVED))
        await asyncio.sleep(600)
        assert told(sms) == [(1, 2), (1,)]
        assert sms.accepted[-1][1].event is EventKind.RESOLVED


async def test_urgent_news_replaces_what_quiet_hours_hold_back() -> None:
    sms = Wire()
    async with running(sms=sms) as world:
        morning = OPENED + 3_600.0
        await world.owe(together(1, severity=Severity.WARNING, not_before=morning))
        await world.owe(together(2, severity=Severity.WARNING, not_before=morning))
        await asyncio.sleep(60)
        await world.owe(together(1, event=EventKind.RAISED))
        await asyncio.sleep(10)
        assert told(sms) == [(1,)]
        await asyncio.sleep(7_200)
        assert told(sms) == [(1,), (2,)]
        assert world.store.states()["1-opened-smslead"] == "superseded"


async def test_urgent_news_of_the_last_life_replaces_what_quiet_hours_hold_back() -> None:
    store = MemoryStore()
    async with running(store, sms=Wire(takes=0.0)) as world:
        await world.owe(together(1, severity=Severity.WARNING, not_before=OPENED + 3_600.0))
        await asyncio.sleep(60)
        await store.commit(Batch(notifications=(together(1, event=EventKind.RAISED),)))  # and is killed
    sms = Wire()
    async with running(store, sms=sms):
        await asyncio.sleep(7_200)
        assert [sent.event for _, sent in sms.accepted] == [EventKind.RAISED]
        assert store.states()["1-opened-smslead"] == "superseded"


async def test_what_was_on_its_way_keeps_its_key_beside_all_that_quiet_hours_held() -> None:
    store, ends = MemoryStore(), OPENED + 3_600.0
    async with running(store, sms=Wire(takes=100.0)) as world:
        await world.owe(*(together(number, severity=Severity.WARNING, not_before=ends) for number in range(1, 7)))
        await asyncio.sleep(60)
        await world.owe(together(7, wait=0.0))
        await asyncio.sleep(1)  # it may have been taken already when all ends here
    await asyncio.sleep(7_200)
    sms = Wire()
    async with running(store, sms=sms):
        await asyncio.sleep(60)
        assert "7-opened-smslead" in sms.ids
        assert sorted(number for numbers in told(sms) for number in numbers) == [1, 2, 3, 4, 5, 6, 7]


async def test_programs_are_told_what_is_urgent_while_quiet_hours_hold_the_rest_back() -> None:
    mail = Wire(limits=Limits(single=True))
    async with running(mail=mail) as world:
        await world.owe(together(1, to=MAIL, severity=Severity.WARNING, not_before=OPENED + 3_600.0))
        await world.owe(together(2, to=MAIL, severity=Severity.WARNING, not_before=OPENED + 3_600.0))
        await asyncio.sleep(60)
        await world.owe(together(1, to=MAIL, event=EventKind.RAISED))
        await asyncio.sleep(10)
        assert [sent.event for _, sent in mail.accepted] == [EventKind.RAISED]
        await asyncio.sleep(7_200)
        assert told(mail) == [(1,), (2,)]


async def test_what_quiet_hours_hold_back_needs_no_reminder() -> None:
    sms = Wire()
    async with running(sms=sms) as world:
        morning = OPENED + 3_600.0
        await world.owe(together(1, severity=Severity.WARNING, not_before=morning))
        for number in (1, 2):  # of the second the news was told before; only this is held
            about = together(number, f"group {number}", event=EventKind.REMINDED, severity=Severity.WARNING)
            await world.owe(replace(about, not_before=morning))
        await asyncio.sleep(7_200)
        assert [(sent.incident, sent.event) for _, sent in sms.accepted] == [
            (1, EventKind.OPENED),
            (2, EventKind.REMINDED),
        ]
        assert world.store.states()["1-reminded-smslead"] == "superseded"
        assert world.counters.notifications_pending == 0


async def test_what_is_over_before_quiet_hours_end_stays_untold() -> None:
    sms = Wire()
    async with running(sms=sms) as world:
        morning = OPENED + 3_600.0
        await world.owe(together(1, severity=Severity.WARNING, not_before=morning))
        await world.owe(together(2, severity=Severity.WARNING, not_before=morning))
        await asyncio.sleep(60)
        await world.owe(together(1, event=EventKind.RESOLVED, severity=Severity.WARNING, not_before=morning))
        await asyncio.sleep(7_200)
        assert told(sms) == [(2,)]
        assert Counter(world.store.states().values()) == {"superseded": 2, "delivered": 1}
        assert world.counters.notifications_pending == 0


def about(number: int, state: IncidentState) -> Incident:
    return replace(incident(state), id=number)


async def test_a_silence_that_began_in_quiet_hours_holds_on_what_they_held() -> None:
    sms = Wire(takes=0.0)
    async with running(sms=sms) as world:
        morning = OPENED + 3_600.0
        await world.owe(together(1, severity=Severity.WARNING, not_before=morning))
        await world.owe(together(2, severity=Severity.WARNING, not_before=morning))
        world.dispatcher.heed(lambda number: number == 1)
        await asyncio.sleep(2 * 86_400)
        assert told(sms) == [(2,)]
        assert world.counters.oldest_pending_at is None, "nobody waits for a channel"
        sms.behaviour = [DOWN]
        world.dispatcher.heed(lambda number: False)
        await asyncio.sleep(120)
        assert told(sms) == [(2,), (1,)], "not given up at its first failure, old as it is"


@pytest.mark.parametrize(("event", "heard"), [(EventKind.REMINDED, [EventKind.REMINDED]), (EventKind.RESOLVED, [])])
async def test_what_comes_after_the_silence_takes_the_place_of_what_it_held(
    event: EventKind, heard: list[EventKind]
) -> None:
    sms = Wire()
    async with running(sms=sms) as world:
        await world.owe(together(1, severity=Severity.WARNING, not_before=OPENED + 3_600.0))
        world.dispatcher.heed(lambda number: number == 1)
        await asyncio.sleep(7_200)
        world.dispatcher.heed(lambda number: False)
        await world.owe(together(1, event=event, severity=Severity.WARNING))
        await asyncio.sleep(7_200)
        assert [sent.event for _, sent in sms.accepted] == heard
        assert world.counters.notifications_pending == 0


async def test_a_restart_in_the_silence_tells_nothing_of_what_it_holds() -> None:
    store = MemoryStore()
    async with running(store, sms=Wire()) as world:
        await world.owe(together(1, severity=Severity.WARNING, not_before=OPENED + 600.0))
        world.dispatcher.heed(lambda number: number == 1)
        await asyncio.sleep(3_600)
    sms = Wire()
    async with running(store, incidents=[about(1, IncidentState.SILENCED)], sms=sms) as world:
        await asyncio.sleep(3_600)
        assert not sms.accepted
        world.dispatcher.heed(lambda number: False)
        await asyncio.sleep(60)
        assert told(sms) == [(1,)]


async def test_a_digest_leaves_out_what_is_silenced_meanwhile() -> None:
    slack = Wire()
    async with running(slack=slack) as world:
        for number in (1, 2, 3):
            await world.owe(batched(number, after=600.0))
        world.dispatcher.heed(lambda number: number == 2)
        await asyncio.sleep(3_600)
        assert told(slack) == [(1, 3)]
        world.dispatcher.heed(lambda number: False)
        await asyncio.sleep(60)
        assert told(slack) == [(1, 3), (2,)]


async def test_what_quiet_hours_held_back_comes_as_one() -> None:
    sms = Wire()
    async with running(sms=sms) as world:
        morning = OPENED + 3_600.0
        for number in (1, 2, 3):
            await world.owe(together(number, severity=Severity.WARNING, not_before=morning, wait=5.0))
            await asyncio.sleep(60)
        assert told(sms) == []
        await asyncio.sleep(7_200)
        assert told(sms) == [(1, 2, 3)]


@pytest.mark.parametrize(("count", "messages"), [(2, [(1,), (2,)]), (6, [(1,), (2,), (3,), (4,), (5, 6)])])
async def test_after_a_restart_the_oldest_go_under_their_own_keys_and_the_others_as_one(
    count: int, messages: list[tuple[int, ...]]
) -> None:
    store = MemoryStore()
    async with running(store, sms=Wire()) as world:
        await world.owe(*(together(number, wait=5.0) for number in range(1, count + 1)))
        await asyncio.sleep(1)
    sms = Wire()
    async with running(store, sms=sms):
        await asyncio.sleep(10)
    assert sorted(told(sms)) == messages
    assert "pending" not in store.states().values()


async def test_after_a_restart_what_may_have_been_taken_keeps_its_key_whatever_older_news_back_off() -> None:
    store = MemoryStore()
    following = (EventKind.RAISED, EventKind.LOWERED, EventKind.RAISED, EventKind.FLAPPING, EventKind.RESOLVED)
    async with running(store, sms=Wire(behaviour=[DOWN], default=HANG)) as world:
        await world.owe(together(1, wait=0.0))
        await world.owe(*(together(1, event=event) for event in following))
        await asyncio.sleep(1)
        await world.owe(together(2))
        await asyncio.sleep(1)
        assert [key for _, key in world.wires["sms"].attempts] == ["1-opened-smslead", "2-opened-smslead"]
    sms = Wire()
    async with running(store, sms=sms):
        await asyncio.sleep(60)
    assert "2-opened-smslead" in sms.ids
    assert told(sms)[:2] == [(2,), (1,)]


async def test_a_channel_that_goes_and_comes_back_gathers_again() -> None:
    async with running(sms=Wire(), mail=Wire()) as world:
        await world.owe(together(1, wait=5.0))
        world.dispatcher.reconfigure({"mail": world.wires["mail"]}, {})  # type: ignore[dict-item]
        await asyncio.sleep(60)
        sms = Wire()
        world.dispatcher.reconfigure({"mail": world.wires["mail"], "sms": sms}, {})  # type: ignore[dict-item]
        await world.owe(together(2, wait=5.0))
        await asyncio.sleep(60)
        assert told(sms) == [(2,)]
        assert world.store.states()["1-opened-smslead"] == "failed"


async def test_a_cost_cap_keeps_a_slot_for_the_first_that_is_critical() -> None:
    sms = Wire()
    async with running(caps={"sms": (5, 3_600.0)}, sms=sms) as world:
        for number in range(1, 20):
            await world.owe(owed(number=number, severity=Severity.WARNING))
            await asyncio.sleep(1)
        assert len(sms.accepted) == 3
        await world.owe(owed(number=99))
        await asyncio.sleep(120)
        assert 99 in {incident for incidents in told(sms) for incident in incidents}


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("https://www.example.org/health", "www.example.org"),
        ("https://user@www.example.org:8443/", "www.example.org"),
        ("db.example.org:5432", "db.example.org"),
        ("localhost/app", "localhost"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("http://[::1]:80/", "::1"),
        ("smtp://relay:587", "relay"),
        ("web-1", "web-1"),
        ("", ""),
    ],
)
async def test_the_host_of_a_target(target: str, host: str) -> None:
    assert host_of(target) == host


async def test_what_checks_have_in_common() -> None:
    check = Check("api", "http", "https://www.example.org/", 60.0, 10.0, (), tags=("b", "a"))
    assert group_of(check, ("group",)) == "www.example.org"
    assert group_of(check, ("tag", "check")) == "a,b|api"
    grouped = Check("api", "http", "https://www.example.org/", 60.0, 10.0, (), group="web")
    assert group_of(grouped, ("group",)) == "web"
    assert group_of(grouped, ("host",)) == "www.example.org"


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=8, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_whatever_fails_and_whenever_it_crashes_everything_is_told_once_and_in_order(seed: int) -> None:
    chance = random.Random(seed)

    def wire() -> Wire:
        behaviour = [chance.choice([None, None, DOWN, HANG]) for _ in range(chance.randrange(20))]
        return Wire(behaviour=behaviour, takes=chance.choice([0.0, 0.3, 4.0]))

    async def live() -> None:
        store, wires, step = MemoryStore(), [], 0
        for life in range(3):
            wires.append({"sms": wire(), "mail": wire()})
            async with running(store, **wires[-1]) as world:
                for _ in range(25):
                    step += 1
                    to = chance.choice([LEAD, SECOND, MAIL])
                    kind = chance.choice([EventKind.OPENED, EventKind.RAISED, EventKind.RESOLVED])
                    number, group = chance.randrange(1, 9), f"g{chance.randrange(3)}"
                    one = together(number, group, chance.choice([0.0, 0.2, 5.0]), to=to, event=kind, id=f"{step}")
                    await store.commit(Batch(notifications=(one,)))
                    world.dispatcher.owe([one])
                    await asyncio.sleep(chance.choice([0, 0.01, 0.1, 1, 20]))
                if life == 2:
                    await asyncio.sleep(2 * 3_600)
        check(store, [one[name] for one in wires for name in ("sms", "mail")], step)

    def check(store: MemoryStore, wires: list[Wire], steps: int) -> None:
        keys: dict[str, Notification] = {}
        order: dict[tuple[Recipient, int], list[float]] = {}
        for one in wires:
            for _, sent in one.accepted:
                if sent.id in keys:  # accepted, and the crash came before that was noted: the same key again
                    continue
                keys[sent.id] = sent
                for item in sent.message.items or (sent.message,):
                    order.setdefault((sent.recipient, item.incident), []).append(item.at)
        assert "pending" not in store.states().values()
        assert sum(map(len, order.values())) >= steps
        for times in order.values():
            assert times == sorted(times), "out of order"

    with asyncio.Runner(loop_factory=virtual_loop) as runner:
        runner.run(live())


async def test_time_is_virtual() -> None:
    await asyncio.sleep(3_600)
    assert now() >= 3_600


async def test_a_summary_told_in_another_s_place_leaves_out_what_was_told_there() -> None:
    """Two ways to somebody fail with the same storm, and both fall back to the same chat."""
    slack = Wire(takes=0.0)
    async with running(sms=Wire(default=DOWN), mail=Wire(default=DOWN), slack=slack) as world:
        await world.owe(
            *(together(number, fallbacks=(SLACK,)) for number in (1, 2)),
            *(together(number, to=MAIL, fallbacks=(SLACK,)) for number in (2, 3)),
            together(3, to=SLACK, wait=0.0),
        )
        await asyncio.sleep(120)
        assert sorted(number for message in told(slack) for number in message) == [1, 2, 3]
        await world.owe(*(together(number, event=EventKind.RESOLVED, fallbacks=(SLACK,)) for number in (1, 2, 3)))
        await asyncio.sleep(600)
        messages = [sent.message for _, sent in slack.accepted]
        news = [item for message in messages for item in message.items or (message,)]
        ends = sorted(item.incident for item in news if item.event is EventKind.RESOLVED)
        assert ends == [1, 2, 3], "whoever heard of it in a summary hears of its end, once"


async def test_a_storm_that_a_slow_program_cannot_take_is_no_flood_elsewhere() -> None:
    """Everything goes to a program, one by one; whoever is told in its place hears of a storm in summaries."""
    hook = Recipient("hook", "", "")
    program, mail, slack = Wire(limits=Limits(single=True), takes=1.0), Wire(), Wire()
    async with running(hook=program, mail=mail, slack=slack) as world:
        each = [together(number, f"g{number}", to=hook, fallbacks=(MAIL, SLACK)) for number in range(1, 501)]
        await world.owe(*each)
        await asyncio.sleep(300)
        assert len(program.accepted) == 500
        assert 1 <= len(mail.accepted) <= 5
        assert not slack.accepted
        heard = {number for message in told(mail) for number in message}
        await world.owe(*(replace(one, id=f"{one.id}-over", event=EventKind.RESOLVED,
                                  message=replace(one.message, event=EventKind.RESOLVED, at=one.message.at + 400))
                          for one in each))  # fmt: skip
        await asyncio.sleep(300)
        assert len(mail.accepted) <= 10
        assert {number for message in told(mail)[-4:] for number in message} >= heard
        assert world.counters.notifications_pending == 0


async def test_what_falls_back_keeps_its_place_behind_what_is_gathered_for_the_same_person() -> None:
    mail, sms = Wire(default=REFUSED), Wire()
    async with running(mail=mail, sms=sms) as world:
        await world.owe(together(1, event=EventKind.RAISED, wait=5.0))
        await world.owe(together(1, to=MAIL, event=EventKind.ACKNOWLEDGED, fallbacks=(LEAD,), wait=0.0))
        await asyncio.sleep(30)
    events = [item.event for _, sent in sms.accepted for item in sent.message.items or (sent.message,)]
    assert events == [EventKind.RAISED, EventKind.ACKNOWLEDGED]
