"""The log probe on real files, rotated by the real logrotate."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.running import UNDISTURBED, Watch, carry_out, measured, names, new_run, probe_of, reference_work
from wcr_watchd.core.model import Outcome
from wcr_watchd.kit.logs import tally
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.probes.log import Log

WatchOf = Callable[..., Watch]
NGINX = (
    '192.0.2.7 - - [28/Nov/2026:15:51:33 +0000] "GET /events/12 HTTP/1.1" 200 5120 "https://www.example.org/" '
    '"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"\n'
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log with a line from before."""
    path = tmp_path / "logs" / "app.log"
    path.parent.mkdir(mode=0o755)
    path.write_text("ERROR of yesterday\n")
    return path


def add(path: Path, *lines: str) -> None:
    """Append lines."""
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)


async def test_only_what_is_new_counts(log: Path, watch: WatchOf) -> None:
    check = watch("log", path=str(log))
    seen = await check.run()
    assert (seen.outcome, seen.reason) == (Outcome.UP, "")
    assert "nothing new that matches" in seen.summary
    assert (measured(seen, "matches", pattern="error"), measured(seen, "lines")) == (0, 0)
    add(log, "all is well, 0 errors", "ERROR cannot reach the database", "[error] 7#7: upstream timed out")
    seen = await check.run()
    assert (measured(seen, "matches", pattern="error"), measured(seen, "lines")) == (2, 3)
    assert measured(seen, "size") == log.stat().st_size
    assert seen.reason == "match"
    assert seen.summary == f"{log}: error: [error] 7#7: upstream timed out"
    assert seen.evidence["error"] == "ERROR cannot reach the database\n[error] 7#7: upstream timed out"
    again = await check.run()
    assert (measured(again, "matches", pattern="error"), measured(again, "lines")) == (2, 3), "counters go on"
    assert again.reason == ""


@pytest.mark.parametrize("line", ["2026 FATAL x", 'level="error" msg=x', '{"level":"error"}', "Unhandled exception: x",
                                  "Traceback (most recent call last):", "2026/11/28 [crit] 1#1: x",
                                  "[12:00:01 ERR] x", "fail: Microsoft.EntityFrameworkCore.Command[20102]",
                                  '{"EventId":7,"LogLevel":"Error"}'])  # fmt: skip
async def test_lines_that_tell_of_an_error(log: Path, watch: WatchOf, line: str) -> None:
    check = watch("log", path=str(log))
    await check.run()
    add(log, line)
    assert measured(await check.run(), "matches", pattern="error") == 1


async def test_patterns_of_ones_own(log: Path, watch: WatchOf) -> None:
    options = {"patterns": {"slow": r"duration: \d{4,}", "gone": "^404"}, "ignore": ["healthcheck"]}
    check = watch("log", path=str(log), **options)
    await check.run()
    add(log, "duration: 5000", "duration: 7000 healthcheck", "404 /a", "was 404", "duration: 12", "404 duration: 9999")
    seen = await check.run()
    assert measured(seen, "matches", pattern="slow") == 2
    assert measured(seen, "matches", pattern="gone") == 2
    assert seen.evidence["slow"].splitlines() == ["duration: 5000", "404 duration: 9999"]


async def test_through_a_rotation(log: Path, watch: WatchOf) -> None:
    configuration = log.parent.parent / "logrotate.conf"
    configuration.write_text(f"{log} {{\n rotate 9\n su root root\n create\n compress\n}}\n")
    configuration.chmod(0o644)
    check = watch("log", path=str(log.parent / "*.log*"))
    await check.run()
    add(log, "ERROR 1")
    subprocess.run(["logrotate", "-f", "-s", str(log.parent.parent / "state"), str(configuration)], check=True)
    add(log, "ERROR 2")
    assert log.with_name("app.log.1.gz").exists()
    seen = await check.run()
    assert measured(seen, "matches", pattern="error") == 2, "and not the rotated file as a new one"
    assert measured(await check.run(), "matches", pattern="error") == 2


async def test_a_rotated_file_that_is_written_to_still(log: Path, watch: WatchOf) -> None:
    check = watch("log", path=str(log))
    await check.run()
    log.rename(log.with_name("app.log.1"))
    add(log.with_name("app.log.1"), "ERROR 1")
    add(log, "ERROR 2")
    assert measured(await check.run(), "matches", pattern="error") == 1
    os.utime(log.with_name("app.log.1"), (0, 0))
    assert measured(await check.run(), "matches", pattern="error") == 2


