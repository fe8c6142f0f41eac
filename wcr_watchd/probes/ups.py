"""Asks Network UPS Tools how the uninterruptible power supplies are: on mains or battery, how full, how long it lasts.

Speaks the protocol of upsd (RFC 9271), of which two commands are needed: LIST UPS and LIST VAR.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import ClassVar

from wcr_watchd.core.model import MeasurementSpec, Observation, Severity
from wcr_watchd.core.run import Run
from wcr_watchd.core.units import Unit, format_duration
from wcr_watchd.kit.network import Address, NameResolver, abort, connect, connect_problem, split_address
from wcr_watchd.kit.options import Options

_MOST_LINES = 300
"""Lines of one answer; a UPS has some fifty variables."""
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s"]+)')
"""A word of a line, in quotation marks or not."""
_FLAGS = {"on_battery": "OB", "low_battery": "LB", "replace_battery": "RB", "overload": "OVER", "on_mains": "OL"}
"""Words of ups.status."""
_WORDS = {
    "OB": "is on battery",
    "LB": "its battery is low",
    "RB": "its battery must be replaced",
    "OVER": "is overloaded",
    "FSD": "is about to switch off",
    "BYPASS": "does not protect, as it is bypassed",
    "OFF": "is off",
}


def _spec(name: str, unit: Unit, text: str) -> MeasurementSpec:
    return MeasurementSpec(name, unit, text, ("ups",), topic="power")


class _Failed(Exception):  # noqa: N818 - it is a verdict
    """The dialogue did not go as it should."""

    def __init__(self, reason: str, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason
        self.summary = summary


class Ups(Options):
    """Watches uninterruptible power supplies."""

    type: ClassVar[str] = "ups"
    target_key: ClassVar[str] = "address"
    every: ClassVar[float] = 60.0
    timeout: ClassVar[float] = 10.0
    example: ClassVar[str] = 'address = "localhost:3493"\n'
    measurements: ClassVar[tuple[MeasurementSpec, ...]] = (
        _spec("on_mains", Unit.COUNT, "1 while it has power from the mains, else 0"),
        _spec("on_battery", Unit.COUNT, "1 while it lives on its battery, else 0"),
        _spec("low_battery", Unit.COUNT, "1 when its battery is nearly empty, else 0"),
        _spec("replace_battery", Unit.COUNT, "1 when its battery must be replaced, else 0"),
        _spec("overload", Unit.COUNT, "1 when more is connected than it bears, else 0"),
        _spec("battery_charge", Unit.RATIO, "How full its battery is"),
        _spec("battery_runtime", Unit.SECONDS, "How long its battery would last"),
        _spec("load", Unit.RATIO, "Share of the power that it could give"),
    )
    default_rules: ClassVar[tuple[tuple[Severity, str], ...]] = (
        (Severity.CRITICAL, "down"),
        (Severity.CRITICAL, "on_battery == 1"),
        (Severity.CRITICAL, "low_battery == 1"),
        (Severity.WARNING, "replace_battery == 1"),
        (Severity.WARNING, "overload == 1"),
    )

    address: Address = "localhost:3493"
    """Where upsd listens: "host:3493"."""
    names: tuple[str, ...] = ()
    """The UPSes that must be there; without any, those that upsd has."""

    @property
    def target(self) -> str:
        """Where upsd listens."""
        return self.address

    def specs(self) -> tuple[MeasurementSpec, ...]:
        """The type's measurements."""
        return self.measurements

    async def run(self, run: Run) -> Observation:
        """Ask for the list, and for each UPS."""
        host, port = split_address(self.address)
        run.step = f"connecting to {self.address}"
        try:
            reader, writer = await connect(await run.shared.get(NameResolver).addresses(host, port))
        except socket.gaierror as error:
            return run.down("dns", f"{host} cannot be looked up: {connect_problem(error)}")
        except OSError as error:
            return run.down("connect", f"no connection to upsd at {self.address}: {connect_problem(error)}")
        try:
            return await self._ask(run, reader, writer)
        except _Failed as failed:
            return run.down(failed.reason, f"{self.address} {failed.summary}")
        except (OSError, asyncio.IncompleteReadError):
            return run.down("protocol", f"{self.address} closed the connection, {run.step}")
        finally:
            abort(writer)

    async def _ask(self, run: Run, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Observation:
        run.step = f"waiting for the list of UPSes from {self.address}"
        there = [words[1] for words in await _listed(reader, writer, "UPS") if len(words) > 1]
        missing = [name for name in self.names if name not in there]
        if missing or not there:
            return run.down(
                "content", f"{self.address} has no UPS {', '.join(missing)}; it has {', '.join(there) or 'none'}"
            )
        verdicts, silent = {}, {}
        for name in self.names or there:
            run.step = f"waiting for the state of {name} from {self.address}"
            try:
                lines = await _listed(reader, writer, f"VAR {name}")
            except _Failed as failed:
                if failed.reason != "stale":
                    raise
                silent[name] = failed.summary
                continue
            verdicts[name] = _measure(run, name, {words[2]: words[3] for words in lines if len(words) > 3})
        return _judge(run, verdicts, silent)


async def _listed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: str) -> list[list[str]]:
    """The lines of a list, each in words. Raises :class:`_Failed`."""
    writer.write(f"LIST {what}\n".encode())
    await writer.drain()
    if (first := await _line(reader)) != f"BEGIN LIST {what}":
        raise _refused(what, first)
    lines: list[list[str]] = []
    for _ in range(_MOST_LINES):
        line = await _line(reader)
        if line == f"END LIST {what}":
            return lines
        if not line.startswith(f"{what.split()[0]} "):
            raise _Failed("protocol", f"does not answer as upsd does: {line[:60]!r}")
        lines.append([plain or re.sub(r"\\(.)", r"\1", quoted) for quoted, plain in _WORD.findall(line)])
    raise _Failed("protocol", f"answers LIST {what} with more than {_MOST_LINES} lines")


