"""The restore probe with real dumps by pg_dump, loaded into a real PostgreSQL that it starts itself or is given."""

from __future__ import annotations

import asyncio
import gzip
import os
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError

from tests.real.backup_files import DAY, HOUR, PASSPHRASE, encrypted, put, tar
from tests.real.running import Observe, carry_out, descriptors, measured, names, new_run, none_left_open, probe_of
from tests.real.servers.postgres import Postgres
from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.kit.backups import restores
from wcr_watchd.kit.backups.archives import CannotTellError, pg_program
from wcr_watchd.kit.shared import SharedHelpers

# A restore is polite (nice 19): where other tests take both processors, its servers come up after minutes.
pytestmark = pytest.mark.timeout(400)
NAME = "production_%Y%m%d_%H%M%S.sql.gz"
SHOP = """
CREATE ROLE shop;
CREATE TABLE users (id serial PRIMARY KEY, name text);
ALTER TABLE users OWNER TO shop;
INSERT INTO users (name) SELECT 'user ' || n FROM generate_series(1, 200) n;
CREATE TABLE audit_log (at timestamptz DEFAULT now());
INSERT INTO audit_log DEFAULT VALUES;
"""
Repeat = Callable[..., Awaitable[Observation]]


def dump(server: Postgres, *options: str) -> bytes:
    """What pg_dump makes of the database of a server."""
    words = (pg_program("pg_dump"), "-h", str(server.folder), "-p", str(server.port), "-U", "postgres", *options, "app")
    return subprocess.run(words, capture_output=True, check=True).stdout


@pytest.fixture
def shop(postgres: Postgres) -> Postgres:
    """A server with something to lose."""
    postgres.sql(SHOP)
    return postgres


@pytest.fixture
def room() -> Iterator[Path]:
    """A folder for servers, with a path short enough for a socket, that PostgreSQL's user may enter."""
    with tempfile.TemporaryDirectory(prefix="watchd-room-") as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def repeat(shared: SharedHelpers, tmp_path: Path, room: Path) -> Repeat:
    """``await repeat(later=…)`` runs a check on the folder; a second call remembers what the first one left."""
    kept: dict[str, Any] = {}

    async def once(later: float = 0.0, timeout: float = 300.0, **options: Any) -> Observation:
        run = new_run(shared, timeout, time.time() + later)
        run.memory = kept
        standard = {"path": f"{tmp_path}/{NAME}", "timezone": "UTC", "folder": str(room)}
        return await carry_out(probe_of("restore", {**standard, **options}), run)

    return once


def beside(server: Postgres) -> str:
    """The DSN by which a server takes a restore beside its own database, which is quicker than making one for it."""
    return server.dsn_of("postgres", "right", "postgres")


def left(room: Path) -> list[str]:
    """What is left of restores: folders, and processes that work there."""
    working = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(str(room)) and process.status() != psutil.STATUS_ZOMBIE:
                working.append(f"{process.pid} {process.name()}")
        except psutil.Error:
            continue
    return working + os.listdir(room)


ASSERTIONS = [
    {"sql": "SELECT count(*) FROM users", "at_least": 199, "at_most": 201},
    {"sql": "SELECT name FROM users WHERE id = 7", "equals": "user 7"},
    {"sql": "SELECT max(at) FROM audit_log", "within": "1h", "name": "newest audit row"},
    {"sql": "SELECT extract(epoch FROM max(at)) FROM audit_log", "within": "1h"},
]


async def test_an_encrypted_dump_is_restored(shop: Postgres, tmp_path: Path, repeat: Repeat, room: Path) -> None:
    put(tmp_path, encrypted(gzip.compress(dump(shop))), 600)
    seen = await repeat(decrypt={"passphrase": PASSPHRASE}, tables=["public.users"], assertions=ASSERTIONS)
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), (seen.summary, seen.evidence)
    assert measured(seen, "tables") == 2
    assert measured(seen, "rows") == 201
    assert measured(seen, "failed_assertions") == 0
    assert measured(seen, "last_test_age") == 0
    assert measured(seen, "restored_age") == pytest.approx(600, abs=5)
    assert 0 < measured(seen, "restore_time") < 300
    assert measured(seen, "objective_used") == pytest.approx(measured(seen, "restore_time") / 14_400)
    assert "at random with seed" in seen.evidence["picked"]
    assert "was restored now in" in seen.summary
    assert left(room) == []


async def test_a_custom_dump_and_no_second_test_before_it_is_time(
    shop: Postgres, tmp_path: Path, repeat: Repeat, room: Path
) -> None:
    made = put(tmp_path, dump(shop, "-Fc"), 600)
    first = await repeat()
    assert measured(first, "rows") == 201, first.summary
    made.unlink()
    rested = await repeat(later=3 * DAY)
    assert rested.outcome is Outcome.UP
    assert measured(rested, "last_test_age") == pytest.approx(3 * DAY, abs=60)
    assert measured(rested, "rows") == 201
    assert "restored 3 d ago" in rested.summary
    again = await repeat(later=6.6 * DAY)
    assert (again.outcome, again.reason) == (Outcome.DOWN, "missing"), "now it looked for one"


