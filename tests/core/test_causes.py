"""What an incident may be due to, and which earlier ones were like it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.world import check, setup
from wcr_watchd.core.causes import Kind, likely_causes
from wcr_watchd.core.model import Event, EventKind, Incident, IncidentState, Severity
from wcr_watchd.core.modifications import Mark
from wcr_watchd.core.setup import Check
from wcr_watchd.core.similar import count_recent, fingerprint, similar, told

AT = 1_795_000_000.0
DAY = 86_400.0


def target(name: str, target: str, probe: str = "http", *tags: str, depends_on: tuple[str, ...] = ()) -> Check:
    return replace(check(name), target=target, probe=probe, tags=tags, depends_on=depends_on)


SETUP = setup(
    target("api", "https://web-1/health", "http", "shop", depends_on=("pool",)),
    target("pool", "db-1:6432", "pgbouncer", depends_on=("database",)),
    target("database", "db-1/app", "postgres"),
    target("site", "https://web-1/", "http", "shop", depends_on=("api",)),
    target("queue", "web-1:6379", "redis"),
    target("cart", "https://web-2/", "http", "shop"),
    target("pay", "https://web-3/", "http", "shop"),
    target("stripe", "https://status.stripe.com", "vendor"),
)


def incident(number: int, name: str, at: float = AT, summary: str = "timeout", **more: object) -> Incident:
    values = {"severity": Severity.CRITICAL, "peak": Severity.CRITICAL, "state": IncidentState.OPEN, "subject": ""}
    return Incident(id=number, check=name, opened_at=at, changed_at=at, summary=summary, **(values | more))  # type: ignore[arg-type]


MINE = incident(9, "api")


def causes(*others: Incident, marks: tuple[Mark, ...] = (), mine: Incident = MINE) -> list[tuple[Kind, str]]:
    return [(one.kind, one.text) for one in likely_causes(SETUP, mine, others, marks)]


def test_nothing_around_is_no_cause() -> None:
    assert causes(MINE) == []


def test_a_failed_dependency_however_far_up() -> None:
    found = causes(incident(8, "database", AT - 60, "refused"))
    assert found == [(Kind.DEPENDENCY, "api depends on database, which had trouble 1 min before: refused")]
    assert causes(incident(8, "database", AT + 60))[0][1].endswith("had trouble 1 min after: timeout")


def test_the_nearest_dependency_comes_first() -> None:
    found = causes(incident(7, "database", AT - 60), incident(8, "pool", AT - 60))
    assert [text.split(",")[0] for _, text in found] == ["api depends on pool", "api depends on database"]


@pytest.mark.parametrize(
    "other",
    [
        incident(8, "database", AT - DAY, resolved_at=AT - 3_600),
        incident(8, "database", AT + 290),
        incident(8, "api", AT - 60),
    ],
)
def test_what_was_over_came_later_or_is_the_check_itself_is_no_cause(other: Incident) -> None:
    assert causes(other) == []


def test_one_that_has_lasted_for_days_still_counts() -> None:
    assert causes(incident(8, "database", AT - 2 * DAY))[0][1].startswith(
        "api depends on database, which had trouble 2 d"
    )


def test_a_vendor_that_says_so() -> None:
    found = causes(incident(8, "stripe", AT - 120, "elevated errors"))
    assert found == [(Kind.VENDOR, "the provider behind stripe said so 2 min before: elevated errors")]


def test_changes_shortly_before() -> None:
    marks = (
        Mark(AT - 300, "package openssl: 1 → 2"),
        Mark(AT - 7_200, "too long ago"),
        Mark(AT - 7_200, "release 4", AT - 1_800, 12),
        Mark(AT + 600, "after it"),
    )
    assert causes(marks=marks) == [
        (Kind.CHANGE, "something became different 5 min before: package openssl: 1 → 2"),
        (Kind.CHANGE, "a change 2 h before: release 4"),
    ]


def test_what_the_check_or_one_it_depends_on_noticed_itself_is_named_before_what_is_nearer() -> None:
    near = tuple(Mark(AT - 60 - 400 * number, f"package p{number}: 1 → 2") for number in range(4))
    own = Mark(AT - 3_000, "certificate web-1: serial 1 → serial 2", noticed_by="api")
    database = Mark(AT - 3_100, "setting work_mem: 4096 → 64", noticed_by="database")
    assert [text for _, text in causes(marks=(*near, own, database))] == [
        "something became different 50 min before: certificate web-1: serial 1 → serial 2",
        "something became different 51 min 40 s before: setting work_mem: 4096 → 64",
        "something became different 1 min before: package p0: 1 → 2",
    ]


def test_what_a_check_that_looks_seldom_noticed_only_afterwards_is_named_too() -> None:
    hourly = replace(SETUP.checks["database"], every=3_600.0, timeout=20.0)
    rare = replace(SETUP, checks={**SETUP.checks, "database": hourly})
    mark = Mark(AT + 1_800, "setting work_mem: 4096 → 64", noticed_by="database")
    (found,) = likely_causes(rare, MINE, (), (mark,))
    assert found.text == (
        "something became different in the 1 h before database noticed, 30 min after: setting work_mem: 4096 → 64"
    )
    assert likely_causes(SETUP, MINE, (), (mark,)) == (), "one that looks every minute would have seen it"


def test_others_of_the_host_that_failed_with_it_but_not_what_depends_on_it() -> None:
    found = causes(incident(8, "queue", AT + 30), incident(7, "site", AT + 30))
    assert found == [
        (Kind.NEIGHBOURS, "another check on the host web-1 began to fail within 5 min: queue"),
    ]


def test_one_other_of_a_tag_is_chance_and_two_are_not() -> None:
    assert causes(incident(8, "cart", AT + 10)) == []
    found = causes(incident(8, "cart", AT + 10), incident(7, "pay", AT - 10))
    assert found == [(Kind.NEIGHBOURS, "2 other checks with the tag shop began to fail within 5 min: cart, pay")]


def test_the_watcher_itself_comes_first() -> None:
    found = causes(incident(7, "database", AT - 9), incident(8, "wcr-watchd", AT - 60, "the disk is full"))
    assert found[0] == (Kind.WATCHER, "the watcher itself had trouble 1 min before: the disk is full")


@pytest.mark.parametrize("subject", ["objective shop burns", "change #3 made it worse"])
def test_what_the_watcher_reckons_from_it_is_no_cause(subject: str) -> None:
    assert causes(replace(incident(8, "wcr-watchd", AT + 15, "it got worse"), subject=subject)) == []


def test_a_check_that_is_gone_has_the_causes_that_need_no_configuration() -> None:
    marks = (Mark(AT - 60, "release 4", None, 3),)
    found = causes(incident(8, "database"), marks=marks, mine=incident(9, "gone"))
    assert found == [(Kind.CHANGE, "a change 1 min before: release 4")]


# --- earlier ones ---


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("HTTP 500 after 213 ms", "http 500  after 1.2 ms", True),
        ("disk 91.2 % > 90 %", "disk 99 % > 90 %", True),
        ("container 3f9ac01b22 is gone", "container 77aa00bb11 is gone", True),
        ("connection refused", "timeout", False),
    ],
)
def test_words_are_the_same_but_for_what_varies(one: str, other: str, same: bool) -> None:
    assert (fingerprint(one) == fingerprint(other)) is same


def test_earlier_ones_in_the_same_words_come_first() -> None:
    known = [
        incident(1, "api", AT - 5 * DAY, "timeout"),
        incident(2, "api", AT - 4 * DAY, "refused"),
        incident(3, "api", AT - 100 * DAY, "timeout"),
        incident(4, "api", AT - DAY, "timeout", subject="disk"),
        incident(5, "site", AT - DAY, "timeout"),
        incident(10, "api", AT + DAY, "timeout"),
        MINE,
    ]
    assert [one.id for one in similar(MINE, known)] == [1, 3, 2]
    assert count_recent(MINE, known) == 3
    assert count_recent(MINE, []) == 1


def test_an_earlier_one_is_told_with_its_end_and_notes() -> None:
    def event(sequence: int, kind: EventKind, reason: str, by: str) -> Event:
        return Event(1, sequence, kind, AT, Severity.OK, "s", reason, by)

    events = [
        event(1, EventKind.RESOLVED, "up again", "engine"),
        event(2, EventKind.NOTED, "restarted it", "ann"),
        event(3, EventKind.RESOLVED, "ended by ann", "ann"),
    ]
    found = told(MINE, incident(1, "api", AT - DAY, "timeout"), events)
    assert (found.same_words, found.ended, found.notes) == (True, "ended by ann", (("ann", "restarted it"),))
    assert told(MINE, incident(1, "api", AT - DAY, "refused"), []).ended == ""
