"""Weeks of records with a clean-up, and a daemon that says when it is full: by its command line and API."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from click.testing import CliRunner

from tests.daemon.harness import RunningDaemon, eventually
from wcr_watchd.cli.main import cli
from wcr_watchd.core.model import Measurement, Observation, Outcome
from wcr_watchd.core.protocols import Batch
from wcr_watchd.store.sqlite import SqliteStore

HOUR, DAYS = 3_600.0, 20
CONFIG = """
[check.books]
type = "command"
run = ["echo", "OK | books=300B"]
protocol = "nagios"
every = "200ms"
info = "forecast(perfdata_size, 7d) > 500B"
"""


async def _fill(path: Path, location: str, check: str, value: Callable[[float], float], days: int) -> None:
    """Records of so many days until now, an hour apart: what the check measured by the time."""
    store = SqliteStore(path)
    await store.open()
    begin = time.time() - days * 24 * HOUR
    times = [begin + hour * HOUR for hour in range(days * 24)]
    labels = (("label", check),)
    await store.commit(
        Batch(
            observations=tuple(
                Observation(
                    check, location, at, 0.1, Outcome.UP, "", "", (Measurement("perfdata_size", value(at), labels),)
                )
                for at in times
            )
        )
    )
    for day in range(days + 1):
        await store.prune(begin + day * 24 * HOUR)
    await store.close()


def _books(at: float) -> float:
    """Ten more each day, and 110 taken away ten days ago: 300 now."""
    ago = (time.time() - at) / (24 * HOUR)
    return 300 - 10 * ago + (110 if ago > DAYS / 2 else 0)


def _traffic(at: float) -> float:
    """Five a day, from nothing with each month on: 155 at most."""
    when = datetime.fromtimestamp(at, UTC)
    return 5 * (when.day - 1 + when.hour / 24 + when.minute / 1_440)


def test_when_it_is_full(make_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = make_daemon(CONFIG)
    location = daemon.api("GET", "/status")["location"]
    eventually(lambda: daemon.outcome("books") == "up", "it is up")
    [row] = daemon.api("GET", "/forecasts")["forecasts"]
    assert (row["known"], row["when"]) == (False, "not known yet: two days of the past are needed")
    daemon.stop()
    asyncio.run(_fill(daemon.database, location, "books", _books, DAYS))
    daemon.start()
    # It was up before, too; only its first run tells what it measures now.
    eventually(lambda: bool(daemon.api("GET", "/forecasts")["forecasts"]), "it has run again")
    [row] = daemon.api("GET", "/forecasts")["forecasts"]
    assert (row["measurement"], row["limit"], row["now"], row["known"]) == ("perfdata_size", 500, 300, True)
    assert row["when"].startswith(("in about 19 d", "in about 20 d", "in about 21 d"))
    shown = CliRunner().invoke(cli, ["forecast", "--socket", str(daemon.socket)])
    assert shown.exit_code == 0
    assert "> 500 B" in shown.stdout
    assert "in about" in shown.stdout
    listed = CliRunner().invoke(cli, ["forecast", "books", "--json", "--socket", str(daemon.socket)])
    assert json.loads(listed.stdout)[0]["check"] == "books"
    unknown = CliRunner().invoke(cli, ["forecast", "none", "--socket", str(daemon.socket)])
    assert unknown.exit_code != 0


def test_a_budget_is_not_drawn_beyond_its_month(make_daemon: Callable[..., RunningDaemon]) -> None:
    """A quota of 175 that 155 of are used in a month at most; towards the end of one it was to be used up in a week."""
    config = f"""
[check.traffic]
type = "command"
run = ["echo", "OK | traffic={_traffic(time.time()):.3f}B"]
protocol = "nagios"
every = "200ms"
tags = ["costs"]
info = "forecast(perfdata_size, 7d) > 175B"
"""
    daemon = make_daemon(config, start=False)
    daemon.watchd = 'timezone = "UTC"\n'
    daemon.write(config)
    daemon.start()
    location = daemon.api("GET", "/status")["location"]
    daemon.stop()
    asyncio.run(_fill(daemon.database, location, "traffic", _traffic, 95))
    daemon.start()
    eventually(lambda: bool(daemon.api("GET", "/forecasts")["forecasts"]), "it has run again")
    [row] = daemon.api("GET", "/forecasts")["forecasts"]
    assert row["when"].startswith("not before it begins again on 1 ")
    assert row["begins_again"] is not None
    shown = CliRunner().invoke(cli, ["forecast", "--json", "--socket", str(daemon.socket)])
    assert json.loads(shown.stdout)[0]["expected"] is None
