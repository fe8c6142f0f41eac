"""The smart probe on a smartctl that answers as version 7.3 does, in JSON and exit status, and on the real one.

The disk of this machine is a virtual one that tells nothing, so the answers of real disks are played by a script, with
the fields and messages of `smartctl --json` 7.3 for an ATA disk, an NVMe disk and a SAS disk.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.real.running import Observe, carry_out, measured, names, new_run, probe_of
from tests.real.tools import Tools
from wcr_watchd.core.model import Observation, Outcome
from wcr_watchd.kit.shared import SharedHelpers


class Disks:
    """What smartctl is to say."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools
        self.answers: dict[str, tuple[dict[str, Any] | str, int]] = {}

    def add(self, device: str, answer: dict[str, Any] | str, status: int = 0, messages: tuple[str, ...] = ()) -> None:
        """A disk: what is said of it beside the exit status."""
        if isinstance(answer, dict):
            told = [{"string": text, "severity": "error"} for text in messages]
            answer = {"json_format_version": [1, 0], "smartctl": {"exit_status": status, "messages": told}, **answer}
        self.answers[device] = answer, status

    def found(self, devices: list[dict[str, str]] | None = None) -> None:
        """Put the program there; it finds these disks, or all."""
        found = devices if devices is not None else [{"name": name, "type": "sat"} for name in self.answers]
        cases = [_case("*--scan*", json.dumps({"smartctl": {"exit_status": 0}, "devices": found}), 0)]
        for device, (answer, status) in self.answers.items():
            text = answer if isinstance(answer, str) else json.dumps(answer)
            path, comma, kind = device.partition(",")
            words = f"*--nocheck=standby*{f'--device {kind} ' if comma else '--all '}{path}"
            cases.append(_case(f'"{words}"'.replace("*", '"*"'), text, status))
        self.tools.put("smartctl", f'case "$*" in\n{"".join(cases)}*) echo "not asked so: $*" >&2; exit 1;;\nesac')


def _case(pattern: str, text: str, status: int) -> str:
    return f"{pattern}) cat <<'END'\n{text}\nEND\nexit {status};;\n"


@pytest.fixture
def disks(tools: Tools) -> Disks:
    """No disks yet."""
    return Disks(tools)


def ata(passed: bool = True, **attributes: int) -> dict[str, Any]:
    """An ATA disk with the raw values of these attributes (``a5=0``)."""
    table = [
        {"id": int(name[1:]), "name": "Some_Name", "value": 100, "worst": 100, "thresh": 10, "when_failed": "",
         "raw": {"value": value, "string": str(value)}}
        for name, value in attributes.items()
    ]  # fmt: skip
    return {
        "device": {"name": "/dev/sda", "type": "sat", "protocol": "ATA"}, "model_name": "WDC WD40EFRX",
        "serial_number": "WD-1", "smart_support": {"available": True, "enabled": True},
        "smart_status": {"passed": passed}, "ata_smart_attributes": {"revision": 16, "table": table},
        "power_on_time": {"hours": 1000}, "temperature": {"current": 34},
    }  # fmt: skip


def nvme(**options: int) -> dict[str, Any]:
    """An NVMe disk."""
    health = {"critical_warning": 0, "temperature": 41, "available_spare": 100, "available_spare_threshold": 10,
              "percentage_used": 3, "media_errors": 0, "power_on_hours": 500}  # fmt: skip
    return {
        "device": {"name": "/dev/nvme0", "type": "nvme", "protocol": "NVMe"}, "model_name": "Samsung SSD 980",
        "serial_number": "S1", "smart_support": {"available": True, "enabled": True}, "smart_status": {"passed": True},
        "nvme_smart_health_information_log": health | options, "temperature": {"current": 41},
        "power_on_time": {"hours": 500},
    }  # fmt: skip


def of(seen: Observation, device: str) -> dict[str, float]:
    """What was measured of a disk."""
    return {one.name: one.value for one in seen.measurements if one.labels == (("device", device),)}


