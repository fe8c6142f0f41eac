"""The backup_retention probe on real files, and on copies in folders and at moto's S3 server (a protocol-true peer)."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.real.running import Observe, carry_out, measured, names, new_run, probe_of
from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.probes.backup_retention import _month_name, _week, _week_name

NAME = "production_%Y%m%d.gz"
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()  # a Wednesday, ISO week 48
Look = Callable[..., Awaitable[Observation]]


@pytest.fixture
def look(tmp_path: Path, shared: SharedHelpers) -> Look:
    """``await look(weekly=…)`` runs a check on the folder ``set``; a second call remembers what the first one left."""
    kept: dict[str, Any] = {}

    async def once(now: float = NOW, **options: Any) -> Observation:
        run = new_run(shared, 90, now)
        run.memory = kept
        standard = {"path": f"{tmp_path}/set/{NAME}", "timezone": "UTC"}
        return await carry_out(probe_of("backup_retention", {**standard, **options}), run)

    (tmp_path / "set").mkdir()
    return once


def put(folder: Path, *days: str, size: int = 10) -> list[Path]:
    """Backups of these days (``2026-11-25``), made at 02:00 UTC."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for day in days:
        at = datetime.fromisoformat(f"{day}T02:00:00+00:00").timestamp()
        path = folder / time.strftime(NAME, time.gmtime(at))
        path.write_bytes(b"x" * size)
        os.utime(path, (at, at))
        made.append(path)
    return made


MONTHLY = [f"2026-{month:02}-03" for month in range(1, 12)] + ["2025-11-03", "2025-12-03"]


async def test_weeks(tmp_path: Path, look: Look) -> None:
    put(tmp_path / "set", "2026-10-28", "2026-11-04", "2026-11-11", "2026-11-18", "2026-11-25")
    full = await look(weekly=4, monthly=0)
    assert full.outcome is Outcome.UP
    assert measured(full, "weekly_kept") == 5
    assert measured(full, "weekly_missing") == 0
    assert "monthly_kept" not in names(full)
    assert measured(full, "oldest_age") == pytest.approx(28 * 86_400 + 12 * 3600, abs=1)
    (tmp_path / "set" / "production_20261125.gz").unlink()
    assert measured(await look(weekly=4, monthly=0), "weekly_missing") == 0, "this week's may be still to come"
    (tmp_path / "set" / "production_20261111.gz").unlink()
    hole = await look(weekly=4, monthly=0)
    assert measured(hole, "weekly_kept") == 3
    assert measured(hole, "weekly_missing") == 1
    assert "missing: 2026-W46" in hole.summary


async def test_months(tmp_path: Path, look: Look) -> None:
    made = put(tmp_path / "set", *MONTHLY)
    full = await look(weekly=0)
    assert measured(full, "monthly_kept") == 13
    assert measured(full, "monthly_missing") == 0
    assert "weekly_kept" not in names(full)
    made[4].unlink()
    made[6].unlink()
    hole = await look(weekly=0)
    assert measured(hole, "monthly_missing") == 1, (
        "thirteen are looked at, as the oldest may go before the newest comes"
    )
    assert "missing: 2026-05, 2026-07" in hole.summary


async def test_no_more_is_asked_for_than_there_can_be(tmp_path: Path, look: Look) -> None:
    put(tmp_path / "set", "2026-11-12", "2026-11-18", "2026-11-25")
    young = await look()
    assert measured(young, "weekly_missing") == measured(young, "monthly_missing") == 0
    for path in list((tmp_path / "set").iterdir())[:-1]:
        path.unlink()
    later = await look(now=NOW + 30 * 86_400)
    assert measured(later, "weekly_missing") >= 3, "since when there were backups is remembered"


async def test_what_should_have_been_deleted(tmp_path: Path, look: Look) -> None:
    put(
        tmp_path / "set", *(f"2026-10-{day:02}" for day in range(1, 32)), *(f"2026-11-{day:02}" for day in range(1, 26))
    )
    seen = await look(weekly=4, monthly=0, keep="30d")
    assert measured(seen, "too_old") == 23, "older than 33 days: 1 to 23 October"
    assert "23 should have been deleted" in seen.summary
    assert measured(await look(weekly=4, monthly=0), "too_old") == 25, "28 days and a tenth"
    assert measured(await look(weekly=4, monthly=12), "too_old") == 0


