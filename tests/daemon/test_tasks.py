"""Tasks in a whole daemon: run, failed, mended, signed off; told like everything else, and kept."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from tests.daemon.harness import RunningDaemon, eventually

Make = Callable[..., RunningDaemon]

CONFIG = """
[task.copy]
schedule = "0 4 29 2 *"
run = ["/bin/sh", "-c", "cat {flag} && echo copied"]
retries = 1
retry_after = "1ms"
[task.review]
schedule = "0 9 1 * *"
about = "Look at the accounts"
evidence = true
[task.ended]
key = "6d2f1d3e-1c0b-4d0a-9a55-0f2a7e3c9b11"
period = "1d"
"""


def history(daemon: RunningDaemon, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = daemon.api("GET", f"/tasks/{name}")["history"]
    return rows


def test_a_task_that_fails_is_an_incident_until_it_runs_well(make_daemon: Make, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    daemon = make_daemon(CONFIG.replace("{flag}", str(flag)))
    assert daemon.command("task", "run", "copy", "--by", "ann").returncode == 0
    (incident,) = eventually(lambda: daemon.incidents(open_only=True), "a task that failed is an incident")
    assert (incident["check"], incident["severity"]) == ("task.copy", "warning")
    listed = daemon.command("task", "list", "copy")
    assert listed.returncode == 1
    assert "by ann: /bin/sh ended with status 1, expected status 0: cat: " in listed.stdout
    assert "(2 attempts)" in listed.stdout

    flag.write_text("here\n")
    daemon.api("POST", "/tasks/copy/run")
    eventually(lambda: not daemon.incidents(open_only=True), "a task that ran well ends the incident")
    assert [row["outcome"] for row in history(daemon, "copy")] == ["done", "failed"]
    assert history(daemon, "copy")[0]["output"] == "here\ncopied"


def test_all_times_of_the_list_are_of_the_terminals_zone_and_schedules_are_words(make_daemon: Make) -> None:
    about = 'about = "Look at the accounts"\nowner = "ann"\n'
    daemon = make_daemon(f'[task.review]\nschedule = "0 9 1 * *"\ntimezone = "America/New_York"\n{about}')
    daemon.environment = {**daemon.environment, "TZ": "Asia/Tokyo", "COLUMNS": "200"}
    [line] = [one for one in daemon.command("task", "list").stdout.splitlines() if "review" in one]
    due = datetime.fromisoformat(daemon.api("GET", "/tasks/review")["due"]).astimezone(ZoneInfo("Asia/Tokyo"))
    assert f"{due:%Y-%m-%d %H:%M}" in line
    assert f"{due:%H:%M} JST" in line
    assert "the 1st of each month at 09:00 (America/New_York)" in line
    assert "EST" not in line
    assert "EDT" not in line
    shown = daemon.command("task", "list", "review").stdout
    assert "the 1st of each month at 09:00 (America/New_York), as scheduled by 0 9 1 * *" in shown
    assert "Look at the accounts (ann)" in shown
    status, said = daemon.get("/api/v1/tasks?timezone=Tokyo")
    assert (status, "'Tokyo' is no time zone" in said) == (400, True)


def test_a_follow_up_of_an_incident_is_a_task_and_stands_in_its_report(make_daemon: Make, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    daemon = make_daemon(CONFIG.replace("{flag}", str(flag)))
    daemon.api("POST", "/tasks/copy/run")
    (incident,) = eventually(lambda: daemon.incidents(open_only=True), "a task that failed is an incident")
    number = incident["id"]
    daemon.api("PUT", f"/incidents/{number}/review", {"root_cause": "the disk was full", "by": "ann"})
    wish = {"text": "mount a larger disk", "owner": "ben", "due": "2099-12-31", "by": "ann"}
    daemon.api("POST", f"/incidents/{number}/follow-ups", wish)
    daemon.kill()
    daemon.start()
    name = f"follow-up-{number}-1"
    task = daemon.api("GET", f"/tasks/{name}")
    assert (task["about"], task["owner"], task["phase"], task["incident"]) == (wish["text"], "ben", "waiting", number)
    report = daemon.command("report", "incident", str(number))
    assert report.returncode == 0, report.stderr
    for said in (f"Incident #{number}: task.copy", "the disk was full", "mount a larger disk", "TIMELINE", "opened"):
        assert said in report.stdout, said
    daemon.api("POST", f"/tasks/{name}/done", {"by": "ben", "note": "mounted"})
    assert [(one["by"], one["note"]) for one in history(daemon, name)] == [("ben", "mounted")]


def test_a_sign_off_outlives_the_daemon(make_daemon: Make) -> None:
    daemon = make_daemon(CONFIG)
    refused = daemon.command("task", "done", "review", "--note", "two left")
    assert refused.returncode == 2
    assert "not signed off without evidence" in refused.stderr
    words = ("--note", "two left", "--evidence", "https://wiki/1", "--by", "ann")
    assert daemon.command("task", "done", "review", *words).returncode == 0
    daemon.kill()
    daemon.start()
    (record,) = history(daemon, "review")
    assert (record["by"], record["note"], record["evidence"]) == ("ann", "two left", ["https://wiki/1"])
    metrics = daemon.get("/metrics")[1]
    assert 'watchd_task_last_success_timestamp_seconds{check="task.review"' in metrics
    listed = daemon.command("task", "list", "--json")
    assert listed.returncode == 0
    assert {row["name"]: row["kind"] for row in json.loads(listed.stdout)} == {
        "copy": "run",
        "review": "signed",
        "ended": "reported",
    }


def test_a_reload_brings_and_takes_tasks_and_leaves_the_others_alone(make_daemon: Make) -> None:
    daemon = make_daemon(CONFIG)
    before = {row["name"]: row["due"] for row in daemon.api("GET", "/tasks")["tasks"]}
    daemon.write('[task.copy]\nschedule = "0 4 29 2 *"\nrun = ["true"]\n[task.audit]\nperiod = "90d"\n')
    daemon.reload()

    def tasks() -> dict[str, Any] | None:
        found = {row["name"]: row for row in daemon.api("GET", "/tasks")["tasks"]}
        return found if "audit" in found else None

    found = eventually(tasks, "the new task is there")
    assert set(found) == {"copy", "audit"}
    assert found["copy"]["due"] == before["copy"]
    assert found["audit"]["phase"] == "waiting"


def test_a_run_ends_with_the_daemon_and_nothing_is_left_behind(make_daemon: Make, tmp_path: Path) -> None:
    done = tmp_path / "tidied"
    script = f"trap 'echo yes > {done}; exit 1' TERM; echo > {tmp_path}/begun; sleep 300 & wait"
    daemon = make_daemon(f"""[task.long]\nperiod = "1d"\nrun = ["/bin/sh", "-c", "{script}"]\n""")
    daemon.api("POST", "/tasks/long/run")
    eventually((tmp_path / "begun").exists, "it is begun")
    assert daemon.stop() == 0
    assert done.read_text() == "yes\n"
    daemon.start()
    assert history(daemon, "long")[0]["outcome"] == "interrupted"


def test_a_killed_daemon_leaves_a_run_that_the_next_one_waits_for(make_daemon: Make, tmp_path: Path) -> None:
    script = f"echo >> {tmp_path}/begun; while [ ! -e {tmp_path}/end ]; do sleep 0.1; done; echo >> {tmp_path}/ended"
    tasks = f"""[task.long]\nperiod = "1d"\nrun = ["/bin/sh", "-c", "{script}"]\n[task.other]\nperiod = "1d"\n"""
    daemon = make_daemon(tasks)
    daemon.api("POST", "/tasks/long/run")
    eventually((tmp_path / "begun").exists, "it is begun")
    daemon.api("POST", "/tasks/other/done")  # is confirmed when it is stored, and with it what came before
    daemon.kill()
    daemon.start()
    assert daemon.api("GET", "/tasks/long")["phase"] == "running"
    (tmp_path / "end").touch()
    eventually(lambda: history(daemon, "long"), "its end is noted")
    assert history(daemon, "long")[0]["outcome"] == "interrupted"
    assert (tmp_path / "ended").read_text() == "\n"


def test_a_turn_that_is_left_out_is_told_until_the_next_is_done(make_daemon: Make) -> None:
    lax = """[task.lax]\nperiod = "5s"\ngrace = "1s"\ncatch_up = false\nrun = ["true"]\n"""
    daemon = make_daemon(lax)
    assert daemon.stop() == 0
    time.sleep(6.5)
    daemon.start()
    (incident,) = eventually(daemon.incidents, "a turn that was left out is an incident")
    assert (incident["check"], incident["severity"]) == ("task.lax", "info")
    assert history(daemon, "lax")[-1]["outcome"] == "missed"
    eventually(lambda: not daemon.incidents(open_only=True), "the next turn ends it")
    assert history(daemon, "lax")[0]["outcome"] == "done"
