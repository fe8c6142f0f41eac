"""What the engine makes of observations, time and commands."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.world import POLICY, SPECS, World, check, setup
from wcr_watchd.core import commands, engine
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.knowledge import Book, Entry, EntryKind
from wcr_watchd.core.model import IncidentState, Recipient, Severity
from wcr_watchd.core.rules import parse_rule
from wcr_watchd.core.setup import Escalation, Policy, Target


def down(world: World, name: str = "api", times: int = 3) -> None:
    for _ in range(times):
        world.see(name, "down")


def test_a_failure_is_told_once_after_it_is_confirmed() -> None:
    world = World(setup(check("api")))
    assert world.see("api", "down") == []
    assert world.see("api", "down") == []
    assert world.see("api", "down") == ["opened"]
    assert world.see("api", "down") == []
    assert world.told() == ["sms:lead", "mail:lead"]
    assert world.events[0].reason == "down, confirmed by 3 of 3 runs"


STAGES = replace(
    check("duty", times=0),
    rules=(
        *(
            parse_rule(text, Severity.INFO, SPECS)
            for text in ("response_time > 1s", "response_time > 5s", "response_time > 9s")
        ),
        parse_rule("down", Severity.WARNING, SPECS),
    ),
    staged=True,
)
TOLD_OF_INFO = Policy("default", {one: Escalation((Target("slack"),)) for one in Severity if one})


def test_of_what_has_stages_each_is_told_also_when_it_is_no_worse() -> None:
    world = World(setup(STAGES, policy=TOLD_OF_INFO))
    assert world.see("duty", "up", ("response_time", 2.0, "")) == ["opened"]
    assert world.see("duty", "up", ("response_time", 3.0, "")) == []
    assert world.see("duty", "up", ("response_time", 6.0, "")) == ["reminded"]
    world.acknowledge(1)
    assert world.see("duty", "up", ("response_time", 7.0, "")) == []
    assert world.see("duty", "up", ("response_time", 9.5, "")) == ["reminded"], "taken was the stage before"
    assert world.see("duty", "down", ("response_time", 9.5, "")) == ["raised"], "what got worse is told once"
    assert world.see("duty", "up", ("response_time", 0.0, "")) == ["resolved"]
    assert world.see("duty", "up", ("response_time", 9.5, "")) == ["opened"], "all stages at once are one news"
    assert world.told("reminded") == ["slack", "slack"]


def test_of_what_has_no_stages_a_further_rule_of_the_same_severity_is_no_news() -> None:
    world = World(setup(replace(STAGES, staged=False), policy=TOLD_OF_INFO))
    assert world.see("duty", "up", ("response_time", 2.0, "")) == ["opened"]
    assert world.see("duty", "up", ("response_time", 9.5, "")) == []


def test_a_stage_within_a_silence_or_a_sticky_acknowledgement_is_written_down_only() -> None:
    world = World(setup(STAGES, policy=TOLD_OF_INFO))
    world.see("duty", "up", ("response_time", 2.0, ""))
    world.take(commands.acknowledge(world.setup, world.state, 1, "ann", world.now, None, sticky=True))
    assert world.see("duty", "up", ("response_time", 6.0, "")) == ["noted"]
    assert world.events[-1].reason.endswith("nobody is told: acknowledged by ann until it is over")
    assert world.told("reminded") == world.told("noted") == []


def test_each_unconfirmed_failure_asks_for_a_quick_recheck() -> None:
    world = World(setup(check("api")))
    down(world)
    assert world.rechecks == [("api", 10.0), ("api", 10.0)]


def test_a_failure_that_is_over_before_it_is_confirmed_stays_untold() -> None:
    world = World(setup(check("api")))
    down(world, times=2)
    assert world.see("api", "up") == []
    down(world, times=2)
    assert world.notifications == []
    assert not world.state.incidents


def test_whoever_was_told_is_told_of_the_recovery_once() -> None:
    world = World(setup(check("api")))
    down(world)
    assert world.see("api", "up") == ["resolved"]
    assert world.see("api", "up") == []
    assert world.told("resolved") == ["sms:lead", "mail:lead"]
    assert world.events[-1].summary == "api is up"
    assert not world.state.by_check


def test_a_message_about_a_rule_carries_the_rule_s_words_or_what_the_probe_found_fault_with() -> None:
    world = World(setup(check("api", warning="response_time > 1s", times=0)))
    world.see("api", "up", ("response_time", 2.0, ""))
    assert world.events[-1].summary == "response_time 2 s > 1 s"
    world = World(setup(check("plugin", warning="response_time > 1s", times=0)))
    world.see("plugin", "up", ("response_time", 2.0, ""), reason="plugin")
    assert world.events[-1].summary == "plugin is up"


def test_since_when_a_check_is_how_it_is() -> None:
    """Of a failure it is the first failed run; of a rule on a check that is up, when its incident opened and ended."""

    def since() -> float:
        return world.state.checks["api"].since

    world = World(setup(check("api", warning="response_time > 1s")))
    world.see("api", "up", ("response_time", 0.1, ""))
    began = world.now
    for _ in range(3):
        assert since() == began
        world.see("api", "up", ("response_time", 2.0, ""))
    assert since() == world.now
    world.see("api", "up", ("response_time", 0.1, ""))
    assert since() == world.now
    world.see("api", "down")
    failed = world.now
    down(world)
    assert since() == failed


def test_reasons_say_times_as_people_do() -> None:
    quick = Policy("default", {Severity.CRITICAL: Escalation(tell=(Target("slack"),), repeat=5.0)})
    world = World(setup(check("api", times=0), policy=quick))
    world.see("api", "down")
    world.pass_time(5.0)
    assert world.events[-1].reason == "not acknowledged; repeats every 5 s"


def test_one_run_is_enough_without_retries() -> None:
    world = World(setup(check("api", times=0)))
    assert world.see("api", "down") == ["opened"]
    assert world.rechecks == []


def test_worse_is_told_anew_and_better_once() -> None:
    slow = ("response_time", 2.0, "")
    world = World(setup(check("api", warning="response_time > 1s")))
    for _ in range(3):
        world.see("api", "up", slow)
    assert world.told() == ["mail:lead"]
    for _ in range(2):
        assert world.see("api", "down") == []
    assert world.see("api", "down") == ["raised"]
    assert world.told("raised") == ["sms:lead", "mail:lead"]
    assert world.see("api", "up", slow) == ["lowered"]
    assert world.see("api", "up", slow) == []
    assert world.told("lowered") == ["mail:lead", "sms:lead"]
    assert world.notifications[-1].message.previous_severity is Severity.CRITICAL
    assert world.see("api", "up", ("response_time", 0.1, "")) == ["resolved"]


def test_reminders_repeat_until_somebody_acknowledges() -> None:
    world = World(setup(check("api")))
    down(world)
    world.pass_time(1_300.0)
    assert world.told("reminded")[:2] == ["sms:lead", "mail:lead"]
    assert sum(event.kind == "reminded" for event in world.events) == 2
    assert world.acknowledge(1) == ["acknowledged"]
    world.pass_time(100_000.0)
    assert sum(event.kind == "reminded" for event in world.events) == 2
    assert world.state.incidents[1].acknowledged_by == "ann"


def test_an_acknowledgement_wakes_nobody() -> None:
    world = World(setup(check("api")))
    down(world)
    world.acknowledge(1)
    assert world.told("acknowledged") == ["mail:lead"]


def test_escalation_reaches_the_next_person_once() -> None:
    world = World(setup(check("api")))
    down(world)
    world.pass_time(1_700.0)
    assert world.told("escalated") == ["sms:second"]
    world.pass_time(600.0)
    assert "sms:second" in world.told("reminded")
    world.see("api", "up")
    assert set(world.told("resolved")) == {"sms:lead", "mail:lead", "sms:second"}


def test_a_warning_nobody_takes_becomes_critical() -> None:
    world = World(setup(check("api", critical="", warning="response_time > 1s")))
    for _ in range(3):
        world.see("api", "up", ("response_time", 2.0, ""))
    world.pass_time(86_500.0)
    assert world.state.incidents[1].severity is Severity.CRITICAL
    assert world.told("raised") == ["sms:lead", "mail:lead"]
    # still the same warning: it stays critical until it is over
    assert world.see("api", "up", ("response_time", 2.0, "")) == []
    assert world.see("api", "up", ("response_time", 0.1, "")) == ["resolved"]


def test_getting_worse_voids_an_acknowledgement() -> None:
    world = World(setup(check("api", warning="response_time > 1s")))
    for _ in range(3):
        world.see("api", "up", ("response_time", 2.0, ""))
    world.acknowledge(1)
    down(world)
    incident = world.state.incidents[1]
    assert incident.state is IncidentState.OPEN
    assert incident.acknowledged_by == ""
    assert incident.next_reminder_at is not None


def test_unknown_neither_opens_nor_ends_the_targets_incident() -> None:
    world = World(setup(check("api")))
    down(world, times=2)
    assert world.see("api", "unknown") == []
    assert world.see("api", "down") == ["opened"]
    assert world.see("api", "unknown") == []
    assert world.state.incidents[1].state is IncidentState.OPEN


def test_staying_unknown_is_a_warning_of_its_own() -> None:
    world = World(setup(check("api")))
    kinds = [world.see("api", "unknown") for _ in range(4)]
    assert kinds == [[], [], ["opened"], []]
    incident = world.state.incidents[1]
    assert (incident.subject, incident.severity) == ("no result", Severity.WARNING)
    assert world.see("api", "up") == ["resolved"]


def test_what_a_person_handles_apart_is_told_apart() -> None:
    rule = "disk_used > 90%"
    world = World(setup(check("host", critical="", warning=rule, times=0)))
    world.see("host", "up", ("disk_used", 0.95, "/"), ("disk_used", 0.5, "/data"))
    assert world.see("host", "up", ("disk_used", 0.95, "/"), ("disk_used", 0.97, "/data")) == ["opened"]
    assert sorted(one.subject for one in world.state.incidents.values()) == ["disk /", "disk /data"]
    assert world.see("host", "up", ("disk_used", 0.5, "/"), ("disk_used", 0.97, "/data")) == ["resolved"]
    assert [one.subject for one in world.state.incidents.values()] == ["disk /data"]


class TestDependencies:
    """A child of a failed parent is recorded and not told."""

    def world(self, **parent: int) -> World:
        return World(setup(check("database", **parent), check("api", depends_on=("database",))))

    def test_child_of_a_failed_parent_is_not_told(self) -> None:
        world = self.world()
        down(world, "database")
        before = len(world.notifications)
        down(world, "api")
        assert len(world.notifications) == before
        child = world.state.incidents[2]
        assert (child.state, child.muted_by) == (IncidentState.SUPPRESSED, "child of database (#1)")

    def test_child_that_nothing_is_known_of_is_not_told_either(self) -> None:
        world = self.world()
        down(world, "database")
        before = len(world.notifications)
        for _ in range(3):
            world.see("api", "unknown")
        child = world.state.incidents[2]
        assert (child.subject, child.state) == ("no result", IncidentState.SUPPRESSED)
        world.see("database", "up")
        assert ("api", 0.0) in world.rechecks
        world.see("api", "up", after=1.0)
        assert not [one for one in world.notifications[before:] if one.message.check == "api"]

    def test_child_that_nothing_is_known_of_is_told_when_its_parent_is_fine(self) -> None:
        world = self.world()
        for _ in range(3):
            world.see("api", "unknown")
            world.see("database", "up", after=1.0)
        world.see("api", "unknown")
        assert [one.message.check for one in world.notifications] == ["api"]

    def test_child_recovering_with_its_parent_stays_untold(self) -> None:
        world = self.world()
        down(world, "database")
        down(world, "api")
        world.see("database", "up")
        world.see("api", "up")
        assert all(one.message.check == "database" for one in world.notifications)
        assert not world.state.incidents

    def test_child_that_still_fails_when_the_parent_is_fine_is_told_after_all(self) -> None:
        world = self.world()
        down(world, "database")
        down(world, "api")
        world.see("database", "up")
        assert ("api", 0.0) in world.rechecks
        assert world.see("api", "down", after=1.0) == ["opened"]
        assert [one.message.check for one in world.notifications][-2:] == ["api", "api"]

    def test_child_failing_at_the_same_moment_waits_for_the_parent(self) -> None:
        world = self.world()
        for _ in range(3):
            world.see("api", "down", after=5.0)
            world.see("database", "down", after=5.0)
        assert {one.message.check for one in world.notifications} == {"database"}
        assert ("database", 0.0) in world.rechecks
        world.see("api", "down")
        assert world.state.by_check.keys() == {"api", "database"}

    def test_child_is_told_when_the_parent_never_makes_up_its_mind(self) -> None:
        world = self.world()
        world.see("database", "up")
        down(world, "api")  # the parent's next result never comes
        assert world.told() == []
        world.pass_time(120.0)
        assert world.told("opened") == ["sms:lead", "mail:lead"]

    def test_child_is_told_at_once_when_the_parent_is_known_to_be_fine(self) -> None:
        world = self.world()
        world.see("api", "down")
        world.see("database", "up", after=0.5)
        world.see("api", "down")
        assert world.see("api", "down") == ["opened"]
        assert world.told() == ["sms:lead", "mail:lead"]


def test_info_waits_for_its_digest() -> None:
    policy = Policy("default", {Severity.CRITICAL: Escalation(tell=(Target("slack"),), digest=3_600.0)})
    world = World(setup(check("api"), policy=policy))
    down(world)
    owed = world.notifications[0]
    assert owed.digest
    assert owed.not_before == owed.created_at + 3_600.0


def test_fallbacks_leave_out_who_is_told_anyway() -> None:
    plan = Escalation(tell=(Target("sms", "ops"), Target("slack")), fallback=(Target("slack"), Target("mail", "ops")))
    world = World(setup(check("api"), policy=Policy("default", {Severity.CRITICAL: plan})))
    down(world)
    assert [who.channel for who in world.notifications[0].fallbacks] == ["mail"]


def test_idempotency_keys_are_unique_and_stable() -> None:
    keys = []
    for _ in range(2):
        world = World(setup(check("api")))
        down(world)
        world.pass_time(2_000.0)
        keys.append([one.id for one in world.notifications])
    assert keys[0] == keys[1]
    assert len(set(keys[0])) == len(keys[0])


def test_acknowledging_what_is_not_open_says_what_to_do() -> None:
    world = World(setup(check("api")))
    with pytest.raises(CommandError, match="no open incident #7"):
        world.acknowledge(7)
    down(world)
    world.acknowledge(1)
    with pytest.raises(CommandError, match="already acknowledged by ann"):
        world.acknowledge(1)


def test_removing_a_check_ends_its_incident_and_says_so() -> None:
    world = World(setup(check("api"), check("web")))
    down(world)
    world.setup = setup(check("web"))
    assert world.take(engine.reconcile(world.setup, world.state, world.now)) == ["resolved"]
    assert world.told("resolved") == ["sms:lead", "mail:lead"]
    assert "removed" in world.events[-1].reason


def test_a_replaced_rule_does_not_end_the_incident_while_the_new_one_is_confirmed() -> None:
    world = World(setup(check("api")))
    down(world)
    world.setup = setup(check("api", critical="down or response_time > 5s"))
    assert world.see("api", "down") == []
    assert world.see("api", "down") == []
    assert world.see("api", "down") == []
    assert world.told() == ["sms:lead", "mail:lead"]


def test_a_restart_goes_on_where_it_was() -> None:
    world = World(setup(check("api")))
    down(world, times=2)
    world.state = engine.restore(world.state.checks.values(), world.state.incidents.values(), world.state.next_incident)
    assert world.see("api", "down") == ["opened"]
    world.state = engine.restore(world.state.checks.values(), world.state.incidents.values(), world.state.next_incident)
    assert world.see("api", "down") == []
    world.pass_time(700.0)
    assert [event.kind.value for event in world.events] == ["opened", "reminded"]


steps = st.lists(
    st.tuples(
        st.sampled_from(["api", "database"]),
        st.sampled_from(["up", "down", "unknown"]),
        st.sampled_from([0.1, 2.0]),
        st.floats(1.0, 700.0),
        st.booleans(),
    ),
    max_size=60,
)


@given(steps)
def test_invariants_hold_over_any_history(history: list[tuple[str, str, float, float, bool]]) -> None:
    """Whatever happens: opened as often as ended, nobody told twice of the same, and all is over when all is well."""
    world = World(setup(check("database"), check("api", warning="response_time > 1s", depends_on=("database",))))
    for name, outcome, seconds, pause, acknowledge in history:
        measured = [("response_time", seconds, "")] if outcome == "up" else []
        world.see(name, outcome, *measured, after=pause)
        open_numbers = [n for n, one in world.state.incidents.items() if one.state is IncidentState.OPEN]
        if acknowledge and open_numbers:
            world.acknowledge(open_numbers[0])
    for _ in range(25):  # so long that nothing flaps any more
        for name in ("database", "api"):
            world.see(name, "up", ("response_time", 0.1, ""))
    assert not world.state.incidents
    ids = [one.id for one in world.notifications]
    assert len(set(ids)) == len(ids)
    for number in {event.incident for event in world.events}:
        kinds = [event.kind.value for event in world.events if event.incident == number]
        assert kinds[0] in ("opened", "flapping")
        assert kinds[-1] == "resolved"
        told: set[Recipient] = set()
        for one in (one for one in world.notifications if one.incident == number):
            if one.event != "resolved":
                told.add(one.recipient)
            else:
                told.remove(one.recipient)
        assert not told


def test_the_policy_of_the_tests_escalates_every_severity() -> None:
    assert set(POLICY.by_severity) == {Severity.INFO, Severity.WARNING, Severity.CRITICAL}


def test_a_message_leads_to_the_runbook_by_its_page() -> None:
    known = setup(replace(check("a"), runbook="a-fails"), replace(check("b"), runbook="https://wiki.example.org/b"))
    book = Book("knowledge", {"a-fails": Entry("a-fails", EntryKind.RUNBOOK, "A fails", "Restart it.", "a-fails.md")})
    for public_url, leads in (
        ("https://watch.example.org/", "https://watch.example.org/knowledge/a-fails"),
        ("", "a-fails"),
    ):
        world = World(replace(known, knowledge=book, public_url=public_url))
        for name in ("a", "b"):
            for _ in range(3):
                world.see(name, "down")
        said = {one.message.check: one.message.runbook for one in world.notifications}
        assert said == {"a": leads, "b": "https://wiki.example.org/b"}
