"""The expiry probe: dates of licences, keys and contracts against today."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from tests.real.running import carry_out, measured, names, new_run, probe_of
from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.kit.shared import SharedHelpers

DAY = 86400.0
TODAY = datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()


Look = Callable[..., Awaitable[Observation]]


@pytest.fixture
def look(shared: SharedHelpers) -> Look:
    """``await look(expires=…)``: what is said of an entry on that day."""
    return lambda **options: carry_out(probe_of("expiry", options), new_run(shared, started=TODAY))


@pytest.mark.parametrize(
    ("options", "urgency"),
    [
        ({"expires": "2027-06-30"}, 0),
        ({"expires": "2027-01-20"}, 1),
        ({"expires": "2026-12-20"}, 2),
        ({"expires": "2026-12-01"}, 3),
        ({"expires": "2026-11-28"}, 3),
        ({"expires": "2026-12-20", "kind": "key"}, 1),
        ({"expires": "2026-12-01", "kind": "password"}, 2),
        ({"expires": "2026-11-28", "kind": "key"}, 3),
        ({"expires": "2027-06-30", "lead": ["365d", "300d", "7d"]}, 2),
    ],
)
async def test_how_near_the_end_is(options: dict[str, Any], urgency: int, look: Look) -> None:
    seen = await look(**options)
    assert seen.outcome is Outcome.UP, "it asks nobody, so it always knows"
    assert measured(seen, "urgency") == urgency
    assert seen.reason == ("expiry" if urgency else "")
    assert options["expires"] in seen.summary
    assert names(seen) == {"expires_in", "urgency"}


async def test_the_time_that_is_left(look: Look) -> None:
    seen = await look(expires="2026-12-01", item="the licence of the report designer")
    assert measured(seen, "expires_in") == 2.5 * DAY
    assert seen.summary == "the licence of the report designer ends in 2 d 12 h, on 2026-12-01"
    seen = await look(expires="2026-11-27")
    assert measured(seen, "expires_in") == -1.5 * DAY
    assert "ended 1 d 12 h ago" in seen.summary


async def test_notice_can_be_given_until_the_end_of_that_day(look: Look) -> None:
    contract = {"kind": "contract", "expires": "2027-06-30"}
    seen = await look(cancel_by="2026-11-28", **contract)
    assert measured(seen, "cancel_in") == DAY / 2
    assert "notice until 2026-11-28" in seen.summary
    seen = await look(cancel_by="2026-11-27", **contract)
    assert measured(seen, "cancel_in") == -DAY / 2
    assert "too late to give notice" in seen.summary


async def test_a_key_is_to_be_replaced(look: Look) -> None:
    key = {"kind": "key", "expires": "2027-06-30", "created": "2026-08-01"}
    seen = await look(**key)
    assert measured(seen, "rotation_overdue") == (119.5 - 90) * DAY
    assert "to be replaced after" in seen.summary
    seen = await look(rotate_after="180d", **key)
    assert measured(seen, "rotation_overdue") == (119.5 - 180) * DAY


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "expires"),
        ({"expires": "soon"}, "expires"),
        ({"expires": "2027-01-01", "cancel_by": "2027-02-01"}, "cancel_by lies after expires"),
        ({"expires": "2027-01-01", "lead": ["7d", "30d", "60d"]}, "must fall"),
        ({"expires": "2027-01-01", "created": "2026-01-01"}, "created is for what is to be replaced"),
    ],
)
def test_entries_that_make_no_sense(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        probe_of("expiry", options)
