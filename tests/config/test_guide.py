"""docs/guide.md has a row for every line of the guide, and the checks it names are those of etc/."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "tests" / "cases" / "system-maintenance-guide.md").read_text().splitlines()
TABLE = (ROOT / "docs" / "guide.md").read_text()

WATCHED = (
    "12-15 18-21 24-27 32-36 39-43 46-50 55-58 71 106-107 130-134 137-141 147-149 152-155 161-164 167-170 174 189-192"
    " 195-198 203-206 218-220 223-226 233-236 239-242 245-248 253 255 259-262 269-272 275-278 283-286 292 299-300 305"
    " 365-367 373 380 382"
)
"""Lines that a probe, a heartbeat, a log or a register of ends serves; the others are for the engine or for people."""


TASKS = (
    "12-14 19-20 27 48 61-64 108-109 179 192 210 217-218 223 225 239-240 245-246 256 291-292 302 306-307 313-316"
    " 319-322 329-332 349-352 360-362 368 374-376 379 381 409-412 421 425-428 432-435 439-442"
)
"""Lines that ask for work that recurs: a task of etc/ has it done, or sees that people do it."""


ENDS = "219-220 224 373 382"
"""Lines about what ends or gets too old: an entry of a register, or a check that knows the day."""


CHECKLISTS = "63 72 74 78 80 84 91-95 98-101 105 123 209 211-212"
"""Lines that are steps of a change."""

REPORTS = "115 175 195-196 198 255 261 289-291 315-316 329-332 359 376 389-392 395-398 421"
"""Lines that a report tells."""


KNOWLEDGE = "305-308 329-332 343-346 361 434 439-440"
"""Lines that ask for something to be written down: an entry of etc/knowledge."""


def numbers(ranges: str) -> set[int]:
    """``12-14 18`` as numbers."""
    found: set[int] = set()
    for first, _, last in (part.partition("-") for part in ranges.split()):
        found.update(range(int(first), int(last or first) + 1))
    return found


def asked() -> dict[int, str]:
    """What the guide asks for: its lists' items that are no headings of others, and the levels of alerts, by line."""
    found = {}
    for number, line in enumerate(GUIDE, 1):
        item = re.match(r"\s*(?:-|\d+\.) (.+)", line)
        if item and not re.fullmatch(r"\d+\. \*\*[^*]+\*\*", line):
            found[number] = item[1].replace("**", "")
    return found


def rows() -> dict[int, tuple[str, str]]:
    """The table: what the guide says and what serves it, by line."""
    found: dict[int, tuple[str, str]] = {}
    for number, says, serves in re.findall(r"^\| (\d+) \| (.*?) \| (.*) \|$", TABLE, re.MULTILINE):
        assert int(number) not in found, f"line {number} stands twice"
        found[int(number)] = (says, serves)
    return found


def shipped() -> dict[str, tuple[str, bool]]:
    """The checks of etc/: their types, and whether they are off."""
    found = {}
    for file in (ROOT / "etc" / "conf.d").glob("*.toml"):
        tables = tomllib.loads(file.read_text())
        for name, check in tables.get("check", {}).items():
            found[name] = (check["type"], check.get("enabled") is False)
        for name, task in tables.get("task", {}).items():
            found[f"task.{name}"] = ("task", task.get("enabled") is False)
    return found


def named(serves: str) -> list[tuple[str, str, bool]]:
    """The checks that a row names: name, type, whether it is said to be off."""
    return [(name, kind, bool(off)) for name, kind, off in re.findall(r"`([a-z0-9.-]+)` \(([a-z_]+)(, off)?\)", serves)]


def test_every_line_of_the_guide_has_its_row() -> None:
    assert {line: says for line, (says, _) in rows().items()} == asked()
    assert len(asked()) == 244 + 3, "244 items, and the three levels of alerts"


def test_a_row_names_checks_that_are_shipped_as_it_says() -> None:
    known = shipped()
    for line, (_, serves) in rows().items():
        assert serves.strip(), f"nothing serves line {line}"
        for name, kind, off in named(serves):
            assert known.get(name) == (kind, off), f"line {line}: {name}"


