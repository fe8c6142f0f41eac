"""What holds for every rule and every run of values."""

from __future__ import annotations

import string
from random import Random

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.core.measured import SPECS, Player, rule, seen, series, up
from wcr_watchd.core.errors import RuleError
from wcr_watchd.core.expressions import (
    OPERATORS,
    Comparison,
    Condition,
    Facts,
    Junction,
    Literal,
    Not,
    Series,
    Window,
    Word,
    because,
    truth,
    worth,
)
from wcr_watchd.core.model import Observation, Outcome, Severity
from wcr_watchd.core.rules import Rule, parse_rule
from wcr_watchd.core.units import Unit
from wcr_watchd.core.windows import FUNCTIONS

# --- rule texts ---

LITERALS = {
    Unit.SECONDS: st.sampled_from(["1s", "250ms", "1h30m", "7d", "0", "-5s"]),
    Unit.BYTES: st.sampled_from(["512B", "5MB", "1.5GiB", "0"]),
    Unit.RATIO: st.sampled_from(["90%", "0.9", "250%", "0"]),
    Unit.COUNT: st.sampled_from(["3", "0", "-2.5", "500"]),
    Unit.CELSIUS: st.sampled_from(["80C", "80", "-5C"]),
    Unit.TIMESTAMP: st.sampled_from(["1700000000", "0"]),
}
RATES = {Unit.SECONDS: "50%", Unit.BYTES: "5MB/s"}
DURATIONS = st.sampled_from(["30s", "5m", "1h30m", "250ms", "7d"])
HOLDS = st.sampled_from(["", " for 5m", " for 3x", " for 0s", " for 1x", " for 1.5h"])
LABEL_VALUES = st.text(alphabet=string.ascii_letters + string.digits + '/ _-"\\{}=', max_size=8)


@st.composite
def _comparisons(draw: st.DrawFn) -> str:
    spec = draw(st.sampled_from(SPECS))
    text, right = spec.name, draw(LITERALS[spec.unit])
    if spec.labels and draw(st.booleans()):
        value = draw(LABEL_VALUES).replace("\\", "\\\\").replace('"', '\\"')
        text += f'{{{draw(st.sampled_from(spec.labels))}{draw(st.sampled_from(["=", "!="]))}"{value}"}}'
    function = draw(st.sampled_from(["", *FUNCTIONS]))
    assume(spec.counter or function not in ("rate", "increase"))
    assume(spec.unit is not Unit.TIMESTAMP or function != "delta")
    if function == "rate":
        right = RATES.get(spec.unit, "3/h")
    if function:
        text = f"{function}({text}{'' if function == 'baseline' else ', ' + draw(DURATIONS)})"
    factor = draw(st.sampled_from(["", "", "3 * ", "0.5*"]))
    return f"{factor}{text} {draw(st.sampled_from(list(OPERATORS)))} {right}"


CONDITIONS = st.recursive(
    st.sampled_from(["down", "up", "unknown"]) | _comparisons(),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=3).map(" and ".join),
        st.lists(inner, min_size=2, max_size=3).map(" or ".join),
        inner.map("not ({})".format),
        inner.map("({})".format),
        inner.map("not {}".format),
    ),
    max_leaves=8,
)


@given(CONDITIONS, HOLDS, st.booleans(), HOLDS)
def test_what_is_written_from_a_rule_reads_as_the_same_rule(
    condition: str, hold: str, ends: bool, until_hold: str
) -> None:
    text = f"{condition}{hold}" + (f" until {condition}{until_hold}" if ends else "")
    read = rule(text)
    again = rule(str(read))
    parts = ("condition", "hold", "until", "until_hold", "topic", "names", "windows", "apart")
    assert [getattr(again, part) for part in parts] == [getattr(read, part) for part in parts]
    assert str(again) == str(read)


