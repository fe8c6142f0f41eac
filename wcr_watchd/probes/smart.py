"""Asks disks how healthy they are (SMART), by `smartctl` of smartmontools, without waking up one that sleeps.

What a disk says is in smartctl's JSON and in the bits of its exit status (smartctl(8)). Reading it takes root, or
CAP_SYS_RAWIO and access to the devices. The disks of a virtual machine tell nothing, which is no fault.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.tools import NoAnswerError, ask

_MOST = 64
_NOT_ASKED, _FAILING, _WARNED = 0b0000_0111, 0b0001_1000, 0b1110_0000
"""Bits of the exit status: it could not be asked; it fails now, or an attribute of old age or failure does; there was
something in the past, or the logs of errors or self-tests have entries."""
_ASLEEP = re.compile(r"Device is in (?:STANDBY|SLEEP|IDLE)\S*(?: \(OS\))? mode", re.IGNORECASE)
_TELLS_NOTHING = re.compile(
    r"Unable to detect device type|lacks SMART capability|SMART support is: *Unavailable|Unknown USB bridge",
    re.IGNORECASE,
)
_ATTRIBUTES = {
    5: "reallocated_sectors",
    187: "reported_errors",
    188: "command_timeouts",
    197: "pending_sectors",
    198: "uncorrectable_sectors",
}
"""What predicts that an ATA disk fails, by the number of the attribute."""
_PACKED = 1 << 32
"""Some makers put three counters into one; the lowest 16 bits are the sum."""


def _device(path: str) -> str:
    if not path.startswith("/dev/") or any(character.isspace() for character in path.split(",")[0]):
        raise ValueError(
            f"{path!r} is no device: write /dev/sda, or /dev/sda,megaraid,3 with smartctl's type after a comma"
        )
    return path


Device = Annotated[str, AfterValidator(_device)]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class _Message(_Answer):
    string: str = ""


class _Smartctl(_Answer):
    exit_status: int = 0
    messages: tuple[_Message, ...] = ()


class _Found(_Answer):
    name: str
    type: str = ""


class _Scan(_Answer):
    devices: tuple[_Found, ...] = ()


class _Raw(_Answer):
    value: int = 0


class _Attribute(_Answer):
    id: int
    raw: _Raw = _Raw()


class _Attributes(_Answer):
    table: tuple[_Attribute, ...] = ()


class _Nvme(_Answer):
    critical_warning: int | None = None
    available_spare: float | None = None
    available_spare_threshold: float | None = None
    percentage_used: float | None = None
    media_errors: int | None = None


class _Status(_Answer):
    passed: bool | None = None


class _Temperature(_Answer):
    current: float | None = None


class _Hours(_Answer):
    hours: float | None = None


class _Support(_Answer):
    available: bool = True
    enabled: bool = True


class _Disk(_Answer):
    """What smartctl says of one disk."""

    smartctl: _Smartctl
    model_name: str = ""
    serial_number: str = ""
    smart_support: _Support = _Support()
    smart_status: _Status = _Status()
    ata_smart_attributes: _Attributes = _Attributes()
    nvme_smart_health_information_log: _Nvme | None = None
    scsi_grown_defect_list: int | None = None
    temperature: _Temperature = _Temperature()
    power_on_time: _Hours = _Hours()

    @property
    def said(self) -> str:
        """What smartctl says about itself."""
        return "; ".join(message.string for message in self.smartctl.messages)


def _spec(name: str, unit: Unit, text: str, counter: bool = False) -> MeasurementSpec:
    return MeasurementSpec(name, unit, text, ("device",), counter, "disk")


class Smart(Options):
    """Options of a check of how healthy disks are; none is needed."""

    type: ClassVar[str] = "smart"
    target_key: ClassVar[str] = "devices"
    every: ClassVar[float] = 1800.0
    timeout: ClassVar[float] = 120.0
    example: ClassVar[str] = 'devices = ["/dev/sda", "/dev/nvme0", "/dev/sda,megaraid,3"]\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        _spec("failing", Unit.COUNT, "1 when a disk says that it fails or an attribute is below its threshold, else 0"),
        _spec("warned", Unit.COUNT, "1 when an attribute was below its threshold or a log has errors, else 0"),
        _spec("reallocated_sectors", Unit.COUNT, "Sectors replaced by spare ones (attribute 5, grown defects)"),
        _spec("reported_errors", Unit.COUNT, "Errors that could not be corrected (attribute 187)", counter=True),
        _spec("command_timeouts", Unit.COUNT, "Commands without an end (attribute 188)", counter=True),
        _spec("pending_sectors", Unit.COUNT, "Sectors that could not be read (attribute 197)"),
        _spec("uncorrectable_sectors", Unit.COUNT, "Sectors found bad when the disk tested itself (attribute 198)"),
        _spec("wear", Unit.RATIO, "Share of its life that an NVMe disk has behind it; may be more than 1"),
        _spec("spare", Unit.RATIO, "Share of an NVMe disk's spare blocks that are left"),
        _spec("spare_margin", Unit.RATIO, "What is left above the share at which the disk's maker warns"),
        _spec("critical_warning", Unit.COUNT, "Bits of an NVMe disk's critical warning, 0 for none"),
        _spec("media_errors", Unit.COUNT, "Errors of an NVMe disk that could not be corrected", counter=True),
        _spec("disk_temperature", Unit.CELSIUS, "Temperature of a disk"),
        _spec("power_on", Unit.SECONDS, "How long a disk has been running in all"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.CRITICAL, "failing == 1"),
        (Severity.CRITICAL, "critical_warning > 0"),
        (Severity.WARNING, "warned == 1"),
        (Severity.WARNING, "pending_sectors > 0 or uncorrectable_sectors > 0"),
        (Severity.WARNING, "delta(reallocated_sectors, 7d) > 0"),
        (Severity.WARNING, "increase(reported_errors, 7d) > 0"),
        (Severity.WARNING, "increase(media_errors, 7d) > 0"),
        (Severity.WARNING, "wear > 90%"),
        (Severity.CRITICAL, "spare_margin < 0"),
    )

    devices: tuple[Device, ...] = ()
    """Disks to ask, each with smartctl's type after a comma where it needs one; without any, those it finds."""

    @property
    def target(self) -> str:
        """The disks."""
        return ", ".join(self.devices) or "all disks"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Ask every disk in turn."""
        try:
            devices = self.devices or await _scan(run)
            if not devices:
                return run.up("smartctl finds no disk that could be asked, as on most virtual machines")
            verdicts = [await _look_at(run, device) for device in devices[:_MOST]]
        except NoAnswerError as error:
            hint = "; install smartmontools" if error.reason == "missing" else ""
            return run.unknown(error.reason, error.summary + hint)
        except (ValidationError, json.JSONDecodeError) as error:
            return run.unknown("parse", f"smartctl does not answer as version 7 does: {str(error).splitlines()[0]}")
        return _judge(run, dict(zip(devices, verdicts, strict=False)))


async def _scan(run: Run) -> tuple[str, ...]:
    finished = await ask(run, "smartctl", "--json", "--scan")
    found = _Scan.model_validate_json(finished.stdout).devices
    # The plain types it guesses by itself; behind a controller, only the type tells one disk from another.
    return tuple(f"{one.name},{one.type}" if "," in one.type else one.name for one in found)


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What became of a disk: ``fault`` is what is wrong with it, ``unknown`` why nothing is known, ``note`` neither."""

    fault: str = ""
    unknown: str = ""
    note: str = ""


