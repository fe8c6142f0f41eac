"""What is said of the watch itself: that nobody was watching, and that somebody else is on call."""

from __future__ import annotations

from dataclasses import replace

from tests.core.world import World, check, setup
from wcr_watchd.core import commands, engine, notices
from wcr_watchd.core.model import IncidentState, Severity
from wcr_watchd.core.on_call import weekly
from wcr_watchd.core.silence import Matcher, Operator, Silence


def world() -> World:
    made = World(setup(check("api")))
    made.setup = replace(made.setup, on_call={"ops": weekly("ops", "UTC", ("lead", "second"))})
    return made


def test_a_long_absence_is_told_in_one_message_with_what_is_open() -> None:
    one = world()
    for _ in range(3):
        one.see("api", "down")
    before = len(one.notifications)
    one.take(notices.absence(one.setup, one.state, one.now - 4_000.0, one.now, "the daemon was not running"))
    told = one.notifications[before:]
    assert [(n.recipient.channel, n.event.value, n.severity) for n in told] == [("mail", "resolved", Severity.WARNING)]
    assert "I am back; nobody was watching from " in told[0].message.summary
    assert "(1 h 7 min" in told[0].message.summary
    assert "1 incident is open: critical #1 api" in told[0].message.summary
    assert list(one.state.incidents) == [1]


def test_a_short_absence_is_not_worth_a_message_and_none_is_if_so_configured() -> None:
    one = world()
    one.take(notices.absence(one.setup, one.state, one.now - 200.0, one.now, "why"))
    silent = replace(one.setup, tell_absence=0.0)
    one.take(notices.absence(silent, one.state, one.now - 90_000.0, one.now, "why"))
    assert one.notifications == []


def test_a_time_without_watching_confirms_nothing() -> None:
    one = world()
    one.see("api", "down")
    one.see("api", "down")
    for known in notices.unconfirmed(one.state):
        one.state.checks[known.check] = known
    assert one.see("api", "down", after=3_600.0) == []
    assert one.see("api", "down") == []
    assert one.see("api", "down") == ["opened"]
    assert notices.unconfirmed(one.state) == ()


def look_first(one: World) -> None:
    """As the monitor does when nobody was watching for a while."""
    one.state.looks_until = one.now + notices.FRESH_LOOK
    one.take(notices.looked_at_first(one.state, one.state.looks_until))


def silence_of(one: World, identifier: str, seconds: float) -> Silence:
    matchers = (Matcher("check", Operator.EQUAL, "api"),)
    return Silence(identifier, matchers, one.now, one.now + seconds, "ann", "moving", one.now)


def silenced() -> World:
    """A failure that nobody was told of, and a long time without anybody watching in which its silence ran out."""
    one = world()
    one.take(commands.silence(one.setup, one.state, silence_of(one, "s1", 600.0), one.now))
    for _ in range(3):
        one.see("api", "down")
    assert one.state.incidents[1].state is IncidentState.SILENCED
    one.now += 7_200.0
    look_first(one)
    one.take(engine.reconcile(one.setup, one.state, one.now))
    one.take(commands.look_again(one.setup, one.state, one.now))
    assert one.told() == [], "nobody has looked yet"
    return one


def test_what_is_over_when_its_silence_ran_out_unseen_is_never_told() -> None:
    one = silenced()
    assert ("api", 0.0) in one.rechecks
    assert one.see("api", "up", after=5.0) == ["resolved"]
    one.pass_time(3_600.0)
    assert one.told() == []


def test_what_outlasts_a_silence_that_ran_out_unseen_is_told_after_a_fresh_look() -> None:
    one = silenced()
    one.see("api", "down", after=5.0)
    one.pass_time(30.0)
    assert one.told("opened") == ["sms:second", "mail:second"], "who is on call by now"


def test_a_silence_that_ends_while_a_fresh_look_is_awaited_is_not_for_ever() -> None:
    one = silenced()
    one.take(commands.silence(one.setup, one.state, silence_of(one, "s2", 10.0), one.now))
    one.pass_time(15.0)
    assert one.told() == []
    one.pass_time(30.0)
    assert one.told("opened") == ["sms:second", "mail:second"]


def test_what_fell_due_while_nobody_watched_waits_for_a_fresh_look() -> None:
    one = world()
    for _ in range(3):
        one.see("api", "down")
    one.now += 7_200.0
    look_first(one)
    assert one.rechecks[-1] == ("api", 0.0)
    assert one.see("api", "up", after=5.0) == ["resolved"]
    assert one.told("reminded") == one.told("escalated") == []


def test_what_is_still_wrong_after_a_fresh_look_is_told() -> None:
    one = world()
    for _ in range(3):
        one.see("api", "down")
    one.now += 7_200.0
    look_first(one)
    one.see("api", "down", after=5.0)
    one.pass_time(30.0)
    assert "reminded" in {event.kind.value for event in one.events}
    assert "escalated" in {event.kind.value for event in one.events}
    assert notices.looked_at_first(one.state, one.now).incidents == ()


def test_whoever_takes_over_learns_what_is_open_and_is_not_woken_for_it() -> None:
    one = world()
    for _ in range(3):
        one.see("api", "down")
    before = len(one.notifications)
    one.take(notices.hand_over(one.setup, one.state, "ops", ("second",), one.now + 604_800.0, one.now))
    told = one.notifications[before:]
    assert [(n.recipient.channel, n.recipient.contact, n.event.value) for n in told] == [("mail", "second", "handover")]
    assert told[0].message.summary.startswith("you are on call for ops until ")
    assert told[0].message.summary.endswith("1 incident is open: critical #1 api")


def test_a_gap_in_the_schedule_is_told_and_its_end_too() -> None:
    one = world()
    assert one.take(notices.hand_over(one.setup, one.state, "ops", (), one.now + 3_600.0, one.now)) == ["opened"]
    assert one.take(notices.hand_over(one.setup, one.state, "ops", (), one.now + 3_600.0, one.now)) == []
    assert "nobody is on call for ops until " in one.notifications[0].message.summary
    assert one.take(notices.hand_over(one.setup, one.state, "ops", ("lead",), None, one.now)) == ["resolved"]
    assert one.notifications[-1].message.summary == "you are on call for ops; no incident is open"
