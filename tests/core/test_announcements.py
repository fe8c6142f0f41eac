"""Planned maintenance is announced once before each window, and its ends are noticed."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.world import World, check, setup
from wcr_watchd.core import commands
from wcr_watchd.core.announcements import announcements, edges, next_edge, next_notice
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.local_time import Hours
from wcr_watchd.core.matchers import parse_matchers
from wcr_watchd.core.model import Notification
from wcr_watchd.core.mute import planned_spans
from wcr_watchd.core.recurrence import Once, weekly
from wcr_watchd.core.report import planned
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.silence import Window
from wcr_watchd.core.status import past_maintenance

HOUR = 3_600.0
START = 1_000_000.0
"""A Monday, 13:46:40 in UTC."""


def known(*notice: float, start: float = START, covers: str = "check=api", **more: object) -> Setup:
    window = Window("weekly", Once(start, start + 2 * HOUR), parse_matchers(covers), notice, "kernels", "once", "UTC")
    return replace(setup(check("api"), check("web")), windows=(window,), **more)  # type: ignore[arg-type]


def told(found: tuple[Notification, ...]) -> list[tuple[str, str]]:
    return [(one.recipient.channel, one.message.summary) for one in found]


def test_a_notice_goes_to_those_who_are_told_of_an_info() -> None:
    found = announcements(known(HOUR), START - HOUR - 10.0, START - HOUR)
    assert told(found) == [
        (
            "slack",
            "maintenance weekly begins in 1 h: 13:46 UTC to 15:46 UTC; kernels; nobody is told of api",
        )
    ]
    assert (found[0].event.value, found[0].digest, found[0].incident) == ("planned", False, 0)
    assert found[0].id.startswith("prod-window-weekly-1000000-3600-slack")


@given(st.lists(st.floats(1.0, 20_000.0), min_size=1, max_size=60))
def test_each_notice_is_given_once_however_often_somebody_looks(steps: list[float]) -> None:
    looks = list(accumulate([START - 25 * HOUR, *steps]))
    found = [announcements(known(HOUR, 24 * HOUR), since, now) for since, now in pairwise(looks)]
    due = {
        next((at for at in looks if at >= START - before), None) for before in (HOUR, 24 * HOUR)
    }  # the first look after a notice is due gives it
    assert sum(map(len, found)) == sum(at is not None and at < START for at in due)


def test_after_a_time_without_watching_one_notice_stands_for_all_that_were_due() -> None:
    found = announcements(known(HOUR, 24 * HOUR), START - 48 * HOUR, START - 600.0)
    assert [summary.split(":")[0] for _, summary in told(found)] == ["maintenance weekly begins in 10 min"]
    assert announcements(known(HOUR), START - 48 * HOUR, START) == ()


def test_when_to_look_again() -> None:
    assert next_notice(known(HOUR, 24 * HOUR), START - 30 * HOUR) == START - 24 * HOUR
    assert next_notice(known(HOUR, 24 * HOUR), START - 24 * HOUR) == START - HOUR
    assert next_notice(known(HOUR), START - HOUR) is None
    assert next_edge(known(), START - 1.0) == START
    assert next_edge(known(), START) == START + 2 * HOUR
    assert next_edge(known(), START + 2 * HOUR) is None


def test_beginning_and_end_are_each_noticed_once() -> None:
    times = [START - 10.0, START, START + 1.0, START + 2 * HOUR, START + 3 * HOUR]
    found = [edge for since, now in pairwise(times) for edge in edges(known(), since, now)]
    assert [(edge.at, edge.begins) for edge in found] == [(START, True), (START + 2 * HOUR, False)]
    assert [edge.begins for edge in edges(known(), START - 10.0, START + 9 * HOUR)] == [True, False]


def test_whoever_rests_until_the_window_has_begun_is_not_told_of_it_any_more() -> None:
    info = known(HOUR)
    person = replace(info.contacts["lead"], quiet=Hours("UTC", ((12 * 60, 14 * 60),)))
    policy = info.policies["default"]
    plans = policy.by_severity
    by_mail = {
        severity: replace(plan, tell=(info.policies["default"].by_severity[max(plans)].tell[1],))
        for severity, plan in plans.items()
    }
    resting = replace(
        info, contacts={**info.contacts, "lead": person}, policies={"default": replace(policy, by_severity=by_mail)}
    )
    assert announcements(resting, START - HOUR - 10.0, START - HOUR) == ()
    awake = replace(resting, contacts=info.contacts)
    assert [channel for channel, _ in told(announcements(awake, START - HOUR - 10.0, START - HOUR))] == ["mail"]


def test_a_window_that_covers_no_check_is_announced_to_all_policies() -> None:
    found = announcements(known(HOUR, covers="alertname=Disk"), START - HOUR - 10.0, START - HOUR)
    assert [(channel, summary.rpartition("; ")[2]) for channel, summary in told(found)] == [("slack", "kernels")]


def test_a_window_that_is_ended_early_tells_at_once_and_comes_again_next_time() -> None:
    start = 3 * 1_440  # Thursdays, as the epoch began with one
    window = Window("weekly", weekly(((start, start + 600),), "UTC"), parse_matchers("check=api"))
    world = World(replace(setup(check("api", times=0)), windows=(window,)), now=7 * 86_400.0)
    world.see("api", "down")
    assert world.told() == []
    assert world.take(commands.stop_window(world.setup, world.state, "weekly", "ann", world.now)) == ["opened"]
    assert "still broken at the end: maintenance weekly" in world.events[-1].reason
    world.see("api", "up")
    for attempt, said in (("weekly", "is not open now"), ("other", "there is no maintenance other")):
        with pytest.raises(CommandError, match=said):
            commands.stop_window(world.setup, world.state, attempt, "ann", world.now)
    world.pass_time(7 * 86_400.0)
    before = len(world.notifications)
    world.see("api", "down")
    assert len(world.notifications) == before


def test_only_what_an_early_end_left_of_a_window_counts_as_planned() -> None:
    start = 3 * 1_440
    window = Window("weekly", weekly(((start, start + 600),), "UTC"), parse_matchers("check=api"))
    world = World(replace(setup(check("api", times=0)), windows=(window,)), now=7 * 86_400.0)
    began = world.now
    world.pass_time(1_800.0)
    world.take(commands.stop_window(world.setup, world.state, "weekly", "ann", world.now))
    ended = world.now
    world.pass_time(86_400.0)
    spans = planned_spans(world.setup, world.state, world.setup.checks["api"], began, world.now)
    assert [(span[0], span[1]) for span in spans] == [(began, ended)]


def test_each_early_end_of_a_window_is_remembered_for_as_long_as_anybody_reckons() -> None:
    """By objectives, reports and the status page alike, though windows are ended early week after week."""
    start = 3 * 1_440
    window = Window("weekly", weekly(((start, start + 600),), "UTC"), parse_matchers("check=api"))
    world = World(replace(setup(check("api", times=0)), windows=(window,)), now=7 * 86_400.0)
    first, wanted = world.now, set()
    for _ in range(10):
        began = world.now
        world.pass_time(1_800.0)
        world.take(commands.stop_window(world.setup, world.state, "weekly", "ann", world.now))
        wanted.add((began, world.now))
        world.pass_time(7 * 86_400.0 - 1_800.0)
    now = world.now - 86_400.0
    assert set(planned_spans(world.setup, world.state, world.setup.checks["api"], first, now)) == wanted
    assert {span for one in planned(world.setup, world.state.silences, first, now) for span in one.spans} == wanted
    assert set(past_maintenance(world.setup, world.state.silences, ["api"], first, now)) == wanted
    later = world.now + 101 * 86_400.0
    work = replace(next(iter(world.state.silences.values())), id="new", ends_at=later + 1.0, updated_at=later)
    world.take(commands.silence(world.setup, world.state, work, later))
    assert set(world.state.silences) == {"new"}, "and then forgotten"
