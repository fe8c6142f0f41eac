"""What the platform's backup scripts had wrong: etc/README.md says what mends it, and etc/ does."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ETC = ROOT / "etc"
BACKUP = ETC / "backup"
SETTINGS = (BACKUP / "settings.example").read_text()


def tables(file: str, section: str) -> dict[str, Any]:
    """A section of a file of etc/conf.d."""
    found: dict[str, Any] = tomllib.loads((ETC / "conf.d" / file).read_text())[section]
    return found


def test_each_defect_is_held_by_tests_that_there_are() -> None:
    part = (ETC / "README.md").read_text().partition("## What the platform's backup scripts had wrong")[2]
    rows = re.findall(r"^\| 8\.(\d+) \| .+ \| .+ \| (.+) \|$", part, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(19, 33))
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    there = set(re.findall(r"^(?:async )?def (test_\w+)", sources, re.MULTILINE))
    for number, tests in rows:
        named = re.findall(r"`(\w+)`", tests)
        assert named, f"nothing holds row {number}"
        assert set(named) <= there, f"row {number}"


def test_the_settings_name_the_folders_that_are_watched() -> None:
    uploads = re.search("^UPLOADS=(.+)$", SETTINGS, re.MULTILINE)
    assert uploads
    assert uploads[1] == tables("60-backups.toml", "check")["uploads"]["folder"]
    assert "/production_" in uploads[1], "compose names volumes after its project"


def test_what_must_be_in_an_archive_is_put_there() -> None:
    checks = tables("60-backups.toml", "check")
    for check, name in (("backup-app-config", "APP"), ("backup-system", "SYSTEM"), ("backup-security", "SECURITY")):
        paths = re.search(f'^{name}_PATHS="(.+)"$', SETTINGS, re.MULTILINE)
        assert paths
        saved = [path.lstrip("-/") for path in paths[1].split()]
        for required in checks[check]["required"]:
            stem = required.partition("*")[0]
            assert any(path.startswith(stem) for path in saved), f"{check}: {required}"


def test_no_secret_stands_in_a_script() -> None:
    for path in BACKUP.iterdir():
        text = path.read_text()
        assert not re.search(r"(?i)(access_key|secret|password|token)\w*=[^$ ]", text), path.name
        assert "-pass pass:" not in text, "it would show in the list of processes"
        assert "-k " not in text, path.name


def test_no_two_backups_begin_together() -> None:
    tasks = {**tables("62-backup-tasks.toml", "task"), **tables("63-upkeep-tasks.toml", "task")}
    begins: dict[tuple[int, int], str] = {}
    for name, task in tasks.items():
        minute, hour = (int(word) for word in task["schedule"].split()[:2])
        assert hour != 1, f"{name}: in autumn this hour comes twice"
        days = tuple(task["schedule"].split()[2:])
        other = begins.setdefault((hour, minute), name)
        if other != name:
            weekdays = {tuple(tasks[one]["schedule"].split()[2:]) for one in (name, other)}
            assert days in weekdays
            assert "window" in task, f"{name} and {other} begin together"
            assert "window" in tasks[other], f"{name} and {other} begin together"
    assert begins[2, 0] == "backup-production", (
        "the guide's hour is that of the production database, and of nothing else"
    )
