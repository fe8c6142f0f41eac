"""The systemd probe on a real systemd, over a real D-Bus and by the real systemctl."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.running import (
    Observe,
    Watch,
    carry_out,
    descriptors,
    measured,
    names,
    new_run,
    none_left_open,
    probe_of,
)
from tests.real.servers.service_manager import ServiceManager
from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.kit import service_manager as kit
from wcr_watchd.kit.shared import SharedHelpers

WatchOf = Callable[..., Watch]


@pytest.fixture(params=["D-Bus", "systemctl"])
def way(request: pytest.FixtureRequest, service_manager: ServiceManager, monkeypatch: pytest.MonkeyPatch) -> str:
    """The real systemd, to be asked in either way."""
    for name, value in service_manager.environment.items():
        monkeypatch.setenv(name, value)
    if request.param == "systemctl":
        monkeypatch.setattr(kit, "_user_bus", lambda: "unix:path=/no/such/bus")
    return str(request.param)


def about(seen: Observation, unit: str) -> dict[str, float]:
    """What was measured of a unit."""
    return {one.name: one.value for one in seen.measurements if one.labels == (("unit", unit),)}


async def test_all_is_well(service_manager: ServiceManager, way: str, watch: WatchOf) -> None:
    service_manager.unit("good.service", "[Service]\nExecStart=/bin/sleep 1000\n")
    service_manager.control("daemon-reload")
    service_manager.control("start", "good.service")
    seen = await watch("systemd", units=["good", "dbus.socket"], user=True).run()
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert seen.summary.startswith("2 named units are active, and none has failed")
    assert seen.evidence["asked by"] == way
    assert about(seen, "good.service") == {"unit_active": 1, "unit_restarts": 0}
    assert about(seen, "dbus.socket") == {"unit_active": 1}, "only services are started again"
    assert measured(seen, "units_failed") == 0


async def test_what_is_not_active(service_manager: ServiceManager, way: str, watch: WatchOf) -> None:
    service_manager.unit("idle.service", "[Service]\nExecStart=/bin/true\n")
    service_manager.control("daemon-reload")
    seen = await watch("systemd", units=["idle.service", "missing.service"], user=True).run()
    assert (seen.outcome, seen.reason) == (Outcome.UP, "unit")
    assert seen.summary == "idle.service is inactive (dead); missing.service does not exist"
    assert about(seen, "idle.service")["unit_active"] == 0
    assert about(seen, "missing.service")["unit_active"] == 0


async def test_failed_units_are_noticed_without_being_named(
    service_manager: ServiceManager, way: str, watch: WatchOf
) -> None:
    service_manager.unit("bad.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
    service_manager.unit("noise.service", "[Service]\nType=oneshot\nExecStart=/bin/false\n")
    service_manager.control("daemon-reload")
    service_manager.control("start", "bad.service", "noise.service", check=False)
    check = watch("systemd", ignore=["noise.*"], user=True)
    seen = await check.run()
    assert seen.reason == "unit"
    said = "bad.service is failed (failed: exit-code)" if way == "D-Bus" else "bad.service is failed (failed)"
    assert seen.summary == said
    assert measured(seen, "units_failed") == 1
    assert about(seen, "bad.service") == {"unit_failed": 1}
    assert not about(seen, "noise.service")
    named = await watch("systemd", units=["bad"], ignore=["noise.*"], user=True).run()
    assert named.summary == "bad.service is failed (failed: exit-code)"
    service_manager.control("reset-failed")
    assert about(await check.run(), "bad.service") == {"unit_failed": 0}
    assert not about(await check.run(), "bad.service"), "that it is over is said once"


async def test_restarts_are_counted(service_manager: ServiceManager, way: str, watch: WatchOf) -> None:
    service_manager.unit(
        "loop.service",
        "[Unit]\nStartLimitIntervalSec=0\n[Service]\nExecStart=/bin/false\nRestart=always\nRestartSec=20ms\n",
    )
    service_manager.control("daemon-reload")
    service_manager.control("start", "loop.service", check=False)
    deadline = time.monotonic() + 20
    while int(service_manager.control("show", "--value", "--property=NRestarts", "loop.service")) < 3:
        assert time.monotonic() < deadline
    seen = await watch("systemd", units=["loop"], user=True).run()
    service_manager.control("stop", "loop.service")
    service_manager.control("reset-failed")
    assert about(seen, "loop.service")["unit_restarts"] >= 3


async def test_timers(service_manager: ServiceManager, way: str, watch: WatchOf) -> None:
    service_manager.unit("tick.service", "[Service]\nType=oneshot\nExecStart=/bin/true\n")
    service_manager.unit("tick.timer", "[Timer]\nOnCalendar=*-*-* 03:00\nPersistent=false\nOnActiveSec=0\n")
    service_manager.unit("mono.timer", "[Timer]\nOnBootSec=100000d\nUnit=tick.service\n")
    service_manager.unit("idle.timer", "[Timer]\nOnCalendar=*-*-* 03:00\nUnit=tick.service\n")
    service_manager.control("daemon-reload")
    service_manager.control("start", "tick.timer", "mono.timer")
    service_manager.reach("waiting", "tick.timer", "SubState")
    service_manager.reach("inactive", "tick.service")
    check = watch("systemd", user=True)
    seen = await check.run()
    assert about(seen, "tick.timer")["timer_overdue"] == 0
    assert 0 <= about(seen, "tick.timer")["timer_age"] < 60
    assert not about(seen, "idle.timer"), "it is not active"
    late = await check.run(started=time.time() + 3 * 86_400)
    assert 2 * 86_400 < about(late, "tick.timer")["timer_overdue"] <= 3 * 86_400
    assert about(late, "tick.timer")["timer_age"] == pytest.approx(3 * 86_400, abs=60)
    later = await check.run(started=time.time() + 100_001 * 86_400)
    assert about(later, "mono.timer")["timer_overdue"] > 0, "one that counts from the boot"
    service_manager.control("stop", "tick.timer", "mono.timer")


async def test_a_machine_without_systemd(observe: Observe, monkeypatch: pytest.MonkeyPatch) -> None:
    """This one was not started by it."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/no/such/bus")
    seen = await observe("systemd", units=["nginx"])
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "D-Bus cannot be reached" in seen.summary
    assert "systemctl says" in seen.summary
    assert not names(seen)


