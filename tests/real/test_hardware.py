"""The probes raid, edac, temperature and clock on the kernel's files as its documentation has them.

This machine is a virtual one without arrays, ECC memory and sensors, so that a folder plays /proc and /sys; what
chronyc says is what chrony 4.3 said. The clock itself is this machine's.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.real.running import Observe, carry_out, measured, names, new_run, probe_of
from tests.real.tools import Tools
from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.kit.clock import ClockState
from wcr_watchd.kit.shared import SharedHelpers
from wcr_watchd.probes.clock import parse_tracking
from wcr_watchd.probes.raid import parse_mdstat

Put = Callable[[str, str], Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """``put("proc/mdstat", text)`` writes a file of the pretended machine."""

    def write(path: str, text: str) -> Path:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write


def of(seen: Observation, value: str) -> dict[str, float]:
    """What was measured of one array, controller or sensor."""
    return {one.name: one.value for one in seen.measurements if one.labels and one.labels[0][1] == value}


# --- raid -------------------------------------------------------------------------------------------------------------

WHOLE = """Personalities : [raid1] [raid6] [raid5] [raid4] [raid0]
md0 : active raid1 sdb1[1] sda1[0] sdc1[2](S)
      976630336 blocks super 1.2 [2/2] [UU]
      bitmap: 0/8 pages [0KB], 65536KB chunk

md1 : active raid5 sdd1[3] sdc1[1] sdb1[0]
      1953260544 blocks super 1.2 level 5, 512k chunk, algorithm 2 [3/3] [UUU]
      [=>...................]  check =  8.5% (83234/976630272) finish=123.4min speed=100000K/sec

md2 : active raid0 sdf1[1] sde1[0]
      3906764800 blocks super 1.2 512k chunks

unused devices: <none>
"""
BROKEN = """Personalities : [raid1] [raid6] [raid5] [raid4]
md0 : active raid1 sdb1[2] sda1[0]
      976630336 blocks super 1.2 [2/1] [U_]
      [====>................]  recovery = 25.0% (83234/976630272) finish=123.4min speed=100000K/sec

md1 : active (auto-read-only) raid5 sdd1[3](F) sdc1[1] sdb1[0]
      1953260544 blocks super 1.2 level 5, 512k chunk, algorithm 2 [3/2] [UU_]
        resync=DELAYED

md127 : inactive sde1[0](S)
      976630488 blocks super 1.2