def test_a_check_that_is_named_is_named_with_its_type() -> None:
    names = "|".join(map(re.escape, shipped()))
    assert not re.findall(rf"`(?:{names})`(?! \()", TABLE)


@pytest.mark.parametrize("line", sorted(numbers(WATCHED)))
def test_what_can_be_watched_is_watched(line: int) -> None:
    assert named(rows()[line][1]), GUIDE[line - 1]


@pytest.mark.parametrize("line", sorted(numbers(TASKS)))
def test_what_recurs_is_a_task(line: int) -> None:
    assert any(kind == "task" for _, kind, _ in named(rows()[line][1])), GUIDE[line - 1]


@pytest.mark.parametrize("line", sorted(numbers(ENDS)))
def test_what_ends_stands_in_a_register(line: int) -> None:
    kinds = {kind for _, kind, off in named(rows()[line][1]) if not off}
    assert kinds & {"expiry", "domain", "accounts"}, GUIDE[line - 1]


@pytest.mark.parametrize("line", sorted(numbers(CHECKLISTS)))
def test_what_belongs_to_a_change_is_a_step_of_one(line: int) -> None:
    assert re.search(r"\bstep\b|change_category|changes\.md|wcr-watchd change", rows()[line][1]), GUIDE[line - 1]


STEPS = {
    72: [("security", "Test in staging", "staging")],
    74: [("security", "so that rollback is ready", "backups")],
    78: [("feature", "Full quality assurance", "hand")],
    80: [("feature", "Prepare rollback: it is planned", "hand")],
    79: [("feature", "In the maintenance window", "window")],
    84: [("performance", "Load test", "hand")],
    85: [("performance", "In a period of low traffic", "hand")],
    86: [("performance", "Monitor performance, roll back", "compared")],
    91: [("*", "Review release notes", "hand")],
    92: [("*", "Test in staging", "staging")],
    93: [("*", "Backup production", "backups")],
    94: [("*", "Notify stakeholders", "told")],
    95: [("*", "Prepare rollback", "hand")],
    98: [("*", "Enable maintenance mode", "started")],
    99: [("*", "Execute update", "updated")],
    100: [("*", "Run verification", "verified")],
    101: [("*", "Test critical paths", "verified")],
    102: [("*", "Monitor systems", "hand")],
    105: [("*", "Disable maintenance mode", "finished")],
    106: [("*", "Monitor performance", "compared")],
    107: [("*", "Check error logs", "logs")],
    108: [("*", "Gather feedback", "hand")],
    109: [("*", "Document issues", "hand")],
    123: [("security", "Test in staging, minimally", "staging")],
    209: [("certificate", "Test in staging", "staging")],
    210: [("certificate", "Schedule update", "window")],
    211: [("certificate", "Deploy carefully", "updated")],
    212: [("certificate", "Verify functionality", "verified"), ("certificate", "15 min", "logs")],
}
"""The steps of a change that lines ask for: category (``*``: the guide's three), words of it, what ticks it."""


@pytest.mark.parametrize("line", sorted(STEPS.keys() | (numbers(CHECKLISTS) - {63})))
def test_a_step_that_a_line_asks_for_stands_in_its_category(line: int) -> None:
    categories = tomllib.loads((ROOT / "etc" / "conf.d" / "96-changes.toml").read_text())["change_category"]
    for wanted, words, tick in STEPS[line]:
        for name in ("security", "feature", "performance") if wanted == "*" else (wanted,):
            steps = [step for part in ("pre", "during", "post") for step in categories[name][part]]
            found = [step for step in steps if words in step["text"]]
            assert found, f"{name}: {GUIDE[line - 1]}"
            assert tick is None or tick in {step.get("tick", "hand") for step in found}, f"{name}: {words}"


@pytest.mark.parametrize("line", sorted(numbers(REPORTS)))
def test_what_is_told_in_hindsight_is_in_a_report(line: int) -> None:
    assert re.search(r"`\[report\.\w+\]` of etc/", rows()[line][1]), GUIDE[line - 1]


