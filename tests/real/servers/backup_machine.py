"""A machine with the backup scripts of etc/backup, something to save, and somewhere to put it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.real.ports import free_port
from tests.real.servers.postgres import PASSWORD, Postgres
from tests.real.servers.storage import Bucket
from wcr_watchd.kit.backups.archives import pg_program

SCRIPTS = Path(__file__).parents[3] / "etc" / "backup"
PASSPHRASE = "correct horse 'battery' $taple"
ZONE = "UTC"
SHOP = """
CREATE TABLE users (id serial PRIMARY KEY, name text NOT NULL, seen timestamptz);
INSERT INTO users (name, seen)
    SELECT 'Zoë "O''Hara" ' || n, now() - n * interval '1 hour' FROM generate_series(1, 500) n;
CREATE TABLE payments (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id int REFERENCES users, cents bigint);
INSERT INTO payments (user_id, cents) SELECT id, id * 1999 FROM users;
CREATE TABLE documents (name text, body bytea);
INSERT INTO documents SELECT n::text, decode(md5(n::text), 'hex') FROM generate_series(1, 50) n;
CREATE VIEW spent AS SELECT user_id, sum(cents) AS cents FROM payments GROUP BY user_id;
CREATE DATABASE again;
"""
TABLES = ("users", "payments", "documents", "spent")


class Machine:
    """A machine with the scripts, their settings and somewhere to put backups."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "backups"
        self.uploads = folder / "uploads"
        self.uploads.mkdir()
        self.services = folder / "pg_service.conf"
        (folder / "passphrase").write_text(PASSPHRASE + "\n")
        (folder / "passphrase").chmod(0o640)
        self.set()

    def set(self, **more: str) -> None:
        values = {
            "ROOT": self.root,
            "ZONE": ZONE,
            "PASSPHRASE_FILE": self.folder / "passphrase",
            "PGSERVICEFILE": self.services,
            "PG_BIN": Path(pg_program("pg_dump")).parent,
            "UPLOADS": self.uploads,
            "RETENTION_SETS": "database/production",
            **more,
        }
        (self.folder / "settings").write_text("".join(f'{name}="{value}"\n' for name, value in values.items()))

    def environment(self, **more: str) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "WCR_BACKUP_SETTINGS": str(self.folder / "settings"), **more}

    def run(self, script: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [str(SCRIPTS / script), *words]
        return subprocess.run(
            command, env=self.environment(**environment), capture_output=True, text=True, timeout=120, check=False
        )

    def well(self, script: str, *words: str, **environment: str) -> str:
        done = self.run(script, *words, **environment)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refused(self, script: str, *words: str, **environment: str) -> str:
        done = self.run(script, *words, **environment)
        assert done.returncode == 1, done.stdout
        return done.stderr.strip().splitlines()[-1]

    def settle(self) -> None:
        """Some minutes pass: what was just written counts as being written still."""
        for path in self.root.rglob("*.enc"):
            os.utime(path, (time.time() - 300, time.time() - 300))

    def files(self, folder: str) -> list[str]:
        """Everything there, also what is hidden."""
        return sorted(path.name for path in (self.root / folder).iterdir())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def shop(machine: Machine, postgres: Postgres) -> Postgres:
    """A database with something to lose, that the scripts know as production, and an empty one beside it."""
    for statement in SHOP.strip().split(";\n"):
        postgres.sql(statement)
    password = machine.folder / "pgpass"
    password.write_text(f"127.0.0.1:{postgres.port}:*:postgres:{PASSWORD}\n")
    password.chmod(0o600)
    head = f"host=127.0.0.1\nport={postgres.port}\nuser=postgres\npassfile={password}\n"
    nowhere = head.replace(str(postgres.port), str(free_port()))
    machine.services.write_text(
        f"[production]\n{head}dbname=app\n[again]\n{head}dbname=again\n[gone]\n{nowhere}dbname=app\n"
    )
    return postgres


def content(machine: Machine, service: str) -> list[str]:
    """Every row of every table, in order."""
    words = [pg_program("psql"), "-XAtq", "-d", f"service={service}"]
    for table in TABLES:
        words += ["-c", f"SELECT * FROM {table} ORDER BY 1"]
    environment = {"PGSERVICEFILE": str(machine.services), "PATH": os.environ["PATH"]}
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture
def rclone(machine: Machine, bucket: Bucket) -> dict[str, str]:
    """What makes rclone know the bucket as offsite."""
    machine.set(REMOTE=f"offsite:{bucket.name}/backups")
    return {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_OFFSITE_TYPE": "s3",
        "RCLONE_CONFIG_OFFSITE_PROVIDER": "Other",
        "RCLONE_CONFIG_OFFSITE_ENDPOINT": bucket.endpoint,
        "RCLONE_CONFIG_OFFSITE_ACCESS_KEY_ID": "a",
        "RCLONE_CONFIG_OFFSITE_SECRET_ACCESS_KEY": "b",
    }


def keys(bucket: Bucket) -> list[str]:
    return sorted(one["Key"] for one in bucket.client.list_objects_v2(Bucket=bucket.name).get("Contents", []))


def day_file(machine: Machine, at: datetime, prefix: str = "production") -> Path:
    """A backup of this day, as the scripts name it, with its checksum."""
    folder = machine.root / "database"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{prefix}_{at:%Y%m%d_%H%M%S}.sql.gz.enc"
    file.write_bytes(f"dump of {at}".encode())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    file.with_name(file.name + ".sha256").write_text(f"{digest}  {file.name}\n")
    return file