unused devices: <none>
"""


async def test_arrays_that_are_whole(put: Put, observe: Observe, tmp_path: Path) -> None:
    put("proc/mdstat", WHOLE)
    put("sys/block/md1/md/mismatch_cnt", "128\n")
    put("sys/block/md0/md/mismatch_cnt", "64\n")
    seen = await observe("raid", root=str(tmp_path))
    assert (seen.outcome, seen.reason, seen.summary) == (Outcome.UP, "", "3 arrays are whole")
    assert of(seen, "md0") == {
        "active": 1,
        "missing_devices": 0,
        "failed_devices": 0,
        "spare_devices": 1,
        "rebuilding": 0,
    }
    assert of(seen, "md1") == {
        "active": 1, "missing_devices": 0, "failed_devices": 0, "spare_devices": 0, "rebuilding": 0,
        "progress": 0.085, "mismatches": 128,
    }  # fmt: skip
    assert "missing_devices" not in of(seen, "md2"), "it has no redundancy to lose"


async def test_arrays_that_are_not(put: Put, observe: Observe, tmp_path: Path) -> None:
    put("proc/mdstat", BROKEN)
    seen = await observe("raid", root=str(tmp_path), arrays=["md0", "md9"])
    assert (seen.outcome, seen.reason) == (Outcome.UP, "array")
    assert seen.summary == (
        "md0 (raid1) lacks 1 of 2 devices, recovery 25%; md1 (raid5) lacks 1 of 3 devices (sdd1 failed); "
        "md127 is inactive: it was not put together; md9 does not exist"
    )
    md0, md1 = of(seen, "md0"), of(seen, "md1")
    assert (md0["missing_devices"], md0["rebuilding"], md0["progress"], md0["failed_devices"]) == (1, 1, 0.25, 0)
    assert (md1["missing_devices"], md1["failed_devices"], md1["rebuilding"]) == (1, 1, 1)
    assert of(seen, "md127") == {
        "active": 0, "failed_devices": 0, "spare_devices": 1, "rebuilding": 0,
    }  # fmt: skip
    assert of(seen, "md9") == {"active": 0}


@given(st.lists(st.sampled_from(WHOLE.splitlines() + BROKEN.splitlines()) | st.text(max_size=80), max_size=20))
def test_any_list_of_arrays_is_read_or_refused(lines: list[str]) -> None:
    with suppress(ValueError):
        for array in parse_mdstat("\n".join(lines)):
            assert array.name


async def test_a_machine_without_raid(put: Put, observe: Observe, tmp_path: Path) -> None:
    for text in (None, "Personalities : \nunused devices: <none>\n"):
        if text is not None:
            put("proc/mdstat", text)
        seen = await observe("raid", root=str(tmp_path))
        assert (seen.outcome, seen.reason) == (Outcome.UP, "")
        assert not names(seen)
    assert (await observe("raid")).outcome is Outcome.UP, "and this one"


# --- edac -------------------------------------------------------------------------------------------------------------


async def test_memory_errors(put: Put, observe: Observe, tmp_path: Path) -> None:
    folder = "sys/devices/system/edac/mc"
    put(f"{folder}/power/control", "auto\n")
    for controller, ce, ue in (("mc0", 3, 0), ("mc1", 0, 1)):
        put(f"{folder}/{controller}/ce_count", f"{ce}\n")
        put(f"{folder}/{controller}/ue_count", f"{ue}\n")
    for dimm, ce, ue in (("dimm0", 3, 0), ("dimm1", 0, 0)):
        put(f"{folder}/mc0/{dimm}/dimm_ce_count", f"{ce}\n")
        put(f"{folder}/mc0/{dimm}/dimm_ue_count", f"{ue}\n")
        put(f"{folder}/mc0/{dimm}/dimm_label", f"CPU_SrcID#0_{dimm}\n")
    seen = await observe("edac", root=str(tmp_path))
    assert (seen.outcome, seen.reason) == (Outcome.UP, "memory")
    assert of(seen, "mc0") == {"corrected_errors": 3, "uncorrected_errors": 0}
    assert of(seen, "mc1") == {"corrected_errors": 0, "uncorrected_errors": 1}
    assert (
        seen.summary
        == "3 errors corrected, 1 not, since the machine was started; CPU_SrcID#0_dimm0: 3 corrected, 0 not"
    )


async def test_a_machine_without_ecc(put: Put, observe: Observe, tmp_path: Path) -> None:
    put("sys/devices/system/edac/mc/power/control", "auto\n")
    for root in (str(tmp_path), "/"):
        seen = await observe("edac", root=root)
        assert (seen.outcome, seen.reason) == (Outcome.UP, "")
        assert not names(seen)


# --- temperature ------------------------------------------------------------------------------------------------------


def chip(put: Put, number: int, name: str, **files: object) -> None:
    """A chip with these files."""
    put(f"sys/class/hwmon/hwmon{number}/name", f"{name}\n")
    for file, value in files.items():
        put(f"sys/class/hwmon/hwmon{number}/{file}", f"{value}\n")


async def test_temperatures_against_the_limits_that_sensors_tell(put: Put, observe: Observe, tmp_path: Path) -> None:
    chip(put, 0, "coretemp", temp1_input=45_000, temp1_max=84_000, temp1_crit=100_000, temp1_label="Package id 0",
         temp2_input=91_000, temp2_max=84_000, temp2_crit=100_000, temp2_label="Core 0")  # fmt: skip
    chip(put, 1, "acpitz", temp1_input=85_000)
    chip(put, 2, "nvme", temp1_input=90_500, temp1_crit=84_850, temp1_label="Composite")
    seen = await observe("temperature", root=str(tmp_path))
    assert (seen.outcome, seen.reason) == (Outcome.UP, "sensor")
    assert of(seen, "coretemp Package id 0") == {"temperature": 45, "above_high": -39, "above_critical": -55}
    assert of(seen, "coretemp Core 0") == {"temperature": 91, "above_high": 7, "above_critical": -9}
    assert of(seen, "acpitz temp1") == {"temperature": 85, "above_high": 5, "above_critical": -5}, (
        "80 and 90 without limits"
    )
    assert of(seen, "nvme Composite") == {"temperature": 90.5, "above_critical": pytest.approx(5.65)}
    assert "nvme Composite has 90 C, the limit is 85 C" in seen.summary
    quiet = await observe(
        "temperature", root=str(tmp_path), ignore=["^coretemp Core", "acpitz"], high_limit=40, critical_limit=50
    )
    assert {one.labels[0][1] for one in quiet.measurements} == {"coretemp Package id 0", "nvme Composite"}


async def test_sensors_that_tell_nonsense(put: Put, observe: Observe, tmp_path: Path) -> None:
    chip(put, 0, "nct6775", temp1_input=-62_000, temp2_input=40_000, temp2_fault=1, temp3_input="n/a",
         temp4_input=30_000, temp4_max=0, temp4_crit=-273_000, temp5_input=31_000, temp5_max=255_000)  # fmt: skip
    seen = await observe("temperature", root=str(tmp_path))
    assert {one.labels[0][1] for one in seen.measurements} == {"nct6775 temp4", "nct6775 temp5"}
    assert of(seen, "nct6775 temp4")["above_high"] == -50
    assert of(seen, "nct6775 temp5")["above_high"] == -49


async def test_two_chips_of_one_name(put: Put, observe: Observe, tmp_path: Path) -> None:
    for number in (0, 1):
        chip(put, number, "nvme", temp1_input=30_000 + 1_000 * number, temp1_label="Composite")
        device = tmp_path / f"sys/devices/nvme{number}"
        device.mkdir(parents=True)
        (tmp_path / f"sys/class/hwmon/hwmon{number}/device").symlink_to(device)
    seen = await observe("temperature", root=str(tmp_path))
    assert measured(seen, "temperature", sensor="nvme Composite") == 30
    assert measured(seen, "temperature", sensor="nvme nvme1 Composite") == 31


async def test_alarms_of_fans_and_power_supplies(put: Put, observe: Observe, tmp_path: Path) -> None:
    chip(
        put,
        0,
        "pmbus",
        fan1_alarm=1,
        fan2_fault=0,
        power1_alarm=0,
        power1_crit_alarm=1,
        in1_alarm=1,
        temp1_input=30_000,
    )
    seen = await observe("temperature", root=str(tmp_path))
    alarms = {one.labels[0][1]: one.value for one in seen.measurements if one.name == "alarm"}
    assert alarms == {
        "pmbus fan1 alarm": 1,
        "pmbus fan2 fault": 0,
        "pmbus power1 alarm": 0,
        "pmbus power1 crit_alarm": 1,
    }
    assert "pmbus fan1 alarm gives alarm" in seen.summary


async def test_a_machine_without_sensors(observe: Observe, tmp_path: Path) -> None:
    seen = await observe("temperature", root=str(tmp_path))
    assert (seen.outcome, seen.reason) == (Outcome.UP, "")
    assert not names(seen)


# --- what can go wrong with all of them -------------------------------------------------------------------------------

READERS: list[tuple[str, str]] = [("raid", "proc/mdstat"), ("edac", "sys/devices/system/edac/mc/mc0/ce_count")]


@pytest.mark.parametrize(("kind", "path"), READERS)
async def test_files_that_say_something_else(put: Put, observe: Observe, tmp_path: Path, kind: str, path: str) -> None:
    for text in ("", "nonsense\n", "\x00\xff"):
        put(path, text)
        seen = await observe(kind, root=str(tmp_path))
        assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "parse")
        assert not names(seen)


@pytest.mark.parametrize(("kind", "path"), [*READERS, ("temperature", "sys/class/hwmon/hwmon0/name")])
async def test_files_that_hang(
    put: Put, observe: Observe, shared: SharedHelpers, tmp_path: Path, kind: str, path: str
) -> None:
    file = put(path, "")
    file.unlink()
    os.mkfifo(file)
    seen = await observe(kind, root=str(tmp_path), timeout=0.2)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    run = new_run(shared)
    running = asyncio.create_task(carry_out(probe_of(kind, {"root": str(tmp_path)}), run))
    while run.step == "starting":
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with file.open("w"):  # lets the reading thread go
        pass


@pytest.mark.parametrize(
    ("kind", "path"),
    [("raid", "proc/mdstat"), ("edac", "sys/devices/system/edac/mc"), ("temperature", "sys/class/hwmon")],
)
async def test_what_may_not_be_read(put: Put, observe: Observe, tmp_path: Path, kind: str, path: str) -> None:
    """Root may read everything, but not a file in place of a folder, nor a folder in place of a file."""
    if kind == "raid":
        (tmp_path / path).mkdir(parents=True)
    else:
        put(path, "")
    seen = await observe(kind, root=str(tmp_path))
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")
    assert f"/{path} cannot be read" in seen.summary


# --- clock ------------------------------------------------------------------------------------------------------------

KEPT = "C0000207,192.0.2.7,3,{heard},-0.250000000,0.000001,0.000002,1.5,0.0,0.1,0.02,0.001,64.2,Normal\n"
NOT_KEPT = "00000000,,0,0.000000000,0.000000000,0.0,0.0,0.0,0.0,0.0,1.0,1.0,0.0,Not synchronised\n"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``clock(synchronised=…, offset=…, error=…)`` is what the kernel is to say."""

    def say(**state: Any) -> None:
        monkeypatch.setattr("wcr_watchd.probes.clock.read_clock", lambda: ClockState(**state))

    return say


