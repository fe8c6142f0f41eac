"""What stands in the store's way: full disks, damaged files, foreign files, other versions, a disk that hangs."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import aiosqlite
import pytest

from tests.store.samples import NOW, a_notification, a_store, an_incident, an_observation
from wcr_watchd.core.errors import StoreError
from wcr_watchd.core.protocols import Batch
from wcr_watchd.core.state import CheckState
from wcr_watchd.store import migrate
from wcr_watchd.store.open import file_of, from_url
from wcr_watchd.store.sqlite import SqliteStore


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB (needs root, as all of the suite that mounts something)."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Leave no room."""
    filler = folder / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=4096"], check=False, capture_output=True)
    assert os.statvfs(folder).f_bavail == 0
    return filler


async def test_a_full_disk_is_an_error_that_says_so_and_writing_goes_on_when_there_is_room(small_disk: Path) -> None:
    async with a_store(small_disk) as store:
        before = Batch(incidents=(an_incident(1),), notifications=(a_notification(1, "before"),))
        during = Batch(
            observations=tuple(an_observation(at=NOW + n, summary=f"run {n} " + "x" * 900) for n in range(200)),
            incidents=(an_incident(2),),
            notifications=(a_notification(2, "during"),),
        )
        await store.commit(before)
        filler = fill(small_disk)
        with pytest.raises(StoreError, match=r"watchd\.db: .*the disk is full: make room"):
            await store.commit(during)
        assert [incident.id for incident in await store.incidents()] == [1]
        filler.unlink()
        await store.commit(during)
        assert [incident.id for incident in await store.incidents()] == [2, 1]
        assert len(await store.observations("api", since=NOW)) == 200


async def test_a_daemon_starts_on_a_disk_that_is_full(small_disk: Path) -> None:
    async with a_store(small_disk) as store:
        await store.commit(Batch(observations=(an_observation(),), incidents=(an_incident(1),)))
    filler = fill(small_disk)
    # Room for SQLite's side files, but not for filing what was observed.
    with filler.open("r+b") as file:
        file.truncate(filler.stat().st_size - 40 * 1024)
    async with a_store(small_disk) as store:
        assert (await store.restore()).next_incident == 2


async def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "watchd.db"
    path.write_bytes(b"this is no database, " * 1000)
    with pytest.raises(StoreError, match=r"watchd\.db.*not a database.*move this one away"):
        await SqliteStore(path).open()


async def test_damage_inside_is_named_too(tmp_path: Path) -> None:
    path = tmp_path / "watchd.db"
    async with a_store(tmp_path) as store:
        await store.commit(Batch(states=tuple(CheckState(f"check-{number}") for number in range(500))))
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))

    async def use() -> None:
        async with a_store(tmp_path) as store:
            await store.restore()

    with pytest.raises(StoreError, match=r"watchd\.db.*damaged"):
        await use()


async def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as theirs:
        theirs.execute("CREATE TABLE recipes (name TEXT)")
    theirs.close()
    with pytest.raises(StoreError, match="database of another program"):
        await SqliteStore(path).open()


async def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "watchd.db"
    async with a_store(tmp_path) as store:
        pass
    known = len(migrate.read_migrations())
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO schema_version (version, name, checksum) VALUES (?, 'later', 'x')", (known + 1,))
    database.close()
    with pytest.raises(StoreError, match=f"newer wcr-watchd .*version {known + 1}, this program knows {known}"):
        await store.open()


async def test_a_database_with_a_changed_step_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "watchd.db"
    async with a_store(tmp_path) as store:
        pass
    with sqlite3.connect(path) as database:
        database.execute("UPDATE schema_version SET checksum = 'x' WHERE version = 1")
    database.close()
    with pytest.raises(StoreError, match="different build"):
        await store.open()


async def test_a_failed_open_gives_the_lock_back(tmp_path: Path) -> None:
    path = tmp_path / "watchd.db"
    path.write_bytes(b"no database " * 1000)
    store = SqliteStore(path)
    with pytest.raises(StoreError):
        await store.open()
    path.unlink()
    await store.open()
    await store.close()


