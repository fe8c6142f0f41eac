"""Alertmanager's behaviour, replayed from the cases: time intervals, matchers, silences, merging, posting alerts."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from tests.core.world import World, check, setup
from wcr_watchd.config.maintenance import IntervalTable, interval
from wcr_watchd.core import alerts, commands
from wcr_watchd.core.errors import CommandError, MatcherError
from wcr_watchd.core.matchers import matchers_of, parse_matchers
from wcr_watchd.core.model import Alert, Notification, Severity
from wcr_watchd.core.recurrence import Interval, recurring
from wcr_watchd.core.setup import AlertSettings, Escalation, Policy, Target
from wcr_watchd.core.silence import Matcher, Silence, Standing, covers, revised

FILE = yaml.load((Path(__file__).parent / "alertmanager-cases.yaml").read_text(), yaml.CSafeLoader)
CASES: dict[str, dict[str, Any]] = {case["id"]: case for case in FILE["cases"]}

ROUTES = "there is no tree of routes: each check names its policy"
INHIBITION = "dependencies between checks take the place of inhibition rules; they have cases of their own"
FLUSHES = (
    "an incident is told when it begins, changes, and ends, each kept until delivered; there are no groups that are "
    "flushed again and again, whose last notification would have to be compared"
)
NOT_OURS = {
    "time-unknown-name": "a window carries its own times; nothing refers to it by name",
    "time-root-route": ROUTES,
    "time-mute-not-inherited": ROUTES,
    "silence-swallows-resolve": "we do what the case wants: tests/core/test_life.py, "
    "test_whoever_was_told_before_a_silence_is_told_of_the_end_within_it",
    **{name: INHIBITION for name in CASES if name.startswith("inhibit-")},
    **{name: FLUSHES for name in CASES if name.startswith(("dedup-", "group-"))},
    **{name: ROUTES for name in CASES if name.startswith("route-")},
}
"""Cases that do not hold here, with the reason."""
TELL = Policy("default", {severity: Escalation(tell=(Target("slack"),)) for severity in Severity if severity})
SYDNEY = CASES["mute-names-1"]["intervals"]


def cases(prefix: str) -> list[Any]:
    return [pytest.param(case, id=name) for name, case in CASES.items() if name.startswith(prefix)]


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def read(table: dict[str, Any]) -> Interval:
    """As in Alertmanager a time interval is in UTC where it names no other zone."""
    return interval(IntervalTable.model_validate(table), "UTC")


def holds(tables: list[dict[str, Any]], now: float) -> bool:
    return any(recurring((one,)).around(now) is not None for one in map(read, tables))


# --- time intervals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for case in cases("time-") if "contains" in CASES[case.id]])
def test_what_an_interval_contains(case: dict[str, Any]) -> None:
    for text in case["contains"]:
        assert holds([case["interval"]], at(text)), text
    for text in case["excludes"]:
        assert not holds([case["interval"]], at(text)), text


@pytest.mark.parametrize(
    "case",
    [case for case in cases("time-") if "valid" in CASES[case.id].get("expect", {}) and "want" not in CASES[case.id]],
)
def test_what_is_an_interval(case: dict[str, Any]) -> None:
    table = case.get("interval") or {"times": [case["times"]]}
    if case["expect"]["valid"]:
        read(table)
    else:
        with pytest.raises(ValidationError):
            read(table)


def test_better_than_upstream_an_interval_may_go_past_midnight() -> None:
    table = CASES["time-overnight"]["interval"] | {"weekdays": ["friday"]}
    assert holds([table], at("2026-11-27T22:00:00+00:00"))  # a Friday
    assert holds([table], at("2026-11-28T05:59:00+00:00"))
    assert not holds([table], at("2026-11-28T06:00:00+00:00"))
    assert not holds([table], at("2026-11-27T05:00:00+00:00"))


@pytest.mark.parametrize("case", cases("mute-names-"))
def test_which_named_intervals_hold(case: dict[str, Any]) -> None:
    found = [name for name, tables in SYDNEY.items() if holds(tables, at(case["now"]))]
    assert found == case["expect"]["muted_by"]


@pytest.mark.parametrize("case", cases("active-interval-"))
def test_active_intervals(case: dict[str, Any]) -> None:
    (tables,) = case["active_time_intervals"].values()
    assert holds(tables, at(case["now"])) is case["expect"]["sent"]


# --- matchers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", cases("matcher-parse-"))
def test_what_are_matchers(case: dict[str, Any]) -> None:
    if case["expect"]["valid"]:
        assert parse_matchers(case["input"])
    else:
        with pytest.raises(MatcherError):
            parse_matchers(case["input"])


@pytest.mark.parametrize("case", cases("silence-match-"))
def test_what_matchers_cover(case: dict[str, Any]) -> None:
    facts = {name: (value,) for name, value in case["labels"].items()}
    found = any(covers(matchers_of(texts), facts) for texts in case["matcher_sets"])
    assert found is case["expect"]["silenced"]


# --- silences ---------------------------------------------------------------------------------------------------------

NOW = 1_000_000.0
STARTS = {"pending": NOW + 600.0, "active": NOW - 600.0, "expired": NOW - 7_200.0}
CHANGES: dict[str, dict[str, Any]] = {
    "nothing changed": {},
    "comment changed": {"comment": "another"},
    "end moved later": {"ends_at": NOW + 9_000.0},
    "start moved": {"starts_at": NOW - 300.0},
    "matchers changed": {"matchers": parse_matchers('check="web"')},
    "start moved to now or later": {"starts_at": NOW},
    "start moved into the past": {"starts_at": NOW - 10.0},
    "anything": {"comment": "another"},
}


def silence(state: str = "active", matchers: tuple[Matcher, ...] = parse_matchers('check="api"')) -> Silence:
    start = STARTS[state]
    return Silence("old", matchers, start, start + 3_600.0, "ann", "moving", start)


@pytest.mark.parametrize("case", cases("silence-update-"))
def test_whether_a_changed_silence_keeps_its_id(case: dict[str, Any]) -> None:
    states = ("pending", "active") if case["state"] == "any" else (case["state"],)
    for state in states:
        before = silence(state)
        changed = revised(before, replace(before, id="new", **CHANGES[case["change"]]), NOW)
        assert (changed[-1].id == "new") is case["expect"]["new_id"], state
        if changed[-1].id == "new":
            assert changed[-1].starts_at >= NOW
            assert all(one.standing(NOW) is Standing.EXPIRED for one in changed[:-1])
            assert (len(changed) == 2) is (state != "expired")


@pytest.mark.parametrize("case", cases("silence-validate-"))
def test_what_is_a_silence(case: dict[str, Any]) -> None:
    world = World(setup(check("api")))
    matchers = matchers_of(case["silence"]["matchers"])
    wanted = Silence("s1", matchers, world.now, world.now, "ann", "moving", world.now)
    if case["expect"]["error"] is None:
        commands.silence(world.setup, world.state, wanted, world.now)
    else:
        with pytest.raises(CommandError, match="at least one matcher"):
            commands.silence(world.setup, world.state, wanted, world.now)


def test_a_silence_still_to_come_ends_before_it_began() -> None:
    ended = silence("pending").ended(NOW)
    expected = CASES["silence-expire-pending"]["expect"]
    assert ended.standing(NOW).value == expected["state"]
    assert (ended.starts_at, ended.ends_at) == (NOW, NOW)


def test_ending_a_silence_twice_is_no_error() -> None:
    world = World(setup(check("api")), now=NOW)
    world.state.silences["old"] = silence("expired")
    assert CASES["silence-expire-expired"]["expect"]["error"] is None
    assert commands.expire(world.setup, world.state, "old", NOW).silences == ()


def test_a_silence_in_the_future_holds_when_its_time_comes() -> None:
    wanted = replace(silence("pending"), starts_at=NOW + 3_600.0, ends_at=NOW + 10_800.0)
    found = [wanted.active(NOW), wanted.active(NOW + 7_200.0)]
    assert found == CASES["silence-future-becomes-active"]["expect"]["silenced"]


def test_the_second_of_two_overlapping_silences_goes_on() -> None:
    world = World(setup(check("api"), policy=TELL))
    for name, start, end in (("first", 0.0, 100.0), ("second", 50.0, 300.0)):
        wanted = Silence(name, parse_matchers("check=api"), world.now + start, world.now + end, "ann", "", world.now)
        world.take(commands.silence(world.setup, world.state, wanted, world.now))
    for _ in range(3):
        world.see("api", "down")
    world.pass_time(150.0)
    assert CASES["silence-overlap"]["expect"]["silenced"] is True
    assert world.told() == []


def test_a_silence_in_the_middle_of_an_alert() -> None:
    """Alertmanager tells all that fires with every flush; here each is told once, and again after its silence."""
    case = CASES["silence-scenario"]
    world = World(setup(check("test1", times=0), check("test2", times=0), policy=TELL))
    start = world.now
    for name in ("test1", "test2"):
        world.see(name, "down", after=start + 1.0 - world.now)
    matchers = tuple(replace(one, name="check") for one in matchers_of(case["silence"]["matchers"]))
    world.pass_time(start + case["silence"]["from"] - world.now)
    wanted = Silence("s1", matchers, world.now, start + case["silence"]["to"], "ann", "", world.now)
    world.take(commands.silence(world.setup, world.state, wanted, world.now))
    world.see("test1", "down", after=1.0)
    world.pass_time(2.0)
    assert [name for name, _ in _told(world.notifications)] == ["test1", "test2", "test1"]
    assert _told(world.notifications)[-1][1] - start == pytest.approx(case["silence"]["to"])


def _told(notifications: list[Notification]) -> list[tuple[str, float]]:
    return [(one.message.check, one.created_at) for one in notifications]


# --- alerts -----------------------------------------------------------------------------------------------------------

T = NOW - 60.0


def minutes(text: str) -> float:
    return NOW + (0.0 if text == "0" else float(text.removesuffix("m")) * 60.0)


def sending(text: str, updated_at: float) -> Alert:
    """``start -2m, end +2m, timeout``: an alert as it was sent."""
    words = re.findall(r"(start|end) (\S+?)(?:,|$| )", text)
    times = {name: minutes(value) for name, value in words}
    return Alert((("alertname", "x"),), (), times["start"], times["end"], "timeout" in text, "", updated_at)


@pytest.mark.parametrize("case", [case for case in cases("merge-") if "older" in CASES[case.id]])
def test_what_two_sendings_say_together(case: dict[str, Any]) -> None:
    older, newer = sending(case["older"], NOW - 1.0), sending(case["newer"], NOW)
    for found in (alerts.merged(older, newer), alerts.merged(newer, older)):
        assert found.starts_at == minutes(case["expect"]["start"])
        assert found.ends_at == minutes(case["expect"]["end"])


def test_sendings_of_one_alert_over_time() -> None:
    """Alertmanager tells with every flush; here the state after each sending is what counts."""
    pushes = CASES["merge-scenario"]["push"]
    world = alerting()
    start, seen = world.now, []
    for at_, sent in sorted((float(key), value) for key, value in pushes.items()):
        world.pass_time(start + at_ - world.now)
        for text in sent:
            name, times = text.split()[0].split("@")
            begin, _, end = times.partition("..")
            words = {"note": text.split()[1]} if " " in text else {}
            ends_at = start + float(end) if end else None
            send(world, {"alertname": name}, words, start + float(begin), ends_at)
        incident = next(iter(world.state.incidents.values()), None)
        known = incident.alert if incident else None
        seen.append(known and (round(known.starts_at - start, 1), dict(known.annotations).get("note", "")[-2:]))
    # 1 s, 1.2 s, 2.1 s, 3.6 s; resolved at 4.6 s and 4.8 s (v3 of it told in its last words); again at 5.3 s
    assert seen == [(1.1, ""), (1.0, ""), (1.0, "v1"), (1.0, "v2"), None, None, (5.0, "")]
    assert world.told() == ["slack", "slack", "slack"]


def alerting() -> World:
    world = World(setup(policy=TELL), now=NOW)
    world.setup = replace(world.setup, alerts=AlertSettings(resolve_timeout=300.0))
    return world


def send(
    world: World, labels: dict[str, str], notes: dict[str, str], starts_at: float | None, ends_at: float | None
) -> Alert:
    sent = alerts.received(labels, notes, starts_at, ends_at, "", world.now, 300.0)
    world.take(alerts.take(world.setup, world.state, sent, world.now))
    return sent


@pytest.mark.parametrize("case", cases("api-post-alert-"))
def test_what_a_sent_alert_leaves_out(case: dict[str, Any]) -> None:
    given = {name: T for name in ("startsAt", "endsAt") if case["post"].get(name) == "T"}
    found = alerts.received(case["post"]["labels"], {}, given.get("startsAt"), given.get("endsAt"), "", NOW, 300.0)
    words = {"now": NOW, "T": T, "now + resolve_timeout": NOW + 300.0}
    assert found.starts_at == words[case["expect"]["starts_at"]]
    assert found.ends_at == words[case["expect"]["ends_at"]]
    assert case["expect"]["http_status"] == 200


def test_what_is_no_alert() -> None:
    """Over HTTP: tests/daemon/test_prometheus.py sends a right one and one without labels at once."""
    assert CASES["api-post-partial"]["expect"] == {"http_status": 400, "valid_alert_accepted": True}
    assert CASES["api-post-no-labels"]["expect"]["http_status"] == 400
    assert CASES["api-post-end-before-start"]["expect"]["http_status"] == 400
    with pytest.raises(CommandError, match="at least one label"):
        alerts.received(CASES["api-post-no-labels"]["post"]["labels"], {}, None, None, "", NOW, 300.0)
    with pytest.raises(CommandError, match="must not end before it starts"):
        alerts.received({"alertname": "x"}, {}, NOW, NOW - 60.0, "", NOW, 300.0)


# --- all of them ------------------------------------------------------------------------------------------------------


def test_every_case_is_replayed_or_has_its_reason() -> None:
    source = Path(__file__).read_text()
    named = set(re.findall(r'CASES\["([\w-]+)"\]', source))
    prefixes = tuple(re.findall(r'cases\("([\w-]+)"\)', source))
    replayed = {
        name
        for name, case in CASES.items()
        if name in named or (name.startswith(prefixes) and ("time-" not in name or {"interval", "times"} & case.keys()))
    }
    assert len(CASES) == FILE["count"]
    assert replayed | set(NOT_OURS) == set(CASES)
    assert not replayed & set(NOT_OURS)
