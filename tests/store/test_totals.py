"""Sums over long spans are those of all runs, whether they are rolled up or not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.store.test_recorded import BEGIN, HOUR, run_of
from wcr_watchd.core.model import Outcome
from wcr_watchd.core.protocols import Batch
from wcr_watchd.store.recorded import Recorded
from wcr_watchd.store.sqlite import SqliteStore

DAY = 24 * HOUR
WANTED = {"api": frozenset({"response_time"}), "web": frozenset[str]()}


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """Two days and six hours of a run every ten minutes; `web` is down in the eleventh hour."""
    store = SqliteStore(tmp_path / "watchd.db")
    await store.open()
    for minute in range(0, 60 * 54, 10):
        at = BEGIN + minute * 60.0
        down = Outcome.DOWN if 600 <= minute < 660 else Outcome.UP
        await store.commit(
            Batch(observations=(run_of("api", at, value=0.1 + minute / 10_000), run_of("web", at, down)))
        )
    for _ in range(6):
        await store.prune(BEGIN + 52 * HOUR)
    await store.close()
    return tmp_path / "watchd.db"


@pytest.mark.parametrize(
    ("since", "until"), [(0, 54), (0, 48), (5, 30), (24, 48), (10, 11), (47, 53), (51, 54), (12, 12)]
)
async def test_runs_and_values_of_any_span(file: Path, since: int, until: int) -> None:
    with Recorded(file) as records:
        found = records.totals(BEGIN + since * HOUR, BEGIN + until * HOUR, WANTED)
    hours = until - since
    up = sum(runs[0] for runs in found["api"].runs.values())
    assert up == 6 * hours
    lost = 6 if since <= 10 < until else 0
    assert [sum(runs[n] for runs in found["web"].runs.values()) for n in range(3)] == [6 * hours - lost, lost, 0]
    assert found["web"].values == {}
    if not hours:
        assert found["api"].values == {}
        return
    [[number, all_of_it]] = found["api"].values.items()
    values = [0.1 + minute / 10_000 for minute in range(since * 60, until * 60, 10)]
    assert all_of_it.bucket.count == len(values)
    assert all_of_it.bucket.total == pytest.approx(sum(values))
    assert (all_of_it.bucket.minimum, all_of_it.bucket.maximum) == pytest.approx((values[0], values[-1]))
    for q in (0.5, 0.95):
        assert all_of_it.quantile(q) == pytest.approx(values[int(q * (len(values) - 1))], rel=0.06)
    assert sum(bucket.count for bucket in found["api"].daily[number].values()) == len(values)


async def test_without_sketches_there_are_no_quantiles(file: Path) -> None:
    with Recorded(file) as records:
        found = records.totals(BEGIN, BEGIN + DAY, WANTED, sketches=False)
        [[number, all_of_it]] = found["api"].values.items()
        assert records.labels(number) == ("response_time", ())
    assert all_of_it.bucket.count == 144
    assert all_of_it.sketch == {}
