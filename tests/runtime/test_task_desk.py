"""The desk of tasks: begun when due, never beside themselves, again when they fail, remembered, signed off."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.real.running import probe_of
from wcr_watchd.core.errors import CommandError
from wcr_watchd.core.heartbeat import Book, HeartbeatState, Standing
from wcr_watchd.core.setup import Check, Setup
from wcr_watchd.core.task import TaskBook, TaskKind, TaskOutcome, TaskPhase, TaskRecord, TaskState, mark_of_run
from wcr_watchd.kit import calendars, strays
from wcr_watchd.kit.redact import Redactor
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.kit.subprocess import mark_of
from wcr_watchd.runtime import task_desk, task_run
from wcr_watchd.runtime.task_desk import MOST_AT_A_TIME, TaskDesk

START = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
"""A Monday."""
HOUR, DAY = 3_600.0, 86_400.0
SECRET = "hunter2-hunter2"
KEY = "6d2f1d3e-1c0b-4d0a-9a55-0f2a7e3c9b11"


class Bench:
    """A desk with everything around it in hand; time goes on when it is told to."""

    def __init__(self, shared: SharedHelpers) -> None:
        self.at = START
        self.shared = shared
        self.book = shared.get(TaskBook)
        self.records: list[TaskRecord] = []
        self.judged: list[str] = []
        self.desk = self.new_desk()

    def new_desk(self) -> TaskDesk:
        return TaskDesk(self.book, self, self, self.shared, Redactor([SECRET]).text, self._run_soon)

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def task_is(self, state: TaskState, record: TaskRecord | None = None) -> None:
        self.book.states[state.task] = state
        if record is not None:
            self.records.append(record)

    async def flush(self) -> bool:
        return True

    def _run_soon(self, check: str, delay: float) -> None:
        self.judged.append(check)

    def watch(self, **tasks: Any) -> None:
        probes = {
            f"task.{name}": probe_of("heartbeat" if "key" in options else "task", {"timezone": "UTC", **options})
            for name, options in tasks.items()
        }
        self.desk.replace(probes)
        checks = {name: Check(name, one.type, one.target, 60.0, 10.0, (), owner="ann") for name, one in probes.items()}
        self.setup = Setup("w", "here", "UTC", "", checks)

    async def look(self, at: float | None = None) -> None:
        """Look at what is due at that time, and wait until what begins is over."""
        self.at = self.at if at is None else at
        async with asyncio.TaskGroup() as runs:
            await self.desk._look(runs)

    def state(self, name: str) -> TaskState:
        return self.book.states[f"task.{name}"]


@pytest.fixture(autouse=True)
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    """What runs are marked by: the clock of these tests shows the same to all who run them on this machine."""
    name = f"WATCHD_RUN_{os.getpid()}"
    monkeypatch.setattr(strays, "MARK", name)
    monkeypatch.setattr(task_run, "MARK", name)
    return name


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    shared = SharedHelpers()
    yield Bench(shared)
    await shared.close()


def is_alive(process: str) -> bool:
    """Whether the process of this mark goes on."""
    return bool(process) and mark_of(int(process.split(":")[1])) == process


def shell(text: str, **more: Any) -> dict[str, Any]:
    return {"schedule": "0 13 * * *", "run": ["/bin/sh", "-c", text], **more}


async def test_a_run_begins_when_it_is_due_and_is_remembered(bench: Bench) -> None:
    bench.watch(job=shell(f"echo out {SECRET}; echo err >&2; echo $LANG $HOME > /dev/null"))
    await bench.look(START + HOUR - 1)
    assert bench.records == []
    await bench.look(START + HOUR)
    (record,) = bench.records
    assert (record.outcome, record.exit_status, record.attempts, record.number) == (TaskOutcome.DONE, 0, 1, 1)
    assert (record.due, record.started_at, record.by) == (START + HOUR, START + HOUR, "")
    assert record.output == "out ***\nerr"
    assert "task.job" in bench.judged
    await bench.look(START + HOUR + 1)
    assert len(bench.records) == 1
    await bench.look(START + DAY + HOUR)
    assert [one.number for one in bench.records] == [1, 2]


async def test_a_run_that_takes_longer_than_a_day_is_overdue_when_the_next_one_is(bench: Bench) -> None:
    bench.watch(job=shell("true"))
    begin = START + HOUR
    bench.book.states["task.job"] = replace(bench.state("job"), started_at=begin)
    for at, phase in (
        (begin + 1, TaskPhase.RUNNING),
        (begin + DAY, TaskPhase.RUNNING),
        (begin + DAY + HOUR, TaskPhase.OVERDUE),
    ):
        bench.judged.clear()
        await bench.look(at)
        (one,) = await bench.desk.views(bench.setup)
        assert (one.phase, one.due, bench.judged) == (phase, begin + DAY, ["task.job"]), "its check runs at once"
    assert bench.records == [], "and nothing begins beside it"


async def test_a_failed_run_is_tried_again_and_says_why(bench: Bench, tmp_path: Path) -> None:
    script = f"echo x >> {tmp_path}/tries; [ $(wc -l < {tmp_path}/tries) -ge 3 ] || {{ echo no room >&2; exit 7; }}"
    bench.watch(
        job=shell(script, retries=2, retry_after="1ms"),
        hopeless=shell("echo no room >&2; exit 7", retries=1, retry_after="1ms"),
    )
    await bench.look(START + HOUR)
    by_task = {one.task: one for one in bench.records}
    assert (by_task["task.job"].outcome, by_task["task.job"].attempts) == (TaskOutcome.DONE, 3)
    failed = by_task["task.hopeless"]
    assert (failed.outcome, failed.attempts, failed.exit_status) == (TaskOutcome.FAILED, 2, 7)
    assert failed.text == "/bin/sh ended with status 7, expected status 0: no room"
    assert bench.state("hopeless").failed


async def test_one_that_takes_too_long_is_asked_to_end_and_its_words_are_kept(bench: Bench) -> None:
    bench.watch(job=shell("trap 'echo tidied up; exit 1' TERM; echo begun; sleep 60 & wait", time_limit="300ms"))
    await bench.look(START + HOUR)
    (record,) = bench.records
    assert record.outcome is TaskOutcome.FAILED
    assert "did not end within 300 ms and was ended" in record.text
    assert record.output == "begun\ntidied up"


async def test_only_the_end_of_much_output_is_kept(bench: Bench) -> None:
    bench.watch(job=shell("head -c 100000 /dev/zero | tr '\\0' x; echo; echo last"))
    await bench.look(START + HOUR)
    assert len(bench.records[0].output) <= 16 * 1024
    assert bench.records[0].output.endswith("x\nlast")


async def test_what_it_wrote_is_shown_without_secrets_and_codes_for_a_terminal(bench: Bench) -> None:
    padding = "x" * 190
    bench.watch(job=shell(f"printf '\\033[2Jgone\\n'; echo '{padding} {SECRET}' >&2; exit 1"))
    await bench.look(START + HOUR)
    (record,) = bench.records
    assert record.output == f"\ufffd[2Jgone\n{padding} ***"
    assert "hunter2" not in record.text


async def test_an_error_of_another_kind_fails_the_task_and_no_more(bench: Bench) -> None:
    bench.watch(job=shell("true", env={"A": "a\0b"}))
    await bench.look(START + HOUR)
    assert bench.records[0].outcome is TaskOutcome.FAILED
    assert "could not be run: ValueError" in bench.records[0].text


async def test_a_schedule_of_which_nothing_can_be_told_is_looked_at_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.watch(job=shell("true", schedule="Mon..Sun 13:00"))
    with monkeypatch.context() as patch:
        patch.setattr(calendars, "ANALYZE", "not-there")
        await bench.look(START + HOUR)
    assert bench.records == []
    assert bench.desk._edges["task.job"] == START + HOUR + 60
    await bench.look(START + HOUR + 60)
    assert bench.records[0].outcome is TaskOutcome.DONE


async def test_it_makes_way_and_gets_what_it_is_given_and_no_more(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHD_SECRET", "never")
    bench.watch(job=shell("nice; ionice; pwd; env", nice=7, io="idle", cwd="/tmp", env={"GREETING": "hello"}))
    await bench.look(START + HOUR)
    lines = bench.records[0].output.splitlines()
    assert lines[:3] == [str(min(19, os.nice(0) + 7)), "idle", "/tmp"]
    assert "GREETING=hello" in lines
    assert not any("never" in line for line in lines)


async def test_the_kernel_ends_it_before_the_daemon_when_memory_runs_out(bench: Bench) -> None:
    bench.watch(job=shell("sleep 0.3; cat /proc/self/oom_score_adj; head -c 20 /proc/$$/oom_score_adj"))
    await bench.look(START + HOUR)
    assert bench.records[0].output.split() == ["500", "500"]


async def test_it_has_the_rights_of_its_user(bench: Bench) -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    bench.watch(
        own=shell("id -un", user=me),
        other=shell("id -un; id -Gn; echo $HOME", user="nobody"),
        none=shell("true", user="nobody-there"),
    )
    await bench.look(START + HOUR)
    by_task = {one.task: one for one in bench.records}
    assert by_task["task.own"].output == me
    if os.getuid() == 0:
        assert by_task["task.other"].output.splitlines()[0] == "nobody"
    else:
        assert by_task["task.other"].text.startswith("could not be run as nobody: only a daemon that is root may")
    assert by_task["task.none"].text == "could not be run: there is no user nobody-there on this machine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"run": ["/not/there"]}, "/not/there does not exist"),
        ({"run": ["true"], "cwd": "/not/there"}, "the folder /not/there (cwd) does not exist"),
        ({"run": ["/etc/passwd"]}, "/etc/passwd may not be run by this user"),
    ],
)
async def test_what_cannot_be_run_says_what_is_in_the_way(bench: Bench, options: dict[str, Any], said: str) -> None:
    bench.watch(job={"schedule": "0 13 * * *", **options})
    await bench.look(START + HOUR)
    assert bench.records[0].outcome is TaskOutcome.FAILED
    assert said in bench.records[0].text


async def test_it_never_runs_beside_itself(bench: Bench) -> None:
    bench.watch(job=shell("sleep 0.2"))
    bench.at = START + HOUR
    async with asyncio.TaskGroup() as runs:
        await bench.desk._look(runs)
        with pytest.raises(CommandError, match="never runs beside itself"):
            await bench.desk.run_now("job", "ann")
        with pytest.raises(CommandError, match="sign it off when that is over"):
            await bench.desk.sign_off("job", "ann")
        bench.at += 3 * DAY
        await bench.desk._look(runs)
    assert len(bench.records) == 1
    await bench.look()
    await bench.look()
    assert len(bench.records) == 2, "the days that passed meanwhile are made up for once"


async def test_what_was_due_while_nobody_was_there(bench: Bench) -> None:
    bench.watch(
        once=shell("true"), lax=shell("true", catch_up=False), strict=shell("true", catch_up=False, grace="10d")
    )
    await bench.look(START + 5 * DAY)
    await bench.look()
    assert {one.task: one.outcome for one in bench.records} == {
        "task.once": TaskOutcome.DONE,
        "task.lax": TaskOutcome.MISSED,
        "task.strict": TaskOutcome.DONE,
    }
    assert not bench.state("lax").failed


async def test_after_an_absence_only_some_run_beside_each_other(bench: Bench) -> None:
    bench.watch(**{f"job{number}": shell("sleep 0.2") for number in range(MOST_AT_A_TIME + 3)})
    bench.at = START + 5 * DAY
    async with asyncio.TaskGroup() as runs:
        await bench.desk._look(runs)
        assert len(bench.desk._running) == MOST_AT_A_TIME
        bench.at += 1
        await bench.desk._look(runs)
        assert len(bench.desk._running) == MOST_AT_A_TIME
        await bench.desk.run_now(f"job{MOST_AT_A_TIME + 2}", "ann")
        await bench.desk._look(runs)
        assert len(bench.desk._running) == MOST_AT_A_TIME + 1, "what a person wants does not wait"
    await bench.look(bench.at + 5)
    assert len({one.task for one in bench.records}) == MOST_AT_A_TIME + 3


async def test_it_waits_for_its_window(bench: Bench) -> None:
    bench.watch(job=shell("true", window="Tue 03:00-05:00"))
    await bench.look(START + HOUR)
    assert bench.records == []
    await bench.look(START + 15 * HOUR - 1)
    assert bench.records == []
    await bench.look(START + 15 * HOUR)
    assert bench.records[0].started_at == START + 15 * HOUR


async def test_it_is_not_tried_again_when_its_window_has_closed(bench: Bench, tmp_path: Path) -> None:
    tries = tmp_path / "tries"
    failing = shell(f"echo >> {tries}; exit 1", window="Tue 03:00-05:00", retries=5, retry_after="1s")
    bench.watch(job=failing)
    bench.at = START + 17 * HOUR - 1
    async with asyncio.TaskGroup() as runs:
        await bench.desk._look(runs)
        async with asyncio.timeout(20):
            while not tries.exists():
                await asyncio.sleep(0.01)
        bench.at += 2
    (record,) = bench.records
    assert (record.outcome, record.attempts) == (TaskOutcome.FAILED, 1)
    assert record.text.endswith("ended with status 1, expected status 0; not tried again, as its window is closed")
    bench.watch(job={**failing, "retries": 1, "retry_after": "1ms"})
    await bench.desk.run_now("job", "ann")
    await bench.look()
    assert bench.records[-1].attempts == 2, "whoever has it run now wants it now"


async def test_somebody_has_it_run_now_outside_of_its_window(bench: Bench) -> None:
    bench.watch(
        job=shell("true", window="Sun 03:00-05:00"), person={"schedule": "0 9 1 * *"}, beat={"key": KEY, "period": "1d"}
    )
    assert "is begun" in await bench.desk.run_now("task.job", "ann")
    await bench.look()
    assert (bench.records[0].by, bench.records[0].outcome) == ("ann", TaskOutcome.DONE)
    for name, why in (("person", "a person does it"), ("beat", "reports by itself"), ("ghost", "there is no task")):
        with pytest.raises(CommandError, match=why):
            await bench.desk.run_now(name, "ann")


async def test_a_run_is_ended_with_the_daemon_and_made_up_for_by_the_next(bench: Bench) -> None:
    bench.watch(job=shell("sleep 60"))
    bench.at = START + HOUR
    serving = asyncio.create_task(bench.desk.serve())
    async with asyncio.timeout(20):
        while bench.state("job").started_at is None:
            await asyncio.sleep(0.01)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    (record,) = bench.records
    assert (record.outcome, record.started_at) == (TaskOutcome.INTERRUPTED, START + HOUR)
    assert bench.state("job").started_at is None
    bench.watch(job=shell("true"))
    await bench.look()
    assert bench.records[-1].outcome is TaskOutcome.DONE


async def interrupted_and_done(bench: Bench, serving: asyncio.Task[None]) -> None:
    """It is told that a run was interrupted, then that the next is done."""
    async with asyncio.timeout(20):
        while len(bench.records) < 2:
            await asyncio.sleep(0.01)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert [one.outcome for one in bench.records] == [TaskOutcome.INTERRUPTED, TaskOutcome.DONE]


async def test_a_run_of_a_life_that_was_killed_is_told_as_interrupted(bench: Bench) -> None:
    bench.watch(job=shell("true"))
    bench.book.states["task.job"] = replace(bench.state("job"), settled_at=START - DAY, started_at=START - HOUR)
    bench.desk = bench.new_desk()
    bench.watch(job=shell("true"))
    serving = asyncio.create_task(bench.desk.serve())
    await interrupted_and_done(bench, serving)


async def test_a_person_signs_off_with_note_and_evidence(bench: Bench) -> None:
    bench.watch(review={"schedule": "0 9 1 * *", "about": "look", "evidence": True}, beat={"key": KEY, "period": "1d"})
    with pytest.raises(CommandError, match="without evidence"):
        await bench.desk.sign_off("review", "ann", "done")
    said = await bench.desk.sign_off("review", "ann", " fine ", ["https://wiki/1", " "])
    assert said == "review is done, signed off by ann; due again in 29 d 21 h"
    (record,) = bench.records
    assert (record.by, record.note, record.evidence) == ("ann", "fine", ("https://wiki/1",))
    with pytest.raises(CommandError, match="reports by itself"):
        await bench.desk.sign_off("beat", "ann")


async def test_a_task_counts_from_when_it_became_known_and_anew_when_it_comes_back(bench: Bench) -> None:
    review = {"schedule": "0 9 1 * *"}
    bench.watch(review=review)
    await bench.desk.sign_off("review", "ann")
    known = bench.state("review")
    bench.at += 5 * DAY
    bench.watch(review=review)
    assert bench.state("review") is known, "an unchanged schedule goes on, also after a restart"
    bench.at += 40 * DAY
    bench.watch()
    bench.watch(review=review)
    again = bench.state("review")
    assert (again.settled_at, again.count, again.last) == (bench.at, 1, known.last)
    bench.at += DAY
    bench.watch(review={"schedule": "0 9 * * 1"})
    assert bench.state("review").settled_at == bench.at


async def test_a_run_that_outlives_a_killed_daemon_does_not_run_beside_itself(bench: Bench) -> None:
    bench.watch(job=shell("sleep 60"))
    bench.at = START + HOUR
    orphan = await asyncio.create_subprocess_exec("sleep", "60")
    left = TaskState(
        "task.job", START, bench.state("job").schedule, started_at=START + HOUR, process=mark_of(orphan.pid)
    )
    bench.book.states["task.job"] = left
    bench.desk = bench.new_desk()
    bench.watch(job=shell("true"))
    serving = asyncio.create_task(bench.desk.serve())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(CommandError, match="never runs beside itself"):
        await bench.desk.run_now("job", "ann")
    assert bench.records == []
    orphan.kill()
    await orphan.wait()
    await interrupted_and_done(bench, serving)
    assert not is_alive(left.process)


async def test_a_run_that_outlives_a_killed_daemon_has_its_time_limit_still(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.watch(job=shell("true", time_limit="5m"))
    bench.at = START + HOUR
    deaf = 'trap "" TERM; echo; sleep 60 & wait; sleep 60'
    orphan = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", deaf, start_new_session=True, stdout=asyncio.subprocess.PIPE
    )
    assert orphan.stdout is not None
    await orphan.stdout.readline()  # it hears no SIGTERM from here on
    bench.book.states["task.job"] = replace(bench.state("job"), started_at=bench.at, process=mark_of(orphan.pid))
    monkeypatch.setattr(task_desk, "LOOK_FOR_ORPHANS", 0.0)
    monkeypatch.setattr(task_desk, "ENDS_WITHIN", 0.2)
    serving = asyncio.create_task(bench.desk.serve())
    for at in (bench.at, bench.at + 299):
        for _ in range(5):
            await asyncio.sleep(0)
        bench.at = at
    assert bench.records == []
    bench.at += 1
    await interrupted_and_done(bench, serving)
    assert bench.records[0].text == "the daemon ended while it ran; it went on for another 5 min and was ended"
    assert await orphan.wait() == -signal.SIGKILL
    assert await orphan.stdout.read() == b"", "what it had started is ended, too"


STRAY = (
    """setsid sh -c 'trap "" TERM; echo $$ >> {0}; while :; do sleep 1; done' & until [ -s {0} ]; do sleep 0.01; done"""
)
"""A program in a session of its own, which hears nothing of what its process group is told."""


async def strays_begun(numbers: Path) -> str:
    """The mark of the process that says its number in that file."""
    async with asyncio.timeout(20):
        while not numbers.exists() or not numbers.read_text().endswith("\n"):
            await asyncio.sleep(0.01)
    return mark_of(int(numbers.read_text().split()[-1]))


@pytest.mark.parametrize(
    ("then", "outcome"), [("sleep 60", TaskOutcome.FAILED), ("true", TaskOutcome.DONE), ("exit 3", TaskOutcome.FAILED)]
)
async def test_what_leaves_its_session_ends_with_its_run_all_the_same(
    bench: Bench, tmp_path: Path, then: str, outcome: TaskOutcome
) -> None:
    bench.watch(
        job=shell(f"{STRAY.format(tmp_path / 'numbers')}; {then}", time_limit="2s", retries=1, retry_after="1ms")
    )
    await bench.look(START + HOUR)
    (record,) = bench.records
    assert (record.outcome, record.attempts) == (outcome, 1 if outcome is TaskOutcome.DONE else 2)
    numbers = (tmp_path / "numbers").read_text().split()
    assert len(numbers) == record.attempts
    assert not any(mark_of(int(number)) for number in numbers)


async def test_what_leaves_its_session_ends_with_the_daemon(bench: Bench, tmp_path: Path) -> None:
    bench.watch(job=shell(f"{STRAY.format(tmp_path / 'numbers')}; sleep 60"))
    bench.at = START + HOUR
    serving = asyncio.create_task(bench.desk.serve())
    stray = await strays_begun(tmp_path / "numbers")
    assert is_alive(stray)
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert not is_alive(stray)


async def test_what_left_its_session_and_outlives_a_killed_daemon_is_waited_for(
    bench: Bench, tmp_path: Path, mark: str
) -> None:
    bench.watch(job=shell("true", time_limit="5m"))
    bench.at = START + HOUR
    left = replace(bench.state("job"), started_at=bench.at)
    bench.book.states["task.job"] = left
    environment = {"PATH": os.environ["PATH"], mark: mark_of_run(left)}
    words = ("/bin/sh", "-c", STRAY.format(tmp_path / "numbers"))
    begun = await asyncio.create_subprocess_exec(*words, env=environment)
    await begun.wait()
    stray = await strays_begun(tmp_path / "numbers")
    serving = asyncio.create_task(bench.desk.serve())
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert (bench.records, is_alive(stray)) == ([], True)
    bench.at += 300
    await interrupted_and_done(bench, serving)
    assert not is_alive(stray)


HIDDEN = """env -i /bin/sh -c 'trap "" TERM; echo $$ >> {0}; while :; do sleep 1; done' & exec sleep 60"""
"""A program that clears its environment, and what it runs under."""
LEAVES = HIDDEN.replace("env -i", "env -i setsid")


@pytest.mark.parametrize(
    ("program", "lives"),
    [(HIDDEN, True), (HIDDEN, False), (LEAVES, True)],
    ids=["parent lives", "parent ended", "own session"],
)
async def test_what_clears_its_environment_and_outlives_a_killed_daemon_is_waited_for_and_ended(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, lives: bool
) -> None:
    bench.watch(job=shell("true", time_limit="5m"))
    bench.at = START + HOUR
    words = ("/bin/sh", "-c", program.format(tmp_path / "numbers"))
    begun = await asyncio.create_subprocess_exec(*words, env={"PATH": os.environ["PATH"]}, start_new_session=True)
    process = mark_of(begun.pid)
    hidden = await strays_begun(tmp_path / "numbers")
    if not lives:
        begun.kill()
        await begun.wait()
    bench.book.states["task.job"] = replace(bench.state("job"), started_at=bench.at, process=process)
    monkeypatch.setattr(task_desk, "LOOK_FOR_ORPHANS", 0.0)
    monkeypatch.setattr(task_desk, "ENDS_WITHIN", 0.2)
    serving = asyncio.create_task(bench.desk.serve())
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert (bench.records, is_alive(hidden)) == ([], True)
    bench.at += 300
    await interrupted_and_done(bench, serving)
    assert not is_alive(hidden)
    await begun.wait()


async def test_what_clears_its_environment_ends_with_its_run(bench: Bench, tmp_path: Path) -> None:
    numbers = tmp_path / "numbers"
    begun = f"setsid -w true; {HIDDEN.format(numbers)}".replace("exec sleep 60", f"until [ -s {numbers} ]; do :; done")
    bench.watch(job=shell(begun))
    await bench.look(START + HOUR)
    assert bench.records[0].outcome is TaskOutcome.DONE
    assert not mark_of(int(numbers.read_text()))


async def test_a_clock_that_was_years_ahead_holds_up_nothing_once_it_is_right(bench: Bench) -> None:
    bench.watch(job=shell("true"), review={"schedule": "0 13 * * *", "remind": "1h"})
    await bench.look(START + 3_650 * DAY)
    assert bench.records[-1].outcome is TaskOutcome.DONE
    await bench.desk.sign_off("review", "ann")
    await bench.look(START)
    assert bench.state("job").settled_at == bench.state("review").settled_at == START
    await bench.look(START + HOUR)
    assert (bench.records[-1].task, bench.records[-1].at) == ("task.job", START + HOUR)


async def test_a_sign_off_ahead_of_its_time_stays_one(bench: Bench) -> None:
    bench.watch(review={"schedule": "0 9 1 * *", "remind": "30d"})
    await bench.desk.sign_off("review", "ann")
    await bench.look(START + HOUR)
    assert bench.state("review").settled_at == datetime(2026, 4, 1, 9, tzinfo=UTC).timestamp()


async def test_all_kinds_in_one_list(bench: Bench) -> None:
    bench.watch(
        job=shell("exit 1"),
        review={"schedule": "0 14 2 * *", "about": "look"},
        beat={"key": KEY, "schedule": "0 9 * * *"},
    )
    bench.shared.get(Book).states["task.beat", ""] = HeartbeatState(
        "task.beat", standing=Standing.UP, last_at=START - 60
    )
    await bench.look(START + HOUR)
    job, review, beat = await bench.desk.views(bench.setup)
    assert (job.name, job.kind, job.phase) == ("job", TaskKind.RUN, TaskPhase.FAILED)
    assert (review.kind, review.phase, review.about, review.owner) == (TaskKind.SIGNED, TaskPhase.SOON, "look", "ann")
    assert (review.due, review.deadline) == (START + 2 * HOUR, START + 2 * HOUR + DAY)
    assert (beat.kind, beat.phase, beat.due) == (TaskKind.REPORTED, TaskPhase.WAITING, START + 21 * HOUR)
    assert beat.last is not None
    assert beat.summary == "last heard of 1 h 1 min ago, due again at Mar 3 09:00 UTC"
    (coming,) = await bench.desk.coming(bench.setup, START + 14 * DAY)
    assert (coming.at, coming.kind, coming.text) == (
        START + 2 * HOUR,
        "task",
        "review (ann), the 2nd of each month at 14:00 (UTC)",
    )
    times = await bench.desk.times("task.job", START + 3 * DAY)
    assert times == (START + DAY + HOUR, START + 2 * DAY + HOUR)
    assert await bench.desk.times("task.beat", START + DAY) == (START + 21 * HOUR,)
    assert await bench.desk.times("task.beat", START + HOUR) == ()


async def test_what_comes_every_week_is_in_the_calendar_for_a_year(bench: Bench) -> None:
    bench.watch(review={"schedule": "0 9 * * 1"}, minutely={"schedule": "* * * * *"})
    times = await bench.desk.times("task.review", START + 366 * DAY)
    assert (len(times), times[-1]) == (52, START + 51 * 7 * DAY + 7 * DAY - 3 * HOUR)
    assert len(await bench.desk.times("task.minutely", START + 366 * DAY)) == 60
