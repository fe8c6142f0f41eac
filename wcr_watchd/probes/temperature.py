"""Watches the temperatures that a machine's sensors tell, against the limits that the sensors tell themselves.

They are those of the kernel's hwmon (``Documentation/hwmon/sysfs-interface.rst``): processors, boards, disks, power
supplies, with the alarms of fans and power supplies. A machine without sensors, as virtual ones, has none, which is no
fault.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.patterns import Pattern
from wcr_watchd.kit.procfs import Kernel
from wcr_watchd.kit.threads import Threads

_FOLDER = "sys/class/hwmon"
_MOST = 500
_SENSIBLE = (-40.0, 150.0)
"""Degrees between which a reading is one; the pins of a chip that nothing is connected to tell others."""
_ALARM = re.compile(r"(?:fan\d+_(?:alarm|fault)|power\d+_(?:crit_|lcrit_)?alarm)")
"""Not those of voltages, whose limits nobody has set on most boards."""


def _spec(name: str, unit: Unit, text: str, topic: str) -> MeasurementSpec:
    return MeasurementSpec(name, unit, text, ("sensor",), topic=topic)


class Temperature(Options):
    """Options of a check of temperatures; none is needed."""

    type: ClassVar[str] = "temperature"
    target_key: ClassVar[str] = ""
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    example: ClassVar[str] = "high_limit = 75\ncritical_limit = 85\n"
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        _spec("temperature", Unit.CELSIUS, "What a sensor tells", "temperature"),
        _spec(
            "above_high",
            Unit.CELSIUS,
            "By how much it is above the limit that is high; below it, negative",
            "temperature",
        ),
        _spec(
            "above_critical",
            Unit.CELSIUS,
            "By how much it is above the critical limit; below it, negative",
            "temperature",
        ),
        _spec("alarm", Unit.COUNT, "1 when a fan or a power supply gives alarm, else 0", "alarm"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "above_high >= 0 for 2m until above_high < -3 for 2m"),
        (Severity.CRITICAL, "above_critical >= 0 for 2x until above_critical < -3 for 2m"),
        (Severity.CRITICAL, "alarm == 1 for 2m"),
    )

    high_limit: float = Field(80.0, gt=0)
    """What is high for a sensor that tells no limit, in degrees Celsius."""
    critical_limit: float = Field(90.0, gt=0)
    """What is critical for a sensor that tells no limit, in degrees Celsius."""
    ignore: tuple[Pattern, ...] = ()
    """Regular expressions of sensors not to look at, such as "acpitz"."""
    root: str = "/"
    """Where the machine's file system is to be seen, when the daemon itself runs in a container."""

    @property
    def target(self) -> str:
        """The sensors of this machine."""
        return "sensors"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Read every sensor."""
        run.step = f"reading /{_FOLDER}"
        patience = run.remaining * 0.95
        try:
            async with asyncio.timeout(patience):
                readings, alarms = await run.shared.get(Threads).call(_read, self.root)
        except TimeoutError:
            return run.unknown("timeout", f"/{_FOLDER} could not be read within {format_duration(patience)}")
        except OSError as error:
            return run.unknown("permission", f"/{_FOLDER} cannot be read: {error.strerror}")
        if not readings and not alarms:
            return run.up("this machine has no sensors, as virtual ones have none")
        return self._judge(run, readings, alarms)

    def _judge(self, run: Run, readings: Sequence[_Reading], alarms: Sequence[tuple[str, bool]]) -> Observation:
        faults = []
        for one in readings:
            if not self._ignores(one.sensor):
                faults += [fault] if (fault := self._measure(run, one)) else []
        for sensor, alarm in alarms:
            if not self._ignores(sensor):
                run.measure("alarm", alarm, sensor=sensor)
                faults += [f"{sensor} gives alarm"] if alarm else []
        if faults:
            return run.up("; ".join(faults), reason="sensor")
        warmest = max(
            (one for one in run.measurements if one.name == "temperature"), key=lambda one: one.value, default=None
        )
        said = f"; the warmest, {dict(warmest.labels)['sensor']}, {warmest.value:.0f} C" if warmest else ""
        return run.up(f"{len(readings)} temperatures, {len(alarms)} alarms watched{said}")

    def _ignores(self, sensor: str) -> bool:
        return any(re.search(pattern, sensor) for pattern in self.ignore)

    def _measure(self, run: Run, one: _Reading) -> str:
        """Measure a temperature; returns what is wrong with it."""
        critical = one.critical or (self.critical_limit if one.high is None else None)
        high = one.high or (self.high_limit if one.critical is None else None)
        run.measure("temperature", one.value, sensor=one.sensor)
        if high is not None:
            run.measure("above_high", one.value - high, sensor=one.sensor)
        if critical is not None:
            run.measure("above_critical", one.value - critical, sensor=one.sensor)
        limit = next((limit for limit in (critical, high) if limit is not None and one.value >= limit), None)
        return f"{one.sensor} has {one.value:.0f} C, the limit is {limit:.0f} C" if limit is not None else ""


@dataclass(frozen=True, slots=True)
class _Reading:
    """A temperature in degrees Celsius, and the limits that the sensor tells."""

    sensor: str
    value: float
    high: float | None
    critical: float | None


def _read(root: str) -> tuple[list[_Reading], list[tuple[str, bool]]]:
    """Read the kernel's files; blocks. A sensor that does not answer is left out."""
    kernel = Kernel(root)
    readings: dict[str, _Reading] = {}
    alarms: dict[str, bool] = {}
    for chip, folder, names in _chips(kernel, root):
        for name in names:
            sensor, _, what = name.partition("_")
            label = f"{chip} {_label(kernel, f'{folder}/{sensor}')}"
            if what == "input" and sensor.startswith("temp"):
                if reading := _temperature(kernel, f"{folder}/{sensor}", label):
                    readings[label] = reading
            elif _ALARM.fullmatch(name):
                with suppress(OSError, ValueError, IndexError):
                    alarms[f"{label} {what}"] = kernel.number(f"{folder}/{name}") == 1
    return list(readings.values())[:_MOST], list(alarms.items())[:_MOST]


