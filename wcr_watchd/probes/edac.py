"""Watches the memory for errors that its error-correcting code found, corrected or not, as the kernel counts them.

The counters are those of EDAC (``Documentation/admin-guide/RAS`` of the kernel), since the machine was started. A
machine without such memory, as most virtual ones, has none, which is no fault.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.procfs import Kernel
from wcr_watchd.kit.threads import Threads

_FOLDER = "sys/devices/system/edac/mc"


def _spec(name: str, text: str) -> MeasurementSpec:
    return MeasurementSpec(name, Unit.COUNT, text, ("controller",), counter=True, topic="memory")


class Edac(Options):
    """Options of a check of memory errors; none is needed."""

    type: ClassVar[str] = "edac"
    target_key: ClassVar[str] = ""
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    example: ClassVar[str] = 'root = "/host"\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        _spec("corrected_errors", "Errors that were corrected; the module wears out"),
        _spec("uncorrected_errors", "Errors that could not be corrected; data was lost"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.WARNING, "increase(corrected_errors, 10m) > 0"),
        (Severity.CRITICAL, "uncorrected_errors > 0"),
    )

    root: str = "/"
    """Where the machine's file system is to be seen, when the daemon itself runs in a container."""

    @property
    def target(self) -> str:
        """The memory of this machine."""
        return "memory"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Read the kernel's counters."""
        run.step = f"reading /{_FOLDER}"
        patience = run.remaining * 0.95
        try:
            async with asyncio.timeout(patience):
                controllers = await run.shared.get(Threads).call(_read, self.root)
        except TimeoutError:
            return run.unknown("timeout", f"/{_FOLDER} could not be read within {format_duration(patience)}")
        except OSError as error:
            return run.unknown("permission", f"/{_FOLDER} cannot be read: {error.strerror}")
        except (ValueError, IndexError) as error:
            return run.unknown("parse", f"/{_FOLDER} does not say what was expected: {error}")
        if not controllers:
            return run.up("no memory controller counts errors here: a virtual machine, or memory without ECC")
        return _judge(run, controllers)


@dataclass(frozen=True, slots=True)
class _Controller:
    """A memory controller, and its modules that had errors, in words."""

    name: str
    corrected: int
    uncorrected: int
    modules: Sequence[str]


def _read(root: str) -> tuple[_Controller, ...]:
    """Read the kernel's files; blocks."""
    kernel = Kernel(root)
    try:
        names = sorted(name for name in os.listdir(os.path.join(root, _FOLDER)) if name.startswith("mc"))
    except FileNotFoundError:
        return ()
    return tuple(
        _Controller(
            name,
            kernel.number(f"{_FOLDER}/{name}/ce_count"),
            kernel.number(f"{_FOLDER}/{name}/ue_count"),
            _modules(kernel, root, f"{_FOLDER}/{name}"),
        )
        for name in names
        if name[2:].isdigit()
    )


def _modules(kernel: Kernel, root: str, folder: str) -> list[str]:
    """Which modules had errors; older drivers tell no modules apart."""
    found = []
    for name in sorted(os.listdir(os.path.join(root, folder))):
        if name.startswith(("dimm", "rank")):
            with suppress(OSError, ValueError, IndexError):
                kind = "dimm" if name.startswith("dimm") else "rank"
                errors = [kernel.number(f"{folder}/{name}/{kind}_{which}_count") for which in ("ce", "ue")]
                if any(errors):
                    label = kernel.text(f"{folder}/{name}/{kind}_label").strip() or name
                    found.append(f"{label}: {errors[0]} corrected, {errors[1]} not")
    return found


def _judge(run: Run, controllers: Sequence[_Controller]) -> Observation:
    for one in controllers:
        run.measure("corrected_errors", one.corrected, controller=one.name)
        run.measure("uncorrected_errors", one.uncorrected, controller=one.name)
    corrected = sum(one.corrected for one in controllers)
    uncorrected = sum(one.uncorrected for one in controllers)
    modules = [module for one in controllers for module in one.modules]
    if modules:
        run.evidence["modules"] = "\n".join(modules)
    said = f"{corrected} errors corrected, {uncorrected} not, since the machine was started"
    return run.up("; ".join([said, *modules]), reason="memory" if corrected or uncorrected else "")
