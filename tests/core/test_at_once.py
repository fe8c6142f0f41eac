"""Two things at once: what flaps is muted, a rule is replaced while nothing is known, quiet hours meet other ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.core.test_life import quiet, silence
from tests.core.world import PEOPLE, World, check, setup
from wcr_watchd.core import commands, engine, notices
from wcr_watchd.core.local_time import Hours
from wcr_watchd.core.matchers import parse_matchers
from wcr_watchd.core.model import IncidentState, Severity
from wcr_watchd.core.on_call import Layer, OnCallSchedule, weekly
from wcr_watchd.core.setup import Contact, Escalation, Policy, Setup, Step, Target

NEVER = datetime(2500, 1, 1)  # noqa: DTZ001 - a local time
MAIL_OF_WARNINGS = Policy("default", {Severity.WARNING: Escalation(tell=(Target("mail", "lead"),))})


def down(world: World, name: str = "api", times: int = 3) -> None:
    for _ in range(times):
        world.see(name, "down")


def reload(world: World, changed: Setup) -> None:
    world.setup = changed
    world.take(engine.reconcile(changed, world.state, world.now))
    world.take(notices.duties_stand(changed, world.state, world.now))


def flap(world: World, rounds: int, parent: str = "", name: str = "api") -> Iterator[list[str]]:
    """Up and down once a minute, beside a parent that is in one state."""
    for number in range(rounds):
        if parent:
            world.see("gateway", parent, after=1.0)
        yield world.see(name, "down" if number % 2 else "up", after=59.0)


def family(times: int = 3) -> World:
    return World(setup(check("gateway"), check("api", times=times, depends_on=("gateway",))))


def about(world: World, name: str) -> list[str]:
    return [one.event.value for one in world.notifications if one.message.check == name]


class TestFlapping:
    """It is said once, then nothing until it is stable; and what mutes an incident mutes one that flaps."""

    def test_nobody_is_reminded_of_what_flapped_from_the_beginning(self) -> None:
        world = World(setup(check("api", times=3)))
        list(flap(world, 30))
        assert about(world, "api") == ["flapping"]  # a warning: never confirmed as critical
        list(flap(world, 300))
        assert about(world, "api") == ["flapping"]

    def test_nobody_is_reminded_of_what_got_worse_while_it_flaps(self) -> None:
        world = World(setup(check("api", critical="response_time > 20s", warning="response_time > 10s", times=0)))
        for seconds in (1.0, 15.0) * 6:
            world.see("api", "up", ("response_time", seconds, ""))
        world.see("api", "up", ("response_time", 25.0, ""))
        (incident,) = world.state.incidents.values()
        assert (incident.flapping, incident.severity) == (True, Severity.CRITICAL)
        assert engine.deadline(incident) is None

    def test_a_child_that_flaps_and_then_fails_with_its_parent_is_not_told(self) -> None:
        world = family(times=0)
        list(flap(world, 30, "up"))
        before = about(world, "api")
        assert "flapping" in before
        for _ in range(40):
            world.see("gateway", "down", after=1.0)
            world.see("api", "down", after=59.0)
        assert about(world, "api") == before
        (child,) = (one for one in world.state.incidents.values() if one.check == "api")
        assert (child.flapping, child.state) == (False, IncidentState.SUPPRESSED)

    def test_a_child_that_begins_to_flap_beside_its_failed_parent_is_not_told_before_that_is_fine(self) -> None:
        world = family()
        down(world, "api")
        assert about(world, "api") == []
        list(flap(world, 30, "down"))
        assert "flapping" not in about(world, "api")
        list(flap(world, 4, "up"))
        assert "flapping" in about(world, "api") or "opened" in about(world, "api")

    def test_what_flaps_is_still_broken_at_the_end_of_a_silence(self) -> None:
        world = World(setup(check("api", times=0)))
        list(flap(world, 30))
        silence(world, quiet(world, 600.0))
        list(flap(world, 8))
        before = len(world.notifications)
        list(flap(world, 8))
        assert [one.event.value for one in world.notifications[before:]] == ["reminded"] * 2
        (incident,) = world.state.incidents.values()
        assert (incident.flapping, engine.deadline(incident)) == (True, None)


class TestUnknown:
    """A result that could not tell ends nothing."""

    def test_a_rule_is_replaced_and_the_next_result_could_not_tell(self) -> None:
        world = World(setup(check("api", critical="down for 1m")))
        for _ in range(3):
            world.see("api", "down", after=60.0)
        reload(world, setup(check("api", critical="down for 5m")))
        assert world.see("api", "unknown") == []
        for _ in range(7):
            assert world.see("api", "down", after=60.0) == []
        assert world.see("api", "up") == ["resolved"]

    def test_flapping_is_switched_off_and_the_next_result_could_not_tell(self) -> None:
        world = World(setup(check("api", times=0)))
        list(flap(world, 31))
        reload(world, setup(replace(check("api", times=0), flapping=None)))
        assert world.see("api", "unknown") == []
        assert world.see("api", "up") == ["resolved"]

    def test_nothing_is_known_before_while_and_after_the_watcher_is_offline(self) -> None:
        world = World(replace(setup(check("gateway"), replace(check("api"), external=True)), controls=("gateway",)))
        for gateway in ("up",) * 5 + ("down",) * 5 + ("up",) * 5:
            world.see("gateway", gateway, after=5.0)
            world.see("api", "unknown", after=5.0)
        assert about(world, "api")[0] == "opened"
        assert "resolved" not in about(world, "api")
        world.see("api", "up")
        assert about(world, "api").count("resolved") == 1


class TestParents:
    """When a parent explains the failure of a child."""

    def test_a_child_waits_as_long_as_its_parent_has_to_fail(self) -> None:
        world = World(setup(check("gateway", critical="down for 5m"), check("api", depends_on=("gateway",))))
        for _ in range(10):
            world.see("gateway", "down", after=30.0)
            world.see("api", "down", after=30.0)
        assert set(about(world, "gateway")) >= {"opened"}
        assert about(world, "api") == []

    def test_a_child_is_told_when_the_parent_did_not_fail_for_so_long(self) -> None:
        world = World(setup(check("gateway", critical="down for 5m"), check("api", depends_on=("gateway",))))
        for gateway in ("down",) * 4 + ("up",):
            world.see("gateway", gateway, after=30.0)
            world.see("api", "down", after=30.0)
        assert world.told("opened") == ["sms:lead", "mail:lead"]
        assert set(about(world, "api")) == {"opened"}

    def test_a_child_is_told_when_the_parent_gives_no_result_any_more(self) -> None:
        world = World(setup(check("gateway", critical="down for 5m"), check("api", depends_on=("gateway",))))
        world.see("gateway", "down")
        down(world)
        assert about(world, "api") == []
        world.pass_time(400.0)
        assert about(world, "api") == ["opened", "opened"]

    def test_a_parent_that_cannot_be_told_any_more_is_still_the_cause(self) -> None:
        world = World(setup(check("gateway", critical="", warning="down"), check("api", depends_on=("gateway",))))
        for gateway in ("down",) * 5 + ("unknown",) * 5:
            world.see("gateway", gateway, after=5.0)
            world.see("api", "down", after=5.0)
        assert about(world, "api") == []


class TestReload:
    """A new configuration while incidents are open."""

    def test_a_watcher_without_control_targets_is_not_offline(self) -> None:
        watched = setup(check("gateway"))
        world = World(replace(watched, controls=("gateway",)))
        down(world, "gateway", 5)
        assert "wcr-watchd" in world.state.by_check
        reload(world, watched)
        assert "wcr-watchd" not in world.state.by_check

    @pytest.mark.parametrize("after", [{}, {"ops": weekly("ops", "UTC", ("lead",))}])
    def test_a_schedule_that_is_gone_or_filled_lacks_nobody(self, after: dict[str, OnCallSchedule]) -> None:
        never = OnCallSchedule("ops", "UTC", (Layer("none", (("lead",),), starts=True, first=NEVER),))
        world = World(replace(setup(check("api")), on_call={"ops": never}))
        world.take(notices.hand_over(world.setup, world.state, "ops", (), None, world.now))
        reload(world, world.setup)
        assert len(world.state.incidents) == 1
        reload(world, replace(world.setup, on_call=after))
        assert not world.state.incidents

    def test_whoever_has_another_number_now_is_told_of_the_end_there_and_once(self) -> None:
        world = World(setup(check("api")))
        down(world)
        moved = {**PEOPLE, "lead": Contact("lead", {"phone": ("+15550199",), "email": ("lead@example.org",)})}
        reload(world, replace(world.setup, contacts=moved))
        world.pass_time(700.0)  # a reminder
        world.see("api", "up")
        ends = [one for one in world.notifications if one.event.value == "resolved"]
        assert [one.recipient.address for one in ends] == ["+15550199", "lead@example.org"]

    def test_whoever_left_is_told_of_the_end_where_they_were_told(self) -> None:
        world = World(setup(check("api")))
        down(world)
        reload(world, replace(world.setup, contacts={"second": PEOPLE["second"]}, on_call={}))
        before = len(world.notifications)
        world.see("api", "up")
        assert {one.recipient.address for one in world.notifications[before:]} == {"+15550101", "lead@example.org"}

    def test_steps_and_reminders_that_a_reload_brings_hold_for_what_is_open(self) -> None:
        world = World(
            setup(check("api"), policy=Policy("default", {Severity.CRITICAL: Escalation((Target("slack"),))}))
        )
        down(world)
        step = Step(300.0, (Target("sms", "second"),))
        plan = Escalation((Target("slack"),), steps=(step,), repeat=200.0)
        reload(world, setup(check("api"), policy=Policy("default", {Severity.CRITICAL: plan})))
        world.pass_time(310.0)
        assert world.told() == ["slack", "slack", "sms:second"]
        world.pass_time(100_000.0)
        ran_out = len(world.told("escalated"))
        reload(world, world.setup)
        world.pass_time(100_000.0)
        assert len(world.told("escalated")) == ran_out

    def test_a_reload_starts_no_clock_of_what_is_taken_or_muted(self) -> None:
        world = World(setup(check("api"), check("web")))
        down(world)
        down(world, "web")
        world.acknowledge(1)
        silence(world, quiet(world, 600.0, "web"))
        before = len(world.notifications)
        reload(world, world.setup)
        assert [engine.deadline(one) for one in world.state.incidents.values()] == [None, world.now + 600.0]
        assert len(world.notifications) == before


def resting(world: World, hours: int = 5) -> float:
    """Have the lead rest for so many hours from this minute on; returns until when."""
    now = datetime.fromtimestamp(world.now, UTC)
    minute = now.weekday() * 1_440 + now.hour * 60 + now.minute
    rests = Contact("lead", PEOPLE["lead"].addresses, Hours("UTC", ((minute, minute + hours * 60),)))
    world.setup = replace(world.setup, contacts={**PEOPLE, "lead": rests})
    return world.now - now.second - now.microsecond / 1e6 + hours * 3_600.0


class TestQuietHours:
    """What is more than a repetition waits for their end; nothing of it is forgotten."""

    def world(self) -> World:
        world = World(setup(check("api", critical="", warning="down"), policy=MAIL_OF_WARNINGS))
        down(world)
        return world

    def test_an_acknowledgement_that_ends_in_them(self) -> None:
        world = self.world()
        until = resting(world)
        end = world.now + 3_600.0
        world.take(commands.acknowledge(world.setup, world.state, 1, "ann", world.now, None, until=end))
        world.pass_time(7_200.0)
        last = world.notifications[-1]
        assert (last.event.value, last.created_at, last.not_before) == ("reminded", end, until)

    def test_a_silence_that_ends_in_them(self) -> None:
        world = self.world()
        until = resting(world)
        silence(world, quiet(world, 3_600.0))
        world.pass_time(7_200.0)
        last = world.notifications[-1]
        assert (last.event.value, last.not_before) == ("reminded", until)
        assert "held back by quiet hours" in world.events[-1].reason

    def test_who_takes_over_in_them(self) -> None:
        world = self.world()
        until = resting(world)

        def handed(ends: float | None) -> list[float]:
            done = notices.hand_over(world.setup, world.state, "ops", ("lead",), ends, world.now)
            return [one.not_before for one in done.notifications]

        world.setup = replace(
            world.setup,
            policies={"default": Policy("default", {Severity.WARNING: Escalation((Target("mail", "ops"),))})},
        )
        assert handed(None) == [until]
        assert handed(until + 1.0) == [until]
        assert handed(until) == []  # the turn is over by then


def test_who_was_told_of_the_worst_hears_after_a_silence_that_it_fell() -> None:
    by_severity = {
        Severity.CRITICAL: Escalation((Target("sms", "lead"),)),
        Severity.WARNING: Escalation((Target("mail", "second"),)),
    }
    slow = check("api", critical="response_time > 2s", warning="response_time > 1s")
    world = World(setup(slow, policy=Policy("default", by_severity)))
    for seconds in (3.0, 3.0, 3.0):
        world.see("api", "up", ("response_time", seconds, ""))
    silence(world, quiet(world, 600.0))
    for _ in range(3):
        world.see("api", "up", ("response_time", 1.5, ""))
    world.pass_time(700.0)
    assert world.told("lowered") == ["mail:second", "sms:lead"]


def test_an_acknowledgement_that_ended_while_nobody_watched_waits_for_a_fresh_look() -> None:
    world = World(setup(check("api")))
    down(world)
    end = world.now + 600.0
    world.take(commands.acknowledge(world.setup, world.state, 1, "ann", world.now, None, until=end))
    world.now += 3_600.0
    world.take(notices.looked_at_first(world.state, world.now + notices.FRESH_LOOK))
    before = len(world.notifications)
    world.see("api", "up")
    assert [one.event.value for one in world.notifications[before:]] == ["resolved", "resolved"]


@pytest.mark.parametrize(
    ("text", "nothing"),
    [
        ('check="api"', False),
        ('check="apo"', True),
        ('chek="api"', True),
        ('check="api", severity="critical"', False),
        ('severity="critical"', False),
        ('check=~"a.*", subject=~"disk.*"', False),
        ('alertname="Watchdog", job="node"', True),
    ],
)
def test_a_silence_that_covers_nothing_is_known(text: str, nothing: bool) -> None:
    world = World(setup(check("api")))
    assert commands.covers_nothing(world.setup, world.state, parse_matchers(text)) is nothing
