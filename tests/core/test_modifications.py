"""The log of modifications: what two runs say became different, and which mark may be the cause of an incident."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from wcr_watchd.core.model import Fact, Observation, Outcome
from wcr_watchd.core.modifications import (
    LONGEST,
    MOST_FACTS,
    NOTE,
    KnownFacts,
    Mark,
    Modification,
    compared,
    grouped,
    shortly_before,
)

NOW = 1_790_000_000.0


def seen(*facts: Fact, at: float = NOW, looked: bool = True) -> Observation:
    return Observation("box", "here", at, 0.1, Outcome.UP, "", "", facts=facts if looked else None)


def image(value: str, name: str = "web") -> Fact:
    return Fact("image", name, value)


def known(*observations: Observation) -> KnownFacts | None:
    so_far: KnownFacts | None = None
    for one in observations:
        so_far, _ = compared(so_far, one)
    return so_far


def test_the_first_run_modifies_nothing_and_the_next_tells_what_is_other() -> None:
    first, found = compared(None, seen(image("a"), image("b", "api")))
    assert found == ()
    _, found = compared(first, seen(image("a2"), image("b", "api"), image("c", "new"), at=NOW + 60))
    assert found == (
        Modification(NOW + 60, "box", "image", "web", "a", "a2"),
        Modification(NOW + 60, "box", "image", "new", "", "c"),
    )
    assert [one.text for one in found] == ["image web: a → a2", "image new: c"]


def test_a_run_that_did_not_look_changes_nothing_and_what_comes_back_as_it_was_is_no_modification() -> None:
    first = known(seen(image("a")))
    assert compared(first, seen(looked=False)) == (first, ())
    gone = known(seen(image("a")), seen(at=NOW + 1))
    assert compared(gone, seen(image("a"), at=NOW + 2))[1] == ()


def test_a_first_look_that_found_nothing_is_a_look() -> None:
    nothing = known(seen())
    assert nothing is not None
    assert [one.name for one in compared(nothing, seen(image("a"), at=NOW + 1))[1]] == ["web"]


def test_what_is_known_to_have_happened_before_the_first_look_is_no_news() -> None:
    def package(version: str, since: float) -> Fact:
        return Fact("package", "openssl", version, before="3.0.11", since=since)

    first = known(seen(package("3.0.14", NOW - 500)))
    assert compared(first, seen(package("3.0.14", NOW - 500), at=NOW + 3600))[1] == ()
    second, (found,) = compared(first, seen(package("3.0.15", NOW + 60), at=NOW + 3600))
    assert (found.at, found.text) == (NOW + 60, "package openssl: 3.0.11 → 3.0.15")
    assert compared(second, seen(package("3.0.15", NOW + 60), at=NOW + 7200))[1] == ()
    _, (found,) = compared(second, seen(package("3.0.16", NOW + 9e9), at=NOW + 7200))
    assert found.at == NOW + 7200, "a clock that was ahead puts nothing into the future"


def test_what_was_written_while_the_clock_was_ahead_hides_nothing_that_comes_after_it() -> None:
    ahead = Fact("package", "a", "2", before="1", since=NOW + 1e7)
    so_far, _ = compared(None, seen())
    so_far, (found,) = compared(so_far, seen(ahead, at=NOW + 60))
    assert (found.at, found.text) == (NOW + 60, "package a: 1 → 2")
    later = Fact("package", "b", "2", before="1", since=NOW + 90)
    so_far, found_then = compared(so_far, seen(ahead, later, at=NOW + 120))
    assert [one.text for one in found_then] == ["package b: 1 → 2"]
    assert compared(so_far, seen(ahead, later, at=NOW + 180))[1] == ()


def test_what_is_remembered_is_bounded() -> None:
    many = known(seen(*(image(str(number), f"c{number}") for number in range(MOST_FACTS + 50))))
    assert many is not None
    assert len(many.values) == MOST_FACTS
    _, found = compared(many, seen(*(image("x", f"c{number}") for number in range(MOST_FACTS + 50)), at=NOW + 1))
    assert len(found) == MOST_FACTS, "what is not remembered is not told again and again"
    long = known(seen(image("v" * 1000, "n" * 1000)))
    assert long is not None
    assert long.values == (("image", "n" * LONGEST, "v" * LONGEST),)


def test_what_another_target_is_like_is_a_first_look() -> None:
    here, _ = compared(None, seen(image("a")), "docker /one.sock")
    there, found = compared(here, seen(image("b"), at=NOW + 60), "docker /other.sock")
    assert found == ()
    assert [one.text for one in compared(there, seen(image("c"), at=NOW + 120), "docker /other.sock")[1]] == [
        "image web: b → c"
    ]


def test_of_two_in_one_second_the_one_that_was_not_seen_yet_is_told() -> None:
    """dpkg's log has whole seconds; a look may fall between two packages of one second, the first look as well."""

    def package(name: str, after: str = "2") -> Fact:
        return Fact("package", name, after, before="1", since=NOW)

    first = known(seen(package("a"), at=NOW + 0.4))
    second, found = compared(first, seen(package("a"), package("b"), at=NOW + 60))
    assert [one.text for one in found] == ["package b: 1 → 2"]
    third, found = compared(second, seen(package("a"), package("b"), package("c"), at=NOW + 120))
    assert [one.text for one in found] == ["package c: 1 → 2"]
    everything = seen(package("a"), package("b"), package("c"), at=NOW + 180)
    assert compared(third, everything)[1] == (), "and once"


