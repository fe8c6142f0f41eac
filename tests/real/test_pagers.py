"""PagerDuty, Opsgenie and Jira keep one incident of theirs for each of ours, whatever is told how often."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from tests.real.servers.pagers import MAIL, ROUTING_KEY, Issue, Jira, Opsgenie, PagerDuty
from tests.real.servers.providers import RESET, TOKEN, Fault, Provider
from tests.samples import MESSAGES, OPENED, make_message, make_notification
from wcr_watchd.channels.jira import Jira as JiraChannel
from wcr_watchd.channels.opsgenie import Opsgenie as OpsgenieChannel
from wcr_watchd.channels.pagerduty import PagerDuty as PagerDutyChannel
from wcr_watchd.core.errors import ChannelError
from wcr_watchd.core.message import DIGEST_ITEMS, digest, incident_key
from wcr_watchd.core.model import EventKind, IncidentState, Message, Recipient, Severity
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime.sending import hand_over

KEY = f"wcr-prod-42-{OPENED:.0f}"
RESOLVED = make_message(event=EventKind.RESOLVED, at=OPENED + 900, state=IncidentState.RESOLVED)
ACKNOWLEDGED = make_message(event=EventKind.ACKNOWLEDGED, by="ann", state=IncidentState.ACKNOWLEDGED)
LOWERED = make_message(event=EventKind.LOWERED, severity=Severity.WARNING, previous_severity=Severity.CRITICAL)


@pytest.fixture
async def shared() -> AsyncIterator[SharedHelpers]:
    helpers = SharedHelpers()
    yield helpers
    await helpers.close()


def channel(server: Provider, **changes: Any) -> Any:
    match server:
        case PagerDuty():
            return PagerDutyChannel.model_validate({"url": server.base, "routing_key": ROUTING_KEY} | changes)
        case Opsgenie():
            return OpsgenieChannel.model_validate({"url": server.base, "api_key": TOKEN} | changes)
        case Jira():
            account = {"username": MAIL} if server.cloud else {"kind": "server"}
            return JiraChannel.model_validate(
                {"url": server.base, "token": TOKEN, "project": "OPS"} | account | changes
            )
    raise AssertionError(server)


async def tell(kind: Any, shared: SharedHelpers, *messages: Message) -> str:
    """Tell of each in order; returns the last receipt."""
    receipt = ""
    for message in messages:
        receipt = (await hand_over(kind, make_notification(Recipient("it"), message), shared)).text
    return receipt


@pytest.fixture(params=["pagerduty", "opsgenie", "jira"])
def pager(request: pytest.FixtureRequest) -> Provider:
    """Each provider in turn."""
    found: Provider = request.getfixturevalue(request.param)
    return found


# --- what holds for all -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
async def test_every_message_is_taken(pager: Provider, shared: SharedHelpers, message: Message) -> None:
    await tell(channel(pager), shared, message)
    assert not pager.refused


@pytest.mark.parametrize(
    ("fault", "permanent", "reason"),
    [
        (Fault(400), True, "rejected"),
        (Fault(403), True, "auth"),
        (Fault(422), True, "rejected"),
        (Fault(429, retry_after="7"), False, "rate_limited"),
        (Fault(500), False, "server"),
        (Fault(503), False, "server"),
        (RESET, False, "connect"),
    ],
    ids=str,
)
async def test_what_may_pass_and_what_not(
    pager: Provider, shared: SharedHelpers, fault: Fault, permanent: bool, reason: str
) -> None:
    pager.fault = fault
    with pytest.raises(ChannelError) as caught:
        await tell(channel(pager), shared, make_message())
    assert (caught.value.permanent, caught.value.reason) == (permanent, reason)
    assert caught.value.retry_after == (7.0 if fault.retry_after else None)
    assert not pager.accepted


async def test_a_digest_is_told_incident_by_incident(pager: Provider, shared: SharedHelpers) -> None:
    both = [make_message(), make_message(incident=43, check="database"), replace(RESOLVED, incident=43)]
    await tell(channel(pager), shared, digest(both, OPENED + 1000))
    if isinstance(pager, Jira):
        states = [issue.status for issue in pager.issues.values()]
        assert states == ["To Do", "Done"]
    else:
        assert isinstance(pager, PagerDuty | Opsgenie)
        assert set(pager.alerts) == {KEY, KEY.replace("-42-", "-43-")}


async def test_a_digest_that_broke_off_goes_on_where_it_did(pager: Provider, shared: SharedHelpers) -> None:
    kind, many = channel(pager), digest([make_message(incident=number) for number in range(1, 11)], OPENED)
    owed = make_notification(Recipient("it"), many)
    taken = False
    while not taken:
        before = len(pager.accepted)
        pager.faults = deque([None, None, None, Fault(500)])
        with suppress(ChannelError):
            await hand_over(kind, owed, shared)
            taken = True
        assert len(pager.accepted) > before, "every attempt gets further"
    if isinstance(pager, Jira):
        assert len(pager.issues) == 10
        assert not any(issue.comments for issue in pager.issues.values())
    else:
        assert len(pager.accepted) == 10


@pytest.mark.parametrize("event", [EventKind.HANDOVER, EventKind.PLANNED])
async def test_a_notice_about_no_incident_makes_none(pager: Provider, shared: SharedHelpers, event: EventKind) -> None:
    notice = make_message(incident=0, event=event, check="", severity=Severity.INFO)
    assert await tell(channel(pager), shared, notice) == "about no incident: nothing to do"
    assert await tell(channel(pager), shared, digest([notice, notice], OPENED)) == "about no incident: nothing to do"
    assert not pager.requests


def test_the_key_is_the_incidents_alone() -> None:
    first = make_message()
    assert incident_key(first) == incident_key(RESOLVED) == incident_key(LOWERED) == KEY
    others = [
        make_message(incident=43),
        make_message(watchd="wcr-staging"),
        make_message(opened_at=OPENED + 86_400),  # the records were lost, and numbers began again
        make_message(watchd="ü" * 64),
        make_message(watchd="ä" * 64),
        make_message(incident=0, event=EventKind.DRILL),
        make_message(event=EventKind.DRILL, at=OPENED + 2),
        make_message(incident=0, event=EventKind.DRILL, at=OPENED + 1),
    ]
    keys = {incident_key(message) for message in (first, *others)}
    assert len(keys) == 1 + len(others)
    assert all(len(key) <= 128 and key.isascii() and " " not in key for key in keys)


# --- PagerDuty --------------------------------------------------------------------------------------------------------


async def test_pagerduty_is_told_what_happened(pagerduty: PagerDuty, shared: SharedHelpers) -> None:
    assert await tell(channel(pagerduty), shared, make_message()) == f"success {KEY}"
    assert pagerduty.accepted[0].fields == {
        "routing_key": ROUTING_KEY,
        "event_action": "trigger",
        "dedup_key": KEY,
        "payload": {
            "summary": "[CRITICAL] wcr-prod: api: HTTP 500, expected 2xx #42",
            "source": "http://localhost:5001/health",
            "severity": "critical",
            "timestamp": "2026-11-23T03:12:00.000-05:00",
            "component": "api",
            "class": "http",
            "group": "web, core",
            "custom_details": {
                "Check": "api",
                "Target": "http://localhost:5001/health",
                "Severity": "critical",
                "Since": "03:12 EST",
                "Why you are told": "confirmed after 3 of 3",
                "Measured": 'response_time 213 ms, disk_used{mount="/"} 93.1 %',
                "Told": "lead",
                "Owner": "platform",
                "Tags": "web, core",
                "Watched by": "wcr-prod at nyc3",
                "Runbook": "https://wiki.example.org/runbooks/api",
                "Incident": "https://watch.example.org/incidents/42",
            },
        },
        "links": [
            {"href": "https://watch.example.org/incidents/42", "text": "Incident"},
            {"href": "https://wiki.example.org/runbooks/api", "text": "Runbook"},
        ],
        "client": "wcr-watchd wcr-prod",
        "client_url": "https://watch.example.org/incidents/42",
    }


async def test_a_life_in_pagerduty(pagerduty: PagerDuty, shared: SharedHelpers) -> None:
    reminded = make_message(event=EventKind.REMINDED)
    for message, state in (
        (make_message(), "triggered"),
        (reminded, "triggered"),
        (LOWERED, "triggered"),
        (ACKNOWLEDGED, "acknowledged"),
        (RESOLVED, "resolved"),
        (RESOLVED, "resolved"),  # sent twice by a crash
    ):
        await tell(channel(pagerduty), shared, message)
        assert pagerduty.alerts == {KEY: state}


async def test_pagerduty_has_words_of_its_own_for_severities(pagerduty: PagerDuty, shared: SharedHelpers) -> None:
    await tell(channel(pagerduty, severities={"warning": "error"}), shared, LOWERED)
    assert pagerduty.accepted[0].fields["payload"]["severity"] == "error"


async def test_a_wrong_routing_key_is_said_in_pagerdutys_words(pagerduty: PagerDuty, shared: SharedHelpers) -> None:
    with pytest.raises(ChannelError, match="Event object is invalid: 'routing_key' is invalid") as caught:
        await tell(channel(pagerduty, routing_key="f" * 32), shared, make_message())
    assert caught.value.permanent
    assert "ffff" not in caught.value.summary


def test_a_routing_key_of_the_wrong_kind_is_refused_at_once() -> None:
    with pytest.raises(ValidationError, match="must be the 32 characters"):
        PagerDutyChannel.model_validate({"routing_key": "R0123"})


async def test_a_digest_too_large_to_carry_all_says_so_in_one_more(pagerduty: PagerDuty, shared: SharedHelpers) -> None:
    many = [make_message(incident=number) for number in range(1, DIGEST_ITEMS + 50)]
    await tell(channel(pagerduty), shared, digest(many, OPENED))
    assert len(pagerduty.alerts) == DIGEST_ITEMS + 1
    assert "149 messages" in pagerduty.accepted[-1].fields["payload"]["summary"]


# --- Opsgenie ---------------------------------------------------------------------------------------------------------


async def test_opsgenie_is_told_what_happened(opsgenie: Opsgenie, shared: SharedHelpers) -> None:
    team = {"type": "team", "name": "platform"}
    assert await tell(channel(opsgenie, responders=[team]), shared, make_message()) == "Request will be processed r-0"
    alert = opsgenie.accepted[0].fields
    assert alert["message"] == "[CRITICAL] wcr-prod: api: HTTP 500, expected 2xx #42"
    assert (alert["alias"], alert["priority"], alert["entity"], alert["source"]) == (KEY, "P1", "api", "wcr-prod")
    assert alert["responders"] == [team]
    assert alert["tags"] == ["web", "core"]
    assert alert["details"]["Runbook"] == "https://wiki.example.org/runbooks/api"


async def test_a_life_in_opsgenie(opsgenie: Opsgenie, shared: SharedHelpers) -> None:
    for message, expected in (
        (make_message(), {"status": "open", "priority": "P1", "count": 1}),
        (make_message(event=EventKind.REMINDED), {"status": "open", "priority": "P1", "count": 2}),
        (LOWERED, {"status": "open", "priority": "P3", "count": 3}),
        (ACKNOWLEDGED, {"status": "acknowledged", "priority": "P3", "count": 3}),
        (RESOLVED, {"status": "closed", "priority": "P3", "count": 3}),
    ):
        await tell(channel(opsgenie), shared, message)
        assert opsgenie.alerts == {KEY: expected}


async def test_a_daemon_of_any_name_finds_its_alerts_again(opsgenie: Opsgenie, shared: SharedHelpers) -> None:
    odd = {"watchd": "prod ü/1 100%"}
    await tell(channel(opsgenie), shared, make_message(**odd), replace(RESOLVED, **odd))
    assert [alert["status"] for alert in opsgenie.alerts.values()] == ["closed"]


async def test_a_wrong_key_is_said_in_opsgenies_words(opsgenie: Opsgenie, shared: SharedHelpers) -> None:
    with pytest.raises(ChannelError, match="HTTP 403: Api key is not valid") as caught:
        await tell(channel(opsgenie, api_key="another-secret"), shared, make_message())
    assert (caught.value.permanent, caught.value.reason) == (True, "auth")
    assert "another-secret" not in caught.value.summary


# --- Jira -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cloud", [True, False], ids=["cloud", "server"])
async def test_a_life_in_jira(jira: Jira, shared: SharedHelpers, cloud: bool) -> None:
    jira.cloud = cloud
    assert await tell(channel(jira), shared, make_message()) == "created OPS-1"
    assert await tell(channel(jira), shared, ACKNOWLEDGED) == "commented OPS-1"
    assert await tell(channel(jira), shared, RESOLVED) == "commented OPS-1 and closed it (Finish)"
    (issue,) = jira.issues.values()
    assert issue.status == "Done"
    assert issue.fields["summary"] == "[CRITICAL] wcr-prod: api: HTTP 500, expected 2xx #42"
    assert issue.fields["labels"] == ["wcr-watchd", KEY]
    assert [comment.splitlines()[0] for comment in issue.comments] == [
        "[ACKNOWLEDGED] wcr-prod: api: acknowledged by ann #42",
        "[RESOLVED] wcr-prod: api: HTTP 500, expected 2xx #42",
    ]


async def test_an_issue_that_the_search_does_not_find_yet_is_not_made_twice(jira: Jira, shared: SharedHelpers) -> None:
    jira.slow_search = True
    kind = channel(jira)
    await tell(kind, shared, make_message(), LOWERED, RESOLVED)
    assert [(issue.status, len(issue.comments)) for issue in jira.issues.values()] == [("Done", 2)]


async def test_the_end_of_what_has_no_issue_makes_none(jira: Jira, shared: SharedHelpers) -> None:
    assert "nothing to do" in await tell(channel(jira), shared, RESOLVED)
    assert not jira.issues


async def test_an_issue_that_somebody_deleted_is_made_anew(jira: Jira, shared: SharedHelpers) -> None:
    kind = channel(jira)
    await tell(kind, shared, make_message())
    jira.issues.clear()
    assert await tell(kind, shared, make_message(event=EventKind.REMINDED)) == "created OPS-1"


async def test_an_issue_that_somebody_closed_is_only_commented(jira: Jira, shared: SharedHelpers) -> None:
    jira.issues["OPS-1"] = Issue("OPS-1", {"labels": [KEY]}, status="Done")
    assert await tell(channel(jira), shared, RESOLVED) == "commented OPS-1"


async def test_a_transition_may_be_named(jira: Jira, shared: SharedHelpers) -> None:
    jira.workflow = (("5", "Reject", "Done"), ("6", "Deploy", "Done"))
    kind = channel(jira, resolve="deploy")
    assert await tell(kind, shared, make_message(), RESOLVED) == "commented OPS-1 and closed it (Deploy)"


async def test_an_issue_without_a_way_to_close_it_says_so(jira: Jira, shared: SharedHelpers) -> None:
    jira.workflow = (("11", "Start", "In Progress"),)
    receipt = await tell(channel(jira), shared, make_message(), RESOLVED)
    assert receipt == "commented OPS-1, which stays open: it has no transition to a finished status, only Start"


async def test_a_project_that_is_not_there_is_said_in_jiras_words(jira: Jira, shared: SharedHelpers) -> None:
    with pytest.raises(ChannelError, match="HTTP 400: The value 'NONE' does not exist for the field 'project'"):
        await tell(channel(jira, project="NONE"), shared, make_message())


async def test_fields_that_jira_does_not_take_are_said_in_its_words(jira: Jira, shared: SharedHelpers) -> None:
    with pytest.raises(ChannelError, match=r"HTTP 400: fields: 'fields\.sprint' Extra inputs") as caught:
        await tell(channel(jira, fields={"sprint": 7}), shared, make_message())
    assert caught.value.permanent


def test_jira_cloud_needs_an_account() -> None:
    with pytest.raises(ValidationError, match='needs "username"'):
        JiraChannel.model_validate({"url": "https://x.atlassian.net", "token": "t", "project": "OPS"})
