"""Records in trouble: the daemon goes on watching and telling, says what is wrong, and recovers when it is mended."""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import subprocess
from abc import abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.daemon.harness import RunningDaemon, eventually
from tests.real.servers.providers import WEBHOOK_SECRET
from tests.soak.sickness import Sickness
from tests.soak.world import MoodyReceiver, Sites, running

Daemons = Callable[..., RunningDaemon]


class Trouble:
    """Something wrong with the records; what the daemon says of it contains ``says``."""

    says = ""
    mends_itself = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records = folder / "records"
        self.records.mkdir()
        self.path = self.records / "watchd.db"
        self.environment: dict[str, str] = {}

    @abstractmethod
    def begin(self) -> None:
        """Bring it about."""

    def end(self) -> None:
        """Whatever has to be done about it."""

    def clean_up(self) -> None:
        """Leave nothing behind."""


class FullDisk(Trouble):
    """A file system without room (needs root, as all of the suite that mounts something)."""

    says = "the disk is full"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", self.records], check=True)

    def begin(self) -> None:
        subprocess.run(["dd", "if=/dev/zero", f"of={self.records}/filler", "bs=4096"], check=False, capture_output=True)

    def end(self) -> None:
        (self.records / "filler").unlink()

    def clean_up(self) -> None:
        subprocess.run(["umount", "--lazy", self.records], check=True)


class SickDisk(Trouble):
    """Every write and sync of the records fails."""

    says = "disk I/O error"
    number = errno.EIO

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.sickness = Sickness(folder)
        self.environment = self.sickness.environment

    def begin(self) -> None:
        self.sickness.suffer(error=self.number)

    def end(self) -> None:
        self.sickness.heal()


class ReadOnlyDisk(SickDisk):
    """The file system went read-only, as ext4 does after an error."""

    number = errno.EROFS


class LockedDatabase(Trouble):
    """A foreign program holds the database."""

    says = "locked"

    def begin(self) -> None:
        self.foreign = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        self.foreign.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        self.foreign.execute("ROLLBACK")
        self.foreign.close()


class CorruptDatabase(Trouble):
    """Everything but the first page is garbage."""

    says = "damaged"
    mends_itself = True

    def begin(self) -> None:
        with sqlite3.connect(self.path) as foreign:
            foreign.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            with self.path.open("r+b") as file:
                file.seek(4096)
                file.write(os.urandom(self.path.stat().st_size - 4096))
            foreign.execute("PRAGMA user_version = 7")  # whoever has pages in memory must read them anew
        foreign.close()


class RemovedDatabase(Trouble):
    """Somebody tidied up."""

    says = "removed"
    mends_itself = True

    def begin(self) -> None:
        for file in self.records.glob("watchd.db*"):
            file.unlink()


TROUBLES = (FullDisk, SickDisk, ReadOnlyDisk, LockedDatabase, CorruptDatabase, RemovedDatabase)


@dataclass
class Case:
    """A daemon that watches two sites, who is told, and the trouble that comes over its records."""

    trouble: Trouble
    daemon: RunningDaemon
    sites: Sites
    receiver: MoodyReceiver

    def told(self) -> list[tuple[str, int]]:
        return [(one.event, one.incident) for one in self.receiver.taken]

    def health(self) -> str:
        status, text = self.daemon.get("/healthz")
        store = json.loads(text)["parts"]["store"]
        assert (status == 200) == store["ok"], text
        return str(store["detail"])

    def go_through(self) -> None:
        """One site fails before and one during the trouble; both are told of once, then and at their end."""
        first, second = self.sites.sites.values()
        eventually(lambda: self.daemon.get("/readyz")[0] == 200, "all is up")
        first.mood = "down"
        eventually(lambda: self.told() == [("opened", 1)], f"told of the first: {self.told()}")
        eventually(lambda: self._stored("SELECT count(*) FROM outbox WHERE state = 'delivered'") == 1, "it is noted")
        self.trouble.begin()
        second.mood = "down"
        eventually(lambda: ("opened", 2) in self.told(), f"told of the second in spite of all: {self.told()}")
        eventually(lambda: self.trouble.says in self.health(), f"health says so: {self.health()}")
        assert self.trouble.says in self.daemon.get("/")[1]
        first.mood = "up"
        eventually(lambda: ("resolved", 1) in self.told(), f"told of the end of the first: {self.told()}")
        self.trouble.end()
        eventually(lambda: self.health().startswith("works"), f"it recovers by itself: {self.health()}")
        second.mood = "up"
        eventually(lambda: len(self.told()) == 4, f"told of the end of the second: {self.told()}")
        eventually(lambda: self._stored("SELECT count(*) FROM outbox WHERE state = 'pending'") == 0, "it is noted")
        self._a_restart_knows_it_all()

    def _a_restart_knows_it_all(self) -> None:
        assert self.daemon.stop() == 0
        with sqlite3.connect(self.daemon.database) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()
        self.daemon.start()
        eventually(lambda: self.daemon.get("/readyz")[0] == 200, "all is up")
        assert sorted(self.told()) == [("opened", 1), ("opened", 2), ("resolved", 1), ("resolved", 2)]
        assert {(one["id"], one["state"]) for one in self.daemon.incidents()} >= {(2, "resolved")}
        log = self.daemon.log()
        assert "Traceback" not in log
        assert self.trouble.says in log
        assert "takes writes again" in log

    def _stored(self, question: str) -> int:
        with sqlite3.connect(f"file:{self.daemon.database}?mode=ro", uri=True) as database:
            [found] = database.execute(question).fetchone()
        database.close()
        return int(found)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[type[Trouble], Future[None]]]:
    """All troubles at the same time, each with a daemon of its own: they mostly wait."""
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(len(TROUBLES)))

        def one(kind: type[Trouble]) -> None:
            folder = tmp_path_factory.mktemp(kind.__name__)
            trouble = kind(folder)
            sites, receiver = Sites(["first", "second"]), MoodyReceiver()
            try:
                with running(sites, receiver):
                    daemon = RunningDaemon(folder, config(sites, receiver), trouble.environment, trouble.path)
                    try:
                        daemon.start()
                        Case(trouble, daemon, sites, receiver).go_through()
                    finally:
                        if daemon.process is not None:
                            daemon.kill()
            finally:
                trouble.clean_up()

        yield {kind: pool.submit(one, kind) for kind in TROUBLES}