async def test_without_the_extra_and_without_systemctl(observe: Observe, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_there(program: str) -> str:
        raise FileNotFoundError(program)

    monkeypatch.setattr(kit, "_DBUS", None)
    monkeypatch.setattr(kit, "locate", not_there)
    seen = await observe("systemd")
    assert seen.outcome is Outcome.UNKNOWN
    assert "wcr-watchd[dbus]" in seen.summary
    assert "there is no systemctl" in seen.summary


async def test_a_bus_without_systemd(observe: Observe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a container the bus may be there and systemd not: the bus itself answers that nobody has that name."""
    process = await asyncio.create_subprocess_exec(
        *("dbus-daemon", "--session", f"--address=unix:path={tmp_path}/bus", "--nofork", "--print-address"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus")
        seen = await observe("systemd")
        assert seen.outcome is Outcome.UNKNOWN
        assert "org.freedesktop.systemd1" in seen.summary
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("said", [b"", b"HTTP/1.0 400 Bad Request\r\n\r\n", b"OK 1234\r\n" + b"\xff" * 500])
async def test_what_is_no_bus(observe: Observe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(said)
        writer.close()

    async with await asyncio.start_unix_server(answer, tmp_path / "bus"):
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus")
        seen = await observe("systemd")
    assert seen.outcome is Outcome.UNKNOWN, seen.summary


async def test_too_slow_and_cancelled(shared: SharedHelpers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    writers: list[asyncio.StreamWriter] = []
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        asked.set()

    server = await asyncio.start_unix_server(silent, tmp_path / "bus")
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/bus")
    probe = probe_of("systemd", {})
    seen = await carry_out(probe, new_run(shared, timeout=0.3))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    assert "asking systemd over D-Bus" in seen.summary
    asked.clear()
    before = descriptors() - len(writers)
    running = asyncio.create_task(carry_out(probe, new_run(shared)))
    await asked.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    for writer in writers:
        writer.transport.abort()
    server.close()
    await none_left_open(before)


@pytest.mark.parametrize("name", ["", "--all", "a b", "*.service", "/etc/x"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(ValueError, match="is not the name of a unit"):
        probe_of("systemd", {"units": [name]})
