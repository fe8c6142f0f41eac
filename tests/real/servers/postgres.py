"""A real PostgreSQL on loopback that can be stopped, started, frozen and followed by a standby.

It has a database ``app`` with ``pg_stat_statements``, and three roles with the password ``right``: ``postgres`` (all
rights), ``watchd`` (``pg_monitor``) and ``plain`` (none).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.real.ports import free_port

PASSWORD = "right"
PATIENCE = 60
"""Seconds that a server may take to start or stop on a slow machine."""
_ROLES = f"""
CREATE ROLE watchd LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_monitor;
CREATE ROLE plain LOGIN PASSWORD '{PASSWORD}';
CREATE DATABASE app;
"""


def _programs() -> Path:
    """Where the newest PostgreSQL's programs are (Debian keeps them out of PATH)."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    assert found or on_path, "PostgreSQL is not installed: apt-get install postgresql"
    return (found[-1] if found else Path(str(on_path))).parent


def _run(*command: str | Path) -> str:
    """Run one of PostgreSQL's programs, which refuse to be run by root."""
    user = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()
    ended = subprocess.run(
        [*user, *(str(part) for part in command)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd="/",
        check=False,
    )
    assert ended.returncode == 0, f"{command[0]} failed: {ended.stdout}{ended.stderr}"
    return ended.stdout


class Postgres:
    """One server with its own data; ``settings`` are lines of its postgresql.conf."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self._programs = _programs()
        self.settings: dict[str, object] = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": folder,
            "fsync": "off",
            "shared_preload_libraries": "pg_stat_statements",
            **settings,
        }

    @property
    def dsn(self) -> str:
        """How the role for watching connects."""
        return self.dsn_of("watchd")

    def dsn_of(self, user: str, password: str = PASSWORD, database: str = "app", query: str = "") -> str:
        """How a role connects; ``query`` such as ``?sslmode=disable``."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}{query}"

    def start(self) -> None:
        """Start it and wait until it takes connections; settings take effect."""
        lines = [f"{name} = '{value}'" for name, value in self.settings.items()]
        own = self.data / "test.conf"
        own.write_text("\n".join(lines) + "\n")
        own.chmod(0o644)
        _run(self._programs / "pg_ctl", "-D", self.data, "-l", self.folder / "log", "-w", "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it, if it runs, frozen or not."""
        if self.process is not None:
            self.unfreeze()
            _run(self._programs / "pg_ctl", "-D", self.data, "-m", mode, "-w", "stop")

    @property
    def process(self) -> psutil.Process | None:
        """The server's first process; None when it does not run."""
        with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
            return psutil.Process(int((self.data / "postmaster.pid").read_text().split()[0]))
        return None

    def freeze(self) -> None:
        """Stop all its processes where they are: connections are accepted by the kernel, and nothing answers."""
        self._send(signal.SIGSTOP)

    def unfreeze(self) -> None:
        """Let them go on."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        first = self.process
        assert first is not None, "the server does not run"
        for process in (first, *first.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def sql(self, text: str, database: str = "app") -> str:
        """Run statements with all rights, and return the rows as text, columns parted by ``|``."""
        return _run(
            self._programs / "psql",
            "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", self.folder, "-p", str(self.port),
            "-U", "postgres", "-d", database, "-c", text,
        ).strip()  # fmt: skip

    def follow(self, folder: Path, name: str, **settings: object) -> Postgres:
        """A standby of this server, with a slot of that name; not started."""
        standby = Postgres(folder, cluster_name=name, **settings)
        _run(
            self._programs / "pg_basebackup",
            "-h", self.folder, "-p", str(self.port), "-U", "postgres", "-D", standby.data,
            "-R", "-C", "-S", name, "-c", "fast",
        )  # fmt: skip
        return standby


def _new_folder() -> Path:
    """A folder that PostgreSQL's user may use, with a path short enough for its socket."""
    folder = Path(tempfile.mkdtemp(prefix="watchd-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    return folder


@contextlib.contextmanager
def new_data() -> Iterator[Path]:
    """Data of a server that was never used, for servers to begin with."""
    folder = _new_folder()
    server = Postgres(folder)
    password = folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    _run(
        server._programs / "initdb",
        "-D", server.data, "-U", "postgres", "--pwfile", password, "-A", "scram-sha-256", "--auth-local", "trust",
        "-E", "UTF8", "--locale", "C", "--no-sync", "--data-checksums",
    )  # fmt: skip
    with (server.data / "postgresql.conf").open("a") as conf:
        conf.write("include 'test.conf'\n")
    server.start()
    for statement in filter(None, map(str.strip, _ROLES.split(";"))):
        server.sql(statement, "postgres")
    server.sql("CREATE EXTENSION pg_stat_statements")
    server.stop("fast")
    yield server.data
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_template() -> Iterator[Path]:
    """:func:`new_data`, once for all tests."""
    with new_data() as data:
        yield data


@pytest.fixture
def start_postgres(postgres_template: Path) -> Iterator[Callable[..., Postgres]]:
    """``start_postgres(max_connections=5)`` starts a server of its own; with ``standby_of=…, name=…`` a standby."""
    running: list[Postgres] = []

    def start(standby_of: Postgres | None = None, name: str = "standby", **settings: object) -> Postgres:
        folder = _new_folder()
        if standby_of is None:
            server = Postgres(folder, **settings)
            subprocess.run(["cp", "-a", str(postgres_template), str(server.data)], check=True, timeout=PATIENCE)
        else:
            server = standby_of.follow(folder, name, **settings)
        running.append(server)
        server.start()
        return server

    yield start
    for server in reversed(running):
        server.stop()
        shutil.rmtree(server.folder)


@pytest.fixture
def postgres(start_postgres: Callable[..., Postgres]) -> Postgres:
    """A running server."""
    return start_postgres()
