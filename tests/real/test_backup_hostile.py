"""The backup scripts of etc/backup where things go wrong: disks, clocks, names, rights, rot, what was there before."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.real.running import Observe, measured
from tests.real.servers.backup_machine import PASSPHRASE, SCRIPTS, ZONE, Machine, content, day_file, keys
from tests.real.servers.postgres import Postgres
from tests.real.servers.storage import Bucket
from wcr_watchd.core.model import Outcome

NOW = datetime.now(UTC).replace(hour=7, minute=0, second=0)
AWKWARD = (
    "a b.jpg",
    "-rf",
    "--delete",
    "new\nline.jpg",
    "quote'\"$(id).jpg",
    "*",
    "ünïcode",
    "\\back",
    b"\xff\xfe.bin",
)


# --- the disk ---


@pytest.fixture
def small_disk(machine: Machine) -> Iterator[Path]:
    """The backups' folder as a disk of its own, of 2 MiB."""
    machine.root.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(machine.root)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert mounted.returncode == 0, f"only root mounts a small disk, run the tests of backups as root: {mounted.stderr}"
    yield machine.root
    subprocess.run(["umount", "-l", str(machine.root)], check=True)


def test_a_disk_that_fills_up_leaves_the_backup_before(machine: Machine, shop: Postgres, small_disk: Path) -> None:
    machine.well("backup-database", "production")
    for file in (machine.root / "database").iterdir():  # of an earlier day: two of one second have one name
        file.rename(file.with_name(f"production_20260101_020000.{file.name.split('.', 1)[1]}"))
    before = machine.files("database")
    assert before
    shop.sql("CREATE TABLE big AS SELECT md5(n::text) AS v FROM generate_series(1, 200000) n")
    assert "nothing is kept of it" in machine.refused("backup-database", "production")
    assert machine.files("database") == before
    (machine.uploads / "film.mp4").write_bytes(os.urandom(4_000_000))
    assert "copying" in machine.refused("backup-uploads")
    assert machine.files("uploads") == []


# --- the database ---


def test_an_empty_database_is_a_backup_and_comes_back(machine: Machine, shop: Postgres) -> None:
    machine.well("backup-database", "again")
    file = machine.root / "database" / machine.files("database")[0]
    machine.well("restore-database", str(file), "again")


@pytest.mark.parametrize("name", ["", "../production", "-x", "production host=elsewhere", "a b", "a\nb"])
def test_only_the_name_of_a_service_is_one(machine: Machine, shop: Postgres, name: str) -> None:
    assert "say which database" in machine.run("backup-database", name).stderr
    assert not list(machine.root.rglob("*.enc"))


