"""Which people and addresses a policy's targets come to, why to nobody, and when they want to be left alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.core.world import World, check, setup
from wcr_watchd.core.escalation import other_addresses, quiet_until, recipients, unreachable
from wcr_watchd.core.local_time import MINUTES_A_DAY, Hours, merged
from wcr_watchd.core.model import EventKind, Recipient, Severity
from wcr_watchd.core.on_call import Layer, OnCallSchedule, Override
from wcr_watchd.core.setup import Contact, Setup, Target

LEAD, SECOND = Recipient("sms", "lead", "+15550101"), Recipient("sms", "second", "+15550102")
NIGHTS = Hours("America/New_York", merged((day * MINUTES_A_DAY + 1320, day * MINUTES_A_DAY + 1860) for day in range(7)))
"""22:00 to 07:00, every night."""
WORKDAYS = Hours("UTC", merged((day * MINUTES_A_DAY + 540, day * MINUTES_A_DAY + 1020) for day in range(5)))


def at(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


def with_schedule(*layers: Layer, overrides: tuple[Override, ...] = ()) -> Setup:
    return replace(setup(check("api")), on_call={"ops": OnCallSchedule("ops", "UTC", layers, overrides)})


def test_targets_come_to_each_recipient_once() -> None:
    targets = (Target("sms", "ops"), Target("sms", "lead"), Target("slack"), Target("mail", "second"))
    assert recipients(setup(check("api")), targets, 0.0) == (
        LEAD,
        Recipient("slack"),
        Recipient("mail", "second", "second@example.org"),
    )


def test_a_contact_without_the_address_is_nobody_and_it_is_said_why() -> None:
    targets = (
        Target("mail", "nobody"),
        Target("pager", "lead"),
        Target("sms", "lead"),
        Target("mail", "mute"),
        Target("sms"),
    )
    people = setup(check("api"))
    people = replace(people, contacts={**people.contacts, "mute": Contact("mute")})
    assert recipients(people, targets, 0.0) == (LEAD,)
    assert unreachable(people, targets, 0.0) == (
        "mail:nobody: there is no contact 'nobody'",
        "pager:lead: there is no such channel",
        "mail:mute: mute has no email",
        "sms: nobody is named",
    )


def test_a_group_on_call_is_told_together() -> None:
    both = with_schedule(Layer("pair", (("lead", "second"),)))
    assert recipients(both, (Target("sms", "ops"),), 0.0) == (LEAD, SECOND)
    assert unreachable(both, (Target("sms", "ops"),), 0.0) == ()


def test_a_gap_is_said_with_its_end() -> None:
    office = with_schedule(Layer("office", (("lead",),), hours=WORKDAYS))
    saturday = at("2026-11-28T12:00:00+00:00")
    assert recipients(office, (Target("sms", "ops"),), saturday) == ()
    assert unreachable(office, (Target("sms", "ops"), Target("slack")), saturday) == (
        "sms:ops: nobody is on call until Mon 2026-11-30 09:00 (UTC)",
    )
    assert unreachable(with_schedule(), (Target("sms", "ops"),), saturday) == (
        "sms:ops: nobody is on call for the next 90 days",
    )


def test_further_addresses_come_after_the_first() -> None:
    numbers = ("+15550101", "+15550109", "+15550108")
    many = replace(setup(check("api")), contacts={"lead": Contact("lead", {"phone": numbers})})
    assert recipients(many, (Target("sms", "lead"),), 0.0) == (LEAD,)
    assert [who.address for who in other_addresses(many, LEAD)] == ["+15550109", "+15550108"]
    assert other_addresses(many, Recipient("slack")) == ()
    assert other_addresses(many, Recipient("sms", "gone", "+1")) == ()


def test_further_addresses_are_the_first_to_fall_back_on() -> None:
    people = setup(check("api"))
    people = replace(
        people, contacts={**people.contacts, "lead": Contact("lead", {"phone": ("+15550101", "+15550109")})}
    )
    world = World(people)
    for _ in range(3):
        world.see("api", "down")
    told = next(one for one in world.notifications if one.recipient.channel == "sms")
    assert (told.recipient.address, told.fallbacks[0].address) == ("+15550101", "+15550109")


@pytest.mark.parametrize(
    ("moment", "until"),
    [
        ("2026-11-28T12:00:00-05:00", "2026-11-28T12:00:00-05:00"),
        ("2026-11-28T21:59:59-05:00", "2026-11-28T21:59:59-05:00"),
        ("2026-11-28T22:00:00-05:00", "2026-11-29T07:00:00-05:00"),
        ("2026-11-29T06:59:59-05:00", "2026-11-29T07:00:00-05:00"),
        ("2026-11-29T07:00:00-05:00", "2026-11-29T07:00:00-05:00"),
        ("2026-10-31T23:00:00-04:00", "2026-11-01T07:00:00-05:00"),  # clocks go back: a night of ten hours
        ("2027-03-13T23:00:00-05:00", "2027-03-14T07:00:00-04:00"),  # and forward: one of eight
    ],
)
def test_quiet_hours_hold_back_what_is_not_critical(moment: str, until: str) -> None:
    quiet = replace(setup(check("api")), contacts={"lead": Contact("lead", {}, NIGHTS)})
    for severity in (Severity.INFO, Severity.WARNING):
        assert quiet_until(quiet, LEAD, severity, at(moment)) == at(until)
    assert quiet_until(quiet, LEAD, Severity.CRITICAL, at(moment)) == at(moment)
    assert quiet_until(quiet, Recipient("slack"), Severity.INFO, at(moment)) == at(moment)


def test_a_warning_at_night_is_sent_in_the_morning_and_a_critical_at_once() -> None:
    people = setup(check("api", warning="response_time > 1s"))
    lead = Contact("lead", people.contacts["lead"].addresses, NIGHTS)
    world = World(replace(people, contacts={**people.contacts, "lead": lead}), now=at("2026-11-28T23:00:00-05:00"))
    world.see("api", "up", ("response_time", 2.0, ""))
    world.see("api", "up", ("response_time", 2.0, ""))
    world.see("api", "up", ("response_time", 2.0, ""))
    (warning,) = world.notifications
    assert warning.not_before == at("2026-11-29T07:00:00-05:00")
    world.pass_time(7 * 3600.0)  # at four in the morning it would be repeated
    assert [event.kind for event in world.events] == [EventKind.OPENED, EventKind.REMINDED]
    assert world.notifications == [warning]
    for _ in range(3):
        world.see("api", "down")
    assert {one.not_before for one in world.notifications[1:]} == {world.now}