async def test_a_clock_that_chrony_keeps(tools: Tools, clock: Callable[..., None], observe: Observe) -> None:
    clock(synchronised=True, offset=0.001, error=0.05)
    tools.put("chronyc", f'[ "$*" = "-n -c tracking" ] && printf "%s" "{KEPT.format(heard=999_900)}"')
    seen = await observe("clock", started=1_000_000)
    assert (seen.outcome, seen.reason) == (Outcome.UP, "")
    assert seen.summary == "the clock is kept right by 192.0.2.7 (stratum 3), off by 250 ms"
    assert {one.name: one.value for one in seen.measurements} == {
        "synchronised": 1, "deviation": 0.25, "error": 0.05, "stratum": 3, "source_age": 100,
    }  # fmt: skip


async def test_a_clock_that_nobody_keeps(tools: Tools, clock: Callable[..., None], observe: Observe) -> None:
    clock(synchronised=False, offset=0.0, error=16.0)
    tools.prints("chronyc", NOT_KEPT)
    seen = await observe("clock")
    assert (measured(seen, "synchronised"), measured(seen, "stratum"), measured(seen, "error")) == (0, 0, 16)
    assert "source_age" not in names(seen)
    assert seen.reason == "clock"
    assert "no time service" in seen.summary


async def test_without_chrony(tools: Tools, clock: Callable[..., None], observe: Observe) -> None:
    clock(synchronised=True, offset=-0.2, error=0.5)
    tools.only()
    assert measured(await observe("clock"), "deviation") == 0.2
    tools.put("chronyc", "echo '506 Cannot talk to daemon'; exit 1")
    seen = await observe("clock")
    assert "506 Cannot talk to daemon" in seen.evidence["absent"]
    assert not names(seen) & {"stratum", "source_age"}
    tools.prints("chronyc", KEPT)
    assert "stratum" not in names(await observe("clock", chrony=False))


