"""`wcr-watchd accept` from the command line to the files: what was new is told, accepted, and over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.daemon.harness import RunningDaemon, eventually

Daemons = Callable[..., RunningDaemon]


def test_a_changed_file_is_told_and_accepted(make_daemon: Daemons, tmp_path: Path) -> None:
    watched = tmp_path / "watched"
    watched.mkdir()
    (watched / "sudoers").write_text("root ALL=(ALL) ALL\n")
    running = make_daemon(
        f"""
        [check.files]
        type = "integrity"
        every = "1s"
        timeout = "1s"
        retry = {{ times = 0 }}
        paths = []
        critical_paths = ["{watched}/**"]
        [check.other]
        type = "tcp"
        address = "127.0.0.1:1"
        """,
        environment={"STATE_DIRECTORY": str(tmp_path / "state")},
    )
    eventually(lambda: running.outcome("files") == "up", "the first run takes what is there")
    (watched / "sudoers").write_text("eve ALL=(ALL) ALL\n")
    (incident,) = eventually(lambda: critical(running), "a change is critical")
    assert "sudoers: content" in incident["summary"]
    running.kill()  # what was accepted outlives a crash
    running.start()
    done = running.command("accept", "files", "--by", "ann")
    assert done.returncode == 0, done.stderr
    assert "accepted by ann" in done.stdout
    eventually(lambda: not critical(running), "what was accepted is over")
    refused = running.command("accept", "other")
    assert refused.returncode == 2
    assert "other compares with nothing that could be accepted" in refused.stderr
    assert running.command("accept", "none").returncode == 2


def critical(running: RunningDaemon) -> list[dict[str, str]]:
    return [one for one in running.incidents(open_only=True) if one["check"] == "files"]