async def test_disks_that_are_well(disks: Disks, observe: Observe) -> None:
    disks.add("/dev/sda", ata(a5=1, a187=2, a188=3, a197=4, a198=5, a9=7))
    disks.add("/dev/nvme0", nvme(available_spare=90, percentage_used=30, media_errors=6))
    disks.found()
    seen = await observe("smart")
    assert (seen.outcome, seen.reason, seen.summary) == (Outcome.UP, "", "2 disks say that they are well")
    assert of(seen, "/dev/sda") == {
        "failing": 0, "warned": 0, "reallocated_sectors": 1, "reported_errors": 2, "command_timeouts": 3,
        "pending_sectors": 4, "uncorrectable_sectors": 5, "disk_temperature": 34, "power_on": 3_600_000,
    }  # fmt: skip
    assert of(seen, "/dev/nvme0") == {
        "failing": 0, "warned": 0, "wear": 0.3, "spare": 0.9, "spare_margin": 0.8, "critical_warning": 0,
        "media_errors": 6, "disk_temperature": 41, "power_on": 1_800_000,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "passed", "failing", "warned", "said"),
    [
        (0b0000_1000, True, 1, 0, "says that it fails"),
        (0, False, 1, 0, "says that it fails"),
        (0b0001_0000, True, 1, 0, "below its threshold now"),
        (0b0010_0000, True, 0, 1, "had an attribute below"),
        (0b0100_0000, True, 0, 1, "has errors in its log"),
        (0b1000_0000, True, 0, 1, "has failed self-tests"),
        (0b1100_0100, True, 0, 1, "has errors in its log and has failed self-tests"),
    ],
)
async def test_the_bits_of_the_exit_status(
    disks: Disks, observe: Observe, status: int, passed: bool, failing: int, warned: int, said: str
) -> None:
    disks.add("/dev/sda", ata(passed), status)
    disks.found()
    seen = await observe("smart")
    assert (measured(seen, "failing", device="/dev/sda"), measured(seen, "warned", device="/dev/sda")) == (
        failing,
        warned,
    )
    assert (seen.outcome, seen.reason) == (Outcome.UP, "disk")
    assert said in seen.summary
    assert "WDC WD40EFRX, serial number WD-1" in seen.summary


async def test_counters_that_a_maker_packed_into_one(disks: Disks, observe: Observe) -> None:
    disks.add("/dev/sda", ata(a188=0x0003_0002_0005))
    disks.found()
    assert measured(await observe("smart"), "command_timeouts", device="/dev/sda") == 5


async def test_a_nvme_disk_at_its_end(disks: Disks, observe: Observe) -> None:
    disks.add("/dev/nvme0", nvme(critical_warning=1, available_spare=5, percentage_used=110), 0b1000)
    disks.found()
    seen = of(await observe("smart"), "/dev/nvme0")
    assert (seen["critical_warning"], seen["wear"], seen["spare_margin"]) == (1, 1.1, pytest.approx(-0.05))


async def test_a_sas_disk_behind_a_controller(disks: Disks, observe: Observe) -> None:
    sas = {"smart_status": {"passed": True}, "scsi_grown_defect_list": 12, "temperature": {"current": 30}}
    disks.add("/dev/bus/0,megaraid,3", sas)
    disks.found([{"name": "/dev/bus/0", "type": "megaraid,3"}])
    seen = of(await observe("smart"), "/dev/bus/0,megaraid,3")
    assert (seen["reallocated_sectors"], seen["disk_temperature"]) == (12, 30)
    named = await observe("smart", devices=["/dev/bus/0,megaraid,3"])
    assert of(named, "/dev/bus/0,megaraid,3") == seen