def test_a_backup_is_restored_whatever_its_file_is_called(machine: Machine, shop: Postgres) -> None:
    machine.well("backup-database", "production")
    made = machine.root / "database" / machine.files("database")[0]
    folder = machine.folder / "-a b"
    folder.mkdir()
    odd = folder / "-o 'x'.sql.gz.enc"
    shutil.copy(made, odd)
    checksum = made.with_name(f"{made.name}.sha256").read_text().split()[0]
    odd.with_name(f"{odd.name}.sha256").write_text(f"{checksum}  {odd.name}\n")
    command = [str(SCRIPTS / "restore-database"), odd.name, "again"]
    done = subprocess.run(command, env=machine.environment(), cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert content(machine, "again") == content(machine, "production")


def test_two_databases_at_once_and_one_only_once(machine: Machine, shop: Postgres) -> None:
    words = [[str(SCRIPTS / "backup-database"), name] for name in ("production", "again", "production")]
    begun = [subprocess.Popen(one, env=machine.environment(), stderr=subprocess.PIPE, text=True) for one in words]
    said = [process.communicate(timeout=120)[1] for process in begun]
    statuses = [process.returncode for process in begun]
    assert statuses[1] == 0
    assert sorted((statuses[0], statuses[2])) == [0, 1]
    assert "another run of database-production is going on" in said[0] + said[2]
    made = [name for name in machine.files("database") if name.endswith(".enc")]
    assert [name.split("_")[0] for name in made] == ["again", "production"]


def test_a_run_that_was_killed_hard_is_cleared_away(machine: Machine, shop: Postgres) -> None:
    """SIGKILL between the two renames leaves a checksum of nothing; before them, a part."""
    folder = machine.root / "database"
    folder.mkdir(parents=True)
    for name in ("production_20260101_020000.sql.gz.enc.sha256", ".production_20260101_020000.sql.gz.enc.part"):
        (folder / name).write_text("left")
    (folder / "again_20260101_020000.sql.gz.enc.sha256").write_text("of another set, written just now")
    machine.well("backup-database", "production")
    assert len(machine.files("database")) == 3
    assert machine.files("database")[0].startswith("again_")


# --- rights ---


def test_a_passphrase_that_is_none_makes_no_backup(machine: Machine, shop: Postgres) -> None:
    passphrase = machine.folder / "passphrase"
    passphrase.chmod(0o644)
    assert "everybody may read" in machine.refused("backup-database", "production")
    passphrase.chmod(0o640)
    for nothing in ("", "\n", "\nsecond line"):  # openssl takes the first line, an empty one as well
        passphrase.write_text(nothing)
        assert "is empty" in machine.refused("backup-database", "production")
    assert not list(machine.root.rglob("*.enc"))


def test_a_folder_that_may_not_be_written_says_so(machine: Machine, shop: Postgres) -> None:
    machine.set(ROOT="/proc/backups")
    assert "/proc/backups" in machine.refused("backup-database", "production")


def test_what_may_not_be_read_is_a_failure_and_no_smaller_backup(machine: Machine, tmp_path: Path) -> None:
    assert os.geteuid() == 0, "only root can be somebody else: run the tests of backups as root"
    for path in (*tmp_path.parents, tmp_path):
        if path.stat().st_uid == 0 and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o711)
    tmp_path.chmod(0o777)
    machine.uploads.chmod(0o755)
    (machine.folder / "passphrase").chmod(0o640)
    os.chown(machine.folder / "passphrase", 65534, 65534)
    (machine.uploads / "mine.jpg").write_bytes(b"mine")
    (machine.uploads / "mine.jpg").chmod(0o600)
    machine.set(APP_PATHS=str(machine.uploads))
    for words, why in ((("backup-uploads",), "copying"), (("backup-configuration", "app"), "could not be read")):
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(SCRIPTS / words[0]), *words[1:]]
        done = subprocess.run(command, env=machine.environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert why in done.stderr.splitlines()[-1]
    assert not list(machine.root.rglob("*.enc"))
    assert machine.files("uploads") == []


def opened(machine: Machine, prefix: str) -> list[str]:
    """The names in the newest archive that begins so."""
    newest = max(path for path in machine.root.rglob("*.enc") if path.name.startswith(prefix))
    unseal = f"openssl enc -d -aes-256-cbc -pbkdf2 -pass file:{machine.folder}/passphrase -in '{newest}'"
    words = ["bash", "-o", "pipefail", "-c", f"{unseal} | tar -tz"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_link_is_saved_with_what_it_leads_to(machine: Machine) -> None:
    """A settings file that is a link to where secrets are kept was an archive of the link alone."""
    kept, app = machine.folder / "kept", machine.folder / "app"
    for folder in (kept, kept / "logs", app, app / "nginx"):
        folder.mkdir()
    (kept / "env").write_text("KEY=1")
    (kept / "site.conf").write_text("server {}")
    (kept / "logs" / "access.log").write_text("GET /")
    (app / ".env").symlink_to("../kept/env")
    (app / "logs").symlink_to("../kept/logs")
    (kept / "logs" / "planted").symlink_to("../env")
    (app / "nginx" / "site").symlink_to("../../kept/site.conf")
    (app / "nginx" / "gone").symlink_to("nowhere")
    (app / "nginx" / "program").symlink_to("/usr/bin/env")
    machine.set(APP_PATHS=f"{app}/.env {app}/nginx", LOG_PATHS=f"{app}/logs")
    machine.well("backup-configuration", "app")
    names = [f"/{name}" for name in opened(machine, "configuration_")]
    assert {str(kept / "env"), str(kept / "site.conf"), str(app / "nginx" / "gone")} <= set(names)
    assert "/usr/bin/env" not in names, "a package brings it"
    machine.well("backup-configuration", "logs")
    names = [f"/{name}" for name in opened(machine, "logs_")]
    assert str(kept / "logs" / "access.log") in names
    assert str(kept / "env") not in names, "who writes logs does not choose what else is saved"


async def test_the_whole_machine_disk_by_disk_without_what_comes_again(machine: Machine, observe: Observe) -> None:
    disk = machine.folder / "disk"
    for folder in ("etc", "boot", "tmp/deep", "proc", "backups/image"):
        (disk / folder).mkdir(parents=True)
    (disk / "etc" / "fstab").write_text("/dev/vda1 / ext4")
    (disk / "etc" / "link").symlink_to("/usr/bin/env")
    (disk / "tmp" / "deep" / "x").write_text("x")
    (disk / "swap.img").write_text("swap")
    for mounted in ("boot", "proc"):
        done = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(disk / mounted)], capture_output=True, check=False)
        assert done.returncode == 0, "only root mounts a disk: run the tests of backups as root"
    try:
        (disk / "boot" / "vmlinuz-6").write_text("kernel")
        (disk / "proc" / "cpuinfo").write_text("of the kernel")
        machine.root = disk / "backups"
        paths = f"{disk} -{disk}/etc -{disk}/boot -{disk}/boot/efi"
        machine.set(IMAGE_PATHS=paths, IMAGE_LEFT_OUT=f"{disk}/tmp {disk}/swap.img")
        machine.well("backup-configuration", "image")
    finally:
        for mounted in ("boot", "proc"):
            subprocess.run(["umount", "-l", str(disk / mounted)], check=True)
    names = [name.removeprefix(f".{disk}/").rstrip("/") for name in opened(machine, "machine_")]
    assert sorted(names) == sorted(
        ["", "backups", "boot", "boot", "boot/vmlinuz-6", "etc", "etc/fstab", "etc/link", "proc", "tmp"]
    ), "what is a disk of its own is there as a folder, and once more with what it has"

    machine.settle()
    inside = str(disk).lstrip("/")
    seen = await observe(
        "backup", path=f"{machine.root}/image/machine_%Y%m%d_%H%M%S.tar.gz.enc", timezone=ZONE, encrypted=True,
        decrypt={"passphrase": PASSPHRASE}, required=[f"{inside}/etc/fstab", f"{inside}/boot/vmlinuz*"],
    )  # fmt: skip
    assert (seen.outcome, measured(seen, "absent_paths")) == (Outcome.UP, 0), seen.summary


