"""Heartbeats in a configuration: what is not confirmed, and what two of them cannot share."""

from __future__ import annotations

from wcr_watchd.config.load import loads
from wcr_watchd.config.warnings import warnings
from wcr_watchd.probes.heartbeat import Heartbeat
from wcr_watchd.probes.task import Task

KEY = "6d2f1d3e-1c0b-4d0a-9a55-0f2a7e3c9b11"
PING_KEY = "jHq2mWc0Zr8Lk4Xv9TnB1s"


def beat(name: str, *lines: str) -> str:
    return "\n".join((f'[check."{name}"]', 'type = "heartbeat"', 'period = "1d"', *lines, ""))


def test_what_was_reported_is_not_confirmed_by_looking_again() -> None:
    text = beat("job", f'key = "{KEY}"') + '[check.web]\ntype = "http"\nurl = "http://localhost"\n'
    loaded = loads(text + "[defaults]\nretry = { times = 5 }\n", "h.toml")
    assert loaded.setup.checks["job"].retry.times == 0
    assert loaded.setup.checks["web"].retry.times == 5
    loaded = loads(beat("job", f'key = "{KEY}"', "retry = { times = 1 }"), "h.toml")
    assert loaded.setup.checks["job"].retry.times == 1


def test_a_key_that_two_share_is_warned_of() -> None:
    shared = f'ping_key = "{PING_KEY}"'
    text = beat("a", f'key = "{KEY}"', shared) + beat("b", f'key = "{KEY}"') + beat("c", shared, 'slug = "a"')
    said = [str(one) for one in warnings(loads(text, "h.toml"), 0.0)]
    assert len(said) == 2
    assert 'check.b: reports by the same key and name as "a"' in said[0]
    assert 'check.c: reports by the same key and name as "a"' in said[1]
    assert not any(KEY in one or PING_KEY in one for one in said)
    assert warnings(loads(beat("a", shared) + beat("b", shared), "h.toml"), 0.0) == ()


def test_times_of_tasks_are_told_in_the_daemon_s_zone() -> None:
    ways = {"run": 'run = ["true"]', "signed": "", "reported": f'key = "{KEY}"'}
    for when in ('period = "1d"', 'schedule = "0 2 * * *"'):
        tasks = "".join(f"[task.{name}]\n{when}\n{way}\n" for name, way in ways.items())
        loaded = loads('[watchd]\ntimezone = "Asia/Tokyo"\n' + tasks, "h.toml")
        for name in ways:
            probe = loaded.probes[f"task.{name}"]
            assert isinstance(probe, Task | Heartbeat)
            assert probe.timezone == "Asia/Tokyo", (when, name)