async def test_several_files_of_which_one_is_new(log: Path, watch: WatchOf) -> None:
    check = watch("log", path=str(log.parent / "*.log"))
    await check.run()
    add(log, "ERROR 1")
    add(log.with_name("other.log"), "ERROR 2", "ERROR 3")
    add(log.with_name("other.txt"), "ERROR 4")
    seen = await check.run()
    assert measured(seen, "matches", pattern="error") == 3
    assert "2 files" in seen.summary


async def test_more_files_than_are_followed(log: Path, watch: WatchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wcr_watchd.probes.log.MOST_FILES", 2)
    for name in ("b.log", "c.log"):
        log.with_name(name).touch()
    seen = await watch("log", path=str(log.parent / "*.log")).run()
    assert "1 files: no more than 2 are followed" in seen.evidence["absent"]


async def test_another_path_begins_anew(log: Path, watch: WatchOf) -> None:
    check = watch("log", path=str(log))
    await check.run()
    other = log.with_name("other.log")
    add(other, "ERROR of yesterday")
    check.options["path"] = str(other)
    assert measured(await check.run(), "matches", pattern="error") == 0
    add(other, "ERROR")
    assert measured(await check.run(), "matches", pattern="error") == 1


async def test_silence(log: Path, watch: WatchOf) -> None:
    os.utime(log, (1_000_000, 1_000_000))
    check = watch("log", path=str(log))
    for _ in range(2):
        assert measured(await check.run(started=1_003_600), "silence") == 3_600


async def test_nothing_is_started_for_a_log_that_is_silent(
    log: Path, watch: WatchOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = watch("log", path=str(log))
    await check.run()

    async def never(*_: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr("wcr_watchd.probes.log.aside", never)
    seen = await check.run()
    assert measured(seen, "matches", pattern="error") == 0
    add(log, "new")
    with pytest.raises(AssertionError):
        await check.run()


async def test_a_truncated_log_says_what_is_lost(log: Path, watch: WatchOf) -> None:
    check = watch("log", path=str(log))
    await check.run()
    log.write_text("ERROR\n")
    seen = await check.run()
    assert measured(seen, "matches", pattern="error") == 1
    assert str(log) in seen.evidence["lost"]


async def test_more_than_is_wanted(log: Path, watch: WatchOf) -> None:
    check = watch("log", path=str(log), most="1kB")
    await check.run()
    add(log, *["ERROR " + "x" * 93] * 100)
    seen = await check.run()
    assert measured(seen, "skipped") == 9_000
    assert 9 <= measured(seen, "matches", pattern="error") <= 10


async def test_what_is_not_there(log: Path, watch: WatchOf, tmp_path: Path) -> None:
    later = tmp_path / "later.log"
    check = watch("log", path=str(later))
    seen = await check.run()
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert not names(seen)
    add(later, "ERROR 1")
    assert measured(await check.run(), "matches", pattern="error") == 1, "what came to be since is new"
    seen = await watch("log", path=str(tmp_path / "none*.log")).run()
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    seen = await watch("log", path="/dev/null").run()
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "no regular file" in seen.summary


async def test_one_of_several_that_cannot_be_read(log: Path, watch: WatchOf) -> None:
    (log.parent / "folder.log").mkdir()
    check = watch("log", path=str(log.parent / "*.log"))
    await check.run()
    add(log, "ERROR")
    seen = await check.run()
    assert seen.outcome is Outcome.UP
    assert measured(seen, "matches", pattern="error") == 1
    assert "folder.log" in seen.evidence["absent"]


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    """Root may read everything, so this runs as nobody in a process of its own."""
    path = tmp_path / "private.log"
    path.write_text("ERROR\n")
    path.chmod(0)
    code = (
        "import os, json, sys\n"
        "from wcr_watchd.kit.logs.tally import tally_files\n"
        "os.geteuid() == 0 and os.seteuid(65534)\n"
        "given = {'path': sys.argv[1], 'patterns': {}, 'ignore': [], 'most': 9, 'first': True, 'cursors': {}}\n"
        "print(json.dumps(tally_files(given)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert '"problems": {"' + str(path) + '": [13, "Permission denied"]}' in done.stdout
    assert '"cursors": {"' + str(path) + '": null}' in done.stdout, "what is there will not be new once it may be read"


async def test_permission_is_unknown(log: Path, watch: WatchOf, monkeypatch: pytest.MonkeyPatch) -> None:
    async def denied(*_: object) -> dict[str, object]:
        nothing = {"lines": 0, "matches": {"error": 0}, "samples": {}, "skipped": 0, "lost": []}
        return {**nothing, "cursors": {str(log): None}, "problems": {str(log): [13, "Permission denied"]}}

    monkeypatch.setattr("wcr_watchd.probes.log.aside", denied)
    seen = await watch("log", path=str(log)).run()
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")
    assert "adm" in seen.summary


async def test_a_pattern_that_takes_for_ever_is_cut_off_and_passed_over(log: Path, watch: WatchOf) -> None:
    check = watch("log", path=str(log), patterns={"hard": "(a+)+b"})
    await check.run()
    add(log, "a" * 60)
    began = time.monotonic()
    seen = await check.run(timeout=3.0)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    assert time.monotonic() - began < 20
    add(log, "aab")
    await check.run()
    add(log, "aab")
    assert measured(await check.run(), "matches", pattern="hard") == 1


async def test_cancelling_ends_the_process(log: Path, shared: SharedHelpers) -> None:
    run, others = new_run(shared), set(_children())  # such as the servers of other tests
    run.memory = {"path": str(log), "totals": {"lines": 0, "skipped": 0, "matches": {}}}
    add(log, "a" * 60)
    running = asyncio.create_task(carry_out(probe_of("log", {"path": str(log), "patterns": {"hard": "(a+)+b"}}), run))
    deadline = time.monotonic() + 20
    while not (children := set(_children()) - others):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def _children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"")
    given = {"path": str(path), "patterns": {"e": "ERROR .$"}, "ignore": [], "most": 1000, "first": True, "cursors": {}}
    given = {**given, "cursors": tally.tally_files(given)["cursors"], "first": False}
    path.write_bytes(b"\xff\xfe\x00\nERROR \xe9\n")
    told = tally.tally_files(given)
    assert (told["lines"], told["matches"], told["samples"]) == (2, {"e": 1}, {"e": ["ERROR \ufffd"]})


def test_a_hundred_megabytes_in_five_seconds_of_processor_time(tmp_path: Path) -> None:
    """The house's own bar, for the patterns that come ready made."""
    path = tmp_path / "access.log"
    path.touch()
    given = {
        "patterns": probe_of("log", {"path": str(path)}).patterns,
        "ignore": [],
        "most": 1 << 30,
        "path": str(path),
    }
    cursors = tally.tally_files({**given, "first": True, "cursors": {}})["cursors"]
    with path.open("w") as file:
        for _ in range(100):
            file.write(NGINX * (1_000_000 // len(NGINX)))
    works = [reference_work()]
    before = time.process_time()
    told = tally.tally_files({**given, "first": False, "cursors": cursors})
    taken = time.process_time() - before
    works.append(reference_work())
    assert taken < max(5.0, 5.0 * max(works) / UNDISTURBED), f"{taken:.1f} s, the reference {works}"
    assert told["lines"] == 100 * (1_000_000 // len(NGINX))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"path": "app.log"}, "must begin with /"),
        ({"path": "/a", "patterns": {"a": "("}}, "not a regular expression"),
        ({"path": "/a", "patterns": {}}, "at least 1"),
    ],
)
def test_options_that_are_none(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Log.model_validate(options)


@pytest.mark.parametrize(
    "line",
    [
        *(
            "ERROR x",
            "a FATAL one",
            "CRITICAL",
            "PANIC:",
            "EMERG",
            "[ERR]",
            "[FTL]",
            "[error] 7#7",
            "[crit] 7",
            "[alert]",
        ),
        *(
            "[emerg]",
            "[fatal]",
            "level=error",
            "Level: Fatal",
            '{"level":"critical"}',
            "level=panic",
            "fail: Shop.Api[0]",
        ),
        *("crit: Shop[1]", "Traceback (most recent call last):", "Unhandled exception", "Unhandled Exception. Oh"),
        "(node:1) UnhandledPromiseRejectionWarning",
    ],
)
def test_what_is_looked_for_by_words_first_is_found(line: str) -> None:
    counted = tally.Tally({"error": tally.ERRORS}, [])
    counted.block(f"all is well\n{line}\n".encode())
    counted.block(b"all is well\nand so it goes on\n")
    assert (counted.lines, counted.matches) == (4, {"error": 1})
