"""A change's life and its checklist: what ticks itself, what must be done first, and what its log says."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.world import check
from wcr_watchd.core import changes
from wcr_watchd.core.changes import Category, Change, ChangeState, ChangeWish, Phase, Plan, Step, Tick, Verified
from wcr_watchd.core.checklist import Sight, looked_over, tells
from wcr_watchd.core.comparison import Compared, Finding
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.matchers import parse_matchers
from wcr_watchd.core.model import Fact, Measurement, Observation, Outcome, Severity
from wcr_watchd.core.recurrence import Once
from wcr_watchd.core.setup import Setup
from wcr_watchd.core.silence import Window
from wcr_watchd.core.state import CheckState, State
from wcr_watchd.core.units import Unit
from wcr_watchd.core.versions import another, in_words, is_version

NOW = 1_790_000_000.0
STEPS = (
    Step(Phase.PRE, "review the notes"),
    Step(Phase.PRE, "staging", Tick.STAGING, 1_800.0),
    Step(Phase.PRE, "backup", Tick.BACKUPS, 7_200.0, required=True),
    Step(Phase.PRE, "in a window", Tick.WINDOW),
    Step(Phase.PRE, "tell", Tick.TOLD),
    Step(Phase.DURING, "maintenance mode", Tick.STARTED),
    Step(Phase.DURING, "update", Tick.UPDATED),
    Step(Phase.DURING, "verify", Tick.VERIFIED),
    Step(Phase.POST, "maintenance mode off", Tick.FINISHED),
    Step(Phase.POST, "performance", Tick.COMPARED),
    Step(Phase.POST, "logs", Tick.LOGS, 3_600.0),
    Step(Phase.POST, "feedback", evidence=True),
)
PLAN = Plan(
    "release",
    Category("feature", STEPS),
    parse_matchers('check=~"api|web"'),
    verify=("api", "web"),
    compare=("api",),
    staging=("staging",),
    backups=("backup",),
    logs=("log",),
)
WINDOW = Window("weekly", Once(NOW - 60, NOW + 7_200), parse_matchers('check=~".*"'))


def a_state(name: str, **values: object) -> CheckState:
    usual = CheckState(name, Outcome.UP, since=NOW - 3_600, severity=Severity.OK, last_at=NOW - 5)
    return replace(usual, **values)  # type: ignore[arg-type]


def sight(*states: CheckState, age: float = 600.0, now: float = NOW, windows: tuple[Window, ...] = (WINDOW,)) -> Sight:
    names = ("api", "web", "staging", "backup", "log")
    known = {name: a_state(name, last_at=now - 5) for name in names} | {one.check: one for one in states}
    measured = (Measurement("damaged", 0.0), Measurement("age", age))
    latest = {"backup": Observation("backup", "here", now - 60, 1.0, Outcome.UP, "", "", measured)}
    setup = Setup("prod", "here", "UTC", "", {name: check(name) for name in names}, windows=windows)
    return Sight(setup, State(checks=known), latest, now)


def prepared() -> Change:
    return changes.prepare(4, PLAN, "2.3", "ann", NOW)


def done(change: Change) -> set[str]:
    return {step.text for step, ticked in change.steps if ticked}


def why_not(change: Change, tick: Tick, at: Sight) -> str:
    step = next(step for step in STEPS if step.tick is tick)
    answer = tells(change, step, at)
    assert not answer.holds
    return answer.why


def test_what_can_tell_ticks_its_step() -> None:
    change = looked_over(prepared(), sight())
    assert done(change) == {"staging", "backup", "in a window"}
    notes = [ticked.note for _, ticked in change.steps if ticked]
    assert notes == [
        "staging green for 1 h",
        "backup: 11 min old and verified",
        "maintenance weekly is open for 2 h",
    ]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (a_state("staging", since=NOW - 600), "staging is green for 10 min; 30 min are asked for"),
        (a_state("staging", outcome=Outcome.DOWN, summary="refused"), "staging is down: refused"),
        (a_state("staging", severity=Severity.WARNING, summary="slow"), "staging is warning: slow"),
        (a_state("staging", outcome=None), "staging has no result yet"),
        (a_state("staging", last_at=NOW - 3_600), "staging has not been looked at for 1 h"),
    ],
)
def test_staging_must_be_green_for_long_enough_and_looked_at_lately(state: CheckState, said: str) -> None:
    assert why_not(prepared(), Tick.STAGING, sight(state)) == said
    assert done(looked_over(prepared(), sight(state))) == {"backup", "in a window"}


def test_a_time_in_which_nobody_watched_is_not_green() -> None:
    unwatched = replace(sight(), watched_since=NOW - 60)
    assert why_not(prepared(), Tick.STAGING, unwatched) == "staging is green for 1 min; 30 min are asked for"


def on(version: str, kind: str = "version", **more: Any) -> Sight:
    """What is known while staging tells that it runs this."""
    seen = sight()
    facts = (Fact(kind, "staging", version), *((Fact("image", "redis", "77aa77aa77aa"),) if kind == "image" else ()))
    run = Observation("staging", "here", NOW - 5, 0.1, Outcome.UP, "", "", facts=facts)
    return replace(seen, latest={**seen.latest, "staging": run}, **more)


def test_staging_must_run_the_version_that_the_change_names() -> None:
    change = changes.prepare(4, PLAN, "", "ann", NOW, version="2.3")
    assert why_not(change, Tick.STAGING, sight()) == "staging has not run since the daemon started"
    told_nothing = replace(on("2.3"), latest={"staging": replace(on("2.3").latest["staging"], facts=None)})
    assert "no check of staging tells which version runs, 2.3 is asked for" in why_not(
        change, Tick.STAGING, told_nothing
    )
    assert why_not(change, Tick.STAGING, on("2.2")) == "staging sees version 2.2, not 2.3"
    ticked = looked_over(change, on("2.3"))
    assert dict(ticked.steps)[STEPS[1]].note == "staging green for 1 h with 2.3"  # type: ignore[union-attr]
    assert "staging" not in done(looked_over(ticked, on("2.4"))), "another one came before the start"


def test_staging_is_green_for_as_long_as_it_runs_that_version() -> None:
    change = changes.prepare(4, PLAN, "", "ann", NOW, version="2.3")
    lately = on("2.3", deployed={"staging": NOW - 120.0})
    assert why_not(change, Tick.STAGING, lately) == "staging is green for 2 min; 30 min are asked for"
    assert "staging" in done(looked_over(change, on("2.3", deployed={"staging": NOW - 1_801.0})))
    assert "staging" in done(looked_over(prepared(), lately)), "a change that names no version does not ask"


def test_of_several_images_one_is_enough() -> None:
    change = changes.prepare(4, PLAN, "", "ann", NOW, version="sha256:0123456789abcdef0123456789abcdef")
    assert "staging" in done(looked_over(change, on("0123456789ab", "image")))
    assert "sees image 0123456789aa, image 77aa77aa77aa, not sha256" in why_not(
        change, Tick.STAGING, on("0123456789aa", "image")
    )


@pytest.mark.parametrize(
    ("told", "wanted", "same"),
    [
        ("2.3", "2.3", True),
        ("v2.3", "2.3", True),
        ("2.3", "V2.3", True),
        ("2.3+build.7", "2.3", True),
        ("registry/app:2.3@sha256:00", "2.3", True),
        ("release 2.3 (main)", "2.3", True),
        ("2.3.1", "2.3", False),
        ("12.3", "2.3", False),
        ("1.2.3", "2.3", False),
        ("2.3-rc1", "2.3", False),
        ("2x3", "2.3", False),
        ("0123456789ab", "sha256:0123456789abcd", True),
        ("0123456789ab", "012345", False),
        ("2.3", "", False),
        ("2.3", "v", False),
        ("3f2a9c1", "3f2a9c1d5e6f", True),
        ("3f2a9c1d5e6f", "3f2a9c1", True),
        ("3f2a9c1d5e6f", "3f2a9c2", False),
        ("20261129", "2026112", False),
        ("app:3f2a9c1", "3f2a9c1", True),
    ],
)
def test_which_version_is_the_wanted_one(told: str, wanted: str, same: bool) -> None:
    assert is_version(told, wanted) is same


def test_a_version_is_told_by_versions_and_the_number_of_an_image_by_images() -> None:
    facts = (Fact("version", "api", "2.2"), Fact("image", "api", "0123456789ab"), Fact("image", "db", "ba9876543210"))
    seen = Observation("api", "here", NOW, 0.1, Outcome.UP, "", "", facts=facts)
    assert (another(seen, "2.2"), another(seen, "2.3")) == ("", "version 2.2")
    assert (another(seen, "sha256:ba9876543210"), another(seen, "sha256:ba9876543211")) == (
        "", "image 0123456789ab, image ba9876543210"
    )  # fmt: skip
    assert another(replace(seen, facts=facts[1:]), "2.3") is None, "the numbers of images say nothing of it"
    assert another(replace(seen, facts=facts[:1]), "sha256:ba9876543210") is None
    assert another(None, "2.3") is None


def test_what_runs_is_told_in_words() -> None:
    seen = Observation("api", "here", NOW, 0.1, Outcome.UP, "", "", facts=(Fact("version", "api", "2.2"),))
    docker = replace(seen, facts=(Fact("image", "web", "0123456789ab"), Fact("certificate", "x", "serial 7")))
    assert in_words([seen, None, docker, seen]) == "api 2.2; image web 0123456789ab"
    assert in_words([None]) == ""


def test_who_starts_a_prepared_change_may_say_more_of_it() -> None:
    change = changes.altered(prepared(), ChangeWish("release", title="2.3.1", length=60.0, version="2.3.1"), "ben", NOW)
    assert (change.title, change.version, change.plan.length) == ("2.3.1", "2.3.1", 60.0)
    assert change.entries[-1].text == "altered: title 2.3.1, version 2.3.1, a window of 1 min"
    assert changes.altered(change, ChangeWish("release", title="2.3.1"), "ben", NOW) == change


def test_an_info_does_not_make_staging_red() -> None:
    assert "staging" in done(looked_over(prepared(), sight(a_state("staging", severity=Severity.INFO))))


def test_a_backup_must_be_young_and_good() -> None:
    assert "is 2 h 1 min old; younger than 2 h" in why_not(prepared(), Tick.BACKUPS, sight(age=7_200.0))
    damaged = a_state("backup", severity=Severity.CRITICAL, summary="damaged")
    assert why_not(prepared(), Tick.BACKUPS, sight(damaged)) == "backup is critical: damaged"
    nothing = replace(sight(), latest={})
    assert why_not(prepared(), Tick.BACKUPS, nothing) == "backup has not run since the daemon started"
    old = a_state("backup", last_at=NOW - 5_000)
    assert why_not(prepared(), Tick.BACKUPS, sight(old)).startswith("backup has not been looked at for")
    ageless = replace(sight(), latest={"backup": Observation("backup", "here", NOW, 1.0, Outcome.UP, "", "")})
    assert why_not(prepared(), Tick.BACKUPS, ageless) == "backup does not tell how old its backup is"


def test_a_window_must_cover_all_that_the_change_touches() -> None:
    for window in (
        replace(WINDOW, matchers=parse_matchers("check=api")),
        replace(WINDOW, spans=Once(NOW + 60, NOW + 90)),
    ):
        at = sight(windows=(window,))
        assert why_not(prepared(), Tick.WINDOW, at) == "no planned maintenance window is open that covers it"


def test_before_the_start_what_holds_no_more_is_not_done_any_more() -> None:
    change = looked_over(prepared(), sight())
    red = sight(a_state("staging", outcome=Outcome.DOWN), age=1e6, windows=())
    assert done(looked_over(change, red)) == set()
    by_hand = changes.tick(prepared(), 2, "ann", "looked at it myself", NOW)
    assert done(looked_over(by_hand, red)) == {"staging"}
    running = changes.started(change, "ann", "s1", NOW + 3_600, "", NOW)
    assert {"staging", "backup"} <= done(looked_over(running, red)), "what was done before the start stays done"


def test_a_required_step_can_be_overridden_with_a_reason_that_stands_in_the_log() -> None:
    change = prepared()
    why = [f"why {number}" for number in range(len(change.ticks))]
    with pytest.raises(CommandError, match=r"is not ready: backup \(why 2\)\. Do that"):
        changes.must_be_startable(change, " ", why)
    changes.must_be_startable(change, "the snapshot is enough", why)
    running = changes.started(change, "ann", "s1", NOW + 3_600, "the snapshot is enough", NOW)
    log = [entry.text for entry in running.entries]
    assert log[1] == "started, although: the snapshot is enough"
    assert log[2] == "started without: review the notes; staging; backup; in a window; tell"
    assert "maintenance mode" in done(running)
    changes.must_be_startable(looked_over(change, sight()), "", why)
    with pytest.raises(CommandError, match="is running, so it cannot be started"):
        changes.must_be_startable(running, "", why)


GREEN = (Verified("api", "up", "ok", ""), Verified("web", "up", "info", ""))
RED = (Verified("api", "down", "critical", "refused"), Verified("web", "unknown", "ok", "no result"))


def test_verifying_counts_the_update_as_done_and_ticks_when_all_is_green() -> None:
    running = changes.started(prepared(), "ann", "s1", NOW + 3_600, "", NOW)
    red = changes.verified(running, "ann", RED, NOW + 60)
    assert (red.updated_at, "update" in done(red), "verify" in done(red)) == (NOW + 60, True, False)
    assert red.entries[-1].text == "verified: 2 of 2 checks are not green: api, web"
    green = changes.verified(red, "ann", GREEN, NOW + 120)
    assert (green.updated_at, "verify" in done(green)) == (NOW + 60, True)
    by_hand = changes.tick(running, 7, "ann", "", NOW + 30)
    assert changes.verified(by_hand, "ann", GREEN, NOW + 60).updated_at == NOW + 30
    assert "verify" not in done(changes.verified(running, "ann", (), NOW)), "no check says nothing"


def a_comparison(finding: Finding, what: str = "duration") -> Compared:
    return Compared("api", what, Unit.SECONDS, 0.2, 0.9, 30, 30, 0.001, finding)


def test_a_comparison_ticks_its_step_and_is_logged_only_when_it_says_something_new() -> None:
    change = changes.started(prepared(), "ann", "s1", NOW + 3_600, "", NOW)
    undecided = changes.with_comparison(change, (a_comparison(Finding.UNDECIDED),), NOW)
    assert "performance" not in done(undecided)
    worse = changes.with_comparison(undecided, (a_comparison(Finding.WORSE),), NOW + 1)
    assert worse.entries[-1].text.startswith("worse than before: api duration: 200 ms → 900 ms")
    again = changes.with_comparison(worse, (a_comparison(Finding.WORSE),), NOW + 2)
    assert again.entries == worse.entries
    more = changes.with_comparison(again, (a_comparison(Finding.WORSE), a_comparison(Finding.WORSE, "cpu")), NOW + 3)
    assert len(more.entries) == len(worse.entries) + 1
    better = (a_comparison(Finding.NOT_WORSE),)
    assert "performance" not in done(changes.with_comparison(more, better, NOW + 4)), "maintenance mode is on"
    over = changes.finished(more, "ann", (), NOW + 5)
    ticked = changes.with_comparison(over, better, NOW + 6)
    assert "performance" in done(ticked)
    assert "performance" in done(changes.with_comparison(ticked, (a_comparison(Finding.UNDECIDED),), NOW + 7))
    slow_at_last = changes.with_comparison(ticked, (a_comparison(Finding.WORSE),), NOW + 8)
    assert "performance" not in done(slow_at_last), "at first there were too few runs to see it"
    assert why_not(slow_at_last, Tick.COMPARED, sight()) == "worse than before: api duration"


def test_nothing_is_no_worse_of_which_only_failures_are_told() -> None:
    over = changes.finished(changes.started(prepared(), "ann", "s1", NOW + 3_600, "", NOW), "ann", (), NOW + 5)
    few = (a_comparison(Finding.NOT_WORSE, "failures"), a_comparison(Finding.UNDECIDED))
    change = changes.with_comparison(over, few, NOW + 6)
    assert "performance" not in done(change)
    assert why_not(change, Tick.COMPARED, sight()).startswith("it cannot be told yet of api: too few runs")
    assert "performance" in done(changes.with_comparison(change, (*few, a_comparison(Finding.NOT_WORSE, "cpu")), NOW))


def test_the_end_says_what_is_still_bad_and_logs_are_looked_at_afterwards() -> None:
    running = changes.started(prepared(), "ann", "s1", NOW + 3_600, "", NOW)
    over = changes.finished(running, "ann", [one for one in RED if not one.good], NOW + 600)
    assert over.entries[-1].text == "finished; still bad: api (critical), web (unknown)"
    assert (over.state, over.silence, over.watched_until) == (ChangeState.FINISHED, "", NOW + 600 + 3_600)
    assert "logs" not in done(looked_over(over, sight(now=NOW + 601)))
    assert "logs" in done(looked_over(over, sight(now=NOW + 600 + 3_600)))
    bad = a_state("log", severity=Severity.WARNING, last_at=NOW + 4_195)
    assert "logs" not in done(looked_over(over, sight(bad, now=NOW + 4_200)))
    spike = a_state("log", since=NOW + 1_200, last_at=NOW + 4_195)
    assert "logs" not in done(looked_over(over, sight(spike, now=NOW + 4_200))), "it was bad 10 min after the end"
    assert "logs" in done(looked_over(over, sight(replace(spike, last_at=NOW + 4_795), now=NOW + 4_800)))


def test_steps_by_hand() -> None:
    change = prepared()
    for number, text, said in (
        (99, "", "has no step 99"),
        (6, "", "ticks itself: wcr-watchd change start 4"),
        (9, "", "ticks itself: wcr-watchd change finish 4"),
        (12, " ", "asks for evidence"),
        (3, "", "by hand it needs a reason"),
    ):
        with pytest.raises(CommandError, match=said):
            changes.tick(change, number, "ann", text, NOW)
    change = changes.tick(change, 12, "ann", "everybody is happy", NOW)
    assert change.entries[-1].text == "step 12 done: feedback (everybody is happy)"
    with pytest.raises(CommandError, match="was done already, by ann"):
        changes.tick(change, 12, "ben", "me too", NOW)
    with pytest.raises(CommandError, match="needs a text"):
        changes.note(change, "ann", "  ", NOW)


def test_only_what_did_not_start_is_abandoned() -> None:
    gone = changes.abandoned(prepared(), "ann", "not this week", NOW)
    assert (gone.state, gone.entries[-1].text) == (ChangeState.ABANDONED, "abandoned: not this week")
    with pytest.raises(CommandError, match="was abandoned"):
        changes.tick(gone, 1, "ann", "", NOW)
    with pytest.raises(CommandError, match="only a change that did not start"):
        changes.abandoned(changes.started(prepared(), "ann", "s1", NOW, "", NOW), "ann", "", NOW)
    with pytest.raises(CommandError, match="cannot be finished"):
        changes.must_run(gone, "finished")


def test_what_a_change_explains_and_marks() -> None:
    running = changes.started(prepared(), "ann", "s1", NOW + 3_600, "", NOW)
    over = replace(running, id=3, state=ChangeState.FINISHED, finished_at=NOW + 60)
    assert [(one.start, one.end) for one in changes.announced((prepared(), running, over), NOW + 90)] == [
        (NOW, inf),
        (NOW, NOW + 60),
    ]
    assert len(changes.announced((over,), NOW + 60 + changes.REMEMBERED)) == 0
    assert [(one.at, one.until, one.change) for one in changes.marks((prepared(), running, over))] == [
        (NOW, None, 4),
        (NOW, NOW + 60, 3),
    ]
    assert changes.marks((running,))[0].text == "change #4 release: 2.3 (by ann)"


def test_the_log_is_bounded() -> None:
    change = prepared()
    for number in range(changes.MOST_ENTRIES + 10):
        change = changes.note(change, "ann", f"note {number}", NOW)
    assert len(change.entries) == changes.MOST_ENTRIES


@given(st.lists(st.sampled_from(["start", "verify", "finish", "abandon", "tick", "look", "worse"]), max_size=12))
def test_whatever_is_asked_in_whatever_order_the_change_makes_sense(asked: list[str]) -> None:
    """Times go forward, a finished change had started, and its checklist has as many ticks as steps."""
    change, now = prepared(), NOW
    for word in asked:
        now += 60
        try:
            if word == "start":
                changes.must_be_startable(change, "trust me", [""] * len(change.ticks))
                change = changes.started(change, "ann", "s1", now + 3_600, "trust me", now)
            elif word == "verify":
                changes.must_run(change, "verified")
                change = changes.verified(change, "ann", GREEN, now)
            elif word == "finish":
                changes.must_run(change, "finished")
                change = changes.finished(change, "ann", (), now)
            elif word == "abandon":
                change = changes.abandoned(change, "ann", "", now)
            elif word == "tick":
                change = changes.tick(change, 1, "ann", "", now)
            elif word == "look":
                change = looked_over(change, sight(now=now))
            else:
                change = changes.with_comparison(change, (a_comparison(Finding.WORSE),), now)
        except CommandError:
            continue
    assert len(change.ticks) == len(STEPS)
    assert (change.state in (ChangeState.RUNNING, ChangeState.FINISHED)) is (change.started_at is not None)
    assert change.state.over is (change.finished_at is not None)
    times = [entry.at for entry in change.entries]
    assert times == sorted(times)
    if change.started_at is not None and change.finished_at is not None:
        assert change.started_at < change.finished_at
