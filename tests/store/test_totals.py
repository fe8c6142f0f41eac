"""Sums over long spans are those of all runs, whether they are rolled up or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.store.samples import an_observation
from tests.store.test_recorded import BEGIN, HOUR, run_of
from wcr_watchd.core.model import Measurement, Outcome
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
    up = sum(runs[0] for _, runs in found["api"].runs())
    assert up == 6 * hours
    lost = 6 if since <= 10 < until else 0
    assert [sum(runs[n] for _, runs in found["web"].runs()) for n in range(3)] == [6 * hours - lost, lost, 0]
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


async def test_quantiles_of_shares_are_those_of_the_hours_where_these_are_even(tmp_path: Path) -> None:
    """Bins are 10 % wide: a disk that is 86 % full all day read 82.6 %."""
    store = SqliteStore(tmp_path / "watchd.db")
    await store.open()
    used = [0.86 if minute < 20 * 60 else 0.9 + (minute % 60) / 1_000 for minute in range(0, 30 * 60, 10)]
    runs = [
        replace(an_observation("api", BEGIN + 600 * number), measurements=(Measurement("disk_used", value),))
        for number, value in enumerate(used)
    ]
    await store.commit(Batch(observations=tuple(runs)))
    wanted = {"api": frozenset({"disk_used"})}

    def quantiles() -> list[float]:
        with Recorded(tmp_path / "watchd.db") as records:
            [found] = records.totals(BEGIN, BEGIN + 30 * HOUR, wanted, shares=["disk_used"])["api"].values.values()
        return [found.quantile(q) for q in (0.0, 0.5, 0.95, 1.0)]

    exact = [0.86, 0.86, 0.95, 0.95]
    assert quantiles() == pytest.approx(exact, abs=0.001), "run by run"
    for hours in (40, 90):
        for _ in range(4):
            await store.prune(BEGIN + hours * HOUR)
        found = quantiles()
        assert found[:2] == pytest.approx(exact[:2], abs=0.001)
        assert found[2:] == pytest.approx(exact[2:], rel=0.05)
    await store.close()
