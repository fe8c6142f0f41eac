"""A real Alertmanager: what is pushed fires there, lives as long as the incident, and comes back after its restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from pydantic import ValidationError

from tests.real.ports import free_port
from tests.real.servers.alertmanager import Alertmanager
from tests.samples import MESSAGES, make_message, make_notification
from wcr_watchd.channels.alertmanager import Alertmanager as Channel
from wcr_watchd.core.errors import ChannelError, StoreError
from wcr_watchd.core.message import digest
from wcr_watchd.core.model import (
    Delivery,
    DeliveryState,
    EventKind,
    Incident,
    IncidentState,
    Message,
    Recipient,
    Severity,
)
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.runtime.sending import hand_over
from wcr_watchd.runtime.standing import Standing

THERE = Recipient("am")


@pytest.fixture
async def shared() -> AsyncIterator[SharedHelpers]:
    helpers = SharedHelpers()
    yield helpers
    await helpers.close()


def channel(*urls: str, **changes: Any) -> Channel:
    return Channel.model_validate({"urls": list(urls)} | changes)


def current(**changes: Any) -> Message:
    """A message about something that began a minute ago: Alertmanager judges by its own clock."""
    now = time.time()
    return make_message(**{"at": now, "opened_at": now - 60} | changes)


async def tell(kind: Channel, shared: SharedHelpers, message: Message) -> str:
    return (await hand_over(kind, make_notification(THERE, message), shared)).text


async def test_an_incident_fires_as_an_alert(alertmanager: Alertmanager, shared: SharedHelpers) -> None:
    message = current()
    kind = channel(alertmanager.url, labels={"team": "platform"})
    assert await tell(kind, shared, message) == "taken by 1 of 1"
    (alert,) = await alertmanager.alerts()
    assert alert["labels"] == {
        "alertname": "api",
        "incident": "42",
        "location": "nyc3",
        "owner": "platform",
        "probe": "http",
        "severity": "critical",
        "tags": "web,core",
        "team": "platform",
        "watchd": "wcr-prod",
    }
    assert alert["annotations"]["summary"] == "[CRITICAL] wcr-prod: api: HTTP 500, expected 2xx #42"
    assert alert["annotations"]["runbook_url"] == "https://wiki.example.org/runbooks/api"
    assert alert["generatorURL"] == "https://watch.example.org/incidents/42"
    assert datetime.fromisoformat(alert["startsAt"]).timestamp() == pytest.approx(message.opened_at, abs=0.001)
    left = datetime.fromisoformat(alert["endsAt"]).timestamp() - time.time()
    assert 240 < left <= 300


async def test_it_ends_with_the_incident(alertmanager: Alertmanager, shared: SharedHelpers) -> None:
    kind, message = channel(alertmanager.url), current()
    await tell(kind, shared, message)
    await tell(kind, shared, replace(message, event=EventKind.RESOLVED, at=time.time()))
    assert await alertmanager.alerts() == []


async def test_another_severity_is_another_alert_in_place_of_the_first(
    alertmanager: Alertmanager, shared: SharedHelpers
) -> None:
    kind, first = channel(alertmanager.url), current(severity=Severity.WARNING)
    raised = replace(
        first,
        event=EventKind.RAISED,
        severity=Severity.CRITICAL,
        previous_severity=Severity.WARNING,
        at=time.time(),
    )
    await tell(kind, shared, first)
    await tell(kind, shared, raised)
    assert [alert["labels"]["severity"] for alert in await alertmanager.alerts()] == ["critical"]


async def test_the_members_of_a_digest_fire_apart(alertmanager: Alertmanager, shared: SharedHelpers) -> None:
    both = digest([current(), current(incident=43, check="database")], time.time())
    await tell(channel(alertmanager.url), shared, both)
    names = {alert["labels"]["alertname"] for alert in await alertmanager.alerts()}
    assert names == {"api", "database"}


@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
async def test_every_message_is_taken(alertmanager: Alertmanager, shared: SharedHelpers, message: Message) -> None:
    assert await tell(channel(alertmanager.url), shared, message) == "taken by 1 of 1"


async def test_a_notice_about_no_incident_is_no_alert(alertmanager: Alertmanager, shared: SharedHelpers) -> None:
    notice = current(incident=0, event=EventKind.HANDOVER, check="")
    assert await tell(channel(alertmanager.url), shared, notice) == "about no incident: nothing to do"
    assert await alertmanager.alerts() == []


async def test_one_of_a_cluster_is_enough(alertmanager: Alertmanager, shared: SharedHelpers) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    receipt = await tell(channel(gone, alertmanager.url), shared, current())
    assert receipt.startswith(f"taken by 1 of 2; not by: no answer from {gone}")
    assert len(await alertmanager.alerts()) == 1


async def test_none_of_a_cluster_may_come_back(shared: SharedHelpers) -> None:
    gone = [f"http://127.0.0.1:{free_port()}" for _ in range(2)]
    with pytest.raises(ChannelError) as caught:
        await tell(channel(*gone), shared, current())
    assert (caught.value.permanent, caught.value.reason) == (False, "connect")
    assert all(url in caught.value.summary for url in gone)


async def test_what_alertmanager_refuses_is_given_up(alertmanager: Alertmanager, shared: SharedHelpers) -> None:
    with pytest.raises(ChannelError, match="HTTP 404") as caught:
        await tell(channel(alertmanager.url + "/elsewhere"), shared, current())
    assert caught.value.permanent


def test_a_label_that_is_none_is_found_at_once() -> None:
    with pytest.raises(ValidationError, match="String should match pattern"):
        channel("http://localhost:9093", labels={"my-team": "x"})


# --- keeping it alive -------------------------------------------------------------------------------------------------


class Outbox:
    """The delivered rows of a store."""

    def __init__(self, *messages: Message) -> None:
        self.rows = [
            Delivery(make_notification(THERE, message, id=str(number)), DeliveryState.DELIVERED)
            for number, message in enumerate(messages)
        ]
        self.broken = False

    async def deliveries(
        self, *, incident: int, states: Any, recipient: Recipient, since: float, limit: int
    ) -> Sequence[Delivery]:
        if self.broken:
            raise StoreError("disk full")
        assert (states, recipient) == ((DeliveryState.DELIVERED,), THERE)
        found = [row for row in self.rows if row.notification.incident == incident]
        return [row for row in found if row.notification.created_at >= since][:limit]


def still_open(message: Message, *told: Recipient) -> Incident:
    return Incident(
        id=message.incident,
        check=message.check,
        subject="",
        severity=message.severity,
        peak=message.severity,
        state=IncidentState.OPEN,
        opened_at=message.opened_at,
        changed_at=message.at,
        summary=message.summary,
        told=told,
    )


def keeping(kind: Channel, incidents: dict[int, Incident], outbox: Any, shared: SharedHelpers) -> Standing:
    return Standing(lambda: {"am": kind}, dict, lambda: incidents, outbox, shared)


async def test_an_alertmanager_that_forgot_all_is_told_again_of_what_is_open(
    alertmanager: Alertmanager, shared: SharedHelpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wcr_watchd.runtime.standing.LOOK_EVERY", 0.05)
    monkeypatch.setattr(Channel, "sustain_every", 0.2)
    first, second, untold, over = (current(incident=number, check=f"check-{number}") for number in range(1, 5))
    lowered = replace(second, event=EventKind.LOWERED, severity=Severity.WARNING, at=time.time() + 1)
    together = digest([first, second], time.time())
    incidents = {1: still_open(first, THERE), 2: still_open(second, THERE), 3: still_open(untold, Recipient("mail"))}
    keeper = asyncio.create_task(
        keeping(channel(alertmanager.url), incidents, Outbox(together, lowered, over), shared).serve()
    )
    wanted = {("check-1", "critical"), ("check-2", "warning")}

    def all_there(alerts: list[dict[str, Any]]) -> bool:
        return {(alert["labels"]["alertname"], alert["labels"]["severity"]) for alert in alerts} == wanted

    await alertmanager.eventually(all_there)
    alertmanager.stop()
    alertmanager.start()
    await alertmanager.eventually(all_there)
    keeper.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeper


async def test_a_push_again_puts_the_end_off(alertmanager: Alertmanager, shared: SharedHelpers) -> None:
    message = current()
    kind = channel(alertmanager.url, expires="1m")
    assert kind.sustain_every == 15.0
    await tell(kind, shared, message)
    (before,) = await alertmanager.alerts()
    await channel(alertmanager.url, expires="10m").sustain([message], shared)
    (after,) = await alertmanager.alerts()
    moved = datetime.fromisoformat(after["endsAt"]) - datetime.fromisoformat(before["endsAt"])
    assert moved.total_seconds() == pytest.approx(540, abs=30)
    assert after["startsAt"] == before["startsAt"]


async def test_a_store_or_provider_in_trouble_is_asked_again(
    alertmanager: Alertmanager, shared: SharedHelpers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wcr_watchd.runtime.standing.LOOK_EVERY", 0.05)
    monkeypatch.setattr(Channel, "sustain_every", 0.1)
    message = current()
    outbox = Outbox(message)
    outbox.broken = True
    alertmanager.stop()
    keeper = asyncio.create_task(
        keeping(channel(alertmanager.url), {42: still_open(message, THERE)}, outbox, shared).serve()
    )
    await asyncio.sleep(0.3)
    outbox.broken = False
    await asyncio.sleep(0.3)
    assert not keeper.done()
    alertmanager.start()
    await alertmanager.eventually(lambda alerts: len(alerts) == 1)
    keeper.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeper
