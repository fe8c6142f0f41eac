"""Confirmation, flapping and suppression as Icinga, Nagios and others have them, replayed on the engine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.core.world import World, check, setup
from wcr_watchd.core import commands
from wcr_watchd.core.flapping import Flap, after_result
from wcr_watchd.core.model import Outcome, Severity
from wcr_watchd.core.setup import Check, Escalation, FlapLimits, Policy, Target
from wcr_watchd.core.silence import Matcher, Operator, Silence

CASES: dict[str, list[dict[str, Any]]] = yaml.load(
    (Path(__file__).parent / "flap-cases.yaml").read_text(), yaml.CSafeLoader
)

NOT_OURS = {
    "h03-worse-while-soft": "each severity has a rule of its own that confirms by itself: warning then critical is "
    "critical once that is confirmed, and a quick recheck follows at once",
    "h04-hard-state-changes": "a critical condition is confirmed by itself although a warning is open: one bad run of "
    "a check that is slow anyway must not wake anybody, and quick rechecks confirm it within seconds",
    "h07-unknown-counts-as-bad": "unknown never opens a target's incident; three in a row are a warning of their own",
    "f04-warning-ignored": "which severities count is not configurable; a check's flapping can be switched off",
    "n01-alternating-hard": "Icinga's weights are used, not those of Nagios (window 21, 0.75 to 1.25)",
    "x02-three-of-five": "an x-of-y rule is not in the language; flapping sees it",
    "y02-delay": "a delay that grows with each change is flapping's work here",
    "q03-two-places": "several locations come with the step that has them",
    "q04-one-place-only-bad": "several locations come with the step that has them",
    "d09-flexible": "a window has fixed times; work is started and ended by hand with `maintenance start`",
}
"""Cases that do not hold here, with the reason."""

TELL = Policy("default", {severity: Escalation(tell=(Target("slack"),)) for severity in Severity if severity})
KINDS = {"opened": "problem", "raised": "problem", "lowered": "problem", "reminded": "problem", "resolved": "recovery"}


def cases(section: str) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in CASES[section] if case["id"] not in NOT_OURS]


def replayed_world(times: int, **changes: Any) -> World:
    watched: Check = check("api", critical="response_time > 20s", warning="response_time > 10s", times=times)
    return World(setup(replace(watched, **changes), policy=TELL))


SECONDS = {"ok": 1.0, "warning": 15.0, "critical": 25.0}


def show(world: World, state: str, after: float = 10.0) -> list[str]:
    """One result of this state; returns what was told, as the cases name it."""
    before = len(world.notifications)
    world.see("api", "up", ("response_time", SECONDS[state], ""), after=after)
    return [KINDS[one.event.value] for one in world.notifications[before:] if one.event.value in KINDS]


@pytest.mark.parametrize("case", cases("soft_hard"))
def test_confirmation(case: dict[str, Any]) -> None:
    world = replayed_world(case["max_attempts"] - 1, flapping=None)
    for number, (state, _, _, told) in enumerate(case["steps"]):
        assert show(world, state) == told, f"step {number}"


@pytest.mark.parametrize("case", cases("flapping"))
def test_flapping(case: dict[str, Any]) -> None:
    flap = Flap()
    for number, (state, share, flapping, events) in enumerate(case["steps"]):
        before, flap = flap, after_result(flap, Severity.of(state), 0.30, 0.25)
        assert round(flap.share * 100, 1) == pytest.approx(share, abs=0.11), f"step {number}"
        assert flap.flapping is flapping, f"step {number}"
        assert ("flapping_start" in events) is (flapping and not before.flapping)
        assert ("flapping_end" in events) is (before.flapping and not flapping)


@pytest.mark.parametrize("case", cases("flapping"))
def test_flapping_is_told_once_and_then_nothing_until_it_is_stable(case: dict[str, Any]) -> None:
    world = replayed_world(case["max_attempts"] - 1)
    for number, (state, _, flapping, events) in enumerate(case["steps"]):
        before = len(world.notifications)
        show(world, state)
        told = [one.event.value for one in world.notifications[before:]]
        if "flapping_start" in events:
            assert told == ["flapping"], f"step {number}"
        elif flapping:
            assert told in ([], ["raised"]), f"step {number}"  # worse than what was told is news all the same


def test_flapping_ends_with_one_message() -> None:
    world = replayed_world(0)
    for state in ["ok", "critical"] * 6 + ["ok"] * 30:
        show(world, state)
    kinds = [one.event.value for one in world.notifications]
    assert kinds.count("flapping") == 1
    assert kinds[-1] == "resolved"
    assert "stable again" in world.notifications[-1].message.summary
    assert not world.state.incidents
    assert world.state.checks["api"].flaps == ()


def test_flapping_that_ends_in_failure_says_so_once() -> None:
    world = replayed_world(0)
    for state in ["ok", "critical"] * 6 + ["critical"] * 30:
        show(world, state)
    assert [one.event.value for one in world.notifications][-2:] == ["flapping", "reminded"]
    assert "no longer flapping" in world.events[-1].reason


def test_getting_worse_is_told_although_it_flaps() -> None:
    world = replayed_world(0)
    for state in ["ok", "warning"] * 6:
        show(world, state)
    show(world, "critical")
    assert [one.event.value for one in world.notifications][-2:] == ["flapping", "raised"]


@pytest.mark.parametrize(
    "case", [one for one in CASES["x_of_y"] if one["rule"].endswith("in a row")], ids=lambda c: c["id"]
)
def test_in_a_row(case: dict[str, Any]) -> None:
    runs = int(case["rule"].split()[0])
    world = World(setup(check("api", critical=f"down for {runs}x"), policy=TELL))
    opened = None
    for number, bad in enumerate(case["results"], start=1):
        if "opened" in world.see("api", "down" if bad else "up"):
            opened = number
    assert opened == case["failed_at"]


def test_hysteresis() -> None:
    case = next(one for one in CASES["hysteresis"] if one["id"] == "y01-cpu")
    (warn, calm), (bad, less) = case["warn"], case["crit"]
    rules = {
        "warning": f"cpu_used > {warn}% until cpu_used <= {calm}%",
        "critical": f"cpu_used > {bad}% until cpu_used <= {less}%",
    }
    world = World(setup(replace(check("api", times=0, **rules), flapping=None), policy=TELL))
    for value, expected in zip(case["values"], case["states"], strict=True):
        world.see("api", "up", ("cpu_used", value / 100, ""))
        assert world.state.checks["api"].severity.word == expected, value


CONFIRM = {"q01-recovery-window": "down until up for 60s", "q02-confirmation-window": "down for 60s"}


@pytest.mark.parametrize("case", cases("confirm"))
def test_confirmation_by_time(case: dict[str, Any]) -> None:
    world = World(setup(replace(check("api", critical=CONFIRM[case["id"]], times=0), flapping=None), policy=TELL))
    start, found = world.now, {}
    for at, result in case["checks"]:
        for kind in world.see("api", "up" if result == "ok" else "down", after=start + at - world.now):
            found[kind] = at
    assert found == {"opened": case["incident"]["opened"], "resolved": case["incident"]["resolved"]}


def suppressed(world: World, start: float, case: dict[str, Any]) -> None:
    """Put the downtimes of a case in force."""
    for key in ("downtime", "downtime2"):
        if key in case:
            begins, ends = case[key]
            matchers = (Matcher("check", Operator.EQUAL, "api"),)
            one = Silence(key, matchers, start + begins, start + ends, "ann", "", start, maintenance=True)
            world.take(commands.silence(world.setup, world.state, one, world.now))


@pytest.mark.parametrize("case", [one for one in cases("suppression") if one.values[0]["id"][0] in "da"])
def test_suppression(case: dict[str, Any]) -> None:
    repeat = case.get("repeat_every")
    plan = Escalation(tell=(Target("slack"),), repeat=float(repeat) if repeat else None)
    policy = Policy("default", {severity: plan for severity in Severity if severity})
    watched = check("api", critical="response_time > 20s", warning="response_time > 10s", times=0)
    world = World(replace(setup(watched, policy=policy), reopen_within=0.0))
    start = world.now
    suppressed(world, start, case)
    results = [(at, "result", state) for at, state in case["results"]]
    acts = [(case["ack"]["at"], "ack", "")] if "ack" in case else []
    acts += [(case["cancel"], "cancel", "")] if "cancel" in case else []
    if "flapping" in case:
        results = [(at, "result", "critical" if at % 2 else "ok") for at in range(*case["flapping"])]
        results += [(at, "result", "ok") for at in range(case["flapping"][1], 40)]
    for at, act, state in sorted([*results, *acts]):
        if act == "result":
            show(world, state, after=start + at - world.now)
            continue
        world.pass_time(start + at - world.now)
        if act == "cancel":
            world.take(commands.expire(world.setup, world.state, "downtime", world.now))
        else:
            acknowledge(world, start, case["ack"])
    world.pass_time(max(0.0, start + case.get("until", 99) - world.now))
    sent = [
        [round(one.created_at - start), KINDS[one.event.value]]
        for one in world.notifications
        if one.event.value in KINDS
    ]
    assert sent == case["sent"]


def acknowledge(world: World, start: float, ack: dict[str, Any]) -> None:
    until = start + ack["until"] if "until" in ack else None
    world.take(
        commands.acknowledge(
            world.setup, world.state, 1, "ann", world.now, None, until=until, sticky=ack.get("sticky", False)
        )
    )


def test_parent_and_child_fail_and_recover_together() -> None:
    case = next(one for one in CASES["suppression"] if one["id"] == "e02-parent-down-child-recovers-with-it")
    parent, child = check("parent", times=0), check("child", times=0, depends_on=("parent",))
    world = World(setup(parent, child, policy=TELL))
    start = world.now
    steps = sorted([(at, "parent", s) for at, s in case["parent"]] + [(at, "child", s) for at, s in case["child"]])
    for at, name, state in steps:
        world.see(name, "up" if state == "ok" else "down", after=start + at - world.now)
    sent = [[round(n.created_at - start), f"{n.message.check} {KINDS[n.event.value]}"] for n in world.notifications]
    assert sent == case["sent"]


def test_a_watcher_without_network_gives_one_notice() -> None:
    case = next(one for one in CASES["suppression"] if one["id"] == "w01-monitor-lost-its-own-network")
    uplink = check("uplink", times=0)
    children = [replace(check(f"c{number}", times=0), external=True) for number in range(case["children"])]
    world = World(replace(setup(uplink, *children, policy=TELL), controls=("uplink",)))
    start = world.now
    world.see("uplink", "down", after=5.0)
    for one in children:
        world.see(one.name, "down", after=1.0 / case["children"])
        assert world.state.checks[one.name].outcome is Outcome.UNKNOWN
    world.see("uplink", "up", after=start + 25.0 - world.now)
    assert {one.message.check for one in world.notifications} == {"wcr-watchd"}
    assert "nothing was known for 20 s" in world.notifications[-1].message.summary


def test_every_case_is_replayed_or_has_its_reason() -> None:
    sections = ("soft_hard", "flapping", "flapping_nagios", "x_of_y", "hysteresis", "confirm", "suppression")
    assert set(CASES) == {"meta", *sections}
    known = {case["id"] for section in sections for case in CASES[section]}
    assert set(NOT_OURS) <= known
    assert FlapLimits() == FlapLimits(0.30, 0.25)
