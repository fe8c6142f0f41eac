"""Tasks: what somebody is warned of before the run itself says so."""

from __future__ import annotations

import os
import pwd

import pytest

from wcr_watchd.config.load import loads
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
