"""Tasks: how bad one is that its job reports, and what somebody is warned of before the run itself says so."""

from __future__ import annotations

import os
import pwd

import pytest

from wcr_watchd.config.load import loads
from wcr_watchd.config.show import effective
from wcr_watchd.config.warnings import warnings

TASK = '[task.t]\nschedule = "0 2 * * *"\nrun = ["true"]\nuser = "{}"\n'


def warned(user: str) -> list[str]:
    return [str(one) for one in warnings(loads(TASK.format(user), "w.toml"), 0.0)]


def test_a_user_whom_only_root_could_give_rights_to(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    monkeypatch.setattr(os, "geteuid", lambda: 1)
    (said,) = warned("nobody")
    assert said.startswith(
        'w.toml:4: task.t.user: cannot run as "nobody": only a daemon that is root may, and this is '
    )
    assert "systemctl" in said
    for own in (0, nobody):
        monkeypatch.setattr(os, "geteuid", lambda own=own: own)
        assert warned("nobody") == []


def test_a_user_whom_there_is_not() -> None:
    (said,) = warned("nobody-there")
    assert 'there is no user "nobody-there" on this machine' in said


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("", [("warning", "down")]),
        ('critical = "down"', [("critical", "down"), ("warning", "down")]),
        ('warning = "down for 2h"', [("warning", "down for 2h")]),
    ],
)
def test_one_that_its_job_reports_is_as_bad_as_every_other_task(written: str, expected: list[tuple[str, str]]) -> None:
    """It was critical, as a check of type heartbeat is, and the table of docs/tasks.md said a warning."""
    key = 'key = "6d2f1d3e-1c0b-4d0a-9a55-0f2a7e3c9b11"\nschedule = "0 2 * * *"\n'
    loaded = loads(f"[task.t]\n{key}{written}\n", "t.toml")
    assert [(rule.severity.word, rule.text) for rule in loaded.setup.checks["task.t"].rules] == expected
    assert written or effective(loaded, "task.t")["settings"]["warning"]["from"] == "default of task"