@pytest.mark.parametrize("mode", ["STANDBY", "SLEEP", "IDLE_C", "STANDBY (OS)"])
async def test_a_disk_that_sleeps_is_left_to(disks: Disks, observe: Observe, mode: str) -> None:
    disks.add("/dev/sda", {}, 2, (f"Device is in {mode} mode, exit(2)",))
    disks.add("/dev/sdb", ata())
    disks.found()
    seen = await observe("smart")
    assert (seen.outcome, seen.reason) == (Outcome.UP, "")
    assert not of(seen, "/dev/sda")
    assert "/dev/sda sleeps" in seen.evidence["note"]
    assert seen.summary == "1 disks say that they are well; 1 more say nothing"


async def test_disks_that_have_nothing_to_say(disks: Disks, observe: Observe) -> None:
    disks.add("/dev/vda", {}, 1, ("/dev/vda: Unable to detect device type",))
    disks.add("/dev/sdb", {"smart_support": {"available": False}}, 4)
    disks.found()
    seen = await observe("smart")
    assert (seen.outcome, seen.reason) == (Outcome.UP, "")
    assert not names(seen)
    disks.found([])
    seen = await observe("smart")
    assert seen.outcome is Outcome.UP
    assert "finds no disk" in seen.summary


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        (2, "Smartctl open device: /dev/sda failed: Permission denied", "permission"),
        (2, "Smartctl open device: /dev/sda failed: No such device", "missing"),
        (4, "Read SMART Data failed: scsi error badly formed scsi parameters", "missing"),
    ],
)
async def test_a_disk_that_cannot_be_asked_is_unknown(
    disks: Disks, observe: Observe, status: int, message: str, reason: str
) -> None:
    disks.add("/dev/sda", {}, status, (message,))
    disks.found()
    seen = await observe("smart")
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, reason)
    assert message in seen.summary
    disks.add("/dev/sdb", ata())
    disks.found()
    seen = await observe("smart")
    assert seen.outcome is Outcome.UP
    assert message in seen.evidence["absent"]
    assert not of(seen, "/dev/sda")


async def test_switched_off(disks: Disks, observe: Observe) -> None:
    disks.add("/dev/sda", {"smart_support": {"available": True, "enabled": False}})
    disks.found()
    seen = await observe("smart")
    assert seen.outcome is Outcome.UNKNOWN
    assert "smartctl --smart=on /dev/sda" in seen.summary


@pytest.mark.parametrize(
    "answer", ["", "smartctl 5.43 2012-06-30", "[]", '{"smartctl": 5}', '{"smartctl": {"exit_status": "x"}}']
)
async def test_what_no_smartctl_answers(disks: Disks, observe: Observe, answer: str) -> None:
    disks.add("/dev/sda", answer)
    disks.found()
    seen = await observe("smart")
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "parse")


async def test_no_smartctl(tools: Tools, observe: Observe) -> None:
    tools.only()
    seen = await observe("smart")
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "missing")
    assert "install smartmontools" in seen.summary


async def test_too_slow_and_cancelled(tools: Tools, observe: Observe, shared: SharedHelpers) -> None:
    tools.put("smartctl", "exec sleep 1000")
    seen = await observe("smart", timeout=0.3)
    assert (seen.outcome, seen.reason) == (Outcome.UNKNOWN, "timeout")
    run = new_run(shared)
    running = asyncio.create_task(carry_out(probe_of("smart", {}), run))
    while run.step == "starting":
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_the_real_one_on_a_virtual_disk(observe: Observe) -> None:
    """Whatever the machine has: the real smartctl is understood."""
    seen = await observe("smart", devices=["/dev/null"])
    assert (seen.outcome, seen.reason) == (Outcome.UP, ""), seen.summary
    assert (await observe("smart")).reason != "parse"


@pytest.mark.parametrize("device", ["sda", "/etc/passwd", "/dev/sda -s off"])
def test_what_is_no_device(device: str) -> None:
    with pytest.raises(ValueError, match="is no device"):
        probe_of("smart", {"devices": [device]})
