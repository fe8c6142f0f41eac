"""What could not be delivered: listed with the reason, sent again under the same key, or let go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import pytest

from tests.daemon.harness import RunningDaemon, eventually
from tests.daemon.test_dispatcher import DOWN, MAIL, REFUSED, Wire, World, owed, running
from tests.real.servers.providers import Slack
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.model import DeliveryState, EventKind
from wcr_watchd.runtime.dead_letters import DeadLetters
from wcr_watchd.runtime.patience import GIVE_UP_AFTER

Daemons = Callable[..., RunningDaemon]
FIRST, SECOND = "1-opened-smslead", "2-opened-smslead"
virtual_time = pytest.mark.looptime


def list_of(world: World) -> DeadLetters:
    return DeadLetters(world.store, world.dispatcher, world.counters)  # type: ignore[arg-type]


@virtual_time
async def test_it_is_sent_again_as_the_same_message() -> None:
    sms = Wire(behaviour=[REFUSED, REFUSED])
    async with running(sms=sms) as world:
        await world.owe(owed(), owed(number=2))
        await asyncio.sleep(5)
        assert world.counters.dead_letters == 2
        assert set(world.store.states().values()) == {"failed"}
        assert await list_of(world).resend([SECOND]) == "1 message will be sent again"
        await asyncio.sleep(5)
        assert sms.ids == [SECOND]
        assert world.store.states() == {FIRST: "failed", SECOND: "delivered"}
        assert world.store.rows[SECOND].attempts == 2
        assert world.counters.dead_letters == 1
        await list_of(world).resend(None)
        await asyncio.sleep(5)
        assert (sms.ids, world.counters.dead_letters) == ([SECOND, FIRST], 0)


@virtual_time
async def test_it_is_tried_for_another_day() -> None:
    sms = Wire(default=DOWN)
    async with running(sms=sms) as world:
        await world.owe(owed())
        await asyncio.sleep(GIVE_UP_AFTER + 3600)
        assert world.store.states() == {FIRST: "failed"}
        sms.behaviour = [DOWN] * 5
        sms.default = None
        await list_of(world).resend(None)
        await asyncio.sleep(3600)
        assert world.store.states() == {FIRST: "delivered"}
        assert sms.ids == [FIRST]


@virtual_time
async def test_it_may_fail_once_more_and_its_fallback_is_told_only_once() -> None:
    sms, mail = Wire(default=REFUSED), Wire()
    async with running(sms=sms, mail=mail) as world:
        await world.owe(owed(fallbacks=(MAIL,)))
        await asyncio.sleep(5)
        await list_of(world).resend(None)
        await asyncio.sleep(5)
        assert world.store.states()[FIRST] == "failed"
        assert len(mail.accepted) == 1
        assert world.counters.dead_letters == 1


@virtual_time
async def test_a_reminder_of_what_is_over_can_still_be_sent() -> None:
    async with running(sms=Wire(behaviour=[REFUSED])) as world:
        await world.owe(owed(event=EventKind.REMINDED))
        await asyncio.sleep(5)
        world.dispatcher.overtaken([1])
        await list_of(world).resend(None)
        await asyncio.sleep(5)
        assert world.store.states() == {"1-reminded-smslead": "delivered"}


@virtual_time
async def test_asking_twice_sends_once() -> None:
    sms = Wire(behaviour=[REFUSED], takes=10)
    async with running(sms=sms) as world:
        await world.owe(owed())
        await asyncio.sleep(20)
        await list_of(world).resend(None)
        with pytest.raises(CommandError, match="the dead-letter list is empty"):
            await list_of(world).resend(None)
        await asyncio.sleep(60)
        assert (sms.ids, world.counters.dead_letters) == ([FIRST], 0)


@virtual_time
async def test_what_need_not_be_told_any_more_is_let_go() -> None:
    sms = Wire(default=REFUSED)
    async with running(sms=sms) as world:
        await world.owe(owed())
        await asyncio.sleep(5)
        assert await list_of(world).discard([FIRST], "ann") == "1 message discarded"
        await asyncio.sleep(5)
        row = world.store.rows[FIRST]
        assert (row.state, row.receipt, row.last_error) == (
            DeliveryState.SUPERSEDED,
            "discarded by ann",
            "no such number",
        )
        assert (len(sms.attempts), world.counters.dead_letters) == (1, 0)


@virtual_time
async def test_what_is_not_on_the_list_is_refused_by_name() -> None:
    async with running(sms=Wire(behaviour=[REFUSED])) as world:
        await world.owe(owed(), owed(number=2))
        await asyncio.sleep(5)
        with pytest.raises(CommandError, match="'2-opened-smslead' is not on the dead-letter list"):
            await list_of(world).resend([FIRST, SECOND])
        assert world.store.states()[FIRST] == "failed", "nothing was done by halves"


@virtual_time
async def test_what_has_no_channel_any_more_stays() -> None:
    sms = Wire(default=REFUSED)
    async with running(sms=sms, mail=Wire(default=REFUSED)) as world:
        await world.owe(owed(), owed(MAIL))
        await asyncio.sleep(5)
        world.dispatcher.reconfigure({"sms": sms}, {})  # type: ignore[dict-item]
        sms.default = None
        sentence = "1 message will be sent again; 1 cannot: no channel 'mail' is configured"
        assert await list_of(world).resend(None) == sentence
        await asyncio.sleep(5)
        with pytest.raises(CommandError, match="nothing can be sent again: no channel 'mail' is configured"):
            await list_of(world).resend(None)
        assert world.counters.dead_letters == 1


@virtual_time
async def test_another_life_knows_of_them() -> None:
    async with running(sms=Wire(default=REFUSED)) as world:
        await world.owe(owed())
        await asyncio.sleep(5)
    async with running(world.store, sms=Wire()) as next_life:
        assert next_life.counters.dead_letters == 0
        await list_of(next_life).count()
        assert next_life.counters.dead_letters == 1
        next_life.store.broken = True
        await list_of(next_life).count()


def test_commands_and_page_of_a_running_daemon(make_daemon: Daemons, slack: Slack) -> None:
    slack.archived = True
    daemon = make_daemon(
        f'[channel.chat]\ntype = "slack"\nwebhook = "{slack.url}"\n[policy.default.critical]\ntell = ["chat"]\n'
        '[check.dead]\ntype = "tcp"\naddress = "127.0.0.1:1"\nevery = "1s"\ntimeout = "900ms"\n'
        'retry = { times = 0, every = "1s" }\n'
    )
    eventually(lambda: daemon.command_json("dead-letters"), "a message could not be delivered")
    (row,) = daemon.command_json("dead-letters")
    assert (row["channel"], row["attempts"], row["event"]) == ("chat", 1, "opened")
    assert "channel_is_archived" in row["last_error"]
    assert "[CRITICAL]" in row["headline"]
    assert row["given_up_at"]
    shown = daemon.command("dead-letters").stdout
    assert row["id"] in shown
    assert "channel_is_archived" in shown.replace("\n", "").replace(" ", "")
    assert daemon.command("dead-letters", "resend").returncode == 2
    assert "not on the dead-letter list" in daemon.command("dead-letters", "resend", "nothing").stderr
    slack.archived = False
    assert daemon.command("dead-letters", "resend", row["id"]).stdout == "1 message will be sent again\n"
    eventually(lambda: slack.accepted, "it arrives")
    eventually(lambda: not daemon.command_json("dead-letters"), "it leaves the list")
    assert daemon.command("dead-letters").stdout == "everything was delivered\n"
    assert "empty" in daemon.command("dead-letters", "discard", "--all").stderr
    assert json.loads(daemon.command("dead-letters", "--json").stdout) == []
