"""The backup scripts of etc/backup against a real PostgreSQL and a server like S3, and what the checks of etc/ see."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import signal
import subprocess
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.real.running import Observe, measured
from tests.real.servers.backup_machine import PASSPHRASE, SCRIPTS, ZONE, Machine, content, day_file, keys
from tests.real.servers.postgres import Postgres
from tests.real.servers.storage import Bucket
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.backups.archives import pg_program

# --- the database ---


async def test_a_dump_is_restored_to_the_last_row_and_the_checks_are_content(
    machine: Machine, shop: Postgres, observe: Observe
) -> None:
    machine.well("backup-database", "production")
    name, checksum = machine.files("database")
    assert checksum == f"{name}.sha256"
    assert (machine.root / "database" / name).read_bytes().startswith(b"Salted__")
    before = content(machine, "production")
    assert len(before) > 1_500
    shop.sql("DELETE FROM payments")
    machine.well("restore-database", str(machine.root / "database" / name), "again")
    assert content(machine, "again") == before
    assert "nothing of it is kept" in machine.refused(
        "restore-database", str(machine.root / "database" / name), "again"
    )

    machine.settle()
    path = {"path": f"{machine.root}/database/production_%Y%m%d_%H%M%S.sql.gz.enc", "timezone": ZONE}
    secret = {"decrypt": {"passphrase": PASSPHRASE}}
    seen = await observe("backup", **path, **secret, checksum="required", encrypted=True)
    assert seen.outcome is Outcome.UP, seen.summary
    for measurement in ("missed", "damaged", "without_checksum", "unencrypted", "uncompressed"):
        assert measured(seen, measurement) == 0, measurement
    restored = await observe(
        "restore", **path, **secret, timeout=300, server=shop.dsn_of("postgres"),
        tables=["public.users", "public.payments"],
        assertions=[{"sql": "SELECT sum(cents) FROM payments", "equals": str(1999 * 500 * 501 // 2)}],
    )  # fmt: skip
    assert restored.outcome is Outcome.UP, (restored.summary, restored.evidence)


def test_a_dump_that_fails_leaves_nothing_that_looks_like_one(machine: Machine, shop: Postgres) -> None:
    assert (
        machine.refused("backup-database", "gone") == "backup-database: the dump of gone failed; nothing is kept of it"
    )
    assert machine.files("database") == []
    assert "say which database" in machine.refused("backup-database")


def test_a_dump_that_is_killed_leaves_nothing_that_looks_like_one(machine: Machine, shop: Postgres) -> None:
    shop.sql("CREATE TABLE big AS SELECT md5(n::text) AS v FROM generate_series(1, 1000000) n")
    command = [str(SCRIPTS / "backup-database"), "production"]
    process = subprocess.Popen(command, env=machine.environment(), start_new_session=True)
    deadline = time.monotonic() + 60
    while not any((machine.root / "database").glob(".*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert "another run of database-production is going on" in machine.refused("backup-database", "production")
    os.killpg(process.pid, signal.SIGTERM)
    assert process.wait(60) != 0
    assert machine.files("database") == []


def test_what_a_killed_run_left_behind_goes_with_the_next(machine: Machine, shop: Postgres) -> None:
    folder = machine.root / "database"
    folder.mkdir(parents=True)
    for name in ("production", "production_2"):
        (folder / f".{name}_20260101_020000.sql.gz.enc.part").write_bytes(b"half of it")
        (folder / f".{name}_20260101_020000.sql.gz.enc.part.sha256").write_bytes(b"")
    machine.well("backup-database", "production")
    hidden = [name for name in machine.files("database") if name.startswith(".")]
    assert hidden == [
        ".production_2_20260101_020000.sql.gz.enc.part",
        ".production_2_20260101_020000.sql.gz.enc.part.sha256",
    ], "those of another database may be written just now"

    (machine.root / "uploads" / ".20260101_020000.part").mkdir(parents=True)
    (machine.uploads / "photo.jpg").write_bytes(b"photo")
    machine.well("backup-uploads")
    assert ".20260101_020000.part" not in machine.files("uploads")


def test_a_full_disk_leaves_nothing_that_looks_like_a_backup(machine: Machine, shop: Postgres) -> None:
    process = subprocess.run(
        ["prlimit", "--fsize=4096", str(SCRIPTS / "backup-database"), "production"],
        env=machine.environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.strip().endswith("the dump of production failed; nothing is kept of it")
    assert machine.files("database") == []


def test_without_a_passphrase_nothing_is_made(machine: Machine, shop: Postgres) -> None:
    machine.set(PASSPHRASE_FILE="/not/there")
    assert "no passphrase" in machine.refused("backup-database", "production")
    machine.well("backup-database", "production", WCR_BACKUP_PASSPHRASE=PASSPHRASE)
    machine.set()
    name = machine.files("database")[0]
    machine.well("restore-database", str(machine.root / "database" / name), "again")


def test_a_damaged_backup_is_not_restored(machine: Machine, shop: Postgres) -> None:
    machine.well("backup-database", "production")
    file = machine.root / "database" / machine.files("database")[0]
    held = bytearray(file.read_bytes())
    held[len(held) // 2] ^= 1
    file.write_bytes(held)
    assert "is not what its checksum says" in machine.refused("restore-database", str(file), "again")


def test_what_a_dump_leaves_out_is_kept_beside_it(machine: Machine, shop: Postgres) -> None:
    """On a server that is new there is neither role nor database, and what was set for the database was lost."""
    for statement in (
        'CREATE ROLE "the owner" LOGIN',
        'ALTER TABLE payments OWNER TO "the owner"',
        "ALTER DATABASE app SET search_path = '$user', \"my schema\", public",
        "REVOKE CONNECT ON DATABASE app FROM PUBLIC",
        """COMMENT ON DATABASE app IS 'one\n\ntwo'""",
    ):
        shop.sql(statement)
    machine.well("backup-database", "production")
    asked = (
        "SELECT (SELECT string_agg(one::text, ' ' ORDER BY one::text) FROM unnest(datacl) one), "
        "shobj_description(oid, 'pg_database'), setconfig "
        "FROM pg_database JOIN pg_db_role_setting ON oid = setdatabase WHERE datname = 'app'"
    )
    before = shop.sql(asked, database="postgres")
    assert "my schema" in before
    shop.sql("DROP DATABASE app WITH (FORCE)", database="postgres")
    shop.sql('DROP ROLE "the owner"', database="postgres")
    file = str(machine.root / "database" / machine.files("database")[0])
    done = machine.run("restore-database", file, "again")
    assert 'role "the owner" does not exist' in done.stderr
    assert done.stderr.strip().endswith(f"A role that is missing: restore-database {file} prints them all")

    first = machine.well("restore-database", file)
    assert "PASSWORD" not in first
    elsewhere = {"PGSERVICEFILE": str(machine.services)}
    words = [pg_program("psql"), "-Xq", "-d", "service=again"]
    subprocess.run(words, input=first, env=elsewhere, text=True, check=True, capture_output=True)
    assert shop.sql(asked, database="postgres") == before
    machine.well("restore-database", file, "production")
    assert shop.sql("SELECT tableowner FROM pg_tables WHERE tablename = 'payments'") == "the owner"
    assert shop.sql("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'the owner'") == "t"


def rewrite(machine: Machine, file: str, script: str) -> None:
    """Have sed(1) write another dump into this backup, as another version of the programs would have made it."""
    words = f"openssl enc {{}} -aes-256-cbc -pbkdf2 -pass file:{machine.folder}/passphrase"
    pipe = f"{words.format('-d')} -in {file} | gunzip | sed '{script}' | gzip | {words.format('')} -out {file}.new"
    subprocess.run(["bash", "-o", "pipefail", "-c", f"{pipe} && mv {file}.new {file}"], check=True)
    sum_ = hashlib.sha256(Path(file).read_bytes()).hexdigest()
    Path(f"{file}.sha256").write_text(f"{sum_}  {Path(file).name}\n")


def test_a_dump_of_before_says_that_it_has_no_roles(machine: Machine, shop: Postgres) -> None:
    """It printed nothing, and that was a success."""
    machine.well("backup-database", "production")
    file = str(machine.root / "database" / machine.files("database")[0])
    rewrite(machine, file, "/^--: /d")
    assert "says nothing of that" in machine.refused("restore-database", file)
    machine.well("restore-database", file, "again")


@pytest.mark.parametrize("name", ["BLOBS", "16400..16408"], ids=["as here", "from PostgreSQL 17 on"])
def test_a_restore_with_large_objects_is_one_transaction_too(machine: Machine, shop: Postgres, name: str) -> None:
    """A dump has a COMMIT behind them: what fails after it left half of a database."""
    shop.sql("CREATE TABLE scans AS SELECT lo_from_bytea(0, decode(md5(n::text), 'hex')) FROM generate_series(1, 9) n")
    shop.sql("CREATE TABLE notes AS SELECT E'COMMIT;\nBEGIN;\n-- Data for Name: BLOBS; Type: BLOBS; x' AS note")
    shop.sql("CREATE ROLE reader; CREATE POLICY late ON users TO reader USING (true)")
    machine.well("backup-database", "production")
    shop.sql("DROP POLICY late ON users; DROP ROLE reader")
    file = str(machine.root / "database" / machine.files("database")[0])
    rewrite(machine, file, f"s/^-- Data for Name: BLOBS; Type: BLOBS; S/-- Data for Name: {name}; Type: BLOBS; S/")
    assert "nothing of it is kept" in machine.refused("restore-database", file, "again")
    assert shop.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database="again") == "0"
    assert shop.sql("SELECT count(*) FROM pg_largeobject_metadata", database="again") == "0"
    shop.sql("CREATE ROLE reader")
    assert machine.run("restore-database", file, "again").stderr == ""
    for asked in ("SELECT md5(string_agg(data, '' ORDER BY loid)) FROM pg_largeobject", "SELECT note FROM notes"):
        assert shop.sql(asked, database="again") == shop.sql(asked)


def test_a_dump_that_breaks_off_is_not_restored_in_part(machine: Machine, shop: Postgres) -> None:
    """Its checksum is right, and psql would take the end of the stream for that of the dump, and keep it."""
    words = [pg_program("pg_dump"), "--dbname=service=production"]
    dump = subprocess.run(words, env={"PGSERVICEFILE": str(machine.services)}, capture_output=True, check=True).stdout
    half = dump[: dump.index(b"ALTER TABLE ONLY public.payments")]
    for packed in (gzip.compress(dump)[:-8], gzip.compress(half)):
        sealed = subprocess.run(
            ["openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-pass", f"pass:{PASSPHRASE}"],
            input=packed,
            capture_output=True,
            check=True,
        ).stdout
        file = machine.folder / "production_20260101_020000.sql.gz.enc"
        file.write_bytes(sealed)
        file.with_name(f"{file.name}.sha256").write_text(f"{hashlib.sha256(sealed).hexdigest()}  {file.name}\n")
        assert "cannot be read to its end" in machine.refused("restore-database", str(file), "again")
        assert shop.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database="again") == "0"


# --- uploads ---


async def test_uploads_are_saved_incrementally_and_every_tree_is_whole(machine: Machine, observe: Observe) -> None:
    for number in range(30):
        (machine.uploads / f"photo {number}.jpg").write_bytes(os.urandom(2_000))
    long_ago = time.time() - 7_200
    for path in machine.uploads.iterdir():
        os.utime(path, (long_ago, long_ago))
    machine.well("backup-uploads")
    (first,) = (path for path in (machine.root / "uploads").iterdir() if not path.is_symlink())
    first = first.rename(first.with_name("20260101_020000"))
    (machine.root / "uploads" / "newest").unlink()
    (machine.root / "uploads" / "newest").symlink_to(first.name)
    (machine.uploads / "photo 0.jpg").write_bytes(b"changed")
    (machine.uploads / "photo 1.jpg").unlink()
    (machine.uploads / "new.jpg").write_bytes(b"new")
    assert "2 of them new" in machine.well("backup-uploads")
    newest = (machine.root / "uploads" / "newest").resolve()
    assert (newest / "photo 2.jpg").stat().st_ino == (first / "photo 2.jpg").stat().st_ino
    assert (first / "photo 0.jpg").stat().st_size == 2_000
    assert (first / "photo 1.jpg").exists()
    assert {path.name: path.read_bytes() for path in newest.iterdir()} == {
        path.name: path.read_bytes() for path in machine.uploads.iterdir()
    }
    mirror = str(machine.root / "uploads" / "newest")
    seen = await observe("backup_manifest", folder=str(machine.uploads), mirror=mirror)
    assert seen.outcome is Outcome.UP, seen.summary
    assert (measured(seen, "missing"), measured(seen, "different")) == (0, 0)

    machine.well("backup-uploads", "archive")
    machine.settle()
    path = f"{machine.root}/application/docker_volumes_%Y%m%d_%H%M%S.tar.gz.enc"
    archive = await observe(
        "backup", path=path, timezone=ZONE, encrypted=True, decrypt={"passphrase": PASSPHRASE}, required=["new.jpg"]
    )
    assert archive.outcome is Outcome.UP, archive.summary
    assert (measured(archive, "absent_paths"), measured(archive, "damaged")) == (0, 0)


def test_a_volume_that_is_not_mounted_does_not_follow_a_good_tree(machine: Machine) -> None:
    assert "is the volume there?" in machine.refused("backup-uploads")
    assert machine.files("uploads") == []
    machine.set(UPLOADS="/not/there")
    assert "is no folder: /not/there" in machine.refused("backup-uploads")
    assert "backup-uploads first" in machine.refused("backup-uploads", "archive")


# --- configuration ---


async def test_configuration_with_all_that_is_wanted_or_not_at_all(machine: Machine, observe: Observe) -> None:
    etc = machine.folder / "etc"
    (etc / "nginx").mkdir(parents=True)
    (etc / "nginx" / "nginx.conf").write_text("events {}")
    (etc / "a.conf").write_text("a")
    machine.set(SYSTEM_PATHS=f"{etc}/nginx {etc}/*.conf -{etc}/ufw")
    machine.well("backup-configuration", "system")
    machine.settle()
    path = f"{machine.root}/configuration/system_config_%Y%m%d_%H%M%S.tar.gz.enc"
    inside = str(etc).lstrip("/")
    seen = await observe(
        "backup", path=path, timezone=ZONE, encrypted=True, decrypt={"passphrase": PASSPHRASE},
        required=[f"{inside}/nginx/nginx.conf", f"{inside}/a.conf"],
    )  # fmt: skip
    assert (seen.outcome, measured(seen, "absent_paths")) == (Outcome.UP, 0), seen.summary
    machine.set(SECURITY_PATHS=f"{etc}/nginx {etc}/letsencrypt", APP_PATHS="")
    assert f"{etc}/letsencrypt is not there" in machine.refused("backup-configuration", "security")
    assert "nothing to save" in machine.refused("backup-configuration", "app")
    assert len(machine.files("configuration")) == 2


def test_a_log_that_is_written_meanwhile_is_saved_and_a_setting_is_not(machine: Machine) -> None:
    folder = machine.folder / "written"
    folder.mkdir()
    (folder / "access.log").write_bytes(os.urandom(5_000_000))
    machine.set(LOG_PATHS=str(folder), APP_PATHS=str(folder))
    over = threading.Event()

    def write() -> None:
        with (folder / "access.log").open("ab", buffering=0) as log:
            while not over.wait(0.002):
                log.write(b"GET /\n")

    writing = threading.Thread(target=write)
    writing.start()
    try:
        machine.well("backup-configuration", "logs")
        assert "could not be read" in machine.refused("backup-configuration", "app")
    finally:
        over.set()
        writing.join()
    assert [name.split("_")[0] for name in machine.files("application")] == ["logs", "logs"]


# --- another place ---


async def test_a_copy_elsewhere_that_an_empty_disk_does_not_empty(
    machine: Machine, bucket: Bucket, rclone: dict[str, str], observe: Observe
) -> None:
    assert "there is no backup" in machine.refused("backup-offsite", **rclone)
    old = day_file(machine, datetime.now(UTC) - timedelta(days=1))
    day_file(machine, datetime.now(UTC))
    (machine.root / "database" / ".production_20990101_000000.sql.gz.enc.part").write_bytes(b"half")
    machine.well("backup-offsite", **rclone)
    copied = [key for key in keys(bucket) if key.startswith("backups/")]
    assert len(copied) == 4
    assert not any("part" in key for key in copied)
    seen = await observe(
        "backup_remote", url=f"s3://{bucket.name}/backups/database/production_%Y%m%d_%H%M%S.sql.gz.enc",
        endpoint=bucket.endpoint, access_key="a", secret_key="b", timezone=ZONE,
        local={"path": f"{machine.root}/database/production_%Y%m%d_%H%M%S.sql.gz.enc", "timezone": ZONE},
    )  # fmt: skip
    assert (seen.outcome, measured(seen, "not_copied"), measured(seen, "size_differs")) == (Outcome.UP, 0, 0)

    old.write_bytes(b"encrypted by an intruder")
    assert "what is there already stays" in machine.refused("backup-offsite", **rclone)
    shutil.rmtree(machine.root / "database")
    assert "there is no backup" in machine.refused("backup-offsite", **rclone)
    assert [key for key in keys(bucket) if key.startswith("backups/")] == copied


def test_uploads_elsewhere_keep_what_was_changed(machine: Machine, bucket: Bucket, rclone: dict[str, str]) -> None:
    machine.set(REMOTE=f"offsite:{bucket.name}/backups", UPLOADS_REMOTE=f"offsite:{bucket.name}/uploads")
    day_file(machine, datetime.now(UTC))
    assert "uploads/newest to copy" in machine.refused("backup-offsite", **rclone)
    (machine.uploads / "link").symlink_to("photo.jpg")
    for uploaded in (b"old", b"new one"):
        (machine.uploads / "photo.jpg").write_bytes(uploaded)
        machine.well("backup-uploads")
        machine.well("backup-offsite", **rclone)
        newest = machine.root / "uploads" / "newest"
        newest.resolve().rename(newest.resolve().with_name(f"20260101_02000{len(uploaded)}"))
        newest.unlink()
    files = [key for key in keys(bucket) if key.startswith("uploads/")]
    assert files.pop(-2).endswith("files/link.rclonelink"), "a link is kept as what rclone makes one of again"
    assert [key.split("/")[1] for key in files] == ["changed", "files"]
    bodies = [bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read() for key in files]
    assert bodies == [b"old", b"new one"]


# --- retention ---


def test_four_weeks_and_twelve_months_are_kept_and_the_rest_goes(machine: Machine) -> None:
    today = datetime.now(UTC).replace(hour=7, minute=0, second=0)
    made = [day_file(machine, today - timedelta(days=age)) for age in (*range(400, 40, -3), *range(40, -1, -1))]
    day_file(machine, today - timedelta(days=400), prefix="staging")
    machine.well("backup-retention")
    daily = [name for name in machine.files("database") if name.startswith("production") and name.endswith(".enc")]
    assert len(daily) in (30, 31)
    assert daily[-1] == made[-1].name
    assert all(f"{name}.sha256" in machine.files("database") for name in daily)
    assert any(name.startswith("staging") for name in machine.files("database")), "another set is left alone"

    def kept(archive: str) -> list[datetime]:
        names = [name for name in machine.files(f"archive/{archive}") if name.endswith(".enc")]
        return [datetime.strptime(name[11:26], "%Y%m%d_%H%M%S").replace(tzinfo=UTC) for name in names]

    weeks = [at.isocalendar()[:2] for at in kept("weekly")]
    months = [(at.year, at.month) for at in kept("monthly")]
    assert len(weeks) == len(set(weeks)) == 4
    assert weeks[-1] == today.isocalendar()[:2]
    assert len(months) == len(set(months)) == 12
    assert months[-1] == (today.year, today.month)
    assert all(at.weekday() == 0 for at in kept("weekly")), "the first of each week"
    assert all(at.day <= 3 for at in kept("monthly")), "the first of each month"
    before = {folder: machine.files(folder) for folder in ("database", "archive/weekly", "archive/monthly")}
    assert machine.well("backup-retention") == ""
    assert {folder: machine.files(folder) for folder in before} == before


def test_when_no_new_ones_come_the_last_ones_stay(machine: Machine) -> None:
    for age in range(200, 190, -1):
        day_file(machine, datetime.now(UTC) - timedelta(days=age))
    machine.well("backup-retention")
    assert len([name for name in machine.files("database") if name.endswith(".enc")]) == 7
    assert len([name for name in machine.files("archive/monthly") if name.endswith(".enc")]) in (1, 2)


def test_a_damaged_one_is_not_what_is_kept_of_its_month(machine: Machine) -> None:
    first = datetime.now(UTC).replace(day=1, hour=7, minute=0, second=0) - timedelta(days=40)
    first = first.replace(day=2)
    bad, good = day_file(machine, first), day_file(machine, first + timedelta(days=1))
    bad.write_bytes(b"rotten")
    assert "backups are damaged" in machine.refused("backup-retention")
    assert good.name in machine.files("archive/monthly")
    assert bad.name not in machine.files("archive/monthly")


def test_retention_goes_on_where_a_run_was_killed(machine: Machine) -> None:
    file = day_file(machine, datetime.now(UTC))
    for archive in ("weekly", "monthly"):
        folder = machine.root / "archive" / archive
        folder.mkdir(parents=True)
        (folder / f"{file.name}.sha256").hardlink_to(f"{file}.sha256")
    machine.well("backup-retention")
    for archive in ("weekly", "monthly"):
        assert machine.files(f"archive/{archive}") == [file.name, f"{file.name}.sha256"]
