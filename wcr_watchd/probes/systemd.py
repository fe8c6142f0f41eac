"""Watches systemd's units: named ones are active and do not restart again and again, none failed, timers fire.

systemd is asked over D-Bus, with the extra `dbus`, or else by `systemctl`. Failed units are noticed without being
named.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar

from pydantic import AfterValidator

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit as Measure
from wcr_watchd.core.units import format_duration
from wcr_watchd.kit.options import Options
from wcr_watchd.kit.service_manager import ManagerError, Timer, Unit, Units, ask
from wcr_watchd.kit.threads import Threads

_ACTIVE = ("active", "reloading", "refreshing")
_KINDS = (".service", ".socket", ".timer", ".target", ".mount", ".automount", ".path", ".slice", ".scope", ".swap",
          ".device")  # fmt: skip
_MOST_FAILED = 100


def _unit_name(name: str) -> str:
    if (
        not name
        or name.startswith("-")
        or "/" in name
        or any(character.isspace() or character in "*?[" for character in name)
    ):
        raise ValueError(f"{name!r} is not the name of a unit, such as nginx.service")
    return name if name.endswith(_KINDS) else f"{name}.service"


UnitName = Annotated[str, AfterValidator(_unit_name)]


def _spec(name: str, unit: Measure, text: str, topic: str, counter: bool = False) -> MeasurementSpec:
    return MeasurementSpec(name, unit, text, ("unit",), counter, topic)


class Systemd(Options):
    """Watches the units of systemd."""

    type: ClassVar[str] = "systemd"
    target_key: ClassVar[str] = "units"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 20.0
    example: ClassVar[str] = 'units = ["nginx", "postgresql@15-main", "certbot.timer"]\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        MeasurementSpec("units_failed", Measure.COUNT, "Units that have failed"),
        _spec("unit_active", Measure.COUNT, "1 when a named unit is active, else 0", "unit"),
        _spec("unit_failed", Measure.COUNT, "1 when a unit has failed, 0 when it has not any more", "unit"),
        _spec("unit_restarts", Measure.COUNT, "Times systemd started a named service again", "unit", counter=True),
        _spec("timer_overdue", Measure.SECONDS, "Time since a timer should have fired, 0 when it is not due", "timer"),
        _spec("timer_age", Measure.SECONDS, "Time since a timer fired last", "timer"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.CRITICAL, "unit_active == 0 for 2x"),
        (Severity.WARNING, "unit_failed == 1"),
        (Severity.WARNING, "increase(unit_restarts, 30m) >= 1"),
        (Severity.CRITICAL, "increase(unit_restarts, 15m) >= 3"),
        (Severity.WARNING, "timer_overdue > 10m"),
    )

    units: tuple[UnitName, ...] = ()
    """Units that must be active; a name without an ending is that of a service."""
    ignore: tuple[str, ...] = ()
    """Units that may fail; "*" stands for anything."""
    user: bool = False
    """Whether the units are those of this user's own service manager, not the system's."""

    @property
    def target(self) -> str:
        """The named units, or all."""
        return ", ".join(self.units) or "all units"

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Ask systemd once."""

        def told(step: str) -> None:
            run.step = step

        # A little before the run's own deadline: a service manager that is slow to answer says nothing of the units.
        patience = run.remaining * 0.95
        try:
            async with asyncio.timeout(patience):
                units = await ask(self.units, self.user, run.shared.get(Threads), told)
        except TimeoutError:
            return run.unknown("timeout", f"no answer within {format_duration(patience)}; was {run.step}")
        except ManagerError as error:
            return run.unknown("missing", f"systemd cannot be asked: {error}")
        return self._judge(run, units)

    def _judge(self, run: Run, units: Units) -> Observation:
        run.evidence["asked by"] = units.way
        faults = [fault for unit in units.named if (fault := _measure_named(run, unit))]
        failed = [unit for unit in units.failed if not _matches(unit.name, self.ignore)]
        _measure_failed(run, failed)
        named = {unit.name for unit in units.named}
        faults += [_failure(unit) for unit in failed if unit.name not in named]
        for timer in units.timers:
            if not _matches(timer.name, self.ignore):
                _measure_timer(run, timer)
        if faults:
            run.evidence["faults"] = "\n".join(faults)
            return run.up("; ".join(faults), reason="unit")
        said = f"{len(units.named)} named units are active, and " if units.named else ""
        return run.up(f"{said}none has failed; {len(units.timers)} timers")


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _measure_named(run: Run, unit: Unit) -> str:
    """Measure a unit that must be active; returns what is wrong with it."""
    active = unit.active in _ACTIVE
    run.measure("unit_active", active, unit=unit.name)
    if unit.restarts is not None:
        run.measure("unit_restarts", unit.restarts, unit=unit.name)
    if active:
        return ""
    if unit.load == "not-found":
        return f"{unit.name} does not exist"
    return _failure(unit)


def _failure(unit: Unit) -> str:
    how = f": {unit.result}" if unit.result not in (None, "", "success") else ""
    return f"{unit.name} is {unit.active} ({unit.sub}{how})"


def _measure_failed(run: Run, failed: Sequence[Unit]) -> None:
    """Measure each failed unit, and once more, as 0, those that had failed and have not any more."""
    run.measure("units_failed", len(failed))
    names = [unit.name for unit in failed][:_MOST_FAILED]
    for name in names:
        run.measure("unit_failed", 1, unit=name)
    for name in run.memory.get("failed", ()):
        if name not in names:
            run.measure("unit_failed", 0, unit=name)
    run.memory["failed"] = names


def _measure_timer(run: Run, timer: Timer) -> None:
    """A timer without a next time waits for its service to end, or never comes due again."""
    if timer.next is not None:
        run.measure("timer_overdue", max(0.0, run.started - timer.next), unit=timer.name)
    if timer.last is not None:
        run.measure("timer_age", max(0.0, run.started - timer.last), unit=timer.name)
