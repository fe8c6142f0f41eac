"""What was stored is read for a replay while the daemon goes on writing."""

from __future__ import annotations

from pathlib import Path

import pytest

from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.model import Measurement, Observation, Outcome
from wcr_watchd.core.protocols import Batch
from wcr_watchd.store.recorded import Recorded
from wcr_watchd.store.sqlite import SqliteStore

HOUR = 3_600.0
BEGIN = 1_700_006_400.0
"""The beginning of a UTC day."""
NAMES = frozenset({"response_time"})
BOTH = {"api": NAMES, "web": NAMES}


def run_of(check: str, at: float, outcome: Outcome = Outcome.UP, value: float = 0.1) -> Observation:
    measured = (Measurement("response_time", value), Measurement("body_size", 100.0)) if outcome is Outcome.UP else ()
    return Observation(check, "here", at, 0.25, outcome, "", f"{check} at {at:.0f}", measured)


async def test_observations_reach_back_to_the_first_run_not_to_its_hour(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "watchd.db")
    await store.open()
    try:
        await store.commit(Batch(observations=tuple(run_of("api", BEGIN + minute * 60.0) for minute in (50, 59, 61))))
        with Recorded(tmp_path / "watchd.db") as recorded:
            assert recorded.reach() == (BEGIN + 50 * 60.0, BEGIN + 61 * 60.0)
    finally:
        await store.close()


async def test_observations_and_bounds_beside_a_writer(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "watchd.db")
    await store.open()
    try:
        for minute in range(0, 60 * 30, 10):
            at = BEGIN + minute * 60.0
            down = Outcome.DOWN if minute == 610 else Outcome.UP
            await store.commit(
                Batch(observations=(run_of("api", at, value=0.1 + minute / 10_000), run_of("web", at + 5, down)))
            )
        for _ in range(3):
            await store.prune(BEGIN + 27 * HOUR)  # the newest hours are neither filed nor rolled up yet
        with Recorded(tmp_path / "watchd.db") as recorded:
            assert recorded.reach() == (BEGIN, pytest.approx(BEGIN + 30 * HOUR - 595))
            assert recorded.checks() == {"api", "web"}
            assert [*recorded.hours(BEGIN + 1, BEGIN + 2 * HOUR + 1)] == [BEGIN, BEGIN + HOUR, BEGIN + 2 * HOUR]
            calm = recorded.spans(BEGIN + HOUR, BOTH)
            low, high = (calm["api"] or {})["response_time"]
            assert low <= 0.106
            assert high >= 0.111
            assert (low, high) == pytest.approx((0.106, 0.111))
            counters = recorded.spans(BEGIN + HOUR, {"api": frozenset({"body_size"})})
            assert counters["api"] == {"body_size": (100.0, 100.0)}, "a whole number is kept as it is"
            assert recorded.spans(BEGIN + 10 * HOUR, BOTH)["web"] is None, "a run was down"
            assert recorded.spans(BEGIN + 10 * HOUR, BOTH)["api"] is not None
            assert recorded.spans(BEGIN + 29 * HOUR, BOTH) == {"api": None, "web": None}, "not rolled up yet"
            for hour in (0, 10, 26, 29):
                seen = recorded.observations(BEGIN + hour * HOUR, BOTH)
                assert [one.at for one in seen] == pytest.approx(
                    [BEGIN + hour * HOUR + minute * 600 + part for minute in range(6) for part in (0, 5)]
                )
            late = recorded.observations(BEGIN + 10 * HOUR, {"web": NAMES})
            assert [one.outcome for one in late] == [Outcome.UP, Outcome.DOWN, *[Outcome.UP] * 4]
            assert late[0].measurements == (Measurement("response_time", 0.1),)
            await store.commit(Batch(observations=(run_of("api", BEGIN + 31 * HOUR),)))
    finally:
        await store.close()


async def test_a_value_without_end_is_not_taken_for_calm(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "watchd.db")
    await store.open()
    for minute in range(0, 60 * 30, 10):
        value = float("inf") if minute < 60 else 0.1
        await store.commit(Batch(observations=(run_of("api", BEGIN + minute * 60.0, value=value),)))
    for _ in range(3):
        await store.prune(BEGIN + 32 * HOUR)
    await store.close()
    with Recorded(tmp_path / "watchd.db") as recorded:
        assert (recorded.spans(BEGIN, BOTH)["api"] or {})["response_time"] == (float("-inf"), float("inf"))
        assert (recorded.spans(BEGIN + HOUR, BOTH)["api"] or {})["response_time"] == pytest.approx((0.1, 0.1))


def test_what_is_no_database_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("this is a text of some length that is no database at all" * 40)
    for name in ("other", "missing"):
        with pytest.raises(StoreError, match=r"cannot read the records in .*--store"):
            Recorded(tmp_path / name)
