"""The life of an incident: taken for a time, muted and told after all, gone on with, escalated to the end."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.world import POLICY, World, check, setup
from wcr_watchd.core import commands
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.model import IncidentState, Severity
from wcr_watchd.core.setup import Escalation, Policy, Setup, Step, Target
from wcr_watchd.core.silence import Matcher, Operator, Silence, Window


class Daily:
    """Spans of a fixed length at fixed times."""

    def __init__(self, *spans: tuple[float, float]) -> None:
        self._spans = spans

    def around(self, at: float) -> tuple[float, float] | None:
        return next((span for span in self._spans if span[0] <= at < span[1]), None)

    def after(self, at: float):  # type: ignore[no-untyped-def]
        return iter(span for span in self._spans if span[0] >= at)


def matching(name: str, value: str) -> tuple[Matcher, ...]:
    return (Matcher(name, Operator.EQUAL, value),)


def quiet(world: World, seconds: float, check_name: str = "api", identifier: str = "s1") -> Silence:
    return Silence(
        identifier, matching("check", check_name), world.now, world.now + seconds, "ann", "moving", world.now
    )


def down(world: World, name: str = "api", times: int = 3) -> None:
    for _ in range(times):
        world.see(name, "down")


def silence(world: World, wanted: Silence) -> list[str]:
    return world.take(commands.silence(world.setup, world.state, wanted, world.now))


def test_what_begins_in_a_silence_and_outlasts_it_is_told_when_it_ends() -> None:
    world = World(setup(check("api")))
    silence(world, quiet(world, 600.0))
    down(world)
    assert world.told() == []
    assert world.state.incidents[1].state is IncidentState.SILENCED
    assert "silenced by ann: moving" in world.events[-1].reason
    world.pass_time(600.0)
    assert world.told() == ["sms:lead", "mail:lead"]
    assert "no longer muted" in world.events[-1].reason


def test_what_begins_and_ends_in_a_silence_stays_untold() -> None:
    world = World(setup(check("api")))
    silence(world, quiet(world, 600.0))
    down(world)
    world.see("api", "up")
    world.pass_time(1_000.0)
    assert world.told() == []


def test_whoever_was_told_before_a_silence_is_told_of_the_end_within_it() -> None:
    world = World(setup(check("api")))
    down(world)
    silence(world, quiet(world, 600.0))
    assert world.state.incidents[1].state is IncidentState.SILENCED
    world.see("api", "up")
    assert world.told("resolved") == ["sms:lead", "mail:lead"]


def test_no_reminder_and_no_step_during_a_silence_and_what_still_holds_is_told_at_its_end() -> None:
    world = World(setup(check("api")))
    down(world)
    silence(world, quiet(world, 5_000.0))
    before = len(world.notifications)
    world.pass_time(4_900.0)
    assert len(world.notifications) == before
    world.pass_time(200.0)
    assert world.told("reminded") == ["sms:lead", "mail:lead"]
    world.pass_time(1_000.0)
    assert "sms:second" in world.told("escalated")


def test_what_gets_worse_in_a_silence_is_told_as_worse_at_its_end() -> None:
    world = World(setup(check("api", warning="response_time > 1s")))
    for _ in range(3):
        world.see("api", "up", ("response_time", 2.0, ""))
    assert world.told() == ["mail:lead"]
    silence(world, quiet(world, 600.0))
    down(world)
    assert world.told() == ["mail:lead"]
    world.pass_time(600.0)
    assert world.told("raised") == ["sms:lead", "mail:lead"]


def test_overlapping_silences_hold_until_the_last_one_ends() -> None:
    world = World(setup(check("api")))
    silence(world, quiet(world, 100.0))
    silence(world, quiet(world, 400.0, identifier="s2"))
    down(world)
    world.pass_time(200.0)
    assert world.told() == []
    world.pass_time(300.0)
    assert world.told("opened") == ["sms:lead", "mail:lead"]


def test_a_silence_that_is_ended_early_tells_at_once() -> None:
    world = World(setup(check("api")))
    silence(world, quiet(world, 10_000.0))
    down(world)
    assert world.take(commands.expire(world.setup, world.state, "s1", world.now)) == ["opened"]
    assert world.told() == ["sms:lead", "mail:lead"]
    with pytest.raises(CommandError, match="no silence s9"):
        commands.expire(world.setup, world.state, "s9", world.now)


def test_a_silence_covers_only_what_matches() -> None:
    world = World(setup(check("api"), check("web")))
    silence(world, quiet(world, 600.0))
    down(world, "web")
    assert [one.message.check for one in world.notifications] == ["web", "web"]
    with pytest.raises(CommandError, match="at least one matcher"):
        commands.silence(world.setup, world.state, replace(quiet(world, 1.0), matchers=()), world.now)


def test_a_maintenance_window_mutes_and_what_is_broken_at_its_end_is_told() -> None:
    world = World(setup(check("api")))
    start = world.now + 5.0
    world.setup = with_window(world.setup, Daily((start, start + 300.0)))
    down(world)
    assert world.state.incidents[1].state is IncidentState.MAINTENANCE
    assert world.told() == []
    world.pass_time(400.0)
    assert world.told("opened") == ["sms:lead", "mail:lead"]


def with_window(known: Setup, spans: Daily) -> Setup:
    return replace(known, windows=(Window("weekly", spans, matching("check", "api")),))


def test_a_failure_that_begins_before_the_window_is_reminded_of_after_it_and_not_within() -> None:
    world = World(setup(check("api")))
    down(world)
    world.setup = with_window(world.setup, Daily((world.now + 10.0, world.now + 2_000.0)))
    world.pass_time(1_900.0)
    assert world.told("reminded") == []
    assert world.state.incidents[1].state is IncidentState.MAINTENANCE
    world.pass_time(200.0)
    assert world.told("reminded") == ["sms:lead", "mail:lead"]


def test_an_acknowledgement_for_a_time_ends_with_it() -> None:
    world = World(setup(check("api")))
    down(world)
    world.take(commands.acknowledge(world.setup, world.state, 1, "ann", world.now, None, until=world.now + 3_600.0))
    world.pass_time(3_590.0)
    assert world.told("reminded") == []
    world.pass_time(20.0)
    assert world.told("reminded") == ["sms:lead", "mail:lead"]
    assert world.state.incidents[1].state is IncidentState.OPEN
    assert "acknowledgement by ann has ended" in world.events[-1].reason


def test_a_sticky_acknowledgement_stays_when_it_gets_worse() -> None:
    world = World(setup(check("api", warning="response_time > 1s")))
    for _ in range(3):
        world.see("api", "up", ("response_time", 2.0, ""))
    world.take(commands.acknowledge(world.setup, world.state, 1, "ann", world.now, None, sticky=True))
    down(world)
    assert world.told("raised") == []
    assert world.state.incidents[1].severity is Severity.CRITICAL
    assert world.see("api", "up", ("response_time", 0.1, "")) == ["resolved"]
    assert world.told("resolved") == ["mail:lead"]


def test_what_comes_back_soon_goes_on_as_the_same_incident_and_is_told_anew() -> None:
    world = World(setup(check("api")))
    down(world)
    world.see("api", "up")
    down(world)
    assert [incident.id for incident in world.state.incidents.values()] == [1]
    assert world.told("opened") == ["sms:lead", "mail:lead"] * 2
    assert "it is back 30 s after its end" in world.events[-1].reason
    world.see("api", "up")
    world.pass_time(301.0)
    down(world)
    assert [incident.id for incident in world.state.incidents.values()] == [2]
    ids = [one.id for one in world.notifications]
    assert len(ids) == len(set(ids))


def test_notes_and_owners_stand_in_the_timeline_and_wake_nobody() -> None:
    world = World(setup(check("api")))
    down(world)
    before = len(world.notifications)
    world.take(commands.note(world.setup, world.state, world.state.incidents[1], "ann", "disk swapped", world.now))
    world.take(commands.assign(world.setup, world.state, 1, "bob", "ann", world.now))
    assert [(event.reason, event.by) for event in world.events[-2:]] == [
        ("disk swapped", "ann"),
        ("owner is bob", "ann"),
    ]
    assert world.state.incidents[1].owner == "bob"
    assert len(world.notifications) == before
    with pytest.raises(CommandError, match="needs a text"):
        commands.note(world.setup, world.state, world.state.incidents[1], "ann", " ", world.now)


def test_an_incident_ended_by_a_person_goes_on_when_the_check_still_fails() -> None:
    world = World(setup(check("api")))
    down(world)
    assert world.take(commands.resolve(world.setup, world.state, 1, "ann", world.now, None)) == ["resolved"]
    assert world.told("resolved") == ["sms:lead", "mail:lead"]
    assert world.see("api", "down") == ["opened"]
    assert list(world.state.incidents) == [1]


def test_a_policy_goes_round_and_says_when_it_has_run_out() -> None:
    plan = Escalation(
        tell=(Target("sms", "ops"),),
        steps=(Step(600.0, (Target("sms", "second"),)),),
        loop=1,
        fallback=(Target("slack"),),
    )
    world = World(setup(check("api"), policy=Policy("default", {Severity.CRITICAL: plan})))
    down(world)
    world.pass_time(10_000.0)
    said = [event.reason for event in world.events if event.kind == "escalated"]
    assert said[0] == "nobody acknowledged within 10 min"
    assert said[1] == "nobody acknowledged; round 2 of 2 begins"
    assert said[2] == "nobody acknowledged within 10 min"
    assert "has run out and nobody has acknowledged" in said[3]
    assert len(said) == 4
    assert world.told("escalated") == ["sms:second", "sms:lead", "sms:second", "sms:lead", "sms:second", "slack"]


def test_when_nobody_stands_behind_a_target_others_are_told() -> None:
    plan = Escalation(tell=(Target("sms", "nobody"),), steps=(Step(600.0, (Target("mail", "second"),)),))
    world = World(setup(check("api"), policy=Policy("default", {Severity.CRITICAL: plan})))
    down(world)
    assert world.told("opened") == ["mail:second"]
    assert "sms:nobody: there is no contact 'nobody', so others are" in world.events[-1].reason


def online(*names: str) -> World:
    """A world with checks beyond this machine and two control targets."""
    controls = (replace(check("gateway"), external=True), replace(check("resolver"), external=True))
    others = tuple(replace(check(name), external=True) for name in names)
    return World(replace(setup(*others, *controls, check("local")), controls=("gateway", "resolver")))


def test_one_incident_in_place_of_many_when_it_is_the_watcher_that_is_offline() -> None:
    world = online("api", "web")
    for name in ("api", "web", "gateway", "resolver"):
        world.see(name, "up", after=1.0)
    world.see("api", "down", after=1.0)
    assert {name for name, _ in world.rechecks} >= {"api", "gateway", "resolver"}
    for _ in range(4):
        for name in ("gateway", "resolver", "api", "web"):
            world.see(name, "down", after=2.5)
    assert {one.message.check for one in world.notifications} == {"wcr-watchd"}
    assert "this watcher is offline" in world.notifications[0].message.summary
    for name in ("gateway", "resolver", "api", "web"):
        world.see(name, "up", after=1.0)
    assert {one.message.check for one in world.notifications} == {"wcr-watchd"}
    assert world.told("resolved") == ["sms:lead", "mail:lead"]
    assert "online again; nothing was known for" in world.notifications[-1].message.summary
    assert not world.state.incidents


def test_a_failure_beyond_is_told_when_a_control_target_answers() -> None:
    world = online("api")
    world.see("api", "down", after=1.0)
    world.see("gateway", "up", after=0.1)
    down(world)
    assert {one.message.check for one in world.notifications} == {"api"}


def test_one_control_target_that_is_gone_is_its_own_failure() -> None:
    world = online("api")
    for _ in range(3):
        world.see("gateway", "down")
        world.see("resolver", "up")
        world.see("api", "up")
    assert {one.message.check for one in world.notifications} == {"gateway"}


def test_what_is_on_this_machine_is_told_while_offline() -> None:
    world = online("api")
    for _ in range(3):
        for name in ("gateway", "resolver", "local"):
            world.see(name, "down")
    assert {one.message.check for one in world.notifications} == {"wcr-watchd", "local"}


def test_the_policy_of_these_tests_repeats() -> None:
    assert POLICY.by_severity[Severity.CRITICAL].repeat == 600.0
