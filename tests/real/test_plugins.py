"""Debian's monitoring-plugins-basic by the command probe: every verdict, and performance data of each unit."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable

import pytest

from tests.real.running import Observe, measured
from tests.real.servers.odd import Odd
from wcr_watchd.core.model import Outcome

PLUGINS = "/usr/lib/nagios/plugins"
FINE, WARNING, CRITICAL = 0, 1, 2


@pytest.mark.parametrize(
    ("words", "state", "said"),
    [
        ("check_dummy 0 well", FINE, "OK: well"),
        ("check_dummy 1 hm", WARNING, "WARNING: hm"),
        ("check_dummy 2 bad", CRITICAL, "CRITICAL: bad"),
        ("check_disk -w 1 -c 1 -p /", FINE, "DISK OK"),
        ("check_disk -w 99.9999% -c 1 -p /", WARNING, "DISK WARNING"),
        ("check_procs -c 1:1", CRITICAL, "PROCS CRITICAL"),
        ("check_tcp -H 127.0.0.1 -p 1", CRITICAL, "Connection refused"),
        ("check_file_age -w 999999999999 -c 999999999999 -f /etc/hosts", FINE, "FILE_AGE OK"),
        (f"negate -c OK -o CRITICAL {PLUGINS}/check_dummy 2 mended", FINE, "CRITICAL: mended"),
    ],
)
async def test_verdicts(words: str, state: int, said: str, observe: Observe) -> None:
    seen = await observe("command", run=f"{PLUGINS}/{words}".split())
    assert seen.outcome is Outcome.UP
    assert measured(seen, "plugin_state") == state
    assert said in seen.summary
    assert (seen.reason == "plugin") is (state != FINE), "its own words are told"


@pytest.mark.parametrize("words", ["check_dummy 3 lost", "check_disk", "check_swap -w x -c y"])
async def test_what_a_plugin_cannot_tell_is_unknown(words: str, observe: Observe) -> None:
    seen = await observe("command", run=f"{PLUGINS}/{words}".split())
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "plugin")


async def test_a_disk_is_measured_in_bytes(observe: Observe) -> None:
    seen = await observe("command", run=[f"{PLUGINS}/check_disk", "-w", "1", "-c", "1", "-p", "/"])
    used = shutil.disk_usage("/").used
    assert measured(seen, "perfdata_size", label="/") == pytest.approx(used, rel=0.2)


async def test_times_and_shares(observe: Observe) -> None:
    words = [f"{PLUGINS}/check_ping", "-H", "127.0.0.1", "-w", "3000,80%", "-c", "5000,100%", "-p", "1"]
    seen = await observe("command", run=words)
    assert 0 < measured(seen, "perfdata_time", label="rta") < 3, "milliseconds there, seconds here"
    assert measured(seen, "perfdata_share", label="pl") == 0


async def test_a_web_server(odd: Callable[..., Awaitable[Odd]], observe: Observe) -> None:
    server = await odd(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
    words = [f"{PLUGINS}/check_http", "-H", "127.0.0.1", "-p", str(server.port), "-s"]
    seen = await observe("command", run=[*words, "hell"])
    assert measured(seen, "plugin_state") == FINE, seen.summary
    assert measured(seen, "perfdata_size", label="size") > 5
    assert 0 < measured(seen, "perfdata_time", label="time") < 60
    seen = await observe("command", run=[*words, "heaven"])
    assert measured(seen, "plugin_state") == CRITICAL
    assert "not found" in seen.summary


async def test_a_load_has_no_unit(observe: Observe) -> None:
    seen = await observe("command", run=[f"{PLUGINS}/check_load", "-w", "900,900,900", "-c", "999,999,999"])
    assert measured(seen, "perfdata", label="load1") == pytest.approx(os.getloadavg()[0], abs=5)
