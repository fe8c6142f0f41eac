"""Alerts of Prometheus live as incidents do: told by severity, muted, acknowledged, ended, across restarts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.world import POLICY, World, check, setup
from wcr_watchd.core import alerts, commands, engine
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.matchers import parse_matchers
from wcr_watchd.core.model import Alert, Incident, IncidentState, Severity
from wcr_watchd.core.recurrence import Once
from wcr_watchd.core.setup import AlertSettings, Setup
from wcr_watchd.core.silence import Silence, Window

SEVERITIES = {
    "info": Severity.INFO,
    "warning": Severity.WARNING,
    "critical": Severity.CRITICAL,
    "page": Severity.CRITICAL,
}


def known() -> Setup:
    return replace(setup(check("api", times=0)), alerts=AlertSettings(severities=SEVERITIES))


def send(
    world: World, severity: str = "page", summary: str = "full", *, ends_in: float | None = 240.0, **labels: str
) -> list[str]:
    named = {"alertname": "Disk", "instance": "db-1", "severity": severity, **labels}
    end = None if ends_in is None else world.now + ends_in
    start = None if ends_in is None or ends_in > 0 else world.now - 600.0
    sent = alerts.received(named, {"summary": summary}, start, end, "http://prometheus/graph", world.now, 300.0)
    return world.take(alerts.take(world.setup, world.state, sent, world.now))


def only(world: World) -> Incident:
    (incident,) = world.state.incidents.values()
    return incident


def test_it_is_told_once_by_its_severity_however_often_it_is_sent() -> None:
    world = World(known())
    for _ in range(5):
        send(world)
        world.pass_time(60.0)
    assert world.told("opened") == ["sms:lead", "mail:lead"]
    assert (only(world).check, only(world).subject) == ("Disk", 'instance="db-1", severity="page"')
    assert world.notifications[0].message.probe == "prometheus"
    assert world.notifications[0].message.target == "db-1"
    send(world, ends_in=-1.0)
    assert world.told("resolved") == ["sms:lead", "mail:lead"]
    assert world.state.incidents == {}


def test_what_resolved_before_it_was_known_is_no_news() -> None:
    world = World(known())
    assert send(world, ends_in=-1.0) == []
    assert world.notifications == []


def test_it_ends_when_it_is_not_sent_any_more_and_goes_on_when_it_is_back() -> None:
    world = World(known())
    send(world)
    world.pass_time(241.0)
    assert world.events[-1].reason.startswith("Prometheus has not sent it for 4 min: full")
    send(world)
    assert only(world).id == 1
    assert "it is back" in world.events[-1].reason


def test_without_an_end_it_holds_for_the_resolve_timeout() -> None:
    world = World(known())
    send(world, ends_in=None)
    world.pass_time(299.0)
    assert len(world.state.incidents) == 1
    world.pass_time(2.0)
    assert world.state.incidents == {}


def test_nothing_ends_because_nobody_was_here_to_receive_it() -> None:
    world = World(known())
    send(world)
    world.now += 3_600.0
    world.take(alerts.renewed(world.setup, world.state, world.now))
    world.pass_time(290.0)
    assert only(world).state is IncidentState.OPEN
    send(world)
    assert world.told("resolved") == []


def test_the_words_follow_and_an_unknown_severity_is_the_default() -> None:
    world = World(known())
    send(world, "unheard", "80 %")
    assert only(world).severity is Severity.WARNING
    send(world, "unheard", "90 %")
    assert only(world).summary == "90 %"


def test_policy_group_owner_and_runbook_come_from_the_alert() -> None:
    world = World(known())
    world.setup = replace(world.setup, policies={**world.setup.policies, "team": replace(POLICY, name="team")})
    labels = {"alertname": "Disk", "group": "storage", "owner": "ann", "policy": "team", "severity": "critical"}
    for address, runbook in (("https://runbooks.example/disk", "https://runbooks.example/disk"), ("javascript:x", "")):
        sent = alerts.received(labels | {"n": address}, {"runbook_url": address}, None, None, "", world.now, 300.0)
        world.take(alerts.take(world.setup, world.state, sent, world.now))
        message = world.notifications[-1].message
        assert (message.owner, message.runbook) == ("ann", runbook)
        assert world.notifications[-1].group == "storage"


def test_silences_and_windows_match_its_labels() -> None:
    world = World(known())
    held = Silence("s1", parse_matchers("instance=db-1,alertname=~D.*"), 0.0, world.now + 100.0, "ann", "", 0.0)
    world.take(commands.silence(world.setup, world.state, held, world.now))
    send(world)
    send(world, instance="db-2")
    assert [one.state for one in world.state.incidents.values()] == [IncidentState.SILENCED, IncidentState.OPEN]
    window = Window("w", Once(world.now, world.now + 200.0), parse_matchers('severity="page"'))
    world.setup = replace(world.setup, windows=(window,))
    world.pass_time(150.0)
    send(world)
    assert world.state.incidents[1].state is IncidentState.MAINTENANCE
    world.pass_time(60.0)
    assert world.state.incidents[1].state is IncidentState.OPEN


def test_an_acknowledgement_holds_while_it_is_sent() -> None:
    world = World(known())
    send(world)
    world.acknowledge(1)
    send(world)
    assert only(world).state is IncidentState.ACKNOWLEDGED


def test_an_alert_and_a_check_of_the_same_name_do_not_meet() -> None:
    world = World(known())
    sent = alerts.received({"alertname": "api"}, {}, None, world.now + 900.0, "", world.now, 300.0)
    world.take(alerts.take(world.setup, world.state, sent, world.now))
    world.see("api", "down")
    assert len(world.state.incidents) == 2
    world.see("api", "up")
    assert only(world).alert is not None
    world.take(engine.reconcile(replace(world.setup, checks={}), world.state, world.now))
    assert only(world).alert is not None


def test_alerts_that_are_not_taken_any_more_end() -> None:
    world = World(known())
    send(world)
    world.setup = replace(world.setup, alerts=None)
    world.take(engine.reconcile(world.setup, world.state, world.now))
    assert world.events[-1].reason == "alerts are not taken any more by the configuration"
    with pytest.raises(CommandError, match="enabled = true"):
        send(world)


def test_an_alert_is_bounded() -> None:
    with pytest.raises(CommandError, match="at most 64 labels"):
        alerts.received({f"l{n}": "x" for n in range(65)}, {}, None, None, "", 0.0, 300.0)
    with pytest.raises(CommandError, match="4000 characters"):
        alerts.received({"alertname": "x" * 4_000}, {}, None, None, "", 0.0, 300.0)
    long: Alert = alerts.received({"alertname": "x"}, {"summary": "y" * 9_000}, None, None, "", 0.0, 300.0)
    assert len(dict(long.annotations)["summary"]) == 4_000