WORDS = st.sampled_from(
    [
        *("down", "up", "unknown", "and", "or", "not", "for", "until", "(", ")", "{", "}", ",", "=", "*"),
        *("<", "<=", ">", ">=", "==", "!=", "3x", "5m", "90%", "1s", "5MB/s", "0", "-1", "80C"),
        *(spec.name for spec in SPECS),
        *(f"{function}(" for function in FUNCTIONS),
        '{mount="/"}',
        '"',
        "\\",
        "9" * 400,
    ]
)


def rule_or_error(text: str) -> Rule | RuleError:
    try:
        return parse_rule(text, Severity.WARNING, SPECS)
    except RuleError as error:
        return error


@settings(max_examples=500)
@given(st.text(max_size=60) | st.lists(WORDS, max_size=12).map(" ".join) | st.lists(WORDS, max_size=12).map("".join))
def test_any_text_is_a_rule_or_a_rule_error(text: str) -> None:
    read = rule_or_error(text)
    if isinstance(read, RuleError):
        assert 0 <= read.column <= len(text)
        assert read.reason
    else:
        assert str(read)


@given(CONDITIONS, st.integers(0, 400))
def test_a_rule_cut_off_anywhere_is_a_rule_or_a_rule_error(text: str, length: int) -> None:
    read = rule_or_error(text[:length])
    if isinstance(read, RuleError):
        assert 0 <= read.column <= length


# --- logic ---


def is_worth(verdict: bool | None) -> Condition:
    """A condition that is true, false or undecided."""
    if verdict is None:
        absent = Series("absent", (), Unit.COUNT, "", (), ())
        return Comparison(absent, ">", Literal(0, None, "0"))
    return Word("up" if verdict else "down")


FACTS = Facts(0.0, Outcome.UP, {}, {})
TRUTHS = st.sampled_from([True, False, None])
TREES = st.recursive(
    TRUTHS.map(is_worth),
    lambda inner: (
        inner.map(Not)
        | st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3).map(tuple)).map(
            lambda drawn: Junction(*drawn)
        )
    ),
)
RANK = {False: 0, None: 1, True: 2}


def truth_of(condition: Condition) -> bool | None:
    return truth(condition, FACTS, ())


@given(st.lists(TRUTHS, min_size=2, max_size=5))
def test_and_is_the_least_and_or_the_greatest(verdicts: list[bool | None]) -> None:
    items = tuple(map(is_worth, verdicts))
    assert truth_of(Junction("and", items)) is min(verdicts, key=RANK.__getitem__)
    assert truth_of(Junction("or", items)) is max(verdicts, key=RANK.__getitem__)


@given(TREES, TREES)
def test_de_morgan_and_double_negation(one: Condition, other: Condition) -> None:
    assert truth_of(Not(Junction("and", (one, other)))) is truth_of(Junction("or", (Not(one), Not(other))))
    assert truth_of(Not(Junction("or", (one, other)))) is truth_of(Junction("and", (Not(one), Not(other))))
    assert truth_of(Not(Not(one))) is truth_of(one)
    assert truth_of(Junction("or", (one, other))) is truth_of(Junction("or", (other, one)))


@given(TREES)
def test_more_knowledge_never_changes_what_was_decided(condition: Condition) -> None:
    """Replacing what is absent by a value, either way, leaves a decision as it was (Kleene logic is monotonic)."""
    decided = truth_of(condition)
    for value in (0.0, 1.0):
        known = truth(condition, Facts(0.0, Outcome.UP, {"absent": {(): value}}, {}), ())
        assert known is not None
        assert decided is None or known is decided


@given(TREES)
def test_there_is_always_something_to_say_about_what_holds(condition: Condition) -> None:
    assume(truth_of(condition))
    assert because(condition, FACTS, ())


# --- time ---

VALUES = st.none() | st.floats(0, 4, allow_nan=False)
OUTCOMES = st.sampled_from(list(Outcome))
STEPS = st.lists(st.tuples(st.floats(1, 400), OUTCOMES, VALUES), min_size=1, max_size=40)


