"""Since when an entry of the knowledge folder is as it is outlives the daemon, and a chmod."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing

from tests.daemon.harness import RunningDaemon, eventually


def ages(daemon: RunningDaemon) -> list[list[str]]:
    """Name, fingerprint and time of each entry, as the records have them."""
    with closing(sqlite3.connect(daemon.database)) as records:
        rows = records.execute("SELECT data FROM known_facts WHERE check_name = '[knowledge]'").fetchall()
    return json.loads(rows[0][0])["values"] if rows else []


def test_a_chmod_and_a_restart_leave_an_entry_as_old_as_it_is(make_daemon: Callable[..., RunningDaemon]) -> None:
    daemon = make_daemon('[knowledge]\nfolder = "knowledge"\n', start=False)
    folder = daemon.folder / "knowledge"
    folder.mkdir()
    entry = folder / "disk.md"
    entry.write_text('+++\nkind = "runbook"\n+++\n# The disk is full\n\nDelete something.\n')
    written = entry.stat().st_ctime
    daemon.start()
    [(name, fingerprint, at)] = eventually(lambda: ages(daemon), "it is written down")
    assert (name, float(at)) == ("disk", written)
    daemon.kill()
    entry.chmod(0o640)
    assert entry.stat().st_ctime > written
    daemon.start()
    entry.write_text('+++\nkind = "runbook"\n+++\n# The disk is full\n\nBuy a larger one.\n')
    daemon.reload()
    [(_, other, later)] = eventually(
        lambda: [one for one in ages(daemon) if one[1] != fingerprint], "the new text is written down"
    )
    assert float(later) == entry.stat().st_ctime
    daemon.kill()
    entry.chmod(0o600)
    daemon.start()
    daemon.reload()
    assert ages(daemon) == [["disk", other, later]]