def test_what_may_be_absent_is_saved_when_it_is_there(machine: Machine) -> None:
    """With a * behind the "-" nothing was looked for."""
    for name in ("a.conf", "b c.conf"):
        (machine.uploads / name).write_text(name)
    machine.set(APP_PATHS=f"-{machine.uploads}/*.conf -{machine.uploads}/*.none -/not/there")
    machine.well("backup-configuration", "app")
    assert [f"/{name}" for name in opened(machine, "configuration_")] == [
        str(machine.uploads / name) for name in ("a.conf", "b c.conf")
    ]


def test_no_key_lies_beside_what_it_opens(machine: Machine, shop: Postgres) -> None:
    """And one passphrase opens what was made with it, however old."""
    machine.set(APP_PATHS=str(machine.services))
    for name in ("production", "again"):
        machine.well("backup-database", name)
    machine.well("backup-configuration", "app")
    made = [path for path in machine.root.rglob("*") if path.is_file() and not path.name.startswith(".lock")]
    assert len(made) == 6
    for path in made:
        assert path.name.endswith((".enc", ".enc.sha256"))
        assert PASSPHRASE.encode() not in path.read_bytes()
        assert not path.stat().st_mode & 0o007, "a backup is for nobody else"
    for path in (machine.root / "database").glob("again_*.enc"):
        machine.well("restore-database", str(path), "again")