@given(st.text(max_size=200) | st.lists(st.text(max_size=9), min_size=14, max_size=14).map(",".join))
def test_any_answer_of_chronyc_is_read_or_refused(said: str) -> None:
    with suppress(ValueError):
        assert parse_tracking(said).stratum is not None


@pytest.mark.parametrize("said", ["", "1,2,3\n", KEPT.replace("3,{heard}", "x,y")])
async def test_what_no_chronyc_says(tools: Tools, clock: Callable[..., None], observe: Observe, said: str) -> None:
    clock(synchronised=True, offset=0.0, error=0.1)
    tools.prints("chronyc", said)
    seen = await observe("clock")
    assert (seen.outcome, "stratum" in names(seen)) == (Outcome.UP, False)
    assert "stratum" in seen.evidence["absent"]


async def test_a_sandbox_that_tells_nothing(tools: Tools, observe: Observe, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden() -> ClockState:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("wcr_watchd.probes.clock.read_clock", forbidden)
    tools.only()
    seen = await observe("clock")
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "permission")
    assert "Operation not permitted" in seen.summary
    tools.prints("chronyc", KEPT.format(heard=0))
    assert measured(await observe("clock"), "synchronised") == 1


async def test_a_chronyc_that_hangs_does_not_keep_the_kernel_from_telling(
    tools: Tools, clock: Callable[..., None], observe: Observe, shared: SharedHelpers
) -> None:
    clock(synchronised=True, offset=0.0, error=0.1)
    tools.put("chronyc", "exec sleep 1000")
    seen = await observe("clock", timeout=0.4)
    assert seen.outcome is Outcome.UP
    assert measured(seen, "synchronised") == 1
    run = new_run(shared)
    running = asyncio.create_task(carry_out(probe_of("clock", {}), run))
    while "chronyc" not in run.step:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_clock_that_was_set(shared: SharedHelpers, tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.only()
    probe = probe_of("clock", {})
    assert "step" not in names(await carry_out(probe, new_run(shared)))
    assert measured(await carry_out(probe, new_run(shared)), "step") < 0.5
    real = time.time
    monkeypatch.setattr("wcr_watchd.probes.clock.time.time", lambda: real() - 3_600)
    assert measured(await carry_out(probe, new_run(shared)), "step") == pytest.approx(3_600, abs=1)


async def test_this_machine(observe: Observe) -> None:
    """The real system call is understood."""
    seen = await observe("clock", chrony=False)
    assert seen.outcome is Outcome.UP
    assert {"synchronised", "deviation", "error"} <= names(seen)