async def test_what_is_wrong_with_what_was_restored(shop: Postgres, tmp_path: Path, repeat: Repeat) -> None:
    put(tmp_path, gzip.compress(dump(shop)), 26 * HOUR)
    wrong = [
        {"sql": "SELECT count(*) FROM users", "at_least": 201},
        {"sql": "SELECT 1", "equals": "2", "name": "one is two"},
        {"sql": "SELECT * FROM nothing", "equals": "2"},
        {"sql": "SELECT now() - interval '3 days'", "within": "1h"},
        {"sql": "SELECT 'x'", "within": "1h"},
        {"sql": "SELECT count(*) FROM users", "at_most": 3},
    ]
    seen = await repeat(server=beside(shop), tables=["public.payments"], assertions=wrong)
    assert (seen.outcome, seen.reason) == (Outcome.DOWN, "content")
    assert "table public.payments is missing (and 6 more)" in seen.summary
    assert measured(seen, "failed_assertions") == 6
    assert "last_test_age" not in names(seen), "none ever went well"
    told = seen.evidence["faults"]
    assert "expected at least 201, got '200'" in told
    assert "one is two: expected '2', got '1'" in told
    assert 'relation "nothing" does not exist' in told
    assert "older than the backup" in told


async def test_tables_of_every_name_are_counted(shop: Postgres, tmp_path: Path, repeat: Repeat) -> None:
    """One with a line break in its name made the test end without a verdict."""
    for name in ("a b", 'quo"te', "it's", "two\nlines", "UPPER", "тест|x"):
        quoted = name.replace('"', '""')
        shop.sql(f'CREATE TABLE "{quoted}" AS SELECT 1 AS one')
    put(tmp_path, gzip.compress(dump(shop)), DAY)
    seen = await repeat(server=beside(shop))
    assert seen.outcome is Outcome.UP, (seen.summary, seen.evidence)
    assert (measured(seen, "tables"), measured(seen, "rows")) == (8, 207)


async def test_fewer_rows_than_before(shop: Postgres, tmp_path: Path, repeat: Repeat) -> None:
    put(tmp_path, gzip.compress(dump(shop)), 26 * HOUR)
    assert (await repeat(server=beside(shop), pick="newest")).outcome is Outcome.UP
    shop.sql("DELETE FROM users WHERE id > 190")
    newer = put(tmp_path, gzip.compress(dump(shop)), HOUR)
    later = await repeat(server=beside(shop), pick="newest", later=7 * DAY)
    assert later.outcome is Outcome.DOWN
    assert "table public.users has 190 rows, an older backup had 200" in later.summary
    accepted = await repeat(server=beside(shop), pick="newest", later=7 * DAY + 2 * HOUR, rows_kept="90%")
    assert accepted.outcome is Outcome.UP, "what failed is tried again, whatever the time"
    assert newer.name in accepted.summary


async def test_one_that_failed_is_picked_until_it_is_whole(shop: Postgres, tmp_path: Path, repeat: Repeat) -> None:
    good = gzip.compress(dump(shop))
    bad = put(tmp_path, good[:-500], 50 * HOUR)
    failed = await repeat(server=beside(shop))
    assert (failed.outcome, failed.reason) == (Outcome.DOWN, "content")
    assert "cut short" in failed.summary
    for hours in range(1, 20):
        put(tmp_path, good, hours * HOUR)
    told = await repeat(server=beside(shop), timeout=5)
    assert (told.outcome, bad.name in told.summary) == (Outcome.DOWN, True), "confirming it costs no second restore"
    assert bad.name in (await repeat(server=beside(shop), later=2 * HOUR)).summary, "one in twenty by chance"
    bad.write_bytes(good)
    os.utime(bad, (time.time() - HOUR,) * 2)
    assert bad.name in (mended := await repeat(server=beside(shop), later=4 * HOUR)).summary
    assert mended.outcome is Outcome.UP


async def test_a_dump_with_errors(shop: Postgres, tmp_path: Path, repeat: Repeat) -> None:
    """A role that a throw-away server does not have is no error; everything else is."""
    script = dump(shop)
    assert b"OWNER TO shop" in script
    put(tmp_path, gzip.compress(script + b"SELECT lost();\n"), HOUR)
    seen = await repeat()
    assert seen.outcome is Outcome.DOWN
    assert "1 errors while loading" in seen.summary
    assert "function lost() does not exist" in seen.summary


