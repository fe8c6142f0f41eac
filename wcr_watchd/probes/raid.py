"""Watches Linux software RAID: that every array is active and whole, and what it is repairing.

The kernel tells it in /proc/mdstat (md(4)). A machine without the driver has no such array, which is no fault.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.procfs import Kernel
from wcr_watchd.kit.threads import Threads

_HEAD = re.compile(r"(\S+) : (active|inactive)((?: \([a-z-]+\))*) ?(.*)")
"""Name, state, notes such as (auto-read-only), and the rest: the level of an active one, and its devices."""
_DEVICE = re.compile(r"(\S+)\[\d+\]((?:\([A-Z]\))*)")
"""A device by name and number; (F) marks one that failed, (S) a spare one."""
_WHOLE = re.compile(r"\[(\d+)/(\d+)\] \[[U_]+\]")
"""How many devices there should be and are."""
_PROGRESS = re.compile(r"(recovery|resync|reshape|check|repair) *= *([\d.]+)%")
_DELAYED = re.compile(r"(recovery|resync|reshape|check)=(?:DELAYED|PENDING)")


def _spec(name: str, unit: Unit, text: str) -> MeasurementSpec:
    return MeasurementSpec(name, unit, text, ("array",), topic="array")


class Raid(Options):
    """Options of a check of software RAID; none is needed."""

    type: ClassVar[str] = "raid"
    target_key: ClassVar[str] = "arrays"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    example: ClassVar[str] = 'arrays = ["md0", "md1"]\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        _spec("active", Unit.COUNT, "1 when an array is there and active, else 0"),
        _spec("missing_devices", Unit.COUNT, "Devices that an array lacks; it has no redundancy left, or less"),
        _spec("failed_devices", Unit.COUNT, "Devices of an array that are marked as failed"),
        _spec("spare_devices", Unit.COUNT, "Devices that wait to replace one"),
        _spec("rebuilding", Unit.COUNT, "1 while an array is made whole again, else 0"),
        _spec("progress", Unit.RATIO, "How far a rebuilding or a check has come"),
        _spec("mismatches", Unit.COUNT, "Sectors that did not agree when a RAID 4, 5 or 6 was last checked"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.CRITICAL, "active == 0"),
        (Severity.CRITICAL, "missing_devices > 0"),
        (Severity.WARNING, "failed_devices > 0"),
        (Severity.WARNING, "mismatches > 0"),
        (Severity.INFO, "rebuilding == 1"),
    )

    arrays: tuple[str, ...] = ()
    """Arrays that must be there, such as "md0"; the others are watched as well."""
    root: str = "/"
    """Where the machine's file system is to be seen, when the daemon itself runs in a container."""

    @property
    def target(self) -> str:
        """The arrays."""
        return ", ".join(self.arrays) or "all arrays"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Read the kernel's list."""
        run.step = "reading /proc/mdstat"
        patience = run.remaining * 0.95
        try:
            async with asyncio.timeout(patience):
                arrays = await run.shared.get(Threads).call(_read, self.root)
        except TimeoutError:
            return run.unknown("timeout", f"/proc/mdstat could not be read within {format_duration(patience)}")
        except FileNotFoundError:
            arrays = ()
        except OSError as error:
            return run.unknown("permission", f"/proc/mdstat cannot be read: {error.strerror}")
        except ValueError as error:
            return run.unknown("parse", f"/proc/mdstat does not say what was expected: {error}")
        return self._judge(run, arrays)

    def _judge(self, run: Run, arrays: Sequence[_Array]) -> Observation:
        faults = [fault for array in arrays if (fault := _measure(run, array))]
        there = {array.name for array in arrays}
        for name in self.arrays:
            if name not in there:
                run.measure("active", 0, array=name)
                faults.append(f"{name} does not exist")
        if faults:
            return run.up("; ".join(faults), reason="array")
        if not arrays:
            return run.up("this machine has no software RAID")
        return run.up(f"{len(arrays)} arrays are whole")


@dataclass(slots=True)
class _Array:
    """An array; ``wanted`` and ``working`` are None where the level knows no redundancy."""

    name: str
    active: bool
    level: str
    failed: Sequence[str]
    spare: Sequence[str]
    wanted: int | None = None
    working: int | None = None
    action: str = ""
    progress: float | None = None
    mismatches: int | None = None


def _read(root: str) -> tuple[_Array, ...]:
    """Read the kernel's files; blocks."""
    kernel = Kernel(root)
    arrays = tuple(parse_mdstat(kernel.text("proc/mdstat")))
    for array in arrays:
        if array.level in ("raid4", "raid5", "raid6"):  # of others, what is written at the time may differ
            try:
                array.mismatches = kernel.number(f"sys/block/{array.name}/md/mismatch_cnt")
            except (OSError, ValueError, IndexError):
                continue
    return arrays


def parse_mdstat(text: str) -> Iterator[_Array]:
    """Read /proc/mdstat; ``ValueError`` when it is something else."""
    if not text.startswith("Personalities"):
        raise ValueError(f"it begins with {text[:40]!r}")
    array = None
    for line in text.splitlines()[1:]:
        head = _HEAD.fullmatch(line.rstrip())
        if head:
            if array is not None:
                yield array
            array = _begun(head)
        elif array is not None:
            _add(array, line)
    if array is not None:
        yield array


def _begun(head: re.Match[str]) -> _Array:
    devices = _DEVICE.findall(head[4])
    first = head[4].split(" ", 1)[0]
    level = "" if "[" in first else first
    failed = [name for name, marks in devices if "(F)" in marks]
    return _Array(head[1], head[2] == "active", level, failed, [name for name, marks in devices if "(S)" in marks])


def _add(array: _Array, line: str) -> None:
    if whole := _WHOLE.search(line):
        array.wanted, array.working = int(whole[1]), int(whole[2])
    if progress := _PROGRESS.search(line):
        array.action, array.progress = progress[1], float(progress[2]) / 100
    elif delayed := _DELAYED.search(line):
        array.action = delayed[1]


def _measure(run: Run, array: _Array) -> str:
    """Measure an array; returns what is wrong with it."""
    name = array.name
    run.measure("active", array.active, array=name)
    run.measure("failed_devices", len(array.failed), array=name)
    run.measure("spare_devices", len(array.spare), array=name)
    run.measure("rebuilding", array.action in ("recovery", "resync", "reshape"), array=name)
    if array.progress is not None:
        run.measure("progress", array.progress, array=name)
    if array.mismatches is not None:
        run.measure("mismatches", array.mismatches, array=name)
    if not array.active:
        return f"{name} is inactive: it was not put together"
    lacking = 0
    if array.wanted is not None and array.working is not None:
        lacking = array.wanted - array.working
        run.measure("missing_devices", lacking, array=name)
    gone = f" ({', '.join(array.failed)} failed)" if array.failed else ""
    doing = f", {array.action} {array.progress:.0%}" if array.progress is not None else ""
    if lacking:
        return f"{name} ({array.level}) lacks {lacking} of {array.wanted} devices{gone}{doing}"
    return f"{name} has failed devices{gone}" if array.failed else ""