def played(steps: list[tuple[float, Outcome, float | None]]) -> list[tuple[float, Outcome, float | None]]:
    """Steps with their times instead of the pauses between them; a value is measured only when up."""
    at, found = 0.0, []
    for pause, outcome, value in steps:
        at += pause
        found.append((at, outcome, value if outcome is Outcome.UP else None))
    return found


def observed(at: float, outcome: Outcome, value: float | None) -> Observation:
    return seen(at, outcome) if value is None else seen(at, outcome, response_time=value)


@given(STEPS, st.integers(0, 600))
def test_a_hold_is_never_cut_short(steps: list[tuple[float, Outcome, float | None]], seconds: int) -> None:
    """It fires exactly when every decided result of the last so many seconds said so."""
    player = Player(f"response_time > 2s for {seconds}s")
    since: float | None = None
    for at, outcome, value in played(steps):
        verdict = player.play(observed(at, outcome, value))
        if value is None:
            continue
        if value > 2:
            since = at if since is None else since
            assert verdict == ("firing" if at - since >= seconds else "pending")
            assert player.only.since == since
        else:
            since = None
            assert verdict == "clear"


@given(STEPS, st.integers(1, 6))
def test_runs_are_counted_exactly(steps: list[tuple[float, Outcome, float | None]], runs: int) -> None:
    held, confirmed = Player(f"response_time > 2s for {runs}x", 9), Player("response_time > 2s", runs - 1)
    count = 0
    for at, outcome, value in played(steps):
        for player in (held, confirmed):
            player.play(observed(at, outcome, value))
        if value is not None:
            count = count + 1 if value > 2 else 0
        expected = "clear" if count == 0 else "firing" if count >= runs else "pending"
        assert (held.verdict, confirmed.verdict) == (expected, expected)


@given(STEPS)
def test_between_the_thresholds_nothing_changes(steps: list[tuple[float, Outcome, float | None]]) -> None:
    player = Player("response_time > 3s until response_time < 1s")
    for at, outcome, value in played(steps):
        before = player.verdict
        after = player.play(observed(at, outcome, value))
        if value is None or 1 <= value <= 3:
            assert after == before
        else:
            assert after == ("firing" if value > 3 else "clear")


@given(STEPS, st.sampled_from(["", " for 5m", " for 3x"]), st.sampled_from(["", " until response_time < 1s for 2x"]))
def test_an_undecided_result_changes_nothing(
    steps: list[tuple[float, Outcome, float | None]], hold: str, until: str
) -> None:
    player = Player(f"response_time > 2s{hold}{until}", 2)
    for at, outcome, value in played(steps):
        before = player.state
        player.play(observed(at, outcome, value))
        if value is None:
            assert player.state == before


@given(STEPS)
def test_unknown_outcomes_never_count_as_down_or_up(steps: list[tuple[float, Outcome, float | None]]) -> None:
    """Leaving the unknown results out gives the same verdicts."""
    all_of_them, without = Player("down for 3x"), Player("down for 3x")
    for at, outcome, _ in played(steps):
        all_of_them.play(seen(at, outcome))
        if outcome is not Outcome.UNKNOWN:
            without.play(seen(at, outcome))
        assert all_of_them.state == without.state


# --- label sets and windows ---

DISKS = st.dictionaries(st.sampled_from("abcd"), st.floats(0, 1), max_size=4)


@given(st.lists(st.tuples(DISKS, DISKS), max_size=12), st.randoms(use_true_random=False))
def test_the_order_of_measurements_never_matters(
    rounds: list[tuple[dict[str, float], dict[str, float]]], random: Random
) -> None:
    text = "disk_used > 60% and (inodes_used > 60% or avg(disk_used, 3m) > 70%) for 2x until disk_used < 30%"
    straight, shuffled = Player(text), Player(text)
    for number, (used, inodes) in enumerate(rounds):
        values = [series("disk_used", value, mount=name) for name, value in used.items()]
        values += [series("inodes_used", value, mount=name) for name, value in inodes.items()]
        straight.play(up(number * 60.0, *values))
        random.shuffle(values)
        shuffled.play(up(number * 60.0, *values))
        assert straight.state == shuffled.state


