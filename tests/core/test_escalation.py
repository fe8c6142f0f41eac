"""Whose turn it is, and which addresses a policy's targets come to."""

from __future__ import annotations

from datetime import UTC, datetime, time

import pytest

from tests.core.world import check, setup
from wcr_watchd.core.escalation import on_call_now, recipients
from wcr_watchd.core.model import Recipient
from wcr_watchd.core.setup import OnCallSchedule, Target

NEW_YORK = OnCallSchedule("ops", "America/New_York", ("lead", "second"), 0, time(9, 0))


def at(text: str) -> float:
    return datetime.fromisoformat(text).astimezone(UTC).timestamp()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("2026-11-23T08:59:59-05:00", "2026-11-23T09:00:00-05:00"),
        ("2027-03-15T08:59:59-04:00", "2027-03-15T09:00:00-04:00"),  # the day after clocks went forward
        ("2026-11-02T08:59:59-05:00", "2026-11-02T09:00:00-05:00"),  # the day after they went back
    ],
)
def test_turns_change_at_the_local_hour_also_around_dst(before: str, after: str) -> None:
    assert {on_call_now(NEW_YORK, at(before)), on_call_now(NEW_YORK, at(after))} == {"lead", "second"}


def test_a_turn_lasts_a_week() -> None:
    monday = at("2026-11-23T09:00:00-05:00")
    turns = {on_call_now(NEW_YORK, monday + hours * 3600) for hours in range(7 * 24)}
    assert len(turns) == 1


def test_targets_come_to_each_recipient_once() -> None:
    targets = (Target("sms", "ops"), Target("sms", "lead"), Target("slack"), Target("mail", "second"))
    assert recipients(setup(check("api")), targets, 0.0) == (
        Recipient("sms", "lead", "+15550101"),
        Recipient("slack"),
        Recipient("mail", "second", "second@example.org"),
    )


def test_a_contact_without_the_address_is_nobody() -> None:
    assert recipients(setup(check("api")), (Target("mail", "nobody"), Target("pager", "lead")), 0.0) == ()