async def test_the_files_are_for_the_daemon_only(tmp_path: Path) -> None:
    async with a_store(tmp_path / "state") as store:
        await store.commit(Batch(states=(CheckState("api"),)))
        modes = {file.name: file.stat().st_mode & 0o077 for file in (tmp_path / "state").iterdir()}
    assert modes == {"watchd.db": 0, "watchd.db-wal": 0, "watchd.db-shm": 0, "watchd.db.lock": 0}


async def test_a_foreign_lock_ends_in_an_error_and_not_in_waiting(tmp_path: Path) -> None:
    async with a_store(tmp_path, timeout=0.3) as store:
        foreign = sqlite3.connect(tmp_path / "watchd.db", isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"no answer within 0\.3 s"):
            await store.commit(Batch(incidents=(an_incident(),)))
        assert await store.incidents() == ()
        foreign.execute("ROLLBACK")
        foreign.close()
        await commit_within(store, Batch(incidents=(an_incident(),)), seconds=30)
        assert await store.incidents() == (an_incident(),)


async def commit_within(store: SqliteStore, batch: Batch, seconds: float) -> None:
    """Try until the store takes it, as the monitor does."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                return await store.commit(batch)
            except StoreError:
                await asyncio.sleep(0.05)


async def test_a_cancelled_commit_leaves_nothing_half_and_nothing_stuck(tmp_path: Path) -> None:
    async with a_store(tmp_path) as store:
        whole = Batch(
            observations=tuple(an_observation(f"check-{n}", at=NOW + n) for n in range(2000)),
            incidents=(an_incident(),),
        )
        for turns in (1, 2, 3, 5, 8, 13, 21):
            task = asyncio.create_task(store.commit(whole))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            stored = len(await store.observations("check-0", since=0))
            assert len(await store.incidents()) == stored
        await store.commit(whole)
        assert len(await store.observations("check-1999", since=0)) == 1


async def test_a_commit_that_came_through_although_it_was_given_up_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk answers too late: the daemon takes the batch for refused, and it is there all the same."""
    async with a_store(tmp_path) as store:
        batch = Batch(observations=(an_observation("new check"),), incidents=(an_incident(),))
        execute = aiosqlite.Connection.execute

        async def lose_the_answer(connection: aiosqlite.Connection, sql: str, *values: object) -> object:
            answer = await execute(connection, sql, *values)  # type: ignore[arg-type]
            if sql == "COMMIT":
                raise TimeoutError
            return answer

        with monkeypatch.context() as patched:
            patched.setattr(aiosqlite.Connection, "execute", lose_the_answer)
            with pytest.raises(StoreError, match="no answer"):
                await store.commit(batch)
        assert await store.incidents() == (an_incident(),)
        later = an_observation("new check", at=NOW + 1)
        await store.commit(Batch(observations=(*batch.observations, later), incidents=batch.incidents))
        assert await store.observations("new check", since=0) == [*batch.observations, later]


async def test_closing_leaves_no_thread_behind(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "watchd.db")
    before = set(threading.enumerate())
    await store.open()
    await store.commit(Batch(observations=(an_observation(),)))
    started = [one for one in set(threading.enumerate()) - before if not one.name.startswith("asyncio_")]
    assert len(started) >= 3, "one that writes, one that reads, one that packs"
    await store.close()
    async with asyncio.timeout(10):
        while any(thread.is_alive() for thread in started):
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://user@host/db", "later version"),
        ("mysql://host/db", "no store 'mysql'"),
        ("sqlite://relative.db", "three slashes"),
        ("sqlite:///", "three slashes"),
        ("sqlite:////", "three slashes"),
        ("sqlite:relative.db", "three slashes"),
        ("watchd.db", "no store ''"),
        ("sqlite://[broken", "not a URL"),
    ],
)
def test_a_url_that_names_no_store_is_explained(url: str, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        from_url(url)


def test_four_slashes_name_the_same_file_as_three() -> None:
    assert file_of("sqlite:////srv/watchd.db") == file_of("sqlite:///srv/watchd.db") == Path("/srv/watchd.db")
