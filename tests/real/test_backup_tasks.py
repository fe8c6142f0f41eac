"""What the tasks of etc/ run, run by a daemon: real scripts, a real PostgreSQL, a bucket; and what is there then."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.servers.backup_machine import PASSPHRASE, SCRIPTS, Machine, content, day_file, keys
from tests.real.servers.postgres import Postgres
from tests.real.servers.storage import Bucket
from wcr_watchd.kit.backups.archives import pg_program

ETC = Path(__file__).parents[2] / "etc"
ORDER = [
    *("backup-production", "backup-staging", "backup-uploads", "backup-uploads-archive", "backup-app-config"),
    *("backup-app-logs", "backup-system", "backup-security", "backup-image", "backup-offsite", "backup-retention"),
    *("reindex", "analyze", "vacuum-analyze"),
]
"""Each after what it needs."""


def shipped(machine: Machine) -> str:
    """The tasks of etc/, on, with the folders of this machine; nothing else of them is changed."""
    text = "".join((ETC / "conf.d" / name).read_text() for name in ("62-backup-tasks.toml", "63-upkeep-tasks.toml"))
    assert set(tomllib.loads(text)["task"]) == set(ORDER)
    text = text.replace("enabled = false\n", "").replace("/usr/local/lib/wcr-backup", str(SCRIPTS))
    text = text.replace("/etc/wcr-backup/", f"{machine.folder}/")
    settings = f'WCR_BACKUP_SETTINGS = "{machine.folder}/settings"'
    tables = []
    for table in re.split(r"^(?=\[task\.)", text, flags=re.MULTILINE):
        if "\nrun = " in table:
            has_own = "\nenv = { " in table
            table = (
                table.replace("env = { ", f"env = {{ {settings}, ") if has_own else f"{table}\nenv = {{ {settings} }}\n"
            )
        tables.append(table)
    return "".join(tables).replace('owner = "lead"\n', "")


def prepared(machine: Machine, bucket: Bucket) -> dict[str, str]:
    """A machine with something of everything that is to be saved; returns the daemon's environment."""
    for folder in ("app", "log", "system", "security", "image"):
        (machine.folder / folder).mkdir()
        (machine.folder / folder / "file").write_text(folder)
    (machine.uploads / "photo.jpg").write_bytes(b"photo")
    machine.set(
        REMOTE=f"offsite:{bucket.name}/backups",
        **{
            f"{name.upper()}_PATHS": f"{machine.folder / name}"
            for name in ("app", "log", "system", "security", "image")
        },
    )
    production = machine.services.read_text().partition("[again]")[0]
    machine.services.write_text(machine.services.read_text() + production.replace("[production]", "[staging]"))
    remote = ("[offsite]", "type = s3", "provider = Other", f"endpoint = {bucket.endpoint}", "access_key_id = a")
    (machine.folder / "rclone.conf").write_text("\n".join((*remote, "secret_access_key = b", "")))
    credentials = machine.folder / "credentials"
    credentials.mkdir()
    (credentials / "backup_passphrase").write_text(PASSPHRASE)
    path = f"{Path(pg_program('pg_dump')).parent}:{os.environ['PATH']}"
    return {"CREDENTIALS_DIRECTORY": str(credentials), "PATH": path}


def test_every_task_of_etc_that_runs_does_what_it_says(
    machine: Machine, shop: Postgres, bucket: Bucket, make_daemon: Callable[..., RunningDaemon]
) -> None:
    environment = prepared(machine, bucket)
    old = day_file(machine, datetime.now(UTC) - timedelta(days=60))
    for age in range(50, 40, -1):
        day_file(machine, datetime.now(UTC) - timedelta(days=age))
    shop.sql("DELETE FROM payments WHERE cents % 2 = 0; UPDATE users SET seen = now()")
    index = shop.sql("SELECT relfilenode FROM pg_class WHERE relname = 'payments_pkey'")
    daemon = make_daemon(shipped(machine), environment=environment)

    def ended(name: str) -> dict[str, Any] | None:
        rows: list[dict[str, Any]] = daemon.api("GET", f"/tasks/{name}")["history"]
        return rows[0] if rows else None

    for name in ORDER:
        daemon.api("POST", f"/tasks/{name}/run")
        row = eventually(lambda name=name: ended(name), f"{name} ends")
        assert (row["outcome"], row["exit_status"]) == ("done", 0), (name, row["text"], row["output"])
    assert not daemon.incidents()

    made = {path.name.rpartition("_2")[0] for path in machine.root.rglob("*.enc") if path.parent.name != "weekly"}
    assert {
        "production",
        "staging",
        "docker_volumes",
        "configuration",
        "logs",
        "system_config",
        "security_config",
        "machine",
    } <= made
    assert not old.exists(), "deleted by the retention"
    assert len([key for key in keys(bucket) if key.endswith(".enc")]) >= 7
    dump = max((machine.root / "database").glob("production_*.enc"))
    machine.well("restore-database", str(dump), "again")
    assert content(machine, "again") == content(machine, "production")
    assert shop.sql("SELECT relfilenode FROM pg_class WHERE relname = 'payments_pkey'") != index
    assert (
        shop.sql("SELECT n_dead_tup, last_analyze IS NULL FROM pg_stat_user_tables WHERE relname = 'payments'") == "0|f"
    )
    assert PASSPHRASE not in daemon.log()