async def test_a_week_begins_where_the_clocks_are(tmp_path: Path, look: Look) -> None:
    """02:00 UTC on a Monday is Sunday evening in New York: another week."""
    put(tmp_path / "set", "2026-11-23")
    assert measured(await look(weekly=1), "weekly_kept") == 1
    path = f"{tmp_path}/set/*.gz"
    west = await look(path=path, weekly=1, timezone="America/New_York", now=NOW)
    assert measured(west, "weekly_kept") == 1
    assert _week(datetime(2026, 11, 22, tzinfo=UTC)) + 1 == _week(datetime(2026, 11, 23, tzinfo=UTC))
    assert _week_name(_week(datetime(2026, 12, 31, tzinfo=UTC))) == "2026-W53"
    assert _month_name(2026 * 12 + 11) == "2026-12"


async def test_copies(tmp_path: Path, look: Look) -> None:
    put(tmp_path / "set", *MONTHLY, "2026-11-24", "2026-11-25")
    put(tmp_path / "second", *MONTHLY, "2026-11-24")
    put(tmp_path / "away", *MONTHLY, "2026-11-24")
    places = [
        {"path": f"{tmp_path}/second/{NAME}", "medium": "second disk"},
        {"path": f"{tmp_path}/away/{NAME}", "medium": "tape", "off_site": True},
    ]
    assert "copies" not in names(await look())
    full = await look(places=places)
    assert measured(full, "copies") == measured(full, "media") == 3, (full.summary, full.evidence)
    assert measured(full, "off_site_copies") == 1
    assert measured(full, "rule_321") == 1
    (tmp_path / "away" / "production_20260503.gz").write_bytes(b"short")
    short = await look(places=places)
    assert measured(short, "copies") == 2
    assert measured(short, "off_site_copies") == measured(short, "rule_321") == 0
    assert "production_20260503.gz" in short.evidence[f"not at {places[1]['path']}"]
    (tmp_path / "second" / "production_20260503.gz").unlink()
    assert measured(await look(places=places), "copies") == 1


async def test_places_that_cannot_be_looked_at(tmp_path: Path, look: Look) -> None:
    put(tmp_path / "set", *MONTHLY)
    seen = await look(places=[{"path": f"{tmp_path}/none/{NAME}", "medium": "second disk"}])
    assert seen.outcome is Outcome.UP
    assert "copies" not in names(seen), "no number is better than one too low"
    assert "does not exist" in seen.evidence["absent"]


async def test_copies_on_object_storage(tmp_path: Path, look: Look) -> None:
    import botocore.session
    from moto.server import ThreadedMotoServer

    from tests.real.ports import free_port

    put(tmp_path / "set", *MONTHLY, "2026-11-24")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=free_port(), verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        client = botocore.session.get_session().create_client(
            "s3", region_name="us-east-1", endpoint_url=f"http://{host}:{port}", aws_access_key_id="a",
            aws_secret_access_key="b",
        )  # fmt: skip
        client.create_bucket(Bucket="monthly")
        for path in (tmp_path / "set").iterdir():
            client.put_object(Bucket="monthly", Key=f"app/{path.name}", Body=path.read_bytes())
        client.close()
        place = {
            "url": f"s3://monthly/app/{NAME}", "endpoint": f"http://{host}:{port}", "access_key": "a",
            "secret_key": "b", "medium": "object storage", "off_site": True,
        }  # fmt: skip
        seen = await look(places=[place])
        assert measured(seen, "copies") == measured(seen, "media") == 2, (seen.summary, seen.evidence)
        assert measured(seen, "off_site_copies") == 1
        assert measured(seen, "rule_321") == 0
    finally:
        server.stop()


async def test_none_and_nowhere(tmp_path: Path, look: Look, observe: Observe) -> None:
    none = await look()
    assert (none.outcome, none.reason) == (Outcome.DOWN, "missing")
    nowhere = await observe("backup_retention", path=f"{tmp_path}/none/{NAME}")
    assert (nowhere.outcome, nowhere.reason) == (Outcome.UNKNOWN, "missing")
    with pytest.raises(ValidationError, match="a path or a url"):
        probe_of("backup_retention", {"path": "/a", "places": [{"medium": "tape"}]})
