"""The rule language: what is read, what is refused and how, and what a rule decides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from tests.core.measured import SPECS, Player, labels, rule, seen, series, up
from wcr_watchd.core.errors import RuleError
from wcr_watchd.core.model import Measurement, Observation, Outcome, Severity
from wcr_watchd.core.rules import GONE_AFTER, History, RuleState, evaluate, parse_rule, remember
from wcr_watchd.core.state import CheckState

DOWN, UNKNOWN = Outcome.DOWN, Outcome.UNKNOWN
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0

# --- reading ---


@pytest.mark.parametrize(
    "text",
    [
        "down",
        "unknown for 3x",
        "not up",
        "response_time > 1s for 5m until response_time < 800ms for 2m",
        "cpu_used > 80% for 10m until cpu_used < 75%",
        "avg(response_time, 5m) > 1s",
        "rate(oom_kills, 30m) > 0/s",
        "increase(oom_kills, 30m) > 0",
        "forecast(disk_used, 1d) > 100%",
        "expires_in < 7d",
        "not (down or unknown) and response_time > 2s for 3x",
        'disk_used{mount="/"} > 90%',
        'disk_used{mount!="/boot"} >= 0.9',
        'rate(received{interface="eth0"}, 5m) > 5MB/s',
        'rate(received{interface="eth0",}, 1h) < 3kB/h',
        "response_time > 3 * baseline(response_time) for 10m",
        "p95(response_time, 1h) >= 1.5s or max(response_time, 1h) > 10s",
        "min(users, 1d) == 0 and status != 200",
        "delta(users, 1h) < -20",
        "delta(renewed_at, 1d) > 90d",
        "max(renewed_at, 1d) > 1700000000",
        "rate(cpu_time, 5m) > 50%",
        "rate(oom_kills, 1h) > 3/h",
        "temperature > 80C or temperature >= 85",
        "temperature < -5C",
        "body_size > 5GB or body_size == 0",
        "1s < response_time",
        "connect_time > response_time",
        "response_time>1s",
        "(((down)))",
        "not not not down",
        "\tdown\n or\u00a0up ",
    ],
)
def test_rules_are_read_and_written_again(text: str) -> None:
    read = rule(text)
    again = rule(str(read))
    assert (again.condition, again.hold, again.until, again.until_hold) == (
        read.condition,
        read.hold,
        read.until,
        read.until_hold,
    )
    assert str(again) == str(read)
    assert read.text == text


def test_what_the_documentation_shows_is_right() -> None:
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text(encoding="utf-8")
    shown = [line for block in re.findall(r"```rule\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    assert len(shown) > 25
    for line in shown:
        assert rule(line).text == line
    refused = re.findall(r"is refused .*?`([^`]+)`", page, re.DOTALL)
    assert refused == ["disk_used > 90"]


@pytest.mark.parametrize(
    ("text", "column", "reason", "suggestion"),
    [
        ("response_time > 5MB", 16, "response_time is in seconds, 5MB is in bytes", "write it like 5s, 5m, 5h"),
        ("response_time > 5", 16, "response_time is in seconds, 5 is a number without a unit", "5s, 5m, 5h"),
        ("response_time > 50%", 16, "response_time is in seconds, 50% is in percent", "50s"),
        ("5 < response_time", 4, "response_time is in seconds, 5 is a number without a unit", "5s"),
        ("body_size > 512", 12, "body_size is in bytes, 512 is a number without a unit", "512MB, 512MiB, 512GB"),
        ("disk_used > 5s", 12, "disk_used is in percent, 5s is in seconds", "write it like 5%"),
        ("disk_used > 90", 12, "disk_used is in percent, 90 is a number without a unit", "write it like 90%"),
        ("status > 90%", 9, "status is in plain numbers, 90% is in percent", "write it like 90"),
        ("temperature > 80%", 14, "temperature is in degrees Celsius, 80% is in percent", "write it like 80C"),
        ("rate(oom_kills, 5m) > 3", 22, "rate(oom_kills, 5m) is in times per second", "3/s, 3/m, 3/h"),
        ("rate(received, 5m) > 5MB", 21, "is in bytes per second, 5MB is in bytes", "5kB/s, 5MiB/s"),
        ("response_time > body_size", 16, "response_time is in seconds, body_size in bytes", "the same unit"),
        ("1s < 2s", 5, "compares two constants, 1s and 2s", "one side must be a measurement"),
        ("respose_time > 1s", 0, "unknown measurement 'respose_time'", "did you mean 'response_time'?"),
        ("avg(respose_time, 5m) > 1s", 4, "unknown measurement 'respose_time'", "did you mean 'response_time'?"),
        ("dwon", 0, "unknown measurement 'dwon'", "did you mean 'down'?"),
        ("DOWN", 0, "'DOWN' is no word here", "did you mean 'down'?"),
        ("mean(response_time, 5m) > 1s", 0, "unknown function 'mean'", "there are: avg, baseline"),
        ("evg(response_time, 5m) > 1s", 0, "unknown function 'evg'", "did you mean 'avg'?"),
        ("avg(response_time) > 1s", 17, "avg needs a time", "write avg(response_time, 5m)"),
        ("avg(response_time, 5) > 1s", 19, "'5' is not a duration: it needs a unit", ""),
        ("avg(response_time, 0s) > 1s", 19, "a window must be longer than nothing", ""),
        ("avg(response_time,", 18, "expected a time such as 5m, found the end", ""),
        ("rate(response_time, 5m) > 1", 5, "rate is for counters, but response_time goes up and down", "delta("),
        ('disk_used{mont="/"} > 90%', 10, "disk_used has no label 'mont'", "did you mean 'mount'?"),
        ('cpu_used{core="1"} > 90%', 9, "cpu_used has no label 'core'", "it has no labels"),
        ("disk_used{mount=/} > 90%", 16, "'/' means nothing here", ""),
        ("disk_used{mount=root} > 90%", 16, "the value of a label stands in double quotes", ""),
        ("disk_used{mount='/'} > 90%", 16, '"\'" means nothing here', "double quotes"),
        ('disk_used{mount>"/"} > 90%', 15, "expected '=' or '!=' after label mount, found '>'", ""),
        ("disk_used{", 10, "disk_used has no label 'the end'", ""),
        ("response_time = 1s", 14, "expected a comparison", "did you mean '=='?"),
        ("response_time", 13, "expected a comparison (< <= > >= == !=) after response_time, found 'the end'", ""),
        ("disk_used > 90 %", 15, "'%' means nothing here", "90%"),
        ("down && up", 5, "'&' means nothing here", "write 'and'"),
        ("down AND up", 5, "'AND' is left over", "did you mean 'and'?"),
        ("1s < response_time < 2s", 19, "'<' is left over", "compare two at a time"),
        ("down for 5m and up", 12, "'and' is left over", "after them come `for` and `until`"),
        ("down for", 8, "expected how long it must hold after `for`, found 'the end'", "for 5m, or for 3x"),
        ("down for 5", 9, "expected how long it must hold after `for`, found '5'", "for 5m, or for 3x"),
        ("down for 5min", 9, "expected how long it must hold after `for`, found '5min'", "did you mean 5m?"),
        ("down for 0x", 9, "a condition must hold for at least one run", "for 1x"),
        ("response_time > 5min", 16, "'5min' is not a value", "did you mean 5m?"),
        ("body_size > 5gb", 12, "'5gb' is not a value", "did you mean 5GB?"),
        ("body_size > 5parsecs", 12, "'5parsecs' is not a value", "write a number, or one with"),
        ("rate(oom_kills, 5m) > 5%/s", 22, "'5%/s' is not a value", "a rate is written like 10/s"),
        ("rate(oom_kills, 5m) > 5/min", 22, "'5/min' is not a value", ""),
        ("response_time > 0 * baseline(response_time)", 16, "a multiple is a plain number", ""),
        ("response_time > 3 * 5s", 20, "expected a measurement or a number, found '5s'", ""),
        ("", 0, "expected a measurement or a number, found 'the end'", ""),
        ("()", 1, "expected a measurement or a number, found ')'", ""),
        ("(down", 5, "expected ')', found 'the end'", ""),
        ("down until", 10, "expected a measurement or a number", ""),
        ("(" * 60 + "down" + ")" * 60, 50, "more than 50 parentheses", ""),
        ("down or " * 300 + "down", 0, "a rule has at most 2000 characters", ""),
        ("cpu_used > 90% until disk_used < 80%", 15, "`until` looks at disk_used for each mount", "in braces"),
    ],
)
def test_what_is_no_rule_says_where_why_and_what_would_be_right(
    text: str, column: int, reason: str, suggestion: str
) -> None:
    with pytest.raises(RuleError) as raised:
        rule(text)
    assert reason in raised.value.reason
    assert suggestion in raised.value.suggestion
    assert raised.value.column == column


def test_a_check_that_measures_nothing_still_has_its_outcome() -> None:
    assert parse_rule("down", Severity.CRITICAL, ()).severity is Severity.CRITICAL
    with pytest.raises(RuleError) as raised:
        parse_rule("response_time > 1s", Severity.CRITICAL, ())
    assert raised.value.suggestion == "there are: down, unknown, up"


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("down", ""),
        ("cpu_used > 90%", "cpu"),
        ("cpu_used > 90% and rate(cpu_time, 5m) > 50%", "cpu"),
        ("cpu_used > 90% and memory_used > 90%", ""),
        ("not down and disk_used > 90%", "disk"),
        ("response_time > 1s", ""),
        ("cpu_used > 90% until memory_used < 10%", "cpu"),
    ],
)
def test_the_topic_is_the_one_its_measurements_agree_on(text: str, topic: str) -> None:
    assert rule(text).topic == topic


def test_rules_are_values() -> None:
    text = 'disk_used{mount="/"} > 90% and avg(response_time, 5m) > 1s for 3x'
    assert rule(text) == rule(text)
    assert len({rule(text), rule(text), rule("down")}) == 2


def test_the_state_of_a_rule_survives_being_stored() -> None:
    player = Player("disk_used > 90% for 2x until disk_used < 80% for 3x")
    player.play_all(up(at, series("disk_used", 0.95, mount="/")) for at in (0, 60))
    player.play(up(120, series("disk_used", 0.7, mount="/"), series("disk_used", 0.95, mount="/srv")))
    states = TypeAdapter(CheckState)
    kept = CheckState("host", rules=((player.rule.text, player.state),))
    assert states.validate_json(states.dump_json(kept)) == kept
    assert player.state.instances[0][1].clear_runs == 1


# --- confirmation, for, until ---


@pytest.mark.parametrize(("confirmations", "fires_at"), [(0, 1), (1, 2), (2, 3)])
def test_without_for_it_fires_when_confirmed(confirmations: int, fires_at: int) -> None:
    player = Player("down", confirmations)
    verdicts = player.play_all(seen(at, DOWN) for at in range(4))
    assert verdicts == ["pending"] * (fires_at - 1) + ["firing"] * (5 - fires_at)


def test_one_good_result_starts_the_confirmation_again() -> None:
    player = Player("down", confirmations=2)
    outcomes = [seen(0, DOWN), seen(1, DOWN), up(2), seen(3, DOWN), seen(4, DOWN), seen(5, DOWN)]
    assert player.play_all(outcomes) == ["pending", "pending", "clear", "pending", "pending", "firing"]
    assert player.only.since == 3


def test_for_a_time_fires_when_it_held_so_long() -> None:
    player = Player("response_time > 1s for 5m", confirmations=2)
    assert player.play_all(up(at, response_time=2) for at in (100, 160, 399.9)) == ["pending"] * 3
    assert player.play(up(400, response_time=2)) == "firing"
    assert player.only.since == 100


def test_for_a_number_of_runs_does_not_care_for_time() -> None:
    player = Player("response_time > 1s for 3x", confirmations=9)
    assert player.play_all(up(at, response_time=2) for at in (0, 1, DAY)) == ["pending", "pending", "firing"]


def test_for_no_time_fires_at_once() -> None:
    assert Player("down for 0s", confirmations=5).play(seen(0, DOWN)) == "firing"


def test_without_until_it_clears_at_the_first_denial() -> None:
    player = Player("response_time > 1s for 2x")
    played = [up(0, response_time=2), up(1, response_time=2), up(2, response_time=1), up(3, response_time=2)]
    assert player.play_all(played) == ["pending", "firing", "clear", "pending"]


def test_until_keeps_it_firing_between_the_thresholds() -> None:
    player = Player("cpu_used > 80% until cpu_used < 70%")
    values = [0.85, 0.75, 0.7, 0.79, 0.69, 0.75, 0.81]
    verdicts = player.play_all(up(at, cpu_used=value) for at, value in enumerate(values))
    assert verdicts == ["firing", "firing", "firing", "firing", "clear", "clear", "firing"]


def test_until_may_have_to_hold_too() -> None:
    player = Player("response_time > 1s until response_time < 800ms for 2m")
    values = [(0, 2), (60, 0.5), (120, 0.9), (180, 0.5), (240, 0.5), (299, 0.5), (300, 0.5)]
    verdicts = player.play_all(up(at, response_time=value) for at, value in values)
    assert verdicts == ["firing"] * 6 + ["clear"]


def test_until_may_be_another_condition() -> None:
    player = Player("down until response_time < 1s")
    assert player.play_all([seen(0, DOWN), up(1, response_time=5), up(2)]) == ["firing"] * 3
    assert player.play(up(3, response_time=0.5)) == "clear"


def test_a_clock_set_back_does_not_stretch_the_hold() -> None:
    player = Player("down for 5m")
    assert player.play_all(seen(at, DOWN) for at in (10_000, 6_400, 6_699)) == ["pending"] * 3
    assert player.play(seen(6_700, DOWN)) == "firing"


# --- undecided ---


@pytest.mark.parametrize("observation", [up(60), seen(60, DOWN), seen(60, UNKNOWN), up(60, response_time=float("nan"))])
def test_an_absent_value_leaves_everything_as_it_was(observation: Observation) -> None:
    for text in ("response_time > 1s for 3x", "response_time > 1s for 0s"):
        player = Player(text)
        player.play(up(0, response_time=2))
        before = player.state
        player.play(observation)
        assert player.state == before


def test_an_undecided_result_neither_counts_nor_starts_again() -> None:
    player = Player("response_time > 1s for 3x")
    played = [up(0, response_time=2), seen(1, DOWN), up(2, response_time=2), up(3), up(4, response_time=2)]
    assert player.play_all(played) == ["pending"] * 4 + ["firing"]


def test_unknown_is_never_up_and_never_down() -> None:
    for word in ("down", "up", "not down", "not up"):
        assert Player(word).play(seen(0, UNKNOWN)) == "clear"
    firing = Player("down")
    assert firing.play_all([seen(0, DOWN), seen(1, UNKNOWN), up(2)]) == ["firing", "firing", "clear"]


def test_whether_it_is_unknown_is_always_known() -> None:
    player = Player("unknown for 2x")
    outcomes = [seen(0, UNKNOWN), seen(1, UNKNOWN), seen(2, DOWN)]
    assert player.play_all(outcomes) == ["pending", "firing", "clear"]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("response_time > 1s or status == 500", "firing"),
        ("response_time > 1s and status == 500", "clear"),
        ("response_time > 1s and status == 200", "clear"),
        ("not (response_time > 1s) or status == 200", "clear"),
        ("not (response_time > 1s and status == 200)", "firing"),
    ],
)
def test_what_is_known_may_decide_alone(text: str, verdict: str) -> None:
    """The status is 500, the response time is absent."""
    assert Player(text).play(up(0, status=500)) == verdict


def test_the_guarded_rule_of_the_interface_page() -> None:
    player = Player("not (down or unknown) and response_time > 2s for 3x")
    slow = {"response_time": 3.0}
    assert player.play_all(up(at, **slow) for at in range(3)) == ["pending", "pending", "firing"]
    assert player.play(seen(3, DOWN)) == "clear"


# --- label sets ---


def disks(at: float, **used: float) -> Observation:
    """An observation of disks by a letter each."""
    return up(at, *(series("disk_used", value, mount=f"/{name}") for name, value in used.items()))


def mounts(*names: str) -> list[tuple[tuple[str, str], ...]]:
    return [labels(mount=f"/{name}") for name in names]


def test_every_label_set_stands_for_itself() -> None:
    player = Player("disk_used > 90% for 2x")
    player.play_all([disks(0, a=0.95, b=0.5, c=0.95), disks(1, a=0.95, b=0.95, c=0.5)])
    assert player.firing == mounts("a")
    player.play(disks(2, a=0.5, b=0.95, c=0.95))
    assert player.firing == mounts("b")
    assert dict(player.state.instances)[labels(mount="/c")].verdict.value == "pending"


def test_filters_narrow_what_is_looked_at() -> None:
    full = disks(0, a=0.95, b=0.95)
    for text, expected in {
        'disk_used{mount="/a"} > 90%': mounts("a"),
        'disk_used{mount!="/a"} > 90%': mounts("b"),
        "disk_used > 90%": mounts("a", "b"),
        'disk_used{mount="/x"} > 90%': [],
    }.items():
        player = Player(text)
        player.play(full)
        assert player.firing == expected, text


def test_what_has_no_labels_joins_every_label_set() -> None:
    player = Player("disk_used > 90% and users > 10")
    player.play(up(0, *disks(0, a=0.95, b=0.95).measurements, users=5))
    assert player.firing == []
    player.play(up(1, *disks(0, a=0.95, b=0.5).measurements, users=50))
    assert player.firing == mounts("a")


def test_measurements_with_the_same_labels_are_matched() -> None:
    player = Player("disk_used > 90% and inodes_used > 90%")
    inodes = [series("inodes_used", 0.95, mount="/b"), series("inodes_used", 0.1, mount="/a")]
    player.play(up(0, *disks(0, a=0.95, b=0.95).measurements, *inodes))
    assert player.firing == mounts("b")


def test_a_label_set_that_only_one_of_two_measurements_has_is_looked_at_too() -> None:
    """Some file systems have no inodes to count; they fill up all the same."""
    player = Player("disk_used > 90% or inodes_used > 90%")
    player.play(
        up(0, *disks(0, a=0.95, b=0.1).measurements, *(series("inodes_used", 0.95, mount=f"/{one}") for one in "bc"))
    )
    assert player.firing == mounts("a", "b", "c")


def test_measurements_are_matched_on_the_labels_they_share() -> None:
    player = Player("disk_used > 90% and disk_errors > 0")
    errors = [
        series("disk_errors", 1, mount="/a", kind="read"),
        series("disk_errors", 0, mount="/a", kind="write"),
        series("disk_errors", 1, mount="/b", kind="read"),
        series("disk_errors", 1, mount="/c", kind="read"),
    ]
    player.play(up(0, *disks(0, a=0.95, b=0.1).measurements, *errors))
    assert player.firing == [labels(mount="/a", kind="read")]


def test_one_pinned_series_can_guard_all_the_others() -> None:
    player = Player('disk_used > 90% and disk_used{mount="/a"} < 50%')
    player.play(disks(0, a=0.1, b=0.95))
    assert player.firing == mounts("b")
    player.play(disks(1, a=0.6, b=0.95))
    assert player.firing == []


def test_two_pinned_series_speak_of_the_check_as_a_whole() -> None:
    player = Player('disk_used{mount="/a"} > 90% and disk_used{mount="/b"} > 90%')
    player.play(disks(0, a=0.95, b=0.1))
    assert player.firing == []
    player.play(disks(1, a=0.95, b=0.95))
    assert player.firing == [()]
    assert player.because == 'disk_used{mount="/a"} 95 % > 90 % and disk_used{mount="/b"} 95 % > 90 %'


def test_a_series_that_is_gone_is_given_up() -> None:
    player = Player("disk_used > 90%")
    player.play(disks(0, a=0.95))
    player.play_all(disks(at, b=0.1) for at in range(1, GONE_AFTER))
    assert player.firing == mounts("a")
    player.play(disks(GONE_AFTER, b=0.1))
    assert player.firing == []
    assert "gone" in player.because
    player.play(disks(GONE_AFTER + 1, b=0.1))
    assert player.state == RuleState()


def test_a_series_that_comes_back_in_between_goes_on_where_it_was() -> None:
    player = Player("disk_used > 90% until disk_used < 80%")
    player.play(disks(0, a=0.95))
    for at in range(1, 40):
        player.play(disks(at, a=0.85) if at % GONE_AFTER == 0 else disks(at, b=0.1))
    assert player.firing == mounts("a")
    assert player.only.since == 0


def test_a_check_that_is_down_gives_no_series_up() -> None:
    player = Player("disk_used > 90%")
    player.play(disks(0, a=0.95))
    player.play_all(seen(at, DOWN if at % 2 else UNKNOWN) for at in range(1, 50))
    assert player.firing == mounts("a")


def test_the_check_as_a_whole_stands_in_while_there_is_no_series() -> None:
    player = Player("down or disk_used > 90%")
    player.play(seen(0, DOWN))
    assert player.firing == [()]
    player.play(disks(1, a=0.95, b=0.1))
    assert player.firing == mounts("a")


def test_the_order_of_measurements_does_not_matter() -> None:
    values = [*disks(0, a=0.95, b=0.95, c=0.2).measurements, Measurement("users", 50.0)]
    states = []
    for order in (values, values[::-1]):
        player = Player("disk_used > 90% and users > 10")
        player.play(up(0, *order))
        states.append(player.state)
    assert states[0] == states[1]


# --- why ---


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("response_time > 1s", "response_time 1.31 s > 1 s"),
        ("response_time > 1s for 0s", "response_time 1.31 s > 1 s"),
        ("response_time > 1s for 1x", "response_time 1.31 s > 1 s"),
        ("1s < response_time", "1 s < response_time 1.31 s"),
        ("cpu_used > 93.1%", "cpu_used 93.14 % > 93.1 %"),
        ("body_size >= 1MiB", "body_size 1 MiB >= 1 MiB"),
        ("response_time > connect_time", "response_time 1.31 s > connect_time 200 ms"),
        ("response_time > 3 * connect_time", "response_time 1.31 s > 3 * connect_time 600 ms"),
        ("response_time > 1s or status == 500", "response_time 1.31 s > 1 s"),
        ("response_time > 1s and status == 200", "response_time 1.31 s > 1 s and status 200 == 200"),
        ("not (response_time < 1s)", "response_time 1.31 s >= 1 s"),
        ("not (response_time < 1s or status == 500)", "response_time 1.31 s >= 1 s and status 200 != 500"),
        ("not down", "not down"),
        ("up and cpu_used > 90%", "up and cpu_used 93.1 % > 90 %"),
    ],
)
def test_it_says_why_with_the_values(text: str, said: str) -> None:
    player = Player(text)
    now = {"response_time": 1.31, "connect_time": 0.2, "cpu_used": 0.9314, "body_size": 2.0**20, "status": 200.0}
    assert player.play(up(0, **now)) == "firing"
    assert player.because == said


def test_it_says_how_long_only_once_it_has_held_so_long() -> None:
    player = Player("response_time > 1s for 5m")
    player.play(up(0, response_time=2))
    assert player.because == "response_time 2 s > 1 s"
    player.play(up(300, response_time=3))
    assert player.because == "response_time 3 s > 1 s for 5 min"
    runs = Player("down for 2x")
    runs.play_all([seen(0, DOWN), seen(1, DOWN)])
    assert runs.because == "down for 2 runs"


def test_it_names_the_label_set() -> None:
    player = Player("disk_used > 90% and users > 10")
    player.play(up(0, series("disk_used", 0.931, mount='/a "b"'), users=50))
    assert player.because == 'disk_used{mount="/a \\"b\\""} 93.1 % > 90 % and users 50 > 10'
    window = Player("increase(disk_errors, 5m) > 0")
    window.play_all(up(at, series("disk_errors", at, mount="/", kind="read")) for at in (0, 60))
    assert window.because == 'increase(disk_errors{kind="read", mount="/"}, 5m) 60 > 0'


def test_between_the_thresholds_it_still_says_why_it_fired() -> None:
    player = Player("cpu_used > 80% until cpu_used < 70%")
    player.play_all([up(0, cpu_used=0.9), up(1, cpu_used=0.75)])
    assert player.because == "cpu_used 90 % > 80 %"


# --- windows ---


def minutely(name: str, values: Iterable[float], start: float = 0.0) -> list[Observation]:
    """One observation a minute with these values."""
    return [up(start + minute * MINUTE, **{name: value}) for minute, value in enumerate(values)]


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("avg(response_time, 5m) == 3.5s", "firing"),
        ("min(response_time, 5m) == 1s", "firing"),
        ("max(response_time, 5m) == 6s", "firing"),
        ("p95(response_time, 5m) > 5.7s", "firing"),
        ("p95(response_time, 5m) < 6s", "firing"),
        ("delta(response_time, 5m) == 5s", "firing"),
        ("baseline(response_time) == 3.5s", "clear"),
        ("avg(response_time, 1m) == 5.5s", "firing"),
        ("max(response_time, 3m) == 6s and min(response_time, 3m) == 3s", "firing"),
    ],
)
def test_windows_over_the_last_minutes(text: str, verdict: str) -> None:
    player = Player(text)
    assert player.play_all(minutely("response_time", [1, 2, 3, 4, 5, 6]))[-1] == verdict


def test_a_window_is_undecided_until_half_of_it_is_covered() -> None:
    """After a start nobody is paged for a single value."""
    player = Player("avg(response_time, 5m) > 1s")
    assert player.play_all(minutely("response_time", [9] * 4)) == ["clear"] * 3 + ["firing"]
    exactly = Player("avg(response_time, 4m) > 1s")
    assert exactly.play_all(minutely("response_time", [9] * 3)) == ["clear"] * 2 + ["firing"]


@pytest.mark.parametrize("function", ["avg", "min", "max", "p95", "rate", "increase", "delta", "forecast"])
def test_too_little_is_not_nothing(function: str) -> None:
    """What cannot be said yet is neither large nor small."""
    for symbol in ("<", ">="):
        player = Player(f"{function}(oom_kills, 8h) {symbol} {'5/s' if function == 'rate' else 50}")
        assert player.play(up(0, oom_kills=5)) == "clear"
    for text in ("baseline(response_time) < 1s", "3 * baseline(response_time) < 1s", "3 * response_time < 1s"):
        assert Player(text).play(up(0)) == "clear"


def test_a_hole_makes_a_window_undecided_again() -> None:
    player = Player("avg(response_time, 5m) > 1s")
    player.play_all(minutely("response_time", [0.1] * 10))
    later = minutely("response_time", [9] * 4, start=2 * DAY)
    assert player.play_all(later) == ["clear"] * 3 + ["firing"]


@pytest.mark.parametrize("function", ["avg", "min", "max", "p95"])
def test_a_check_slower_than_its_window_is_decided_all_the_same(function: str) -> None:
    player = Player(f"{function}(response_time, 5m) > 1s")
    assert player.play_all(up(at * HOUR, response_time=9) for at in range(5))[2:] == ["firing"] * 3


def test_a_window_is_undecided_without_a_value_of_now() -> None:
    player = Player("avg(response_time, 5m) > 1s")
    assert player.play_all(minutely("response_time", [9] * 6))[-1] == "firing"
    assert player.play_all(seen(360 + at * 60, DOWN) for at in range(60)) == ["firing"] * 60
    assert player.play_all(minutely("response_time", [0.1] * 4, start=DAY))[-1] == "clear"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([10, 10, 10, 10, 10, 10], 0),
        ([10, 12, 12, 13, 13, 20], 10),
        ([10, 12, 0, 1, 1, 2], 4),  # 2 more, then a reset: 0, 1, 0, 1 more
        ([10, 12, 5, 6, 6, 7], 9),  # 2 more, then a reset: what stands there has come since
    ],
)
def test_counters_may_be_reset(values: list[float], expected: float) -> None:
    player = Player(f"increase(oom_kills, 5m) == {expected}")
    assert player.play_all(minutely("oom_kills", values))[-1] == "firing"
    rate = Player(f"rate(oom_kills, 5m) == {expected}/s")
    rate.play_all(minutely("oom_kills", [value * 300 for value in values], start=DAY))
    assert rate.verdict == "firing"


def test_an_increase_is_told_as_soon_as_it_is_known_but_its_absence_is_not() -> None:
    """One kill is enough to tell; that nothing happened for half an hour takes half an hour."""
    some, none = Player("increase(oom_kills, 30m) > 0"), Player("increase(oom_kills, 30m) < 1")
    some.play_all(minutely("oom_kills", [3, 4]))
    assert some.verdict == "firing"
    verdicts = none.play_all(minutely("oom_kills", [3] * 40))
    assert verdicts.index("firing") == 27  # nine tenths of the window


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("1 > increase(oom_kills, 30m)", "clear"),
        ("4 <= increase(oom_kills, 30m)", "firing"),
        ("increase(oom_kills, 30m) >= 4", "firing"),
        ("increase(oom_kills, 30m) <= 4", "clear"),
        ("increase(oom_kills, 30m) == 4", "clear"),
        ("increase(oom_kills, 30m) != 5", "clear"),
        ("increase(oom_kills, 30m) != 3", "firing"),
        ("users < 0.5 * increase(oom_kills, 30m)", "firing"),
        ("increase(oom_kills, 30m) == increase(oom_kills, 30m)", "clear"),
    ],
)
def test_what_may_yet_be_more_decides_only_what_more_would_not_change(text: str, verdict: str) -> None:
    """Four kills are known of, in a window that is known by a minute."""
    player = Player(text)
    assert player.play_all([up(0, oom_kills=1, users=1), up(60, oom_kills=5, users=1)])[-1] == verdict


def test_an_increase_is_over_when_it_left_the_window() -> None:
    player = Player("increase(oom_kills, 30m) > 0")
    verdicts = player.play_all(minutely("oom_kills", [3] * 40 + [4] * 40))
    assert verdicts[39:72] == ["clear", *["firing"] * 30, "clear", "clear"]


def test_a_rate_is_per_second() -> None:
    player = Player('rate(received{interface="eth0"}, 5m) > 4.9MB/s')
    for minute in range(6):
        player.play(up(minute * 60.0, series("received", minute * 300e6, interface="eth0")))
    assert player.because == 'rate(received{interface="eth0"}, 5m) 4.77 MiB/s > 4.67 MiB/s'


def test_a_forecast_follows_the_last_hours() -> None:
    """One per cent an hour from 50 %: 100 % is 47 hours away after three hours."""
    quiet, worried = Player("forecast(disk_used, 1d) > 100%"), Player("forecast(disk_used, 2d) > 100%")
    for minute in range(0, 181, 10):
        now = up(minute * 60.0, series("disk_used", 0.5 + minute / 6_000, mount="/"))
        quiet.play(now)
        worried.play(now)
    assert quiet.firing == []
    assert worried.firing == [labels(mount="/")]


def test_a_forecast_needs_a_part_of_the_time_it_looks_ahead() -> None:
    player = Player("forecast(disk_used, 4h) > 100%")
    verdicts = [
        player.play(up(minute * 60.0, series("disk_used", 0.5 + minute / 100, mount="/"))) for minute in range(31)
    ]
    assert verdicts == ["clear"] * 30 + ["firing"]


def test_a_forecast_of_a_slow_check_follows_its_last_two_values() -> None:
    player = Player("forecast(users, 2d) >= 40")
    verdicts = player.play_all(up(at * DAY, users=at * 10) for at in range(4))
    assert verdicts == ["clear", "clear", "firing", "firing"]


def test_a_baseline_is_the_median_of_a_week() -> None:
    player = Player("response_time > 3 * baseline(response_time)")
    for hour in range(8 * 24):
        assert player.play(up(hour * HOUR, response_time=9.0 if hour % 10 == 0 else 0.2)) == (
            "firing" if hour % 10 == 0 and hour >= 84 else "clear"
        )


def test_a_baseline_goes_by_the_time_of_the_day() -> None:
    """Nights are quiet: what is usual at noon is a spike at three in the morning, and a spike does not become usual."""
    player = Player("users > 3 * baseline(users)")
    busy = [hour for hour in range(24) if 8 <= hour < 20]
    for hour in range(6 * 24):
        assert player.play(up(hour * HOUR, users=90.0 if hour % 24 in busy else 5.0)) == "clear"
    for hour in range(6 * 24, 6 * 24 + 4):
        assert player.play(up(hour * HOUR, users=90.0)) == "firing", "at night"


def test_what_is_remembered_is_bounded() -> None:
    rules = [rule("p95(response_time, 30d) > 1s"), rule("max(response_time, 1d) > 1s")]
    history = History()
    for minute in range(30_000):
        history = remember(history, rules, up(minute * MINUTE, response_time=5.0 if minute == 29_000 else 0.1))
    sizes = [len(samples) for known in history.series.values() for samples in known.values()]
    assert len(sizes) == 2
    assert max(sizes) <= 504
    # A peak is not lost by thinning.
    fires = evaluate(rules[1], RuleState(), history, up(29_999 * MINUTE, response_time=0.1), 0)
    assert fires.instances[0][1].because == "max(response_time, 1d) 5 s > 1 s"


def test_nothing_is_remembered_that_no_rule_needs() -> None:
    plain = History()
    assert remember(plain, [rule("response_time > 1s"), rule("down")], up(0, response_time=1)) is plain
    kept = remember(plain, [rule("avg(response_time, 5m) > 1s")], up(0, response_time=1, connect_time=1, users=3))
    assert [track.name for track in kept.series] == ["response_time"]
    assert remember(kept, [rule("down")], up(60, response_time=1)).series == {}


def test_series_that_are_gone_are_forgotten() -> None:
    rules = [rule("avg(disk_used, 5m) > 90%")]
    history = remember(History(), rules, disks(0, a=0.5, b=0.5))
    history = remember(history, rules, disks(601, a=0.5))
    assert [list(known) for known in history.series.values()] == [mounts("a")]


def test_a_clock_set_back_or_a_run_told_twice_does_no_harm() -> None:
    player = Player("rate(oom_kills, 5m) < 0/s or rate(oom_kills, 5m) > 0/s")
    for at in (0, 60, 120, 180, 240, 240, 300, 300, 150, 150, 210, 90, 90):
        assert player.play(up(at, oom_kills=7)) == "clear"
        ((known,),) = (tracked.values() for tracked in player.history.series.values())
        times = [moment for moment, _ in known]
        assert times == sorted(set(times))
        assert times[-1] == at


def test_a_window_of_a_gone_series_does_not_keep_it_alive() -> None:
    player = Player("avg(disk_used, 1h) > 90%")
    player.play_all(disks(at * MINUTE, a=0.95) for at in range(60))
    assert player.firing == mounts("a")
    player.play_all(disks((60 + at) * MINUTE, b=0.1) for at in range(GONE_AFTER))
    assert player.firing == []


def test_infinite_values_do_not_spoil_a_window() -> None:
    player = Player("avg(response_time, 5m) < 1s")
    verdicts = player.play_all(minutely("response_time", [0.1, 0.1, float("inf"), float("nan"), 0.1, 0.1]))
    assert verdicts[-1] == "firing"


def test_every_default_measurement_of_the_tests_can_be_compared_with_zero() -> None:
    for spec in SPECS:
        assert rule(f"{spec.name} > 0").condition