def test_each_script_runs_from_the_shipped_settings(machine: Machine) -> None:
    """Read by bash as it is, it says what is not there yet; without it, that it is missing."""
    shipped = (SCRIPTS / "settings.example").read_text()
    own = shipped.replace("/opt/backups/witchcityrope", str(machine.root)).replace("/etc/wcr-backup", "/not/there")
    (machine.folder / "settings").write_text(own)
    machine.root.mkdir()
    wanted = {
        ("backup-database", "production"): "no passphrase",
        ("backup-uploads",): "UPLOADS",
        ("backup-configuration", "app"): "no passphrase",
        ("backup-offsite",): "there is no backup",
        ("restore-database", "x", "y"): "no passphrase",
    }
    for words, why in wanted.items():
        assert why in machine.refused(*words), words
    assert machine.well("backup-retention") == ""
    (machine.folder / "settings").unlink()
    for words in (*wanted, ("backup-retention",)):
        assert "begin with settings.example" in machine.refused(*words)


# --- names ---


def test_uploads_with_names_of_every_kind_come_back(machine: Machine) -> None:
    for number, name in enumerate(AWKWARD):
        Path(os.fsdecode(os.path.join(os.fsencode(machine.uploads), os.fsencode(name)))).write_bytes(b"%d" % number)
    (machine.uploads / "-folder" / "deep er").mkdir(parents=True)
    (machine.uploads / "-folder" / "deep er" / "x").write_bytes(b"x")
    (machine.uploads / "link").symlink_to("a b.jpg")
    said = machine.well("backup-uploads")
    assert f"{len(AWKWARD) + 1} files, {len(AWKWARD) + 1} of them new" in said
    newest = machine.root / "uploads" / "newest"
    same = subprocess.run(["diff", "-r", "--no-dereference", f"{newest}/", machine.uploads], check=False)
    assert same.returncode == 0
    machine.well("backup-uploads", "archive")
    (archive,) = (machine.root / "application").glob("*.enc")
    out = machine.folder / "out"
    out.mkdir()
    unseal = f"openssl enc -d -aes-256-cbc -pbkdf2 -pass file:{machine.folder}/passphrase -in '{archive}'"
    opened = subprocess.run(["bash", "-o", "pipefail", "-c", f"{unseal} | tar -xz -C {out}"], check=False)
    assert opened.returncode == 0
    assert subprocess.run(["diff", "-r", "--no-dereference", out, machine.uploads], check=False).returncode == 0


def test_a_file_of_holes_takes_no_room(machine: Machine) -> None:
    """A film of 10 GiB that was begun and not uploaded filled the disk of the backups."""
    with (machine.uploads / "film").open("wb") as film:
        film.write(b"begun")
        film.truncate(200_000_000)
    machine.well("backup-uploads")
    copy = (machine.root / "uploads" / "newest" / "film").stat()
    assert copy.st_size == 200_000_000
    assert copy.st_blocks * 512 < 1_000_000


def test_a_file_that_is_cut_off_while_it_is_copied_does_not_cost_the_others(machine: Machine, tmp_path: Path) -> None:
    """What shrinks in the middle is an error of rsync's; the whole tree was thrown away for it."""
    for name in ("a", "b"):
        (machine.uploads / name).write_bytes(os.urandom(1_000))
    again = tmp_path / "again"
    again.mkdir()
    real = shutil.which("rsync")
    # rsync itself, with one file taken away from under it the first time.
    (again / "rsync").write_text(
        f'#!/bin/sh\n[ -e {tmp_path}/once ] || {{ touch {tmp_path}/once; {real} --exclude=b "$@"; exit 23; }}\n'
        f'exec {real} "$@"\n'
    )
    (again / "rsync").chmod(0o755)
    machine.well("backup-uploads", PATH=f"{again}:{os.environ['PATH']}")
    assert machine.files("uploads/newest") == ["a", "b"]


# --- the clock ---