def entries() -> set[str]:
    """The files of etc/knowledge, below it."""
    folder = ROOT / "etc" / "knowledge"
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")}


@pytest.mark.parametrize("line", sorted(numbers(KNOWLEDGE)))
def test_what_is_to_be_written_down_is(line: int) -> None:
    assert re.findall(r"`((?:runbooks|vendors|risks|articles)/[a-z-]+\.md)`", rows()[line][1]), GUIDE[line - 1]


def test_entries_that_are_named_stand_in_etc() -> None:
    assert set(re.findall(r"`([a-z]+/[a-z-]+\.md)`", TABLE)) <= entries()


def test_tables_that_are_named_stand_in_etc() -> None:
    known = {
        (section, name)
        for file in (ROOT / "etc").rglob("*.toml")
        for section, tables in tomllib.loads(file.read_text()).items()
        if isinstance(tables, dict)
        for name in tables
    }
    said = set(re.findall(r"`\[(\w+)\.([\w-]+)(?:\.\w+)?\]`", TABLE))
    assert len(said) > 5
    assert said <= known
    notify = tomllib.loads((ROOT / "etc" / "conf.d" / "notify.toml").read_text())
    levels = set(re.findall(r"`\[policy\.default\.(\w+)\]`", TABLE))
    assert levels == {"critical", "warning", "info"} == notify["policy"]["default"].keys() & levels


def test_what_acts_on_the_system_is_off_and_what_people_do_is_on() -> None:
    for file in (ROOT / "etc" / "conf.d").glob("*.toml"):
        for name, task in tomllib.loads(file.read_text()).get("task", {}).items():
            assert (task.get("enabled") is False) == ("run" in task), name
            assert task["about"], name


def test_a_place_that_is_named_is_there() -> None:
    for page, _, anchor in re.findall(r"\]\(([a-z-]+\.md)(#([a-z0-9-]+))?\)", TABLE):
        text = (ROOT / "docs" / page).read_text()
        places = {
            re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in re.findall("^#+ (.*)", text, re.M)
        }
        assert not anchor or anchor in places, f"{page}#{anchor}"


MADE_BY = {
    "backup-database production": "database/production_%Y%m%d_%H%M%S.sql.gz.enc",
    "backup-database staging": "database/staging_%Y%m%d_%H%M%S.sql.gz.enc",
    "backup-uploads archive": "application/docker_volumes_%Y%m%d_%H%M%S.tar.gz.enc",
    "backup-configuration app": "application/configuration_%Y%m%d_%H%M%S.tar.gz.enc",
    "backup-configuration logs": "application/logs_%Y%m%d_%H%M%S.tar.gz.enc",
    "backup-configuration system": "configuration/system_config_%Y%m%d_%H%M%S.tar.gz.enc",
    "backup-configuration security": "configuration/security_config_%Y%m%d_%H%M%S.tar.gz.enc",
}
"""What the scripts make; the others make no archive of their own."""


def test_what_the_backup_tasks_make_is_looked_at_and_kept() -> None:
    folder = ROOT / "etc"
    tasks = tomllib.loads((folder / "conf.d" / "62-backup-tasks.toml").read_text())["task"]
    checks = tomllib.loads((folder / "conf.d" / "60-backups.toml").read_text())["check"]
    settings = (folder / "backup" / "settings.example").read_text()
    root = re.search("^ROOT=(.+)$", settings, re.MULTILINE)
    assert root
    looked_at = {check.get("path") for check in checks.values() if check["type"] == "backup"}
    runs = {" ".join((Path(task["run"][0]).name, *task["run"][1:])) for task in tasks.values()}
    assert {run.split()[0] for run in runs} == {path.name for path in (folder / "backup").glob("backup-*")}, (
        "each script has its task"
    )
    assert {run for run in runs if run in MADE_BY} == MADE_BY.keys()
    for made in MADE_BY.values():
        assert f"{root[1]}/{made}" in looked_at
        assert made.partition("_%")[0] in settings.partition("RETENTION_SETS=")[2]
    assert checks["uploads"]["mirror"] == f"{root[1]}/uploads/newest"
