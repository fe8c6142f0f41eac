"""The knowledge folder: what is read, what is said of what cannot be, and that nothing else is lost by it."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.config.knowledge import CHECKS, loaded, write
from tests.store.samples import an_incident
from wcr_watchd.cli.main import cli
from wcr_watchd.config.knowledge import _here_since
from wcr_watchd.config.load import Loaded, load, loads
from wcr_watchd.config.warnings import warnings
from wcr_watchd.core.errors import ConfigError
from wcr_watchd.core.guidance import checks_of, guidance_for_check, guidance_for_incident, runbook_address
from wcr_watchd.core.knowledge import FIRST_READ, EntryKind, Rating, Support, SupportLevel
from wcr_watchd.core.model import EventKind, Severity
from wcr_watchd.core.wording import made_up
from wcr_watchd.probes.links import read_folder

DAY = 86_400.0
NOW = datetime(2026, 12, 1, tzinfo=UTC).timestamp()


def test_entries_are_read_with_what_stands_at_their_head(tmp_path: Path) -> None:
    book = loaded(tmp_path).setup.knowledge
    assert book.problems == ()
    assert list(book.entries) == ["hosting", "disk", "database", "connections"]
    database = book.entries["database"]
    assert (database.kind, database.title, database.owner) == (
        EntryKind.RUNBOOK,
        "The database does not answer",
        "ann",
    )
    assert database.text.startswith("1. Is it")
    assert (database.file, database.reviewed) == ("database.md", date(2026, 11, 1))
    assert database.due_at == datetime(2026, 11, 1, tzinfo=UTC).timestamp() + 90 * DAY
    assert book.entries["hosting"].support == Support(
        "+1 555 0100, <support@hosting.example>",
        "all day",
        "customer 4711",
        "99.9 % a month",
        (SupportLevel(3_600.0, "second level"), SupportLevel(14_400.0, "the manager")),
    )
    assert book.entries["disk"].rating == Rating("low", "high", "accepted")
    assert [one.name for one in book.due(NOW)] == ["connections", "disk", "hosting"]


def test_a_check_without_a_runbook_has_the_one_that_is_about_it(tmp_path: Path) -> None:
    setup = loaded(tmp_path).setup
    assert {name: check.runbook for name, check in setup.checks.items()} == {
        "database": "database",
        "api": "https://wiki.example.org/api",
        "mail": "",
    }
    assert runbook_address(setup, "database") == "https://watch.example.org/knowledge/database"
    assert runbook_address(setup, "https://wiki.example.org/api") == "https://wiki.example.org/api"
    shown = made_up(setup, "database", EventKind.OPENED, Severity.CRITICAL)
    assert shown.runbook == "https://watch.example.org/knowledge/database", "as `render` shows it"
    assert shown.url == "https://watch.example.org/incidents/42"
    api = guidance_for_check(setup, setup.checks["api"])
    assert ([one.name for one in api.vendors], [one.name for one in api.related]) == (["hosting"], ["disk"])
    assert checks_of(setup, setup.knowledge.entries["hosting"]) == ["api"]
    assert checks_of(setup, setup.knowledge.entries["disk"]) == ["database", "api"]


def test_a_check_keeps_its_schedule_when_an_entry_is_written_about_it(tmp_path: Path) -> None:
    before = loaded(tmp_path).setup.checks["mail"]
    after = loaded(tmp_path, mail='+++\nkind = "runbook"\nchecks = ["mail"]\n+++\n').setup.checks["mail"]
    assert (before.runbook, after.runbook) == ("", "mail")
    assert before.fingerprint == after.fingerprint


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("# Nothing before it\n", 1, "does not begin with a head between two lines of +++"),
        ('+++\nkind = "risk"\n', 1, "does not begin with a head"),
        ('+++\nkind = "risk\n+++\n', 2, "not TOML at column 13"),
        ('+++\ntitle = "x"\n+++\n', 1, "kind: is missing"),
        ('+++\n\nkind = "rune"\n+++\n', 3, "kind: must be"),
        ('+++\nkind = "risk"\nreviewd = 2026-01-01\n+++\n', 3, 'unknown key "reviewd" (did you mean "reviewed"?)'),
        ('+++\nkind = "vendor"\n[[escalation]]\nafter = "soon"\ncontact = "x"\n+++\n', 4, "escalation[0].after"),
        ('+++\nkind = "article"\nmatch = ["group="]\n+++\n', 3, "match: column"),
    ],
)
def test_a_faulty_file_is_told_with_its_line_and_the_others_are_there(
    tmp_path: Path, text: str, line: int, said: str
) -> None:
    book = loaded(tmp_path, bad=text).setup.knowledge
    (problem,) = book.problems
    assert (problem.file, problem.line) == (str(tmp_path / "knowledge" / "bad.md"), line)
    assert said in str(problem)
    assert set(book.entries) == {"hosting", "disk", "database", "connections"}


def test_an_entry_about_a_check_that_is_not_here_is_told_and_used(tmp_path: Path) -> None:
    book = loaded(tmp_path, other='+++\nkind = "risk"\nchecks = ["dta", "api"]\n+++\n').setup.knowledge
    (problem,) = book.problems
    assert 'there is no check "dta"' in str(problem)
    assert "other" in book.entries


def test_of_two_files_of_a_name_one_is_told(tmp_path: Path) -> None:
    book = loaded(tmp_path, **{"z/disk": '+++\nkind = "risk"\n+++\n', "README": "what this is for"}).setup.knowledge
    (problem,) = book.problems
    assert 'has the name "disk", as disk.md has' in str(problem)


def test_what_is_not_a_file_and_what_is_too_large_holds_nothing_up(tmp_path: Path) -> None:
    config = write(tmp_path, huge="+" * 300_000)
    (tmp_path / "knowledge" / "folder.md").mkdir()
    said = [str(problem) for problem in load(config).setup.knowledge.problems]
    assert len(said) == 2
    assert "folder.md: cannot be read: is not a regular file" in said[0]
    assert "huge.md: cannot be read: has more than 262144 bytes" in said[1]


def test_a_link_to_itself_and_a_text_of_another_encoding_are_told_and_hold_nothing_up(tmp_path: Path) -> None:
    config = write(tmp_path)
    folder = tmp_path / "knowledge"
    (folder / "round.md").symlink_to("round.md")
    (folder / "latin.md").write_bytes(b'+++\nkind = "article"\n+++\n# caf\xe9\n')
    book = load(config).setup.knowledge
    assert [str(one).removeprefix(f"{folder}/") for one in book.problems] == [
        "latin.md: is not UTF-8: byte 31 is no text (save it as UTF-8)",
        "round.md: cannot be read: too many levels of symbolic links",
    ]
    assert len(book.entries) == 4
    assert [one[:6] for one in read_folder(str(folder)).unread] == ["latin.", "round."]


def test_a_text_cannot_steer_a_terminal_and_may_come_from_windows(tmp_path: Path) -> None:
    text = '+++\r\nkind = "article"\r\n+++\r\n# Red \x1b[31m\r\n\r\nfirst\x07\r\nsecond\r\n'
    entry = loaded(tmp_path, odd=text).setup.knowledge.entries["odd"]
    assert (entry.title, entry.text) == ("Red \ufffd[31m", "first\ufffd\nsecond")


def test_a_link_that_leads_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    """What only the daemon may read is not shown to whoever may write into the folder."""
    outside = tmp_path / "secret"
    outside.write_text('+++\nkind = "runbook"\n+++\nhunter2\n')
    config = write(tmp_path)
    folder = tmp_path / "knowledge"
    (folder / "stolen.md").symlink_to(outside)
    (folder / "again.md").symlink_to(folder / "disk.md")
    (folder / "round").symlink_to(folder)
    book = load(config).setup.knowledge
    (problem,) = book.problems
    assert "stolen.md: is a link that leads out of the folder (put the file itself here)" in str(problem)
    assert "stolen" not in book.entries
    assert "disk" in book.entries
    assert "again" not in book.entries, "within it a link to an entry is not that entry once more"
    found = read_folder(str(folder))
    assert found.files == len(book.entries)
    assert found.unread == ("stolen.md: is a link that leads out of the folder",)


def test_a_link_to_what_is_no_entry_itself_is_one(tmp_path: Path) -> None:
    """So Kubernetes puts files into a folder: links to others in a hidden folder."""
    config = write(tmp_path)
    hidden = tmp_path / "knowledge" / "..data"
    hidden.mkdir()
    (hidden / "pager.md").write_text('+++\nkind = "runbook"\n+++\n# The pager is silent\n')
    for name in ("pager", "second"):
        (tmp_path / "knowledge" / f"{name}.md").symlink_to(hidden / "pager.md")
    book = load(config).setup.knowledge
    assert book.problems == ()
    assert [one.name for one in book.entries.values() if one.title == "The pager is silent"] == ["pager"]


def test_an_entry_with_words_alone_is_about_every_incident_that_says_them(tmp_path: Path) -> None:
    text = '+++\nkind = "risk"\nwords = ["Connection refused"]\n+++\n# The database host dies\n'
    setup = loaded(tmp_path, refused=text).setup
    mail = setup.checks["mail"]

    def related(summary: str) -> list[str]:
        found = guidance_for_incident(setup, mail, an_incident(check="mail", summary=summary)).related
        return [one.name for one in found]

    assert related("127.0.0.1:25: connection refused") == ["refused"]
    assert related("no answer within 10 s") == []
    assert "refused" not in [one.name for one in guidance_for_check(setup, mail).related]


@pytest.mark.parametrize(
    ("word", "said", "fits"),
    [
        ("503", "GET https://api.example.org/health answered 503, expected 2xx", True),
        ("503", "response_time 0.503 s > 0.5 s", False),
        ("503", "no connection to 127.0.0.1 port 5503", False),
        ("503", "503.2 ms", False),
        ("pool", "POOL: no room", True),
        ("pool", "the spool of Liverpool is full", False),
        ("memory", "memory_used 96 % > 90 %", True),
        ("late", "1 h late.", True),
        ("late", "the template is translated later", False),
        ("example.org", "www.example.org cannot be looked up", True),
        ("02:00", "due at 02:00, not heard of", True),
        ("[drill]", "a [DRILL] message", True),
        ("", "anything", True),
    ],
)
def test_words_are_whole_words(tmp_path: Path, word: str, said: str, fits: bool) -> None:
    text = f'+++\nkind = "article"\nwords = ["{word}"]\n+++\n# x\n'
    setup = loaded(tmp_path, x=text).setup
    found = guidance_for_incident(setup, setup.checks["mail"], an_incident(check="mail", summary=said))
    assert ("x" in [one.name for one in found.related]) is fits


def test_warnings_name_what_is_to_be_read_and_what_is_not_there(tmp_path: Path) -> None:
    config = write(tmp_path)
    config.write_text(CHECKS.replace('"hosting"', '"hostin"') + 'runbook = "databse"\n')
    read = load(config)
    said = [str(one) for one in warnings(read, came(read) + FIRST_READ)]
    assert any("1 of 4 entries is to be read again: hosting (set" in one for one in said)
    assert any("2 of 4 entries are not read yet: connections, disk (put in" in one for one in said)
    assert any('check.api.vendor: there is no vendor "hostin"' in one and '"hosting"?' in one for one in said)
    assert any('check.mail.runbook: there is no runbook "databse"' in one and '"database"?' in one for one in said)


def test_the_check_of_links_knows_the_runbooks_that_checks_name_by_url(tmp_path: Path) -> None:
    config = write(tmp_path)
    links = '[check.links]\ntype = "links"\nfolder = "/srv/knowledge"\n'
    tasks = '[task.restore]\nschedule = "0 9 1 * *"\nrunbook = "https://wiki.example.org/restore"\n'
    off = '[check.off]\ntype = "tcp"\naddress = "h:1"\nenabled = false\nrunbook = "https://wiki.example.org/off"\n'
    config.write_text(CHECKS + links + tasks + off)
    before = load(config)
    assert getattr(before.probes["links"], "runbooks") == {  # noqa: B009 - it is a probe of any type
        "api": "https://wiki.example.org/api",
        "task.restore": "https://wiki.example.org/restore",
    }
    # Another address is another check to run: it is asked at once after a reload.
    config.write_text(CHECKS.replace("org/api", "org/other") + links + tasks)
    assert load(config).setup.checks["links"].fingerprint != before.setup.checks["links"].fingerprint


def came(read: Loaded) -> float:
    """When the last entry was written."""
    return max(one.here_since for one in read.setup.knowledge.entries.values())


def test_nobody_is_reminded_to_read_what_came_lately_though_it_is_on_the_list(tmp_path: Path) -> None:
    begin = time.time() - 60
    read = load(write(tmp_path))
    assert begin < came(read) < time.time() + 60
    entries = {name: replace(one, here_since=NOW) for name, one in read.setup.knowledge.entries.items()}
    book = replace(read.setup.knowledge, entries=entries)
    assert [one.name for one in book.due(NOW)] == ["connections", "disk", "hosting"]
    # One that was read once is told on its day, however lately the file was changed.
    assert [one.name for one in book.late(NOW + FIRST_READ - 1)] == ["hosting"]
    assert [one.name for one in book.late(NOW + FIRST_READ)] == ["connections", "disk", "hosting"]


def test_one_that_is_being_replaced_just_now_is_new(tmp_path: Path) -> None:
    """It was of 1970, which a daemon remembers: nobody had read it for half a century."""
    before = time.time()
    assert _here_since(tmp_path / "gone.md") >= before


def test_a_folder_that_is_not_there_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "w.toml").write_text('[knowledge]\nfolder = "gone"\n')
    (problem,) = load(tmp_path / "w.toml").setup.knowledge.problems
    assert f"there is no folder {tmp_path / 'gone'}" in str(problem)
    assert problem.line == 2
    with pytest.raises(ConfigError, match="unknown key"):
        loads('[knowledge]\nfolders = "x"\n', "test")


def test_a_secret_that_stands_in_a_text_is_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD", "a-long-secret-word")
    config = write(tmp_path, notes='+++\nkind = "article"\n+++\nSign in with a-long-secret-word.\n')
    config.write_text(CHECKS + '[heartbeat.x]\nurl = "https://hc.example/${env:WORD}"\n')
    assert "a-long-secret-word" not in load(config).setup.knowledge.entries["notes"].text


def test_the_command_prints_what_to_do_without_a_daemon(tmp_path: Path) -> None:
    config = str(write(tmp_path))
    shown = CliRunner().invoke(cli, ["runbook", "database", "--config", config])
    assert shown.exit_code == 0
    assert "The database does not answer" in shown.stdout
    assert "1. Is it [running]" in shown.stdout
    assert "see also the risk disk: One disk holds all data" in shown.stdout
    api = CliRunner().invoke(cli, ["runbook", "api", "--config", config])
    assert "api: https://wiki.example.org/api" in api.stdout
    assert "support: +1 555 0100" in api.stdout
    assert api.stdout.index("after 1 h: second level") < api.stdout.index("after 4 h: the manager")
    nothing = CliRunner().invoke(cli, ["runbook", "mail", "--config", config])
    assert (nothing.exit_code, "no runbook is about mail" in nothing.stderr) == (1, True)


def test_the_shipped_entries_are_due_until_somebody_has_read_them_and_again_in_time(tmp_path: Path) -> None:
    folder = tmp_path / "knowledge"
    shutil.copytree(Path(__file__).parents[2] / "etc" / "knowledge", folder)
    config = tmp_path / "watchd.toml"
    config.write_text('[knowledge]\nfolder = "knowledge"\n')
    book = load(config).setup.knowledge
    assert {one.name for one in book.due(NOW)} == set(book.entries)
    assert all(one.owner for one in book.entries.values())
    for file in folder.rglob("*.md"):
        file.write_text(file.read_text().replace("+++\n", "+++\nreviewed = 2026-12-01\n", 1))
    read = load(config)
    entries = read.setup.knowledge.entries.values()
    assert warnings(read, NOW + 89 * DAY) == read.setup.knowledge.problems
    each_quarter = {one.name for one in entries if one.kind in (EntryKind.VENDOR, EntryKind.RISK)}
    assert {one.name for one in read.setup.knowledge.due(NOW + 91 * DAY)} == each_quarter
    [said, *_] = warnings(read, NOW + 91 * DAY)
    assert f"{len(each_quarter)} of {len(entries)} entries are to be read again" in said.reason
    assert len(read.setup.knowledge.due(NOW + 181 * DAY)) == len(entries)