def test_two_trees_of_the_same_second_are_not_one_in_the_other(machine: Machine, tmp_path: Path) -> None:
    """In autumn an hour comes twice, and a clock may be set back."""
    (machine.uploads / "photo").write_bytes(b"1")
    still = tmp_path / "bin"
    still.mkdir()
    (still / "date").write_text("#!/bin/sh\necho 20261101_013000\n")
    (still / "date").chmod(0o755)
    path = {"PATH": f"{still}:{os.environ['PATH']}"}
    machine.well("backup-uploads", **path)
    assert "20261101_013000 is there already" in machine.refused("backup-uploads", **path)
    assert machine.files("uploads") == ["20261101_013000", "newest"]
    assert os.listdir(machine.root / "uploads" / "20261101_013000") == ["photo"]


def test_what_a_clock_that_was_ahead_made_is_no_reason_to_keep_nothing_else(machine: Machine) -> None:
    """One backup of the year 2099 stood as the newest of its archive, and no month was kept ever after."""
    ahead = day_file(machine, datetime(2099, 1, 1, tzinfo=UTC))
    for archive in ("weekly", "monthly"):
        (machine.root / "archive" / archive).mkdir(parents=True)
        for path in (ahead, ahead.with_name(f"{ahead.name}.sha256")):
            (machine.root / "archive" / archive / path.name).hardlink_to(path)
    today = day_file(machine, NOW)
    said = machine.run("backup-retention")
    assert said.returncode == 1
    assert "a clock was wrong" in said.stderr
    assert f"{ahead} is of a day that is still to come" in said.stderr
    for archive in ("weekly", "monthly"):
        assert today.name in machine.files(f"archive/{archive}")
    ahead.unlink()
    for archive in ("weekly", "monthly"):
        (machine.root / "archive" / archive / ahead.name).unlink()
    machine.well("backup-retention")


def test_the_tree_that_was_made_last_stays_whatever_its_name_says(machine: Machine) -> None:
    trees = machine.root / "uploads"
    for age in range(9):
        (trees / f"{NOW - timedelta(days=age):%Y%m%d_%H%M%S}").mkdir(parents=True)
    for name in ("20000101_000000", "20000102_000000"):
        (trees / name).mkdir()
    (trees / "20000101_000000" / "closed").mkdir(mode=0o500)
    (trees / "20000101_000000" / "closed" / "photo").write_bytes(b"")
    (trees / "2024-of-somebody").mkdir()
    (trees / "newest").symlink_to("20000102_000000")
    assert machine.well("backup-retention") == "deleted uploads/20000101_000000\n"
    assert (trees / "newest").resolve().is_dir()
    assert len(machine.files("uploads")) == 12


# --- rot, and what is kept because of it ---


def test_the_last_good_ones_stay_however_many_damaged_ones_come(machine: Machine) -> None:
    good = [day_file(machine, NOW - timedelta(days=age)) for age in range(48, 40, -1)]
    for age in range(38, -1, -1):
        day_file(machine, NOW - timedelta(days=age)).write_bytes(b"encrypted by an intruder")
    assert "39 backups are damaged" in machine.refused("backup-retention")
    kept = machine.files("database")
    assert [one.name in kept for one in good] == [False, *[True] * 7]
    assert all("encrypted" not in path.read_text() for path in (machine.root / "archive").rglob("*.enc"))


def test_a_damaged_one_takes_no_place_of_a_week(machine: Machine) -> None:
    weeks = [NOW - timedelta(weeks=age) for age in range(5, -1, -1)]
    for week in weeks[:4]:
        day_file(machine, week)
    machine.well("backup-retention")
    kept = [name for name in machine.files("archive/weekly") if name.endswith(".enc")]
    assert len(kept) == 4
    rotten = machine.root / "archive" / "weekly" / kept[-1]
    rotten.write_bytes(b"rot")
    day_file(machine, weeks[4])
    assert "1 backups are damaged" in machine.refused("backup-retention")
    kept = [name for name in machine.files("archive/weekly") if name.endswith(".enc")]
    assert len(kept) == 5, "four good ones, and the rotten one until somebody has seen it"