def test_of_two_upgrades_of_a_package_that_are_still_in_the_log_neither_is_told_again() -> None:
    def upgrade(before: str, after: str, at: float) -> Fact:
        return Fact("package", "a", after, before=before, since=at)

    first, second = upgrade("1", "2", NOW + 100), upgrade("2", "3", NOW + 200)
    so_far, found = compared(known(seen()), seen(first, at=NOW + 150))
    assert [one.text for one in found] == ["package a: 1 → 2"]
    so_far, found = compared(so_far, seen(first, second, at=NOW + 250))
    assert [one.text for one in found] == ["package a: 2 → 3"]
    assert compared(so_far, seen(first, second, at=NOW + 350)) == (so_far, ())


def test_what_is_gone_for_long_makes_room_for_what_is_new() -> None:
    """Containers of single runs have names of their own, each; without end they would leave no room for others."""
    so_far = known(seen(*(image("x", f"run-{number}") for number in range(MOST_FACTS))))
    so_far, found = compared(so_far, seen(image("a"), at=NOW + 1))
    assert [one.text for one in found] == ["image web: a"]
    so_far, found = compared(so_far, seen(image("b"), at=NOW + 2))
    assert [one.text for one in found] == ["image web: a → b"]
    assert so_far is not None
    assert len(so_far.values) == MOST_FACTS


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.sampled_from("123"), min_size=1), min_size=2, max_size=6))
def test_the_log_leads_from_the_first_values_to_the_last(states: list[dict[str, str]]) -> None:
    """Whoever applies the modifications to what was there first has what is there last."""
    so_far, _ = compared(None, seen(*(image(value, name) for name, value in states[0].items())))
    there = dict(states[0])
    for step, state in enumerate(states[1:], 1):
        so_far, found = compared(so_far, seen(*(image(value, name) for name, value in state.items()), at=NOW + step))
        for one in found:
            assert there.get(one.name, "") == one.before
            there[one.name] = one.after
        assert {name: there[name] for name in state} == state


def test_what_was_done_together_is_one_mark() -> None:
    packages = [Modification(NOW + number, "apt", "package", f"p{number}", "1", "2") for number in range(5)]
    note = Modification(NOW + 2, "ann", NOTE, "1", after="moved the cables")
    later = Modification(NOW + 5_000, "apt", "package", "p9", "1", "2")
    assert grouped([later, note, *packages]) == (
        Mark(NOW, "package p0, p1, p2 and 2 more"),
        Mark(NOW + 2, "moved the cables"),
        Mark(NOW + 5_000, "package p9: 1 → 2"),
    )


def test_what_goes_on_for_long_is_marked_again_and_again() -> None:
    """A server with two certificates, of which every look sees another one: that is no single mark of long ago."""
    ways = [("a", "b"), ("b", "a")]
    flips = [Modification(NOW + 60 * n, "tls", "certificate", "x", *ways[n % 2]) for n in range(100)]
    found = grouped(flips)
    assert [one.at - NOW for one in found] == [0, 1_860, 3_720, 5_580]
    assert all(len(one.text) < 60 for one in found)


def test_of_a_few_together_the_mark_says_all_and_of_one_that_went_back_and_forth_its_course() -> None:
    def image_is(name: str, *course: str) -> list[Modification]:
        steps = itertools.pairwise(course)
        return [Modification(NOW + at, "box", "image", name, was, now) for at, (was, now) in enumerate(steps)]

    assert grouped(image_is("web", "a", "b", "a")) == (Mark(NOW, "image web: a → b → a", noticed_by="box"),)
    assert grouped([*image_is("web", "a", "b"), *image_is("api", "", "c")]) == (
        Mark(NOW, "image web: a → b; api: c", noticed_by="box"),
    )
    (often,) = grouped(image_is("web", *"abcabcab"))
    assert often.text == "image web: a → b → … → b (7 times)"
    long = [one for name in "xyz" for one in image_is(name, "a" * 90, "b" * 90)]
    assert grouped(long) == (Mark(NOW, "image x, y, z", noticed_by="box"),)


def test_what_may_be_the_cause_of_an_incident() -> None:
    near, far, after = Mark(NOW - 60, "near"), Mark(NOW - 7_200, "far"), Mark(NOW + 600, "after")
    noticed_late = Mark(NOW + 30, "late")
    running = Mark(NOW - 9_000, "runs", None, 4)
    over = Mark(NOW - 9_000, "over", NOW - 8_000, 5)
    just_over = Mark(NOW - 9_000, "just over", NOW - 600, 6)
    begun_after = Mark(NOW + 30, "begun after", None, 7)
    marks = (far, over, running, just_over, after, begun_after, noticed_late, near)
    assert [one.text for one in shortly_before(marks, NOW)] == ["late", "near", "runs", "just over"]


def test_settings_of_one_check_do_not_concern_another() -> None:
    def configured(*keys: str) -> Mark:
        (mark,) = grouped([Modification(NOW, "wcr-watchd", "configuration", key, "a", "b") for key in keys])
        return mark

    one = configured("check.api.every", "check.web")
    assert one.concerns({"api"})
    assert one.concerns({"site", "web"}), "it depends on it"
    assert not one.concerns({"ap", "api-2"})
    assert configured("check.api.every", "defaults.timeout").concerns({"site"})
    assert Mark(NOW, "image web: a → b").concerns({"site"})


def test_what_a_check_noticed_late_may_have_been_before() -> None:
    """The settings of a database are looked at once an hour: what broke at 12:01 is named, not only what came later."""
    marks = (Mark(NOW + 1_800, "setting", noticed_by="settings"), Mark(NOW + 1_700, "package"))
    assert shortly_before(marks, NOW) == ()
    assert [one.text for one in shortly_before(marks, NOW, {"settings": 3_600.0})] == ["setting"]
    assert shortly_before(marks, NOW, {"settings": 600.0}) == ()
