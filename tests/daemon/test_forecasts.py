"""Weeks of records with a clean-up, and a daemon that says when it is full: by its command line and API."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
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


async def _fill(path: Path, location: str) -> None:
    """Ten more each day, and 110 taken away ten days ago: 300 now."""
    store = SqliteStore(path)
    await store.open()
    begin = time.time() - DAYS * 24 * HOUR
    runs = []
    for hour in range(DAYS * 24):
        value = 300 - 10 * (DAYS - hour / 24) + (110 if hour < DAYS * 12 else 0)
        at = begin + hour * HOUR
        runs.append(
            Observation(
                "books",
                location,
                at,
                0.1,
                Outcome.UP,
                "",
                "",
                (Measurement("perfdata_size", value, (("label", "books"),)),),
            )
        )
    await store.commit(Batch(observations=tuple(runs)))
    for day in range(DAYS + 1):
        await store.prune(begin + day * 24 * HOUR)
    await store.close()


def test_when_it_is_full(make_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = make_daemon(CONFIG)
    location = daemon.api("GET", "/status")["location"]
    eventually(lambda: daemon.outcome("books") == "up", "it is up")
    [row] = daemon.api("GET", "/forecasts")["forecasts"]
    assert (row["known"], row["when"]) == (False, "not known yet: two days of the past are needed")
    daemon.stop()
    asyncio.run(_fill(daemon.database, location))
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