async def test_what_is_no_dump_and_no_backup_at_all(tmp_path: Path, repeat: Repeat, observe: Observe) -> None:
    assert (await repeat()).reason == "missing"
    put(tmp_path, tar({"a": b"b"}), HOUR)
    seen = await repeat()
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "no dump of PostgreSQL" in seen.summary
    missing = await observe("restore", path=f"{tmp_path}/no/{NAME}")
    assert (missing.outcome, missing.reason) == (Outcome.UNKNOWN, "missing")


async def test_a_server_that_is_given(
    shop: Postgres, start_postgres: Callable[..., Postgres], tmp_path: Path, repeat: Repeat
) -> None:
    other = start_postgres()
    old = f"watchd_restore_{int(time.time() - 5 * DAY)}_7"
    busy = f"watchd_restore_{int(time.time())}_7"
    for database in (old, busy):
        other.sql(f"CREATE DATABASE {database}")
    put(tmp_path, gzip.compress(dump(shop)), HOUR)
    seen = await repeat(server=other.dsn_of("postgres", "right", "postgres"), assertions=ASSERTIONS)
    assert seen.outcome is Outcome.UP, (seen.summary, seen.evidence)
    assert measured(seen, "rows") == 201
    there = other.sql("SELECT string_agg(datname, ' ') FROM pg_database")
    assert old not in there
    assert busy in there, "another check may be at work"
    assert there.count("watchd_restore_") == 1, "its own is dropped"
    refused = await repeat(server=other.dsn_of("postgres", "wrong"), later=8 * DAY)
    assert refused.outcome is Outcome.UNKNOWN
    assert "password authentication failed" in refused.summary


async def test_cut_off_in_the_middle(shop: Postgres, tmp_path: Path, repeat: Repeat, room: Path) -> None:
    put(tmp_path, gzip.compress(dump(shop) + b"SELECT pg_sleep(600);\n"), HOUR)
    seen = await repeat(timeout=15)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    assert any(step in seen.summary for step in ("initdb", "waiting for", "loading")), "it says how far it came"
    assert left(room) == []


async def test_cancelled_in_the_middle(
    shop: Postgres, tmp_path: Path, room: Path, shared: SharedHelpers, repeat: Repeat
) -> None:
    put(tmp_path, gzip.compress(dump(shop) + b"SELECT pg_sleep(600);\n"), HOUR)
    before = descriptors()
    running = asyncio.create_task(repeat())
    await loading(room)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert left(room) == []
    await none_left_open(before)


async def loading(room: Path) -> Path:
    """Wait until a restore loads its dump."""
    async with asyncio.timeout(250):
        while True:
            for step in room.glob("watchd-restore-*/step"):
                if "loading" in step.read_text():
                    return step.parent
            await asyncio.sleep(0.05)


async def test_what_a_killed_one_left_is_cleared_by_the_next(
    shop: Postgres, tmp_path: Path, room: Path, repeat: Repeat
) -> None:
    put(tmp_path, gzip.compress(dump(shop) + b"SELECT pg_sleep(600);\n"), HOUR)
    job = (
        "import asyncio, sys, time\n"
        "from tests.real.running import carry_out, new_run, probe_of\n"
        "from wcr_watchd.kit.shared import SharedHelpers\n"
        "probe = probe_of('restore', {'path': sys.argv[1], 'folder': sys.argv[2]})\n"
        "asyncio.run(carry_out(probe, new_run(SharedHelpers(), 600)))\n"
    )
    daemon = await asyncio.create_subprocess_exec(
        "python3", "-c", job, f"{tmp_path}/*.gz", str(room), env=environment()
    )
    folder = await loading(room)
    killed = psutil.Process(daemon.pid)
    family = [killed, *killed.children(recursive=True)]
    for process in family:
        if "postgres" not in process.name():
            process.kill()
    await daemon.wait()
    assert left(room), "the server and its folder were left behind"
    for path in tmp_path.iterdir():
        path.unlink()
    put(tmp_path, gzip.compress(dump(shop)), HOUR)
    seen = await repeat()
    assert seen.outcome is Outcome.UP, seen.summary
    assert not folder.exists()
    assert left(room) == []


def environment() -> dict[str, str]:
    """For a process that finds this checkout and its libraries."""
    import sys

    root = str(Path(__file__).parents[2])
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": root}


async def test_no_such_user(tmp_path: Path, repeat: Repeat) -> None:
    with pytest.raises(CannotTellError, match="there is no user nobody-like-this; PostgreSQL does not run as root"):
        restores._account("nobody-like-this")
    if os.geteuid() != 0:  # then it runs the server as itself, whoever is named
        return
    put(tmp_path, b"SELECT 1;", HOUR)
    seen = await repeat(user="nobody-like-this")
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "there is no user nobody-like-this" in seen.summary


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"assertions": [{"sql": "SELECT 1"}]}, "say what the answer must be"),
        ({"server": "mysql://a"}, "not a DSN"),
        ({"pick": "any"}, "random"),
    ],
)
def test_wrong_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        probe_of("restore", {"path": "/a", **options})
