"""The section follow_ups: by which policy follow-ups of incidents are told, and that it pages nobody."""

from __future__ import annotations

import pytest

from tests.simulation.calendar_year import configured
from wcr_watchd.config.load import loads
from wcr_watchd.core import engine, follow_up, notices
from wcr_watchd.core.errors import ConfigError
from wcr_watchd.core.life import Finding
from wcr_watchd.core.model import Severity
from wcr_watchd.core.setup import FollowUpSettings, Setup
from wcr_watchd.core.state import State
from wcr_watchd.web import configured as configured_words

DAY = 86_400.0
LATE = f"{follow_up.PREFIX}7-1 is overdue"
CHANNELS = """
[channel.sms]
type = "sms"
provider = "twilio"
account_sid = "AC00000000000000000000000000000000"
auth_token = "${env:HOME}"
from = "+15550100"
[channel.mail]
type = "email"
servers = ["smtp://127.0.0.1:25"]
from = "watch@example.org"
[contact.ann]
phone = "+15550101"
email = "ann@example.org"
[policy.default.critical]
tell = ["sms:ann"]
[policy.default.warning]
tell = ["mail:ann"]
escalate = [{ after = "1h", tell = ["sms:ann"] }, { after = "24h", raise = "critical" }]
repeat = "4h"
[policy.people.critical]
tell = ["sms:ann"]
[policy.people.warning]
tell = ["mail:ann"]
escalate = [{ after = "7d", raise = "critical", tell = ["mail:ann"] }]
"""


def told(setup: Setup, days: float) -> tuple[set[str], list[Severity], list[str]]:
    """Over which channels is told of a follow-up that is late for so long, how bad it gets, and what happens."""
    state, now, decisions = State(), 1_790_000_000.0, []
    until = now + days * DAY
    late = Finding(setup.follow_ups.overdue, "move the backups: ben had until yesterday for it", "")
    decision = notices.trouble(setup, state, LATE, late, "by its date", now)
    while True:
        engine.apply(state, decision)
        decisions.append(decision)
        [incident] = state.incidents.values()
        due = engine.deadline(incident)
        if due is None or due > until:
            break
        decision = engine.tick(setup, state, incident.id, due, None)
    told = [one for decision in decisions for one in decision.notifications]
    ways = {way.channel for one in told for way in (one.recipient, *one.fallbacks)}
    events = [event for decision in decisions for event in decision.events]
    return ways, [event.severity for event in events], [event.kind.value for event in events]


def test_by_the_usual_policy_nobody_is_ever_paged() -> None:
    ways, severities, kinds = told(loads(CHANNELS, "test").setup, 30)
    assert ways == {"mail"}
    assert set(severities) == {Severity.WARNING}
    assert set(kinds) == {"opened", "reminded"}


def test_a_policy_of_their_own_is_taken_as_written_but_for_critical() -> None:
    ways, severities, kinds = told(loads(CHANNELS + '[follow_ups]\npolicy = "people"\n', "test").setup, 30)
    assert set(severities) == {Severity.WARNING}
    assert kinds[:2] == ["opened", "escalated"]
    assert ways == {"mail"}


def test_who_is_told_stands_with_the_other_policies() -> None:
    shown = dict(configured_words.policies(loads(CHANNELS, "test").setup))
    assert shown["[follow_ups]"] == [("warning", "mail:ann; again every 4 h")]


def test_one_that_is_late_can_be_an_info() -> None:
    settings = loads('[follow_ups]\noverdue = "info"\n', "test").setup.follow_ups
    assert settings == FollowUpSettings(overdue=Severity.INFO)


def test_sms_of_the_usual_policy_are_left_out_even_for_warnings() -> None:
    text = CHANNELS.replace(
        'warning]\ntell = ["mail:ann"]\nescalate = [{ after = "1h"',
        'warning]\ntell = ["sms:ann"]\nescalate = [{ after = "1h"',
    )
    assert told(loads(text, "test").setup, 30)[0] == set()


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(ConfigError) as refused:
        loads(CHANNELS + '[follow_ups]\npolicy = "peple"\noverdue = "critical"\n', "test")
    assert any("did you mean" in str(one) or "overdue" in str(one) for one in refused.value.problems)


def test_those_of_etc_are_told_as_what_people_do() -> None:
    setup = configured().setup
    ways, severities, _ = told(setup, 60)
    assert ways == {"mail"}
    assert max(severities) is Severity.WARNING


def test_all_else_of_the_daemons_own_is_told_as_before() -> None:
    setup = loads(CHANNELS, "test").setup
    decision = notices.report_fails(setup, State(), "weekly", "the disk is full", 0.0)
    assert [one.fallbacks[0].channel for one in decision.notifications] == ["sms"]
