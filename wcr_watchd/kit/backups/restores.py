"""Restores a dump into a PostgreSQL made for that, and asks it questions. Blocks; see worker.py.

Everything that belongs to one restore is in one folder, on whose file ``lock`` the process that restores holds a lock
(flock(2)) while it lives: a folder with a lock that can be taken is left over from one that was killed, and is cleared.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from wcr_watchd.kit.backups.archives import (
    CHUNK,
    CannotTellError,
    Content,
    DamagedError,
    Filter,
    Keys,
    Source,
    drain,
    fault_in_words,
    is_broken,
    opened,
    pg_program,
)

PREFIX = "watchd-restore-"
DATABASE_PREFIX = "watchd_restore_"
LEFT_OVER = 2 * 86_400.0
"""Seconds after which a database of ours on a server that was given cannot be in use any more."""
START_WITHIN = 60.0
_DIE_WITHIN = 5.0
_MOST_ROUNDS = 10
MOST_TABLES = 1_000
MOST_ANSWER = 1_000
"""Characters that are kept of an answer."""
_SETTINGS = {
    "listen_addresses": "", "fsync": "off", "full_page_writes": "off", "autovacuum": "off", "max_wal_size": "4GB",
    "max_connections": "10", "lc_messages": "C", "logging_collector": "off", "jit": "off", "log_min_messages": "fatal",
}  # fmt: skip
"""A server that is thrown away need not survive a crash, and must not be reached by anybody else. Compiling queries
needs memory that is written and run, which the daemon's unit forbids."""
_TABLES = """
SELECT json_agg(format('%I.%I', n.nspname, c.relname) ORDER BY n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname NOT IN ('pg_catalog', 'information_schema')
"""
"""As JSON: a name may have a line break in it."""