def config(sites: Sites, receiver: MoodyReceiver) -> str:
    checks = "".join(
        f'[check.{name}]\ntype = "http"\nurl = "{sites.url(name)}"\nevery = "1s"\ntimeout = "900ms"\nwarning = []\n'
        for name in sites.sites
    )
    return (
        '[defaults]\nretry = { times = 1, every = "100ms" }\n'
        f'[channel.hook]\ntype = "webhook"\nurl = "{receiver.url}"\nsecret = "{WEBHOOK_SECRET}"\n'
        '[policy.default.critical]\ntell = ["hook"]\n' + checks
    )


@pytest.mark.parametrize("kind", TROUBLES, ids=lambda kind: kind.__name__)
def test_it_goes_on_says_so_and_recovers(kind: type[Trouble], outcomes: dict[type[Trouble], Future[None]]) -> None:
    outcomes[kind].result()


def damage(path: Path) -> None:
    """Overwrite the middle, as a dying disk does."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 4 // 4096 * 4096)
        file.write(os.urandom(size // 2))


def zero(path: Path) -> None:
    """Empty the file of content but not of length, as a power failure can."""
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("break_it", [damage, zero])
def test_records_damaged_at_start_are_set_aside_loudly_and_it_watches(
    break_it: Callable[[Path], None], make_daemon: Daemons
) -> None:
    daemon = make_daemon('[check.dead]\ntype = "tcp"\naddress = "127.0.0.1:1"\nevery = "1s"\ntimeout = "900ms"\n')
    eventually(lambda: daemon.incidents(open_only=True), "there is an incident")
    daemon.stop()
    break_it(daemon.database)
    daemon.start()
    [aside] = [file for file in daemon.folder.glob("watchd.db.damaged-*") if file.name.endswith("Z")]
    assert str(aside) in daemon.log()
    assert str(aside) in daemon.get("/healthz")[1]
    assert str(aside) in daemon.get("/")[1]
    eventually(lambda: daemon.incidents(open_only=True), "it watches")
    assert daemon.stop() == 0
    daemon.start()
    assert len(list(daemon.folder.glob("watchd.db.damaged-*Z"))) == 1
    assert "damaged" not in daemon.get("/healthz")[1]


def test_a_file_that_was_never_ours_is_left_alone(make_daemon: Daemons) -> None:
    daemon = make_daemon("", start=False)
    daemon.database.write_bytes(b"somebody's diary, " * 1000)
    for _ in range(2):  # nor is it ours because we tried before
        refused = daemon.command("run", "-c", str(daemon.config), "--socket", str(daemon.socket))
        assert refused.returncode == 2
        assert "give [store] url a file of its own" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert daemon.database.read_bytes().startswith(b"somebody's diary")


def test_a_locked_database_holds_up_a_page_for_moments_only(make_daemon: Daemons) -> None:
    """Told within a few seconds although the store answers only after ten."""
    sites, receiver = Sites(["first"]), MoodyReceiver()
    with running(sites, receiver):
        daemon = make_daemon(config(sites, receiver))
        eventually(lambda: daemon.get("/readyz")[0] == 200, "all is up")
        foreign = sqlite3.connect(daemon.database, isolation_level=None)
        foreign.execute("BEGIN IMMEDIATE")
        sites.sites["first"].mood = "down"
        eventually(lambda: receiver.told("opened"), "told")
        assert not foreign.execute("SELECT count(*) FROM outbox").fetchone()[0], "told before it is stored"
        foreign.execute("ROLLBACK")
        foreign.close()
        daemon.stop()
