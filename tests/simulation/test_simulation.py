"""Two hundred simulated days, and what makes them worth anything: the judge sees faults, and a seed repeats itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.simulation.judge import FAILING, OFF, judge
from tests.simulation.many import Sum, live, live_all
from tests.simulation.plan import BEGIN, Plan
from tests.simulation.world import World
from wcr_watchd.core.model import EventKind

DAYS, AT_A_TIME = 200, 40
ONCE_FAULTY = (
    4,
    173,
    179,
    204,
    208,
    336,
    464,
    570,
    595,
    704,
    755,
    859,
    904,
    1217,
    1342,
    1362,
    1574,
    2027,
    2552,
    3502,
    4059,
    4145,
    4412,
    5531,
    6006,
    6483,
    8379,
    8820,
    9158,
    9629,
    9836,
    1130,
    1285,
    3752,
    3862,
    4549,
    4956,
    5608,
    5723,
)
"""Worlds in which something was lost or told twice, or the judge erred, before that was mended."""


@pytest.mark.parametrize("first", range(1, DAYS + 1, AT_A_TIME))
def test_in_two_hundred_days_with_a_crash_every_hour_nobody_misses_anything(first: int) -> None:
    total = Sum()
    for one in live_all(range(first, first + AT_A_TIME)):
        total.add(one)
    assert not total.failed, "\n".join(map(str, total.failed))
    assert total.days == AT_A_TIME
    assert total.crashes >= AT_A_TIME * 20


def test_worlds_that_once_showed_a_fault_show_none() -> None:
    outcomes = list(live_all(ONCE_FAULTY))
    assert not any(one.faults for one in outcomes), "\n".join(map(str, outcomes))


def test_a_seed_is_lived_through_the_same_way_again(tmp_path: Path) -> None:
    first, second = World(Plan(7)), World(Plan(7))
    first.live()
    second.live()
    assert first.accepted == second.accepted
    assert first.rows == second.rows


def test_records_on_disk_lose_nothing_either() -> None:
    outcome = live(3, 0.5, on_disk=True)
    assert not outcome.faults, str(outcome)
    assert outcome.incidents > 3


def test_the_judge_sees_what_is_lost_doubled_or_told_in_vain() -> None:
    world = World(Plan(1))
    world.live()
    assert judge(world) == []
    accepted, rows = world.accepted, world.rows

    world.accepted = [one for one in accepted if one.notification.event is not EventKind.OPENED]
    assert any("was not told" in fault for fault in judge(world)), "lost"

    world.accepted = [one for one in accepted if one.notification.event is not EventKind.RESOLVED]
    assert any("never of its end" in fault for fault in judge(world)), "no end"

    last = accepted[-1]
    world.accepted = [*accepted, replace(last, at=last.at + 100.0)]
    assert any("told again" in fault for fault in judge(world)), "doubled"

    again = replace(last, notification=replace(last.notification, id="another-key"))
    world.accepted = [*accepted, again]
    assert any("under the keys" in fault for fault in judge(world)), "doubled under another key"

    world.accepted = list(reversed(accepted))
    assert any("comes after" in fault for fault in judge(world)), "out of order"

    world.accepted = accepted
    silenced = next(one for one in world.asked if one.kind == "silence")
    begin, end = 0.0, world.plan.ends
    world.asked = [
        replace(silenced, check=name, start=begin, end=end, at=begin, promised=True) for name in world.plan.spells
    ]
    assert any("during a silence" in fault for fault in judge(world)), "told although silenced"

    world.asked, world.plan.spells = [], {name: [] for name in world.plan.spells}
    assert any("although it works" in fault for fault in judge(world)), "told for nothing"

    world.rows = dict(list(rows.items())[1:])
    assert any("is not recorded" in fault for fault in judge(world)), "not recorded"


def test_the_judge_sees_what_quiet_hours_held_into_a_silence() -> None:
    world = World(Plan(3))
    world.live()
    held = next(
        row.notification
        for row in world.rows.values()
        if row.notification.not_before > row.notification.created_at and row.notification.event in FAILING
    )
    begin = held.not_before - BEGIN - 2 * OFF
    silenced = next(one for one in world.asked if one.kind == "silence")
    silence = replace(silenced, check=held.message.check, start=begin, end=world.plan.ends, at=begin, promised=True)
    world.asked = [silence]
    assert any("was held until a silence" in fault for fault in judge(world))