class Server:
    """A PostgreSQL that SQL can be sent to, by its programs; ``environment`` says where and as whom (libpq)."""

    def __init__(self, environment: Mapping[str, str], **options: Any) -> None:
        self.environment = {**environment, "PGCONNECT_TIMEOUT": "20", "PGAPPNAME": "wcr-watchd restore test"}
        self.options = options

    def sql(self, text: str, database: str, seconds: float = 600.0) -> str:
        """The rows as text, columns parted by ``|``. Raises :class:`DamagedError` with the server's words."""
        environment = {"PGOPTIONS": f"-c statement_timeout={int(seconds * 1000)}"}
        ended = subprocess.run(
            (pg_program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", text),
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env={**os.environ, **self.environment, **environment},
            **self.options,
        )
        if ended.returncode:
            raise DamagedError(" ".join(ended.stderr.split())[:300])
        return str(ended.stdout).strip()

    def load(self, content: Content, database: str) -> list[str]:
        """Load a dump; the errors that say something of it."""
        kind = content.layers[-1] if content.layers else ""
        if kind in ("tar", "zip", "age"):
            raise CannotTellError(f"it holds a {kind} archive and no dump of PostgreSQL")
        words: tuple[str, ...] = (
            (pg_program("pg_restore"), "--no-owner", "--no-privileges", "-d", database)
            if kind == "pgdump"
            else (pg_program("psql"), "-X", "-q", "-o", "/dev/null", "-v", "VERBOSITY=terse", "-d", database)
        )
        with contextlib.closing(
            Filter(content.stream, words, environment=self.environment, blame="loading", **self.options)
        ) as loading:
            failed: DamagedError | None = None
            try:
                drain(loading)
            except DamagedError as error:
                failed = error
            found = _errors(loading.errors.decode(errors="replace"))
        if failed and not found:
            raise failed
        return [line for line in found if not _is_about_roles(line)]


def _errors(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if "error:" in line.lower() or "FATAL" in line]


def _is_about_roles(line: str) -> bool:
    """A throw-away server has none of the roles that things belong to."""
    return "role " in line and line.endswith("does not exist")


def restore(
    path: str, folder: str, user: str, server: Mapping[str, str], questions: Sequence[str], rate: float,
    seconds: float, keys: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """Restore the dump at ``path`` and put SQL ``questions``, in ``folder``, which is made and removed.

    ``server`` is libpq's environment for a throw-away server; empty: one is started, as ``user`` where this is root.
    """
    begun = time.monotonic()
    work = Path(folder)
    clear_left_over(work.parent)
    with (
        _own(work),
        contextlib.closing(Source(path, "", rate, begun + seconds)) as source,
        _server(work, user, server) as (running, database),
    ):
        _say(work, f"loading {path}")
        content = Content(io.BufferedReader(source, CHUNK))
        fault, errors = "", list[str]()
        try:
            with opened(content, path, Keys.of(keys)):
                errors = running.load(content, database)
        except Exception as error:
            if not is_broken(error):
                raise
            fault = fault_in_words(error)
        took = time.monotonic() - begun
        _say(work, "asking what was restored")
        answers = [] if fault else [_answer(running, one, database) for one in questions]
        rows = {} if fault else _rows(running, database)
    return {
        "fault": fault,
        "errors": len(errors),
        "first_errors": errors[:3],
        "read": source.amount,
        "seconds": took,
        "rows": rows,
        "answers": answers,
    }


def _answer(server: Server, question: str, database: str) -> dict[str, str]:
    try:
        return {"value": server.sql(question, database)[:MOST_ANSWER], "error": ""}
    except DamagedError as error:
        return {"value": "", "error": str(error)}


def _rows(server: Server, database: str) -> dict[str, int]:
    """How many rows every table has."""
    tables = json.loads(server.sql(_TABLES, database) or "[]")[:MOST_TABLES]
    counted = {}
    for start in range(0, len(tables), 50):
        some = tables[start : start + 50]
        question = " UNION ALL ".join(
            f"SELECT {index}, count(*) FROM {table}"  # noqa: S608 - quoted by the server
            for index, table in enumerate(some)
        )
        for line in server.sql(question, database).splitlines():
            index, count = line.split("|")
            counted[some[int(index)]] = int(count)
    return counted


def _say(work: Path, step: str) -> None:
    """Leave word of what is going on, for who has to stop it."""
    (work / "step").write_text(step)


# --- the server -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _server(work: Path, user: str, given: Mapping[str, str]) -> Iterator[tuple[Server, str]]:
    if not given:
        with _started(work, user) as running:
            running.sql("CREATE DATABASE restored TEMPLATE template0", "postgres")
            yield running, "restored"
        return
    running = Server(given)
    _drop_left_over(running, given["PGDATABASE"])
    database = f"{DATABASE_PREFIX}{int(time.time())}_{os.getpid()}"
    running.sql(f"CREATE DATABASE {database} TEMPLATE template0", given["PGDATABASE"])
    try:
        yield running, database
    finally:
        running.sql(f"DROP DATABASE {database} WITH (FORCE)", given["PGDATABASE"])


def _drop_left_over(server: Server, database: str) -> None:
    pattern = DATABASE_PREFIX.replace("_", r"\_") + "%"
    found = server.sql(f"SELECT datname FROM pg_database WHERE datname LIKE '{pattern}'", database)  # noqa: S608
    for name in found.splitlines():
        made = name.removeprefix(DATABASE_PREFIX).split("_")[0]
        if made.isdigit() and time.time() - int(made) > LEFT_OVER:
            server.sql(f"DROP DATABASE {name} WITH (FORCE)", database)


@contextlib.contextmanager
def _started(work: Path, user: str) -> Iterator[Server]:
    """A server of its own, that can be reached by a socket in its folder only."""
    options: dict[str, Any] = {"cwd": work}
    if os.geteuid() == 0:
        account = _account(user)
        os.chown(work, account.pw_uid, account.pw_gid)
        options |= {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}
    data, socket = str(work / "data"), str(work)
    _say(work, "making a throw-away PostgreSQL (initdb)")
    words = (pg_program("initdb"), "-D", data, "-U", "watchd", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    try:
        made = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    except OSError as error:
        raise CannotTellError(f"initdb cannot be run ({error.strerror}); install PostgreSQL's server") from error
    if made.returncode:
        raise CannotTellError(f"no throw-away PostgreSQL could be made: {' '.join(made.stderr.split())[-300:]}")
    settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
    with (work / "log").open("wb") as log:
        # Not by pg_ctl: it would get a session of its own, and outlive us when we are killed.
        child = subprocess.Popen(
            (pg_program("postgres"), "-D", data, "-k", socket, *settings), stdout=log, stderr=log, **options
        )
    try:
        server = Server({"PGHOST": socket, "PGUSER": "watchd", "PGPORT": "5432"}, **options)
        _say(work, "waiting for the throw-away PostgreSQL")
        _wait_for(child, server, work / "log")
        yield server
    finally:
        child.terminate()  # a "smart" shutdown, which is at once as nobody is connected any more
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(10)
        child.kill()
        child.wait()


def _account(user: str) -> pwd.struct_passwd:
    for name in (user,) if user else ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise CannotTellError(f"there is no user {user}; PostgreSQL does not run as root, so one is needed (user)")


def _wait_for(child: subprocess.Popen[bytes], server: Server, log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN
    while True:
        try:
            server.sql("SELECT 1", "postgres")
            return
        except DamagedError as error:
            if child.poll() is not None or time.monotonic() > deadline:
                said = " ".join(log.read_text(errors="replace").split())[-300:]
                raise CannotTellError(f"the throw-away PostgreSQL did not start: {said or error}") from error
            time.sleep(0.05)


# --- its folder -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _own(work: Path) -> Iterator[None]:
    # Locked before it has its name, so that nobody takes it for left over meanwhile.
    new = work.with_name("." + work.name)
    new.mkdir(mode=0o700)
    with (new / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        new.rename(work)
        try:
            yield
        finally:
            clear(str(work))


def clear_left_over(parent: Path) -> None:
    """Clear the folders of restores that were killed."""
    for work in parent.glob(PREFIX + "*"):
        try:
            with (work / "lock").open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                clear(str(work))
        except (BlockingIOError, PermissionError, FileNotFoundError, NotADirectoryError):
            continue  # at work, somebody else's, being made, or just gone


def clear(folder: str) -> None:
    """End every process that works in the folder, and remove it."""
    for _ in range(_MOST_ROUNDS):
        working = [process for process in psutil.process_iter() if _works_in(process, folder)]
        for process in working:
            with contextlib.suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(working, timeout=_DIE_WITHIN)
        shutil.rmtree(os.path.join(os.path.dirname(folder), "." + os.path.basename(folder)), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        # A server that is killed may have had a child on the way.
        if not working and not os.path.exists(folder):
            return


def _works_in(process: psutil.Process, folder: str) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return process.pid != os.getpid() and (process.cwd() + "/").startswith(folder + "/")
    return False


def step_of(folder: str) -> str:
    """What a restore is doing, or was when it was stopped; empty when it never began."""
    with contextlib.suppress(OSError):
        return (Path(folder) / "step").read_text()[:200]
    return ""
