"""A real PgBouncer on loopback before a PostgreSQL; users ``stats`` (may ask the console) and ``plain``."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.real.ports import free_port
from tests.real.servers.postgres import PASSWORD, Postgres

PATIENCE = 30.0


class PgBouncer:
    """One PgBouncer; ``settings`` are lines of its pgbouncer.ini."""

    def __init__(self, folder: Path, server: Postgres, **settings: object) -> None:
        self.folder = folder
        self.port = free_port()
        lines = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "auth_type": "md5",
            "auth_file": folder / "users",
            "stats_users": "stats",
            "unix_socket_dir": "",
            "ignore_startup_parameters": "extra_float_digits",
            **settings,
        }
        (folder / "users").write_text(f'"stats" "{PASSWORD}"\n"plain" "{PASSWORD}"\n')
        head = f"[databases]\napp = host=127.0.0.1 port={server.port} dbname=app\n[pgbouncer]\n"
        (folder / "pgbouncer.ini").write_text(head + "".join(f"{name} = {value}\n" for name, value in lines.items()))
        self._process: subprocess.Popen[bytes] | None = None

    def dsn_of(self, user: str, database: str = "pgbouncer") -> str:
        """How a user connects."""
        return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it listens; it refuses to be run by root."""
        program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
        assert program, "PgBouncer is not installed: apt-get install pgbouncer"
        user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen([*user, program, self.folder / "pgbouncer.ini"], stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE
        while b"process up" not in (self.folder / "log").read_bytes():
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        """Stop it at once."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(PATIENCE)
            self._process = None


@pytest.fixture
def start_pgbouncer() -> Iterator[Callable[..., PgBouncer]]:
    """``start_pgbouncer(postgres, default_pool_size=1)``; all are stopped at the end."""
    running: list[PgBouncer] = []

    def start(server: Postgres, **settings: object) -> PgBouncer:
        folder = Path(tempfile.mkdtemp(prefix="watchd-bouncer-"))
        folder.chmod(0o755)
        running.append(PgBouncer(folder, server, **settings))
        running[-1].start()
        return running[-1]

    yield start
    for bouncer in running:
        bouncer.stop()
        shutil.rmtree(bouncer.folder)