def _chips(kernel: Kernel, root: str) -> Iterator[tuple[str, str, list[str]]]:
    """Name, folder and files of each chip; of several with one name (disks), the device tells them apart."""
    try:
        folders = sorted(os.listdir(os.path.join(root, _FOLDER)))
    except FileNotFoundError:
        return
    taken = set()
    for one in folders:
        folder = f"{_FOLDER}/{one}"
        with suppress(OSError):
            name = kernel.text(f"{folder}/name").strip()
            device = os.path.basename(os.path.realpath(os.path.join(root, folder, "device")))
            yield f"{name} {device}" if name in taken else name, folder, sorted(os.listdir(os.path.join(root, folder)))
            taken.add(name)


def _label(kernel: Kernel, path: str) -> str:
    """What the driver calls a sensor, else its number."""
    with suppress(OSError):
        if label := kernel.text(f"{path}_label").strip():
            return label
    return os.path.basename(path)


def _temperature(kernel: Kernel, path: str, label: str) -> _Reading | None:
    if _degrees(kernel, f"{path}_fault"):
        return None
    value = _degrees(kernel, f"{path}_input")
    if value is None or not _SENSIBLE[0] <= value <= _SENSIBLE[1]:
        return None
    high, critical = [
        limit if limit is not None and 0 < limit <= _SENSIBLE[1] else None
        for limit in (_degrees(kernel, f"{path}_max"), _degrees(kernel, f"{path}_crit"))
    ]
    return _Reading(label, value, high, critical)


def _degrees(kernel: Kernel, path: str) -> float | None:
    try:
        return kernel.number(path) / 1000
    except (OSError, ValueError, IndexError):
        return None