async def _line(reader: asyncio.StreamReader) -> str:
    try:
        return (await reader.readuntil(b"\n")).decode("utf-8", "replace").rstrip("\r\n")
    except asyncio.LimitOverrunError as error:
        raise _Failed("protocol", "does not answer as upsd does: a line without end") from error


def _refused(what: str, said: str) -> _Failed:
    if said.startswith(("ERR DATA-STALE", "ERR DRIVER-NOT-CONNECTED")):
        return _Failed("stale", f"does not hear from it: {said} (is its driver running, its cable plugged in?)")
    if said.startswith("ERR"):
        return _Failed("refused", f"refuses LIST {what}: {said}")
    return _Failed("protocol", f"does not answer as upsd does: it said {said[:60]!r}")


def _measure(run: Run, name: str, values: Mapping[str, str]) -> str:
    """Measure a UPS; returns what is wrong with it."""
    flags = values.get("ups.status", "").split()
    if flags:
        for measurement, flag in _FLAGS.items():
            run.measure(measurement, flag in flags, ups=name)
    for measurement, variable, scale in (
        ("battery_charge", "battery.charge", 0.01),
        ("battery_runtime", "battery.runtime", 1.0),
        ("load", "ups.load", 0.01),
    ):
        number = _number(values.get(variable, ""))
        if number is not None:
            run.measure(measurement, number * scale, ups=name)
    words = [_WORDS[flag] for flag in flags if flag in _WORDS]
    if not words:
        return ""
    runtime = _number(values.get("battery.runtime", ""))
    left = f", for {format_duration(runtime)} more" if runtime is not None and "OB" in flags else ""
    return f"{name} {', '.join(words)}{left}"


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def _judge(run: Run, verdicts: Mapping[str, str], silent: Mapping[str, str]) -> Observation:
    if silent:
        words = "; ".join(f"{name}: upsd {why}" for name, why in silent.items())
        return run.down("stale", words)
    faults: Sequence[str] = [fault for fault in verdicts.values() if fault]
    if faults:
        return run.up("; ".join(faults), reason="power")
    return run.up(f"{', '.join(verdicts)}: nothing is wrong")
