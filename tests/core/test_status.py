"""The state of public components, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wcr_watchd.core.matchers import parse_matchers
from wcr_watchd.core.model import Incident, IncidentState, Outcome, Severity
from wcr_watchd.core.mute import UNKNOWN_SUBJECT
from wcr_watchd.core.recurrence import Once
from wcr_watchd.core.rules import InstanceState, RuleState, Verdict
from wcr_watchd.core.setup import Check, Setup
from wcr_watchd.core.silence import Silence, Window
from wcr_watchd.core.state import CheckState, State
from wcr_watchd.core.status import (
    Component,
    ComponentStatus,
    Condition,
    PublicStatus,
    ShownFrom,
    StatusPage,
    Together,
    any_in_maintenance,
    checks_of,
    condition_of,
    condition_of_check,
    overall,
    planned_work,
    together,
)

NOW = 1_795_456_800.0
COMPONENT = Component("site", "Website", parse_matchers('tag="web"'))


def a_check(name: str = "secret", **changes: object) -> Check:
    given = Check(name=name, probe="http", target="http://inside/", every=60.0, timeout=10.0, rules=(), tags=("web",))
    return replace(given, **changes)  # type: ignore[arg-type]


def an_incident(severity: Severity = Severity.CRITICAL, rule: str = "down", **changes: object) -> Incident:
    given = Incident(
        id=1,
        check="secret",
        subject="",
        severity=severity,
        peak=severity,
        state=IncidentState.OPEN,
        opened_at=NOW - 600,
        changed_at=NOW - 600,
        summary="http://inside/ answered 503",
        rule=rule,
    )
    return replace(given, **changes)  # type: ignore[arg-type]


def a_setup(*checks: Check, **changes: object) -> Setup:
    given = Setup("prod", "here", "UTC", "", MappingProxyType({check.name: check for check in checks or (a_check(),)}))
    return replace(given, **changes)  # type: ignore[arg-type]


def a_state(known: CheckState, *incidents: Incident) -> State:
    return State(
        checks={"secret": known},
        incidents={one.id: one for one in incidents},
        by_check={"secret": {one.subject: one.id for one in incidents}},
    )


UP = CheckState("secret", Outcome.UP, NOW - 600, last_at=NOW - 30)
DOWN = replace(UP, outcome=Outcome.DOWN)


def how(setup: Setup, state: State, component: Component = COMPONENT, started: float = NOW - 9_000) -> Condition:
    names = checks_of(setup, component)
    conditions = [
        condition_of_check(setup, state, setup.checks[name], component.shown_from, started, NOW) for name in names
    ]
    return condition_of(component, conditions, maintenance=any_in_maintenance(setup, state, names, NOW))


def test_a_component_is_what_its_checks_are() -> None:
    setup = a_setup()
    assert how(setup, a_state(UP)) is Condition.OPERATIONAL
    assert how(setup, a_state(DOWN, an_incident())) is Condition.MAJOR
    assert how(setup, a_state(UP, an_incident(rule="disk_used > 90%"))) is Condition.PARTIAL
    assert how(setup, a_state(UP, an_incident(Severity.WARNING, "response_time > 1s"))) is Condition.DEGRADED
    assert how(setup, a_state(UP, an_incident(Severity.INFO, "response_time > 1s"))) is Condition.OPERATIONAL


def test_what_is_not_known_is_never_working() -> None:
    setup = a_setup()
    assert how(setup, State()) is Condition.UNKNOWN
    assert how(setup, a_state(replace(UP, outcome=Outcome.UNKNOWN))) is Condition.UNKNOWN
    assert how(setup, a_state(replace(UP, last_at=NOW - 131))) is Condition.UNKNOWN
    assert how(setup, a_state(UP, an_incident(Severity.WARNING, "", subject=UNKNOWN_SUBJECT))) is Condition.UNKNOWN
    nothing = replace(COMPONENT, matchers=parse_matchers('tag="nothing"'))
    assert how(setup, a_state(UP), nothing) is Condition.UNKNOWN


def test_after_a_restart_the_last_state_stands_until_results_are_due() -> None:
    old = a_state(replace(UP, last_at=NOW - 4_000))
    assert how(a_setup(), old, started=NOW - 60) is Condition.OPERATIONAL
    assert how(a_setup(), old, started=NOW - 200) is Condition.UNKNOWN


def test_a_watcher_without_network_does_not_say_that_others_are_down() -> None:
    setup = a_setup(a_check(external=True), a_check("gateway", tags=()), controls=("gateway",))
    state = a_state(DOWN, an_incident())
    state.checks["gateway"] = CheckState("gateway", Outcome.DOWN, NOW - 600, last_at=NOW - 30)
    assert how(setup, state) is Condition.UNKNOWN


def test_a_failure_that_is_being_confirmed_does_not_show_yet() -> None:
    pending = (("down", RuleState((((), InstanceState(Verdict.PENDING)),))),)
    assert how(a_setup(), a_state(replace(DOWN, rules=pending))) is Condition.OPERATIONAL
    assert how(a_setup(), a_state(DOWN)) is Condition.MAJOR


@pytest.mark.parametrize(
    ("shown_from", "warning", "critical", "down"),
    [
        (ShownFrom.WARNING, Condition.DEGRADED, Condition.PARTIAL, Condition.MAJOR),
        (ShownFrom.CRITICAL, Condition.OPERATIONAL, Condition.PARTIAL, Condition.MAJOR),
        (ShownFrom.DOWN, Condition.OPERATIONAL, Condition.OPERATIONAL, Condition.MAJOR),
    ],
)
def test_lesser_trouble_can_be_kept_inside(
    shown_from: ShownFrom, warning: Condition, critical: Condition, down: Condition
) -> None:
    component = replace(COMPONENT, shown_from=shown_from)
    assert how(a_setup(), a_state(UP, an_incident(Severity.WARNING, "x > 1")), component) is warning
    assert how(a_setup(), a_state(UP, an_incident(Severity.CRITICAL, "x > 1")), component) is critical
    assert how(a_setup(), a_state(DOWN, an_incident()), component) is down


def test_announced_maintenance_stands_above_what_checks_say() -> None:
    window = Window("nightly-secret", Once(NOW - 60, NOW + 60), parse_matchers('check="secret"'))
    assert how(a_setup(windows=(window,)), a_state(DOWN, an_incident())) is Condition.MAINTENANCE
    state = a_state(DOWN, an_incident())
    state.silences["a"] = Silence("a", parse_matchers('tag="web"'), NOW - 5, NOW + 5, "ann", "", NOW, maintenance=True)
    assert how(a_setup(), state) is Condition.MAINTENANCE
    state.silences["a"] = replace(state.silences["a"], maintenance=False)
    assert how(a_setup(), state) is Condition.MAJOR


def test_several_checks_make_one_state() -> None:
    up, down, unknown, slow = Condition.OPERATIONAL, Condition.MAJOR, Condition.UNKNOWN, Condition.DEGRADED
    assert together(Together.WORST, [up, slow, down]) is down
    assert together(Together.WORST, [up, unknown]) is unknown
    assert together(Together.WORST, [slow, unknown]) is slow
    assert together(Together.ANY, [down, up, unknown]) is up
    assert together(Together.ANY, [down, slow]) is slow
    assert together(Together.ANY, [unknown]) is unknown
    assert together(Together.MOST, [up, up, down]) is Condition.PARTIAL
    assert together(Together.MOST, [up, down]) is down
    assert together(Together.MOST, [up, slow]) is slow


@given(st.sampled_from(Together), st.lists(st.sampled_from(Condition), min_size=1))
def test_working_needs_a_check_that_works(rule: Together, conditions: list[Condition]) -> None:
    if together(rule, conditions) is Condition.OPERATIONAL:
        assert Condition.OPERATIONAL in conditions


def test_planned_maintenance_is_told_of_components_concerned_in_public_words() -> None:
    covering = Window("secret-window", Once(NOW + 60, NOW + 120), parse_matchers('check="secret"'), comment="secret")
    elsewhere = replace(covering, name="other", matchers=parse_matchers('check="other"'))
    hidden, worded = replace(covering, public=""), replace(covering, public="Database upgrade")
    setup = a_setup(windows=(covering, elsewhere, hidden, worded))
    found = planned_work(setup, State(), {"site": ("secret",)}, NOW)
    assert [(one.text, one.components, one.start) for one in found] == [
        ("Planned maintenance", ("site",), NOW + 60),
        ("Database upgrade", ("site",), NOW + 60),
    ]
    assert "secret" not in str(found)


def status(*conditions: Condition) -> PublicStatus:
    names = ("Website", "API", "Mail", "Reports", "Login")
    components = tuple(
        ComponentStatus(name.lower(), name, "", "", condition, None, (), None)
        for name, condition in zip(names, conditions, strict=False)
    )
    return PublicStatus(StatusPage("Status", ()), components, (), (), NOW)


def test_the_headline_says_it_in_a_sentence() -> None:
    up, major, slow, unknown = Condition.OPERATIONAL, Condition.MAJOR, Condition.DEGRADED, Condition.UNKNOWN
    assert overall(status(up, up)) == (up, "All systems work")
    assert overall(status(up, major)) == (major, "API is unavailable")
    assert overall(status(major, major, slow)) == (major, "Website and API are unavailable; 1 more with lesser trouble")
    assert overall(status(*[major] * 5))[1] == "Website, API, Mail and 2 more are unavailable"
    assert overall(status(up, unknown))[1] == "The state of API is not known just now; all else works"
    assert overall(status(unknown))[1] == "The state of our systems is not known just now"
    assert overall(status(up, Condition.MAINTENANCE))[1] == "Planned maintenance goes on: API"