@given(st.lists(DISKS, max_size=15))
def test_label_sets_do_not_disturb_each_other(rounds: list[dict[str, float]]) -> None:
    """Each disk is decided as if it were the only one."""
    text = "disk_used > 60% for 2x until disk_used < 30%"
    together, alone = Player(text), {name: Player(text) for name in "abcd"}
    for number, used in enumerate(rounds):
        together.play(up(number, *(series("disk_used", value, mount=name) for name, value in used.items())))
        for name, player in alone.items():
            own = [series("disk_used", used[name], mount=name)] if name in used else []
            player.play(up(number, *own))
    expected = [instance for player in alone.values() for instance in player.state.instances]
    assert list(together.state.instances) == sorted(expected)


COUNTS = st.lists(st.tuples(st.floats(0.5, 600), st.integers(0, 10**6)), min_size=2, max_size=60)


@given(COUNTS, st.sampled_from(["1m", "5m", "1h"]))
def test_counters_never_grow_backwards(counts: list[tuple[float, int]], past: str) -> None:
    """Whatever the resets and holes: no rate and no increase is below zero."""
    player = Player(f"rate(oom_kills, {past}) < 0/s or increase(oom_kills, {past}) < 0")
    at = 0.0
    for pause, count in counts:
        at += pause
        assert player.play(up(at, oom_kills=count)) == "clear"


@given(st.lists(st.floats(0.001, 100), min_size=1, max_size=80), st.sampled_from(["2m", "10m"]))
def test_aggregates_lie_within_what_was_measured(values: list[float], past: str) -> None:
    functions = {name: Player(f"{name}(response_time, {past}) > 0s") for name in ("min", "avg", "p95", "max")}
    seen_so_far: list[float] = []
    for minute, value in enumerate(values):
        seen_so_far.append(value)
        # The time is jittered, as it is in life.
        now = up(minute * 60.0 + (minute % 7) * 0.3, response_time=value)
        for player in functions.values():
            player.play(now)
        verdicts = {player.verdict for player in functions.values()}
        assert len(verdicts) == 1, "they need the same history"
        if verdicts == {"firing"}:
            numbers = [_number(player) for player in functions.values()]
            least, average, nearly_most, most = numbers
            assert min(seen_so_far) <= least <= most <= max(seen_so_far)
            assert least - 1e-9 <= average <= most + 1e-9
            assert least - 1e-9 <= nearly_most <= most + 1e-9


def _number(player: Player) -> float:
    """The value of the window function in a player's rule, found by asking it."""
    comparison = player.rule.condition
    assert isinstance(comparison, Comparison)
    assert isinstance(comparison.left, Window)
    newest = max(samples[-1][0] for known in player.history.series.values() for samples in known.values())
    number = worth(comparison.left, Facts(newest, Outcome.UP, {}, player.history.series), ())
    assert number is not None
    return number


@given(st.integers(0, 2**32), st.sampled_from([20, 200, 3_600]))
@settings(max_examples=10)
def test_what_is_remembered_stays_small_and_in_order(seed: int, longest: int) -> None:
    random = Random(seed)
    player = Player("p95(response_time, 1d) > 1s or min(response_time, 1d) > 1s or baseline(response_time) > 1s")
    at = 0.0
    for _ in range(800):
        at += 1 + random.random() * longest
        player.play(up(at, response_time=0.1))
        for track, known in player.history.series.items():
            times = [moment for moment, _ in known[()]]
            assert times == sorted(set(times))
            assert times[-1] == at
            assert len(times) <= 504
            assert len([one for one in times if one < at - track.past]) <= 2