async def _look_at(run: Run, device: str) -> _Verdict:
    path, comma, kind = device.partition(",")
    typed = ("--device", kind) if comma else ()
    finished = await ask(run, "smartctl", "--json", "--nocheck=standby", "--all", *typed, path)
    disk = _Disk.model_validate_json(finished.stdout)
    if _ASLEEP.search(disk.said):
        return _Verdict(note="sleeps, and is left to")
    if _TELLS_NOTHING.search(disk.said) or not disk.smart_support.available:
        return _Verdict(note="tells nothing (no SMART)")
    if not disk.smart_support.enabled:
        return _Verdict(unknown=f"SMART is switched off: smartctl --smart=on {path}")
    if disk.smartctl.exit_status & _NOT_ASKED and disk.smart_status.passed is None:
        return _Verdict(unknown=disk.said or f"smartctl ended with status {disk.smartctl.exit_status}")
    _measure(run, device, disk)
    return _Verdict(fault=_fault(disk))


def _measure(run: Run, device: str, disk: _Disk) -> None:
    bits = disk.smartctl.exit_status
    nvme = disk.nvme_smart_health_information_log or _Nvme()
    raw = {one.id: one.raw.value for one in disk.ata_smart_attributes.table}
    values: dict[str, float | None] = {
        "failing": bool(bits & _FAILING) or disk.smart_status.passed is False,
        "warned": bool(bits & _WARNED),
        "reallocated_sectors": disk.scsi_grown_defect_list,
        **{name: _counted(raw[number]) for number, name in _ATTRIBUTES.items() if number in raw},
        "wear": _ratio(nvme.percentage_used),
        "spare": _ratio(nvme.available_spare),
        "critical_warning": nvme.critical_warning,
        "media_errors": nvme.media_errors,
        "disk_temperature": disk.temperature.current,
        "power_on": disk.power_on_time.hours and disk.power_on_time.hours * 3600,
    }
    if nvme.available_spare is not None and nvme.available_spare_threshold is not None:
        values["spare_margin"] = _ratio(nvme.available_spare - nvme.available_spare_threshold)
    for name, value in values.items():
        if value is not None:
            run.measure(name, value, device=device)