def test_what_rots_in_the_archive_is_replaced_while_its_month_is_still_there(machine: Machine) -> None:
    monday = NOW - timedelta(days=NOW.weekday() + 7)
    for begin, archive in ((NOW - timedelta(days=40), "monthly"), (monday, "weekly")):
        begin = begin.replace(day=2) if archive == "monthly" else begin
        bad, good = day_file(machine, begin), day_file(machine, begin + timedelta(days=1))
        machine.well("backup-retention")
        assert good.name not in machine.files(f"archive/{archive}")
        bad.write_bytes(b"rot")
        assert "damaged" in machine.refused("backup-retention")
        assert good.name in machine.files(f"archive/{archive}")
        shutil.rmtree(machine.root)


def test_a_day_without_a_midnight_is_one_too(machine: Machine) -> None:
    """Where clocks go forward at 00:00, date(1) calls that day invalid: nothing was kept or deleted."""
    changes = datetime(2025, 4, 25, 7, tzinfo=UTC)
    made = [day_file(machine, changes + timedelta(days=days)) for days in range(10)]
    machine.well("backup-retention", TZ="Africa/Cairo")
    assert made[0].name in machine.files("archive/weekly") + machine.files("archive/monthly")
    assert [one.exists() for one in made] == [False] * 3 + [True] * 7


def test_archives_of_the_machine_are_kept_for_four_weeks(machine: Machine) -> None:
    """Twelve months of them would fill the disk."""
    for week in range(20):
        day_file(machine, NOW - timedelta(weeks=week), prefix="machine")
    shutil.move(machine.root / "database", machine.root / "image")
    machine.well("backup-retention")
    kept = [name for name in machine.files("image") if name.endswith(".enc")]
    assert len(kept) in (4, 5)
    assert not list((machine.root / "archive").rglob("machine_*"))
    for name in kept[1:]:
        (machine.root / "image" / name).write_bytes(b"rot")
    machine.refused("backup-retention")
    assert kept[0] in machine.files("image"), "the last good one"


def test_a_set_whose_name_begins_another_one_is_left_alone(machine: Machine) -> None:
    other = [day_file(machine, NOW - timedelta(days=200 - n), prefix="production_2") for n in range(20)]
    for age in range(10):
        day_file(machine, NOW - timedelta(days=age))
    machine.well("backup-retention")
    assert all(one.exists() for one in other)
    assert not any("production_2_" in name for name in machine.files("archive/weekly"))


@pytest.mark.parametrize("least", ["0", "", "-1", "seven"])
def test_a_number_that_would_keep_nothing_is_refused(machine: Machine, least: str) -> None:
    made = [day_file(machine, NOW - timedelta(days=200 - n)) for n in range(10)]
    machine.set(KEEP_AT_LEAST=least)
    done = machine.run("backup-retention")
    assert (done.returncode == 0) is (least == "")
    assert sum(one.exists() for one in made) == (7 if least == "" else 10)


# --- another place ---


def test_one_damaged_file_does_not_keep_the_others_from_being_copied(
    machine: Machine, bucket: Bucket, rclone: dict[str, str]
) -> None:
    rotten = day_file(machine, NOW - timedelta(days=1))
    machine.well("backup-offsite", **rclone)
    rotten.write_bytes(b"rot")
    new = day_file(machine, NOW)
    application = machine.root / "application"
    application.mkdir()
    (application / f"logs_{NOW:%Y%m%d_%H%M%S}.tar.gz.enc").write_bytes(b"logs")
    assert "copying database failed" in machine.refused("backup-offsite", **rclone)
    names = {key.rpartition("/")[2] for key in keys(bucket)}
    assert {new.name, f"logs_{NOW:%Y%m%d_%H%M%S}.tar.gz.enc"} <= names


def test_another_place_that_cannot_be_reached_is_told_within_its_time(
    machine: Machine, bucket: Bucket, rclone: dict[str, str]
) -> None:
    day_file(machine, NOW)
    since = time.monotonic()
    said = machine.refused(
        "backup-offsite",
        **{**rclone, "RCLONE_CONFIG_OFFSITE_ENDPOINT": "http://127.0.0.1:1", "RCLONE_LOW_LEVEL_RETRIES": "1"},
    )
    assert "copying database failed, what is there already stays" in said
    assert time.monotonic() - since < 60
    assert machine.files("database")