def _counted(raw: int) -> int:
    return raw & 0xFFFF if raw >= _PACKED else raw


def _ratio(percent: float | None) -> float | None:
    return None if percent is None else percent / 100


def _fault(disk: _Disk) -> str:
    bits = disk.smartctl.exit_status
    who = f" ({disk.model_name}, serial number {disk.serial_number})" if disk.model_name else ""
    if bits & 0b1000 or disk.smart_status.passed is False:
        return f"says that it fails: save the data and replace it{who}"
    if bits & 0b1_0000:
        return f"has an attribute below its threshold now: replace it{who}"
    words = {
        5: "had an attribute below its threshold",
        6: "has errors in its log",
        7: "has failed self-tests in its log",
    }
    told = [text for bit, text in words.items() if bits >> bit & 1]
    return f"{' and '.join(told)}{who}" if told else ""


def _judge(run: Run, verdicts: dict[str, _Verdict]) -> Observation:
    for name in ("fault", "unknown", "note"):
        lines = [f"{device} {text}" for device, one in verdicts.items() if (text := getattr(one, name))]
        if lines:
            run.evidence[name] = "\n".join(lines)
    silent = {device: one.unknown for device, one in verdicts.items() if one.unknown}
    for device, why in silent.items():
        run.missing([device], why)
    if silent and not run.measurements:
        reason = "permission" if any("ermission" in why for why in silent.values()) else "missing"
        hint = "; it takes root, or CAP_SYS_RAWIO and the group disk" if reason == "permission" else ""
        return run.unknown(reason, f"no disk could be asked: {_listed(silent)}{hint}")
    faults = {device: one.fault for device, one in verdicts.items() if one.fault}
    if faults:
        return run.up(_listed(faults), reason="disk")
    asked = len({one.labels for one in run.measurements})
    others = len(verdicts) - asked
    return run.up(f"{asked} disks say that they are well" + (f"; {others} more say nothing" if others else ""))


def _listed(said: dict[str, str]) -> str:
    return "; ".join(f"{device} {text}" for device, text in said.items())
